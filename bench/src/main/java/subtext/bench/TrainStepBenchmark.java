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
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import subtext.bindings.Matmul;

/** Tokens a second of the trainer's step, its GFLOP/s, and their share of multiply-adds from registers in the same process. */
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 1, time = 2)
@Measurement(iterations = 5, time = 3)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class TrainStepBenchmark {
    /** Work done, a second. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Work {
        public double tokens;
        public double gigaflop;
        public double share;

        @Setup(Level.Iteration)
        public void clear() {
            tokens = 0;
            gigaflop = 0;
            share = 0;
        }
    }

    /** A model and a batch. */
    @State(Scope.Thread)
    public static class Model {
        @Param("TINY")
        public ModelShape shape;

        @Param("64")
        public int sequences;

        @Param("128")
        public int length;

        @Param("0")
        public int threads;

        @Param("OWN")
        public Matmul matmul;

        TrainWork train;
        double ceiling;

        @Setup(Level.Trial)
        public void open() {
            train = new TrainWork(shape.config(length), matmul, threads, sequences, length);
            train.verify();
            ceiling = Ceilings.open().fma(threads == 0 ? Runtime.getRuntime().availableProcessors() : threads);
        }

        @TearDown(Level.Trial)
        public void close() {
            train.close();
        }
    }

    @Benchmark
    public double step(Model model, Work work) {
        double loss = model.train.step();
        work.tokens += model.train.rows();
        work.gigaflop += model.train.flops() * 1e-9;
        work.share += model.train.flops() * 1e-9 / model.ceiling;
        return loss;
    }
}
