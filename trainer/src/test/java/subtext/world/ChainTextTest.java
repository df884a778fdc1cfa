package subtext.world;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import subtext.data.Chunker;
import subtext.data.SentenceSplitter;
import subtext.world.ChainText.TextDocument;
import subtext.world.ChainWorld.Plan;
import subtext.world.ChainWorld.Problem;
import subtext.world.ChainWorld.Split;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class ChainTextTest {
    private final ChainWorld world = new ChainWorld(Plan.chain16(2));
    private final ChainText text = new ChainText(world, 3);

    @Test
    void aProblemReadsAsItShould() {
        Problem problem = world.problem(Split.TRAIN, 0);
        TextDocument document = new ChainText(world, 1).document(Split.TRAIN, 0);
        String expected =
                "Start at " + world.stateOf(problem.question().at(0)) + ". Apply " + letters(problem, 1, 5) + " and "
                        + letters(problem, 6, 6) + " in turn. After step 3 the state is "
                        + world.stateOf(problem.thought().at(2))
                        + ". After step 6 the state is "
                        + world.stateOf(problem.thought().at(5)) + ".";
        assertThat(document.text()).isEqualTo(expected);
        assertThat(document.passages()).hasSize(2);
        assertThat(ChainText.lastState(document.text()))
                .hasValue(world.stateOf(problem.thought().at(5)));
        assertThat(ChainText.lastState("no such thing")).isEmpty();
    }

    /** Read back by its words alone: every step told in the thoughts is a rule of the world, and they chain from start to answer. */
    @Test
    void thoughtsLeadFromTheStartToTheReadouts() {
        Pattern step = Pattern.compile("([a-h]) takes (\\d+) to (\\d+)\\.");
        for (TextDocument document : text.documents(Split.HELD_OUT, 20)) {
            assertThat(document.passages()).hasSize(6);
            int state = -1;
            for (int i = 0; i < 6; i++) {
                ChainText.Passage passage = document.passages().get(i);
                Matcher matcher = step.matcher(passage.thought());
                int steps = 0;
                while (matcher.find()) {
                    int from = Integer.parseInt(matcher.group(2));
                    assertThat(i % 2 == 0 && steps == 0 || from == state).isTrue();
                    state = world.next(matcher.group(1).charAt(0) - 'a', from);
                    assertThat(Integer.parseInt(matcher.group(3))).isEqualTo(state);
                    steps++;
                }
                assertThat(steps).isEqualTo(3);
                assertThat(ChainText.lastState(document.text().substring(passage.from(), passage.to())))
                        .hasValue(state);
            }
        }
    }

    @Test
    void splitterFindsFourSentencesAProblem() {
        for (TextDocument document : text.documents(Split.TRAIN, 50)) {
            List<String> sentences = new SentenceSplitter().split(document.text());
            assertThat(sentences).hasSize(12);
            assertThat(String.join("", sentences)).isEqualTo(document.text());
        }
    }

    /** However the chunker cuts, every passage's thought is under exactly one chunk, in order; some chunks hold none, some several. */
    @Test
    void everyThoughtIsUnderExactlyOneChunk() {
        Set<Integer> perChunk = new HashSet<>();
        for (TextDocument document : text.documents(Split.TRAIN, 50)) {
            List<String> chunks = new Chunker(7, 2.5, 6).cut(document.text());
            List<String> thoughts = document.thoughts(chunks);
            assertThat(thoughts).hasSameSizeAs(chunks);
            List<String> told = new ArrayList<>(thoughts);
            told.removeIf(String::isEmpty);
            assertThat(String.join(" ", told))
                    .isEqualTo(document.thought(0, document.text().length()));
            thoughts.forEach(thought -> perChunk.add(thought.split("takes", -1).length - 1));
        }
        assertThat(perChunk).contains(0, 3, 6);
        TextDocument document = text.document(Split.TRAIN, 0);
        assertThatThrownBy(() -> document.thoughts(List.of("too short")))
                .hasMessageContaining("characters in all, got 9");
    }

    @Test
    void documentsUseEachProblemOnce() {
        Set<String> texts = new HashSet<>();
        Set<String> ids = new HashSet<>();
        for (Split split : Split.values()) {
            for (TextDocument document : text.documents(split, 100)) {
                ids.add(document.id());
                for (String problem : document.text().split("\n\n")) {
                    texts.add(problem);
                }
            }
        }
        assertThat(ids).hasSize(400);
        assertThat(texts).hasSize(1_200);
    }

    @Test
    void aCorpusLineHoldsTextAndTruth() {
        TextDocument document = text.document(Split.DEV, 4);
        assertThat(document.toJson()).doesNotContain("\n");
        JsonNode line = JsonMapper.builder().build().readTree(document.toJson());
        assertThat(line.get("id").asString()).isEqualTo(document.id());
        assertThat(line.get("text").asString()).isEqualTo(document.text());
        assertThat(line.get("passages").size()).isEqualTo(6);
        assertThat(line.get("thought").asString())
                .startsWith(line.get("passages").get(0).get("thought").asString());
    }

    private String letters(Problem problem, int from, int to) {
        List<String> letters = new ArrayList<>();
        for (int step = from; step <= to; step++) {
            letters.add(String.valueOf(
                    (char) ('a' + world.generatorOf(problem.question().at(step)))));
        }
        return String.join(", ", letters);
    }
}
