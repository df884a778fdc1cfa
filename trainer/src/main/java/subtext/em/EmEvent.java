package subtext.em;

import java.nio.file.Path;
import subtext.evaluate.Warning;

/** What happens during a run, in order. The printer of the command line and the metrics file are two subscribers like any other. */
public sealed interface EmEvent {
    /** A run starts or goes on. {@code parameters} of the network, {@code device} and its arithmetic in words. */
    record RunStarted(Path run, boolean resumed, long parameters, String device) implements EmEvent {}

    /**
     * A piece of work starts. {@code stage} is such as {@code iteration 2: E-step} or {@code baseline oracle}; {@code done} of
     * {@code total} units were found finished.
     */
    record StageStarted(long seed, String stage, String unit, long done, long total) implements EmEvent {}

    /** One update. {@code loss} in nats per predicted token; {@code skipped} if the spike guard left the weights as they were. */
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

    /** One file of thoughts is there. {@code essShare} is the mean of ESS/K over its chunks. */
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

    /** A checkpoint is complete on disk. */
    record CheckpointWritten(long seed, String stage, int step, Path folder) implements EmEvent {}

    /** Something a person should know, in one line. */
    record Notice(String line) implements EmEvent {}

    /** A figure of an iteration left its range: what was found, its bound, and what to do. */
    record Warned(long seed, int iteration, Warning warning) implements EmEvent {}

    /** An iteration is trained and measured. */
    record IterationFinished(long seed, EmReport.Iteration iteration) implements EmEvent {}

    /** A baseline is trained and measured. */
    record BaselineFinished(long seed, EmReport.Baseline baseline) implements EmEvent {}

    /** All is done. */
    record RunFinished(EmReport report) implements EmEvent {}
}
