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

    /** A sequence of the given ids, copied. */
    public static Tokens of(int... ids) {
        return ids.length == 0 ? EMPTY : new Tokens(ids.clone());
    }

    /** The parts one after another. */
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

    /** Number of ids. */
    public int size() {
        return ids.length;
    }

    /** True if there is no id. */
    public boolean isEmpty() {
        return ids.length == 0;
    }

    /** The id at a place in [0, size). */
    public int at(int i) {
        return ids[i];
    }

    /** The ids from {@code from} up to, not including, {@code to}. */
    public Tokens slice(int from, int to) {
        return new Tokens(Arrays.copyOfRange(ids, java.util.Objects.checkFromToIndex(from, to, ids.length), to));
    }

    /** A fresh array of the ids. */
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
