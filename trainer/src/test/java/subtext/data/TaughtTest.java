package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import subtext.text.BpeTrainer;
import subtext.text.Tokenizer;

/** Documents in chunks with thoughts, as files hold them: read in either spelling, and each fault told in one line with its place. */
class TaughtTest {
    private static final String GOOD = "{\"chunks\":[{\"suffix\":\"One.\",\"latent\":\"z\"}]}";

    private static final Tokenizer BYTES = new BpeTrainer().add("a").train(BpeTrainer.SMALLEST);

    @TempDir
    Path folder;

    private Path lines(String name, String... lines) throws IOException {
        return Files.write(folder.resolve(name), List.of(lines));
    }

    private static String shown(Annotated document) {
        StringBuilder text = new StringBuilder(document.document().id()).append(':');
        for (int c = 0; c < document.thoughts().size(); c++) {
            Chunk chunk = document.document().chunks().get(c);
            assertThat(chunk.latent()).isTrue();
            text.append(" [")
                    .append(BYTES.decode(chunk.text()))
                    .append('|')
                    .append(document.thoughts()
                            .get(c)
                            .map(z -> BYTES.decode(z.tokens()))
                            .orElse("-"))
                    .append(']');
        }
        return text.toString();
    }

    @Test
    void eitherSpellingIsReadAndWhatIsNotKnownIsLeftRaw() throws IOException {
        Path file = lines(
                "a.jsonl",
                "{\"id\":\"a\",\"text\":\"not looked at\",\"chunks\":[{\"prefix\":\"N/A\",\"suffix\":\"One. \",\"latent\":\"first\",\"elbo_k\":[1]},"
                        + "{\"suffix\":\"Two.\",\"latent\":null}]}",
                "",
                "{\"id\":7,\"chunks\":[{\"text\":\"Three.\",\"thought\":\"\"},{\"text\":\" Four.\",\"thought\":\"last\"},{\"text\":\"Five.\"},"
                        + "{\"text\":\"Six.\",\"suffix\":null,\"latent\":\"mixed\"}]}");
        Taught taught = Taught.scan(file.toString(), "id", false);
        assertThat(taught.size()).isEqualTo(2);
        assertThat(taught.characters()).isEqualTo(9 + 5 + 6 + 6 + 4 + 5 + 4 + 5);
        assertThat(taught.documents(BYTES, 1, 0).stream().map(TaughtTest::shown))
                .containsExactly("7: [Three.|-] [ Four.|last] [Five.|-] [Six.|mixed]", "a: [One. |first] [Two.|-]");
    }

    @Test
    void equalDocumentsAreToldApartAndPackedFilesOfAFolderAreOne() throws IOException {
        Files.createDirectories(folder.resolve("all"));
        lines("all/a.jsonl", GOOD, GOOD);
        try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(folder.resolve("all/b.jsonl.gz")))) {
            out.write((GOOD + "\n").getBytes(java.nio.charset.StandardCharsets.UTF_8));
        }
        Taught taught = Taught.scan(folder.resolve("all").toString(), "", false);
        List<String> ids = taught.documents(BYTES, 0, 1, 2).stream()
                .map(document -> document.document().id())
                .toList();
        // the name of the same text in a corpus
        String id = ids.getFirst();
        Corpus.Mapping text = new Corpus.Mapping(
                Template.parse("", ""), Template.parse("text", "{text}"), Template.parse("", ""), "");
        assertThat(Corpus.read(lines("raw.jsonl", "{\"text\":\"One.\"}"), text, false)
                        .records()
                        .getFirst()
                        .id())
                .isEqualTo(id);
        assertThat(ids).containsExactly(id, id + "-2", id + "-3");
    }

    /** Records that cannot be used, and what is said of them. */
    private static final Map<String, String> BAD = Map.ofEntries(
            Map.entry("{\"text\":\"a\"}", "field 'chunks' is missing"),
            Map.entry("{\"chunks\":null}", "field 'chunks' is missing"),
            Map.entry("{\"chunks\":\"a\"}", "field 'chunks': expected a list, got string"),
            Map.entry("{\"chunks\":{}}", "field 'chunks': expected a list, got object"),
            Map.entry("{\"chunks\":[]}", "field 'chunks' is an empty list"),
            Map.entry("{\"chunks\":[\"a\"]}", "chunk 1: expected an object with a text, got string"),
            Map.entry("{\"chunks\":[{\"latent\":\"z\"}]}", "chunk 1: no text: expected it in field 'suffix' or 'text'"),
            Map.entry("{\"chunks\":[{\"text\":\"a\"},{\"text\":\"\"}]}", "chunk 2: the text is empty"),
            Map.entry("{\"chunks\":[{\"text\":\"a\",\"suffix\":\"a\"}]}", "chunk 1: has both 'suffix' and 'text'"),
            Map.entry(
                    "{\"chunks\":[{\"text\":\"a\",\"thought\":\"z\",\"latent\":\"z\"}]}",
                    "chunk 1: has both 'latent' and 'thought'"),
            Map.entry("{\"chunks\":[{\"suffix\":3}]}", "chunk 1: field 'suffix': expected text, got number"),
            Map.entry(
                    "{\"chunks\":[{\"suffix\":\"a\",\"latent\":[\"z\"]}]}",
                    "chunk 1: field 'latent': expected text, got array"),
            Map.entry(
                    "{\"chunks\":[{\"suffix\":\"a\",\"latent\":\"\\ud83d\"}]}", "chunk 1: holds half a surrogate pair"),
            Map.entry("{\"chunks\":[{\"suffix\":\"a\",\"suffix\":\"b\"}]}", "not JSON: Duplicate"),
            Map.entry("{\"chunks\":[" + "{},".repeat(600_000) + "{}]}", "not JSON: Token count"));

    @Test
    void aBadRecordIsTold() throws IOException {
        for (Map.Entry<String, String> bad : BAD.entrySet()) {
            Path file = lines("bad.jsonl", GOOD, bad.getKey(), GOOD);
            assertThatThrownBy(() -> Taught.scan(file.toString(), "", false))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageStartingWith(file + ": line 2: " + bad.getValue())
                    .hasMessageEndingWith("; mend it, or leave such records out by --bad-records skip")
                    .satisfies(e -> assertThat(e.getMessage().lines()).hasSize(1));
            Taught skipping = Taught.scan(file.toString(), "", true);
            assertThat(skipping.size()).isEqualTo(2);
            assertThat(skipping.skipped()).isEqualTo(1);
            assertThat(skipping.problems()).singleElement().asString().startsWith(file + ": line 2: " + bad.getValue());
            assertThat(skipping.documents(BYTES, 1)).hasSize(1);
        }
    }

    @Test
    void aNameGivenTwiceIsBadAndTheFirstIsKept() throws IOException {
        Path file = lines(
                "twice.jsonl",
                "{\"id\":\"a\",\"chunks\":[{\"text\":\"1\",\"thought\":\"y\"}]}",
                "{\"id\":\"a\",\"chunks\":[{\"text\":\"2\",\"thought\":\"z\"}]}",
                "{\"id\":\"ab\",\"chunks\":[{\"text\":\"3\"}]}");
        assertThatThrownBy(() -> Taught.scan(file.toString(), "id", false))
                .hasMessageContaining("line 2: the id 'a' was there before");
        Taught taught = Taught.scan(file.toString(), "id", true);
        assertThat(taught.documents(BYTES, 0, 1).stream().map(TaughtTest::shown))
                .containsExactly("a: [1|y]", "ab: [3|-]");
    }

    @Test
    void filesOfAnotherKindOrWithoutAnyThoughtAreRefused() throws IOException {
        Path none = lines("none.jsonl", "{\"chunks\":[{\"text\":\"a\",\"idea\":\"z\"}]}");
        assertThatThrownBy(() -> Taught.scan(none.toString(), "", false))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining(
                        none + ": no chunk has a thought; expected them in the field 'latent' or 'thought'");
        Path text = lines("a.txt", "One. Two.");
        assertThatThrownBy(() -> Taught.scan(text.toString(), "", false))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining(text + " is plain text: chunks with thoughts are read from JSON lines");
    }

    @Test
    void aFileThatChangesBetweenReadingsIsRefused() throws IOException {
        Path file = lines("a.jsonl", GOOD, GOOD);
        Taught taught = Taught.scan(file.toString(), "", false);
        lines("a.jsonl", GOOD, GOOD, GOOD);
        assertThatThrownBy(() -> taught.documents(BYTES, 0)).hasMessageContaining("changed while it was read");
        lines("a.jsonl", GOOD);
        assertThatThrownBy(() -> taught.documents(BYTES, 0)).hasMessageContaining("changed while it was read");
        lines("a.jsonl", GOOD, GOOD.replace("One", "Two"));
        assertThatThrownBy(() -> taught.documents(BYTES, 0)).hasMessageContaining("changed while it was read");
    }
}
