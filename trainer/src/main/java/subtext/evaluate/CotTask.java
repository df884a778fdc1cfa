package subtext.evaluate;

import java.util.ArrayList;
import java.util.List;
import subtext.text.ControlTokens;
import subtext.text.Tokens;
import subtext.world.ChainWorld;

/**
 * Answering the problems of a chain world, greedily. A model that thinks is prompted with {@code <bos> question <latent><prior>},
 * writes its thought up to {@code </latent>} and then the answer; a raw model is prompted with {@code <bos> question} and answers at
 * once. Right means that the last readout, the state after all steps, is right.
 */
public final class CotTask {
    private final ChainWorld world;
    private final List<ChainWorld.Problem> problems;

    /**
     * A task of these problems, all of this world.
     *
     * @param world whose control tokens and rules judge the answers
     * @param problems at least one, copied; results keep their order
     * @throws IllegalArgumentException if there is no problem
     */
    public CotTask(ChainWorld world, List<ChainWorld.Problem> problems) {
        this.world = world;
        this.problems = List.copyOf(problems);
        if (problems.isEmpty()) {
            throw new IllegalArgumentException("problems: expected at least one, got none");
        }
    }

    /**
     * What came of it, as shares of all problems.
     *
     * @param problems how many there were
     * @param accuracy the final state is right
     * @param exactThoughts the thought is the true one; 0 for a raw model
     * @param stepAccuracy states of the thought that are right at their place; 0 for a raw model
     * @param falsePositives the answer is right though the thought is wrong; 0 for a raw model, which has none
     * @param wellFormed the thought closes within the limit and is one state per step; 0 for a raw model
     * @param verdicts one for each problem, in order; for paired comparisons
     */
    public record Result(
            int problems,
            double accuracy,
            double exactThoughts,
            double stepAccuracy,
            double falsePositives,
            double wellFormed,
            List<ChainWorld.Verdict> verdicts) {
        private static Result of(List<ChainWorld.Verdict> verdicts, boolean thinking) {
            return new Result(
                    verdicts.size(),
                    share(verdicts.stream().filter(ChainWorld.Verdict::answer).count(), verdicts),
                    share(verdicts.stream().filter(ChainWorld.Verdict::exact).count(), verdicts),
                    verdicts.stream()
                            .mapToDouble(ChainWorld.Verdict::steps)
                            .average()
                            .orElseThrow(),
                    thinking
                            ? share(
                                    verdicts.stream()
                                            .filter(ChainWorld.Verdict::falsePositive)
                                            .count(),
                                    verdicts)
                            : 0,
                    share(
                            verdicts.stream()
                                    .filter(ChainWorld.Verdict::wellFormed)
                                    .count(),
                            verdicts),
                    List.copyOf(verdicts));
        }

        private static double share(long count, List<?> all) {
            return (double) count / all.size();
        }
    }

    /**
     * {@return what came of it with a thought first} A thought that does not close within the limit is closed by hand before the answer is
     * asked for.
     *
     * @param model asked twice: for all thoughts, then for all answers
     */
    public Result withThought(Completer model) {
        ControlTokens controls = world.controls();
        List<Tokens> prompts = problems.stream().map(this::thoughtPrompt).toList();
        int longest = world.plan().depth() + 1; // a well-formed thought and its closing marker
        List<Tokens> thoughts = model.complete(prompts, controls.endLatent(), longest);
        List<Tokens> answerPrompts = new ArrayList<>();
        for (int i = 0; i < problems.size(); i++) {
            // an unclosed thought is closed by hand: the answer is still asked for, as it would be of a person who ran
            // out of time
            Tokens end = closed(thoughts.get(i)) ? Tokens.of() : Tokens.of(controls.endLatent());
            answerPrompts.add(Tokens.concat(prompts.get(i), thoughts.get(i), end));
        }
        List<Tokens> answers = answers(model, answerPrompts);
        List<ChainWorld.Verdict> verdicts = new ArrayList<>();
        for (int i = 0; i < problems.size(); i++) {
            Tokens thought = thoughts.get(i);
            Tokens states = closed(thought) ? thought.slice(0, thought.size() - 1) : thought;
            ChainWorld.Verdict verdict = world.judge(problems.get(i), states, answers.get(i));
            verdicts.add(closed(thought) ? verdict : unclosed(verdict));
        }
        return Result.of(verdicts, true);
    }

    /**
     * {@return what came of it without a thought, in the raw model's form}
     *
     * @param model asked once, for all answers
     */
    public Result withoutThought(Completer model) {
        List<Tokens> prompts = problems.stream().map(this::rawPrompt).toList();
        List<Tokens> answers = answers(model, prompts);
        List<ChainWorld.Verdict> verdicts = new ArrayList<>();
        for (int i = 0; i < problems.size(); i++) {
            verdicts.add(world.judge(problems.get(i), Tokens.of(), answers.get(i)));
        }
        return Result.of(verdicts, false);
    }

    /**
     * {@return {@code <bos> question <latent><prior>}}
     *
     * @param problem any of this world
     */
    public Tokens thoughtPrompt(ChainWorld.Problem problem) {
        return world.controls().priorPrompt(problem.question());
    }

    /**
     * {@return {@code <bos> question}}
     *
     * @param problem any of this world
     */
    public Tokens rawPrompt(ChainWorld.Problem problem) {
        return Tokens.concat(Tokens.of(world.controls().bos()), problem.question());
    }

    private List<Tokens> answers(Completer model, List<Tokens> prompts) {
        return model.complete(
                prompts, world.controls().eos(), world.plan().readouts().size());
    }

    private boolean closed(Tokens thought) {
        return !thought.isEmpty()
                && thought.at(thought.size() - 1) == world.controls().endLatent();
    }

    private static ChainWorld.Verdict unclosed(ChainWorld.Verdict verdict) {
        return new ChainWorld.Verdict(false, false, verdict.steps(), verdict.answer());
    }
}
