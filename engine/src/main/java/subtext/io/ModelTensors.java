package subtext.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import subtext.bindings.EngineException;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import tools.jackson.databind.JsonNode;

/**
 * The tensors of a model folder, in one file or in shards: all that the sizes ask for are there, once each and in their shapes, and
 * nothing else but copies that can be left out. Values are read where they lie; only what is asked for is ever held.
 */
final class ModelTensors implements AutoCloseable {
    private static final String INDEX = "model.safetensors.index.json";

    private final List<Safetensors> files = new ArrayList<>();
    private final Map<String, Safetensors> holding = new LinkedHashMap<>();
    private final Map<String, Path> paths = new HashMap<>();
    private final Map<String, ParameterTable.Slice> slices = new HashMap<>();

    private ModelTensors() {}

    /**
     * Opens and checks all files.
     *
     * @throws EngineException.CorruptFile if a file breaks a rule or a tensor is missing, twice or misshapen
     * @throws EngineException.InvalidConfig if a tensor is no part of such a model
     */
    static ModelTensors open(Path folder, LlamaConfig config) throws IOException {
        ModelTensors tensors = new ModelTensors();
        try {
            tensors.read(folder, config);
            return tensors;
        } catch (IOException | RuntimeException | Error e) {
            tensors.close();
            throw e;
        }
    }

    private void read(Path folder, LlamaConfig config) throws IOException {
        ParameterTable.of(config).slices().forEach(slice -> slices.put(slice.name(), slice));
        for (Path shard : shards(folder)) {
            Safetensors file = Safetensors.open(shard);
            files.add(file);
            for (Safetensors.Info info : file.tensors().values()) {
                ParameterTable.Slice slice = slices.get(info.name());
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
                if (holding.putIfAbsent(info.name(), file) != null) {
                    throw new EngineException.CorruptFile(
                            shard + ": tensor " + info.name() + " was already in another shard");
                }
                paths.put(info.name(), shard);
            }
        }
        Set<String> missing = new TreeSet<>(slices.keySet());
        missing.removeAll(holding.keySet());
        if (!missing.isEmpty()) {
            throw new EngineException.CorruptFile(folder + ": " + missing.size() + " tensors are missing, first "
                    + missing.iterator().next());
        }
    }

    private static boolean ignorable(String name, LlamaConfig config) {
        // computed from the sizes here; a second copy of a tied matrix
        return name.endsWith(".rotary_emb.inv_freq") || config.tied() && name.equals("lm_head.weight");
    }

    /** All tensors of the model in the order in which the files hold them, so that reading them is reading the files through. */
    List<ParameterTable.Slice> inFileOrder() {
        return holding.keySet().stream().map(slices::get).toList();
    }

    /** The element type of a tensor in its file. */
    Safetensors.Type type(String name) {
        return holding.get(name).info(name).type();
    }

    /** A whole tensor, piece by piece; refused if a value is not finite. */
    void floats(ParameterTable.Slice slice, Safetensors.Sink sink) throws IOException {
        holding.get(slice.name()).floats(slice.name(), (at, values) -> {
            requireFinite(slice, at, values);
            sink.accept(at, values);
        });
    }

    /** Some values of a tensor; refused if one is not finite. */
    float[] floats(ParameterTable.Slice slice, long at, int n) throws IOException {
        float[] values = holding.get(slice.name()).floats(slice.name(), at, n);
        requireFinite(slice, at, values);
        return values;
    }

    private void requireFinite(ParameterTable.Slice slice, long at, float[] values) {
        for (int i = 0; i < values.length; i++) {
            if (!Float.isFinite(values[i])) {
                throw new EngineException.CorruptFile(paths.get(slice.name()) + ": tensor " + slice.name() + " holds "
                        + values[i] + " at element " + (at + i));
            }
        }
    }

    /** The files that hold the weights: the one, or what the index names. */
    static List<Path> shards(Path folder) throws IOException {
        Path index = folder.resolve(INDEX);
        if (!Files.exists(index)) {
            return List.of(HuggingFace.required(folder, HuggingFace.WEIGHTS));
        }
        if (Files.isSymbolicLink(index)) {
            throw new EngineException.CorruptFile(index + ": is a symbolic link; copy the folder with cp -L");
        }
        JsonNode map = HuggingFace.json(index).path("weight_map");
        if (!map.isObject() || map.isEmpty()) {
            throw new EngineException.CorruptFile(index + ": weight_map is not an object of tensors and files");
        }
        Map<String, Set<String>> tensorsOf = new TreeMap<>();
        for (Map.Entry<String, JsonNode> entry : map.properties()) {
            tensorsOf
                    .computeIfAbsent(shardName(index, entry.getKey(), entry.getValue()), k -> new TreeSet<>())
                    .add(entry.getKey());
        }
        List<Path> shards = new ArrayList<>();
        for (Map.Entry<String, Set<String>> shard : tensorsOf.entrySet()) {
            shards.add(shard(index, shard.getKey(), shard.getValue(), map));
        }
        return shards;
    }

    /** An index may name nothing but plain files of the folder itself. */
    private static String shardName(Path index, String tensor, JsonNode value) {
        if (!value.isString()) {
            throw new EngineException.CorruptFile(
                    index + ": the shard of " + tensor + " is " + value + ", not the name of a file");
        }
        String name = value.asString();
        if (!name.endsWith(".safetensors")
                || name.contains("/")
                || name.contains("\\")
                || name.indexOf('\0') >= 0
                || name.startsWith(".")) {
            throw new EngineException.CorruptFile(index + ": shard \"" + name.replaceAll("\\p{Cntrl}", "?") + "\" of "
                    + tensor + " is not the name of a .safetensors file in this folder");
        }
        return name;
    }

    private static Path shard(Path index, String name, Set<String> claimed, JsonNode map) throws IOException {
        Path shard = index.resolveSibling(name);
        if (Files.isSymbolicLink(shard)) {
            throw new EngineException.CorruptFile(
                    index + ": shard " + name + " is a symbolic link; copy the folder with cp -L");
        }
        if (!Files.isRegularFile(shard)) {
            throw new EngineException.CorruptFile(
                    index + ": shard " + name + (Files.exists(shard) ? " is not a file" : " is missing"));
        }
        try (Safetensors file = Safetensors.open(shard)) {
            for (String tensor : file.tensors().keySet()) {
                if (!map.path(tensor).asString("").equals(name)) {
                    throw new EngineException.CorruptFile(index + ": tensor " + tensor + " lies in " + name
                            + ", the index says \"" + map.path(tensor).asString("") + "\"");
                }
            }
            for (String tensor : claimed) {
                if (!file.tensors().containsKey(tensor)) {
                    throw new EngineException.CorruptFile(index + ": the index says that tensor " + tensor + " lies in "
                            + name + ", which does not hold it");
                }
            }
        }
        return shard;
    }

    @Override
    public void close() throws IOException {
        for (Safetensors file : files) {
            file.close();
        }
    }
}
