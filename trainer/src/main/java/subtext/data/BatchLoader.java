package subtext.data;

import java.util.ArrayList;
import java.util.List;
import subtext.text.Tokens;

/**
 * Packs sequences into batches by a budget of tokens. Sequences are laid one after another and do not see each other (document
 * masking is the model's business: every piece is a sequence of its own). A sequence longer than the context is cut into pieces that
 * overlap by one token. Or, as Ruan et al. 2025 do it, all sequences are one stream that is cut at every {@code context} tokens, again with an
 * overlap of one, and what stands in a piece sees what stands before it, of whichever document. What a batch holds is a function of the cursor
 * it starts from, so a loader keeps no state worth saving.
 *
 * @param dataset what to read
 * @param context most rows of a piece
 * @param tokens budget of a batch in rows (predicted tokens); a batch holds as many pieces as fit and at least one
 * @param documentMask whether sequences do not see each other; false: one stream, and the piece of a cursor is a place in its example
 */
public record BatchLoader(Dataset dataset, int context, int tokens, boolean documentMask) {
    /**
     * With sequences that do not see each other.
     *
     * @param dataset what to read
     * @param context most rows of a piece
     * @param tokens budget of a batch in rows (predicted tokens)
     */
    public BatchLoader(Dataset dataset, int context, int tokens) {
        this(dataset, context, tokens, true);
    }

    /**
     * Sequences that are trained on in one step, cut to the context.
     *
     * @param pieces in order; their rows sum to at most the budget, unless there is only one
     * @param next where the following batch starts
     */
    public record Batch(List<Sequence> pieces, Cursor next) {
        /** {@return predicted tokens, over all pieces} */
        public int rows() {
            return pieces.stream().mapToInt(Sequence::rows).sum();
        }

        /**
         * {@return the pieces in order, cut into groups: micro-batches for accumulation}
         *
         * @param tokens most rows of a group; a piece that is longer alone is a group of its own
         */
        public List<List<Sequence>> groups(int tokens) {
            List<List<Sequence>> groups = new ArrayList<>();
            int room = 0;
            for (Sequence piece : pieces) {
                if (groups.isEmpty() || piece.rows() > room) {
                    groups.add(new ArrayList<>());
                    room = tokens;
                }
                groups.getLast().add(piece);
                room -= piece.rows();
            }
            return groups;
        }
    }

    /**
     * {@return the batch that starts at a place: the same for the same place, however often it is asked for}
     *
     * @param from a place that a batch named as the next, or the beginning
     */
    public Batch load(Cursor from) {
        return documentMask ? apart(from) : stream(from);
    }

    private Batch stream(Cursor from) {
        List<Sequence> pieces = new ArrayList<>();
        Cursor at = from;
        for (int piece = 0; piece < Math.max(1, tokens / context); piece++) {
            int[] ids = new int[context + 1];
            float[] weights = new float[context + 1];
            long example = at.example();
            int place = at.piece();
            Sequence sequence = dataset.at(example);
            for (int i = 0; i <= context; i++) {
                while (place == sequence.tokens().size()) {
                    sequence = dataset.at(++example);
                    place = 0;
                }
                at = new Cursor(example, place);
                ids[i] = sequence.tokens().at(place);
                weights[i] = sequence.weights()[place++];
            }
            pieces.add(new Sequence(Tokens.of(ids), weights));
        }
        return new Batch(pieces, at);
    }

    private Batch apart(Cursor from) {
        List<Sequence> pieces = new ArrayList<>();
        int room = tokens;
        long example = from.example();
        int piece = from.piece();
        Sequence sequence = dataset.at(example);
        while (true) {
            Sequence next = sequence.piece(piece, context);
            if (next.rows() > room && !pieces.isEmpty()) {
                return new Batch(pieces, new Cursor(example, piece));
            }
            pieces.add(next);
            room -= next.rows();
            piece++;
            if (piece == sequence.pieces(context)) {
                example++;
                piece = 0;
                sequence = dataset.at(example);
            }
        }
    }
}
