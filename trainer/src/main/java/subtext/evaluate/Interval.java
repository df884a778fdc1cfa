package subtext.evaluate;

/**
 * An estimate and the interval around it.
 *
 * @param estimate the figure itself
 * @param low lower end
 * @param high upper end
 */
public record Interval(double estimate, double low, double high) {
    /**
     * {@return whether the interval holds a value, ends included}
     *
     * @param value in the unit of the estimate; NaN is in no interval
     */
    public boolean contains(double value) {
        return low <= value && value <= high;
    }

    /** {@return the interval of the negated quantity: its ends change places} */
    public Interval negated() {
        return new Interval(-estimate, -high, -low);
    }
}
