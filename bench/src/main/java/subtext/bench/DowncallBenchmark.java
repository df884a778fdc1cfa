package subtext.bench;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import subtext.bindings.Tensor;

/**
 * What the way from Java to a kernel and back costs: nanoseconds of a call with nothing to do, of one that keeps one thread busy for a
 * moment, and of waking the others.
 */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class DowncallBenchmark {
    /** Operands of no, one and many rows. */
    @State(Scope.Thread)
    public static class Operands {
        KernelState state;
        Tensor none;
        Tensor one;
        Tensor many;

        @Setup(Level.Trial)
        public void lay(KernelState state) {
            this.state = state;
            many = state.normal("many", 4096, 64);
            one = many.rows(0, 1);
            none = many.rows(0, 0);
            float[] before = state.device.downloadFloats(many);
            state.k.add(one, one, one);
            float[] after = state.device.downloadFloats(many);
            if (after[0] != 2 * before[0] || after[64] != before[64]) {
                throw new IllegalStateException("add: expected row 0 doubled and row 1 as it was");
            }
            state.device.zero(many); // stays finite however often it is doubled
        }
    }

    /** Checks of types and shapes, the call, the checks of sizes, the return. */
    @Benchmark
    public void nothing(Operands o) {
        o.state.k.add(o.none, o.none, o.none);
    }

    /** The same and 64 additions. */
    @Benchmark
    public void oneRow(Operands o) {
        o.state.k.add(o.one, o.one, o.one);
    }

    /** Work for all threads: 1 MiB in cache. */
    @Benchmark
    public void allThreads(Operands o) {
        o.state.k.add(o.many, o.many, o.many);
    }
}
