package subtext.generate;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.bindings.Kernels;
import subtext.bindings.Recording;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;
import subtext.model.CachedForward;
import subtext.model.CachedRows;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.text.Tokens;

/**
 * Draws continuations of many prompts at once, K of each.
 *
 * <p>All but the last token of a prompt are computed once, packed with those of other prompts, into a slot of the cache; its K samples
 * borrow that slot as their prefix and begin by reading the prompt's last token, each in a slot of its own. Every step then computes one
 * token of every sample in flight, a lane each. The step is recorded, and replayed a few times between two looks at which lanes are done;
 * a lane that is done is given the next sample at once, and when none is left the lanes close ranks.
 *
 * <p>The noise of a draw is a function of the sample's key and the position of the token read, so a sample depends on (weights, prompt,
 * sampling, key) and on nothing else: not on its lane, its neighbours, nor on how often the host looked.
 */
public final class Generator implements AutoCloseable {
    /** Fields of a lane, in the order of {@link #lanes}: the first are state, the last two are what the host reads back. */
    private static final int TOKEN = 0;

    private static final int POSITION = 1;
    private static final int SLOT = 2;
    private static final int PREFIX_SLOT = 3;
    private static final int PREFIX_LENGTH = 4;
    private static final int LIMIT = 5;
    private static final int DRAWN = 6;
    private static final int DONE = 7;
    private static final int FIELDS = 8;

    /**
     * Room of a generator.
     *
     * @param lanes samples in flight
     * @param prompts prompts held at once
     * @param capacity positions of a slot: at least the longest prompt less one, and the longest sample
     * @param prefillRows prompt tokens computed at once
     * @param scored sequences held while they are scored behind a prompt; 0: {@link #drawAndScore} is not asked for
     */
    public record Limits(int lanes, int prompts, int capacity, int prefillRows, int scored) {
        /** Sequences scored at once, at most: more rows than a call computes gain nothing. */
        private static final int MOST_SCORED = 128;

        /**
         * Room to draw, not to score.
         *
         * @param lanes samples in flight
         * @param prompts prompts held at once
         * @param capacity positions of a slot: at least the longest prompt less one, and the longest sample
         * @param prefillRows prompt tokens computed at once
         */
        public Limits(int lanes, int prompts, int capacity, int prefillRows) {
            this(lanes, prompts, capacity, prefillRows, 0);
        }

        /** {@return the same with room to score as well: as many sequences as lanes, at most 128} */
        public Limits scoring() {
            return new Limits(lanes, prompts, capacity, prefillRows, Math.min(MOST_SCORED, lanes));
        }

        /**
         * Checks that there is room for anything at all.
         *
         * @throws IllegalArgumentException if {@code scored} is negative or another is below 1
         */
        public Limits {
            if (scored < 0) {
                throw new IllegalArgumentException("scored: expected 0 or more, got " + scored);
            }
            if (lanes < 1 || prompts < 1 || capacity < 1 || prefillRows < 1) {
                throw new IllegalArgumentException("lanes, prompts, capacity, prefillRows: expected 1 or more, got "
                        + lanes + ", " + prompts + ", " + capacity + ", " + prefillRows);
            }
        }

        /**
         * As many lanes as are worth having and fit in a share of the free memory.
         *
         * @param llama the open model; its device's free memory is what counts, of which a third is taken at most
         * @param longestPrompt tokens of the longest prompt
         * @param maxTokens tokens of the longest sample
         * @param promptCount prompts to come
         * @param samples K, of each
         * @return room for those prompts and samples: fewer lanes on the CPU, where more gain nothing
         */
        public static Limits fit(Llama llama, int longestPrompt, int maxTokens, int promptCount, int samples) {
            return fit(llama.device(), llama.config(), llama.dtype(), longestPrompt, maxTokens, promptCount, samples);
        }

        /**
         * The same for a model that is not open yet.
         *
         * @param device the device it will be on, whose free memory counts as it is now
         * @param config the model's sizes
         * @param dtype storage of its weights and activations
         * @param longestPrompt tokens of the longest prompt
         * @param maxTokens tokens of the longest sample
         * @param promptCount prompts to come
         * @param samples K, of each
         * @return the room, as for an open model
         */
        public static Limits fit(
                Device device,
                LlamaConfig config,
                DType dtype,
                int longestPrompt,
                int maxTokens,
                int promptCount,
                int samples) {
            int capacity = Math.max(1, Math.max(longestPrompt - 1, maxTokens));
            long budget = device.info().freeBytes() / 3;
            long wanted = Math.max(1, (long) promptCount * samples);
            // measured on the CPU: beyond 512 rows a step falls out of the cache and gains nothing; a GPU wants more to
            // be busy
            int most = device.backend() == Backend.CPU ? 512 : 2048;
            int lanes = (int) Math.min(wanted, most);
            while (lanes > 1 && bytes(config, dtype, lanes, samples, capacity, most) > budget) {
                lanes = lanes / 2;
            }
            return new Limits(lanes, prompts(lanes, samples), capacity, most);
        }

        private static long bytes(
                LlamaConfig config, DType dtype, int lanes, int samples, int capacity, int prefillRows) {
            int rows = Math.max(lanes, prefillRows);
            return CachedForward.bytes(config, dtype, rows, lanes + prompts(lanes, samples), capacity)
                    + (long) lanes * config.paddedVocabulary() * dtype.real().bytes();
        }

        /**
         * {@return bytes that a generator with this room takes beside the model, about}
         *
         * @param config the model's sizes
         * @param dtype storage of its weights and activations
         * @param limits the room
         */
        public static long bytes(LlamaConfig config, DType dtype, Limits limits) {
            int rows = Math.max(limits.lanes(), limits.prefillRows());
            return CachedForward.bytes(config, dtype, rows, limits.slots(), limits.capacity())
                    + (long) limits.lanes()
                            * config.paddedVocabulary()
                            * dtype.real().bytes();
        }

        private int slots() {
            return lanes + prompts + scored;
        }

        /** Enough to keep the lanes busy while the next prompts are computed. */
        private static int prompts(int lanes, int samples) {
            int busy = (lanes + samples - 1) / Math.max(1, samples);
            return busy + busy / 2 + 1;
        }
    }

    private final Llama llama;
    private final Device device;
    private final Kernels k;
    private final Limits limits;
    private final int mostSteps;
    private final CachedForward forward;
    private final Slab slab;
    private final RowBuffer prefill;
    private final Map<Integer, Lanes> widths = new HashMap<>();
    private Tensor prefillInts;
    private Tensor lanes;
    private Tensor cuSeqlens;
    private Tensor key;
    private Tensor logits;
    private Tensor sampled;
    private Tensor sampledLogProb;
    private Tensor scratch;
    private Tensor history;
    private Tensor historyLogProb;
    private Tensor scoredLogProb;
    private Sampling recordedFor;
    private long computedTokens;

    /** Hears of tokens while they are drawn, those of a sample in their order, on the thread that draws. */
    @FunctionalInterface
    public interface Listener {
        /**
         * A token was drawn.
         *
         * @param prompt which of the prompts given
         * @param sample which of its samples
         * @param token the id drawn; the one that stops a sample is told too
         */
        void drawn(int prompt, int sample, int token);
    }

    /** The lanes of one width, as device tensors, and the step recorded over them. */
    private record Lanes(int width, int stride, CachedRows rows, Tensor drawnAndDone, Tensor key, Recording step) {}

    /** A sample in flight. */
    private static final class Flight {
        final Held prompt;
        final int sample;
        final int slot;
        int token;
        int position;
        int size;
        int[] tokens = new int[16];
        double[] logProbs = new double[16];

        Flight(Held prompt, int sample, int slot) {
            this.prompt = prompt;
            this.sample = sample;
            this.slot = slot;
            this.position = prompt.prompt.tokens().size() - 1;
            this.token = prompt.prompt.tokens().at(position);
        }

        void append(int drawn, double logProb) {
            if (size == tokens.length) {
                tokens = Arrays.copyOf(tokens, 2 * size);
                logProbs = Arrays.copyOf(logProbs, 2 * size);
            }
            tokens[size] = drawn;
            logProbs[size++] = logProb;
            token = drawn;
            position++;
        }
    }

    /** A prompt in the cache, until its last sample is done. */
    private static final class Held {
        final int index;
        final Prompt prompt;
        final int slot;
        int given;
        int left;

        Held(int index, Prompt prompt, int slot) {
            this.index = index;
            this.prompt = prompt;
            this.slot = slot;
            this.left = prompt.samples();
        }
    }

    /**
     * The first tensor of the model that holds a number which is not finite; downloads it all, for draws that failed.
     *
     * @return the place of the tensor in the model, for people; empty if all weights are finite
     */
    public Optional<String> nonFiniteWeight() {
        return llama.table().nonFinite(llama::download);
    }

    /**
     * A generator for a model, which must outlive it.
     *
     * @param llama the weights read; not owned
     * @param limits room to take on its device at once
     */
    public Generator(Llama llama, Limits limits) {
        this(llama, limits, llama.device().backend() == Backend.CPU ? 4 : 16);
    }

    /** @param mostSteps the most steps between two looks; no result depends on it */
    Generator(Llama llama, Limits limits, int mostSteps) {
        this.llama = llama;
        this.device = llama.device();
        this.k = device.kernels();
        this.limits = limits;
        this.mostSteps = mostSteps;
        LlamaConfig config = llama.config();
        DType real = llama.dtype().real();
        int n = limits.lanes();
        this.forward = new CachedForward(llama, Math.max(n, limits.prefillRows()), limits.slots(), limits.capacity());
        try {
            this.slab = device.slab("generator", s -> {
                prefillInts = RowBuffer.lay(s, "prefill", limits.prefillRows());
                lanes = s.tensor("lanes", DType.I32, (long) FIELDS * RowBuffer.aligned(n));
                cuSeqlens = s.tensor("cuSeqlens", DType.I32, n + 1);
                key = s.tensor("key", DType.I64, n);
                logits = s.tensor("logits", real, n, config.paddedVocabulary());
                sampled = s.tensor("sampled", DType.I32, n);
                sampledLogProb = s.tensor("sampledLogProb", real, n);
                scratch = s.tensor("scratch", DType.F32, (k.sampleScratchBytes(n, config.vocabulary()) + 3) / 4);
                history = s.tensor("history", DType.I32, n, mostSteps);
                historyLogProb = s.tensor("historyLogProb", real, n, mostSteps);
                scoredLogProb = s.tensor("scoredLogProb", real, limits.scored() == 0 ? 0 : limits.prefillRows());
            });
        } catch (RuntimeException | Error e) {
            forward.close();
            throw e;
        }
        this.prefill = new RowBuffer(device, limits.prefillRows(), prefillInts);
        int[] counting = new int[n + 1];
        Arrays.setAll(counting, i -> i);
        device.upload(cuSeqlens, counting);
    }

    /** {@return what it has room for} */
    public Limits limits() {
        return limits;
    }

    /**
     * {@return tokens that went through the model since this was made, those of prompts and of steps alike: what its work is counted in}
     */
    public long computedTokens() {
        return computedTokens;
    }

    /**
     * Draws K samples of each prompt.
     *
     * @param prompts any number, each with its keys; more than fit are taken in turn
     * @param sampling the law of every draw, and when a sample ends
     * @return element [i][k]: the sample of prompt i under its key k
     * @throws EngineException.InvalidInput if a prompt or {@code maxTokens} exceeds the limits or the model's context
     */
    public List<List<Sample>> draw(List<Prompt> prompts, Sampling sampling) {
        return draw(prompts, sampling, Optional.empty());
    }

    /**
     * The same, with each token told as soon as it is drawn: the same samples, with a look at the lanes after every step.
     *
     * @param prompts any number, each with its keys
     * @param sampling the law of every draw, and when a sample ends
     * @param listener what it throws ends the drawing
     * @return element [i][k]: the sample of prompt i under its key k
     * @throws EngineException.InvalidInput if a prompt or {@code maxTokens} exceeds the limits or the model's context
     */
    public List<List<Sample>> draw(List<Prompt> prompts, Sampling sampling, Listener listener) {
        return draw(prompts, sampling, Optional.of(listener));
    }

    private List<List<Sample>> draw(List<Prompt> prompts, Sampling sampling, Optional<Listener> listener) {
        prepare(prompts, sampling);
        Draw draw = new Draw(prompts, sampling, Optional.empty(), listener);
        draw.run();
        return Arrays.stream(draw.results).map(List::of).toList();
    }

    /** What is to be scored when the samples of a prompt are known. */
    @FunctionalInterface
    public interface Following {
        /**
         * Sequences to score.
         *
         * @param prompt its index
         * @param samples all of it
         * @return a prefix whose tokens but the last are the first tokens of the prompt, and what may follow it
         */
        Scorer.Request after(int prompt, List<Sample> samples);
    }

    /**
     * The samples of a prompt and the scores of what was asked for behind it.
     *
     * @param samples one per key
     * @param scores one per continuation
     */
    public record Scored(List<Sample> samples, List<Score> scores) {}

    /**
     * Draws K samples of each prompt, and scores sequences that begin as the prompt does while the prompt is still in the cache: their common
     * beginning is not computed again. What it gives is what {@link #draw} and {@link Scorer#score} give, bit by bit.
     *
     * @param prompts any number, each with its keys; one without keys is passed over
     * @param sampling the law of every draw, and when a sample ends
     * @param following asked once per prompt, on the thread that draws, when the last of its samples is done
     * @return one element per prompt
     * @throws EngineException.InvalidInput if a prompt, {@code maxTokens} or a sequence to score exceeds the limits or the model's context
     * @throws IllegalArgumentException if a prefix to score does not begin as its prompt does
     * @throws IllegalStateException if the generator was opened without room to score
     */
    public List<Scored> drawAndScore(List<Prompt> prompts, Sampling sampling, Following following) {
        if (limits.scored() == 0) {
            throw new IllegalStateException("the generator has no room to score: open it with limits.scoring()");
        }
        prepare(prompts, sampling);
        Draw draw = new Draw(prompts, sampling, Optional.of(following), Optional.empty());
        draw.run();
        List<Scored> all = new ArrayList<>();
        for (int i = 0; i < prompts.size(); i++) {
            all.add(new Scored(List.of(draw.results[i]), List.of(draw.scores[i])));
        }
        return all;
    }

    private void prepare(List<Prompt> prompts, Sampling sampling) {
        check(prompts, sampling);
        if (!sampling.equals(recordedFor)) {
            forget();
            recordedFor = sampling;
        }
    }

    /** A prompt whose samples are drawn, and what is to be scored behind it. */
    private record Awaiting(Held held, Scorer.Request request) {}

    /** One call of {@link #draw} or {@link #drawAndScore}. */
    private final class Draw {
        private final List<Prompt> prompts;
        private final Sampling sampling;
        private final Optional<Following> following;
        private final Optional<Listener> listener;
        private final Sample[][] results;
        private final Score[][] scores;
        private final List<Awaiting> awaiting = new ArrayList<>();
        private int awaited; // sequences of those
        private final Deque<Held> held = new ArrayDeque<>();
        private final Deque<Integer> freePromptSlots = new ArrayDeque<>();
        private final Deque<Integer> freeLaneSlots = new ArrayDeque<>();
        private List<Flight> active = new ArrayList<>();
        private int next;
        private int steps = 1;

        Draw(List<Prompt> prompts, Sampling sampling, Optional<Following> following, Optional<Listener> listener) {
            this.prompts = prompts;
            this.sampling = sampling;
            this.following = following;
            this.listener = listener;
            this.scores = new Score[prompts.size()][0];
            this.results = prompts.stream().map(p -> new Sample[p.samples()]).toArray(Sample[][]::new);
            for (int i = 0; i < limits.prompts(); i++) {
                freePromptSlots.add(i);
            }
            for (int i = 0; i < limits.lanes(); i++) {
                freeLaneSlots.add(limits.prompts() + i);
            }
        }

        void run() {
            refill();
            while (!active.isEmpty()) {
                step();
                // many at once make full rows, but slots that wait must not keep the next prompts out
                boolean wanting = held.isEmpty() && freePromptSlots.size() * 8 < limits.prompts();
                boolean enough = (freePromptSlots.size() + awaiting.size()) * 8 >= limits.prompts();
                if (awaited >= limits.scored() || wanting && enough) {
                    scoreAwaiting();
                }
                refill();
            }
            scoreAwaiting();
        }

        /** Scores what is asked for behind the prompts that wait for it, and lets their slots go. */
        private void scoreAwaiting() {
            List<Scorer.Stretch> stretches = new ArrayList<>();
            prefill.clear();
            int used = 0;
            for (Awaiting one : awaiting) {
                Tokens prefix = one.request().prefix();
                int shared = prefix.size() - 1;
                List<Tokens> continuations = one.request().continuations();
                Score[] given = new Score[continuations.size()];
                for (int j = 0; j < given.length; j++) {
                    if (used == limits.scored()) {
                        flushScored(stretches);
                        used = 0;
                    }
                    int own = limits.prompts() + limits.lanes() + used++;
                    Tokens whole = Tokens.concat(prefix, continuations.get(j));
                    double[] logProbs = new double[continuations.get(j).size()];
                    given[j] = new Score(logProbs);
                    for (int from = shared; from < whole.size() - 1; ) {
                        if (prefill.room() == 0) {
                            flushScored(stretches);
                        }
                        int to = Math.min(whole.size() - 1, from + prefill.room());
                        stretches.add(new Scorer.Stretch(logProbs, from - shared, prefill.rows(), to - from));
                        prefill.add(whole, from, to, own, one.held().slot, shared);
                        from = to;
                    }
                }
                scores[one.held().index] = given;
            }
            flushScored(stretches);
            awaiting.forEach(one -> freePromptSlots.add(one.held().slot));
            awaiting.clear();
            awaited = 0;
        }

        private void flushScored(List<Scorer.Stretch> stretches) {
            if (prefill.rows() > 0) {
                computedTokens += prefill.rows();
                Tensor normed = forward.forward(prefill.upload());
                Tensor out = scoredLogProb.rows(0, prefill.rows());
                forward.logProbs(out, normed, prefill.target());
                Scorer.Stretch.take(stretches, device.downloadDoubles(out));
                prefill.clear();
            }
            stretches.clear();
        }

        /** Gives free lanes samples of prompts in the cache, and computes more prompts when those run out. */
        private void refill() {
            while (!freeLaneSlots.isEmpty()) {
                if (held.isEmpty() && !prefillMore()) {
                    return;
                }
                Held first = held.peek();
                active.add(new Flight(first, first.given++, freeLaneSlots.poll()));
                if (first.given == first.prompt.samples()) {
                    held.poll();
                }
            }
        }

        /** Computes the next prompts, as many as slots are free; false if there are none or it is not worth it yet. */
        private boolean prefillMore() {
            // few prompts at a time make a slow prefill: wait until more slots are free, unless lanes would stand idle
            if (!active.isEmpty() && freePromptSlots.size() * 8 < limits.prompts()) {
                return false;
            }
            prefill.clear();
            while (next < prompts.size() && !freePromptSlots.isEmpty()) {
                Prompt prompt = prompts.get(next);
                int index = next++;
                if (prompt.samples() == 0) {
                    continue;
                }
                Held entry = new Held(index, prompt, freePromptSlots.poll());
                held.add(entry);
                int size = prompt.tokens().size() - 1;
                for (int from = 0; from < size; ) {
                    if (prefill.room() == 0) {
                        flushPrefill();
                    }
                    int to = Math.min(size, from + prefill.room());
                    prefill.add(prompt.tokens(), from, to, entry.slot, entry.slot, 0);
                    from = to;
                }
            }
            flushPrefill();
            return !held.isEmpty();
        }

        private void flushPrefill() {
            if (prefill.rows() > 0) {
                computedTokens += prefill.rows();
                forward.prefill(prefill.upload());
                prefill.clear();
            }
        }

        /** Some steps of all lanes, then a look. */
        private void step() {
            int width = width(active.size());
            Lanes view = widths.computeIfAbsent(width, w -> lanes(w, sampling));
            upload(view);
            int longestLeft = 0;
            for (Flight flight : active) {
                longestLeft = Math.max(longestLeft, sampling.maxTokens() - flight.size);
            }
            int count = Math.min(steps, longestLeft);
            for (int i = 0; i < count; i++) {
                view.step().replay();
            }
            computedTokens += (long) count * active.size();
            look(view);
        }

        private void upload(Lanes view) {
            int[] ints = new int[FIELDS * view.stride()];
            long[] keys = new long[view.width()];
            for (int i = 0; i < view.width(); i++) {
                if (i < active.size()) {
                    Flight flight = active.get(i);
                    put(ints, view, TOKEN, i, flight.token);
                    put(ints, view, POSITION, i, flight.position);
                    put(ints, view, SLOT, i, flight.slot);
                    put(ints, view, PREFIX_SLOT, i, flight.prompt.slot);
                    put(
                            ints,
                            view,
                            PREFIX_LENGTH,
                            i,
                            flight.prompt.prompt.tokens().size() - 1);
                    put(ints, view, LIMIT, i, sampling.maxTokens() - flight.size);
                    keys[i] = flight.prompt.prompt.keys()[flight.sample];
                } else {
                    put(ints, view, SLOT, i, -1);
                    put(ints, view, DONE, i, 1);
                }
            }
            device.upload(Generator.this.lanes.rows(0, ints.length), ints);
            device.upload(view.key(), keys);
        }

        /** Takes what the lanes drew since the last look, hands out finished samples and frees their slots. */
        private void look(Lanes view) {
            int[] state = device.downloadInts(view.drawnAndDone());
            int[] tokens = device.downloadInts(history.rows(0, view.width()));
            double[] logProbs = device.downloadDoubles(historyLogProb.rows(0, view.width()));
            List<Flight> still = new ArrayList<>(active.size());
            for (int i = 0; i < active.size(); i++) {
                Flight flight = active.get(i);
                int drawn = state[i];
                boolean stopped = false;
                // the device knows the first of the stop tokens; what it drew behind another is left out here
                for (int t = 0; t < drawn && !stopped; t++) {
                    flight.append(tokens[i * mostSteps + t], logProbs[i * mostSteps + t]);
                    if (listener.isPresent()) {
                        listener.get().drawn(flight.prompt.index, flight.sample, flight.token);
                    }
                    stopped = sampling.stopsAt(flight.token);
                }
                int done = state[view.stride() + i];
                if (done == 0 && !stopped) {
                    still.add(flight);
                } else {
                    finish(flight, stopped);
                }
            }
            int finished = active.size() - still.size();
            steps = finished == 0
                    ? Math.min(2 * steps, listener.isPresent() ? 1 : mostSteps)
                    : finished * 16 > active.size() ? Math.max(1, steps / 2) : steps;
            active = still;
        }

        private void finish(Flight flight, boolean stopped) {
            results[flight.prompt.index][flight.sample] = Sample.of(
                    Tokens.of(Arrays.copyOf(flight.tokens, flight.size)),
                    Arrays.copyOf(flight.logProbs, flight.size),
                    stopped);
            freeLaneSlots.add(flight.slot);
            if (--flight.prompt.left == 0) {
                if (following.isPresent()) {
                    await(flight.prompt, following.get());
                } else {
                    freePromptSlots.add(flight.prompt.slot);
                }
            }
        }

        private void await(Held prompt, Following asked) {
            Scorer.Request request = asked.after(prompt.index, List.of(results[prompt.index]));
            Tokens tokens = prompt.prompt.tokens();
            int shared = request.prefix().size() - 1;
            if (shared >= tokens.size() || !request.prefix().slice(0, shared).equals(tokens.slice(0, shared))) {
                throw new IllegalArgumentException(
                        "prefix: all but its last token have to begin prompt " + prompt.index);
            }
            Scorer.check(llama.config(), limits.capacity(), prompt.index, request);
            awaiting.add(new Awaiting(prompt, request));
            awaited += request.continuations().size();
        }
    }

    private static void put(int[] ints, Lanes view, int field, int lane, int value) {
        ints[field * view.stride() + lane] = value;
    }

    /** How many lanes to compute for so many samples: a few widths where each costs a recorded graph, else just as many. */
    private int width(int samples) {
        if (device.backend() == Backend.CPU) {
            return samples;
        }
        int width = 1;
        while (width < samples) {
            width *= 2;
        }
        return Math.min(width, limits.lanes());
    }

    private Lanes lanes(int width, Sampling sampling) {
        int stride = RowBuffer.aligned(width);
        Tensor position = field(POSITION, stride, width);
        Tensor slot = field(SLOT, stride, width);
        Tensor prefixLength = field(PREFIX_LENGTH, stride, width);
        CachedRows rows = new CachedRows(
                field(TOKEN, stride, width),
                position,
                slot,
                prefixLength,
                cuSeqlens.rows(0, width + 1),
                slot,
                field(PREFIX_SLOT, stride, width),
                prefixLength,
                position,
                1);
        Tensor drawn = field(DRAWN, stride, width);
        Tensor done = field(DONE, stride, width);
        Tensor limit = field(LIMIT, stride, width);
        Tensor keys = key.rows(0, width);
        Tensor tokens = sampled.rows(0, width);
        Tensor logProbs = sampledLogProb.rows(0, width);
        Tensor scores = logits.rows(0, width);
        Tensor past = history.rows(0, width);
        Tensor pastLogProb = historyLogProb.rows(0, width);
        Recording step = device.record(() -> {
            Tensor normed = forward.forward(rows);
            forward.logits(scores, normed);
            k.sample(
                    tokens,
                    logProbs,
                    scores,
                    keys,
                    position,
                    scratch,
                    llama.config().vocabulary(),
                    sampling.temperature(),
                    sampling.topK(),
                    sampling.topP());
            k.decodeAdvance(
                    past,
                    pastLogProb,
                    rows.token(),
                    position,
                    drawn,
                    done,
                    tokens,
                    logProbs,
                    limit,
                    sampling.stopTokens().isEmpty()
                            ? Sampling.NO_STOP
                            : sampling.stopTokens().at(0));
        });
        return new Lanes(width, stride, rows, lanes.rows((long) DRAWN * stride, (long) FIELDS * stride), keys, step);
    }

    private Tensor field(int field, int stride, int width) {
        return lanes.rows((long) field * stride, (long) field * stride + width);
    }

    private void check(List<Prompt> prompts, Sampling sampling) {
        LlamaConfig config = llama.config();
        if (sampling.maxTokens() > limits.capacity()) {
            throw new EngineException.InvalidInput("maxTokens: " + sampling.maxTokens()
                    + " exceeds the generator's capacity of " + limits.capacity() + " positions");
        }
        for (int i = 0; i < prompts.size(); i++) {
            Tokens tokens = prompts.get(i).tokens();
            if (tokens.size() - 1 > limits.capacity()) {
                throw new EngineException.InvalidInput("prompt " + i + " has " + tokens.size()
                        + " tokens, the generator's capacity is " + (limits.capacity() + 1));
            }
            if (tokens.size() + sampling.maxTokens() - 1 > config.context()) {
                throw new EngineException.InvalidInput("prompt " + i + " of " + tokens.size() + " tokens and "
                        + sampling.maxTokens() + " more exceed the model's context of " + config.context());
            }
            for (int t = 0; t < tokens.size(); t++) {
                if (tokens.at(t) < 0 || tokens.at(t) >= config.vocabulary()) {
                    throw new EngineException.InvalidInput("prompt " + i + ": token " + tokens.at(t) + " at " + t
                            + ", the vocabulary has " + config.vocabulary() + " ids");
                }
            }
        }
    }

    private void forget() {
        widths.values().forEach(view -> view.step().close());
        widths.clear();
    }

    /** Frees cache and recordings. Closing twice does nothing. */
    @Override
    public void close() {
        forget();
        slab.close();
        forward.close();
    }
}
