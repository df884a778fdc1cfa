package subtext.bench;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import subtext.bindings.AttentionShape;
import subtext.bindings.Tensor;

/**
 * Every kernel at real model shapes: seconds a call, and beside them GFLOP/s of the products and GB/s of the rest, to be read against
 * {@code copy} and the largest product of the same run.
 *
 * <p>{@code java -jar bench/target/benchmarks.jar KernelBenchmark -p backend=CPU -p width=256}
 */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class KernelBenchmark {
    /** Work done, for the secondary columns: billions per second. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Work {
        public double gigaflop;
        public double gigabyte;

        @Setup(Level.Iteration)
        public void clear() {
            gigaflop = 0;
            gigabyte = 0;
        }
    }

    /** Operands of all kernels for N rows of one width. */
    @State(Scope.Thread)
    public static class Operands {
        /** C; F is 8/3 of it, rounded up to a multiple of 64. */
        @Param({"256", "768"})
        public int width;

        @Param("2048")
        public int rows;

        @Param("4096")
        public int vocabulary;

        @Param("256")
        public int length;

        KernelState state;
        int hidden;
        int size;
        Tensor x;
        Tensor y;
        Tensor norm;
        Tensor rstd;
        Tensor normGradient;
        Tensor normScratch;
        Tensor qkv;
        Tensor qkvGradient;
        Tensor lse;
        Tensor cuSeqlens;
        Tensor attentionScratch;
        Tensor gateUp;
        Tensor gateUpGradient;
        Tensor hiddenRows;
        Tensor gateUpWeight;
        Tensor weightGradient;
        Tensor logits;
        Tensor loss;
        Tensor target;
        Tensor weight;
        Tensor token;
        Tensor key;
        Tensor position;
        Tensor sampleScratch;
        Tensor table;
        Tensor[] optimizer;
        AttentionShape shape;

        @Setup(Level.Trial)
        public void lay(KernelState state) {
            this.state = state;
            hidden = (width * 8 / 3 + 63) / 64 * 64;
            int n = rows;
            x = state.normal("x", n, width);
            y = state.normal("y", n, width);
            norm = state.normal("norm", width);
            rstd = state.real("rstd", n);
            normGradient = state.real("dnorm", width);
            normScratch = state.scratch(state.k.rmsnormBackwardScratchBytes(n, width, state.dtype));
            shape = new AttentionShape(width / 64, width / 64, 64, 0.125, 0);
            qkv = state.normal("qkv", n, 3L * width);
            qkvGradient = state.normal("dqkv", n, 3L * width);
            lse = state.real("lse", n, width / 64);
            int[] bounds = new int[n / length + 1];
            for (int s = 0; s < bounds.length; s++) {
                bounds[s] = s * length;
            }
            cuSeqlens = state.ints("cuSeqlens", bounds);
            attentionScratch =
                    state.scratch(state.k.attentionBackwardScratchBytes(n / length, length, n, shape, state.dtype));
            gateUp = state.normal("gateUp", n, 2L * hidden);
            gateUpGradient = state.normal("dGateUp", n, 2L * hidden);
            hiddenRows = state.normal("hidden", n, hidden);
            gateUpWeight = state.normal("wGateUp", 2L * hidden, width);
            weightGradient = state.real("dwGateUp", 2L * hidden, width);
            logits = state.real("logits", n, vocabulary);
            loss = state.real("loss", n);
            target = state.ids("target", n, vocabulary);
            weight = state.real("weight", n);
            token = state.ids("token", n, vocabulary);
            key = state.keys("key", n);
            position = state.ids("position", n, length);
            sampleScratch = state.scratch(state.k.sampleScratchBytes(n, vocabulary));
            table = state.real("table", length, 32, 2);
            optimizer = new Tensor[4];
            for (int i = 0; i < 4; i++) {
                optimizer[i] = state.real("adamw" + i, 4L << 20);
                state.device.zero(optimizer[i]);
            }
            size = state.dtype.bytes();
            state.k.attentionForward(y, lse, qkv, cuSeqlens, length, shape);
            state.device.synchronize();
        }
    }

    private static void product(Operands o, Work work, Runnable call, double multiplications) {
        call.run();
        o.state.device.synchronize();
        work.gigaflop += 2e-9 * multiplications;
    }

    private static void moving(Operands o, Work work, Runnable call, double bytes) {
        call.run();
        o.state.device.synchronize();
        work.gigabyte += 1e-9 * bytes;
    }

    /** The ceiling of the kernels that only move bytes. */
    @Benchmark
    public void copy(Operands o, Work work) {
        moving(o, work, () -> o.state.device.copy(o.gateUpGradient, o.gateUp), 4.0 * o.rows * o.hidden * o.size);
    }

    @Benchmark
    public void matmulNT(Operands o, Work work) {
        product(o, work, () -> o.state.k.matmulNT(o.gateUp, o.x, o.gateUpWeight), 2.0 * o.rows * o.hidden * o.width);
    }

    @Benchmark
    public void matmulNN(Operands o, Work work) {
        product(o, work, () -> o.state.k.matmulNN(o.y, o.gateUp, o.gateUpWeight), 2.0 * o.rows * o.hidden * o.width);
    }

    @Benchmark
    public void matmulTN(Operands o, Work work) {
        product(o, work, () -> o.state.k.matmulTN(o.weightGradient, o.gateUp, o.x), 2.0 * o.rows * o.hidden * o.width);
    }

    @Benchmark
    public void attentionForward(Operands o, Work work) {
        product(
                o,
                work,
                () -> o.state.k.attentionForward(o.y, o.lse, o.qkv, o.cuSeqlens, o.length, o.shape),
                1.0 * o.rows * o.length * o.width);
    }

    @Benchmark
    public void attentionBackward(Operands o, Work work) {
        product(
                o,
                work,
                () -> o.state.k.attentionBackward(
                        o.qkvGradient, o.x, o.y, o.qkv, o.lse, o.cuSeqlens, o.attentionScratch, o.length, o.shape),
                2.5 * o.rows * o.length * o.width);
    }

    @Benchmark
    public void rmsnormForward(Operands o, Work work) {
        moving(
                o,
                work,
                () -> o.state.k.rmsnormForward(o.y, o.rstd, o.x, o.norm, 1e-5),
                2.0 * o.rows * o.width * o.size);
    }

    @Benchmark
    public void rmsnormBackward(Operands o, Work work) {
        moving(
                o,
                work,
                () -> o.state.k.rmsnormBackward(o.y, o.normGradient, o.x, o.x, o.norm, o.rstd, o.normScratch),
                4.0 * o.rows * o.width * o.size);
    }

    @Benchmark
    public void swigluForward(Operands o, Work work) {
        moving(o, work, () -> o.state.k.swigluForward(o.hiddenRows, o.gateUp), 3.0 * o.rows * o.hidden * o.size);
    }

    @Benchmark
    public void swigluBackward(Operands o, Work work) {
        moving(
                o,
                work,
                () -> o.state.k.swigluBackward(o.gateUpGradient, o.hiddenRows, o.gateUp),
                5.0 * o.rows * o.hidden * o.size);
    }

    @Benchmark
    public void rope(Operands o, Work work) {
        moving(
                o,
                work,
                () -> o.state.k.rope(o.qkv, o.position, o.table, 2L * o.width / 64, 64, 1),
                4.0 * o.rows * o.width * o.size);
    }

    @Benchmark
    public void crossEntropy(Operands o, Work work) {
        moving(
                o,
                work,
                () -> o.state.k.crossEntropy(o.loss, null, o.logits, o.target, o.weight, o.vocabulary),
                1.0 * o.rows * o.vocabulary * o.state.dtype.real().bytes());
    }

    @Benchmark
    public void sample(Operands o, Work work) {
        moving(
                o,
                work,
                () -> o.state.k.sample(
                        o.token, o.loss, o.logits, o.key, o.position, o.sampleScratch, o.vocabulary, 1, 0, 1),
                1.0 * o.rows * o.vocabulary * o.state.dtype.real().bytes());
    }

    /** Reads weight, both moments and gradient, writes the first three. */
    @Benchmark
    public void adamw(Operands o, Work work) {
        Tensor[] t = o.optimizer;
        moving(
                o,
                work,
                () -> o.state.k.adamw(t[0], t[0], t[1], t[2], t[3], 1, 1e-4, 0.9, 0.95, 1e-8, 0.01, 1),
                7.0 * t[0].bytes());
    }

    /** What a call costs that does nothing: the price of the way from Java to a kernel. */
    @Benchmark
    public void emptyCall(Operands o) {
        o.state.k.add(o.x.rows(0, 0), o.x.rows(0, 0), o.x.rows(0, 0));
    }
}
