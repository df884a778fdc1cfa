package subtext.report;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import subtext.em.EmReport;
import subtext.run.RunConfig;
import tools.jackson.databind.json.JsonMapper;

/**
 * Runs as one page that opens from disk: no script, no network, every figure drawn in the page itself. Light and dark after the reader's
 * setting, readable without colour and on a narrow screen.
 */
public final class HtmlReport {
    private static final int HISTOGRAM_BINS = 20;
    private static final int TOGETHER = 7;
    /** Settings that a label names. */
    private static final int LABELLED = 2;

    private HtmlReport() {}

    /**
     * {@return the page of one run, as HTML}
     *
     * @param run finished or under way
     */
    public static String page(RunView run) {
        return page(run, "");
    }

    /** The page of one run with more in its head, such as the script that keeps a served page up to date. */
    static String page(RunView run, String head) {
        String name = name(run);
        return document(name, head, body(run));
    }

    /** What stands in the page of one run. */
    static String body(RunView run) {
        StringBuilder html = new StringBuilder();
        html.append("<header><h1>").append(Html.text(name(run))).append("</h1><p class=\"quiet\">");
        html.append(Html.text(subtitle(run))).append("</p></header>");
        run.now()
                .ifPresent(now -> html.append("<p class=\"state\" role=\"status\"><strong>Under way:</strong> ")
                        .append(Html.text(now))
                        .append("</p>"));
        html.append("<section><h2>Verdict</h2><ul class=\"verdict\">");
        Verdict.of(run)
                .forEach(line -> html.append("<li>").append(Html.text(line)).append("</li>"));
        html.append("</ul>");
        warnings(html, run);
        html.append("</section>");
        if (run.training().isEmpty()) {
            html.append("<section><h2>Iterations</h2><div class=\"figures\">");
            overIterations(html, run);
            html.append("</div>");
            for (RunView.SeedView seed : run.seeds()) {
                table(html, seed, run.seeds().size() > 1);
            }
            html.append("</section>");
            draws(html, run);
        }
        training(html, run);
        thoughts(html, run);
        configuration(html, run);
        return html.toString();
    }

    /**
     * {@return a page with several runs side by side, as HTML} It shows means over seeds by setting, and every seed in a table. Runs that
     * differ in seeds alone are one setting.
     *
     * @param runs at least one; the settings of the others are compared with those of the first
     */
    public static String comparison(List<RunView> runs) {
        List<Map<String, String>> keys =
                runs.stream().map(run -> settings(run.config())).toList();
        Map<String, String> first = keys.getFirst();
        List<String> differing = new ArrayList<>();
        for (Map<String, String> other : keys) {
            other.forEach((key, value) -> {
                if (!value.equals(first.get(key)) && !differing.contains(key)) {
                    differing.add(key);
                }
            });
        }
        // a label must be short: where runs differ in more than that, it is the name of the first run of the setting
        Map<String, List<RunView>> settings = new LinkedHashMap<>();
        Map<Map<String, String>, String> labels = new HashMap<>();
        for (int r = 0; r < runs.size(); r++) {
            Map<String, String> of = keys.get(r);
            RunView run = runs.get(r);
            String label = labels.computeIfAbsent(
                    of,
                    none -> differing.isEmpty()
                            ? "K=" + run.config().em().samples() + " "
                                    + run.config().em().selection()
                            : differing.size() > LABELLED ? name(run) : label(differing, of));
            settings.computeIfAbsent(label, s -> new ArrayList<>()).add(run);
        }
        return compared(
                settings,
                differing.size() > LABELLED
                        ? "Settings are named by their first run; they differ in " + String.join(", ", differing) + "."
                        : "");
    }

    private static String label(List<String> keys, Map<String, String> settings) {
        return String.join(
                " ",
                keys.stream()
                        .map(key -> (key.equals("em.samples") ? "K" : key.substring(key.indexOf('.') + 1)) + "="
                                + settings.get(key).replace("\"", ""))
                        .toList());
    }

    /** What decides the figures of a run other than its seeds, by dotted key. */
    private static Map<String, String> settings(RunConfig config) {
        Map<String, String> flat = new LinkedHashMap<>();
        JsonMapper.shared().readTree(config.toJson()).properties().forEach(group -> {
            if (group.getValue().isObject()
                    && !group.getKey().equals("device")
                    && !group.getKey().equals("warnings")) {
                group.getValue()
                        .properties()
                        .forEach(setting -> flat.put(
                                group.getKey() + "." + setting.getKey(),
                                setting.getValue().toString()));
            }
        });
        return flat;
    }

    /**
     * {@return the same page of runs that have names} Each is a setting of its own.
     *
     * @param named run by label, in the order of the map
     */
    public static String comparison(Map<String, RunView> named) {
        Map<String, List<RunView>> settings = new LinkedHashMap<>();
        named.forEach((name, run) -> settings.put(name, List.of(run)));
        return compared(settings, "");
    }

    private static String compared(Map<String, List<RunView>> bySetting, String note) {
        List<RunView> runs = bySetting.values().stream().flatMap(List::stream).toList();
        Map<String, List<RunView.SeedView>> settings = new LinkedHashMap<>();
        bySetting.forEach((setting, group) -> {
            // a seed that was run twice is not two
            Map<Long, RunView.SeedView> bySeed = new TreeMap<>();
            group.forEach(run -> run.seeds().forEach(seed -> bySeed.putIfAbsent(seed.seed(), seed)));
            settings.put(setting, List.copyOf(bySeed.values()));
        });
        StringBuilder html = new StringBuilder("<header><h1>Comparison of ")
                .append(runs.size())
                .append(" runs</h1><p class=\"quiet\">")
                .append(Html.text(
                        String.join(", ", runs.stream().map(HtmlReport::name).toList())))
                .append("</p>")
                .append(note.isEmpty() ? "" : "<p class=\"quiet\">" + Html.text(note) + "</p>")
                .append("</header>");
        List<RunView.SeedView> all =
                runs.stream().flatMap(run -> run.seeds().stream()).toList();
        html.append("<section><h2>Means over seeds, by setting</h2><div class=\"figures\">");
        grouped(
                html,
                "Accuracy by iteration, 95 % interval over seeds",
                means(settings, true, it -> it.measured().accuracy()),
                "accuracy");
        int k = all.stream()
                .flatMap(s -> s.iterations().stream())
                .filter(it -> !it.measured().elbo().isEmpty())
                .mapToInt(it -> it.measured().elbo().lastKey())
                .min()
                .orElse(0);
        if (k > 0) {
            grouped(
                    html,
                    "Held-out ELBO_" + k + " by iteration, 95 % interval over seeds",
                    means(settings, false, it -> elbo(it, k)),
                    "nats per document");
        }
        grouped(
                html,
                "Share of the chosen thoughts that are true",
                means(settings, true, HtmlReport::selected),
                "share");
        html.append(
                        "</div></section><section><h2>Every seed</h2><div class=\"scroll\"><table><thead><tr><th class=\"text\">run</th><th class=\"text\">setting</th>")
                .append("<th>seed</th><th>accuracy by iteration</th><th>ELBO_" + k
                        + " by iteration</th></tr></thead><tbody>");
        bySetting.forEach((setting, group) -> {
            for (RunView run : group) {
                for (RunView.SeedView seed : run.seeds()) {
                    html.append("<tr><td class=\"text\">")
                            .append(Html.text(name(run)))
                            .append("</td><td class=\"text\">" + Html.text(setting))
                            .append("</td><td>" + seed.seed() + "</td><td>")
                            .append(row(seed, it -> it.measured().accuracy()))
                            .append("</td><td>")
                            .append(row(seed, it -> elbo(it, k)))
                            .append("</td></tr>");
                }
            }
        });
        html.append("</tbody></table></div></section>");
        baselines(html, settings, k);
        html.append("<section><h2>Verdict of each run</h2>");
        for (RunView run : runs) {
            html.append("<details")
                    .append(runs.size() <= TOGETHER ? " open" : "")
                    .append("><summary>")
                    .append(Html.text(name(run)))
                    .append("</summary><ul class=\"verdict\">");
            Verdict.of(run)
                    .forEach(line -> html.append("<li>").append(Html.text(line)).append("</li>"));
            html.append("</ul></details>");
        }
        return document(
                "Comparison of " + runs.size() + " runs",
                "",
                html.append("</section>").toString());
    }

    private static void baselines(StringBuilder html, Map<String, List<RunView.SeedView>> settings, int k) {
        StringBuilder rows = new StringBuilder();
        settings.forEach((setting, seeds) -> {
            Map<String, List<EmReport.Measured>> byName = new LinkedHashMap<>();
            seeds.forEach(seed -> seed.baselines()
                    .forEach(baseline -> byName.computeIfAbsent(baseline.name(), n -> new ArrayList<>())
                            .add(baseline.measured())));
            byName.forEach((name, measured) -> rows.append("<tr><td class=\"text\">")
                    .append(Html.text(setting))
                    .append("</td><td class=\"text\">")
                    .append(Html.text(name))
                    .append("</td>")
                    .append(cell(String.valueOf(measured.size())))
                    .append(cell(mean(measured, EmReport.Measured::accuracy)))
                    .append(cell(mean(
                            measured,
                            m -> m.nll().isPresent()
                                    ? OptionalDouble.of(-m.nll().get().mean())
                                    : m.elbo().containsKey(k)
                                            ? OptionalDouble.of(m.elbo().get(k).mean())
                                            : OptionalDouble.empty())))
                    .append("</tr>"));
        });
        if (!rows.isEmpty()) {
            html.append(
                            "<section><h2>Baselines, means over seeds</h2><div class=\"scroll\"><table><thead><tr><th class=\"text\">setting</th>"
                                    + "<th class=\"text\">baseline</th><th>seeds</th><th>accuracy</th><th>\u2212NLL or ELBO_"
                                    + k
                                    + "</th></tr></thead><tbody>")
                    .append(rows)
                    .append("</tbody></table></div></section>");
        }
    }

    /** Mean and, of several, its 95 % interval. */
    private static String mean(List<EmReport.Measured> measured, Function<EmReport.Measured, OptionalDouble> value) {
        double[] values = measured.stream()
                .map(value)
                .filter(OptionalDouble::isPresent)
                .mapToDouble(OptionalDouble::getAsDouble)
                .toArray();
        if (values.length == 0) {
            return "\u2013";
        }
        if (values.length == 1) {
            return String.format(Locale.ROOT, "%.3f", values[0]);
        }
        Verdict.Change mean = Verdict.paired(values);
        return String.format(Locale.ROOT, "%.3f \u00b1 %.3f", mean.mean(), mean.high() - mean.mean());
    }

    // ---- parts of a run's page

    private static void overIterations(StringBuilder html, RunView run) {
        boolean many = run.seeds().size() > 1;
        List<Chart.Series> accuracy = new ArrayList<>();
        List<Chart.Series> selected = new ArrayList<>();
        for (RunView.SeedView seed : run.seeds()) {
            accuracy.add(accuracy(many ? "seed " + seed.seed() : "EM", seed, Verdict.heldOut(run)));
            selected.add(series(many ? "seed " + seed.seed() : "chosen", seed, HtmlReport::selected));
        }
        // of the baselines a mean over seeds: a line each
        TreeMap<String, List<Double>> flat = new TreeMap<>();
        TreeMap<String, List<Double>> likelihood = new TreeMap<>();
        for (RunView.SeedView seed : run.seeds()) {
            for (EmReport.Baseline baseline : seed.baselines()) {
                baseline.measured()
                        .accuracy()
                        .ifPresent(a -> flat.computeIfAbsent(baseline.name(), n -> new ArrayList<>())
                                .add(a));
                baseline.measured()
                        .nll()
                        .ifPresent(nll -> likelihood
                                .computeIfAbsent("\u2212NLL " + baseline.name(), n -> new ArrayList<>())
                                .add(-nll.mean()));
            }
        }
        flat.forEach((name, values) -> accuracy.add(flat(name, values)));
        figure(
                html,
                "Accuracy by iteration, 95 % intervals over answers" + (flat.isEmpty() ? "" : "; baselines as lines"),
                accuracy,
                "accuracy");
        List<Chart.Series> bounds = new ArrayList<>();
        for (RunView.SeedView seed : run.seeds()) {
            if (seed.iterations().isEmpty()) {
                continue;
            }
            List<Integer> ks =
                    List.copyOf(seed.iterations().getFirst().measured().elbo().keySet());
            for (int k : many && !ks.isEmpty() ? List.of(ks.getLast()) : ks) {
                List<Chart.Point> points = new ArrayList<>();
                for (EmReport.Iteration it : seed.iterations()) {
                    EmReport.Bound bound = it.measured().elbo().get(k);
                    if (bound != null) {
                        points.add(new Chart.Point(it.iteration(), bound.mean(), bound.low(), bound.high()));
                    }
                }
                bounds.add(new Chart.Series(many ? "seed " + seed.seed() : "ELBO_" + k, points, false));
            }
        }
        likelihood.forEach((name, values) -> bounds.add(flat(name, values)));
        figure(html, "Held-out bound by iteration, 95 % intervals over documents", bounds, "nats per document");
        figure(
                html,
                "Held-out NLL behind thoughts drawn before the text is seen, and behind none",
                likelihoods(run),
                "nats per document");
        figure(html, "Share of the chosen thoughts that are true", selected, "share");
    }

    /** Whether thoughts help where the text is not seen: of each seed two lines, and of the raw baselines one. */
    private static List<Chart.Series> likelihoods(RunView run) {
        List<Chart.Series> all = new ArrayList<>();
        TreeMap<String, List<Double>> raw = new TreeMap<>();
        for (RunView.SeedView seed : run.seeds()) {
            String of = run.seeds().size() > 1 ? " " + seed.seed() : "";
            all.add(series("prior thoughts" + of, seed, it -> gap(it, EmReport.PriorGap::priorThoughts)));
            all.add(series("empty thought" + of, seed, it -> gap(it, EmReport.PriorGap::noThought)));
            for (EmReport.Baseline baseline : seed.baselines()) {
                baseline.measured()
                        .nll()
                        .ifPresent(nll -> raw.computeIfAbsent(baseline.name(), n -> new ArrayList<>())
                                .add(nll.mean()));
            }
        }
        if (all.stream().allMatch(series -> series.points().isEmpty())) {
            return List.of(); // measured by no version that made this run
        }
        raw.forEach((name, values) -> all.add(flat(name, values)));
        return all;
    }

    private static OptionalDouble gap(EmReport.Iteration it, ToDoubleFunction<EmReport.PriorGap> value) {
        return it.measured()
                .priorGap()
                .map(gap -> OptionalDouble.of(value.applyAsDouble(gap)))
                .orElse(OptionalDouble.empty());
    }

    private static Chart.Series accuracy(String name, RunView.SeedView seed, int answers) {
        List<Chart.Point> points = new ArrayList<>();
        for (EmReport.Iteration it : seed.iterations()) {
            it.measured().accuracy().ifPresent(share -> {
                int of = it.measured()
                        .documents()
                        .map(documents -> documents.right().size())
                        .orElse(answers);
                Verdict.Change interval = Verdict.share(share, of);
                points.add(new Chart.Point(it.iteration(), share, interval.low(), interval.high()));
            });
        }
        return new Chart.Series(name, points, false);
    }

    private static void figure(StringBuilder html, String title, List<Chart.Series> series, String unit) {
        chart(html, title, Chart.lines(title, "iteration (0 = warm start)", unit, true, series));
    }

    /**
     * Of many series some figures, each with the first of all beside a few others: more than {@value #TOGETHER} lines nobody tells apart. What is
     * one point then, a warm start without an iteration, is left to the table.
     */
    private static void grouped(StringBuilder html, String title, List<Chart.Series> series, String unit) {
        List<Chart.Series> drawn =
                series.stream().filter(s -> !s.points().isEmpty()).toList();
        if (drawn.size() > TOGETHER && drawn.getFirst().points().size() > 1) {
            drawn = drawn.stream().filter(s -> s.points().size() > 1).toList();
        }
        if (drawn.size() <= TOGETHER) {
            figure(html, title, drawn, unit);
            return;
        }
        int figures = Math.ceilDiv(drawn.size() - 1, TOGETHER - 1);
        int each = Math.ceilDiv(drawn.size() - 1, figures);
        for (int from = 1; from < drawn.size(); from += each) {
            List<Chart.Series> some = new ArrayList<>(List.of(drawn.getFirst()));
            some.addAll(drawn.subList(from, Math.min(drawn.size(), from + each)));
            figure(html, title + " (" + (1 + from / each) + " of " + figures + ")", some, unit);
        }
    }

    private static void chart(StringBuilder html, String title, String svg) {
        if (!svg.isEmpty()) {
            html.append("<figure><figcaption>")
                    .append(Html.text(title))
                    .append("</figcaption>")
                    .append(svg)
                    .append("</figure>");
        }
    }

    private static void table(StringBuilder html, RunView.SeedView seed, boolean many) {
        if (many) {
            html.append("<h3>Seed ").append(seed.seed()).append("</h3>");
        }
        List<Integer> ks = seed.iterations().isEmpty()
                ? List.of()
                : List.copyOf(seed.iterations().getFirst().measured().elbo().keySet());
        List<EmReport.Measured> all = new ArrayList<>();
        seed.iterations().forEach(it -> all.add(it.measured()));
        seed.baselines().forEach(baseline -> all.add(baseline.measured()));
        List<Column> columns = columns(ks).stream()
                .filter(column ->
                        all.stream().anyMatch(m -> column.value().apply(m).isPresent()))
                .toList();
        html.append("<div class=\"scroll\"><table><thead><tr><th></th>");
        columns.forEach(column -> html.append("<th>" + column.name() + "</th>"));
        html.append("</tr></thead><tbody>");
        for (EmReport.Iteration it : seed.iterations()) {
            html.append(head(it));
            measured(html, it.measured(), columns);
        }
        for (EmReport.Baseline baseline : seed.baselines()) {
            html.append(head(baseline));
            measured(html, baseline.measured(), columns);
        }
        html.append(
                "</tbody></table></div><p class=\"quiet\">ELBO and NLL in nats per document of x, intervals by bootstrap over documents. NLL"
                        + " is of a model without thoughts; beside it, of one with thoughts, that behind thoughts drawn before the text is"
                        + " seen, and that behind an empty one. Per token and character of x: NLL, or minus the ELBO of the largest K.</p>");
        html.append(
                "<div class=\"scroll\"><table><thead><tr><th></th><th>ESS/K quartiles</th><th>largest weight</th><th>entropy</th>"
                        + "<th>sd log w</th><th>chosen true</th><th>cut off</th><th>malformed</th><th>length, chosen</th><th>r with log w</th>"
                        + "<th>distinct-3</th><th>repeats</th><th>KL per token</th></tr></thead><tbody>");
        for (EmReport.Iteration it : seed.iterations()) {
            html.append(head(it));
            drawn(html, it.drawn().or(it.measured()::draws));
        }
        for (EmReport.Baseline baseline : seed.baselines()) {
            if (baseline.measured().draws().isPresent()) {
                html.append(head(baseline));
                drawn(html, baseline.measured().draws());
            }
        }
        html.append(
                "</tbody></table></div><p class=\"quiet\">Of the thoughts of the E-step on the corpus; for iteration 0 and the"
                        + " baselines of the held-out draws. Largest weight: median; entropy: mean, of the weights over log K; length: median"
                        + " tokens drawn, and chosen; r: correlation of length and log w; repeats: share that an earlier draw of the chunk equals; KL:"
                        + " mean log q \u2212 log p(z) over tokens, nats.</p>");
        costs(html, seed);
    }

    /** What every stage cost: what the baselines are matched by. */
    private static void costs(StringBuilder html, RunView.SeedView seed) {
        html.append(
                "<div class=\"scroll\"><table><thead><tr><th></th><th>E-step</th><th>E-step FLOP</th><th>training</th>"
                        + "<th>tokens a document</th><th>training FLOP</th><th>FLOP so far</th></tr></thead><tbody>");
        double sum = 0;
        for (EmReport.Iteration it : seed.iterations()) {
            sum += it.eFlops().orElse(0) + it.cost().map(EmReport.Cost::flops).orElse(Double.NaN);
            html.append(head(it))
                    .append(cell(
                            it.drawn().map(d -> time(it.eSeconds(), d.tokens())).orElse("\u2013")))
                    .append(cell(number(it.eFlops(), "%.2e")))
                    .append(cell(time(it.mSeconds(), it.mTokens())));
            cost(html, it.cost());
            html.append(cell(Double.isNaN(sum) ? "\u2013" : String.format(Locale.ROOT, "%.2e", sum)))
                    .append("</tr>");
        }
        for (EmReport.Baseline baseline : seed.baselines()) {
            html.append(head(baseline))
                    .append(cell("\u2013").repeat(2))
                    .append(cell(baseline.cost()
                            .map(cost -> time(baseline.mSeconds(), cost.tokens()))
                            .orElseGet(() -> String.format(
                                    Locale.ROOT, "%.0f s, %,d steps", baseline.mSeconds(), baseline.steps()))));
            cost(html, baseline.cost());
            html.append(cell(baseline.cost()
                            .map(cost -> String.format(Locale.ROOT, "%.2e", cost.flops()))
                            .orElse("\u2013")))
                    .append("</tr>");
        }
        html.append(
                "</tbody></table></div><p class=\"quiet\">Predicted tokens. FLOP by the model's formula: three forward passes a trained token,"
                        + " one a token drawn or scored; measuring is not counted.");
        seed.baselines().stream()
                .filter(baseline -> !baseline.note().isEmpty())
                .forEach(
                        baseline -> html.append(" ").append(Html.text(baseline.name() + ": " + baseline.note() + ".")));
        html.append("</p>");
    }

    private static void cost(StringBuilder html, Optional<EmReport.Cost> cost) {
        html.append(cost.map(c -> cell(String.format(Locale.ROOT, "%.1f", c.documentTokens()))
                        + cell(String.format(Locale.ROOT, "%.2e", c.flops())))
                .orElse(cell("\u2013").repeat(2)));
    }

    private static String head(EmReport.Iteration it) {
        return "<tr><th scope=\"row\">iteration " + it.iteration() + (it.iteration() == 0 ? " (warm)" : "") + "</th>";
    }

    private static String head(EmReport.Baseline baseline) {
        return "<tr class=\"baseline\"><th scope=\"row\">" + Html.text(baseline.name()) + "</th>";
    }

    /** A column of the table of what was measured. */
    private record Column(String name, Function<EmReport.Measured, Optional<String>> value) {}

    private static List<Column> columns(List<Integer> ks) {
        List<Column> columns = new ArrayList<>();
        columns.add(new Column("accuracy", m -> text(m.accuracy(), "%.3f")));
        ks.forEach(k -> columns.add(new Column(
                "ELBO_" + k + " [95 %]",
                m -> Optional.ofNullable(m.elbo().get(k)).map(HtmlReport::bound))));
        columns.add(new Column("NLL [95 %]", m -> m.nll().map(HtmlReport::bound)));
        columns.add(new Column(
                "NLL, prior / empty thought",
                m -> m.priorGap()
                        .map(gap -> String.format(Locale.ROOT, "%.3f / %.3f", gap.priorThoughts(), gap.noThought()))));
        columns.add(new Column("per token [95 %]", m -> m.perUnit().map(unit -> fine(unit.token()))));
        columns.add(new Column(
                "per character [95 %]",
                m -> m.perUnit()
                        .flatMap(EmReport.PerUnit::character)
                        .map(HtmlReport::fine)
                        .or(() -> text(m.nllPerCharacter(), "%.4f"))));
        return columns;
    }

    private static Optional<String> text(OptionalDouble value, String format) {
        return value.isPresent() ? Optional.of(number(value, format)) : Optional.empty();
    }

    private static void measured(StringBuilder html, EmReport.Measured m, List<Column> columns) {
        columns.forEach(column -> html.append(cell(column.value().apply(m).orElse("\u2013"))));
        html.append("</tr>");
    }

    private static String fine(EmReport.Bound b) {
        return String.format(Locale.ROOT, "%.4f [%.4f, %.4f]", b.mean(), b.low(), b.high());
    }

    private static String bound(EmReport.Bound b) {
        return String.format(Locale.ROOT, "%.3f [%.3f, %.3f]", b.mean(), b.low(), b.high());
    }

    private static void drawn(StringBuilder html, Optional<EmReport.Draws> draws) {
        html.append(draws.map(d -> cell(String.format(
                                Locale.ROOT,
                                "%.2f %.2f %.2f",
                                d.essShare().low(),
                                d.essShare().median(),
                                d.essShare().high()))
                        + health(d, "%.2f", EmReport.Health::topWeight)
                        + health(d, "%.2f", EmReport.Health::entropy)
                        + cell(String.format(Locale.ROOT, "%.2f", d.spread()))
                        + cell(number(d.selectedCorrect(), "%.3f"))
                        + cell(String.format(Locale.ROOT, "%.1f %%", 100 * d.cutOff()))
                        + health(d, "%.1f %%", health -> 100 * health.malformed())
                        + cell(String.format(Locale.ROOT, "%.1f", d.length())
                                + d.health()
                                        .map(h -> String.format(Locale.ROOT, ", %.1f", h.chosenLength()))
                                        .orElse(""))
                        + health(d, "%.2f", EmReport.Health::lengthCorrelation)
                        + cell(String.format(Locale.ROOT, "%.3f", d.distinct3()))
                        + health(d, "%.1f %%", health -> 100 * health.duplicates())
                        + cell(number(
                                d.health().map(EmReport.Health::klPerToken).orElse(OptionalDouble.empty()), "%.3f")))
                .orElse(cell("\u2013").repeat(12)));
        html.append("</tr>");
    }

    private static String health(EmReport.Draws draws, String format, ToDoubleFunction<EmReport.Health> value) {
        return cell(draws.health()
                .map(health -> String.format(Locale.ROOT, format, value.applyAsDouble(health)))
                .orElse("\u2013"));
    }

    private static String time(double seconds, long tokens) {
        return String.format(
                Locale.ROOT,
                "%.0f s, %.2f M tokens, %,.0f/s",
                seconds,
                tokens / 1e6,
                seconds > 0 ? tokens / seconds : 0);
    }

    private static void draws(StringBuilder html, RunView run) {
        if (run.seeds().stream().allMatch(seed -> seed.draws().isEmpty())) {
            return;
        }
        html.append("<section><h2>Weights and lengths of the thoughts</h2>");
        for (RunView.SeedView seed : run.seeds()) {
            if (seed.draws().isEmpty()) {
                continue;
            }
            if (run.seeds().size() > 1) {
                html.append("<h3>Seed ").append(seed.seed()).append("</h3>");
            }
            html.append("<div class=\"figures\">");
            List<Chart.Series> ess = new ArrayList<>();
            List<Chart.Series> top = new ArrayList<>();
            List<Chart.Series> length = new ArrayList<>();
            double longest = 1;
            for (var entry : seed.draws().entrySet()) {
                RunView.Histograms h = entry.getValue();
                ess.add(values("iteration " + entry.getKey(), h.essShare()));
                top.add(values("iteration " + entry.getKey(), h.topWeight()));
                for (double l : h.proposedLength()) {
                    longest = Math.max(longest, l);
                }
            }
            var last = seed.draws().lastEntry();
            length.add(values("drawn, it. " + last.getKey(), last.getValue().proposedLength()));
            length.add(values("chosen, it. " + last.getKey(), last.getValue().chosenLength()));
            int bins = (int) Math.min(HISTOGRAM_BINS, longest + 1);
            chart(html, "ESS/K by chunk", Chart.histogram("ESS/K by chunk", "ESS/K", 0, 1.0001, HISTOGRAM_BINS, ess));
            chart(
                    html,
                    "Largest weight by chunk",
                    Chart.histogram("Largest weight by chunk", "normalised weight", 0, 1.0001, HISTOGRAM_BINS, top));
            chart(
                    html,
                    "Length of thoughts",
                    Chart.histogram("Length of thoughts", "tokens", 0, longest + 1, bins, length));
            html.append("</div>");
            seed.draws().values().stream()
                    .filter(h -> h.parts() < h.partsThere())
                    .findFirst()
                    .ifPresent(h -> html.append("<p class=\"quiet\">Drawn from " + h.parts() + " of " + h.partsThere()
                            + " files of thoughts per iteration.</p>"));
        }
        html.append("</section>");
    }

    private static void training(StringBuilder html, RunView run) {
        if (run.seeds().stream().allMatch(seed -> seed.curves().isEmpty())) {
            return;
        }
        html.append("<section><h2>Training loss</h2><div class=\"figures\">");
        for (RunView.SeedView seed : run.seeds()) {
            List<Chart.Series> em = new ArrayList<>();
            List<Chart.Series> others = new ArrayList<>();
            seed.curves().forEach((stage, steps) -> {
                Chart.Series series = new Chart.Series(
                        stage.replace("iteration ", "it. ").replace("baseline ", ""),
                        steps.stream()
                                .map(step -> Chart.Point.of(step.step(), step.loss()))
                                .toList(),
                        false);
                (stage.startsWith("baseline") ? others : em).add(series);
            });
            String of = run.seeds().size() > 1 ? ", seed " + seed.seed() : "";
            String title = run.training().isPresent() ? "Training loss" : "Training loss of EM" + of;
            chart(html, title, Chart.lines(title, "step", "nats per token", false, em));
            chart(
                    html,
                    "Baselines" + of,
                    Chart.lines("Training loss of the baselines" + of, "step", "nats per token", false, others));
        }
        html.append("</div></section>");
    }

    private static void thoughts(StringBuilder html, RunView run) {
        if (run.seeds().stream().allMatch(seed -> seed.shown().isEmpty())) {
            return;
        }
        html.append("<section><h2>The same chunks with all their thoughts</h2>"
                + "<p class=\"quiet\">\u25cf chosen; the bar is the normalised weight.</p>");
        for (RunView.SeedView seed : run.seeds()) {
            if (seed.shown().isEmpty()) {
                continue;
            }
            int chunks = seed.shown().lastEntry().getValue().size();
            for (int c = 0; c < chunks; c++) {
                EmReport.Shown latest = seed.shown().lastEntry().getValue().get(c);
                html.append("<details")
                        .append(c < 2 ? " open" : "")
                        .append("><summary>")
                        .append(run.seeds().size() > 1 ? "seed " + seed.seed() + ", " : "")
                        .append(Html.text(latest.document()))
                        .append(" chunk ")
                        .append(latest.chunk())
                        .append("</summary><p class=\"chunk\"><span class=\"quiet\">")
                        .append(Html.text(latest.context()))
                        .append("</span> ")
                        .append(Html.text(latest.text()))
                        .append("</p>");
                for (var entry : seed.shown().entrySet()) {
                    if (c < entry.getValue().size()) {
                        shown(html, entry.getValue().get(c));
                    }
                }
                html.append("</details>");
            }
        }
        html.append("</section>");
    }

    private static void shown(StringBuilder html, EmReport.Shown chunk) {
        html.append("<h4>Iteration ").append(chunk.iteration()).append("</h4><ul class=\"thoughts\">");
        for (EmReport.ShownThought thought : chunk.thoughts()) {
            html.append(thought.chosen() ? "<li class=\"chosen\">" : "<li>")
                    .append("<span class=\"mark\">")
                    .append(thought.chosen() ? "\u25cf" : "\u25cb")
                    .append("</span><span class=\"weight\" title=\"normalised weight\"><i style=\"width:")
                    .append(String.format(Locale.ROOT, "%.1f", 100 * thought.weight()))
                    .append("%\"></i>")
                    .append(String.format(Locale.ROOT, "%.3f", thought.weight()))
                    .append("</span><span class=\"logw\">log w ")
                    .append(
                            thought.logWeight() == Double.NEGATIVE_INFINITY
                                    ? "\u2212\u221e"
                                    : String.format(Locale.ROOT, "%.2f", thought.logWeight()))
                    .append("</span><span class=\"thought\">")
                    .append(thought.text().isEmpty() ? "<em>empty</em>" : Html.text(thought.text()))
                    .append(thought.finished() ? "" : " <em>(" + thought.fault() + ")</em>")
                    .append("</span></li>");
        }
        html.append("</ul>");
    }

    private static void warnings(StringBuilder html, RunView run) {
        if (run.warnings().isEmpty()) {
            html.append("<p>No warning was raised.</p>");
        } else {
            html.append("<details")
                    .append(run.warnings().size() <= TOGETHER ? " open" : "")
                    .append("><summary>Warnings: ")
                    .append(run.warnings().size())
                    .append("</summary><ul class=\"notices\">");
            run.warnings()
                    .forEach(line -> html.append("<li>").append(Html.text(line)).append("</li>"));
            html.append("</ul></details>");
        }
        if (!run.notices().isEmpty()) {
            html.append("<details><summary>Notices of the run</summary><ul class=\"notices\">");
            run.notices()
                    .forEach(line -> html.append("<li>").append(Html.text(line)).append("</li>"));
            html.append("</ul></details>");
        }
    }

    private static void configuration(StringBuilder html, RunView run) {
        html.append("<section><h2>Settings and provenance</h2><div class=\"scroll\"><table class=\"plain\"><tbody>");
        run.provenance()
                .forEach((key, value) -> html.append("<tr><th scope=\"row\">")
                        .append(Html.text(key))
                        .append("</th><td>")
                        .append(Html.text(value))
                        .append("</td></tr>"));
        html.append("</tbody></table></div><details><summary>Resolved configuration</summary><pre>")
                .append(Html.text(run.config().toJson()))
                .append("</pre></details></section>");
    }

    // ---- helpers of figures

    private static OptionalDouble selected(EmReport.Iteration it) {
        return it.drawn().map(EmReport.Draws::selectedCorrect).orElse(OptionalDouble.empty());
    }

    private static OptionalDouble elbo(EmReport.Iteration it, int k) {
        EmReport.Bound bound = it.measured().elbo().get(k);
        return bound == null ? OptionalDouble.empty() : OptionalDouble.of(bound.mean());
    }

    private static Chart.Series series(
            String name, RunView.SeedView seed, Function<EmReport.Iteration, OptionalDouble> value) {
        List<Chart.Point> points = new ArrayList<>();
        for (EmReport.Iteration it : seed.iterations()) {
            value.apply(it).ifPresent(v -> points.add(Chart.Point.of(it.iteration(), v)));
        }
        return new Chart.Series(name, points, false);
    }

    /** @param share values are shares: no interval reaches beyond 0 and 1 */
    private static List<Chart.Series> means(
            Map<String, List<RunView.SeedView>> settings,
            boolean share,
            Function<EmReport.Iteration, OptionalDouble> value) {
        List<Chart.Series> all = new ArrayList<>();
        settings.forEach((name, seeds) -> {
            List<Chart.Point> points = new ArrayList<>();
            int most = seeds.stream().mapToInt(s -> s.iterations().size()).max().orElse(0);
            for (int i = 0; i < most; i++) {
                int at = i;
                double[] values = seeds.stream()
                        .filter(s -> s.iterations().size() > at)
                        .map(s -> value.apply(s.iterations().get(at)))
                        .filter(OptionalDouble::isPresent)
                        .mapToDouble(OptionalDouble::getAsDouble)
                        .toArray();
                if (values.length == 1) {
                    points.add(Chart.Point.of(i, values[0]));
                } else if (values.length > 1) {
                    Verdict.Change mean = Verdict.paired(values);
                    points.add(new Chart.Point(
                            i,
                            mean.mean(),
                            share ? Math.max(0, mean.low()) : mean.low(),
                            share ? Math.min(1, mean.high()) : mean.high()));
                }
            }
            all.add(new Chart.Series(name, points, false));
        });
        return all;
    }

    private static Chart.Series flat(String name, List<Double> values) {
        double mean = values.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
        return new Chart.Series(name, List.of(Chart.Point.of(0, mean)), true);
    }

    private static Chart.Series values(String name, double[] values) {
        List<Chart.Point> points = new ArrayList<>(values.length);
        for (double value : values) {
            points.add(Chart.Point.of(value, 0));
        }
        return new Chart.Series(name, points, false);
    }

    private static String row(RunView.SeedView seed, Function<EmReport.Iteration, OptionalDouble> value) {
        StringBuilder text = new StringBuilder();
        for (EmReport.Iteration it : seed.iterations()) {
            text.append(text.isEmpty() ? "" : " ").append(number(value.apply(it), "%.3f"));
        }
        return text.toString();
    }

    private static String cell(String text) {
        return "<td>" + Html.text(text) + "</td>";
    }

    private static String number(OptionalDouble value, String format) {
        return value.isPresent() ? String.format(Locale.ROOT, format, value.getAsDouble()) : "\u2013";
    }

    private static String name(RunView run) {
        return String.valueOf(run.root().toAbsolutePath().normalize().getFileName());
    }

    private static String subtitle(RunView run) {
        String corpus = run.config().corpus().path().isEmpty()
                ? "chain world (" + run.config().world().rendering() + ")"
                : run.config().corpus().path();
        String method = run.training()
                .map(training -> "training on " + training.on().name().toLowerCase(Locale.ROOT))
                .orElseGet(() -> String.format(
                        Locale.ROOT,
                        "K = %d, selection %s, %d iteration%s",
                        run.config().em().samples(),
                        run.config().em().selection(),
                        run.config().em().iterations(),
                        run.config().em().iterations() == 1 ? "" : "s"));
        return String.format(
                Locale.ROOT,
                "%s, %s, seed%s %s%s",
                corpus,
                method,
                run.config().seeds().size() == 1 ? "" : "s",
                String.join(
                        ", ", run.config().seeds().stream().map(String::valueOf).toList()),
                run.wallSeconds()
                        .map(s -> run.sittings() > 1
                                ? String.format(
                                        Locale.ROOT, ", finished in %d sittings, the last of %.0f s", run.sittings(), s)
                                : String.format(Locale.ROOT, ", finished in %.0f s", s))
                        .orElse(""));
    }

    /** What a live page compares: everything shown, as text. */
    static String json(String body) {
        return JsonMapper.shared().writeValueAsString(Map.of("body", body));
    }

    private static String document(String title, String head, String body) {
        return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                + "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                + "<meta name=\"color-scheme\" content=\"light dark\">"
                // nothing is fetched but, by a served page, from where it was served
                + "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
                + " script-src 'unsafe-inline'; connect-src 'self'\">"
                + "<link rel=\"icon\" href=\"data:,\"><title>"
                + Html.text(title) + "</title><style>" + STYLE + "</style>" + head + "</head><body><main id=\"page\">"
                + body
                + "</main></body></html>\n";
    }

    private static final String STYLE = """
            :root{--paper:#fcfcfb;--ink:#1c1c1a;--quiet:#5d5d58;--grid:#e2e2de;--card:#ffffff;--edge:#d9d9d4;
            --series-0:#0b5fa5;--series-1:#b34700;--series-2:#00734f;--series-3:#9b2c77;--series-4:#6a5a00;--series-5:#3b3fa8;
            --series-6:#8a1f1f;--series-7:#4d5b66}
            @media (prefers-color-scheme:dark){:root{--paper:#161615;--ink:#ecece8;--quiet:#a3a39c;--grid:#33332f;--card:#1e1e1c;--edge:#3a3a36;
            --series-0:#6bb3f0;--series-1:#f29a5c;--series-2:#52c99f;--series-3:#e28bc5;--series-4:#d3bf4a;--series-5:#a2a6f5;
            --series-6:#f08a8a;--series-7:#a9b8c4}}
            *{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
            main{max-width:1240px;margin:0 auto;padding:20px 16px 60px}h1{font-size:26px;margin:0}h2{font-size:19px;margin:34px 0 10px}
            h3{font-size:16px;margin:18px 0 6px}h4{font-size:13px;margin:10px 0 2px;color:var(--quiet);font-weight:600}
            .quiet{color:var(--quiet);font-size:13px;margin:4px 0}.state{border-left:4px solid var(--series-0);padding:6px 12px;background:var(--card)}
            .verdict{padding-left:20px;margin:6px 0}.verdict li{margin:5px 0;max-width:90ch}.notices li{margin:4px 0;max-width:90ch}
            .figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:14px}
            figure{margin:0;background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:10px 10px 4px;min-width:0}
            figcaption{font-weight:600;font-size:14px;margin:0 0 4px 4px}svg{width:100%;height:auto;display:block}
            .narrow{display:none}@media (max-width:640px){.wide{display:none}.narrow{display:block}}
            svg text{fill:var(--quiet);font:11.5px system-ui,sans-serif}svg .name{fill:var(--ink)}svg .axis{fill:var(--quiet)}
            .grid{stroke:var(--grid);fill:none}.line{fill:none;stroke-width:2}.flat{stroke-width:1.4}.whisker{fill:none;stroke-width:1.2}
            .lead{stroke:var(--grid);fill:none}
            .scroll{overflow-x:auto;margin:12px 0 4px;background:linear-gradient(90deg,var(--paper) 30%,transparent),
            linear-gradient(270deg,var(--paper) 30%,transparent) 100% 0,linear-gradient(90deg,var(--edge),transparent),
            linear-gradient(270deg,var(--edge),transparent) 100% 0;background-repeat:no-repeat;background-size:48px 100%,48px 100%,16px 100%,16px 100%;
            background-attachment:local,local,scroll,scroll}table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;white-space:nowrap}
            th,td{padding:4px 10px;border-bottom:1px solid var(--edge);text-align:right}thead th{color:var(--quiet);font-weight:600}
            th[scope=row]{text-align:left;font-weight:600;position:sticky;left:0;background:var(--paper)}.baseline th[scope=row]{font-weight:400}
            .text{text-align:left}.plain td{text-align:left;white-space:normal;overflow-wrap:anywhere}
            details{border:1px solid var(--edge);border-radius:8px;padding:8px 12px;margin:8px 0;background:var(--card)}
            summary{cursor:pointer;font-weight:600;font-size:14px}.chunk{margin:6px 0;overflow-wrap:anywhere}
            .thoughts{list-style:none;margin:0;padding:0}.thoughts li{display:flex;flex-wrap:wrap;gap:2px 10px;align-items:baseline;padding:2px 0;font-size:13.5px}
            .chosen .thought{font-weight:600}.weight{position:relative;width:86px;font-variant-numeric:tabular-nums;text-align:right;padding-right:4px;
            border:1px solid var(--edge)}.weight i{position:absolute;left:0;top:0;bottom:0;background:var(--series-0);opacity:.28}
            .logw{color:var(--quiet);min-width:92px;white-space:nowrap;font-variant-numeric:tabular-nums}.thought{flex:1 1 220px;overflow-wrap:anywhere;font-family:ui-monospace,monospace}
            pre{overflow-x:auto;font-size:12.5px}
            """;
}
