package subtext.evaluate;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.zip.Deflater;
import subtext.text.Tokens;

/** What can be seen of thoughts without knowing what they mean: variety, repetition, copying. */
public final class ThoughtText {
    private ThoughtText() {}

    /**
     * {@return share of the n-grams of all sequences together that are different ones, 0 to 1; 1 if there is none} Li et al. 2016.
     *
     * @param sequences ids; no n-gram reaches over the end of one
     * @param n tokens of a gram, at least 1
     */
    public static double distinct(List<Tokens> sequences, int n) {
        Set<List<Integer>> different = new HashSet<>();
        long total = 0;
        for (Tokens sequence : sequences) {
            List<List<Integer>> grams = grams(sequence, n);
            total += grams.size();
            different.addAll(grams);
        }
        return total == 0 ? 1 : (double) different.size() / total;
    }

    /**
     * {@return share of draws that repeat an earlier draw of the same chunk, 0 to 1; 0 if there is none}
     *
     * @param drawsPerChunk element i holds the K draws of chunk i
     */
    public static double duplicateShare(List<List<Tokens>> drawsPerChunk) {
        long repeated = 0;
        long total = 0;
        for (List<Tokens> draws : drawsPerChunk) {
            repeated += draws.size() - new HashSet<>(draws).size();
            total += draws.size();
        }
        return total == 0 ? 0 : (double) repeated / total;
    }

    /**
     * {@return share of the thought's n-grams that also stand in the text, 0 to 1; 0 for a thought shorter than n} High means copying.
     *
     * @param thought ids without the closing marker
     * @param text ids of the chunk it explains
     * @param n tokens of a gram, at least 1
     */
    public static double overlap(Tokens thought, Tokens text, int n) {
        List<List<Integer>> grams = grams(thought, n);
        if (grams.isEmpty()) {
            return 0;
        }
        Set<List<Integer>> there = new HashSet<>(grams(text, n));
        return (double) grams.stream().filter(there::contains).count() / grams.size();
    }

    /**
     * {@return bytes of the ids over bytes after DEFLATE (RFC 1951), headers left out; 1 for an empty thought} A thought that repeats
     * itself compresses well.
     *
     * @param thought ids, two bytes of each
     */
    public static double compression(Tokens thought) {
        if (thought.isEmpty()) {
            return 1;
        }
        ByteBuffer bytes = ByteBuffer.allocate(2 * thought.size());
        for (int id : thought.toArray()) {
            bytes.putShort((short) id); // ids beyond 16 bits fold; repetition is seen all the same
        }
        try (Deflating deflating = new Deflating()) {
            return (double) bytes.capacity() / deflating.size(bytes.array());
        }
    }

    private static List<List<Integer>> grams(Tokens sequence, int n) {
        List<List<Integer>> grams = new ArrayList<>();
        for (int i = 0; i + n <= sequence.size(); i++) {
            List<Integer> gram = new ArrayList<>(n);
            for (int j = 0; j < n; j++) {
                gram.add(sequence.at(i + j));
            }
            grams.add(gram);
        }
        return grams;
    }

    /** A deflater that can be left with try: the JDK's own is closeable only from Java 24 on. */
    private static final class Deflating implements AutoCloseable {
        private final Deflater deflater = new Deflater(Deflater.BEST_COMPRESSION, true);

        int size(byte[] bytes) {
            deflater.setInput(bytes);
            deflater.finish();
            byte[] out = new byte[bytes.length + 64];
            int size = 0;
            while (!deflater.finished()) {
                size += deflater.deflate(out);
            }
            return size;
        }

        @Override
        public void close() {
            deflater.end();
        }
    }
}
