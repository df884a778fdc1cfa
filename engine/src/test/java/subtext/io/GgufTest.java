package subtext.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.bindings.DType;
import subtext.bindings.EngineException;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.testing.TestDevice;
import subtext.text.BpeTokenizer;
import subtext.text.BpeTrainer;
import subtext.text.SymbolTokenizer;

/** GGUF files read back by a reader of the test's own, which knows the format and nothing of the writer. */
class GgufTest {
    @TempDir
    private Path folder;

    @ParameterizedTest
    @ValueSource(strings = {"llama2", "tinyllama-linear", "llama3", "mistral", "smollm2", "qwen2", "qwen3"})
    void everyTensorOfEveryFamilyIsThere(String name) throws IOException, URISyntaxException {
        Path source =
                Path.of(GgufTest.class.getResource("/golden/families/" + name).toURI());
        LlamaConfig config = HuggingFace.config(source);
        float[] weights = HuggingFace.weights(source, config);
        BpeTokenizer tokenizer = new BpeTrainer().add("aa ab ba aa ab").train(264);
        LlamaConfig grown = config.withVocabulary(tokenizer.vocabulary());
        float[] padded = new float[(int) ParameterTable.of(grown).size()];
        for (int i = 0; i < ParameterTable.of(config).slices().size(); i++) {
            ParameterTable.Slice from = ParameterTable.of(config).slices().get(i);
            ParameterTable.Slice to = ParameterTable.of(grown).slices().get(i);
            System.arraycopy(weights, (int) from.offset(), padded, (int) to.offset(), (int) from.size());
        }
        HuggingFace.save(folder.resolve("hf"), grown, tokenizer, padded, DType.F32);
        Path file = folder.resolve("model.gguf");
        Gguf.write(folder.resolve("hf"), file, Gguf.Type.F32);
        File read = new File(file);

        String architecture = name.startsWith("qwen") ? name : "llama";
        assertThat(read.fields)
                .containsEntry("general.architecture", architecture)
                .containsEntry(architecture + ".block_count", 2)
                .containsEntry(architecture + ".context_length", 128)
                .containsEntry(architecture + ".attention.key_length", config.headDim())
                .containsEntry(architecture + ".attention.head_count_kv", 2)
                .containsEntry(architecture + ".rope.freq_base", (float) config.ropeTheta())
                .containsEntry("tokenizer.ggml.model", "gpt2")
                .containsEntry("tokenizer.ggml.pre", "gpt-2")
                .containsEntry("tokenizer.ggml.add_bos_token", true)
                .containsEntry(
                        "tokenizer.ggml.bos_token_id", tokenizer.controls().bos());
        assertThat((List<?>) read.fields.get("tokenizer.ggml.tokens")).hasSize(tokenizer.vocabulary());
        if (name.equals("mistral")) {
            assertThat(read.fields).containsEntry("llama.attention.sliding_window", 9);
        }
        if (name.equals("tinyllama-linear")) {
            assertThat(read.fields).containsEntry("llama.rope.scaling.factor", 2.5f);
        }
        int extra = name.equals("llama3") ? 1 : 0;
        assertThat(read.tensors)
                .hasSize(ParameterTable.of(grown).slices().size() + extra)
                .containsKey("blk.1.ffn_down.weight");
        if (extra == 1) {
            float[] factors = read.floats("rope_freqs.weight");
            assertThat(factors).hasSize(4);
            assertThat(factors[0]).isEqualTo(1);
            assertThat(factors[3]).isEqualTo(8);
        }
        // the pairs of a head: halves there, neighbours here
        float[] q = read.floats("blk.1.attn_q.weight");
        int at = (int) ParameterTable.of(grown).entry("layers.1.attention.qkv").offset();
        int half = config.headDim() / 2;
        for (int row = 0; row < config.attentionWidth(); row++) {
            int within = row % config.headDim();
            int from = architecture.equals("llama") ? row - within + within / 2 + within % 2 * half : row;
            for (int c = 0; c < config.width(); c++) {
                assertThat(q[row * config.width() + c]).isEqualTo(padded[at + from * config.width() + c]);
            }
        }
        if (name.equals("qwen2")) {
            int bias = (int)
                    ParameterTable.of(grown).entry("layers.0.attention.bias").offset();
            assertThat(read.floats("blk.0.attn_k.bias"))
                    .containsExactly(java.util.Arrays.copyOfRange(padded, bias + 24, bias + 36));
        }
        assertThat(read.tensors.containsKey("output.weight")).isEqualTo(!config.tied());
    }

    @ParameterizedTest
    @EnumSource(Gguf.Type.class)
    void valuesAreRoundedOnceInTheTypeAskedFor(Gguf.Type type) throws IOException {
        LlamaConfig config = new LlamaConfig(1, 64, 2, 1, 32, 72, 300, 32, 10_000, 1e-5, false);
        float[] weights = TestDevice.weights(config, 3);
        weights[0] = 0;
        for (int i = 32; i < 64; i++) {
            weights[i] = 0; // a block of nothing
        }
        HuggingFace.save(
                folder.resolve("hf"), config, new BpeTrainer().add("aa aa").train(263), weights, DType.F32);
        Path file = folder.resolve("model.gguf");
        Gguf.write(folder.resolve("hf"), file, type);
        File read = new File(file);
        float[] embedding = read.floats("token_embd.weight");
        for (int block = 0; block < embedding.length; block += 32) {
            float largest = 0;
            for (int i = block; i < block + 32; i++) {
                largest = Math.max(largest, Math.abs(weights[i]));
            }
            for (int i = block; i < block + 32; i++) {
                switch (type) {
                    case F32 -> assertThat(embedding[i]).isEqualTo(weights[i]);
                    case F16 ->
                        assertThat(embedding[i]).isEqualTo(Float.float16ToFloat(Float.floatToFloat16(weights[i])));
                    case BF16 ->
                        assertThat(embedding[i]).isEqualTo(Float.intBitsToFloat(Safetensors.toBf16(weights[i]) << 16));
                    // half a step, and the f16 rounding of the step, 127 steps away
                    case Q8_0 ->
                        assertThat(embedding[i]).isCloseTo(weights[i], within(largest / 127 * 0.5f + largest / 2048));
                }
            }
        }
        // 72 is no multiple of 32: such rows are kept in f16
        assertThat(read.tensors.get("blk.0.ffn_down.weight").type())
                .isEqualTo(
                        switch (type) {
                            case F32 -> 0;
                            case F16, Q8_0 -> 1;
                            case BF16 -> 30;
                        });
        assertThat(read.tensors.get("output_norm.weight").type()).isZero();
        assertThat((List<?>) read.fields.get("tokenizer.ggml.tokens"))
                .hasSize(300)
                .element(299)
                .isEqualTo("[PAD299]");
    }

    @Test
    void endTokensAndChatTemplatesAreThere() throws IOException {
        Path chat = ConversationTest.folder(folder);
        Path file = folder.resolve("model.gguf");
        Gguf.write(chat, file, Gguf.Type.F32);
        assertThat(new File(file).fields)
                .containsEntry("tokenizer.ggml.eos_token_id", 1)
                .doesNotContainKeys("tokenizer.ggml.eot_token_id", "tokenizer.chat_template");
        ConversationTest.chatting(chat);
        Gguf.write(chat, file, Gguf.Type.F32);
        assertThat(new File(file).fields)
                .containsEntry("tokenizer.ggml.eos_token_id", 1)
                .containsEntry("tokenizer.ggml.eot_token_id", 3)
                .containsEntry("tokenizer.chat_template", ConversationTest.CHAT)
                .doesNotContainKey("tokenizer.chat_templates");
        Files.delete(chat.resolve("tokenizer_config.json"));
        Files.createDirectory(chat.resolve("additional_chat_templates"));
        Files.writeString(chat.resolve("additional_chat_templates/tool_use.jinja"), "{{ tools }}");
        Gguf.write(chat, file, Gguf.Type.F32);
        assertThat(new File(file).fields)
                .containsEntry(
                        "tokenizer.ggml.eot_token_id", 2) // no settings say which ends a message: the first other one
                .containsEntry("tokenizer.chat_templates", List.of("tool_use"))
                .containsEntry("tokenizer.chat_template.tool_use", "{{ tools }}")
                .doesNotContainKey("tokenizer.chat_template");
    }

    @Test
    void aTokenizerWithoutAFormIsRefusedAndNothingIsLeft() throws IOException {
        LlamaConfig config = TestDevice.tiny(true);
        HuggingFace.save(
                folder.resolve("hf"),
                config,
                new SymbolTokenizer(List.of("a")),
                TestDevice.weights(config, 1),
                DType.F32);
        Path file = folder.resolve("model.gguf");
        assertThatThrownBy(() -> Gguf.write(folder.resolve("hf"), file, Gguf.Type.F32))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining("WordLevel");
        assertThat(file).doesNotExist();
    }

    /** The format as its documentation says. */
    private static final class File {
        record Info(long[] sizes, int type, long offset) {
            int elements() {
                long n = 1;
                for (long size : sizes) {
                    n *= size;
                }
                return (int) n;
            }
        }

        final Map<String, Object> fields = new HashMap<>();
        final Map<String, Info> tensors = new LinkedHashMap<>();
        private final ByteBuffer bytes;
        private final long data;

        File(Path path) throws IOException {
            bytes = ByteBuffer.wrap(Files.readAllBytes(path)).order(ByteOrder.LITTLE_ENDIAN);
            assertThat(bytes.getInt()).isEqualTo(0x46554747);
            assertThat(bytes.getInt()).isEqualTo(3);
            long count = bytes.getLong();
            long pairs = bytes.getLong();
            for (long i = 0; i < pairs; i++) {
                assertThat(fields.put(string(), value(bytes.getInt()))).isNull();
            }
            for (long i = 0; i < count; i++) {
                String name = string();
                long[] sizes = new long[bytes.getInt()];
                for (int d = 0; d < sizes.length; d++) {
                    sizes[d] = bytes.getLong();
                }
                assertThat(tensors.put(name, new Info(sizes, bytes.getInt(), bytes.getLong())))
                        .isNull();
            }
            data = (bytes.position() + 31) / 32 * 32;
            long end = 0;
            for (Info info : tensors.values()) {
                assertThat(info.offset()).isEqualTo((end + 31) / 32 * 32);
                end = info.offset()
                        + switch (info.type()) {
                            case 0 -> 4L * info.elements();
                            case 1, 30 -> 2L * info.elements();
                            case 8 -> 34L * info.elements() / 32;
                            default -> throw new AssertionError("type " + info.type());
                        };
            }
            assertThat((long) bytes.capacity()).isEqualTo(data + (end + 31) / 32 * 32);
        }

        private String string() {
            byte[] text = new byte[(int) bytes.getLong()];
            bytes.get(text);
            return new String(text, StandardCharsets.UTF_8);
        }

        private Object value(int type) {
            return switch (type) {
                case 4, 5 -> bytes.getInt();
                case 6 -> bytes.getFloat();
                case 7 -> bytes.get() == 1;
                case 8 -> string();
                case 9 -> {
                    int element = bytes.getInt();
                    long n = bytes.getLong();
                    List<Object> list = new ArrayList<>();
                    for (long i = 0; i < n; i++) {
                        list.add(value(element));
                    }
                    yield list;
                }
                default -> throw new AssertionError("value type " + type);
            };
        }

        float[] floats(String name) {
            Info info = tensors.get(name);
            float[] values = new float[info.elements()];
            bytes.position((int) (data + info.offset()));
            for (int i = 0; i < values.length; i++) {
                values[i] = switch (info.type()) {
                    case 0 -> bytes.getFloat();
                    case 1 -> Float.float16ToFloat(bytes.getShort());
                    case 30 -> Float.intBitsToFloat(bytes.getShort() << 16);
                    default -> {
                        int block = (int) (data + info.offset()) + i / 32 * 34;
                        yield Float.float16ToFloat(bytes.getShort(block)) * bytes.get(block + 2 + i % 32);
                    }
                };
            }
            return values;
        }
    }
}
