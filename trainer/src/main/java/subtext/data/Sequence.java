package subtext.data;

import subtext.text.Tokens;

/**
 * A token sequence to train on, or a piece of one.
 *
 * @param tokens n ids, of which the last n - 1 are predicted
 * @param weights n factors of the loss of each token; that of the first is not used
 */
public record Sequence(Tokens tokens, float[] weights) {
    /**
     * Checks that the lengths agree. The array is not copied.
     *
     * @throws IllegalArgumentException unless there is one weight for each token
     */
    public Sequence {
        if (weights.length != tokens.size()) {
            throw new IllegalArgumentException("weights: expected " + tokens.size() + ", got " + weights.length);
        }
    }

    /** {@return number of predictions: the rows the sequence takes in a batch} */
    public int rows() {
        return tokens.size() - 1;
    }

    /**
     * {@return number of pieces when cut to a context, at least 1}
     *
     * @param context most rows of a piece, 1 or more
     */
    public int pieces(int context) {
        return Math.max(1, (rows() + context - 1) / context);
    }

    /**
     * {@return a piece: pieces overlap by one token, so that every token but the first is predicted exactly once}
     *
     * @param i its number, in [0, pieces)
     * @param context most rows of a piece, 1 or more
     */
    public Sequence piece(int i, int context) {
        int from = i * context;
        int to = Math.min(tokens.size(), from + context + 1);
        return from == 0 && to == tokens.size()
                ? this
                : new Sequence(tokens.slice(from, to), java.util.Arrays.copyOfRange(weights, from, to));
    }
}
