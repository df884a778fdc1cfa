package subtext.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.bindings.EngineException;
import subtext.random.Philox;
import tools.jackson.databind.JsonNode;

/** Tokenizers: exact round trips, merges by hand, control tokens that no text spells, and files that are refused. */
class TokenizerTest {
    private static final String CORPUS =
            "the cat sat on the mat. The cat's hat, the rat's bat: 12 cats & 345 hats\n\n".repeat(20)
                    + ("Zw\u00f6lf Boxk\u00e4mpfer jagen Viktor quer \u00fcber den Sylter Deich. "
                                    + "\u4f60\u597d\uff0c\u4e16\u754c \ud83d\ude00 pack my box with five dozen liquor jugs\n")
                            .repeat(3);

    @TempDir
    private Path folder;

    /** Twenty thousand words, few of them often: what is kept in mind stays within its bound, and the frequent words are learnt. */
    @Test
    void countingIsBoundedAndKeepsWhatIsFrequent() {
        int most = 1000;
        BpeTrainer bounded = new BpeTrainer(TokenizerStyle.GPT2, most);
        BpeTrainer whole = new BpeTrainer();
        StringBuilder frequent = new StringBuilder();
        for (int i = 0; i < 50; i++) {
            frequent.append(" often").append((char) ('a' + i % 26)).append((char) ('a' + i / 26));
        }
        for (int i = 0; i < 500; i++) {
            StringBuilder rare = new StringBuilder();
            for (int w = 0; w < 40; w++) {
                rare.append(" x")
                        .append(Long.toString(Philox.key(i, w) >>> 8, 36).replaceAll("[0-9]", "q"));
            }
            bounded.add(frequent.toString()).add(rare.toString());
            whole.add(frequent.toString()).add(rare.toString());
            assertThat(bounded.words()).isLessThanOrEqualTo(most);
        }
        assertThat(whole.words()).as("far more than the bound").isGreaterThan(15 * most);
        assertThat(whole.forgotten()).isZero();
        assertThat(bounded.forgotten()).isPositive().isLessThan(40);
        BpeTokenizer tokenizer = bounded.train(400);
        for (String word : frequent.toString().substring(1).split(" ")) {
            assertThat(tokenizer.encode(" " + word).size()).as(word).isEqualTo(1);
        }
    }

    @Test
    void mergesGoByRankThenFromTheLeft() {
        // ids 0, 1, 2 are a, b, c: "b b" comes before "a b" before "ab b"
        Merges merges = new Merges(3);
        merges.add(1, 1, 0, 3);
        merges.add(0, 1, 1, 4);
        merges.add(4, 1, 2, 5);
        assertThat(apply(merges, 0, 1, 1)).containsExactly(0, 3);
        assertThat(apply(merges, 0, 1)).containsExactly(4);
        assertThat(apply(merges, 1, 1, 1, 1, 1)).containsExactly(3, 3, 1);
        assertThat(apply(merges, 0, 1, 2, 0, 1, 1, 1)).containsExactly(4, 2, 0, 3, 1);
        assertThat(apply(merges, 2)).containsExactly(2);
        assertThat(apply(merges)).isEmpty();
    }

    private static int[] apply(Merges merges, int... symbols) {
        int n = merges.apply(symbols, symbols.length);
        return java.util.Arrays.copyOf(symbols, n);
    }

    @Test
    void anyTextComesBack() {
        BpeTokenizer tokenizer = new BpeTrainer().add(CORPUS).train(370);
        assertThat(tokenizer.vocabulary()).isEqualTo(370);
        assertThat(tokenizer.encode("the cat").size()).isLessThan(5);
        for (int i = 0; i < 20_000; i++) {
            String text = randomText(i);
            assertThat(tokenizer.decode(tokenizer.encode(text)))
                    .as("seed %d", i)
                    .isEqualTo(text);
        }
        assertThat(tokenizer.encode("")).isEqualTo(Tokens.EMPTY);
    }

    @Test
    void trainingIsAFunctionOfTheText() throws IOException {
        new BpeTrainer().add(CORPUS).train(350).save(folder.resolve("a.json"));
        new BpeTrainer().add(CORPUS).train(350).save(folder.resolve("b.json"));
        assertThat(folder.resolve("a.json")).hasSameTextualContentAs(folder.resolve("b.json"));
        BpeTokenizer tokenizer = new BpeTrainer().add("the the the the them").train(BpeTrainer.SMALLEST + 3);
        assertThat(tokenizer.encode(" the").size()).isEqualTo(1);
        assertThatThrownBy(() -> new BpeTrainer().train(10))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining("262");
    }

    @Test
    void trainingTakesTheMostFrequentPairEachTime() {
        // counted by hand: "ab" 4 times, then "abc" 3 times, then nothing twice
        BpeTokenizer tokenizer =
                new BpeTrainer().add("abc").add("abc").add("abc").add("ab").train(300);
        assertThat(tokenizer.vocabulary()).isEqualTo(BpeTrainer.SMALLEST + 2);
        assertThat(tokenizer.encode("ab")).isEqualTo(Tokens.of(BpeTrainer.SMALLEST));
        assertThat(tokenizer.encode("abc")).isEqualTo(Tokens.of(BpeTrainer.SMALLEST + 1));
        assertThat(tokenizer.encode("bc")).isEqualTo(Tokens.of(6 + 'b', 6 + 'c'));
    }

    @Test
    void savedAndLoadedItReadsTheSame() throws IOException {
        BpeTokenizer tokenizer = new BpeTrainer().add(CORPUS).train(370);
        Path file = folder.resolve("tokenizer.json");
        tokenizer.save(file);
        Tokenizer loaded = Tokenizer.load(file);
        assertThat(loaded.controls()).isEqualTo(ControlTokens.from(0)).isEqualTo(tokenizer.controls());
        assertThat(loaded.controls().complete()).isTrue();
        assertThat(loaded.vocabulary()).isEqualTo(370);
        for (int i = 0; i < 500; i++) {
            assertThat(loaded.encode(randomText(i))).isEqualTo(tokenizer.encode(randomText(i)));
        }
        loaded.save(folder.resolve("again.json"));
        assertThat(folder.resolve("again.json")).hasSameTextualContentAs(file);
    }

    @Test
    void noTextSpellsAControlToken() {
        BpeTokenizer trained = new BpeTrainer()
                .add((String.join(" ", ControlTokens.NAMES) + " ").repeat(500))
                .train(330);
        for (String name : ControlTokens.NAMES) {
            for (String text : new String[] {name, name + name, " " + name + "x", "a" + name}) {
                Tokens tokens = trained.encode(text);
                for (int i = 0; i < tokens.size(); i++) {
                    assertThat(tokens.at(i)).isGreaterThanOrEqualTo(ControlTokens.NAMES.size());
                }
                assertThat(trained.decode(tokens)).isEqualTo(text);
            }
        }
        Tokens marked = Tokens.concat(Tokens.of(2, 4), trained.encode("hm"), Tokens.of(3));
        assertThat(trained.decode(marked)).isEqualTo("hm");
        assertThat(trained.show(marked)).isEqualTo("<latent><prior>hm</latent>");
    }

    @Test
    void halfASurrogatePairIsRefused() {
        BpeTokenizer tokenizer = new BpeTrainer().add(CORPUS).train(300);
        assertThatThrownBy(() -> tokenizer.encode("ab\ud83dc"))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining("character 2");
    }

    @ParameterizedTest
    @ValueSource(strings = {"a", " ", "ab\n \t", "'s", "1", "  x"})
    void timeIsNearlyLinear(String part) {
        BpeTokenizer tokenizer = new BpeTrainer().add(CORPUS).train(370);
        String text = part.repeat((1 << 20) / part.length());
        // a mebibyte takes a fraction of a second; quadratic work would take hours
        Assertions.assertTimeout(
                Duration.ofSeconds(20),
                () -> assertThat(tokenizer.decode(tokenizer.encode(text))).isEqualTo(text));
    }

    @Test
    void wordsAreCutAsInTheOriginals() {
        assertThat(Splitting.GPT2.split("Hello  world's 123abc!?\n\n x"))
                .containsExactly("Hello", " ", " world", "'s", " 123", "abc", "!?", "\n\n", " x");
        assertThat(Splitting.LLAMA3.split("I'LL take 12345 (now)\r\n\r\n  ok "))
                .containsExactly("I", "'LL", " take", " ", "123", "45", " (", "now", ")\r\n\r\n", " ", " ok", " ");
        assertThat(Splitting.QWEN2.split("x=42")).containsExactly("x", "=", "4", "2");
        assertThat(Splitting.DIGITS.split("a12b")).containsExactly("a", "1", "2", "b");
        // white space is Unicode's; the last of a run stays with what follows only if it is a space
        assertThat(Splitting.GPT2.split("a\u3000\u00a0b")).containsExactly("a", "\u3000", "\u00a0", "b");
    }

    @Test
    void symbolsAreWords() throws IOException {
        SymbolTokenizer tokenizer = new SymbolTokenizer(List.of("s0", "s1", "g_a"));
        assertThat(tokenizer.vocabulary()).isEqualTo(9);
        assertThat(tokenizer.encode(" s1 g_a\ts0 ")).isEqualTo(Tokens.of(1, 2, 0));
        assertThat(tokenizer.controls()).isEqualTo(ControlTokens.from(3));
        assertThat(tokenizer.decode(Tokens.of(3, 1, 2, 4))).isEqualTo("s1 g_a");
        assertThat(tokenizer.show(Tokens.of(5, 7, 1, 6))).isEqualTo("<latent> <prior> s1 </latent>");
        assertThatThrownBy(() -> tokenizer.encode("s2"))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining("s2");
        assertThatThrownBy(() -> tokenizer.encode("<bos>")).isInstanceOf(EngineException.InvalidInput.class);
        assertThatThrownBy(() -> new SymbolTokenizer(List.of("<bos>"))).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> new SymbolTokenizer(List.of("a", "a"))).isInstanceOf(IllegalArgumentException.class);
        Path file = folder.resolve("tokenizer.json");
        tokenizer.save(file);
        assertThat(((SymbolTokenizer) Tokenizer.load(file)).symbols()).isEqualTo(tokenizer.symbols());
        // for whoever else reads the file: a text begins with <bos>, and no word that is not there becomes it
        JsonNode document = TokenizerFile.JSON.readTree(Files.readAllBytes(file));
        assertThat(template(document.path("post_processor"))).isEqualTo("<bos> A");
        assertThat(document.path("post_processor")
                        .path("special_tokens")
                        .path("<bos>")
                        .path("ids")
                        .path(0)
                        .asInt())
                .isEqualTo(tokenizer.controls().bos());
        String unknown = document.path("model").path("unk_token").asString();
        assertThat(document.path("model").path("vocab").has(unknown)).isFalse();
    }

    /** What a template makes of one text. */
    private static String template(JsonNode processor) {
        List<String> parts = new ArrayList<>();
        for (JsonNode part : processor.path("single")) {
            part.properties()
                    .forEach(entry -> parts.add(entry.getValue().path("id").asString()));
        }
        return String.join(" ", parts);
    }

    /** A tokenizer that is given a bos opens its texts with it, and the file says so. */
    @Test
    void aBosThatIsAddedIsInTheTemplate() throws IOException {
        Path file = folder.resolve("tokenizer.json");
        String without = document("{\"a\":3}", "[]").replace("<s>", "<x>");
        for (String processor :
                new String[] {"null", "{\"type\":\"ByteLevel\"}", "{\"type\":\"Sequence\",\"processors\":[]}"}) {
            Files.writeString(file, without.replace("\"pre_tok", "\"post_processor\":" + processor + ",\"pre_tok"));
            BpeTokenizer foreign = (BpeTokenizer) Tokenizer.load(file);
            assertThat(foreign.controls().bos()).isEqualTo(ControlTokens.NONE);
            BpeTokenizer grown = foreign.withControls();
            int bos = grown.controls().bos();
            assertThat(grown.open("a")).isEqualTo(Tokens.of(bos, 3));
            grown.save(file);
            JsonNode written =
                    TokenizerFile.JSON.readTree(Files.readAllBytes(file)).path("post_processor");
            JsonNode last = written.has("processors")
                    ? written.path("processors").path(written.path("processors").size() - 1)
                    : written;
            assertThat(template(last)).isEqualTo("<bos> A");
            assertThat(last.path("special_tokens")
                            .path("<bos>")
                            .path("ids")
                            .path(0)
                            .asInt())
                    .isEqualTo(bos);
            assertThat(Tokenizer.load(file).open("a")).isEqualTo(Tokens.of(bos, 3));
        }
    }

    private static String processed(String document, String processor) {
        return document.replace("\"pre_tok", "\"post_processor\":" + processor + ",\"pre_tok");
    }

    private static List<String> templates(Path file) throws IOException {
        JsonNode processor =
                TokenizerFile.JSON.readTree(Files.readAllBytes(file)).path("post_processor");
        List<String> templates = new ArrayList<>();
        for (JsonNode step : processor.has("processors") ? processor.path("processors") : List.of(processor)) {
            if (step.path("type").asString().equals("TemplateProcessing")) {
                templates.add(template(step));
            }
        }
        return templates;
    }

    private static final String CLOSING = "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}},"
            + "{\"SpecialToken\":{\"id\":\"</s>\"}}]}";

    private static final String OPENING =
            "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<bos>\"}},"
                    + "{\"Sequence\":{\"id\":\"A\"}}]}";

    /** Hugging Face's library gives the pieces that one template made to the next: two of them make other ids than either. */
    @Test
    void aBosThatIsAddedTakesThePlaceOfATemplateThatHasNone() throws IOException {
        Path file = folder.resolve("tokenizer.json");
        String without = document("{\"a\":3}", "[]").replace("<s>", "<x>");
        for (String processor : new String[] {
            CLOSING,
            "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"}," + CLOSING + "]}",
            "{\"type\":\"Sequence\",\"processors\":[" + CLOSING + ",{\"type\":\"ByteLevel\"}]}"
        }) {
            Files.writeString(file, processed(without, processor));
            BpeTokenizer grown = ((BpeTokenizer) Tokenizer.load(file)).withControls();
            grown.save(file);
            assertThat(templates(file)).containsExactly("<bos> A");
            assertThat(Files.readString(file).contains("ByteLevel")).isEqualTo(processor.contains("ByteLevel"));
            assertThat(Tokenizer.load(file).open("a"))
                    .isEqualTo(Tokens.of(grown.controls().bos(), 3));
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "[]",
                "[{\"SpecialToken\":{\"id\":\"</s>\"}}]",
                "[{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}}]",
                "[{\"Sequence\":{\"id\":\"B\"}}]",
                "[{\"Sequence\":{\"id\":\"A\"}},{\"Text\":{\"id\":\"B\"}}]"
            })
    void aTemplateThatHoldsSomethingElseThanOneTextIsRefused(String single) throws IOException {
        Path file = folder.resolve("tokenizer.json");
        String processor = "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"TemplateProcessing\",\"single\":%s}]}";
        Files.writeString(file, processed(document("{\"a\":3}", "[]"), processor.formatted(single)));
        assertThatThrownBy(() -> Tokenizer.load(file))
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageContaining("post_processor.processors[0].single")
                .hasMessageContaining("expected special tokens and the text A once");
    }

    /** Files that earlier versions wrote: {@code <bos>} is known by its name, the template says nothing of it or stands beside another. */
    @Test
    void aFileWhoseBosTheTemplateLacksIsWrittenWithIt() throws IOException {
        Path file = folder.resolve("tokenizer.json");
        String named = document("{\"a\":3}", "[]").replace("<s>", "<bos>");
        for (String processor : new String[] {
            "null",
            "{\"type\":\"ByteLevel\"}",
            "{\"type\":\"Sequence\",\"processors\":[" + CLOSING + "," + OPENING + "]}"
        }) {
            Files.writeString(file, processed(named, processor));
            Tokenizer old = Tokenizer.load(file);
            assertThat(old.open("a")).isEqualTo(Tokens.of(1, 3));
            old.save(file);
            assertThat(templates(file)).containsExactly("<bos> A");
            Tokenizer mended = Tokenizer.load(file);
            assertThat(mended.open("a")).isEqualTo(Tokens.of(1, 3));
            byte[] written = Files.readAllBytes(file);
            mended.save(file);
            assertThat(file).hasBinaryContent(written);
        }
        // what closes a text of a tokenizer that opens it itself stays
        Files.writeString(file, processed(named, OPENING.replace("]}", ",{\"SpecialToken\":{\"id\":\"</s>\"}}]}")));
        Tokenizer.load(file).save(file);
        assertThat(templates(file)).containsExactly("<bos> A </s>");
    }

    @Test
    void aForeignTokenizerIsGivenControlTokens() throws IOException {
        Path file = folder.resolve("tokenizer.json");
        Files.writeString(file, document("{\"a\":3,\"b\":4,\"ab\":5}", "[\"a b\"]"));
        BpeTokenizer foreign = (BpeTokenizer) Tokenizer.load(file);
        assertThat(foreign.controls()).isEqualTo(new ControlTokens(1, 2, -1, -1, -1, -1));
        assertThat(foreign.encode("abab")).isEqualTo(Tokens.of(5, 5));
        assertThat(foreign.encode("a\u00e9").at(0)).isEqualTo(3);
        BpeTokenizer grown = foreign.withControls();
        assertThat(grown.controls()).isEqualTo(new ControlTokens(1, 2, 6, 7, 8, 9));
        assertThat(grown.vocabulary()).isEqualTo(10);
        grown.save(file);
        assertThat(Tokenizer.load(file).controls()).isEqualTo(grown.controls());
        assertThat(grown.encode("ab")).isEqualTo(foreign.encode("ab"));
    }

    @Test
    void aTextBeginsWithBosWhereTheFileSaysSo() throws IOException {
        Path file = folder.resolve("tokenizer.json");
        String plain = document("{\"a\":3}", "[]");
        Files.writeString(file, plain);
        Tokenizer silent = Tokenizer.load(file);
        assertThat(silent.opensWithBos()).isFalse();
        assertThat(silent.open("aa")).isEqualTo(Tokens.of(3, 3));
        assertThat(silent.open("")).isEqualTo(Tokens.of(1)); // there has to be something to go on from
        String template =
                "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}]}";
        Files.writeString(file, plain.replace("\"pre_tok", "\"post_processor\":" + template + ",\"pre_tok"));
        assertThat(Tokenizer.load(file).open("aa")).isEqualTo(Tokens.of(1, 3, 3));
        // Qwen: <|endoftext|> parts documents, but no template puts it before a text
        Files.writeString(
                file,
                plain.replace("<s>", "<|endoftext|>")
                        .replace("\"pre_tok", "\"post_processor\":{\"type\":\"ByteLevel\"},\"pre_tok"));
        BpeTokenizer qwen = (BpeTokenizer) Tokenizer.load(file);
        assertThat(qwen.controls().bos()).isEqualTo(1);
        assertThat(qwen.open("a")).isEqualTo(Tokens.of(3));
        assertThat(qwen.withControls().open("a")).isEqualTo(Tokens.of(3));
        assertThat(new BpeTrainer().add("a").train(262).open("a")).isEqualTo(Tokens.of(0, 6 + 'a'));
    }

    static Stream<Arguments> brokenFiles() {
        String good = document("{\"a\":3}", "[]");
        return Stream.of(
                Arguments.of("not JSON", "{\"a\"", "not valid JSON"),
                Arguments.of("a list", "[]", "not a JSON object"),
                Arguments.of("unknown model", "{\"model\":{\"type\":\"Unigram\"}}", "Unigram"),
                Arguments.of("no vocabulary", "{\"model\":{\"type\":\"BPE\"}}", "model.vocab"),
                Arguments.of("id given twice", document("{\"a\":3,\"b\":3}", "[]"), "id 3 is given twice"),
                Arguments.of("negative id", document("{\"a\":-3}", "[]"), "expected an id"),
                Arguments.of("huge id", document("{\"a\":2000000000}", "[]"), "expected an id"),
                Arguments.of("id as text", document("{\"a\":\"3\"}", "[]"), "expected an id"),
                Arguments.of("merge to a missing token", document("{\"a\":3,\"b\":4}", "[\"a b\"]"), "\"ab\""),
                Arguments.of("merge of a missing token", document("{\"a\":3}", "[\"a b\"]"), "\"b\""),
                Arguments.of("merge of three", document("{\"a\":3}", "[\"a a a\"]"), "expected two"),
                Arguments.of("merge of one", document("{\"a\":3}", "[\"a\"]"), "expected two"),
                Arguments.of(
                        "merge into a special token", document("{\"<\":3,\"s>\":4}", "[\"< s>\"]"), "special token"),
                Arguments.of("key given twice", document("{\"a\":3,\"a\":4}", "[]"), "uplicate"),
                Arguments.of(
                        "unknown normalizer",
                        good.replace("izer\":null,\"pre", "izer\":{\"type\":\"Lowercase\"},\"pre"),
                        "Lowercase"),
                Arguments.of(
                        "unknown pattern",
                        good.replace(
                                "\"pre_tokenizer\":null",
                                "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+$\"},\"behavior\":\"Isolated\"}"),
                        "(a+)+$"),
                Arguments.of("dropout", good.replace("\"dropout\":null", "\"dropout\":0.1"), "dropout"));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("brokenFiles")
    void refusesBrokenFilesByTheRule(String name, String content, String rule) throws IOException {
        Path file = folder.resolve("tokenizer.json");
        Files.writeString(file, content);
        assertThatThrownBy(() -> Tokenizer.load(file))
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageContaining(file.toString())
                .hasMessageContaining(rule);
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 370})
    void idsOutsideTheVocabularyAreNotDecoded(int id) {
        BpeTokenizer tokenizer = new BpeTrainer().add(CORPUS).train(370);
        assertThatThrownBy(() -> tokenizer.decode(Tokens.of(id)))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining("token " + id);
    }

    /** A character-level tokenizer with three special tokens and these entries. */
    private static String document(String vocabulary, String merges) {
        return ("{\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true},{\"id\":1,\"content\":\"<s>\",\"special\":true},"
                        + "{\"id\":2,\"content\":\"</s>\",\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":null,"
                        + "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"<unk>\",\"byte_fallback\":true,"
                        + "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"</s>\":2,%s,\"merges\":%s}}")
                .formatted(vocabulary.substring(1), merges);
    }

    /** Up to 40 characters from all planes, with much white space, digits and apostrophes. */
    private static String randomText(int seed) {
        StringBuilder text = new StringBuilder();
        int size = Philox.below(seed, 0, 40);
        for (int i = 1; i <= size; i++) {
            switch (Philox.below(seed, 1000 + i, 6)) {
                case 0 -> text.append(" \t\n\r\u00a0\u3000".charAt(Philox.below(seed, i, 6)));
                case 1 -> text.append((char) ('0' + Philox.below(seed, i, 10)));
                case 2 -> text.append("'s't<>/|".charAt(Philox.below(seed, i, 8)));
                case 3 -> {
                    int point = Philox.below(seed, i, 0x10FFFF);
                    text.appendCodePoint(point >= 0xD800 && point < 0xE000 ? 0xE9 : point);
                }
                default -> text.append((char) ('a' + Philox.below(seed, i, 26)));
            }
        }
        return text.toString();
    }
}
