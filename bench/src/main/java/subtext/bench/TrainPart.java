package subtext.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import subtext.bindings.Matmul;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The training step against PyTorch and libtorch: the same weights, the same tokens, the same losses, in turns. */
final class TrainPart {
    private static final JsonMapper JSON = JsonMapper.builder().build();

    private record Case(ModelShape shape, int sequences, int length, double wanted) {}

    private static final List<Case> CASES = List.of(
            new Case(ModelShape.TINY, 64, 128, 1.5),
            new Case(ModelShape.SMALL, 16, 256, 1.35),
            new Case(ModelShape.GPT124M, 4, 256, 1.3));

    private TrainPart() {}

    /** @param only the shapes wanted, empty for all */
    static Section measure(Peers peers, int threads, int rounds, double ceiling, List<ModelShape> only)
            throws IOException {
        Map<String, Function<Case, Command>> commands = commands(peers, threads);
        Section section = new Section(
                "Training step, f32, AdamW, " + threads + " threads, tokens/s",
                "model",
                "engine",
                "tokens/s",
                "lowest to highest",
                "GFLOP/s",
                "of the ceiling",
                "subtext is",
                "wanted");
        commands.forEach((name, command) -> {
            if (command == null) {
                section.note("%s: not installed; see bench/peers/README.md.", name);
            }
        });
        for (Case one : CASES) {
            if (only.isEmpty() || only.contains(one.shape)) {
                measure(section, one, commands, threads, rounds, ceiling);
            }
        }
        section.note("PyTorch of Debian takes part with the tiny model only: a step takes it half a minute.");
        section.note(
                "Every engine starts from the same weights and sees the same tokens, and the losses of all steps agree to within 0.2 %%. Ours"
                        + " computes the global norm of the gradients in every step, the peers do not clip. FLOP: 6 a parameter and token, and"
                        + " causal attention; the ceiling is multiply-adds from registers, %.0f GFLOP/s. Of two ratios the second is that of"
                        + " --matmul amx, where f32 is multiplied by the matrix unit in three parts of bf16 (native/cpu/amx.h).",
                ceiling);
        return section;
    }

    private record Command(List<String> words, Map<String, String> environment) {}

    private static Map<String, Function<Case, Command>> commands(Peers peers, int threads) {
        Map<String, Function<Case, Command>> commands = new LinkedHashMap<>();
        List<Path> jars = peers.jars("pytorch", "javacpp", "openblas", "mkl");
        Map<String, String> two = Map.of("OMP_NUM_THREADS", "" + threads, "MKL_NUM_THREADS", "" + threads);
        Function<Case, List<String>> libtorch = one -> {
            List<String> words = new ArrayList<>(List.of(
                    Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                    "--enable-native-access=ALL-UNNAMED",
                    "-Xmx4g",
                    "-Dorg.bytedeco.openblas.load=mkl",
                    "-cp",
                    peers.jars() + "/*",
                    peers.script("LibtorchTrain.java").toString(),
                    "FOLDER"));
            for (int size : new int[] {
                one.shape.layers,
                one.shape.width,
                one.shape.heads,
                one.shape.hidden,
                one.shape.vocabulary,
                one.length,
                one.sequences,
                threads
            }) {
                words.add("" + size);
            }
            return words;
        };
        boolean jemalloc = peers.jemalloc().isPresent();
        commands.put(
                "libtorch 2.10 + MKL, jemalloc",
                jars.isEmpty() || !jemalloc
                        ? null
                        : one -> {
                            Map<String, String> tuned = new HashMap<>(two);
                            tuned.put("LD_PRELOAD", peers.jemalloc().get().toString());
                            tuned.put(
                                    "MALLOC_CONF", "dirty_decay_ms:-1,muzzy_decay_ms:-1,metadata_thp:auto,thp:always");
                            return new Command(libtorch.apply(one), tuned);
                        });
        commands.put(
                "libtorch 2.10 + MKL",
                jars.isEmpty() || jemalloc ? null : one -> new Command(libtorch.apply(one), two));
        if (jemalloc) {
            commands.remove("libtorch 2.10 + MKL");
        }
        var python = peers.python();
        commands.put(
                "PyTorch of Debian",
                python.isEmpty()
                        ? null
                        : one -> one.shape != ModelShape.TINY
                                ? null
                                : new Command(
                                        List.of(
                                                python.get(),
                                                peers.script("train_torch.py").toString(),
                                                "--device",
                                                "cpu",
                                                "--dtype",
                                                "f32",
                                                "--no-compile",
                                                "--serve",
                                                "--shape",
                                                one.shape == ModelShape.GPT124M ? "124m" : one.shape.label(),
                                                "--sequences",
                                                "" + one.sequences,
                                                "--length",
                                                "" + one.length,
                                                "--data",
                                                "FOLDER"),
                                        two));
        return commands;
    }

    private static void measure(
            Section section,
            Case one,
            Map<String, Function<Case, Command>> commands,
            int threads,
            int rounds,
            double ceiling)
            throws IOException {
        Path folder = Files.createTempDirectory("subtext-train");
        List<Peer> running = new ArrayList<>();
        List<TrainWork> works = new ArrayList<>();
        try {
            Map<String, List<Double>> losses = new LinkedHashMap<>();
            List<Contest.Contender> contenders = new ArrayList<>();
            for (Matmul unit : Units.here()) {
                TrainWork ours = new TrainWork(one.shape.config(one.length), unit, threads, one.sequences, one.length);
                works.add(ours);
                ours.verify();
                contenders.add(new Contest.Contender(Units.name(unit), () -> {
                    long from = System.nanoTime();
                    double loss = ours.step();
                    double seconds = (System.nanoTime() - from) * 1e-9;
                    losses.computeIfAbsent(Units.name(unit), name -> new ArrayList<>())
                            .add(loss);
                    return ours.rows() / seconds;
                }));
            }
            TrainWork work = works.getFirst();
            work.write(folder);
            commands.forEach((name, command) -> {
                Command c = command == null ? null : command.apply(one);
                if (c != null) {
                    Peer peer = Peer.start(
                            name,
                            c.words().stream()
                                    .map(word -> word.equals("FOLDER") ? folder.toString() : word)
                                    .toList(),
                            c.environment());
                    running.add(peer);
                    contenders.add(new Contest.Contender(name, () -> {
                        JsonNode answer = JSON.readTree(peer.step());
                        losses.computeIfAbsent(name, n -> new ArrayList<>())
                                .add(answer.path("loss").asDouble());
                        return work.rows() / answer.path("seconds").asDouble();
                    }));
                }
            });
            List<Contest.Result> results = Contest.run(contenders, rounds);
            losses.forEach((name, theirs) -> agree(name, losses.get("subtext"), theirs));
            List<Contest.Result> ours = results.subList(0, works.size());
            for (Contest.Result result : results) {
                double flops = result.median() / work.rows() * work.flops() * 1e-9;
                boolean own = ours.contains(result);
                section.row(
                        one.shape.label() + ", " + one.sequences + " x " + one.length,
                        result.name(),
                        result.median(),
                        Section.number(result.low()) + " to " + Section.number(result.high()),
                        flops,
                        Math.round(100 * flops / ceiling) + " %",
                        own
                                ? ""
                                : ours.stream()
                                        .map(unit -> Section.times(unit.over(result)) + " x")
                                        .collect(Collectors.joining(", ")),
                        own || !result.name().startsWith("libtorch") ? "" : one.wanted + " x");
                section.measured(one.shape.label(), result.name(), "tokens/s", result.rates());
            }
        } finally {
            works.forEach(TrainWork::close);
            running.forEach(Peer::close);
            for (String file : List.of("weights.f32", "tokens.i32")) {
                Files.deleteIfExists(folder.resolve(file));
            }
            Files.delete(folder);
        }
    }

    private static void agree(String name, List<Double> ours, List<Double> theirs) {
        for (int i = 0; i < ours.size(); i++) {
            if (!(Math.abs(ours.get(i) - theirs.get(i)) < 2e-3 * ours.get(i))) {
                throw new IllegalStateException(name + " trains another model: losses " + theirs + ", ours " + ours);
            }
        }
    }
}
