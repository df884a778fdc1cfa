package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;

class CorpusTest {
    private static final Corpus.Mapping WORKED = new Corpus.Mapping(
            Template.parse("context", "{question}\n"),
            Template.parse("text", "#### {answer|after:####|trim}"),
            Template.parse("thought", "{answer|before:####|drop:<<[^>]*>>|trim}"),
            "");

    @TempDir
    Path folder;

    @Test
    void fieldsBecomeTextAndThought() throws IOException {
        Path file = write("a.jsonl", "{\"question\":\"1+1?\",\"answer\":\"1+1=<<1+1=2>>2.\\n#### 2\"}\n\n");
        Corpus corpus = Corpus.read(file, WORKED, false);
        assertThat(corpus.records()).singleElement().satisfies(record -> {
            assertThat(record.context()).isEqualTo("1+1?\n");
            assertThat(record.text()).isEqualTo("#### 2");
            assertThat(record.thought()).contains("1+1=2.");
            assertThat(record.id()).matches("[0-9a-f]{16}");
        });
    }

    @Test
    void idsAreStableAndUnique() throws IOException {
        String one = "{\"question\":\"a\",\"answer\":\"b #### 1\"}\n";
        String two = "{\"question\":\"c\",\"answer\":\"d #### 2\"}\n";
        Corpus corpus = Corpus.read(write("a.jsonl", one + two + one), WORKED, false);
        Corpus turned = Corpus.read(write("b.jsonl", two + one + one), WORKED, false);
        assertThat(corpus.records().stream().map(Corpus.Record::id)).doesNotHaveDuplicates();
        assertThat(turned.records().stream().map(Corpus.Record::id))
                .containsExactlyInAnyOrderElementsOf(
                        corpus.records().stream().map(Corpus.Record::id).toList());
    }

    @Test
    void badRecordsStopWithTheirLineOrAreCounted() throws IOException {
        Path file =
                write("a.jsonl", "{\"question\":\"a\",\"answer\":\"b #### 1\"}\n{broken\n{\"question\":\"c\"}\n[1]\n");
        assertThatThrownBy(() -> Corpus.read(file, WORKED, false))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining("a.jsonl: line 2: not JSON")
                .hasMessageContaining("--bad-records skip");
        Corpus corpus = Corpus.read(file, WORKED, true);
        assertThat(corpus.records()).hasSize(1);
        assertThat(corpus.skipped()).isEqualTo(3);
        assertThat(corpus.firstProblem()).contains("line 2");
    }

    @Test
    void unusableFilesAreRefusedInOneLine() throws IOException {
        assertThatThrownBy(() -> Corpus.read(folder.resolve("none.jsonl"), WORKED, false))
                .hasMessageContaining("no file");
        Path empty = write("e.jsonl", "\n");
        assertThatThrownBy(() -> Corpus.read(empty, WORKED, false)).hasMessageContaining("holds no usable document");
        Path binary = folder.resolve("b.jsonl");
        Files.write(binary, new byte[] {'{', (byte) 0xFF, (byte) 0xFE, '}'});
        assertThatThrownBy(() -> Corpus.read(binary, WORKED, false)).hasMessageContaining("not UTF-8");
        Path other = write("c.parquet", "x");
        assertThatThrownBy(() -> Corpus.read(other, WORKED, false)).hasMessageContaining("not a parquet file");
    }

    @Test
    void plainTextHasADocumentPerBlock() throws IOException {
        Corpus corpus = Corpus.read(write("a.txt", "One.\nTwo.\n\n\nThree.\n"), WORKED, false);
        assertThat(corpus.records().stream().map(Corpus.Record::text)).containsExactly("One.\nTwo.\n", "Three.\n");
    }

    private Path write(String name, String text) throws IOException {
        return Files.writeString(folder.resolve(name), text);
    }
}
