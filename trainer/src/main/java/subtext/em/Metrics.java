package subtext.em;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Consumer;
import subtext.io.AtomicFiles;
import subtext.run.MetricsLog;
import subtext.run.RunDirectory;

/** Writes what is measured into the run's folder, and passes every event on. */
final class Metrics implements Consumer<EmEvent> {
    /** Steps between two lines of training metrics, at most, and lines of a training, at least: enough to draw a curve. */
    private static final int EVERY = 50;

    private static final int LINES = 20;

    private static final String HEAD =
            "seed,arm,iteration,accuracy,bound,elbo,low,high,nll,ess_share,selected_correct,cut_off,length,distinct3,loss,e_seconds,m_seconds"
                    + ",malformed,kl_per_token,e_flops,m_tokens,m_flops\n";

    private final RunDirectory directory;
    private final MetricsLog log;
    private final Consumer<EmEvent> next;
    private boolean started;
    private final StringBuilder csv = new StringBuilder(HEAD);

    Metrics(RunDirectory directory, MetricsLog log, Consumer<EmEvent> next) {
        this.directory = directory;
        this.log = log;
        this.next = next;
    }

    @Override
    public void accept(EmEvent event) {
        switch (event) {
            case EmEvent.RunStarted e -> {
                if (!started) { // it comes with every seed
                    line(
                            "run",
                            fields(
                                    "at",
                                    Instant.now().toString(),
                                    "resumed",
                                    e.resumed(),
                                    "parameters",
                                    e.parameters(),
                                    "device",
                                    e.device()));
                }
                started = true;
            }
            case EmEvent.StageStarted e ->
                line("stage", fields("seed", e.seed(), "stage", e.stage(), "done", e.done(), "total", e.total()));
            case EmEvent.StepTrained e -> {
                int every = Math.clamp(e.steps() / LINES, 1, EVERY);
                if (e.step() % every == 0 || e.step() == e.steps() || e.skipped()) {
                    line(
                            "step",
                            fields(
                                    "seed",
                                    e.seed(),
                                    "stage",
                                    e.stage(),
                                    "step",
                                    e.step(),
                                    "loss",
                                    e.loss(),
                                    "gradientNorm",
                                    e.gradientNorm(),
                                    "learningRate",
                                    e.learningRate(),
                                    "tokensPerSecond",
                                    e.tokensPerSecond(),
                                    "skipped",
                                    e.skipped()));
                }
            }
            case EmEvent.LatentsDrawn e ->
                line(
                        "latents",
                        fields(
                                "seed",
                                e.seed(),
                                "iteration",
                                e.iteration(),
                                "part",
                                e.part(),
                                "chunks",
                                e.chunks(),
                                "essShare",
                                e.essShare(),
                                "elbo",
                                e.elbo(),
                                "tokensPerSecond",
                                e.tokensPerSecond()));
            case EmEvent.CheckpointWritten e -> {}
            case EmEvent.Notice e -> line("notice", Map.of("line", e.line()));
            case EmEvent.Warned e ->
                line(
                        "warning",
                        fields(
                                "seed",
                                e.seed(),
                                "iteration",
                                e.iteration(),
                                "kind",
                                e.warning().kind().name(),
                                "level",
                                e.warning().level().name(),
                                "value",
                                e.warning().value(),
                                "threshold",
                                e.warning().threshold(),
                                "line",
                                e.warning().sentence()));
            case EmEvent.IterationFinished e -> {
                line("iteration", with(e.seed(), EmReport.tree(e.iteration())));
                EmReport.Iteration it = e.iteration();
                rows(
                        e.seed(),
                        "em",
                        it.iteration(),
                        it.measured(),
                        it.drawn().or(it.measured()::draws),
                        it.loss(),
                        it.eSeconds(),
                        it.mSeconds(),
                        it.eFlops(),
                        it.cost());
            }
            case EmEvent.BaselineFinished e -> {
                line("baseline", with(e.seed(), EmReport.tree(e.baseline())));
                EmReport.Baseline b = e.baseline();
                rows(
                        e.seed(),
                        b.name(),
                        -1,
                        b.measured(),
                        b.measured().draws(),
                        b.loss(),
                        0,
                        b.mSeconds(),
                        OptionalDouble.empty(),
                        b.cost());
            }
            case EmEvent.RunFinished e ->
                line("finished", Map.of("wallSeconds", e.report().wallSeconds()));
        }
        next.accept(event);
    }

    private void line(String kind, Map<String, Object> fields) {
        try {
            log.add(kind, fields);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A row per bound, or one with the likelihood of a raw model. Written anew each time: it holds every stage found or finished. */
    private void rows(
            long seed,
            String arm,
            int iteration,
            EmReport.Measured measured,
            Optional<EmReport.Draws> draws,
            double loss,
            double eSeconds,
            double mSeconds,
            OptionalDouble eFlops,
            Optional<EmReport.Cost> cost) {
        String head = seed + "," + arm + "," + (iteration < 0 ? "" : iteration) + "," + text(measured.accuracy()) + ",";
        String tail = draws.map(d -> d.essShareMean() + "," + text(d.selectedCorrect()) + "," + d.cutOff() + ","
                                + d.length() + "," + d.distinct3())
                        .orElse(",,,,")
                + "," + loss + "," + eSeconds + "," + mSeconds
                + draws.flatMap(EmReport.Draws::health)
                        .map(health -> "," + health.malformed() + "," + text(health.klPerToken()))
                        .orElse(",,")
                + "," + text(eFlops)
                + cost.map(c -> "," + c.tokens() + "," + c.flops()).orElse(",,") + "\n";
        measured.elbo()
                .forEach((k, bound) -> csv.append(head)
                        .append(k + "," + bound.mean() + "," + bound.low() + "," + bound.high() + ",," + tail));
        measured.nll()
                .ifPresent(nll ->
                        csv.append(head).append(",," + -nll.high() + "," + -nll.low() + "," + nll.mean() + "," + tail));
        try {
            AtomicFiles.write(directory.csv(), csv.toString());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String text(OptionalDouble value) {
        return value.isPresent() ? Double.toString(value.getAsDouble()) : "";
    }

    private static Map<String, Object> with(long seed, Map<String, Object> tree) {
        Map<String, Object> all = fields("seed", seed);
        all.putAll(tree);
        return all;
    }

    private static Map<String, Object> fields(Object... pairs) {
        Map<String, Object> fields = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            fields.put((String) pairs[i], pairs[i + 1]);
        }
        return fields;
    }
}
