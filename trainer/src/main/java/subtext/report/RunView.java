package subtext.report;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import subtext.bindings.EngineException;
import subtext.em.EmPlan;
import subtext.em.EmReport;
import subtext.em.LatentPart;
import subtext.em.LatentRecord;
import subtext.em.LogWeights;
import subtext.em.ScoredSample;
import subtext.em.TrainRun;
import subtext.em.Weighting;
import subtext.evaluate.Warning;
import subtext.io.JsonProblem;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.MapperFeature;
import tools.jackson.databind.json.JsonMapper;

/**
 * A run as it stands on disk, finished or under way: what a page is made of. Only finished stages have results; what is under way
 * comes from the last lines of the metrics.
 *
 * @param root folder of the run
 * @param config resolved settings
 * @param provenance what computed it, values by name
 * @param seeds in the order of the settings
 * @param warnings figures that left their range, a line each
 * @param fired the iterations, of any seed, by the kind of the warnings that they raised
 * @param notices other lines told during the run
 * @param now what is being done, in words; empty when the run is finished
 * @param wallSeconds time of the process that finished the run; empty before
 * @param sittings processes that worked at it: one more than it was resumed
 * @param training present for a training without EM
 */
public record RunView(
        Path root,
        RunConfig config,
        Map<String, String> provenance,
        List<SeedView> seeds,
        List<String> warnings,
        Map<String, SortedSet<Integer>> fired,
        List<String> notices,
        Optional<String> now,
        Optional<Double> wallSeconds,
        int sittings,
        Optional<Training> training) {
    /**
     * A training without EM.
     *
     * @param on what it trains on
     * @param finished its figures; empty while it is under way
     */
    public record Training(TrainRun.On on, Optional<TrainRun.Finished> finished) {}

    /**
     * What there is of one seed so far.
     *
     * @param seed one of the settings' list
     * @param iterations those measured so far, the warm start first
     * @param baselines those measured so far
     * @param curves training loss by stage, in the order the stages began
     * @param shown the same few chunks with all their thoughts, by the iteration whose E-step drew them
     * @param draws of each E-step of the corpus that has thoughts on disk, by iteration
     */
    public record SeedView(
            long seed,
            List<EmReport.Iteration> iterations,
            List<EmReport.Baseline> baselines,
            Map<String, List<Step>> curves,
            TreeMap<Integer, List<EmReport.Shown>> shown,
            TreeMap<Integer, Histograms> draws) {}

    /**
     * One line of training metrics.
     *
     * @param step number of the step, from 1; one that the spike guard did not take counts too
     * @param loss mean over the step's predicted tokens, nats
     * @param gradientNorm global L2 norm, before it is clipped
     * @param learningRate of this step
     * @param tokensPerSecond predicted tokens
     */
    public record Step(int step, double loss, double gradientNorm, double learningRate, double tokensPerSecond) {}

    /**
     * What the thoughts on disk look like, a number per chunk or per thought.
     *
     * @param essShare ESS/K by chunk
     * @param topWeight largest normalised weight by chunk
     * @param proposedLength tokens by finished thought
     * @param chosenLength tokens by chosen thought
     * @param parts files read
     * @param partsThere files there
     */
    public record Histograms(
            double[] essShare,
            double[] topWeight,
            double[] proposedLength,
            double[] chosenLength,
            int parts,
            int partsThere) {}

    /** Files of thoughts that are read per E-step: some ten thousand chunks draw a histogram as well as all. */
    private static final int MOST_PARTS = 12;

    private static final JsonMapper JSON = JsonMapper.builder()
            .disable(MapperFeature.SORT_PROPERTIES_ALPHABETICALLY)
            .build();

    /**
     * Reads a run folder.
     *
     * @param root folder of a run, finished or not; nothing in it is changed
     * @return what is there now
     * @throws EngineException.InvalidInput if it is no run
     * @throws EngineException.CorruptFile if a file of it is damaged
     * @throws IOException if a file cannot be read
     */
    public static RunView read(Path root) throws IOException {
        RunConfig config = RunDirectory.storedConfig(root);
        Map<String, String> provenance = new LinkedHashMap<>();
        JsonNode run = JSON.readTree(Files.readString(root.resolve("run.json")));
        run.path("provenance")
                .properties()
                .forEach(e -> provenance.put(
                        e.getKey(),
                        e.getValue().isString()
                                ? e.getValue().asString()
                                : e.getValue().toString()));
        Metrics metrics = Metrics.read(root.resolve("metrics.jsonl"));
        List<SeedView> seeds = new ArrayList<>();
        for (long seed : config.seeds()) {
            Path folder = root.resolve("seeds").resolve(Long.toString(seed));
            if (Files.isDirectory(folder)) {
                seeds.add(seed(seed, folder, config, metrics));
            }
        }
        Optional<Double> wall = metrics.wallSeconds;
        return new RunView(
                root,
                config,
                provenance,
                List.copyOf(seeds),
                List.copyOf(metrics.warnings),
                metrics.fired,
                List.copyOf(metrics.notices),
                wall.isPresent() ? Optional.empty() : Optional.of(metrics.now.isEmpty() ? "starting" : metrics.now),
                wall,
                metrics.sittings,
                training(root, config));
    }

    private static Optional<Training> training(Path root, RunConfig config) throws IOException {
        Optional<TrainRun.On> on = TrainRun.On.find(root);
        if (on.isEmpty()) {
            return Optional.empty();
        }
        Path seed = root.resolve("seeds").resolve(Long.toString(config.seeds().getFirst()));
        return Optional.of(new Training(on.get(), result(on.get().folder(seed), TrainRun.Finished.class)));
    }

    private static SeedView seed(long seed, Path folder, RunConfig config, Metrics metrics) throws IOException {
        List<EmReport.Iteration> iterations = new ArrayList<>();
        TreeMap<Integer, List<EmReport.Shown>> shown = new TreeMap<>();
        EmPlan plan = EmPlan.of(config);
        Weighting weighting = plan.weighting();
        TreeMap<Integer, Histograms> draws = new TreeMap<>();
        for (int i = 0; i <= config.em().iterations(); i++) {
            Path stage = folder.resolve("iterations").resolve(String.format("%02d", i));
            result(stage, EmReport.Iteration.class).ifPresent(iterations::add);
            List<Path> parts = parts(stage.resolve("latents"));
            if (!parts.isEmpty()) {
                draws.put(i, histograms(parts, weighting));
            }
            Path fixed = stage.resolve(EmReport.SHOWN);
            if (Files.exists(fixed)) {
                shown.put(i, List.of(parse(fixed, EmReport.Shown[].class)));
            }
        }
        List<EmReport.Baseline> baselines = new ArrayList<>();
        for (String name : config.baselines()) {
            Optional<EmReport.Baseline> row =
                    result(folder.resolve("baselines").resolve(name), EmReport.Baseline.class);
            if (row.isEmpty() && name.equals("warm-step-match") && !iterations.isEmpty()) {
                // known before the baselines' turn, and in runs of before its row was written
                row = EmReport.Baseline.ofWarmStart(plan, iterations.getFirst());
            }
            row.ifPresent(baselines::add);
        }
        return new SeedView(seed, iterations, baselines, metrics.curves.getOrDefault(seed, Map.of()), shown, draws);
    }

    private static <T> Optional<T> result(Path stage, Class<T> type) throws IOException {
        return Files.exists(stage.resolve(RunDirectory.DONE))
                ? Optional.of(parse(stage.resolve("result.json"), type))
                : Optional.empty();
    }

    private static <T> T parse(Path file, Class<T> type) throws IOException {
        try {
            return JSON.readValue(Files.readString(file), type);
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(file + ": " + JsonProblem.of(e), e);
        }
    }

    private static List<Path> parts(Path folder) throws IOException {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> file.getFileName().toString().matches("part-\\d+\\.jsonl"))
                    .sorted()
                    .toList();
        }
    }

    private static Histograms histograms(List<Path> parts, Weighting weighting) throws IOException {
        List<Double> ess = new ArrayList<>();
        List<Double> top = new ArrayList<>();
        List<Double> proposed = new ArrayList<>();
        List<Double> chosen = new ArrayList<>();
        int read = Math.min(parts.size(), MOST_PARTS);
        for (int p = 0; p < read; p++) {
            // spread over all parts, so that a late one counts as an early one does
            for (LatentRecord record : LatentPart.read(parts.get((int) ((long) p * parts.size() / read)), null)) {
                LogWeights weights = weighting.of(record.samples());
                double[] share = weights.normalised();
                double largest = 0;
                for (double s : share) {
                    largest = Math.max(largest, s);
                }
                ess.add(weights.ess() / weights.size());
                top.add(largest);
                for (ScoredSample sample : record.samples()) {
                    if (sample.finished()) {
                        proposed.add((double) sample.thought().size());
                    }
                }
                if (record.chosen() >= 0) {
                    chosen.add((double)
                            record.samples().get(record.chosen()).thought().size());
                }
            }
        }
        return new Histograms(array(ess), array(top), array(proposed), array(chosen), read, parts.size());
    }

    private static double[] array(List<Double> values) {
        return values.stream().mapToDouble(Double::doubleValue).toArray();
    }

    /** The lines of {@code metrics.jsonl}; a last line that is still being written is left out. */
    private static final class Metrics {
        final Map<Long, Map<String, List<Step>>> curves = new LinkedHashMap<>();
        final Set<String> warnings = new LinkedHashSet<>(); // told again after a resume
        final Map<String, SortedSet<Integer>> fired = new TreeMap<>();
        final Set<String> notices = new LinkedHashSet<>();
        String now = "";
        long total;
        Optional<Double> wallSeconds = Optional.empty();
        int sittings;

        static Metrics read(Path file) throws IOException {
            Metrics metrics = new Metrics();
            if (!Files.exists(file)) {
                return metrics;
            }
            for (String line : Files.readAllLines(file)) {
                JsonNode event;
                try {
                    event = JSON.readTree(line);
                } catch (JacksonException e) {
                    continue;
                }
                metrics.take(event);
            }
            return metrics;
        }

        private static String rate(double tokensPerSecond) {
            return String.format(Locale.ROOT, ", %,d tokens/s", Math.round(tokensPerSecond));
        }

        private void take(JsonNode event) {
            String seed = "seed " + event.path("seed").asLong() + ", ";
            switch (event.path("event").asString("")) {
                case "run" -> {
                    wallSeconds = Optional.empty();
                    sittings++;
                }
                case "stage" -> {
                    now = seed + event.path("stage").asString();
                    total = event.path("total").asLong();
                }
                case "step" -> {
                    Step step = new Step(
                            event.path("step").asInt(),
                            event.path("loss").asDouble(),
                            event.path("gradientNorm").asDouble(),
                            event.path("learningRate").asDouble(),
                            event.path("tokensPerSecond").asDouble());
                    List<Step> curve = curves.computeIfAbsent(event.path("seed").asLong(), s -> new LinkedHashMap<>())
                            .computeIfAbsent(event.path("stage").asString(), s -> new ArrayList<>());
                    curve.removeIf(old -> old.step() >= step.step()); // told again after a resume
                    curve.add(step);
                    now = seed + event.path("stage").asString() + ", step " + step.step() + " of " + total
                            + rate(step.tokensPerSecond());
                }
                case "latents" ->
                    now = seed + "iteration " + event.path("iteration").asInt() + ": E-step, part "
                            + (event.path("part").asInt() + 1) + " of " + total
                            + rate(event.path("tokensPerSecond").asDouble());
                case "notice" -> notices.add(event.path("line").asString());
                case "warning" -> {
                    fired.computeIfAbsent(event.path("kind").asString(""), k -> new TreeSet<>())
                            .add(event.path("iteration").asInt());
                    warnings.add(seed + "iteration " + event.path("iteration").asInt() + ": "
                            + (event.path("level").asString("").equals(Warning.Level.SERIOUS.name())
                                    ? Warning.Level.SERIOUS.label() + ": "
                                    : "")
                            + event.path("line").asString());
                }
                case "finished" ->
                    wallSeconds = Optional.of(event.path("wallSeconds").asDouble());
                default -> {}
            }
        }
    }
}
