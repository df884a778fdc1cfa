package subtext.engine;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
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
     * @param prompt the ids given, with {@code <bos>} where the tokenizer has one
     * @param sample the ids drawn and their log-probabilities
     * @param text the drawn ids as text, control tokens left out
     */
    public record Generation(Tokens prompt, Sample sample, String text) {}

    /**
     * What a text's tokens cost.
     *
     * @param tokens with {@code <bos>} in front where the tokenizer has one
     * @param score log-probabilities of all tokens but the first
     */
    public record ScoredText(Tokens tokens, Score score) {}

    private Engine(Device device, Llama llama, Tokenizer tokenizer) {
        this.device = device;
        this.llama = llama;
        this.tokenizer = tokenizer;
    }

    /** Opens a model folder in Hugging Face layout on the first device of a backend, with weights in f32. */
    public static Engine open(Path folder, Backend backend) throws IOException {
        return open(folder, backend, DeviceOptions.defaults(), DType.F32);
    }

    /**
     * Opens a model folder in Hugging Face layout.
     *
     * @param dtype storage of weights and activations, F32 or BF16
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

    /** The model, for generators and scorers of one's own. */
    public Llama llama() {
        return llama;
    }

    /** The tokenizer of the model. */
    public Tokenizer tokenizer() {
        return tokenizer;
    }

    /** The most likely continuation, until {@code <eos>} or the limit. */
    public Sampling greedy(int maxTokens) {
        return Sampling.greedy(tokenizer.controls().eos(), maxTokens);
    }

    /** Draws at a temperature, until {@code <eos>} or the limit. */
    public Sampling sampling(double temperature, int maxTokens) {
        return new Sampling(temperature, 0, 1, tokenizer.controls().eos(), maxTokens);
    }

    /** The continuation of a text, drawn under key 0. */
    public String generate(String prompt, Sampling sampling) {
        return generate(prompt, sampling, 0).text();
    }

    /**
     * The continuation of a text.
     *
     * @param key random key: the same one gives the same continuation
     */
    public Generation generate(String prompt, Sampling sampling, long key) {
        Tokens tokens = start(prompt);
        Sample sample = generator(Math.max(tokens.size(), sampling.maxTokens()))
                .draw(List.of(new Prompt(tokens, key)), sampling)
                .getFirst()
                .getFirst();
        // decoded together, for a tokenizer may treat the beginning of a text in its own way
        String whole = tokenizer.decode(Tokens.concat(tokens, sample.tokens()));
        return new Generation(
                tokens,
                sample,
                whole.substring(
                        Math.min(whole.length(), tokenizer.decode(tokens).length())));
    }

    /** log p(continuation | prefix) in nats, tokenised apart. */
    public double logProb(String prefix, String continuation) {
        Tokens before = start(prefix);
        Tokens after = tokenizer.encode(continuation);
        return scorer(Math.max(before.size(), after.size()))
                .score(before, List.of(after))
                .getFirst()
                .sum();
    }

    /** The log-probability of each token of a text. */
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
        Tokens encoded = tokenizer.encode(text);
        int bos = tokenizer.controls().bos();
        Tokens tokens = bos < 0 ? encoded : Tokens.concat(Tokens.of(bos), encoded);
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
