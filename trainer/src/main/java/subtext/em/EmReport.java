package subtext.em;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.SortedMap;
import java.util.TreeMap;
import subtext.evaluate.Warning;
import tools.jackson.databind.json.JsonMapper;

/**
 * What a run found. Log-likelihoods, bounds and their intervals are in nats per document of x: the bounds are negative numbers, higher
 * is better; {@code nll} is positive, lower is better.
 *
 * @param run folder of the run
 * @param seeds one for each of the settings' list, in its order
 * @param wallSeconds time of this process
 */
public record EmReport(String run, List<Seed> seeds, double wallSeconds) {

    /**
     * A mean over held-out documents with a 95 % interval by bootstrap over documents, in nats per document.
     *
     * @param mean over documents
     * @param low lower end of the interval
     * @param high upper end of the interval
     */
    public record Bound(double mean, double low, double high) {}

    /**
     * The quartiles of a figure that there is one of for each chunk.
     *
     * @param low lower quartile
     * @param median second quartile
     * @param high upper quartile
     */
    public record Quartiles(double low, double median, double high) {}

    /**
     * More of how some draws look: figures that results of before they were kept lack. Of the first 16,384 chunks.
     *
     * @param malformed share of the draws that were closed with a marker in them
     * @param topWeight median over chunks of the largest normalised weight
     * @param entropy mean over chunks of the entropy of the normalised weights over log K, 0 (one draw has it all) to 1
     * @param chosenLength median tokens of a chosen thought
     * @param lengthCorrelation correlation of log w and length over draws, both measured from their chunk's mean
     * @param klPerToken estimate of KL(q || p) per token of a finished thought, nats; empty where none was finished
     * @param duplicates share of the draws that repeat an earlier one of their chunk
     */
    public record Health(
            double malformed,
            double topWeight,
            double entropy,
            double chosenLength,
            double lengthCorrelation,
            OptionalDouble klPerToken,
            double duplicates) {}

    /**
     * Health of the draws of an E-step or of an evaluation; quartiles, medians, cut-off, unfinished and distinct ones of its first 16,384 chunks.
     *
     * @param essShare quartiles over chunks of ESS/K
     * @param essShareMean mean over chunks of ESS/K
     * @param spread median over chunks of the standard deviation of log w, nats
     * @param cutOff share of the draws that hit the length limit; in results without {@code health} malformed ones count as cut off
     * @param noneFinished share of the chunks with no finished draw
     * @param length median tokens of a finished thought
     * @param distinct3 distinct 3-grams over all 3-grams of the finished thoughts
     * @param thoughtCorrect share of the draws that are the true thought; empty where the truth is not known
     * @param selectedCorrect share of the chunks whose selected thought is the true one; empty where the truth is not known
     * @param tokens tokens drawn and scored
     * @param tokensPerSecond of them
     * @param health more of the same draws; empty in results of before it was kept
     */
    public record Draws(
            Quartiles essShare,
            double essShareMean,
            double spread,
            double cutOff,
            double noneFinished,
            double length,
            double distinct3,
            OptionalDouble thoughtCorrect,
            OptionalDouble selectedCorrect,
            long tokens,
            double tokensPerSecond,
            Optional<Health> health) {
        /** What results of before it was kept lack becomes empty. */
        public Draws {
            health = health == null ? Optional.empty() : health;
        }
    }

    /**
     * Negative log-likelihood per unit of text with a 95 % interval by bootstrap over documents, in nats, lower is better; of a model with thoughts minus its
     * tightest bound.
     *
     * @param token per token of x
     * @param character per character of x; empty in token worlds
     */
    public record PerUnit(Bound token, Optional<Bound> character) {}

    /**
     * What is compared in pairs: a value for each held-out document, in the same order for every model of a seed.
     *
     * @param right whether the answer is right, of each problem; empty where there is no task
     * @param nats log-likelihood of each document of x, or the tightest bound on it; higher is better
     */
    public record PerDocument(List<Boolean> right, List<Double> nats) {
        /** Copies the lists. */
        public PerDocument {
            right = List.copyOf(right);
            nats = List.copyOf(nats);
        }
    }

    /**
     * One model measured on held-out documents.
     *
     * @param accuracy share of the answers that are right after a greedy thought in the prior slot, or straight after the question for
     *     a model without thoughts; empty where there is no task
     * @param elbo by K; empty for a model without thoughts
     * @param nll of the text without any thought; present for models trained on raw text
     * @param nllPerCharacter the same per character of text, or minus ELBO_max per character for a model with thoughts; empty in
     *     token worlds
     * @param draws health of the held-out draws; empty for a model without thoughts
     * @param priorGap whether thoughts help a model that has not seen the text; empty for one without thoughts
     * @param perUnit the likelihood, or its tightest bound, per token and per character; empty in results of before it was kept
     * @param documents the same and the answers by document; empty in results of before they were kept
     */
    public record Measured(
            OptionalDouble accuracy,
            SortedMap<Integer, Bound> elbo,
            Optional<Bound> nll,
            OptionalDouble nllPerCharacter,
            Optional<Draws> draws,
            Optional<PriorGap> priorGap,
            Optional<PerUnit> perUnit,
            Optional<PerDocument> documents) {
        /** Copies the bounds; what results of before it was measured lack becomes empty. */
        public Measured {
            elbo = new TreeMap<>(elbo);
            priorGap = priorGap == null ? Optional.empty() : priorGap;
            perUnit = perUnit == null ? Optional.empty() : perUnit;
            documents = documents == null ? Optional.empty() : documents;
        }

        /** {@return the log-likelihood of x in nats per document, or its tightest bound; empty if neither was measured} */
        public Optional<Bound> logLikelihood() {
            return nll.map(n -> new Bound(-n.mean(), -n.high(), -n.low()))
                    .or(() -> elbo.isEmpty()
                            ? Optional.empty()
                            : Optional.of(elbo.lastEntry().getValue()));
        }
    }

    /**
     * Negative log-likelihood of x in nats per document, lower is better.
     *
     * @param priorThoughts behind thoughts drawn from p(z), their likelihoods averaged, over the held-out chunks with a finished one
     * @param noThought of the same chunks behind an empty thought
     * @param chunks how many these are
     */
    public record PriorGap(double priorThoughts, double noThought, int chunks) {}

    /**
     * What a training took.
     *
     * @param tokens predicted tokens
     * @param documentTokens mean predicted tokens of a document that was trained on
     * @param flops floating-point operations by the model's formula, three forward passes a token; what is computed again is not counted
     */
    public record Cost(long tokens, double documentTokens, double flops) {}

    /**
     * One turn of E-step and M-step, trained and measured.
     *
     * @param iteration 0 is the warm start
     * @param measured its model on held-out documents
     * @param drawn the E-step on the corpus; empty for iteration 0
     * @param loss mean training loss of the last tenth of the steps, nats per token
     * @param eSeconds wall time of the E-step
     * @param mSeconds wall time of the training
     * @param mTokens predicted tokens trained on
     * @param model digest of its weights: iterations that agree in it have the same model
     * @param cost of the training, that of the folds included; empty in results of before it was kept
     * @param eFlops floating-point operations of the E-step, a forward pass a token drawn or scored; empty for iteration 0, and in results of before it
     *     was kept
     */
    public record Iteration(
            int iteration,
            Measured measured,
            Optional<Draws> drawn,
            double loss,
            double eSeconds,
            double mSeconds,
            long mTokens,
            String model,
            Optional<Cost> cost,
            OptionalDouble eFlops) {
        /** What results of before it was kept lack becomes empty. */
        public Iteration {
            cost = cost == null ? Optional.empty() : cost;
            eFlops = eFlops == null ? OptionalDouble.empty() : eFlops;
        }
    }

    /**
     * A model trained without EM, for comparison.
     *
     * @param name as in {@link subtext.run.RunConfig#BASELINES}
     * @param steps it was trained
     * @param chosenStep step whose weights were measured: the last, unless it was stopped early
     * @param measured its model on held-out documents
     * @param loss mean training loss of the last tenth of the steps, nats per token
     * @param mSeconds wall time of the training
     * @param note what a reader of its row should know
     * @param cost of its training; empty in results of before it was kept
     */
    public record Baseline(
            String name,
            int steps,
            int chosenStep,
            Measured measured,
            double loss,
            double mSeconds,
            String note,
            Optional<Cost> cost) {
        /** What results of before it was kept lack becomes empty. */
        public Baseline {
            cost = cost == null ? Optional.empty() : cost;
        }

        /**
         * {@return the row of {@code warm-step-match} where it is the warm start itself: where that is trained as an M-step is} Empty where it is
         * trained for fewer or more steps or tokens, and the baseline is a training of its own.
         *
         * @param plan of the run
         * @param warm its iteration 0
         */
        public static Optional<Baseline> ofWarmStart(EmPlan plan, Iteration warm) {
            return plan.warmStart().equals(plan.training())
                    ? Optional.of(new Baseline(
                            "warm-step-match",
                            plan.warmStart().steps(),
                            plan.warmStart().steps(),
                            warm.measured(),
                            warm.loss(),
                            warm.mSeconds(),
                            "the warm start, which is trained as long as an M-step: iteration 0 itself",
                            warm.cost()))
                    : Optional.empty();
        }
    }

    /**
     * A chunk with all its thoughts, for people.
     *
     * @param iteration whose E-step or evaluation drew them
     * @param document id
     * @param chunk index in the document
     * @param context text before it that the prompt held
     * @param text of the chunk, x
     * @param thoughts all K, in the order of the draws
     */
    public record Shown(
            int iteration, String document, int chunk, String context, String text, List<ShownThought> thoughts) {}

    /**
     * One of the thoughts drawn for a chunk.
     *
     * @param text the thought in words
     * @param logWeight nats; minus infinity if it cannot be chosen
     * @param weight its share of the weight of all K, 0 to 1
     * @param chosen whether it went into training
     * @param finished whether it closed within the limit, without another marker in it
     * @param malformed whether it closed with another marker in it; in results of before this was told apart never
     * @see Shown
     */
    public record ShownThought(
            String text, double logWeight, double weight, boolean chosen, boolean finished, Boolean malformed) {
        /** What results of before it was told apart lack becomes false. */
        public ShownThought {
            malformed = malformed != null && malformed;
        }

        /** {@return why it cannot be chosen, in words for people: cut off or malformed; empty if it can be} */
        public String fault() {
            return finished ? "" : malformed ? "malformed" : "cut off";
        }
    }

    /**
     * A warning and the iteration whose figures it is about.
     *
     * @param iteration 0 is the warm start
     * @param warning what was found, and its bound
     */
    public record Raised(int iteration, Warning warning) {}

    /**
     * All of one seed.
     *
     * @param seed as the settings name it
     * @param iterations the warm start first
     * @param baselines in the order of the settings; one without its data is left out
     * @param warnings in the order in which they were raised
     * @param shown the first chunks of the corpus with the thoughts of the last E-step
     */
    public record Seed(
            long seed,
            List<Iteration> iterations,
            List<Baseline> baselines,
            List<Raised> warnings,
            List<Shown> shown) {}

    /** File of an iteration's folder that holds its {@link Shown} chunks. */
    public static final String SHOWN = "shown.json";

    private static final JsonMapper JSON = JsonMapper.builder().build();

    /** Characters of a text shown to people; the files of thoughts hold it whole. */
    private static final int LONGEST_LINE = 240;

    /** {@return the object that {@code em --json} prints: names fixed, values plain numbers} */
    public String toJson() {
        Map<String, Object> root = new LinkedHashMap<>();
        root.put("run", run);
        List<Object> all = new ArrayList<>();
        for (Seed seed : seeds) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("seed", seed.seed());
            one.put("iterations", seed.iterations().stream().map(EmReport::tree).toList());
            one.put("baselines", seed.baselines().stream().map(EmReport::tree).toList());
            one.put("warnings", seed.warnings().stream().map(EmReport::tree).toList());
            all.add(one);
        }
        root.put("seeds", all);
        root.put("wallSeconds", wallSeconds);
        return JSON.writeValueAsString(root);
    }

    static Map<String, Object> tree(Iteration it) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("iteration", it.iteration());
        tree.putAll(tree(it.measured()));
        it.drawn()
                .ifPresentOrElse(
                        drawn -> {
                            tree.put("essPerSample", drawn.essShareMean());
                            tree.put("selectedCorrect", boxed(drawn.selectedCorrect()));
                            tree.put("drawn", tree(drawn));
                        },
                        () -> {
                            tree.put(
                                    "essPerSample",
                                    it.measured()
                                            .draws()
                                            .map(Draws::essShareMean)
                                            .orElse(null));
                            tree.put("selectedCorrect", null);
                        });
        tree.put("loss", it.loss());
        tree.put("eSeconds", it.eSeconds());
        tree.put("mSeconds", it.mSeconds());
        tree.put("mTokens", it.mTokens());
        tree.put("mTokensPerSecond", it.mSeconds() > 0 ? it.mTokens() / it.mSeconds() : 0);
        tree.put("mFlops", it.cost().map(Cost::flops).orElse(null));
        tree.put("eTokens", it.drawn().map(Draws::tokens).orElse(null));
        tree.put("eFlops", boxed(it.eFlops()));
        tree.put("model", it.model());
        return tree;
    }

    static Map<String, Object> tree(Baseline baseline) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("name", baseline.name());
        tree.putAll(tree(baseline.measured()));
        tree.put("steps", baseline.steps());
        tree.put("chosenStep", baseline.chosenStep());
        tree.put("loss", baseline.loss());
        tree.put("mSeconds", baseline.mSeconds());
        tree.put("mTokens", baseline.cost().map(Cost::tokens).orElse(null));
        tree.put("mFlops", baseline.cost().map(Cost::flops).orElse(null));
        tree.put("note", baseline.note());
        return tree;
    }

    private static Map<String, Object> tree(Raised raised) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("iteration", raised.iteration());
        tree.put("kind", raised.warning().kind().name());
        tree.put("level", raised.warning().level().name());
        tree.put("value", finite(raised.warning().value()));
        tree.put("threshold", raised.warning().threshold());
        tree.put("line", raised.warning().sentence());
        return tree;
    }

    private static Double finite(double value) {
        return Double.isFinite(value) ? value : null;
    }

    static Map<String, Object> tree(Measured measured) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("accuracy", boxed(measured.accuracy()));
        if (!measured.elbo().isEmpty()) {
            Map<String, Object> elbo = new LinkedHashMap<>();
            Map<String, Object> interval = new LinkedHashMap<>();
            measured.elbo().forEach((k, bound) -> {
                elbo.put(String.valueOf(k), bound.mean());
                interval.put(String.valueOf(k), List.of(bound.low(), bound.high()));
            });
            tree.put("elbo", elbo);
            tree.put("elboInterval", interval);
        }
        measured.nll().ifPresent(nll -> {
            tree.put("nll", nll.mean());
            tree.put("nllInterval", List.of(nll.low(), nll.high()));
        });
        measured.nllPerCharacter().ifPresent(nll -> tree.put("nllPerCharacter", nll));
        measured.perUnit().ifPresent(unit -> {
            unit.character().ifPresent(nll -> tree.put("nllPerCharacterInterval", List.of(nll.low(), nll.high())));
            tree.put("nllPerToken", unit.token().mean());
            tree.put(
                    "nllPerTokenInterval",
                    List.of(unit.token().low(), unit.token().high()));
        });
        measured.draws().ifPresent(draws -> tree.put("heldOut", tree(draws)));
        measured.priorGap().ifPresent(gap -> {
            tree.put("nllPriorThoughts", gap.priorThoughts());
            tree.put("nllNoThought", gap.noThought());
        });
        return tree;
    }

    private static Map<String, Object> tree(Draws draws) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put(
                "essShare",
                List.of(
                        draws.essShare().low(),
                        draws.essShare().median(),
                        draws.essShare().high()));
        tree.put("essShareMean", draws.essShareMean());
        tree.put("spread", draws.spread());
        tree.put("cutOff", draws.cutOff());
        tree.put("noneFinished", draws.noneFinished());
        tree.put("length", draws.length());
        tree.put("distinct3", draws.distinct3());
        tree.put("thoughtCorrect", boxed(draws.thoughtCorrect()));
        tree.put("selectedCorrect", boxed(draws.selectedCorrect()));
        tree.put("tokens", draws.tokens());
        tree.put("tokensPerSecond", draws.tokensPerSecond());
        draws.health().ifPresent(health -> {
            tree.put("malformed", health.malformed());
            tree.put("topWeight", health.topWeight());
            tree.put("entropy", health.entropy());
            tree.put("chosenLength", health.chosenLength());
            tree.put("lengthCorrelation", health.lengthCorrelation());
            tree.put("klPerToken", boxed(health.klPerToken()));
            tree.put("duplicates", health.duplicates());
        });
        return tree;
    }

    private static Double boxed(OptionalDouble value) {
        return value.isPresent() ? value.getAsDouble() : null;
    }

    /** {@return the tables a person sees at the end, and the fixed chunks with all their thoughts} */
    public String table() {
        StringBuilder out = new StringBuilder();
        for (Seed seed : seeds) {
            out.append("seed ").append(seed.seed()).append('\n');
            List<Integer> bounds = seed.iterations().isEmpty()
                    ? List.of()
                    : List.copyOf(seed.iterations().getFirst().measured().elbo().keySet());
            List<Line> lines = lines(seed);
            figures(out, lines, bounds);
            draws(out, lines);
            costs(out, lines);
            for (Raised raised : seed.warnings()) {
                out.append("  iteration ")
                        .append(raised.iteration())
                        .append(": ")
                        .append(raised.warning().level().label())
                        .append(": ")
                        .append(raised.warning().sentence())
                        .append('\n');
            }
            for (Shown shown : seed.shown()) {
                out.append(String.format(
                        "  iteration %d, %s chunk %d: %s | %s%n",
                        shown.iteration(),
                        shown.document(),
                        shown.chunk(),
                        oneLine(shown.context()),
                        oneLine(shown.text())));
                for (ShownThought thought : shown.thoughts()) {
                    out.append(String.format(
                            Locale.ROOT,
                            "    %s %6.3f  log w %9.3f  %s%s%n",
                            thought.chosen() ? "*" : " ",
                            thought.weight(),
                            thought.logWeight(),
                            oneLine(thought.text()),
                            thought.finished() ? "" : " (" + thought.fault() + ")"));
                }
            }
        }
        return out.toString();
    }

    /** What the tables say of an iteration or a baseline; what is drawn is the corpus' thoughts. */
    private record Line(
            String name,
            Measured measured,
            Optional<Draws> drawn,
            OptionalDouble eFlops,
            OptionalLong mTokens,
            double mSeconds,
            Optional<Cost> cost,
            String note) {
        /** Of the corpus, or else of the held-out documents. */
        Optional<Draws> draws() {
            return drawn.or(measured::draws);
        }
    }

    private static List<Line> lines(Seed seed) {
        List<Line> lines = new ArrayList<>();
        for (Iteration it : seed.iterations()) {
            lines.add(new Line(
                    it.iteration() == 0 ? "iteration 0 (warm)" : "iteration " + it.iteration(),
                    it.measured(),
                    it.drawn(),
                    it.eFlops(),
                    OptionalLong.of(it.mTokens()),
                    it.mSeconds(),
                    it.cost(),
                    ""));
        }
        for (Baseline baseline : seed.baselines()) {
            lines.add(new Line(
                    baseline.name(),
                    baseline.measured(),
                    Optional.empty(),
                    OptionalDouble.empty(),
                    baseline.cost().map(c -> OptionalLong.of(c.tokens())).orElse(OptionalLong.empty()),
                    baseline.mSeconds(),
                    baseline.cost(),
                    baseline.note()));
        }
        return lines;
    }

    private static void figures(StringBuilder out, List<Line> lines, List<Integer> bounds) {
        out.append(String.format("  %-22s %8s", "", "accuracy"));
        bounds.forEach(k -> out.append(String.format(" %26s", "ELBO_" + k + " [95 %]")));
        out.append(String.format(" %8s%n", "NLL"));
        for (Line line : lines) {
            out.append(String.format(
                    "  %-22s %8s", line.name(), number(line.measured().accuracy(), "%.3f")));
            for (int k : bounds) {
                Bound bound = line.measured().elbo().get(k);
                out.append(String.format(
                        " %26s",
                        bound == null
                                ? "-"
                                : String.format(
                                        Locale.ROOT, "%.3f [%.3f, %.3f]", bound.mean(), bound.low(), bound.high())));
            }
            out.append(String.format(
                    " %8s%n",
                    line.measured()
                            .nll()
                            .map(nll -> String.format(Locale.ROOT, "%.3f", nll.mean()))
                            .orElse("-")));
            if (!line.note().isEmpty()) {
                out.append("      ").append(line.note()).append('\n');
            }
        }
        out.append("  ELBO and NLL in nats per document of x\n\n");
    }

    private static void draws(StringBuilder out, List<Line> lines) {
        out.append(String.format(
                "  %-22s %15s %6s %8s %7s %9s %6s %10s %8s%n",
                "thoughts",
                "ESS/K quartiles",
                "sd w",
                "selected",
                "cut off",
                "malformed",
                "length",
                "distinct-3",
                "KL/token"));
        for (Line line : lines) {
            line.draws()
                    .ifPresent(d -> out.append(String.format(
                            Locale.ROOT,
                            "  %-22s %15s %6.2f %8s %7.3f %9s %6.1f %10.3f %8s%n",
                            line.name(),
                            String.format(
                                    Locale.ROOT,
                                    "%.2f %.2f %.2f",
                                    d.essShare().low(),
                                    d.essShare().median(),
                                    d.essShare().high()),
                            d.spread(),
                            number(d.selectedCorrect(), "%.3f"),
                            d.cutOff(),
                            d.health()
                                    .map(h -> String.format(Locale.ROOT, "%.3f", h.malformed()))
                                    .orElse("-"),
                            d.length(),
                            d.distinct3(),
                            d.health().map(h -> number(h.klPerToken(), "%.3f")).orElse("-"))));
        }
        out.append("  of the corpus' E-step; of iteration 0 and baselines, of the held-out draws\n\n");
    }

    private static void costs(StringBuilder out, List<Line> lines) {
        out.append(String.format(
                "  %-22s %18s %11s %18s %11s%n", "cost", "E-step (tokens/s)", "E-step FLOP", "training", "FLOP"));
        for (Line line : lines) {
            out.append(String.format(
                    "  %-22s %18s %11s %18s %11s%n",
                    line.name(),
                    line.drawn()
                            .map(d -> tokens(d.tokens(), d.tokensPerSecond()))
                            .orElse("-"),
                    number(line.eFlops(), "%.2e"),
                    line.mTokens().isEmpty()
                            ? "-"
                            : tokens(
                                    line.mTokens().getAsLong(),
                                    line.mSeconds() > 0 ? line.mTokens().getAsLong() / line.mSeconds() : 0),
                    line.cost()
                            .map(c -> String.format(Locale.ROOT, "%.2e", c.flops()))
                            .orElse("-")));
        }
        out.append(
                "  FLOP by the model's formula: three forward passes a trained token, one a token drawn or scored\n\n");
    }

    private static String tokens(long tokens, double perSecond) {
        return String.format(Locale.ROOT, "%.2fM (%.0f)", tokens / 1e6, perSecond);
    }

    private static String number(OptionalDouble value, String format) {
        return value.isPresent() ? String.format(Locale.ROOT, format, value.getAsDouble()) : "-";
    }

    /** The text on one line, its middle left out if it is long. */
    private static String oneLine(String text) {
        // a thought may be any bytes: none of them may speak to a terminal
        String line = text.replaceAll("\\s+", " ").strip().replaceAll("[\\p{Cntrl}\\p{Cf}]", "?");
        int end = LONGEST_LINE / 2;
        return line.length() <= LONGEST_LINE
                ? line
                : line.substring(0, end) + " ... " + line.substring(line.length() - end);
    }
}
