package subtext.em;

import subtext.text.Tokens;

/**
 * A drawn thought with its probabilities, in nats.
 *
 * @param thought its tokens, without the closing marker
 * @param finished the closing marker was drawn before the length limit and no other marker stands in the thought: it may be chosen
 * @param logQ log q(z | x, context) of what was drawn, the closing marker included if it was
 * @param score log p of the thought with its closing marker, and of the text after it
 */
public record ScoredSample(Tokens thought, boolean finished, double logQ, JointScore score) {
    /** {@return log p(z, x) - log q(z | x), nats; minus infinity for a thought that is not finished, which cannot be chosen} */
    public double logWeight() {
        return finished ? score.logJoint() - logQ : Double.NEGATIVE_INFINITY;
    }

    /**
     * {@return the log weight for a bound, nats} A thought cut off at the limit counts as the thought of just these tokens, which no
     * finished draw can be (its closing marker would lie beyond the limit): the mean weight still is at most p(x) in expectation, and no
     * single draw makes a bound infinite.
     */
    public double logBoundWeight() {
        return score.logJoint() - logQ;
    }
}
