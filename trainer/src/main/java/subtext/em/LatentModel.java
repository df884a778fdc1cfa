package subtext.em;

import java.util.ArrayList;
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
     * @param questions any number; their prompts must fit the model's context
     * @param samples K, draws per question
     * @param key draw k of a question depends on (key, document, chunk, k) alone, not on the other questions of the call
     * @return element [i][k]: draw k of question i. Its tokens end with {@code </latent>} if it is finished
     */
    List<List<Sample>> drawPosterior(List<Question> questions, int samples, long key);

    /**
     * Scores thoughts under the generative law, all of them taken as finished.
     *
     * @param questions as many as {@code latents} has elements
     * @param latents element [i]: thoughts for question i, without the closing {@code </latent>}; any number
     * @return element [i][k]: the score of thought k of question i
     */
    List<List<JointScore>> score(List<Question> questions, List<List<Tokens>> latents);

    /**
     * What was drawn for a question and how it scores.
     *
     * @param samples as {@link #drawPosterior} gives them
     * @param scores as {@link #score} gives them for the thoughts of the samples
     */
    record Explained(List<Sample> samples, List<JointScore> scores) {}

    /**
     * Draws thoughts and scores them: what {@link #drawPosterior} and then {@link #score} give, to the bit. A model that can share work between
     * the two does so here.
     *
     * @param questions as {@link #drawPosterior} takes them
     * @param samples K, draws per question
     * @param key as {@link #drawPosterior} takes it
     * @return one element per question, in their order
     */
    default List<Explained> explain(List<Question> questions, int samples, long key) {
        List<List<Sample>> drawn = drawPosterior(questions, samples, key);
        List<List<JointScore>> scores = score(
                questions,
                drawn.stream()
                        .map(ofQuestion ->
                                ofQuestion.stream().map(LatentModel::thought).toList())
                        .toList());
        List<Explained> explained = new ArrayList<>();
        for (int i = 0; i < questions.size(); i++) {
            explained.add(new Explained(drawn.get(i), scores.get(i)));
        }
        return explained;
    }

    /**
     * {@return what was drawn, without the closing marker of a finished thought}
     *
     * @param sample one of {@link #drawPosterior}
     */
    static Tokens thought(Sample sample) {
        Tokens tokens = sample.tokens();
        return sample.finished() ? tokens.slice(0, tokens.size() - 1) : tokens;
    }

    /**
     * {@return whether a finished thought may go into training} A network may draw markers inside one, which would break the grammar.
     *
     * @param thought without its closing marker
     */
    default boolean usable(Tokens thought) {
        return true;
    }
}
