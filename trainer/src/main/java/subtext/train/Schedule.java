package subtext.train;

/**
 * The learning rate of every step. All rise linearly over {@code warmup} steps: step s, from 0, gets (s + 1) / warmup of the peak. What
 * comes after is the difference.
 */
public sealed interface Schedule {
    /** {@return highest learning rate} */
    double peak();

    /** {@return steps of linear rise; 0: none} */
    int warmup();

    /**
     * {@return share of the peak at a step after the rise}
     *
     * @param step at least {@link #warmup}
     */
    double share(int step);

    /**
     * {@return the same shape for another number of steps} The rise stays as long as it is.
     *
     * @param steps of the whole training
     */
    Schedule over(int steps);

    /**
     * {@return learning rate of a step}
     *
     * @param step from 0
     */
    default double at(int step) {
        return peak() * (step < warmup() ? (step + 1.0) / warmup() : share(step));
    }

    /**
     * The peak for ever.
     *
     * @param peak highest learning rate
     * @param warmup steps of linear rise
     */
    record Constant(double peak, int warmup) implements Schedule {
        @Override
        public double share(int step) {
            return 1;
        }

        @Override
        public Schedule over(int steps) {
            return this;
        }
    }

    /**
     * In a straight line from the peak to {@code finalShare} of it, reached after the last step.
     *
     * @param peak highest learning rate
     * @param warmup steps of linear rise
     * @param steps of the whole training, the rise included
     * @param finalShare what is left at the end, 0 to 1
     */
    record Linear(double peak, int warmup, int steps, double finalShare) implements Schedule {
        @Override
        public double share(int step) {
            return 1 + (finalShare - 1) * progress(step, warmup, steps);
        }

        @Override
        public Schedule over(int steps) {
            return new Linear(peak, warmup, steps, finalShare);
        }
    }

    /**
     * Half a cosine from the peak to {@code finalShare} of it. Loshchilov and Hutter 2017, without restarts.
     *
     * @param peak highest learning rate
     * @param warmup steps of linear rise
     * @param steps of the whole training, the rise included
     * @param finalShare what is left at the end, 0 to 1
     */
    record Cosine(double peak, int warmup, int steps, double finalShare) implements Schedule {
        @Override
        public double share(int step) {
            return finalShare + (1 - finalShare) * 0.5 * (1 + Math.cos(Math.PI * progress(step, warmup, steps)));
        }

        @Override
        public Schedule over(int steps) {
            return new Cosine(peak, warmup, steps, finalShare);
        }
    }

    /**
     * The peak, then in the last {@code decay} steps in a straight line to {@code finalShare} of it. Hu et al. 2024.
     *
     * @param peak highest learning rate
     * @param warmup steps of linear rise
     * @param steps of the whole training, rise and decay included
     * @param decay steps of the fall, the last ones; it never begins before the rise has ended
     * @param finalShare what is left at the end, 0 to 1
     */
    record WarmupStableDecay(double peak, int warmup, int steps, int decay, double finalShare) implements Schedule {
        @Override
        public double share(int step) {
            int from = Math.max(warmup, steps - decay);
            return step < from ? 1 : 1 + (finalShare - 1) * progress(step, from, steps);
        }

        @Override
        public Schedule over(int steps) {
            return new WarmupStableDecay(
                    peak, warmup, steps, Math.toIntExact((long) decay * steps / Math.max(1, this.steps)), finalShare);
        }
    }

    private static double progress(int step, int from, int to) {
        return to <= from ? 1 : Math.min(1, (step - from) / (double) (to - from));
    }
}
