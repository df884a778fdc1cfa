package subtext.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import subtext.em.LogWeights;
import subtext.random.Draws;

class ElboTest {
    private static final double NONE = Double.NEGATIVE_INFINITY;

    @Test
    void boundsOfOnePoolRiseWithSamples() {
        Draws draws = new Draws(41);
        for (int r = 0; r < 200; r++) {
            double[] values = new double[8];
            Arrays.setAll(values, i -> 3 * draws.normal());
            LogWeights pool = LogWeights.of(values);
            double before = NONE;
            for (int k = 1; k <= 8; k++) {
                double bound = Elbo.bound(pool, k);
                assertThat(bound).as("K=%d of %s", k, pool).isGreaterThanOrEqualTo(before - 1e-12);
                before = bound;
            }
            assertThat(Elbo.bound(pool, 1))
                    .isCloseTo(Arrays.stream(values).average().orElseThrow(), within(1e-12));
            assertThat(Elbo.bound(pool, 8)).isCloseTo(pool.elbo(), within(1e-12));
        }
    }

    /** C(64, 8) subsets are too many: blocks 0-7, 8-15, ... of the pool are averaged instead. */
    @Test
    void largePoolsAreReadInBlocks() {
        double[] values = new double[64];
        Draws draws = new Draws(43);
        Arrays.setAll(values, i -> draws.normal());
        double sum = 0;
        for (int block = 0; block < 8; block++) {
            double weights = 0;
            for (int i = 0; i < 8; i++) {
                weights += Math.exp(values[8 * block + i]);
            }
            sum += Math.log(weights / 8);
        }
        assertThat(Elbo.bound(LogWeights.of(values), 8)).isCloseTo(sum / 8, within(1e-12));
        assertThat(Elbo.bound(LogWeights.of(values), 64))
                .isCloseTo(LogWeights.of(values).elbo(), within(1e-12));
    }

    /** Expectations 5.2: with log-weights normal of spread sigma, E[ELBO_4] is .33, 1.08, 3.9 against the true sigma^2 / 2. */
    @Test
    void meanBoundsOfNormalWeightsEqualTheKnownFigures() {
        double[] sigmas = {1, 2, 5};
        double[] known = {0.33, 1.08, 3.9};
        for (int i = 0; i < sigmas.length; i++) {
            Draws draws = new Draws(47 + i);
            double[] bounds = new double[20_000];
            for (int r = 0; r < bounds.length; r++) {
                double[] values = new double[4];
                double sigma = sigmas[i];
                Arrays.setAll(values, k -> sigma * draws.normal());
                bounds[r] = LogWeights.of(values).elbo();
            }
            Summary summary = Summary.of(bounds);
            // the figures are given to two digits: half a unit of the second, and three standard errors of ours
            double rounding = sigmas[i] == 5 ? 0.05 : 0.005;
            assertThat(summary.mean()).isCloseTo(known[i], within(rounding + 3 * summary.standardError()));
        }
    }

    @Test
    void documentsAreSumsOverTheirChunks() {
        List<Elbo.Weighed> chunks = List.of(
                new Elbo.Weighed("a", LogWeights.of(-1, -1), 2, 10),
                new Elbo.Weighed("a", LogWeights.of(-3, -3), 2, 10),
                new Elbo.Weighed("b", LogWeights.of(-2, -2), 4, 20));
        List<Elbo> bounds = Elbo.of(chunks, List.of(1, 2), DocumentBootstrap.standard(1));
        assertThat(bounds).hasSize(2);
        for (Elbo bound : bounds) {
            assertThat(bound.perDocument().estimate()).isCloseTo(-3, within(1e-12));
            assertThat(bound.perDocument().low()).isCloseTo(-4, within(1e-12));
            assertThat(bound.perToken().estimate()).isCloseTo(-6.0 / 8, within(1e-12));
            assertThat(bound.perCharacter().estimate()).isCloseTo(-6.0 / 40, within(1e-12));
            assertThat(bound.documents()).containsExactly(-4.0, -2.0);
        }
    }

    @Test
    void oneUnfinishedDrawSinksTheBoundOfOneButNotOfTwo() {
        List<Elbo.Weighed> chunks = List.of(
                new Elbo.Weighed("a", LogWeights.of(-1, NONE), 2, 10),
                new Elbo.Weighed("b", LogWeights.of(-1, -1), 2, 10));
        List<Elbo> bounds = Elbo.of(chunks, List.of(1, 2), DocumentBootstrap.standard(1));
        assertThat(bounds.get(0).perDocument().estimate()).isEqualTo(NONE);
        assertThat(bounds.get(0).documents()).containsExactly(NONE, -1.0);
        assertThat(bounds.get(1).perDocument().estimate()).isCloseTo(-1 - Math.log(2) / 2, within(1e-12));
    }
}
