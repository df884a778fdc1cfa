package subtext.em;

import java.util.ArrayList;
import java.util.List;
import subtext.generate.Sample;
import subtext.random.Philox;
import subtext.text.Tokens;

/**
 * The E-step: for every chunk draw K thoughts from q(z | x), score them under p(z, x), weigh them by p / q, choose one.
 *
 * <p>A record is a function of (model, question, plan, key): the key of draw k is made of (key, document, chunk, k) and that of the choice
 * of (key, document, chunk), so neither the division into parts nor a restart changes anything.
 *
 * @param samples K
 * @param selection how one of the K is chosen
 * @param weighting what they are weighed by
 * @param key key of the draws and choices of this iteration
 */
public record EStep(int samples, Selection selection, Weighting weighting, long key) {
    /**
     * Checks the number of draws.
     *
     * @throws IllegalArgumentException if K is below 1
     */
    public EStep {
        if (samples < 1) {
            throw new IllegalArgumentException("samples: expected at least 1, got " + samples);
        }
    }

    /**
     * Draws, scores, weighs and chooses.
     *
     * @param model proposes the thoughts and scores them
     * @param questions chunks of any documents; a record does not depend on the others of the call
     * @return one record for each question, in their order
     */
    public List<LatentRecord> explain(LatentModel model, List<Question> questions) {
        List<LatentModel.Explained> explained = model.explain(questions, samples, Philox.key(key, "draws"));
        long choice = Philox.key(key, "choice");
        List<LatentRecord> records = new ArrayList<>();
        for (int i = 0; i < questions.size(); i++) {
            List<ScoredSample> scored = new ArrayList<>();
            for (int k = 0; k < samples; k++) {
                Sample sample = explained.get(i).samples().get(k);
                Tokens thought = LatentModel.thought(sample);
                scored.add(new ScoredSample(
                        thought,
                        sample.finished(),
                        sample.finished() && model.usable(thought),
                        sample.logQ(),
                        explained.get(i).scores().get(k)));
            }
            Question question = questions.get(i);
            int chosen = selection.choose(
                    weighting.of(scored), Philox.key(Philox.key(choice, question.document()), question.chunk()));
            records.add(new LatentRecord(question.document(), question.chunk(), scored, chosen));
        }
        return records;
    }
}
