package subtext.bench;

import com.sun.management.UnixOperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.data.Annotated;
import subtext.data.Document;
import subtext.em.EmPlan;
import subtext.em.EmReport;
import subtext.em.ExpectationMaximisation;
import subtext.em.Material;
import subtext.em.Network;
import subtext.model.LlamaConfig;
import subtext.run.ProcessMemory;
import subtext.run.RunConfig;
import subtext.text.SymbolTokenizer;
import subtext.text.Tokenizer;
import subtext.world.ChainWorld;

/**
 * {@code bench/soak.sh}: the whole method over and over in one process, for a time. Every round trains, draws thoughts, trains on them, measures
 * and writes all files of a run of the chain world, with the same seed, so every round is the same work and must end in the same bits;
 * memory must not grow and the rate must not fall.
 */
@Command(
        name = "bench/soak.sh",
        description = "Runs EM over and over and records memory and tokens per second.",
        mixinStandardHelpOptions = true)
public final class Soak implements Callable<Integer> {
    private static final double MEBI = 1 << 20;
    /** Most change of the rate between the medians of thirds, and most growth of memory between those of the first and the last. */
    private static final double RATE = 0.05;

    private static final double GROWTH = 0.02;
    private static final int PACE = 1 << 17; // 2 MiB in all
    private static final long PACE_NANOS = 200_000_000L;

    @Parameters(paramLabel = "MINUTES", arity = "0..1", defaultValue = "30", description = "Default: 30.")
    double minutes;

    @Option(
            names = "--threads",
            defaultValue = "1",
            description = "CPU threads. Default: 1, whose processor time does not count waiting for another.")
    int threads;

    @Option(names = "--root", defaultValue = ".", description = "The repository.")
    Path root;

    @Option(names = "--out", description = "Folder of soak.md and soak.svg; default bench/results.")
    Path out;

    @Option(names = "--commit", defaultValue = "unknown", description = "Said in the report.")
    String commit;

    /**
     * What was seen after a round.
     *
     * @param at seconds since the first round began
     * @param wall seconds of the round
     * @param cpu of them in which this process had a processor, summed over its threads
     * @param tokens drawn, scored and trained on
     * @param pace passes per processor second of a loop that is not ours, before and after the round: how fast the machine was
     * @param resident bytes of memory held by the process
     * @param heap bytes of Java's heap in use after a collection
     * @param device bytes that the library has allocated and not freed
     * @param files open file descriptors
     * @param model digest of the last model
     */
    private record Round(
            double at,
            double wall,
            double cpu,
            long tokens,
            double pace,
            long resident,
            long heap,
            long device,
            long files,
            String model) {
        double perWall() {
            return tokens / wall;
        }

        double perCpu() {
            return tokens / cpu;
        }

        /** Tokens per thousand passes of the loop. */
        double perPass() {
            return 1000 * tokens / cpu / pace;
        }
    }

    public static void main(String[] arguments) {
        System.exit(new CommandLine(new Soak()).execute(arguments));
    }

    private static RunConfig settings() {
        return RunConfig.preset("chain")
                .with("world.documents", "1500")
                .with("world.heldOut", "200")
                .with("world.dev", "50")
                .with("training.steps", "60")
                .with("training.warmup", "10")
                .with("training.checkpointEvery", "20")
                .with("em.iterations", "2")
                .with("em.part", "500")
                .with("baselines", "[]");
    }

    private static Material material(RunConfig.World w) {
        ChainWorld world = new ChainWorld(new ChainWorld.Plan(w.states(), w.generators(), w.depth(), w.readouts(), 0));
        return new Material(
                new SymbolTokenizer(world.symbols()),
                world.problems(ChainWorld.Split.WARM_START, w.warmStart()).stream()
                        .map(problem -> Annotated.with(problem.document(), List.of(problem.thought())))
                        .toList(),
                documents(world, ChainWorld.Split.TRAIN, w.documents()),
                documents(world, ChainWorld.Split.DEV, w.dev()),
                documents(world, ChainWorld.Split.HELD_OUT, w.heldOut()),
                Optional.empty(),
                false);
    }

    private static List<Document> documents(ChainWorld world, ChainWorld.Split split, int count) {
        return world.problems(split, count).stream()
                .map(ChainWorld.Problem::document)
                .toList();
    }

    private static LlamaConfig sizes(RunConfig.Model m, Tokenizer tokenizer) {
        return new LlamaConfig(
                m.layers(),
                m.width(),
                m.heads(),
                m.kvHeads(),
                m.headDim(),
                m.hidden(),
                tokenizer.vocabulary(),
                m.context(),
                m.ropeTheta(),
                m.normEps(),
                m.tied());
    }

    @Override
    public Integer call() throws IOException {
        RunConfig config = settings();
        EmPlan plan = EmPlan.of(config);
        Material material = material(config.world());
        Path folder = Files.createTempDirectory("subtext-soak");
        List<Round> rounds = new ArrayList<>();
        Noise noise = new Noise();
        try (Device device = Device.open(Backend.CPU, DeviceOptions.defaults().withThreads(threads));
                Network network = new Network(
                        device,
                        sizes(config.model(), material.tokenizer()),
                        DType.F32,
                        plan.training().microTokens(),
                        plan.maxThought(),
                        0,
                        plan.samples())) {
            round(network, material, plan, folder.resolve("first"), device, System.nanoTime()); // the compiler's
            long from = System.nanoTime();
            while ((System.nanoTime() - from) * 1e-9 < 60 * minutes || rounds.size() < 3) {
                Round round = round(network, material, plan, folder.resolve("run"), device, from);
                rounds.add(round);
                System.err.printf(
                        Locale.ROOT,
                        "round %d after %.1f min: %,.0f tokens/s, %,.0f per processor second, resident %.1f MiB, heap %.2f, device %.1f, %d files%n",
                        rounds.size(),
                        round.at() / 60,
                        round.perWall(),
                        round.perCpu(),
                        round.resident() / MEBI,
                        round.heap() / MEBI,
                        round.device() / MEBI,
                        round.files());
            }
        } finally {
            delete(folder);
        }
        List<String> broken = new ArrayList<>();
        String report = report(rounds, noise.describe(), broken);
        Path results = Files.createDirectories(out == null ? root.resolve("bench/results") : out);
        Files.writeString(results.resolve("soak.md"), report);
        Files.writeString(results.resolve("soak.svg"), figure(rounds));
        System.out.println(report);
        return broken.isEmpty() ? 0 : 1;
    }

    private static Round round(Network network, Material material, EmPlan plan, Path folder, Device device, long from)
            throws IOException {
        UnixOperatingSystemMXBean system = (UnixOperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        double before = pace();
        long wall = System.nanoTime();
        long cpu = system.getProcessCpuTime();
        EmReport.Seed seed = ExpectationMaximisation.builder()
                .network(network)
                .material(material)
                .plan(plan)
                .seed(0)
                .folder(folder)
                .build()
                .run();
        double wallSeconds = (System.nanoTime() - wall) * 1e-9;
        double cpuSeconds = (system.getProcessCpuTime() - cpu) * 1e-9;
        long tokens = 0;
        for (EmReport.Iteration it : seed.iterations()) {
            tokens += it.mTokens()
                    + it.drawn().map(EmReport.Draws::tokens).orElse(0L)
                    + it.measured().draws().map(EmReport.Draws::tokens).orElse(0L);
        }
        delete(folder);
        System.gc();
        return new Round(
                (System.nanoTime() - from) * 1e-9,
                wallSeconds,
                cpuSeconds,
                tokens,
                (before + pace()) / 2,
                ProcessMemory.resident().orElse(0),
                ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed(),
                device.allocatedBytes(),
                system.getOpenFileDescriptorCount(),
                seed.iterations().getLast().model());
    }

    private static final double[] A = new double[PACE];
    private static final double[] B = new double[PACE];

    /** Passes over two arrays per second of this thread's processor time: falls when neighbours take caches and half a core. */
    private static double pace() {
        var threads = ManagementFactory.getThreadMXBean();
        long from = threads.getCurrentThreadCpuTime();
        int passes = 0;
        long now;
        do {
            for (int i = 0; i < PACE; i++) {
                A[i] = A[i] * 0.5 + B[(i * 7) & PACE - 1] + 1;
            }
            passes++;
            now = threads.getCurrentThreadCpuTime();
        } while (now - from < PACE_NANOS);
        return passes / ((now - from) * 1e-9);
    }

    private static void delete(Path folder) throws IOException {
        if (!Files.exists(folder)) {
            return;
        }
        List<Path> files;
        try (Stream<Path> walk = Files.walk(folder)) {
            files = walk.sorted(Comparator.reverseOrder()).toList();
        }
        for (Path file : files) {
            Files.delete(file);
        }
    }

    // ---- the report

    /** Medians of the first, the second and the last third of the rounds. */
    private static double[] thirds(List<Round> rounds, ToDoubleFunction<Round> value) {
        double[] medians = new double[3];
        for (int t = 0; t < 3; t++) {
            double[] values = rounds.subList(t * rounds.size() / 3, (t + 1) * rounds.size() / 3).stream()
                    .mapToDouble(value)
                    .sorted()
                    .toArray();
            medians[t] = (values[(values.length - 1) / 2] + values[values.length / 2]) / 2;
        }
        return medians;
    }

    private String report(List<Round> rounds, String noise, List<String> broken) {
        StringBuilder md = new StringBuilder("# Soak\n\n");
        md.append(String.format(
                Locale.ROOT,
                """
                `bench/soak.sh %s` at commit %s, %s: one process runs EM on the chain world over and over (warm start, two E- and M-steps,
                measurements, all files of a run), with the same seed, so that every round is the same work. %d rounds in %.1f minutes,
                %,d tokens each, %d thread%s of %s; %s.

                | | first third | second | last | change | bound | |
                |---|---|---|---|---|---|---|
                """,
                minutes == Math.rint(minutes) ? String.valueOf((long) minutes) : String.valueOf(minutes),
                commit,
                LocalDate.now(),
                rounds.size(),
                rounds.getLast().at() / 60,
                rounds.getFirst().tokens(),
                threads,
                threads == 1 ? "" : "s",
                Noise.processor(),
                noise));
        spread(md, "tokens per processor second of the process", thirds(rounds, Round::perCpu), true, broken);
        spread(
                md,
                "tokens per thousand passes of a loop that is not ours",
                thirds(rounds, Round::perPass),
                false,
                broken);
        spread(md, "tokens per second of wall time", thirds(rounds, Round::perWall), false, broken);
        growth(md, "resident memory, MiB", thirds(rounds, r -> r.resident() / MEBI), GROWTH, broken);
        growth(md, "Java's heap after a collection, MiB", thirds(rounds, r -> r.heap() / MEBI), GROWTH, broken);
        growth(md, "allocated by the library, MiB", thirds(rounds, r -> r.device() / MEBI), 0, broken);
        growth(md, "open files", thirds(rounds, Round::files), 0, broken);
        long models = rounds.stream().map(Round::model).distinct().count();
        if (models != 1) {
            broken.add("models");
        }
        md.append(String.format(
                Locale.ROOT,
                """

                Medians of thirds. Change: of the rates the largest over the smallest less one, of the rest the last third over the first. The
                machine is shared, so the rate that is judged is by the processor time that the process got; that of wall time is what the
                others left. Neighbours also slow a processor second down, by caches and shared cores: beside stands the rate per pass of a
                fixed loop over 2 MiB in Java, timed before and after each round. Least and most: %,.0f and %,.0f tokens per processor second, %.1f and %.1f MiB resident, %.2f and %.2f MiB of heap.

                Digests of the last model: %d distinct in %d rounds.

                ![Rates and memory by time](soak.svg)

                %s
                """,
                rounds.stream().mapToDouble(Round::perCpu).min().orElseThrow(),
                rounds.stream().mapToDouble(Round::perCpu).max().orElseThrow(),
                rounds.stream().mapToDouble(r -> r.resident() / MEBI).min().orElseThrow(),
                rounds.stream().mapToDouble(r -> r.resident() / MEBI).max().orElseThrow(),
                rounds.stream().mapToDouble(r -> r.heap() / MEBI).min().orElseThrow(),
                rounds.stream().mapToDouble(r -> r.heap() / MEBI).max().orElseThrow(),
                models,
                rounds.size(),
                broken.isEmpty()
                        ? "Everything within its bound."
                        : "Outside its bound: " + String.join(", ", broken) + "."));
        return md.toString();
    }

    private static void spread(StringBuilder md, String name, double[] thirds, boolean judged, List<String> broken) {
        double change = Arrays.stream(thirds).max().orElseThrow()
                        / Arrays.stream(thirds).min().orElseThrow()
                - 1;
        boolean holds = change <= RATE;
        md.append(String.format(
                Locale.ROOT,
                "| %s | %,.0f | %,.0f | %,.0f | %.1f %% | %s | %s |%n",
                name,
                thirds[0],
                thirds[1],
                thirds[2],
                100 * change,
                judged ? String.format(Locale.ROOT, "%.0f %%", 100 * RATE) : "not judged",
                judged ? holds ? "holds" : "**does not hold**" : ""));
        if (judged && !holds) {
            broken.add(name);
        }
    }

    private static void growth(StringBuilder md, String name, double[] thirds, double bound, List<String> broken) {
        double change = thirds[2] / thirds[0] - 1;
        boolean holds = change <= bound;
        md.append(String.format(
                Locale.ROOT,
                "| %s | %.2f | %.2f | %.2f | %+.2f %% | %s | %s |%n",
                name,
                thirds[0],
                thirds[1],
                thirds[2],
                100 * change,
                bound == 0 ? "none" : String.format(Locale.ROOT, "+%.0f %%", 100 * bound),
                holds ? "holds" : "**does not hold**"));
        if (!holds) {
            broken.add(name);
        }
    }

    // ---- the figure

    private static final int WIDTH = 760;
    private static final int PANEL = 150;
    private static final int LEFT = 70;

    private static String figure(List<Round> rounds) {
        List<String> names = List.of(
                "tokens per processor second",
                "tokens per second of wall time",
                "resident, MiB",
                "heap after a collection, MiB");
        List<ToDoubleFunction<Round>> values =
                List.of(Round::perCpu, Round::perWall, r -> r.resident() / MEBI, r -> r.heap() / MEBI);
        StringBuilder svg = new StringBuilder(String.format(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\""
                        + " font-size=\"12\">%n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>%n",
                WIDTH, names.size() * PANEL + 30, WIDTH, names.size() * PANEL + 30));
        double end = rounds.getLast().at() / 60;
        for (int p = 0; p < names.size(); p++) {
            ToDoubleFunction<Round> value = values.get(p);
            // from zero: what looks flat is flat
            double top = 1.15 * rounds.stream().mapToDouble(value).max().orElseThrow();
            double floor = p * PANEL + PANEL - 8;
            double height = PANEL - 34;
            svg.append(String.format(
                    Locale.ROOT,
                    "<text x=\"%d\" y=\"%d\">%s</text><path d=\"M%d %.1fV%.1fH%d\" fill=\"none\" stroke=\"#888\"/>%n",
                    LEFT,
                    p * PANEL + 18,
                    names.get(p),
                    LEFT,
                    floor - height,
                    floor,
                    WIDTH - 12));
            for (double share : new double[] {0, 0.5, 1}) {
                double tick = share * top / 1.15;
                svg.append(String.format(
                        Locale.ROOT,
                        "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>%n",
                        LEFT - 6,
                        floor - tick / top * height + 4,
                        String.format(Locale.ROOT, tick >= 100 ? "%,.0f" : "%.1f", tick)));
            }
            StringBuilder path = new StringBuilder();
            for (Round round : rounds) {
                path.append(String.format(
                        Locale.ROOT,
                        "%s%.1f %.1f",
                        path.isEmpty() ? "M" : "L",
                        LEFT + round.at() / 60 / end * (WIDTH - LEFT - 12),
                        floor - value.applyAsDouble(round) / top * height));
            }
            svg.append("<path d=\"").append(path).append("\" fill=\"none\" stroke=\"black\" stroke-width=\"1.3\"/>\n");
        }
        svg.append(String.format(
                Locale.ROOT,
                "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.0f minutes</text>%n</svg>%n",
                WIDTH - 12,
                names.size() * PANEL + 14,
                end));
        return svg.toString();
    }
}
