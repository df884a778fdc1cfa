package subtext.data;

import java.util.ArrayList;
import java.util.List;

/**
 * Packs sequences into batches by a budget of tokens. Sequences are laid one after another and do not see each other (document
 * masking is the model's business: every piece is a sequence of its own). A sequence longer than the context is cut into pieces that
 * overlap by one token. What a batch holds is a function of the cursor it starts from, so a loader keeps no state worth saving.
 *
 * @param dataset what to read
 * @param context most rows of a piece
 * @param tokens budget of a batch in rows (predicted tokens); a batch holds as many pieces as fit and at least one
 */
public record BatchLoader(Dataset dataset, int context, int tokens) {
    /**
     * @param pieces in order; their rows sum to at most the budget, unless there is only one
     * @param next where the following batch starts
     */
    public record Batch(List<Sequence> pieces, Cursor next) {
        /** Predicted tokens. */
        public int rows() {
            return pieces.stream().mapToInt(Sequence::rows).sum();
        }

        /** The pieces cut into groups of at most {@code tokens} rows, in order: micro-batches for accumulation. */
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

    /** The batch that starts at a place. */
    public Batch load(Cursor from) {
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
