package subtext.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.data.Annotated;
import subtext.data.BatchLoader;
import subtext.data.Chunk;
import subtext.data.Dataset;
import subtext.data.Document;
import subtext.data.Sequence;
import subtext.data.SequenceBuilder;
import subtext.data.View;
import subtext.model.Initialisation;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.WeightPieces;
import subtext.random.Draws;
import subtext.text.ControlTokens;
import subtext.text.Tokens;

/** Training on the CPU device with a tiny model: what is promised about bits, guards and files. */
class TrainerTest {
    private static final LlamaConfig CONFIG = LlamaConfig.small(2, 16, 2, 29, 32);
    private static final AdamW.Constants ADAMW = new AdamW.Constants(0.9, 0.999, 1e-8, 0.1);

    private Device device;
    private Llama model;
    private AdamW optimizer;
    private float[] initial;

    @TempDir
    Path folder;

    @BeforeEach
    void open() {
        device = Device.open(Backend.CPU);
        model = Llama.open(device, CONFIG, DType.F32, Llama.Capacity.training(256, 256));
        optimizer = new AdamW(model);
        initial = Initialisation.weights(model.table(), 3);
    }

    @AfterEach
    void close() {
        optimizer.close();
        model.close();
        device.close();
    }

    private static TrainPlan plan(int steps, int micro) {
        return new TrainPlan(steps, 128, micro, new Schedule.Cosine(1e-2, 3, steps, 0), ADAMW, 1, 0, 5, 2);
    }

    private static BatchLoader loader() {
        Draws draws = new Draws(7);
        List<Annotated> documents = new ArrayList<>();
        for (int d = 0; d < 40; d++) {
            int[] ids = new int[4 + draws.below(40)];
            Arrays.setAll(ids, i -> (int) ((i * 5 + draws.below(3)) % 23));
            documents.add(Annotated.with(
                    new Document("d" + d, List.of(new Chunk(Tokens.of(ids), true))),
                    List.of(Tokens.of(draws.below(23)))));
        }
        return new BatchLoader(
                Dataset.shuffled(documents, new SequenceBuilder(ControlTokens.from(23), 1, 0.5), 2),
                CONFIG.context(),
                128);
    }

    /** The batch ahead is loaded by another thread; what is wrong with its data is said as it was met. */
    @Test
    void whatIsWrongWithTheDataIsThrownAsItIs() {
        List<Annotated> documents = View.of(40, d -> {
            if (d == 7) {
                throw new EngineException.CorruptFile("shard-00000.tok: damaged");
            }
            return Annotated.raw(new Document("d" + d, List.of(new Chunk(Tokens.of(1, 2, 3, 4, 5), false))));
        });
        BatchLoader damaged = new BatchLoader(
                Dataset.shuffled(documents, new SequenceBuilder(ControlTokens.from(23), 1, 0.5), 2),
                CONFIG.context(),
                128);
        assertThatThrownBy(() -> new Trainer(model, optimizer)
                        .train(plan(30, 128), damaged, WeightPieces.of(initial), folder, Optional.empty(), event -> {}))
                .isExactlyInstanceOf(EngineException.CorruptFile.class)
                .hasMessage("shard-00000.tok: damaged");
    }

    /** What came out, with the weights. */
    private record Trained(TrainState state, float[] weights) {}

    private Trained train(TrainPlan plan, Path where, java.util.function.Consumer<TrainEvent> listener)
            throws IOException {
        Trainer.Result result = new Trainer(model, optimizer)
                .train(plan, loader(), WeightPieces.of(initial), where, Optional.empty(), listener);
        return new Trained(result.state(), weights());
    }

    private float[] weights() {
        return optimizer.weights(0, initial.length).clone();
    }

    /** AdamW over the flat ranges against the formula in double precision: ten updates, relative error of f32 arithmetic. */
    @Test
    void updatesFollowTheFormula() throws IOException {
        optimizer.start(WeightPieces.of(initial));
        int n = initial.length;
        double[] w = new double[n];
        double[] m = new double[n];
        double[] v = new double[n];
        Arrays.setAll(w, i -> initial[i]);
        Draws draws = new Draws(19);
        for (int t = 1; t <= 10; t++) {
            float[] g = new float[n];
            for (int i = 0; i < n; i++) {
                g[i] = (float) draws.normal();
            }
            device.upload(model.gradients().flat(), g);
            double squares = 0;
            for (float x : g) {
                squares += (double) x * x;
            }
            assertThat(optimizer.gradientNorm()).isCloseTo(Math.sqrt(squares), within(1e-6 * Math.sqrt(squares)));
            double scale = 0.5;
            double lr = 1e-2 / t;
            optimizer.update(scale, lr, ADAMW, t);
            for (int i = 0; i < n; i++) {
                double gi = scale * g[i];
                m[i] = 0.9 * m[i] + 0.1 * gi;
                v[i] = 0.999 * v[i] + 0.001 * gi * gi;
                double decay = i < model.table().decayed() ? ADAMW.decay() : 0;
                w[i] -= lr
                        * (m[i] / (1 - Math.pow(0.9, t)) / (Math.sqrt(v[i] / (1 - Math.pow(0.999, t))) + 1e-8)
                                + decay * w[i]);
            }
        }
        float[] found = weights();
        for (int i = 0; i < n; i++) {
            // each of ten updates of at most 1e-2 is rounded a few times at 6e-8 relative, and the weight itself once
            // per update
            assertThat((double) found[i]).as("weight %d", i).isCloseTo(w[i], within(2e-6 + 1e-6 * Math.abs(w[i])));
        }
    }

    @Test
    void lossFallsAndTheSameRunGivesTheSameBits() throws IOException {
        List<Double> losses = new ArrayList<>();
        Trained first = train(plan(60, 128), folder.resolve("a"), event -> {
            if (event instanceof TrainEvent.Step step) {
                losses.add(step.loss());
            }
        });
        assertThat(losses.getLast()).isLessThan(losses.getFirst() - 1);
        assertThat(first.state().loss())
                .isCloseTo(
                        losses.subList(54, 60).stream()
                                .mapToDouble(x -> x)
                                .average()
                                .orElseThrow(),
                        within(1e-12));
        Trained second = train(plan(60, 128), folder.resolve("b"), event -> {});
        assertThat(second.weights()).isEqualTo(first.weights());
    }

    /**
     * Two thousand steps: the device allocates in the first and in none after it, and what a step leaves to Java's collector is the same few
     * objects in the last hundreds as in the first.
     */
    @Test
    void twoThousandStepsAllocateNothingAfterTheFirst() throws IOException {
        var threads = (com.sun.management.ThreadMXBean) java.lang.management.ManagementFactory.getThreadMXBean();
        int count = 2000;
        TrainPlan plan = new TrainPlan(count, 128, 48, new Schedule.Constant(1e-3, 3), ADAMW, 1, 0, 0, 2);
        long[] allocations = new long[count + 1];
        long[] heap = new long[count + 1];
        train(plan, folder.resolve("long"), event -> {
            if (event instanceof TrainEvent.Step step) {
                allocations[step.step()] = device.allocations();
                heap[step.step()] = threads.getCurrentThreadAllocatedBytes();
            }
        });
        assertThat(Arrays.stream(allocations).skip(1).distinct()).hasSize(1);
        long early = (heap[600] - heap[100]) / 500;
        long late = (heap[count] - heap[count - 500]) / 500;
        System.out.printf("bytes of Java's heap a step: %d early, %d late%n", early, late);
        // three micro-batches of rows, positions, targets and weights for 128 tokens, some 20 bytes each, and their
        // small objects
        assertThat(late).isBetween(1L, 64L << 10);
        assertThat((double) late).isCloseTo(early, within(0.1 * early));
    }

    /** Killed after any step, between checkpoints or at one, and run again: the same weights as unbroken. */
    @Test
    void resumingAnywhereGivesTheSameBits() throws IOException {
        float[] unbroken =
                train(plan(17, 128), folder.resolve("whole"), event -> {}).weights();
        for (int kill : new int[] {1, 4, 5, 6, 10, 13, 16, 17}) {
            Path where = folder.resolve("killed-" + kill);
            assertThatThrownBy(() -> train(plan(17, 128), where, event -> {
                        if (event instanceof TrainEvent.Step step && step.step() == kill) {
                            throw new Killed();
                        }
                    }))
                    .isInstanceOf(Killed.class);
            List<Integer> resumed = new ArrayList<>();
            float[] weights = train(plan(17, 128), where, event -> {
                        if (event instanceof TrainEvent.Resumed r) {
                            resumed.add(r.step());
                        }
                    })
                    .weights();
            assertThat(weights).as("killed after step %d", kill).isEqualTo(unbroken);
            assertThat(resumed).isEqualTo(kill <= 5 ? List.of() : List.of((kill - 1) / 5 * 5));
        }
    }

    /** Micro-batches change the order of summation and nothing else: one step agrees within the rounding of f32 sums. */
    @Test
    void accumulationIsOneBatch() throws IOException {
        TrainPlan one = plan(1, 128);
        float[] whole = train(one, folder.resolve("a"), event -> {}).weights();
        float[] parts = train(plan(1, 40), folder.resolve("b"), event -> {}).weights();
        double rate = one.schedule().at(0);
        int far = 0;
        for (int i = 0; i < whole.length; i++) {
            // Adam's first step is the sign of the gradient: where that is rounding noise the signs may differ, which
            // is rare
            far += Math.abs(whole[i] - parts[i]) > 1e-3 * rate ? 1 : 0;
        }
        assertThat(far).isLessThan(whole.length / 100);
    }

    @Test
    void damagedCheckpointsArePassedOver() throws IOException {
        float[] unbroken =
                train(plan(17, 128), folder.resolve("whole"), event -> {}).weights();
        Path where = folder.resolve("damaged");
        assertThatThrownBy(() -> train(plan(17, 128), where, event -> {
                    if (event instanceof TrainEvent.Step step && step.step() == 12) {
                        throw new Killed();
                    }
                }))
                .isInstanceOf(Killed.class);
        assertThat(where.toFile().list()).containsExactlyInAnyOrder("step-000005", "step-000010");
        for (String name : List.of("optimizer.safetensors", "state.json")) {
            Path file = where.resolve("step-000010").resolve(name);
            byte[] bytes = Files.readAllBytes(file);
            bytes[bytes.length / 2] ^= 4;
            Files.write(file, bytes);
            assertThatThrownBy(() -> Checkpoint.verify(where.resolve("step-000010")))
                    .isInstanceOf(EngineException.CorruptFile.class)
                    .hasMessageContaining(name);
            bytes[bytes.length / 2] ^= 4;
            Files.write(file, bytes);
        }
        Path file = where.resolve("step-000010").resolve("optimizer.safetensors");
        byte[] bytes = Files.readAllBytes(file);
        Files.write(file, Arrays.copyOf(bytes, bytes.length - 1));
        List<TrainEvent> said = new ArrayList<>();
        float[] weights = train(plan(17, 128), where, said::add).weights();
        assertThat(said.get(0))
                .isInstanceOfSatisfying(
                        TrainEvent.Notice.class,
                        notice -> assertThat(notice.line())
                                .contains("step-000010")
                                .contains("checkpoint before it"));
        assertThat(said.get(1)).isEqualTo(new TrainEvent.Resumed(5));
        assertThat(weights).isEqualTo(unbroken);
    }

    /** Half-written folders are neither read nor kept. */
    @Test
    void unfinishedCheckpointsDoNotCount() throws IOException {
        Path where = folder.resolve("run");
        float[] unbroken = train(plan(10, 128), where, event -> {}).weights();
        Files.delete(where.resolve("step-000010").resolve("COMPLETE"));
        Files.createDirectories(where.resolve(".step-000015.part"));
        List<TrainEvent> said = new ArrayList<>();
        assertThat(train(plan(10, 128), where, said::add).weights()).isEqualTo(unbroken);
        assertThat(said).contains(new TrainEvent.Resumed(5));
        assertThat(where.toFile().list()).containsExactlyInAnyOrder("step-000005", "step-000010");
    }

    @Test
    void brokenNumbersStopBeforeTheUpdate() throws IOException {
        float[] broken = initial.clone();
        broken[(int) model.table().entry("layers.0.attention.qkv").offset()] = Float.NaN;
        assertThatThrownBy(() -> new Trainer(model, optimizer)
                        .train(
                                plan(3, 128),
                                loader(),
                                WeightPieces.of(broken),
                                folder.resolve("nan"),
                                Optional.empty(),
                                event -> {}))
                .isInstanceOf(EngineException.NonFinite.class)
                .hasMessageContaining("step 1")
                .hasMessageContaining("learningRate");
        assertThat(weights()).isEqualTo(broken);
    }

    /** A guard of hardly more than the mean norm must leave some steps out, and those leave the weights alone. */
    @Test
    void spikesAreLeftOut() throws IOException {
        TrainPlan guarded = new TrainPlan(60, 128, 128, new Schedule.Constant(1e-2, 3), ADAMW, 1, 1.05, 0, 2);
        List<TrainEvent.Step> steps = new ArrayList<>();
        Trained result = train(guarded, folder.resolve("spikes"), event -> {
            if (event instanceof TrainEvent.Step step) {
                steps.add(step);
            }
        });
        long skipped = steps.stream().filter(TrainEvent.Step::skipped).count();
        assertThat(skipped).isPositive();
        assertThat(result.state().updates()).isEqualTo(60 - (int) skipped);
    }

    /** Overfitting forty documents: the development loss turns, and the weights of its lowest point come back, resumed or not. */
    @Test
    void earlyStoppingGivesTheBestWeights() throws IOException {
        List<Sequence> development = List.of(new Sequence(Tokens.of(23, 4, 9, 14, 19, 1, 6, 24), ones(8)));
        EarlyStopping stopping = new EarlyStopping(development, 4, 3);
        TrainPlan plan = plan(80, 128);
        List<TrainEvent.Development> measured = new ArrayList<>();
        Trainer.Result whole = new Trainer(model, optimizer)
                .train(plan, loader(), WeightPieces.of(initial), folder.resolve("a"), Optional.of(stopping), event -> {
                    if (event instanceof TrainEvent.Development d) {
                        measured.add(d);
                    }
                });
        double lowest = measured.stream()
                .mapToDouble(TrainEvent.Development::loss)
                .min()
                .orElseThrow();
        assertThat(whole.state().bestLoss()).isEqualTo(lowest);
        float[] best = weights();
        assertThat(new Trainer(model, optimizer).loss(development, 64)).isEqualTo(lowest);
        Path where = folder.resolve("b");
        assertThatThrownBy(() -> new Trainer(model, optimizer)
                        .train(plan, loader(), WeightPieces.of(initial), where, Optional.of(stopping), event -> {
                            if (event instanceof TrainEvent.Development d && d.step() == 12) {
                                throw new Killed();
                            }
                        }))
                .isInstanceOf(Killed.class);
        Trainer.Result resumed = new Trainer(model, optimizer)
                .train(plan, loader(), WeightPieces.of(initial), where, Optional.of(stopping), event -> {});
        assertThat(weights()).isEqualTo(best);
        assertThat(resumed.chosenStep()).isEqualTo(whole.chosenStep());
        // the lowest loss was found again and again, and only what the two checkpoints name is kept
        assertThat(measured.stream().filter(TrainEvent.Development::best)).hasSizeGreaterThan(2);
        for (Path each : List.of(folder.resolve("a"), where)) {
            assertThat(each.toFile().list((in, name) -> name.startsWith("best-")))
                    .hasSizeBetween(1, 2)
                    .contains(String.format("best-%06d", whole.chosenStep()));
        }
    }

    private static float[] ones(int n) {
        float[] ones = new float[n];
        Arrays.fill(ones, 1);
        return ones;
    }

    private static final class Killed extends RuntimeException {
        private static final long serialVersionUID = 1L;
    }
}
