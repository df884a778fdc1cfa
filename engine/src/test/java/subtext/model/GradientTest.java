package subtext.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.bindings.AttentionShape;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.Kernels;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;
import subtext.random.Philox;
import subtext.testing.TestDevice;
import subtext.text.Tokens;

/**
 * Gradients in f64 against five-point central differences, whose own error is far below the 1e-6 that is asked: of each half-block, of
 * the whole model by every kind of parameter, and of what recomputation and packing must not change.
 */
class GradientTest {
    private static final double STEP = 1e-3;
    private static final double RELATIVE = 1e-6;
    /** Below this a difference is rounding of the loss (1e-16 of some hundred nats over the step). */
    private static final double ABSOLUTE = 1e-9;

    @BeforeAll
    static void onlyWhereF64Is() {
        TestDevice.assumeF64();
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void wholeModelMatchesFiniteDifferences(boolean tied) {
        LlamaConfig config = TestDevice.tiny(tied);
        PackedBatch batch = batch(config, 41, 1, 7, 13, 3);
        double scale = 0.37;
        try (Device device = TestDevice.open();
                Llama llama = TestDevice.model(device, config, DType.F64, Llama.Capacity.training(32, 8), 1)) {
            llama.forwardBackward(batch, scale);
            double[] gradient = device.downloadDoubles(llama.gradients().flat());
            for (ParameterTable.Entry entry : llama.table().entries()) {
                for (int i = 0; i < 12; i++) {
                    int at = (int) entry.offset()
                            + Philox.below(
                                    99, entry.offset() + i, (int) entry.shape().size());
                    Tensor element = llama.weights().flat().rows(at, at + 1);
                    double expected = difference(device, element, () -> scale * loss(llama, batch));
                    check(entry.name() + "[" + (at - entry.offset()) + "]", gradient[at], expected);
                }
            }
        }
    }

    @Test
    void attentionHalfMatchesFiniteDifferences() {
        LlamaConfig config = new LlamaConfig(1, 24, 6, 2, 4, 8, 11, 128, 10_000, 1e-5, true);
        int n = 80;
        int[] cu = {0, 1, 70, 80};
        try (Device device = TestDevice.open()) {
            Kernels k = device.kernels();
            AttentionShape shape = AttentionShape.of(6, 2, 4);
            Tensor[] t = new Tensor[24];
            try (Slab slab = device.slab("test", s -> {
                long scratch = Math.max(
                        k.attentionBackwardScratchBytes(3, 69, n, shape, DType.F64),
                        k.rmsnormBackwardScratchBytes(n, 24, DType.F64));
                long[][] shapes = {
                    {24},
                    {config.qkvWidth(), 24},
                    {24, 24},
                    {24},
                    {config.qkvWidth(), 24},
                    {24, 24},
                    {n, 24},
                    {n},
                    {n, 24},
                    {n, config.qkvWidth()},
                    {n, 24},
                    {n, 6},
                    {n, 24},
                    {n, config.qkvWidth()},
                    {n, 24},
                    {scratch / 8 + 1},
                    {n, 24},
                    {n, 24},
                    {128, 2, 2}
                };
                for (int i = 0; i < shapes.length; i++) {
                    t[i] = s.tensor("t" + i, DType.F64, shapes[i]);
                }
                t[22] = s.tensor("position", DType.I32, n);
                t[23] = s.tensor("cuSeqlens", DType.I32, cu.length);
            })) {
                for (int i : new int[] {0, 1, 2, 6}) {
                    device.upload(t[i], noise(t[i], 10 + i, i == 0 ? 1 : 0.4));
                }
                for (int i : new int[] {3, 4, 5}) {
                    device.zero(t[i]);
                }
                double[] r = noise(t[16], 7, 1);
                double[] rope = new double[128 * 4];
                for (int p = 0; p < 128; p++) {
                    for (int i = 0; i < 2; i++) {
                        rope[(p * 2 + i) * 2] = Math.cos(p * Math.pow(10_000, -i / 2.0));
                        rope[(p * 2 + i) * 2 + 1] = Math.sin(p * Math.pow(10_000, -i / 2.0));
                    }
                }
                device.upload(t[18], rope);
                int[] position = new int[n];
                for (int s = 0; s < 3; s++) {
                    for (int i = cu[s]; i < cu[s + 1]; i++) {
                        position[i] = i - cu[s];
                    }
                }
                device.upload(t[22], position);
                device.upload(t[23], cu);
                Attention half = new Attention(device, config, t[18]);
                Attention.Weights w =
                        new Attention.Weights(t[0], new QkvProjection.Weights(t[1], null, null, null), t[2]);
                Attention.Weights dw =
                        new Attention.Weights(t[3], new QkvProjection.Weights(t[4], null, null, null), t[5]);
                Attention.Saved saved =
                        new Attention.Saved(t[6], t[7], t[8], QkvProjection.Saved.NOTHING, t[9], t[10], t[11]);
                Attention.Scratch scratch = new Attention.Scratch(t[12], t[13], t[14], t[15], t[15]);
                half.forward(t[16], w, saved, null, t[22], t[23], 69);
                device.upload(t[17], r);
                half.backward(t[17], dw, w, saved, scratch, null, t[22], t[23], 69);
                compare(device, new Tensor[] {t[6], t[0], t[1], t[2]}, new Tensor[] {t[17], t[3], t[4], t[5]}, () -> {
                    half.forward(t[16], w, saved, null, t[22], t[23], 69);
                    return dot(device.downloadDoubles(t[16]), r);
                });
            }
        }
    }

    @Test
    void feedForwardHalfMatchesFiniteDifferences() {
        LlamaConfig config = new LlamaConfig(1, 24, 6, 2, 4, 40, 11, 128, 10_000, 1e-5, true);
        int n = 7;
        try (Device device = TestDevice.open()) {
            Kernels k = device.kernels();
            Tensor[] t = new Tensor[17];
            try (Slab slab = device.slab("test", s -> {
                long[][] shapes = {
                    {24},
                    {80, 24},
                    {24, 40},
                    {24},
                    {80, 24},
                    {24, 40},
                    {n, 24},
                    {n},
                    {n, 24},
                    {n, 80},
                    {n, 40},
                    {n, 24},
                    {n, 80},
                    {n, 40},
                    {k.rmsnormBackwardScratchBytes(n, 24, DType.F64) / 8 + 1},
                    {n, 24},
                    {n, 24}
                };
                for (int i = 0; i < shapes.length; i++) {
                    t[i] = s.tensor("t" + i, DType.F64, shapes[i]);
                }
            })) {
                for (int i : new int[] {0, 1, 2, 6}) {
                    device.upload(t[i], noise(t[i], 30 + i, i == 0 ? 1 : 0.4));
                }
                for (int i : new int[] {3, 4, 5}) {
                    device.zero(t[i]);
                }
                double[] r = noise(t[15], 8, 1);
                FeedForward half = new FeedForward(k, config);
                FeedForward.Weights w = new FeedForward.Weights(t[0], t[1], t[2]);
                FeedForward.Weights dw = new FeedForward.Weights(t[3], t[4], t[5]);
                FeedForward.Saved saved = new FeedForward.Saved(t[6], t[7], t[8], t[9], t[10]);
                half.forward(t[15], w, saved);
                device.upload(t[16], r);
                half.backward(t[16], dw, w, saved, new FeedForward.Scratch(t[11], t[12], t[13], t[14]));
                compare(device, new Tensor[] {t[6], t[0], t[1], t[2]}, new Tensor[] {t[16], t[3], t[4], t[5]}, () -> {
                    half.forward(t[15], w, saved);
                    return dot(device.downloadDoubles(t[15]), r);
                });
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"F64", "F32", "BF16"})
    void recomputingBlocksChangesNoBit(String dtype) {
        LlamaConfig config = TestDevice.tiny(true);
        PackedBatch batch = batch(config, 5, 30, 1, 70);
        double[][] gradients = new double[2][];
        for (int i = 0; i < 2; i++) {
            Llama.Capacity capacity = Llama.Capacity.training(128, 4);
            try (Device device = TestDevice.open();
                    Llama llama = TestDevice.model(
                            device, config, DType.valueOf(dtype), i == 0 ? capacity : capacity.withRecompute(), 3)) {
                llama.forwardBackward(batch, 1);
                gradients[i] = device.downloadDoubles(llama.gradients().flat());
            }
        }
        assertThat(gradients[1]).isEqualTo(gradients[0]);
        assertThat(Arrays.stream(gradients[0]).filter(g -> g != 0).count()).isGreaterThan(1000);
    }

    @Test
    void gradientsAddUpAndIgnoredTargetsHaveNone() {
        LlamaConfig config = TestDevice.tiny(false);
        PackedBatch batch = batch(config, 6, 9, 4);
        try (Device device = TestDevice.open();
                Llama llama = TestDevice.model(device, config, DType.F64, Llama.Capacity.training(16, 2), 4)) {
            llama.forwardBackward(batch, 1);
            double[] once = device.downloadDoubles(llama.gradients().flat());
            llama.forwardBackward(batch, 1);
            double[] twice = device.downloadDoubles(llama.gradients().flat());
            for (int i = 0; i < once.length; i++) {
                assertThat(twice[i]).isCloseTo(2 * once[i], within(1e-12 + 1e-12 * Math.abs(once[i])));
            }
            llama.zeroGradients();
            Tokens text = TestDevice.text(config, 9, 1);
            int[] nothing = new int[9];
            Arrays.fill(nothing, PackedBatch.IGNORED);
            double loss = llama.forwardBackward(
                    PackedBatch.of(List.of(new PackedBatch.Sequence(text, nothing, new float[9]))), 1);
            assertThat(loss).isZero();
            assertThat(device.downloadDoubles(llama.gradients().flat())).containsOnly(0.0);
        }
    }

    private static void compare(
            Device device, Tensor[] at, Tensor[] gradients, java.util.function.DoubleSupplier loss) {
        double[][] computed =
                Arrays.stream(gradients).map(device::downloadDoubles).toArray(double[][]::new);
        for (int a = 0; a < at.length; a++) {
            Tensor flat = at[a].reshape(at[a].shape().size());
            for (int i = 0; i < 25; i++) {
                int place = Philox.below(5, 1000L * a + i, computed[a].length);
                double expected = difference(device, flat.rows(place, place + 1), loss);
                check(at[a] + "[" + place + "]", computed[a][place], expected);
            }
        }
    }

    /** (-f(x+2h) + 8 f(x+h) - 8 f(x-h) + f(x-2h)) / 12 h. */
    private static double difference(Device device, Tensor element, java.util.function.DoubleSupplier loss) {
        double x = device.downloadDoubles(element)[0];
        double[] f = new double[4];
        double[] steps = {-2, -1, 1, 2};
        for (int i = 0; i < 4; i++) {
            device.upload(element, new double[] {x + steps[i] * STEP});
            f[i] = loss.getAsDouble();
        }
        device.upload(element, new double[] {x});
        return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * STEP);
    }

    private static void check(String where, double computed, double expected) {
        double error = Math.abs(computed - expected);
        assertThat(error)
                .as("%s: gradient %g, differences %g", where, computed, expected)
                .isLessThanOrEqualTo(RELATIVE * Math.max(Math.abs(computed), Math.abs(expected)) + ABSOLUTE);
    }

    private static double loss(Llama llama, PackedBatch batch) {
        double[] logProbs = llama.logProbs(batch);
        double sum = 0;
        for (int n = 0; n < logProbs.length; n++) {
            sum -= batch.weights()[n] * logProbs[n];
        }
        return sum;
    }

    /** Sequences of these sizes with weights between 0 and 2, every fifth target left out. */
    private static PackedBatch batch(LlamaConfig config, long seed, int... sizes) {
        List<PackedBatch.Sequence> sequences = new java.util.ArrayList<>();
        for (int s = 0; s < sizes.length; s++) {
            Tokens text = TestDevice.text(config, sizes[s] + 1, Philox.key(seed, s));
            float[] weights = new float[sizes[s] + 1];
            for (int i = 0; i < weights.length; i++) {
                weights[i] = i % 5 == 4 ? 0 : (float) (2 * Philox.uniform(seed, 100L * s + i));
            }
            sequences.add(PackedBatch.Sequence.next(text, weights));
        }
        return PackedBatch.of(sequences);
    }

    private static double[] noise(Tensor like, long seed, double scale) {
        double[] values = new double[(int) like.shape().size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = scale * (2 * Philox.uniform(seed, i) - 1);
        }
        return values;
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }
}
