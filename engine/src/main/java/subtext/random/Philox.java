package subtext.random;

/**
 * Counter-based random numbers: Philox4x32-10, the same function as in the native libraries. A value depends on (key, counter) and
 * on nothing else, so a draw does not change with order, batch, thread or restart.
 *
 * @see <a href="https://doi.org/10.1145/2063384.2063405">Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"</a>
 */
public final class Philox {
    private Philox() {}

    /** Ten rounds over the counter (c0, c1, c2, c3) under a 64-bit key: four 32-bit words. */
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

    /** 64 random bits of (key, counter). */
    public static long bits(long key, long counter) {
        int[] b = block(key, (int) counter, (int) (counter >>> 32), 0, 0);
        return (b[0] & 0xFFFFFFFFL) | ((long) b[1] << 32);
    }

    /** Uniform in [0, 1) with 53 bits. */
    public static double uniform(long key, long counter) {
        return (bits(key, counter) >>> 11) * 0x1.0p-53;
    }

    /** Uniform in {0, ..., bound - 1}; bias below bound / 2^63. */
    public static int below(long key, long counter, int bound) {
        if (bound <= 0) {
            throw new IllegalArgumentException("bound: expected > 0, got " + bound);
        }
        return (int) ((bits(key, counter) >>> 1) % bound);
    }

    /** A fresh key made of a key and numbers that name what it is for: each number is stirred in by one Philox block. */
    public static long key(long key, long... path) {
        long k = key;
        for (long step : path) {
            int[] b = block(k, (int) step, (int) (step >>> 32), 0x6B657973, path.length);
            k = (b[0] & 0xFFFFFFFFL) | ((long) b[1] << 32);
        }
        return k;
    }

    /** A fresh key made of a key and a name (UTF-8 bytes by FNV-1a, then stirred). */
    public static long key(long key, String name) {
        long hash = 0xCBF29CE484222325L;
        for (byte b : name.getBytes(java.nio.charset.StandardCharsets.UTF_8)) {
            hash = (hash ^ (b & 0xFF)) * 0x100000001B3L;
        }
        return key(key, hash);
    }

    /** A permutation of 0 .. n-1 by Fisher and Yates, a function of the key. */
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
