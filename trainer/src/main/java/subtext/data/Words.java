package subtext.data;

import java.util.Arrays;

/**
 * A text as hashes of its words: runs of letters and digits in lower case; an ideograph is a word of its own. Punctuation, case and white space
 * do not count, so texts that differ only in these are the same.
 */
final class Words {
    private Words() {}

    /** A hash per word, in order. */
    static long[] of(String text) {
        long[] words = new long[text.length() / 6 + 8];
        int count = 0;
        long word = 0;
        boolean inside = false;
        for (int i = 0; i < text.length(); ) {
            int c = text.codePointAt(i);
            i += Character.charCount(c);
            boolean letter = Character.isLetterOrDigit(c);
            boolean alone = letter && Character.isIdeographic(c);
            if (inside && (!letter || alone)) {
                words = push(words, count++, mix(word));
                inside = false;
            }
            if (alone) {
                words = push(words, count++, mix(c));
            } else if (letter) {
                word = (inside ? word : 0xCBF29CE484222325L) ^ Character.toLowerCase(c);
                word *= 0x100000001B3L;
                inside = true;
            }
        }
        if (inside) {
            words = push(words, count++, mix(word));
        }
        return Arrays.copyOf(words, count);
    }

    /** A hash per run of {@code n} words, in order; none if there are fewer. */
    static long[] grams(long[] words, int n) {
        if (words.length < n) {
            return new long[0];
        }
        // a polynomial in an odd number, rolled on: what leaves is taken out with its power
        long base = 0x9E3779B97F4A7C15L;
        long power = 1;
        for (int i = 0; i < n; i++) {
            power *= base;
        }
        long[] grams = new long[words.length - n + 1];
        long rolling = 0;
        for (int i = 0; i < words.length; i++) {
            rolling = rolling * base + words[i] - (i >= n ? power * words[i - n] : 0);
            if (i >= n - 1) {
                grams[i - n + 1] = mix(rolling);
            }
        }
        return grams;
    }

    private static long[] push(long[] words, int at, long word) {
        long[] room = at == words.length ? Arrays.copyOf(words, 2 * at) : words;
        room[at] = word;
        return room;
    }

    /** A permutation of 64 bits that spreads every bit: the finaliser of MurmurHash3. Appleby 2011. */
    static long mix(long h) {
        h = (h ^ h >>> 33) * 0xFF51AFD7ED558CCDL;
        h = (h ^ h >>> 33) * 0xC4CEB9FE1A85EC53L;
        return h ^ h >>> 33;
    }
}
