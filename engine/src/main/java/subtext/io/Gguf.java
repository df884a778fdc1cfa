package subtext.io;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import subtext.bindings.EngineException;
import subtext.model.Family;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.model.RopeScaling;
import subtext.text.Tokenizer;

/**
 * A model folder as one GGUF file, version 3, which llama.cpp and what is built on it open. Matrices are written in the type asked for
 * (one whose rows are no multiple of 32 in f16 where that is q8_0), vectors in f32. Queries and keys of a llama or mistral are written in
 * the order of llama.cpp's rotation, which pairs neighbours where Hugging Face pairs halves.
 *
 * @see <a href="https://github.com/ggml-org/ggml/blob/master/docs/gguf.md">the format</a>
 */
public final class Gguf {
    private static final int ALIGNMENT = 32;
    private static final int BLOCK = 32;
    private static final int PIECE = 1 << 18; // values fetched at once, a multiple of the block

    /** How matrices are stored; the number is the format's own. */
    public enum Type {
        /** Single precision, 4 bytes: exact. */
        F32(0, 0, 4),
        /** Half precision, 2 bytes, rounded to nearest even. */
        F16(1, 1, 2),
        /** The upper half of a float, 2 bytes, rounded to nearest even. */
        BF16(30, 32, 2),
        /** Blocks of 32 bytes and one f16 factor, the largest magnitude over 127. */
        Q8_0(8, 7, 0);

        private final int code;
        private final int fileType;
        private final int bytes;

        Type(int code, int fileType, int bytes) {
            this.code = code;
            this.fileType = fileType;
            this.bytes = bytes;
        }

        long bytes(long elements) {
            return this == Q8_0 ? elements / BLOCK * (BLOCK + 2) : elements * bytes;
        }
    }

    /** A tensor to be written: what it is called there, its sizes as GGUF has them (innermost first), and where its values are. */
    private record Tensor(String name, Type type, long[] sizes, Safetensors.Source source) {
        long elements() {
            long n = 1;
            for (long size : sizes) {
                n *= size;
            }
            return n;
        }

        long bytes() {
            return type.bytes(elements());
        }
    }

    private Gguf() {}

    /**
     * Writes a model folder as a GGUF file, atomically.
     *
     * @param folder the model, in Hugging Face's layout
     * @param file where to; an existing one is replaced
     * @param type of the matrices; the vectors are in f32 whatever it is
     * @throws EngineException.InvalidConfig if the tokenizer has no form in GGUF, which is named
     * @throws EngineException.CorruptFile if a file of the model is damaged
     * @throws EngineException.InvalidInput if {@code folder} lacks a file of a model
     * @throws IOException if a file cannot be read or written
     */
    public static void write(Path folder, Path file, Type type) throws IOException {
        LlamaConfig config = HuggingFace.config(folder);
        Tokenizer known = HuggingFace.tokenizerFor(folder, config); // reads what we read, and has a row for each id
        GgufTokenizer tokenizer =
                GgufTokenizer.read(folder, config.vocabulary(), Conversation.of(folder, config, known));
        String name = folder.toAbsolutePath().normalize().getFileName().toString();
        try (ModelTensors model = ModelTensors.open(folder, config)) {
            List<Tensor> tensors = tensors(config, model, type);
            Fields fields = fields(config, name, type);
            tokenizer.put(fields);
            byte[] head = head(fields, tensors);
            AtomicFiles.write(file, out -> {
                AtomicFiles.writeFully(out, ByteBuffer.wrap(head));
                for (Tensor tensor : tensors) {
                    write(out, tensor);
                }
            });
        }
    }

    // ---- what the model is

    private static String architecture(Family family) {
        return switch (family) {
            case LLAMA, MISTRAL -> "llama";
            case QWEN2 -> "qwen2";
            case QWEN3 -> "qwen3";
        };
    }

    private static Fields fields(LlamaConfig config, String name, Type type) {
        String a = architecture(config.family());
        Fields fields = new Fields();
        fields.text("general.architecture", a);
        fields.text("general.name", name);
        fields.number("general.alignment", ALIGNMENT);
        fields.number("general.file_type", type.fileType);
        if (type == Type.Q8_0) {
            fields.number("general.quantization_version", 2);
        }
        fields.number(a + ".block_count", config.layers());
        fields.number(a + ".context_length", config.context());
        fields.number(a + ".embedding_length", config.width());
        fields.number(a + ".feed_forward_length", config.hidden());
        fields.number(a + ".attention.head_count", config.heads());
        fields.number(a + ".attention.head_count_kv", config.kvHeads());
        fields.number(a + ".attention.key_length", config.headDim());
        fields.number(a + ".attention.value_length", config.headDim());
        fields.decimal(a + ".attention.layer_norm_rms_epsilon", (float) config.normEps());
        if (config.window() > 0) {
            fields.number(a + ".attention.sliding_window", config.window());
        }
        fields.number(a + ".rope.dimension_count", config.headDim());
        fields.decimal(a + ".rope.freq_base", (float) config.ropeTheta());
        if (config.ropeScaling() instanceof RopeScaling.Linear(double factor)) {
            fields.text(a + ".rope.scaling.type", "linear");
            fields.decimal(a + ".rope.scaling.factor", (float) factor);
        }
        fields.number(a + ".vocab_size", config.vocabulary());
        return fields;
    }

    private static List<Tensor> tensors(LlamaConfig config, ModelTensors model, Type type) {
        List<Tensor> tensors = new ArrayList<>();
        for (ParameterTable.Slice slice : ParameterTable.of(config).slices()) {
            boolean matrix = slice.shape().size() == 2;
            long[] sizes = matrix
                    ? new long[] {slice.shape().get(1), slice.shape().get(0)}
                    : new long[] {slice.shape().get(0)};
            Type stored = !matrix ? Type.F32 : type == Type.Q8_0 && sizes[0] % BLOCK != 0 ? Type.F16 : type;
            Safetensors.Source source = (at, n) -> model.floats(slice, at, n);
            boolean turns =
                    slice.name().endsWith("q_proj.weight") || slice.name().endsWith("k_proj.weight");
            if (turns && architecture(config.family()).equals("llama")) {
                source = neighbours(source, sizes[0], config.headDim());
            }
            tensors.add(new Tensor(name(slice.name()), stored, sizes, source));
        }
        if (config.ropeScaling() instanceof RopeScaling.Llama3) {
            float[] factors = new float[config.headDim() / 2];
            for (int i = 0; i < factors.length; i++) {
                double frequency = StrictMath.pow(config.ropeTheta(), -2.0 * i / config.headDim());
                factors[i] = (float) (frequency / config.ropeScaling().scale(frequency));
            }
            tensors.add(new Tensor(
                    "rope_freqs.weight",
                    Type.F32,
                    new long[] {factors.length},
                    (at, n) -> java.util.Arrays.copyOfRange(factors, (int) at, (int) at + n)));
        }
        return tensors;
    }

    /** Rows of each head reordered: 0, D/2, 1, D/2 + 1, ... so that pairs are neighbours. */
    private static Safetensors.Source neighbours(Safetensors.Source source, long width, int headDim) {
        int row = Math.toIntExact(width);
        return (at, n) -> {
            float[] values = new float[n];
            for (int done = 0; done < n; ) {
                long to = (at + done) / row;
                int column = (int) ((at + done) % row);
                int count = Math.min(n - done, row - column);
                long head = to / headDim;
                long within = to % headDim;
                long from = head * headDim + within / 2 + within % 2 * (headDim / 2);
                System.arraycopy(source.read(from * row + column, count), 0, values, done, count);
                done += count;
            }
            return values;
        };
    }

    private static String name(String huggingFace) {
        String[] part = huggingFace.split("\\.");
        return switch (huggingFace) {
            case "model.embed_tokens.weight" -> "token_embd.weight";
            case "model.norm.weight" -> "output_norm.weight";
            case "lm_head.weight" -> "output.weight";
            default ->
                "blk." + part[2] + "." + inBlock(String.join(".", List.of(part).subList(3, part.length)));
        };
    }

    private static String inBlock(String name) {
        return switch (name) {
            case "self_attn.o_proj.weight" -> "attn_output.weight";
            case "self_attn.q_norm.weight" -> "attn_q_norm.weight";
            case "self_attn.k_norm.weight" -> "attn_k_norm.weight";
            case "mlp.gate_proj.weight" -> "ffn_gate.weight";
            case "mlp.up_proj.weight" -> "ffn_up.weight";
            case "mlp.down_proj.weight" -> "ffn_down.weight";
            case "input_layernorm.weight" -> "attn_norm.weight";
            case "post_attention_layernorm.weight" -> "ffn_norm.weight";
            default -> name.replaceFirst("self_attn\\.([qkv])_proj", "attn_$1"); // weights and biases
        };
    }

    // ---- how it is written

    private static byte[] head(Fields fields, List<Tensor> tensors) {
        Fields head = new Fields();
        head.raw("GGUF".getBytes(StandardCharsets.US_ASCII));
        head.i32(3);
        head.i64(tensors.size());
        head.i64(fields.count);
        head.raw(fields.out.toByteArray());
        long offset = 0;
        for (Tensor tensor : tensors) {
            head.string(tensor.name());
            head.i32(tensor.sizes().length);
            for (long size : tensor.sizes()) {
                head.i64(size);
            }
            head.i32(tensor.type().code);
            head.i64(offset);
            offset += padded(tensor.bytes());
        }
        byte[] bytes = head.out.toByteArray();
        return java.util.Arrays.copyOf(bytes, Math.toIntExact(padded(bytes.length)));
    }

    private static long padded(long bytes) {
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    private static void write(FileChannel out, Tensor tensor) throws IOException {
        long elements = tensor.elements();
        ByteBuffer buffer = ByteBuffer.allocate(4 * PIECE).order(ByteOrder.LITTLE_ENDIAN);
        for (long at = 0; at < elements; at += PIECE) {
            float[] values = tensor.source().read(at, (int) Math.min(PIECE, elements - at));
            buffer.clear();
            encode(values, tensor.type(), buffer);
            AtomicFiles.writeFully(out, buffer.flip());
        }
        int gap = (int) (padded(tensor.bytes()) - tensor.bytes());
        AtomicFiles.writeFully(out, ByteBuffer.allocate(gap));
    }

    private static void encode(float[] values, Type type, ByteBuffer to) {
        switch (type) {
            case F32 -> {
                for (float value : values) {
                    to.putFloat(value);
                }
            }
            case F16 -> {
                for (float value : values) {
                    to.putShort(Float.floatToFloat16(value));
                }
            }
            case BF16 -> {
                for (float value : values) {
                    to.putShort(Safetensors.toBf16(value));
                }
            }
            case Q8_0 -> {
                for (int at = 0; at < values.length; at += BLOCK) {
                    encodeBlock(values, at, to);
                }
            }
        }
    }

    /** Of 32 values: d = largest magnitude / 127 in f16, then round(x / d), halves away from zero, as ggml's reference does it. */
    private static void encodeBlock(float[] values, int at, ByteBuffer to) {
        float largest = 0;
        for (int i = at; i < at + BLOCK; i++) {
            largest = Math.max(largest, Math.abs(values[i]));
        }
        float d = largest / 127;
        float inverse = d == 0 ? 0 : 1 / d;
        to.putShort(Float.floatToFloat16(d));
        for (int i = at; i < at + BLOCK; i++) {
            float scaled = values[i] * inverse;
            to.put((byte) (scaled < 0 ? -(int) (0.5f - scaled) : (int) (scaled + 0.5f)));
        }
    }

    /** Keys and values in the format's binary form. */
    static final class Fields {
        private static final int UINT32 = 4;
        private static final int INT32 = 5;
        private static final int FLOAT32 = 6;
        private static final int BOOL = 7;
        private static final int STRING = 8;
        private static final int ARRAY = 9;

        private final ByteArrayOutputStream out = new ByteArrayOutputStream();
        private int count;

        void text(String key, String value) {
            key(key, STRING);
            string(value);
        }

        void number(String key, int value) {
            if (value < 0) {
                throw new IllegalArgumentException(key + ": " + value);
            }
            key(key, UINT32);
            i32(value);
        }

        void decimal(String key, float value) {
            key(key, FLOAT32);
            i32(Float.floatToRawIntBits(value));
        }

        void flag(String key, boolean value) {
            key(key, BOOL);
            out.write(value ? 1 : 0);
        }

        void texts(String key, List<String> values) {
            array(key, STRING, values.size());
            values.forEach(this::string);
        }

        void integers(String key, int[] values) {
            array(key, INT32, values.length);
            for (int value : values) {
                i32(value);
            }
        }

        void decimals(String key, float[] values) {
            array(key, FLOAT32, values.length);
            for (float value : values) {
                i32(Float.floatToRawIntBits(value));
            }
        }

        private void array(String key, int type, long size) {
            key(key, ARRAY);
            i32(type);
            i64(size);
        }

        private void key(String key, int type) {
            string(key);
            i32(type);
            count++;
        }

        private void string(String text) {
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            i64(bytes.length);
            raw(bytes);
        }

        private void i32(int value) {
            raw(ByteBuffer.allocate(4)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putInt(value)
                    .array());
        }

        private void i64(long value) {
            raw(ByteBuffer.allocate(8)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putLong(value)
                    .array());
        }

        private void raw(byte[] bytes) {
            out.writeBytes(bytes);
        }
    }

    /**
     * {@return the type of that name}
     *
     * @param name {@code f32}, {@code f16}, {@code bf16} or {@code q8_0}, in any case
     * @throws EngineException.InvalidConfig if it is another
     */
    public static Type type(String name) {
        for (Type type : Type.values()) {
            if (type.name().equals(name.toUpperCase(Locale.ROOT))) {
                return type;
            }
        }
        throw new EngineException.InvalidConfig("--type: expected f32, f16, bf16 or q8_0, got " + name);
    }
}
