package subtext.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import subtext.bindings.DType;
import subtext.bindings.Matmul;
import subtext.generate.Generator;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Generation and reading a prompt against llama.cpp's llama-batched-bench, in turns, where it is installed. */
final class DecodePart {
    private static final JsonMapper JSON = JsonMapper.builder().build();
    private static final int PROMPT = 16;
    private static final int TOKENS = 32;
    private static final int LONG_PROMPT = 512;

    private record Model(ModelShape shape, String file, int[] sequences) {}

    private static final List<Model> MODELS = List.of(
            new Model(ModelShape.STORIES15M, "15M", new int[] {1, 8, 32, 64}),
            new Model(ModelShape.STORIES110M, "110M", new int[] {1, 8, 32, 64}),
            new Model(ModelShape.TINYLLAMA, "1.1B", new int[] {1, 8, 32}));

    private DecodePart() {}

    static Section measure(int threads, int rounds, double bandwidth, List<ModelShape> only, List<DType> types)
            throws IOException {
        Section section = new Section(
                "Generation, " + threads + " threads, tokens/s",
                "model",
                "weights",
                "sequences",
                "subtext",
                "of reading the weights",
                "--matmul amx",
                "llama.cpp",
                "subtext is");
        for (Model model : MODELS) {
            if (only.isEmpty() ? model.shape != ModelShape.TINYLLAMA : only.contains(model.shape)) {
                for (DType type : types) {
                    measure(section, model, type, threads, rounds, bandwidth);
                }
            }
        }
        section.note(
                "Each sequence has a prompt of %d tokens of its own and draws %d. Ours includes reading the prompts, drawing and"
                        + " log-probabilities, and gives the same bits as scoring, which was checked; llama.cpp is llama-batched-bench, which draws"
                        + " nothing, with flash attention on or off, and of 16-bit weights with bf16 or f16, whichever is fastest. `Prompt` is reading one prompt of %d tokens. Reading of"
                        + " memory: %.1f GB/s.",
                PROMPT, TOKENS, LONG_PROMPT, bandwidth);
        if (System.getenv("SUBTEXT_LLAMA_BENCH") == null) {
            section.note("llama.cpp: not installed; see bench/peers/README.md.");
        }
        return section;
    }

    private static void measure(Section section, Model model, DType type, int threads, int rounds, double bandwidth)
            throws IOException {
        List<Matmul> units = Units.here();
        List<Ours> ours = new ArrayList<>();
        Map<Setting, Map<String, double[]>> peers = new HashMap<>();
        List<Setting> settings = llama(model, type);
        try {
            for (Matmul unit : units) {
                ours.add(new Ours(model, type, unit, threads));
            }
            int contenders = ours.size() + settings.size();
            for (int round = -1; round < rounds; round++) {
                for (int turn = 0; turn < contenders; turn++) {
                    int who = Math.floorMod(turn + round, contenders);
                    if (who < ours.size()) {
                        ours.get(who).measure(rounds, round);
                        continue;
                    }
                    Setting setting = settings.get(who - ours.size());
                    Map<String, double[]> rates = peers.computeIfAbsent(setting, s -> new HashMap<>());
                    for (JsonNode line : run(setting, model, threads)) {
                        boolean prompt = line.path("pp").asInt() == LONG_PROMPT;
                        String what = prompt ? "prompt" : "" + line.path("pl").asInt();
                        put(
                                rates,
                                what,
                                rounds,
                                round,
                                line.path(prompt ? "speed_pp" : "speed_tg").asDouble());
                    }
                }
            }
            for (String what : ours.getFirst().rates.keySet()) {
                List<Contest.Result> own = new ArrayList<>();
                for (int i = 0; i < units.size(); i++) {
                    own.add(new Contest.Result(
                            Units.name(units.get(i)), ours.get(i).rates.get(what)));
                }
                Contest.Result best = null;
                for (Setting setting : settings) {
                    double[] rates = peers.get(setting).get(what);
                    if (rates != null) {
                        Contest.Result one = new Contest.Result("llama.cpp, " + setting, rates);
                        best = best == null || one.median() > best.median() ? one : best;
                        section.measured(model.file + " " + type + " " + what, one.name(), "tokens/s", rates);
                    }
                }
                own.forEach(result -> section.measured(
                        model.file + " " + type + " " + what, result.name(), "tokens/s", result.rates()));
                Contest.Result peer = best;
                double weights = ours.getFirst().work.weightBytes() * 1e-9;
                section.row(
                        model.file,
                        type,
                        what,
                        own.getFirst().median(),
                        what.equals("1") ? Math.round(100 * own.getFirst().median() * weights / bandwidth) + " %" : "",
                        own.size() > 1 ? own.getLast().median() : "",
                        peer == null ? "not installed" : Section.number(peer.median()),
                        peer == null
                                ? ""
                                : own.stream()
                                        .map(result -> Section.times(result.over(peer)) + " x")
                                        .collect(Collectors.joining(", ")));
            }
        } finally {
            ours.forEach(Ours::close);
        }
    }

    /** Our model on one unit, and what it reached. */
    private static final class Ours implements AutoCloseable {
        private final Model model;
        private final GenerateWork work;
        private final Generator generator;
        private final Generator reader;
        private final Map<String, double[]> rates = new LinkedHashMap<>();

        Ours(Model model, DType type, Matmul unit, int threads) {
            this.model = model;
            work = new GenerateWork(model.shape, type, unit, threads, LONG_PROMPT + TOKENS);
            generator = work.generator(Arrays.stream(model.sequences).max().orElseThrow(), PROMPT, TOKENS);
            reader = work.generator(1, LONG_PROMPT, 1);
            work.verify();
        }

        void measure(int rounds, int round) {
            for (int n : model.sequences) {
                long from = System.nanoTime();
                work.draw(generator, n, PROMPT, TOKENS);
                put(rates, "" + n, rounds, round, n * TOKENS / ((System.nanoTime() - from) * 1e-9));
            }
            long from = System.nanoTime();
            work.draw(reader, 1, LONG_PROMPT, 1);
            put(rates, "prompt", rounds, round, LONG_PROMPT / ((System.nanoTime() - from) * 1e-9));
        }

        @Override
        public void close() {
            reader.close();
            generator.close();
            work.close();
        }
    }

    private static void put(Map<String, double[]> rates, String what, int rounds, int round, double rate) {
        if (round >= 0) {
            rates.computeIfAbsent(what, w -> new double[rounds])[round] = rate;
        }
    }

    /** How llama.cpp is run: with which file and whether with flash attention. */
    private record Setting(Path file, boolean flash) {
        @Override
        public String toString() {
            String name = file.getFileName().toString();
            return name.substring(name.lastIndexOf('-') + 1, name.lastIndexOf('.')) + ", flash attention "
                    + (flash ? "on" : "off");
        }
    }

    /** With every file of the model that has weights of that size; none where bench or files are missing. */
    private static List<Setting> llama(Model model, DType type) {
        String folder = System.getenv("SUBTEXT_GGUF");
        List<Setting> settings = new ArrayList<>();
        if (System.getenv("SUBTEXT_LLAMA_BENCH") != null && folder != null) {
            for (String weights : type == DType.BF16 ? List.of("bf16", "f16") : List.of("f32")) {
                Path file = Path.of(folder, "llama-" + model.file + "-" + weights + ".gguf");
                if (Files.exists(file)) {
                    settings.add(new Setting(file, true));
                    settings.add(new Setting(file, false));
                }
            }
        }
        return settings;
    }

    private static List<JsonNode> run(Setting setting, Model model, int threads) throws IOException {
        String sequences = String.join(
                ",", Arrays.stream(model.sequences).mapToObj(String::valueOf).toList());
        List<JsonNode> lines = new ArrayList<>(run(setting, threads, PROMPT, TOKENS, sequences));
        lines.addAll(run(setting, threads, LONG_PROMPT, 1, "1"));
        return lines;
    }

    private static List<JsonNode> run(Setting setting, int threads, int prompt, int tokens, String sequences)
            throws IOException {
        List<String> words =
                new ArrayList<>(List.of(System.getenv("SUBTEXT_LLAMA_BENCH"), "-m", setting.file.toString()));
        words.addAll(List.of("-t", "" + threads, "-c", "8192", "-b", "2048", "-ub", "2048"));
        words.addAll(List.of("-npp", "" + prompt, "-ntg", "" + tokens, "-npl", sequences, "--output-format", "jsonl"));
        if (setting.flash) {
            words.add("-fa"); // a switch of llama-batched-bench, without a value
        }
        ProcessBuilder builder = new ProcessBuilder(words).redirectError(ProcessBuilder.Redirect.DISCARD);
        // cpu.sh has the threads of libraries sleep between rounds; this process ends with its round, and would be
        // slowed within it
        builder.environment().keySet().removeAll(List.of("OMP_WAIT_POLICY", "KMP_BLOCKTIME"));
        Process process = builder.start();
        List<JsonNode> lines = new ArrayList<>();
        for (String line : new String(process.getInputStream().readAllBytes()).split("\n")) {
            if (line.startsWith("{")) {
                lines.add(JSON.readTree(line));
            }
        }
        if (lines.isEmpty()) {
            throw new IllegalStateException("llama-batched-bench printed no result for " + setting.file);
        }
        return lines;
    }
}
