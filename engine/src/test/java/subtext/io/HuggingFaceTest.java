package subtext.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import subtext.bindings.DType;
import subtext.bindings.EngineException;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.model.RopeScaling;
import subtext.testing.TestDevice;
import subtext.text.SymbolTokenizer;
import subtext.text.Tokenizer;
import tools.jackson.databind.JsonNode;

/** Model folders: what goes out comes back, and what is not a Llama of ours is refused by name. */
class HuggingFaceTest {
    private static final LlamaConfig CONFIG = TestDevice.tiny(false);
    private static final Tokenizer TOKENIZER = new SymbolTokenizer(List.of("a", "b", "c"));

    @TempDir
    private Path folder;

    private float[] weights;

    @BeforeEach
    void save() throws IOException {
        weights = TestDevice.weights(CONFIG, 5);
        HuggingFace.save(folder, CONFIG, TOKENIZER, weights, DType.F32);
    }

    @Test
    void whatIsSavedIsLoaded() throws IOException {
        HuggingFace.Checkpoint loaded = HuggingFace.load(folder);
        assertThat(loaded.config()).isEqualTo(CONFIG);
        assertThat(loaded.weights()).isEqualTo(weights);
        assertThat(loaded.tokenizer().encode("c a b")).isEqualTo(TOKENIZER.encode("c a b"));
        assertThat(folder.resolve("generation_config.json"))
                .content()
                .contains("\"bos_token_id\" : 3", "\"eos_token_id\" : 4");
        try (Safetensors file = Safetensors.open(folder.resolve("model.safetensors"))) {
            assertThat(file.metadata()).containsEntry("format", "pt");
            assertThat(file.info("model.layers.1.self_attn.k_proj.weight").shape())
                    .containsExactly(16L, 32L);
            assertThat(file.info("lm_head.weight").shape()).containsExactly(97L, 32L);
        }
    }

    @Test
    void bf16RoundsEachWeightOnce() throws IOException {
        HuggingFace.save(folder, CONFIG, TOKENIZER, weights, DType.BF16);
        float[] loaded = HuggingFace.load(folder).weights();
        float[] rounded = weights.clone();
        for (int i = 0; i < weights.length; i++) {
            rounded[i] = Float.intBitsToFloat(Safetensors.toBf16(weights[i]) << 16);
        }
        assertThat(loaded).isEqualTo(rounded).isNotEqualTo(weights);
    }

    @Test
    void ropeScalingsSurvive() throws IOException {
        for (RopeScaling scaling : List.of(new RopeScaling.Linear(4), new RopeScaling.Llama3(8, 1, 4, 8192))) {
            LlamaConfig scaled = new LlamaConfig(2, 32, 4, 2, 8, 40, 97, 256, 500_000, 1e-6, false, scaling);
            HuggingFace.save(folder, scaled, TOKENIZER, weights, DType.F32);
            assertThat(HuggingFace.config(folder)).isEqualTo(scaled);
        }
    }

    /** Transformers 5 keeps all of rotation in one object, and what stands in it counts. */
    @Test
    void ropeParametersAreRead() throws IOException {
        replace("config.json", "\"rope_scaling\" : null", """
                "rope_parameters" : {"rope_type" : "llama3", "rope_theta" : 500000.0, "factor" : 8.0, "low_freq_factor" : 1.0,
                 "high_freq_factor" : 4.0, "original_max_position_embeddings" : 64, "partial_rotary_factor" : 1.0}""");
        assertThat(HuggingFace.config(folder).ropeTheta()).isEqualTo(500_000);
        assertThat(HuggingFace.config(folder).ropeScaling()).isEqualTo(new RopeScaling.Llama3(8, 1, 4, 64));
    }

    /** Without it Transformers knows no bos and eos, and takes Qwen's own class, which adds tokens, in place of the file. */
    @Test
    void theTokenizerIsToBeTakenAsItIs() throws IOException {
        JsonNode symbols = HuggingFace.json(folder.resolve("tokenizer_config.json"));
        assertThat(symbols.toString())
                .isEqualTo(
                        "{\"tokenizer_class\":\"PreTrainedTokenizerFast\",\"bos_token\":\"<bos>\",\"eos_token\":\"<eos>\","
                                + "\"unk_token\":null,\"pad_token\":null,\"add_bos_token\":true,\"clean_up_tokenization_spaces\":false,\"model_max_length\":"
                                + CONFIG.context() + "}");
        Path file = folder.resolve("tokenizer.json");
        Files.writeString(file, """
                {"added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<|im_end|>","special":true}],
                "model":{"type":"BPE","unk_token":"<unk>","vocab":{"<unk>":0,"<|im_end|>":1,"a":2},"merges":[]}}""");
        HuggingFace.save(folder, CONFIG, Tokenizer.load(file), weights, DType.F32);
        assertThat(HuggingFace.json(folder.resolve("tokenizer_config.json")).toString())
                .contains(
                        "\"bos_token\":null,\"eos_token\":\"<|im_end|>\",\"unk_token\":\"<unk>\"",
                        "\"add_bos_token\":false");
    }

    @ParameterizedTest
    @CsvSource(
            quoteCharacter = '`',
            value = {
                "\"llama\", \"mamba\", model_type",
                "\"silu\", \"gelu\", hidden_act",
                "\"attention_bias\" : false, \"attention_bias\" : true, attention_bias",
                "\"rope_scaling\" : null, `\"rope_scaling\" : {\"rope_type\":\"yarn\",\"factor\":2.0}`, yarn",
                "\"hidden_size\" : 32, \"hidden_size\" : -1, hidden_size",
                "\"num_key_value_heads\" : 2, \"num_key_value_heads\" : 3, kvHeads",
                "\"head_dim\" : 8, \"head_dim\" : 7, headDim",
                "\"vocab_size\" : 97, \"vocab_size\" : 5, vocab_size",
                "\"num_hidden_layers\" : 2, \"num_hidden_layers\" : \"two\", num_hidden_layers",
                "\"model_type\" : \"llama\", \"model_type\" : \"mixtral\", mixture of experts",
                "\"mlp_bias\" : false, \"num_experts\" : 8, num_experts",
                "\"mlp_bias\" : false, \"mlp_bias\" : true, mlp_bias",
                "\"mlp_bias\" : false, `\"quantization_config\" : {\"quant_method\":\"gptq\"}`, quantized weights",
                "\"mlp_bias\" : false, \"final_logit_softcapping\" : 30.0, final_logit_softcapping",
                "\"mlp_bias\" : false, \"partial_rotary_factor\" : 0.5, partial_rotary_factor",
                "\"mlp_bias\" : false, \"sliding_window\" : 64, sliding_window",
                "\"rope_theta\" : 10000.0, \"rope_theta\" : \"big\", rope_theta",
                // as Transformers 5 writes it: all of rotation in one object
                "\"rope_scaling\" : null, `\"rope_parameters\" : {\"rope_type\":\"yarn\",\"factor\":2.0}`, rope_parameters: expected default",
                "\"rope_scaling\" : null, `\"rope_parameters\" : {\"rope_type\":\"default\",\"partial_rotary_factor\":0.5}`, "
                        + "rope_parameters.partial_rotary_factor",
                "\"rope_scaling\" : null, `\"rope_parameters\" : {\"rope_type\":\"linear\",\"factor\":0}`, rope_parameters.factor",
                "\"rope_scaling\" : null, \"rope_parameters\" : 4, rope_parameters",
                "\"tie_word_embeddings\" : false, \"tie_word_embeddings\" : \"no\", tie_word_embeddings",
            })
    void configsOfOtherModelsAreRefusedByName(String from, String to, String named) throws IOException {
        replace("config.json", from, to);
        assertThatThrownBy(() -> HuggingFace.load(folder))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining(named);
    }

    @ParameterizedTest
    @CsvSource(
            nullValues = "-",
            value = {
                "mistral, '\"sliding_window\" : 16', 16, -",
                "mistral, '\"sliding_window\" : null', 0, -",
                "mistral, '\"x\" : 1', 4096, -", // Transformers' default
                "qwen2, '\"use_sliding_window\" : false, \"sliding_window\" : 16', 0, -",
                "qwen2, '\"use_sliding_window\" : true, \"sliding_window\" : 256, \"max_window_layers\" : 1', 0, -",
                "qwen2, '\"use_sliding_window\" : true, \"sliding_window\" : 16, \"max_window_layers\" : 0', 16, -",
                "qwen2, '\"use_sliding_window\" : true, \"sliding_window\" : 16, \"max_window_layers\" : 2', 0, -",
                "qwen2, '\"use_sliding_window\" : true, \"sliding_window\" : 16, \"max_window_layers\" : 1', 0, max_window_layers",
                "qwen3, '\"use_sliding_window\" : true, \"sliding_window\" : 16, \"layer_types\" : "
                        + "[\"full_attention\", \"sliding_attention\"]', 0, layer_types",
            })
    void windowsAreReadAsEachFamilyMeansThem(String type, String fields, int window, String refused)
            throws IOException {
        replace("config.json", "\"llama\"", "\"" + type + "\"");
        replace("config.json", "\"mlp_bias\" : false", fields);
        if (refused == null) {
            assertThat(HuggingFace.config(folder).window()).isEqualTo(window);
        } else {
            assertThatThrownBy(() -> HuggingFace.config(folder))
                    .isInstanceOf(EngineException.InvalidConfig.class)
                    .hasMessageContaining(refused);
        }
    }

    @Test
    void weightsThatAreNotFiniteAreRefused() throws IOException {
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            float[] damaged = weights.clone();
            damaged[
                    (int) ParameterTable.of(CONFIG)
                                    .entry("layers.1.feedForward.down")
                                    .offset()
                            + 7] = bad;
            HuggingFace.save(folder, CONFIG, TOKENIZER, damaged, DType.F32);
            assertThatThrownBy(() -> HuggingFace.load(folder))
                    .isInstanceOf(EngineException.CorruptFile.class)
                    .hasMessageContaining("model.layers.1.mlp.down_proj.weight")
                    .hasMessageContaining("element 7");
        }
    }

    @Test
    void missingSurplusAndMisshapenTensorsAreNamed() throws IOException {
        List<Safetensors.Entry> entries = new ArrayList<>(HuggingFace.entries(CONFIG, weights, Safetensors.Type.F32));
        Path file = folder.resolve("model.safetensors");
        Safetensors.Entry first = entries.removeFirst();
        Safetensors.write(file, entries, Map.of());
        assertThatThrownBy(() -> HuggingFace.load(folder))
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageContaining(first.name());
        entries.add(first);
        String bias = "model.layers.0.self_attn.q_proj.bias";
        entries.add(Safetensors.Entry.floats(bias, Safetensors.Type.F32, List.of(2L), new float[2], 0));
        Safetensors.write(file, entries, Map.of());
        assertThatThrownBy(() -> HuggingFace.load(folder))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining(bias);
        entries.removeLast();
        entries.removeLast();
        entries.add(Safetensors.Entry.floats(first.name(), Safetensors.Type.F32, List.of(32L, 97L), weights, 0));
        Safetensors.write(file, entries, Map.of());
        assertThatThrownBy(() -> HuggingFace.load(folder))
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageContaining("[32, 97]");
    }

    @Test
    void filesThatAreNotThereAreNamed() throws IOException {
        for (String name : new String[] {"config.json", "tokenizer.json", "model.safetensors"}) {
            byte[] content = Files.readAllBytes(folder.resolve(name));
            Files.delete(folder.resolve(name));
            assertThatThrownBy(() -> HuggingFace.load(folder))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining(name);
            Files.write(folder.resolve(name), content);
        }
        Files.writeString(folder.resolve("config.json"), "{\"a\":");
        assertThatThrownBy(() -> HuggingFace.load(folder))
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageContaining("not valid JSON");
    }

    @Test
    void shardsAreReadThroughTheirIndex() throws IOException {
        shard();
        assertThat(HuggingFace.load(folder).weights()).isEqualTo(weights);
    }

    /** What the second shard is called in the index, and why that is refused. */
    @ParameterizedTest
    @CsvSource(
            quoteCharacter = '`',
            value = {
                "`\"../two.safetensors\"`, is not the name of a",
                "`\"../../etc/two.safetensors\"`, is not the name of a",
                "`\"/tmp/two.safetensors\"`, is not the name of a",
                "`\"sub/two.safetensors\"`, is not the name of a",
                "`\"..\\\\two.safetensors\"`, is not the name of a",
                "`\"C:\\\\two.safetensors\"`, is not the name of a",
                "`\"two.safetensors\\u0000.safetensors\"`, is not the name of a",
                "`\"two.bin\"`, is not the name of a",
                "`\"\"`, is not the name of a",
                "`\".safetensors\"`, is not the name of a",
                "`\"three.safetensors\"`, is missing",
                "`\"folder.safetensors\"`, is not a file",
                "`\"one.safetensors\"`, which does not hold it",
                "`7`, not the name of a file",
                "`null`, not the name of a file",
                "`[\"two.safetensors\"]`, not the name of a file",
            })
    void anIndexNamesNothingButFilesOfTheFolder(String shard, String rule) throws IOException {
        shard();
        Files.createDirectory(folder.resolve("folder.safetensors"));
        replace("model.safetensors.index.json", "\"two.safetensors\"", shard);
        refused(rule);
    }

    @Test
    void anIndexMustBeOne() throws IOException {
        shard();
        Path index = folder.resolve("model.safetensors.index.json");
        String good = Files.readString(index);
        for (String[] bad : new String[][] {
            {"", "not a JSON object"},
            {"[]", "not a JSON object"},
            {"{\"weight_map\":", "not valid JSON"},
            {"{}", "weight_map is not an object"},
            {"{\"weight_map\":{}}", "weight_map is not an object"},
            {"{\"weight_map\":[\"one.safetensors\"]}", "weight_map is not an object"},
            {good.replace("\"weight_map\"", "\"weight_map\":{},\"weight_map\""), "uplicate"},
            {"[".repeat(100_000), "not valid JSON"},
        }) {
            Files.writeString(index, bad[0]);
            refused(bad[1]);
        }
    }

    @Test
    void aTensorMustLieWhereTheIndexSays() throws IOException {
        shard();
        replace("model.safetensors.index.json", "\"lm_head.weight\":\"two", "\"lm_head.weight\":\"one");
        refused("lm_head.weight", "the index says");
    }

    @Test
    void aTensorThatTheIndexLeavesOutIsNamed() throws IOException {
        shard();
        replace(
                "model.safetensors.index.json",
                "\"model.norm.weight\":\"two.safetensors\"",
                "\"x\":\"one.safetensors\"");
        refused("the index says");
    }

    @Test
    void aTensorInTwoShardsIsRefused() throws IOException {
        shard();
        List<Safetensors.Entry> entries = HuggingFace.entries(CONFIG, weights, Safetensors.Type.F32);
        Safetensors.write(folder.resolve("two.safetensors"), entries.subList(6, entries.size()), Map.of());
        refused(entries.get(6).name(), "the index says");
    }

    @Test
    void aShardThatIsALinkIsRefused(@TempDir Path elsewhere) throws IOException {
        shard();
        Path target = Files.move(folder.resolve("two.safetensors"), elsewhere.resolve("two.safetensors"));
        Files.createSymbolicLink(folder.resolve("two.safetensors"), target);
        refused("symbolic link");
    }

    @Test
    void anIndexThatIsALinkIsRefused(@TempDir Path elsewhere) throws IOException {
        shard();
        Path target = Files.move(folder.resolve("model.safetensors.index.json"), elsewhere.resolve("index.json"));
        Files.createSymbolicLink(folder.resolve("model.safetensors.index.json"), target);
        refused("symbolic link");
    }

    @Test
    void aShardThatIsCutIsNamed() throws IOException {
        shard();
        byte[] bytes = Files.readAllBytes(folder.resolve("two.safetensors"));
        Files.write(folder.resolve("two.safetensors"), java.util.Arrays.copyOf(bytes, bytes.length - 1));
        refused("two.safetensors", "past the");
    }

    private static long slowest;

    @AfterAll
    static void say() {
        System.out.printf("bad model folders: the slowest refusal took %.1f ms%n", slowest * 1e-6);
    }

    private void refused(String... named) {
        long from = System.nanoTime();
        var thrown = assertThatThrownBy(() -> HuggingFace.load(folder)).isInstanceOf(EngineException.CorruptFile.class);
        for (String part : named) {
            thrown.hasMessageContaining(part);
        }
        thrown.message().matches(m -> m.lines().count() == 1, "is one line");
        long nanos = System.nanoTime() - from;
        assertThat(nanos)
                .as("100 ms are wanted; a busy machine must not fail it")
                .isLessThan(2_000_000_000L);
        slowest = Math.max(slowest, nanos);
    }

    /** The same weights as two shards and an index. */
    private void shard() throws IOException {
        List<Safetensors.Entry> entries = HuggingFace.entries(CONFIG, weights, Safetensors.Type.F32);
        Safetensors.write(folder.resolve("one.safetensors"), entries.subList(0, 7), Map.of());
        Safetensors.write(folder.resolve("two.safetensors"), entries.subList(7, entries.size()), Map.of());
        StringBuilder index = new StringBuilder("{\"metadata\":{},\"weight_map\":{");
        for (int i = 0; i < entries.size(); i++) {
            String shard = i < 7 ? "one.safetensors" : "two.safetensors";
            index.append(i == 0 ? "" : ",")
                    .append('"')
                    .append(entries.get(i).name())
                    .append("\":\"")
                    .append(shard)
                    .append('"');
        }
        Files.writeString(folder.resolve("model.safetensors.index.json"), index.append("}}"));
        Files.delete(folder.resolve("model.safetensors"));
    }

    private void replace(String name, String from, String to) throws IOException {
        String text = Files.readString(folder.resolve(name));
        assertThat(text).contains(from);
        Files.writeString(folder.resolve(name), text.replace(from, to));
    }
}
