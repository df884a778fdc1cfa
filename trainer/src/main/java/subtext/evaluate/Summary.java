package subtext.evaluate;

/**
 * A mean over seeds with its standard error.
 *
 * @param n number of values
 * @param mean their mean
 * @param standardError sample standard deviation (divisor n - 1) over sqrt(n); NaN for a single value, whose spread is unknown
 */
public record Summary(int n, double mean, double standardError) {
    /**
     * {@return the summary of some values}
     *
     * @param values at least one
     * @throws IllegalArgumentException if there is none
     */
    public static Summary of(double... values) {
        if (values.length == 0) {
            throw new IllegalArgumentException("values: expected at least one, got none");
        }
        double mean = 0;
        for (double value : values) {
            mean += value / values.length;
        }
        double squares = 0;
        for (double value : values) {
            squares += (value - mean) * (value - mean);
        }
        double variance = values.length > 1 ? squares / (values.length - 1) : Double.NaN;
        return new Summary(values.length, mean, Math.sqrt(variance / values.length));
    }

    /** {@return half the width of the 95 % interval of the mean by Student's t; NaN for a single value} */
    public double half95() {
        return n > 1 ? Student.quantile95(n - 1) * standardError : Double.NaN;
    }
}
