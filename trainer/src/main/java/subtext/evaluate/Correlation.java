package subtext.evaluate;

/** How two quantities of the same things move together. */
public final class Correlation {
    private Correlation() {}

    /**
     * {@return Pearson's correlation, -1 to 1; 0 if fewer than two pairs are finite or one side does not vary} Pairs with a value that is
     * not finite are left out.
     *
     * @param x one side of the pairs
     * @param y the other side, as long; element i belongs to element i of {@code x}
     * @throws IllegalArgumentException if the lengths differ
     */
    public static double pearson(double[] x, double[] y) {
        if (x.length != y.length) {
            throw new IllegalArgumentException("pairs: expected equal lengths, got " + x.length + " and " + y.length);
        }
        int n = 0;
        double meanX = 0;
        double meanY = 0;
        double xx = 0;
        double yy = 0;
        double xy = 0;
        for (int i = 0; i < x.length; i++) {
            if (!Double.isFinite(x[i]) || !Double.isFinite(y[i])) {
                continue;
            }
            n++; // Welford 1962: one pass without cancellation
            double dx = x[i] - meanX;
            meanX += dx / n;
            double dy = y[i] - meanY;
            meanY += dy / n;
            xx += dx * (x[i] - meanX);
            yy += dy * (y[i] - meanY);
            xy += dx * (y[i] - meanY);
        }
        return xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : 0;
    }
}
