package subtext.cli;

import static subtext.bindings.DType.F32;
import static subtext.bindings.DType.I32;
import static subtext.bindings.DType.I64;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import subtext.bindings.AttentionShape;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.bindings.Kernels;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;

/**
 * A look at whether the kernels of a device compute right on this very machine: each against plain Java arithmetic or against itself in
 * another arrangement. It takes well under a second and is no substitute for the test suite.
 */
final class SelfTest implements AutoCloseable {
    /** @param detail what was compared, or what went wrong */
    record Check(String name, boolean passed, String detail) {}

    private final Device device;
    private final Kernels k;
    private final Slab slab;
    private final SplittableRandom random = new SplittableRandom(20250301);

    private SelfTest(Device device) {
        this.device = device;
        this.k = device.kernels();
        this.slab = device.slab("self-test", s -> {
            s.tensor("room", F32, 1 << 20);
            s.release(0);
        });
    }

    static List<Check> run(Device device) {
        try (SelfTest test = new SelfTest(device)) {
            List<Check> checks = new ArrayList<>();
            test.check(checks, "matrix products against double precision", test::products);
            test.check(checks, "rmsnorm against double precision", test::rmsnorm);
            test.check(checks, "a row does not depend on its neighbours", test::batchInvariance);
            test.check(checks, "cached attention equals packed attention, to the bit", test::cachedAttention);
            test.check(checks, "the sampler's log-probability equals the scorer's, to the bit", test::samplerAndScorer);
            return checks;
        }
    }

    @FunctionalInterface
    private interface Body {
        String run();
    }

    /** A failed check throws an AssertionError of ours with what was seen. */
    private void check(List<Check> into, String name, Body body) {
        try {
            into.add(new Check(name, true, body.run()));
        } catch (AssertionError | EngineException e) {
            into.add(new Check(name, false, e.getMessage()));
        }
        slab.release(0);
    }

    private float[] noise(int size) {
        float[] values = new float[size];
        for (int i = 0; i < size; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    private Tensor floats(String name, float[] values, long... shape) {
        Tensor tensor = slab.tensor(name, F32, shape);
        device.upload(tensor, values);
        return tensor;
    }

    private Tensor ints(String name, int... values) {
        Tensor tensor = slab.tensor(name, I32, values.length);
        device.upload(tensor, values);
        return tensor;
    }

    private String products() {
        int M = 37, N = 41, K = 53;
        float[] a = noise(M * K);
        float[] b = noise(N * K);
        Tensor c = slab.tensor("c", F32, M, N);
        k.matmulNT(c, floats("a", a, M, K), floats("b", b, N, K));
        float[] got = device.downloadFloats(c);
        double worst = 0;
        for (int m = 0; m < M; m++) {
            for (int n = 0; n < N; n++) {
                double sum = 0;
                double size = 0;
                for (int i = 0; i < K; i++) {
                    double product = (double) a[m * K + i] * b[n * K + i];
                    sum += product;
                    size += Math.abs(product);
                }
                worst = Math.max(worst, Math.abs(got[m * N + n] - sum) / size);
            }
        }
        // a chain of K fused multiply-adds errs by at most K half-ulps of the sum of magnitudes
        return within(worst, K * 0x1p-24);
    }

    private String rmsnorm() {
        int N = 5, C = 67;
        float[] x = noise(N * C);
        float[] w = noise(C);
        Tensor y = slab.tensor("y", F32, N, C);
        k.rmsnormForward(y, null, floats("x", x, N, C), floats("w", w, C), 1e-5);
        float[] got = device.downloadFloats(y);
        double worst = 0;
        for (int n = 0; n < N; n++) {
            double squares = 0;
            for (int i = 0; i < C; i++) {
                squares += (double) x[n * C + i] * x[n * C + i];
            }
            for (int i = 0; i < C; i++) {
                double exact = x[n * C + i] / Math.sqrt(squares / C + 1e-5) * w[i];
                worst = Math.max(worst, Math.abs(got[n * C + i] - exact) / Math.max(1e-3, Math.abs(exact)));
            }
        }
        return within(worst, (C + 8) * 0x1p-24);
    }

    private String batchInvariance() {
        int M = 70, N = 33, K = 129;
        Tensor a = floats("a", noise(M * K), M, K);
        Tensor b = floats("b", noise(N * K), N, K);
        Tensor all = slab.tensor("all", F32, M, N);
        k.matmulNT(all, a, b);
        Tensor one = slab.tensor("one", F32, 1, N);
        for (int m = 0; m < M; m += 23) {
            k.matmulNT(one, a.rows(m, m + 1), b);
            same(device.downloadFloats(one), device.downloadFloats(all.rows(m, m + 1)));
        }
        return "rows alone and in a batch of " + M + ": equal bits";
    }

    private String cachedAttention() {
        AttentionShape shape = AttentionShape.of(4, 2, 16);
        int rows = 100;
        Tensor qkv = floats("qkv", noise(rows * (int) shape.qkvWidth()), rows, shape.qkvWidth());
        Tensor packed = slab.tensor("packed", F32, rows, shape.width());
        k.attentionForward(packed, null, qkv, ints("cuSeqlens", 0, rows), rows, shape);
        Tensor keys = slab.tensor("keys", F32, 1, rows, 2, 16);
        Tensor values = slab.tensor("values", F32, 1, rows, 2, 16);
        int[] zeros = new int[rows];
        int[] positions = new int[rows];
        Arrays.setAll(positions, i -> i);
        Tensor zero = ints("zero", zeros);
        k.cacheStore(keys, values, qkv, zero, ints("position", positions), zero, shape);
        Tensor cached = slab.tensor("cached", F32, 1, shape.width());
        int last = rows - 1;
        k.attentionCached(
                cached,
                qkv.rows(last, rows),
                keys,
                values,
                ints("cu", 0, 1),
                zero.rows(0, 1),
                zero.rows(0, 1),
                zero.rows(0, 1),
                ints("start", last),
                1,
                shape);
        same(device.downloadFloats(cached), device.downloadFloats(packed.rows(last, rows)));
        return rows + " positions: equal bits";
    }

    private String samplerAndScorer() {
        int N = 64, V = 97;
        Tensor logits = floats("logits", noise(N * V), N, V);
        Tensor token = slab.tensor("token", I32, N);
        Tensor drawn = slab.tensor("drawn", F32, N);
        Tensor scored = slab.tensor("scored", F32, N);
        Tensor key = slab.tensor("key", I64, N);
        device.upload(key, random.longs(N).toArray());
        Tensor scratch = slab.tensor("scratch", F32, k.sampleScratchBytes(N, V) / 4 + 1);
        k.sample(token, drawn, logits, key, ints("position", new int[N]), scratch, V, 1, 0, 1);
        k.logProb(scored, logits, token, V);
        same(device.downloadFloats(drawn), device.downloadFloats(scored));
        return N + " draws: equal bits";
    }

    private static String within(double error, double bound) {
        if (!(error <= bound)) {
            throw new AssertionError("relative error %.2e exceeds %.2e".formatted(error, bound));
        }
        return "relative error %.1e of at most %.1e".formatted(error, bound);
    }

    private static void same(float[] got, float[] expected) {
        int at = Arrays.mismatch(got, expected);
        if (at >= 0) {
            throw new AssertionError("element " + at + ": " + got[at] + " and " + expected[at]);
        }
    }

    @Override
    public void close() {
        slab.close();
    }
}
