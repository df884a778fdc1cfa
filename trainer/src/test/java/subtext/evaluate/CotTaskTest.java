package subtext.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;
import subtext.text.ControlTokens;
import subtext.text.Tokens;
import subtext.world.ChainWorld;
import subtext.world.ChainWorld.Plan;
import subtext.world.ChainWorld.Problem;
import subtext.world.ChainWorld.Split;
import subtext.world.TabularTwin;

class CotTaskTest {
    private final ChainWorld world = new ChainWorld(Plan.chain16(5));
    private final ControlTokens controls = world.controls();
    private final List<Problem> problems = world.problems(Split.HELD_OUT, 150);
    private final CotTask task = new CotTask(world, problems);

    /**
     * The tabular twin behind the prompts of a network: reads the question after {@code <bos>}, thinks greedily, and reads its answer
     * out of whatever thought stands in the prompt. A raw prompt is answered from the greedy thought left unwritten.
     */
    private final class TwinCompleter implements Completer {
        private final TabularTwin twin;

        TwinCompleter(int shown) {
            this.twin = TabularTwin.warmStart(
                    world, world.problems(Split.WARM_START, shown), 0.02, 1e-6, new TabularTwin.Prior());
        }

        @Override
        public List<Tokens> complete(List<Tokens> prompts, int stopToken, int maxTokens) {
            return prompts.stream()
                    .map(prompt -> complete(prompt, stopToken, maxTokens))
                    .toList();
        }

        private Tokens complete(Tokens prompt, int stopToken, int maxTokens) {
            assertThat(prompt.at(0)).isEqualTo(controls.bos());
            Tokens thought = twin.greedyThought(prompt.slice(1, 8));
            if (stopToken == controls.endLatent()) {
                assertThat(prompt.slice(8, prompt.size())).isEqualTo(Tokens.of(controls.latent(), controls.prior()));
                return Tokens.concat(thought, Tokens.of(stopToken));
            }
            Tokens written = prompt.size() > 8 ? prompt.slice(10, 16) : thought;
            return Tokens.of(written.at(2), written.at(5), controls.eos()).slice(0, maxTokens);
        }
    }

    @Test
    void accuracyOfTheTwinBehindPromptsEqualsItsOwn() {
        TwinCompleter completer = new TwinCompleter(30);
        CotTask.Result result = task.withThought(completer);
        assertThat(result.accuracy()).isCloseTo(completer.twin.accuracy(problems), within(1e-12));
        assertThat(result.accuracy()).isBetween(0.1, 0.9);
        assertThat(result.wellFormed()).isEqualTo(1);
        assertThat(result.exactThoughts()).isLessThanOrEqualTo(result.accuracy());
        assertThat(result.falsePositives()).isCloseTo(result.accuracy() - result.exactThoughts(), within(1e-12));
        assertThat(result.stepAccuracy()).isGreaterThan(result.exactThoughts());
        assertThat(result.verdicts()).hasSize(150);
    }

    @Test
    void aTwinThatKnowsTheRulesIsAlwaysRight() {
        CotTask.Result result = task.withThought(new TwinCompleter(2_000));
        assertThat(result.accuracy()).isEqualTo(1);
        assertThat(result.exactThoughts()).isEqualTo(1);
        assertThat(task.withoutThought(new TwinCompleter(2_000)).accuracy()).isEqualTo(1);
    }

    @Test
    void unclosedThoughtsAreWrongButStillAnswered() {
        Completer rambling = (prompts, stop, most) -> prompts.stream()
                .map(prompt -> stop == controls.endLatent() ? Tokens.of(new int[most]) : answer(prompt))
                .toList();
        CotTask.Result result = task.withThought(rambling);
        assertThat(result.wellFormed()).isZero();
        assertThat(result.exactThoughts()).isZero();
        assertThat(result.accuracy()).isEqualTo(1);
        assertThat(result.falsePositives()).isEqualTo(1);
    }

    @Test
    void constantAnswersAreAtChance() {
        Completer constant = (prompts, stop, most) -> prompts.stream()
                .map(p -> Tokens.of(world.state(3), world.state(3)).slice(0, Math.min(2, most)))
                .toList();
        // 150 problems, chance 1/16: 4 standard deviations either side
        assertThat(task.withoutThought(constant).accuracy()).isBetween(0.0, 0.142);
        assertThat(task.withoutThought(constant).falsePositives()).isZero();
    }

    @Test
    void anEmptyTaskIsRefused() {
        assertThatThrownBy(() -> new CotTask(world, List.of())).hasMessage("problems: expected at least one, got none");
    }

    /** The truth, whatever the prompt holds after the question; the prompt must end with the closing marker. */
    private Tokens answer(Tokens prompt) {
        assertThat(prompt.at(prompt.size() - 1)).isEqualTo(controls.endLatent());
        return problems.stream()
                .filter(problem -> problem.question().equals(prompt.slice(1, 8)))
                .findFirst()
                .orElseThrow()
                .answer();
    }
}
