package subtext.bindings;

import static java.lang.Math.exp;
import static java.lang.Math.log;
import static java.lang.Math.sqrt;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static subtext.bindings.DType.BF16;
import static subtext.bindings.DType.F32;
import static subtext.bindings.DType.F64;
import static subtext.bindings.DType.I32;
import static subtext.bindings.DType.I64;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every kernel on an example whose answer a person can work out, on every backend that is there. That the facade hands each argument to
 * its place is what this proves; the kernels' own tests are in native/test.
 */
@ParameterizedClass
@MethodSource("backends")
class KernelsTest {
    /** A few units in the last place of f32 around 1: the examples take a handful of roundings. */
    private static final float ULPS = 4 * Math.ulp(1f);

    @Parameter
    Backend backend;

    private Device device;
    private Kernels k;
    private Slab slab;

    /** CPU always: its absence is a failure, not a reason to skip. */
    static Stream<Backend> backends() {
        return Stream.of(Backend.values())
                .filter(backend ->
                        backend == Backend.CPU || backend.reasonUnavailable().isEmpty());
    }

    @BeforeEach
    void open() {
        device = Device.open(backend, DeviceOptions.defaults().withThreads(2));
        k = device.kernels();
        slab = device.slab("test", s -> s.release(reserve(s)));
    }

    /** Reserves a mebibyte and gives back all of it, so that a test cuts its tensors as it goes. */
    private static long reserve(Slab s) {
        long mark = s.mark();
        s.tensor("room", F32, 1 << 18);
        return mark;
    }

    @AfterEach
    void close() {
        device.close();
    }

    private Tensor floats(String name, Shape shape, double... values) {
        Tensor tensor = slab.tensor(name, F32, sizes(shape));
        float[] narrow = new float[values.length];
        for (int i = 0; i < values.length; i++) {
            narrow[i] = (float) values[i];
        }
        device.upload(tensor, narrow);
        return tensor;
    }

    private Tensor ints(String name, int... values) {
        Tensor tensor = slab.tensor(name, I32, values.length);
        device.upload(tensor, values);
        return tensor;
    }

    private Tensor blank(String name, DType dtype, long... sizes) {
        Tensor tensor = slab.tensor(name, dtype, sizes);
        device.zero(tensor);
        return tensor;
    }

    private static long[] sizes(Shape shape) {
        return Arrays.copyOf(new long[] {shape.d0(), shape.d1(), shape.d2(), shape.d3()}, shape.rank());
    }

    private void assertHolds(Tensor tensor, double... expected) {
        double[] actual = device.downloadDoubles(tensor);
        assertThat(actual).hasSize(expected.length);
        for (int i = 0; i < expected.length; i++) {
            assertThat(actual[i])
                    .as("%s, element %d", tensor, i)
                    .isCloseTo(expected[i], within(ULPS * Math.max(1, Math.abs(expected[i]))));
        }
    }

    @Test
    void embeddingTakesRowsAndZeroOutsideTheVocabulary() {
        Tensor w = floats("w", Shape.of(3, 2), 1, 2, 3, 4, 5, 6);
        Tensor y = blank("y", F32, 4, 2);
        k.embeddingForward(y, w, ints("token", 2, 0, 3, -1));
        assertHolds(y, 5, 6, 1, 2, 0, 0, 0, 0);
    }

    @Test
    void embeddingBackwardAddsUpTheRowsOfAToken() {
        Tensor dw = floats("dw", Shape.of(3, 2), 1, 1, 1, 1, 1, 1);
        Tensor dy = floats("dy", Shape.of(3, 2), 1, 2, 10, 20, 100, 200);
        k.embeddingBackward(dw, dy, ints("token", 2, 0, 2), ints("order", 1, 0, 2));
        assertHolds(dw, 11, 21, 1, 1, 102, 203);
    }

    @Test
    void gatherRowsTakesRows() {
        Tensor y = blank("y", F32, 2, 2);
        k.gatherRows(y, floats("x", Shape.of(3, 2), 1, 2, 3, 4, 5, 6), ints("row", 2, 1));
        assertHolds(y, 5, 6, 3, 4);
    }

    @Test
    void rmsnormDividesByTheRootMeanSquare() {
        Tensor x = floats("x", Shape.of(2, 2), 3, 4, -1, 7);
        Tensor y = blank("y", F32, 2, 2);
        Tensor rstd = blank("rstd", F32, 2);
        k.rmsnormForward(y, rstd, x, floats("w", Shape.of(2), 1, 10), 0);
        // mean squares 12.5 and 25
        assertHolds(y, 3 / sqrt(12.5), 40 / sqrt(12.5), -0.2, 14);
        assertHolds(rstd, 1 / sqrt(12.5), 0.2);
    }

    @Test
    void rmsnormBackwardAddsTheGradient() {
        Tensor x = floats("x", Shape.of(1, 2), 3, 4);
        Tensor w = floats("w", Shape.of(2), 1, 1);
        Tensor rstd = floats("rstd", Shape.of(1), 1 / sqrt(12.5));
        Tensor dx = floats("dx", Shape.of(1, 2), 100, 100);
        Tensor dw = floats("dw", Shape.of(2), 1, 1);
        Tensor scratch = blank("scratch", F32, k.rmsnormBackwardScratchBytes(1, 2, F32) / 4 + 1);
        k.rmsnormBackward(dx, dw, floats("dy", Shape.of(1, 2), 1, 0), x, w, rstd, scratch);
        // dx_i = r w_i dy_i - r^3 x_i mean(dy w x), r = 1 / sqrt(12.5), mean = 3 / 2
        double r = 1 / sqrt(12.5);
        assertHolds(dx, 100 + r - r * r * r * 3 * 1.5, 100 - r * r * r * 4 * 1.5);
        assertHolds(dw, 1 + 3 * r, 1);
    }

    @Test
    void matrixProductsOfTheThreeLayouts() {
        Tensor a = floats("a", Shape.of(2, 3), 1, 2, 3, 4, 5, 6);
        Tensor bT = floats("bT", Shape.of(2, 3), 1, 0, 1, 0, 2, 0);
        Tensor b = floats("b", Shape.of(3, 2), 1, 0, 0, 2, 1, 0);
        Tensor c = blank("c", F32, 2, 2);
        k.matmulNT(c, a, bT);
        assertHolds(c, 4, 4, 10, 10);
        k.matmulNT(c, a, bT, floats("residual", Shape.of(2, 2), 1, 2, 3, 4));
        assertHolds(c, 5, 6, 13, 14);
        k.matmulNN(c, a, b);
        assertHolds(c, 4, 4, 10, 10);
        Tensor cT = floats("cT", Shape.of(3, 3), 1, 0, 0, 0, 1, 0, 0, 0, 1);
        k.matmulTN(cT, a, bT);
        // identity + a^T bT, a^T = (1 4; 2 5; 3 6)
        assertHolds(cT, 2, 8, 1, 2, 11, 2, 3, 12, 4);
    }

    @Test
    void bf16LogitsAreReal() {
        Tensor a = blank("a", BF16, 1, 2);
        Tensor b = blank("b", BF16, 1, 2);
        device.upload(a, new float[] {1.5f, 2});
        device.upload(b, new float[] {0.25f, 0.00048828125f});
        Tensor c = blank("c", F32, 1, 1);
        k.matmulNT(c, a, b);
        assertHolds(c, 0.3759765625); // half way between two bf16 numbers
        Tensor rounded = blank("rounded", BF16, 1, 1);
        k.matmulNT(rounded, a, b);
        assertHolds(rounded, 0.375);
    }

    @Test
    void ropeRotatesElementIWithElementIPlusHalf() {
        // position 1 turns by a quarter: cos 0, sin 1
        Tensor table = floats("table", Shape.of(2, 1, 2), 1, 0, 0, 1);
        Tensor x = floats("x", Shape.of(2, 5), 1, 2, 3, 4, 9, 1, 2, 3, 4, 9);
        Tensor position = ints("position", 0, 1);
        k.rope(x, position, table, 2, 2, 1);
        assertHolds(x, 1, 2, 3, 4, 9, -2, 1, -4, 3, 9);
        k.rope(x, position, table, 2, 2, -1);
        assertHolds(x, 1, 2, 3, 4, 9, 1, 2, 3, 4, 9);
    }

    @Test
    void attentionWithEqualScoresIsTheMeanOfTheValuesSoFar() {
        AttentionShape shape = AttentionShape.of(2, 1, 2);
        // q = 0; two sequences of two rows and one row
        Tensor qkv =
                floats("qkv", Shape.of(3, 8), 0, 0, 0, 0, 1, 1, 2, 4, 0, 0, 0, 0, 5, 5, 4, 8, 0, 0, 0, 0, 7, 7, 9, 9);
        Tensor y = blank("y", F32, 3, 4);
        Tensor lse = blank("lse", F32, 3, 2);
        k.attentionForward(y, lse, qkv, ints("cuSeqlens", 0, 2, 3), 2, shape);
        assertHolds(y, 2, 4, 2, 4, 3, 6, 3, 6, 9, 9, 9, 9);
        assertHolds(lse, 0, 0, log(2), log(2), 0, 0);
    }

    @Test
    void attentionBackwardOfEqualScores() {
        AttentionShape shape = AttentionShape.of(1, 1, 2);
        Tensor qkv = floats("qkv", Shape.of(2, 6), 0, 0, 0, 0, 2, 4, 0, 0, 0, 0, 4, 8);
        Tensor cuSeqlens = ints("cuSeqlens", 0, 2);
        Tensor y = blank("y", F32, 2, 2);
        Tensor lse = blank("lse", F32, 2, 1);
        k.attentionForward(y, lse, qkv, cuSeqlens, 2, shape);
        Tensor dqkv = blank("dqkv", F32, 2, 6);
        long bytes = k.attentionBackwardScratchBytes(1, 2, 2, shape, F32);
        k.attentionBackward(
                dqkv,
                floats("dy", Shape.of(2, 2), 10, 10, 1, 1),
                y,
                qkv,
                lse,
                cuSeqlens,
                blank("scratch", F32, bytes / 4 + 1),
                2,
                shape);
        // with q = k = 0 only the values have a gradient: row 0 gets its own dy and half of row 1's, row 1 the other
        // half
        assertHolds(dqkv, 0, 0, 0, 0, 10.5, 10.5, 0, 0, 0, 0, 0.5, 0.5);
    }

    @Test
    void cachedAttentionBehindASharedPrefixHasTheBitsOfThePackedOne() {
        AttentionShape shape = AttentionShape.of(2, 1, 4);
        SplittableRandom random = new SplittableRandom(7);
        int prefix = 3, rows = 5;
        float[] values = new float[(prefix + rows) * 16];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        Tensor qkv = slab.tensor("qkv", F32, prefix + rows, 16);
        device.upload(qkv, values);
        Tensor packed = blank("packed", F32, prefix + rows, 8);
        k.attentionForward(packed, null, qkv, ints("cuSeqlens", 0, prefix + rows), prefix + rows, shape);

        Tensor keys = blank("keys", F32, 2, 8, 1, 4);
        Tensor vals = blank("values", F32, 2, 8, 1, 4);
        // the prefix lies in slot 0, the rest in slot 1
        k.cacheStore(
                keys,
                vals,
                qkv,
                ints("slot", 0, 0, 0, 1, 1, 1, 1, 1),
                ints("position", 0, 1, 2, 3, 4, 5, 6, 7),
                ints("offset", 0, 0, 0, 3, 3, 3, 3, 3),
                shape);
        Tensor cached = blank("cached", F32, rows, 8);
        k.attentionCached(
                cached,
                qkv.rows(prefix, prefix + rows),
                keys,
                vals,
                ints("cuSeqlens", 0, rows),
                ints("slot", 1),
                ints("prefixSlot", 0),
                ints("prefixLength", prefix),
                ints("start", prefix),
                rows,
                shape);
        assertThat(device.downloadFloats(cached)).isEqualTo(device.downloadFloats(packed.rows(prefix, prefix + rows)));
    }

    @Test
    void swigluAndItsBackward() {
        Tensor gateUp = floats("gateUp", Shape.of(1, 4), 0, 1, 3, 5);
        Tensor y = blank("y", F32, 1, 2);
        k.swigluForward(y, gateUp);
        double sigmoid = 1 / (1 + exp(-1));
        assertHolds(y, 0, 5 * sigmoid);
        Tensor dGateUp = blank("dGateUp", F32, 1, 4);
        k.swigluBackward(dGateUp, floats("dy", Shape.of(1, 2), 1, 2), gateUp);
        // d gate = dy up s (1 + g (1 - s)), d up = dy g s
        assertHolds(dGateUp, 1.5, 10 * sigmoid * (2 - sigmoid), 0, 2 * sigmoid);
    }

    @Test
    void addAdds() {
        Tensor a = floats("a", Shape.of(3), 1, 2, 3);
        k.add(a, a, floats("b", Shape.of(3), 10, 20, 30));
        assertHolds(a, 11, 22, 33);
    }

    @Test
    void logProbAndCrossEntropyIgnorePadding() {
        // softmax of (0, log 3) is (1/4, 3/4); the third column is padding
        Tensor logits = floats("logits", Shape.of(2, 3), 0, log(3), 99, 0, log(3), 99);
        Tensor logProb = blank("logProb", F32, 2);
        k.logProb(logProb, logits, ints("token", 1, 2), 2);
        assertHolds(logProb, log(0.75), 0);
        Tensor loss = blank("loss", F32, 2);
        Tensor weight = floats("weight", Shape.of(2), 2, 1);
        Tensor dlogits = blank("dlogits", F32, 2, 3);
        k.crossEntropy(loss, dlogits, logits, ints("target", 0, -1), weight, 2);
        assertHolds(loss, -log(0.25), 0);
        assertHolds(dlogits, 2 * (0.25 - 1), 2 * 0.75, 0, 0, 0, 0);
        k.crossEntropy(loss, null, logits, ints("target", 1, 1), weight, 2);
        assertHolds(loss, -log(0.75), -log(0.75));
    }

    @Test
    void samplingIsGreedyAtTemperatureZeroAndRenormalisesWhatTopKKeeps() {
        Tensor logits = floats("logits", Shape.of(2, 4), 0, log(3), log(3), 0, log(5), 0, 0, 0);
        Tensor token = blank("token", I32, 2);
        Tensor logProb = blank("logProb", F32, 2);
        Tensor key = blank("key", I64, 2);
        device.upload(key, new long[] {1L << 40, 2});
        Tensor position = ints("position", 0, 0);
        Tensor scratch = blank("scratch", F32, k.sampleScratchBytes(2, 4) / 4 + 1);
        k.sample(token, logProb, logits, key, position, scratch, 4, 0, 0, 1);
        assertThat(device.downloadInts(token)).containsExactly(1, 0);
        assertHolds(logProb, log(3.0 / 8), log(5.0 / 8));
        k.sample(token, logProb, logits, key, position, scratch, 4, 1, 1, 1);
        assertThat(device.downloadInts(token)).containsExactly(1, 0);
        assertHolds(logProb, 0, 0);
    }

    @Test
    void samplesFollowTheirKeysAndPositionsNotTheirRows() {
        int N = 64;
        Tensor logits = blank("logits", F32, N, 8);
        Tensor token = blank("token", I32, N);
        Tensor logProb = blank("logProb", F32, N);
        Tensor scratch = blank("scratch", F32, k.sampleScratchBytes(N, 8) / 4 + 1);
        long[] keys = new long[N];
        int[] positions = new int[N];
        for (int n = 0; n < N; n++) {
            keys[n] = n % 8;
            positions[n] = n / 16;
        }
        Tensor key = blank("key", I64, N);
        device.upload(key, keys);
        k.sample(token, logProb, logits, key, ints("position", positions), scratch, 8, 1, 0, 1);
        int[] drawn = device.downloadInts(token);
        for (int n = 0; n < N; n++) {
            assertThat(drawn[n]).isEqualTo(drawn[n / 16 * 16 + n % 8]);
        }
        assertThat(Arrays.stream(drawn).distinct().count()).isGreaterThan(3);
        assertThat(device.downloadFloats(logProb)).containsOnly((float) -log(8));
    }

    @Test
    void decodeAdvanceKeepsTheBooksOfSlots() {
        // slot 0 goes on, slot 1 draws the stop token, slot 2 reaches its limit, slot 3 was done before
        Tensor history = blank("history", I32, 4, 3);
        Tensor historyLogProb = blank("historyLogProb", F32, 4, 3);
        Tensor token = ints("token", 0, 0, 0, 5);
        Tensor position = ints("position", 7, 7, 7, 7);
        Tensor drawn = ints("drawn", 1, 0, 1, 1);
        Tensor done = ints("done", 0, 0, 0, 1);
        k.decodeAdvance(
                history,
                historyLogProb,
                token,
                position,
                drawn,
                done,
                ints("sampled", 3, 9, 4, 6),
                floats("sampledLogProb", Shape.of(4), -1, -2, -3, -4),
                ints("limit", 3, 3, 2, 3),
                9);
        assertThat(device.downloadInts(history)).containsExactly(0, 3, 0, 9, 0, 0, 0, 4, 0, 0, 0, 0);
        assertHolds(historyLogProb, 0, -1, 0, -2, 0, 0, 0, -3, 0, 0, 0, 0);
        assertThat(device.downloadInts(token)).containsExactly(3, 9, 4, 5);
        assertThat(device.downloadInts(position)).containsExactly(8, 8, 8, 7);
        assertThat(device.downloadInts(drawn)).containsExactly(2, 1, 2, 1);
        assertThat(device.downloadInts(done)).containsExactly(0, 1, 2, 1);
    }

    @Test
    void sumSquaresIsInDoublePrecision() {
        Tensor out = blank("out", F64, 1);
        Tensor x = floats("x", Shape.of(2, 2), 4096, 1, 2, 3);
        k.sumSquares(out, x, blank("scratch", F32, k.sumSquaresScratchBytes(4) / 4 + 1));
        assertThat(device.downloadDoubles(out)).containsExactly(4096.0 * 4096 + 14);
    }

    @Test
    void theFirstStepOfAdamWMovesByTheLearningRate() {
        Tensor w = floats("w", Shape.of(2), 1, -2);
        Tensor m = blank("m", F32, 2);
        Tensor v = blank("v", F32, 2);
        k.adamw(w, w, m, v, floats("grad", Shape.of(2), 4, -8), 0.5, 0.01, 0.9, 0.99, 0, 0.1, 1);
        // m-hat / sqrt(v-hat) is the sign of the gradient; decay takes lr 0.1 w
        assertHolds(w, 1 - 0.01 * (1 + 0.1), -2 - 0.01 * (-1 - 0.2));
        assertHolds(m, 0.2, -0.4);
        assertHolds(v, 0.04, 0.16);
    }

    @Test
    void fillingAndCasting() {
        Tensor n = blank("n", I32, 3);
        k.fillI32(n, -5);
        assertThat(device.downloadInts(n)).containsExactly(-5, -5, -5);
        // 1 + 2^-8 lies half way between two bf16 numbers: to even, which is 1; 1 + 3 2^-8 goes up to 1 + 2^-6
        Tensor narrow = blank("narrow", BF16, 2);
        k.cast(narrow, floats("wide", Shape.of(2), 1 + 1.0 / 256, 1 + 3.0 / 256));
        assertHolds(narrow, 1, 1 + 1.0 / 64);
        device.upload(narrow, new float[] {1 + 1f / 256, 1 + 3f / 256});
        assertHolds(narrow, 1, 1 + 1.0 / 64);
    }

    @Test
    void normalNoiseDependsOnSeedAndIndexAlone() {
        Tensor all = blank("all", F32, 1000);
        Tensor tail = blank("tail", F32, 400);
        k.fillNormal(all, 1, 2, 3, 42, 0);
        k.fillNormal(tail, 1, 2, 3, 42, 600);
        assertThat(device.downloadFloats(tail)).isEqualTo(device.downloadFloats(all.rows(600, 1000)));
        double mean = Arrays.stream(device.downloadDoubles(all)).average().orElseThrow();
        assertThat(mean).isCloseTo(1, within(4 * 2 / sqrt(1000))); // four standard errors
        assertThat(Arrays.stream(device.downloadDoubles(all))).allMatch(x -> Math.abs(x - 1) <= 6);
    }

    @Test
    void aRecordingIsNotDoneUntilItIsReplayed() {
        Tensor x = floats("x", Shape.of(2), 1, 2);
        device.synchronize();
        try (Recording doubling = device.record(() -> k.add(x, x, x))) {
            assertHolds(x, 1, 2);
            doubling.replay();
            doubling.replay();
            assertHolds(x, 4, 8);
        }
    }

    @Test
    void wrongShapesAndTypesNameTheArgument() {
        Tensor x = blank("x", F32, 2, 4);
        assertThatThrownBy(() -> k.rmsnormForward(x, null, x, blank("norm", BF16, 4), 0))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("w: expected F32 (4), got BF16 (4) (norm)");
        assertThatThrownBy(() -> k.matmulNN(x, x, x))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("b: expected F32 (4, 4), got F32 (2, 4) (x)");
        assertThatThrownBy(() -> k.logProb(blank("logProb", F32, 2), x, ints("token", 1, 1), 5))
                .hasMessage("logits: expected (2, at least 5), got F32 (2, 4) (x)");
        assertThatThrownBy(() -> k.attentionForward(x, null, x, ints("cuSeqlens", 0, 2), 2, AttentionShape.of(2, 1, 2)))
                .hasMessage("qkv: expected F32 (2, 8), got F32 (2, 4) (x)");
        assertThatThrownBy(() -> AttentionShape.of(3, 2, 4)).hasMessageContaining("multiple of kvHeads");
    }

    @Test
    void whatTheLibraryRefusesIsAnEngineException() {
        Tensor w = floats("w", Shape.of(1), 1);
        Tensor zero = blank("zero", F32, 1);
        assertThatThrownBy(() -> k.adamw(w, w, zero, zero, zero, 1, 0.1, 0.9, 0.99, 1e-8, 0, 0))
                .isInstanceOf(EngineException.NativeCall.class)
                .hasMessageStartingWith("st_adamw: INVALID_ARGUMENT, ");
    }
}
