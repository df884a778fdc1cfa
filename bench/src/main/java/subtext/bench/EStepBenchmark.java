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

/**
 * Latents a second of an E-step, and the tokens that go through the model for them: the engine's way, and the naive one that computes
 * context and chunk for every sample and every score. Both give the same bits, which is checked first.
 */
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 1, time = 2)
@Measurement(iterations = 5, time = 3)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class EStepBenchmark {
    /** Work done, a second. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Work {
        public double latents;
        public double tokensComputed;

        @Setup(Level.Iteration)
        public void clear() {
            latents = 0;
            tokensComputed = 0;
        }
    }

    /** Model and questions. */
    @State(Scope.Thread)
    public static class Model {
        @Param("SMALL")
        public ModelShape shape;

        @Param("64")
        public int chunk;

        @Param("8")
        public int questions;

        @Param("8")
        public int samples;

        @Param("0")
        public int threads;

        EStepWork work;

        @Setup(Level.Trial)
        public void open() {
            work = new EStepWork(shape, threads, chunk, questions, samples);
            work.verify();
        }

        @TearDown(Level.Trial)
        public void close() throws Exception {
            work.close();
        }
    }

    @Benchmark
    public Object engine(Model model, Work work) {
        long before = model.work.computed(0);
        Object records = model.work.engine();
        work.latents += model.questions * model.samples;
        work.tokensComputed += model.work.computed(0) - before;
        return records;
    }

    @Benchmark
    public Object naive(Model model, Work work) {
        long before = model.work.computed(1);
        Object records = model.work.naive();
        work.latents += model.questions * model.samples;
        work.tokensComputed += model.work.computed(1) - before;
        return records;
    }
}
