package subtext.generate;

import java.util.Arrays;

/**
 * The log-probabilities of a continuation's tokens, in nats, each given all before it.
 *
 * @param logProbs one per token. Not to be changed
 */
public record Score(double... logProbs) {
    /** {@return the sum over the whole continuation, in nats, added up in double precision from the first token to the last} */
    public double sum() {
        return sum(0, logProbs.length);
    }

    /**
     * {@return the sum over some tokens, in nats, added up as in {@link #sum()}}
     *
     * @param from the first token, counted from 0
     * @param to one past the last
     * @throws IndexOutOfBoundsException if the continuation has no such tokens
     */
    public double sum(int from, int to) {
        java.util.Objects.checkFromToIndex(from, to, logProbs.length);
        double sum = 0;
        for (int i = from; i < to; i++) {
            sum += logProbs[i];
        }
        return sum;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Score that && Arrays.equals(logProbs, that.logProbs);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(logProbs);
    }

    @Override
    public String toString() {
        return Arrays.toString(logProbs);
    }
}
