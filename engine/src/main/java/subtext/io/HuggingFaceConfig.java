package subtext.io;

import java.util.Map;
import subtext.bindings.EngineException;
import subtext.model.Family;
import subtext.model.LlamaConfig;
import subtext.model.RopeScaling;
import subtext.text.ControlTokens;
import subtext.text.Tokens;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * {@code config.json}, both ways. What a field means when it is absent differs by family, as Transformers has it. A field that asks for
 * something this engine does not compute is refused by its name: a model read a little differently is another model.
 */
final class HuggingFaceConfig {
    /** Model types that people bring, and what in them is not computed here. */
    private static final Map<String, String> KNOWN_OTHERS = Map.ofEntries(
            Map.entry("mixtral", "it is a mixture of experts"),
            Map.entry("qwen2_moe", "it is a mixture of experts"),
            Map.entry("qwen3_moe", "it is a mixture of experts"),
            Map.entry("deepseek_v3", "it is a mixture of experts with latent attention"),
            Map.entry("gpt2", "it has LayerNorm, learned positions and GELU"),
            Map.entry("gpt_neox", "it has LayerNorm and GELU"),
            Map.entry("phi3", "it has fused projections and longrope"),
            Map.entry("gemma", "it has GELU and scaled embeddings"),
            Map.entry("gemma2", "it has soft-capped logits and GELU"),
            Map.entry("gemma3_text", "it has GELU and windows that differ by layer"),
            Map.entry("smollm3", "some of its layers have no rotary positions"),
            Map.entry("olmo2", "its norms come after the halves"),
            Map.entry("cohere", "it has LayerNorm and scaled logits"),
            Map.entry("granite", "it has scaled embeddings and residuals"),
            Map.entry("mamba", "it has no attention"));

    private HuggingFaceConfig() {}

    // ---- reading

    static LlamaConfig read(JsonNode json) {
        Family family = family(json);
        refuseWhatIsNotComputed(json, family);
        int width = size(json, "hidden_size");
        int heads = size(json, "num_attention_heads");
        String ropeField =
                absent(json, "rope_parameters") ? "rope_scaling" : "rope_parameters"; // the former until Transformers 5
        JsonNode rope = json.path(ropeField);
        int context = size(json, "max_position_embeddings");
        return new LlamaConfig(
                size(json, "num_hidden_layers"),
                width,
                heads,
                kvHeads(json, family, heads),
                headDim(json, family, width, heads),
                size(json, "intermediate_size"),
                size(json, "vocab_size"),
                context,
                decimal(rope, "rope_theta", decimal(json, "rope_theta", 10_000)),
                decimal(json, "rms_norm_eps", 1e-6),
                flag(json, "tie_word_embeddings"),
                scaling(ropeField, rope),
                family,
                window(json, family, context));
    }

    private static Family family(JsonNode json) {
        String type = json.path("model_type").asString("");
        return Family.of(type).orElseThrow(() -> {
            String reason = KNOWN_OTHERS.containsKey(type) ? ": " + KNOWN_OTHERS.get(type) : "";
            return new EngineException.InvalidConfig(
                    "model_type: expected llama, mistral, qwen2 or qwen3, got " + type + reason);
        });
    }

    private static void refuseWhatIsNotComputed(JsonNode json, Family family) {
        expect(json, "hidden_act", "silu");
        expect(json, "attention_bias", "false");
        expect(json, "mlp_bias", "false");
        expect(json, "partial_rotary_factor", "1.0");
        expect(json, "rope_interleaved", "false");
        for (String field : new String[] {"num_local_experts", "num_experts", "n_routed_experts"}) {
            refuse(json, field, "a mixture of experts is not computed");
        }
        refuse(json, "quantization_config", "quantized weights are not read; take the checkpoint in f32, bf16 or f16");
        for (String field : new String[] {"attn_logit_softcapping", "final_logit_softcapping"}) {
            refuse(json, field, "logits are not capped here");
        }
        refuse(json, "no_rope_layers", "every layer has rotary positions here");
        for (String field : new String[] {"logit_scale", "embedding_multiplier", "residual_multiplier"}) {
            refuse(json, field, "nothing is scaled by it here");
        }
        if (family == Family.LLAMA) {
            refuse(json, "sliding_window", "a llama sees all positions");
        }
    }

    private static int kvHeads(JsonNode json, Family family, int heads) {
        if (!absent(json, "num_key_value_heads")) {
            return size(json, "num_key_value_heads");
        }
        return switch (family) {
            case LLAMA -> heads;
            case MISTRAL -> 8;
            case QWEN2, QWEN3 -> 32;
        };
    }

    private static int headDim(JsonNode json, Family family, int width, int heads) {
        if (!absent(json, "head_dim")) {
            return size(json, "head_dim");
        }
        if (family == Family.QWEN3) {
            return 128;
        }
        require(width % heads == 0, "hidden_size", width, "a multiple of num_attention_heads (" + heads + ")");
        return width / heads;
    }

    /** Mistral has a window unless it says null; Qwen has one if it says so and every layer takes part. */
    private static int window(JsonNode json, Family family, int context) {
        return switch (family) {
            case LLAMA -> 0;
            case MISTRAL ->
                json.path("sliding_window").isNull()
                        ? 0
                        : json.has("sliding_window") ? size(json, "sliding_window") : 4096;
            case QWEN2, QWEN3 -> qwenWindow(json, context);
        };
    }

    private static int qwenWindow(JsonNode json, int context) {
        if (!flag(json, "use_sliding_window") || absent(json, "sliding_window")) {
            return 0;
        }
        int window = size(json, "sliding_window");
        if (window >= context) {
            return 0; // no sequence outgrows it
        }
        int first = absent(json, "max_window_layers")
                ? 28
                : json.path("max_window_layers").asInt(-1);
        boolean types = !absent(json, "layer_types");
        boolean all = first == 0;
        boolean none = first >= size(json, "num_hidden_layers");
        if (types) {
            all = true;
            none = true;
            for (JsonNode type : json.path("layer_types")) {
                boolean sliding = type.asString("").equals("sliding_attention");
                all &= sliding;
                none &= !sliding;
            }
        }
        require(
                all || none,
                types ? "layer_types" : "max_window_layers",
                types ? "both kinds" : first,
                "the same window in every layer");
        return none ? 0 : window;
    }

    private static RopeScaling scaling(String field, JsonNode rope) {
        if (rope.isMissingNode() || rope.isNull()) {
            return new RopeScaling.None();
        }
        require(rope.isObject(), field, rope, "an object");
        if (!absent(rope, "partial_rotary_factor")) {
            JsonNode part = rope.path("partial_rotary_factor");
            require(part.isNumber() && part.doubleValue() == 1, field + ".partial_rotary_factor", part, "1.0");
        }
        String type = rope.path("rope_type").asString(rope.path("type").asString("default"));
        return switch (type) {
            case "default" -> new RopeScaling.None();
            case "linear" -> new RopeScaling.Linear(number(field, rope, "factor"));
            case "llama3" ->
                new RopeScaling.Llama3(
                        number(field, rope, "factor"),
                        number(field, rope, "low_freq_factor"),
                        number(field, rope, "high_freq_factor"),
                        number(field, rope, "original_max_position_embeddings"));
            default ->
                throw new EngineException.InvalidConfig(field + ": expected default, linear or llama3, got " + type);
        };
    }

    // ---- writing

    static ObjectNode write(JsonMapper mapper, LlamaConfig config, int bos, Tokens ends, Safetensors.Type type) {
        ObjectNode json = mapper.createObjectNode();
        json.putArray("architectures").add(config.family().architecture());
        json.put("model_type", config.family().modelType());
        json.put("hidden_size", config.width());
        json.put("intermediate_size", config.hidden());
        json.put("num_hidden_layers", config.layers());
        json.put("num_attention_heads", config.heads());
        json.put("num_key_value_heads", config.kvHeads());
        json.put("head_dim", config.headDim());
        json.put("vocab_size", config.vocabulary());
        json.put("max_position_embeddings", config.context());
        json.put("rms_norm_eps", config.normEps());
        json.put("rope_theta", config.ropeTheta());
        switch (config.ropeScaling()) {
            case RopeScaling.None() -> json.putNull("rope_scaling");
            case RopeScaling.Linear(double factor) ->
                json.putObject("rope_scaling").put("rope_type", "linear").put("factor", factor);
            case RopeScaling.Llama3(double factor, double low, double high, double original) ->
                json.putObject("rope_scaling")
                        .put("rope_type", "llama3")
                        .put("factor", factor)
                        .put("low_freq_factor", low)
                        .put("high_freq_factor", high)
                        .put("original_max_position_embeddings", (long) original);
        }
        window(json, config);
        json.put("hidden_act", "silu");
        json.put("tie_word_embeddings", config.tied());
        if (config.family() != Family.MISTRAL && config.family() != Family.QWEN2) {
            json.put("attention_bias", false);
        }
        if (config.family() == Family.LLAMA) {
            json.put("mlp_bias", false);
        }
        put(json, "bos_token_id", bos);
        put(json, "eos_token_id", ends);
        json.put(
                "torch_dtype",
                switch (type) {
                    case BF16 -> "bfloat16";
                    case F16 -> "float16";
                    default -> "float32";
                });
        return json;
    }

    private static void window(ObjectNode json, LlamaConfig config) {
        boolean window = config.window() > 0;
        switch (config.family()) {
            case LLAMA -> {}
            case MISTRAL -> {
                if (window) {
                    json.put("sliding_window", config.window());
                } else {
                    json.putNull("sliding_window");
                }
            }
            case QWEN2, QWEN3 -> {
                json.put("use_sliding_window", window);
                if (window) {
                    json.put("sliding_window", config.window());
                    json.put("max_window_layers", 0);
                } else {
                    json.putNull("sliding_window");
                }
            }
        }
    }

    static void put(ObjectNode json, String field, int id) {
        if (id < 0) {
            json.putNull(field);
        } else {
            json.put(field, id);
        }
    }

    /** None, one, or a list. */
    static void put(ObjectNode json, String field, Tokens ids) {
        if (ids.size() > 1) {
            ArrayNode list = json.putArray(field);
            for (int id : ids.toArray()) {
                list.add(id);
            }
        } else {
            put(json, field, ids.isEmpty() ? ControlTokens.NONE : ids.at(0));
        }
    }

    // ---- fields

    private static boolean absent(JsonNode json, String field) {
        return json.path(field).isMissingNode() || json.path(field).isNull();
    }

    private static int size(JsonNode json, String field) {
        JsonNode value = json.path(field);
        require(
                value.isIntegralNumber() && value.canConvertToInt() && value.intValue() > 0,
                field,
                value.isMissingNode() ? "none" : value,
                "a positive whole number");
        return value.intValue();
    }

    private static double number(String within, JsonNode json, String field) {
        JsonNode value = json.path(field);
        require(value.isNumber() && value.doubleValue() > 0, within + "." + field, value, "a positive number");
        return value.doubleValue();
    }

    private static double decimal(JsonNode json, String field, double otherwise) {
        if (absent(json, field)) {
            return otherwise;
        }
        require(json.path(field).isNumber(), field, json.path(field), "a number");
        return json.path(field).doubleValue();
    }

    private static boolean flag(JsonNode json, String field) {
        if (absent(json, field)) {
            return false;
        }
        require(json.path(field).isBoolean(), field, json.path(field), "true or false");
        return json.path(field).booleanValue();
    }

    /** A field that must have this value where it is there at all. */
    private static void expect(JsonNode json, String field, String value) {
        if (!absent(json, field)) {
            require(json.path(field).asString("").equals(value), field, json.path(field), value);
        }
    }

    /** A field that must not be there, or be null. */
    private static void refuse(JsonNode json, String field, String reason) {
        if (!absent(json, field)) {
            throw new EngineException.InvalidConfig(field + ": " + reason);
        }
    }

    private static void require(boolean holds, String field, Object value, String expected) {
        if (!holds) {
            throw new EngineException.InvalidConfig(field + ": expected " + expected + ", got " + value);
        }
    }
}
