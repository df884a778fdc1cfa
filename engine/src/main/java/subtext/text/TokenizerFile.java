package subtext.text;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import subtext.bindings.EngineException;
import subtext.io.AtomicFiles;
import subtext.io.JsonProblem;
import subtext.io.WholeFile;
import subtext.text.BpeTokenizer.Spaces;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * {@code tokenizer.json} read into rules and written back. What this engine does not do is refused by its place and name in the file,
 * never passed over: a tokenizer that reads a text a little differently is a wrong one. Truncation and padding are left to the caller, as
 * in Transformers.
 */
final class TokenizerFile {
    static final JsonMapper JSON = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();

    /** More ids than any vocabulary has; a larger one in a file is damage. */
    private static final int MOST_IDS = 1 << 24;

    /** The largest in use have 33 MB. */
    private static final int MOST_BYTES = 128 << 20;

    private static final String MARK = String.valueOf(BpeTokenizer.SPACE_MARK);

    private TokenizerFile() {}

    static Tokenizer read(Path file) throws IOException {
        byte[] content = WholeFile.bytes(file, MOST_BYTES);
        try {
            JsonNode root = JSON.readTree(content);
            if (!(root instanceof ObjectNode document)) {
                throw new EngineException.InvalidInput("not a JSON object");
            }
            JsonNode model = object(document.path("model"), "model");
            String type = text(model.path("type"), "model.type", "BPE");
            return switch (type) {
                case "BPE" -> bpe(document);
                case "WordLevel" -> symbols(document);
                default ->
                    throw new EngineException.InvalidInput(
                            "model.type: " + quoted(type) + " is not read, only BPE and WordLevel are");
            };
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(file + ": not valid JSON: " + JsonProblem.of(e), e);
        } catch (EngineException.InvalidInput e) {
            throw new EngineException.CorruptFile(file + ": " + e.getMessage(), e);
        }
    }

    static void write(Path file, ObjectNode document) throws IOException {
        AtomicFiles.write(file, JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(document));
    }

    // ---- byte-pair encoding

    static BpeTokenizer bpe(ObjectNode document) {
        JsonNode model = object(document.path("model"), "model");
        for (String field : new String[] {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
            JsonNode value = model.path(field);
            boolean none = value.isMissingNode()
                    || value.isNull()
                    || value.isString() && value.asString().isEmpty()
                    || value.isNumber() && value.asDouble() == 0;
            require(none, "model." + field, value, "is not supported");
        }
        Map<String, Integer> vocabulary = vocabulary(model.path("vocab"));
        Cut cut = cut(document);
        List<BpeTokenizer.Added> added = added(document.path("added_tokens"), vocabulary, cut.normalised);
        boolean byteFallback = flag(model.path("byte_fallback"), "model.byte_fallback", false);
        String unknown = text(model.path("unk_token"), "model.unk_token", null);
        if (unknown != null && !vocabulary.containsKey(unknown)) {
            throw new EngineException.InvalidInput("model.unk_token: " + quoted(unknown) + " is not in the vocabulary");
        }
        if (!cut.byteLevel && !byteFallback && unknown == null) {
            throw new EngineException.InvalidInput(
                    "model: neither bytes, nor byte_fallback, nor unk_token: some text has no ids");
        }
        BpeTokenizer.Rules rules = new BpeTokenizer.Rules(
                cut.byteLevel,
                byteFallback && !cut.byteLevel,
                cut.nfc,
                cut.spaces,
                List.copyOf(cut.splits),
                flag(model.path("ignore_merges"), "model.ignore_merges", false),
                unknown == null ? -1 : vocabulary.get(unknown),
                flag(model.path("fuse_unk"), "model.fuse_unk", false),
                stripsSpace(document.path("decoder"), cut, byteFallback),
                bos(document.path("post_processor"), added));
        return new BpeTokenizer(document, rules, vocabulary, merges(model.path("merges")), added);
    }

    /** What normalizer and pre-tokenizer do. */
    private static final class Cut {
        private boolean byteLevel;
        private boolean nfc;
        private boolean normalised;
        private Spaces spaces = Spaces.PLAIN;
        private final List<Splitting> splits = new ArrayList<>();
    }

    private static Cut cut(ObjectNode document) {
        Cut cut = new Cut();
        boolean prepends = false;
        boolean marks = false;
        for (Step step : steps(document, "normalizer", "normalizers")) {
            cut.normalised = true;
            switch (step.type()) {
                case "NFC" -> cut.nfc = true;
                case "Prepend" -> {
                    step.require(step.text("prepend").equals(MARK));
                    prepends = true;
                }
                case "Replace" -> {
                    step.require(text(step.node().path("pattern").path("String"), step.at() + ".pattern", "")
                                    .equals(" ")
                            && step.text("content").equals(MARK));
                    marks = true;
                }
                default -> step.refuse();
            }
        }
        if (prepends && !marks) {
            throw new EngineException.InvalidInput("normalizer: Prepend without Replace is not supported");
        }
        cut.spaces = prepends ? Spaces.MARKED_BEHIND_ONE : marks ? Spaces.MARKED : Spaces.PLAIN;
        for (Step step : steps(document, "pre_tokenizer", "pretokenizers")) {
            if (cut.byteLevel) {
                throw new EngineException.InvalidInput(step.at() + ": a step after ByteLevel is not supported");
            }
            switch (step.type()) {
                case "ByteLevel" -> {
                    cut.byteLevel = true;
                    if (flag(step.node().path("add_prefix_space"), step.at() + ".add_prefix_space", false)) {
                        step.require(cut.splits.isEmpty());
                        cut.spaces = Spaces.PLAIN_BEHIND_ONE;
                    }
                    if (flag(step.node().path("use_regex"), step.at() + ".use_regex", true)) {
                        cut.splits.add(Splitting.GPT2);
                    }
                    if (marks) {
                        throw new EngineException.InvalidInput(
                                step.at() + ": bytes and U+2581 together are not supported");
                    }
                }
                case "Digits" -> {
                    step.require(flag(step.node().path("individual_digits"), step.at() + ".individual_digits", false));
                    cut.splits.add(Splitting.DIGITS);
                }
                case "Split" -> cut.splits.add(splitting(step));
                case "Metaspace" -> {
                    step.require(!flag(step.node().path("split"), step.at() + ".split", true)
                            && text(step.node().path("replacement"), step.at() + ".replacement", MARK)
                                    .equals(MARK)
                            && cut.splits.isEmpty()
                            && !marks);
                    cut.spaces = metaspace(step);
                    marks = true;
                }
                default -> step.refuse();
            }
        }
        return cut;
    }

    private static Spaces metaspace(Step step) {
        boolean prefix = flag(step.node().path("add_prefix_space"), step.at() + ".add_prefix_space", true);
        String scheme =
                text(step.node().path("prepend_scheme"), step.at() + ".prepend_scheme", prefix ? "always" : "never");
        return switch (scheme) {
            case "always" -> Spaces.MARKED_BEHIND_ONE_IF_NONE;
            case "first" -> Spaces.MARKED_BEHIND_FIRST;
            case "never" -> Spaces.MARKED;
            default -> throw step.refused();
        };
    }

    private static Splitting splitting(Step step) {
        step.require(step.text("behavior").equals("Isolated")
                && !flag(step.node().path("invert"), step.at() + ".invert", false));
        String pattern = text(step.node().path("pattern").path("Regex"), step.at() + ".pattern.Regex", "");
        return Splitting.of(pattern)
                .orElseThrow(() -> new EngineException.InvalidInput(step.at() + ": the pattern "
                        + shortened(quotable(pattern), 120) + " is not one of those known"));
    }

    /** Whether decoding takes one space from the beginning; refused if the decoder does not undo what encoding did. */
    private static boolean stripsSpace(JsonNode decoder, Cut cut, boolean byteFallback) {
        ObjectNode holder = JSON.createObjectNode();
        holder.set("decoder", decoder);
        List<Step> steps = steps(holder, "decoder", "decoders");
        if (steps.isEmpty()) {
            return cut.spaces.marked() && cut.spaces != Spaces.MARKED;
        }
        boolean bytes = false;
        boolean marks = false;
        boolean fused = false;
        boolean strips = false;
        for (Step step : steps) {
            switch (step.type()) {
                case "ByteLevel" -> {
                    step.require(cut.byteLevel);
                    marks = true;
                }
                case "Replace" -> {
                    step.require(text(step.node().path("pattern").path("String"), step.at() + ".pattern", "")
                                    .equals(MARK)
                            && step.text("content").equals(" ")
                            && cut.spaces.marked());
                    marks = true;
                }
                case "Metaspace" -> {
                    step.require(cut.spaces.marked());
                    strips = metaspace(step) != Spaces.MARKED;
                    marks = true;
                }
                case "ByteFallback" -> bytes = true;
                case "Fuse" -> fused = true;
                case "Strip" -> {
                    JsonNode start = step.node().path("start");
                    step.require(step.text("content").equals(" ")
                            && fused
                            && start.isInt()
                            && (start.asInt() == 0 || start.asInt() == 1)
                            && step.node().path("stop").asInt(0) == 0);
                    strips = start.asInt() == 1;
                }
                default -> step.refuse();
            }
        }
        if (!marks && (cut.byteLevel || cut.spaces.marked())) {
            throw new EngineException.InvalidInput("decoder: does not undo what the "
                    + (cut.byteLevel ? "ByteLevel pre_tokenizer" : "marking of spaces") + " does");
        }
        if (byteFallback && !bytes && !cut.byteLevel) {
            throw new EngineException.InvalidInput("decoder: lacks ByteFallback, which model.byte_fallback needs");
        }
        return strips;
    }

    /** The token that the template puts before a text, or -1. */
    private static int bos(JsonNode processor, List<BpeTokenizer.Added> added) {
        ObjectNode holder = JSON.createObjectNode();
        holder.set("post_processor", processor);
        int bos = -1;
        for (Step step : steps(holder, "post_processor", "processors")) {
            switch (step.type()) {
                case "ByteLevel" -> {
                    // offsets only
                }
                case "TemplateProcessing" -> {
                    JsonNode single = step.node().path("single");
                    if (!single.isArray()) {
                        throw new EngineException.InvalidInput(
                                step.at() + ".single: expected an array, got " + shown(single));
                    }
                    checkHoldsOneText(single, step.at() + ".single");
                    for (JsonNode part : single) {
                        if (part.has("Sequence")) {
                            break; // what closes a text, whoever trains or prompts says
                        }
                        step.require(bos < 0);
                        String name = text(part.path("SpecialToken").path("id"), step.at() + ".single", "");
                        bos = added.stream()
                                .filter(token ->
                                        token.special() && token.content().equals(name))
                                .findFirst()
                                .orElseThrow(() -> new EngineException.InvalidInput(step.at() + ".single: "
                                        + quoted(name) + " is not a special token of added_tokens"))
                                .id();
                    }
                }
                default -> step.refuse();
            }
        }
        return bos;
    }

    private static void checkHoldsOneText(JsonNode single, String at) {
        int texts = 0;
        boolean understood = true;
        for (JsonNode part : single) {
            JsonNode sequence = part.path("Sequence");
            texts += sequence.isMissingNode() ? 0 : 1;
            understood &=
                    part.has("SpecialToken") || string(sequence.path("id")).equals("A");
        }
        require(understood && texts == 1, at, single, "is not supported: expected special tokens and the text A once");
    }

    private static Map<String, Integer> vocabulary(JsonNode node) {
        if (!node.isObject() || node.isEmpty()) {
            throw new EngineException.InvalidInput(
                    "model.vocab: expected an object of tokens and ids, got " + shown(node));
        }
        Map<String, Integer> vocabulary = new HashMap<>(2 * node.size());
        Set<Integer> seen = new HashSet<>(2 * node.size());
        for (Map.Entry<String, JsonNode> entry : node.properties()) {
            int id = id(entry.getValue(), "model.vocab: token " + quoted(entry.getKey()));
            if (entry.getKey().isEmpty()) {
                throw new EngineException.InvalidInput("model.vocab: the token of id " + id + " is empty");
            }
            if (!seen.add(id)) {
                throw new EngineException.InvalidInput(
                        "model.vocab: id " + id + " is given twice, once to " + quoted(entry.getKey()));
            }
            vocabulary.put(entry.getKey(), id);
        }
        return vocabulary;
    }

    private static List<BpeTokenizer.Added> added(JsonNode node, Map<String, Integer> vocabulary, boolean normalised) {
        List<BpeTokenizer.Added> added = new ArrayList<>();
        if (node.isMissingNode() || node.isNull()) {
            return added;
        }
        if (!node.isArray()) {
            throw new EngineException.InvalidInput("added_tokens: expected an array, got " + shown(node));
        }
        Map<Integer, String> byId = new HashMap<>();
        vocabulary.forEach((piece, id) -> byId.put(id, piece));
        Set<String> contents = new HashSet<>();
        for (JsonNode token : node) {
            String at = "added_tokens[" + added.size() + "]";
            object(token, at);
            String content = text(token.path("content"), at + ".content", "");
            int id = id(token.path("id"), at + ".id");
            boolean special = flag(token.path("special"), at + ".special", false);
            if (content.isEmpty() || !contents.add(content)) {
                throw new EngineException.InvalidInput(at + ": " + quoted(content) + " is empty or given twice");
            }
            String there = byId.put(id, content);
            if (there != null && !there.equals(content)) {
                throw new EngineException.InvalidInput(
                        at + ": id " + id + " of " + quoted(content) + " is that of " + quoted(there));
            }
            Integer inVocabulary = vocabulary.get(content);
            if (inVocabulary != null && inVocabulary != id) {
                throw new EngineException.InvalidInput(at + ": " + quoted(content) + " has id " + id
                        + ", but in the vocabulary it has id " + inVocabulary);
            }
            if (!special) {
                checkLiteral(token, at, content, normalised);
            }
            added.add(new BpeTokenizer.Added(id, content, special));
        }
        return added;
    }

    /** A token that text spells: what changes how it is found there is not done. */
    private static void checkLiteral(JsonNode token, String at, String content, boolean normalised) {
        if (content.length() > Literals.LONGEST) {
            throw new EngineException.InvalidInput(at + ": " + quoted(content) + " has " + content.length()
                    + " characters, more than " + Literals.LONGEST);
        }
        if (ControlTokens.NAMES.contains(content)) {
            throw new EngineException.InvalidInput(at + ": " + quoted(content)
                    + " is the name of a control token, but not special: text could spell it");
        }
        if (normalised && flag(token.path("normalized"), at + ".normalized", false)) {
            throw new EngineException.InvalidInput(
                    at + ": " + quoted(content) + " looked for in normalized text is not supported");
        }
        for (String flag : new String[] {"single_word", "lstrip", "rstrip"}) {
            require(
                    !flag(token.path(flag), at + "." + flag, false),
                    at + "." + flag + " of " + quoted(content),
                    token.path(flag),
                    "is not supported");
        }
    }

    private static int id(JsonNode node, String whose) {
        if (!node.isIntegralNumber() || !node.canConvertToInt() || node.intValue() < 0 || node.intValue() >= MOST_IDS) {
            throw new EngineException.InvalidInput(
                    whose + ": expected an id in [0, " + MOST_IDS + "), got " + shown(node));
        }
        return node.intValue();
    }

    private static List<String[]> merges(JsonNode node) {
        if (!node.isArray()) {
            throw new EngineException.InvalidInput("model.merges: expected an array, got " + shown(node));
        }
        List<String[]> merges = new ArrayList<>(node.size());
        for (JsonNode merge : node) {
            String[] pair = {};
            if (merge.isArray() && merge.size() == 2) {
                pair = new String[] {string(merge.path(0)), string(merge.path(1))};
            } else if (merge.isString()) {
                pair = merge.asString().split(" ", -1);
            }
            if (pair.length != 2 || pair[0].isEmpty() || pair[1].isEmpty()) {
                throw new EngineException.InvalidInput(
                        "model.merges[" + merges.size() + "]: expected two tokens, got " + shown(merge));
            }
            merges.add(pair);
        }
        return merges;
    }

    private static String string(JsonNode node) {
        return node.isString() ? node.asString() : "";
    }

    // ---- fields, strictly

    /** One step of a normalizer, a pre-tokenizer, a decoder or a post-processor, with its place in the file. */
    private record Step(JsonNode node, String at) {
        String type() {
            return TokenizerFile.text(node.path("type"), at + ".type", "");
        }

        String text(String field) {
            return TokenizerFile.text(node.path(field), at + "." + field, "");
        }

        void require(boolean holds) {
            if (!holds) {
                refuse();
            }
        }

        void refuse() {
            throw refused();
        }

        EngineException.InvalidInput refused() {
            return new EngineException.InvalidInput(at + ": " + shown(node) + " is not supported");
        }
    }

    /** A part that may be absent, one step or a sequence of them. */
    private static List<Step> steps(ObjectNode document, String field, String children) {
        JsonNode node = document.path(field);
        if (node.isMissingNode() || node.isNull()) {
            return List.of();
        }
        object(node, field);
        if (!text(node.path("type"), field + ".type", "").equals("Sequence")) {
            return List.of(new Step(node, field));
        }
        JsonNode list = node.path(children);
        if (!list.isArray()) {
            throw new EngineException.InvalidInput(field + "." + children + ": expected an array, got " + shown(list));
        }
        List<Step> steps = new ArrayList<>();
        for (JsonNode step : list) {
            String at = field + "." + children + "[" + steps.size() + "]";
            steps.add(new Step(object(step, at), at));
        }
        return steps;
    }

    private static JsonNode object(JsonNode node, String at) {
        if (!node.isObject()) {
            throw new EngineException.InvalidInput(at + ": expected an object, got " + shown(node));
        }
        return node;
    }

    private static String text(JsonNode node, String at, String otherwise) {
        if (node.isMissingNode() || node.isNull()) {
            return otherwise;
        }
        if (!node.isString()) {
            throw new EngineException.InvalidInput(at + ": expected a text, got " + shown(node));
        }
        return node.asString();
    }

    private static boolean flag(JsonNode node, String at, boolean otherwise) {
        if (node.isMissingNode() || node.isNull()) {
            return otherwise;
        }
        if (!node.isBoolean()) {
            throw new EngineException.InvalidInput(at + ": expected true or false, got " + shown(node));
        }
        return node.asBoolean();
    }

    private static void require(boolean holds, String at, JsonNode node, String otherwise) {
        if (!holds) {
            throw new EngineException.InvalidInput(at + ": " + shown(node) + " " + otherwise);
        }
    }

    private static String shown(JsonNode node) {
        return node.isMissingNode() ? "nothing" : shortened(quotable(node.toString()), 120);
    }

    /** A text of a file within a message: short, and nothing in it that a terminal obeys. */
    static String quoted(String text) {
        return '"' + shortened(quotable(text), 60) + '"';
    }

    private static String quotable(String text) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < text.length() && out.length() < 400; i++) {
            char c = text.charAt(i);
            int type = Character.getType(c);
            boolean plain = type != Character.CONTROL
                    && type != Character.FORMAT
                    && type != Character.LINE_SEPARATOR
                    && type != Character.PARAGRAPH_SEPARATOR;
            out.append(plain ? String.valueOf(c) : "\\u%04x".formatted((int) c));
        }
        return out.toString();
    }

    private static String shortened(String text, int most) {
        return text.length() <= most ? text : text.substring(0, most) + "...";
    }

    // ---- writing

    /**
     * Adds a special token, to the vocabulary as well: Hugging Face's library numbers added tokens that are not in it anew, whatever id
     * the file gives them.
     */
    static void addSpecial(ObjectNode document, int id, String content) {
        if (document.path("model").path("vocab") instanceof ObjectNode vocabulary && !vocabulary.has(content)) {
            vocabulary.put(content, id);
        }
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

    /** The step that puts a special token before every text. */
    static ObjectNode firstToken(String content, int id) {
        ObjectNode template = JSON.createObjectNode().put("type", "TemplateProcessing");
        ArrayNode single = template.putArray("single");
        single.addObject().putObject("SpecialToken").put("id", content).put("type_id", 0);
        single.addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
        ArrayNode pair = template.putArray("pair");
        pair.addAll(single.deepCopy());
        pair.addObject().putObject("SpecialToken").put("id", content).put("type_id", 1);
        pair.addObject().putObject("Sequence").put("id", "B").put("type_id", 1);
        ObjectNode token =
                template.putObject("special_tokens").putObject(content).put("id", content);
        token.putArray("ids").add(id);
        token.putArray("tokens").add(content);
        return template;
    }

    /**
     * Puts a special token before every text, for whoever reads the file. The step takes the place of the templates that are there: Hugging
     * Face's library hands the pieces that one has made to the next, which takes two of them for a pair of texts.
     */
    static void openWith(ObjectNode document, int id, String content) {
        List<JsonNode> kept = new ArrayList<>();
        for (Step step : steps(document, "post_processor", "processors")) {
            if (!isTemplate(step)) {
                kept.add(step.node().deepCopy());
            }
        }
        ObjectNode first = firstToken(content, id);
        if (kept.isEmpty()) {
            document.set("post_processor", first);
            return;
        }
        ObjectNode sequence = JSON.createObjectNode().put("type", "Sequence");
        sequence.putArray("processors").addAll(kept).add(first);
        document.set("post_processor", sequence);
    }

    /** Whether the file has one template, and it puts this token before a text. */
    static boolean opensWith(ObjectNode document, String content) {
        List<Step> templates = steps(document, "post_processor", "processors").stream()
                .filter(TokenizerFile::isTemplate)
                .toList();
        return templates.size() == 1
                && string(templates
                                .getFirst()
                                .node()
                                .path("single")
                                .path(0)
                                .path("SpecialToken")
                                .path("id"))
                        .equals(content);
    }

    private static boolean isTemplate(Step step) {
        return step.type().equals("TemplateProcessing");
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
        document.set(
                "post_processor",
                firstToken(ControlTokens.NAMES.getFirst(), tokenizer.controls().bos()));
        document.putNull("decoder");
        ObjectNode model = document.putObject("model");
        model.put("type", "WordLevel");
        ObjectNode vocabulary = model.putObject("vocab");
        for (String symbol : tokenizer.symbols()) {
            vocabulary.put(symbol, tokenizer.id(symbol));
        }
        for (int i = 0; i < ControlTokens.NAMES.size(); i++) {
            vocabulary.put(ControlTokens.NAMES.get(i), tokenizer.symbols().size() + i);
        }
        model.put(
                "unk_token",
                "<unk>"); // which is no entry: a word that is no symbol is refused by whoever reads the file, too
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
