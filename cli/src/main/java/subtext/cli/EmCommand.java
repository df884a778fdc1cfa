package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import subtext.bindings.EngineException;
import subtext.em.EmReport;
import subtext.em.EmRun;
import subtext.em.EmSettings;
import subtext.em.Rates;
import subtext.em.RunPlan;

/** The main job: warm start, then iterations of drawing thoughts and training on them, and the baselines beside. */
@Command(
        name = "em",
        description =
                "Trains by expectation-maximisation: draws thoughts for every chunk of text, weights and chooses them, trains on text"
                        + " and thoughts, and measures each iteration beside baselines. Without a corpus it makes a world of its own whose true"
                        + " thoughts are known.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext em --iterations 3",
            "  subtext em --resume",
            "  subtext em --seeds 0,1,2,3,4 --samples 8 --run runs/k8 --json > k8.json",
            "  subtext em --preset gsm8k --corpus train.jsonl --bad-records skip",
            "  subtext em --preset gsm8k --corpus 'gsm8k/**.parquet'",
            "  subtext em --corpus corpus.jsonl --set corpus.thoughts=teacher.jsonl",
            "  subtext em --config my.yaml --set training.learningRate=1e-3 --dry-run",
            "  subtext em --preset tinyllama-finemath --dry-run --rates bench/results/h100.json"
        })
final class EmCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Option(names = "--iterations", paramLabel = "N", description = "EM iterations after the warm start.")
    Integer iterations;

    @Option(names = "--samples", paramLabel = "K", description = "Thoughts drawn per chunk.")
    Integer samples;

    @Option(
            names = "--selection",
            paramLabel = "resample|uniform|best|all",
            description =
                    "Which of the K to train on: one by its weight (the method), or as controls one at random, the best, or all weighted.")
    String selection;

    @Mixin
    RunFlags run;

    @Option(
            names = "--rates",
            paramLabel = "FILE",
            description =
                    "With --dry-run: speeds of another machine, as in bench/results/h100.json; else this one is measured.")
    Path rates;

    @Option(names = "--json", description = "Print one JSON object at the end instead of tables.")
    boolean json;

    @Override
    public Integer call() throws IOException {
        List<String> named = new ArrayList<>();
        RunFlags.add(named, "em.iterations", iterations);
        RunFlags.add(named, "em.samples", samples);
        RunFlags.add(named, "em.selection", selection);
        EmSettings settings = run.settings("em", named);
        PrintWriter err = spec.commandLine().getErr();
        PrintWriter out = spec.commandLine().getOut();
        if (rates != null && !settings.dryRun()) {
            throw new EngineException.InvalidConfig("--rates: only --dry-run asks how fast a machine is");
        }
        if (settings.dryRun()) {
            Optional<Rates> given = rates == null ? Optional.empty() : Optional.of(Rates.read(rates));
            RunPlan plan = EmRun.plan(settings, given, new Progress(err, Main.onTerminal()));
            out.print(json ? plan.toJson() + System.lineSeparator() : plan.table());
            out.flush();
            if (given.isEmpty()) {
                plan.requireFit(settings.run());
            }
            return ExitCode.OK.code();
        }
        EmReport report;
        try (Signals signals = Signals.into(settings.stop(), err)) {
            report = EmRun.start(settings, new Progress(err, Main.onTerminal()));
        }
        if (json) {
            out.println(report.toJson());
        } else {
            out.print(report.table());
            out.flush();
        }
        return ExitCode.OK.code();
    }
}
