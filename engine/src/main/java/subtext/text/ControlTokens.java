package subtext.text;

import java.util.Arrays;
import java.util.List;

/**
 * The ids of the six control tokens. They are ids, never strings to be matched in text, so text cannot spoof them.
 *
 * @param bos opens a document
 * @param eos closes a document
 * @param latent opens a latent
 * @param endLatent closes a latent
 * @param prior follows {@code latent} when the thought precedes its text
 * @param posterior follows {@code latent} when the thought follows its text; like the others {@link #NONE} where a foreign tokenizer
 *     has no such token
 */
public record ControlTokens(int bos, int eos, int latent, int endLatent, int prior, int posterior) {
    /** Stands for a control token that a tokenizer does not have. */
    public static final int NONE = -1;

    /** The six names, in the order of the components: how the tokens are written in {@code tokenizer.json} and shown to people. */
    public static final List<String> NAMES =
            List.of("<bos>", "<eos>", "<latent>", "</latent>", "<prior>", "<posterior>");

    /**
     * {@return six consecutive ids}
     *
     * @param first the id of {@code <bos>}, 0 or more; the others follow in the order of {@link #NAMES}
     */
    public static ControlTokens from(int first) {
        return new ControlTokens(first, first + 1, first + 2, first + 3, first + 4, first + 5);
    }

    /** {@return the six ids in the order of {@link #NAMES}, a fresh array} */
    public int[] ids() {
        return new int[] {bos, eos, latent, endLatent, prior, posterior};
    }

    /**
     * {@return the prompt that asks for the thought before a text, in training, measurement and use: {@code <bos> C <latent><prior>}} The
     * thought that follows ends with {@code </latent>}, and then comes the text.
     *
     * @param context C, what stands before the thought; may be empty
     */
    public Tokens priorPrompt(Tokens context) {
        return Tokens.concat(Tokens.of(bos), context, Tokens.of(latent, prior));
    }

    /** {@return whether all six are there: what training with latents needs} */
    public boolean complete() {
        return Arrays.stream(ids()).allMatch(id -> id != NONE);
    }
}
