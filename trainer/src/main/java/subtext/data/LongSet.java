package subtext.data;

import java.util.Arrays;

/** A set of 64-bit hashes in open addressing, with a place for each: 8 bytes over a load of at most two thirds. */
final class LongSet {
    private final long[] slots;
    private final int mask;
    private boolean zero;
    private int size;

    /** @param capacity how many will be added, at most */
    LongSet(int capacity) {
        long wanted = Math.max(16, capacity * 3L / 2);
        int length = (int) Math.min(1 << 30, Long.highestOneBit(wanted - 1) << 1);
        slots = new long[length];
        mask = length - 1;
    }

    /** Adds a hash; false if it was there. */
    boolean add(long hash) {
        if (hash == 0) {
            boolean before = zero;
            zero = true;
            return !before;
        }
        int at = probe(hash);
        if (slots[at] == hash) {
            return false;
        }
        slots[at] = hash;
        size++;
        return true;
    }

    /** The place of a hash in 0 .. {@link #places}, or -1. */
    int place(long hash) {
        if (hash == 0) {
            return zero ? slots.length : -1;
        }
        int at = probe(hash);
        return slots[at] == hash ? at : -1;
    }

    /** One more than the largest place. */
    int places() {
        return slots.length + 1;
    }

    private int probe(long hash) {
        int at = (int) (hash ^ hash >>> 32) & mask;
        while (slots[at] != 0 && slots[at] != hash) {
            at = at + 1 & mask;
        }
        return at;
    }

    /** Empties the set. */
    void clear() {
        Arrays.fill(slots, 0);
        zero = false;
        size = 0;
    }

    int size() {
        return size + (zero ? 1 : 0);
    }
}
