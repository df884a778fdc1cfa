package subtext.evaluate;

import java.util.Arrays;
import subtext.random.Draws;
import subtext.random.Philox;

/**
 * Intervals by resampling whole documents. Chunks of one document share their context, so they are not independent; documents are
 * (Field and Welsh 2007). Ends are the bias-corrected and accelerated percentiles of Efron 1987, since nats per document are skewed and
 * plain percentiles then cover less than they say. The same values and seed give the same interval.
 *
 * @param replicates resamples, 1,000 or more for intervals of 95 %
 * @param level share of the resamples between the ends, such as 0.95
 * @param seed of the resampling
 */
public record DocumentBootstrap(int replicates, double level, long seed) {
    /**
     * Checks what resampling needs.
     *
     * @throws IllegalArgumentException for less than 1 resample or a level outside (0, 1)
     */
    public DocumentBootstrap {
        if (replicates < 1) {
            throw new IllegalArgumentException("replicates: expected at least 1, got " + replicates);
        }
        if (!(level > 0 && level < 1)) {
            throw new IllegalArgumentException("level: expected between 0 and 1, got " + level);
        }
    }

    /**
     * {@return 2,000 resamples at 95 %}
     *
     * @param seed of the resampling alone; the same seed gives the same interval
     */
    public static DocumentBootstrap standard(long seed) {
        return new DocumentBootstrap(2_000, 0.95, seed);
    }

    /**
     * {@return the mean over documents and its interval}
     *
     * @param perDocument one value for each document, at least one
     * @throws IllegalArgumentException if there is none
     */
    public Interval mean(double... perDocument) {
        double[] ones = new double[perDocument.length];
        Arrays.fill(ones, 1);
        return ratio(perDocument, ones);
    }

    /**
     * The ratio of two sums over documents, such as nats over tokens. Both sums are taken over the same resampled documents.
     *
     * @param numerator one value per document
     * @param denominator one positive value per document
     * @return the ratio and its interval
     * @throws IllegalArgumentException if the lengths differ or there is no document
     */
    public Interval ratio(double[] numerator, double[] denominator) {
        int n = numerator.length;
        if (n == 0 || denominator.length != n) {
            throw new IllegalArgumentException(
                    "documents: expected as many denominators as numerators and at least one, got " + denominator.length
                            + " and " + n);
        }
        double[] resampled = new double[replicates];
        long key = Philox.key(seed, "document bootstrap");
        for (int r = 0; r < replicates; r++) {
            Draws draws = new Draws(Philox.key(key, r));
            double above = 0;
            double below = 0;
            for (int i = 0; i < n; i++) {
                int document = draws.below(n);
                above += numerator[document];
                below += denominator[document];
            }
            resampled[r] = above / below;
        }
        Arrays.sort(resampled);
        double estimate =
                Arrays.stream(numerator).sum() / Arrays.stream(denominator).sum();
        double bias = bias(resampled, estimate);
        double acceleration = acceleration(numerator, denominator);
        double tail = (1 - level) / 2;
        return new Interval(
                estimate,
                Quantiles.ofSorted(resampled, corrected(tail, bias, acceleration)),
                Quantiles.ofSorted(resampled, corrected(1 - tail, bias, acceleration)));
    }

    /** Efron's z0: how far the estimate lies from the median of the resamples, in normal units; ties count half. */
    private static double bias(double[] resampled, double estimate) {
        double below = 0;
        for (double value : resampled) {
            below += value < estimate ? 1 : value == estimate ? 0.5 : 0;
        }
        double most = resampled.length - 0.5; // keeps a one-sided cloud of resamples finite
        return Normal.quantile(Math.clamp(below, 0.5, most) / resampled.length);
    }

    /** Efron's a: a sixth of the skewness of the jackknife. 0 where nothing varies or a sum is infinite. */
    private static double acceleration(double[] numerator, double[] denominator) {
        int n = numerator.length;
        double above = Arrays.stream(numerator).sum();
        double below = Arrays.stream(denominator).sum();
        if (n == 1 || !Double.isFinite(above)) {
            return 0;
        }
        double[] without = new double[n];
        for (int i = 0; i < n; i++) {
            without[i] = (above - numerator[i]) / (below - denominator[i]);
        }
        double mean = Arrays.stream(without).sum() / n;
        double squares = 0;
        double cubes = 0;
        for (double value : without) {
            double d = mean - value;
            squares += d * d;
            cubes += d * d * d;
        }
        // rounding alone leaves squares of about (1e-16 mean)^2
        return squares > n * Math.pow(1e-14 * mean, 2) ? cubes / (6 * Math.pow(squares, 1.5)) : 0;
    }

    private static double corrected(double p, double bias, double acceleration) {
        double z = bias + Normal.quantile(p);
        return Normal.below(bias + z / (1 - acceleration * z));
    }

    /**
     * {@return the mean difference a - b of two arms measured on the same documents, resampled in pairs}
     *
     * @param a one value for each document
     * @param b as long; element i is of the same document as in {@code a}
     * @throws IllegalArgumentException if the lengths differ or there is no document
     */
    public Interval pairedDifference(double[] a, double[] b) {
        if (a.length != b.length) {
            throw new IllegalArgumentException("pairs: expected equal lengths, got " + a.length + " and " + b.length);
        }
        double[] difference = new double[a.length];
        for (int i = 0; i < a.length; i++) {
            difference[i] = a[i] - b[i];
        }
        return mean(difference);
    }
}
