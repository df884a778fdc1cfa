package subtext.model;

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
     * The initial values of all parameters.
     *
     * @param table which there are, and where
     * @param seed of the run: each matrix draws under a key made of it and its name
     * @return the flat array, {@code table.size()} long; padding rows and gaps are zero
     */
    public static float[] weights(ParameterTable table, long seed) {
        float[] flat = new float[Math.toIntExact(table.size())];
        for (ParameterTable.Entry entry : table.entries()) {
            switch (entry.kind()) {
                case MATRIX -> fill(flat, entry, rowsInUse(table, entry), Philox.key(seed, entry.name()));
                case NORM ->
                    java.util.Arrays.fill(
                            flat,
                            (int) entry.offset(),
                            (int) (entry.offset() + entry.shape().size()),
                            1f);
                case BIAS -> {} // zeros
            }
        }
        return flat;
    }

    private static long rowsInUse(ParameterTable table, ParameterTable.Entry entry) {
        boolean vocabulary = entry.name().equals("embedding") || entry.name().equals("head");
        return vocabulary ? table.config().vocabulary() : entry.shape().dim(0);
    }

    private static void fill(float[] flat, ParameterTable.Entry entry, long rows, long key) {
        long n = rows * entry.shape().dim(1);
        // elements are functions of (key, i), so their order of computation cannot matter
        LongStream.range(0, (n + 1) / 2).parallel().forEach(pair -> {
            // Box-Muller: two uniforms, two normals
            double radius = StrictMath.sqrt(-2 * StrictMath.log(1 - Philox.uniform(key, 2 * pair)));
            double angle = 2 * StrictMath.PI * Philox.uniform(key, 2 * pair + 1);
            put(flat, entry, 2 * pair, n, radius * StrictMath.cos(angle));
            put(flat, entry, 2 * pair + 1, n, radius * StrictMath.sin(angle));
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

    private static void put(float[] flat, ParameterTable.Entry entry, long i, long n, double normal) {
        if (i < n) {
            flat[(int) (entry.offset() + i)] = (float) (entry.std() * Math.clamp(normal, -CLAMP, CLAMP));
        }
    }
}
