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
}
