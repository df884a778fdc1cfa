package subtext.cli;

import java.io.PrintWriter;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import subtext.em.EmEvent;
import subtext.em.EmReport;
import subtext.run.ProcessMemory;

/**
 * Prints a run's events for a person: what started and what was found, a line each, and between them one line of progress with the time
 * left, tokens per second and the memory that the process holds. On a terminal that line has a bar and is rewritten in place, elsewhere it
 * comes every ten seconds.
 */
final class Progress implements Consumer<EmEvent> {
    private static final long LINE_NANOS = 10_000_000_000L;
    private static final long REDRAW_NANOS = 200_000_000L;
    private static final int BAR = 20;
    /** A line longer than the terminal is wide is cut off at its edge: wrapped, it could not be rewritten. */
    private static final String NO_WRAP = "\u001b[?7l";

    private static final String WRAP = "\u001b[?7h";

    private final PrintWriter err;
    private final boolean terminal;
    private final LongSupplier clock;
    private final Supplier<OptionalLong> memory;
    private boolean open;
    private long shown;
    private String stage = "";
    private long stageBegan;
    private long firstUnit;

    Progress(PrintWriter err, boolean terminal) {
        this(err, terminal, System::nanoTime, ProcessMemory::resident);
    }

    /** @param memory bytes that the process holds, where that can be told */
    Progress(PrintWriter err, boolean terminal, LongSupplier clock, Supplier<OptionalLong> memory) {
        this.err = err;
        this.terminal = terminal;
        this.clock = clock;
        this.memory = memory;
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
                        "step",
                        e.step(),
                        e.steps(),
                        e.tokensPerSecond(),
                        () -> String.format(
                                Locale.ROOT,
                                "loss %.4f  norm %.2f  lr %.2g",
                                e.loss(),
                                e.gradientNorm(),
                                e.learningRate()));
            }
            case EmEvent.LatentsDrawn e ->
                progress(
                        "part",
                        e.part() + 1,
                        e.parts(),
                        e.tokensPerSecond(),
                        () -> String.format(
                                Locale.ROOT, "%d chunks  ESS/K %.2f  ELBO %.3f", e.chunks(), e.essShare(), e.elbo()));
            case EmEvent.CheckpointWritten e -> {}
            case EmEvent.Notice e -> line(e.line());
            case EmEvent.Warned e ->
                line("seed %d, iteration %d: %s: %s"
                        .formatted(
                                e.seed(),
                                e.iteration(),
                                e.warning().level().label(),
                                e.warning().sentence()));
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

    private void progress(String unit, int done, int of, double tokensPerSecond, Supplier<String> more) {
        long now = clock.getAsLong();
        if (done != of && now - shown < (terminal ? REDRAW_NANOS : LINE_NANOS)) {
            return;
        }
        shown = now;
        OptionalLong held = memory.get();
        String text = String.format(
                Locale.ROOT,
                "  %s %d of %d%s  %s left  %,.0f tokens/s%s  %s",
                unit,
                done,
                of,
                terminal ? "  " + bar(done, of) : "",
                left(done, of),
                tokensPerSecond,
                held.isPresent() ? "  " + bytes(held.getAsLong()) : "",
                more.get());
        if (terminal) {
            err.print("\r" + NO_WRAP + text + "\u001b[K" + WRAP);
            err.flush();
            open = true;
        } else {
            err.println(text);
            err.flush();
        }
    }

    /** {@code [########------------]  40 %}. */
    static String bar(int done, int of) {
        int full = (int) ((long) BAR * done / of);
        return String.format(Locale.ROOT, "[%s%s] %3d %%", "#".repeat(full), "-".repeat(BAR - full), 100L * done / of);
    }

    /** Megabytes, or gigabytes where there are many. */
    static String bytes(long bytes) {
        return bytes < 10_000_000_000L
                ? String.format(Locale.ROOT, "%.0f MB", bytes * 1e-6)
                : String.format(Locale.ROOT, "%.1f GB", bytes * 1e-9);
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
