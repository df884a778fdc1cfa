package subtext.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import subtext.bindings.EngineException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The study of the chain world: several seeds, K = 1, 2, 4, 8 and the baselines, put side by side and held against criteria whose
 * thresholds stand here, fixed before any run. Every seed is shown; the last iteration counts, never the best.
 *
 * <p>Input are the objects that {@code em --json} prints, each with the K it was run with. Seeds pair the arms: of one seed, world, data
 * and initial weights are the same in all of them.
 */
public final class ChainStudy {
    private static final int K = 4; // the K the claims are about
    private static final int BOUND = 8; // of the ELBO that is compared with raw models
    private static final List<Integer> ORDERED = List.of(1, 2, 4, 8);
    private static final int SEEDS = 5;
    private static final double SHARE_IMPROVING = 0.8; // 4 of 5
    private static final double FINAL_ACCURACY = 0.75;
    private static final double ORACLE = 0.99;
    private static final double STANDARD_ERRORS = 2;
    private static final List<String> TO_BEAT = List.of("raw-total-flop-match", "raw-plus-teacher", "warm-step-match");
    private static final String WARM = "warm-step-match";
    private static final JsonMapper JSON = JsonMapper.builder().build();

    /**
     * One run.
     *
     * @param samples K of its E-step
     * @param report what {@code em --json} printed
     */
    public record Run(int samples, JsonNode report) {
        /**
         * {@return a run whose report is read from its text}
         *
         * @param samples K of its E-step
         * @param json what {@code em --json} printed
         * @throws tools.jackson.core.JacksonException if that is not JSON
         */
        public static Run of(int samples, String json) {
            return new Run(samples, JSON.readTree(json));
        }
    }

    /** Whether a claim holds. */
    public enum Verdict {
        /** Every figure the claim speaks of is there and keeps its threshold. */
        HOLDS,
        /** The figures are there and miss the threshold. */
        FAILS,
        /** A run, a seed or an arm that the claim speaks of is missing. */
        NOT_DECIDED
    }

    /**
     * A claim held against the runs.
     *
     * @param claim in words, with its threshold
     * @param verdict whether it holds
     * @param figures what it rests on
     */
    public record Criterion(String claim, Verdict verdict, String figures) {}

    /** One arm of one seed. NaN stands for what was not measured. */
    private record Arm(double accuracy, double bound, double nll) {}

    /** What one seed gave: by K, the iterations; by name, the baselines of the run with K = 4 or, where it has none, of another. */
    private record Seed(Map<Integer, List<Arm>> iterations, Map<String, Arm> baselines) {}

    private final SortedMap<Long, Seed> seeds = new TreeMap<>();
    private final SortedSet<Integer> samples = new TreeSet<>();
    private final List<String> baselineNames = new ArrayList<>();

    /**
     * Takes the reports of all runs, one for each K and seed.
     *
     * @param runs at least one, in any order; where several hold the same baseline of a seed, the one with K = 4 counts
     * @throws EngineException.InvalidInput if a report lacks what the contract names, or holds a seed twice for one K, or no report has a
     *     seed
     */
    public ChainStudy(List<Run> runs) {
        // the run the claims are about comes first, so that its baselines are the ones kept
        runs.stream().filter(run -> run.samples() == K).forEach(this::add);
        runs.stream().filter(run -> run.samples() != K).forEach(this::add);
        if (seeds.isEmpty()) {
            throw new EngineException.InvalidInput("study: expected at least one report with a seed, got none");
        }
    }

    private void add(Run run) {
        samples.add(run.samples());
        for (JsonNode node : required(run.report(), "seeds", "report")) {
            long id = required(node, "seed", "report").asLong();
            Seed seed = seeds.computeIfAbsent(id, s -> new Seed(new TreeMap<>(), new LinkedHashMap<>()));
            List<Arm> iterations = new ArrayList<>();
            for (JsonNode iteration : required(node, "iterations", "seed " + id)) {
                iterations.add(arm(iteration));
            }
            if (seed.iterations().putIfAbsent(run.samples(), List.copyOf(iterations)) != null) {
                throw new EngineException.InvalidInput(
                        "study: seed " + id + " is there twice for K = " + run.samples() + "; give each run once");
            }
            JsonNode baselines = node.get("baselines");
            if (baselines != null) {
                for (JsonNode baseline : baselines) {
                    String name =
                            required(baseline, "name", "baseline of seed " + id).asString();
                    seed.baselines().putIfAbsent(name, arm(baseline));
                    if (!baselineNames.contains(name)) {
                        baselineNames.add(name);
                    }
                }
            }
        }
    }

    private static Arm arm(JsonNode node) {
        JsonNode elbo = node.get("elbo");
        return new Arm(
                number(node.get("accuracy")),
                elbo == null ? Double.NaN : number(elbo.get(String.valueOf(BOUND))),
                number(node.get("nll")));
    }

    private static double number(JsonNode node) {
        return node == null || !node.isNumber() ? Double.NaN : node.asDouble();
    }

    private static JsonNode required(JsonNode node, String field, String where) {
        JsonNode value = node.get(field);
        if (value == null || value.isNull()) {
            throw new EngineException.InvalidInput(
                    "study: " + where + " has no '" + field + "'; is it the object of em --json?");
        }
        return value;
    }

    // ---- criteria
    // --------------------------------------------------------------------------------------------------------------

    /** {@return every claim with its verdict, in a fixed order} */
    public List<Criterion> criteria() {
        List<Criterion> criteria = new ArrayList<>();
        criteria.add(risesEveryIteration());
        criteria.add(finalAccuracy());
        TO_BEAT.forEach(name -> criteria.add(beats(name)));
        criteria.add(boundBeatsRaw());
        criteria.add(oneSampleGainsNothing());
        criteria.add(ordered());
        criteria.add(oracle());
        return List.copyOf(criteria);
    }

    /** {@return whether every claim holds; one that is not decided does not} */
    public boolean passes() {
        return criteria().stream().allMatch(criterion -> criterion.verdict() == Verdict.HOLDS);
    }

    private Criterion risesEveryIteration() {
        String claim = "K=4: accuracy rises at every iteration in at least 4 of 5 seeds";
        List<List<Arm>> chains = chains(K);
        if (chains.size() < SEEDS || chains.stream().anyMatch(chain -> chain.size() < 2)) {
            return undecided(claim, chains.size() + " of " + SEEDS + " seeds");
        }
        long rising = chains.stream().filter(ChainStudy::rises).count();
        int steps = chains.stream().mapToInt(List::size).min().orElseThrow() - 1;
        List<String> perStep = new ArrayList<>();
        for (int t = 0; t < steps; t++) {
            int step = t;
            PairedComparison change = compare(
                    chains,
                    chain -> chain.get(step + 1).accuracy(),
                    chain -> chain.get(step).accuracy());
            perStep.add(String.format(
                    Locale.ROOT,
                    "%d→%d: %d of %d, sign test p %.3f",
                    t,
                    t + 1,
                    change.wins(),
                    chains.size(),
                    change.signTest()));
        }
        return decide(
                claim,
                rising >= Math.ceil(SHARE_IMPROVING * chains.size()),
                rising + " of " + chains.size() + " seeds at every step (" + String.join("; ", perStep) + ")");
    }

    private static boolean rises(List<Arm> chain) {
        for (int t = 1; t < chain.size(); t++) {
            if (!(chain.get(t).accuracy() > chain.get(t - 1).accuracy())) {
                return false;
            }
        }
        return true;
    }

    private Criterion finalAccuracy() {
        String claim = "K=4: mean final accuracy at least 0.75";
        double[] last = chains(K).stream()
                .mapToDouble(chain -> chain.getLast().accuracy())
                .toArray();
        if (last.length < SEEDS) {
            return undecided(claim, last.length + " of " + SEEDS + " seeds");
        }
        Summary summary = Summary.of(last);
        return decide(claim, summary.mean() >= FINAL_ACCURACY, text(summary));
    }

    private Criterion beats(String name) {
        String claim = "K=4: final accuracy above " + name + " by more than 2 standard errors, paired by seed";
        return paired(claim, K, name, comparison -> comparison.aboveBy(STANDARD_ERRORS));
    }

    private Criterion oneSampleGainsNothing() {
        String claim = "K=1: final accuracy not above " + WARM + " by more than 2 standard errors, paired by seed";
        return paired(claim, 1, WARM, comparison -> !comparison.aboveBy(STANDARD_ERRORS));
    }

    private Criterion paired(String claim, int k, String name, Function<PairedComparison, Boolean> holds) {
        List<Seed> both = seeds.values().stream()
                .filter(seed ->
                        seed.iterations().containsKey(k) && seed.baselines().containsKey(name))
                .toList();
        if (both.size() < SEEDS) {
            return undecided(claim, both.size() + " of " + SEEDS + " seeds have both");
        }
        PairedComparison comparison = compare(
                both,
                seed -> seed.iterations().get(k).getLast().accuracy(),
                seed -> seed.baselines().get(name).accuracy());
        return Double.isNaN(comparison.difference().mean())
                ? undecided(claim, "accuracy missing")
                : decide(claim, holds.apply(comparison), difference(comparison));
    }

    private Criterion boundBeatsRaw() {
        String claim = "K=4: final ELBO_8 above the log-likelihood of every raw model, in every seed";
        double nearest = Double.POSITIVE_INFINITY;
        int compared = 0;
        for (Seed seed : seeds.values()) {
            if (seed.iterations().containsKey(K)) {
                double bound = seed.iterations().get(K).getLast().bound();
                List<Arm> raw = seed.baselines().values().stream()
                        .filter(arm -> !Double.isNaN(arm.nll()))
                        .toList();
                compared += raw.isEmpty() || Double.isNaN(bound) ? 0 : 1;
                for (Arm arm : raw) {
                    nearest = Math.min(nearest, bound + arm.nll());
                }
            }
        }
        if (compared < SEEDS) {
            return undecided(claim, compared + " of " + SEEDS + " seeds have both");
        }
        return decide(claim, nearest > 0, String.format(Locale.ROOT, "smallest lead %.3f nats per document", nearest));
    }

    private Criterion ordered() {
        String claim = "mean accuracy at iteration 1 ordered K = 1 < 2 < 4 < 8";
        List<Seed> complete = seeds.values().stream()
                .filter(seed -> ORDERED.stream()
                        .allMatch(k -> seed.iterations().containsKey(k)
                                && seed.iterations().get(k).size() > 1))
                .toList();
        if (complete.size() < SEEDS) {
            return undecided(claim, complete.size() + " of " + SEEDS + " seeds have all four");
        }
        double[][] values = complete.stream()
                .map(seed -> ORDERED.stream()
                        .mapToDouble(k -> seed.iterations().get(k).get(1).accuracy())
                        .toArray())
                .toArray(double[][]::new);
        List<String> means = new ArrayList<>();
        boolean rising = true;
        double before = Double.NEGATIVE_INFINITY;
        for (int j = 0; j < ORDERED.size(); j++) {
            int column = j;
            double mean = Arrays.stream(values)
                    .mapToDouble(row -> row[column])
                    .average()
                    .orElseThrow();
            rising &= mean > before;
            before = mean;
            means.add(String.format(Locale.ROOT, "%.3f", mean));
        }
        PageTrend trend = PageTrend.of(values);
        return decide(
                claim,
                rising,
                String.join(" ", means)
                        + String.format(
                                Locale.ROOT, "; Page's trend L = %.1f, p = %.2g", trend.statistic(), trend.pValue()));
    }

    private Criterion oracle() {
        String claim = "oracle: mean accuracy at least 0.99";
        double[] values = seeds.values().stream()
                .filter(seed -> seed.baselines().containsKey("oracle"))
                .mapToDouble(seed -> seed.baselines().get("oracle").accuracy())
                .toArray();
        if (values.length < SEEDS) {
            return undecided(claim, values.length + " of " + SEEDS + " seeds");
        }
        Summary summary = Summary.of(values);
        return decide(claim, summary.mean() >= ORACLE, text(summary));
    }

    private List<List<Arm>> chains(int k) {
        return seeds.values().stream()
                .filter(seed -> seed.iterations().containsKey(k))
                .map(seed -> seed.iterations().get(k))
                .toList();
    }

    private static <T> PairedComparison compare(List<T> pairs, Function<T, Double> a, Function<T, Double> b) {
        return PairedComparison.of(
                pairs.stream().mapToDouble(a::apply).toArray(),
                pairs.stream().mapToDouble(b::apply).toArray());
    }

    private static Criterion decide(String claim, boolean holds, String figures) {
        return new Criterion(claim, holds ? Verdict.HOLDS : Verdict.FAILS, figures);
    }

    private static Criterion undecided(String claim, String why) {
        return new Criterion(claim, Verdict.NOT_DECIDED, why);
    }

    // ---- output
    // ----------------------------------------------------------------------------------------------------------------

    /** One line of the table: an arm, its values by seed and their summary. */
    private record Row(String arm, String quantity, List<Double> perSeed) {
        Optional<Summary> summary() {
            double[] measured = perSeed.stream()
                    .mapToDouble(Double::doubleValue)
                    .filter(v -> !Double.isNaN(v))
                    .toArray();
            return measured.length == 0 ? Optional.empty() : Optional.of(Summary.of(measured));
        }
    }

    private List<Row> rows() {
        List<Row> rows = new ArrayList<>();
        for (int k : samples) {
            int longest = chains(k).stream().mapToInt(List::size).max().orElse(0);
            for (int t = 0; t < longest; t++) {
                int iteration = t;
                Function<Seed, Arm> arm = seed -> {
                    List<Arm> chain = seed.iterations().getOrDefault(k, List.of());
                    return iteration < chain.size() ? chain.get(iteration) : null;
                };
                addRows(rows, "K=" + k + ", iteration " + t, arm);
            }
        }
        for (String name : baselineNames) {
            addRows(rows, name, seed -> seed.baselines().get(name));
        }
        return rows;
    }

    private void addRows(List<Row> rows, String name, Function<Seed, Arm> arm) {
        addRow(rows, name, "accuracy", arm, Arm::accuracy);
        addRow(rows, name, "ELBO_" + BOUND, arm, Arm::bound);
        addRow(rows, name, "NLL", arm, Arm::nll);
    }

    private void addRow(
            List<Row> rows, String name, String quantity, Function<Seed, Arm> arm, Function<Arm, Double> value) {
        List<Double> perSeed = seeds.values().stream()
                .map(seed -> Optional.ofNullable(arm.apply(seed)).map(value).orElse(Double.NaN))
                .toList();
        if (perSeed.stream().anyMatch(v -> !Double.isNaN(v))) {
            rows.add(new Row(name, quantity, perSeed));
        }
    }

    /** {@return the study as Markdown: every seed, mean and standard error, then each claim with its verdict} Nats are per document. */
    public String toMarkdown() {
        StringBuilder out = new StringBuilder();
        String heads =
                seeds.keySet().stream().map(seed -> " seed " + seed + " |").collect(Collectors.joining());
        out.append("| arm | quantity |").append(heads).append(" mean ± SE |\n");
        out.append("|---|---|").append("---|".repeat(seeds.size() + 1)).append('\n');
        for (Row row : rows()) {
            out.append("| ")
                    .append(row.arm())
                    .append(" | ")
                    .append(row.quantity())
                    .append(" |");
            row.perSeed().forEach(value -> out.append(' ').append(text(value)).append(" |"));
            out.append(' ')
                    .append(row.summary().map(ChainStudy::text).orElse("–"))
                    .append(" |\n");
        }
        out.append("\n| claim | verdict | figures |\n|---|---|---|\n");
        for (Criterion criterion : criteria()) {
            out.append("| ").append(criterion.claim()).append(" | ").append(word(criterion.verdict()));
            out.append(" | ").append(criterion.figures()).append(" |\n");
        }
        return out.toString();
    }

    /** {@return the same as one JSON object: {@code rows}, {@code criteria}, {@code passes}} A value not measured is null. */
    public String toJson() {
        var root = JSON.createObjectNode();
        var ids = root.putArray("seeds");
        seeds.keySet().forEach(ids::add);
        var list = root.putArray("rows");
        for (Row row : rows()) {
            var node = list.addObject().put("arm", row.arm()).put("quantity", row.quantity());
            var values = node.putArray("perSeed");
            row.perSeed().forEach(value -> values.add(finite(value)));
            row.summary()
                    .ifPresent(summary -> node.put("mean", finite(summary.mean()))
                            .put("standardError", finite(summary.standardError())));
        }
        var claims = root.putArray("criteria");
        criteria()
                .forEach(criterion -> claims.addObject()
                        .put("claim", criterion.claim())
                        .put("verdict", criterion.verdict().name())
                        .put("figures", criterion.figures()));
        root.put("passes", passes());
        return JSON.writeValueAsString(root);
    }

    private static Double finite(double value) {
        return Double.isFinite(value) ? value : null;
    }

    private static String word(Verdict verdict) {
        return switch (verdict) {
            case HOLDS -> "holds";
            case FAILS -> "**fails**";
            case NOT_DECIDED -> "not decided";
        };
    }

    private static String text(double value) {
        return Double.isNaN(value) ? "–" : String.format(Locale.ROOT, "%.3f", value);
    }

    private static String text(Summary summary) {
        return summary.n() == 1
                ? text(summary.mean())
                : String.format(Locale.ROOT, "%.3f ± %.3f", summary.mean(), summary.standardError());
    }

    private static String difference(PairedComparison comparison) {
        return String.format(
                Locale.ROOT,
                "%+.3f ± %.3f; higher in %d of %d seeds",
                comparison.difference().mean(),
                comparison.difference().standardError(),
                comparison.wins(),
                comparison.difference().n());
    }
}
