package subtext.evaluate;

import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;

/**
 * Page's test for ordered alternatives: do the treatments of each seed rise from left to right? Page 1963, "Ordered hypotheses for
 * multiple treatments".
 *
 * @param statistic L = sum over treatments j = 1, 2, ... of j times the treatment's rank sum over seeds
 * @param pValue one-sided: chance of an L at least this large if every order within a seed were equally likely. Exact, from the
 *     permutations of each seed's own ranks, so ties (mid-ranks) are allowed for
 */
public record PageTrend(double statistic, double pValue) {
    private static final int MOST_TREATMENTS = 8;

    /**
     * The test, with an exact p-value.
     *
     * @param values [seed][treatment], treatments in the order in which they are expected to rise, 2 to 8 of them
     * @return the statistic over all seeds and its p-value
     * @throws IllegalArgumentException if there is no seed, or a row is not of 2 to 8 treatments like the others
     */
    public static PageTrend of(double[][] values) {
        if (values.length == 0 || values[0].length < 2 || values[0].length > MOST_TREATMENTS) {
            throw new IllegalArgumentException(
                    "values: expected at least one seed with 2 to " + MOST_TREATMENTS + " treatments");
        }
        double statistic = 0;
        Map<Long, Double> law =
                Map.of(0L, 1.0); // twice L so far -> probability; mid-ranks are halves, so twice L is whole
        for (double[] row : values) {
            if (row.length != values[0].length) {
                throw new IllegalArgumentException(
                        "values: expected " + values[0].length + " treatments for every seed, got " + row.length);
            }
            double[] ranks = midRanks(row);
            statistic += weighted(ranks);
            law = plusOneSeed(law, ranks);
        }
        long reached = Math.round(2 * statistic);
        double tail = law.entrySet().stream()
                .filter(entry -> entry.getKey() >= reached)
                .mapToDouble(Map.Entry::getValue)
                .sum();
        return new PageTrend(statistic, Math.min(1, tail));
    }

    private static Map<Long, Double> plusOneSeed(Map<Long, Double> law, double[] ranks) {
        Map<Long, Integer> counts = new TreeMap<>();
        int permutations = countPermutations(ranks.clone(), 0, counts);
        Map<Long, Double> sum = new TreeMap<>();
        law.forEach((before, probability) -> counts.forEach(
                (here, count) -> sum.merge(before + here, probability * count / permutations, Double::sum)));
        return sum;
    }

    /** Counts twice the weighted rank sum of every order of the ranks from place {@code fixed} on; returns how many there were. */
    private static int countPermutations(double[] ranks, int fixed, Map<Long, Integer> counts) {
        if (fixed == ranks.length) {
            counts.merge(Math.round(2 * weighted(ranks)), 1, Integer::sum);
            return 1;
        }
        int total = 0;
        for (int i = fixed; i < ranks.length; i++) {
            swap(ranks, fixed, i);
            total += countPermutations(ranks, fixed + 1, counts);
            swap(ranks, fixed, i);
        }
        return total;
    }

    private static void swap(double[] ranks, int i, int j) {
        double t = ranks[i];
        ranks[i] = ranks[j];
        ranks[j] = t;
    }

    private static double weighted(double[] ranks) {
        double sum = 0;
        for (int j = 0; j < ranks.length; j++) {
            sum += (j + 1) * ranks[j];
        }
        return sum;
    }

    /** Ranks from 1; equal values share the mean of their ranks. */
    static double[] midRanks(double[] values) {
        double[] ranks = new double[values.length];
        for (int i = 0; i < values.length; i++) {
            double value = values[i];
            long below = Arrays.stream(values).filter(v -> v < value).count();
            long equal = Arrays.stream(values).filter(v -> v == value).count();
            ranks[i] = below + (equal + 1) / 2.0;
        }
        return ranks;
    }
}
