package subtext.model;

import java.util.Arrays;
import java.util.List;
import subtext.text.Tokens;

/**
 * Sequences of any lengths one after another, without padding: what training, scoring and prefill run on. Row n holds one token; the
 * rows of a sequence are neighbours and see no other sequence; positions count from 0 in each.
 */
public final class PackedBatch {
    /** A target that asks for nothing: its row has no loss. */
    public static final int IGNORED = -1;

    private final int[] tokens;
    private final int[] targets;
    private final int[] positions;
    private final int[] cuSeqlens;
    private final float[] weights;
    private final int longest;

    /**
     * One sequence of a batch.
     *
     * @param tokens what the model reads
     * @param targets what it should say after each of them, {@link #IGNORED} where nothing is asked; as long as {@code tokens}
     * @param weights factor of each target's loss; as long as {@code tokens}
     */
    public record Sequence(Tokens tokens, int[] targets, float[] weights) {
        /**
         * Checks that the lengths agree. The arrays are not copied.
         *
         * @throws IllegalArgumentException unless there is one target and one weight for each token
         */
        public Sequence {
            if (targets.length != tokens.size() || weights.length != tokens.size()) {
                throw new IllegalArgumentException("targets, weights: expected " + tokens.size() + " each, got "
                        + targets.length + " and " + weights.length);
            }
        }

        /**
         * Reads all but the last token and predicts each next one, every target of weight 1.
         *
         * @param tokens the whole sequence; fewer than two give an empty one
         * @return the sequence, one token shorter
         */
        public static Sequence next(Tokens tokens) {
            float[] weights = new float[tokens.size()];
            Arrays.fill(weights, 1);
            return next(tokens, weights);
        }

        /**
         * Reads all but the last token and predicts each next one.
         *
         * @param tokens the whole sequence; fewer than two give an empty one
         * @param weights of the same length as {@code tokens}: that of a token is the weight of predicting it; the first is not used. A
         *     weight of 0 takes the target out
         * @return the sequence, one token shorter
         */
        public static Sequence next(Tokens tokens, float[] weights) {
            int n = Math.max(0, tokens.size() - 1);
            int[] targets = new int[n];
            for (int i = 0; i < n; i++) {
                targets[i] = weights[i + 1] == 0 ? IGNORED : tokens.at(i + 1);
            }
            return new Sequence(
                    tokens.slice(0, n), targets, n == 0 ? new float[0] : Arrays.copyOfRange(weights, 1, n + 1));
        }
    }

    private PackedBatch(int[] tokens, int[] targets, int[] positions, int[] cuSeqlens, float[] weights, int longest) {
        this.tokens = tokens;
        this.targets = targets;
        this.positions = positions;
        this.cuSeqlens = cuSeqlens;
        this.weights = weights;
        this.longest = longest;
    }

    /**
     * Packs sequences in their order; empty ones take no row.
     *
     * @param sequences S of them, whose arrays are copied
     * @return the batch, of as many rows as they have tokens
     */
    public static PackedBatch of(List<Sequence> sequences) {
        int rows = sequences.stream().mapToInt(s -> s.tokens().size()).sum();
        int[] tokens = new int[rows];
        int[] targets = new int[rows];
        int[] positions = new int[rows];
        int[] cuSeqlens = new int[sequences.size() + 1];
        float[] weights = new float[rows];
        int longest = 0;
        int row = 0;
        for (int s = 0; s < sequences.size(); s++) {
            Sequence sequence = sequences.get(s);
            int n = sequence.tokens().size();
            for (int i = 0; i < n; i++) {
                tokens[row + i] = sequence.tokens().at(i);
                positions[row + i] = i;
            }
            System.arraycopy(sequence.targets(), 0, targets, row, n);
            System.arraycopy(sequence.weights(), 0, weights, row, n);
            row += n;
            cuSeqlens[s + 1] = row;
            longest = Math.max(longest, n);
        }
        return new PackedBatch(tokens, targets, positions, cuSeqlens, weights, longest);
    }

    /** {@return N, tokens in all} */
    public int rows() {
        return tokens.length;
    }

    /** {@return S, sequences, empty ones included} */
    public int sequences() {
        return cuSeqlens.length - 1;
    }

    /** {@return tokens of the longest sequence, 0 if there is none} */
    public int longest() {
        return longest;
    }

    /** {@return (N) ids read} Not to be changed, like all arrays here. */
    public int[] tokens() {
        return tokens;
    }

    /** {@return (N) ids to predict, {@link #IGNORED} where nothing is asked} */
    public int[] targets() {
        return targets;
    }

    /** {@return (N) place of each row in its sequence, from 0} */
    public int[] positions() {
        return positions;
    }

    /** {@return (S + 1) first row of each sequence, then N} */
    public int[] cuSeqlens() {
        return cuSeqlens;
    }

    /** {@return (N) factor of each row's loss} */
    public float[] weights() {
        return weights;
    }

    /** {@return the sum of the weights of the targets that are not ignored, in double precision} */
    public double weight() {
        double sum = 0;
        for (int n = 0; n < targets.length; n++) {
            sum += targets[n] == IGNORED ? 0 : weights[n];
        }
        return sum;
    }

    /**
     * The order in which embedding gradients are added up. Sorted anew at each call.
     *
     * @return (N) row numbers stably sorted by token
     */
    public int[] order() {
        long[] keys = new long[tokens.length];
        for (int n = 0; n < keys.length; n++) {
            keys[n] = (long) tokens[n] << 32 | n;
        }
        Arrays.sort(keys);
        int[] order = new int[keys.length];
        for (int n = 0; n < keys.length; n++) {
            order[n] = (int) keys[n];
        }
        return order;
    }
}
