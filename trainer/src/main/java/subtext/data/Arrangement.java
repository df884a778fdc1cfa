package subtext.data;

import java.util.Optional;
import subtext.random.Philox;
import subtext.text.ControlTokens;
import subtext.text.Tokens;

/** How a chunk and its thought become tokens. Ruan et al. 2025, the two orders of one model; the markers choose the role. */
public sealed interface Arrangement {
    /**
     * {@return the block of a chunk: its text, with thought and markers where there is one}
     *
     * @param text ids of the chunk, no control token among them
     * @param control ids of the markers
     */
    Tokens block(Tokens text, ControlTokens control);

    /** {@code x}: no thought. */
    record Raw() implements Arrangement {
        @Override
        public Tokens block(Tokens text, ControlTokens control) {
            return text;
        }
    }

    /**
     * {@code <latent><prior> z </latent> x}: the thought, then the text that follows from it.
     *
     * @param thought ids without markers
     */
    record Prior(Tokens thought) implements Arrangement {
        @Override
        public Tokens block(Tokens text, ControlTokens control) {
            return Tokens.concat(
                    Tokens.of(control.latent(), control.prior()), thought, Tokens.of(control.endLatent()), text);
        }
    }

    /**
     * {@code <latent></latent> x <latent><posterior> z </latent>}: the text, then the thought that explains it.
     *
     * @param thought ids without markers
     */
    record Posterior(Tokens thought) implements Arrangement {
        @Override
        public Tokens block(Tokens text, ControlTokens control) {
            return Tokens.concat(
                    Tokens.of(control.latent(), control.endLatent()),
                    text,
                    Tokens.of(control.latent(), control.posterior()),
                    thought,
                    Tokens.of(control.endLatent()));
        }
    }

    /**
     * Flips the coin between the two orders: a function of (key, document, chunk, epoch), so every epoch sees a fresh one and a
     * resumed run the same one.
     *
     * @param thought of the chunk; empty: it goes in raw and no coin is flipped
     * @param key of all coins
     * @param document id of the document
     * @param chunk number of the chunk in it, from 0
     * @param epoch number of the pass over the data, from 0
     * @param priorShare probability of the prior order, one half in the paper
     * @return the order drawn, with the thought; its weight is left to the caller
     */
    static Arrangement of(
            Optional<Annotated.Thought> thought, long key, String document, int chunk, long epoch, double priorShare) {
        if (thought.isEmpty()) {
            return new Raw();
        }
        Tokens z = thought.get().tokens();
        return Philox.uniform(Philox.key(Philox.key(key, document), chunk), epoch) < priorShare
                ? new Prior(z)
                : new Posterior(z);
    }
}
