package subtext.model;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import subtext.bindings.Shape;

/**
 * The single list of a model's parameters: names, shapes and places in one flat array. Matrices come first and norms last, so that
 * weight decay is a range; each parameter begins at a multiple of {@value #ALIGNMENT} elements and the gaps, like the padding rows of
 * the vocabulary, hold zeros that nothing changes.
 *
 * <p>Query, key and value rows are one matrix here, and so are gate and up. The {@link #slices} say where the tensors of a Hugging Face
 * checkpoint lie: each is one contiguous stretch.
 */
public final class ParameterTable {
    /** Elements between possible beginnings: 128 bytes of bf16. */
    public static final int ALIGNMENT = 64;

    /** What a parameter is, which decides its initial value and whether it decays. */
    public enum Kind {
        /** Decays; starts as normal noise. */
        MATRIX,
        /** Does not decay; starts as ones. */
        NORM,
        /** Does not decay; starts as zeros. */
        BIAS
    }

    /**
     * One parameter.
     *
     * @param name such as {@code layers.3.attention.qkv}
     * @param kind what it starts as and whether it decays
     * @param shape (out, in) of a matrix, (C) of a norm or a bias
     * @param offset first element in the flat array
     * @param std standard deviation of the initial values of a matrix, 0 for the others
     */
    public record Entry(String name, Kind kind, Shape shape, long offset, double std) {}

    /**
     * One tensor of a Hugging Face checkpoint.
     *
     * @param name as in {@code model.safetensors}
     * @param shape outermost size first
     * @param offset first element in the flat array
     */
    public record Slice(String name, List<Long> shape, long offset) {
        private static final Pattern LAYER = Pattern.compile("model\\.layers\\.(\\d+)\\.(.*)");

        /** {@return the number of elements, padding rows not among them} */
        public long size() {
            return shape.stream().reduce(1L, Math::multiplyExact);
        }

        /** {@return the name for a person: {@code layer 3, mlp.down_proj}, {@code embed_tokens}} */
        public String place() {
            String plain = name.replaceFirst("\\.weight$", "");
            Matcher layer = LAYER.matcher(plain);
            return layer.matches()
                    ? "layer " + layer.group(1) + ", " + layer.group(2)
                    : plain.replaceFirst("^model\\.", "");
        }

        /** Blocks above it: 0 for the output and the last norm, more than all layers for the embedding. */
        private int depth(int layers) {
            Matcher layer = LAYER.matcher(name);
            return layer.matches()
                    ? layers - Integer.parseInt(layer.group(1))
                    : name.startsWith("model.embed_tokens") ? layers + 1 : 0;
        }
    }

    private final LlamaConfig config;
    private final Map<String, Entry> entries = new LinkedHashMap<>();
    private final List<Slice> slices = new ArrayList<>();
    private final long decayed;
    private long size;

    private ParameterTable(LlamaConfig config) {
        this.config = config;
        double std = 0.02;
        // GPT-2's rule: the 2 L additions into the residual stream keep its variance independent of depth
        double residual = std / Math.sqrt(2.0 * config.layers());
        long width = config.width();
        long hidden = config.hidden();
        long q = config.attentionWidth();
        long kv = (long) config.kvHeads() * config.headDim();
        add("embedding", std, config.paddedVocabulary(), width);
        slice("model.embed_tokens.weight", "embedding", 0, config.vocabulary(), width);
        for (int i = 0; i < config.layers(); i++) {
            String here = "layers." + i + ".";
            String there = "model.layers." + i + ".";
            add(here + "attention.qkv", std, config.qkvWidth(), width);
            slice(there + "self_attn.q_proj.weight", here + "attention.qkv", 0, q, width);
            slice(there + "self_attn.k_proj.weight", here + "attention.qkv", q, kv, width);
            slice(there + "self_attn.v_proj.weight", here + "attention.qkv", q + kv, kv, width);
            add(here + "attention.out", residual, width, q);
            slice(there + "self_attn.o_proj.weight", here + "attention.out", 0, width, q);
            add(here + "feedForward.gateUp", std, 2 * hidden, width);
            slice(there + "mlp.gate_proj.weight", here + "feedForward.gateUp", 0, hidden, width);
            slice(there + "mlp.up_proj.weight", here + "feedForward.gateUp", hidden, hidden, width);
            add(here + "feedForward.down", residual, width, hidden);
            slice(there + "mlp.down_proj.weight", here + "feedForward.down", 0, width, hidden);
        }
        if (!config.tied()) {
            add("head", std, config.paddedVocabulary(), width);
            slice("lm_head.weight", "head", 0, config.vocabulary(), width);
        }
        decayed = size;
        for (int i = 0; i < config.layers(); i++) {
            String here = "layers." + i + ".";
            String there = "model.layers." + i + ".";
            vector(Kind.NORM, here + "attention.norm", width);
            slice(there + "input_layernorm.weight", here + "attention.norm", 0, width);
            if (config.family().qkvBias()) {
                String bias = here + "attention.bias";
                vector(Kind.BIAS, bias, config.qkvWidth());
                slice(there + "self_attn.q_proj.bias", bias, 0, q);
                slice(there + "self_attn.k_proj.bias", bias, q, kv);
                slice(there + "self_attn.v_proj.bias", bias, q + kv, kv);
            }
            if (config.family().headNorms()) {
                vector(Kind.NORM, here + "attention.qNorm", config.headDim());
                slice(there + "self_attn.q_norm.weight", here + "attention.qNorm", 0, config.headDim());
                vector(Kind.NORM, here + "attention.kNorm", config.headDim());
                slice(there + "self_attn.k_norm.weight", here + "attention.kNorm", 0, config.headDim());
            }
            vector(Kind.NORM, here + "feedForward.norm", width);
            slice(there + "post_attention_layernorm.weight", here + "feedForward.norm", 0, width);
        }
        vector(Kind.NORM, "norm", width);
        slice("model.norm.weight", "norm", 0, width);
    }

    /**
     * The parameters of a model of these sizes.
     *
     * @param config already checked, as every one is
     * @return the table: equal sizes give equal places
     */
    public static ParameterTable of(LlamaConfig config) {
        return new ParameterTable(config);
    }

    /** {@return the sizes it was made for} */
    public LlamaConfig config() {
        return config;
    }

    /** {@return all parameters in the order of their offsets} */
    public List<Entry> entries() {
        return List.copyOf(entries.values());
    }

    /**
     * One parameter.
     *
     * @param name as in {@link #entries}
     * @return its entry
     * @throws IllegalArgumentException if the model has no such parameter
     */
    public Entry entry(String name) {
        Entry entry = entries.get(name);
        if (entry == null) {
            throw new IllegalArgumentException("no parameter " + name + " in " + entries.keySet());
        }
        return entry;
    }

    /** {@return the tensors of a Hugging Face checkpoint, in the order of their offsets} */
    public List<Slice> slices() {
        return List.copyOf(slices);
    }

    /** {@return the elements of the flat array, gaps included} */
    public long size() {
        return size;
    }

    /**
     * Where decay ends: elements [0, decayed) are matrices and decay; [decayed, size) are norms and biases and do not.
     *
     * @return the number of elements that decay, gaps included
     */
    public long decayed() {
        return decayed;
    }

    /** Reads a flat array of a table piece by piece. */
    @FunctionalInterface
    public interface Reader {
        /**
         * {@return {@code n} values, first in an array that may be longer and be used again by the next call}
         *
         * @param at index of the first in the flat array
         * @param n how many
         */
        float[] read(long at, int n);
    }

    /**
     * The first tensor of a flat array that holds a number which is not finite, from the output down to the embedding as in backward, where
     * such a number is handed on downwards.
     *
     * @param flat {@link #size} elements, weights or gradients
     * @return its place, such as {@code layer 3, mlp.down_proj}; empty if all are finite
     */
    public Optional<String> nonFinite(Reader flat) {
        List<Slice> downwards = slices.stream()
                .sorted(Comparator.comparingInt((Slice slice) -> slice.depth(config.layers()))
                        .thenComparing(Comparator.comparingLong(Slice::offset).reversed()))
                .toList();
        for (Slice slice : downwards) {
            if (!finite(flat, slice.offset(), slice.offset() + slice.size())) {
                return Optional.of(slice.place());
            }
        }
        return Optional.empty();
    }

    private static boolean finite(Reader flat, long from, long to) {
        for (long at = from; at < to; at += WeightPieces.ELEMENTS) {
            int n = (int) Math.min(WeightPieces.ELEMENTS, to - at);
            float[] values = flat.read(at, n);
            for (int i = 0; i < n; i++) {
                if (!Float.isFinite(values[i])) {
                    return false;
                }
            }
        }
        return true;
    }

    private void add(String name, double std, long rows, long columns) {
        put(new Entry(name, Kind.MATRIX, Shape.of(rows, columns), size, std));
    }

    private void vector(Kind kind, String name, long elements) {
        put(new Entry(name, kind, Shape.of(elements), size, 0));
    }

    private void put(Entry entry) {
        entries.put(entry.name(), entry);
        size += (entry.shape().size() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    private void slice(String exported, String name, long fromRow, long rows, long columns) {
        slices.add(new Slice(exported, List.of(rows, columns), entries.get(name).offset() + fromRow * columns));
    }

    private void slice(String exported, String name, long from, long elements) {
        slices.add(new Slice(exported, List.of(elements), entries.get(name).offset() + from));
    }
}
