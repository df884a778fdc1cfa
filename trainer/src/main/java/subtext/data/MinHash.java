package subtext.data;

import java.util.Arrays;
import subtext.random.Philox;

/**
 * Keys of a text by which near duplicates are found: texts that share a key are taken for one. {@value #HASHES} hashes of minimum over runs
 * of {@value #SHINGLE} words, in {@value #BANDS} bands of {@value #ROWS}; texts with Jaccard similarity s of their runs share a key with
 * probability 1 - (1 - s^8)^14: .0009 at s = .3, .05 at .5, .56 at .7, .92 at .8, .9996 at .9.
 *
 * @see <a href="https://doi.org/10.1109/SEQUEN.1997.666900">Broder 1997</a>; the parameters are those of Penedo et al. 2024 (FineWeb)
 */
final class MinHash {
    static final int SHINGLE = 5;
    static final int BANDS = 14;
    static final int ROWS = 8;
    static final int HASHES = BANDS * ROWS;

    private static final long[] FACTOR = new long[HASHES];
    private static final long[] TERM = new long[HASHES];

    static {
        long key = Philox.key(0, "minhash");
        for (int i = 0; i < HASHES; i++) {
            FACTOR[i] = Philox.bits(key, 2L * i) | 1;
            TERM[i] = Philox.bits(key, 2L * i + 1);
        }
    }

    private MinHash() {}

    /** The least hash of each kind over all runs of words; a text with fewer words than a run is one run. */
    static int[] signature(long[] words) {
        long[] runs = Words.grams(words, Math.min(SHINGLE, words.length));
        int[] least = new int[HASHES];
        Arrays.fill(least, Integer.MAX_VALUE);
        for (long run : runs) {
            for (int i = 0; i < HASHES; i++) {
                least[i] = Math.min(least[i], (int) (FACTOR[i] * run + TERM[i] >>> 32));
            }
        }
        return least;
    }

    /** One key per band; none for a text without words. */
    static long[] keys(long[] words) {
        if (words.length == 0) {
            return new long[0];
        }
        int[] least = signature(words);
        long[] keys = new long[BANDS];
        for (int b = 0; b < BANDS; b++) {
            long key = Words.mix(b + 1);
            for (int r = 0; r < ROWS; r++) {
                key = Words.mix(key ^ least[b * ROWS + r]) + r;
            }
            keys[b] = key;
        }
        return keys;
    }
}
