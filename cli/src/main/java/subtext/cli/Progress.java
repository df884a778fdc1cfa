package subtext.cli;

import java.io.PrintWriter;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import subtext.em.EmEvent;
import subtext.em.EmReport;

/**
 * Prints a run's events for a person: what started and what was found, a line each, and between them one line of progress with tokens per
 * second and the time left. On a terminal that line is rewritten in place, elsewhere it comes every ten seconds.
 */
final class Progress implements Consumer<EmEvent> {
    private static final long LINE_NANOS = 10_000_000_000L;
    private static final long REDRAW_NANOS = 200_000_000L;

    private final PrintWriter err;
    private final boolean terminal;
    private final LongSupplier clock;
    private boolean open;
    private long shown;
    private String stage = "";
    private long stageBegan;
    private long firstUnit;

    Progress(PrintWriter err, boolean terminal) {
        this(err, terminal, System::nanoTime);
    }

    Progress(PrintWriter err, boolean terminal, LongSupplier clock) {
        this.err = err;
        this.terminal = terminal;
        this.clock = clock;
    }

    @Override
    public void accept(EmEvent event) {
        switch (event) {
            case EmEvent.RunStarted e ->
                line("%s in %s: %,d parameters on %s"
                        .formatted(
                                e.resumed() ? "going on with the run" : "new run",
                                e.run(),
                                e.parameters(),
                                e.device()));
            case EmEvent.StageStarted e -> {
                stage = e.stage();
                stageBegan = clock.getAsLong();
                firstUnit = e.done();
                String found =
                        e.done() == 0 ? "" : e.done() >= e.total() ? ", found finished" : ", going on at " + e.done();
                line("seed %d, %s: %,d %s%s".formatted(e.seed(), e.stage(), e.total(), e.unit(), found));
            }
            case EmEvent.StepTrained e -> {
                if (e.skipped()) {
                    line("seed %d, %s: step %d not taken, gradient norm %.3g"
                            .formatted(e.seed(), e.stage(), e.step(), e.gradientNorm()));
                }
                progress(
                        e.step() == e.steps(),
                        () -> String.format(
                                Locale.ROOT,
                                "  step %d of %d  loss %.4f  norm %.2f  lr %.2g  %,.0f tokens/s  %s left",
                                e.step(),
                                e.steps(),
                                e.loss(),
                                e.gradientNorm(),
                                e.learningRate(),
                                e.tokensPerSecond(),
                                left(e.step(), e.steps())));
            }
            case EmEvent.LatentsDrawn e ->
                progress(
                        e.part() + 1 == e.parts(),
                        () -> String.format(
                                Locale.ROOT,
                                "  part %d of %d  %d chunks  ESS/K %.2f  ELBO %.3f  %,.0f tokens/s  %s left",
                                e.part() + 1,
                                e.parts(),
                                e.chunks(),
                                e.essShare(),
                                e.elbo(),
                                e.tokensPerSecond(),
                                left(e.part() + 1, e.parts())));
            case EmEvent.CheckpointWritten e -> {}
            case EmEvent.Notice e -> line(e.line());
            case EmEvent.Warned e ->
                line("seed %d, iteration %d: warning: %s"
                        .formatted(e.seed(), e.iteration(), e.warning().sentence()));
            case EmEvent.IterationFinished e ->
                line("seed %d, iteration %d:%s"
                        .formatted(
                                e.seed(),
                                e.iteration().iteration(),
                                summary(e.iteration().measured())));
            case EmEvent.BaselineFinished e ->
                line("seed %d, %s:%s"
                        .formatted(
                                e.seed(),
                                e.baseline().name(),
                                summary(e.baseline().measured())));
            case EmEvent.RunFinished e ->
                line("finished in " + duration(e.report().wallSeconds()) + ": "
                        + e.report().run());
        }
    }

    private static String summary(EmReport.Measured measured) {
        StringBuilder text = new StringBuilder();
        OptionalDouble accuracy = measured.accuracy();
        if (accuracy.isPresent()) {
            text.append(String.format(Locale.ROOT, " accuracy %.3f", accuracy.getAsDouble()));
        }
        measured.elbo()
                .forEach((k, bound) -> text.append(String.format(Locale.ROOT, " ELBO_%d %.3f", k, bound.mean())));
        measured.nll().ifPresent(nll -> text.append(String.format(Locale.ROOT, " NLL %.3f", nll.mean())));
        return text.toString();
    }

    /** The time the stage will still take if it goes on as it went since it began. */
    private String left(long unit, long units) {
        long done = unit - firstUnit;
        if (done <= 0) {
            return "?";
        }
        return duration((clock.getAsLong() - stageBegan) * 1e-9 / done * (units - unit));
    }

    static String duration(double seconds) {
        long whole = Math.round(seconds);
        if (whole < 60) {
            return whole + " s";
        }
        return whole < 3600
                ? "%d min %02d s".formatted(whole / 60, whole % 60)
                : "%d h %02d min".formatted(whole / 3600, whole % 3600 / 60);
    }

    private void progress(boolean last, java.util.function.Supplier<String> text) {
        long now = clock.getAsLong();
        if (!last && now - shown < (terminal ? REDRAW_NANOS : LINE_NANOS)) {
            return;
        }
        shown = now;
        if (terminal) {
            err.print("\r" + text.get() + "\u001b[K");
            err.flush();
            open = true;
        } else {
            err.println(text.get());
        }
    }

    private void line(String text) {
        if (open) {
            err.print("\r\u001b[K");
            open = false;
        }
        err.println(text);
        err.flush();
    }
}
