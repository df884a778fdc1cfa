package subtext.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.bindings.Tensor;
import subtext.data.Annotated;
import subtext.data.BatchLoader;
import subtext.data.Chunk;
import subtext.data.Dataset;
import subtext.data.Document;
import subtext.data.Sequence;
import subtext.data.SequenceBuilder;
import subtext.model.Initialisation;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.model.WeightPieces;
import subtext.random.Draws;
import subtext.text.ControlTokens;
import subtext.text.Tokens;

/**
 * NaN, infinity and numbers that overflow, planted one at a time between two steps of a training: in every tensor of the weights, in the
 * optimizer's moments and the learning rate. The training stops before the update, says step and place, and the checkpoint before is
 * whole. Then batches that are wrong on purpose.
 */
class NonFiniteTest {
    private static final LlamaConfig CONFIG = LlamaConfig.small(2, 16, 2, 29, 32);
    private static final AdamW.Constants ADAMW = new AdamW.Constants(0.9, 0.999, 1e-8, 0.1);
    private static final int STEPS = 12;

    /** The step after which it is planted; a checkpoint of step 5 is there. */
    private static final int AFTER = 7;

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

    private static TrainPlan plan(Schedule schedule, double spike) {
        return new TrainPlan(STEPS, 128, 128, schedule, ADAMW, 1, spike, 5, 2);
    }

    private static List<Annotated> documents() {
        Draws draws = new Draws(7);
        List<Annotated> documents = new ArrayList<>();
        for (int d = 0; d < 40; d++) {
            int[] ids = new int[4 + draws.below(40)];
            Arrays.setAll(ids, i -> (int) ((i * 5 + draws.below(3)) % 23));
            documents.add(Annotated.with(
                    new Document("d" + d, List.of(new Chunk(Tokens.of(ids), true))),
                    List.of(Tokens.of(draws.below(23)))));
        }
        return documents;
    }

    private static BatchLoader loader(List<Annotated> documents) {
        return new BatchLoader(
                Dataset.shuffled(documents, new SequenceBuilder(ControlTokens.from(23), 1, 0.5), 2),
                CONFIG.context(),
                128);
    }

    private Trainer.Result train(TrainPlan plan, Path where, Consumer<TrainEvent> listener) throws IOException {
        return new Trainer(model, optimizer)
                .train(plan, loader(documents()), WeightPieces.of(initial), where, Optional.empty(), listener);
    }

    /** What is planted where. */
    record Plant(String what, ParameterTable.Slice slice, long element, float value, String named) {
        @Override
        public String toString() {
            return value + " in " + what + " of " + slice.name() + " [" + element + "]";
        }
    }

    private static final List<Float> BAD = List.of(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY);

    /** Every tensor of the weights in turn, and of the moments some, at drawn elements. */
    static Stream<Plant> plants() {
        Draws draws = new Draws(50);
        List<Plant> plants = new ArrayList<>();
        List<ParameterTable.Slice> slices = ParameterTable.of(CONFIG).slices();
        for (String what : new String[] {"weight", "first moment", "second moment"}) {
            for (ParameterTable.Slice slice : slices) {
                // any row of the embedding that the batch uses: ids are below 23
                long element = slice.name().startsWith("model.embed")
                        ? draws.below(20 * CONFIG.width())
                        : draws.below((int) slice.size());
                plants.add(new Plant(
                        what,
                        slice,
                        element,
                        BAD.get(draws.below(3)),
                        what + " of " + slice.place() + " is not finite"));
            }
        }
        return plants.stream();
    }

    private Tensor place(String what) {
        return switch (what) {
            case "weight" -> model.weights().flat();
            case "first moment" -> optimizer.moments().get(0);
            case "second moment" -> optimizer.moments().get(1);
            default -> throw new AssertionError(what);
        };
    }

    private float[] weights() {
        return optimizer.weights(0, initial.length).clone();
    }

    private void plant(Tensor flat, long at, float value) {
        device.upload(flat.rows(at, at + 1), new float[] {value});
    }

    @ParameterizedTest
    @MethodSource("plants")
    void isNamedWithItsStepAndNothingIsSaved(Plant plant) throws IOException {
        Path where = folder.resolve("run");
        float[][] before = new float[1][];
        int[] updates = {0};
        Throwable failure = catchThrowable(() -> train(plan(new Schedule.Constant(1e-3, 3), 0), where, event -> {
            if (event instanceof TrainEvent.Step step) {
                updates[0] = step.step();
                if (step.step() == AFTER) {
                    plant(place(plant.what()), plant.slice().offset() + plant.element(), plant.value());
                }
                before[0] = weights();
            }
        }));
        assertThat(failure)
                .isInstanceOf(EngineException.NonFinite.class)
                .hasMessageContaining(plant.named())
                .hasMessageContaining("the last checkpoint is " + where.resolve("step-000005"))
                .hasMessageMatching("[^\\n]*");
        // a moment does its harm in the update of the next step, and is met in the one after; an infinite second moment
        // only holds a weight
        // still, and is met when it is to be saved
        boolean still = plant.what().equals("second moment") && plant.value() > 0;
        int at = plant.what().equals("weight") ? AFTER + 1 : still ? 10 : AFTER + 2;
        assertThat(failure).hasMessageStartingWith("step " + at + ": ");
        assertThat(updates[0]).as("the last step that was taken").isEqualTo(still ? at : at - 1);
        assertThat(weights()).as("no update").isEqualTo(before[0]);
        assertWholeCheckpoint(where, 5);
    }

    private void assertWholeCheckpoint(Path where, int step) throws IOException {
        assertThat(where.toFile().list()).containsExactly("step-00000" + step);
        Held content = Held.newest(where, initial.length, line -> {
                    throw new AssertionError(line);
                })
                .orElseThrow();
        assertThat(content.state().step()).isEqualTo(step);
        for (float[] values : List.of(content.weights(), content.m(), content.v())) {
            for (float value : values) {
                assertThat(Float.isFinite(value)).isTrue();
            }
        }
    }

    /** Planted where no later step can meet it, it is met when it is to be saved. */
    @Test
    void whatIsPlantedBeforeACheckpointIsNotSaved() throws IOException {
        for (String what : new String[] {"first moment", "second moment"}) {
            Path where = folder.resolve(what);
            ParameterTable.Slice slice = model.table().slices().getLast();
            assertThatThrownBy(() -> train(plan(new Schedule.Constant(1e-3, 3), 0), where, event -> {
                        if (event instanceof TrainEvent.Step step && step.step() == STEPS - 1) {
                            plant(place(what), slice.offset(), Float.NaN);
                        }
                    }))
                    .isInstanceOf(EngineException.NonFinite.class)
                    .hasMessageStartingWith(
                            "step " + STEPS + ": " + what + " of norm is not finite; this step is not saved")
                    .hasMessageContaining("step-000010");
            assertThat(where.toFile().list()).containsExactlyInAnyOrder("step-000005", "step-000010");
        }
    }

    /** Weights that are finite and too large: the pass overflows, and the place where it does is named. */
    @Test
    void anOverflowIsNamedByItsLayer() throws IOException {
        record Large(List<String> tensors, float value, String named) {}
        List<Large> all = new ArrayList<>();
        for (int i = 0; i < CONFIG.layers(); i++) {
            String layer = "model.layers." + i + ".";
            all.add(new Large(
                    List.of(layer + "self_attn.v_proj.weight", layer + "self_attn.o_proj.weight"),
                    1e30f,
                    "output of layer " + i + ", attention"));
            all.add(new Large(
                    List.of(layer + "mlp.gate_proj.weight", layer + "mlp.up_proj.weight"),
                    1e30f,
                    "output of layer " + i + ", mlp"));
        }
        for (Large large : all) {
            Path where = folder.resolve(large.named());
            assertThatThrownBy(() -> train(plan(new Schedule.Constant(1e-3, 3), 0), where, event -> {
                        if (event instanceof TrainEvent.Step step && step.step() == AFTER) {
                            for (ParameterTable.Slice slice : model.table().slices()) {
                                if (large.tensors().contains(slice.name())) {
                                    float[] values = new float[(int) slice.size()];
                                    // not all the same, or their products with a normed row may cancel
                                    Arrays.setAll(new int[values.length], j -> {
                                        values[j] = large.value() * (1 + j % 7);
                                        return 0;
                                    });
                                    model.upload(slice.offset(), values);
                                }
                            }
                        }
                    }))
                    .as(large.toString())
                    .isInstanceOf(EngineException.NonFinite.class)
                    .hasMessageStartingWith("step " + (AFTER + 1) + ": " + large.named() + " is not finite");
            assertWholeCheckpoint(where, 5);
        }
    }

    /** The forward pass is in order and a gradient is not: the nearest to the output is the place, all below have it from there. */
    @Test
    void aGradientIsNamedByItsLayer() throws IOException {
        optimizer.start(WeightPieces.of(initial));
        List<ParameterTable.Slice> slices = model.table().slices();
        for (ParameterTable.Slice slice : slices) {
            model.zeroGradients();
            plant(model.gradients().flat(), slice.offset() + slice.size() - 1, Float.NaN);
            assertThat(optimizer.gradientNorm()).isNaN();
            assertThat(optimizer.nonFiniteState()).isEmpty();
            assertThat(optimizer.nonFiniteGradient()).contains("gradient of " + slice.place());
        }
        model.zeroGradients();
        for (ParameterTable.Slice slice : slices) {
            if (!slice.name().startsWith("lm_head")
                    && !slice.name().contains("layers.1")
                    && !slice.name().equals("model.norm.weight")) {
                plant(model.gradients().flat(), slice.offset(), Float.POSITIVE_INFINITY);
            }
        }
        assertThat(optimizer.nonFiniteGradient()).get().asString().startsWith("gradient of layer 0, ");
    }

    @Test
    void aLearningRateThatIsNotFiniteIsNamed() throws IOException {
        for (double rate : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
            assertThatThrownBy(() ->
                            train(plan(new Schedule.Constant(rate, 0), 0), folder.resolve("r" + rate), event -> {}))
                    .isInstanceOf(EngineException.NonFinite.class)
                    .hasMessageStartingWith("step 1: the learning rate (" + rate + ") is not finite")
                    .hasMessageContaining("the last checkpoint is none");
            assertThat(weights()).isEqualTo(initial);
        }
    }

    /** A rate that is finite and far too large ruins the weights, which is met one step later, and not saved. */
    @Test
    void aRuinousLearningRateSavesNothing() {
        Path where = folder.resolve("run");
        assertThatThrownBy(() -> train(plan(new Schedule.Constant(1e38, 0), 0), where, event -> {}))
                .isInstanceOf(EngineException.NonFinite.class)
                .hasMessageContaining("is not finite")
                .hasMessageContaining("the last checkpoint is none");
        assertThat(where).doesNotExist();
    }

    @Test
    void aDevelopmentLossThatIsNotFiniteStops() {
        List<Sequence> development = List.of(new Sequence(Tokens.of(23, 4, 9, 24), new float[] {1, 1, 1, 1}));
        Path where = folder.resolve("run");
        assertThatThrownBy(() -> new Trainer(model, optimizer)
                        .train(
                                plan(new Schedule.Constant(1e-3, 3), 0),
                                loader(documents()),
                                WeightPieces.of(initial),
                                where,
                                Optional.of(new EarlyStopping(development, AFTER, 3)),
                                event -> {
                                    if (event instanceof TrainEvent.Step step && step.step() == AFTER) {
                                        plant(model.weights().flat(), 4 * CONFIG.width(), Float.NaN);
                                    }
                                }))
                .isInstanceOf(EngineException.NonFinite.class)
                .hasMessageStartingWith(
                        "step " + AFTER + ": the development loss is NaN: weight of embed_tokens is not finite");
    }

    /** A checkpoint whose digests are right and whose numbers are not is passed over for the one before it. */
    @Test
    void aCheckpointWithANumberThatIsNotFiniteIsPassedOver() throws IOException {
        Path where = folder.resolve("run");
        train(plan(new Schedule.Constant(1e-3, 3), 0), where, event -> {});
        Held good = Held.newest(where, initial.length, line -> {}).orElseThrow();
        assertThat(good.state().step()).isEqualTo(12);
        for (int which = 0; which < 3; which++) {
            List<float[]> values =
                    List.of(good.weights().clone(), good.m().clone(), good.v().clone());
            values.get(which)[97] = Float.NaN;
            Checkpoint.write(where, new Held(good.state(), values.get(0), values.get(1), values.get(2)).content(), 2);
            List<String> said = new ArrayList<>();
            assertThat(Held.newest(where, initial.length, said::add)
                            .orElseThrow()
                            .state()
                            .step())
                    .isEqualTo(10);
            assertThat(said)
                    .singleElement()
                    .asString()
                    .contains("step-000012", List.of("weights", "m", "v").get(which) + " holds NaN at element 97")
                    .contains("going on from the checkpoint before it");
        }
    }

    // ---- batches that are wrong on purpose

    /** Twenty-one kinds of poison: factors of the loss, and texts of one token, of two, or of noise. */
    static Stream<String> poisons() {
        return Stream.of(
                        "weight NaN, weight Infinity, weight -Infinity, weight 3e38, weight -3e38, weight 1e30, weight -1e30",
                        "weight 1e10, weight -1e10, weight 1e6, weight -1e6, weight -1, weight 0, weight 1e-38",
                        "token 0, token 22, token 11, alternating, noise 1, noise 2, noise 3")
                .flatMap(line -> Stream.of(line.split(", ")));
    }

    /** A text that fills more than one batch, with a thought of the same kind. */
    private static Annotated poisoned(String kind) {
        Draws draws = new Draws(kind.hashCode());
        int[] ids = new int[300];
        Arrays.setAll(
                ids,
                i -> kind.startsWith("token ")
                        ? Integer.parseInt(kind.substring(6))
                        : kind.equals("alternating") ? i % 2 * 22 : draws.below(23));
        float weight = kind.startsWith("weight ") ? Float.parseFloat(kind.substring(7)) : 1;
        return new Annotated(
                new Document(kind, List.of(new Chunk(Tokens.of(ids), true))),
                List.of(Optional.of(new Annotated.Thought(Tokens.of(ids[0], ids[1]), weight))));
    }

    /**
     * In the middle of a training come two to three batches of poison. Either the step is refused by name, or the guard leaves steps out, or
     * they are clipped like others; where the training goes on, the loss is back where it was.
     */
    @ParameterizedTest
    @MethodSource("poisons")
    void aPoisonedBatchIsRefusedOrLeftOutOrOvercome(String poison) throws IOException {
        SequenceBuilder builder = new SequenceBuilder(ControlTokens.from(23), 1, 0.5);
        // every 150th example is the poison: the first comes after some thirty steps
        Dataset mixed = new Dataset.Mixture(
                Dataset.shuffled(documents(), builder, 2),
                Dataset.shuffled(List.of(poisoned(poison)), builder, 3),
                1 / 150.0);
        List<TrainEvent.Step> steps = new ArrayList<>();
        Throwable failure = catchThrowable(() -> new Trainer(model, optimizer)
                .train(
                        new TrainPlan(55, 128, 128, new Schedule.Constant(5e-3, 3), ADAMW, 1, 20, 10, 2),
                        new BatchLoader(mixed, CONFIG.context(), 128),
                        WeightPieces.of(initial),
                        folder.resolve("run"),
                        Optional.empty(),
                        event -> {
                            if (event instanceof TrainEvent.Step step) {
                                steps.add(step);
                            }
                        }));
        double before = loss(steps.subList(15, 25));
        double worst =
                steps.stream().skip(25).mapToDouble(TrainEvent.Step::loss).max().orElseThrow();
        long skipped = steps.stream().filter(TrainEvent.Step::skipped).count();
        String outcome;
        if (failure != null) {
            assertThat(failure)
                    .isInstanceOf(EngineException.NonFinite.class)
                    .hasMessageMatching(
                            "step \\d+: the sum of the loss's weights .*is not finite.*the last checkpoint is .*step-0000[23]0.*");
            outcome = "refused: " + failure.getMessage().replaceFirst("; .*", "");
        } else {
            assertThat(steps).hasSize(55);
            double after = loss(steps.subList(45, 55));
            assertThat(after)
                    .as("loss, %.2f before, %.2f at worst", before, worst)
                    .isLessThan(before);
            outcome = "%d steps left out, loss %.2f, at worst %.2f, then %.2f".formatted(skipped, before, worst, after);
        }
        System.out.println(poison + ": " + outcome);
        for (float weight : weights()) {
            assertThat(Float.isFinite(weight)).isTrue();
        }
    }

    private static double loss(List<TrainEvent.Step> steps) {
        return steps.stream().mapToDouble(TrainEvent.Step::loss).average().orElseThrow();
    }
}
