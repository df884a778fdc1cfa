package subtext.data;

import java.util.Collections;
import java.util.List;
import java.util.Optional;
import subtext.text.Tokens;

/**
 * A document with at most one thought per chunk: what an M-step trains on.
 *
 * @param document whose chunks the thoughts belong to
 * @param thoughts one entry per chunk; empty for a chunk that goes in raw
 */
public record Annotated(Document document, List<Optional<Thought>> thoughts) {
    /**
     * A thought beneath a chunk.
     *
     * @param tokens ids without markers
     * @param weight factor of the loss of every token of the chunk's block; 1 unless the loss is weighted over several thoughts
     */
    public record Thought(Tokens tokens, float weight) {}

    /**
     * Copies the list of thoughts.
     *
     * @throws IllegalArgumentException unless there is one entry for each chunk
     */
    public Annotated {
        thoughts = List.copyOf(thoughts);
        if (thoughts.size() != document.chunks().size()) {
            throw new IllegalArgumentException("thoughts: expected one entry for each of the "
                    + document.chunks().size() + " chunks of " + document.id() + ", got " + thoughts.size());
        }
    }

    /**
     * {@return the document as it is, every chunk without a thought}
     *
     * @param document any
     */
    public static Annotated raw(Document document) {
        return new Annotated(document, Collections.nCopies(document.chunks().size(), Optional.empty()));
    }

    /**
     * {@return the document with thoughts in order, all of weight 1, on the chunks that take one}
     *
     * @param document whose chunks say whether they take one
     * @param thoughts ids without markers, at least as many as chunks that take one; further ones are not used
     * @throws java.util.NoSuchElementException if there are too few
     */
    public static Annotated with(Document document, List<Tokens> thoughts) {
        var next = thoughts.iterator();
        return new Annotated(
                document,
                document.chunks().stream()
                        .map(chunk ->
                                chunk.latent() ? Optional.of(new Thought(next.next(), 1f)) : Optional.<Thought>empty())
                        .toList());
    }
}
