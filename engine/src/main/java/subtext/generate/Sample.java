package subtext.generate;

import java.util.Arrays;
import subtext.text.Tokens;

/**
 * One continuation drawn from a model.
 *
 * @param tokens the ids drawn, ending with the stop token if finished
 * @param logQ sum of the log-probabilities of the drawn tokens, stop token included, under the law they were drawn from, in nats;
 *     added up in double precision from the first token to the last
 * @param finished true if the stop token was drawn before the length limit
 * @param logProbs the log-probability of each token of {@code tokens}; empty where the source gives only the sum. Not to be changed
 */
public record Sample(Tokens tokens, double logQ, boolean finished, double[] logProbs) {
    /**
     * A sample of which only the summed log-probability is known.
     *
     * @param tokens the ids drawn, ending with the stop token if finished
     * @param logQ the sum, in nats
     * @param finished true if the stop token was drawn
     */
    public Sample(Tokens tokens, double logQ, boolean finished) {
        this(tokens, logQ, finished, new double[0]);
    }

    /**
     * {@return a sample with its sum taken from its parts}
     *
     * @param tokens the ids drawn, ending with the stop token if finished
     * @param logProbs one per token, in nats; kept, not copied
     * @param finished true if the stop token was drawn
     */
    public static Sample of(Tokens tokens, double[] logProbs, boolean finished) {
        double logQ = 0;
        for (double logProb : logProbs) {
            logQ += logProb;
        }
        return new Sample(tokens, logQ, finished, logProbs);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Sample that
                && tokens.equals(that.tokens)
                && Double.compare(logQ, that.logQ) == 0
                && finished == that.finished
                && Arrays.equals(logProbs, that.logProbs);
    }

    @Override
    public int hashCode() {
        return 31 * tokens.hashCode() + Double.hashCode(logQ);
    }
}
