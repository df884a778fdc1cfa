package subtext.em;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.generate.Generator;
import subtext.generate.Prompt;
import subtext.generate.Sampling;
import subtext.generate.Scorer;
import subtext.io.JsonProblem;
import subtext.io.WholeFile;
import subtext.model.Initialisation;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.PackedBatch;
import subtext.random.Philox;
import subtext.run.RunConfig;
import subtext.text.Tokens;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * How fast a machine is, in floating-point operations per second of each kind of work, counted as {@link LlamaConfig#forwardFlops} does.
 *
 * @param machine what was measured
 * @param train forward and backward
 * @param draw one token of many sequences at a time
 * @param score forward, with a shared prefix
 */
public record Rates(String machine, double train, double draw, double score) {
    private static final int LARGEST = 16 << 20;

    private static final long NANOS_EACH = 500_000_000;

    /**
     * Measures this machine in about two seconds, on one or two layers of the sizes of the model.
     *
     * @param type storage of weights and activations
     */
    static Rates measured(Device device, LlamaConfig config, DType type) throws IOException {
        int context = Math.min(256, config.context());
        LlamaConfig part = config.withLayers(config.width() >= 1024 ? 1 : Math.min(2, config.layers()))
                .withVocabulary(Math.min(2048, config.vocabulary()))
                .withContext(context);
        int rows = 4 * context;
        try (Llama llama = Llama.open(device, part, type, Llama.Capacity.training(rows, 4))) {
            llama.upload(Initialisation.pieces(llama.table(), 0));
            List<Tokens> texts = IntStream.range(0, 64)
                    .mapToObj(i -> text(part, i % 4 == 0 ? context + 1 : 1 + context / 2, i))
                    .toList();
            PackedBatch batch = PackedBatch.of(IntStream.range(0, 4)
                    .mapToObj(i -> PackedBatch.Sequence.next(texts.get(4 * i)))
                    .toList());
            double train = 3.0
                    * rows
                    * part.forwardFlops(context / 2.0)
                    / seconds(device, () -> {
                        llama.zeroGradients();
                        llama.forwardBackward(batch, 1);
                    });
            int drawn = Math.max(1, context / 4);
            double draw;
            try (Generator generator = new Generator(llama, new Generator.Limits(64, 17, context, 512))) {
                List<Prompt> prompts = IntStream.range(0, 16)
                        .mapToObj(i -> new Prompt(text(part, 2, i), 1, 2, 3, 4))
                        .toList();
                draw = 64.0
                        * drawn
                        * part.forwardFlops(drawn / 2.0)
                        / seconds(device, () -> generator.draw(prompts, Sampling.exact(-1, drawn)));
            }
            double score;
            try (Scorer scorer = new Scorer(llama, new Scorer.Limits(512, 64, context))) {
                List<Tokens> continuations = IntStream.range(0, 16)
                        .mapToObj(i -> text(part, context / 2, 100 + i))
                        .toList();
                score = 16.0
                        * (context / 2)
                        * part.forwardFlops(context / 4.0)
                        / seconds(device, () -> scorer.score(text(part, 2, 7), continuations));
            }
            return new Rates(device.info().toString(), train, draw, score);
        }
    }

    private static double seconds(Device device, Runnable work) {
        work.run();
        device.synchronize();
        int times = 0;
        long from = System.nanoTime();
        do {
            work.run();
            device.synchronize();
            times++;
        } while (System.nanoTime() - from < NANOS_EACH);
        return (System.nanoTime() - from) * 1e-9 / times;
    }

    private static Tokens text(LlamaConfig config, int size, long key) {
        return Tokens.of(IntStream.range(0, Math.max(1, size))
                .map(i -> Philox.below(key, i, config.vocabulary()))
                .toArray());
    }

    /**
     * The rates of another machine: the report of {@code bench/gpu/run.sh}, such as {@code bench/results/h100.json}, or an object with
     * {@code machine, train, draw, score}.
     *
     * @param file JSON
     * @return the rates that it names
     * @throws EngineException.InvalidInput if it is neither
     * @throws IOException if it cannot be read
     */
    public static Rates read(Path file) throws IOException {
        JsonNode tree;
        try {
            tree = JsonMapper.shared().readTree(WholeFile.text(file, LARGEST));
        } catch (JacksonException e) {
            throw new EngineException.InvalidInput(file + ": not JSON: " + JsonProblem.of(e), e);
        }
        if (tree.path("train").isNumber()
                && tree.path("draw").isNumber()
                && tree.path("score").isNumber()) {
            return new Rates(
                    tree.path("machine").asString(file.toString()),
                    tree.path("train").asDouble(),
                    tree.path("draw").asDouble(),
                    tree.path("score").asDouble());
        }
        List<JsonNode> trained = entries(tree.path("train"));
        List<JsonNode> sampled = entries(tree.path("sample"));
        if (trained.isEmpty() || sampled.isEmpty()) {
            throw new EngineException.InvalidInput(file
                    + ": expected the report of bench/gpu/run.sh with the shape tinyllama, or {machine, train, draw, score} in operations"
                    + " per second");
        }
        JsonNode train = trained.stream()
                .max(Comparator.comparingDouble(
                        entry -> entry.path("tokensPerSecond").asDouble()))
                .orElseThrow();
        JsonNode sample = sampled.getLast();
        RunConfig.Model m = RunConfig.preset("tinyllama-finemath").model();
        LlamaConfig shape = EmRun.sizes(m, 32_000);
        double keys = sample.path("prompt").asDouble() + sample.path("tokens").asDouble() / 2;
        return new Rates(
                train.path("device").asString(file.toString()),
                train.path("tokensPerSecond").asDouble()
                        * 3
                        * shape.forwardFlops(train.path("length").asDouble() / 2),
                sample.path("tokensPerSecond").asDouble() * shape.forwardFlops(keys),
                sample.path("scoreTokensPerSecond").asDouble() * shape.forwardFlops(keys));
    }

    private static List<JsonNode> entries(JsonNode list) {
        List<JsonNode> found = new ArrayList<>();
        for (JsonNode entry : list) {
            if (entry.path("shape").asString("").equals("tinyllama")) {
                found.add(entry);
            }
        }
        return found;
    }
}
