package subtext.bindings;

/**
 * What an attention kernel has to know beside its tensors.
 *
 * @param heads query heads H
 * @param kvHeads key and value heads Hkv, a divisor of H
 * @param headDim head size D
 * @param scale factor of the scores, usually {@code 1 / sqrt(D)}
 * @param window how many keys a query sees, itself included; 0 for all
 */
public record AttentionShape(long heads, long kvHeads, long headDim, double scale, long window) {

    /**
     * Checks what every kernel relies on.
     *
     * @throws IllegalArgumentException unless Hkv divides H, D is even and at least 2, and the window is not negative
     */
    public AttentionShape {
        if (heads < 1 || kvHeads < 1 || heads % kvHeads != 0) {
            throw new IllegalArgumentException("heads must be a multiple of kvHeads, got " + heads + " and " + kvHeads);
        }
        if (headDim < 2 || headDim % 2 != 0) {
            throw new IllegalArgumentException("headDim: expected an even number, got " + headDim);
        }
        if (window < 0) {
            throw new IllegalArgumentException("window: expected 0 (all) or more, got " + window);
        }
    }

    /**
     * Attention over all earlier keys with the usual scale, {@code 1 / sqrt(D)}.
     *
     * @param heads query heads H
     * @param kvHeads key and value heads Hkv, a divisor of H
     * @param headDim head size D, even
     * @return the shape, without a window
     * @throws IllegalArgumentException as the constructor
     */
    public static AttentionShape of(long heads, long kvHeads, long headDim) {
        return new AttentionShape(heads, kvHeads, headDim, 1 / Math.sqrt(headDim), 0);
    }

    /** {@return the width of a row of queries, and of the output: H D} */
    public long width() {
        return heads * headDim;
    }

    /** {@return the width of a row of queries, keys and values: (H + 2 Hkv) D} */
    public long qkvWidth() {
        return (heads + 2 * kvHeads) * headDim;
    }
}
