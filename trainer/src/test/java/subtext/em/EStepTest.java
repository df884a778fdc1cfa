package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.function.ToDoubleFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.evaluate.Summary;
import subtext.random.Philox;
import subtext.text.Tokens;
import subtext.world.ChainWorld;
import subtext.world.ChainWorld.Plan;
import subtext.world.ChainWorld.Split;
import subtext.world.TabularTwin;

/** The E-step itself, on models whose evidence is known. */
class EStepTest {
    private static final Question X1 = new Question("d", 0, Tokens.of(), Tokens.of(1));
    private static final int LIMIT = 4;

    private final EndlessThoughts model = new EndlessThoughts(3, LIMIT, 61);

    /**
     * The mean weight of finished draws is the evidence of thoughts that fit under the limit with their marker; counting a cut-off draw as
     * the thought of its tokens adds the next length and no more. Both stay below p(x).
     */
    @Test
    void meanWeightsAreTheEvidenceUpToTheLimit() {
        List<ScoredSample> draws = new ArrayList<>();
        for (int r = 0; r < 400; r++) {
            draws.addAll(explain(500, Philox.key(67, r)).samples());
        }
        long cut = draws.stream().filter(draw -> !draw.finished()).count();
        assertThat(cut).as("draws at the limit").isGreaterThan(draws.size() / 20);

        Summary finished = weights(draws, ScoredSample::logWeight);
        Summary bound = weights(draws, ScoredSample::logBoundWeight);
        assertThat(finished.mean()).isCloseTo(model.evidence(1, LIMIT - 1), within(3 * finished.standardError()));
        assertThat(bound.mean()).isCloseTo(model.evidence(1, LIMIT), within(3 * bound.standardError()));
        double all = model.evidence(1, 200);
        assertThat(finished.mean() + 5 * finished.standardError()).isLessThan(all);
        assertThat(bound.mean() + 5 * bound.standardError()).isLessThan(all);
        assertThat(finished.mean() + 5 * finished.standardError()).isLessThan(bound.mean());
    }

    /** Method notes 11.9, test 5: with cut-off draws counted, ELBO_K rises with K and stays below log p(x). */
    @Test
    void boundsWithCutOffDrawsStayBelowTheEvidence() {
        double before = Double.NEGATIVE_INFINITY;
        double before2 = 0;
        for (int samples : new int[] {1, 4, 16, 64}) {
            double[] bounds = new double[2_000];
            for (int r = 0; r < bounds.length; r++) {
                bounds[r] = LogWeights.of(explain(samples, Philox.key(71, samples, r)).samples().stream()
                                .mapToDouble(ScoredSample::logBoundWeight)
                                .toArray())
                        .elbo();
            }
            Summary summary = Summary.of(bounds);
            assertThat(summary.mean()).isLessThan(Math.log(model.evidence(1, 200)) + 3 * summary.standardError());
            assertThat(summary.mean()).isGreaterThan(before + 3 * Math.hypot(before2, summary.standardError()));
            before = summary.mean();
            before2 = summary.standardError();
        }
    }

    @Test
    void cutOffDrawsAreNeverChosenAndNoneFinishedMeansNoThought() {
        int raw = 0;
        for (int r = 0; r < 2_000; r++) {
            for (Selection selection :
                    List.of(new Selection.Resample(), new Selection.Uniform(), new Selection.Best())) {
                LatentRecord record = new EStep(2, selection, Weighting.JOINT, Philox.key(73, r))
                        .explain(model, List.of(X1))
                        .get(0);
                if (record.chosen() < 0) {
                    assertThat(record.samples()).noneMatch(ScoredSample::finished);
                    assertThat(record.thought()).isEmpty();
                    raw++;
                } else {
                    assertThat(record.samples().get(record.chosen()).finished()).isTrue();
                    Tokens thought = record.thought().orElseThrow();
                    assertThat(thought.size()).isLessThan(LIMIT);
                    assertThat(thought.toArray()).doesNotContain(model.end());
                }
            }
        }
        assertThat(raw).as("chunks without a finished draw").isPositive();
    }

    /** Parts, order and neighbours change nothing: a record is a function of model, question, plan and key. */
    @ParameterizedTest
    @ValueSource(ints = {1, 3, 7, 40})
    void recordsDoNotDependOnTheDivisionIntoParts(int part) {
        ChainWorld world = new ChainWorld(Plan.chain16(1));
        TabularTwin twin = TabularTwin.warmStart(
                world, world.problems(Split.WARM_START, 30), 0.02, 1e-6, new TabularTwin.Posterior(0.2));
        List<Question> questions = world.problems(Split.TRAIN, 40).stream()
                .map(problem -> Question.of(problem.document(), 1, 3))
                .toList();
        EStep step = new EStep(4, new Selection.Resample(), Weighting.JOINT, 79);
        List<LatentRecord> whole = step.explain(twin, questions);
        List<LatentRecord> parts = new ArrayList<>();
        for (int from = 0; from < questions.size(); from += part) {
            parts.addAll(step.explain(twin, questions.subList(from, Math.min(from + part, questions.size()))));
        }
        assertThat(parts).isEqualTo(whole);
        assertThat(step.explain(twin, questions.reversed()).reversed()).isEqualTo(whole);
        assertThat(new EStep(4, new Selection.Resample(), Weighting.JOINT, 80).explain(twin, questions))
                .isNotEqualTo(whole);
    }

    /** Weighing by p(x | z) alone cannot tell thoughts that fit the answer apart; the joint weight can. */
    @Test
    void likelihoodWeightsForgetThePrior() {
        ChainWorld world = new ChainWorld(Plan.chain16(3));
        TabularTwin twin = TabularTwin.warmStart(
                world, world.problems(Split.WARM_START, 60), 0.02, 1e-6, new TabularTwin.Posterior(0.4));
        List<ChainWorld.Problem> problems = world.problems(Split.TRAIN, 300);
        List<Question> questions = problems.stream()
                .map(problem -> Question.of(problem.document(), 1, 1))
                .toList();
        double joint =
                correct(problems, new EStep(8, new Selection.Resample(), Weighting.JOINT, 83).explain(twin, questions));
        double likelihood = correct(
                problems, new EStep(8, new Selection.Resample(), Weighting.LIKELIHOOD, 83).explain(twin, questions));
        assertThat(joint).isGreaterThan(likelihood + 0.05);
    }

    private static double correct(List<ChainWorld.Problem> problems, List<LatentRecord> records) {
        int right = 0;
        for (int i = 0; i < problems.size(); i++) {
            right += records.get(i)
                            .thought()
                            .filter(problems.get(i).thought()::equals)
                            .isPresent()
                    ? 1
                    : 0;
        }
        return (double) right / problems.size();
    }

    private LatentRecord explain(int samples, long key) {
        return new EStep(samples, new Selection.Resample(), Weighting.JOINT, key)
                .explain(model, List.of(X1))
                .get(0);
    }

    private static Summary weights(List<ScoredSample> draws, ToDoubleFunction<ScoredSample> logWeight) {
        return Summary.of(draws.stream()
                .mapToDouble(draw -> Math.exp(logWeight.applyAsDouble(draw)))
                .toArray());
    }
}
