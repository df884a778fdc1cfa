package subtext.engine;

import static subtext.bindings.DType.BF16;
import static subtext.bindings.DType.F32;
import static subtext.bindings.DType.F64;
import static subtext.bindings.DType.I32;
import static subtext.bindings.DType.I64;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import subtext.bindings.AttentionShape;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.bindings.Kernels;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;

/**
 * A look at whether the kernels of a device compute right on this very machine: every kernel, forward and backward, against plain Java
 * arithmetic or against itself in another arrangement. It takes well under a second and is no substitute for the test suite.
 */
public final class SelfTest implements AutoCloseable {
    /**
     * The outcome for one kernel or property.
     *
     * @param name the kernel or property
     * @param passed whether it computes right
     * @param detail what was compared, or what went wrong
     */
    public record Check(String name, boolean passed, String detail) {}

    private final Device device;
    private final Kernels k;
    private final Slab slab;
    private final UnaryOperator<float[]> seen;
    private final SplittableRandom random = new SplittableRandom(20250301);

    private SelfTest(Device device, UnaryOperator<float[]> seen) {
        this.device = device;
        this.k = device.kernels();
        this.seen = seen;
        this.slab = device.slab("self-test", s -> {
            s.tensor("room", F32, 1 << 20);
            s.release(0);
        });
    }

    /**
     * All checks. One that fails does not keep the others from being made.
     *
     * @param device whose kernels are looked at; its weights and caches are left alone
     * @return one outcome for each, in the order of a model's pass
     */
    public static List<Check> run(Device device) {
        return run(device, values -> values);
    }

    /** @param seen what is made of every result before it is looked at: a test damages them in turn */
    static List<Check> run(Device device, UnaryOperator<float[]> seen) {
        try (SelfTest test = new SelfTest(device, seen)) {
            List<Check> checks = new ArrayList<>();
            test.check(checks, "embedding, its gradient and gathered rows", test::embedding);
            test.check(checks, "rmsnorm and its gradients against double precision", test::rmsnorm);
            test.check(checks, "matrix products, f32, against double precision", () -> test.products(F32));
            test.check(checks, "matrix products, bf16, against double precision", () -> test.products(BF16));
            test.check(checks, "a row does not depend on its neighbours", test::batchInvariance);
            test.check(checks, "rotary positions, there and back", test::rope);
            test.check(checks, "attention and its gradients against double precision", test::attention);
            test.check(checks, "cached attention equals packed attention, to the bit", test::cachedAttention);
            test.check(checks, "SwiGLU, its gradients and sums against double precision", test::swiglu);
            test.check(checks, "log-probabilities, loss and its gradient against double precision", test::head);
            test.check(checks, "the sampler's log-probability equals the scorer's, to the bit", test::samplerAndScorer);
            test.check(checks, "the books of decoding", test::decoding);
            test.check(checks, "norm and AdamW against double precision", test::optimizer);
            test.check(checks, "filling and rounding", test::filling);
            return checks;
        }
    }

    /**
     * Refuses a device that computes wrong.
     *
     * @param device whose kernels are looked at
     * @throws EngineException.BackendUnavailable naming the checks that failed
     */
    public static void require(Device device) {
        require(device, run(device));
    }

    static void require(Device device, List<Check> checks) {
        List<String> failed = checks.stream()
                .filter(check -> !check.passed())
                .map(check -> check.name() + ": " + check.detail())
                .toList();
        if (!failed.isEmpty()) {
            throw new EngineException.BackendUnavailable("self-test: "
                    + device.info().name() + " computes wrong ("
                    + String.join("; ", failed) + "); 'subtext doctor' says more, --device takes another, or build "
                    + device.libraryPath() + " anew");
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

    private float[] floats(Tensor tensor) {
        return seen.apply(device.downloadFloats(tensor));
    }

    private float[] ints(Tensor tensor) {
        int[] values = device.downloadInts(tensor);
        float[] wide = new float[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        return seen.apply(wide);
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

    /** The largest error of some results, as a share of the size of what was added up for each. */
    private static double worst(float[] got, double[] exact, double[] size) {
        double worst = 0;
        for (int i = 0; i < exact.length; i++) {
            double error = Math.abs(got[i] - exact[i]) / size[i];
            worst = error <= worst ? worst : error; // takes NaN too
        }
        return worst;
    }

    private static double[] ones(int n) {
        double[] ones = new double[n];
        Arrays.fill(ones, 1);
        return ones;
    }

    private String embedding() {
        int V = 11, C = 13;
        int[] token = {3, 0, 3, 10, 7, 3, -1, 9, 0};
        int N = token.length;
        float[] w = noise(V * C);
        Tensor y = slab.tensor("y", F32, N, C);
        Tensor ids = ints("token", token);
        Tensor weights = floats("w", w, V, C);
        k.embeddingForward(y, weights, ids);
        float[] rows = new float[N * C];
        for (int n = 0; n < N; n++) {
            if (token[n] >= 0) {
                System.arraycopy(w, token[n] * C, rows, n * C, C);
            }
        }
        same(floats(y), rows);
        int[] picked = {8, 0, 0, 4};
        Tensor some = slab.tensor("some", F32, picked.length, C);
        k.gatherRows(some, y, ints("row", picked));
        float[] expected = new float[picked.length * C];
        for (int i = 0; i < picked.length; i++) {
            System.arraycopy(rows, picked[i] * C, expected, i * C, C);
        }
        same(floats(some), expected);
        int[] order = IntStream.range(0, N)
                .boxed()
                .sorted(Comparator.comparingInt(n -> token[n]))
                .mapToInt(n -> n)
                .toArray();
        float[] dy = noise(N * C);
        Tensor dw = slab.tensor("dw", F32, V, C);
        device.zero(dw);
        k.embeddingBackward(dw, floats("dy", dy, N, C), ids, ints("order", order));
        double[] exact = new double[V * C];
        for (int n = 0; n < N; n++) {
            for (int c = 0; c < C && token[n] >= 0; c++) {
                exact[token[n] * C + c] += dy[n * C + c];
            }
        }
        return within(worst(floats(dw), exact, ones(V * C)), 16 * 0x1p-24);
    }

    private String rmsnorm() {
        int N = 5, C = 67;
        double eps = 1e-5;
        float[] x = noise(N * C);
        float[] w = noise(C);
        float[] dy = noise(N * C);
        float[] before = noise(N * C);
        Tensor y = slab.tensor("y", F32, N, C);
        Tensor rstd = slab.tensor("rstd", F32, N);
        Tensor in = floats("x", x, N, C);
        Tensor weight = floats("w", w, C);
        k.rmsnormForward(y, rstd, in, weight, eps);
        Tensor dx = floats("dx", before, N, C);
        Tensor dw = slab.tensor("dw", F32, C);
        device.zero(dw);
        k.rmsnormBackward(
                dx, dw, floats("dy", dy, N, C), in, weight, rstd, scratch(k.rmsnormBackwardScratchBytes(N, C, F32)));
        double[] exactY = new double[N * C];
        double[] exactDx = new double[N * C];
        double[] exactDw = new double[C];
        double[] exactRstd = new double[N];
        for (int n = 0; n < N; n++) {
            double squares = 0;
            double dot = 0;
            for (int c = n * C; c < (n + 1) * C; c++) {
                squares += (double) x[c] * x[c];
                dot += (double) w[c - n * C] * dy[c] * x[c];
            }
            double r = 1 / Math.sqrt(squares / C + eps);
            exactRstd[n] = r;
            for (int c = n * C; c < (n + 1) * C; c++) {
                exactY[c] = x[c] * r * w[c - n * C];
                exactDx[c] = before[c] + r * w[c - n * C] * dy[c] - x[c] * r * r * r * dot / C;
                exactDw[c - n * C] += dy[c] * x[c] * r;
            }
        }
        double error = worst(floats(y), exactY, ones(N * C));
        error = Math.max(error, worst(floats(rstd), exactRstd, ones(N)));
        error = Math.max(error, worst(floats(dx), exactDx, ones(N * C)));
        error = Math.max(error, worst(floats(dw), exactDw, ones(C)));
        // values of some units, sums of C products
        return within(error, 8 * (C + 8) * 0x1p-24);
    }

    private Tensor scratch(long bytes) {
        return slab.tensor("scratch", F32, (bytes + 3) / 4 + 1);
    }

    private Tensor cut(String name, DType dtype, float[] values, long... shape) {
        Tensor tensor = slab.tensor(name, dtype, shape);
        device.upload(tensor, values);
        return tensor;
    }

    private String products(DType dtype) {
        int M = 37, N = 41, K = 53;
        Tensor a = cut("a", dtype, noise(M * K), M, K);
        Tensor b = cut("b", dtype, noise(N * K), N, K);
        Tensor residual = cut("residual", dtype, noise(M * N), M, N);
        Tensor c = slab.tensor("c", dtype, M, N);
        // what lies there: rounded to the type
        float[] av = device.downloadFloats(a), bv = device.downloadFloats(b), rv = device.downloadFloats(residual);
        // a chain of K fused multiply-adds errs by at most K half-ulps of the sum of magnitudes, and a result of bf16
        // is rounded once more
        double bound = K * 0x1p-24;
        double rounding = dtype == BF16 ? 0x1p-8 : 0;
        k.matmulNT(c, a, b);
        double error = product(floats(c), M, N, K, (m, i) -> av[m * K + i], (i, n) -> bv[n * K + i], null, rounding);
        k.matmulNT(c, a, b, residual);
        error = Math.max(
                error, product(floats(c), M, N, K, (m, i) -> av[m * K + i], (i, n) -> bv[n * K + i], rv, rounding));
        Tensor nn = slab.tensor("nn", dtype, M, K);
        k.matmulNN(nn, residual, b); // (M, N) (N, K)
        error = Math.max(
                error, product(floats(nn), M, K, N, (m, i) -> rv[m * N + i], (i, n) -> bv[i * K + n], null, rounding));
        float[] before = noise(N * K);
        Tensor tn = floats("tn", before, N, K);
        k.matmulTN(tn, residual, a); // (M, N)^T (M, K)
        error = Math.max(
                error, product(floats(tn), N, K, M, (m, i) -> rv[i * N + m], (i, n) -> av[i * K + n], before, 0));
        return within(error, bound);
    }

    @FunctionalInterface
    private interface Element {
        double at(int row, int column);
    }

    private static double product(
            float[] got, int M, int N, int K, Element a, Element b, float[] added, double rounding) {
        double[] exact = new double[M * N];
        double[] size = new double[M * N];
        for (int m = 0; m < M; m++) {
            for (int n = 0; n < N; n++) {
                double sum = added == null ? 0 : added[m * N + n];
                double magnitude = Math.abs(sum);
                for (int i = 0; i < K; i++) {
                    double product = a.at(m, i) * b.at(i, n);
                    sum += product;
                    magnitude += Math.abs(product);
                }
                // what rounding of the result explains is taken off
                double error = got[m * N + n] - sum;
                exact[m * N + n] =
                        got[m * N + n] - Math.copySign(Math.max(0, Math.abs(error) - rounding * Math.abs(sum)), error);
                size[m * N + n] = magnitude;
            }
        }
        return worst(got, exact, size);
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
            same(floats(one), floats(all.rows(m, m + 1)));
        }
        return "rows alone and in a batch of " + M + ": equal bits";
    }

    private String rope() {
        int N = 5, heads = 3, rotated = 2, D = 8, context = 9;
        float[] x = noise(N * heads * D);
        float[] table = new float[context * D];
        for (int i = 0; i < table.length / 2; i++) {
            double angle = random.nextDouble(6);
            table[2 * i] = (float) Math.cos(angle);
            table[2 * i + 1] = (float) Math.sin(angle);
        }
        int[] position = {0, 8, 3, 3, 1};
        Tensor rows = floats("x", x, N, heads * D);
        Tensor places = ints("position", position);
        Tensor angles = floats("table", table, context, D / 2, 2);
        k.rope(rows, places, angles, rotated, D, 1);
        double[] exact = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            int row = i / (heads * D), head = i / D % heads, d = i % D, half = d % (D / 2);
            double cos = table[(position[row] * D / 2 + half) * 2], sin = table[(position[row] * D / 2 + half) * 2 + 1];
            exact[i] = head >= rotated
                    ? x[i]
                    : d < D / 2 ? x[i] * cos - x[i + D / 2] * sin : x[i] * cos + x[i - D / 2] * sin;
        }
        double error = worst(floats(rows), exact, ones(x.length));
        k.rope(rows, places, angles, rotated, D, -1);
        double[] back = new double[x.length];
        Arrays.setAll(back, i -> x[i]);
        return within(Math.max(error, worst(floats(rows), back, ones(x.length))), 64 * 0x1p-24);
    }

    private String attention() {
        int H = 4, kv = 2, D = 16, longest = 9;
        int[] cu = {0, 5, 14};
        int N = 14;
        AttentionShape shape = AttentionShape.of(H, kv, D);
        int width = (int) shape.qkvWidth(), out = (int) shape.width();
        float[] qkv = noise(N * width);
        float[] dy = noise(N * out);
        Tensor rows = floats("qkv", qkv, N, width);
        Tensor cuSeqlens = ints("cuSeqlens", cu);
        Tensor y = slab.tensor("y", F32, N, out);
        Tensor lse = slab.tensor("lse", F32, N, H);
        Tensor dqkv = slab.tensor("dqkv", F32, N, width);
        k.attentionForward(y, lse, rows, cuSeqlens, longest, shape);
        k.attentionBackward(
                dqkv,
                floats("dy", dy, N, out),
                y,
                rows,
                lse,
                cuSeqlens,
                scratch(k.attentionBackwardScratchBytes(2, longest, N, shape, F32)),
                longest,
                shape);
        double[] exactY = new double[N * out];
        double[] exactLse = new double[N * H];
        double[] exactD = new double[N * width];
        for (int s = 0; s + 1 < cu.length; s++) {
            for (int n = cu[s]; n < cu[s + 1]; n++) {
                for (int h = 0; h < H; h++) {
                    int keyHead = H + h / (H / kv), valueHead = keyHead + kv;
                    int keys = n - cu[s] + 1;
                    double[] p = new double[keys];
                    double[] dp = new double[keys];
                    double sum = 0;
                    for (int j = 0; j < keys; j++) {
                        for (int d = 0; d < D; d++) {
                            p[j] += qkv[n * width + h * D + d]
                                    * (double) qkv[(cu[s] + j) * width + keyHead * D + d]
                                    * shape.scale();
                        }
                        sum += Math.exp(p[j]);
                    }
                    exactLse[n * H + h] = Math.log(sum);
                    double mean = 0;
                    for (int j = 0; j < keys; j++) {
                        p[j] = Math.exp(p[j]) / sum;
                        for (int d = 0; d < D; d++) {
                            int value = (cu[s] + j) * width + valueHead * D + d;
                            exactY[n * out + h * D + d] += p[j] * qkv[value];
                            exactD[value] += p[j] * dy[n * out + h * D + d];
                            dp[j] += (double) dy[n * out + h * D + d] * qkv[value];
                        }
                        mean += p[j] * dp[j];
                    }
                    for (int j = 0; j < keys; j++) {
                        double ds = p[j] * (dp[j] - mean) * shape.scale();
                        for (int d = 0; d < D; d++) {
                            int query = n * width + h * D + d, key = (cu[s] + j) * width + keyHead * D + d;
                            exactD[query] += ds * qkv[key];
                            exactD[key] += ds * qkv[query];
                        }
                    }
                }
            }
        }
        double error = worst(floats(y), exactY, ones(exactY.length));
        error = Math.max(error, worst(floats(lse), exactLse, ones(exactLse.length)));
        error = Math.max(error, worst(floats(dqkv), exactD, ones(exactD.length)));
        // sums of some 20 terms of a few units, behind a softmax that hands errors of its scores on
        return within(error, 1024 * 0x1p-24);
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
        same(floats(cached), floats(packed.rows(last, rows)));
        return rows + " positions: equal bits";
    }

    private String swiglu() {
        int N = 5, F = 37;
        float[] gateUp = noise(N * 2 * F);
        float[] dy = noise(N * F);
        Tensor y = slab.tensor("y", F32, N, F);
        Tensor in = floats("gateUp", gateUp, N, 2 * F);
        Tensor back = floats("dy", dy, N, F);
        Tensor d = slab.tensor("d", F32, N, 2 * F);
        Tensor sum = slab.tensor("sum", F32, N, F);
        k.swigluForward(y, in);
        k.swigluBackward(d, back, in);
        k.add(sum, y, back);
        double[] exactY = new double[N * F];
        double[] exactD = new double[N * 2 * F];
        double[] exactSum = new double[N * F];
        for (int i = 0; i < N * F; i++) {
            int gate = i / F * 2 * F + i % F, up = gate + F;
            double sigmoid = 1 / (1 + Math.exp(-gateUp[gate]));
            exactY[i] = gateUp[gate] * sigmoid * gateUp[up];
            exactD[gate] = dy[i] * gateUp[up] * sigmoid * (1 + gateUp[gate] * (1 - sigmoid));
            exactD[up] = dy[i] * gateUp[gate] * sigmoid;
            exactSum[i] = exactY[i] + dy[i];
        }
        double error = worst(floats(y), exactY, ones(exactY.length));
        error = Math.max(error, worst(floats(d), exactD, ones(exactD.length)));
        error = Math.max(error, worst(floats(sum), exactSum, ones(exactSum.length)));
        return within(error, 128 * 0x1p-24);
    }

    private String head() {
        int N = 7, V = 59, stride = 64;
        float[] logits = noise(N * stride);
        float[] weight = noise(N);
        int[] target = {0, 58, 7, -1, 30, 30, 1};
        Tensor in = floats("logits", logits, N, stride);
        Tensor ids = ints("target", target);
        Tensor logProb = slab.tensor("logProb", F32, N);
        Tensor loss = slab.tensor("loss", F32, N);
        Tensor d = slab.tensor("d", F32, N, stride);
        k.logProb(logProb, in, ids, V);
        k.crossEntropy(loss, d, in, ids, floats("weight", weight, N), V);
        double[] exact = new double[N];
        double[] exactLoss = new double[N];
        double[] exactD = new double[N * stride];
        for (int n = 0; n < N; n++) {
            double sum = 0;
            for (int v = 0; v < V; v++) {
                sum += Math.exp(logits[n * stride + v]);
            }
            if (target[n] < 0) {
                continue;
            }
            exact[n] = logits[n * stride + target[n]] - Math.log(sum);
            exactLoss[n] = -exact[n];
            for (int v = 0; v < V; v++) {
                exactD[n * stride + v] =
                        weight[n] * (Math.exp(logits[n * stride + v]) / sum - (v == target[n] ? 1 : 0));
            }
        }
        double error = worst(floats(logProb), exact, ones(N));
        error = Math.max(error, worst(floats(loss), exactLoss, ones(N)));
        error = Math.max(error, worst(floats(d), exactD, ones(exactD.length)));
        return within(error, 256 * 0x1p-24);
    }

    private String decoding() {
        int S = 4, capacity = 3, stop = 9;
        Tensor history = slab.tensor("history", I32, S, capacity);
        k.fillI32(history, -7);
        Tensor historyLogProb = floats("historyLogProb", new float[S * capacity], S, capacity);
        Tensor token = ints("token", 1, 2, 3, 4);
        Tensor position = ints("position", 5, 6, 7, 8);
        Tensor drawn = ints("drawn", 0, 1, 2, 1);
        Tensor done = ints("done", 0, 0, 0, 1);
        k.decodeAdvance(
                history,
                historyLogProb,
                token,
                position,
                drawn,
                done,
                ints("sampled", 9, 11, 12, 13),
                floats("sampledLogProb", new float[] {-1, -2, -3, -4}, S),
                ints("limit", 3, 3, 3, 3),
                stop);
        same(ints(history), new float[] {9, -7, -7, -7, 11, -7, -7, -7, 12, -7, -7, -7});
        same(floats(historyLogProb), new float[] {-1, 0, 0, 0, -2, 0, 0, 0, -3, 0, 0, 0});
        same(ints(token), new float[] {9, 11, 12, 4});
        same(ints(position), new float[] {6, 7, 8, 8});
        same(ints(drawn), new float[] {1, 2, 3, 1});
        same(ints(done), new float[] {1, 0, 2, 1});
        return S + " lanes: stopped, going on, full, done";
    }

    private String optimizer() {
        int n = 257;
        float[] w = noise(n), m = noise(n), v = noise(n), g = noise(n);
        for (int i = 0; i < n; i++) {
            v[i] *= v[i];
        }
        Tensor weight = floats("weight", w, n);
        Tensor first = floats("m", m, n);
        Tensor second = floats("v", v, n);
        Tensor gradient = floats("g", g, n);
        double squares = 0;
        for (float x : g) {
            squares += (double) x * x;
        }
        Tensor sum = slab.tensor("sum", F64, 1);
        k.sumSquares(sum, gradient, scratch(k.sumSquaresScratchBytes(n)));
        float[] found = seen.apply(new float[] {(float) device.downloadDoubles(sum)[0]});
        double error = Math.abs(found[0] - squares) / squares;
        double scale = 0.5, lr = 1e-2, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, decay = 0.1;
        int step = 3;
        k.adamw(weight, weight, first, second, gradient, scale, lr, beta1, beta2, eps, decay, step);
        double[] exactW = new double[n], exactM = new double[n], exactV = new double[n];
        for (int i = 0; i < n; i++) {
            double gi = scale * g[i];
            exactM[i] = beta1 * m[i] + (1 - beta1) * gi;
            exactV[i] = beta2 * v[i] + (1 - beta2) * gi * gi;
            double unbiased = Math.sqrt(exactV[i] / (1 - Math.pow(beta2, step))) + eps;
            exactW[i] = w[i] - lr * (exactM[i] / (1 - Math.pow(beta1, step)) / unbiased + decay * w[i]);
        }
        error = Math.max(error, worst(floats(weight), exactW, ones(n)));
        error = Math.max(error, worst(floats(first), exactM, ones(n)));
        error = Math.max(error, worst(floats(second), exactV, ones(n)));
        return within(error, 64 * 0x1p-24);
    }

    private String filling() {
        int n = 4096;
        Tensor all = slab.tensor("all", F32, n);
        k.fillNormal(all, 1, 2, 0, 5, 0);
        Tensor later = slab.tensor("later", F32, n / 2);
        k.fillNormal(later, 1, 2, 0, 5, n / 2);
        float[] values = floats(all);
        same(floats(later), Arrays.copyOfRange(values, n / 2, n)); // counted, whatever the call
        double mean = 0;
        double square = 0;
        for (float value : values) {
            mean += value / n;
            square += (value - 1.0) * (value - 1.0) / n;
        }
        // five standard errors: 2 / 64 of the mean, 4 sqrt(2) / 64 of the variance
        if (!(Math.abs(mean - 1) < 5 * 2 / 64.0) || !(Math.abs(square - 4) < 5 * 4 * Math.sqrt(2) / 64)) {
            throw new AssertionError(
                    "normal noise of mean %.3f and variance %.3f, expected 1 and 4".formatted(mean, square));
        }
        Tensor narrow = slab.tensor("narrow", BF16, n);
        k.cast(narrow, all);
        float[] rounded = new float[n];
        for (int i = 0; i < n; i++) {
            int bits = Float.floatToRawIntBits(values[i]);
            rounded[i] = Float.intBitsToFloat(bits + 0x7fff + (bits >>> 16 & 1) & 0xffff0000);
        }
        same(floats(narrow), rounded);
        Tensor ints = slab.tensor("ints", I32, 97);
        k.fillI32(ints, -5);
        float[] fives = new float[97];
        Arrays.fill(fives, -5);
        same(ints(ints), fives);
        return n + " normal numbers, rounded to bf16";
    }

    private String samplerAndScorer() {
        int N = 64, V = 97;
        float[] values = noise(N * V);
        Tensor logits = floats("logits", values, N, V);
        Tensor token = slab.tensor("token", I32, N);
        Tensor drawn = slab.tensor("drawn", F32, N);
        Tensor scored = slab.tensor("scored", F32, N);
        Tensor key = slab.tensor("key", I64, N);
        device.upload(key, random.longs(N).toArray());
        Tensor scratch = slab.tensor("scratch", F32, k.sampleScratchBytes(N, V) / 4 + 1);
        k.sample(token, drawn, logits, key, ints("position", new int[N]), scratch, V, 1, 0, 1);
        k.logProb(scored, logits, token, V);
        same(floats(drawn), floats(scored));
        k.sample(token, drawn, logits, key, ints("first", new int[N]), scratch, V, 0, 0, 1);
        float[] greatest = new float[N];
        for (int n = 0; n < N; n++) {
            for (int v = 0; v < V; v++) {
                greatest[n] = values[n * V + v] > values[n * V + (int) greatest[n]] ? v : greatest[n];
            }
        }
        same(ints(token), greatest);
        return N + " draws: equal bits; the most likely token at temperature 0";
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
