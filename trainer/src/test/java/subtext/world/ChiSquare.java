package subtext.world;

import java.util.Arrays;

/** Pearson's test of counts against a law. Cells expected to hold fewer than five are pooled, as the test's approximation needs. */
final class ChiSquare {
    private ChiSquare() {}

    /** The p-value; cells of probability zero must be empty, or it is 0. */
    static double of(double[] counts, double[] law) {
        double n = Arrays.stream(counts).sum();
        double statistic = 0;
        double pooledCount = 0;
        double pooledExpected = 0;
        int cells = 0;
        for (int i = 0; i < counts.length; i++) {
            double expected = n * law[i];
            if (expected >= 5) {
                statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
                cells++;
            } else if (law[i] == 0 && counts[i] > 0) {
                return 0;
            } else {
                pooledCount += counts[i];
                pooledExpected += expected;
            }
        }
        if (pooledExpected > 0) {
            statistic +=
                    (pooledCount - pooledExpected) * (pooledCount - pooledExpected) / Math.max(pooledExpected, 1e-300);
            cells++;
        }
        return upperTail(statistic, cells - 1);
    }

    /** P(chi-square with the degrees of freedom > x). Wilson and Hilferty 1931: good to a percent or so of p where it is used here. */
    private static double upperTail(double x, int degrees) {
        double scale = 2.0 / (9 * degrees);
        double z = (Math.cbrt(x / degrees) - (1 - scale)) / Math.sqrt(scale);
        return 0.5 * erfc(z / Math.sqrt(2));
    }

    /** Complementary error function by the continued fraction and series of Numerical Recipes 6.2, relative error below 1.2e-7. */
    private static double erfc(double x) {
        double t = 1 / (1 + 0.5 * Math.abs(x));
        double poly = -1.26551223
                + t
                        * (1.00002368
                                + t
                                        * (0.37409196
                                                + t
                                                        * (0.09678418
                                                                + t
                                                                        * (-0.18628806
                                                                                + t
                                                                                        * (0.27886807
                                                                                                + t
                                                                                                        * (-1.13520398
                                                                                                                + t
                                                                                                                        * (1.48851587
                                                                                                                                + t
                                                                                                                                        * (-0.82215223
                                                                                                                                                + t
                                                                                                                                                        * 0.17087277))))))));
        double value = t * Math.exp(-x * x + poly);
        return x >= 0 ? value : 2 - value;
    }
}
