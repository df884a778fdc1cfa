package subtext.em;

import java.util.List;
import subtext.generate.Sample;
import subtext.text.Tokens;

/**
 * A model that proposes thoughts for a text and weighs them: q(z | x, context) and p(z, x | context). The network implements it, and
 * so does a table whose every probability is known, against which the estimators are tested.
 *
 * <p>A thought z is a token sequence without markers. Both q and p count the closing {@code </latent>} of a finished thought, and
 * neither counts the markers that open it.
 */
public interface LatentModel {
    /**
     * Draws thoughts from the posterior law q(z | x, context) at temperature 1 without truncation.
     *
     * @param samples K, draws per question
     * @param key draw k of a question depends on (key, document, chunk, k) alone, not on the other questions of the call
     * @return element [i][k]: draw k of question i. Its tokens end with {@code </latent>} if it is finished
     */
    List<List<Sample>> drawPosterior(List<Question> questions, int samples, long key);

    /**
     * Scores thoughts under the generative law, all of them taken as finished.
     *
     * @param latents element [i]: thoughts for question i, without the closing {@code </latent>}; any number
     * @return element [i][k]: the score of thought k of question i
     */
    List<List<JointScore>> score(List<Question> questions, List<List<Tokens>> latents);

    /** Whether a finished thought may go into training: a network may draw markers inside one, which would break the grammar. */
    default boolean usable(Tokens thought) {
        return true;
    }
}
