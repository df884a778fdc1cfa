package subtext.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;
import subtext.io.Safetensors;
import subtext.testing.TestDevice;
import subtext.text.Tokens;

/** A tiny Llama against PyTorch in float64 (src/test/golden/make_golden.py): logits, every gradient, ten losses of AdamW. */
@ParameterizedClass
@MethodSource("subtext.testing.TestDevice#backends")
class PyTorchParityTest {
    @Parameter
    Backend backend;

    private static final LlamaConfig CONFIG = TestDevice.tiny(true);
    private static Safetensors golden;
    private static PackedBatch batch;
    private static float[] weights;

    @BeforeAll
    static void read() throws IOException, URISyntaxException {
        golden = Safetensors.open(Path.of(PyTorchParityTest.class
                .getResource("/golden/tiny-llama.safetensors")
                .toURI()));
        List<PackedBatch.Sequence> sequences = new ArrayList<>();
        int[] tokens = golden.ints("tokens");
        int at = 0;
        for (int size : golden.ints("sizes")) {
            sequences.add(PackedBatch.Sequence.next(Tokens.of(Arrays.copyOfRange(tokens, at, at + size))));
            at += size;
        }
        batch = PackedBatch.of(sequences);
        ParameterTable table = ParameterTable.of(CONFIG);
        weights = new float[(int) table.size()];
        for (ParameterTable.Slice slice : table.slices()) {
            golden.floats("weights/" + slice.name(), weights, (int) slice.offset());
        }
    }

    @AfterAll
    static void close() throws IOException {
        golden.close();
    }

    @Test
    void logitsAgree() throws IOException {
        float[] expected = golden.floats("logits");
        try (Device device = TestDevice.open(backend);
                Llama llama = Llama.open(device, CONFIG, DType.F32, Llama.Capacity.scoring(64, 4))) {
            llama.upload(weights);
            double[] logits = llama.logits(batch);
            assertThat(logits).hasSize(expected.length);
            for (int i = 0; i < logits.length; i++) {
                // architecture and f32 arithmetic: logits of size 3 summed over width 32
                assertThat(logits[i]).as("logit %d", i).isCloseTo(expected[i], within(2e-5));
            }
        }
    }

    @Test
    void everyGradientAgrees() throws IOException {
        try (Device device = TestDevice.open(backend);
                Llama llama = Llama.open(device, CONFIG, DType.F32, Llama.Capacity.training(64, 4))) {
            llama.upload(weights);
            llama.forwardBackward(batch, 1 / batch.weight());
            double[] gradients = device.downloadDoubles(llama.gradients().flat());
            for (ParameterTable.Slice slice : llama.table().slices()) {
                float[] expected = golden.floats("gradients/" + slice.name());
                double largest = 0;
                for (float g : expected) {
                    largest = Math.max(largest, Math.abs(g));
                }
                for (int i = 0; i < expected.length; i++) {
                    // f32 rounding through two layers, relative to the largest gradient of the tensor
                    assertThat(gradients[(int) slice.offset() + i])
                            .as("%s[%d]", slice.name(), i)
                            .isCloseTo(expected[i], within(2e-5 * largest));
                }
            }
        }
    }

    @Test
    void tenLossesOfAdamWAgree() throws IOException {
        float[] expected = golden.floats("losses");
        Tensor[] moments = new Tensor[2];
        try (Device device = TestDevice.open(backend);
                Llama llama = Llama.open(device, CONFIG, DType.F32, Llama.Capacity.training(64, 4));
                Slab slab = device.slab("optimizer", s -> {
                    moments[0] = Parameters.lay(s, "m", llama.table(), DType.F32);
                    moments[1] = Parameters.lay(s, "v", llama.table(), DType.F32);
                })) {
            assertThat(slab.capacity()).isPositive();
            llama.upload(weights);
            device.zero(moments[0]);
            device.zero(moments[1]);
            Parameters m = new Parameters(llama.table(), moments[0]);
            Parameters v = new Parameters(llama.table(), moments[1]);
            for (int step = 1; step <= expected.length; step++) {
                llama.zeroGradients();
                double loss = llama.forwardBackward(batch, 1 / batch.weight()) / batch.weight();
                assertThat(loss).as("loss before step %d", step).isCloseTo(expected[step - 1], within(1e-5));
                device.kernels()
                        .adamw(
                                llama.weights().matrices(),
                                llama.weights().matrices(),
                                m.matrices(),
                                v.matrices(),
                                llama.gradients().matrices(),
                                1,
                                1e-2,
                                0.9,
                                0.95,
                                1e-8,
                                0.1,
                                step);
                device.kernels()
                        .adamw(
                                llama.weights().norms(),
                                llama.weights().norms(),
                                m.norms(),
                                v.norms(),
                                llama.gradients().norms(),
                                1,
                                1e-2,
                                0.9,
                                0.95,
                                1e-8,
                                0,
                                step);
            }
        }
        assertThat(expected[expected.length - 1]).isLessThan(expected[0] - 1);
    }
}
