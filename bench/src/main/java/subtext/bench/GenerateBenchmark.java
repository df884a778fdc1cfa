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
import subtext.bindings.DType;
import subtext.bindings.Matmul;
import subtext.generate.Generator;

/** Tokens a second drawn, sampling and log-probabilities included, and what share of memory bandwidth reading the weights takes of it. */
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 1, time = 2)
@Measurement(iterations = 5, time = 3)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class GenerateBenchmark {
    private static final int PROMPT = 16;
    private static final int TOKENS = 64;

    /** Work done, a second. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Work {
        public double tokens;
        public double shareOfBandwidth;

        @Setup(Level.Iteration)
        public void clear() {
            tokens = 0;
            shareOfBandwidth = 0;
        }
    }

    /** A model with room for some sequences. */
    @State(Scope.Thread)
    public static class Model {
        @Param("STORIES15M")
        public ModelShape shape;

        @Param("F32")
        public DType dtype;

        @Param({"1", "8", "32"})
        public int sequences;

        @Param("0")
        public int threads;

        @Param("OWN")
        public Matmul matmul;

        GenerateWork work;
        Generator generator;
        double bandwidth;

        @Setup(Level.Trial)
        public void open() {
            work = new GenerateWork(shape, dtype, matmul, threads, PROMPT + TOKENS);
            work.verify();
            generator = work.generator(sequences, PROMPT, TOKENS);
            bandwidth = Ceilings.open()
                    .read(threads == 0 ? Runtime.getRuntime().availableProcessors() : threads, Ceilings.MEMORY);
        }

        @TearDown(Level.Trial)
        public void close() {
            generator.close();
            work.close();
        }
    }

    @Benchmark
    public Object draw(Model model, Work work) {
        Object drawn = model.work.draw(model.generator, model.sequences, PROMPT, TOKENS);
        work.tokens += model.sequences * TOKENS;
        work.shareOfBandwidth += model.work.weightBytes() * 1e-9 * TOKENS / model.bandwidth;
        return drawn;
    }
}
