package subtext.engine;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.IntConsumer;
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
import subtext.io.Conversation;
import subtext.io.HuggingFace;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
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
 * <p>Lists are drawn and scored together, many times faster than one by one and with the same bits: what is said of a text does not
 * depend on its neighbours. For K samples of a prompt, build a {@link Generator} or {@link Scorer} on {@link #llama}.
 */
public final class Engine implements AutoCloseable {
    private final Device device;
    private final Llama llama;
    private final Tokenizer tokenizer;
    private final Tokens endTokens;
    private Generator generator;
    private int generatorPrompts;
    private Scorer scorer;
    private int scorerPassages;

    /**
     * What was generated.
     *
     * @param prompt the ids given, with {@code <bos>} where a text begins with it
     * @param sample the ids drawn and their log-probabilities
     * @param text the drawn ids as text, control tokens left out
     */
    public record Generation(Tokens prompt, Sample sample, String text) {}

    /**
     * What was thought, and the text behind it.
     *
     * @param prompt the ids given for the thought: {@code <bos>}, the text, {@code <latent><prior>}
     * @param thoughtSample the ids of the thought with {@code </latent>} at the end, if it was drawn within the limit, and their
     *     log-probabilities
     * @param thought the thought as text
     * @param sample the ids drawn behind the thought, and their log-probabilities; the one that ended the text, {@code <eos>} or the
     *     {@code <latent>} of a next thought, is the last
     * @param text the text behind the prompt, without the thought
     */
    public record Thinking(Tokens prompt, Sample thoughtSample, String thought, Sample sample, String text) {}

    /**
     * A text and what stands before it.
     *
     * @param prompt is not scored; an empty one is the beginning of a text
     * @param text what is scored
     */
    public record Passage(String prompt, String text) {}

    /**
     * What a text's tokens cost.
     *
     * @param tokens with {@code <bos>} in front where a text begins with it
     * @param score log-probabilities of the last of them: of all but the first, or of those behind a prefix
     */
    public record ScoredText(Tokens tokens, Score score) {}

    private Engine(Device device, Llama llama, Tokenizer tokenizer, Tokens endTokens) {
        this.device = device;
        this.llama = llama;
        this.tokenizer = tokenizer;
        this.endTokens = endTokens;
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
        LlamaConfig config = HuggingFace.config(folder);
        Tokenizer tokenizer = HuggingFace.tokenizerFor(folder, config);
        Tokens endTokens = Conversation.endTokens(folder, config, tokenizer);
        Device device = Device.open(backend, options);
        try {
            Llama llama = HuggingFace.open(folder, device, dtype, Llama.Capacity.weights());
            return new Engine(device, llama, tokenizer, endTokens);
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

    /** {@return the ids of which each ends what the model says, as its folder has them; {@code <eos>} is one, if there is any} */
    public Tokens endTokens() {
        return endTokens;
    }

    /**
     * How to get the most likely continuation, until an end token or the limit.
     *
     * @param maxTokens the limit, 1 or more
     * @return for {@link #generate}
     * @throws EngineException.InvalidConfig if the limit is below 1
     */
    public Sampling greedy(int maxTokens) {
        return new Sampling(0, 0, 1, endTokens, maxTokens);
    }

    /**
     * How to draw from all tokens at a temperature, until an end token or the limit.
     *
     * @param temperature divides the logits: 1 is the model's own law, 0 its most likely token
     * @param maxTokens the limit, 1 or more
     * @return for {@link #generate}
     * @throws EngineException.InvalidConfig if either is out of range
     */
    public Sampling sampling(double temperature, int maxTokens) {
        return new Sampling(temperature, 0, 1, endTokens, maxTokens);
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
        return generate(List.of(prompt), sampling, key).getFirst();
    }

    /**
     * The continuations of many texts, drawn together. Each is, to the bit, what it is alone.
     *
     * @param prompts the texts; all of them and their results are held in memory
     * @param sampling how to draw, and how much of each
     * @param key random key of each
     * @return one element for each prompt, in their order
     * @throws EngineException.InvalidInput as {@link #generate(String, Sampling, long)}, naming the prompt by its place
     */
    public List<Generation> generate(List<String> prompts, Sampling sampling, long key) {
        List<Tokens> tokens = prompts.stream().map(this::start).toList();
        List<Sample> samples = draw(tokens, sampling, key);
        List<Generation> generations = new ArrayList<>();
        for (int i = 0; i < samples.size(); i++) {
            Telling telling = new Telling(tokenizer.stream(), tokens.get(i), text -> {});
            generations.add(new Generation(
                    tokens.get(i), samples.get(i), telling.all(samples.get(i).tokens())));
        }
        return generations;
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
        Telling telling = new Telling(tokenizer.stream(), tokens, text);
        Sample sample = draw(tokens, sampling, key, telling::add);
        return new Generation(tokens, sample, telling.end());
    }

    private List<Sample> draw(List<Tokens> prompts, Sampling sampling, long key) {
        int longest = prompts.stream().mapToInt(Tokens::size).max().orElse(1);
        return generator(Math.max(longest, sampling.maxTokens()), prompts.size())
                .draw(prompts.stream().map(prompt -> new Prompt(prompt, key)).toList(), sampling)
                .stream()
                .map(List::getFirst)
                .toList();
    }

    private Sample draw(Tokens prompt, Sampling sampling, long key, IntConsumer drawn) {
        return generator(Math.max(prompt.size(), sampling.maxTokens()), 1)
                .draw(List.of(new Prompt(prompt, key)), sampling, (p, s, token) -> drawn.accept(token))
                .getFirst()
                .getFirst();
    }

    // ---- thoughts

    /**
     * Thinks, then continues a text, under key 0 and with as many tokens for the thought as for the text.
     *
     * @param prompt the text; an empty one is the beginning of a text
     * @param sampling how to draw, and how much
     * @return thought and text, apart
     * @throws EngineException.InvalidInput as {@link #think(String, Sampling, int, long)}
     */
    public Thinking think(String prompt, Sampling sampling) {
        return think(prompt, sampling, sampling.maxTokens(), 0);
    }

    /**
     * Thinks, then continues a text: the thought is drawn behind {@code <latent><prior>} up to {@code </latent>}, as the model was trained,
     * and then the text up to {@code <eos>}, to the {@code <latent>} that opens a next thought, or to the limit. A thought that does not end
     * within its own limit is ended by hand.
     *
     * @param prompt the text; an empty one is the beginning of a text
     * @param sampling how to draw thought and text, what ends the text, and its limit
     * @param maxThought most tokens of the thought, {@code </latent>} included, 1 or more
     * @param key random key: the same one gives the same thought and text
     * @return thought and text, apart
     * @throws EngineException.InvalidInput if the tokenizer lacks control tokens, or prompt, thought and text may exceed the context
     * @throws EngineException.InvalidConfig if {@code maxThought} is below 1
     */
    public Thinking think(String prompt, Sampling sampling, int maxThought, long key) {
        return think(List.of(prompt), sampling, maxThought, key).getFirst();
    }

    /**
     * The same for many texts, drawn together: all thoughts, then all texts. Each is, to the bit, what it is alone.
     *
     * @param prompts the texts; all of them and their results are held in memory
     * @param sampling how to draw thoughts and texts, what ends a text, and the limit of each
     * @param maxThought most tokens of a thought
     * @param key random key of each
     * @return one element for each prompt, in their order
     * @throws EngineException.InvalidInput as {@link #think(String, Sampling, int, long)}, naming the prompt by its place
     * @throws EngineException.InvalidConfig if {@code maxThought} is below 1
     */
    public List<Thinking> think(List<String> prompts, Sampling sampling, int maxThought, long key) {
        Sampling thinking = thinking(sampling, maxThought);
        List<Tokens> asked = new ArrayList<>();
        for (String prompt : prompts) {
            asked.add(thoughtPrompt(prompt));
            checkRoom(asked.size() - 1, asked.getLast(), sampling, maxThought);
        }
        List<Sample> thoughts = draw(asked, thinking, key);
        List<Tokens> behind = new ArrayList<>();
        for (int i = 0; i < asked.size(); i++) {
            behind.add(closed(asked.get(i), thoughts.get(i)));
        }
        List<Sample> texts = draw(behind, untilNextThought(sampling), key);
        List<Thinking> all = new ArrayList<>();
        for (int i = 0; i < asked.size(); i++) {
            Sample text = texts.get(i);
            all.add(new Thinking(
                    asked.get(i),
                    thoughts.get(i),
                    new Telling(tokenizer.continuationStream(), Tokens.EMPTY, piece -> {})
                            .all(thoughts.get(i).tokens()),
                    text,
                    new Telling(tokenizer.stream(), plain(asked.get(i)), piece -> {}).all(text.tokens())));
        }
        return all;
    }

    /**
     * The same, with thought and text told as they come: whole characters, never half of one.
     *
     * @param prompt the text; an empty one is the beginning of a text
     * @param sampling how to draw thought and text, what ends the text, and its limit
     * @param maxThought most tokens of the thought
     * @param key random key: the same one gives the same thought and text
     * @param thought called on this thread with each piece of the thought; what it throws ends it all
     * @param text called with each piece of the text, after the last of the thought
     * @return thought and text, apart
     * @throws EngineException.InvalidInput as {@link #think(String, Sampling, int, long)}
     * @throws EngineException.InvalidConfig if {@code maxThought} is below 1
     */
    public Thinking think(
            String prompt,
            Sampling sampling,
            int maxThought,
            long key,
            Consumer<String> thought,
            Consumer<String> text) {
        Sampling thinking = thinking(sampling, maxThought);
        Tokens asked = thoughtPrompt(prompt);
        checkRoom(0, asked, sampling, maxThought);
        Telling thoughtTelling = new Telling(tokenizer.continuationStream(), Tokens.EMPTY, thought);
        Sample thoughtSample = draw(asked, thinking, key, thoughtTelling::add);
        String thoughtText = thoughtTelling.end();
        Telling textTelling = new Telling(tokenizer.stream(), plain(asked), text);
        Sample sample = draw(closed(asked, thoughtSample), untilNextThought(sampling), key, textTelling::add);
        return new Thinking(asked, thoughtSample, thoughtText, sample, textTelling.end());
    }

    /**
     * {@return the ids that ask for a thought behind a text: {@code <bos>}, the text, {@code <latent><prior>}}
     *
     * @param prompt the text; an empty one is the beginning of a text
     * @throws EngineException.InvalidInput if the tokenizer lacks control tokens or cannot spell the text
     */
    public Tokens thoughtPrompt(String prompt) {
        requireThoughts();
        return tokenizer.controls().priorPrompt(tokenizer.encode(prompt));
    }

    /**
     * Checks that the model may have been trained with thoughts.
     *
     * @throws EngineException.InvalidInput if its tokenizer lacks one of the control tokens
     */
    public void requireThoughts() {
        if (!tokenizer.controls().complete()) {
            throw new EngineException.InvalidInput(
                    "the model's tokenizer lacks control tokens such as <latent>, so it was never trained"
                            + " to think; 'subtext import' adds them and 'subtext em --from' trains with thoughts");
        }
    }

    private Sampling thinking(Sampling sampling, int maxThought) {
        requireThoughts();
        if (maxThought < 1) {
            throw new EngineException.InvalidConfig("maxThought: expected 1 or more, got " + maxThought);
        }
        return new Sampling(
                sampling.temperature(),
                sampling.topK(),
                sampling.topP(),
                tokenizer.controls().endLatent(),
                maxThought);
    }

    /** The worst case counts, so that whether a prompt is taken does not hang on what is drawn. */
    private void checkRoom(int i, Tokens asked, Sampling sampling, int maxThought) {
        int context = llama.config().context();
        if ((long) asked.size() + maxThought + sampling.maxTokens() > context) {
            throw new EngineException.InvalidInput("prompt " + i + " of " + asked.size() + " tokens, a thought of "
                    + maxThought + " and a text of " + sampling.maxTokens() + " exceed the model's context of "
                    + context);
        }
    }

    /** What the text is drawn behind: a thought that was cut off is closed by hand. */
    private Tokens closed(Tokens asked, Sample thought) {
        Tokens end = thought.finished()
                ? Tokens.EMPTY
                : Tokens.of(tokenizer.controls().endLatent());
        return Tokens.concat(asked, thought.tokens(), end);
    }

    /** A prompt for a thought without its two markers: what the text goes on from. */
    private static Tokens plain(Tokens asked) {
        return asked.slice(0, asked.size() - 2);
    }

    /** A text of several chunks goes on with a thought about the next one, which is not text. */
    private Sampling untilNextThought(Sampling sampling) {
        return new Sampling(
                sampling.temperature(),
                sampling.topK(),
                sampling.topP(),
                Tokens.concat(
                        sampling.stopTokens(), Tokens.of(tokenizer.controls().latent())),
                sampling.maxTokens());
    }

    /** Drawn ids as text, decoded together with what stands before them: a tokenizer may treat the beginning of a text in its own way. */
    private final class Telling {
        private final TextStream stream;
        private final StringBuilder told = new StringBuilder();
        private final Consumer<String> consumer;
        private int toSkip;

        Telling(TextStream stream, Tokens before, Consumer<String> consumer) {
            this.stream = stream;
            this.consumer = consumer;
            this.toSkip = tokenizer.decode(before).length();
            for (int i = 0; i < before.size(); i++) {
                tell(stream.add(before.at(i)));
            }
        }

        String all(Tokens drawn) {
            for (int i = 0; i < drawn.size(); i++) {
                add(drawn.at(i));
            }
            return end();
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
        return score(List.of(Scorer.Request.of(before, after)), 1).getFirst();
    }

    /**
     * The log-probability of each token of a text.
     *
     * @param text from its beginning
     * @return its tokens, and the log-probabilities of all but the first
     * @throws EngineException.InvalidInput if it has no token or exceeds the model's context
     */
    public ScoredText score(String text) {
        return score(List.of(new Passage("", text))).getFirst();
    }

    /**
     * The log-probabilities of many texts, computed together. Each is, to the bit, what it is alone.
     *
     * @param passages texts with what stands before them; one without is scored as {@link #score(String)}, one with as
     *     {@link #score(String, String)}. All of them and their results are held in memory
     * @return one element for each passage, in their order
     * @throws EngineException.InvalidInput as those, naming the passage by its place
     */
    public List<ScoredText> score(List<Passage> passages) {
        return score(passages.stream().map(this::request).toList(), passages.size());
    }

    /**
     * {@return the ids of a passage: those given, then those scored}
     *
     * @param passage a text with what stands before it
     * @throws EngineException.InvalidInput if it has no token, or the tokenizer cannot spell it
     */
    public Tokens tokens(Passage passage) {
        Scorer.Request request = request(passage);
        return Tokens.concat(request.prefix(), request.continuations().getFirst());
    }

    private Scorer.Request request(Passage passage) {
        Tokens before = start(passage.prompt().isEmpty() ? passage.text() : passage.prompt());
        return passage.prompt().isEmpty()
                ? Scorer.Request.of(before.slice(0, 1), before.slice(1, before.size()))
                : Scorer.Request.of(before, tokenizer.encodeContinuation(passage.text()));
    }

    private List<ScoredText> score(List<Scorer.Request> requests, int passages) {
        int longest = 1;
        for (Scorer.Request request : requests) {
            longest = Math.max(longest, request.prefix().size());
            longest = Math.max(longest, request.continuations().getFirst().size());
        }
        List<List<Score>> scores = scorer(longest, passages).score(requests);
        List<ScoredText> all = new ArrayList<>();
        for (int i = 0; i < requests.size(); i++) {
            Scorer.Request request = requests.get(i);
            all.add(new ScoredText(
                    Tokens.concat(request.prefix(), request.continuations().getFirst()),
                    scores.get(i).getFirst()));
        }
        return all;
    }

    /** A generator for so many prompts and samples of up to so many tokens; made anew, with room to spare, when more or longer ones come. */
    private Generator generator(int positions, int prompts) {
        int room = room(positions);
        if (generator == null || generator.limits().capacity() < room || generatorPrompts < prompts) {
            if (generator != null) {
                room = Math.max(room, generator.limits().capacity());
                generator.close();
                generator = null;
            }
            generatorPrompts = Math.max(generatorPrompts, prompts);
            generator = new Generator(
                    llama,
                    generatorPrompts <= 1
                            ? new Generator.Limits(1, 1, room, Math.min(room, 512))
                            : Generator.Limits.fit(llama, room, room, generatorPrompts, 1));
        }
        return generator;
    }

    private Scorer scorer(int positions, int passages) {
        int room = room(positions);
        if (scorer == null || scorer.limits().capacity() < room || scorerPassages < passages) {
            if (scorer != null) {
                room = Math.max(room, scorer.limits().capacity());
                scorer.close();
                scorer = null;
            }
            scorerPassages = Math.max(scorerPassages, passages);
            Scorer.Limits fit = Scorer.Limits.fit(llama, room, room);
            scorer = new Scorer(
                    llama,
                    scorerPassages <= 1
                            ? new Scorer.Limits(Math.min(room, 512), 2, room)
                            : new Scorer.Limits(fit.rows(), Math.min(fit.slots(), 2 * scorerPassages), room));
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
