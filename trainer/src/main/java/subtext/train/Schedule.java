package subtext.train;

/**
 * The learning rate of every step. All rise linearly over {@code warmup} steps: step s, from 0, gets (s + 1) / warmup of the peak. What
 * comes after is the difference.
 */
public sealed interface Schedule {
    /** Highest learning rate. */
    double peak();

    /** Steps of linear rise. */
    int warmup();

    /** Share of the peak at a step after the rise, {@code step >= warmup}. */
    double share(int step);

    /** The same shape for another number of steps. */
    Schedule over(int steps);

    /** Learning rate of a step, from 0. */
    default double at(int step) {
        return peak() * (step < warmup() ? (step + 1.0) / warmup() : share(step));
    }

    /** The peak for ever. */
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

    /** In a straight line from the peak to {@code finalShare} of it, reached after the last step. */
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

    /** Half a cosine from the peak to {@code finalShare} of it. Loshchilov and Hutter 2017, without restarts. */
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

    /** The peak, then in the last {@code decay} steps in a straight line to {@code finalShare} of it. Hu et al. 2024. */
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
