package subtext.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.EngineException;
import subtext.em.EStep;
import subtext.em.LatentRecord;
import subtext.em.LogWeights;
import subtext.em.Network;
import subtext.em.Question;
import subtext.em.ScoredSample;
import subtext.em.Selection;
import subtext.em.Weighting;
import subtext.engine.Engine;
import subtext.io.HuggingFace;
import subtext.model.Initialisation;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.text.SymbolTokenizer;
import subtext.text.Tokens;

/** The bound on one text is the E-step's, to the bit: same thoughts, same log-probabilities, whatever else is asked at the same time. */
class ThoughtBoundTest {
    private static final int MAX_THOUGHT = 6;

    @TempDir
    private Path folder;

    private final SymbolTokenizer tokenizer = new SymbolTokenizer(List.of("a", "b", "c", "d", "e"));
    private final LlamaConfig config = LlamaConfig.small(2, 32, 2, tokenizer.vocabulary(), 64);
    private float[] weights;

    @BeforeEach
    void save() throws IOException {
        ParameterTable table = ParameterTable.of(config);
        weights = Initialisation.weights(table, 7);
        for (int i = 0; i < table.decayed(); i++) {
            weights[i] *= 6; // far from uniform, as a trained network is
        }
        HuggingFace.save(folder, config, tokenizer, weights, DType.F32);
    }

    private Engine open() throws IOException {
        return Engine.open(folder, Backend.CPU, DeviceOptions.defaults().withThreads(1), DType.F32);
    }

    private List<Question> questions() {
        List<Question> questions = new ArrayList<>();
        for (int i = 0; i < 17; i++) {
            int[] context = new int[i % 7];
            int[] text = new int[1 + i % 5];
            for (int t = 0; t < context.length; t++) {
                context[t] = (i + t * t) % 5;
            }
            for (int t = 0; t < text.length; t++) {
                text[t] = (3 * i + t) % 5;
            }
            questions.add(new Question("document " + i % 4, i / 4, Tokens.of(context), Tokens.of(text)));
        }
        return questions;
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 4, 13})
    void isWhatAnEStepOfTheRunSays(int samples) throws IOException {
        List<LatentRecord> run;
        try (Device device = Device.open(Backend.CPU, DeviceOptions.defaults().withThreads(2));
                Network network = new Network(device, config, DType.F32, 64, MAX_THOUGHT, 0, samples)) {
            network.llama().upload(weights);
            run = new EStep(samples, new Selection.Resample(), Weighting.JOINT, 41)
                    .explain(network.model(tokenizer.controls(), MAX_THOUGHT), questions());
        }
        try (Engine engine = open();
                ThoughtBound together = new ThoughtBound(engine, samples, MAX_THOUGHT, 41);
                ThoughtBound alone = new ThoughtBound(engine, samples, MAX_THOUGHT, 41)) {
            List<ThoughtBound.Bound> bounds = together.of(questions());
            assertThat(bounds.stream().map(ThoughtBound.Bound::record)).containsExactlyElementsOf(run);
            for (int i = 0; i < bounds.size(); i++) {
                Question question = questions().get(i);
                assertThat(alone.of(List.of(question))).containsExactly(bounds.get(i));
                assertThat(bounds.get(i).weights())
                        .isEqualTo(LogWeights.of(run.get(i).samples().stream()
                                .mapToDouble(ScoredSample::logBoundWeight)
                                .toArray()));
            }
            // another key draws other thoughts: the equality above is not for want of any
            try (ThoughtBound other = new ThoughtBound(engine, samples, MAX_THOUGHT, 42)) {
                assertThat(other.of(questions()).stream().map(ThoughtBound.Bound::record))
                        .isNotEqualTo(run);
            }
        }
        assertThat(run.stream().flatMap(record -> record.samples().stream())).anyMatch(ScoredSample::finished);
    }

    @Test
    void promptAndTextAreTokenisedApartAndHaveToFit() throws IOException {
        try (Engine engine = open();
                ThoughtBound bounds = new ThoughtBound(engine, 2, MAX_THOUGHT, 0)) {
            Question question = bounds.question("a b", "c");
            assertThat(question.context()).isEqualTo(Tokens.of(0, 1));
            assertThat(question.text()).isEqualTo(Tokens.of(2));
            int room = config.context() - MAX_THOUGHT - 4;
            Question longest = bounds.question("a ".repeat(room - 1), "b");
            assertThat(longest.fitted(config.context(), MAX_THOUGHT)).isEqualTo(longest);
            assertThat(bounds.of(List.of(longest))).hasSize(1);
            assertThatThrownBy(() -> bounds.question("a ".repeat(room), "b"))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining("exceed the model's context of 64");
            assertThatThrownBy(() -> bounds.question("a", " ")).hasMessageContaining("nothing to score");
            assertThat(bounds.of(List.of())).isEmpty();
            assertThatThrownBy(() -> new ThoughtBound(engine, 0, MAX_THOUGHT, 0))
                    .isInstanceOf(EngineException.InvalidConfig.class);
        }
    }
}
