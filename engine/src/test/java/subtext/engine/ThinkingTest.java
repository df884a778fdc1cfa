package subtext.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.EngineException;
import subtext.generate.Sample;
import subtext.generate.Sampling;
import subtext.io.HuggingFace;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.PackedBatch;
import subtext.testing.TestDevice;
import subtext.text.ControlTokens;
import subtext.text.SymbolTokenizer;
import subtext.text.Tokens;

/**
 * Thoughts and many texts at once, on a random model of seven words: short enough a vocabulary for thoughts to end, to be cut off, and for
 * texts to run into a next thought.
 */
@ParameterizedClass
@MethodSource("subtext.testing.TestDevice#backends")
class ThinkingTest {
    private static final List<String> WORDS = List.of("a", "b", "c", "d", "e", "f", "g");
    private static final int MAX_THOUGHT = 7;

    @Parameter
    Backend backend;

    @TempDir
    private Path folder;

    private final SymbolTokenizer tokenizer = new SymbolTokenizer(WORDS);
    private final ControlTokens controls = tokenizer.controls();
    private LlamaConfig config;

    @BeforeEach
    void save() throws IOException {
        config = TestDevice.tiny(true).withVocabulary(tokenizer.vocabulary());
        HuggingFace.save(folder, config, tokenizer, TestDevice.weights(config, 3), DType.F32);
    }

    private Engine open() throws IOException {
        return Engine.open(folder, backend, TestDevice.options(backend), DType.F32);
    }

    /** Every log-probability is that of one pass of the training forward over {@code <bos> C <latent><prior> z </latent> x}. */
    @Test
    void thoughtAndTextStandAsInTraining() throws IOException {
        try (Engine engine = open();
                Llama llama = Llama.open(engine.llama().device(), config, DType.F32, Llama.Capacity.scoring(64, 1))) {
            llama.upload(engine.llama().download());
            int ended = 0;
            int cutOff = 0;
            int nextThought = 0;
            for (int key = 0; key < 40; key++) {
                Engine.Thinking thinking = engine.think("a b", engine.sampling(1, 12), MAX_THOUGHT, key);
                assertThat(thinking.prompt())
                        .isEqualTo(Tokens.of(controls.bos(), 0, 1, controls.latent(), controls.prior()));
                Sample thought = thinking.thoughtSample();
                ended += thought.finished() ? 1 : 0;
                cutOff += thought.finished() ? 0 : 1;
                Tokens inside = thought.tokens().slice(0, thought.tokens().size() - (thought.finished() ? 1 : 0));
                assertThat(inside.toArray()).doesNotContain(controls.endLatent());
                Tokens close = thought.finished() ? Tokens.EMPTY : Tokens.of(controls.endLatent());
                Tokens x = thinking.sample().tokens();
                double[] all = llama.logProbs(PackedBatch.of(List.of(
                        PackedBatch.Sequence.next(Tokens.concat(thinking.prompt(), thought.tokens(), close, x)))));
                int from = thinking.prompt().size() - 1;
                assertThat(Arrays.copyOfRange(all, from, from + thought.tokens().size()))
                        .isEqualTo(thought.logProbs());
                assertThat(Arrays.copyOfRange(all, all.length - x.size(), all.length))
                        .isEqualTo(thinking.sample().logProbs());
                int last = x.at(x.size() - 1);
                nextThought += last == controls.latent() ? 1 : 0;
                assertThat(thinking.sample().finished()).isEqualTo(last == controls.latent() || last == controls.eos());
                assertThat(x.slice(0, x.size() - 1).toArray()).doesNotContain(controls.latent(), controls.eos());
                assertThat(thinking.thought()).isEqualTo(tokenizer.decode(thought.tokens()));
                assertThat("a b" + thinking.text()).isEqualTo(tokenizer.decode(Tokens.concat(Tokens.of(0, 1), x)));
            }
            assertThat(ended).as("thoughts that ended").isGreaterThan(5);
            assertThat(cutOff).as("thoughts cut off").isGreaterThan(2);
            assertThat(nextThought)
                    .as("texts that end where a next thought begins")
                    .isGreaterThan(5);
        }
    }

    @Test
    void thoughtAndTextAreToldAsTheyCome() throws IOException {
        try (Engine engine = open()) {
            for (int key = 0; key < 20; key++) {
                List<String> thought = new ArrayList<>();
                List<String> text = new ArrayList<>();
                Engine.Thinking told =
                        engine.think("a b", engine.sampling(1, 12), MAX_THOUGHT, key, thought::add, text::add);
                assertThat(told).isEqualTo(engine.think("a b", engine.sampling(1, 12), MAX_THOUGHT, key));
                assertThat(String.join("", thought)).isEqualTo(told.thought());
                assertThat(String.join("", text)).isEqualTo(told.text());
            }
            assertThat(engine.think("a b", engine.greedy(9))).isEqualTo(engine.think("a b", engine.greedy(9), 9, 0));
        }
    }

    /** Fifty prompts of other lengths beside it change no bit of a result, whether it is drawn, thought about or scored. */
    @Test
    void neighboursChangeNothing() throws IOException {
        List<String> prompts = new ArrayList<>(List.of(""));
        List<Engine.Passage> passages = new ArrayList<>();
        for (int i = 0; i < 49; i++) {
            StringBuilder prompt = new StringBuilder();
            for (int t = 0; t <= i % 23; t++) {
                prompt.append(WORDS.get((i * 31 + t * t) % 7)).append(' ');
            }
            prompts.add(prompt.toString());
            passages.add(new Engine.Passage(i % 3 == 0 ? "" : prompt.toString(), "a b c d e f g ".repeat(1 + i % 5)));
        }
        List<Engine.Generation> generated = new ArrayList<>();
        List<Engine.Thinking> thought = new ArrayList<>();
        List<Engine.ScoredText> scored = new ArrayList<>();
        try (Engine engine = open()) {
            for (String prompt : prompts) {
                generated.add(engine.generate(prompt, engine.sampling(1, 20), 5));
                thought.add(engine.think(prompt, engine.sampling(1, 20), MAX_THOUGHT, 5));
            }
            for (Engine.Passage passage : passages) {
                scored.add(
                        passage.prompt().isEmpty()
                                ? engine.score(passage.text())
                                : engine.score(passage.prompt(), passage.text()));
            }
        }
        try (Engine engine = open()) {
            assertThat(engine.generate(prompts, engine.sampling(1, 20), 5)).isEqualTo(generated);
            assertThat(engine.think(prompts, engine.sampling(1, 20), MAX_THOUGHT, 5))
                    .isEqualTo(thought);
            assertThat(engine.score(passages)).isEqualTo(scored);
            assertThat(engine.generate(List.of(), engine.sampling(1, 20), 5)).isEmpty();
            assertThat(engine.score(List.of())).isEmpty();
            // and a single one in the room that was made for many
            assertThat(engine.generate(prompts.get(7), engine.sampling(1, 20), 5))
                    .isEqualTo(generated.get(7));
        }
        assertThat(generated.stream().map(Engine.Generation::text).distinct()).hasSizeGreaterThan(20);
    }

    /** The worst case must fit, so a prompt is not refused by what happens to be drawn. */
    @Test
    void whatMayNotFitIsRefused() throws IOException {
        try (Engine engine = open()) {
            int context = config.context();
            Sampling sampling = Sampling.greedy(controls.eos(), context - MAX_THOUGHT - 5);
            assertThat(engine.think("a b", sampling, MAX_THOUGHT, 0)).isNotNull();
            assertThatThrownBy(() -> engine.think(List.of("a", "a b c"), sampling, MAX_THOUGHT, 0))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining("prompt 1 of 6 tokens, a thought of 7 and a text of " + (context - 12)
                            + " exceed the model's context of " + context);
            assertThatThrownBy(() -> engine.think("a", engine.greedy(4), 0, 0))
                    .isInstanceOf(EngineException.InvalidConfig.class);
        }
    }
}
