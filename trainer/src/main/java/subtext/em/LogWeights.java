package subtext.em;

import java.util.Arrays;

/**
 * The K log importance weights log w_k = log p(z_k, x) - log q(z_k | x) of one question, in nats, in double precision. Minus infinity
 * stands for weight zero (an unfinished draw, an impossible text).
 */
public final class LogWeights {
    private final double[] values;

    private LogWeights(double[] values) {
        this.values = values;
    }

    /**
     * {@return weights of the given logarithms}
     *
     * @param logWeights nats, at least one, each finite or minus infinity; copied
     * @throws IllegalArgumentException if there is none, or one is NaN or infinite
     */
    public static LogWeights of(double... logWeights) {
        if (logWeights.length == 0) {
            throw new IllegalArgumentException("logWeights: expected at least one, got none");
        }
        for (int k = 0; k < logWeights.length; k++) {
            if (Double.isNaN(logWeights[k]) || logWeights[k] == Double.POSITIVE_INFINITY) {
                throw new IllegalArgumentException(
                        "logWeights[" + k + "]: expected finite or -inf, got " + logWeights[k]);
            }
        }
        return new LogWeights(logWeights.clone());
    }

    /** {@return K, at least 1} */
    public int size() {
        return values.length;
    }

    /**
     * {@return log w_k, nats}
     *
     * @param k 0 to K - 1
     */
    public double at(int k) {
        return values[k];
    }

    /**
     * {@return the first n weights, as weights of their own}
     *
     * @param n 1 to K
     */
    public LogWeights first(int n) {
        return new LogWeights(Arrays.copyOf(values, java.util.Objects.checkIndex(n - 1, values.length) + 1));
    }

    /** {@return whether every weight is zero: there is nothing to choose} */
    public boolean allZero() {
        return max() == Double.NEGATIVE_INFINITY;
    }

    /** {@return the largest log w_k; minus infinity if all weights are zero} */
    public double max() {
        double max = Double.NEGATIVE_INFINITY;
        for (double value : values) {
            max = Math.max(max, value);
        }
        return max;
    }

    /** {@return log of the sum of the weights; minus infinity if all are zero} */
    public double logSumExp() {
        double max = max();
        if (max == Double.NEGATIVE_INFINITY) {
            return max;
        }
        double sum = 0;
        for (double value : values) {
            sum += Math.exp(value - max);
        }
        return max + Math.log(sum);
    }

    /**
     * {@return the importance-weighted lower bound on log p(x), nats: log of the mean weight} Burda et al. 2016, equation 8. Minus infinity
     * if all weights are zero.
     */
    public double elbo() {
        return logSumExp() - Math.log(values.length);
    }

    /**
     * {@return the bound ELBO_k from these K &gt;= k draws, nats} Averaged over all subsets of k draws (not only the first k), which has
     * the same mean and less variance.
     *
     * @param k 1 to K; the time grows with the number of subsets
     * @throws IllegalArgumentException if k is outside
     */
    public double elbo(int k) {
        if (k < 1 || k > values.length) {
            throw new IllegalArgumentException("k: expected 1.." + values.length + ", got " + k);
        }
        int[] pick = new int[k];
        for (int i = 0; i < k; i++) {
            pick[i] = i;
        }
        double sum = 0;
        long count = 0;
        double[] subset = new double[k];
        while (true) {
            for (int i = 0; i < k; i++) {
                subset[i] = values[pick[i]];
            }
            sum += new LogWeights(subset).elbo();
            count++;
            int i = k - 1;
            while (i >= 0 && pick[i] == values.length - k + i) {
                i--;
            }
            if (i < 0) {
                return sum / count;
            }
            pick[i]++;
            for (int j = i + 1; j < k; j++) {
                pick[j] = pick[j - 1] + 1;
            }
        }
    }

    /** {@return softmax of the log weights, K numbers; all zeros if every weight is zero} */
    public double[] normalised() {
        double[] p = new double[values.length];
        double max = max();
        if (max == Double.NEGATIVE_INFINITY) {
            return p;
        }
        double sum = 0;
        for (int k = 0; k < p.length; k++) {
            p[k] = Math.exp(values[k] - max);
            sum += p[k];
        }
        for (int k = 0; k < p.length; k++) {
            p[k] /= sum;
        }
        return p;
    }

    /** {@return effective sample size (sum w)^2 / sum w^2, between 1 and K; 0 if every weight is zero} Kong 1992. */
    public double ess() {
        double squares = 0;
        for (double p : normalised()) {
            squares += p * p;
        }
        return squares == 0 ? 0 : 1 / squares;
    }

    /** {@return standard deviation of the finite log weights, in nats (divisor n - 1); 0 if fewer than two are finite} */
    public double spread() {
        int n = 0;
        double mean = 0;
        for (double value : values) {
            if (value != Double.NEGATIVE_INFINITY) {
                n++;
                mean += value;
            }
        }
        if (n < 2) {
            return 0;
        }
        mean /= n;
        double squares = 0;
        for (double value : values) {
            if (value != Double.NEGATIVE_INFINITY) {
                squares += (value - mean) * (value - mean);
            }
        }
        return Math.sqrt(squares / (n - 1));
    }

    /** {@return a fresh array of the K log weights} */
    public double[] toArray() {
        return values.clone();
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof LogWeights that && Arrays.equals(values, that.values);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(values);
    }

    @Override
    public String toString() {
        return Arrays.toString(values);
    }
}
