package subtext.em;

import subtext.text.Tokens;

/**
 * A drawn thought with its probabilities, in nats. One that was not closed hit the length limit; one that was closed and is not finished is malformed: a
 * marker stands in it. Neither may be chosen, and only the first would be helped by a higher limit.
 *
 * @param thought its tokens, without the closing marker
 * @param closed the closing marker was drawn before the length limit
 * @param finished it is closed and no other marker stands in it: it may be chosen
 * @param logQ log q(z | x, context) of what was drawn, the closing marker included if it was
 * @param score log p of the thought with its closing marker, and of the text after it
 */
public record ScoredSample(Tokens thought, boolean closed, boolean finished, double logQ, JointScore score) {
    /**
     * Checks that what may be chosen is closed.
     *
     * @throws IllegalArgumentException if it is finished and not closed
     */
    public ScoredSample {
        if (finished && !closed) {
            throw new IllegalArgumentException("finished: expected a closed thought, got one that is cut off");
        }
    }

    /** {@return whether it was closed with another marker in it, which no text of the grammar has} */
    public boolean malformed() {
        return closed && !finished;
    }

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
