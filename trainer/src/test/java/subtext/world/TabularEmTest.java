package subtext.world;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.em.Question;
import subtext.em.Selection;
import subtext.evaluate.PageTrend;
import subtext.random.Philox;
import subtext.world.ChainWorld.Plan;
import subtext.world.ChainWorld.Problem;
import subtext.world.ChainWorld.Split;

/** Expectation-maximisation where nothing hides: what the method promises must hold on tables before it is asked of a network. */
class TabularEmTest {
    private static final double SMOOTHING = 0.02;
    private static final double NOISE = 1e-6;
    private static final int CORPUS = 4_000;
    private static final int WORLDS = 4;

    /** Mean over worlds of accuracy and of -log p(x | q), iteration 0 to 6. */
    private record Course(double[] accuracy, double[] nll) {}

    private static Course course(
            int shown, int samples, TabularTwin.Proposal proposal, Selection selection, int iterations) {
        double[] accuracy = new double[iterations + 1];
        double[] nll = new double[iterations + 1];
        for (int seed = 0; seed < WORLDS; seed++) {
            ChainWorld world = new ChainWorld(Plan.chain16(seed));
            List<Problem> heldOut = world.problems(Split.HELD_OUT, 300);
            List<Question> heldOutQuestions = TabularTwinTest.questions(world, Split.HELD_OUT, 300);
            List<Question> corpus = TabularTwinTest.questions(world, Split.TRAIN, CORPUS);
            TabularTwin twin =
                    TabularTwin.warmStart(world, world.problems(Split.WARM_START, shown), SMOOTHING, NOISE, proposal);
            for (int t = 0; t <= iterations; t++) {
                accuracy[t] += twin.accuracy(heldOut) / WORLDS;
                nll[t] += twin.meanNll(heldOutQuestions) / WORLDS;
                twin = twin.sampledStep(corpus, samples, selection, SMOOTHING, Philox.key(seed, t));
            }
        }
        return new Course(accuracy, nll);
    }

    @Test
    void fourWeighedDrawsClimbFromAWeakStart() {
        Course course = course(20, 4, new TabularTwin.Prior(), new Selection.Resample(), 6);
        for (int t = 1; t <= 6; t++) {
            assertThat(course.nll[t])
                    .as("nats at iteration %d of %s", t, list(course.nll))
                    .isLessThan(course.nll[t - 1] - 0.1);
            assertThat(course.accuracy[t]).as("accuracy at %d", t).isGreaterThan(course.accuracy[t - 1]);
        }
        assertThat(course.accuracy[0]).isLessThan(0.2);
        assertThat(course.accuracy[6]).isGreaterThan(0.8);
    }

    @Test
    void moreDrawsClimbFaster() {
        double one = course(20, 1, new TabularTwin.Prior(), new Selection.Resample(), 2).nll[2];
        double four = course(20, 4, new TabularTwin.Prior(), new Selection.Resample(), 2).nll[2];
        double sixteen = course(20, 16, new TabularTwin.Prior(), new Selection.Resample(), 2).nll[2];
        assertThat(four).isLessThan(one - 0.3);
        assertThat(sixteen).isLessThan(four - 0.5);
    }

    /**
     * A teacher that knows six of the eight rules and guesses the rest. What is missing is information, so the start does not hang on how
     * many documents it saw, and the climb orders by K.
     */
    @Test
    void theRulesThatTheTeacherGuessedAreFound() {
        double[][] accuracy = new double[WORLDS][4];
        int[] samples = {1, 2, 4, 8};
        for (int seed = 0; seed < WORLDS; seed++) {
            ChainWorld world = new ChainWorld(Plan.chain16(seed));
            List<Problem> heldOut = world.problems(Split.HELD_OUT, 300);
            List<Question> corpus = TabularTwinTest.questions(world, Split.TRAIN, 6_000);
            TabularTwin.Counts taught = new TabularTwin.Counts(world);
            for (Problem problem : world.problems(Split.WARM_START, 1_000)) {
                taught.add(problem.question(), world.taught(problem, 6), 1);
            }
            TabularTwin start = taught.model(SMOOTHING, NOISE, new TabularTwin.Prior());
            assertThat(start.accuracy(heldOut)).isBetween(0.15, 0.35);
            for (int j = 0; j < samples.length; j++) {
                TabularTwin twin = start;
                for (int t = 0; t < 3; t++) {
                    twin = twin.sampledStep(
                            corpus, samples[j], new Selection.Resample(), SMOOTHING, Philox.key(seed, t));
                }
                accuracy[seed][j] = twin.accuracy(heldOut);
            }
            assertThat(accuracy[seed][0]).as("K=1").isLessThan(start.accuracy(heldOut) + 0.08);
            assertThat(accuracy[seed][2]).as("K=4").isGreaterThan(0.75);
        }
        assertThat(PageTrend.of(accuracy).pValue()).isLessThan(0.001);
    }

    /** One draw has nothing to be weighed against: the model relearns its own guesses, and slowly loses. */
    @Test
    void oneDrawStaysWhereItIs() {
        Course course = course(20, 1, new TabularTwin.Prior(), new Selection.Resample(), 6);
        assertThat(course.accuracy[6]).isBetween(course.accuracy[0] - 0.05, course.accuracy[0] + 0.05);
        assertThat(course.nll[6]).isBetween(course.nll[0], course.nll[0] + 0.4);
    }

    @Test
    void unweighedChoiceGainsNothing() {
        Course course = course(40, 4, new TabularTwin.Prior(), new Selection.Uniform(), 4);
        assertThat(course.nll[4]).isGreaterThan(course.nll[0] - 0.02);
    }

    /** With the exact posterior as proposal all weights of a chunk are equal, so K buys nothing. */
    @Test
    void moreDrawsAreWorthNothingIfTheProposalIsExact() {
        Course one = course(40, 1, TabularTwin.Posterior.exact(), new Selection.Resample(), 2);
        Course many = course(40, 16, TabularTwin.Posterior.exact(), new Selection.Resample(), 2);
        assertThat(many.nll[2]).isBetween(one.nll[2] - 0.05, one.nll[2] + 0.05);
        assertThat(one.nll[2]).isLessThan(one.nll[0] - 0.5);
    }

    @Test
    void withoutAWarmStartNothingMoves() {
        Course course = course(0, 4, new TabularTwin.Prior(), new Selection.Resample(), 4);
        assertThat(course.accuracy[4]).isLessThan(0.12);
        assertThat(course.nll[4]).isGreaterThan(2 * Math.log(16) - 0.01);
    }

    /**
     * Exact EM without smoothing never lowers the likelihood of its corpus (Dempster, Laird and Rubin 1977): 50 worlds, random starts,
     * ten iterations each. A sampled step with K = 1 from the prior must break the rule somewhere, or the check could not fail.
     */
    @Test
    void exactStepNeverLowersTheLikelihood() {
        int falls = 0;
        for (int seed = 0; seed < 50; seed++) {
            ChainWorld world = new ChainWorld(new Plan(6, 3, 4, List.of(2, 4), seed));
            List<Question> corpus = TabularTwinTest.questions(world, Split.TRAIN, 120);
            TabularTwin twin = TabularTwin.warmStart(
                    world, world.problems(Split.WARM_START, seed % 7), 0.5, 0.02, new TabularTwin.Prior());
            double before = twin.meanNll(corpus);
            TabularTwin sampled = twin.sampledStep(corpus, 1, new Selection.Resample(), 0.5, seed);
            falls += sampled.meanNll(corpus) > before ? 1 : 0;
            for (int t = 0; t < 10; t++) {
                twin = twin.exactStep(corpus, 0);
                double after = twin.meanNll(corpus);
                assertThat(after).as("seed %d, iteration %d", seed, t + 1).isLessThanOrEqualTo(before + 1e-10);
                before = after;
            }
        }
        assertThat(falls).as("sampled steps that lowered the likelihood").isGreaterThan(5);
    }

    /** The sampled step comes nearer to the exact one as K grows. */
    @ParameterizedTest
    @ValueSource(longs = {0, 1, 2})
    void gapToTheExactStepShrinksWithSamples(long seed) {
        ChainWorld world = new ChainWorld(new Plan(6, 3, 4, List.of(2, 4), seed));
        List<Question> corpus = TabularTwinTest.questions(world, Split.TRAIN, 120);
        TabularTwin twin =
                TabularTwin.warmStart(world, world.problems(Split.WARM_START, 6), 0.3, 0.02, new TabularTwin.Prior());
        double exact = twin.exactStep(corpus, SMOOTHING).meanNll(corpus);
        List<Double> gaps = new ArrayList<>();
        for (int samples : new int[] {1, 8, 64}) {
            double mean = 0;
            for (int r = 0; r < 10; r++) {
                mean += twin.sampledStep(
                                        corpus,
                                        samples,
                                        new Selection.Resample(),
                                        SMOOTHING,
                                        Philox.key(seed, samples, r))
                                .meanNll(corpus)
                        / 10;
            }
            gaps.add(Math.abs(mean - exact));
        }
        assertThat(gaps.get(1)).isLessThan(gaps.get(0));
        assertThat(gaps.get(2)).isLessThan(gaps.get(1));
    }

    private static String list(double[] values) {
        return Arrays.toString(values);
    }
}
