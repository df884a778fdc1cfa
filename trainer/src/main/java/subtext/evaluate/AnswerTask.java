package subtext.evaluate;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import subtext.text.ControlTokens;
import subtext.text.Tokenizer;
import subtext.text.Tokens;

/**
 * Answering questions of real text, greedily, judged by the final answer alone. A model that thinks is prompted with {@code <bos> question
 * <latent><prior>}, writes its thought up to {@code </latent>} and then its text; a raw model is prompted with {@code <bos> question}.
 *
 * <p>Right is an exact match. Where the known answer is a number, the first number behind the last {@code ####} of the text counts, as GSM8K's
 * answers are read (Cobbe et al. 2021), or the last number of a text without it; both are compared as numbers: {@code $1,234.50} is
 * {@code 1234.5}. Any other answer must be the whole text, or what stands behind the {@code ####}, but for white space.
 */
public final class AnswerTask {
    /** Positions that markers take: bos, the two that open a thought and the one that closes it. */
    public static final int MARKERS = 4;

    private static final String MARK = "####";
    /** Of a sign, one only that does not follow a digit, as in a range or a difference. */
    private static final Pattern NUMBER =
            Pattern.compile("(?<sign>(?<![\\p{Alnum}.,)])[-\u2212])?\\p{Sc}?(?<digits>\\d[\\d,]*(?:\\.\\d+)?|\\.\\d+)");

    private static final Pattern NUMBER_ALONE = Pattern.compile("[\\s+\\p{Sc}]*" + NUMBER.pattern() + "[\\s.%]*");

    private final Tokenizer tokenizer;
    private final List<Problem> problems;
    private final int maxThought;
    private final int maxText;
    private final int room;

    /**
     * A question and its answer.
     *
     * @param question what stands before the thought; may be empty
     * @param answer the known one, as a person wrote it
     */
    public record Problem(Tokens question, String answer) {}

    /**
     * What came of it.
     *
     * @param accuracy share of the problems whose answer is right
     * @param finishedThoughts share of the thoughts that ended within the limit; 0 of a raw model
     * @param right one for each problem, in order
     */
    public record Result(double accuracy, double finishedThoughts, List<Boolean> right) {}

    /**
     * A task of these problems.
     *
     * @param tokenizer has all six control tokens
     * @param problems at least one, copied
     * @param maxThought most tokens of a thought, {@code </latent>} included; one that does not end is ended by hand
     * @param maxText most tokens of a text
     * @param positions of the model's context; a question that does not fit beside thought and text loses its beginning
     * @throws IllegalArgumentException if there is no problem, or no room for a token of a question
     */
    public AnswerTask(Tokenizer tokenizer, List<Problem> problems, int maxThought, int maxText, int positions) {
        this.tokenizer = tokenizer;
        this.problems = List.copyOf(problems);
        this.maxThought = maxThought;
        this.maxText = maxText;
        this.room = positions - maxThought - maxText - MARKERS;
        if (problems.isEmpty() || room < 1) {
            throw new IllegalArgumentException(
                    "problems, positions: expected a problem and room for it, got " + problems.size() + ", " + room);
        }
    }

    /**
     * {@return what came of it with a thought first}
     *
     * @param model asked twice: for all thoughts, then for all texts
     */
    public Result withThought(Completer model) {
        ControlTokens controls = tokenizer.controls();
        List<Tokens> prompts = problems.stream()
                .map(problem -> controls.priorPrompt(fitted(problem.question())))
                .toList();
        List<Tokens> thoughts = model.complete(prompts, controls.endLatent(), maxThought);
        List<Tokens> behind = new ArrayList<>();
        int finished = 0;
        for (int i = 0; i < prompts.size(); i++) {
            Tokens thought = thoughts.get(i);
            boolean ended = !thought.isEmpty() && thought.at(thought.size() - 1) == controls.endLatent();
            finished += ended ? 1 : 0;
            behind.add(Tokens.concat(prompts.get(i), thought, ended ? Tokens.EMPTY : Tokens.of(controls.endLatent())));
        }
        return judged(model, behind, (double) finished / prompts.size());
    }

    /**
     * {@return what came of it without a thought, in the raw model's form}
     *
     * @param model asked once, for all texts
     */
    public Result withoutThought(Completer model) {
        return judged(
                model,
                problems.stream()
                        .map(problem ->
                                Tokens.concat(Tokens.of(tokenizer.controls().bos()), fitted(problem.question())))
                        .toList(),
                0);
    }

    private Tokens fitted(Tokens question) {
        return question.slice(Math.max(0, question.size() - room), question.size());
    }

    private Result judged(Completer model, List<Tokens> prompts, double finishedThoughts) {
        List<Tokens> texts = model.complete(prompts, tokenizer.controls().eos(), maxText);
        List<Boolean> right = new ArrayList<>();
        for (int i = 0; i < problems.size(); i++) {
            right.add(isRight(text(texts.get(i)), problems.get(i).answer()));
        }
        long count = right.stream().filter(is -> is).count();
        return new Result((double) count / right.size(), finishedThoughts, List.copyOf(right));
    }

    /** The text of ids up to a next thought; rows of a checkpoint behind the tokenizer's last id have none. */
    private String text(Tokens drawn) {
        int latent = tokenizer.controls().latent();
        return tokenizer.decodeContinuation(Tokens.of(Arrays.stream(drawn.toArray())
                .takeWhile(id -> id != latent)
                .filter(id -> id < tokenizer.vocabulary())
                .toArray()));
    }

    /**
     * {@return whether a text gives the known answer}
     *
     * @param text what a model wrote
     * @param answer the known one
     */
    static boolean isRight(String text, String answer) {
        int mark = text.lastIndexOf(MARK);
        String given = mark < 0 ? text : text.substring(mark + MARK.length());
        Matcher known = NUMBER_ALONE.matcher(answer);
        if (!known.matches()) {
            return folded(given).equals(folded(answer));
        }
        Optional<BigDecimal> number = Optional.empty();
        for (Matcher found = NUMBER.matcher(given); found.find() && (mark < 0 || number.isEmpty()); ) {
            number = Optional.of(value(found));
        }
        return number.map(found -> found.compareTo(value(known)) == 0).orElse(false);
    }

    private static BigDecimal value(Matcher number) {
        BigDecimal size = new BigDecimal(number.group("digits").replace(",", ""));
        return number.group("sign") == null ? size : size.negate();
    }

    private static String folded(String text) {
        return text.strip().replaceAll("\\s+", " ");
    }
}
