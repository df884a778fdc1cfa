package subtext.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.text.BpeTokenizer;
import subtext.text.ControlTokens;
import subtext.text.SymbolTokenizer;
import subtext.text.Tokenizer;

/**
 * What a model folder holds, checked as loading checks it, but for the values of the weights.
 *
 * @param config sizes of the model
 * @param tokenizerKind for people
 * @param tokenizerIds one more than the largest id; the model may have more rows
 * @param controls ids of the control tokens
 * @param conversation end tokens and chat templates
 * @param tensors number of tensors of each element type
 * @param files shards of weights first, then sizes and tokenizer
 * @param bytesPerSecond how fast the files were read here, digest included
 */
public record ModelSummary(
        LlamaConfig config,
        String tokenizerKind,
        int tokenizerIds,
        ControlTokens controls,
        Conversation conversation,
        Map<String, Integer> tensors,
        List<FileDigest> files,
        double bytesPerSecond) {

    /**
     * One file of the model.
     *
     * @param name without the folder
     * @param bytes its size
     * @param sha256 64 hexadecimal digits
     */
    public record FileDigest(String name, long bytes, String sha256) {}

    /**
     * Reads a folder, all files once through.
     *
     * @param folder in Hugging Face's layout
     * @return its summary
     * @throws subtext.bindings.EngineException as {@link HuggingFace#load}, but for the values of the weights
     * @throws IOException if a file cannot be read
     */
    public static ModelSummary of(Path folder) throws IOException {
        LlamaConfig config = HuggingFace.config(folder);
        Tokenizer tokenizer = HuggingFace.tokenizerFor(folder, config);
        Map<String, Integer> tensors = new TreeMap<>();
        try (ModelTensors open = ModelTensors.open(folder, config)) {
            for (ParameterTable.Slice slice : open.inFileOrder()) {
                tensors.merge(open.type(slice.name()).name(), 1, Integer::sum);
            }
        }
        List<FileDigest> files = new ArrayList<>();
        long begin = System.nanoTime();
        long bytes = 0;
        for (Path path : HuggingFace.files(folder)) {
            long size = Files.size(path);
            files.add(new FileDigest(path.getFileName().toString(), size, Digest.of(path)));
            bytes += size;
        }
        double seconds = (System.nanoTime() - begin) / 1e9;
        String kind = switch (tokenizer) {
            case BpeTokenizer bpe -> "byte-pair encoding";
            case SymbolTokenizer symbols -> "symbols";
        };
        return new ModelSummary(
                config,
                kind,
                tokenizer.vocabulary(),
                tokenizer.controls(),
                Conversation.of(folder, config, tokenizer),
                tensors,
                List.copyOf(files),
                bytes / Math.max(seconds, 1e-9));
    }

    /**
     * {@return bytes of the weights in memory, padding counted}
     *
     * @param elementBytes of one weight: 4 for f32, 2 for bf16
     */
    public long weightBytes(int elementBytes) {
        return ParameterTable.of(config).size() * elementBytes;
    }

    /**
     * {@return bytes of keys and values of one sequence as long as the context}
     *
     * @param elementBytes of one value of the cache: 4 for f32, 2 for bf16
     */
    public long cacheBytes(int elementBytes) {
        return 2L * config.layers() * config.context() * config.kvHeads() * config.headDim() * elementBytes;
    }

    /** {@return seconds to read all files at the speed measured} */
    public double loadSeconds() {
        return files.stream().mapToLong(FileDigest::bytes).sum() / bytesPerSecond;
    }
}
