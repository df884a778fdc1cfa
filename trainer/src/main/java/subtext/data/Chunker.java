package subtext.data;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.List;
import subtext.random.Philox;

/**
 * Cuts a text into chunks of 1 + Poisson(mean - 1) sentences. The lengths are drawn from a key made of (key, hash of the text), so the
 * same text is always cut the same way, in any run, order or iteration.
 *
 * @param key seed of the lengths
 * @param mean mean number of sentences of a chunk, at least 1; the paper takes 8
 * @param most largest number of sentences of a chunk; the paper takes 20
 */
public record Chunker(long key, double mean, int most) {
    /**
     * Checks both lengths.
     *
     * @throws IllegalArgumentException if {@code mean} or {@code most} is below 1
     */
    public Chunker {
        if (!(mean >= 1)) {
            throw new IllegalArgumentException("mean: expected at least 1, got " + mean);
        }
        if (most < 1) {
            throw new IllegalArgumentException("most: expected at least 1, got " + most);
        }
    }

    /**
     * {@return the chunks of a text, none empty; concatenated they are the text}
     *
     * @param text any; empty gives no chunk
     */
    public List<String> cut(String text) {
        List<String> sentences = new SentenceSplitter().split(text);
        List<String> chunks = new ArrayList<>();
        long lengths = Philox.key(key, hash(text));
        int at = 0;
        while (at < sentences.size()) {
            int length = Math.min(most, 1 + poisson(lengths, chunks.size()));
            int end = Math.min(sentences.size(), at + length);
            chunks.add(String.join("", sentences.subList(at, end)));
            at = end;
        }
        return chunks;
    }

    /** By inversion: the least n at which the distribution function reaches u. */
    private int poisson(long lengths, int chunk) {
        double rate = mean - 1;
        double u = Philox.uniform(lengths, chunk);
        double p = Math.exp(-rate);
        double reached = p;
        int n = 0;
        while (u >= reached && n < most) {
            n++;
            p *= rate / n;
            reached += p;
        }
        return n;
    }

    private static long hash(String text) {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
            return ByteBuffer.wrap(digest).getLong();
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e); // every Java platform has SHA-256
        }
    }
}
