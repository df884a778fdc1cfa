package subtext.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.Matmul;
import subtext.em.RunPlan;
import subtext.generate.Generator;
import subtext.generate.Prompt;
import subtext.generate.Sample;
import subtext.generate.Sampling;
import subtext.generate.Score;
import subtext.generate.Scorer;
import subtext.io.Conversation;
import subtext.io.HuggingFace;
import subtext.io.Safetensors;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.PackedBatch;
import subtext.model.ParameterTable;
import subtext.text.BpeTrainer;
import subtext.text.Tokenizer;
import subtext.text.Tokens;
import subtext.train.AdamW;

/**
 * What a user feels, on the model shapes that the peers' scripts in {@code bench/peers} use: tokens/s of a train step and of an E-step's
 * drawing and scoring. Weights are random. One JSON line each, with the median of the rounds.
 */
@Command(
        name = "measure",
        description = "Tokens per second of train step and E-step on random weights.",
        mixinStandardHelpOptions = true,
        subcommands = {Measure.Train.class, Measure.Draw.class, Measure.Model.class})
public final class Measure {

    /** Where and in what storage. */
    static final class Place {
        @Option(names = "--shape", defaultValue = "TINY", description = "${COMPLETION-CANDIDATES}")
        ModelShape shape;

        @Option(names = "--device", defaultValue = "CPU", description = "${COMPLETION-CANDIDATES}")
        Backend backend;

        @Option(names = "--threads", defaultValue = "0", description = "CPU threads, 0 for one per core")
        int threads;

        @Option(names = "--dtype", defaultValue = "F32", description = "F32 or BF16")
        DType dtype;

        @Option(names = "--matmul", defaultValue = "AUTO", description = "${COMPLETION-CANDIDATES}")
        Matmul matmul;

        @Option(names = "--dry-run", description = "say what memory it takes, and take none")
        boolean dryRun;

        @Option(names = "--rounds", defaultValue = "5", description = "timed rounds; the median is given")
        int rounds;

        Device open() {
            return Device.open(
                    backend, DeviceOptions.defaults().withThreads(threads).withMatmul(matmul));
        }

        String describe(Device device) {
            return "\"shape\":\"%s\",\"device\":\"%s\",\"path\":\"%s\",\"dtype\":\"%s\",\"matmul\":\"%s\",\"vendor\":\"%s\""
                    .formatted(
                            shape.label(),
                            device.info().name(),
                            device.info().path(),
                            dtype,
                            matmul,
                            device.vendorMatmul().orElse("none"));
        }
    }

    private static void stated(long bytes, String parts) {
        System.out.printf(
                "{\"what\":\"memory\",\"tensorBytes\":%d,\"parts\":\"%s\",\"statedBytes\":%d}%n",
                bytes, parts, bytes + RunPlan.BESIDE);
    }

    /** The most memory that this process ever held, as Linux counts it; nothing where there is no Linux. */
    private static void resident() throws IOException {
        Path status = Path.of("/proc/self/status");
        if (!Files.exists(status)) {
            return;
        }
        for (String line : Files.readAllLines(status)) {
            if (line.startsWith("VmHWM:")) {
                System.out.printf(
                        "{\"what\":\"resident\",\"peakBytes\":%d}%n",
                        1024 * Long.parseLong(line.replaceAll("\\D", "")));
            }
        }
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    private static int[] ids(SplittableRandom random, int n, int vocabulary) {
        return random.ints(n, 0, vocabulary).toArray();
    }

    /** A model to start a run from; its tokenizer knows bytes and the control tokens. */
    @Command(
            name = "model",
            description = "Writes a random model as a folder in Hugging Face layout.",
            mixinStandardHelpOptions = true)
    static final class Model implements Callable<Integer> {
        @CommandLine.Mixin
        Place place;

        @Option(names = "--context", defaultValue = "2048")
        int context;

        @CommandLine.Parameters(paramLabel = "DIR", description = "where to")
        Path folder;

        @Override
        public Integer call() throws IOException {
            LlamaConfig config = place.shape.config(context);
            try (Device device = place.open();
                    Llama llama = Llama.open(device, config, place.dtype, Llama.Capacity.weights())) {
                ModelShape.randomWeights(device, llama);
                Tokenizer tokenizer = new BpeTrainer().train(BpeTrainer.SMALLEST);
                HuggingFace.save(
                        folder,
                        config,
                        tokenizer,
                        Conversation.of(tokenizer),
                        llama::download,
                        Safetensors.Type.valueOf(place.dtype.name()));
            }
            return 0;
        }
    }

    /** Forward, backward, clipping by global norm and AdamW, as the trainer does them. */
    @Command(
            name = "train",
            description = "One training step over packed sequences of equal length.",
            mixinStandardHelpOptions = true)
    static final class Train implements Callable<Integer> {
        @CommandLine.Mixin
        Place place;

        @Option(names = "--sequences", defaultValue = "64")
        int sequences;

        @Option(names = "--length", defaultValue = "128", description = "tokens predicted per sequence")
        int length;

        @Option(names = "--recompute", description = "compute each block's activations again in backward")
        boolean recompute;

        @Override
        public Integer call() throws IOException {
            LlamaConfig config = place.shape.config(length);
            int rows = sequences * length;
            Llama.Capacity capacity = Llama.Capacity.training(rows, sequences);
            capacity = recompute ? capacity.withRecompute() : capacity;
            try (Device device = place.open()) {
                Llama.Memory memory = Llama.measure(device, config, place.dtype, capacity);
                long optimizer = AdamW.bytes(device, ParameterTable.of(config), place.dtype);
                stated(
                        memory.bytes() + optimizer,
                        "%d weights, %d gradients, %d activations, %d optimizer"
                                .formatted(memory.weights(), memory.gradients(), memory.activations(), optimizer));
                if (!place.dryRun) {
                    train(device, config, rows, capacity);
                }
            }
            return 0;
        }

        private void train(Device device, LlamaConfig config, int rows, Llama.Capacity capacity) throws IOException {
            try (Llama llama = Llama.open(device, config, place.dtype, capacity)) {
                ModelShape.randomWeights(device, llama);
                SplittableRandom random = new SplittableRandom(1);
                List<PackedBatch.Sequence> packed = new ArrayList<>();
                for (int s = 0; s < sequences; s++) {
                    packed.add(PackedBatch.Sequence.next(Tokens.of(ids(random, length + 1, config.vocabulary()))));
                }
                PackedBatch batch = PackedBatch.of(packed);
                try (AdamW adamw = new AdamW(llama)) {
                    adamw.start();
                    AdamW.Constants constants = new AdamW.Constants(0.9, 0.95, 1e-8, 0.01);
                    double[] seconds = new double[place.rounds];
                    double loss = 0;
                    for (int step = -Math.min(2, place.rounds - 1); step < place.rounds; step++) {
                        long start = System.nanoTime();
                        llama.zeroGradients();
                        loss = llama.forwardBackward(batch, 1.0 / rows) / rows;
                        double norm = adamw.gradientNorm();
                        adamw.update(Math.min(1, 1 / norm), 1e-4, constants, step + 3);
                        device.synchronize();
                        if (step >= 0) {
                            seconds[step] = (System.nanoTime() - start) * 1e-9;
                        }
                    }
                    double step = median(seconds);
                    double flops = ModelShape.trainFlops(config, rows, length);
                    System.out.printf(
                            Locale.ROOT,
                            "{\"what\":\"train\",\"engine\":\"subtext\",%s,\"sequences\":%d,\"length\":%d,\"loss\":%.4f,"
                                    + "\"millis\":%.3f,\"tokensPerSecond\":%.1f,\"tflops\":%.3f,\"peakBytes\":%d}%n",
                            place.describe(device),
                            sequences,
                            length,
                            loss,
                            step * 1e3,
                            rows / step,
                            flops / step / 1e12,
                            device.allocatedBytes());
                    resident();
                }
            }
        }
    }

    /** K samples of each prompt behind a shared prefix, exact log-probabilities included; then their scores behind another. */
    @Command(
            name = "draw",
            description = "Draws and scores samples of shared prompts.",
            mixinStandardHelpOptions = true)
    static final class Draw implements Callable<Integer> {
        @CommandLine.Mixin
        Place place;

        @Option(names = "--prompts", defaultValue = "32")
        int prompts;

        @Option(names = "--samples", defaultValue = "8", description = "K, of each prompt")
        int samples;

        @Option(names = "--prompt", defaultValue = "256", description = "tokens of a prompt")
        int promptTokens;

        @Option(names = "--tokens", defaultValue = "256", description = "tokens of a sample; none stops early")
        int tokens;

        @Option(names = "--score", description = "also score every sample behind its prompt")
        boolean score;

        @Override
        public Integer call() throws IOException {
            LlamaConfig config = place.shape.config(promptTokens + tokens + 1);
            try (Device device = place.open()) {
                long weights = Llama.measure(device, config, place.dtype, Llama.Capacity.weights())
                        .bytes();
                long cache = Generator.Limits.bytes(
                        config,
                        place.dtype,
                        Generator.Limits.fit(device, config, place.dtype, promptTokens, tokens, prompts, samples));
                stated(weights + cache, "%d weights, %d cache and activations".formatted(weights, cache));
                if (!place.dryRun) {
                    draw(device, config);
                }
            }
            return 0;
        }

        private void draw(Device device, LlamaConfig config) throws IOException {
            try (Llama llama = Llama.open(device, config, place.dtype, Llama.Capacity.weights())) {
                ModelShape.randomWeights(device, llama);
                SplittableRandom random = new SplittableRandom(2);
                List<Prompt> asked = new ArrayList<>();
                for (int p = 0; p < prompts; p++) {
                    asked.add(new Prompt(
                            Tokens.of(ids(random, promptTokens, config.vocabulary())),
                            random.longs(samples).toArray()));
                }
                Sampling law = Sampling.exact(Sampling.NO_STOP, tokens);
                double[] drawing = new double[place.rounds];
                double[] scoring = new double[place.rounds];
                double difference = 0;
                try (Generator generator = new Generator(
                                llama, Generator.Limits.fit(llama, promptTokens, tokens, prompts, samples));
                        Scorer scorer =
                                score ? new Scorer(llama, Scorer.Limits.fit(llama, promptTokens, tokens)) : null) {
                    for (int round = -1; round < place.rounds; round++) {
                        long start = System.nanoTime();
                        List<List<Sample>> drawn = generator.draw(asked, law);
                        long middle = System.nanoTime();
                        if (score) {
                            difference = Math.max(difference, largestDifference(scorer, asked, drawn));
                        }
                        if (round >= 0) {
                            drawing[round] = (middle - start) * 1e-9;
                            scoring[round] = (System.nanoTime() - middle) * 1e-9;
                        }
                    }
                }
                double count = (double) prompts * samples * tokens;
                System.out.printf(
                        Locale.ROOT,
                        "{\"what\":\"sample\",\"engine\":\"subtext\",%s,\"prompts\":%d,\"samples\":%d,\"prompt\":%d,\"tokens\":%d,"
                                + "\"seconds\":%.4f,\"tokensPerSecond\":%.1f%s,\"bytes\":%d}%n",
                        place.describe(device),
                        prompts,
                        samples,
                        promptTokens,
                        tokens,
                        median(drawing),
                        count / median(drawing),
                        score
                                ? String.format(
                                        Locale.ROOT,
                                        ",\"scoreTokensPerSecond\":%.1f,\"largestLogProbDifference\":%s",
                                        count / median(scoring),
                                        difference)
                                : "",
                        device.allocatedBytes());
                resident();
            }
        }

        /** Between log-probabilities when drawn and when scored, over all tokens: 0 in exact mode. */
        private static double largestDifference(Scorer scorer, List<Prompt> asked, List<List<Sample>> drawn) {
            List<Scorer.Request> requests = new ArrayList<>();
            for (int p = 0; p < asked.size(); p++) {
                requests.add(new Scorer.Request(
                        asked.get(p).tokens(),
                        drawn.get(p).stream().map(Sample::tokens).toList()));
            }
            List<List<Score>> scores = scorer.score(requests);
            double largest = 0;
            for (int p = 0; p < asked.size(); p++) {
                for (int k = 0; k < drawn.get(p).size(); k++) {
                    double[] when = drawn.get(p).get(k).logProbs();
                    double[] then = scores.get(p).get(k).logProbs();
                    for (int i = 0; i < when.length; i++) {
                        largest = Math.max(largest, Math.abs(when[i] - then[i]));
                    }
                }
            }
            return largest;
        }
    }

    /** Runs the command line. */
    public static void main(String[] arguments) {
        System.exit(new CommandLine(new Measure())
                .setCaseInsensitiveEnumValuesAllowed(true)
                .execute(arguments));
    }
}
