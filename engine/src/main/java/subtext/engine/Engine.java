package subtext.engine;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.EngineException;
import subtext.generate.Generator;
import subtext.generate.Prompt;
import subtext.generate.Sample;
import subtext.generate.Sampling;
import subtext.generate.Score;
import subtext.generate.Scorer;
import subtext.io.HuggingFace;
import subtext.model.Llama;
import subtext.text.TextStream;
import subtext.text.Tokenizer;
import subtext.text.Tokens;

/**
 * A model ready for use: what a program that embeds Subtext holds. Confined to the thread that opened it; frees everything on close.
 *
 * <pre>{@code
 * try (Engine engine = Engine.open(Path.of("runs/chain/model"), Backend.best())) {
 *     String text = engine.generate("Once upon a time", engine.greedy(64));
 *     double nats = engine.logProb("2 + 2 =", " 4");
 * }
 * }</pre>
 *
 * <p>For many prompts at once, build a {@link Generator} or {@link Scorer} on {@link #llama}.
 */
public final class Engine implements AutoCloseable {
    private final Device device;
    private final Llama llama;
    private final Tokenizer tokenizer;
    private Generator generator;
    private Scorer scorer;

    /**
     * What was generated.
     *
     * @param prompt the ids given, with {@code <bos>} where a text begins with it
     * @param sample the ids drawn and their log-probabilities
     * @param text the drawn ids as text, control tokens left out
     */
    public record Generation(Tokens prompt, Sample sample, String text) {}

    /**
     * What a text's tokens cost.
     *
     * @param tokens with {@code <bos>} in front where a text begins with it
     * @param score log-probabilities of the last of them: of all but the first, or of those behind a prefix
     */
    public record ScoredText(Tokens tokens, Score score) {}

    private Engine(Device device, Llama llama, Tokenizer tokenizer) {
        this.device = device;
        this.llama = llama;
        this.tokenizer = tokenizer;
    }

    /**
     * Opens a model folder in Hugging Face layout on the first device of a backend, with weights in f32.
     *
     * @param folder with {@code config.json}, weights and tokenizer
     * @param backend which library computes
     * @return the engine, which the caller closes
     * @throws IOException if a file cannot be read
     * @throws EngineException as {@link #open(Path, Backend, DeviceOptions, DType)}
     */
    public static Engine open(Path folder, Backend backend) throws IOException {
        return open(folder, backend, DeviceOptions.defaults(), DType.F32);
    }

    /**
     * Opens a model folder in Hugging Face layout.
     *
     * @param folder with {@code config.json}, weights and tokenizer
     * @param backend which library computes
     * @param options which device of it, and how
     * @param dtype storage of weights and activations, F32 or BF16
     * @return the engine, which the caller closes
     * @throws IOException if a file cannot be read
     * @throws EngineException if a file is damaged, the device is not there or the model does not fit, with the cure
     */
    public static Engine open(Path folder, Backend backend, DeviceOptions options, DType dtype) throws IOException {
        Tokenizer tokenizer = HuggingFace.tokenizerFor(folder, HuggingFace.config(folder));
        Device device = Device.open(backend, options);
        try {
            return new Engine(device, HuggingFace.open(folder, device, dtype, Llama.Capacity.weights()), tokenizer);
        } catch (IOException | RuntimeException | Error e) {
            device.close();
            throw e;
        }
    }

    /** {@return the model, for generators and scorers of one's own; it is freed with this engine} */
    public Llama llama() {
        return llama;
    }

    /** {@return the tokenizer of the model} */
    public Tokenizer tokenizer() {
        return tokenizer;
    }

    /**
     * How to get the most likely continuation, until {@code <eos>} or the limit.
     *
     * @param maxTokens the limit, 1 or more
     * @return for {@link #generate}
     * @throws EngineException.InvalidConfig if the limit is below 1
     */
    public Sampling greedy(int maxTokens) {
        return Sampling.greedy(tokenizer.controls().eos(), maxTokens);
    }

    /**
     * How to draw from all tokens at a temperature, until {@code <eos>} or the limit.
     *
     * @param temperature divides the logits: 1 is the model's own law, 0 its most likely token
     * @param maxTokens the limit, 1 or more
     * @return for {@link #generate}
     * @throws EngineException.InvalidConfig if either is out of range
     */
    public Sampling sampling(double temperature, int maxTokens) {
        return new Sampling(temperature, 0, 1, tokenizer.controls().eos(), maxTokens);
    }

    /**
     * The continuation of a text, drawn under key 0.
     *
     * @param prompt the text; an empty one is the beginning of a text, where the tokenizer has a {@code <bos>}
     * @param sampling how to draw, and how much
     * @return the text behind the prompt, control tokens left out
     * @throws EngineException.InvalidInput as {@link #generate(String, Sampling, long)}
     */
    public String generate(String prompt, Sampling sampling) {
        return generate(prompt, sampling, 0).text();
    }

    /**
     * The continuation of a text.
     *
     * @param prompt the text; an empty one is the beginning of a text, where the tokenizer has a {@code <bos>}
     * @param sampling how to draw, and how much
     * @param key random key: the same one gives the same continuation
     * @return the ids given, those drawn and their text
     * @throws EngineException.InvalidInput if the prompt has no token, or with {@code maxTokens} exceeds the model's context
     */
    public Generation generate(String prompt, Sampling sampling, long key) {
        Tokens tokens = start(prompt);
        Sample sample = generator(Math.max(tokens.size(), sampling.maxTokens()))
                .draw(List.of(new Prompt(tokens, key)), sampling)
                .getFirst()
                .getFirst();
        Continuation continuation = new Continuation(tokens, text -> {});
        for (int i = 0; i < sample.tokens().size(); i++) {
            continuation.add(sample.tokens().at(i));
        }
        return new Generation(tokens, sample, continuation.end());
    }

    /**
     * The same, with the text told as it comes: whole characters, never half of one, and in the end all of it.
     *
     * @param prompt the text to go on from
     * @param sampling how to draw, and how much
     * @param key random key: the same one gives the same continuation
     * @param text called on this thread with each new piece; what it throws ends the generation
     * @return the ids given, those drawn and their text
     * @throws EngineException.InvalidInput as {@link #generate(String, Sampling, long)}
     */
    public Generation generate(String prompt, Sampling sampling, long key, Consumer<String> text) {
        Tokens tokens = start(prompt);
        Continuation continuation = new Continuation(tokens, text);
        Sample sample = generator(Math.max(tokens.size(), sampling.maxTokens()))
                .draw(List.of(new Prompt(tokens, key)), sampling, (p, s, token) -> continuation.add(token))
                .getFirst()
                .getFirst();
        return new Generation(tokens, sample, continuation.end());
    }

    /** The text behind a prompt: decoded together with it, for a tokenizer may treat the beginning of a text in its own way. */
    private final class Continuation {
        private final TextStream stream = tokenizer.stream();
        private final StringBuilder told = new StringBuilder();
        private final Consumer<String> consumer;
        private int toSkip;

        Continuation(Tokens prompt, Consumer<String> consumer) {
            this.consumer = consumer;
            this.toSkip = tokenizer.decode(prompt).length();
            for (int i = 0; i < prompt.size(); i++) {
                tell(stream.add(prompt.at(i)));
            }
        }

        void add(int token) {
            // many a checkpoint has rows behind the last id, as padding: should one be drawn, it has no text
            if (token < tokenizer.vocabulary()) {
                tell(stream.add(token));
            }
        }

        String end() {
            tell(stream.end());
            return told.toString();
        }

        private void tell(String text) {
            int skipped = Math.min(toSkip, text.length());
            toSkip -= skipped;
            if (skipped < text.length()) {
                told.append(text, skipped, text.length());
                consumer.accept(text.substring(skipped));
            }
        }
    }

    /**
     * log p(continuation | prefix), tokenised apart.
     *
     * @param prefix what comes before; an empty one is the beginning of a text
     * @param continuation what is scored
     * @return the sum over the tokens of the continuation, in nats, 0 or less
     * @throws EngineException.InvalidInput as {@link #score(String, String)}
     */
    public double logProb(String prefix, String continuation) {
        return score(prefix, continuation).score().sum();
    }

    /**
     * The log-probability of each token of a text that goes on from a prefix, tokenised apart.
     *
     * @param prefix what comes before; an empty one is the beginning of a text
     * @param continuation what is scored
     * @return the tokens of both, and the log-probabilities of the continuation's
     * @throws EngineException.InvalidInput if the prefix has no token, or both together exceed the model's context
     */
    public ScoredText score(String prefix, String continuation) {
        Tokens before = start(prefix);
        Tokens after = prefix.isEmpty() ? tokenizer.encode(continuation) : tokenizer.encodeContinuation(continuation);
        Score score = scorer(Math.max(before.size(), after.size()))
                .score(before, List.of(after))
                .getFirst();
        return new ScoredText(Tokens.concat(before, after), score);
    }

    /**
     * The log-probability of each token of a text.
     *
     * @param text from its beginning
     * @return its tokens, and the log-probabilities of all but the first
     * @throws EngineException.InvalidInput if it has no token or exceeds the model's context
     */
    public ScoredText score(String text) {
        Tokens tokens = start(text);
        return new ScoredText(
                tokens,
                scorer(tokens.size())
                        .score(tokens.slice(0, 1), List.of(tokens.slice(1, tokens.size())))
                        .getFirst());
    }

    /** A generator for prompts and samples of up to so many tokens; made anew, with room to spare, when longer ones come. */
    private Generator generator(int positions) {
        if (generator == null || generator.limits().capacity() < room(positions)) {
            if (generator != null) {
                generator.close();
            }
            int room = room(positions);
            generator = new Generator(llama, new Generator.Limits(1, 1, room, Math.min(room, 512)));
        }
        return generator;
    }

    private Scorer scorer(int positions) {
        if (scorer == null || scorer.limits().capacity() < room(positions)) {
            if (scorer != null) {
                scorer.close();
            }
            int room = room(positions);
            scorer = new Scorer(llama, new Scorer.Limits(Math.min(room, 512), 2, room));
        }
        return scorer;
    }

    /** A power of two from 512 up, no more than the context, whose cache may be far larger than the model. */
    private int room(int positions) {
        int room = 512;
        while (room < positions && room < 1 << 30) {
            room *= 2;
        }
        return Math.min(room, llama.config().context());
    }

    private Tokens start(String text) {
        Tokens tokens = tokenizer.open(text);
        if (tokens.isEmpty()) {
            throw new EngineException.InvalidInput("an empty text, and the tokenizer has no <bos> to begin with");
        }
        return tokens;
    }

    /** Frees the model and closes the device. Closing twice does nothing. */
    @Override
    public void close() {
        device.close();
    }
}
