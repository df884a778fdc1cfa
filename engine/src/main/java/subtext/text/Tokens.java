package subtext.text;

import java.util.Arrays;

/**
 * An immutable sequence of token ids with equality by content. Ids are what is drawn, scored and trained on; text is for people.
 */
public final class Tokens {
    /** The empty sequence. */
    public static final Tokens EMPTY = new Tokens(new int[0]);

    private final int[] ids;

    private Tokens(int[] ids) {
        this.ids = ids;
    }

    /**
     * {@return a sequence of the given ids}
     *
     * @param ids in order, copied; none gives {@link #EMPTY}
     */
    public static Tokens of(int... ids) {
        return ids.length == 0 ? EMPTY : new Tokens(ids.clone());
    }

    /**
     * {@return the parts one after another, copied into one sequence}
     *
     * @param parts any number, any of them empty
     */
    public static Tokens concat(Tokens... parts) {
        int size = 0;
        for (Tokens part : parts) {
            size += part.ids.length;
        }
        int[] all = new int[size];
        int at = 0;
        for (Tokens part : parts) {
            System.arraycopy(part.ids, 0, all, at, part.ids.length);
            at += part.ids.length;
        }
        return new Tokens(all);
    }

    /** {@return number of ids} */
    public int size() {
        return ids.length;
    }

    /** {@return true if there is no id} */
    public boolean isEmpty() {
        return ids.length == 0;
    }

    /**
     * {@return the id at a place}
     *
     * @param i in [0, size)
     * @throws ArrayIndexOutOfBoundsException if it is not
     */
    public int at(int i) {
        return ids[i];
    }

    /**
     * {@return the ids of a stretch, copied}
     *
     * @param from the first place, in [0, size]
     * @param to one past the last, in [from, size]
     * @throws IndexOutOfBoundsException if there is no such stretch
     */
    public Tokens slice(int from, int to) {
        return new Tokens(Arrays.copyOfRange(ids, java.util.Objects.checkFromToIndex(from, to, ids.length), to));
    }

    /** {@return a fresh array of the ids} */
    public int[] toArray() {
        return ids.clone();
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Tokens that && Arrays.equals(ids, that.ids);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(ids);
    }

    @Override
    public String toString() {
        return Arrays.toString(ids);
    }
}
