package subtext.experiment;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import subtext.bindings.EngineException;
import subtext.evaluate.ChainStudy;
import subtext.evaluate.PageTrend;
import subtext.evaluate.PairedComparison;
import subtext.evaluate.Summary;
import subtext.io.JsonProblem;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * What an experiment found: every arm and baseline with mean and 95 % interval over seeds (Student's t), its difference from the base arm
 * paired by seed, every seed, the trend over K, and the claims of {@link ChainStudy}. The last iteration counts, never the best.
 */
public final class ExperimentReport {
    private static final int BOUND = 8; // of the ELBO that is compared
    private static final int CLAIMED = 3; // iterations that the claims of the study are about
    private static final JsonMapper JSON = JsonMapper.builder().build();

    /** What one arm gave for one seed: accuracy and bound by iteration; NaN where not measured. */
    private record Path(List<Double> accuracy, List<Double> bound) {
        double last() {
            return accuracy.isEmpty() ? Double.NaN : accuracy.getLast();
        }

        double lastBound() {
            return bound.isEmpty() ? Double.NaN : bound.getLast();
        }
    }

    private record Row(String name, String question, Map<Long, Path> bySeed) {}

    private final List<Row> rows = new ArrayList<>();
    private final SortedSet<Long> seeds = new TreeSet<>();
    private final Map<Integer, Row> bySamples = new TreeMap<>();
    private final Optional<ChainStudy> study;

    private ExperimentReport(Map<Arm, JsonNode> reports) {
        List<ChainStudy.Run> claimed = new ArrayList<>();
        Map<String, Row> baselines = new LinkedHashMap<>();
        reports.forEach((arm, report) -> {
            Row row = new Row(arm.name(), arm.question(), new TreeMap<>());
            for (JsonNode seed : report.path("seeds")) {
                long id = seed.path("seed").asLong();
                seeds.add(id);
                List<Double> accuracy = new ArrayList<>();
                List<Double> bound = new ArrayList<>();
                for (JsonNode iteration : seed.path("iterations")) {
                    accuracy.add(number(iteration.path("accuracy")));
                    bound.add(number(iteration.path("elbo").path(String.valueOf(BOUND))));
                }
                row.bySeed().put(id, new Path(accuracy, bound));
                for (JsonNode baseline : seed.path("baselines")) {
                    String name = baseline.path("name").asString();
                    String label = arm.name().equals(ChainExperiment.BASE) ? name : name + " (" + arm.name() + ")";
                    baselines
                            .computeIfAbsent(label, l -> new Row(l, "baseline", new TreeMap<>()))
                            .bySeed()
                            .put(
                                    id,
                                    new Path(
                                            List.of(number(baseline.path("accuracy"))),
                                            List.of(
                                                    baseline.has("nll")
                                                            ? -number(baseline.path("nll"))
                                                            : number(baseline.path("elbo")
                                                                    .path(String.valueOf(BOUND))))));
                }
            }
            boolean onlyBaselines = row.bySeed().values().stream()
                    .allMatch(path -> path.accuracy().size() < 2);
            if (!onlyBaselines) {
                rows.add(row);
            }
            samples(arm).ifPresent(k -> {
                bySamples.put(k, row);
                claimed.add(new ChainStudy.Run(k, cut(report)));
            });
        });
        rows.addAll(baselines.values());
        study = claimed.isEmpty() ? Optional.empty() : Optional.of(new ChainStudy(claimed));
    }

    /**
     * The report of some arms.
     *
     * @param reports what {@code em --json} printed, by arm, in the order in which the report shows them
     * @return the figures of all arms, put side by side
     * @throws EngineException.InvalidInput if there are none
     * @throws EngineException.CorruptFile if one is not JSON, naming its arm
     */
    public static ExperimentReport of(Map<Arm, String> reports) {
        if (reports.isEmpty()) {
            throw new EngineException.InvalidInput("experiment: no arm is finished yet, so there is nothing to report");
        }
        Map<Arm, JsonNode> trees = new LinkedHashMap<>();
        reports.forEach((arm, text) -> {
            try {
                trees.put(arm, JSON.readTree(text));
            } catch (JacksonException e) {
                throw new EngineException.CorruptFile(
                        "report of arm " + arm.name() + ": not JSON: " + JsonProblem.of(e), e);
            }
        });
        return new ExperimentReport(trees);
    }

    /** K of an arm that differs from the base in nothing else; empty for the others. */
    private static Optional<Integer> samples(Arm arm) {
        if (arm.name().equals(ChainExperiment.BASE)) {
            return Optional.of(4);
        }
        return arm.settings().size() == 1 && arm.settings().containsKey("em.samples")
                ? Optional.of(Integer.valueOf(arm.settings().get("em.samples")))
                : Optional.empty();
    }

    /** The claims were fixed for three iterations: what came later is left out. */
    private static JsonNode cut(JsonNode report) {
        JsonNode copy = report.deepCopy();
        for (JsonNode seed : copy.path("seeds")) {
            if (seed.path("iterations") instanceof ArrayNode iterations) {
                while (iterations.size() > CLAIMED + 1) {
                    iterations.remove(iterations.size() - 1);
                }
            }
        }
        return copy;
    }

    private static double number(JsonNode node) {
        return node.isNumber() ? node.asDouble() : Double.NaN;
    }

    // ---- statistics

    /** Mean over the seeds that were measured. */
    private static Optional<Summary> mean(Row row, java.util.function.ToDoubleFunction<Path> value) {
        double[] values = row.bySeed().values().stream()
                .mapToDouble(value)
                .filter(v -> !Double.isNaN(v))
                .toArray();
        return values.length == 0 ? Optional.empty() : Optional.of(Summary.of(values));
    }

    /** A row against the base, over the seeds that both have. */
    private Optional<PairedComparison> against(Row row, java.util.function.ToDoubleFunction<Path> value) {
        Row base = bySamples.get(4);
        if (base == null || row == base) {
            return Optional.empty();
        }
        List<Long> both = seeds.stream()
                .filter(seed -> row.bySeed().containsKey(seed) && base.bySeed().containsKey(seed))
                .filter(seed -> !Double.isNaN(value.applyAsDouble(row.bySeed().get(seed)))
                        && !Double.isNaN(value.applyAsDouble(base.bySeed().get(seed))))
                .toList();
        return both.isEmpty()
                ? Optional.empty()
                : Optional.of(PairedComparison.of(
                        both.stream()
                                .mapToDouble(
                                        seed -> value.applyAsDouble(row.bySeed().get(seed)))
                                .toArray(),
                        both.stream()
                                .mapToDouble(seed ->
                                        value.applyAsDouble(base.bySeed().get(seed)))
                                .toArray()));
    }

    private record Trend(List<Integer> samples, List<Double> means, int seeds, OptionalDouble pValue) {}

    /** Accuracy at iteration 1 by K, over the seeds that all K have. */
    private Optional<Trend> trend() {
        List<Long> complete = seeds.stream()
                .filter(seed -> bySamples.values().stream()
                        .allMatch(row -> row.bySeed().containsKey(seed)
                                && row.bySeed().get(seed).accuracy().size() > 1))
                .toList();
        if (bySamples.size() < 2 || complete.isEmpty()) {
            return Optional.empty();
        }
        double[][] values = complete.stream()
                .map(seed -> bySamples.values().stream()
                        .mapToDouble(row -> row.bySeed().get(seed).accuracy().get(1))
                        .toArray())
                .toArray(double[][]::new);
        List<Double> means = new ArrayList<>();
        for (int k = 0; k < bySamples.size(); k++) {
            double sum = 0;
            for (double[] row : values) {
                sum += row[k];
            }
            means.add(sum / values.length);
        }
        return Optional.of(new Trend(
                List.copyOf(bySamples.keySet()),
                means,
                complete.size(),
                OptionalDouble.of(PageTrend.of(values).pValue())));
    }

    // ---- output

    /** {@return Markdown: arms, every seed, the trend over K, the claims} Nats are per document. */
    public String toMarkdown() {
        StringBuilder out = new StringBuilder();
        out.append(
                        "Accuracy by iteration is a mean over seeds; the last is given with its 95 % interval over seeds, and as difference")
                .append(" from `")
                .append(ChainExperiment.BASE)
                .append(
                        "`, paired by seed; above: in how many seeds, and the one-sided sign test. Bounds and log-likelihoods in nats per document.\n\n");
        out.append(
                "| arm | asks | accuracy by iteration | last | difference | above | ELBO_8 or -NLL | difference |\n");
        out.append("|---|---|---|---|---|---|---|---|\n");
        for (Row row : rows) {
            Optional<PairedComparison> accuracy = against(row, Path::last);
            Optional<PairedComparison> bound = against(row, Path::lastBound);
            out.append("| ")
                    .append(String.join(
                            " | ",
                            row.name(),
                            row.question(),
                            curve(row),
                            mean(row, Path::last)
                                    .map(ExperimentReport::interval)
                                    .orElse("–"),
                            accuracy.map(c -> signed(c.difference())).orElse("–"),
                            accuracy.map(ExperimentReport::wins).orElse("–"),
                            mean(row, Path::lastBound)
                                    .map(ExperimentReport::interval)
                                    .orElse("–"),
                            bound.map(c -> signed(c.difference())).orElse("–")))
                    .append(" |\n");
        }
        out.append("\nEvery seed, accuracy by iteration:\n\n| arm |");
        seeds.forEach(seed -> out.append(" seed ").append(seed).append(" |"));
        out.append("\n|---|").append("---|".repeat(seeds.size())).append('\n');
        for (Row row : rows) {
            out.append("| ").append(row.name()).append(" |");
            for (long seed : seeds) {
                Path path = row.bySeed().get(seed);
                out.append(' ')
                        .append(
                                path == null
                                        ? "–"
                                        : path.accuracy().stream()
                                                .map(ExperimentReport::plain)
                                                .collect(Collectors.joining(" ")))
                        .append(" |");
            }
            out.append('\n');
        }
        steps(out);
        trend().ifPresent(trend -> out.append("\nAccuracy at iteration 1 by K = ")
                .append(trend.samples())
                .append(": ")
                .append(trend.means().stream().map(ExperimentReport::plain).collect(Collectors.joining(" ")))
                .append(String.format(
                        Locale.ROOT,
                        "; Page's trend test over %d seeds, p = %.2g.%n",
                        trend.seeds(),
                        trend.pValue().getAsDouble())));
        study.ifPresent(s -> {
            out.append("\nThe claims, fixed beforehand for iterations 0 to ")
                    .append(CLAIMED)
                    .append(":\n\n| claim | verdict | figures |\n|---|---|---|\n");
            s.criteria()
                    .forEach(c -> out.append("| ")
                            .append(String.join(
                                    " | ",
                                    c.claim(),
                                    c.verdict().name().toLowerCase(Locale.ROOT).replace('_', ' '),
                                    c.figures()))
                            .append(" |\n"));
        });
        return out.toString();
    }

    /** From iteration to iteration: in how many seeds accuracy rose. */
    private void steps(StringBuilder out) {
        int longest = rows.stream()
                .flatMap(row -> row.bySeed().values().stream())
                .mapToInt(path -> path.accuracy().size())
                .max()
                .orElse(0);
        if (longest < 2) {
            return;
        }
        out.append(
                "\nSeeds whose accuracy rises from one iteration to the next, and the one-sided sign test:\n\n| arm |");
        for (int t = 0; t + 1 < longest; t++) {
            out.append(' ').append(t).append(" to ").append(t + 1).append(" |");
        }
        out.append("\n|---|").append("---|".repeat(longest - 1)).append('\n');
        for (Row row : rows) {
            if (row.bySeed().values().stream().noneMatch(path -> path.accuracy().size() > 1)) {
                continue;
            }
            out.append("| ").append(row.name()).append(" |");
            for (int t = 0; t + 1 < longest; t++) {
                out.append(' ')
                        .append(step(row, t).map(ExperimentReport::wins).orElse("–"))
                        .append(" |");
            }
            out.append('\n');
        }
    }

    /** Accuracy after an iteration against that before it, over the seeds that have both. */
    private static Optional<PairedComparison> step(Row row, int before) {
        List<Path> both = row.bySeed().values().stream()
                .filter(path -> path.accuracy().size() > before + 1)
                .filter(path -> !Double.isNaN(path.accuracy().get(before))
                        && !Double.isNaN(path.accuracy().get(before + 1)))
                .toList();
        return both.isEmpty()
                ? Optional.empty()
                : Optional.of(PairedComparison.of(
                        both.stream()
                                .mapToDouble(path -> path.accuracy().get(before + 1))
                                .toArray(),
                        both.stream()
                                .mapToDouble(path -> path.accuracy().get(before))
                                .toArray()));
    }

    private static String wins(PairedComparison c) {
        return String.format(
                Locale.ROOT, "%d of %d, p = %.2g", c.wins(), c.wins() + c.losses() + c.ties(), c.signTest());
    }

    /** {@return the same as one JSON object} A value not measured is null. */
    public String toJson() {
        ObjectNode root = JSON.createObjectNode();
        root.put("base", ChainExperiment.BASE);
        ArrayNode ids = root.putArray("seeds");
        seeds.forEach(ids::add);
        ArrayNode list = root.putArray("arms");
        for (Row row : rows) {
            ObjectNode node = list.addObject().put("name", row.name()).put("asks", row.question());
            ArrayNode perSeed = node.putArray("perSeed");
            row.bySeed().forEach((seed, path) -> {
                ObjectNode one = perSeed.addObject().put("seed", seed);
                ArrayNode accuracy = one.putArray("accuracy");
                path.accuracy().forEach(v -> accuracy.add(finite(v)));
                ArrayNode bound = one.putArray("bound");
                path.bound().forEach(v -> bound.add(finite(v)));
            });
            ArrayNode rises = node.putArray("rises");
            for (int t = 0; step(row, t).isPresent(); t++) {
                PairedComparison c = step(row, t).get();
                rises.addObject()
                        .put("from", t)
                        .put("wins", c.wins())
                        .put("losses", c.losses())
                        .put("signTest", c.signTest());
            }
            mean(row, Path::last).ifPresent(s -> put(node.putObject("accuracy"), s));
            mean(row, Path::lastBound).ifPresent(s -> put(node.putObject("bound"), s));
            against(row, Path::last)
                    .ifPresent(c -> put(node.putObject("accuracyDifference"), c.difference())
                            .put("wins", c.wins())
                            .put("signTest", c.signTest()));
            against(row, Path::lastBound)
                    .ifPresent(c -> put(node.putObject("boundDifference"), c.difference())
                            .put("wins", c.wins()));
        }
        trend().ifPresent(trend -> {
            ObjectNode node = root.putObject("trend").put("seeds", trend.seeds());
            ArrayNode samples = node.putArray("samples");
            trend.samples().forEach(samples::add);
            ArrayNode means = node.putArray("accuracyAtIteration1");
            trend.means().forEach(means::add);
            node.put("pValue", trend.pValue().getAsDouble());
        });
        study.ifPresent(s -> {
            ArrayNode claims = root.putArray("claims");
            s.criteria()
                    .forEach(c -> claims.addObject()
                            .put("claim", c.claim())
                            .put("verdict", c.verdict().name())
                            .put("figures", c.figures()));
        });
        return JSON.writeValueAsString(root);
    }

    private static ObjectNode put(ObjectNode node, Summary summary) {
        return node.put("n", summary.n()).put("mean", finite(summary.mean())).put("half95", finite(summary.half95()));
    }

    private static String curve(Row row) {
        int longest = row.bySeed().values().stream()
                .mapToInt(path -> path.accuracy().size())
                .max()
                .orElse(0);
        List<String> means = new ArrayList<>();
        for (int t = 0; t < longest; t++) {
            int iteration = t;
            means.add(mean(
                            row,
                            path -> iteration < path.accuracy().size()
                                    ? path.accuracy().get(iteration)
                                    : Double.NaN)
                    .map(s -> plain(s.mean()))
                    .orElse("–"));
        }
        return String.join(" ", means);
    }

    private static Double finite(double value) {
        return Double.isFinite(value) ? value : null;
    }

    private static String plain(double value) {
        return Double.isNaN(value) ? "–" : String.format(Locale.ROOT, "%.3f", value);
    }

    private static String interval(Summary s) {
        return s.n() == 1 ? plain(s.mean()) : String.format(Locale.ROOT, "%.3f ± %.3f", s.mean(), s.half95());
    }

    private static String signed(Summary s) {
        return s.n() == 1
                ? String.format(Locale.ROOT, "%+.3f", s.mean())
                : String.format(Locale.ROOT, "%+.3f ± %.3f", s.mean(), s.half95());
    }
}
