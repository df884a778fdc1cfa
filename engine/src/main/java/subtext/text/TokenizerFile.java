package subtext.text;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import subtext.bindings.EngineException;
import subtext.io.AtomicFiles;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * {@code tokenizer.json} read into rules and written back. What this engine does not do is refused by its name in the file, never
 * passed over: a tokenizer that reads a text a little differently is a wrong one.
 */
final class TokenizerFile {
    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();

    /** More ids than any vocabulary has; a larger one in a file is damage. */
    private static final int MOST_IDS = 1 << 24;

    private TokenizerFile() {}

    static Tokenizer read(Path file) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        try {
            JsonNode root = JSON.readTree(bytes);
            if (!(root instanceof ObjectNode document)) {
                throw new EngineException.InvalidInput("not a JSON object");
            }
            String type = document.path("model").path("type").asString("BPE");
            return switch (type) {
                case "BPE" -> bpe(document);
                case "WordLevel" -> symbols(document);
                default ->
                    throw new EngineException.InvalidInput("model type " + type + ": only BPE and WordLevel are read");
            };
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(file + ": not valid JSON: " + e.getOriginalMessage(), e);
        } catch (EngineException.InvalidInput e) {
            throw new EngineException.CorruptFile(file + ": " + e.getMessage(), e);
        }
    }

    static void write(Path file, ObjectNode document) throws IOException {
        AtomicFiles.write(file, JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(document));
    }

    // ---- byte-pair encoding

    static BpeTokenizer bpe(ObjectNode document) {
        JsonNode model = document.path("model");
        refuse(model, "dropout");
        refuse(model, "continuing_subword_prefix");
        refuse(model, "end_of_word_suffix");
        Map<String, Integer> vocabulary = vocabulary(model.path("vocab"));
        List<BpeTokenizer.Added> added = added(document.path("added_tokens"), vocabulary);

        boolean nfc = false;
        boolean markSpaces = false;
        for (JsonNode step : steps(document.path("normalizer"), "normalizers")) {
            switch (step.path("type").asString("")) {
                case "NFC" -> nfc = true;
                case "Prepend" -> {
                    expect(step.path("prepend").asString("").equals("\u2581"), "normalizer Prepend", step);
                    markSpaces = true;
                }
                case "Replace" ->
                    expect(
                            step.path("pattern").path("String").asString("").equals(" ")
                                    && step.path("content").asString("").equals("\u2581"),
                            "normalizer Replace",
                            step);
                default -> expect(false, "normalizer", step);
            }
        }
        boolean byteLevel = false;
        boolean prefixSpace = false;
        List<Splitting> splits = new ArrayList<>();
        for (JsonNode step : steps(document.path("pre_tokenizer"), "pretokenizers")) {
            switch (step.path("type").asString("")) {
                case "ByteLevel" -> {
                    byteLevel = true;
                    prefixSpace = step.path("add_prefix_space").asBoolean(false);
                    if (step.path("use_regex").asBoolean(true)) {
                        splits.add(Splitting.GPT2);
                    }
                }
                case "Digits" -> {
                    expect(step.path("individual_digits").asBoolean(false), "pre_tokenizer Digits", step);
                    splits.add(Splitting.DIGITS);
                }
                case "Split" -> splits.add(splitting(step));
                case "Metaspace" -> {
                    expect(
                            !step.path("split").asBoolean(true)
                                    && step.path("replacement").asString("").equals("\u2581"),
                            "pre_tokenizer Metaspace",
                            step);
                    markSpaces = true;
                }
                default -> expect(false, "pre_tokenizer", step);
            }
        }
        if (!byteLevel
                && !model.path("byte_fallback").asBoolean(false)
                && model.path("unk_token").isNull()) {
            throw new EngineException.InvalidInput(
                    "model: neither bytes, nor byte_fallback, nor unk_token: some text has no ids");
        }
        String unknown = model.path("unk_token").asString(null);
        BpeTokenizer.Rules rules = new BpeTokenizer.Rules(
                byteLevel,
                nfc,
                markSpaces,
                prefixSpace,
                List.copyOf(splits),
                model.path("ignore_merges").asBoolean(false),
                unknown == null ? -1 : vocabulary.getOrDefault(unknown, -1));
        return new BpeTokenizer(document, rules, vocabulary, merges(model.path("merges")), added);
    }

    private static Splitting splitting(JsonNode step) {
        String text = step.path("pattern").path("Regex").asString("");
        expect(
                step.path("behavior").asString("").equals("Isolated")
                        && !step.path("invert").asBoolean(false),
                "pre_tokenizer Split",
                step);
        return Arrays.stream(Splitting.values())
                .filter(known -> known.text().equals(text))
                .findFirst()
                .orElseThrow(() -> new EngineException.InvalidInput(
                        "pre_tokenizer Split: the pattern " + text + " is not one of those known"));
    }

    private static Map<String, Integer> vocabulary(JsonNode node) {
        if (!node.isObject() || node.isEmpty()) {
            throw new EngineException.InvalidInput("model.vocab: expected an object of tokens and ids");
        }
        Map<String, Integer> vocabulary = new HashMap<>(2 * node.size());
        Set<Integer> seen = new HashSet<>(2 * node.size());
        for (Map.Entry<String, JsonNode> entry : node.properties()) {
            int id = id(entry.getValue(), "token \"" + entry.getKey() + "\"");
            if (!seen.add(id)) {
                throw new EngineException.InvalidInput("model.vocab: id " + id + " is given twice");
            }
            vocabulary.put(entry.getKey(), id);
        }
        return vocabulary;
    }

    private static List<BpeTokenizer.Added> added(JsonNode node, Map<String, Integer> vocabulary) {
        List<BpeTokenizer.Added> added = new ArrayList<>();
        Map<Integer, String> byId = new HashMap<>();
        vocabulary.forEach((piece, id) -> byId.put(id, piece));
        Set<String> contents = new HashSet<>();
        for (JsonNode token : node) {
            String content = token.path("content").asString("");
            int id = id(token.path("id"), "added token \"" + content + "\"");
            if (content.isEmpty() || !contents.add(content)) {
                throw new EngineException.InvalidInput("added_tokens: \"" + content + "\" is empty or given twice");
            }
            String there = byId.put(id, content);
            if (there != null && !there.equals(content)) {
                throw new EngineException.InvalidInput(
                        "added_tokens: id " + id + " of \"" + content + "\" is that of \"" + there + "\"");
            }
            Integer inVocabulary = vocabulary.get(content);
            if (inVocabulary != null && inVocabulary != id) {
                throw new EngineException.InvalidInput(
                        "added_tokens: \"" + content + "\" has id " + id + ", in the vocabulary " + inVocabulary);
            }
            added.add(new BpeTokenizer.Added(id, content, token.path("special").asBoolean(false)));
        }
        return added;
    }

    private static int id(JsonNode node, String whose) {
        if (!node.isIntegralNumber() || !node.canConvertToInt() || node.intValue() < 0 || node.intValue() >= MOST_IDS) {
            throw new EngineException.InvalidInput(whose + ": expected an id in [0, " + MOST_IDS + "), got " + node);
        }
        return node.intValue();
    }

    private static List<String[]> merges(JsonNode node) {
        List<String[]> merges = new ArrayList<>(node.size());
        for (JsonNode merge : node) {
            String[] pair;
            if (merge.isArray()) {
                pair = new String[] {merge.path(0).asString(""), merge.path(1).asString("")};
            } else {
                pair = merge.asString("").split(" ", -1);
            }
            if (pair.length != 2 || pair[0].isEmpty() || pair[1].isEmpty()) {
                throw new EngineException.InvalidInput(
                        "merge " + merges.size() + ": expected two tokens, got " + merge);
            }
            merges.add(pair);
        }
        return merges;
    }

    /** A step that may be absent, single or a sequence. */
    private static List<JsonNode> steps(JsonNode node, String children) {
        if (node.isMissingNode() || node.isNull()) {
            return List.of();
        }
        if (!node.path("type").asString("").equals("Sequence")) {
            return List.of(node);
        }
        List<JsonNode> steps = new ArrayList<>();
        node.path(children).forEach(steps::add);
        return steps;
    }

    private static void refuse(JsonNode model, String field) {
        JsonNode value = model.path(field);
        if (!value.isMissingNode() && !value.isNull() && !value.asString("x").isEmpty()) {
            throw new EngineException.InvalidInput("model." + field + " = " + value + " is not supported");
        }
    }

    private static void expect(boolean holds, String what, JsonNode node) {
        if (!holds) {
            throw new EngineException.InvalidInput(what + " " + node + " is not supported");
        }
    }

    static void addSpecial(ObjectNode document, int id, String content) {
        JsonNode there = document.path("added_tokens");
        ArrayNode added = there instanceof ArrayNode array ? array : document.putArray("added_tokens");
        ObjectNode token = added.addObject();
        token.put("id", id);
        token.put("content", content);
        for (String flag : new String[] {"single_word", "lstrip", "rstrip", "normalized"}) {
            token.put(flag, false);
        }
        token.put("special", true);
    }

    /** A byte-level document with the six control tokens on ids 0 to 5: what {@link BpeTrainer} makes. */
    static ObjectNode byteLevel(List<String> pieces, List<String[]> merges) {
        ObjectNode document = JSON.createObjectNode();
        document.put("version", "1.0").putNull("truncation").putNull("padding");
        for (int i = 0; i < ControlTokens.NAMES.size(); i++) {
            addSpecial(document, i, ControlTokens.NAMES.get(i));
        }
        document.putNull("normalizer");
        document.set("pre_tokenizer", byteLevelStep());
        document.putNull("post_processor");
        document.set("decoder", byteLevelStep());
        ObjectNode model = document.putObject("model");
        model.put("type", "BPE").putNull("dropout").putNull("unk_token");
        model.putNull("continuing_subword_prefix").putNull("end_of_word_suffix");
        model.put("fuse_unk", false).put("byte_fallback", false).put("ignore_merges", false);
        ObjectNode vocabulary = model.putObject("vocab");
        for (int i = 0; i < pieces.size(); i++) {
            vocabulary.put(pieces.get(i), ControlTokens.NAMES.size() + i);
        }
        ArrayNode list = model.putArray("merges");
        merges.forEach(merge -> list.addArray().add(merge[0]).add(merge[1]));
        return document;
    }

    private static ObjectNode byteLevelStep() {
        return JSON.createObjectNode()
                .put("type", "ByteLevel")
                .put("add_prefix_space", false)
                .put("trim_offsets", true)
                .put("use_regex", true);
    }

    // ---- symbols

    static void write(Path file, SymbolTokenizer tokenizer) throws IOException {
        ObjectNode document = JSON.createObjectNode();
        document.put("version", "1.0").putNull("truncation").putNull("padding");
        for (int i = 0; i < ControlTokens.NAMES.size(); i++) {
            addSpecial(document, tokenizer.symbols().size() + i, ControlTokens.NAMES.get(i));
        }
        document.putNull("normalizer");
        document.putObject("pre_tokenizer").put("type", "WhitespaceSplit");
        document.putNull("post_processor").putNull("decoder");
        ObjectNode model = document.putObject("model");
        model.put("type", "WordLevel");
        ObjectNode vocabulary = model.putObject("vocab");
        for (String symbol : tokenizer.symbols()) {
            vocabulary.put(symbol, tokenizer.id(symbol));
        }
        for (int i = 0; i < ControlTokens.NAMES.size(); i++) {
            vocabulary.put(ControlTokens.NAMES.get(i), tokenizer.symbols().size() + i);
        }
        model.put("unk_token", ControlTokens.NAMES.getFirst());
        write(file, document);
    }

    private static SymbolTokenizer symbols(ObjectNode document) {
        Map<String, Integer> vocabulary = vocabulary(document.path("model").path("vocab"));
        String[] byId = new String[vocabulary.size()];
        vocabulary.forEach((symbol, id) -> {
            if (id >= byId.length) {
                throw new EngineException.InvalidInput("model.vocab: " + byId.length + " symbols, but id " + id);
            }
            byId[id] = symbol;
        });
        List<String> all = List.of(byId);
        int symbols = all.size() - ControlTokens.NAMES.size();
        if (symbols < 0 || !all.subList(symbols, all.size()).equals(ControlTokens.NAMES)) {
            throw new EngineException.InvalidInput(
                    "model.vocab: a WordLevel tokenizer must end with " + ControlTokens.NAMES);
        }
        try {
            return new SymbolTokenizer(all.subList(0, symbols));
        } catch (IllegalArgumentException e) {
            throw new EngineException.InvalidInput(e.getMessage(), e);
        }
    }
}
