package subtext.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.IntUnaryOperator;
import org.junit.jupiter.api.Test;
import subtext.bindings.EngineException;
import subtext.em.EmPlan;
import subtext.em.JointScore;
import subtext.em.LogWeights;
import subtext.em.ScoredSample;
import subtext.evaluate.EStepHealth.Drawn;
import subtext.random.Draws;
import subtext.run.RunConfig;
import subtext.text.Tokens;

class EStepHealthTest {
    private static final double NONE = Double.NEGATIVE_INFINITY;

    /** Two chunks of two draws each; every figure below can be checked by hand. */
    @Test
    void figuresEqualTheHandComputedOnes() {
        Drawn even =
                new Drawn(Tokens.of(1, 2, 3), List.of(finished(1, 2, 3, 4), finished(5, 6)), LogWeights.of(-2, -2), 0);
        Drawn half = new Drawn(Tokens.of(7), List.of(finished(5, 6), unfinished(8, 8)), LogWeights.of(-1, NONE), 0);
        EStepHealth health = EStepHealth.of(List.of(even, half));

        assertThat(health.chunks()).isEqualTo(2);
        assertThat(health.samples()).isEqualTo(2);
        assertThat(health.essPerSample()).isEqualTo(new Quantiles(.5, .625, .75, .875, 1));
        assertThat(health.topWeight()).isEqualTo(new Quantiles(.5, .625, .75, .875, 1));
        assertThat(health.entropy()).isCloseTo(0.5, within(1e-12));
        assertThat(health.cutOff()).isEqualTo(0.25);
        assertThat(health.malformed()).isZero();
        assertThat(health.klPerToken()).hasValue(6 / 11.0); // 3 finished of 2 nats; 5 + 3 + 3 tokens with their markers
        assertThat(health.unexplained()).isZero();
        assertThat(health.empty()).isZero();
        assertThat(health.proposedLength()).isEqualTo(new Quantiles(2, 2, 2, 3, 4));
        assertThat(health.chosenLength()).isEqualTo(new Quantiles(2, 2.5, 3, 3.5, 4));
        assertThat(health.distinct3()).isEqualTo(1); // (1 2 3), (2 3 4)
        assertThat(health.duplicates()).isZero();
        assertThat(health.copying()).isZero(); // one of two 3-grams is half, not more
    }

    @Test
    void chunksWithoutAnyUsableDrawAreCounted() {
        Drawn none =
                new Drawn(Tokens.of(1), List.of(unfinished(1, 2), unfinished(1, 2)), LogWeights.of(NONE, NONE), -1);
        EStepHealth health = EStepHealth.of(List.of(none));
        assertThat(health.unexplained()).isEqualTo(1);
        assertThat(health.cutOff()).isEqualTo(1);
        assertThat(health.essPerSample().median()).isZero();
        assertThat(health.duplicates()).isEqualTo(0.5);
        assertThat(kinds(Diagnosis.ofEStep(health, Optional.empty(), Thresholds.DEFAULT)))
                .contains(Warning.Kind.UNEXPLAINED, Warning.Kind.TRUNCATION, Warning.Kind.WEIGHT_DEGENERACY);
    }

    /** A thought that closes with a marker in it is not cut off, and only a thought that may be chosen has a distance from the prior. */
    @Test
    void malformedDrawsAreNotCutOff() {
        Drawn drawn = new Drawn(
                Tokens.of(1),
                List.of(finished(1, 2), malformed(1, 7), malformed(7, 2), unfinished(1, 7)),
                LogWeights.of(-1, NONE, NONE, NONE),
                0);
        EStepHealth health = EStepHealth.of(List.of(drawn));
        assertThat(health.malformed()).isEqualTo(0.5);
        assertThat(health.cutOff()).isEqualTo(0.25);
        assertThat(health.klPerToken()).hasValue(2 / 3.0);
        assertThat(health.proposedLength().max()).isEqualTo(2);
        assertThat(Diagnosis.ofEStep(health, Optional.empty(), Thresholds.DEFAULT))
                .extracting(Warning::kind)
                .contains(Warning.Kind.MALFORMED, Warning.Kind.TRUNCATION);
        EStepHealth none =
                EStepHealth.of(List.of(new Drawn(Tokens.of(1), List.of(malformed(7)), LogWeights.of(NONE), -1)));
        assertThat(none.klPerToken()).isEmpty();
        assertThat(kinds(Diagnosis.ofEStep(none, Optional.empty(), Thresholds.DEFAULT)))
                .contains(Warning.Kind.MALFORMED, Warning.Kind.UNEXPLAINED)
                .doesNotContain(Warning.Kind.TRUNCATION);
    }

    @Test
    void weightsAndDrawsMustMatch() {
        assertThatThrownBy(() -> new Drawn(Tokens.of(1), List.of(finished(1)), LogWeights.of(0, 0), 0))
                .hasMessage("weights: expected 1, one for each draw, got 2");
    }

    @Test
    void aHealthyStepWarnsOfNothing() {
        assertThat(Diagnosis.ofEStep(EStepHealth.of(healthy(1)), Optional.empty(), Thresholds.DEFAULT))
                .isEmpty();
        EStepHealth first = EStepHealth.of(healthy(1));
        assertThat(Diagnosis.ofEStep(EStepHealth.of(healthy(2)), Optional.of(first), Thresholds.DEFAULT))
                .isEmpty();
    }

    /** Each ill on its own, made from the healthy step: its warning comes, and no other. */
    @Test
    void everyIllHasItsWarning() {
        EStepHealth first = EStepHealth.of(healthy(1));
        assertOnly(
                Warning.Kind.WEIGHT_DEGENERACY,
                map((drawn, i) -> new Drawn(
                        drawn.text(), drawn.samples(), LogWeights.of(0, -20 - i % 2, -20 - i % 3, -20 - i % 5), 0)),
                first);
        assertOnly(Warning.Kind.TRUNCATION, map((drawn, i) -> i % 8 == 0 ? cut(drawn) : drawn), first);
        assertOnly(
                Warning.Kind.MALFORMED,
                map((drawn, i) -> i % 8 == 0
                        ? without(
                                drawn,
                                malformed(
                                        drawn.thought((drawn.chosen() + 1) % 4).toArray()))
                        : drawn),
                first);
        assertOnly(
                Warning.Kind.LENGTH_BIAS,
                map((drawn, i) -> new Drawn(
                        drawn.text(),
                        drawn.samples(),
                        LogWeights.of(drawn.samples().stream()
                                .mapToDouble(s -> -0.1 * s.thought().size())
                                .toArray()),
                        0)),
                first);
        assertOnly(
                Warning.Kind.DIVERSITY_COLLAPSE,
                map((drawn, i) -> {
                    List<ScoredSample> alike = drawn.samples().stream()
                            .map(s -> sample(
                                    s, j -> (j * j + j) % 23 + (s.thought().size() > 19 ? 5 : 0)))
                            .toList();
                    return new Drawn(drawn.text(), alike, drawn.weights(), drawn.chosen());
                }),
                first);
        assertOnly(
                Warning.Kind.REPETITION,
                map((drawn, i) -> {
                    List<ScoredSample> samples = new ArrayList<>(drawn.samples());
                    if (i % 10 == 0) {
                        int[] same = new int[samples.get(1).thought().size()];
                        Arrays.fill(same, 3);
                        samples.set(1, finished(same));
                    }
                    return new Drawn(drawn.text(), samples, drawn.weights(), drawn.chosen());
                }),
                first);
        assertOnly(
                Warning.Kind.COPYING,
                map((drawn, i) -> i % 10 != 0
                        ? drawn
                        : new Drawn(drawn.thought(drawn.chosen()), drawn.samples(), drawn.weights(), drawn.chosen())),
                first);
        assertOnly(
                Warning.Kind.EMPTY_THOUGHTS,
                map((drawn, i) -> {
                    if (i % 4 != 0) {
                        return drawn;
                    }
                    List<ScoredSample> samples = new ArrayList<>(drawn.samples());
                    samples.set(i / 4 % 4, finished());
                    return new Drawn(drawn.text(), samples, drawn.weights(), drawn.chosen());
                }),
                first);
    }

    @Test
    void truncationStopsWhereItWarnsBefore() {
        EStepHealth some = EStepHealth.of(map((drawn, i) -> i % 8 == 0 ? cut(drawn) : drawn));
        EStepHealth many = EStepHealth.of(map((drawn, i) -> i % 2 == 0 ? cut(drawn) : drawn));
        assertThat(Diagnosis.ofEStep(some, Optional.empty(), Thresholds.DEFAULT))
                .extracting(Warning::level)
                .containsExactly(Warning.Level.WARN);
        assertThat(Diagnosis.ofEStep(many, Optional.empty(), Thresholds.DEFAULT))
                .extracting(Warning::level)
                .containsExactly(Warning.Level.SERIOUS);
        Thresholds lax = new Thresholds(0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1e9, 99, 1);
        assertThat(Diagnosis.ofEStep(many, Optional.empty(), lax)).isEmpty();
    }

    @Test
    void boundsAreSettings() {
        RunConfig config = RunConfig.chain();
        assertThat(EmPlan.of(config).warnings()).isEqualTo(Thresholds.DEFAULT);
        assertThat(EmPlan.of(config.with("warnings.essShare", "0.5")).warnings().essShare())
                .isEqualTo(0.5);
        for (String key : List.of(
                "essShare",
                "cutOff",
                "cutOffStop",
                "malformed",
                "lengthCorrelation",
                "distinctFall",
                "repetitive",
                "copying",
                "empty",
                "unexplained",
                "leaked")) {
            RunConfig wrong = config.with("warnings." + key, "1.5");
            assertThatThrownBy(() -> EmPlan.of(wrong))
                    .isInstanceOf(EngineException.InvalidConfig.class)
                    .hasMessage("warnings." + key + ": expected 0 to 1, got 1.5");
        }
        assertThatThrownBy(() -> EmPlan.of(config.with("warnings.cutOff", "0.2")))
                .hasMessageContaining("warnings.cutOffStop: expected at least");
        assertThatThrownBy(() -> EmPlan.of(config.with("warnings.priorGap", "-1")))
                .hasMessageContaining("warnings.priorGap: expected nats per document, at least 0, got -1.0");
        assertThatThrownBy(() -> EmPlan.of(config.with("warnings.heldOutWorse", "0")))
                .hasMessageContaining("warnings.heldOutWorse: expected at least 1 iteration, got 0");
    }

    @Test
    void singleFiguresAreJudged() {
        assertThat(Diagnosis.ofLogProbMismatch(0)).isEmpty();
        assertThat(Diagnosis.ofLogProbMismatch(1e-9))
                .get()
                .extracting(Warning::level)
                .isEqualTo(Warning.Level.SERIOUS);
        assertThat(Diagnosis.ofLogProbMismatch(Double.NaN)).isPresent();
        Thresholds bounds = Thresholds.DEFAULT;
        Thresholds lax = new Thresholds(0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0.5, 3, 0.1);
        assertThat(Diagnosis.ofPriorGap(3.0, 3.1, bounds)).isEmpty();
        assertThat(Diagnosis.ofPriorGap(3.2, 3.1, bounds)).isPresent();
        assertThat(Diagnosis.ofPriorGap(3.2, 3.1, lax)).isEmpty();
        assertThat(Diagnosis.ofLeakage(0, bounds)).isEmpty();
        assertThat(Diagnosis.ofLeakage(0.01, bounds)).isPresent();
        assertThat(Diagnosis.ofLeakage(0.01, lax)).isEmpty();
        assertThat(Diagnosis.ofHeldOut(List.of(-3.0, -2.0, -2.5, -2.2, -2.4), bounds))
                .isEmpty();
        List<Double> falling = List.of(-3.0, -2.0, -2.5, -2.6);
        assertThat(Diagnosis.ofHeldOut(falling, bounds)).isPresent();
        assertThat(Diagnosis.ofHeldOut(falling, lax)).isEmpty();
    }

    @Test
    void aWarningIsOneSentenceWithFigureBoundAndAdvice() {
        assertThat(new Warning(Warning.Kind.TRUNCATION, Warning.Level.WARN, 0.034, 0.02).sentence())
                .isEqualTo("share of thoughts cut off at the length limit is 0.0340 (bound 0.0200): "
                        + "cut thoughts have no weight and teach nothing; raise the limit on thought tokens.");
    }

    @Test
    void textMeasuresEqualHandCounts() {
        assertThat(ThoughtText.distinct(List.of(Tokens.of(1, 1, 1, 1)), 3)).isEqualTo(0.5);
        assertThat(ThoughtText.distinct(List.of(Tokens.of(1, 2), Tokens.of(1, 2)), 1))
                .isEqualTo(0.5);
        assertThat(ThoughtText.duplicateShare(
                        List.of(List.of(Tokens.of(1), Tokens.of(1), Tokens.of(2)), List.of(Tokens.of(1)))))
                .isEqualTo(0.25);
        assertThat(ThoughtText.overlap(Tokens.of(1, 2, 3, 9), Tokens.of(0, 1, 2, 3), 3))
                .isEqualTo(0.5);
        assertThat(ThoughtText.overlap(Tokens.of(1, 2), Tokens.of(1, 2), 3)).isZero();
        assertThat(ThoughtText.compression(Tokens.of(new int[200]))).isGreaterThan(20);
        assertThat(ThoughtText.compression(Tokens.of())).isEqualTo(1);
    }

    // ---- parts
    // -----------------------------------------------------------------------------------------------------------------

    private interface Change {
        Drawn apply(Drawn drawn, int i);
    }

    /** 100 chunks of four varied thoughts of 12 to 31 tokens, mild weights. */
    private static List<Drawn> healthy(long seed) {
        Draws draws = new Draws(seed);
        List<Drawn> chunks = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            List<ScoredSample> samples = new ArrayList<>();
            double[] logWeights = new double[4];
            for (int k = 0; k < 4; k++) {
                int[] thought = new int[12 + draws.below(20)];
                Arrays.setAll(thought, j -> draws.below(60));
                samples.add(finished(thought));
                logWeights[k] = 0.5 * draws.normal() - 3;
            }
            int[] text = new int[20];
            Arrays.setAll(text, j -> draws.below(60));
            chunks.add(new Drawn(Tokens.of(text), samples, LogWeights.of(logWeights), draws.below(4)));
        }
        return chunks;
    }

    private static List<Drawn> map(Change change) {
        List<Drawn> healthy = healthy(1);
        List<Drawn> changed = new ArrayList<>();
        for (int i = 0; i < healthy.size(); i++) {
            changed.add(change.apply(healthy.get(i), i));
        }
        return changed;
    }

    private static Drawn cut(Drawn drawn) {
        return without(drawn, unfinished(drawn.thought((drawn.chosen() + 1) % 4).toArray()));
    }

    /** With a draw that has no weight in the place behind the chosen one. */
    private static Drawn without(Drawn drawn, ScoredSample weightless) {
        List<ScoredSample> samples = new ArrayList<>(drawn.samples());
        double[] logWeights = drawn.weights().toArray();
        int k = (drawn.chosen() + 1) % 4;
        samples.set(k, weightless);
        logWeights[k] = NONE;
        return new Drawn(drawn.text(), samples, LogWeights.of(logWeights), drawn.chosen());
    }

    private static ScoredSample sample(ScoredSample like, IntUnaryOperator token) {
        int[] thought = new int[like.thought().size()];
        Arrays.setAll(thought, token);
        return finished(thought);
    }

    /** log q - log p(z) is 2 nats for each. */
    private static ScoredSample finished(int... thought) {
        return new ScoredSample(Tokens.of(thought), true, true, -1, new JointScore(-3, -1));
    }

    private static ScoredSample malformed(int... thought) {
        return new ScoredSample(Tokens.of(thought), true, false, -1, new JointScore(-9, -1));
    }

    private static ScoredSample unfinished(int... thought) {
        return new ScoredSample(Tokens.of(thought), false, false, -1, new JointScore(-9, -1));
    }

    private static void assertOnly(Warning.Kind kind, List<Drawn> chunks, EStepHealth first) {
        assertThat(kinds(Diagnosis.ofEStep(EStepHealth.of(chunks), Optional.of(first), Thresholds.DEFAULT)))
                .containsExactly(kind);
    }

    private static List<Warning.Kind> kinds(List<Warning> warnings) {
        return warnings.stream().map(Warning::kind).toList();
    }
}
