package subtext.model;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import subtext.bindings.AttentionShape;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.bindings.Kernels;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;

/**
 * A Llama-style transformer on a device: embedding, L blocks of an attention and a feed-forward half, a last norm and the output matrix;
 * forward and backward written out by hand. Owns the weights and, as far as its {@link Capacity} asks, gradients and activations; all of
 * it is allocated here, nothing in a step.
 *
 * <p>A row's log-probability does not depend on the other rows of a batch, and is the same to the bit in {@link #forwardBackward},
 * {@link #logProbs} and {@link CachedForward}. Confined to the device's thread.
 *
 * @see <a href="https://arxiv.org/abs/2302.13971">Touvron et al. 2023</a> for the architecture
 */
public final class Llama implements AutoCloseable {
    /** int arrays of a batch begin at multiples of this many elements in their common buffer: 64 bytes. */
    private static final int INT_ALIGNMENT = 16;

    /** Positions whose rotations are made at once. */
    private static final int ROPE_POSITIONS = 1024;

    /**
     * What a model keeps room for beside its weights.
     *
     * @param rows the most tokens of a batch; 0 for a model that only generates and scores behind a cache
     * @param sequences the most sequences of a batch
     * @param gradients whether it trains
     * @param recompute whether each block's activations are computed again in backward instead of kept: a third more work, and of each
     *     layer only (rows, C) is held
     */
    public record Capacity(int rows, int sequences, boolean gradients, boolean recompute) {
        /**
         * Checks both sizes.
         *
         * @throws IllegalArgumentException if one is negative
         */
        public Capacity {
            if (rows < 0 || sequences < 0) {
                throw new IllegalArgumentException(
                        "rows, sequences: expected 0 or more, got " + rows + " and " + sequences);
            }
        }

        /** {@return weights only: for {@code Generator} and {@code Scorer}, which bring their own room} */
        public static Capacity weights() {
            return new Capacity(0, 0, false, false);
        }

        /**
         * Log-probabilities of batches.
         *
         * @param rows the most tokens of a batch
         * @param sequences the most sequences of a batch
         * @return room for that, without gradients
         */
        public static Capacity scoring(int rows, int sequences) {
            return new Capacity(rows, sequences, false, false);
        }

        /**
         * Training on batches, all activations kept.
         *
         * @param rows the most tokens of a batch
         * @param sequences the most sequences of a batch
         * @return room for that, with gradients
         */
        public static Capacity training(int rows, int sequences) {
            return new Capacity(rows, sequences, true, false);
        }

        /** {@return the same with blocks computed again in backward} */
        public Capacity withRecompute() {
            return new Capacity(rows, sequences, gradients, true);
        }
    }

    private final Device device;
    private final Kernels k;
    private final LlamaConfig config;
    private final DType dtype;
    private final Capacity capacity;
    private final ParameterTable table;

    private final Attention attention;
    private final FeedForward feedForward;
    private final Head head;

    private final List<Slab> slabs = new ArrayList<>();
    private final Tensor ropeTable;
    private final Parameters weights;
    private final ModelWeights w;
    private final Optional<Parameters> gradients;
    private final Optional<ModelWeights> dw;
    private final Activations activations;

    /** The weights as the half-blocks take them. Of gradients: the same places in another flat tensor. */
    record ModelWeights(
            Tensor embedding,
            List<Attention.Weights> attention,
            List<FeedForward.Weights> feedForward,
            Head.Weights head) {
        static ModelWeights of(Parameters parameters) {
            List<Attention.Weights> attention = new ArrayList<>();
            List<FeedForward.Weights> feedForward = new ArrayList<>();
            for (int i = 0; i < parameters.table().config().layers(); i++) {
                attention.add(Attention.Weights.of(parameters, i));
                feedForward.add(FeedForward.Weights.of(parameters, i));
            }
            return new ModelWeights(
                    parameters.tensor("embedding"), attention, feedForward, Head.Weights.of(parameters));
        }
    }

    private Llama(Device device, LlamaConfig config, DType dtype, Capacity capacity) {
        this.device = device;
        this.k = device.kernels();
        this.config = config;
        this.dtype = dtype;
        this.capacity = capacity;
        this.table = ParameterTable.of(config);
        try {
            Tensor[] cut = new Tensor[2];
            slabs.add(device.slab("weights", slab -> {
                cut[0] = Parameters.lay(slab, "weights", table, dtype);
                cut[1] = layRope(slab, config, dtype);
            }));
            this.weights = new Parameters(table, cut[0]);
            this.w = ModelWeights.of(weights);
            this.ropeTable = cut[1];
            device.zero(weights.flat());
            fillRopeTable();
            if (capacity.gradients()) {
                slabs.add(device.slab(
                        "gradients", slab -> cut[0] = Parameters.lay(slab, "gradients", table, dtype.real())));
                device.zero(cut[0]);
                this.gradients = Optional.of(new Parameters(table, cut[0]));
            } else {
                this.gradients = Optional.empty();
            }
            this.dw = gradients.map(ModelWeights::of);
            this.attention = new Attention(device, config, ropeTable);
            this.feedForward = new FeedForward(k, config);
            this.head = new Head(k, config);
            Activations[] laid = new Activations[1];
            slabs.add(device.slab(
                    "activations", slab -> laid[0] = new Activations(slab, k, attention, config, dtype, capacity)));
            this.activations = laid[0];
            activations.projection.fill(device, config);
        } catch (RuntimeException | Error e) {
            close();
            throw e;
        }
    }

    /**
     * A model with weights of zero.
     *
     * @param device where it lives, and whose thread it is confined to
     * @param config its sizes
     * @param dtype storage of weights and activations: F32, BF16, or F64 (CPU only, for gradient tests)
     * @param capacity what to keep room for beside the weights
     * @return the model, which the caller closes, or which is freed with the device
     * @throws EngineException.OutOfDeviceMemory if it does not fit, with what it was to hold
     */
    public static Llama open(Device device, LlamaConfig config, DType dtype, Capacity capacity) {
        return new Llama(device, config, dtype, capacity);
    }

    /**
     * Bytes that a model takes on a device, nothing else.
     *
     * @param weights with the table of rotary positions
     * @param gradients of every weight; 0 for a model that does not train
     * @param activations inputs and scratch among them
     */
    public record Memory(long weights, long gradients, long activations) {
        /** {@return all of it, in bytes} */
        public long bytes() {
            return weights + gradients + activations;
        }
    }

    /**
     * What {@link #open} with these arguments would allocate, by the layouts that it uses; nothing is allocated.
     *
     * @param device whose kernels say how much scratch they take
     * @param config sizes of the model
     * @param dtype storage of weights and activations
     * @param capacity what to keep room for beside the weights
     * @return the bytes, by what they hold
     */
    public static Memory measure(Device device, LlamaConfig config, DType dtype, Capacity capacity) {
        ParameterTable table = ParameterTable.of(config);
        Attention half = new Attention(device, config, null);
        return new Memory(
                Slab.measure(slab -> {
                    Parameters.lay(slab, "weights", table, dtype);
                    layRope(slab, config, dtype);
                }),
                capacity.gradients() ? Slab.measure(slab -> Parameters.lay(slab, "gradients", table, dtype.real())) : 0,
                Slab.measure(slab -> new Activations(slab, device.kernels(), half, config, dtype, capacity)));
    }

    private static Tensor layRope(Slab slab, LlamaConfig config, DType dtype) {
        return slab.tensor("rope", dtype.real(), config.context(), config.headDim() / 2, 2);
    }

    /** {@return where the model lives; not closed with it} */
    public Device device() {
        return device;
    }

    /** {@return the sizes} */
    public LlamaConfig config() {
        return config;
    }

    /** {@return the storage of weights and activations} */
    public DType dtype() {
        return dtype;
    }

    /** {@return what it has room for} */
    public Capacity capacity() {
        return capacity;
    }

    /** {@return names, shapes and places of the parameters} */
    public ParameterTable table() {
        return table;
    }

    /** {@return the weights on the device} */
    public Parameters weights() {
        return weights;
    }

    /**
     * {@return the gradients, real, added to by {@link #forwardBackward}}
     *
     * @throws IllegalStateException if the model was opened without
     */
    public Parameters gradients() {
        return gradients.orElseThrow(() -> new IllegalStateException("the model was opened without gradients"));
    }

    /**
     * Sets the weights, rounded to the storage type.
     *
     * @param flat all of them, in the order of the table, {@code table().size()} long
     * @throws IllegalArgumentException if the length differs
     */
    public void upload(float[] flat) {
        if (dtype == DType.F64) {
            uploadReals(weights.flat(), widen(flat));
        } else {
            device.upload(weights.flat(), flat);
        }
    }

    /**
     * Sets the weights piece by piece; what is not given is zero.
     *
     * @param pieces of a model of this table
     * @throws IOException if they cannot be read; the weights are then undefined
     */
    public void upload(WeightPieces pieces) throws IOException {
        device.zero(weights.flat());
        pieces.forEach(this::upload);
    }

    /**
     * Sets a stretch of the weights, rounded to the storage type.
     *
     * @param at its first element in the flat array
     * @param values of as many elements as are set
     * @throws IllegalArgumentException if they reach beyond the flat array
     */
    public void upload(long at, float[] values) {
        Tensor to = weights.flat().rows(at, at + values.length);
        if (dtype == DType.F64) {
            device.upload(to, widen(values));
        } else {
            device.upload(to, values);
        }
    }

    /**
     * Reads a stretch of the weights.
     *
     * @param at its first element in the flat array
     * @param n how many elements
     * @return the values, as they are stored, in a fresh array
     * @throws IllegalArgumentException if they reach beyond the flat array
     */
    public float[] download(long at, int n) {
        Tensor from = weights.flat().rows(at, at + n);
        return dtype == DType.F64 ? narrow(device.downloadDoubles(from)) : device.downloadFloats(from);
    }

    /** {@return the weights as a flat array in the order of the table} */
    public float[] download() {
        return dtype == DType.F64
                ? narrow(device.downloadDoubles(weights.flat()))
                : device.downloadFloats(weights.flat());
    }

    /**
     * Where the forward pass over a batch first gives a number that is not finite. Goes through the pass once more and looks at everything,
     * for a pass that failed.
     *
     * @param batch the one that failed
     * @return such as {@code output of layer 3, attention}; empty if all is finite
     * @throws EngineException.InvalidInput as in {@link #forwardBackward}
     */
    public Optional<String> nonFinite(PackedBatch batch) {
        Activations.Batch rows = stage(batch, 0);
        k.embeddingForward(rows.x(0), w.embedding(), rows.token());
        if (!finite(rows.x(0))) {
            return Optional.of("output of embed_tokens");
        }
        for (int i = 0; i < config.layers(); i++) {
            block(i, rows);
            if (capacity.gradients() && !finite(rows.feedForward(i).x())) {
                return Optional.of("output of layer " + i + ", attention");
            }
            if (!finite(rows.x(i + 1))) {
                return Optional.of("output of layer " + i + ", mlp");
            }
        }
        for (double logProb : logProbs(batch)) {
            if (!Double.isFinite(logProb)) {
                return Optional.of("log-probabilities of the output");
            }
        }
        return Optional.empty();
    }

    private boolean finite(Tensor tensor) {
        Tensor flat = tensor.reshape(tensor.shape().size());
        for (long at = 0; at < flat.shape().size(); at += WeightPieces.ELEMENTS) {
            Tensor piece = flat.rows(
                    at, Math.min(at + WeightPieces.ELEMENTS, flat.shape().size()));
            for (double value : device.downloadDoubles(piece)) {
                if (!Double.isFinite(value)) {
                    return false;
                }
            }
        }
        return true;
    }

    /** Clears the gradients. */
    public void zeroGradients() {
        device.zero(gradients().flat());
    }

    /**
     * One forward and backward pass. Adds the gradient of {@code lossScale * sum of weight[n] * loss[n]} to {@link #gradients}.
     *
     * @param batch at most as many rows and sequences as there is room for
     * @param lossScale factor of every loss in the gradients, such as 1 / the weight of all micro-batches
     * @return sum of weight[n] * loss[n] over the rows with a target, in nats, added up in double precision in the order of the rows; not
     *     scaled
     * @throws IllegalStateException if the model was opened without gradients
     * @throws EngineException.InvalidInput if the batch exceeds the capacity or holds an id or a length the model does not know
     */
    public double forwardBackward(PackedBatch batch, double lossScale) {
        return weighted(batch, forwardBackwardRows(batch, lossScale));
    }

    /**
     * The same as {@link #forwardBackward}, giving the loss of each row instead of their sum.
     *
     * @param batch at most as many rows and sequences as there is room for
     * @param lossScale factor of every loss in the gradients
     * @return (N) in nats, not weighted; 0 without a target
     * @throws EngineException.InvalidInput as in {@link #forwardBackward}
     * @throws IllegalStateException if the model was opened without gradients
     */
    public double[] forwardBackwardRows(PackedBatch batch, double lossScale) {
        ModelWeights d = dw.orElseThrow(() -> new IllegalStateException("the model was opened without gradients"));
        if (batch.rows() == 0) {
            return new double[0];
        }
        Activations.Batch rows = stage(batch, lossScale);
        forward(rows);
        head.forwardBackward(
                rows.loss(),
                rows.dx(),
                d.head(),
                w.head(),
                rows.head(),
                activations.headScratch,
                rows.target(),
                rows.weight());
        device.zero(rows.dx());
        head.normBackward(rows.dx(), d.head(), w.head(), rows.head(), activations.headScratch);
        for (int i = config.layers() - 1; i >= 0; i--) {
            if (capacity.recompute()) {
                block(i, rows);
            }
            feedForward.backward(
                    rows.dx(),
                    d.feedForward().get(i),
                    w.feedForward().get(i),
                    rows.feedForward(i),
                    rows.feedForwardScratch());
            attention.backward(
                    rows.dx(),
                    d.attention().get(i),
                    w.attention().get(i),
                    rows.attention(i),
                    rows.attentionScratch(),
                    activations.projection,
                    rows.position(),
                    rows.cuSeqlens(),
                    rows.longest());
        }
        k.embeddingBackward(d.embedding(), rows.dx(), rows.token(), rows.order());
        return device.downloadDoubles(rows.loss());
    }

    /**
     * Log-probabilities by the training forward.
     *
     * @param batch at most as many rows and sequences as there is room for; its weights do not matter
     * @return (N) log p(target[n] | the tokens of its sequence up to n), in nats; 0 where nothing is asked
     * @throws EngineException.InvalidInput as in {@link #forwardBackward}
     */
    public double[] logProbs(PackedBatch batch) {
        if (batch.rows() == 0) {
            return new double[0];
        }
        Activations.Batch rows = stage(batch, 0);
        forward(rows);
        head.norm(w.head(), rows.head());
        head.logProbs(rows.loss(), w.head(), rows.head().normed(), activations.headScratch.logits(), rows.target());
        return device.downloadDoubles(rows.loss());
    }

    /**
     * Logits of every row by the training forward: for tests and small looks, they are all held.
     *
     * @param batch at most as many rows and sequences as there is room for
     * @return (N * V) in the order of the rows, padding left out
     * @throws EngineException.InvalidInput as in {@link #forwardBackward}
     */
    public double[] logits(PackedBatch batch) {
        Activations.Batch rows = stage(batch, 0);
        forward(rows);
        head.norm(w.head(), rows.head());
        double[] all = new double[Math.multiplyExact(batch.rows(), config.vocabulary())];
        Tensor chunk = activations.headScratch.logits();
        int stride = config.paddedVocabulary();
        for (int from = 0; from < batch.rows(); from += (int) chunk.shape().dim(0)) {
            int to = (int) Math.min(batch.rows(), from + chunk.shape().dim(0));
            Tensor logits = chunk.rows(0, to - from);
            head.logits(logits, w.head(), rows.head().normed().rows(from, to));
            double[] values = device.downloadDoubles(logits);
            for (int n = from; n < to; n++) {
                System.arraycopy(values, (n - from) * stride, all, n * config.vocabulary(), config.vocabulary());
            }
        }
        return all;
    }

    /** Frees everything. Closing twice does nothing. */
    @Override
    public void close() {
        for (Slab slab : slabs.reversed()) {
            slab.close();
        }
        slabs.clear();
    }

    // ---- what the cached forward shares

    ModelWeights parts() {
        return w;
    }

    Attention attention() {
        return attention;
    }

    FeedForward feedForward() {
        return feedForward;
    }

    Head head() {
        return head;
    }

    // ---- the pass

    private void forward(Activations.Batch rows) {
        k.embeddingForward(rows.x(0), w.embedding(), rows.token());
        for (int i = 0; i < config.layers(); i++) {
            block(i, rows);
        }
    }

    private void block(int i, Activations.Batch rows) {
        attention.forward(
                rows.feedForward(i).x(),
                w.attention().get(i),
                rows.attention(i),
                activations.projection,
                rows.position(),
                rows.cuSeqlens(),
                rows.longest());
        feedForward.forward(rows.x(i + 1), w.feedForward().get(i), rows.feedForward(i));
    }

    /** Checks a batch and uploads it: one transfer of integers, one of weights. */
    private Activations.Batch stage(PackedBatch batch, double lossScale) {
        check(batch);
        int n = batch.rows();
        int stride = aligned(n);
        int[] ints = new int[4 * stride + batch.sequences() + 1];
        System.arraycopy(batch.tokens(), 0, ints, 0, n);
        System.arraycopy(batch.targets(), 0, ints, stride, n);
        System.arraycopy(batch.positions(), 0, ints, 2 * stride, n);
        if (capacity.gradients()) {
            System.arraycopy(batch.order(), 0, ints, 3 * stride, n);
        }
        System.arraycopy(batch.cuSeqlens(), 0, ints, 4 * stride, batch.sequences() + 1);
        device.upload(activations.ints.rows(0, ints.length), ints);
        double[] scaled = new double[n];
        for (int i = 0; i < n; i++) {
            scaled[i] = lossScale * batch.weights()[i];
        }
        uploadReals(activations.weight.rows(0, n), scaled);
        return activations.batch(n, stride, batch.sequences(), batch.longest());
    }

    private void check(PackedBatch batch) {
        if (batch.rows() > capacity.rows() || batch.sequences() > capacity.sequences()) {
            throw new EngineException.InvalidInput("batch of " + batch.rows() + " rows in " + batch.sequences()
                    + " sequences: the model has room for " + capacity.rows() + " rows in " + capacity.sequences());
        }
        if (batch.longest() > config.context()) {
            throw new EngineException.InvalidInput("batch: a sequence of " + batch.longest()
                    + " tokens exceeds the model's context of " + config.context());
        }
        for (int n = 0; n < batch.rows(); n++) {
            if (batch.tokens()[n] < 0
                    || batch.tokens()[n] >= config.vocabulary()
                    || batch.targets()[n] >= config.vocabulary()) {
                throw new EngineException.InvalidInput("batch: row " + n + " has token " + batch.tokens()[n]
                        + " and target " + batch.targets()[n] + ", the vocabulary has " + config.vocabulary() + " ids");
            }
        }
    }

    private static double weighted(PackedBatch batch, double[] losses) {
        double sum = 0;
        for (int n = 0; n < losses.length; n++) {
            sum += batch.targets()[n] < 0 ? 0 : batch.weights()[n] * losses[n];
        }
        return sum;
    }

    /** (context, D / 2, 2): cosine and sine of position times frequency, computed in double precision. Su et al. 2021. */
    private void fillRopeTable() {
        int half = config.headDim() / 2;
        for (int from = 0; from < config.context(); from += ROPE_POSITIONS) {
            int positions = Math.min(ROPE_POSITIONS, config.context() - from);
            double[] part = new double[positions * half * 2];
            for (int i = 0; i < half; i++) {
                double frequency =
                        config.ropeScaling().scale(StrictMath.pow(config.ropeTheta(), -2.0 * i / config.headDim()));
                for (int p = 0; p < positions; p++) {
                    part[(p * half + i) * 2] = StrictMath.cos((from + p) * frequency);
                    part[(p * half + i) * 2 + 1] = StrictMath.sin((from + p) * frequency);
                }
            }
            uploadReals(ropeTable.rows(from, from + positions), part);
        }
    }

    private void uploadReals(Tensor to, double[] values) {
        if (to.dtype() == DType.F64) {
            device.upload(to, values);
        } else {
            device.upload(to, narrow(values));
        }
    }

    private static float[] narrow(double[] values) {
        float[] narrow = new float[values.length];
        for (int i = 0; i < narrow.length; i++) {
            narrow[i] = (float) values[i];
        }
        return narrow;
    }

    private static double[] widen(float[] values) {
        double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        return wide;
    }

    private static int aligned(int n) {
        return (n + INT_ALIGNMENT - 1) / INT_ALIGNMENT * INT_ALIGNMENT;
    }

    /**
     * The room of a pass: inputs, what each layer leaves for backward, and scratch. A model without gradients has one layer's room for all
     * layers and one residual stream, updated in place; one that recomputes has one layer's room and a residual stream per block.
     */
    private static final class Activations {
        final Tensor ints;
        final Tensor weight;
        final Head.Scratch headScratch;
        final QkvProjection.Room projection;
        private final Tensor loss;
        private final Tensor dx;
        private final Tensor[] x;
        private final Attention.Saved[] attention;
        private final FeedForward.Saved[] feedForward;
        private final Head.Saved head;
        private final Attention.Scratch attentionScratch;
        private final FeedForward.Scratch feedForwardScratch;
        private final LlamaConfig config;
        private Batch last;

        Activations(Slab slab, Kernels k, Attention half, LlamaConfig config, DType dtype, Capacity capacity) {
            this.config = config;
            int n = capacity.rows();
            int layers = config.layers();
            int width = config.width();
            DType real = dtype.real();
            boolean train = capacity.gradients();
            int kept = train && !capacity.recompute() ? layers : 1;
            ints = slab.tensor("batch", DType.I32, 4L * aligned(n) + capacity.sequences() + 1);
            weight = slab.tensor("weight", real, n);
            loss = slab.tensor("loss", real, n);
            x = new Tensor[layers + 1];
            x[0] = slab.tensor("x.0", dtype, n, width);
            for (int i = 1; i <= layers; i++) {
                x[i] = train ? slab.tensor("x." + i, dtype, n, width) : x[0];
            }
            attention = new Attention.Saved[layers];
            feedForward = new FeedForward.Saved[layers];
            for (int i = 0; i < layers; i++) {
                if (i < kept) {
                    attention[i] = new Attention.Saved(
                            x[i],
                            slab.tensor("attention.rstd." + i, real, n),
                            slab.tensor("attention.normed." + i, dtype, n, width),
                            QkvProjection.Saved.lay(slab, "." + i, config, dtype, n, train),
                            slab.tensor("qkv." + i, dtype, n, config.qkvWidth()),
                            slab.tensor("mixed." + i, dtype, n, config.attentionWidth()),
                            slab.tensor("lse." + i, real, n, config.heads()));
                    feedForward[i] = new FeedForward.Saved(
                            train ? slab.tensor("xMid." + i, dtype, n, width) : x[0],
                            slab.tensor("feedForward.rstd." + i, real, n),
                            slab.tensor("feedForward.normed." + i, dtype, n, width),
                            slab.tensor("gateUp." + i, dtype, n, 2L * config.hidden()),
                            slab.tensor("hidden." + i, dtype, n, config.hidden()));
                } else {
                    Attention.Saved a = attention[0];
                    attention[i] =
                            new Attention.Saved(x[i], a.rstd(), a.normed(), a.heads(), a.qkv(), a.mixed(), a.lse());
                    feedForward[i] = feedForward[0];
                }
            }
            head = new Head.Saved(
                    x[layers], slab.tensor("head.rstd", real, n), slab.tensor("head.normed", dtype, n, width));
            projection = QkvProjection.Room.lay(slab, config, dtype, n, train);
            int chunk = Math.min(n, Head.chunkRows(config, dtype));
            Tensor logits = slab.tensor("logits", real, chunk, config.paddedVocabulary());
            if (!train) {
                dx = null;
                attentionScratch = null;
                feedForwardScratch = null;
                headScratch = new Head.Scratch(logits, null, null, null);
                return;
            }
            AttentionShape shape = config.attentionShape();
            dx = slab.tensor("dx", dtype, n, width);
            Tensor dNormed = slab.tensor("dNormed", dtype, n, width);
            Tensor rmsnorm = bytes(
                    slab,
                    "rmsnorm.scratch",
                    Math.max(k.rmsnormBackwardScratchBytes(n, width, dtype), half.projectionScratchBytes(n, dtype)));
            attentionScratch = new Attention.Scratch(
                    dNormed,
                    slab.tensor("dQkv", dtype, n, config.qkvWidth()),
                    slab.tensor("dMixed", dtype, n, config.attentionWidth()),
                    bytes(
                            slab,
                            "attention.scratch",
                            k.attentionBackwardScratchBytes(
                                    capacity.sequences(), Math.min(n, config.context()), n, shape, dtype)),
                    rmsnorm);
            feedForwardScratch = new FeedForward.Scratch(
                    dNormed,
                    slab.tensor("dGateUp", dtype, n, 2L * config.hidden()),
                    slab.tensor("dHidden", dtype, n, config.hidden()),
                    rmsnorm);
            Tensor dLogits =
                    Head.inPlace(dtype) ? logits : slab.tensor("dLogits", dtype, chunk, config.paddedVocabulary());
            headScratch = new Head.Scratch(logits, dLogits, dNormed, rmsnorm);
        }

        private static Tensor bytes(Slab slab, String name, long bytes) {
            return slab.tensor(name, DType.F32, (bytes + 3) / 4);
        }

        /** The first n rows of everything. */
        Batch batch(int n, int stride, int sequences, long longest) {
            if (last == null || last.n != n || last.sequences != sequences || last.longest != longest) {
                last = new Batch(this, config, n, stride, sequences, longest);
            }
            return last;
        }

        /** Views of the rows in use, kept as long as batches have the same sizes. */
        static final class Batch {
            private final int n;
            private final int sequences;
            private final long longest;
            private final Tensor token;
            private final Tensor target;
            private final Tensor position;
            private final Tensor order;
            private final Tensor cuSeqlens;
            private final Tensor weight;
            private final Tensor loss;
            private final Tensor dx;
            private final Tensor[] x;
            private final Attention.Saved[] attention;
            private final FeedForward.Saved[] feedForward;
            private final Head.Saved head;
            private final Attention.Scratch attentionScratch;
            private final FeedForward.Scratch feedForwardScratch;

            Batch(Activations all, LlamaConfig config, int n, int stride, int sequences, long longest) {
                this.n = n;
                this.sequences = sequences;
                this.longest = longest;
                token = all.ints.rows(0, n);
                target = all.ints.rows(stride, stride + n);
                position = all.ints.rows(2L * stride, 2L * stride + n);
                order = all.ints.rows(3L * stride, 3L * stride + n);
                cuSeqlens = all.ints.rows(4L * stride, 4L * stride + sequences + 1);
                weight = all.weight.rows(0, n);
                loss = all.loss.rows(0, n);
                dx = all.dx == null ? null : all.dx.rows(0, n);
                x = Arrays.stream(all.x).map(t -> t.rows(0, n)).toArray(Tensor[]::new);
                attention =
                        Arrays.stream(all.attention).map(s -> s.rows(n, config)).toArray(Attention.Saved[]::new);
                feedForward = Arrays.stream(all.feedForward).map(s -> s.rows(n)).toArray(FeedForward.Saved[]::new);
                head = all.head.rows(n);
                attentionScratch = all.attentionScratch == null ? null : all.attentionScratch.rows(n);
                feedForwardScratch = all.feedForwardScratch == null ? null : all.feedForwardScratch.rows(n);
            }

            Tensor token() {
                return token;
            }

            Tensor target() {
                return target;
            }

            Tensor position() {
                return position;
            }

            Tensor order() {
                return order;
            }

            Tensor cuSeqlens() {
                return cuSeqlens;
            }

            Tensor weight() {
                return weight;
            }

            Tensor loss() {
                return loss;
            }

            Tensor dx() {
                return dx;
            }

            Tensor x(int i) {
                return x[i];
            }

            long longest() {
                return longest;
            }

            Attention.Saved attention(int i) {
                return attention[i];
            }

            FeedForward.Saved feedForward(int i) {
                return feedForward[i];
            }

            Head.Saved head() {
                return head;
            }

            Attention.Scratch attentionScratch() {
                return attentionScratch;
            }

            FeedForward.Scratch feedForwardScratch() {
                return feedForwardScratch;
            }
        }
    }
}
