package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.bindings.EngineException;

/** Files as people have them: with marks, other line ends, cut lines and records that are not what they should be. */
class CorpusFilesTest {
    private static final String GOOD = "{\"text\":\"One. Two.\"}";

    @TempDir
    Path folder;

    private final Corpus.Mapping text = mapping("", "{text}", "", "");

    @Test
    void marksLineEndsAndBlankLinesDoNotMatter() throws IOException {
        List<Corpus.Record> plain = Corpus.read(write("a.jsonl", GOOD + "\n{\"text\":\"é\"}"), text, false)
                .records();
        assertThat(Corpus.read(write("b.jsonl", GOOD + "\r\n\r\n{\"text\":\"é\"}\r\n\n"), text, false)
                        .records())
                .isEqualTo(plain);
        assertThat(Corpus.read(write("c.jsonl", "\uFEFF" + GOOD + "\n{\"text\":\"é\"}\n"), text, false)
                        .records())
                .isEqualTo(plain);
    }

    /** Each with one good record before and one after: stop names file and line, skip counts and goes on. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"text\":\"cut off",
                "not json",
                "[1,2]",
                "\"text\"",
                "{}",
                "{\"text\":null}",
                "{\"text\":{\"a\":1}}",
                "{\"text\":\"\"}",
                "{\"text\":\"a\",\"text\":\"b\"}",
                "{\"text\":\"a\"} {\"text\":\"b\"}",
                "{\"text\":\"half a pair \\ud83d\"}",
            })
    void badRecordsStopOrAreSkipped(String bad) throws IOException {
        Path file = write("bad.jsonl", GOOD + "\n" + bad + "\n{\"text\":\"Three.\"}\n");
        assertThatThrownBy(() -> Corpus.read(file, text, false))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining(file + ": line 2: ")
                .satisfies(e -> assertThat(e.getMessage().split("line 2", -1)).hasSize(2))
                .hasMessageContaining("--bad-records skip")
                .hasMessageNotContaining("\n");
        Corpus corpus = Corpus.read(file, text, true);
        assertThat(corpus.records()).extracting(Corpus.Record::text).containsExactly("One. Two.", "Three.");
        assertThat(corpus.skipped()).isEqualTo(1);
        assertThat(corpus.firstProblem()).contains("line 2");
    }

    @Test
    void bytesThatAreNoTextAreRefused() throws IOException {
        Path file = folder.resolve("latin.jsonl");
        Files.write(file, (GOOD + "\n{\"text\":\"caf\u00e9\"}\n").getBytes(StandardCharsets.ISO_8859_1));
        assertThatThrownBy(() -> Corpus.read(file, text, false))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining("not UTF-8");
    }

    @Test
    void filesWithNothingInThemAreRefused() throws IOException {
        for (String content : List.of("", "\n\n", "  \n")) {
            assertThatThrownBy(() -> Corpus.read(write("empty.jsonl", content), text, false))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining("no usable document");
        }
        assertThatThrownBy(() -> Corpus.read(folder.resolve("nowhere.jsonl"), text, false))
                .hasMessageContaining("no file");
        assertThatThrownBy(() -> Corpus.read(write("data.csv", "a,b"), text, false))
                .hasMessageContaining(".jsonl");
        assertThatThrownBy(() -> Corpus.read(write("all-bad.jsonl", "x\ny\n"), text, true))
                .hasMessageContaining("line 1");
    }

    private Path write(String name, String content) throws IOException {
        return Files.writeString(folder.resolve(name), content);
    }

    private static Corpus.Mapping mapping(String context, String text, String thought, String id) {
        return new Corpus.Mapping(
                Template.parse("context", context),
                Template.parse("text", text),
                Template.parse("thought", thought),
                id);
    }
}
