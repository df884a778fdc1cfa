package subtext.data;

import java.util.Optional;
import subtext.random.Philox;
import subtext.text.ControlTokens;
import subtext.text.Tokens;

/** How a chunk and its thought become tokens. Ruan et al. 2025, the two orders of one model; the markers choose the role. */
public sealed interface Arrangement {
    /** The block of a chunk. */
    Tokens block(Tokens text, ControlTokens control);

    /** {@code x}: no thought. */
    record Raw() implements Arrangement {
        @Override
        public Tokens block(Tokens text, ControlTokens control) {
            return text;
        }
    }

    /** {@code <latent><prior> z </latent> x}: the thought, then the text that follows from it. */
    record Prior(Tokens thought) implements Arrangement {
        @Override
        public Tokens block(Tokens text, ControlTokens control) {
            return Tokens.concat(
                    Tokens.of(control.latent(), control.prior()), thought, Tokens.of(control.endLatent()), text);
        }
    }

    /** {@code <latent></latent> x <latent><posterior> z </latent>}: the text, then the thought that explains it. */
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
     * @param priorShare probability of the prior order, one half in the paper
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
