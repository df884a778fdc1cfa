package subtext.evaluate;

/**
 * Two arms compared seed by seed: the world, the data and the initial weights of a seed are the same in both.
 *
 * @param difference of a - b: mean and standard error over the pairs
 * @param wins pairs with a above b
 * @param losses pairs with a below b
 * @param ties pairs with a equal to b; the sign test leaves them out
 * @param signTest one-sided: chance of at least so many wins if either sign were equally likely
 */
public record PairedComparison(Summary difference, int wins, int losses, int ties, double signTest) {
    /**
     * {@return the comparison of a with b}
     *
     * @param a one value for each seed, at least one
     * @param b as long; element i comes from the same seed as in {@code a}
     * @throws IllegalArgumentException if the lengths differ or there is no pair
     */
    public static PairedComparison of(double[] a, double[] b) {
        if (a.length != b.length || a.length == 0) {
            throw new IllegalArgumentException(
                    "pairs: expected equal lengths of at least 1, got " + a.length + " and " + b.length);
        }
        double[] differences = new double[a.length];
        int wins = 0;
        int losses = 0;
        for (int i = 0; i < a.length; i++) {
            differences[i] = a[i] - b[i];
            wins += differences[i] > 0 ? 1 : 0;
            losses += differences[i] < 0 ? 1 : 0;
        }
        return new PairedComparison(
                Summary.of(differences),
                wins,
                losses,
                a.length - wins - losses,
                upperTailOfFairCoin(wins, wins + losses));
    }

    /**
     * {@return whether a is above b by more than so many standard errors of the difference; false for one pair alone, which decides
     * nothing}
     *
     * @param standardErrors such as 2
     */
    public boolean aboveBy(double standardErrors) {
        return difference.n() > 1 && difference.mean() > standardErrors * difference.standardError();
    }

    /** P(heads >= k) in n throws of a fair coin. Exact up to rounding. */
    static double upperTailOfFairCoin(int k, int n) {
        double term = Math.pow(0.5, n); // C(n, i) / 2^n, from i = n downwards
        double tail = 0;
        for (int i = n; i >= k; i--) {
            tail += term;
            term = term * i / (n - i + 1);
        }
        return Math.min(1, tail);
    }
}
