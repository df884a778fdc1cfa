package subtext.data;

import subtext.text.Tokens;

/**
 * A piece of a document, tokenised on its own so that concatenation of chunks is exact.
 *
 * @param text the ids of the text itself, no control token among them
 * @param latent true if the chunk takes a thought; false for a chunk that stays as it is, such as the question of a problem
 */
public record Chunk(Tokens text, boolean latent) {}
