package subtext.em;

import subtext.random.Philox;

/** Which of the K weighted thoughts of a chunk goes into training. */
public sealed interface Selection {
    /**
     * Chooses one draw.
     *
     * @param weights a draw of weight zero is never chosen
     * @param key the choice is a function of the weights and this key
     * @return index of the chosen draw, or -1 if every weight is zero
     */
    int choose(LogWeights weights, long key);

    /** Draw k with probability softmax(log w)_k: sampling-importance-resampling. Rubin 1987. */
    record Resample() implements Selection {
        @Override
        public int choose(LogWeights weights, long key) {
            return drawFrom(weights.normalised(), key);
        }
    }

    /** A control: every finished draw with the same probability, whatever its weight. */
    record Uniform() implements Selection {
        @Override
        public int choose(LogWeights weights, long key) {
            double[] p = weights.normalised();
            int finished = 0;
            for (int k = 0; k < p.length; k++) {
                finished += weights.at(k) == Double.NEGATIVE_INFINITY ? 0 : 1;
            }
            for (int k = 0; k < p.length; k++) {
                p[k] = weights.at(k) == Double.NEGATIVE_INFINITY ? 0 : 1.0 / finished;
            }
            return drawFrom(p, key);
        }
    }

    /** A control: the draw of the largest weight, the first of equals. */
    record Best() implements Selection {
        @Override
        public int choose(LogWeights weights, long key) {
            int best = -1;
            for (int k = 0; k < weights.size(); k++) {
                if (weights.at(k) != Double.NEGATIVE_INFINITY && (best < 0 || weights.at(k) > weights.at(best))) {
                    best = k;
                }
            }
            return best;
        }
    }

    private static int drawFrom(double[] p, long key) {
        double u = Philox.uniform(key, 0);
        int last = -1;
        for (int k = 0; k < p.length; k++) {
            if (p[k] > 0) {
                last = k;
                u -= p[k];
                if (u < 0) {
                    return k;
                }
            }
        }
        return last; // rounding left a sliver of u, or nothing has weight
    }
}
