package subtext.em;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.OptionalDouble;
import java.util.stream.IntStream;
import subtext.bindings.EngineException;
import subtext.data.SequenceBuilder;
import subtext.evaluate.Completer;
import subtext.generate.Generator;
import subtext.generate.Prompt;
import subtext.generate.Sample;
import subtext.generate.Sampling;
import subtext.generate.Score;
import subtext.generate.Scorer;
import subtext.random.Philox;
import subtext.text.ControlTokens;
import subtext.text.Tokens;

/**
 * The network as a model of thoughts: one set of weights, and the markers choose the role. The prompt of the posterior is
 * {@code <bos> C <latent></latent> X <latent><posterior>}; the joint is scored on {@code <bos> C <latent><prior> z </latent> X}. What was
 * drawn is scored as the same token ids.
 */
public final class NeuralModel implements LatentModel, Completer {
    private final Generator generator;
    private final Scorer scorer;
    private final ControlTokens control;
    private final SequenceBuilder grammar;
    private final int maxThought;

    /**
     * A model that draws by one and scores by the other; both stay with the caller.
     *
     * @param generator of a model
     * @param scorer of the same model
     * @param control ids of the markers
     * @param maxThought most tokens of a thought, closing marker included
     */
    public NeuralModel(Generator generator, Scorer scorer, ControlTokens control, int maxThought) {
        this.generator = generator;
        this.scorer = scorer;
        this.control = control;
        this.grammar = new SequenceBuilder(control, 0, 0.5);
        this.maxThought = maxThought;
    }

    /** Most tokens of a thought, closing marker included. */
    int maxThought() {
        return maxThought;
    }

    @Override
    public List<List<Sample>> drawPosterior(List<Question> questions, int samples, long key) {
        List<List<Sample>> drawn =
                generator.draw(prompts(questions, samples, key), Sampling.exact(control.endLatent(), maxThought));
        for (int i = 0; i < questions.size(); i++) {
            for (int k = 0; k < samples; k++) {
                requireFinite("log q", drawn.get(i).get(k).logQ(), k, questions.get(i));
            }
        }
        return drawn;
    }

    private List<Prompt> prompts(List<Question> questions, int samples, long key) {
        List<Prompt> prompts = new ArrayList<>();
        for (Question question : questions) {
            prompts.add(new Prompt(
                    grammar.posteriorPrompt(question.context(), question.text()), keys(question, samples, key)));
        }
        return prompts;
    }

    private static long[] keys(Question question, int samples, long key) {
        long[] keys = new long[samples];
        for (int k = 0; k < samples; k++) {
            keys[k] = Philox.key(Philox.key(key, question.document()), question.chunk(), k);
        }
        return keys;
    }

    /** The prompt of the posterior and the string that is scored begin with the same context: it is computed once. */
    @Override
    public List<Explained> explain(List<Question> questions, int samples, long key) {
        if (generator.limits().scored() == 0) {
            return LatentModel.super.explain(questions, samples, key);
        }
        List<Generator.Scored> scored = generator.drawAndScore(
                prompts(questions, samples, key),
                Sampling.exact(control.endLatent(), maxThought),
                (i, drawn) -> request(
                        questions.get(i),
                        drawn.stream().map(LatentModel::thought).toList()));
        List<Explained> explained = new ArrayList<>();
        for (int i = 0; i < questions.size(); i++) {
            Generator.Scored one = scored.get(i);
            List<JointScore> joint =
                    joint(one.samples().stream().map(LatentModel::thought).toList(), one.scores());
            for (int k = 0; k < samples; k++) {
                requireFinite("log q", one.samples().get(k).logQ(), k, questions.get(i));
                requireFinite("log p", joint.get(k).logJoint(), k, questions.get(i));
            }
            explained.add(new Explained(one.samples(), joint));
        }
        return explained;
    }

    /** A weight of a number that is not finite would choose any thought, or none. */
    private void requireFinite(String what, double logProb, int k, Question question) {
        if (!Double.isFinite(logProb)) {
            throw new EngineException.NonFinite(
                    what + " of thought " + k + " of chunk " + question.chunk() + " of document "
                            + question.document() + " is " + logProb
                            + generator
                                    .nonFiniteWeight()
                                    .map(place -> ": weight of " + place + " is not finite")
                                    .orElse(": the model's weights are finite, its logits are not")
                            + "; nothing of this part is saved");
        }
    }

    @Override
    public boolean usable(Tokens thought) {
        for (int i = 0; i < thought.size(); i++) {
            for (int marker : control.ids()) {
                if (thought.at(i) == marker) {
                    return false;
                }
            }
        }
        return true;
    }

    @Override
    public List<List<JointScore>> score(List<Question> questions, List<List<Tokens>> latents) {
        List<Scorer.Request> requests = new ArrayList<>();
        for (int i = 0; i < questions.size(); i++) {
            requests.add(request(questions.get(i), latents.get(i)));
        }
        List<List<Score>> scored = scorer.score(requests);
        List<List<JointScore>> joint = new ArrayList<>();
        for (int i = 0; i < questions.size(); i++) {
            joint.add(joint(latents.get(i), scored.get(i)));
            for (int k = 0; k < latents.get(i).size(); k++) {
                requireFinite("log p", joint.get(i).get(k).logJoint(), k, questions.get(i));
            }
        }
        return joint;
    }

    /** The joint strings of a question with some thoughts. */
    private Scorer.Request request(Question question, List<Tokens> thoughts) {
        Tokens rest = Tokens.concat(Tokens.of(control.endLatent()), question.text());
        return new Scorer.Request(
                grammar.priorPrompt(question.context()),
                thoughts.stream().map(thought -> Tokens.concat(thought, rest)).toList());
    }

    /** Scores of joint strings, parted into those of thought and text. */
    private static List<JointScore> joint(List<Tokens> thoughts, List<Score> scores) {
        List<JointScore> joint = new ArrayList<>();
        for (int k = 0; k < thoughts.size(); k++) {
            Score score = scores.get(k);
            int border = thoughts.get(k).size() + 1; // the thought and its closing marker, then the text
            joint.add(new JointScore(score.sum(0, border), score.sum(border, score.logProbs().length)));
        }
        return joint;
    }

    /**
     * The largest difference, in nats, between what the sampler said of a draw and what the scorer says of the same tokens behind the same
     * prompt. Not zero means that weights compare two different models.
     */
    double largestMismatch(List<Question> questions, List<LatentRecord> records) {
        List<Scorer.Request> requests = new ArrayList<>();
        for (int i = 0; i < questions.size(); i++) {
            requests.add(new Scorer.Request(
                    grammar.posteriorPrompt(
                            questions.get(i).context(), questions.get(i).text()),
                    records.get(i).samples().stream()
                            .map(sample -> sample.closed()
                                    ? Tokens.concat(sample.thought(), Tokens.of(control.endLatent()))
                                    : sample.thought())
                            .toList()));
        }
        List<List<Score>> scores = scorer.score(requests);
        double largest = 0;
        for (int i = 0; i < records.size(); i++) {
            for (int k = 0; k < records.get(i).samples().size(); k++) {
                ScoredSample sample = records.get(i).samples().get(k);
                largest = Math.max(largest, Math.abs(scores.get(i).get(k).sum() - sample.logQ()));
            }
        }
        return largest;
    }

    /**
     * {@return log p(x | context) of each question without any thought, nats} For a model trained on raw text: of {@code <bos> C X}, the
     * tokens of X.
     *
     * @param questions any number; each must fit the model's context
     */
    public double[] rawLogLikelihood(List<Question> questions) {
        return scorer
                .score(questions.stream()
                        .map(question -> Scorer.Request.of(
                                Tokens.concat(Tokens.of(control.bos()), question.context()), question.text()))
                        .toList())
                .stream()
                .mapToDouble(scores -> scores.getFirst().sum())
                .toArray();
    }

    /**
     * log of the mean over thoughts z drawn from p(z | context) of p(x | z, context): what x is worth to the model that has not seen it. Only
     * finished thoughts count; empty where there is none.
     *
     * @param key draw k of a question depends on (key, document, chunk, k)
     */
    List<OptionalDouble> priorLogLikelihood(List<Question> questions, int samples, long key) {
        List<Prompt> prompts = new ArrayList<>();
        for (Question question : questions) {
            prompts.add(new Prompt(grammar.priorPrompt(question.context()), keys(question, samples, key)));
        }
        List<List<Sample>> drawn = generator.draw(prompts, Sampling.exact(control.endLatent(), maxThought));
        List<List<Tokens>> thoughts = drawn.stream()
                .map(samplesOf -> samplesOf.stream()
                        .filter(Sample::finished)
                        .map(LatentModel::thought)
                        .filter(this::usable)
                        .toList())
                .toList();
        List<Integer> some = IntStream.range(0, questions.size())
                .filter(i -> !thoughts.get(i).isEmpty())
                .boxed()
                .toList();
        List<List<JointScore>> scores = score(
                some.stream().map(questions::get).toList(),
                some.stream().map(thoughts::get).toList());
        List<OptionalDouble> all = new ArrayList<>(Collections.nCopies(questions.size(), OptionalDouble.empty()));
        for (int j = 0; j < some.size(); j++) {
            all.set(
                    some.get(j),
                    OptionalDouble.of(LogWeights.of(scores.get(j).stream()
                                    .mapToDouble(JointScore::logLikelihood)
                                    .toArray())
                            .elbo()));
        }
        return all;
    }

    /** log p(x | context) behind an empty thought, {@code <bos> C <latent></latent> X}, as the posterior order trains it. */
    double[] noThoughtLogLikelihood(List<Question> questions) {
        return scorer
                .score(questions.stream()
                        .map(question -> Scorer.Request.of(
                                Tokens.concat(
                                        Tokens.of(control.bos()),
                                        question.context(),
                                        Tokens.of(control.latent(), control.endLatent())),
                                question.text()))
                        .toList())
                .stream()
                .mapToDouble(scores -> scores.getFirst().sum())
                .toArray();
    }

    @Override
    public List<Tokens> complete(List<Tokens> prompts, int stopToken, int maxTokens) {
        return generator
                .draw(
                        prompts.stream().map(prompt -> new Prompt(prompt, 0L)).toList(),
                        Sampling.greedy(stopToken, maxTokens))
                .stream()
                .map(samples -> samples.getFirst().tokens())
                .toList();
    }
}
