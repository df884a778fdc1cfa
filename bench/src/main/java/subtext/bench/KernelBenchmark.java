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

/**
 * Every kernel at a real model shape: calls a second, and beside them GFLOP/s, GB/s and the share of what bounds it, measured in the same
 * process: multiply-adds from registers, or reading and copying of the kernel's own footprint, whichever allows less. Results are checked
 * against a reference in double precision before anything is timed.
 *
 * <p>{@code java -jar bench/target/benchmarks.jar KernelBenchmark -p kernel=matmulNT,adamw -p shape=SMALL}
 */
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 1, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class KernelBenchmark {
    /** Work done, for the secondary columns: billions a second, and their share of the ceiling. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Work {
        public double gigaflop;
        public double gigabyte;
        public double share;

        @Setup(Level.Iteration)
        public void clear() {
            gigaflop = 0;
            gigabyte = 0;
            share = 0;
        }
    }

    /** One kernel and its ceiling. */
    @State(Scope.Thread)
    public static class Operands {
        @Param({
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
            "adamw"
        })
        public String kernel;

        @Param("SMALL")
        public ModelShape shape;

        @Param("2048")
        public int rows;

        @Param("256")
        public int length;

        KernelState state;
        KernelCases.Case run;
        double bestSeconds;

        @Setup(Level.Trial)
        public void lay(KernelState state) {
            this.state = state;
            run = KernelCases.of(kernel, state, KernelCases.Sizes.of(shape, rows, length));
            run.verify().run();
            bestSeconds = Roofline.bestSeconds(
                    run, Ceilings.open(), state.device.info().processors());
        }
    }

    @Benchmark
    public void kernel(Operands o, Work work) {
        o.run.call().run();
        o.state.device.synchronize();
        work.gigaflop += 1e-9 * o.run.flops();
        work.gigabyte += 1e-9 * o.run.bytes();
        work.share += o.bestSeconds;
    }
}
