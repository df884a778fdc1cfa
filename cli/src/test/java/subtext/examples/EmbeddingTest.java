package subtext.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.DeviceOptions;
import subtext.em.EmEvent;
import subtext.em.EmReport;
import subtext.em.EmRun;
import subtext.em.EmSettings;
import subtext.engine.Engine;
import subtext.io.HuggingFace;
import subtext.model.Initialisation;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.run.RunConfig;
import subtext.text.BpeTokenizer;
import subtext.text.BpeTrainer;

/**
 * Subtext inside other programs: each test is an example to copy. They run with everything else, print nothing, and leave no thread
 * behind.
 */
class EmbeddingTest {
    private static final DeviceOptions TWO_THREADS = DeviceOptions.defaults().withThreads(2);

    @TempDir
    static Path folder;

    private static Path model;

    private final ByteArrayOutputStream printed = new ByteArrayOutputStream();
    private PrintStream out;
    private PrintStream err;
    private Set<Thread> threads;

    /** A small model in Hugging Face's layout, as any would do. */
    @BeforeAll
    static void writeModel() throws IOException {
        BpeTokenizer tokenizer = new BpeTrainer()
                .add("the cat sat on the mat and the rat sat on the cat")
                .train(280);
        LlamaConfig config = LlamaConfig.small(2, 32, 4, tokenizer.vocabulary(), 64);
        float[] weights = Initialisation.weights(ParameterTable.of(config), 7);
        model = folder.resolve("model");
        HuggingFace.save(model, config, tokenizer, weights, DType.F32);
    }

    @BeforeEach
    void listen() {
        out = System.out;
        err = System.err;
        PrintStream to = new PrintStream(printed, true, StandardCharsets.UTF_8);
        System.setOut(to);
        System.setErr(to);
        threads = Thread.getAllStackTraces().keySet();
    }

    @AfterEach
    void nothingWasPrintedAndNothingRuns() throws InterruptedException {
        System.setOut(out);
        System.setErr(err);
        assertThat(printed.toString(StandardCharsets.UTF_8)).isEmpty();
        for (Thread thread : Thread.getAllStackTraces().keySet()) {
            if (!threads.contains(thread) && !thread.isDaemon()) {
                thread.join(10_000);
                assertThat(thread.isAlive()).as("%s is left", thread).isFalse();
            }
        }
    }

    /** A plain program: open, continue a text, score one, close. */
    @Test
    void aPlainProgramGeneratesAndScores() throws IOException {
        try (Engine engine = Engine.open(model, Backend.CPU, TWO_THREADS, DType.F32)) {
            String continued =
                    engine.generate("the cat", engine.sampling(0.8, 12), 1).text();
            double likely = engine.logProb("the cat", " sat");

            assertThat(engine.generate("the cat", engine.sampling(0.8, 12), 1).text())
                    .isEqualTo(continued);
            assertThat(likely).isNegative().isFinite();
        }
    }

    /** A run that is watched, cancelled by its listener in the middle, and taken up again where it stopped. */
    @Test
    void anEmRunIsWatchedCancelledAndResumed() {
        RunConfig config = RunConfig.preset("smoke")
                .with("device.backend", "cpu")
                .with("baselines", "")
                .with("em.iterations", "1");
        Path run = folder.resolve("run");
        List<EmEvent> seen = new ArrayList<>();
        assertThatThrownBy(() -> EmRun.start(new EmSettings(run, false, false, config), event -> {
                    seen.add(event);
                    if (seen.size() == 5) {
                        throw new CancellationException("the user pressed stop"); // ends the run, closes its device
                    }
                }))
                .isInstanceOf(CancellationException.class);
        assertThat(seen).hasSize(5);

        EmReport report = EmRun.start(new EmSettings(run, true, false, config), seen::add);
        assertThat(seen).hasSizeGreaterThan(5);
        assertThat(report.toJson().toString()).contains("\"iterations\"");
    }

    /**
     * A server with a virtual thread for each caller and one engine for all. An engine belongs to the thread that opened it, so one
     * platform thread owns it and the callers queue their wishes there; a caller that waits holds no platform thread.
     */
    @Test
    void manyVirtualThreadsShareOneEngine() throws ExecutionException, InterruptedException {
        try (ExecutorService owner = Executors.newSingleThreadExecutor(
                Thread.ofPlatform().name("engine").factory())) {
            Engine engine = owner.submit(() -> Engine.open(model, Backend.CPU, TWO_THREADS, DType.F32))
                    .get();
            try (ExecutorService callers = Executors.newVirtualThreadPerTaskExecutor()) {
                List<Future<String>> answers = new ArrayList<>();
                for (int caller = 0; caller < 50; caller++) {
                    String prompt = caller % 2 == 0 ? "the cat" : "the rat";
                    answers.add(callers.submit(() -> owner.submit(() -> engine.generate(prompt, engine.greedy(6)))
                            .get()));
                }
                for (int caller = 0; caller < 50; caller++) {
                    assertThat(answers.get(caller).get())
                            .isEqualTo(answers.get(caller % 2).get());
                }
            } finally {
                owner.submit(engine::close).get(); // on the thread that opened it; then the pool shuts down
            }
        }
    }
}
