package subtext.random;

/**
 * Counter-based random numbers: Philox4x32-10, the same function as in the native libraries. A value depends on (key, counter) and
 * on nothing else, so a draw does not change with order, batch, thread or restart.
 *
 * @see <a href="https://doi.org/10.1145/2063384.2063405">Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"</a>
 */
public final class Philox {
    private Philox() {}

    /**
     * Ten rounds over the counter (c0, c1, c2, c3) under a 64-bit key.
     *
     * @param key low word first, as the function takes it
     * @param c0 lowest word of the counter
     * @param c1 second word
     * @param c2 third word
     * @param c3 highest word
     * @return four words of 32 random bits, in a fresh array
     */
    public static int[] block(long key, int c0, int c1, int c2, int c3) {
        int k0 = (int) key;
        int k1 = (int) (key >>> 32);
        for (int round = 0; round < 10; round++) {
            long a = 0xD2511F53L * (c0 & 0xFFFFFFFFL);
            long b = 0xCD9E8D57L * (c2 & 0xFFFFFFFFL);
            c0 = (int) (b >>> 32) ^ c1 ^ k0;
            c1 = (int) b;
            c2 = (int) (a >>> 32) ^ c3 ^ k1;
            c3 = (int) a;
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }
        return new int[] {c0, c1, c2, c3};
    }

    /**
     * 64 random bits of (key, counter).
     *
     * @param key any
     * @param counter any; the words above its 64 bits are 0
     * @return the first two words of the block, low word first
     */
    public static long bits(long key, long counter) {
        int[] b = block(key, (int) counter, (int) (counter >>> 32), 0, 0);
        return (b[0] & 0xFFFFFFFFL) | ((long) b[1] << 32);
    }

    /**
     * Uniform with 53 bits.
     *
     * @param key any
     * @param counter any
     * @return in [0, 1), a function of (key, counter)
     */
    public static double uniform(long key, long counter) {
        return (bits(key, counter) >>> 11) * 0x1.0p-53;
    }

    /**
     * Uniform, with a bias below bound / 2^63.
     *
     * @param key any
     * @param counter any
     * @param bound positive
     * @return one of {0, ..., bound - 1}, a function of (key, counter)
     * @throws IllegalArgumentException if the bound is not positive
     */
    public static int below(long key, long counter, int bound) {
        if (bound <= 0) {
            throw new IllegalArgumentException("bound: expected > 0, got " + bound);
        }
        return (int) ((bits(key, counter) >>> 1) % bound);
    }

    /**
     * A fresh key made of a key and numbers that name what it is for: each number is stirred in by one Philox block.
     *
     * @param key what the new one descends from
     * @param path such as round, document and sample; their order and count matter, and none gives {@code key} itself
     * @return the new key
     */
    public static long key(long key, long... path) {
        long k = key;
        for (long step : path) {
            int[] b = block(k, (int) step, (int) (step >>> 32), 0x6B657973, path.length);
            k = (b[0] & 0xFFFFFFFFL) | ((long) b[1] << 32);
        }
        return k;
    }

    /**
     * A fresh key made of a key and a name (UTF-8 bytes by FNV-1a, then stirred).
     *
     * @param key what the new one descends from
     * @param name what it is for
     * @return the new key
     */
    public static long key(long key, String name) {
        long hash = 0xCBF29CE484222325L;
        for (byte b : name.getBytes(java.nio.charset.StandardCharsets.UTF_8)) {
            hash = (hash ^ (b & 0xFF)) * 0x100000001B3L;
        }
        return key(key, hash);
    }

    /**
     * A permutation by Fisher and Yates.
     *
     * @param key any: the same one gives the same permutation
     * @param n how many numbers, 0 or more
     * @return 0 to n - 1 in their new order, in a fresh array
     */
    public static int[] permutation(long key, int n) {
        int[] order = new int[n];
        for (int i = 0; i < n; i++) {
            order[i] = i;
        }
        for (int i = n - 1; i > 0; i--) {
            int j = below(key, i, i + 1);
            int t = order[i];
            order[i] = order[j];
            order[j] = t;
        }
        return order;
    }
}
