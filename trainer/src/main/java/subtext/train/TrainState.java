package subtext.train;

import subtext.data.Cursor;

/**
 * Where a training stands, weights and moments aside: all that must survive a restart.
 *
 * @param step steps done
 * @param updates of them, those that changed the weights: the count of AdamW's bias correction
 * @param cursor where the next batch starts
 * @param meanNorm running mean of the gradient norms, for the spike guard
 * @param tokens predicted tokens so far
 * @param tailLoss sum over the last tenth of the steps of the mean loss of a step, nats per token
 * @param tailSteps steps in that sum
 * @param bestStep step of the lowest development loss so far, 0 if none was measured
 * @param bestLoss that loss
 * @param seconds wall time so far, of all processes that worked on it
 */
public record TrainState(
        int step,
        int updates,
        Cursor cursor,
        double meanNorm,
        long tokens,
        double tailLoss,
        int tailSteps,
        int bestStep,
        double bestLoss,
        double seconds) {
    /** Before the first step. */
    public static final TrainState START = new TrainState(0, 0, Cursor.START, 0, 0, 0, 0, 0, Double.MAX_VALUE, 0);

    /** {@return mean loss over the last tenth of the steps, nats per token; not a number before it} */
    public double loss() {
        return tailLoss / tailSteps;
    }
}
