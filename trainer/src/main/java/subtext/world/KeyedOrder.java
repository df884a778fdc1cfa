package subtext.world;

import subtext.random.Philox;

/**
 * A permutation of 0 .. size-1 that needs no table: a Feistel network of Philox rounds on the next even number of bits, walked until it
 * lands inside. Luby and Rackoff 1988; Black and Rogaway 2002 for the walk. It deals problems out without repeats.
 */
final class KeyedOrder {
    private static final int ROUNDS = 6;

    private final long size;
    private final long key;
    private final int halfBits;

    KeyedOrder(long size, long key) {
        this.size = size;
        this.key = key;
        int bits = Math.max(2, 64 - Long.numberOfLeadingZeros(size - 1));
        this.halfBits = (bits + 1) / 2;
    }

    long size() {
        return size;
    }

    /** The element at a place. */
    long at(long place) {
        long x = place;
        do {
            x = feistel(x);
        } while (x >= size); // at most four times as many codes as places, so a few rounds
        return x;
    }

    private long feistel(long x) {
        long mask = (1L << halfBits) - 1;
        long left = x >>> halfBits;
        long right = x & mask;
        for (int round = 0; round < ROUNDS; round++) {
            long mixed = Philox.bits(Philox.key(key, round), right) & mask;
            long next = left ^ mixed;
            left = right;
            right = next;
        }
        return left << halfBits | right;
    }
}
