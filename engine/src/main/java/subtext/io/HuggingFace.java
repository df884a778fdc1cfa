package subtext.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import subtext.bindings.DType;
import subtext.bindings.EngineException;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.text.Tokenizer;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * A model as a folder in Hugging Face's layout: {@code config.json}, {@code model.safetensors} (or an index and shards),
 * {@code tokenizer.json}, {@code generation_config.json}. Query, key and value, and gate and up, are separate tensors there and neighbours
 * in one matrix here, so each is copied as it is. A model that this engine does not compute is refused by the name of what differs.
 */
public final class HuggingFace {
    private static final String CONFIG = "config.json";
    private static final String WEIGHTS = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";
    private static final String TOKENIZER = "tokenizer.json";

    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();

    private HuggingFace() {}

    /**
     * A model out of a folder.
     *
     * @param weights flat, in the order of {@code ParameterTable.of(config)}
     */
    public record Checkpoint(LlamaConfig config, Tokenizer tokenizer, float[] weights) {}

    /**
     * Reads sizes, tokenizer and weights.
     *
     * @throws EngineException.CorruptFile if a file breaks a rule, lacks a tensor or holds a weight that is not finite
     * @throws EngineException.InvalidConfig if the model is not one this engine computes
     */
    public static Checkpoint load(Path folder) throws IOException {
        LlamaConfig config = config(folder);
        Tokenizer tokenizer = tokenizer(folder);
        if (tokenizer.vocabulary() > config.vocabulary()) {
            throw new EngineException.InvalidConfig(folder + ": the tokenizer has " + tokenizer.vocabulary()
                    + " ids, vocab_size is " + config.vocabulary());
        }
        return new Checkpoint(config, tokenizer, weights(folder, config));
    }

    /** The tokenizer alone. */
    public static Tokenizer tokenizer(Path folder) throws IOException {
        return Tokenizer.load(required(folder, TOKENIZER));
    }

    /** The sizes alone. */
    public static LlamaConfig config(Path folder) throws IOException {
        Path file = required(folder, CONFIG);
        JsonNode json = json(file);
        try {
            return HuggingFaceConfig.read(json);
        } catch (EngineException.InvalidConfig e) {
            throw new EngineException.InvalidConfig(file + ": " + e.getMessage(), e);
        }
    }

    /** The weights alone, flat. */
    public static float[] weights(Path folder, LlamaConfig config) throws IOException {
        ParameterTable table = ParameterTable.of(config);
        float[] flat = new float[Math.toIntExact(table.size())];
        Map<String, ParameterTable.Slice> wanted = new HashMap<>();
        table.slices().forEach(slice -> wanted.put(slice.name(), slice));
        Set<String> seen = new HashSet<>();
        for (Path shard : shards(folder)) {
            try (Safetensors file = Safetensors.open(shard)) {
                for (Safetensors.Info info : file.tensors().values()) {
                    ParameterTable.Slice slice = wanted.get(info.name());
                    if (slice == null) {
                        if (ignorable(info.name(), config)) {
                            continue;
                        }
                        throw new EngineException.InvalidConfig(shard + ": tensor " + info.name() + " is no part of a "
                                + config.family().modelType() + " model");
                    }
                    if (!info.shape().equals(slice.shape())) {
                        throw new EngineException.CorruptFile(shard + ": tensor " + info.name() + " has shape "
                                + info.shape() + ", expected " + slice.shape());
                    }
                    if (!seen.add(info.name())) {
                        throw new EngineException.CorruptFile(
                                shard + ": tensor " + info.name() + " was already in another shard");
                    }
                    file.floats(info.name(), flat, (int) slice.offset());
                    requireFinite(shard, slice, flat);
                }
            }
        }
        Set<String> missing = new TreeSet<>(wanted.keySet());
        missing.removeAll(seen);
        if (!missing.isEmpty()) {
            throw new EngineException.CorruptFile(folder + ": " + missing.size() + " tensors are missing, first "
                    + missing.iterator().next());
        }
        return flat;
    }

    private static boolean ignorable(String name, LlamaConfig config) {
        // computed from the sizes here; a second copy of a tied matrix
        return name.endsWith(".rotary_emb.inv_freq") || config.tied() && name.equals("lm_head.weight");
    }

    private static void requireFinite(Path shard, ParameterTable.Slice slice, float[] flat) {
        for (int i = 0; i < slice.size(); i++) {
            float value = flat[(int) slice.offset() + i];
            if (!Float.isFinite(value)) {
                throw new EngineException.CorruptFile(
                        shard + ": tensor " + slice.name() + " holds " + value + " at element " + i);
            }
        }
    }

    /** The one file, or what the index names; an index may name nothing but plain files of the folder itself. */
    private static List<Path> shards(Path folder) throws IOException {
        if (!Files.exists(folder.resolve(INDEX))) {
            return List.of(required(folder, WEIGHTS));
        }
        Path index = folder.resolve(INDEX);
        JsonNode map = json(index).path("weight_map");
        if (!map.isObject() || map.isEmpty()) {
            throw new EngineException.CorruptFile(index + ": weight_map is not an object of tensors and files");
        }
        Set<String> names = new TreeSet<>();
        for (Map.Entry<String, JsonNode> entry : map.properties()) {
            String name = entry.getValue().asString("");
            if (!name.endsWith(".safetensors")
                    || name.contains("/")
                    || name.contains("\\")
                    || name.indexOf('\0') >= 0) {
                throw new EngineException.CorruptFile(index + ": shard \"" + name + "\" of " + entry.getKey()
                        + " is not the name of a .safetensors file in this folder");
            }
            names.add(name);
        }
        List<Path> shards = new ArrayList<>();
        for (String name : names) {
            Path shard = folder.resolve(name);
            if (Files.isSymbolicLink(shard)) {
                throw new EngineException.CorruptFile(
                        index + ": shard " + name + " is a symbolic link; copy the folder with cp -L");
            }
            if (!Files.isRegularFile(shard)) {
                throw new EngineException.CorruptFile(index + ": shard " + name + " is missing");
            }
            shards.add(shard);
            try (Safetensors file = Safetensors.open(shard)) {
                for (String tensor : file.tensors().keySet()) {
                    if (!map.path(tensor).asString("").equals(name)) {
                        throw new EngineException.CorruptFile(index + ": tensor " + tensor + " lies in " + name
                                + ", the index says \"" + map.path(tensor).asString("") + "\"");
                    }
                }
            }
        }
        return shards;
    }

    /**
     * Writes a model as a folder that Transformers can load, each file atomically, the weights last.
     *
     * @param weights flat, in the order of {@code ParameterTable.of(config)}
     * @param dtype F32, which loses nothing, or BF16
     */
    public static void save(Path folder, LlamaConfig config, Tokenizer tokenizer, float[] weights, DType dtype)
            throws IOException {
        Safetensors.Type type = Safetensors.Type.valueOf(dtype.name());
        Files.createDirectories(folder);
        int bos = tokenizer.controls().bos();
        int eos = tokenizer.controls().eos();
        AtomicFiles.write(folder.resolve(CONFIG), pretty(HuggingFaceConfig.write(JSON, config, bos, eos, dtype)));
        ObjectNode generation = JSON.createObjectNode();
        HuggingFaceConfig.put(generation, "bos_token_id", bos);
        HuggingFaceConfig.put(generation, "eos_token_id", eos);
        AtomicFiles.write(folder.resolve("generation_config.json"), pretty(generation));
        tokenizer.save(folder.resolve(TOKENIZER));
        Safetensors.write(folder.resolve(WEIGHTS), entries(config, weights, type), Map.of("format", "pt"));
    }

    /** The tensors of a flat array of parameters, under their Hugging Face names. */
    public static List<Safetensors.Entry> entries(LlamaConfig config, float[] flat, Safetensors.Type type) {
        return ParameterTable.of(config).slices().stream()
                .map(s -> Safetensors.Entry.floats(s.name(), type, s.shape(), flat, (int) s.offset()))
                .toList();
    }

    // ---- files

    private static JsonNode json(Path file) throws IOException {
        try {
            JsonNode json = JSON.readTree(Files.readAllBytes(file));
            if (!json.isObject()) {
                throw new EngineException.CorruptFile(file + ": not a JSON object");
            }
            return json;
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(file + ": not valid JSON: " + e.getOriginalMessage(), e);
        }
    }

    private static byte[] pretty(ObjectNode json) {
        return JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(json);
    }

    private static Path required(Path folder, String name) {
        Path file = folder.resolve(name);
        if (!Files.isRegularFile(file)) {
            throw new EngineException.InvalidInput(
                    folder + ": no " + name + " there; give a folder in Hugging Face layout");
        }
        return file;
    }
}
