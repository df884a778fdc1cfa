package subtext.generate;

import java.util.Arrays;
import subtext.text.Tokens;

/**
 * What to continue, and how often.
 *
 * @param tokens the ids given, at least one
 * @param keys the random key of each sample wanted, K of them: a sample depends on the weights, the tokens and its key alone. Not to be
 *     changed
 */
public record Prompt(Tokens tokens, long... keys) {
    /**
     * Checks that there is something to continue.
     *
     * @throws IllegalArgumentException if there is no token
     */
    public Prompt {
        if (tokens.isEmpty()) {
            throw new IllegalArgumentException("tokens: a prompt needs at least one, such as <bos>");
        }
    }

    /** {@return K, samples wanted} */
    public int samples() {
        return keys.length;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Prompt that && tokens.equals(that.tokens) && Arrays.equals(keys, that.keys);
    }

    @Override
    public int hashCode() {
        return 31 * tokens.hashCode() + Arrays.hashCode(keys);
    }
}
