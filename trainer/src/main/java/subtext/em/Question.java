package subtext.em;

import subtext.data.Document;
import subtext.text.Tokens;

/**
 * One thing to explain: a chunk and the text before it. The unit of the E-step.
 *
 * @param document id of the document
 * @param chunk index of the chunk in the document
 * @param context raw text before the chunk, without latents; may be empty
 * @param text the chunk, x
 */
public record Question(String document, int chunk, Tokens context, Tokens text) {
    /** The question about one chunk of a document, with the text of up to {@code contextChunks} chunks before it. */
    public static Question of(Document document, int chunk, int contextChunks) {
        return new Question(
                document.id(),
                chunk,
                document.text(Math.max(0, chunk - contextChunks), chunk),
                document.chunks().get(chunk).text());
    }

    /**
     * The question cut so that its prompt and a thought of {@code maxThought} tokens fit a context of {@code positions}: first from the
     * left of the context, then from the right of the text. The same for all thoughts of a chunk.
     */
    public Question fitted(int positions, int maxThought) {
        int room = positions - maxThought - MARKERS;
        if (room < 1) {
            throw new subtext.bindings.EngineException.InvalidConfig("em.maxThought: a context of " + positions
                    + " positions has no room for text beside thoughts of " + maxThought + " tokens");
        }
        if (context.size() + text.size() <= room) {
            return this;
        }
        int kept = Math.min(text.size(), room);
        return new Question(
                document,
                chunk,
                context.slice(context.size() - Math.min(context.size(), room - kept), context.size()),
                text.slice(0, kept));
    }

    /** Markers of the longer prompt, the posterior one, less the position that the last drawn token does not take. */
    private static final int MARKERS = 4;
}
