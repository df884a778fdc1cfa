package subtext.em;

/**
 * The two factors of log p(z, x | context), in nats.
 *
 * @param logPrior log p(z {@code </latent>} | context): the thought and its closing marker, the opening markers being given
 * @param logLikelihood log p(x | z, context)
 */
public record JointScore(double logPrior, double logLikelihood) {
    /** {@return log p(z, x | context), nats} */
    public double logJoint() {
        return logPrior + logLikelihood;
    }
}
