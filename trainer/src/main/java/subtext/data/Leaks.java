package subtext.data;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Which held-out chunks stand in the training text too: whole, or by a run of {@value #RUN} words. Case and punctuation do not count. A chunk is
 * taken with the context of its record, so that short answers are not all alike.
 *
 * @see <a href="https://arxiv.org/abs/2005.14165">Brown et al. 2020</a>, appendix C, for the runs of 13 words
 */
final class Leaks {
    /** Words of a run. */
    static final int RUN = 13;

    private final Path file;
    private final BitSet left;
    private final LongSet exact;
    private final LongSet runs;
    private final long sampling;
    private final BitSet exactHit = new BitSet();
    private final BitSet runHit = new BitSet();

    /**
     * What was found.
     *
     * @param chunks held-out chunks
     * @param exact of them, those that are training chunks word for word
     * @param runs of them, those that share a run of 13 words with the training text
     * @param sampled one in how many runs was looked at: 1 unless the held-out text is very long
     */
    record Count(long chunks, long exact, long runs, long sampled) {}

    /** The chunks of a record, as words. */
    record Units(List<long[]> words) {
        static Units of(List<String> chunks) {
            List<long[]> words = new ArrayList<>();
            chunks.forEach(chunk -> words.add(Words.of(chunk)));
            return new Units(words);
        }

        long[] all() {
            long[] all = new long[words.stream().mapToInt(unit -> unit.length).sum()];
            int at = 0;
            for (long[] unit : words) {
                System.arraycopy(unit, 0, all, at, unit.length);
                at += unit.length;
            }
            return all;
        }

        static long whole(long[] unit) {
            return Words.grams(unit, unit.length)[0];
        }
    }

    /** Writes the held-out records down as they are met. */
    static final class Writer implements AutoCloseable {
        private final FileChannel channel;
        private final DataOutputStream out;
        private long runs;

        Writer(Path file) throws IOException {
            channel = FileChannel.open(
                    file, StandardOpenOption.CREATE, StandardOpenOption.WRITE, StandardOpenOption.TRUNCATE_EXISTING);
            out = new DataOutputStream(new BufferedOutputStream(Channels.newOutputStream(channel), 1 << 16));
        }

        void add(int record, Units units) throws IOException {
            out.writeInt(record);
            out.writeInt(units.words().size());
            for (long[] unit : units.words()) {
                long[] grams = Words.grams(unit, RUN);
                out.writeLong(unit.length == 0 ? 0 : Units.whole(unit));
                out.writeInt(grams.length);
                for (long gram : grams) {
                    out.writeLong(gram);
                }
                runs += grams.length;
            }
        }

        long runs() {
            return runs;
        }

        void force() throws IOException {
            out.flush();
            channel.force(true);
        }

        @Override
        public void close() throws IOException {
            channel.close();
        }
    }

    /**
     * Reads the held-out records.
     *
     * @param left those that are left out: duplicates
     * @param count runs in the file
     * @param most runs to hold; of more, a share chosen by their hash is
     */
    Leaks(Path file, BitSet left, long count, int most) throws IOException {
        this.file = file;
        this.left = left;
        long one = 1;
        while (count / one > most) {
            one *= 2;
        }
        sampling = one;
        // about as many as the share says, with room for chance
        runs = new LongSet((int) Math.min(count, count / one + count / one / 8 + 1024));
        int[] units = {0};
        read((record, whole, grams) -> units[0]++);
        exact = new LongSet(units[0]);
        read((record, whole, grams) -> {
            exact.add(whole);
            for (long gram : grams) {
                if (sampled(gram)) {
                    runs.add(gram);
                }
            }
        });
    }

    private boolean sampled(long gram) {
        return (gram & sampling - 1) == 0;
    }

    /** Places hit by one training record. */
    record Hits(int[] exact, int[] runs) {}

    /** Looks a training record up; from any thread. */
    Hits look(Units units) {
        IntStream.Builder exactly = IntStream.builder();
        IntStream.Builder partly = IntStream.builder();
        for (long[] unit : units.words()) {
            int place = unit.length == 0 ? -1 : exact.place(Units.whole(unit));
            if (place >= 0) {
                exactly.add(place);
            }
        }
        for (long gram : Words.grams(units.all(), RUN)) {
            int place = sampled(gram) ? runs.place(gram) : -1;
            if (place >= 0) {
                partly.add(place);
            }
        }
        return new Hits(exactly.build().toArray(), partly.build().toArray());
    }

    void mark(Hits hits) {
        for (int place : hits.exact()) {
            exactHit.set(place);
        }
        for (int place : hits.runs()) {
            runHit.set(place);
        }
    }

    Count count() throws IOException {
        long[] counts = new long[3];
        read((record, whole, grams) -> {
            counts[0]++;
            counts[1] += whole != 0 && exactHit.get(exact.place(whole)) ? 1 : 0;
            for (long gram : grams) {
                if (sampled(gram) && runHit.get(runs.place(gram))) {
                    counts[2]++;
                    break;
                }
            }
        });
        return new Count(counts[0], counts[1], counts[2], sampling);
    }

    private interface Unit {
        void accept(int record, long whole, long[] grams);
    }

    private void read(Unit sink) throws IOException {
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(Files.newInputStream(file), 1 << 16))) {
            while (true) {
                int record;
                try {
                    record = in.readInt();
                } catch (java.io.EOFException end) {
                    return;
                }
                int units = in.readInt();
                for (int u = 0; u < units; u++) {
                    long whole = in.readLong();
                    long[] grams = new long[in.readInt()];
                    for (int i = 0; i < grams.length; i++) {
                        grams[i] = in.readLong();
                    }
                    if (!left.get(record)) {
                        sink.accept(record, whole, grams);
                    }
                }
            }
        }
    }
}
