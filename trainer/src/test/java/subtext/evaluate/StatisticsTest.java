package subtext.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.random.Draws;
import subtext.random.Philox;

class StatisticsTest {
    @Test
    void summaryEqualsTheHandComputedOne() {
        Summary summary = Summary.of(2, 4, 4, 4, 5, 5, 7, 9);
        assertThat(summary.mean()).isEqualTo(5);
        assertThat(summary.standardError()).isCloseTo(Math.sqrt(32.0 / 7 / 8), within(1e-15));
        assertThat(Summary.of(3).standardError()).isNaN();
    }

    @Test
    void quantilesInterpolateBetweenOrderStatistics() {
        assertThat(Quantiles.of(4, 1, 3, 2)).isEqualTo(new Quantiles(1, 1.75, 2.5, 3.25, 4));
        assertThat(Quantiles.of(7)).isEqualTo(new Quantiles(7, 7, 7, 7, 7));
        double low = Double.NEGATIVE_INFINITY;
        assertThat(Quantiles.of(low, low, 0, 1)).isEqualTo(new Quantiles(low, low, low, 0.25, 1));
    }

    /** 4 wins of 5: (5 + 1) / 32. All five: 1 / 32. */
    @Test
    void signTestEqualsTheBinomial() {
        double[] b = {0, 0, 0, 0, 0};
        PairedComparison mixed = PairedComparison.of(new double[] {.1, .2, .3, .4, -.1}, b);
        assertThat(mixed.signTest()).isCloseTo(6.0 / 32, within(1e-15));
        assertThat(mixed.wins()).isEqualTo(4);
        assertThat(mixed.losses()).isEqualTo(1);
        assertThat(PairedComparison.of(new double[] {1, 1, 1, 1, 1}, b).signTest())
                .isCloseTo(1.0 / 32, within(1e-15));
        assertThat(PairedComparison.of(new double[] {1, 0, 0, 0, 0}, b).signTest())
                .isCloseTo(0.5, within(1e-15));
        assertThat(PairedComparison.upperTailOfFairCoin(0, 9)).isCloseTo(1, within(1e-12));
    }

    @Test
    void aboveByTwoErrorsNeedsMoreThanAHigherMean() {
        double[] base = {.5, .5, .5, .5, .5};
        assertThat(PairedComparison.of(new double[] {.6, .6, .61, .59, .6}, base)
                        .aboveBy(2))
                .isTrue();
        // mean .04, standard error .0316 each way: above, but not by two errors
        assertThat(PairedComparison.of(new double[] {.64, .44, .54, .6, .48}, base)
                        .aboveBy(2))
                .isFalse();
        assertThat(PairedComparison.of(new double[] {.9}, new double[] {.1}).aboveBy(2))
                .isFalse();
    }

    /**
     * A hand-made case: five seeds in perfect order of four treatments reach the largest L = 5 * 30, with probability (1/24)^5; one
     * seed alone reaches 30 with probability 1/24 and 29 or more with 4/24 (three neighbouring swaps give 29).
     */
    @Test
    void pageTrendIsExact() {
        double[] rising = {.1, .2, .3, .4};
        PageTrend five = PageTrend.of(new double[][] {rising, rising, rising, rising, rising});
        assertThat(five.statistic()).isEqualTo(150);
        assertThat(five.pValue()).isCloseTo(Math.pow(1.0 / 24, 5), within(1e-16));
        assertThat(PageTrend.of(new double[][] {{1, 2, 4, 3}}).pValue()).isCloseTo(4.0 / 24, within(1e-15));
        assertThat(PageTrend.of(new double[][] {{4, 3, 2, 1}}).pValue()).isCloseTo(1, within(1e-12));
        PageTrend tied = PageTrend.of(new double[][] {{1, 1, 1}});
        assertThat(tied.statistic()).isEqualTo(12);
        assertThat(tied.pValue()).isCloseTo(1, within(1e-12));
    }

    @Test
    void correlationEqualsClosedForms() {
        assertThat(Correlation.pearson(new double[] {1, 2, 3}, new double[] {2, 4, 6}))
                .isCloseTo(1, within(1e-15));
        assertThat(Correlation.pearson(new double[] {1, 2, 3}, new double[] {3, 2, 1}))
                .isCloseTo(-1, within(1e-15));
        assertThat(Correlation.pearson(new double[] {1, 2, 3}, new double[] {5, 5, 5}))
                .isZero();
        assertThat(Correlation.pearson(new double[] {0, 1, 9}, new double[] {1, 2, Double.NEGATIVE_INFINITY}))
                .isCloseTo(1, within(1e-15));
    }

    @Test
    void bootstrapIsAFunctionOfValuesAndSeed() {
        double[] values = gaussians(3, 40);
        Interval once = DocumentBootstrap.standard(1).mean(values);
        assertThat(DocumentBootstrap.standard(1).mean(values)).isEqualTo(once);
        assertThat(DocumentBootstrap.standard(2).mean(values)).isNotEqualTo(once);
        assertThat(once.contains(once.estimate())).isTrue();
        assertThat(once.estimate()).isCloseTo(Arrays.stream(values).average().orElseThrow(), within(1e-15));
        Interval constant = DocumentBootstrap.standard(1).mean(5, 5, 5);
        assertThat(constant).isEqualTo(new Interval(5, 5, 5));
        assertThatThrownBy(() -> DocumentBootstrap.standard(1).mean()).hasMessageContaining("documents: expected");
    }

    /**
     * Expectations row 29: 95 % intervals cover between 93.5 and 96.5 % over 2,000 repeats. Documents hold several dependent chunks and
     * the truth is 0; resampling chunks instead of documents must miss it far more often, or this could not fail.
     */
    @ParameterizedTest
    @ValueSource(longs = {1, 2})
    void intervalsCoverTheTruthAsOftenAsTheySay(long seed) {
        int repeats = 2_000;
        int documents = 120;
        int chunks = 4;
        int covered = 0;
        int coveredByChunks = 0;
        for (int r = 0; r < repeats; r++) {
            Draws draws = new Draws(Philox.key(seed, r));
            double[] perDocument = new double[documents];
            double[] perChunk = new double[documents * chunks];
            for (int d = 0; d < documents; d++) {
                double shared = -Math.log1p(-draws.uniform()) - 1; // skewed, mean 0: weights are seldom symmetric
                for (int c = 0; c < chunks; c++) {
                    double value = shared + 0.3 * draws.normal();
                    perChunk[chunks * d + c] = value;
                    perDocument[d] += value;
                }
            }
            DocumentBootstrap bootstrap = new DocumentBootstrap(400, 0.95, Philox.key(seed, r, 7));
            covered += bootstrap.mean(perDocument).contains(0) ? 1 : 0;
            coveredByChunks += r < 400 && bootstrap.mean(perChunk).contains(0) ? 1 : 0;
        }
        assertThat(covered / (double) repeats).isBetween(0.935, 0.965);
        assertThat(coveredByChunks / 400.0).isLessThan(0.8);
    }

    @Test
    void ratioResamplesBothSidesTogether() {
        double[] nats = {2, 20, 6, 8};
        double[] tokens = {1, 10, 3, 4};
        Interval ratio = DocumentBootstrap.standard(5).ratio(nats, tokens);
        assertThat(ratio.low()).isCloseTo(2, within(1e-12));
        assertThat(ratio.high()).isCloseTo(2, within(1e-12));
    }

    @Test
    void pairedDifferenceRemovesWhatTheArmsShare() {
        double[] a = gaussians(8, 50);
        double[] b = a.clone();
        for (int i = 0; i < b.length; i++) {
            b[i] -= 0.1;
        }
        Interval difference = DocumentBootstrap.standard(5).pairedDifference(a, b);
        assertThat(difference.low()).isCloseTo(0.1, within(1e-12));
        assertThat(difference.high()).isCloseTo(0.1, within(1e-12));
    }

    private static double[] gaussians(long seed, int n) {
        Draws draws = new Draws(seed);
        double[] values = new double[n];
        Arrays.setAll(values, i -> draws.normal());
        return values;
    }
}
