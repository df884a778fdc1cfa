package subtext.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import subtext.bindings.EngineException;
import subtext.io.AtomicFiles;
import subtext.report.HtmlReport;
import subtext.report.RunView;
import subtext.run.RunDirectory;

/** Writes the page of a run, or one page that compares several. */
@Command(
        name = "report",
        description =
                "Writes one HTML page that opens from disk: of one run its curves, weights, thoughts, settings and verdict; of several"
                        + " runs (seeds, K, selections) a comparison. A run that is still going on is shown as far as it is.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {"  subtext report runs/em-1", "  subtext report runs/k1 runs/k4 runs/k8 --output comparison.html"})
final class ReportCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Parameters(arity = "1..*", paramLabel = "RUN", description = "Folders of runs.")
    List<Path> runs;

    @Option(
            names = "--output",
            paramLabel = "FILE",
            description = "Where to write: report.html in the run's folder, or comparison.html here for several runs.")
    Path output;

    @Override
    public Integer call() throws IOException {
        if (runs.stream()
                        .map(run -> run.toAbsolutePath().normalize())
                        .distinct()
                        .count()
                < runs.size()) {
            throw new EngineException.InvalidConfig("report: expected each run once, got " + runs);
        }
        List<RunView> views = new ArrayList<>();
        for (Path run : runs) {
            views.add(RunView.read(run));
        }
        boolean one = views.size() == 1;
        String page = one ? HtmlReport.page(views.getFirst()) : HtmlReport.comparison(views);
        Path file = output != null ? output : Path.of("comparison.html");
        if (one && output == null) {
            file = RunDirectory.writePage(runs.getFirst(), page);
        } else {
            AtomicFiles.write(file, page);
        }
        spec.commandLine().getOut().println(file);
        return ExitCode.OK.code();
    }
}
