package subtext.train;

import java.nio.file.Path;

/** What happens during a training, in order. */
public sealed interface TrainEvent {
    /**
     * An update is done, or was skipped.
     *
     * @param step steps done, this one included
     * @param loss mean weighted loss of the step, nats per token
     * @param gradientNorm before clipping
     * @param tokensPerSecond of this step
     * @param skipped the spike guard left the weights as they were
     */
    record Step(
            int step,
            int steps,
            double loss,
            double gradientNorm,
            double learningRate,
            double tokensPerSecond,
            boolean skipped)
            implements TrainEvent {}

    /** A checkpoint is complete on disk. */
    record Saved(int step, Path folder) implements TrainEvent {}

    /** Training goes on from a checkpoint. */
    record Resumed(int step) implements TrainEvent {}

    /** Development loss, nats per token. */
    record Development(int step, double loss, boolean best) implements TrainEvent {}

    /** Something a person should know. */
    record Notice(String line) implements TrainEvent {}
}
