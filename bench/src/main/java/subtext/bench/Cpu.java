package subtext.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/**
 * {@code bench/cpu.sh}: measures this machine's ceilings and then, part by part, what we reach and what the peers reach, in turns. Every
 * part replaces its section of {@code cpu.json}, and {@code cpu.md} is written from all sections there are, each with the commit, the
 * ceilings and the noise of its own run.
 */
@Command(
        name = "bench/cpu.sh",
        description = "Measures the CPU kernels and what is built on them, beside the peers that are installed.",
        mixinStandardHelpOptions = true)
public final class Cpu implements Callable<Integer> {
    private static final JsonMapper JSON =
            JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

    /** What can be measured, in the order of the report. */
    enum Part {
        MATMUL,
        TRAIN,
        THREADS,
        DECODE,
        ESTEP,
        SCALING,
        ROOFLINE
    }

    @Parameters(arity = "0..*", description = "Parts: ${COMPLETION-CANDIDATES}; all if none is named.")
    List<Part> parts = List.of();

    @Option(names = "--rounds", defaultValue = "5", description = "Rounds in which the contenders take turns.")
    int rounds;

    @Option(
            names = "--threads",
            defaultValue = "0",
            description = "CPU threads, 0 for one per core; products take one.")
    int threads;

    @Option(
            names = "--shape",
            split = ",",
            description = "Only these models, where a part has several: ${COMPLETION-CANDIDATES}.")
    List<ModelShape> shapes = List.of();

    @Option(names = "--types", split = ",", defaultValue = "F32,BF16", description = "Weights of decode.")
    List<DType> types;

    @Option(names = "--root", defaultValue = ".", description = "The repository.")
    Path root;

    @Option(
            names = "--out",
            description = "Folder of cpu.json, cpu.md, roofline.md and the figures; default bench/results.")
    Path out;

    private record Limits(double fmaOne, double fma, double readOne, double read, double copyOne, double copy) {
        static Limits of(Ceilings c, int threads) {
            return new Limits(
                    c.fma(1),
                    c.fma(threads),
                    c.read(1, Ceilings.MEMORY),
                    c.read(threads, Ceilings.MEMORY),
                    c.copy(1, Ceilings.MEMORY),
                    c.copy(threads, Ceilings.MEMORY));
        }

        Limits better(Limits o) {
            return new Limits(
                    Math.max(fmaOne, o.fmaOne),
                    Math.max(fma, o.fma),
                    Math.max(readOne, o.readOne),
                    Math.max(read, o.read),
                    Math.max(copyOne, o.copyOne),
                    Math.max(copy, o.copy));
        }

        String describe(int threads) {
            return String.format(
                    Locale.ROOT,
                    "ceilings with 1 / %d threads: multiply-adds %.0f / %.0f GFLOP/s, reading %.1f / %.1f, copying %.1f / %.1f GB/s",
                    threads,
                    fmaOne,
                    fma,
                    readOne,
                    read,
                    copyOne,
                    copy);
        }
    }

    @Override
    public Integer call() throws Exception {
        int n = threads == 0 ? Runtime.getRuntime().availableProcessors() : threads;
        Path folder = out == null ? root.resolve("bench/results") : out;
        Ceilings ceilings = Ceilings.open();
        Peers peers = new Peers(root);
        for (Part part : parts.isEmpty() ? List.of(Part.values()) : parts) {
            System.err.println(part.name().toLowerCase(Locale.ROOT));
            Noise noise = new Noise();
            Limits before = Limits.of(ceilings, n);
            Section section = switch (part) {
                case MATMUL -> MatmulPart.measure(peers, 1, rounds, before.fmaOne);
                case TRAIN -> TrainPart.measure(peers, n, rounds, before.fma, shapes);
                case THREADS -> ThreadsPart.measure(rounds, shapes);
                case DECODE -> DecodePart.measure(n, rounds, before.read, shapes, types);
                case ESTEP -> EStepPart.measure(n, rounds, shapes);
                case SCALING -> ScalingPart.measure(n, rounds, folder.resolve("cpu-scaling.svg"));
                case ROOFLINE ->
                    Roofline.measure(
                            ceilings,
                            shapes.isEmpty() ? ModelShape.SMALL : shapes.getFirst(),
                            2048,
                            256,
                            rounds,
                            folder.resolve("roofline.svg"));
            };
            Limits limits = before.better(Limits.of(ceilings, n));
            Map<String, Object> tree = section.tree();
            tree.put("command", "bench/cpu.sh " + part.name().toLowerCase(Locale.ROOT) + options());
            tree.put("commit", commit());
            tree.put("when", Instant.now().truncatedTo(ChronoUnit.MINUTES).toString());
            tree.put("machine", machine());
            tree.put("noise", noise.describe());
            tree.put("ceilings", limits);
            tree.put("limits", limits.describe(n));
            String models =
                    String.join(",", shapes.stream().map(ModelShape::label).toList());
            if (!models.isEmpty()) {
                tree.put("title", tree.get("title") + " (" + models + ")");
            }
            write(folder, part, models, tree);
        }
        return 0;
    }

    private String options() {
        StringBuilder options = new StringBuilder();
        options.append(rounds == 5 ? "" : " --rounds " + rounds);
        options.append(threads == 0 ? "" : " --threads " + threads);
        options.append(
                shapes.isEmpty()
                        ? ""
                        : " --shape "
                                + String.join(
                                        ",",
                                        shapes.stream().map(ModelShape::label).toList()));
        return options.toString();
    }

    private String commit() throws IOException, InterruptedException {
        Process git = new ProcessBuilder("git", "-C", root.toString(), "describe", "--always", "--dirty", "--abbrev=7")
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        String said = new String(git.getInputStream().readAllBytes()).strip();
        return git.waitFor() == 0 ? said : "unknown";
    }

    private static String machine() {
        try (Device device = Device.open(Backend.CPU, DeviceOptions.defaults())) {
            return String.format(
                    Locale.ROOT,
                    "%s, %d processors, %.0f GB, kernels for %s built by %s",
                    Noise.processor(),
                    Runtime.getRuntime().availableProcessors(),
                    Noise.memory(),
                    device.info().path(),
                    device.info().build());
        }
    }

    /** Puts the section into cpu.json and writes the pages again. A part of some models stands beside the others; the whole part replaces all. */
    private static void write(Path folder, Part part, String models, Map<String, Object> tree) throws IOException {
        Files.createDirectories(folder);
        Path file = folder.resolve("cpu.json");
        Map<String, Object> all = new LinkedHashMap<>();
        JsonNode known = Files.exists(file) ? JSON.readTree(Files.readString(file)) : JSON.createObjectNode();
        for (Part one : Part.values()) {
            String name = one.name().toLowerCase(Locale.ROOT);
            String own = models.isEmpty() ? name : name + " " + models;
            boolean replaced = one == part && models.isEmpty();
            if (known.has(name) && !replaced) {
                all.put(name, known.get(name));
            }
            for (String key : known.propertyNames()) {
                if (key.startsWith(name + " ") && !replaced) {
                    all.put(key, known.get(key));
                }
            }
            if (one == part) {
                all.put(own, JSON.valueToTree(tree));
            }
        }
        Files.writeString(file, JSON.writeValueAsString(all) + "\n");
        StringBuilder page = new StringBuilder(
                "# The CPU, measured\n\nWritten by `bench/cpu.sh`, which interleaves its rounds: in each, every engine"
                        + " does the same work once, in an order that rotates. Figures are medians over the rounds; a ratio is the median of the"
                        + " rounds' ratios. All values of all rounds are in `cpu.json`. How to get the peers: `bench/peers/README.md`.\n");
        all.forEach((name, section) -> {
            if (!name.startsWith("roofline")) {
                page.append(markdown((JsonNode) section));
            }
        });
        if (all.containsKey("scaling")) {
            page.append("\n![Time against size](cpu-scaling.svg)\n");
        }
        Files.writeString(folder.resolve("cpu.md"), page);
        StringBuilder roofline = new StringBuilder();
        all.forEach(
                (name, section) -> roofline.append(name.startsWith("roofline") ? markdown((JsonNode) section) : ""));
        if (!roofline.isEmpty()) {
            Files.writeString(
                    folder.resolve("roofline.md"),
                    "# Where each kernel stands\n\nWritten by `bench/cpu.sh roofline`. Each kernel was held against a reference in double"
                            + " precision first.\n\n![Kernels under their ceilings](roofline.svg)\n"
                            + roofline);
        }
    }

    private static String markdown(JsonNode section) {
        StringBuilder page = new StringBuilder("\n## " + section.path("title").asString() + "\n\n");
        List<String> columns = new ArrayList<>();
        section.path("columns").forEach(column -> columns.add(column.asString()));
        page.append("| ")
                .append(String.join(" | ", columns))
                .append(" |\n|")
                .append("---|".repeat(columns.size()))
                .append('\n');
        for (JsonNode row : section.path("rows")) {
            List<String> cells = new ArrayList<>();
            row.forEach(cell -> cells.add(cell.asString()));
            page.append("| ").append(String.join(" | ", cells)).append(" |\n");
        }
        page.append('\n');
        for (JsonNode note : section.path("notes")) {
            page.append("- ").append(note.asString()).append('\n');
        }
        page.append(String.format(
                "- `%s`, commit %s, %s. %s.%n- %s; %s.%n",
                section.path("command").asString(),
                section.path("commit").asString(),
                section.path("when").asString(),
                section.path("machine").asString(),
                section.path("limits").asString(),
                section.path("noise").asString()));
        return page.toString();
    }

    /** Runs the command line. */
    public static void main(String[] arguments) {
        System.exit(new CommandLine(new Cpu())
                .setCaseInsensitiveEnumValuesAllowed(true)
                .execute(arguments));
    }
}
