package subtext.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
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
import subtext.generate.Generator;
import subtext.generate.Sampling;
import subtext.io.HuggingFace;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.PackedBatch;
import subtext.testing.TestDevice;
import subtext.text.BpeTokenizer;
import subtext.text.BpeTrainer;
import subtext.text.TokenizerStyle;
import subtext.text.Tokens;

/** The front door on a small saved model: what an embedding program relies on. */
@ParameterizedClass
@MethodSource("subtext.testing.TestDevice#backends")
class EngineTest {
    @Parameter
    Backend backend;

    @TempDir
    private Path folder;

    private LlamaConfig config;

    @BeforeEach
    void save() throws IOException {
        BpeTokenizer tokenizer = new BpeTrainer()
                .add("two plus two is four and four plus four is eight ".repeat(9))
                .train(280);
        config = TestDevice.tiny(true).withVocabulary(tokenizer.vocabulary());
        HuggingFace.save(folder, config, tokenizer, TestDevice.weights(config, 3), DType.F32);
    }

    @Test
    void generatesTheSameTextForTheSameKey() throws IOException {
        try (Engine engine = open()) {
            Engine.Generation first = engine.generate("two plus", engine.sampling(1, 20), 7);
            assertThat(engine.generate("two plus", engine.sampling(1, 20), 7)).isEqualTo(first);
            assertThat(engine.generate("two plus", engine.sampling(1, 20), 8)).isNotEqualTo(first);
            assertThat(first.prompt().at(0))
                    .isEqualTo(engine.tokenizer().controls().bos());
            assertThat(engine.generate("two plus", engine.greedy(5)))
                    .isEqualTo(engine.generate("two plus", engine.greedy(5)));
        }
    }

    /** Llama 3 ends a text with one token and a message with another, and names both in {@code generation_config.json}. */
    @Test
    void generationStopsAtEachEndTokenOfTheFolder() throws IOException {
        int[] whole;
        try (Engine engine = open()) {
            assertThat(engine.endTokens())
                    .isEqualTo(Tokens.of(engine.tokenizer().controls().eos()));
            whole = engine.generate("two plus", Sampling.greedy(Sampling.NO_STOP, 20), 0)
                    .sample()
                    .tokens()
                    .toArray();
        }
        int end = whole[3];
        int first = 0;
        while (whole[first] != end) {
            first++;
        }
        Files.writeString(folder.resolve("generation_config.json"), "{\"eos_token_id\": [1, %d]}".formatted(end));
        try (Engine engine = open()) {
            assertThat(engine.endTokens()).isEqualTo(Tokens.of(1, end));
            Engine.Generation stopped = engine.generate("two plus", engine.greedy(20), 0);
            assertThat(stopped.sample().tokens().toArray()).isEqualTo(Arrays.copyOf(whole, first + 1));
            assertThat(stopped.sample().finished()).isTrue();
            List<String> told = new ArrayList<>();
            assertThat(engine.generate("two plus", engine.greedy(20), 0, told::add))
                    .isEqualTo(stopped);
            assertThat(String.join("", told)).isEqualTo(stopped.text());
        }
    }

    /** A checkpoint may have rows behind its tokenizer's last id: one of those that is drawn is a token without a text. */
    @Test
    void aRowWithoutATokenHasNoText() throws IOException {
        BpeTokenizer tokenizer = (BpeTokenizer) HuggingFace.tokenizer(folder);
        LlamaConfig padded = config.withVocabulary(2 * tokenizer.vocabulary());
        HuggingFace.save(folder, padded, tokenizer, TestDevice.weights(padded, 3), DType.F32);
        try (Engine engine = open()) {
            Engine.Generation generation = engine.generate("two plus", engine.sampling(1, 40), 1);
            int[] drawn = generation.sample().tokens().toArray();
            int[] known = Arrays.stream(drawn)
                    .filter(id -> id < tokenizer.vocabulary())
                    .toArray();
            assertThat(known.length).isPositive().isLessThan(drawn.length);
            Tokens whole = Tokens.concat(generation.prompt(), Tokens.of(known));
            assertThat("two plus" + generation.text()).isEqualTo(tokenizer.decode(whole));
        }
    }

    @Test
    void textIsToldAsItComes() throws IOException {
        try (Engine engine = open()) {
            for (int key = 0; key < 5; key++) {
                List<String> told = new ArrayList<>();
                Engine.Generation streamed = engine.generate("two plus", engine.sampling(1, 40), key, told::add);
                assertThat(streamed).isEqualTo(engine.generate("two plus", engine.sampling(1, 40), key));
                assertThat(String.join("", told)).isEqualTo(streamed.text());
                assertThat(told).hasSizeGreaterThan(2).doesNotContain("");
            }
            RuntimeException enough = new IllegalStateException("enough");
            assertThatThrownBy(() -> engine.generate("two plus", engine.sampling(1, 40), 0, text -> {
                        throw enough;
                    }))
                    .isSameAs(enough);
            assertThat(engine.generate("two plus", engine.sampling(1, 40), 0).text())
                    .isNotEmpty();
        }
    }

    @Test
    void logProbabilitiesAddUpAlongAText() throws IOException {
        try (Engine engine = open()) {
            Engine.ScoredText scored = engine.score("two plus two is four");
            assertThat(scored.score().logProbs()).hasSize(scored.tokens().size() - 1);
            Tokens all = scored.tokens();
            // the same ids in one pass of the training forward
            try (Llama llama = Llama.open(engine.llama().device(), config, DType.F32, Llama.Capacity.scoring(64, 1))) {
                llama.upload(engine.llama().download());
                assertThat(llama.logProbs(PackedBatch.of(List.of(PackedBatch.Sequence.next(all)))))
                        .isEqualTo(scored.score().logProbs());
            }
            int continued = engine.tokenizer().encode(" four").size();
            assertThat(engine.logProb("two plus two is", " four"))
                    .isEqualTo(scored.score().sum(all.size() - 1 - continued, all.size() - 1));
            assertThat(engine.logProb("two", "")).isZero();
        }
    }

    /** Llama 2's tokenizer puts a space before a text, which does not come between a text and what goes on from it. */
    @Test
    void aContinuationIsGivenNoSpace() throws IOException {
        BpeTokenizer llama2 = new BpeTrainer(TokenizerStyle.LLAMA2)
                .add("two plus two is four and four plus four is eight ".repeat(9))
                .train(290);
        config = config.withVocabulary(llama2.vocabulary());
        HuggingFace.save(folder, config, llama2, TestDevice.weights(config, 3), DType.F32);
        try (Engine engine = open()) {
            Engine.ScoredText whole = engine.score("two plus two is four");
            Engine.ScoredText apart = engine.score("two plus two is", " four");
            assertThat(apart.tokens()).isEqualTo(whole.tokens());
            int continued = apart.score().logProbs().length;
            assertThat(continued).isLessThan(whole.score().logProbs().length);
            assertThat(apart.score().sum())
                    .isEqualTo(whole.score()
                            .sum(
                                    whole.tokens().size() - 1 - continued,
                                    whole.tokens().size() - 1));
            assertThat(engine.score("", "two plus").tokens())
                    .isEqualTo(engine.score("two plus").tokens());
        }
    }

    /** A context of 100,000 does not cost its cache, only that of the texts at hand; longer texts get more room and the same bits. */
    @Test
    void aLongContextCostsWhatIsUsedOfIt() throws IOException {
        HuggingFace.save(
                folder,
                config.withContext(100_000),
                HuggingFace.tokenizer(folder),
                TestDevice.weights(config, 3),
                DType.F32);
        try (Engine engine = open()) {
            Llama llama = engine.llama();
            long model = llama.device().allocatedBytes();
            String short1 = engine.generate("two plus", engine.greedy(8));
            long room = llama.device().allocatedBytes() - model;
            assertThat(room)
                    .isLessThan(2
                            * Generator.Limits.bytes(llama.config(), DType.F32, new Generator.Limits(1, 1, 512, 512)));
            assertThat(engine.generate("two plus ".repeat(700), engine.greedy(8)))
                    .isNotNull();
            assertThat(engine.generate("two plus", engine.greedy(8))).isEqualTo(short1);
            assertThat(engine.score("two plus ".repeat(700)).score().sum()).isNegative();
        }
    }

    @Test
    void limitsAreNamed() throws IOException {
        try (Engine engine = open()) {
            assertThatThrownBy(() -> engine.generate("two", Sampling.greedy(-1, config.context() + 1)))
                    .isInstanceOf(EngineException.InvalidInput.class);
            assertThatThrownBy(() -> engine.generate("two ".repeat(config.context()), Sampling.greedy(-1, 4)))
                    .isInstanceOf(EngineException.InvalidInput.class);
        }
    }

    @Test
    void closedItRefuses() throws IOException {
        Engine engine = open();
        engine.score("two");
        engine.close();
        engine.close();
        assertThatThrownBy(() -> engine.score("two")).isInstanceOf(IllegalStateException.class);
    }

    private Engine open() throws IOException {
        return Engine.open(folder, backend, TestDevice.options(backend), DType.F32);
    }
}
