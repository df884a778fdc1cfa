package subtext.experiment;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.BiConsumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import subtext.bindings.EngineException;
import subtext.em.EmEvent;
import subtext.em.EmRun;
import subtext.em.EmSettings;
import subtext.io.AtomicFiles;
import subtext.report.HtmlReport;
import subtext.report.RunView;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;
import subtext.run.Spelling;
import subtext.run.StopSignal;

/**
 * The study of the chain world: every arm for the same seeds and the same budget of steps, each a run in a folder of its own. A folder
 * goes on where it was left: finished arms are kept, one that was stopped is resumed. The warm start of arms that share it is trained
 * once, by the first of them, and copied, which gives the bits that training it again would.
 */
public final class ChainExperiment {
    /** The arm that all others are compared with. */
    public static final String BASE = "k4";

    private static final String ARMS = "arms";
    private static final String ITERATIONS = "4";

    private final Path folder;
    private final RunConfig shared;
    private final List<Arm> arms;

    /**
     * An experiment, begun or to be gone on with.
     *
     * @param folder of the experiment
     * @param shared settings of all arms, seeds included
     * @param arms which, in the order in which they are begun
     * @throws EngineException.InvalidConfig if the folder holds an experiment with other settings, or an arm cannot be
     */
    public ChainExperiment(Path folder, RunConfig shared, List<Arm> arms) {
        this.folder = folder;
        this.shared = shared;
        this.arms = List.copyOf(arms);
        for (Arm arm : arms) {
            subtext.em.EmPlan.of(arm.over(shared));
            if (started(arm)) {
                RunDirectory.requireSame(run(arm), arm.over(shared));
            }
        }
    }

    /** {@return the settings that arms share if nothing else is said: the chain world with the study's sizes, five seeds, four iterations} */
    public static RunConfig settings() {
        return RunConfig.preset("chain")
                .with("seeds", "0,1,2,3,4")
                .with("world.documents", "4500")
                .with("world.heldOut", "2000")
                .with("em.iterations", ITERATIONS)
                .with("baselines", "[]");
    }

    /** {@return all arms, the base first, since it trains the warm start of most others} */
    public static List<Arm> all() {
        List<Arm> arms = new ArrayList<>();
        arms.add(Arm.of(
                BASE,
                "the method, K = 4, beside every baseline",
                "baselines",
                RunConfig.USUAL_BASELINES.stream().map(b -> '"' + b + '"').collect(Collectors.joining(",", "[", "]"))));
        arms.add(Arm.of("k1", "nothing to choose from: no gain is expected", "em.samples", "1"));
        arms.add(Arm.of("k2", "does a second draw help?", "em.samples", "2"));
        arms.add(Arm.of("k8", "do more draws help?", "em.samples", "8"));
        arms.add(Arm.of("k16", "do they still?", "em.samples", "16"));
        arms.add(Arm.of("uniform", "one of four at random: is it the weight?", "em.selection", "uniform"));
        arms.add(Arm.of("best", "the heaviest of four: is resampling needed?", "em.selection", "best"));
        arms.add(Arm.of("likelihood", "weight p(x|z) alone: are p(z) and q needed?", "em.weight", "likelihood"));
        arms.add(Arm.of("all", "the loss of all four by their weight, instead of one", "em.selection", "all"));
        arms.add(Arm.of("folds2", "cross-fitted: explained by a model that has not seen the text", "em.folds", "2"));
        arms.add(Arm.of("carry", "each M-step goes on from the last, instead of from scratch", "em.restart", "carry"));
        arms.add(Arm.of("prior25", "a quarter of the training in prior order", "em.priorShare", "0.25"));
        arms.add(Arm.of("prior75", "three quarters in prior order", "em.priorShare", "0.75"));
        arms.add(Arm.of("warm450", "a weaker warm start", "world.warmStart", "450"));
        arms.add(Arm.of("warm800", "a stronger warm start", "world.warmStart", "800"));
        arms.add(Arm.of("teacher10", "a teacher that slips in 1 thought of 10", "world.teacherErrors", "0.1"));
        arms.add(Arm.of("teacher30", "a teacher that slips in 3 thoughts of 10", "world.teacherErrors", "0.3"));
        for (int percent : new int[] {10, 25, 75}) { // a half stands beside the base
            arms.add(Arm.of(
                    "mix" + percent,
                    "raw text, " + percent + " % of the documents with a teacher's thoughts; no EM",
                    "em.teacherShare",
                    String.valueOf(percent / 100.0),
                    "em.iterations",
                    "0",
                    "baselines",
                    "[\"raw-plus-teacher\"]"));
        }
        arms.add(Arm.of(
                "paraphrase",
                "each document said in four ways, without thoughts",
                "em.iterations",
                "0",
                "baselines",
                "[\"raw-paraphrase\"]"));
        for (int times : new int[] {4, 16, 64}) {
            arms.add(Arm.of(
                    "raw" + times + "x",
                    times + " times the documents, without thoughts",
                    "world.documents",
                    String.valueOf(4500 * times),
                    "em.iterations",
                    "0",
                    "baselines",
                    "[\"raw-token-match\"]"));
        }
        return List.copyOf(arms);
    }

    /**
     * {@return the arms of these names, in the order of {@link #all}}
     *
     * @param names in any order; a name given twice counts once
     * @throws EngineException.InvalidConfig if there is none of a name
     */
    public static List<Arm> named(List<String> names) {
        List<String> known = all().stream().map(Arm::name).toList();
        for (String name : names) {
            if (!known.contains(name)) {
                throw new EngineException.InvalidConfig(
                        "--arms: no arm '" + name + "'" + Spelling.hint(name, known) + "; there are " + known);
            }
        }
        return all().stream().filter(arm -> names.contains(arm.name())).toList();
    }

    /**
     * Runs what is not finished yet, then writes {@code study.md}, {@code study.json} and {@code comparison.html}.
     *
     * @param parallel arms at once, at least 1
     * @param stop asks all of them to save and stop
     * @param listener told what happens in which arm; called by several threads, one call at a time
     * @return what the arms found, as written to {@code study.md}
     * @throws EngineException of the first arm that failed; the others are asked to save and stop
     * @throws EngineException.Stopped if {@code stop} was requested, after every arm at work has saved its state
     * @throws UncheckedIOException if a file of the folder cannot be read or written
     */
    public ExperimentReport run(int parallel, StopSignal stop, BiConsumer<Arm, EmEvent> listener) {
        if (parallel < 1) {
            throw new EngineException.InvalidConfig("--parallel: expected at least 1, got " + parallel);
        }
        List<Arm> first = new ArrayList<>();
        List<Arm> later = new ArrayList<>();
        for (Arm arm : arms) {
            // those that wait for somebody's warm start come after it
            (first.stream().anyMatch(other -> sharesWarmStart(arm, other)) ? later : first).add(arm);
        }
        start(first, parallel, stop, listener);
        start(later, parallel, stop, listener);
        try {
            ExperimentReport report = report();
            AtomicFiles.write(folder.resolve("study.md"), report.toMarkdown());
            AtomicFiles.write(folder.resolve("study.json"), report.toJson() + "\n");
            Map<String, RunView> views = new LinkedHashMap<>();
            for (Arm arm : arms) {
                views.put(arm.name(), RunView.read(run(arm)));
            }
            AtomicFiles.write(folder.resolve("comparison.html"), HtmlReport.comparison(views));
            return report;
        } catch (IOException e) {
            throw new UncheckedIOException(folder + ": " + e.getMessage(), e);
        }
    }

    /**
     * {@return what is known so far, from the arms whose run is finished}
     *
     * @throws IOException if the report of a finished run cannot be read
     * @throws EngineException.InvalidInput if no run is finished yet
     */
    public ExperimentReport report() throws IOException {
        Map<Arm, String> reports = new LinkedHashMap<>();
        for (Arm arm : arms) {
            if (finished(arm)) {
                reports.put(arm, RunDirectory.report(run(arm)));
            }
        }
        return ExperimentReport.of(reports);
    }

    /**
     * {@return the folder of the run of an arm, which need not exist yet}
     *
     * @param arm any, also one that is not of this experiment
     */
    public Path run(Arm arm) {
        return folder.resolve(ARMS).resolve(arm.name());
    }

    private boolean started(Arm arm) {
        return RunDirectory.started(run(arm));
    }

    /**
     * {@return whether the run of an arm is finished}
     *
     * @param arm looked up by its name
     */
    public boolean finished(Arm arm) {
        return RunDirectory.finished(run(arm));
    }

    private void start(List<Arm> some, int parallel, StopSignal stop, BiConsumer<Arm, EmEvent> listener) {
        ExecutorService lanes = Executors.newFixedThreadPool(
                parallel, Thread.ofPlatform().name("arm-", 0).factory());
        try {
            List<Future<?>> futures = new ArrayList<>();
            for (Arm arm : some) {
                if (!finished(arm)) {
                    futures.add(lanes.submit(() -> {
                        try {
                            stop.check("before arm " + arm.name());
                            one(arm, stop, listener);
                        } catch (Throwable failure) {
                            stop.request("arm " + arm.name() + " failing");
                            throw failure;
                        }
                        return null;
                    }));
                }
            }
            Optional<Throwable> cause = Optional.empty();
            for (Future<?> future : futures) {
                Optional<Throwable> failure = failure(future);
                // what went wrong says more than that others were stopped for it
                if (failure.isPresent() && (cause.isEmpty() || cause.get() instanceof EngineException.Stopped)) {
                    cause = failure;
                }
            }
            switch (cause.orElse(null)) {
                case null -> {}
                case RuntimeException e -> throw e;
                case Error e -> throw e;
                case IOException e -> throw new UncheckedIOException(folder + ": " + e.getMessage(), e);
                case Throwable e -> throw new IllegalStateException(e);
            }
        } finally {
            lanes.shutdownNow();
        }
    }

    private static Optional<Throwable> failure(Future<?> future) {
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    future.get();
                    return Optional.empty();
                } catch (ExecutionException e) {
                    return Optional.of(e.getCause());
                } catch (InterruptedException e) {
                    interrupted = true; // the arms are stopped by their signal, never in the middle of a file
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private void one(Arm arm, StopSignal stop, BiConsumer<Arm, EmEvent> listener) throws IOException {
        boolean resume = started(arm);
        if (!resume) {
            for (Arm other : arms) {
                if (other != arm && sharesWarmStart(arm, other) && copyWarmStart(other, arm)) {
                    break;
                }
            }
        }
        EmRun.start(new EmSettings(run(arm), resume, false, arm.over(shared), stop), event -> {
            synchronized (this) {
                listener.accept(arm, event);
            }
        });
    }

    /** Whether iteration 0 of two arms is the same to the bit: what only later iterations look at does not count. */
    private boolean sharesWarmStart(Arm a, Arm b) {
        return warmStart(a).equals(warmStart(b));
    }

    private RunConfig warmStart(Arm arm) {
        RunConfig config = arm.over(shared).with("baselines", "[]").with("world.documents", "1");
        RunConfig.Em em = config.em();
        RunConfig.Em any = settings().em();
        return new RunConfig(
                config.seeds(),
                config.corpus(),
                config.world(),
                config.model(),
                config.training(),
                new RunConfig.Em(
                        any.iterations(),
                        any.samples(),
                        any.selection(),
                        any.weight(),
                        any.restart(),
                        em.priorShare(),
                        em.contextChunks(),
                        em.maxThought(),
                        any.part(),
                        any.folds(),
                        any.teacherShare()),
                config.evaluation(),
                config.baselines(),
                config.device(),
                config.warnings());
    }

    /** Copies the finished iterations 0 of one arm to another that has none; false if they are not all there. */
    private boolean copyWarmStart(Arm from, Arm to) throws IOException {
        for (long seed : shared.seeds()) {
            if (!Files.exists(RunDirectory.iteration(run(from), seed, 0).resolve(RunDirectory.DONE))) {
                return false;
            }
        }
        for (long seed : shared.seeds()) {
            Path source = RunDirectory.iteration(run(from), seed, 0);
            Path target = RunDirectory.iteration(run(to), seed, 0);
            List<Path> files;
            try (Stream<Path> walk = Files.walk(source)) {
                files = walk.filter(Files::isRegularFile)
                        .filter(file -> !source.relativize(file).startsWith("checkpoint"))
                        .filter(file -> !file.getFileName().toString().equals(RunDirectory.DONE))
                        .sorted()
                        .toList();
            }
            for (Path file : files) {
                copy(file, target.resolve(source.relativize(file)));
            }
            copy(
                    source.resolve(RunDirectory.DONE),
                    target.resolve(RunDirectory.DONE)); // last: it says that the rest is there
        }
        return true;
    }

    private static void copy(Path from, Path to) throws IOException {
        AtomicFiles.createDirectories(to.getParent());
        AtomicFiles.write(to, out -> {
            try (FileChannel in = FileChannel.open(from)) {
                long size = in.size();
                for (long at = 0; at < size; ) {
                    at += in.transferTo(at, size - at, out);
                }
            }
        });
    }
}
