package subtext.data;

import java.util.List;
import subtext.text.Tokenizer;
import subtext.text.Tokens;

/**
 * A piece of a document, tokenised on its own so that concatenation of chunks is exact.
 *
 * @param text the ids of the text itself, no control token among them
 * @param latent true if the chunk takes a thought; false for a chunk that stays as it is, such as the question of a problem
 */
public record Chunk(Tokens text, boolean latent) {
    /**
     * Adds the next piece of a document's text: the first begins like any text, each other one goes on from what stands before it.
     *
     * @param document the chunks so far, in reading order; one is added
     * @param tokenizer that makes the ids
     * @param text of the piece
     * @param latent whether it takes a thought
     * @throws subtext.bindings.EngineException.InvalidInput if the tokenizer cannot spell the text
     */
    public static void add(List<Chunk> document, Tokenizer tokenizer, String text, boolean latent) {
        Tokens tokens = document.isEmpty() ? tokenizer.encode(text) : tokenizer.encodeContinuation(text);
        document.add(new Chunk(tokens, latent));
    }
}
