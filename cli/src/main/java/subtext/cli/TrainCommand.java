package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import subtext.em.EmReport;
import subtext.em.EmSettings;
import subtext.em.RunPlan;
import subtext.em.TrainRun;

/** One training without expectation-maximisation. */
@Command(
        name = "train",
        description =
                "Trains one model, from scratch or --from another, without expectation-maximisation: on text alone, or on documents whose thoughts are"
                        + " known.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext train --corpus book.txt --set training.steps=500",
            "  subtext train --from models/tinyllama --corpus finemath/ --set training.steps=1000",
            "  subtext train --preset gsm8k --corpus train.jsonl --on thoughts --run runs/teacher",
            "  subtext train --resume"
        })
final class TrainCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Option(
            names = "--on",
            paramLabel = "text|thoughts",
            description = "What to train on. Default: text, or what a resumed run is trained on.")
    TrainRun.On on;

    @Mixin
    RunFlags run;

    @Option(names = "--json", description = "Print one JSON object at the end.")
    boolean json;

    @Override
    public Integer call() throws IOException {
        EmSettings settings = run.settings("train", List.of());
        PrintWriter err = spec.commandLine().getErr();
        PrintWriter out = spec.commandLine().getOut();
        if (on == null) {
            on = settings.resume() ? TrainRun.On.of(settings.run()) : TrainRun.On.TEXT;
        }
        if (settings.dryRun()) {
            RunPlan plan = TrainRun.plan(settings, on, new Progress(err, Main.onTerminal()));
            out.print(json ? plan.toJson() + System.lineSeparator() : plan.table());
            out.flush();
            plan.requireFit(settings.run());
            return ExitCode.OK.code();
        }
        TrainRun.Report report;
        try (Signals signals = Signals.into(settings.stop(), err)) {
            report = TrainRun.start(settings, on, new Progress(err, Main.onTerminal()));
        }
        if (json) {
            out.println(report.toJson());
        } else {
            out.printf(
                    "%s%n  %d steps, training loss %.4f nats per token", report.model(), report.steps(), report.loss());
            out.print(held(report.measured()));
            out.println();
            report.before().ifPresent(before -> out.printf("  before training%s%n", held(before)));
        }
        return ExitCode.OK.code();
    }

    private static String held(EmReport.Measured measured) {
        StringBuilder line = new StringBuilder();
        measured.nll().ifPresent(nll -> line.append(", held-out NLL %.3f nats per document".formatted(nll.mean())));
        measured.nllPerCharacter().ifPresent(nll -> line.append(", %.4f per character".formatted(nll)));
        measured.elbo().forEach((k, bound) -> line.append(", ELBO_%d %.3f".formatted(k, bound.mean())));
        return line.toString();
    }
}
