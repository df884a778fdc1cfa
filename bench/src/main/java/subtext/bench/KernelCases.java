package subtext.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.Function;
import subtext.bindings.AttentionShape;
import subtext.bindings.DType;
import subtext.bindings.Kernels;
import subtext.bindings.Tensor;

/**
 * Every kernel that takes time, on operands of one model shape: the work it does by its formula, and a reference in double precision that a
 * handful of its results is held against before it is timed.
 */
final class KernelCases {
    /**
     * Sizes of the operands.
     *
     * @param rows N
     * @param width C; heads are of 64
     * @param hidden F
     * @param vocabulary V
     * @param length tokens of a sequence; divides {@code rows}
     */
    record Sizes(int rows, int width, int hidden, int vocabulary, int length) {
        static Sizes of(ModelShape shape, int rows, int length) {
            return new Sizes(rows, shape.width, shape.hidden, shape.vocabulary, length);
        }
    }

    /**
     * One kernel, ready to run.
     *
     * @param flops floating-point operations of a call that its formula cannot do without
     * @param bytes that have to move: every operand once, one that is changed in place twice
     * @param footprint bytes of all operands together
     * @param readsOnly whether next to nothing is written, so that the ceiling is reading and not copying
     * @param call runs it once; to be followed by a synchronisation
     * @param verify runs it once and compares
     */
    record Case(
            String name,
            double flops,
            double bytes,
            double footprint,
            boolean readsOnly,
            Runnable call,
            Runnable verify) {
        /** Nothing is changed in place. */
        Case(String name, double flops, double bytes, boolean readsOnly, Runnable call, Runnable verify) {
            this(name, flops, bytes, bytes, readsOnly, call, verify);
        }

        /** With operands that are changed in place. */
        Case over(double footprint) {
            return new Case(name, flops, bytes, footprint, readsOnly, call, verify);
        }

        /** FLOP per byte. */
        double intensity() {
            return flops / bytes;
        }
    }

    private static final Map<String, Function<KernelCases, Case>> ALL = Map.ofEntries(
            Map.entry("matmulNT", KernelCases::matmulNT),
            Map.entry("matmulNN", KernelCases::matmulNN),
            Map.entry("matmulTN", KernelCases::matmulTN),
            Map.entry("matmulOneRow", c -> c.matmulFewRows(1)),
            Map.entry("matmulEightRows", c -> c.matmulFewRows(8)),
            Map.entry("attentionForward", KernelCases::attentionForward),
            Map.entry("attentionBackward", KernelCases::attentionBackward),
            Map.entry("attentionCached", KernelCases::attentionCached),
            Map.entry("rmsnormForward", KernelCases::rmsnormForward),
            Map.entry("rmsnormBackward", KernelCases::rmsnormBackward),
            Map.entry("swigluForward", KernelCases::swigluForward),
            Map.entry("swigluBackward", KernelCases::swigluBackward),
            Map.entry("rope", KernelCases::rope),
            Map.entry("add", KernelCases::add),
            Map.entry("embeddingForward", KernelCases::embeddingForward),
            Map.entry("embeddingBackward", KernelCases::embeddingBackward),
            Map.entry("logProb", KernelCases::logProb),
            Map.entry("crossEntropy", KernelCases::crossEntropy),
            Map.entry("sample", KernelCases::sample),
            Map.entry("sumSquares", KernelCases::sumSquares),
            Map.entry("adamw", KernelCases::adamw));

    /** The kernels in the order of a model. */
    static final List<String> NAMES = List.of(
            "matmulNT",
            "matmulNN",
            "matmulTN",
            "matmulOneRow",
            "matmulEightRows",
            "attentionForward",
            "attentionBackward",
            "attentionCached",
            "rmsnormForward",
            "rmsnormBackward",
            "swigluForward",
            "swigluBackward",
            "rope",
            "add",
            "embeddingForward",
            "embeddingBackward",
            "logProb",
            "crossEntropy",
            "sample",
            "sumSquares",
            "adamw");

    private static final int HEAD = 64;
    private static final int PROBES = 24;

    private final KernelState state;
    private final Kernels k;
    private final Sizes z;
    private final int size;
    private final int real;
    private final double eps;
    private final SplittableRandom random = new SplittableRandom(11);

    private KernelCases(KernelState state, Sizes sizes) {
        this.state = state;
        this.k = state.k;
        this.z = sizes;
        this.size = state.dtype.bytes();
        this.real = state.dtype.real().bytes();
        this.eps = state.dtype == DType.BF16 ? 1 / 128.0 : 1e-6;
    }

    /** Lays the operands of a kernel; its name is one of {@link #NAMES}. */
    static Case of(String name, KernelState state, Sizes sizes) {
        Function<KernelCases, Case> make = ALL.get(name);
        if (make == null) {
            throw new IllegalArgumentException("kernel: expected one of " + NAMES + ", got " + name);
        }
        return make.apply(new KernelCases(state, sizes));
    }

    // ---- products

    private Case matmulNT() {
        Tensor a = state.normal("a", z.rows, z.width);
        Tensor b = state.normal("b", 2L * z.hidden, z.width);
        Tensor c = state.normal("c", z.rows, 2L * z.hidden);
        return product("matmulNT", z.rows, 2 * z.hidden, z.width, size, () -> k.matmulNT(c, a, b), () -> {
            double[] x = read(a);
            double[] y = read(b);
            k.matmulNT(c, a, b);
            double[] got = read(c);
            chains(z.rows, 2 * z.hidden, z.width, got, (i, j, l) -> x[i * z.width + l] * y[j * z.width + l]);
        });
    }

    private Case matmulNN() {
        int inner = 2 * z.hidden;
        Tensor a = state.normal("a", z.rows, inner);
        Tensor b = state.normal("b", inner, z.width);
        Tensor c = state.normal("c", z.rows, z.width);
        return product("matmulNN", z.rows, z.width, inner, size, () -> k.matmulNN(c, a, b), () -> {
            double[] x = read(a);
            double[] y = read(b);
            k.matmulNN(c, a, b);
            double[] got = read(c);
            chains(z.rows, z.width, inner, got, (i, j, l) -> x[i * inner + l] * y[l * z.width + j]);
        });
    }

    private Case matmulTN() {
        int outer = 2 * z.hidden;
        Tensor a = state.normal("a", z.rows, outer);
        Tensor b = state.normal("b", z.rows, z.width);
        Tensor c = state.real("c", outer, z.width);
        return product("matmulTN", outer, z.width, z.rows, 2 * real, () -> k.matmulTN(c, a, b), () -> {
                    double[] x = read(a);
                    double[] y = read(b);
                    state.device.zero(c); // it adds
                    k.matmulTN(c, a, b);
                    double[] got = read(c);
                    chains(outer, z.width, z.rows, got, (i, j, l) -> x[l * outer + i] * y[l * z.width + j]);
                })
                .over((double) size * z.rows * (outer + z.width) + (double) real * outer * z.width);
    }

    /** Decoding: as many rows as sequences in flight, the whole matrix read for them. */
    private Case matmulFewRows(int n) {
        Tensor a = state.normal("a", n, z.width);
        Tensor b = state.normal("b", 2L * z.hidden, z.width);
        Tensor c = state.normal("c", n, 2L * z.hidden);
        Case product = product("", n, 2 * z.hidden, z.width, size, () -> k.matmulNT(c, a, b), () -> {
            double[] x = read(a);
            double[] y = read(b);
            k.matmulNT(c, a, b);
            double[] got = read(c);
            chains(n, 2 * z.hidden, z.width, got, (i, j, l) -> x[i * z.width + l] * y[j * z.width + l]);
        });
        return new Case(
                n == 1 ? "matmulOneRow" : "matmulEightRows",
                product.flops,
                product.bytes,
                true,
                product.call,
                product.verify);
    }

    private Case product(String name, long m, long n, long inner, int written, Runnable call, Runnable verify) {
        double bytes = (double) size * (m * inner + n * inner) + (double) written * m * n;
        return new Case(name, 2.0 * m * n * inner, bytes, false, call, verify);
    }

    private interface Term {
        double at(int i, int j, int l);
    }

    /** Some elements of a product against their sums in double precision, to within the rounding of a chain of that length. */
    private void chains(int m, int n, int inner, double[] got, Term term) {
        for (int p = 0; p < PROBES; p++) {
            int i = p == 0 ? m - 1 : random.nextInt(m);
            int j = p == 0 ? n - 1 : random.nextInt(n);
            double sum = 0;
            double size = 0;
            for (int l = 0; l < inner; l++) {
                double t = term.at(i, j, l);
                sum += t;
                size += Math.abs(t);
            }
            expect("(" + i + ", " + j + ")", got[i * n + j], sum, size * inner * 0x1p-24 + Math.abs(sum) * eps);
        }
    }

    // ---- attention

    private AttentionShape attentionShape() {
        return AttentionShape.of(z.width / HEAD, z.width / HEAD, HEAD);
    }

    private Tensor bounds() {
        int[] bounds = new int[z.rows / z.length + 1];
        Arrays.setAll(bounds, s -> s * z.length);
        return state.ints("cuSeqlens", bounds);
    }

    private double attentionFlops() {
        // scores and their use: 2 products of 2 D a pair of positions, half of the pairs, and the diagonal
        return 4.0 * z.rows * z.width * (z.length + 1) / 2;
    }

    private Case attentionForward() {
        AttentionShape shape = attentionShape();
        Tensor qkv = state.normal("qkv", z.rows, shape.qkvWidth());
        Tensor y = state.normal("y", z.rows, z.width);
        Tensor lse = state.real("lse", z.rows, shape.heads());
        Tensor cu = bounds();
        Runnable call = () -> k.attentionForward(y, lse, qkv, cu, z.length, shape);
        return new Case(
                "attentionForward",
                attentionFlops(),
                (double) size * z.rows * (shape.qkvWidth() + z.width) + (double) real * z.rows * shape.heads(),
                false,
                call,
                () -> {
                    call.run();
                    double[] x = read(qkv);
                    double[] got = read(y);
                    for (int p = 0; p < 4; p++) {
                        int row = p == 0 ? z.rows - 1 : random.nextInt(z.rows);
                        int head = random.nextInt((int) shape.heads());
                        double[] weight = weights(x, row, head, shape);
                        for (int d = 0; d < HEAD; d += 13) {
                            double sum = 0;
                            for (int j = 0; j < weight.length; j++) {
                                sum += weight[j] * at(x, row / z.length * z.length + j, 2, head, d, shape);
                            }
                            expect("row " + row, got[row * z.width + head * HEAD + d], sum, 2e-4 + 4 * eps);
                        }
                    }
                });
    }

    /** Softmax over the keys of a row's own sequence up to itself. */
    private double[] weights(double[] qkv, int row, int head, AttentionShape shape) {
        int from = row / z.length * z.length;
        double[] weight = new double[row - from + 1];
        double most = Double.NEGATIVE_INFINITY;
        for (int j = 0; j < weight.length; j++) {
            double dot = 0;
            for (int d = 0; d < HEAD; d++) {
                dot += at(qkv, row, 0, head, d, shape) * at(qkv, from + j, 1, head, d, shape);
            }
            weight[j] = dot * shape.scale();
            most = Math.max(most, weight[j]);
        }
        double sum = 0;
        for (int j = 0; j < weight.length; j++) {
            weight[j] = Math.exp(weight[j] - most);
            sum += weight[j];
        }
        for (int j = 0; j < weight.length; j++) {
            weight[j] /= sum;
        }
        return weight;
    }

    /** Element d of query (0), key (1) or value (2) of a row's head. */
    private double at(double[] qkv, int row, int which, int head, int d, AttentionShape shape) {
        return qkv[(int) (row * shape.qkvWidth()) + which * z.width + head * HEAD + d];
    }

    private Case attentionBackward() {
        AttentionShape shape = attentionShape();
        Tensor qkv = state.normal("qkv", z.rows, shape.qkvWidth());
        Tensor y = state.normal("y", z.rows, z.width);
        Tensor dy = state.normal("dy", z.rows, z.width);
        Tensor dqkv = state.normal("dqkv", z.rows, shape.qkvWidth());
        Tensor lse = state.real("lse", z.rows, shape.heads());
        Tensor cu = bounds();
        Tensor scratch =
                state.scratch(k.attentionBackwardScratchBytes(z.rows / z.length, z.length, z.rows, shape, state.dtype));
        k.attentionForward(y, lse, qkv, cu, z.length, shape);
        Runnable call = () -> k.attentionBackward(dqkv, dy, y, qkv, lse, cu, scratch, z.length, shape);
        return new Case(
                "attentionBackward",
                2.5 * attentionFlops(),
                (double) size * z.rows * (2 * shape.qkvWidth() + 2 * z.width) + (double) real * z.rows * shape.heads(),
                false,
                call,
                () -> {
                    call.run();
                    double[] x = read(qkv);
                    double[] g = read(dy);
                    double[] got = read(dqkv);
                    for (int p = 0; p < 4; p++) {
                        int row = p == 0 ? z.rows - 1 : random.nextInt(z.rows);
                        int head = random.nextInt((int) shape.heads());
                        double[] w = weights(x, row, head, shape);
                        int from = row / z.length * z.length;
                        double[] dw = new double[w.length];
                        double mean = 0;
                        for (int j = 0; j < w.length; j++) {
                            for (int d = 0; d < HEAD; d++) {
                                dw[j] += g[row * z.width + head * HEAD + d] * at(x, from + j, 2, head, d, shape);
                            }
                            mean += w[j] * dw[j];
                        }
                        for (int d = 0; d < HEAD; d += 13) {
                            double dq = 0;
                            for (int j = 0; j < w.length; j++) {
                                dq += w[j] * (dw[j] - mean) * at(x, from + j, 1, head, d, shape);
                            }
                            expect(
                                    "dq of row " + row,
                                    at(got, row, 0, head, d, shape),
                                    dq * shape.scale(),
                                    5e-4 + 20 * eps);
                        }
                    }
                });
    }

    /** Decoding: one row a sequence, its keys and values read from the cache. */
    private Case attentionCached() {
        AttentionShape shape = attentionShape();
        int s = Math.min(32, z.rows);
        int last = z.length - 1;
        Tensor qkv = state.normal("qkv", s, shape.qkvWidth());
        Tensor y = state.normal("y", s, z.width);
        Tensor keys = state.normal("k", s, z.length, shape.kvHeads(), HEAD);
        Tensor values = state.normal("v", s, z.length, shape.kvHeads(), HEAD);
        int[] counting = new int[s + 1];
        Arrays.setAll(counting, i -> i);
        int[] start = new int[s];
        Arrays.fill(start, last);
        Tensor cu = state.ints("cuSeqlens", counting);
        Tensor slot = state.ints("slot", Arrays.copyOf(counting, s));
        Tensor zero = state.ints("prefixLength", new int[s]);
        Tensor at = state.ints("start", start);
        k.cacheStore(keys, values, qkv, slot, at, zero, shape);
        Runnable call = () -> k.attentionCached(y, qkv, keys, values, cu, slot, slot, zero, at, 1, shape);
        return new Case(
                "attentionCached",
                4.0 * s * z.width * z.length,
                2.0 * size * s * z.length * z.width,
                true,
                call,
                () -> {
                    call.run();
                    double[] x = read(qkv);
                    double[] key = read(keys);
                    double[] value = read(values);
                    double[] got = read(y);
                    int row = random.nextInt(s);
                    int head = random.nextInt((int) shape.heads());
                    double[] w = new double[z.length];
                    double sum = 0;
                    for (int j = 0; j < w.length; j++) {
                        double dot = 0;
                        for (int d = 0; d < HEAD; d++) {
                            dot += at(x, row, 0, head, d, shape)
                                    * key[(row * z.length + j) * z.width + head * HEAD + d];
                        }
                        w[j] = Math.exp(dot * shape.scale());
                        sum += w[j];
                    }
                    for (int d = 0; d < HEAD; d += 13) {
                        double mean = 0;
                        for (int j = 0; j < w.length; j++) {
                            mean += w[j] / sum * value[(row * z.length + j) * z.width + head * HEAD + d];
                        }
                        expect("row " + row, got[row * z.width + head * HEAD + d], mean, 2e-4 + 4 * eps);
                    }
                });
    }

    // ---- rows

    private Case rmsnormForward() {
        Tensor x = state.normal("x", z.rows, z.width);
        Tensor y = state.normal("y", z.rows, z.width);
        Tensor w = state.normal("w", z.width);
        Tensor rstd = state.real("rstd", z.rows);
        Runnable call = () -> k.rmsnormForward(y, rstd, x, w, 1e-5);
        return rowwise("rmsnormForward", 4, 2.0 * z.width * size + real, call, () -> {
            call.run();
            double[] in = read(x);
            double[] norm = read(w);
            double[] got = read(y);
            probe((row, i) -> {
                double scale = rstd(in, row);
                double expected = in[row * z.width + i] * scale * norm[i];
                expect("row " + row, got[row * z.width + i], expected, 4 * eps * Math.abs(expected) + eps);
            });
        });
    }

    private double rstd(double[] x, int row) {
        double sum = 0;
        for (int i = 0; i < z.width; i++) {
            sum += x[row * z.width + i] * x[row * z.width + i];
        }
        return 1 / Math.sqrt(sum / z.width + 1e-5);
    }

    private Case rmsnormBackward() {
        Tensor x = state.normal("x", z.rows, z.width);
        Tensor dy = state.normal("dy", z.rows, z.width);
        Tensor dx = state.normal("dx", z.rows, z.width);
        Tensor w = state.normal("w", z.width);
        Tensor dw = state.real("dw", z.width);
        Tensor rstd = state.real("rstd", z.rows);
        Tensor scratch = state.scratch(k.rmsnormBackwardScratchBytes(z.rows, z.width, state.dtype));
        k.rmsnormForward(dx, rstd, x, w, 1e-5);
        Runnable call = () -> k.rmsnormBackward(dx, dw, dy, x, w, rstd, scratch);
        return rowwise("rmsnormBackward", 9, 4.0 * z.width * size + real, call, () -> {
                    state.device.zero(dx); // it adds
                    call.run();
                    double[] in = read(x);
                    double[] g = read(dy);
                    double[] norm = read(w);
                    double[] got = read(dx);
                    probe((row, i) -> {
                        double scale = rstd(in, row);
                        double dot = 0;
                        for (int l = 0; l < z.width; l++) {
                            dot += g[row * z.width + l] * norm[l] * in[row * z.width + l];
                        }
                        double expected = scale
                                * (g[row * z.width + i] * norm[i]
                                        - in[row * z.width + i] * scale * scale * dot / z.width);
                        expect(
                                "row " + row,
                                got[row * z.width + i],
                                expected,
                                2e-5 + 8 * eps * Math.abs(expected) + eps);
                    });
                })
                .over((3.0 * z.width * size + real) * z.rows);
    }

    private Case swigluForward() {
        Tensor gateUp = state.normal("gateUp", z.rows, 2L * z.hidden);
        Tensor y = state.normal("y", z.rows, z.hidden);
        Runnable call = () -> k.swigluForward(y, gateUp);
        return moving("swigluForward", 5.0 * z.rows * z.hidden, 3.0 * z.rows * z.hidden * size, call, () -> {
            call.run();
            double[] in = read(gateUp);
            double[] got = read(y);
            for (int p = 0; p < PROBES; p++) {
                int row = random.nextInt(z.rows);
                int i = random.nextInt(z.hidden);
                double gate = in[row * 2 * z.hidden + i];
                double expected = gate / (1 + Math.exp(-gate)) * in[row * 2 * z.hidden + z.hidden + i];
                expect("row " + row, got[row * z.hidden + i], expected, 4 * eps * Math.abs(expected) + eps);
            }
        });
    }

    private Case swigluBackward() {
        Tensor gateUp = state.normal("gateUp", z.rows, 2L * z.hidden);
        Tensor dGateUp = state.normal("dGateUp", z.rows, 2L * z.hidden);
        Tensor dy = state.normal("dy", z.rows, z.hidden);
        Runnable call = () -> k.swigluBackward(dGateUp, dy, gateUp);
        return moving("swigluBackward", 10.0 * z.rows * z.hidden, 5.0 * z.rows * z.hidden * size, call, () -> {
            call.run();
            double[] in = read(gateUp);
            double[] g = read(dy);
            double[] got = read(dGateUp);
            for (int p = 0; p < PROBES; p++) {
                int row = random.nextInt(z.rows);
                int i = random.nextInt(z.hidden);
                double gate = in[row * 2 * z.hidden + i];
                double up = in[row * 2 * z.hidden + z.hidden + i];
                double s = 1 / (1 + Math.exp(-gate));
                double d = g[row * z.hidden + i];
                double dGate = d * up * s * (1 + gate * (1 - s));
                double dUp = d * gate * s;
                expect("gate of row " + row, got[row * 2 * z.hidden + i], dGate, 8 * eps * Math.abs(dGate) + 4 * eps);
                expect(
                        "up of row " + row,
                        got[row * 2 * z.hidden + z.hidden + i],
                        dUp,
                        8 * eps * Math.abs(dUp) + 4 * eps);
            }
        });
    }

    private Case rope() {
        AttentionShape shape = attentionShape();
        long heads = 2 * shape.heads();
        Tensor qkv = state.normal("qkv", z.rows, shape.qkvWidth());
        Tensor position = state.ids("position", z.rows, z.length);
        Tensor table = state.real("table", z.length, HEAD / 2, 2);
        float[] rotations = new float[z.length * HEAD];
        for (int i = 0; i < rotations.length; i += 2) {
            double angle = i / HEAD * Math.pow(10_000, -(double) (i % HEAD) / HEAD);
            rotations[i] = (float) Math.cos(angle);
            rotations[i + 1] = (float) Math.sin(angle);
        }
        state.device.upload(table, rotations); // lengths are kept, so a thousand calls neither grow nor vanish
        Runnable call = () -> k.rope(qkv, position, table, heads, HEAD, 1);
        double elements = (double) z.rows * heads * HEAD;
        return moving("rope", 3 * elements, 2 * elements * size, call, () -> {
                    double[] before = read(qkv);
                    int[] at = state.device.downloadInts(position);
                    call.run();
                    double[] got = read(qkv);
                    for (int p = 0; p < PROBES; p++) {
                        int row = random.nextInt(z.rows);
                        int head = random.nextInt((int) heads);
                        int i = random.nextInt(HEAD / 2);
                        int a = (int) (row * shape.qkvWidth()) + head * HEAD + i;
                        double cos = rotations[(at[row] * HEAD / 2 + i) * 2];
                        double sin = rotations[(at[row] * HEAD / 2 + i) * 2 + 1];
                        expect("row " + row, got[a], before[a] * cos - before[a + HEAD / 2] * sin, 4e-6 + 8 * eps);
                        expect(
                                "row " + row,
                                got[a + HEAD / 2],
                                before[a + HEAD / 2] * cos + before[a] * sin,
                                4e-6 + 8 * eps);
                    }
                })
                .over(elements * size);
    }

    private Case add() {
        Tensor a = state.normal("a", z.rows, z.width);
        Tensor b = state.normal("b", z.rows, z.width);
        Tensor y = state.normal("y", z.rows, z.width);
        Runnable call = () -> k.add(y, a, b);
        return moving("add", 1.0 * z.rows * z.width, 3.0 * z.rows * z.width * size, call, () -> {
            call.run();
            double[] left = read(a);
            double[] right = read(b);
            double[] got = read(y);
            probe((row, i) -> {
                int at = row * z.width + i;
                expect("row " + row, got[at], left[at] + right[at], 2 * eps * Math.abs(left[at] + right[at]));
            });
        });
    }

    // ---- tables and the head

    private Case embeddingForward() {
        Tensor w = state.normal("w", z.vocabulary, z.width);
        Tensor y = state.normal("y", z.rows, z.width);
        Tensor token = state.ids("token", z.rows, z.vocabulary);
        Runnable call = () -> k.embeddingForward(y, w, token);
        return moving("embeddingForward", 0, 2.0 * z.rows * z.width * size + 4.0 * z.rows, call, () -> {
            call.run();
            int[] ids = state.device.downloadInts(token);
            double[] from = read(w);
            double[] got = read(y);
            probe((row, i) -> expect("row " + row, got[row * z.width + i], from[ids[row] * z.width + i], 0));
        });
    }

    private Case embeddingBackward() {
        Tensor dw = state.real("dw", z.vocabulary, z.width);
        Tensor dy = state.normal("dy", z.rows, z.width);
        Tensor token = state.ids("token", z.rows, z.vocabulary);
        int[] ids = state.device.downloadInts(token);
        Integer[] order = new Integer[z.rows];
        Arrays.setAll(order, n -> n);
        Arrays.sort(order, (m, n) -> ids[m] != ids[n] ? Integer.compare(ids[m], ids[n]) : Integer.compare(m, n));
        Tensor rows = state.ints("order", Arrays.stream(order).mapToInt(n -> n).toArray());
        Runnable call = () -> k.embeddingBackward(dw, dy, token, rows);
        double touched = Arrays.stream(ids).distinct().count();
        double bytes = (double) z.rows * z.width * size + 2 * touched * z.width * real;
        return moving("embeddingBackward", 1.0 * z.rows * z.width, bytes, call, () -> {
                    state.device.zero(dw); // it adds
                    call.run();
                    double[] g = read(dy);
                    double[] got = read(dw);
                    probe((row, i) -> {
                        double sum = 0;
                        double size = 0;
                        for (int n = 0; n < z.rows; n++) {
                            if (ids[n] == ids[row]) {
                                sum += g[n * z.width + i];
                                size += Math.abs(g[n * z.width + i]);
                            }
                        }
                        expect("token " + ids[row], got[ids[row] * z.width + i], sum, size * z.rows * 0x1p-24);
                    });
                })
                .over((double) z.rows * z.width * size + touched * z.width * real);
    }

    /** log sum exp of a row of logits. */
    private double lse(double[] logits, int row) {
        double sum = 0;
        for (int v = 0; v < z.vocabulary; v++) {
            sum += Math.exp(logits[row * z.vocabulary + v]);
        }
        return Math.log(sum);
    }

    private Case logProb() {
        Tensor logits = state.real("logits", z.rows, z.vocabulary);
        Tensor token = state.ids("token", z.rows, z.vocabulary);
        Tensor out = state.real("logProb", z.rows);
        Runnable call = () -> k.logProb(out, logits, token, z.vocabulary);
        double elements = (double) z.rows * z.vocabulary;
        return new Case("logProb", 3 * elements, elements * real, true, call, () -> {
            call.run();
            likelihood(read(logits), state.device.downloadInts(token), read(out), 1);
        });
    }

    private Case crossEntropy() {
        Tensor logits = state.real("logits", z.rows, z.vocabulary);
        Tensor gradient = state.normal("dlogits", z.rows, z.vocabulary);
        Tensor token = state.ids("token", z.rows, z.vocabulary);
        Tensor loss = state.real("loss", z.rows);
        Tensor weight = state.real("weight", z.rows);
        Runnable call = () -> k.crossEntropy(loss, gradient, logits, token, weight, z.vocabulary);
        double elements = (double) z.rows * z.vocabulary;
        return moving("crossEntropy", 5 * elements, elements * (real + size), call, () -> {
            call.run();
            double[] in = read(logits);
            int[] ids = state.device.downloadInts(token);
            likelihood(in, ids, read(loss), -1);
            double[] factor = read(weight);
            double[] got = read(gradient);
            for (int p = 0; p < 8; p++) {
                int row = random.nextInt(z.rows);
                int v = p % 2 == 0 ? ids[row] : random.nextInt(z.vocabulary);
                double expected =
                        factor[row] * (Math.exp(in[row * z.vocabulary + v] - lse(in, row)) - (v == ids[row] ? 1 : 0));
                expect("gradient of row " + row, got[row * z.vocabulary + v], expected, 1e-5 + eps);
            }
        });
    }

    private Case sample() {
        Tensor logits = state.real("logits", z.rows, z.vocabulary);
        Tensor token = state.ids("token", z.rows, z.vocabulary);
        Tensor out = state.real("logProb", z.rows);
        Tensor key = state.keys("key", z.rows);
        Tensor position = state.ids("position", z.rows, z.length);
        Tensor scratch = state.scratch(k.sampleScratchBytes(z.rows, z.vocabulary));
        Runnable call = () -> k.sample(token, out, logits, key, position, scratch, z.vocabulary, 1, 0, 1);
        double elements = (double) z.rows * z.vocabulary;
        return new Case("sample", 30 * elements, elements * real, true, call, () -> {
            call.run();
            likelihood(read(logits), state.device.downloadInts(token), read(out), 1);
        });
    }

    private void likelihood(double[] logits, int[] token, double[] got, int sign) {
        for (int p = 0; p < 8; p++) {
            int row = p == 0 ? z.rows - 1 : random.nextInt(z.rows);
            double expected = logits[row * z.vocabulary + token[row]] - lse(logits, row);
            expect("row " + row, got[row], sign * expected, 2e-5);
        }
    }

    // ---- parameters

    private int parameters() {
        return Math.min(16 << 20, 12 * z.width * z.width + z.vocabulary * z.width);
    }

    private Case sumSquares() {
        int n = parameters();
        Tensor x = state.real("x", n);
        Tensor out = state.doubles("out", 1);
        Tensor scratch = state.scratch(k.sumSquaresScratchBytes(n));
        Runnable call = () -> k.sumSquares(out, x, scratch);
        return new Case("sumSquares", 2.0 * n, (double) n * real, true, call, () -> {
            call.run();
            double sum = Arrays.stream(read(x)).map(v -> v * v).sum();
            expect("sum", state.device.downloadDoubles(out)[0], sum, 1e-6 * sum);
        });
    }

    /** Reads weight, both moments and gradient, writes the first three. */
    private Case adamw() {
        int n = parameters();
        DType type = state.dtype.real();
        Tensor w = state.real("w", n);
        Tensor m = state.real("m", n);
        Tensor v = state.real("v", n);
        Tensor g = state.real("g", n);
        state.device.zero(m);
        state.device.zero(v);
        Runnable call = () -> k.adamw(w, w, m, v, g, 1, 1e-4, 0.9, 0.95, 1e-8, 0.01, 1);
        return moving("adamw", 14.0 * n, 7.0 * n * type.bytes(), call, () -> {
                    double[] before = read(w);
                    double[] gradient = read(g);
                    call.run();
                    double[] got = read(w);
                    for (int p = 0; p < PROBES; p++) {
                        int i = random.nextInt(n);
                        // the first step: both moments are corrected back to the gradient and its square
                        double step = gradient[i] / (Math.abs(gradient[i]) + 1e-8) + 0.01 * before[i];
                        expect("parameter " + i, got[i], before[i] - 1e-4 * step, 1e-6 * (1 + Math.abs(before[i])));
                    }
                })
                .over(4.0 * n * type.bytes());
    }

    // ---- shared

    private Case moving(String name, double flops, double bytes, Runnable call, Runnable verify) {
        return new Case(name, flops, bytes, false, call, verify);
    }

    private Case rowwise(String name, double flops, double bytesPerRow, Runnable call, Runnable verify) {
        return moving(name, flops * z.rows * z.width, bytesPerRow * z.rows, call, verify);
    }

    private interface Probe {
        void at(int row, int i);
    }

    private void probe(Probe probe) {
        probe.at(0, 0);
        probe.at(z.rows - 1, z.width - 1);
        for (int p = 0; p < PROBES; p++) {
            probe.at(random.nextInt(z.rows), random.nextInt(z.width));
        }
    }

    private double[] read(Tensor tensor) {
        return state.device.downloadDoubles(tensor);
    }

    private static void expect(String where, double got, double expected, double tolerance) {
        if (!(Math.abs(got - expected) <= tolerance)) {
            throw new IllegalStateException(where + ": expected " + expected + " within " + tolerance + ", got " + got);
        }
    }
}
