package subtext.world;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import subtext.em.JointScore;
import subtext.em.LogWeights;
import subtext.em.Question;
import subtext.em.Selection;
import subtext.evaluate.Summary;
import subtext.generate.Sample;
import subtext.random.Draws;
import subtext.random.Philox;
import subtext.text.Tokens;
import subtext.world.ChainWorld.Plan;
import subtext.world.ChainWorld.Split;

/** The twin against enumeration of every thought, and the estimators of the E-step against the twin. */
class TabularTwinTest {
    private static final double NOISE = 0.05;

    /** 4 states, 4 steps, readouts after 2 and 4: 256 thoughts, few enough to write them all down. */
    private final ChainWorld world = new ChainWorld(new Plan(4, 3, 4, List.of(2, 4), 3));

    private final List<Tokens> thoughts = allThoughts(world);
    private final List<Question> questions = questions(world, Split.TRAIN, 20);

    static List<TabularTwin.Proposal> proposals() {
        return List.of(
                new TabularTwin.Prior(),
                new TabularTwin.Tempered(1.7),
                new TabularTwin.Mixed(0.4),
                new TabularTwin.Posterior(0.3),
                TabularTwin.Posterior.exact());
    }

    private TabularTwin twin(TabularTwin.Proposal proposal) {
        return TabularTwin.warmStart(world, world.problems(Split.WARM_START, 5), 0.3, NOISE, proposal);
    }

    /** Method notes 11.9, test 1, first half. */
    @Test
    void sumOverAllThoughtsEqualsTheForwardRecursion() {
        TabularTwin twin = twin(new TabularTwin.Prior());
        for (Question question : questions) {
            double sum = 0;
            for (JointScore score : scores(twin, question)) {
                sum += Math.exp(score.logJoint());
            }
            assertThat(Math.log(sum)).isCloseTo(twin.logLikelihood(question), within(1e-12));
        }
    }

    @ParameterizedTest
    @MethodSource("proposals")
    void everyProposalIsALawOverThoughts(TabularTwin.Proposal proposal) {
        TabularTwin twin = twin(proposal);
        for (Question question : questions) {
            double sum = thoughts.stream()
                    .mapToDouble(z -> Math.exp(twin.logProposal(question, z)))
                    .sum();
            assertThat(sum).isCloseTo(1, within(1e-12));
        }
    }

    @Test
    void exactProposalIsThePosterior() {
        TabularTwin twin = twin(TabularTwin.Posterior.exact());
        for (Question question : questions) {
            List<JointScore> scores = scores(twin, question);
            double evidence = twin.logLikelihood(question);
            for (int i = 0; i < thoughts.size(); i++) {
                assertThat(twin.logProposal(question, thoughts.get(i)))
                        .isCloseTo(scores.get(i).logJoint() - evidence, within(1e-12));
            }
        }
    }

    /** Expected counts from forward-backward against the posterior written out. */
    @Test
    void expectedStepsEqualEnumeration() {
        TabularTwin twin = twin(new TabularTwin.Prior());
        Question question = questions.get(0);
        TabularTwin.Counts byRecursion = new TabularTwin.Counts(world);
        twin.addExpectedSteps(question, byRecursion);
        TabularTwin.Counts written = new TabularTwin.Counts(world);
        List<JointScore> scores = scores(twin, question);
        for (int i = 0; i < thoughts.size(); i++) {
            double posterior = Math.exp(scores.get(i).logJoint() - twin.logLikelihood(question));
            written.add(question.context(), thoughts.get(i), posterior);
        }
        TabularTwin a = byRecursion.model(0.01, NOISE, new TabularTwin.Prior());
        TabularTwin b = written.model(0.01, NOISE, new TabularTwin.Prior());
        for (int g = 0; g < 3; g++) {
            for (int s = 0; s < 4; s++) {
                for (int to = 0; to < 4; to++) {
                    assertThat(a.probability(g, s, to)).isCloseTo(b.probability(g, s, to), within(1e-12));
                }
            }
        }
    }

    /** The stated log q is the law drawn from: chi-square over 256 thoughts at 200,000 draws, bound passed once in 10,000. */
    @ParameterizedTest
    @MethodSource("proposals")
    void drawsFollowTheStatedLaw(TabularTwin.Proposal proposal) {
        TabularTwin twin = twin(proposal);
        Question question = questions.get(1);
        int n = 200_000;
        double[] counts = new double[thoughts.size()];
        for (Sample sample : twin.drawPosterior(List.of(question), n, 11).get(0)) {
            Tokens thought = thought(sample);
            counts[index(thought)]++;
            assertThat(sample.logQ()).isCloseTo(twin.logProposal(question, thought), within(1e-12));
        }
        double[] law = thoughts.stream()
                .mapToDouble(z -> Math.exp(twin.logProposal(question, z)))
                .toArray();
        assertThat(ChiSquare.of(counts, law)).as("p-value, %s", proposal).isGreaterThan(1e-4);
    }

    /** Method notes 11.9, test 1, second half: the mean weight is p(x). */
    @ParameterizedTest
    @MethodSource("proposals")
    void meanWeightIsTheEvidence(TabularTwin.Proposal proposal) {
        TabularTwin twin = twin(proposal);
        int n = 20_000;
        for (Question question : questions.subList(0, 5)) {
            double[] weights = new double[n];
            LogWeights drawn = logWeights(twin, question, n, 5);
            for (int k = 0; k < n; k++) {
                weights[k] = Math.exp(drawn.at(k));
            }
            double mean = Arrays.stream(weights).average().orElseThrow();
            double squares =
                    Arrays.stream(weights).map(w -> (w - mean) * (w - mean)).sum();
            double standardError = Math.sqrt(squares / (n - 1) / n);
            // the exact posterior has constant weights, hence rounding instead of spread
            assertThat(mean).isCloseTo(Math.exp(twin.logLikelihood(question)), within(3 * standardError + 1e-12));
        }
    }

    /** Method notes 11.9, test 2: in mean ELBO_1 <= ELBO_2 <= ... <= log p(x); equal for the exact posterior, below it otherwise. */
    @ParameterizedTest
    @MethodSource("proposals")
    void boundsRiseWithSamplesAndStayBelowTheEvidence(TabularTwin.Proposal proposal) {
        TabularTwin twin = twin(proposal);
        int[] ks = {1, 2, 4, 8, 16};
        int repeats = 3_000;
        Question question = questions.get(2);
        double evidence = twin.logLikelihood(question);
        double[] means = new double[ks.length];
        double[] errors = new double[ks.length];
        for (int i = 0; i < ks.length; i++) {
            double[] bounds = new double[repeats];
            for (int r = 0; r < repeats; r++) {
                bounds[r] =
                        logWeights(twin, question, ks[i], Philox.key(17, i, r)).elbo();
            }
            Summary summary = Summary.of(bounds);
            means[i] = summary.mean();
            errors[i] = summary.standardError();
        }
        for (int i = 0; i < ks.length; i++) {
            assertThat(means[i]).as("K=%d against log p", ks[i]).isLessThan(evidence + 3 * errors[i] + 1e-12);
            if (i > 0) {
                double error = Math.hypot(errors[i], errors[i - 1]);
                assertThat(means[i])
                        .as("K=%d against %d", ks[i], ks[i - 1])
                        .isGreaterThan(means[i - 1] - 3 * error - 1e-12);
            }
        }
        if (proposal.equals(TabularTwin.Posterior.exact())) {
            assertThat(means[0]).isCloseTo(evidence, within(1e-9));
        } else {
            assertThat(evidence - means[0]).as("gap at K=1").isGreaterThan(5 * errors[0]);
            assertThat(means[4] - means[0]).as("gain from 1 to 16").isGreaterThan(5 * errors[0]);
        }
    }

    /**
     * Method notes 11.9, test 3: resampling follows the proposal at K = 1 and the posterior as K grows. The chi-square must accept the
     * posterior at K = 4096 and must refuse it at K = 1, or it could not fail.
     */
    @Test
    void resampledThoughtsGoFromTheProposalToThePosterior() {
        TabularTwin twin = twin(new TabularTwin.Mixed(0.4));
        Question question = questions.get(3);
        double[] prior = thoughts.stream()
                .mapToDouble(z -> Math.exp(twin.logProposal(question, z)))
                .toArray();
        TabularTwin exact = twin.with(TabularTwin.Posterior.exact());
        double[] posterior = thoughts.stream()
                .mapToDouble(z -> Math.exp(exact.logProposal(question, z)))
                .toArray();

        double[] atOne = resampled(twin, question, 1, 20_000);
        double[] atMany = resampled(twin, question, 4_096, 1_500);

        assertThat(ChiSquare.of(atOne, prior)).as("K=1 against q").isGreaterThan(1e-4);
        assertThat(ChiSquare.of(atOne, posterior))
                .as("K=1 against the posterior")
                .isLessThan(1e-9);
        assertThat(ChiSquare.of(atMany, posterior))
                .as("K=4096 against the posterior")
                .isGreaterThan(1e-4);
        assertThat(ChiSquare.of(atMany, prior)).as("K=4096 against q").isLessThan(1e-9);
    }

    /** Method notes 11.9, test 7: a draw depends on (key, document, chunk, k) and on nothing else. */
    @ParameterizedTest
    @MethodSource("proposals")
    void drawsDoNotDependOnTheBatch(TabularTwin.Proposal proposal) {
        TabularTwin twin = twin(proposal);
        List<List<Sample>> together = twin.drawPosterior(questions, 8, 99);
        assertThat(twin.drawPosterior(questions.reversed(), 8, 99).reversed()).isEqualTo(together);
        for (int i = 0; i < questions.size(); i++) {
            List<Sample> alone =
                    twin.drawPosterior(List.of(questions.get(i)), 4, 99).get(0);
            assertThat(alone).isEqualTo(together.get(i).subList(0, 4));
        }
        assertThat(twin.drawPosterior(questions, 8, 100)).isNotEqualTo(together);
    }

    @Test
    void thoughtsThatAreNoThoughtsHaveNoProbability() {
        TabularTwin twin = twin(new TabularTwin.Prior());
        Question question = questions.get(0);
        for (Tokens bad : List.of(
                states(),
                states(0, 1, 2),
                states(0, 1, 2, 4),
                states(0, 1, 2, 3, 0),
                Tokens.of(world.controls().ids()).slice(0, 4))) {
            assertThat(twin.score(List.of(question), List.of(List.of(bad)))
                            .get(0)
                            .get(0)
                            .logJoint())
                    .isEqualTo(Double.NEGATIVE_INFINITY);
            assertThat(twin.logProposal(question, bad)).isEqualTo(Double.NEGATIVE_INFINITY);
        }
    }

    /** Without noise some answers are impossible under a sharp table: no posterior, hence an unfinished draw and no weight. */
    @Test
    void impossibleTextsGiveUnfinishedDraws() {
        TabularTwin sharp =
                TabularTwin.warmStart(world, world.problems(Split.WARM_START, 40), 0, 0, TabularTwin.Posterior.exact());
        Question true0 = questions.get(0);
        Tokens wrong = Tokens.of(
                world.state((world.stateOf(true0.text().at(0)) + 1) % 4),
                true0.text().at(1));
        Question impossible = new Question(true0.document(), true0.chunk(), true0.context(), wrong);
        assertThat(sharp.logLikelihood(impossible)).isEqualTo(Double.NEGATIVE_INFINITY);
        assertThat(sharp.drawPosterior(List.of(impossible), 3, 1).get(0)).noneMatch(Sample::finished);
        assertThat(sharp.drawPosterior(List.of(true0), 3, 1).get(0)).allMatch(Sample::finished);
    }

    // ---- parts
    // -----------------------------------------------------------------------------------------------------------------

    private double[] resampled(TabularTwin twin, Question question, int samples, int repeats) {
        double[] counts = new double[thoughts.size()];
        for (int r = 0; r < repeats; r++) {
            List<Sample> draws = twin.drawPosterior(List.of(question), samples, Philox.key(23, samples, r))
                    .get(0);
            LogWeights weights = weigh(twin, question, draws);
            int chosen = new Selection.Resample().choose(weights, Philox.key(29, samples, r));
            counts[index(thought(draws.get(chosen)))]++;
        }
        return counts;
    }

    private static LogWeights logWeights(TabularTwin twin, Question question, int samples, long key) {
        return weigh(
                twin,
                question,
                twin.drawPosterior(List.of(question), samples, key).get(0));
    }

    private static LogWeights weigh(TabularTwin twin, Question question, List<Sample> draws) {
        List<Tokens> thoughts = draws.stream().map(TabularTwinTest::thought).toList();
        List<JointScore> scores =
                twin.score(List.of(question), List.of(thoughts)).get(0);
        double[] logWeights = new double[draws.size()];
        for (int k = 0; k < logWeights.length; k++) {
            logWeights[k] = scores.get(k).logJoint() - draws.get(k).logQ();
        }
        return LogWeights.of(logWeights);
    }

    private List<JointScore> scores(TabularTwin twin, Question question) {
        return twin.score(List.of(question), List.of(thoughts)).get(0);
    }

    static Tokens thought(Sample sample) {
        return sample.tokens().slice(0, sample.tokens().size() - 1);
    }

    private Tokens states(int... states) {
        return Tokens.of(Arrays.stream(states).map(world::state).toArray());
    }

    private int index(Tokens thought) {
        int index = 0;
        for (int t = 0; t < thought.size(); t++) {
            index = 4 * index + world.stateOf(thought.at(t));
        }
        return index;
    }

    private static List<Tokens> allThoughts(ChainWorld world) {
        int depth = world.plan().depth();
        int n = world.plan().states();
        List<Tokens> all = new ArrayList<>();
        for (int code = 0; code < Math.pow(n, depth); code++) {
            int[] states = new int[depth];
            for (int t = depth - 1, rest = code; t >= 0; t--, rest /= n) {
                states[t] = world.state(rest % n);
            }
            all.add(Tokens.of(states));
        }
        return all;
    }

    static List<Question> questions(ChainWorld world, Split split, int count) {
        return world.problems(split, count).stream()
                .map(problem -> Question.of(problem.document(), 1, 1))
                .toList();
    }

    /** Guards the guard: the chi-square refuses a law that is a little off, and accepts the true one. */
    @Test
    void chiSquareCanFail() {
        Draws draws = new Draws(31);
        double[] law = {0.1, 0.2, 0.3, 0.4};
        double[] counts = new double[4];
        for (int i = 0; i < 100_000; i++) {
            counts[draws.index(law)]++;
        }
        assertThat(ChiSquare.of(counts, law)).isGreaterThan(1e-4);
        assertThat(ChiSquare.of(counts, new double[] {0.11, 0.19, 0.3, 0.4})).isLessThan(1e-4);
    }
}
