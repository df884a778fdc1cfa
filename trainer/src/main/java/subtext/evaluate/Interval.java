package subtext.evaluate;

/**
 * An estimate and the interval around it.
 *
 * @param estimate the figure itself
 * @param low lower end
 * @param high upper end
 */
public record Interval(double estimate, double low, double high) {
    /** True if the interval holds the value, ends included. */
    public boolean contains(double value) {
        return low <= value && value <= high;
    }

    /** The interval of the negated quantity. */
    public Interval negated() {
        return new Interval(-estimate, -high, -low);
    }
}
