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
import subtext.bindings.DType;
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
                        + " nothing, with flash attention on or off, whichever is faster. `Prompt` is reading one prompt of %d tokens. Reading of"
                        + " memory: %.1f GB/s.",
                PROMPT, TOKENS, LONG_PROMPT, bandwidth);
        if (System.getenv("SUBTEXT_LLAMA_BENCH") == null) {
            section.note("llama.cpp: not installed; see bench/peers/README.md.");
        }
        return section;
    }

    private static void measure(Section section, Model model, DType type, int threads, int rounds, double bandwidth)
            throws IOException {
        Map<String, double[]> ours = new LinkedHashMap<>();
        Map<String, Map<String, double[]>> peers = new HashMap<>();
        List<String> settings = llama(model, type) == null ? List.of() : List.of("on", "off");
        int most = Arrays.stream(model.sequences).max().orElseThrow();
        try (GenerateWork work = new GenerateWork(model.shape, type, threads, LONG_PROMPT + TOKENS);
                Generator generator = work.generator(most, PROMPT, TOKENS);
                Generator reader = work.generator(1, LONG_PROMPT, 1)) {
            work.verify();
            for (int round = -1; round < rounds; round++) {
                for (int turn = 0; turn <= settings.size(); turn++) {
                    int who = Math.floorMod(turn + round, settings.size() + 1);
                    if (who == 0) {
                        for (int n : model.sequences) {
                            long from = System.nanoTime();
                            work.draw(generator, n, PROMPT, TOKENS);
                            put(ours, "" + n, rounds, round, n * TOKENS / ((System.nanoTime() - from) * 1e-9));
                        }
                        long from = System.nanoTime();
                        work.draw(reader, 1, LONG_PROMPT, 1);
                        put(ours, "prompt", rounds, round, LONG_PROMPT / ((System.nanoTime() - from) * 1e-9));
                    } else {
                        String setting = settings.get(who - 1);
                        Map<String, double[]> rates = peers.computeIfAbsent(setting, s -> new HashMap<>());
                        for (JsonNode line : run(llama(model, type), model, setting, threads)) {
                            if (line.path("pp").asInt() == LONG_PROMPT) {
                                put(
                                        rates,
                                        "prompt",
                                        rounds,
                                        round,
                                        line.path("speed_pp").asDouble());
                            } else {
                                String n = "" + line.path("pl").asInt();
                                put(
                                        rates,
                                        n,
                                        rounds,
                                        round,
                                        line.path("speed_tg").asDouble());
                            }
                        }
                    }
                }
            }
            for (Map.Entry<String, double[]> entry : ours.entrySet()) {
                String what = entry.getKey();
                Contest.Result own = new Contest.Result("subtext", entry.getValue());
                Contest.Result best = null;
                for (String setting : settings) {
                    double[] rates = peers.get(setting).get(what);
                    if (rates != null) {
                        Contest.Result one = new Contest.Result("llama.cpp, flash attention " + setting, rates);
                        best = best == null || one.median() > best.median() ? one : best;
                        section.measured(model.file + " " + type + " " + what, one.name(), "tokens/s", rates);
                    }
                }
                section.measured(model.file + " " + type + " " + what, "subtext", "tokens/s", own.rates());
                boolean single = what.equals("1");
                section.row(
                        model.file,
                        type,
                        what,
                        own.median(),
                        single ? Math.round(100 * own.median() * work.weightBytes() * 1e-9 / bandwidth) + " %" : "",
                        best == null ? "not installed" : Section.number(best.median()),
                        best == null ? "" : Section.times(own.over(best)) + " x");
            }
        }
    }

    private static void put(Map<String, double[]> rates, String what, int rounds, int round, double rate) {
        if (round >= 0) {
            rates.computeIfAbsent(what, w -> new double[rounds])[round] = rate;
        }
    }

    /** The model's file, null where bench or file is missing. */
    private static Path llama(Model model, DType type) {
        String bench = System.getenv("SUBTEXT_LLAMA_BENCH");
        String folder = System.getenv("SUBTEXT_GGUF");
        if (bench == null || folder == null) {
            return null;
        }
        Path file = Path.of(folder, "llama-" + model.file + "-" + type.name().toLowerCase() + ".gguf");
        return Files.exists(file) ? file : null;
    }

    private static List<JsonNode> run(Path file, Model model, String flash, int threads) throws IOException {
        List<JsonNode> lines = new ArrayList<>();
        lines.addAll(run(
                file,
                flash,
                threads,
                PROMPT,
                TOKENS,
                String.join(
                        ",",
                        Arrays.stream(model.sequences).mapToObj(String::valueOf).toList())));
        lines.addAll(run(file, flash, threads, LONG_PROMPT, 1, "1"));
        return lines;
    }

    private static List<JsonNode> run(Path file, String flash, int threads, int prompt, int tokens, String sequences)
            throws IOException {
        List<String> words = new ArrayList<>(List.of(System.getenv("SUBTEXT_LLAMA_BENCH"), "-m", file.toString()));
        words.addAll(List.of("-t", "" + threads, "-c", "8192", "-b", "2048", "-ub", "2048"));
        words.addAll(List.of("-npp", "" + prompt, "-ntg", "" + tokens, "-npl", sequences, "--output-format", "jsonl"));
        if (flash.equals("on")) {
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
            throw new IllegalStateException("llama-batched-bench printed no result for " + file);
        }
        return lines;
    }
}
