package subtext.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import subtext.text.ControlTokens;
import subtext.text.SymbolTokenizer;
import subtext.text.Tokens;

/** The final answer of a text, and prompts as training lays them out. */
class AnswerTaskTest {
    @ParameterizedTest(name = "{0} | {1}")
    @CsvSource(
            delimiter = '|',
            value = {
                "#### 72 | 72 | true",
                "72 | 72 | true",
                "#### 1,234 | 1234 | true",
                "#### $1,234.50 | 1234.5 | true",
                "#### 18.0 | 18 | true",
                "#### 18 | 18.00 | true",
                "18 | $18 | true",
                "He pays 4 + 3 = 7 dollars. | 7 | true",
                "He pays 7 of 10. | 7 | false",
                "#### 72 apples of 90 | 72 | true",
                "90 #### 72 | 90 | false",
                "#### 7 #### 8 | 8 | true",
                "#### -5 | -5 | true",
                "#### 5 | -5 | false",
                "#### -$5 | -5 | true",
                "10-4=6 | 6 | true",
                "3-4 | 4 | true",
                "3-4 | -4 | false",
                "#### 50% | 50 | true",
                "#### 0.5 | .5 | true",
                "#### 720 | 72 | false",
                "#### | 72 | false",
                "nothing | 72 | false",
                "#### 99999999999999999999991 | 99999999999999999999990 | false",
                "#### 1/2 | 1/2 | true",
                "#### $-5 | $-5 | true",
                "#### 2 | 1/2 | false",
                "the  cat | the cat | true",
                "#### blue | blue | true",
                "not blue | blue | false"
            })
    void numbersAreComparedAsNumbers(String text, String answer, boolean right) {
        assertThat(AnswerTask.isRight(text, answer)).isEqualTo(right);
    }

    private final SymbolTokenizer tokenizer =
            new SymbolTokenizer(List.of("what", "is", "one", "two", "####", "1", "2", "so"));
    private final ControlTokens controls = tokenizer.controls();

    private AnswerTask.Problem problem(String question, String answer) {
        return new AnswerTask.Problem(tokenizer.encode(question), answer);
    }

    /** Answers rightly behind a thought that ended, "2" always behind one that did not, and "1" always where it did not think. */
    private final class Solver implements Completer {
        final List<Tokens> asked = new ArrayList<>();

        @Override
        public List<Tokens> complete(List<Tokens> prompts, int stopToken, int maxTokens) {
            asked.addAll(prompts);
            return prompts.stream()
                    .map(prompt -> one(prompt, stopToken, maxTokens))
                    .toList();
        }

        private Tokens one(Tokens prompt, int stopToken, int maxTokens) {
            boolean asksOne = prompt.size() > 3 && prompt.at(3) == tokenizer.id("one");
            if (stopToken == controls.endLatent()) {
                Tokens so = tokenizer.encode("so so so so so so");
                return prompt.at(1) == tokenizer.id("is")
                        ? so.slice(0, maxTokens)
                        : Tokens.concat(tokenizer.encode("so 2"), Tokens.of(stopToken));
            }
            boolean thought = prompt.at(prompt.size() - 1) == controls.endLatent();
            String answer = !thought || asksOne ? "#### 1" : "#### 2";
            return Tokens.concat(tokenizer.encode(answer), Tokens.of(controls.latent()), tokenizer.encode("#### 2 2"))
                    .slice(0, maxTokens);
        }
    }

    @Test
    void promptsStandAsInTraining() {
        List<AnswerTask.Problem> problems = List.of(
                problem("what is one", "1"), problem("what is two", "2.0"), problem("is", "1"), problem("what", "$2"));
        AnswerTask task = new AnswerTask(tokenizer, problems, 4, 6, 32);
        Solver solver = new Solver();
        AnswerTask.Result thinking = task.withThought(solver);
        assertThat(thinking.right()).containsExactly(true, true, false, true);
        assertThat(thinking.accuracy()).isEqualTo(0.75);
        assertThat(thinking.finishedThoughts()).isEqualTo(0.75);
        assertThat(solver.asked).hasSize(8);
        assertThat(tokenizer.show(solver.asked.get(0))).isEqualTo("<bos> what is one <latent> <prior>");
        assertThat(tokenizer.show(solver.asked.get(4))).isEqualTo("<bos> what is one <latent> <prior> so 2 </latent>");
        assertThat(tokenizer.show(solver.asked.get(6))).isEqualTo("<bos> is <latent> <prior> so so so so </latent>");
        solver.asked.clear();
        AnswerTask.Result raw = task.withoutThought(solver);
        assertThat(raw.right()).containsExactly(true, false, true, false);
        assertThat(raw.finishedThoughts()).isZero();
        assertThat(tokenizer.show(solver.asked.get(0))).isEqualTo("<bos> what is one");
    }

    /** A question that is too long loses its beginning, and prompt, thought and text are never more than the context. */
    @Test
    void questionsAreFitted() {
        Solver solver = new Solver();
        AnswerTask task = new AnswerTask(tokenizer, List.of(problem("what what what is two", "2")), 4, 6, 17);
        task.withThought(solver);
        assertThat(tokenizer.show(solver.asked.get(0))).isEqualTo("<bos> what is two <latent> <prior>");
        assertThat(solver.asked.get(0).size() + 4 + 1 + 6).isEqualTo(17);
        assertThatThrownBy(() -> new AnswerTask(tokenizer, List.of(problem("what", "1")), 4, 6, 14))
                .isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> new AnswerTask(tokenizer, List.of(), 4, 6, 32))
                .isInstanceOf(IllegalArgumentException.class);
    }
}
