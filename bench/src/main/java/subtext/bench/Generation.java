package subtext.bench;

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
import subtext.bindings.Tensor;
import subtext.generate.Generator;
import subtext.generate.Prompt;
import subtext.generate.Sampling;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.text.Tokens;

/**
 * Tokens per second of generation at several numbers of sequences, and of reading a prompt, on random weights of the shapes that the
 * peers' models in {@code bench/peers} have. Drawing from the full law and its log-probability are included. One JSON line per figure, with
 * the median of the rounds; {@code gigabytesPerSecond} is what reading every weight once a step comes to.
 *
 * <pre>java -cp bench/target/benchmarks.jar subtext.bench.Generation --shape M110 --dtype BF16</pre>
 */
@Command(
        name = "generation",
        description = "Tokens per second of generation and of reading a prompt, on random weights.",
        mixinStandardHelpOptions = true)
public final class Generation implements Callable<Integer> {

    /** Shapes of stories15M, stories110M and TinyLlama, output matrix not tied. */
    enum ModelShape {
        M15(6, 288, 6, 6, 768),
        M110(12, 768, 12, 12, 2048),
        B1(22, 2048, 32, 4, 5632);

        final int layers;
        final int width;
        final int heads;
        final int kvHeads;
        final int hidden;

        ModelShape(int layers, int width, int heads, int kvHeads, int hidden) {
            this.layers = layers;
            this.width = width;
            this.heads = heads;
            this.kvHeads = kvHeads;
            this.hidden = hidden;
        }

        LlamaConfig config(int context) {
            return new LlamaConfig(
                    layers, width, heads, kvHeads, width / heads, hidden, 32_000, context, 10_000, 1e-5, false);
        }
    }

    @Option(names = "--shape", defaultValue = "M15", description = "${COMPLETION-CANDIDATES}")
    private ModelShape shape;

    @Option(names = "--dtype", defaultValue = "BF16", description = "F32 or BF16")
    private DType dtype;

    @Option(names = "--threads", defaultValue = "0", description = "0 for one per core")
    private int threads;

    @Option(
            names = "--sequences",
            split = ",",
            defaultValue = "1,8,32,64",
            description = "numbers of sequences in flight")
    private int[] sequences;

    @Option(names = "--prompt", defaultValue = "16", description = "tokens of each prompt before generation")
    private int prompt;

    @Option(names = "--tokens", defaultValue = "64", description = "tokens generated per sequence")
    private int tokens;

    @Option(
            names = "--read",
            defaultValue = "512",
            description = "tokens of the prompt whose reading is timed; 0 for none")
    private int read;

    @Option(names = "--rounds", defaultValue = "5")
    private int rounds;

    @Override
    public Integer call() {
        LlamaConfig config = shape.config(Math.max(prompt + tokens, read + 2));
        try (Device device = Device.open(Backend.CPU, DeviceOptions.defaults().withThreads(threads));
                Llama llama = Llama.open(device, config, dtype, Llama.Capacity.weights())) {
            Tensor flat = llama.weights().flat();
            device.kernels().fillNormal(flat, 0, 0.02, 3, 1, 0);
            for (ParameterTable.Slice slice : llama.table().slices()) {
                if (slice.shape().size() == 1) {
                    float[] ones = new float[Math.toIntExact(slice.size())];
                    Arrays.fill(ones, 1f);
                    device.upload(flat.rows(slice.offset(), slice.offset() + slice.size()), ones);
                }
            }
            // a step reads all matrices but the embedding, of which it looks up a row
            double bytes =
                    (llama.table().decayed() - (double) config.paddedVocabulary() * config.width()) * dtype.bytes();
            if (read > 0) {
                double seconds = time(llama, 1, read + 1, 1) - time(llama, 1, 2, 1);
                System.out.printf(
                        Locale.ROOT,
                        "{\"what\":\"read\",\"shape\":\"%s\",\"dtype\":\"%s\",\"path\":\"%s\",\"threads\":%d,\"tokens\":%d,"
                                + "\"tokensPerSecond\":%.1f}%n",
                        shape,
                        dtype,
                        device.info().path(),
                        device.info().processors(),
                        read,
                        read / seconds);
            }
            for (int n : sequences) {
                double seconds = time(llama, n, prompt, tokens);
                System.out.printf(
                        Locale.ROOT,
                        "{\"what\":\"generate\",\"shape\":\"%s\",\"dtype\":\"%s\",\"path\":\"%s\",\"threads\":%d,\"sequences\":%d,"
                                + "\"tokensPerSecond\":%.1f,\"gigabytesPerSecond\":%.2f}%n",
                        shape,
                        dtype,
                        device.info().path(),
                        device.info().processors(),
                        n,
                        n * tokens / seconds,
                        tokens * bytes / seconds * 1e-9);
            }
        }
        return 0;
    }

    /** Median seconds of drawing one sample of each of n prompts. */
    private double time(Llama llama, int n, int promptTokens, int drawn) {
        int vocabulary = llama.config().vocabulary();
        SplittableRandom random = new SplittableRandom(2);
        List<Prompt> prompts = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            prompts.add(new Prompt(
                    Tokens.of(random.ints(promptTokens, 0, vocabulary).toArray()), random.nextLong()));
        }
        Sampling law = Sampling.exact(Sampling.NO_STOP, drawn);
        double[] seconds = new double[rounds];
        try (Generator generator = new Generator(llama, Generator.Limits.fit(llama, promptTokens, drawn, n, 1))) {
            for (int round = -1; round < rounds; round++) {
                long start = System.nanoTime();
                generator.draw(prompts, law);
                if (round >= 0) {
                    seconds[round] = (System.nanoTime() - start) * 1e-9;
                }
            }
        }
        Arrays.sort(seconds);
        return seconds[rounds / 2];
    }

    /** Runs the command line. */
    public static void main(String[] arguments) {
        System.exit(new CommandLine(new Generation())
                .setCaseInsensitiveEnumValuesAllowed(true)
                .execute(arguments));
    }
}
