package subtext.model;

import subtext.bindings.DType;
import subtext.bindings.Kernels;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;

/**
 * The forward pass of new rows over a cache of keys and values: prefill, decoding and scoring behind a shared prefix are all this. It does
 * the very operations of the training forward, row by row the same bits. Owns its cache and activations; the model must outlive it.
 */
public final class CachedForward implements AutoCloseable {
    private final Llama llama;
    private final Kernels k;
    private final int rows;
    private final int slots;
    private final int capacity;
    private final Slab slab;
    private KvCache cache;
    private Tensor x;
    private Attention.Rows attention;
    private QkvProjection.Room room;
    private Tensor gateUp;
    private Tensor hidden;
    private Tensor logits;

    /** The first n rows of the activations. */
    private record Views(Tensor x, Attention.Rows attention, FeedForward.Saved feedForward, Head.Saved head) {}

    /**
     * Room for a model's forward passes.
     *
     * @param llama the model, which must outlive this
     * @param rows the most rows of one call
     * @param slots sequences and prefixes held at once
     * @param capacity positions of a slot
     * @throws subtext.bindings.EngineException.OutOfDeviceMemory if it does not fit, with what it was to hold
     */
    public CachedForward(Llama llama, int rows, int slots, int capacity) {
        this.llama = llama;
        this.k = llama.device().kernels();
        this.rows = rows;
        this.slots = slots;
        this.capacity = capacity;
        LlamaConfig config = llama.config();
        DType dtype = llama.dtype();
        this.slab = llama.device().slab("cache", s -> {
            x = s.tensor("x", dtype, rows, config.width());
            attention = new Attention.Rows(
                    s.tensor("normed", dtype, rows, config.width()),
                    QkvProjection.Saved.lay(s, "", config, dtype, rows, false),
                    s.tensor("qkv", dtype, rows, config.qkvWidth()),
                    s.tensor("mixed", dtype, rows, config.attentionWidth()));
            room = QkvProjection.Room.lay(s, config, dtype, rows, false);
            gateUp = s.tensor("gateUp", dtype, rows, 2L * config.hidden());
            hidden = s.tensor("hidden", dtype, rows, config.hidden());
            logits = s.tensor("logits", dtype.real(), logitsRows(config, dtype, rows), config.paddedVocabulary());
            cache = new KvCache(s, config, dtype, slots, capacity);
        });
        room.fill(llama.device(), config);
    }

    /**
     * About how much a cached forward takes, before it is made.
     *
     * @param config sizes of the model
     * @param dtype storage of its activations, and so of keys and values
     * @param rows the most rows of one call
     * @param slots sequences and prefixes held at once
     * @param capacity positions of a slot
     * @return the bytes on the device
     */
    public static long bytes(LlamaConfig config, DType dtype, int rows, int slots, int capacity) {
        long row = 2L * config.width() + config.qkvWidth() + config.attentionWidth() + 3L * config.hidden();
        row += config.family().headNorms() ? 2L * config.qkvWidth() : 0;
        return rows * row * dtype.bytes()
                + (long) logitsRows(config, dtype, rows)
                        * config.paddedVocabulary()
                        * dtype.real().bytes()
                + slots * KvCache.slotBytes(config, dtype, capacity);
    }

    private static int logitsRows(LlamaConfig config, DType dtype, int rows) {
        return Math.min(rows, Head.chunkRows(config, dtype));
    }

    /** {@return the most rows of one call} */
    public int rows() {
        return rows;
    }

    /** {@return how many sequences and prefixes are held at once} */
    public int slots() {
        return slots;
    }

    /** {@return the positions of a slot} */
    public int capacity() {
        return capacity;
    }

    /**
     * Computes rows and stores their keys and values.
     *
     * @param batch at most {@link #rows} of them
     * @return (N, C) the last norm's output of each row, valid until the next call
     */
    public Tensor forward(CachedRows batch) {
        Views v = views(batch.rows());
        Llama.ModelWeights w = llama.parts();
        k.embeddingForward(v.x(), w.embedding(), batch.token());
        for (int i = 0; i < llama.config().layers(); i++) {
            llama.attention().forward(v.x(), w.attention().get(i), v.x(), v.attention(), room, cache.layer(i), batch);
            llama.feedForward().forward(v.x(), w.feedForward().get(i), v.feedForward());
        }
        llama.head().norm(w.head(), v.head());
        return v.attention().normed();
    }

    /**
     * Computes rows for the sake of their keys and values alone.
     *
     * @param batch at most {@link #rows} of them
     */
    public void prefill(CachedRows batch) {
        Views v = views(batch.rows());
        Llama.ModelWeights w = llama.parts();
        k.embeddingForward(v.x(), w.embedding(), batch.token());
        int last = llama.config().layers() - 1;
        for (int i = 0; i < last; i++) {
            llama.attention().forward(v.x(), w.attention().get(i), v.x(), v.attention(), room, cache.layer(i), batch);
            llama.feedForward().forward(v.x(), w.feedForward().get(i), v.feedForward());
        }
        // nothing reads the last block's output
        llama.attention().store(w.attention().get(last), v.x(), v.attention(), room, cache.layer(last), batch);
    }

    /**
     * The output matrix over rows that {@link #forward} gave.
     *
     * @param to (N, padded V) real, written
     * @param normed (N, C) dtype, what it gave, or some rows of it
     */
    public void logits(Tensor to, Tensor normed) {
        llama.head().logits(to, llama.parts().head(), normed);
    }

    /**
     * Log-probabilities after rows that {@link #forward} gave.
     *
     * @param logProb (N) real, written, in nats
     * @param normed (N, C) dtype, what it gave, or some rows of it
     * @param target (N) i32, the id asked for after each row; outside the vocabulary gives 0
     */
    public void logProbs(Tensor logProb, Tensor normed, Tensor target) {
        llama.head().logProbs(logProb, llama.parts().head(), normed, logits, target);
    }

    private Views views(long n) {
        Tensor xs = x.rows(0, n);
        Tensor norms = attention.normed().rows(0, n);
        return new Views(
                xs,
                new Attention.Rows(
                        norms,
                        attention.heads().rows(n, llama.config()),
                        attention.qkv().rows(0, n),
                        attention.mixed().rows(0, n)),
                new FeedForward.Saved(xs, null, norms, gateUp.rows(0, n), hidden.rows(0, n)),
                new Head.Saved(xs, null, norms));
    }

    /** Frees cache and activations. Closing twice does nothing. */
    @Override
    public void close() {
        slab.close();
    }
}
