package subtext.em;

import java.util.AbstractList;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.RandomAccess;
import subtext.data.Chunk;
import subtext.data.Document;
import subtext.data.View;

/**
 * The chunks of documents that take a thought, as questions, in reading order. Of documents that lie on disk only the number of each one's first
 * question is held, 4 bytes; a question is made when it is asked for.
 */
final class Questions extends AbstractList<Question> implements RandomAccess {
    private final List<Document> documents;
    private final int contextChunks;
    private final int positions;
    private final int maxThought;

    /** Number of the first question of each document, and one past the last of all. */
    private final int[] first;

    /** Chunks whose text is longer than what fits beside a thought, and the tokens of them that do not. */
    private final long longer;

    private final long tokensBeyond;

    /** The document asked for last: questions are mostly asked for in order. */
    private volatile Read last = new Read(-1, null);

    private record Read(int place, Document document) {}

    private Questions(List<Document> documents, int contextChunks, int positions, int maxThought) {
        this.documents = documents;
        this.contextChunks = contextChunks;
        this.positions = positions;
        this.maxThought = maxThought;
        this.first = new int[documents.size() + 1];
        int room = Question.room(positions, maxThought);
        long[] beyond = new long[2];
        int d = 0;
        for (Document document : documents) {
            int thinking = 0;
            for (Chunk chunk : document.chunks()) {
                if (chunk.latent()) {
                    thinking++;
                    beyond[0] += chunk.text().size() > room ? 1 : 0;
                    beyond[1] += Math.max(0, chunk.text().size() - room);
                }
            }
            first[d + 1] = Math.addExact(first[d++], thinking);
        }
        this.longer = beyond[0];
        this.tokensBeyond = beyond[1];
    }

    /**
     * All questions, cut to fit. Reads the documents once through.
     *
     * @param documents kept, not copied: not to be changed
     * @param positions of the model's context
     * @throws subtext.bindings.EngineException.InvalidConfig if a thought leaves no room for text
     */
    static Questions of(List<Document> documents, EmPlan plan, int positions) {
        return new Questions(documents, plan.contextChunks(), positions, plan.maxThought());
    }

    /** The chunks that take a thought, for the sake of their numbers. */
    static Questions of(List<Document> documents) {
        return new Questions(documents, 0, Integer.MAX_VALUE, 0);
    }

    /**
     * Questions to a model of raw text, none of whose text is left out: what takes a thought is cut into pieces of at most half the context, each
     * asked for behind as much of the text before it as fits. The log-likelihoods of a document that fits the context whole add up to its own.
     *
     * @param documents kept, not copied: not to be changed
     * @param positions of the model's context
     */
    static Questions whole(List<Document> documents, int positions) {
        int most = Math.max(1, Question.room(positions, 0) / 2);
        return new Questions(View.map(documents, document -> pieces(document, most)), Integer.MAX_VALUE, positions, 0);
    }

    private static Document pieces(Document document, int most) {
        List<Chunk> pieces = new ArrayList<>();
        for (Chunk chunk : document.chunks()) {
            if (!chunk.latent()) {
                pieces.add(chunk);
                continue;
            }
            int size = chunk.text().size();
            for (int from = 0; from < size; from += most) {
                pieces.add(new Chunk(chunk.text().slice(from, Math.min(from + most, size)), true));
            }
        }
        return new Document(document.id(), pieces);
    }

    /**
     * What a person should know about chunks that are longer than what fits beside a thought; empty if all fit.
     *
     * @param name of the documents, such as {@code corpus}
     */
    Optional<String> notice(String name) {
        return longer == 0
                ? Optional.empty()
                : Optional.of(String.format(
                        Locale.ROOT,
                        "%s: %,d of %,d chunks are longer than the %,d tokens that fit beside a thought of %,d; their last %,d tokens are trained on"
                                + " but neither explained nor measured: raise model.context, or lower em.maxThought",
                        name,
                        longer,
                        size(),
                        Question.room(positions, maxThought),
                        maxThought,
                        tokensBeyond));
    }

    /** The documents that are asked about. */
    List<Document> documents() {
        return documents;
    }

    /** The number of the first question of a document; that of the next document's, if it has none. */
    int first(int document) {
        return first[document];
    }

    @Override
    public Question get(int index) {
        Objects.checkIndex(index, size());
        int d = documentOf(index);
        Read read = last;
        if (read.place() != d) {
            read = new Read(d, documents.get(d));
            last = read;
        }
        int left = index - first[d];
        int c = -1;
        do {
            c++;
            left -= read.document().chunks().get(c).latent() ? 1 : 0;
        } while (left >= 0);
        return Question.of(read.document(), c, contextChunks).fitted(positions, maxThought);
    }

    /** The last document whose first question is this one or an earlier one. */
    private int documentOf(int index) {
        int low = 0;
        int high = documents.size();
        while (high - low > 1) {
            int middle = (low + high) >>> 1;
            if (first[middle] <= index) {
                low = middle;
            } else {
                high = middle;
            }
        }
        return low;
    }

    @Override
    public int size() {
        return first[documents.size()];
    }
}
