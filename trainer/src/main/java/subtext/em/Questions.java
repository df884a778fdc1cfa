package subtext.em;

import java.util.AbstractList;
import java.util.List;
import java.util.Objects;
import java.util.RandomAccess;
import subtext.data.Chunk;
import subtext.data.Document;

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

    /** The document asked for last: questions are mostly asked for in order. */
    private volatile Read last = new Read(-1, null);

    private record Read(int place, Document document) {}

    private Questions(List<Document> documents, int contextChunks, int positions, int maxThought) {
        this.documents = documents;
        this.contextChunks = contextChunks;
        this.positions = positions;
        this.maxThought = maxThought;
        this.first = new int[documents.size() + 1];
        int d = 0;
        for (Document document : documents) {
            int thinking =
                    (int) document.chunks().stream().filter(Chunk::latent).count();
            first[d + 1] = Math.addExact(first[d++], thinking);
        }
    }

    /**
     * All questions, cut to fit. Reads the documents once through.
     *
     * @param documents kept, not copied: not to be changed
     * @param positions of the model's context
     * @throws subtext.bindings.EngineException.InvalidConfig if a thought leaves no room for text
     */
    static Questions of(List<Document> documents, EmPlan plan, int positions) {
        Question.room(positions, plan.maxThought());
        return new Questions(documents, plan.contextChunks(), positions, plan.maxThought());
    }

    /** The chunks that take a thought, for the sake of their numbers. */
    static Questions of(List<Document> documents) {
        return new Questions(documents, 0, Integer.MAX_VALUE, 0);
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
