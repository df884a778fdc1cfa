package subtext.model;

import subtext.bindings.AttentionShape;
import subtext.bindings.EngineException;

/**
 * The sizes of a Llama-style model. Checked once, here.
 *
 * @param layers L
 * @param width C, the residual stream
 * @param heads H, query heads
 * @param kvHeads Hkv, key and value heads; divides H
 * @param headDim D, even; H * D need not be C
 * @param hidden F, of the feed-forward half
 * @param vocabulary V, ids in use; memory rows are padded to {@link #paddedVocabulary()}
 * @param context the most positions of a sequence
 * @param ropeTheta base of the rotary frequencies
 * @param normEps added to the mean square in RMSNorm
 * @param tied whether the output matrix is the embedding
 * @param ropeScaling stretching of the rotary frequencies
 * @param family what the attention half does beside
 * @param window positions a query sees, its own included; 0 for all
 */
public record LlamaConfig(
        int layers,
        int width,
        int heads,
        int kvHeads,
        int headDim,
        int hidden,
        int vocabulary,
        int context,
        double ropeTheta,
        double normEps,
        boolean tied,
        RopeScaling ropeScaling,
        Family family,
        int window) {

    /** Rows of the embedding in memory are a multiple of this. */
    public static final int VOCABULARY_MULTIPLE = 64;

    // beyond any model there is, and products of them still in range: larger ones are damage, told before anything is
    // made of them
    private static final int MOST_LAYERS = 4096;
    private static final int MOST_WIDTH = 1 << 20;
    private static final int MOST_POSITIONS = 1 << 24;

    /**
     * Checks every size.
     *
     * @throws EngineException.InvalidConfig naming the first size that cannot be
     */
    public LlamaConfig {
        size("layers", layers, MOST_LAYERS);
        size("width", width, MOST_WIDTH);
        size("heads", heads, MOST_WIDTH);
        size("kvHeads", kvHeads, MOST_WIDTH);
        size("headDim", headDim, MOST_WIDTH);
        size("hidden", hidden, MOST_WIDTH);
        size("vocabulary", vocabulary, MOST_POSITIONS);
        size("context", context, MOST_POSITIONS);
        require(
                (long) heads * headDim <= MOST_WIDTH,
                "headDim",
                headDim,
                "heads (" + heads + ") * headDim of at most " + MOST_WIDTH);
        require(heads % kvHeads == 0, "kvHeads", kvHeads, "a divisor of heads (" + heads + ")");
        require(headDim % 2 == 0, "headDim", headDim, "an even number");
        require(ropeTheta > 1 && Double.isFinite(ropeTheta), "ropeTheta", ropeTheta, "a number above 1");
        require(normEps > 0 && normEps < 1, "normEps", normEps, "a number in (0, 1)");
        require(window >= 0, "window", window, "0 (all positions) or more");
    }

    /**
     * A Llama that sees all positions.
     *
     * @param layers L
     * @param width C, the residual stream
     * @param heads H, query heads
     * @param kvHeads Hkv, a divisor of H
     * @param headDim D, even
     * @param hidden F, of the feed-forward half
     * @param vocabulary V, ids in use
     * @param context the most positions of a sequence
     * @param ropeTheta base of the rotary frequencies, above 1
     * @param normEps added to the mean square in RMSNorm, in (0, 1)
     * @param tied whether the output matrix is the embedding
     * @param ropeScaling stretching of the rotary frequencies
     * @throws EngineException.InvalidConfig naming the first size that cannot be
     */
    public LlamaConfig(
            int layers,
            int width,
            int heads,
            int kvHeads,
            int headDim,
            int hidden,
            int vocabulary,
            int context,
            double ropeTheta,
            double normEps,
            boolean tied,
            RopeScaling ropeScaling) {
        this(
                layers,
                width,
                heads,
                kvHeads,
                headDim,
                hidden,
                vocabulary,
                context,
                ropeTheta,
                normEps,
                tied,
                ropeScaling,
                Family.LLAMA,
                0);
    }

    /**
     * A Llama that sees all positions, without stretching of the rotary frequencies.
     *
     * @param layers L
     * @param width C, the residual stream
     * @param heads H, query heads
     * @param kvHeads Hkv, a divisor of H
     * @param headDim D, even
     * @param hidden F, of the feed-forward half
     * @param vocabulary V, ids in use
     * @param context the most positions of a sequence
     * @param ropeTheta base of the rotary frequencies, above 1
     * @param normEps added to the mean square in RMSNorm, in (0, 1)
     * @param tied whether the output matrix is the embedding
     * @throws EngineException.InvalidConfig naming the first size that cannot be
     */
    public LlamaConfig(
            int layers,
            int width,
            int heads,
            int kvHeads,
            int headDim,
            int hidden,
            int vocabulary,
            int context,
            double ropeTheta,
            double normEps,
            boolean tied) {
        this(
                layers,
                width,
                heads,
                kvHeads,
                headDim,
                hidden,
                vocabulary,
                context,
                ropeTheta,
                normEps,
                tied,
                new RopeScaling.None());
    }

    /**
     * A model of the usual proportions for training from scratch: heads of width / heads, as many key as query heads, hidden size 8/3 of
     * the width rounded up to a multiple of 32, tied output.
     *
     * @param layers L
     * @param width C, usually a multiple of {@code heads}
     * @param heads H, query heads and as many key and value heads
     * @param vocabulary V, ids in use
     * @param context the most positions of a sequence
     * @return the sizes
     * @throws EngineException.InvalidConfig naming the first size that cannot be
     */
    public static LlamaConfig small(int layers, int width, int heads, int vocabulary, int context) {
        int hidden = (width * 8 / 3 + 31) / 32 * 32;
        return new LlamaConfig(
                layers, width, heads, heads, width / heads, hidden, vocabulary, context, 10_000, 1e-5, true);
    }

    /**
     * The same model with another number of ids.
     *
     * @param size ids in use
     * @return these sizes but for the vocabulary
     * @throws EngineException.InvalidConfig if there cannot be so many
     */
    public LlamaConfig withVocabulary(int size) {
        return new LlamaConfig(
                layers,
                width,
                heads,
                kvHeads,
                headDim,
                hidden,
                size,
                context,
                ropeTheta,
                normEps,
                tied,
                ropeScaling,
                family,
                window);
    }

    /**
     * The same model for shorter or longer sequences.
     *
     * @param positions the most of a sequence
     * @return these sizes but for the context
     * @throws EngineException.InvalidConfig if there cannot be so many
     */
    public LlamaConfig withContext(int positions) {
        return new LlamaConfig(
                layers,
                width,
                heads,
                kvHeads,
                headDim,
                hidden,
                vocabulary,
                positions,
                ropeTheta,
                normEps,
                tied,
                ropeScaling,
                family,
                window);
    }

    /** {@return the sizes of attention as its kernels take them; a window that no sequence outgrows is none} */
    public AttentionShape attentionShape() {
        return new AttentionShape(heads, kvHeads, headDim, 1 / Math.sqrt(headDim), window < context ? window : 0);
    }

    /**
     * The same sizes with another number of layers.
     *
     * @param count of layers
     * @return these sizes but for the layers
     * @throws EngineException.InvalidConfig if there cannot be so many
     */
    public LlamaConfig withLayers(int count) {
        return new LlamaConfig(
                count,
                width,
                heads,
                kvHeads,
                headDim,
                hidden,
                vocabulary,
                context,
                ropeTheta,
                normEps,
                tied,
                ropeScaling,
                family,
                window);
    }

    /** {@return V rounded up to a multiple of {@value #VOCABULARY_MULTIPLE}} */
    public int paddedVocabulary() {
        return (vocabulary + VOCABULARY_MULTIPLE - 1) / VOCABULARY_MULTIPLE * VOCABULARY_MULTIPLE;
    }

    /** {@return (H + 2 Hkv) D: what the attention half projects to} */
    public int qkvWidth() {
        return (heads + 2 * kvHeads) * headDim;
    }

    /** {@return H D: what attention gives} */
    public int attentionWidth() {
        return heads * headDim;
    }

    /** {@return the count of trained numbers, padding left out} */
    public long parameters() {
        long biases = family.qkvBias() ? qkvWidth() : 0;
        long headNorms = family.headNorms() ? 2L * headDim : 0;
        return matrixParameters()
                + (tied ? 0 : (long) vocabulary * width)
                + width * (2L * layers + 1)
                + layers * (biases + headNorms);
    }

    /**
     * The work of one forward pass over one token: two operations per multiplication in the matrices (output included) and in attention.
     * Training costs three times that.
     *
     * @param keys positions that the token sees, itself included; a mean over tokens will do
     * @return floating-point operations
     */
    public double forwardFlops(double keys) {
        return 2.0 * matrixParameters() + 4.0 * layers * attentionWidth() * keys;
    }

    private long matrixParameters() {
        long layer = (long) width * qkvWidth() + (long) attentionWidth() * width + 3L * width * hidden;
        return layers * layer + (long) vocabulary * width;
    }

    private static void size(String field, int value, int most) {
        require(value > 0 && value <= most, field, value, "a positive number of at most " + most);
    }

    private static void require(boolean holds, String field, Object value, String expected) {
        if (!holds) {
            throw new EngineException.InvalidConfig(field + ": expected " + expected + ", got " + value);
        }
    }
}
