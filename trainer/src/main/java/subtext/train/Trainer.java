package subtext.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import subtext.bindings.EngineException;
import subtext.data.BatchLoader;
import subtext.data.Cursor;
import subtext.data.Sequence;
import subtext.model.Llama;
import subtext.model.PackedBatch;
import subtext.model.WeightPieces;
import subtext.run.StopSignal;

/**
 * The training loop: load, forward and backward in micro-batches, norm, guard, clip, update, save. A training is a function of (initial
 * weights, plan, dataset); interrupted at any point it is resumed from its newest checkpoint and ends with the same bits.
 *
 * <p>Confined to the device's thread; the next batch is put together on another one meanwhile.
 */
public final class Trainer {
    /** Norms seen before the spike guard trusts their mean. */
    private static final int SPIKE_HISTORY = 20;

    private static final double NORM_MEMORY = 0.95;

    private final Llama model;
    private final AdamW optimizer;
    private final StopSignal stop;

    /**
     * A trainer that goes on to the end.
     *
     * @param model its weights and gradients are overwritten; stays with the caller
     * @param optimizer of the model
     */
    public Trainer(Llama model, AdamW optimizer) {
        this(model, optimizer, new StopSignal());
    }

    /**
     * A trainer that can be stopped.
     *
     * @param model its weights and gradients are overwritten; stays with the caller
     * @param optimizer of the model
     * @param stop looked at after every step
     */
    public Trainer(Llama model, AdamW optimizer, StopSignal stop) {
        this.model = model;
        this.optimizer = optimizer;
        this.stop = stop;
    }

    /**
     * What came out, the weights aside, which model and optimizer hold.
     *
     * @param state where the training ended
     * @param chosenStep step that the weights are of: the last, or that of the lowest development loss
     */
    public record Result(TrainState state, int chosenStep) {}

    /**
     * Trains, or goes on. Model and optimizer then hold the last weights, or those of the lowest development loss.
     *
     * @param plan how
     * @param loader on what; its budget is the plan's
     * @param initial weights to start from, asked for only where there is no checkpoint
     * @param folder of the checkpoints; where it holds one, training goes on from it
     * @param stopping early stopping, if wanted
     * @param listener told what happens
     * @return the state at the end and the step whose weights were chosen
     * @throws EngineException.Stopped if it was asked for; a checkpoint of the last step is then written
     * @throws EngineException.NonFinite if loss, gradient, learning rate or what would be saved is not finite, naming the
     *     place; no update is made then and nothing saved
     * @throws EngineException.CorruptFile if the newest checkpoint is of a model of another size
     * @throws IOException if the initial weights cannot be read, or a checkpoint cannot be read or written
     */
    public Result train(
            TrainPlan plan,
            BatchLoader loader,
            WeightPieces initial,
            Path folder,
            Optional<EarlyStopping> stopping,
            Consumer<TrainEvent> listener)
            throws IOException {
        Optional<TrainState> found =
                Checkpoint.restore(folder, optimizer.target(), line -> listener.accept(new TrainEvent.Notice(line)));
        TrainState state = found.orElse(TrainState.START);
        if (found.isPresent()) {
            listener.accept(new TrainEvent.Resumed(state.step()));
        } else {
            optimizer.start(initial);
        }
        int saved = found.isPresent() ? state.step() : -1;
        CompletableFuture<Packed> ahead = load(loader, plan, state.cursor());
        while (state.step() < plan.steps() && !exhausted(state, stopping)) {
            long from = System.nanoTime();
            Packed batch = loaded(ahead);
            ahead = load(loader, plan, batch.next());
            state = step(plan, state, batch, saved, folder, from, listener);
            boolean measured = false;
            if (stopping.isPresent() && (state.step() % stopping.get().every() == 0 || state.step() == plan.steps())) {
                state = measure(plan, state, stopping.get(), folder, listener);
                measured = true;
            }
            boolean due = plan.checkpointEvery() > 0 && state.step() % plan.checkpointEvery() == 0;
            boolean asked = stop.requested().isPresent() && state.step() < plan.steps();
            if (due || measured || asked || state.step() == plan.steps()) {
                requireFinite(state, folder, saved);
                Path written = Checkpoint.write(folder, optimizer.content(state), plan.keep());
                saved = state.step();
                listener.accept(new TrainEvent.Saved(saved, written));
            }
            if (asked) {
                stop.check("after step " + state.step() + " of " + plan.steps() + ", saved in " + folder);
            }
        }
        int chosen = stopping.isPresent() && state.bestStep() > 0 ? state.bestStep() : state.step();
        if (chosen < state.step()) {
            optimizer.load(sink -> Checkpoint.readBest(folder, chosen, sink::accept));
        }
        return new Result(state, chosen);
    }

    private TrainState step(
            TrainPlan plan,
            TrainState state,
            Packed batch,
            int saved,
            Path folder,
            long fromNanos,
            Consumer<TrainEvent> listener) {
        model.zeroGradients();
        double sum = 0;
        for (PackedBatch micro : batch.micro()) {
            sum += model.forwardBackward(micro, 1 / batch.weight());
        }
        double loss = sum / batch.weight();
        double norm = optimizer.gradientNorm();
        double learningRate = plan.schedule().at(state.step());
        if (!Double.isFinite(loss) || !Double.isFinite(norm) || !Double.isFinite(learningRate)) {
            throw new EngineException.NonFinite("step " + (state.step() + 1) + ": "
                    + culprit(batch, loss, learningRate) + " is not finite: loss " + loss + ", gradient norm " + norm
                    + " in the batch at " + state.cursor() + "; the weights are unchanged"
                    + lastCheckpoint(folder, saved)
                    + "; try a lower training.learningRate or more training.warmup");
        }
        boolean spike = plan.spike() > 0 && state.updates() >= SPIKE_HISTORY && norm > plan.spike() * state.meanNorm();
        if (!spike) {
            double scale = plan.clip() > 0 && norm > plan.clip() ? plan.clip() / norm : 1;
            optimizer.update(scale, learningRate, plan.adamw(), state.updates() + 1);
        }
        // a skipped step moves the mean as well: norms that have risen for good must not stop a training for ever
        double meanNorm = state.updates() == 0 ? norm : NORM_MEMORY * state.meanNorm() + (1 - NORM_MEMORY) * norm;
        boolean tail = state.step() >= plan.steps() - Math.max(1, plan.steps() / 10);
        double seconds = (System.nanoTime() - fromNanos) * 1e-9;
        TrainState after = new TrainState(
                state.step() + 1,
                state.updates() + (spike ? 0 : 1),
                batch.next(),
                meanNorm,
                state.tokens() + batch.rows(),
                state.tailLoss() + (tail ? loss : 0),
                state.tailSteps() + (tail ? 1 : 0),
                state.bestStep(),
                state.bestLoss(),
                state.seconds() + seconds);
        listener.accept(new TrainEvent.Step(
                after.step(), plan.steps(), loss, norm, learningRate, batch.rows() / seconds, spike));
        return after;
    }

    private static String lastCheckpoint(Path folder, int saved) {
        return ", the last checkpoint is " + (saved < 0 ? "none" : folder.resolve(String.format("step-%06d", saved)));
    }

    /** Where what made a step fail was met first: in what the step began with, else on its way forward, else on its way back. */
    private String culprit(Packed batch, double loss, double learningRate) {
        if (!Double.isFinite(learningRate)) {
            return "the learning rate (" + learningRate + ")";
        }
        if (batch.weight() == 0 || !Double.isFinite(batch.weight())) {
            return "the sum of the loss's weights (" + batch.weight() + "), or one over it,";
        }
        Optional<String> place = optimizer.nonFiniteState();
        if (!Double.isFinite(loss)) {
            for (PackedBatch micro : batch.micro()) {
                place = place.or(() -> model.nonFinite(micro));
            }
        }
        return place.or(optimizer::nonFiniteGradient).orElse("the loss's sum or the norm of the gradients");
    }

    /** Refuses to save what holds a number that is not finite; all of it is looked at before anything is written. */
    private void requireFinite(TrainState state, Path folder, int saved) {
        optimizer.nonFiniteContent().ifPresent(place -> {
            throw new EngineException.NonFinite("step " + state.step() + ": " + place
                    + " is not finite; this step is not saved" + lastCheckpoint(folder, saved)
                    + "; try a lower training.learningRate or more training.warmup");
        });
    }

    private boolean exhausted(TrainState state, Optional<EarlyStopping> stopping) {
        return stopping.isPresent()
                && state.bestStep() > 0
                && state.step() - state.bestStep()
                        >= stopping.get().every() * stopping.get().patience();
    }

    /** Measures the development loss and keeps the weights if it is the lowest. */
    private TrainState measure(
            TrainPlan plan, TrainState state, EarlyStopping stopping, Path folder, Consumer<TrainEvent> listener)
            throws IOException {
        double loss = loss(stopping.development(), plan.microTokens());
        if (!Double.isFinite(loss)) {
            throw new EngineException.NonFinite("step " + state.step() + ": the development loss is " + loss
                    + optimizer
                            .nonFiniteState()
                            .map(place -> ": " + place + " is not finite")
                            .orElse("")
                    + "; this step is not saved; try a lower training.learningRate or more training.warmup");
        }
        boolean best = loss < state.bestLoss();
        listener.accept(new TrainEvent.Development(state.step(), loss, best));
        if (!best) {
            return state;
        }
        Checkpoint.writeBest(folder, state.step(), model.table().size(), optimizer::weights);
        return new TrainState(
                state.step(),
                state.updates(),
                state.cursor(),
                state.meanNorm(),
                state.tokens(),
                state.tailLoss(),
                state.tailSteps(),
                state.step(),
                loss,
                state.seconds());
    }

    /**
     * {@return mean loss of sequences under the weights as they are, nats per token}
     *
     * @param sequences with weights, in any number; nothing is trained on them
     * @param rows predicted tokens per pass, at most
     */
    public double loss(List<Sequence> sequences, int rows) {
        double sum = 0;
        double weight = 0;
        BatchLoader.Batch all = new BatchLoader.Batch(sequences, Cursor.START);
        for (List<Sequence> group : all.groups(rows)) {
            PackedBatch batch = pack(group);
            for (double logProb : model.logProbs(batch)) {
                sum -= logProb;
            }
            weight += batch.weight();
        }
        return sum / weight;
    }

    /** A batch ready to be staged. */
    private record Packed(List<PackedBatch> micro, double weight, int rows, Cursor next) {}

    /** What was wrong with the data is thrown here as it was met there. */
    private static Packed loaded(CompletableFuture<Packed> ahead) {
        try {
            return ahead.join();
        } catch (CompletionException e) {
            switch (e.getCause()) {
                case RuntimeException cause -> throw cause;
                case Error cause -> throw cause;
                case null, default -> throw e;
            }
        }
    }

    private static CompletableFuture<Packed> load(BatchLoader loader, TrainPlan plan, Cursor from) {
        return CompletableFuture.supplyAsync(() -> {
            BatchLoader.Batch batch = loader.load(from);
            List<PackedBatch> micro = new ArrayList<>();
            double weight = 0;
            for (List<Sequence> group : batch.groups(plan.microTokens())) {
                PackedBatch packed = pack(group);
                weight += packed.weight();
                micro.add(packed);
            }
            return new Packed(micro, weight, batch.rows(), batch.next());
        });
    }

    static PackedBatch pack(List<Sequence> pieces) {
        return PackedBatch.of(pieces.stream()
                .map(piece -> PackedBatch.Sequence.next(piece.tokens(), piece.weights()))
                .toList());
    }
}
