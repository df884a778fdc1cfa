package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.random.Draws;

class LogWeightsTest {
    private static final double NONE = Double.NEGATIVE_INFINITY;

    /** Every K from 1 to 7 with each pattern of extremes: 77 cases. */
    static List<LogWeights> extremes() {
        List<LogWeights> cases = new ArrayList<>();
        for (int n = 1; n <= 7; n++) {
            int last = n - 1;
            cases.add(filled(n, 0));
            cases.add(filled(n, 1e6));
            cases.add(filled(n, -1e6));
            cases.add(filled(n, NONE));
            cases.add(filled(n, Double.MAX_VALUE / 2));
            cases.add(filled(n, -Double.MAX_VALUE / 2));
            cases.add(with(filled(n, NONE), last, -1e6));
            cases.add(with(filled(n, NONE), last, 1e6));
            cases.add(with(filled(n, -1e6), last, 1e6));
            cases.add(with(filled(n, 1e-300), 0, -1e-300));
            cases.add(with(filled(n, -745), 0, -746)); // exp() of these is denormal or zero
        }
        return cases;
    }

    @ParameterizedTest
    @MethodSource("extremes")
    void normalisedWeightsSumToOneOrAreFlagged(LogWeights weights) {
        double[] p = weights.normalised();
        double sum = Arrays.stream(p).sum();
        if (weights.allZero()) {
            assertThat(sum).isZero();
            assertThat(weights.ess()).isZero();
            assertThat(weights.elbo()).isEqualTo(NONE);
            assertThat(new Selection.Resample().choose(weights, 1)).isEqualTo(-1);
            assertThat(new Selection.Best().choose(weights, 1)).isEqualTo(-1);
            assertThat(new Selection.Uniform().choose(weights, 1)).isEqualTo(-1);
            return;
        }
        assertThat(sum).isCloseTo(1, within(1e-12));
        assertThat(Arrays.stream(p).allMatch(share -> share >= 0 && share <= 1)).isTrue();
        assertThat(weights.ess()).isBetween(1 - 1e-12, weights.size() + 1e-12);
        assertThat(weights.elbo()).isFinite().isLessThanOrEqualTo(weights.max());
        assertThat(weights.spread()).isGreaterThanOrEqualTo(0).isNotNaN();
        for (int k = 1; k <= weights.size(); k++) {
            assertThat(weights.elbo(k)).as("K=%d", k).isNotNaN();
        }
        for (Selection selection : List.of(new Selection.Resample(), new Selection.Best(), new Selection.Uniform())) {
            int chosen = selection.choose(weights, 1);
            assertThat(weights.at(chosen)).as("%s", selection).isNotEqualTo(NONE);
        }
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3})
    void randomWeightsKeepTheSameLaws(long seed) {
        Draws draws = new Draws(seed);
        for (int r = 0; r < 20_000; r++) {
            double[] values = new double[1 + draws.below(9)];
            double scale = Math.pow(10, 8 * draws.uniform() - 2);
            Arrays.setAll(values, k -> draws.below(10) == 0 ? NONE : scale * draws.normal());
            LogWeights weights = LogWeights.of(values);
            double sum = Arrays.stream(weights.normalised()).sum();
            assertThat(sum).isCloseTo(weights.allZero() ? 0 : 1, within(1e-12));
            assertThat(weights.ess()).isNotNaN();
            // a common factor of all weights changes the bound by its logarithm and nothing else
            double[] shifted = Arrays.stream(values).map(v -> v + 64).toArray();
            if (!weights.allZero()) {
                assertThat(LogWeights.of(shifted).elbo())
                        .isCloseTo(weights.elbo() + 64, within(1e-9 + 1e-14 * scale * 10));
            }
        }
    }

    @Test
    void closedFormsHold() {
        LogWeights weights = LogWeights.of(Math.log(1), Math.log(2), Math.log(5));
        assertThat(weights.elbo()).isCloseTo(Math.log(8.0 / 3), within(1e-15));
        assertThat(weights.ess()).isCloseTo(64.0 / 30, within(1e-12));
        assertThat(weights.normalised()).containsExactly(new double[] {0.125, 0.25, 0.625}, within(1e-15));
        assertThat(weights.elbo(2)).isCloseTo((Math.log(1.5) + Math.log(3) + Math.log(3.5)) / 3, within(1e-14));
    }

    @Test
    void numbersThatAreNoWeightsAreRefused() {
        assertThatThrownBy(() -> LogWeights.of()).hasMessageContaining("at least one");
        assertThatThrownBy(() -> LogWeights.of(0, Double.NaN))
                .hasMessage("logWeights[1]: expected finite or -inf, got NaN");
        assertThatThrownBy(() -> LogWeights.of(Double.POSITIVE_INFINITY)).hasMessageContaining("got Infinity");
        assertThatThrownBy(() -> LogWeights.of(0, 0).elbo(3)).hasMessage("k: expected 1..2, got 3");
    }

    /** 200,000 choices each, three degrees of freedom: 21.1 is passed once in 10,000. */
    @Test
    void choicesFollowTheirLaws() {
        LogWeights weights = LogWeights.of(-1, NONE, 0.5, -1e6, 1);
        double[] soft = weights.normalised();
        assertThat(chiSquare(weights, new Selection.Resample(), soft)).isLessThan(21.1);
        double[] even = {0.25, 0, 0.25, 0.25, 0.25};
        assertThat(chiSquare(weights, new Selection.Uniform(), even)).isLessThan(21.1);
        assertThat(chiSquare(weights, new Selection.Uniform(), soft)).isGreaterThan(1_000);
        assertThat(new Selection.Best().choose(weights, 3)).isEqualTo(4);
    }

    private static double chiSquare(LogWeights weights, Selection selection, double[] law) {
        int n = 200_000;
        double[] counts = new double[law.length];
        for (int i = 0; i < n; i++) {
            counts[selection.choose(weights, i)]++;
        }
        double statistic = 0;
        for (int k = 0; k < law.length; k++) {
            statistic += law[k] > 0 ? Math.pow(counts[k] - n * law[k], 2) / (n * law[k]) : counts[k] * 1e9;
        }
        return statistic;
    }

    private static LogWeights filled(int n, double value) {
        double[] values = new double[n];
        Arrays.fill(values, value);
        return LogWeights.of(values);
    }

    private static LogWeights with(LogWeights weights, int k, double value) {
        double[] values = weights.toArray();
        values[k] = value;
        return LogWeights.of(values);
    }
}
