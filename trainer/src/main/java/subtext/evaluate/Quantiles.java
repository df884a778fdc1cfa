package subtext.evaluate;

import java.util.Arrays;

/**
 * Five numbers that show a distribution, with linear interpolation between order statistics (Hyndman and Fan 1996, type 7).
 *
 * @param min smallest value
 * @param lower quartile
 * @param median half the values lie on either side
 * @param upper quartile
 * @param max largest value
 */
public record Quantiles(double min, double lower, double median, double upper, double max) {
    /**
     * {@return the quantiles of some values}
     *
     * @param values at least one, in any order, unchanged; infinite ones are sorted like others
     * @throws IllegalArgumentException if there is none
     */
    public static Quantiles of(double... values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return new Quantiles(
                ofSorted(sorted, 0),
                ofSorted(sorted, 0.25),
                ofSorted(sorted, 0.5),
                ofSorted(sorted, 0.75),
                ofSorted(sorted, 1));
    }

    /** The p-quantile, p in 0..1, of values in rising order. */
    static double ofSorted(double[] sorted, double p) {
        if (sorted.length == 0) {
            throw new IllegalArgumentException("values: expected at least one, got none");
        }
        double place = p * (sorted.length - 1);
        int below = (int) Math.floor(place);
        double share = place - below;
        if (share == 0 || Double.isInfinite(sorted[below])) {
            return sorted[below]; // minus infinity has no midpoint with a number, and infinity - infinity would be NaN
        }
        return sorted[below] + share * (sorted[below + 1] - sorted[below]);
    }
}
