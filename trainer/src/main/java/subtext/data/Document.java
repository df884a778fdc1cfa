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

    /** The text of chunks {@code from} up to, not including, {@code to}, concatenated. */
    public Tokens text(int from, int to) {
        return Tokens.concat(chunks.subList(from, to).stream().map(Chunk::text).toArray(Tokens[]::new));
    }

    /** The whole text. */
    public Tokens text() {
        return text(0, chunks.size());
    }
}
