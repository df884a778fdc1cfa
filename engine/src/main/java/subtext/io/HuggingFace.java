package subtext.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.stream.Stream;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.text.ControlTokens;
import subtext.text.Tokenizer;
import subtext.text.Tokens;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * A model as a folder in Hugging Face's layout: {@code config.json}, {@code model.safetensors} (or an index and shards),
 * {@code tokenizer.json}, and what {@link Conversation} is made of. Query, key and value, and gate and up, are separate tensors there and neighbours
 * in one matrix here, so each is copied as it is. A model that this engine does not compute is refused by the name of what differs.
 */
public final class HuggingFace {
    static final String CONFIG = "config.json";
    static final String WEIGHTS = "model.safetensors";
    static final String TOKENIZER = "tokenizer.json";

    /** Of config.json and of an index of shards. */
    private static final int LARGEST = 64 << 20;

    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();

    /** Nor may what is read for a few of its fields be all brackets: each takes many times its byte. The largest in use has 100,000 tokens. */
    private static final JsonMapper SETTINGS = JsonMapper.builder(JsonFactory.builder()
                    .streamReadConstraints(StreamReadConstraints.builder()
                            .maxTokenCount(1 << 20)
                            .build())
                    .build())
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();

    private HuggingFace() {}

    /**
     * A model out of a folder.
     *
     * @param config sizes of the model
     * @param tokenizer with at most as many ids as the model has rows of embedding
     * @param weights flat, in the order of {@code ParameterTable.of(config)}
     */
    public record Checkpoint(LlamaConfig config, Tokenizer tokenizer, float[] weights) {}

    /**
     * Reads sizes, tokenizer and weights.
     *
     * @param folder in Hugging Face's layout
     * @return the whole model in memory, 4 bytes a weight
     * @throws EngineException.CorruptFile if a file breaks a rule, lacks a tensor or holds a weight that is not finite
     * @throws EngineException.InvalidConfig if the model is not one this engine computes
     * @throws EngineException.InvalidInput if the folder lacks a file
     * @throws IOException if a file cannot be read
     */
    public static Checkpoint load(Path folder) throws IOException {
        LlamaConfig config = config(folder);
        return new Checkpoint(config, tokenizerFor(folder, config), weights(folder, config));
    }

    /**
     * The tokenizer, held against the sizes: each of its ids needs a row of the embedding.
     *
     * @param folder holds {@code tokenizer.json}
     * @param config sizes of the model beside it
     * @return the tokenizer; the model may have more rows than it has ids
     * @throws EngineException.InvalidConfig if it has more ids than the model has rows
     * @throws EngineException.InvalidInput if the folder lacks the file
     * @throws EngineException.CorruptFile as {@link Tokenizer#load}
     * @throws IOException if the file cannot be read
     */
    public static Tokenizer tokenizerFor(Path folder, LlamaConfig config) throws IOException {
        Tokenizer tokenizer = tokenizer(folder);
        if (tokenizer.vocabulary() > config.vocabulary()) {
            throw new EngineException.InvalidConfig(folder + ": the tokenizer has " + tokenizer.vocabulary()
                    + " ids, vocab_size is " + config.vocabulary());
        }
        return tokenizer;
    }

    /**
     * {@return the tokenizer alone, not held against any sizes}
     *
     * @param folder holds {@code tokenizer.json}
     * @throws EngineException.InvalidInput if the folder lacks the file
     * @throws EngineException.CorruptFile as {@link Tokenizer#load}
     * @throws IOException if the file cannot be read
     */
    public static Tokenizer tokenizer(Path folder) throws IOException {
        return Tokenizer.load(required(folder, TOKENIZER));
    }

    /**
     * {@return the sizes alone}
     *
     * @param folder holds {@code config.json}
     * @throws EngineException.InvalidInput if the folder lacks the file
     * @throws EngineException.CorruptFile if the file is not JSON
     * @throws EngineException.InvalidConfig if the model is not one this engine computes, naming what differs
     * @throws IOException if the file cannot be read
     */
    public static LlamaConfig config(Path folder) throws IOException {
        Path file = required(folder, CONFIG);
        JsonNode json = json(file);
        try {
            return HuggingFaceConfig.read(json);
        } catch (EngineException.InvalidConfig e) {
            throw new EngineException.InvalidConfig(file + ": " + e.getMessage(), e);
        }
    }

    /**
     * {@return the files that a model is read from: weights, one or in shards, then sizes and tokenizer}
     *
     * @param folder in Hugging Face's layout
     * @throws EngineException.InvalidInput if the folder lacks the weights
     * @throws EngineException.CorruptFile if an index of shards breaks a rule
     * @throws IOException if the index cannot be read
     */
    public static List<Path> files(Path folder) throws IOException {
        return Stream.concat(
                        ModelTensors.shards(folder).stream(),
                        Stream.of(folder.resolve(CONFIG), folder.resolve(TOKENIZER)))
                .toList();
    }

    /**
     * {@return the weights alone, flat in the order of {@code ParameterTable.of(config)}, padding as zeros}
     *
     * @param folder holds {@code model.safetensors}, or an index and shards
     * @param config sizes that the tensors must have
     * @throws EngineException.CorruptFile if a file breaks a rule, lacks a tensor or holds a weight that is not finite
     * @throws EngineException.InvalidConfig if a tensor is no part of such a model
     * @throws EngineException.InvalidInput if the folder has neither
     * @throws IOException if a file cannot be read
     */
    public static float[] weights(Path folder, LlamaConfig config) throws IOException {
        float[] flat = new float[Math.toIntExact(ParameterTable.of(config).size())];
        weights(folder, config, (at, values) -> System.arraycopy(values, 0, flat, (int) at, values.length));
        return flat;
    }

    /**
     * The weights, piece by piece as they are read, for a model too large to be held twice.
     *
     * @param folder holds {@code model.safetensors}, or an index and shards
     * @param config sizes that the tensors must have
     * @param sink takes values and the index of their first in the flat array of {@code ParameterTable.of(config)}; padding, which no file
     *     holds, is not given
     * @throws EngineException.CorruptFile if a file breaks a rule, lacks a tensor or holds a weight that is not finite
     * @throws EngineException.InvalidConfig if a tensor is no part of such a model
     * @throws EngineException.InvalidInput if the folder has neither
     * @throws IOException if a file cannot be read, or the sink throws it
     */
    public static void weights(Path folder, LlamaConfig config, Safetensors.Sink sink) throws IOException {
        try (ModelTensors tensors = ModelTensors.open(folder, config)) {
            for (ParameterTable.Slice slice : tensors.inFileOrder()) {
                tensors.floats(slice, (at, values) -> sink.accept(slice.offset() + at, values));
            }
        }
    }

    /**
     * A model on a device, weights streamed to it from the files.
     *
     * @param folder in Hugging Face's layout; closed again when this returns
     * @param device where to; not owned
     * @param dtype storage of weights and activations
     * @param capacity what is kept room for beside the weights
     * @return the model; the caller closes it
     * @throws EngineException as {@link #load}, and if the model does not fit
     * @throws IOException if a file cannot be read
     */
    public static Llama open(Path folder, Device device, DType dtype, Llama.Capacity capacity) throws IOException {
        LlamaConfig config = config(folder);
        Llama llama = Llama.open(device, config, dtype, capacity);
        try {
            weights(folder, config, llama::upload);
            return llama;
        } catch (IOException | RuntimeException | Error e) {
            llama.close();
            throw e;
        }
    }

    /**
     * Writes a model as a folder that Transformers can load, each file atomically, the weights last.
     *
     * @param folder made if it is missing; files of a model there are replaced
     * @param config sizes of the model
     * @param tokenizer of that model: its {@code <bos>} and {@code <eos>} go into {@code config.json}
     * @param weights flat, in the order of {@code ParameterTable.of(config)}
     * @param dtype F32, which loses nothing, or BF16
     * @throws IOException if a file cannot be written
     */
    public static void save(Path folder, LlamaConfig config, Tokenizer tokenizer, float[] weights, DType dtype)
            throws IOException {
        save(
                folder,
                config,
                tokenizer,
                Conversation.of(tokenizer),
                source(weights),
                Safetensors.Type.valueOf(dtype.name()));
    }

    /**
     * The same with weights fetched piece by piece, for a model too large to be held twice.
     *
     * @param folder made if it is missing; files of a model there are replaced
     * @param config sizes of the model
     * @param tokenizer of that model: its {@code <bos>} goes into {@code config.json}
     * @param conversation of that model: its end tokens go into {@code config.json} and {@code generation_config.json}, the rest into
     *     {@code tokenizer_config.json}
     * @param weights by their index in the flat array of {@code ParameterTable.of(config)}; {@code llama::download} is one
     * @param type F32, BF16 or F16
     * @throws IOException if a file cannot be written, or {@code weights} throws it
     */
    public static void save(
            Path folder,
            LlamaConfig config,
            Tokenizer tokenizer,
            Conversation conversation,
            Safetensors.Source weights,
            Safetensors.Type type)
            throws IOException {
        AtomicFiles.createDirectories(folder);
        int bos = tokenizer.controls().bos();
        Tokens ends = conversation.endTokens();
        AtomicFiles.write(folder.resolve(CONFIG), pretty(HuggingFaceConfig.write(JSON, config, bos, ends, type)));
        ObjectNode generation = JSON.createObjectNode();
        HuggingFaceConfig.put(generation, "bos_token_id", bos);
        HuggingFaceConfig.put(generation, "eos_token_id", ends);
        AtomicFiles.write(folder.resolve(Conversation.GENERATION), pretty(generation));
        tokenizer.save(folder.resolve(TOKENIZER));
        AtomicFiles.write(
                folder.resolve(Conversation.TOKENIZER_CONFIG),
                pretty(tokenizerConfig(config, tokenizer, conversation)));
        Safetensors.write(folder.resolve(WEIGHTS), entries(config, weights, type), Map.of("format", "pt"));
    }

    /**
     * What Transformers asks beside {@code tokenizer.json}: that it take that file as it is, and not rebuild the tokenizer that it knows for
     * the family; which tokens open and close a text; how messages become one; and that decoding tidies nothing.
     */
    private static ObjectNode tokenizerConfig(LlamaConfig config, Tokenizer tokenizer, Conversation conversation) {
        ObjectNode json = JSON.createObjectNode();
        json.put("tokenizer_class", "PreTrainedTokenizerFast");
        token(json, "bos_token", tokenizer, tokenizer.controls().bos());
        token(json, "eos_token", tokenizer, conversation.turnEnd());
        token(json, "unk_token", tokenizer, tokenizer.unknown());
        json.putNull("pad_token"); // said, for Qwen's class would add its own
        // as tokenizer.json has it; llama.cpp's converter looks here
        json.put("add_bos_token", tokenizer.opensWithBos());
        json.put("clean_up_tokenization_spaces", false);
        json.put("model_max_length", config.context());
        SortedMap<String, String> templates = conversation.templates();
        if (templates.size() == 1 && templates.containsKey(Conversation.DEFAULT)) {
            json.put("chat_template", templates.get(Conversation.DEFAULT));
        } else if (!templates.isEmpty()) {
            ArrayNode list = json.putArray("chat_template");
            templates.forEach(
                    (name, template) -> list.addObject().put("name", name).put("template", template));
        }
        return json;
    }

    private static void token(ObjectNode json, String field, Tokenizer tokenizer, int id) {
        if (id == ControlTokens.NONE) {
            json.putNull(field);
        } else {
            json.put(field, tokenizer.show(Tokens.of(id)));
        }
    }

    /**
     * {@return the tensors of a flat array of parameters, under their Hugging Face names, to be written}
     *
     * @param config sizes of the model
     * @param flat in the order of {@code ParameterTable.of(config)}; read when the entries are written, not copied
     * @param type F32, BF16 or F16 of the tensors written
     */
    public static List<Safetensors.Entry> entries(LlamaConfig config, float[] flat, Safetensors.Type type) {
        return entries(config, source(flat), type);
    }

    private static List<Safetensors.Entry> entries(LlamaConfig config, Safetensors.Source flat, Safetensors.Type type) {
        return ParameterTable.of(config).slices().stream()
                .map(s -> Safetensors.Entry.floats(s.name(), type, s.shape(), (at, n) -> flat.read(s.offset() + at, n)))
                .toList();
    }

    private static Safetensors.Source source(float[] flat) {
        return (at, n) -> Arrays.copyOfRange(flat, (int) at, (int) at + n);
    }

    // ---- files

    static JsonNode json(Path file) throws IOException {
        return json(JSON, file, LARGEST);
    }

    /** Of a file of few fields that count, of at most so many bytes. */
    static JsonNode settings(Path file, int most) throws IOException {
        return json(SETTINGS, file, most);
    }

    private static JsonNode json(JsonMapper mapper, Path file, int most) throws IOException {
        try {
            JsonNode json = mapper.readTree(WholeFile.bytes(file, most));
            if (!json.isObject()) {
                throw new EngineException.CorruptFile(file + ": not a JSON object");
            }
            return json;
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(file + ": not valid JSON: " + JsonProblem.of(e), e);
        }
    }

    private static byte[] pretty(ObjectNode json) {
        return JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(json);
    }

    static Path required(Path folder, String name) {
        Path file = folder.resolve(name);
        if (!Files.isRegularFile(file)) {
            throw new EngineException.InvalidInput(
                    folder + ": no " + name + " there; give a folder in Hugging Face layout");
        }
        return file;
    }
}
