package subtext.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.em.EStep;
import subtext.em.LatentRecord;
import subtext.em.NeuralModel;
import subtext.em.Question;
import subtext.em.Selection;
import subtext.em.Weighting;
import subtext.generate.Generator;
import subtext.generate.Scorer;
import subtext.model.Llama;
import subtext.text.ControlTokens;
import subtext.text.Tokens;

/**
 * An E-step over random text behind random weights: contexts of three chunks, thoughts as long as a chunk, none of which stops early. Done
 * by the engine's model and, for comparison, by {@link NaiveModel} on the same weights with room of its own.
 */
final class EStepWork implements AutoCloseable {
    final int samples;
    final List<Question> questions = new ArrayList<>();
    private final EStep step;
    private final Device device;
    private final Llama llama;
    private final NeuralModel engine;
    private final NaiveModel naive;
    private final List<AutoCloseable> rooms = new ArrayList<>();
    private final Generator[] generators = new Generator[2];
    private final Scorer[] scorers = new Scorer[2];

    /**
     * @param chunk tokens of a chunk
     * @param count chunks to explain
     * @param samples K
     */
    EStepWork(ModelShape shape, int threads, int chunk, int count, int samples) {
        this.samples = samples;
        int longest = 4 * chunk + 5; // <bos> C <latent></latent> X <latent><posterior>
        device = Device.open(Backend.CPU, DeviceOptions.defaults().withThreads(threads));
        llama = Llama.open(device, shape.config(longest + chunk + 4), DType.F32, Llama.Capacity.weights());
        ModelShape.randomWeights(device, llama);
        ControlTokens control = ControlTokens.from(shape.vocabulary - 6);
        SplittableRandom random = new SplittableRandom(3);
        for (int i = 0; i < count; i++) {
            questions.add(new Question("d" + i, 3, text(random, 3 * chunk, shape), text(random, chunk, shape)));
        }
        generators[0] = room(new Generator(
                llama,
                Generator.Limits.fit(llama, longest, chunk, count, samples).scoring()));
        scorers[0] = room(new Scorer(llama, Scorer.Limits.fit(llama, 3 * chunk + 3, 2 * chunk + 1)));
        generators[1] = room(new Generator(llama, Generator.Limits.fit(llama, longest, chunk, count * samples, 1)));
        scorers[1] = room(new Scorer(llama, Scorer.Limits.fit(llama, 1, 5 * chunk + 3)));
        engine = new NeuralModel(generators[0], scorers[0], control, chunk);
        naive = new NaiveModel(generators[1], scorers[1], control, chunk);
        step = new EStep(samples, new Selection.Resample(), Weighting.JOINT, 5);
    }

    private <T extends AutoCloseable> T room(T room) {
        rooms.add(room);
        return room;
    }

    private static Tokens text(SplittableRandom random, int n, ModelShape shape) {
        return Tokens.of(random.ints(n, 0, shape.vocabulary - 6).toArray());
    }

    /** As the engine does it. */
    List<LatentRecord> engine() {
        return step.explain(engine, questions);
    }

    /** With context and chunk computed for every sample and every score. */
    List<LatentRecord> naive() {
        return step.explain(naive, questions);
    }

    /** Tokens that the engine (0) or the naive scheme (1) has put through the model so far. */
    long computed(int which) {
        return generators[which].computedTokens() + scorers[which].computedTokens();
    }

    /** @throws IllegalStateException if the two differ in a single bit */
    void verify() {
        if (!engine().equals(naive())) {
            throw new IllegalStateException("E-step: the naive scheme gives other thoughts, scores or choices");
        }
    }

    @Override
    public void close() throws Exception {
        for (AutoCloseable room : rooms.reversed()) {
            room.close();
        }
        llama.close();
        device.close();
    }
}
