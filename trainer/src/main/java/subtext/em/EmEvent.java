package subtext.em;

import java.nio.file.Path;
import subtext.evaluate.Warning;

/** What happens during a run, in order. The printer of the command line and the metrics file are two subscribers like any other. */
public sealed interface EmEvent {
    /**
     * A run starts or goes on. Comes with every seed.
     *
     * @param run its folder
     * @param resumed whether there was a run in the folder
     * @param parameters of the network
     * @param device and its arithmetic, in words
     */
    record RunStarted(Path run, boolean resumed, long parameters, String device) implements EmEvent {}

    /**
     * A piece of work starts.
     *
     * @param seed whose it is
     * @param stage such as {@code iteration 2: E-step} or {@code baseline oracle}
     * @param unit what is counted, in the plural, such as {@code steps}
     * @param done units that were found finished
     * @param total units of the stage
     */
    record StageStarted(long seed, String stage, String unit, long done, long total) implements EmEvent {}

    /**
     * One update is done, or was skipped.
     *
     * @param seed of the training
     * @param stage such as {@code iteration 2} or {@code baseline oracle}
     * @param step steps done, this one included
     * @param steps of the whole training
     * @param loss nats per predicted token
     * @param gradientNorm global L2 norm, before it is clipped
     * @param learningRate of this step
     * @param tokensPerSecond predicted tokens
     * @param skipped whether the spike guard left the weights as they were
     */
    record StepTrained(
            long seed,
            String stage,
            int step,
            int steps,
            double loss,
            double gradientNorm,
            double learningRate,
            double tokensPerSecond,
            boolean skipped)
            implements EmEvent {}

    /**
     * One file of thoughts is there.
     *
     * @param seed whose E-step it is
     * @param iteration from 1
     * @param part number of the file, from 0
     * @param parts files of the E-step
     * @param chunks records of this file
     * @param essShare mean of ESS/K over its chunks, 0 to 1
     * @param elbo mean over its chunks of the bound with K draws, nats
     * @param tokensPerSecond tokens drawn and scored
     */
    record LatentsDrawn(
            long seed,
            int iteration,
            int part,
            int parts,
            int chunks,
            double essShare,
            double elbo,
            double tokensPerSecond)
            implements EmEvent {}

    /**
     * A checkpoint is complete on disk.
     *
     * @param seed of the training
     * @param stage such as {@code iteration 2}
     * @param step steps that it holds
     * @param folder of this checkpoint
     */
    record CheckpointWritten(long seed, String stage, int step, Path folder) implements EmEvent {}

    /**
     * Something a person should know.
     *
     * @param line one sentence, without a line break
     */
    record Notice(String line) implements EmEvent {}

    /**
     * A figure of an iteration left its range.
     *
     * @param seed of the run
     * @param iteration whose figures they are; 0 is the warm start
     * @param warning what was found, its bound, and what to do
     */
    record Warned(long seed, int iteration, Warning warning) implements EmEvent {}

    /**
     * An iteration is trained and measured.
     *
     * @param seed of the run
     * @param iteration its figures; also told of one that was found finished
     */
    record IterationFinished(long seed, EmReport.Iteration iteration) implements EmEvent {}

    /**
     * A baseline is trained and measured.
     *
     * @param seed of the run
     * @param baseline its figures; also told of one that was found finished
     */
    record BaselineFinished(long seed, EmReport.Baseline baseline) implements EmEvent {}

    /**
     * All is done.
     *
     * @param report of all seeds, as it stands in the folder
     */
    record RunFinished(EmReport report) implements EmEvent {}
}
