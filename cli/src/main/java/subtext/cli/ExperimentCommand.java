package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import subtext.bindings.EngineException;
import subtext.em.EmEvent;
import subtext.experiment.Arm;
import subtext.experiment.ChainExperiment;
import subtext.experiment.ExperimentReport;
import subtext.run.RunConfig;
import subtext.run.Spelling;
import subtext.run.StopSignal;

/** Runs all arms of an experiment and puts them side by side. */
@Command(
        name = "experiment",
        description = "Runs every arm of an experiment for the same seeds, and writes study.md, study.json and"
                + " comparison.html: means with 95 %% intervals, differences paired by seed, and which claims hold. Started again"
                + " on the same folder it goes on where it stopped.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext experiment chain-study --list",
            "  subtext experiment chain-study --run runs/study --parallel 2 --threads 1",
            "  subtext experiment chain-study --run runs/study --arms k1,k4,carry --seeds 0,1,2"
        })
final class ExperimentCommand implements Callable<Integer> {
    private static final String STUDY = "chain-study";

    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = STUDY, description = "Which experiment: " + STUDY + ", the arms of the chain world.")
    String name;

    @Option(names = "--list", description = "Print the arms, what they ask and what they change, and run nothing.")
    boolean list;

    @Option(names = "--run", paramLabel = "DIR", description = "Folder. Default: runs/chain-study.")
    Path folder = Path.of("runs", STUDY);

    @Option(names = "--arms", split = ",", paramLabel = "ARM", description = "Only these. Default: all.")
    List<String> arms;

    @Option(names = "--seeds", split = ",", paramLabel = "S", description = "Default: 0,1,2,3,4.")
    List<Long> seeds;

    @Option(
            names = "--set",
            paramLabel = "KEY=VALUE",
            description = "A setting of all arms, such as world.documents=6000. May be given often.")
    List<String> set = List.of();

    @Option(names = "--parallel", paramLabel = "N", description = "Arms that run at once. Default: ${DEFAULT-VALUE}.")
    int parallel = 1;

    @Mixin
    DeviceFlags device;

    @Option(names = "--json", description = "Print one JSON object at the end instead of Markdown.")
    boolean json;

    @Override
    public Integer call() throws IOException {
        if (!name.equals(STUDY)) {
            throw new EngineException.InvalidConfig("experiment: no experiment '" + name + "'"
                    + Spelling.hint(name, List.of(STUDY)) + "; there is " + STUDY);
        }
        PrintWriter out = spec.commandLine().getOut();
        PrintWriter err = spec.commandLine().getErr();
        List<Arm> chosen = arms == null ? ChainExperiment.all() : ChainExperiment.named(arms);
        if (list) {
            chosen.forEach(arm -> out.printf(
                    Locale.ROOT,
                    "%-12s %-64s %s%n",
                    arm.name(),
                    arm.question(),
                    arm.settings().entrySet().stream()
                            .map(setting -> setting.getKey() + "=" + setting.getValue())
                            .collect(Collectors.joining(" "))));
            return ExitCode.OK.code();
        }
        ChainExperiment experiment = new ChainExperiment(folder, shared(), chosen);
        StopSignal stop = new StopSignal();
        Progress progress = new Progress(err, false);
        ExperimentReport report;
        try (Signals signals = Signals.into(stop, err)) {
            report = experiment.run(parallel, stop, (arm, event) -> {
                tell(err, progress, arm, event);
                if (event instanceof EmEvent.RunFinished) {
                    err.printf("arm %s: %d of %d%n", arm.name(), 1 + finished(experiment, chosen, arm), chosen.size());
                }
            });
        } catch (EngineException.Stopped e) {
            // there is no --resume: the folder is enough
            throw new EngineException.Stopped(
                    e.getMessage().replaceFirst("; .*", "; the same command goes on where it stopped"));
        }
        out.println(json ? report.toJson() : report.toMarkdown().stripTrailing());
        return ExitCode.OK.code();
    }

    /** Finished arms other than this one, which is just being sealed. */
    private static long finished(ChainExperiment experiment, List<Arm> arms, Arm but) {
        return arms.stream()
                .filter(arm -> arm != but && experiment.finished(arm))
                .count();
    }

    /** What happens in several runs at once, a line each: stages and results, not steps. */
    private static void tell(PrintWriter err, Progress progress, Arm arm, EmEvent event) {
        switch (event) {
            case EmEvent.RunStarted e -> err.println("arm " + arm.name() + ": " + arm.question());
            case EmEvent.IterationFinished e -> said(err, progress, arm, event);
            case EmEvent.BaselineFinished e -> said(err, progress, arm, event);
            case EmEvent.Warned e -> said(err, progress, arm, event);
            case EmEvent.RunFinished e -> said(err, progress, arm, event);
            default -> {}
        }
    }

    private static void said(PrintWriter err, Progress progress, Arm arm, EmEvent event) {
        err.print("arm " + arm.name() + ": ");
        progress.accept(event);
    }

    private RunConfig shared() {
        RunConfig config = ChainExperiment.settings();
        for (String setting : set) {
            int equals = setting.indexOf('=');
            if (equals <= 0) {
                throw new EngineException.InvalidConfig("--set: expected KEY=VALUE, got '" + setting + "'");
            }
            config = config.with(
                    setting.substring(0, equals).strip(),
                    setting.substring(equals + 1).strip());
        }
        if (seeds != null) {
            config = config.with("seeds", seeds.toString());
        }
        if (device.device != null) {
            config = config.with("device.backend", DeviceFlags.configured(device.device));
        }
        if (device.threads != null) {
            config = config.with("device.threads", String.valueOf(device.threads));
        }
        return device.matmul == null
                ? config
                : config.with("device.matmul", device.matmul.name().toLowerCase(Locale.ROOT));
    }
}
