package subtext.train;

import java.nio.file.Path;

/** What happens during a training, in order. */
public sealed interface TrainEvent {
    /**
     * An update is done, or was skipped.
     *
     * @param step steps done, this one included
     * @param steps of the whole training
     * @param loss mean weighted loss of the step, nats per token
     * @param gradientNorm before clipping
     * @param learningRate of this step
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

    /**
     * A checkpoint is complete on disk.
     *
     * @param step steps that it holds
     * @param folder of this checkpoint
     */
    record Saved(int step, Path folder) implements TrainEvent {}

    /**
     * Training goes on from a checkpoint.
     *
     * @param step steps done before
     */
    record Resumed(int step) implements TrainEvent {}

    /**
     * The loss on development sequences was measured.
     *
     * @param step steps done
     * @param loss nats per token
     * @param best whether it is the lowest so far
     */
    record Development(int step, double loss, boolean best) implements TrainEvent {}

    /**
     * Something a person should know.
     *
     * @param line one sentence, without a line break
     */
    record Notice(String line) implements TrainEvent {}
}
