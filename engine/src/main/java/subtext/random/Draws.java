package subtext.random;

/**
 * Random numbers read in order from the counters 0, 1, 2, ... of one Philox key. Make one per purpose, with a key that names the
 * purpose; for use by one thread.
 */
public final class Draws {
    private static final int DOMAIN = 0x44726177; // "Draw": apart from the counters that Philox.bits reads
    private static final long LOW = 0xFFFFFFFFL;

    private final long key;
    private int[] block = new int[4];
    private int lane = 4;
    private long counter;

    /**
     * Begins at counter 0.
     *
     * @param key names the purpose: the same one gives the same numbers
     */
    public Draws(long key) {
        this.key = key;
    }

    /** {@return 32 random bits, every value as likely} */
    public int nextInt() {
        if (lane == 4) {
            block = Philox.block(key, (int) counter, (int) (counter >>> 32), DOMAIN, 0);
            counter++;
            lane = 0;
        }
        return block[lane++];
    }

    /**
     * Uniform without bias. Lemire 2019, "Fast random integer generation in an interval".
     *
     * @param bound positive
     * @return one of {0, ..., bound - 1}
     * @throws IllegalArgumentException if the bound is not positive
     */
    public int below(int bound) {
        if (bound <= 0) {
            throw new IllegalArgumentException("bound: expected > 0, got " + bound);
        }
        long product = (nextInt() & LOW) * bound;
        if ((product & LOW) < bound) {
            long threshold = (1L << 32) % bound;
            while ((product & LOW) < threshold) {
                product = (nextInt() & LOW) * bound;
            }
        }
        return (int) (product >>> 32);
    }

    /** {@return uniform in [0, 1) with 53 bits} */
    public double uniform() {
        long high = nextInt() & LOW;
        long low = nextInt() & LOW;
        return (high << 21 | low >>> 11) * 0x1.0p-53;
    }

    /**
     * Standard normal by Box and Muller 1958. The second value of each pair is thrown away.
     *
     * @return mean 0, standard deviation 1
     */
    public double normal() {
        double radius = Math.sqrt(-2.0 * Math.log1p(-uniform()));
        return radius * Math.cos(2.0 * Math.PI * uniform());
    }

    /**
     * An index with probability proportional to its weight.
     *
     * @param weights none negative, at least one positive; they need not add up to 1
     * @return an index whose weight is positive
     * @throws IllegalArgumentException if their sum is not positive
     */
    public int index(double[] weights) {
        double total = 0;
        for (double weight : weights) {
            total += weight;
        }
        if (!(total > 0)) {
            throw new IllegalArgumentException("weights: expected a positive sum, got " + total);
        }
        double u = uniform() * total;
        int last = -1;
        for (int i = 0; i < weights.length; i++) {
            if (weights[i] > 0) {
                last = i;
                u -= weights[i];
                if (u < 0) {
                    return i;
                }
            }
        }
        return last; // rounding left u a hair above the total
    }
}
