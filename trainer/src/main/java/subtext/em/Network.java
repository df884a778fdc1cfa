package subtext.em;

import java.io.IOException;
import java.util.Optional;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.generate.Generator;
import subtext.generate.Scorer;
import subtext.io.Conversation;
import subtext.io.Safetensors;
import subtext.model.Initialisation;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.WeightPieces;
import subtext.run.StopSignal;
import subtext.text.ControlTokens;
import subtext.text.Tokenizer;
import subtext.train.AdamW;
import subtext.train.Trainer;

/**
 * The device memory of a run: one model with its gradients, its optimizer, and a generator and a scorer on the same weights. All trainings and E-steps
 * of a run take turns in it, so it is allocated once. Confined to the device's thread.
 */
public final class Network implements AutoCloseable {
    private final Llama llama;
    private final AdamW optimizer;
    private final Generator generator;
    private final Scorer scorer;
    private final Optional<Origin> origin;

    /**
     * A network that starts from scratch and keeps the activations of a step.
     *
     * @param device where it is allocated; stays with the caller
     * @param config sizes of the model
     * @param type storage of weights and activations
     * @param microTokens predicted tokens per pass, at most; at least the context is taken
     * @param maxThought most tokens of a thought, its closing marker included
     * @param slots sequences drawn at once; 0: as many as are worth having
     * @param samples K, for the choice of the generator's room
     */
    public Network(
            Device device, LlamaConfig config, DType type, int microTokens, int maxThought, int slots, int samples) {
        this(device, config, type, microTokens, maxThought, slots, samples, false, Optional.empty());
    }

    /**
     * @param microTokens predicted tokens per pass, at most; a sequence as long as the context must fit
     * @param maxThought most tokens of a thought
     * @param slots sequences drawn at once; 0: as many as are worth having
     * @param samples K, for the choice of the generator's room
     * @param recompute whether activations are computed again in backward
     * @param origin the model whose weights are the initial ones
     */
    Network(
            Device device,
            LlamaConfig config,
            DType type,
            int microTokens,
            int maxThought,
            int slots,
            int samples,
            boolean recompute,
            Optional<Origin> origin) {
        this.origin = origin;
        int rows = Math.max(microTokens, config.context());
        Llama.Capacity capacity = Llama.Capacity.training(rows, rows);
        this.llama = Llama.open(device, config, type, recompute ? capacity.withRecompute() : capacity);
        try {
            this.optimizer = new AdamW(llama);
            Generator.Limits limits = Generator.Limits.fit(llama, config.context(), maxThought, 1 << 20, samples);
            this.generator = new Generator(
                    llama,
                    (slots == 0 ? limits : new Generator.Limits(slots, slots, limits.capacity(), limits.prefillRows()))
                            .scoring());
            this.scorer = new Scorer(llama, Scorer.Limits.fit(llama, config.context(), config.context()));
        } catch (RuntimeException | Error e) {
            llama.close();
            throw e;
        }
    }

    /** {@return the model; its weights are those last loaded or trained} */
    public Llama llama() {
        return llama;
    }

    /** Whether sampler, scorer and trainer agree in every bit on its device. */
    boolean exact() {
        return llama.device().exact();
    }

    /**
     * {@return a trainer on the model that saves and stops when asked to}
     *
     * @param stop looked at after every step
     */
    public Trainer trainer(StopSignal stop) {
        return new Trainer(llama, optimizer, stop);
    }

    /**
     * {@return the model as one of thoughts, on the weights that it has at the time of a call}
     *
     * @param control ids of the markers
     * @param maxThought most tokens of a thought, its closing marker included
     */
    public NeuralModel model(ControlTokens control, int maxThought) {
        return new NeuralModel(generator, scorer, control, maxThought);
    }

    /**
     * {@return initial weights: noise, or those of the model that the run starts from, made or read anew each time they are asked for}
     *
     * @param key of the noise; of a given model only the added rows depend on it
     */
    public WeightPieces initialWeights(long key) {
        return origin.map(model -> model.weights(key)).orElseGet(() -> Initialisation.pieces(llama.table(), key));
    }

    /** Writes what was trained last; it is talked to as the model that the run started from, if there is one. */
    String writeTo(StageFolder stage, Tokenizer tokenizer) throws IOException {
        Conversation conversation = origin.map(Origin::conversation).orElseGet(() -> Conversation.of(tokenizer));
        return stage.writeModel(llama.config(), trained(), tokenizer, conversation);
    }

    /** What was trained last, at full precision. */
    private Safetensors.Source trained() {
        return optimizer::weights;
    }

    /** Frees everything. */
    @Override
    public void close() {
        scorer.close();
        generator.close();
        optimizer.close();
        llama.close();
    }
}
