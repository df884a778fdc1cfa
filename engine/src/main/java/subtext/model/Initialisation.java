package subtext.model;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.stream.LongStream;
import subtext.random.Philox;

/**
 * Initial weights as a function of (sizes, seed) alone: made on the host with strict arithmetic, so every machine and backend starts
 * from the same bits. Matrices are normal with the standard deviation of their table entry, cut off at three of them; norms are ones, biases zeros.
 */
public final class Initialisation {
    private static final double CLAMP = 3;

    private Initialisation() {}

    /**
     * The initial values of all parameters of a small model.
     *
     * @param table which there are, and where
     * @param seed of the run: each matrix draws under a key made of it and its name
     * @return the flat array, {@code table.size()} long; padding rows and gaps are zero
     */
    public static float[] weights(ParameterTable table, long seed) {
        try {
            return pieces(table, seed).flat(table);
        } catch (IOException e) {
            throw new UncheckedIOException(e); // nothing is read or written
        }
    }

    /**
     * {@return the same values, made as they are asked for}
     *
     * @param table which there are, and where
     * @param seed of the run
     */
    public static WeightPieces pieces(ParameterTable table, long seed) {
        return sink -> {
            for (ParameterTable.Entry entry : table.entries()) {
                long from = entry.offset();
                switch (entry.kind()) {
                    case MATRIX -> noise(entry, rowsInUse(table, entry), Philox.key(seed, entry.name()), sink);
                    case NORM ->
                        each(from, from + entry.shape().size(), (at, values) -> {
                            Arrays.fill(values, 1);
                            sink.accept(at, values);
                        });
                    case BIAS -> {} // zeros
                }
            }
        };
    }

    private static long rowsInUse(ParameterTable table, ParameterTable.Entry entry) {
        boolean vocabulary = entry.name().equals("embedding") || entry.name().equals("head");
        return vocabulary ? table.config().vocabulary() : entry.shape().dim(0);
    }

    private static void noise(ParameterTable.Entry entry, long rows, long key, WeightPieces.Sink sink)
            throws IOException {
        each(0, rows * entry.shape().dim(1), (from, values) -> {
            // elements are functions of (key, i), so their order of computation cannot matter; pieces begin at even
            // ones
            LongStream.range(from / 2, (from + values.length + 1) / 2)
                    .parallel()
                    .forEach(pair -> {
                        // Box-Muller: two uniforms, two normals
                        double radius = StrictMath.sqrt(-2 * StrictMath.log(1 - Philox.uniform(key, 2 * pair)));
                        double angle = 2 * StrictMath.PI * Philox.uniform(key, 2 * pair + 1);
                        put(values, entry.std(), 2 * pair - from, radius * StrictMath.cos(angle));
                        put(values, entry.std(), 2 * pair + 1 - from, radius * StrictMath.sin(angle));
                    });
            sink.accept(entry.offset() + from, values);
        });
    }

    /**
     * An element of a standard normal sequence: what {@link #weights} scales.
     *
     * @param key names the sequence
     * @param i from 0
     * @return in [-3, 3], cut off at three standard deviations
     */
    public static double normal(long key, long i) {
        long pair = i / 2;
        double radius = StrictMath.sqrt(-2 * StrictMath.log(1 - Philox.uniform(key, 2 * pair)));
        double angle = 2 * StrictMath.PI * Philox.uniform(key, 2 * pair + 1);
        return Math.clamp(radius * (i % 2 == 0 ? StrictMath.cos(angle) : StrictMath.sin(angle)), -CLAMP, CLAMP);
    }

    /** Goes through a stretch in pieces, for {@code piece} to fill and give on. */
    static void each(long from, long to, WeightPieces.Sink piece) throws IOException {
        float[] values = new float[(int) Math.min(WeightPieces.ELEMENTS, to - from)];
        for (long at = from; at < to; at += values.length) {
            values = to - at < values.length ? new float[(int) (to - at)] : values;
            piece.accept(at, values);
        }
    }

    private static void put(float[] values, double std, long i, double normal) {
        if (i < values.length) { // the last pair may be half a one
            values[(int) i] = (float) (std * Math.clamp(normal, -CLAMP, CLAMP));
        }
    }
}
