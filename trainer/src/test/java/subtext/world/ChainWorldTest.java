package subtext.world;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.data.Chunk;
import subtext.em.Question;
import subtext.text.SymbolTokenizer;
import subtext.text.Tokens;
import subtext.world.ChainWorld.Plan;
import subtext.world.ChainWorld.Problem;
import subtext.world.ChainWorld.Split;

class ChainWorldTest {
    private final ChainWorld world = new ChainWorld(Plan.chain16(0));

    @Test
    void rulesArePermutationsAndDifferBySeed() {
        int[] all = IntStream.range(0, 16).toArray();
        ChainWorld other = new ChainWorld(Plan.chain16(1));
        int same = 0;
        for (int g = 0; g < 8; g++) {
            int rule = g;
            int[] images = IntStream.range(0, 16).map(s -> world.next(rule, s)).toArray();
            same += Arrays.equals(
                            images,
                            IntStream.range(0, 16).map(s -> other.next(rule, s)).toArray())
                    ? 1
                    : 0;
            Arrays.sort(images);
            assertThat(images).isEqualTo(all);
        }
        assertThat(same).isZero();
    }

    @ParameterizedTest
    @ValueSource(longs = {0, 1, 4711})
    void thoughtsFollowTheRulesAndAnswersReadThemOut(long seed) {
        ChainWorld world = new ChainWorld(Plan.chain16(seed));
        for (Problem problem : world.problems(Split.TRAIN, 200)) {
            assertThat(problem.question().size()).isEqualTo(7);
            int state = world.stateOf(problem.question().at(0));
            for (int t = 0; t < 6; t++) {
                state = world.next(world.generatorOf(problem.question().at(1 + t)), state);
                assertThat(problem.thought().at(t)).isEqualTo(world.state(state));
            }
            assertThat(problem.answer())
                    .isEqualTo(
                            Tokens.of(problem.thought().at(2), problem.thought().at(5)));
        }
    }

    @Test
    void documentIsQuestionThenAnswerAndOnlyTheAnswerTakesAThought() {
        Problem problem = world.problem(Split.TRAIN, 3);
        assertThat(problem.document().chunks())
                .containsExactly(new Chunk(problem.question(), false), new Chunk(problem.answer(), true));
        Question question = Question.of(problem.document(), 1, 3);
        assertThat(question.context()).isEqualTo(problem.question());
        assertThat(question.text()).isEqualTo(problem.answer());
    }

    @Test
    void noQuestionIsInTwoSplitsOrTwiceInOne() {
        Set<Tokens> questions = new HashSet<>();
        for (Split split : Split.values()) {
            world.problems(split, 5_000).forEach(problem -> questions.add(problem.question()));
        }
        assertThat(questions).hasSize(20_000);
    }

    /** A world small enough to deal out to the end: the splits cover all questions but the remainder of the division by four. */
    @Test
    void splitsTogetherDealOutEveryQuestionOnce() {
        ChainWorld small = new ChainWorld(new Plan(5, 3, 3, List.of(3), 9));
        Set<Tokens> questions = new HashSet<>();
        for (Split split : Split.values()) {
            small.problems(split, (int) small.splitSize()).forEach(problem -> questions.add(problem.question()));
        }
        assertThat(small.splitSize()).isEqualTo(5 * 27 / 4);
        assertThat(questions).hasSize(4 * (5 * 27 / 4));
        assertThatThrownBy(() -> small.problem(Split.DEV, small.splitSize()))
                .hasMessageContaining("index: expected 0..32");
    }

    /** Starts and rules of dealt problems are even: chi-square with 15 and 47 degrees of freedom, bounds passed once in 10,000. */
    @Test
    void dealtQuestionsLookUniform() {
        int n = 16_000;
        double[] starts = new double[16];
        double[] rules = new double[48];
        for (Problem problem : world.problems(Split.HELD_OUT, n)) {
            starts[world.stateOf(problem.question().at(0))]++;
            for (int t = 0; t < 6; t++) {
                rules[8 * t + world.generatorOf(problem.question().at(1 + t))]++;
            }
        }
        assertThat(chiSquare(starts, n / 16.0)).isLessThan(44.3);
        assertThat(chiSquare(rules, n / 8.0)).isLessThan(91);
    }

    @Test
    void problemsDependOnSeedAndIndexAlone() {
        ChainWorld again = new ChainWorld(Plan.chain16(0));
        assertThat(again.problem(Split.DEV, 17))
                .isEqualTo(world.problems(Split.DEV, 100).get(17));
        assertThat(world.problem("chain-0-dev-17")).isEqualTo(world.problem(Split.DEV, 17));
        assertThat(world.problem("chain-0-warm-start-2")).isEqualTo(world.problem(Split.WARM_START, 2));
        assertThatThrownBy(() -> world.problem("chain-1-dev-17"))
                .hasMessage("id: expected one of this chain world (seed 0), got chain-1-dev-17");
        assertThatThrownBy(() -> world.problem("chain-0-dev-x")).hasMessageContaining("got chain-0-dev-x");
    }

    @Test
    void symbolsAndControlsFillTheVocabulary() {
        assertThat(world.symbols()).hasSize(24).startsWith("s0", "s1").endsWith("g", "h");
        assertThat(world.vocabulary()).isEqualTo(30);
        SymbolTokenizer tokenizer = world.tokenizer();
        assertThat(tokenizer.controls()).isEqualTo(world.controls());
        for (int s = 0; s < 16; s++) {
            assertThat(tokenizer.id("s" + s)).isEqualTo(world.state(s));
            assertThat(world.stateOf(world.state(s))).isEqualTo(s);
            assertThat(world.generatorOf(world.state(s))).isEqualTo(-1);
        }
        for (int g = 0; g < 8; g++) {
            assertThat(tokenizer.id(ChainWorld.letter(g))).isEqualTo(world.generator(g));
            assertThat(world.generatorOf(world.generator(g))).isEqualTo(g);
            assertThat(world.stateOf(world.generator(g))).isEqualTo(-1);
        }
        for (int id : world.controls().ids()) {
            assertThat(world.stateOf(id)).isEqualTo(-1);
            assertThat(world.generatorOf(id)).isEqualTo(-1);
        }
        Problem problem = world.problem(Split.TRAIN, 0);
        assertThat(tokenizer.encode(tokenizer.decode(problem.question()))).isEqualTo(problem.question());
    }

    /** The teacher's steps: by its rules where it knows them, from wherever it is; even guesses elsewhere (15 degrees of freedom). */
    @Test
    void aTeacherKnowsItsRulesAndGuessesTheRest() {
        double[] guesses = new double[16];
        int guessed = 0;
        for (Problem problem : world.problems(Split.WARM_START, 4_000)) {
            assertThat(world.taught(problem, 8)).isEqualTo(problem.thought());
            Tokens taught = world.taught(problem, 6);
            assertThat(world.taught(problem, 6)).isEqualTo(taught);
            assertThat(world.wellFormed(taught)).isTrue();
            int state = world.stateOf(problem.question().at(0));
            for (int t = 0; t < 6; t++) {
                int g = world.generatorOf(problem.question().at(1 + t));
                int to = world.stateOf(taught.at(t));
                if (g < 6) {
                    assertThat(to).isEqualTo(world.next(g, state));
                } else {
                    guesses[to]++;
                    guessed++;
                }
                state = to;
            }
        }
        assertThat(guessed / 24_000.0).isBetween(0.24, 0.26);
        assertThat(chiSquare(guesses, guessed / 16.0)).isLessThan(44.3);
    }

    @Test
    void aTeacherSlipsAsOftenAsTold() {
        int problems = 4000;
        int wrong = 0;
        int[] first = new int[world.plan().depth()];
        for (Problem problem : world.problems(Split.WARM_START, problems)) {
            assertThat(world.slipping(problem, 0)).isEqualTo(problem.thought());
            Tokens thought = world.slipping(problem, 0.3);
            assertThat(world.wellFormed(thought)).isTrue();
            assertThat(world.slipping(problem, 0.3)).isEqualTo(thought);
            if (!thought.equals(problem.thought())) {
                wrong++;
                int step = 0;
                while (thought.at(step) == problem.thought().at(step)) {
                    step++;
                }
                first[step]++;
                // from the slip on it goes by the rules, which are one to one, so that it stays wrong
                for (int after = step + 1; after < world.plan().depth(); after++) {
                    int rule = world.generatorOf(problem.question().at(1 + after));
                    assertThat(world.stateOf(thought.at(after)))
                            .isEqualTo(world.next(rule, world.stateOf(thought.at(after - 1))));
                }
            }
        }
        // 4.4 standard deviations of the binomial: 1 in 100,000
        assertThat(wrong).isBetween((int) (problems * 0.3 - 128), (int) (problems * 0.3 + 128));
        double each = wrong / (double) first.length;
        for (int count : first) {
            assertThat((double) count).isBetween(each - 4.4 * Math.sqrt(each), each + 4.4 * Math.sqrt(each));
        }
        assertThatThrownBy(() -> world.slipping(world.problem(Split.DEV, 0), 1.5))
                .hasMessageContaining("share");
    }

    @Test
    void judgeTellsRightReasonsFromWrongOnes() {
        Problem problem = world.problem(Split.HELD_OUT, 0);
        int[] bent = problem.thought().toArray();
        bent[0] = another(bent[0]);
        Tokens wrong = Tokens.of(bent);

        assertThat(world.judge(problem, problem.thought(), problem.answer()))
                .isEqualTo(new ChainWorld.Verdict(true, true, 1, true));
        ChainWorld.Verdict lucky = world.judge(problem, wrong, problem.answer());
        assertThat(lucky).isEqualTo(new ChainWorld.Verdict(true, false, 5 / 6.0, true));
        assertThat(lucky.falsePositive()).isTrue();

        int last = problem.answer().at(1);
        Tokens otherAnswer = Tokens.of(problem.answer().at(0), another(last));
        assertThat(world.answerCorrect(problem, otherAnswer)).isFalse();
        assertThat(world.answerCorrect(
                        problem, Tokens.of(another(problem.answer().at(0)), last)))
                .isTrue();
        assertThat(world.answerCorrect(problem, Tokens.of(last))).isFalse();

        assertThat(world.wellFormed(problem.thought().slice(0, 5))).isFalse();
        assertThat(world.wellFormed(Tokens.concat(problem.thought().slice(0, 5), Tokens.of(world.generator(0)))))
                .isFalse();
        assertThat(world.stepAccuracy(problem, problem.thought().slice(0, 3))).isEqualTo(0.5);
    }

    /** The same rules, start and readouts in other orders, each way once, under names of their own. */
    @Test
    void paraphrasesSayTheSameOtherwise() {
        ChainWorld.Problem problem = new ChainWorld(ChainWorld.Plan.chain16(3)).problem(ChainWorld.Split.TRAIN, 5);
        var others = problem.paraphrases();
        assertThat(others).hasSize(3);
        java.util.Set<String> said = new java.util.HashSet<>();
        said.add(problem.document().text().toString());
        for (var other : others) {
            assertThat(said.add(other.text().toString())).isTrue();
            assertThat(other.id()).startsWith(problem.id() + "/");
            for (int c = 0; c < 2; c++) {
                assertThat(java.util.Arrays.stream(other.chunks().get(c).text().toArray())
                                .sorted())
                        .containsExactlyElementsOf(java.util.Arrays.stream(problem.document()
                                        .chunks()
                                        .get(c)
                                        .text()
                                        .toArray())
                                .sorted()
                                .boxed()
                                .toList());
            }
            // the rules stay in their order, which is what they mean
            var rules = problem.question().slice(1, problem.question().size());
            var question = other.chunks().getFirst().text();
            assertThat(java.util.List.of(question.slice(0, rules.size()), question.slice(1, question.size())))
                    .contains(rules);
        }
    }

    @Test
    void impossiblePlansAreRefusedByField() {
        assertThatThrownBy(() -> new Plan(1, 8, 6, List.of(6), 0)).hasMessage("states: expected 2 to 4096, got 1");
        assertThatThrownBy(() -> new Plan(16, 27, 6, List.of(6), 0)).hasMessage("generators: expected 1 to 26, got 27");
        assertThatThrownBy(() -> new Plan(16, 8, 6, List.of(3, 3), 0))
                .hasMessage("readouts: expected rising steps in 1..6, got [3, 3]");
        assertThatThrownBy(() -> new Plan(16, 8, 6, List.of(7), 0)).hasMessageContaining("readouts");
    }

    private int another(int state) {
        return world.state((world.stateOf(state) + 1) % 16);
    }

    private static double chiSquare(double[] counts, double expected) {
        return Arrays.stream(counts)
                .map(c -> (c - expected) * (c - expected) / expected)
                .sum();
    }
}
