package subtext.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import subtext.data.SequenceBuilder;
import subtext.em.JointScore;
import subtext.em.LatentModel;
import subtext.em.Question;
import subtext.generate.Generator;
import subtext.generate.Prompt;
import subtext.generate.Sample;
import subtext.generate.Sampling;
import subtext.generate.Score;
import subtext.generate.Scorer;
import subtext.random.Philox;
import subtext.text.ControlTokens;
import subtext.text.Tokens;

/**
 * The E-step's model without its economy: every sample is a prompt of its own, and every score reads its whole sequence. It draws the same
 * thoughts and gives the same scores as {@link subtext.em.NeuralModel}, to the bit, and computes context and chunk for each of them again.
 */
final class NaiveModel implements LatentModel {
    private final Generator generator;
    private final Scorer scorer;
    private final ControlTokens control;
    private final SequenceBuilder grammar;
    private final int maxThought;

    NaiveModel(Generator generator, Scorer scorer, ControlTokens control, int maxThought) {
        this.generator = generator;
        this.scorer = scorer;
        this.control = control;
        this.grammar = new SequenceBuilder(control, 0, 0.5);
        this.maxThought = maxThought;
    }

    @Override
    public List<List<Sample>> drawPosterior(List<Question> questions, int samples, long key) {
        List<Prompt> prompts = new ArrayList<>();
        for (Question question : questions) {
            Tokens asked = grammar.posteriorPrompt(question.context(), question.text());
            for (int k = 0; k < samples; k++) {
                prompts.add(new Prompt(asked, Philox.key(Philox.key(key, question.document()), question.chunk(), k)));
            }
        }
        List<List<Sample>> drawn = generator.draw(prompts, Sampling.exact(control.endLatent(), maxThought));
        List<List<Sample>> grouped = new ArrayList<>();
        for (int i = 0; i < questions.size(); i++) {
            grouped.add(drawn.subList(i * samples, (i + 1) * samples).stream()
                    .map(List::getFirst)
                    .toList());
        }
        return grouped;
    }

    @Override
    public boolean usable(Tokens thought) {
        return Arrays.stream(thought.toArray())
                .noneMatch(id -> Arrays.stream(control.ids()).anyMatch(marker -> marker == id));
    }

    @Override
    public List<List<JointScore>> score(List<Question> questions, List<List<Tokens>> latents) {
        List<Scorer.Request> requests = new ArrayList<>();
        for (int i = 0; i < questions.size(); i++) {
            Tokens prompt = grammar.priorPrompt(questions.get(i).context());
            for (Tokens thought : latents.get(i)) {
                Tokens whole = Tokens.concat(
                        prompt,
                        thought,
                        Tokens.of(control.endLatent()),
                        questions.get(i).text());
                requests.add(Scorer.Request.of(whole.slice(0, 1), whole.slice(1, whole.size())));
            }
        }
        List<List<Score>> scored = scorer.score(requests);
        List<List<JointScore>> joint = new ArrayList<>();
        int at = 0;
        for (int i = 0; i < questions.size(); i++) {
            int begin = grammar.priorPrompt(questions.get(i).context()).size() - 1;
            List<JointScore> ofQuestion = new ArrayList<>();
            for (Tokens thought : latents.get(i)) {
                Score score = scored.get(at++).getFirst();
                int border = begin + thought.size() + 1;
                ofQuestion.add(new JointScore(score.sum(begin, border), score.sum(border, score.logProbs().length)));
            }
            joint.add(ofQuestion);
        }
        return joint;
    }
}
