package subtext.io;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.IntStream;
import subtext.bindings.EngineException;
import subtext.text.ControlTokens;
import subtext.text.Tokenizer;
import tools.jackson.databind.JsonNode;

/**
 * The tokenizer of a model folder in the words of GGUF. A byte-level one is {@code gpt2} there, and {@code tokenizer.ggml.pre} names how
 * words are cut; one over characters with bytes for the rest is {@code llama}, whose merges are scores. llama.cpp knows cuts by name
 * alone, so a tokenizer that cuts in another way is refused.
 */
final class GgufTokenizer {
    /** The format's kinds of tokens. */
    private static final int NORMAL = 1;

    private static final int UNKNOWN = 2;
    private static final int CONTROL = 3;
    private static final int USER_DEFINED = 4;
    private static final int UNUSED = 5;
    private static final int BYTE = 6;

    /** Cuts of words by the pattern in {@code tokenizer.json}, and llama.cpp's names for them. */
    private static final Map<String, String> PATTERNS = Map.of(
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
            "llama-bpe",
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
            "qwen2",
            "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
            "gpt-2",
            "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
            "gpt-2");

    private final JsonNode document;
    private final ControlTokens controls;
    private final Conversation conversation;
    private final List<String> tokens;
    private final int[] types;
    private final boolean byteLevel;

    private GgufTokenizer(JsonNode document, ControlTokens controls, Conversation conversation, int size) {
        this.document = document;
        this.controls = controls;
        this.conversation = conversation;
        this.byteLevel = steps("pre_tokenizer", "pretokenizers").stream()
                .anyMatch(step -> step.path("type").asString("").equals("ByteLevel"));
        this.tokens = new ArrayList<>();
        for (int i = 0; i < size; i++) {
            tokens.add("[PAD" + i + "]");
        }
        this.types = new int[size];
        Arrays.fill(types, UNUSED);
        document.path("model").path("vocab").properties().forEach(entry -> {
            int id = entry.getValue().intValue();
            String piece = entry.getKey();
            tokens.set(id, piece);
            types[id] = !byteLevel && piece.matches("<0x[0-9A-F]{2}>") ? BYTE : NORMAL;
        });
        String unknown = document.path("model").path("unk_token").asString("");
        for (JsonNode added : document.path("added_tokens")) {
            int id = added.path("id").intValue();
            String content = added.path("content").asString("");
            tokens.set(id, content);
            boolean special = added.path("special").asBoolean(false);
            types[id] = content.equals(unknown) ? UNKNOWN : special ? CONTROL : USER_DEFINED;
        }
    }

    /** Reads {@code tokenizer.json}; ids up to {@code size} that it lacks become unused tokens. */
    static GgufTokenizer read(Path folder, int size, Conversation conversation) throws IOException {
        Path file = HuggingFace.required(folder, HuggingFace.TOKENIZER);
        JsonNode document = HuggingFace.json(file);
        String type = document.path("model").path("type").asString("BPE");
        if (!type.equals("BPE")) {
            throw new EngineException.InvalidConfig(
                    file + ": a " + type + " tokenizer has no form in GGUF, only BPE has");
        }
        return new GgufTokenizer(document, Tokenizer.load(file).controls(), conversation, size);
    }

    void put(Gguf.Fields fields) {
        fields.text("tokenizer.ggml.model", byteLevel ? "gpt2" : "llama");
        fields.text("tokenizer.ggml.pre", byteLevel ? pre() : "default");
        fields.texts("tokenizer.ggml.tokens", tokens);
        fields.integers("tokenizer.ggml.token_type", types);
        if (byteLevel) {
            fields.texts(
                    "tokenizer.ggml.merges",
                    merges().stream().map(merge -> merge[0] + " " + merge[1]).toList());
            fields.flag("tokenizer.ggml.add_space_prefix", false);
        } else {
            fields.decimals("tokenizer.ggml.scores", scores());
            fields.flag("tokenizer.ggml.add_space_prefix", prependsSpace());
        }
        if (controls.bos() != ControlTokens.NONE) {
            fields.number("tokenizer.ggml.bos_token_id", controls.bos());
        }
        if (controls.eos() != ControlTokens.NONE) {
            fields.number("tokenizer.ggml.eos_token_id", controls.eos());
        }
        turnEnd().ifPresent(id -> fields.number("tokenizer.ggml.eot_token_id", id));
        int unknown = tokens.indexOf(document.path("model").path("unk_token").asString("\0"));
        if (unknown >= 0) {
            fields.number("tokenizer.ggml.unknown_token_id", unknown);
        }
        fields.flag("tokenizer.ggml.add_bos_token", addsBos());
        fields.flag("tokenizer.ggml.add_eos_token", false);
        chatTemplates(fields);
    }

    /** The end token that llama.cpp is told of beside {@code <eos>}: the end of a turn. Others it knows by their names alone. */
    private OptionalInt turnEnd() {
        return IntStream.concat(
                        IntStream.of(conversation.turnEnd()),
                        Arrays.stream(conversation.endTokens().toArray()))
                .filter(id -> id != controls.eos() && id != ControlTokens.NONE)
                .findFirst();
    }

    private void chatTemplates(Gguf.Fields fields) {
        Map<String, String> named = new TreeMap<>(conversation.templates());
        String usual = named.remove(Conversation.DEFAULT);
        if (usual != null) {
            fields.text("tokenizer.chat_template", usual);
        }
        if (!named.isEmpty()) {
            fields.texts("tokenizer.chat_templates", List.copyOf(named.keySet()));
            named.forEach((name, template) -> fields.text("tokenizer.chat_template." + name, template));
        }
    }

    /** llama.cpp's name for how words are cut. */
    private String pre() {
        Set<String> names = new HashSet<>();
        boolean digits = false;
        for (JsonNode step : steps("pre_tokenizer", "pretokenizers")) {
            switch (step.path("type").asString("")) {
                case "ByteLevel" -> {
                    if (step.path("use_regex").asBoolean(true)) {
                        names.add("gpt-2");
                    }
                    refuseIf(step.path("add_prefix_space").asBoolean(false), "add_prefix_space");
                }
                case "Digits" -> digits = true;
                case "Split" -> {
                    String pattern = step.path("pattern").path("Regex").asString("");
                    refuseIf(!PATTERNS.containsKey(pattern), "the pattern " + pattern);
                    names.add(PATTERNS.get(pattern));
                }
                default -> refuseIf(true, step.path("type").asString(""));
            }
        }
        refuseIf(names.size() != 1, "more than one cut of words, or none");
        String name = names.iterator().next();
        if (!digits) {
            return name;
        }
        refuseIf(!name.equals("gpt-2"), "single digits with " + name);
        return "smollm";
    }

    private static void refuseIf(boolean unknown, String what) {
        if (unknown) {
            throw new EngineException.InvalidConfig(
                    "tokenizer.json: pre_tokenizer: " + what + " has no name in llama.cpp, so GGUF cannot say it");
        }
    }

    /**
     * The score of a token is minus the rank of the first merge that makes it: llama.cpp merges the neighbours of the highest score, the
     * leftmost first, which is the order of the merges.
     */
    private float[] scores() {
        Map<String, Integer> rank = new HashMap<>();
        int next = 0;
        for (String[] merge : merges()) {
            rank.putIfAbsent(merge[0] + merge[1], next++);
        }
        float[] scores = new float[tokens.size()];
        for (int i = 0; i < scores.length; i++) {
            scores[i] = types[i] == NORMAL ? -rank.getOrDefault(tokens.get(i), next) : 0;
        }
        return scores;
    }

    private List<String[]> merges() {
        List<String[]> merges = new ArrayList<>();
        for (JsonNode merge : document.path("model").path("merges")) {
            merges.add(
                    merge.isArray()
                            ? new String[] {
                                merge.path(0).asString(), merge.path(1).asString()
                            }
                            : merge.asString().split(" ", 2));
        }
        return merges;
    }

    private boolean prependsSpace() {
        return steps("normalizer", "normalizers").stream()
                        .anyMatch(step -> step.path("type").asString("").equals("Prepend"))
                || steps("pre_tokenizer", "pretokenizers").stream()
                        .anyMatch(step -> step.path("type").asString("").equals("Metaspace")
                                && !step.path("prepend_scheme")
                                        .asString("always")
                                        .equals("never"));
    }

    /** Whether a text begins with {@code <bos>}: the template says so, or it is a tokenizer of ours, whose texts always do. */
    private boolean addsBos() {
        if (controls.bos() == ControlTokens.NONE) {
            return false;
        }
        String bos = tokens.get(controls.bos());
        if (bos.equals(ControlTokens.NAMES.getFirst())) {
            return true;
        }
        return steps("post_processor", "processors").stream()
                .filter(step -> step.path("type").asString("").equals("TemplateProcessing"))
                .anyMatch(step -> step.path("single")
                        .path(0)
                        .path("SpecialToken")
                        .path("id")
                        .asString("")
                        .equals(bos));
    }

    private List<JsonNode> steps(String field, String children) {
        JsonNode node = document.path(field);
        List<JsonNode> steps = new ArrayList<>();
        if (node.path("type").asString("").equals("Sequence")) {
            node.path(children).forEach(steps::add);
        } else if (node.isObject()) {
            steps.add(node);
        }
        return steps;
    }
}
