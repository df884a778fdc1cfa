package subtext.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import subtext.bindings.EngineException;
import subtext.random.Philox;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** Files that no tokenizer should be made of: each is refused in one line that names the place, in no time, on little memory. */
class HostileTokenizerTest {
    private static final Path GOLDEN =
            Path.of(System.getProperty("subtext.root", ".."), "engine/src/test/resources/golden/tokenizers");

    @TempDir
    private Path folder;

    static Stream<Arguments> hostileFiles() {
        List<Arguments> cases = new ArrayList<>();
        raw(cases, "an empty file", "", "not a JSON object");
        raw(cases, "white space", " \n", "not a JSON object");
        raw(cases, "NUL bytes", "\0\0\0\0", "not valid JSON");
        raw(cases, "a number", "7", "not a JSON object");
        raw(cases, "cut", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":", "not valid JSON");
        raw(cases, "arrays 100,000 deep", "{\"model\":" + "[".repeat(100_000), "not valid JSON");
        raw(cases, "objects 100,000 deep", "{\"a\":".repeat(100_000), "not valid JSON");
        raw(cases, "a number of a million digits", "{\"model\":" + "9".repeat(1_000_000) + "}", "not valid JSON");
        raw(cases, "a name of a mebibyte", "{\"" + "x".repeat(1 << 20) + "\":1}", "not valid JSON");
        raw(
                cases,
                "a name with a line end twice",
                "{\"a\\nb\":1,\"a\\nb\":1}",
                "Duplicate Object property \"a\\u000ab\"");
        raw(cases, "two models", "{\"model\":{},\"model\":{}}", "uplicate");
        raw(
                cases,
                "UTF-16",
                new String("{\"model\":{}}".getBytes(StandardCharsets.UTF_16LE), StandardCharsets.ISO_8859_1),
                "");
        raw(cases, "no model", "{}", "model: expected an object, got nothing");
        raw(cases, "model is a list", "{\"model\":[]}", "model: expected an object, got []");
        bytes(cases, "type is a number", d -> model(d).put("type", 3), "model.type: expected a text, got 3");
        bytes(cases, "another type", d -> model(d).put("type", "Unigram"), "model.type: \"Unigram\" is not read");
        bytes(
                cases,
                "a type with an escape sequence",
                d -> model(d).put("type", "\u001b[31mBPE\n"),
                "\\u001b[31mBPE\\u000a");
        bytes(cases, "vocabulary is a list", d -> model(d).putArray("vocab"), "model.vocab: expected an object");
        bytes(cases, "empty vocabulary", d -> model(d).putObject("vocab"), "model.vocab: expected an object");
        bytes(cases, "an empty token", d -> vocabulary(d).put("", 7000), "model.vocab: the token of id 7000 is empty");
        bytes(cases, "an id given twice", d -> vocabulary(d).put("zz", 17), "model.vocab: id 17 is given twice");
        bytes(
                cases,
                "a negative id",
                d -> vocabulary(d).put("zz", -1),
                "\"zz\": expected an id in [0, 16777216), got -1");
        bytes(cases, "an id of 2^31", d -> vocabulary(d).put("zz", 1L << 31), "got 2147483648");
        bytes(cases, "an id of 2^24", d -> vocabulary(d).put("zz", 1 << 24), "got 16777216");
        bytes(cases, "an id with a fraction", d -> vocabulary(d).put("zz", 700.5), "got 700.5");
        bytes(cases, "an id as text", d -> vocabulary(d).put("zz", "700"), "got \"700\"");
        bytes(cases, "an id that is null", d -> vocabulary(d).putNull("zz"), "got null");
        bytes(cases, "merges are an object", d -> model(d).putObject("merges"), "model.merges: expected an array");
        bytes(cases, "no merges", d -> model(d).remove("merges"), "model.merges: expected an array, got nothing");
        bytes(cases, "a merge of one", d -> merges(d).add("a"), "model.merges[338]: expected two tokens, got \"a\"");
        bytes(cases, "a merge of three", d -> merges(d).add("a b c"), "model.merges[338]: expected two tokens");
        bytes(cases, "a merge of two spaces", d -> merges(d).add("a  b"), "model.merges[338]: expected two tokens");
        bytes(
                cases,
                "a merge of numbers",
                d -> merges(d).addArray().add(1).add(2),
                "model.merges[338]: expected two tokens");
        bytes(
                cases,
                "a merge of nothing",
                d -> merges(d).addArray().add("").add("a"),
                "model.merges[338]: expected two tokens");
        bytes(
                cases,
                "a merge of strangers",
                d -> merges(d).add("qq zz"),
                "model.merges[338]: \"qq\" is not in the vocabulary");
        bytes(
                cases,
                "a merge to a stranger",
                d -> merges(d).add("q q"),
                "model.merges[338]: \"qq\" is not in the vocabulary");
        bytes(
                cases,
                "a merge into a special token",
                d -> {
                    vocabulary(d).put("<s", 700).put("<s>", 701);
                    added(d).addObject().put("id", 701).put("content", "<s>").put("special", true);
                    merges(d).add("< s").add("<s >");
                },
                "model.merges[339]: makes the special token \"<s>\", which text could then spell");
        bytes(cases, "dropout", d -> model(d).put("dropout", 0.1), "model.dropout: 0.1 is not supported");
        bytes(
                cases,
                "a prefix of subwords",
                d -> model(d).put("continuing_subword_prefix", "##"),
                "model.continuing_subword_prefix");
        bytes(cases, "a suffix of words", d -> model(d).put("end_of_word_suffix", "</w>"), "model.end_of_word_suffix");
        bytes(
                cases,
                "a flag as text",
                d -> model(d).put("ignore_merges", "yes"),
                "model.ignore_merges: expected true or false");
        bytes(
                cases,
                "unknown is a stranger",
                d -> model(d).put("unk_token", "qq"),
                "model.unk_token: \"qq\" is not in the vocabulary");
        bytes(
                cases,
                "unknown is a number",
                d -> model(d).put("unk_token", 0),
                "model.unk_token: expected a text, got 0");
        bytes(
                cases,
                "unknown is a control token",
                d -> {
                    vocabulary(d).put("<latent>", 2);
                    model(d).put("unk_token", "<latent>");
                },
                "model.unk_token: \"<latent>\" is a control token, which text could then become");
        bytes(cases, "added tokens are an object", d -> d.putObject("added_tokens"), "added_tokens: expected an array");
        bytes(
                cases,
                "an added token is a text",
                d -> added(d).add("x"),
                "added_tokens[6]: expected an object, got \"x\"");
        bytes(
                cases,
                "an added token without id",
                d -> added(d).addObject().put("content", "x"),
                "added_tokens[6].id: expected an id");
        bytes(
                cases,
                "an added token without content",
                d -> added(d).addObject().put("id", 700),
                "added_tokens[6]: \"\" is empty");
        bytes(
                cases,
                "an added token given twice",
                d -> added(d).addObject().put("id", 700).put("content", "<bos>"),
                "added_tokens[6]");
        bytes(
                cases,
                "an added token on another's id",
                d -> added(d).addObject().put("id", 17).put("content", "x"),
                "added_tokens[6]: id 17");
        bytes(
                cases,
                "an added token of two ids",
                d -> added(d).addObject().put("id", 700).put("content", "t"),
                "but in the vocabulary");
        bytes(
                cases,
                "special is a text",
                d -> ((ObjectNode) added(d).get(0)).put("special", "true"),
                "added_tokens[0].special");
        bytes(
                cases,
                "a control token that text spells",
                d -> ((ObjectNode) added(d).get(2)).put("special", false),
                "added_tokens[2]: \"<latent>\" is the name of a control token, but not special");
        bytes(
                cases,
                "an added token of a kilobyte",
                d -> literal(d, "x".repeat(1024)),
                "has 1024 characters, more than 256");
        bytes(
                cases,
                "an added token that eats spaces",
                d -> literal(d, "qq").put("lstrip", true),
                "added_tokens[6].lstrip of \"qq\"");
        bytes(
                cases,
                "an added token of whole words",
                d -> literal(d, "qq").put("single_word", true),
                "added_tokens[6].single_word");
        bytes(
                cases,
                "an unknown normalizer",
                d -> step(d, "normalizer", "Lowercase"),
                "normalizer: {\"type\":\"Lowercase\"} is not supported");
        bytes(cases, "a normalizer of no type", d -> d.putObject("normalizer"), "normalizer: {} is not supported");
        bytes(
                cases,
                "a normalizer that is a text",
                d -> d.put("normalizer", "NFC"),
                "normalizer: expected an object, got \"NFC\"");
        bytes(
                cases,
                "a sequence of a text",
                d -> step(d, "normalizer", "Sequence").put("normalizers", "NFC"),
                "normalizer.normalizers");
        bytes(
                cases,
                "a sequence of texts",
                d -> step(d, "normalizer", "Sequence").putArray("normalizers").add("NFC"),
                "normalizers[0]");
        bytes(
                cases,
                "a sequence of sequences",
                d -> step(d, "normalizer", "Sequence")
                        .putArray("normalizers")
                        .addObject()
                        .put("type", "Sequence"),
                "normalizer.normalizers[0]");
        bytes(
                cases,
                "another replacement",
                d -> replace(step(d, "normalizer", "Replace"), "a", "b"),
                "normalizer: {\"type\":\"Replace\"");
        bytes(cases, "an unknown pre-tokenizer", d -> step(d, "pre_tokenizer", "BertPreTokenizer"), "pre_tokenizer: ");
        bytes(
                cases,
                "a pattern of exponential time",
                d -> split(d, "(a+)+$"),
                "the pattern (a+)+$ is not one of those known");
        bytes(
                cases,
                "a pattern that is almost known",
                d -> split(d, Splitting.QWEN2.text() + "|x"),
                "is not one of those known");
        bytes(cases, "a pattern of a mebibyte", d -> split(d, "a?".repeat(1 << 19)), "is not one of those known");
        bytes(
                cases,
                "a pattern kept out",
                d -> split(d, Splitting.QWEN2.text()).put("invert", true),
                "pre_tokenizer: ");
        bytes(cases, "a step behind bytes", d -> twice(d), "pre_tokenizer.pretokenizers[1]: a step after ByteLevel");
        bytes(
                cases,
                "use_regex is a number",
                d -> ((ObjectNode) d.get("pre_tokenizer")).put("use_regex", 1),
                "pre_tokenizer.use_regex");
        bytes(
                cases,
                "an unknown decoder",
                d -> step(d, "decoder", "WordPiece"),
                "decoder: {\"type\":\"WordPiece\"} is not supported");
        bytes(
                cases,
                "a decoder of other symbols",
                d -> step(d, "decoder", "Metaspace"),
                "decoder: {\"type\":\"Metaspace\"}");
        bytes(cases, "a decoder that does nothing", d -> step(d, "decoder", "Fuse"), "decoder: does not undo");
        bytes(cases, "an unknown post-processor", d -> step(d, "post_processor", "BertProcessing"), "post_processor: ");
        bytes(
                cases,
                "a template of strangers",
                d -> template(d, "<x>"),
                "post_processor.single: \"<x>\" is not a special token");
        bytes(cases, "a template of two", d -> template(d, "<bos>", "<eos>"), "post_processor: ");
        marked(
                cases,
                "bytes without their decoder",
                d -> ((ArrayNode) d.get("decoder").get("decoders")).remove(1),
                "lacks ByteFallback");
        marked(cases, "neither bytes nor unknown", d -> model(d).put("byte_fallback", false), "some text has no ids");
        marked(
                cases,
                "a merge into a byte token",
                d -> {
                    vocabulary(d).put("<", 700).put("0x41>", 701);
                    merges(d).add("< 0x41>");
                },
                "makes the byte token \"<0x41>\", which text could then spell");
        marked(
                cases,
                "two spaces stripped",
                d -> ((ObjectNode) d.get("decoder").get("decoders").get(3)).put("start", 2),
                "decoder.decoders[3]");
        marked(
                cases,
                "a space without its mark",
                d -> ((ArrayNode) d.get("normalizer").get("normalizers")).remove(1),
                "Prepend without Replace");
        marked(
                cases,
                "spaces marked twice",
                d -> step(d, "pre_tokenizer", "Metaspace").put("split", false),
                "pre_tokenizer: ");
        marked(cases, "words cut at marks", d -> step(d, "pre_tokenizer", "Metaspace"), "pre_tokenizer: ");
        marked(
                cases,
                "a literal in normalized text",
                d -> literal(d, "qq").put("normalized", true),
                "looked for in normalized text");
        return cases.stream();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("hostileFiles")
    void isRefusedInOneLineThatNamesThePlace(String name, String content, String place) throws IOException {
        Path file = folder.resolve("tokenizer.json");
        Files.writeString(file, content);
        long begin = System.nanoTime();
        assertThatThrownBy(() -> Tokenizer.load(file))
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageStartingWith(file + ": ")
                .hasMessageContaining(place)
                .message()
                .matches(m -> m.lines().count() == 1, "is one line")
                .matches(m -> m.chars().noneMatch(c -> c < ' '), "holds nothing that a terminal obeys")
                .hasSizeLessThan(600);
        assertThat(System.nanoTime() - begin).isLessThan(30_000_000_000L);
    }

    @Test
    void theTableCoversManyRules() {
        Set<Object> names = new HashSet<>();
        hostileFiles().forEach(arguments -> names.add(arguments.get()[0]));
        assertThat(names).hasSizeGreaterThanOrEqualTo(80);
    }

    @Test
    void theFilesBehindTheTableAreRead() throws IOException {
        for (String name : new String[] {"gpt2", "llama2"}) {
            assertThat(Tokenizer.load(GOLDEN.resolve(name + ".json")).vocabulary())
                    .isEqualTo(600);
        }
    }

    @Test
    void aFileTooLargeIsNotRead() throws IOException {
        Path file = folder.resolve("tokenizer.json");
        try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
            sparse.setLength((128 << 20) + 1);
        }
        assertThatThrownBy(() -> Tokenizer.load(file))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining("has 134217729 bytes, at most 134217728");
    }

    @Test
    void whatTheVocabularyCannotSpellIsRefusedNotLeftOut() throws IOException {
        // SmolLM2's vocabulary lacks bytes: Hugging Face's library leaves them out without a word
        Path file = folder.resolve("tokenizer.json");
        ObjectNode document = document("gpt2");
        vocabulary(document).remove(String.valueOf(ByteAlphabet.character(0xF1)));
        Files.writeString(file, document.toString());
        Tokenizer tokenizer = Tokenizer.load(file);
        assertThat(tokenizer.decode(tokenizer.encode("caf\u00e9"))).isEqualTo("caf\u00e9");
        assertThatThrownBy(() -> tokenizer.encode("a " + Character.toString(0x46131)))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining("no token for byte F1");
    }

    @Test
    @Tag("slow")
    void aVocabularyOfFiftyMegabytesIsRead() throws IOException {
        Path file = folder.resolve("tokenizer.json");
        ObjectNode document = document("gpt2");
        for (int i = 0; i < 1_500_000; i++) {
            vocabulary(document).put("token number %d of many".formatted(i), 1000 + i);
        }
        Files.writeString(file, document.toString());
        assertThat(Files.size(file)).isGreaterThan(50_000_000);
        assertThat(Tokenizer.load(file).vocabulary()).isEqualTo(1_501_000);
    }

    @Test
    void aThousandDamagedFilesAreRefusedOrRead() throws IOException {
        fuzz(0, 1000);
    }

    @Test
    @Tag("slow")
    void fiftyThousandDamagedFilesAreRefusedOrRead() throws IOException {
        fuzz(1000, 51_000);
    }

    private static final String[] BAD = {
        "-1",
        "0",
        "700",
        "1e400",
        "9223372036854775808",
        "null",
        "true",
        "{}",
        "[]",
        "[[[[",
        "\"\"",
        "\"a\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"<latent>\"",
        "\"<0x41>\"",
        "\"BPE\"",
        "\"Sequence\"",
        "\"ByteLevel\"",
        "\"NFC\"",
        "\"type\"",
        "\"id\"",
        "\"vocab\"",
    };

    /** Bytes overwritten, words of JSON replaced, parts doubled, the file cut: refused with the file named in one line, or still right. */
    private void fuzz(int first, int last) throws IOException {
        byte[][] good = {
            Files.readAllBytes(GOLDEN.resolve("qwen2.json")), Files.readAllBytes(GOLDEN.resolve("llama2.json"))
        };
        String[][] words = new String[good.length][];
        for (int g = 0; g < good.length; g++) {
            // without most of vocabulary and merges, so that damage meets the rules
            ObjectNode document = (ObjectNode) JsonMapper.shared().readTree(good[g]);
            model(document).putArray("merges").add(g == 0 ? "t h" : "t h");
            vocabulary(document).put("t", vocabulary(document).path("t").asInt(290));
            vocabulary(document)
                    .retain(Stream.concat(
                                    Stream.of("t", "h", "th"),
                                    vocabulary(document).propertyNames().stream()
                                            .filter(n -> n.length() == (n.startsWith("<0x") ? 6 : 1)))
                            .toList());
            good[g] = document.toString().getBytes(StandardCharsets.UTF_8);
            words[g] = document.toString().split("(?<=[\\[\\]{},:])|(?=[\\[\\]{},:])");
        }
        Path file = folder.resolve("fuzz.json");
        int refused = 0;
        long slowest = 0;
        for (int i = first; i < last; i++) {
            Files.write(file, damaged(good[i % 2], words[i % 2], i));
            long begin = System.nanoTime();
            try {
                Tokenizer tokenizer = Tokenizer.load(file);
                int[] controls = tokenizer.controls().ids();
                try {
                    for (int id : tokenizer
                            .encode("the <latent> \u00e9\u0301 <0x41> 12")
                            .toArray()) {
                        assertThat(controls).as("case %d", i).doesNotContain(id);
                    }
                } catch (EngineException.InvalidInput e) {
                    assertThat(e.getMessage()).as("case %d", i).contains("no token for");
                }
            } catch (EngineException.CorruptFile e) {
                refused++;
                assertThat(e.getMessage()).as("case %d", i).startsWith(file.toString());
                assertThat(e.getMessage().lines().count())
                        .as("case %d: %s", i, e.getMessage())
                        .isOne();
            }
            slowest = Math.max(slowest, System.nanoTime() - begin);
        }
        assertThat(refused).isBetween((last - first) / 3, last - first - 1);
        assertThat(slowest).as("ns of the slowest").isLessThan(30_000_000_000L);
    }

    private static byte[] damaged(byte[] good, String[] words, int i) {
        byte[] bytes = good.clone();
        switch (Philox.below(i, 3, 4)) {
            case 0 -> {
                for (int flips = 0; flips <= Philox.below(i, 0, 3); flips++) {
                    bytes[Philox.below(i, 10 + flips, bytes.length)] = (byte) Philox.bits(i, 20 + flips);
                }
            }
            case 1, 2 -> {
                String[] changed = words.clone();
                for (int k = 0; k <= Philox.below(i, 1, 2); k++) {
                    changed[Philox.below(i, 30 + k, words.length)] = BAD[Philox.below(i, 40 + k, BAD.length)];
                }
                bytes = String.join("", changed).getBytes(StandardCharsets.UTF_8);
            }
            default -> {
                int from = Philox.below(i, 6, good.length - 1);
                int to = from + 1 + Philox.below(i, 7, Math.min(300, good.length - from - 1));
                ByteArrayOutputStream out = new ByteArrayOutputStream();
                out.write(good, 0, from);
                for (int k = 0; k < 2 * Philox.below(i, 8, 2); k++) {
                    out.write(good, from, to - from);
                }
                out.write(good, to, good.length - to);
                bytes = out.toByteArray();
            }
        }
        return Philox.below(i, 2, 8) == 0 ? Arrays.copyOf(bytes, Philox.below(i, 9, bytes.length)) : bytes;
    }

    // ---- cases

    private static void raw(List<Arguments> cases, String name, String content, String place) {
        cases.add(Arguments.of(name, content, place));
    }

    /** A file over bytes with one change. */
    private static void bytes(List<Arguments> cases, String name, Consumer<ObjectNode> change, String place) {
        changed(cases, "gpt2", name, change, place);
    }

    /** A file over characters, with spaces marked and bytes for the rest, with one change. */
    private static void marked(List<Arguments> cases, String name, Consumer<ObjectNode> change, String place) {
        changed(cases, "llama2", name, change, place);
    }

    private static void changed(
            List<Arguments> cases, String file, String name, Consumer<ObjectNode> change, String place) {
        ObjectNode document = document(file);
        change.accept(document);
        cases.add(Arguments.of(name, document.toString(), place));
    }

    private static ObjectNode document(String name) {
        return (ObjectNode)
                JsonMapper.shared().readTree(GOLDEN.resolve(name + ".json").toFile());
    }

    private static ObjectNode model(ObjectNode document) {
        return (ObjectNode) document.get("model");
    }

    private static ObjectNode vocabulary(ObjectNode document) {
        return (ObjectNode) model(document).get("vocab");
    }

    private static ArrayNode merges(ObjectNode document) {
        return (ArrayNode) model(document).get("merges");
    }

    private static ArrayNode added(ObjectNode document) {
        return (ArrayNode) document.get("added_tokens");
    }

    private static ObjectNode literal(ObjectNode document, String content) {
        return added(document)
                .addObject()
                .put("id", 700)
                .put("content", content)
                .put("special", false);
    }

    private static ObjectNode step(ObjectNode document, String field, String type) {
        return document.putObject(field).put("type", type);
    }

    private static ObjectNode split(ObjectNode document, String pattern) {
        ObjectNode step = step(document, "pre_tokenizer", "Split").put("behavior", "Isolated");
        step.putObject("pattern").put("Regex", pattern);
        return step;
    }

    private static void replace(ObjectNode step, String from, String to) {
        step.put("content", to).putObject("pattern").put("String", from);
    }

    private static void twice(ObjectNode document) {
        ObjectNode bytes = (ObjectNode) document.get("pre_tokenizer");
        step(document, "pre_tokenizer", "Sequence")
                .putArray("pretokenizers")
                .add(bytes)
                .add(bytes);
    }

    private static void template(ObjectNode document, String... specials) {
        ArrayNode single =
                step(document, "post_processor", "TemplateProcessing").putArray("single");
        for (String special : specials) {
            single.addObject().putObject("SpecialToken").put("id", special);
        }
        single.addObject().putObject("Sequence").put("id", "A");
    }
}
