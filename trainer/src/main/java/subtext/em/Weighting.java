package subtext.em;

import java.util.List;

/** What the weight of a thought is. */
public enum Weighting {
    /** p(z, x) / q(z | x): importance weights, whose mean is p(x). */
    JOINT,
    /** p(x | z) only, a control: a thought that copies the text gets weight 1 whatever led to it. */
    LIKELIHOOD;

    /**
     * {@return the log weights of the draws of one chunk, nats; minus infinity for one that is not finished}
     *
     * @param samples K draws, at least one
     */
    public LogWeights of(List<ScoredSample> samples) {
        return LogWeights.of(samples.stream()
                .mapToDouble(sample -> switch (this) {
                    case JOINT -> sample.logWeight();
                    case LIKELIHOOD -> sample.finished() ? sample.score().logLikelihood() : Double.NEGATIVE_INFINITY;
                })
                .toArray());
    }
}
