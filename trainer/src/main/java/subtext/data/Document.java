package subtext.data;

import java.util.List;
import subtext.text.Tokens;

/**
 * A document cut into chunks.
 *
 * @param id stable identity, unique in its corpus: keys of random draws and file records refer to it
 * @param chunks in reading order; concatenated, their texts are the document
 */
public record Document(String id, List<Chunk> chunks) {
    /** Copies the list of chunks. */
    public Document {
        chunks = List.copyOf(chunks);
    }

    /**
     * {@return the text of some chunks, concatenated}
     *
     * @param from number of the first chunk, from 0
     * @param to one past the last
     * @throws IndexOutOfBoundsException if there are no such chunks
     */
    public Tokens text(int from, int to) {
        return Tokens.concat(chunks.subList(from, to).stream().map(Chunk::text).toArray(Tokens[]::new));
    }

    /** {@return the whole text, no control token in it} */
    public Tokens text() {
        return text(0, chunks.size());
    }
}
