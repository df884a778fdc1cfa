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
import java.util.concurrent.locks.LockSupport;
import java.util.function.ToDoubleFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.management.JMException;
import javax.management.ObjectName;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.Matmul;
import subtext.data.Annotated;
import subtext.data.Document;
import subtext.em.EmEvent;
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
    /** Steps of the run between two of the control. */
    private static final int CONTROL_EVERY = 5;

    /** Share of the time, at its beginning, whose rounds are not counted: Java still compiles. */
    private static final double WARM_UP = 0.1;

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
     * @param control tokens per processor second of a step that does not change: how fast the machine was
     * @param resident bytes of memory held by the process
     * @param heap bytes of Java's heap in use after a collection
     * @param machine bytes committed by the Java machine itself: heap, compiled code, classes, the compilers' rooms; 0 if it does not count them
     * @param device bytes that the library has allocated and not freed
     * @param files open file descriptors
     * @param model digest of the last model
     */
    private record Round(
            double at,
            double wall,
            double cpu,
            long tokens,
            double control,
            long resident,
            long heap,
            long machine,
            long device,
            long files,
            String model) {
        double perWall() {
            return tokens / wall;
        }

        double perCpu() {
            return tokens / cpu;
        }

        /** The rate in units of the control's. */
        double relative() {
            return perCpu() / control;
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
                        plan.samples());
                Control control = new Control(sizes(config.model(), material.tokenizer()), threads)) {
            round(
                    network,
                    material,
                    plan,
                    folder.resolve("first"),
                    device,
                    control,
                    System.nanoTime()); // the compiler's
            long from = System.nanoTime();
            while ((System.nanoTime() - from) * 1e-9 < 60 * minutes || rounds.size() < 3) {
                Round round = round(network, material, plan, folder.resolve("run"), device, control, from);
                rounds.add(round);
                System.err.printf(
                        Locale.ROOT,
                        "round %d after %.1f min: %,.0f tokens/s, %,.0f per processor second, resident %.1f MiB, machine %.1f, heap %.2f, device %.1f, %d files%n",
                        rounds.size(),
                        round.at() / 60,
                        round.perWall(),
                        round.perCpu(),
                        round.resident() / MEBI,
                        round.machine() / MEBI,
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

    private static Round round(
            Network network, Material material, EmPlan plan, Path folder, Device device, Control control, long from)
            throws IOException {
        UnixOperatingSystemMXBean system = (UnixOperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        control.begin();
        long wall = System.nanoTime();
        long cpu = system.getProcessCpuTime();
        EmReport.Seed seed = ExpectationMaximisation.builder()
                .network(network)
                .material(material)
                .plan(plan)
                .seed(0)
                .folder(folder)
                .listener(event -> {
                    if (event instanceof EmEvent.StepTrained step && step.step() % CONTROL_EVERY == 0
                            || event instanceof EmEvent.LatentsDrawn) {
                        control.step();
                    }
                })
                .build()
                .run();
        double wallSeconds = (System.nanoTime() - wall - control.wall) * 1e-9;
        double cpuSeconds = (system.getProcessCpuTime() - cpu - control.cpu) * 1e-9;
        long tokens = 0;
        for (EmReport.Iteration it : seed.iterations()) {
            tokens += it.mTokens()
                    + it.drawn().map(EmReport.Draws::tokens).orElse(0L)
                    + it.measured().draws().map(EmReport.Draws::tokens).orElse(0L);
        }
        delete(folder);
        long heap = reachable();
        return new Round(
                (System.nanoTime() - from) * 1e-9,
                wallSeconds,
                cpuSeconds,
                tokens,
                control.tokens / (control.cpu * 1e-9),
                ProcessMemory.resident().orElse(0),
                heap,
                machine(),
                device.allocatedBytes() + control.bytes(),
                system.getOpenFileDescriptorCount(),
                seed.iterations().getLast().model());
    }

    /**
     * Bytes of Java's heap that are reachable: what is in use after collections that find no more. One does not do: what it finds to be cleaned
     * up, another thread lets go of a little later.
     */
    private static long reachable() {
        long least = Long.MAX_VALUE;
        int without = 0; // collections since the last that found something
        while (without < 3) {
            System.gc();
            long used = ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
            without = used < least - least / 1000 ? 0 : without + 1;
            least = Math.min(least, used);
            LockSupport.parkNanos(20_000_000);
        }
        return least;
    }

    /**
     * What is not the run and does not change: a training step of the same model on a device of its own, over and over on one batch, a little
     * between the run's own steps. Its rate says how fast the machine was just then.
     */
    private static final class Control implements AutoCloseable {
        private static final int SEQUENCES = 48;
        private static final int LENGTH = 16;

        private final UnixOperatingSystemMXBean system =
                (UnixOperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        private final TrainWork work;
        private long cpu;
        private long wall;
        private long tokens;

        Control(LlamaConfig config, int threads) {
            work = new TrainWork(config, Matmul.OWN, threads, SEQUENCES, LENGTH);
        }

        void begin() {
            work.restart();
            cpu = 0;
            wall = 0;
            tokens = 0;
        }

        void step() {
            long fromWall = System.nanoTime();
            long fromCpu = system.getProcessCpuTime();
            work.step();
            cpu += system.getProcessCpuTime() - fromCpu;
            wall += System.nanoTime() - fromWall;
            tokens += work.rows();
        }

        long bytes() {
            return work.bytes();
        }

        @Override
        public void close() {
            work.close();
        }
    }

    /** What {@code jcmd VM.native_memory} says is committed; 0 without {@code -XX:NativeMemoryTracking}. */
    private static long machine() {
        try {
            String told = (String) ManagementFactory.getPlatformMBeanServer()
                    .invoke(
                            new ObjectName("com.sun.management:type=DiagnosticCommand"),
                            "vmNativeMemory",
                            new Object[] {new String[] {"summary"}},
                            new String[] {String[].class.getName()});
            Matcher total = Pattern.compile("Total: reserved=\\d+KB, committed=(\\d+)KB")
                    .matcher(told);
            return total.find() ? 1024 * Long.parseLong(total.group(1)) : 0;
        } catch (JMException e) {
            return 0;
        }
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

    private String report(List<Round> all, String noise, List<String> broken) {
        List<Round> rounds = all.stream()
                .filter(round -> round.at() >= WARM_UP * all.getLast().at())
                .toList();
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
                all.size(),
                all.getLast().at() / 60,
                all.getFirst().tokens(),
                threads,
                threads == 1 ? "" : "s",
                Noise.processor(),
                noise));
        spread(md, "rate in units of the control's", thirds(rounds, Round::relative), true, broken);
        spread(md, "tokens per processor second of the process", thirds(rounds, Round::perCpu), false, broken);
        spread(md, "the same of the control", thirds(rounds, Round::control), false, broken);
        spread(md, "tokens per second of wall time", thirds(rounds, Round::perWall), false, broken);
        growth(md, "resident memory, MiB", thirds(rounds, r -> r.resident() / MEBI), GROWTH, broken);
        growth(
                md,
                "committed by the Java machine itself, MiB",
                thirds(rounds, r -> r.machine() / MEBI),
                GROWTH,
                broken);
        growth(md, "Java's heap after a collection, MiB", thirds(rounds, r -> r.heap() / MEBI), GROWTH, broken);
        growth(md, "allocated by the library, MiB", thirds(rounds, r -> r.device() / MEBI), 0, broken);
        growth(md, "open files", thirds(rounds, Round::files), 0, broken);
        long models = all.stream().map(Round::model).distinct().count();
        if (models != 1) {
            broken.add("models");
        }
        md.append(String.format(
                Locale.ROOT,
                """

                Medians of thirds of the rounds, those in the first tenth of the time left out, in which Java compiles. Change: of the rates the
                largest over the smallest less one, of the rest the last third over the first. The machine is shared, and neighbours slow even a
                processor second down, by caches and shared cores. So the rate that is judged is in units of a control: a training step of the same
                model on one batch, on a device of its own, after every %d steps of the run. Least and most: %,.0f and %,.0f tokens per processor second, %.1f and %.1f MiB resident, %.2f and %.2f MiB of heap.

                Digests of the last model: %d distinct in %d rounds.

                ![Rates and memory by time](soak.svg)

                %s
                """,
                CONTROL_EVERY,
                rounds.stream().mapToDouble(Round::perCpu).min().orElseThrow(),
                rounds.stream().mapToDouble(Round::perCpu).max().orElseThrow(),
                rounds.stream().mapToDouble(r -> r.resident() / MEBI).min().orElseThrow(),
                rounds.stream().mapToDouble(r -> r.resident() / MEBI).max().orElseThrow(),
                rounds.stream().mapToDouble(r -> r.heap() / MEBI).min().orElseThrow(),
                rounds.stream().mapToDouble(r -> r.heap() / MEBI).max().orElseThrow(),
                models,
                all.size(),
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
                "| %s | %s | %s | %s | %.1f %% | %s | %s |%n",
                name,
                figure(thirds[0]),
                figure(thirds[1]),
                figure(thirds[2]),
                100 * change,
                judged ? String.format(Locale.ROOT, "%.0f %%", 100 * RATE) : "not judged",
                judged ? holds ? "holds" : "**does not hold**" : ""));
        if (judged && !holds) {
            broken.add(name);
        }
    }

    private static String figure(double value) {
        return String.format(Locale.ROOT, value < 100 ? "%.3f" : "%,.0f", value);
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
                "rate in units of the control's",
                "tokens per processor second",
                "tokens per second of wall time",
                "resident, MiB",
                "heap after a collection, MiB");
        List<ToDoubleFunction<Round>> values =
                List.of(Round::relative, Round::perCpu, Round::perWall, r -> r.resident() / MEBI, r -> r.heap() / MEBI);
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
