package subtext.generate;

import java.util.ArrayList;
import java.util.List;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;
import subtext.model.CachedForward;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.text.Tokens;

/**
 * Log-probabilities of continuations, many prefixes with many continuations each at once. A prefix is computed once, into a slot of the
 * cache that its continuations borrow; what they give is the same to the bit as a pass over the whole sequence, and as what the sampler
 * said when it drew them.
 */
public final class Scorer implements AutoCloseable {
    /**
     * A prefix and what may follow it.
     *
     * @param prefix the ids given, at least one
     * @param continuations the ids scored; any may be empty
     */
    public record Request(Tokens prefix, List<Tokens> continuations) {
        /**
         * Copies the list of continuations.
         *
         * @throws IllegalArgumentException if the prefix is empty
         */
        public Request {
            continuations = List.copyOf(continuations);
            if (prefix.isEmpty()) {
                throw new IllegalArgumentException("prefix: needs at least one token, such as <bos>");
            }
        }

        /**
         * {@return a request of one continuation}
         *
         * @param prefix the ids given, at least one
         * @param continuation the ids scored; may be empty
         */
        public static Request of(Tokens prefix, Tokens continuation) {
            return new Request(prefix, List.of(continuation));
        }
    }

    /**
     * Room of a scorer.
     *
     * @param rows tokens computed at once
     * @param slots prefixes and continuations held at once, at least two
     * @param capacity positions of a slot: at least the longest prefix less one, and the longest continuation
     */
    public record Limits(int rows, int slots, int capacity) {
        /**
         * Checks that a prefix and a continuation fit at all.
         *
         * @throws IllegalArgumentException for less than 1 row, 2 slots or 1 position
         */
        public Limits {
            if (rows < 1 || slots < 2 || capacity < 1) {
                throw new IllegalArgumentException("rows, slots, capacity: expected at least 1, 2, 1, got " + rows
                        + ", " + slots + ", " + capacity);
            }
        }

        /**
         * As much as is worth having and fits in a share of the free memory.
         *
         * @param llama the open model; its device's free memory is what counts, of which a third is taken at most
         * @param longestPrefix tokens of the longest prefix
         * @param longestContinuation tokens of the longest continuation
         * @return room for those sequences: fewer rows and slots on the CPU, where more gain nothing
         */
        public static Limits fit(Llama llama, int longestPrefix, int longestContinuation) {
            int capacity = Math.max(1, Math.max(longestPrefix - 1, longestContinuation));
            long budget = llama.device().info().freeBytes() / 3;
            // measured on the CPU: more rows fall out of the cache and gain nothing; a GPU wants more to be busy
            int rows = llama.device().backend() == Backend.CPU ? 512 : 8192;
            int slots = llama.device().backend() == Backend.CPU ? 512 : 2048;
            while (slots > 2 && CachedForward.bytes(llama.config(), llama.dtype(), rows, slots, capacity) > budget) {
                slots /= 2;
                rows = Math.max(256, rows / 2);
            }
            return new Limits(rows, slots, capacity);
        }
    }

    private final Llama llama;
    private final Device device;
    private final Limits limits;
    private final CachedForward forward;
    private final Slab slab;
    private final RowBuffer buffer;
    private Tensor ints;
    private Tensor logProb;
    private long computedTokens;

    /**
     * A scorer for a model, which must outlive it.
     *
     * @param llama the weights read; not owned
     * @param limits room to take on its device at once
     */
    public Scorer(Llama llama, Limits limits) {
        this.llama = llama;
        this.device = llama.device();
        this.limits = limits;
        DType real = llama.dtype().real();
        this.forward = new CachedForward(llama, limits.rows(), limits.slots(), limits.capacity());
        try {
            this.slab = device.slab("scorer", s -> {
                ints = RowBuffer.lay(s, "rows", limits.rows());
                logProb = s.tensor("logProb", real, limits.rows());
            });
        } catch (RuntimeException | Error e) {
            forward.close();
            throw e;
        }
        this.buffer = new RowBuffer(device, limits.rows(), ints);
    }

    /** {@return what it has room for} */
    public Limits limits() {
        return limits;
    }

    /** {@return tokens that went through the model since this was made, those of prefixes and of continuations alike} */
    public long computedTokens() {
        return computedTokens;
    }

    /**
     * {@return the scores of the continuations of one prefix, in their order}
     *
     * @param prefix the ids given, at least one
     * @param continuations the ids scored; any may be empty
     * @throws IllegalArgumentException if the prefix is empty
     * @throws EngineException.InvalidInput if a sequence exceeds the limits or the model's context, or holds an unknown id
     */
    public List<Score> score(Tokens prefix, List<Tokens> continuations) {
        return score(List.of(new Request(prefix, continuations))).getFirst();
    }

    /**
     * Scores everything.
     *
     * @param requests any number, in any order; grouped into calls as slots allow
     * @return element [i][j]: log p of each token of continuation j of request i, given its prefix
     * @throws EngineException.InvalidInput if a sequence exceeds the limits or the model's context, or holds an unknown id
     */
    public List<List<Score>> score(List<Request> requests) {
        double[][][] results = new double[requests.size()][][];
        for (int i = 0; i < requests.size(); i++) {
            check(llama.config(), limits.capacity(), i, requests.get(i));
            results[i] = requests.get(i).continuations().stream()
                    .map(c -> new double[c.size()])
                    .toArray(double[][]::new);
        }
        List<Work> group = new ArrayList<>();
        int used = 0;
        for (int i = 0; i < requests.size(); i++) {
            int count = requests.get(i).continuations().size();
            for (int from = 0; from < count; ) {
                // a request of more continuations than there are slots is cut, and its prefix computed anew
                if (limits.slots() - used < Math.min(count - from + 1, limits.slots())) {
                    run(group, requests, results);
                    group.clear();
                    used = 0;
                }
                int to = Math.min(count, from + limits.slots() - used - 1);
                group.add(new Work(i, from, to, used));
                used += 1 + to - from;
                from = to;
            }
        }
        run(group, requests, results);
        List<List<Score>> scores = new ArrayList<>();
        for (double[][] result : results) {
            List<Score> row = new ArrayList<>();
            for (double[] logProbs : result) {
                row.add(new Score(logProbs));
            }
            scores.add(List.copyOf(row));
        }
        return scores;
    }

    /** Some continuations of a request, in the slots after that of their prefix. */
    private record Work(int request, int from, int to, int slot) {}

    /** A stretch of a continuation in the rows of one call. */
    record Stretch(double[] logProbs, int at, int row, int size) {
        /** Copies what the rows of a call gave to where it belongs. */
        static void take(List<Stretch> stretches, double[] values) {
            for (Stretch stretch : stretches) {
                System.arraycopy(values, stretch.row(), stretch.logProbs(), stretch.at(), stretch.size());
            }
        }
    }

    private void run(List<Work> group, List<Request> requests, double[][][] results) {
        buffer.clear();
        for (Work work : group) {
            Tokens prefix = requests.get(work.request()).prefix();
            // the last token of the prefix is read by each continuation: what follows it is already scored
            for (int from = 0; from < prefix.size() - 1; ) {
                if (buffer.room() == 0) {
                    flushPrefix();
                }
                int to = Math.min(prefix.size() - 1, from + buffer.room());
                buffer.add(prefix, from, to, work.slot(), work.slot(), 0);
                from = to;
            }
        }
        flushPrefix();
        List<Stretch> stretches = new ArrayList<>();
        for (Work work : group) {
            Request request = requests.get(work.request());
            int shared = request.prefix().size() - 1;
            for (int j = work.from(); j < work.to(); j++) {
                Tokens whole =
                        Tokens.concat(request.prefix(), request.continuations().get(j));
                for (int from = shared; from < whole.size() - 1; ) {
                    if (buffer.room() == 0) {
                        flush(stretches);
                    }
                    int to = Math.min(whole.size() - 1, from + buffer.room());
                    stretches.add(new Stretch(results[work.request()][j], from - shared, buffer.rows(), to - from));
                    buffer.add(whole, from, to, work.slot() + 1 + j - work.from(), work.slot(), shared);
                    from = to;
                }
            }
        }
        flush(stretches);
    }

    private void flushPrefix() {
        if (buffer.rows() > 0) {
            computedTokens += buffer.rows();
            forward.prefill(buffer.upload());
            buffer.clear();
        }
    }

    private void flush(List<Stretch> stretches) {
        if (buffer.rows() > 0) {
            computedTokens += buffer.rows();
            Tensor normed = forward.forward(buffer.upload());
            Tensor out = logProb.rows(0, buffer.rows());
            forward.logProbs(out, normed, buffer.target());
            Stretch.take(stretches, device.downloadDoubles(out));
            buffer.clear();
        }
        stretches.clear();
    }

    /** @throws EngineException.InvalidInput naming request {@code i} and what of it exceeds the model or a slot */
    static void check(LlamaConfig config, int capacity, int i, Request request) {
        check(config, i, request.prefix());
        if (request.prefix().size() - 1 > capacity) {
            throw new EngineException.InvalidInput("request " + i + ": a prefix of "
                    + request.prefix().size() + " tokens, the scorer's capacity is " + (capacity + 1));
        }
        for (Tokens continuation : request.continuations()) {
            check(config, i, continuation);
            if (continuation.size() > capacity) {
                throw new EngineException.InvalidInput("request " + i + ": a continuation of " + continuation.size()
                        + " tokens, the scorer's capacity is " + capacity);
            }
            if (request.prefix().size() + continuation.size() - 1 > config.context()) {
                throw new EngineException.InvalidInput("request " + i + ": prefix and continuation of "
                        + (request.prefix().size() + continuation.size()) + " tokens exceed the model's context of "
                        + config.context());
            }
        }
    }

    private static void check(LlamaConfig config, int i, Tokens tokens) {
        for (int t = 0; t < tokens.size(); t++) {
            if (tokens.at(t) < 0 || tokens.at(t) >= config.vocabulary()) {
                throw new EngineException.InvalidInput("request " + i + ": token " + tokens.at(t)
                        + ", the vocabulary has " + config.vocabulary() + " ids");
            }
        }
    }

    /** Frees the cache. Closing twice does nothing. */
    @Override
    public void close() {
        slab.close();
        forward.close();
    }
}
