package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.evaluate.Summary;
import subtext.generate.Generator;
import subtext.generate.Sample;
import subtext.generate.Scorer;
import subtext.model.Initialisation;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.PackedBatch;
import subtext.text.ControlTokens;
import subtext.text.Tokens;
import subtext.world.ChainWorld;
import subtext.world.ChainWorld.Plan;
import subtext.world.ChainWorld.Split;

/**
 * The estimators on a real network, against enumeration: a vocabulary of 11 and thoughts of at most two tokens are few enough to score
 * every one. Method notes 11.9, tests 1 to 4.
 */
class NeuralModelTest {
    private static final int LIMIT = 3; // tokens of a draw, closing marker included
    private static final int DRAWS = 20_000;

    private final ChainWorld world = new ChainWorld(new Plan(3, 2, 2, List.of(2), 5));
    private final ControlTokens control = world.controls();
    private final Question question = Question.of(world.problem(Split.TRAIN, 0).document(), 1, 1);

    private Device device;
    private Llama llama;
    private Generator generator;
    private Scorer scorer;
    private NeuralModel model;

    @BeforeEach
    void open() {
        device = Device.open(Backend.CPU, DeviceOptions.defaults().withThreads(2));
        llama = Llama.open(
                device,
                LlamaConfig.small(2, 32, 2, world.vocabulary(), 32),
                DType.F32,
                Llama.Capacity.scoring(512, 64));
        float[] weights = Initialisation.weights(llama.table(), 7);
        for (int i = 0; i < llama.table().decayed(); i++) {
            weights[i] *= 6; // far from uniform, as a trained network is
        }
        llama.upload(weights);
        generator = new Generator(llama, new Generator.Limits(64, 4, 32, 64));
        scorer = new Scorer(llama, new Scorer.Limits(256, 64, 32));
        model = new NeuralModel(generator, scorer, control, LIMIT);
    }

    @AfterEach
    void close() {
        scorer.close();
        generator.close();
        llama.close();
        device.close();
    }

    /** The joint of every thought equals what one pass of the training forward over the written-out sequence gives, to the bit. */
    @Test
    void jointsEqualTheTrainingForward() {
        List<Tokens> thoughts = thoughts();
        List<JointScore> scores =
                model.score(List.of(question), List.of(thoughts)).get(0);
        Tokens prompt = Tokens.concat(
                Tokens.of(control.bos()), question.context(), Tokens.of(control.latent(), control.prior()));
        for (int i = 0; i < thoughts.size(); i++) {
            Tokens rest = Tokens.concat(thoughts.get(i), Tokens.of(control.endLatent()), question.text());
            double[] logProbs = forward(prompt, rest);
            double logPrior = 0;
            for (int t = 0; t <= thoughts.get(i).size(); t++) {
                logPrior += logProbs[t];
            }
            double logLikelihood = 0;
            for (int t = thoughts.get(i).size() + 1; t < logProbs.length; t++) {
                logLikelihood += logProbs[t];
            }
            assertThat(scores.get(i)).as("%s", thoughts.get(i)).isEqualTo(new JointScore(logPrior, logLikelihood));
        }
    }

    /** log q of a draw is that of its tokens under one full pass behind the posterior prompt, to the bit. */
    @Test
    void logQEqualsTheTrainingForward() {
        Tokens prompt = posteriorPrompt();
        for (Sample sample : model.drawPosterior(List.of(question), 300, 11).get(0)) {
            double logQ = 0;
            for (double logProb : forward(prompt, sample.tokens())) {
                logQ += logProb;
            }
            assertThat(sample.logQ()).isEqualTo(logQ);
            boolean closed = sample.tokens().at(sample.tokens().size() - 1) == control.endLatent();
            assertThat(sample.finished()).isEqualTo(closed);
        }
    }

    /** Draws follow the enumerated law: chi-square over thoughts expected at least five times, bound at four standard deviations. */
    @Test
    void drawsFollowTheEnumeratedLaw() {
        Tokens prompt = posteriorPrompt();
        Map<Tokens, Integer> counts = new HashMap<>();
        int cut = 0;
        for (Sample sample : model.drawPosterior(List.of(question), DRAWS, 13).get(0)) {
            if (sample.finished()) {
                counts.merge(thought(sample), 1, Integer::sum);
            } else {
                cut++;
            }
        }
        double statistic = 0;
        int cells = 0;
        double finished = 0;
        for (Tokens thought : thoughts()) {
            double logQ = 0;
            for (double logProb : forward(prompt, Tokens.concat(thought, Tokens.of(control.endLatent())))) {
                logQ += logProb;
            }
            double expected = DRAWS * Math.exp(logQ);
            finished += expected;
            if (expected >= 5) {
                double count = counts.getOrDefault(thought, 0);
                statistic += (count - expected) * (count - expected) / expected;
                cells++;
            }
        }
        assertThat(cells).isGreaterThan(8);
        assertThat(statistic).isLessThan(cells + 4 * Math.sqrt(2 * cells));
        double cutExpected = DRAWS - finished;
        assertThat((double) cut).isCloseTo(cutExpected, within(4 * Math.sqrt(cutExpected)));
    }

    /** The mean weight of usable draws is the sum of the joint over the usable thoughts that fit, within three standard errors. */
    @Test
    void meanWeightIsTheEnumeratedEvidence() {
        // thoughts with a marker inside have weight zero, though the network may draw them
        List<Tokens> usable = thoughts().stream().filter(model::usable).toList();
        assertThat(usable).hasSize(1 + 5 + 25);
        double evidence = 0;
        for (JointScore score : model.score(List.of(question), List.of(usable)).get(0)) {
            evidence += Math.exp(score.logJoint());
        }
        EStep step = new EStep(DRAWS, new Selection.Resample(), Weighting.JOINT, 17);
        List<ScoredSample> draws = step.explain(model, List.of(question)).get(0).samples();
        Summary weights = Summary.of(
                draws.stream().mapToDouble(draw -> Math.exp(draw.logWeight())).toArray());
        assertThat(weights.mean()).isCloseTo(evidence, within(3 * weights.standardError()));
        assertThat(weights.standardError()).as("the check is sharp").isLessThan(0.1 * evidence);

        // in mean the bounds rise with K
        double before = Double.NEGATIVE_INFINITY;
        for (int samples : new int[] {1, 4, 16}) {
            double[] bounds = new double[DRAWS / samples];
            for (int b = 0; b < bounds.length; b++) {
                bounds[b] = LogWeights.of(draws.subList(b * samples, (b + 1) * samples).stream()
                                .mapToDouble(ScoredSample::logBoundWeight)
                                .toArray())
                        .elbo();
            }
            Summary bound = Summary.of(bounds);
            assertThat(bound.mean()).as("K=%d", samples).isGreaterThan(before);
            before = bound.mean();
        }
    }

    /** What x is worth behind thoughts of the prior and behind none: both as enumeration and the training forward give them. */
    @Test
    void priorThoughtsAndNoThoughtAreThoseOfTheEnumeratedLaw() {
        List<Tokens> usable = thoughts().stream().filter(model::usable).toList();
        double evidence = 0;
        double finished = 0;
        for (JointScore score : model.score(List.of(question), List.of(usable)).get(0)) {
            evidence += Math.exp(score.logJoint());
            finished += Math.exp(score.logPrior());
        }
        // of thoughts that are finished and usable: what was cut off is not counted
        double expected = Math.log(evidence / finished);
        double drawn = model.priorLogLikelihood(List.of(question), DRAWS, 29)
                .getFirst()
                .orElseThrow();
        assertThat(drawn).isCloseTo(expected, within(0.05));
        // other keys, other luck: how far one estimate may be off
        double[] others = new double[8];
        for (int i = 0; i < others.length; i++) {
            others[i] = model.priorLogLikelihood(List.of(question), DRAWS / 4, 31 + i)
                    .getFirst()
                    .orElseThrow();
        }
        Summary luck = Summary.of(others);
        assertThat(luck.mean()).isCloseTo(expected, within(4 * luck.standardError()));

        Tokens none = Tokens.concat(
                Tokens.of(control.bos()), question.context(), Tokens.of(control.latent(), control.endLatent()));
        double sum = 0;
        for (double logProb : forward(none, question.text())) {
            sum += logProb;
        }
        assertThat(model.noThoughtLogLikelihood(List.of(question))).containsExactly(sum);
        assertThat(sum).as("another law than the prior's").isNotCloseTo(expected, within(0.01));
    }

    /** A draw does not depend on the questions beside it, nor on K. */
    @Test
    void drawsDoNotDependOnTheBatch() {
        List<Question> questions = world.problems(Split.TRAIN, 3).stream()
                .map(problem -> Question.of(problem.document(), 1, 1))
                .toList();
        List<List<Sample>> together = model.drawPosterior(questions, 6, 19);
        for (int i = 0; i < questions.size(); i++) {
            assertThat(model.drawPosterior(List.of(questions.get(i)), 4, 19).get(0))
                    .isEqualTo(together.get(i).subList(0, 4));
        }
    }

    /** Drawing and scoring in one go, with the context computed once, is the two one after the other. */
    @Test
    void explainingIsDrawingThenScoring() {
        List<Question> questions = Stream.of(Split.values())
                .flatMap(split -> world.problems(split, (int) world.splitSize()).stream())
                .map(problem -> Question.of(problem.document(), 1, 1))
                .toList();
        List<LatentModel.Explained> apart = model.explain(questions, 5, 23);
        long separately = generator.computedTokens() + scorer.computedTokens();
        try (Generator both = new Generator(llama, new Generator.Limits(64, 4, 32, 64).scoring())) {
            NeuralModel sharing = new NeuralModel(both, scorer, control, LIMIT);
            long before = scorer.computedTokens();
            assertThat(sharing.explain(questions, 5, 23)).isEqualTo(apart);
            assertThat(scorer.computedTokens()).as("not asked").isEqualTo(before);
            int contexts = questions.stream()
                    .mapToInt(question -> question.context().size() + 2)
                    .sum();
            assertThat(both.computedTokens()).isEqualTo(separately - contexts);
        }
    }

    // ---- parts
    // -----------------------------------------------------------------------------------------------------------------

    /** Every thought of at most two tokens, control tokens other than the closing marker included: the network may draw those. */
    private List<Tokens> thoughts() {
        List<Tokens> all = new ArrayList<>();
        all.add(Tokens.EMPTY);
        for (int a = 0; a < world.vocabulary(); a++) {
            if (a == control.endLatent()) {
                continue;
            }
            all.add(Tokens.of(a));
            for (int b = 0; b < world.vocabulary(); b++) {
                if (b != control.endLatent()) {
                    all.add(Tokens.of(a, b));
                }
            }
        }
        return all;
    }

    private Tokens posteriorPrompt() {
        return Tokens.concat(
                Tokens.of(control.bos()),
                question.context(),
                Tokens.of(control.latent(), control.endLatent()),
                question.text(),
                Tokens.of(control.latent(), control.posterior()));
    }

    /** Log-probabilities of the tokens of a continuation, by the training forward over the whole sequence. */
    private double[] forward(Tokens prompt, Tokens continuation) {
        Tokens whole = Tokens.concat(prompt, continuation);
        double[] rows = llama.logProbs(PackedBatch.of(List.of(PackedBatch.Sequence.next(whole))));
        return Arrays.copyOfRange(rows, prompt.size() - 1, prompt.size() - 1 + continuation.size());
    }

    private static Tokens thought(Sample sample) {
        return sample.tokens().slice(0, sample.tokens().size() - 1);
    }
}
