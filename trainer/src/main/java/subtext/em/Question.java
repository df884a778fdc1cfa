package subtext.em;

import subtext.bindings.EngineException;
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
    /**
     * {@return the question about one chunk of a document, with the text of the chunks before it}
     *
     * @param document unchanged
     * @param chunk index of the chunk in the document
     * @param contextChunks most chunks before it that the question shows
     */
    public static Question of(Document document, int chunk, int contextChunks) {
        return new Question(
                document.id(),
                chunk,
                document.text(Math.max(0, chunk - contextChunks), chunk),
                document.chunks().get(chunk).text());
    }

    /**
     * {@return the question cut so that its prompt and a thought fit the context} It is cut first from the left of its context, then from
     * the right of its text; the same for all thoughts of a chunk.
     *
     * @param positions of the model's context
     * @param maxThought most tokens of a thought, its closing marker included
     * @throws EngineException.InvalidConfig if there is no room for a token of text
     */
    public Question fitted(int positions, int maxThought) {
        int room = room(positions, maxThought);
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

    /** Tokens of context and text that fit beside a thought. */
    static int room(int positions, int maxThought) {
        int room = positions - maxThought - MARKERS;
        if (room < 1) {
            throw new EngineException.InvalidConfig("em.maxThought: a context of " + positions
                    + " positions has no room for text beside thoughts of " + maxThought + " tokens");
        }
        return room;
    }

    /** Markers of the longer prompt, the posterior one, less the position that the last drawn token does not take. */
    private static final int MARKERS = 4;
}
