package subtext.data;

/**
 * A place in a dataset: all there is to know to resume.
 *
 * @param example number of the next example
 * @param piece piece of it that comes next, if it is longer than the context; in a stream without document mask, the token of it
 */
public record Cursor(long example, int piece) {
    /** The beginning. */
    public static final Cursor START = new Cursor(0, 0);
}
