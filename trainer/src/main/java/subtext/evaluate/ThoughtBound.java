package subtext.evaluate;

import java.util.List;
import java.util.stream.IntStream;
import subtext.bindings.EngineException;
import subtext.em.EStep;
import subtext.em.LatentRecord;
import subtext.em.LogWeights;
import subtext.em.NeuralModel;
import subtext.em.Question;
import subtext.em.ScoredSample;
import subtext.em.Selection;
import subtext.em.Weighting;
import subtext.engine.Engine;
import subtext.generate.Generator;
import subtext.generate.Scorer;
import subtext.text.Tokens;

/**
 * What a text is worth to an open model that thinks: ELBO_K of a text behind a prompt, by an E-step over it. K thoughts z are drawn from
 * q(z | x, prompt) and weighed by p(z, x | prompt) / q; the log of their mean weight is, in mean, a lower bound on log p(x | prompt) that
 * tightens with K. Burda et al. 2016. Confined to the engine's thread.
 */
public final class ThoughtBound implements AutoCloseable {
    /** Markers of the longer prompt, the posterior one, less the position that the last drawn token does not take. */
    private static final int MARKERS = 4;

    private final Engine engine;
    private final EStep step;
    private final int maxThought;
    private final Scorer unused;
    private Generator generator;
    private int generatorQuestions;

    /**
     * A text's thoughts and its bound.
     *
     * @param question prompt and text as ids
     * @param record the K thoughts, log q, log p(z) and log p(x | z) of each, and the one that an E-step would choose
     */
    public record Bound(Question question, LatentRecord record) {
        /**
         * {@return the K log weights, nats} A thought cut off at the limit counts as the thought of just its tokens.
         */
        public LogWeights weights() {
            return LogWeights.of(record.samples().stream()
                    .mapToDouble(ScoredSample::logBoundWeight)
                    .toArray());
        }
    }

    /**
     * Bounds by an open model, which stays with the caller and must outlive this.
     *
     * @param engine a model that may think
     * @param samples K, 1 or more
     * @param maxThought most tokens of a thought, {@code </latent>} included, 1 or more
     * @param key key of the E-step: its draw k depends on (key, document, chunk, k)
     * @throws EngineException.InvalidInput if the tokenizer lacks control tokens
     * @throws EngineException.InvalidConfig if a number is below 1
     */
    public ThoughtBound(Engine engine, int samples, int maxThought, long key) {
        engine.requireThoughts();
        if (samples < 1 || maxThought < 1) {
            throw new EngineException.InvalidConfig(
                    "samples, maxThought: expected 1 or more, got " + samples + ", " + maxThought);
        }
        this.engine = engine;
        this.step = new EStep(samples, new Selection.Resample(), Weighting.JOINT, key);
        this.maxThought = maxThought;
        // the generator scores behind the prompts it holds; what a model of thoughts asks of a scorer alone is not
        // asked here
        this.unused = new Scorer(engine.llama(), new Scorer.Limits(1, 2, 1));
    }

    /**
     * The question that a prompt and a text make: tokenised apart, as the chunks of a document are.
     *
     * @param prompt the context; an empty one is the beginning of a text
     * @param text x
     * @return the question, under a name that is the same for all: equal texts get equal thoughts
     * @throws EngineException.InvalidInput if the text has no token, or the two with a thought exceed the model's context
     */
    public Question question(String prompt, String text) {
        Tokens context = engine.tokenizer().encode(prompt);
        Tokens x = prompt.isEmpty()
                ? engine.tokenizer().encode(text)
                : engine.tokenizer().encodeContinuation(text);
        if (x.isEmpty()) {
            throw new EngineException.InvalidInput("the text has no token: nothing to score");
        }
        Question question = new Question("text", 0, context, x);
        int positions = engine.llama().config().context();
        if (positions(question) > positions) {
            throw new EngineException.InvalidInput("a prompt of " + context.size() + " tokens, a text of " + x.size()
                    + ", thoughts of " + maxThought + " and " + MARKERS + " markers exceed the model's context of "
                    + positions);
        }
        return question;
    }

    /**
     * {@return a bound for each question, in their order: what an E-step of this key says of it, whatever the others are}
     *
     * @param questions any number; all thoughts are held in memory. Of any origin: each must fit the model's context with a thought
     * @throws EngineException.NonFinite if a log-probability is not finite
     */
    public List<Bound> of(List<Question> questions) {
        if (questions.isEmpty()) {
            return List.of();
        }
        NeuralModel model =
                new NeuralModel(generator(questions), unused, engine.tokenizer().controls(), maxThought);
        List<LatentRecord> records = step.explain(model, questions);
        return IntStream.range(0, questions.size())
                .mapToObj(i -> new Bound(questions.get(i), records.get(i)))
                .toList();
    }

    /** With room for the longest; made anew when more or longer ones come. */
    private Generator generator(List<Question> questions) {
        int room = questions.stream().mapToInt(this::positions).max().orElseThrow();
        if (generator == null || generator.limits().capacity() < room || generatorQuestions < questions.size()) {
            room = Math.max(room, Math.min(2 * room, engine.llama().config().context()));
            if (generator != null) {
                room = Math.max(room, generator.limits().capacity());
                generator.close();
                generator = null;
            }
            generatorQuestions = Math.max(generatorQuestions, questions.size());
            generator = new Generator(
                    engine.llama(),
                    Generator.Limits.fit(engine.llama(), room, room, generatorQuestions, step.samples())
                            .scoring());
        }
        return generator;
    }

    private int positions(Question question) {
        return MARKERS + question.context().size() + question.text().size() + maxThought;
    }

    /** Frees what it took beside the model. Closing twice does nothing. */
    @Override
    public void close() {
        unused.close();
        if (generator != null) {
            generator.close();
        }
    }
}
