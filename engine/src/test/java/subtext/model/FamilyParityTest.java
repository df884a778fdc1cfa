package subtext.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.generate.Scorer;
import subtext.io.HuggingFace;
import subtext.io.Safetensors;
import subtext.testing.TestDevice;
import subtext.text.SymbolTokenizer;
import subtext.text.Tokens;

/** A tiny random model of each family against PyTorch in float64 (src/test/golden/make_families.py). */
@ParameterizedClass
@MethodSource("subtext.testing.TestDevice#backends")
class FamilyParityTest {
    @Parameter
    Backend backend;

    @TempDir
    private Path scratch;

    /** Logits within 1e-4 in f32. */
    @ParameterizedTest
    @ValueSource(strings = {"llama2", "tinyllama-linear", "llama3", "mistral", "smollm2", "qwen2", "qwen3"})
    void logitsAgree(String name) throws IOException, URISyntaxException {
        Golden golden = Golden.read(name);
        double[] logits = golden.logits(backend, DType.F32);
        float[] expected = golden.floats("logits");
        assertThat(logits).hasSize(expected.length);
        for (int i = 0; i < logits.length; i++) {
            assertThat(logits[i]).as("logit %d", i).isCloseTo(expected[i], within(1e-4));
        }
    }

    /** Every gradient within 1e-4 of the largest of its tensor, every tensor of the checkpoint among them. */
    @ParameterizedTest
    @ValueSource(strings = {"llama2", "tinyllama-linear", "llama3", "mistral", "smollm2", "qwen2", "qwen3"})
    void everyGradientAgrees(String name) throws IOException, URISyntaxException {
        Golden golden = Golden.read(name);
        for (boolean recompute : new boolean[] {false, true}) {
            Llama.Capacity capacity = Llama.Capacity.training(96, 4);
            try (Device device = TestDevice.open(backend);
                    Llama llama = Llama.open(
                            device, golden.config(), DType.F32, recompute ? capacity.withRecompute() : capacity)) {
                llama.upload(golden.weights());
                llama.forwardBackward(golden.batch(), 1 / golden.batch().weight());
                double[] gradients = device.downloadDoubles(llama.gradients().flat());
                for (ParameterTable.Slice slice : llama.table().slices()) {
                    float[] expected = golden.floats("gradients/" + slice.name());
                    double largest = 0;
                    for (float g : expected) {
                        largest = Math.max(largest, Math.abs(g));
                    }
                    assertThat(largest).as(slice.name()).isPositive();
                    for (int i = 0; i < expected.length; i++) {
                        assertThat(gradients[(int) slice.offset() + i])
                                .as("%s[%d]", slice.name(), i)
                                .isCloseTo(expected[i], within(1e-4 * largest));
                    }
                }
            }
        }
    }

    /**
     * In bf16, the mean distance from exact arithmetic on the same rounded weights is at most half as much again as that of PyTorch's own
     * bf16, and no logit is further off than 16 mean distances: rounding is random, a wrong formula is not.
     */
    @ParameterizedTest
    @ValueSource(strings = {"llama2", "tinyllama-linear", "llama3", "mistral", "smollm2", "qwen2", "qwen3"})
    void bf16IsAsCloseAsPyTorchs(String name) throws IOException, URISyntaxException {
        Golden golden = Golden.read(name);
        double[] ours = golden.logits(backend, DType.BF16);
        float[] theirs = golden.floats("logits.bf16");
        float[] exact = golden.floats("logits.bf16.exact");
        double sum = 0;
        double theirSum = 0;
        double largest = 0;
        for (int i = 0; i < exact.length; i++) {
            sum += Math.abs(ours[i] - exact[i]);
            theirSum += Math.abs(theirs[i] - exact[i]);
            largest = Math.max(largest, Math.abs(ours[i] - exact[i]));
        }
        assertThat(sum).isLessThan(1.5 * theirSum).isPositive();
        assertThat(largest).isLessThan(16 * theirSum / exact.length);
    }

    /** What makes a family is not silently left out: without it the logits are others. */
    @ParameterizedTest
    @ValueSource(strings = {"tinyllama-linear", "llama3", "mistral", "qwen2", "qwen3"})
    void aPlainLlamaOfTheSameWeightsIsAnotherModel(String name) throws IOException, URISyntaxException {
        Golden golden = Golden.read(name);
        LlamaConfig c = golden.config();
        LlamaConfig plain = new LlamaConfig(
                c.layers(),
                c.width(),
                c.heads(),
                c.kvHeads(),
                c.headDim(),
                c.hidden(),
                c.vocabulary(),
                c.context(),
                c.ropeTheta(),
                c.normEps(),
                c.tied());
        float[] weights = new float[(int) ParameterTable.of(plain).size()];
        for (ParameterTable.Slice to : ParameterTable.of(plain).slices()) {
            for (ParameterTable.Slice from : ParameterTable.of(c).slices()) {
                if (from.name().equals(to.name())) {
                    System.arraycopy(
                            golden.weights(), (int) from.offset(), weights, (int) to.offset(), (int) from.size());
                }
            }
        }
        double[] logits = new Golden(plain, weights, golden.batch(), golden.expected()).logits(backend, DType.F32);
        float[] expected = golden.floats("logits");
        double largest = 0;
        for (int i = 0; i < logits.length; i++) {
            largest = Math.max(largest, Math.abs(logits[i] - expected[i]));
        }
        assertThat(largest).isGreaterThan(0.1);
    }

    /** The scorer, behind a cache and in pieces, gives the bits of the training forward, in every family and type. */
    @ParameterizedTest
    @ValueSource(strings = {"llama3", "mistral", "qwen2", "qwen3"})
    void cachedLogProbabilitiesHaveTheBitsOfTraining(String name) throws IOException, URISyntaxException {
        Golden golden = Golden.read(name);
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            try (Device device = TestDevice.open(backend);
                    Llama llama = Llama.open(device, golden.config(), dtype, Llama.Capacity.training(96, 4));
                    Scorer scorer = new Scorer(llama, new Scorer.Limits(7, 3, 96))) {
                llama.upload(golden.weights());
                Tokens text = TestDevice.text(golden.config(), 80, 3);
                double[] whole = llama.logProbs(PackedBatch.of(List.of(PackedBatch.Sequence.next(text))));
                double[] pieces = scorer.score(text.slice(0, 30), List.of(text.slice(30, 80)))
                        .getFirst()
                        .logProbs();
                for (int i = 0; i < pieces.length; i++) {
                    assertThat(pieces[i]).as("%s token %d", dtype, i).isEqualTo(whole[29 + i]);
                }
                double[] losses =
                        llama.forwardBackwardRows(PackedBatch.of(List.of(PackedBatch.Sequence.next(text))), 1);
                for (int i = 0; i < losses.length; i++) {
                    assertThat(-losses[i]).isEqualTo(whole[i]);
                }
            }
        }
    }

    /** Import, export, import: the same configuration, and in the type of the file every tensor to the byte. */
    @ParameterizedTest
    @ValueSource(strings = {"llama2", "tinyllama-linear", "llama3", "mistral", "smollm2", "qwen2", "qwen3"})
    void roundTripIsBitEqual(String name) throws IOException, URISyntaxException {
        Golden golden = Golden.read(name);
        SymbolTokenizer tokenizer = new SymbolTokenizer(List.of("a", "b"));
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            Path out = scratch.resolve(dtype.name());
            HuggingFace.save(out, golden.config(), tokenizer, golden.weights(), dtype);
            HuggingFace.Checkpoint again = HuggingFace.load(out);
            assertThat(again.config()).isEqualTo(golden.config());
            if (dtype == DType.F32
                    || name.equals("llama3")
                    || name.equals("mistral")) { // the latter are bf16 themselves
                assertThat(again.weights()).isEqualTo(golden.weights());
                compareBytes(Golden.folder(name), out, dtype);
            }
        }
    }

    /** Tensors of the same type have the same bytes, wherever they lie. */
    private static void compareBytes(Path one, Path other, DType dtype) throws IOException {
        int compared = 0;
        try (var files = Files.list(one);
                Safetensors written = Safetensors.open(other.resolve("model.safetensors"))) {
            for (Path file : files.filter(f -> f.getFileName().toString().startsWith("model"))
                    .filter(f -> f.toString().endsWith(".safetensors"))
                    .toList()) {
                try (Safetensors read = Safetensors.open(file)) {
                    for (Map.Entry<String, Safetensors.Info> tensor :
                            read.tensors().entrySet()) {
                        if (tensor.getValue().type().name().equals(dtype.name())) {
                            assertThat(written.bytes(tensor.getKey())).isEqualTo(read.bytes(tensor.getKey()));
                        }
                        assertThat(written.info(tensor.getKey()).shape())
                                .isEqualTo(tensor.getValue().shape());
                        compared++;
                    }
                }
            }
            assertThat(written.tensors()).hasSize(compared);
        }
    }

    @Test
    void newRowsOfTheFamiliesParametersStartAsTheyShould() throws IOException, URISyntaxException {
        for (String name : new String[] {"qwen2", "qwen3"}) {
            ParameterTable table = ParameterTable.of(Golden.read(name).config());
            float[] flat = Initialisation.weights(table, 1);
            for (ParameterTable.Slice slice : table.slices()) {
                if (slice.shape().size() == 1) {
                    float[] values =
                            Arrays.copyOfRange(flat, (int) slice.offset(), (int) (slice.offset() + slice.size()));
                    assertThat(values).containsOnly(slice.name().endsWith(".bias") ? 0f : 1f);
                }
            }
            long parameters = table.slices().stream()
                    .mapToLong(ParameterTable.Slice::size)
                    .sum();
            assertThat(table.config().parameters()).isEqualTo(parameters);
        }
    }

    /** A family's model and what PyTorch says of it. */
    record Golden(LlamaConfig config, float[] weights, PackedBatch batch, Path expected) {
        static Path folder(String name) throws URISyntaxException {
            return Path.of(FamilyParityTest.class
                    .getResource("/golden/families/" + name)
                    .toURI());
        }

        static Golden read(String name) throws IOException, URISyntaxException {
            Path folder = folder(name);
            LlamaConfig config = HuggingFace.config(folder);
            Path expected = folder.resolve("expected.safetensors");
            List<PackedBatch.Sequence> sequences = new ArrayList<>();
            try (Safetensors file = Safetensors.open(expected)) {
                int[] tokens = file.ints("tokens");
                int at = 0;
                for (int size : file.ints("sizes")) {
                    sequences.add(PackedBatch.Sequence.next(Tokens.of(Arrays.copyOfRange(tokens, at, at + size))));
                    at += size;
                }
            }
            return new Golden(config, HuggingFace.weights(folder, config), PackedBatch.of(sequences), expected);
        }

        float[] floats(String tensor) throws IOException {
            try (Safetensors file = Safetensors.open(expected)) {
                return file.floats(tensor);
            }
        }

        double[] logits(Backend backend, DType dtype) {
            try (Device device = TestDevice.open(backend);
                    Llama llama = Llama.open(device, config, dtype, Llama.Capacity.scoring(96, 4))) {
                llama.upload(weights);
                return llama.logits(batch);
            }
        }
    }
}
