package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
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
import subtext.evaluate.ChainStudy;
import subtext.io.JsonProblem;
import subtext.io.WholeFile;
import tools.jackson.core.JacksonException;

/** Puts several runs of the chain world side by side and holds them against criteria fixed beforehand. */
@Command(
        name = "study",
        description =
                "Reads what em --json printed for several K and seeds of the chain world, prints every seed, means and paired"
                        + " differences, and says which claims hold.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext em --seeds 0,1,2,3,4 --samples 4 --run runs/k4 --json > k4.json",
            "  subtext study 1=k1.json 2=k2.json 4=k4.json 8=k8.json"
        })
final class StudyCommand implements Callable<Integer> {
    private static final int LARGEST = 64 << 20;

    @Spec
    CommandSpec spec;

    @Parameters(
            arity = "1..*",
            paramLabel = "K=FILE",
            description = "A report of em --json and the number of samples per chunk it was run with.")
    List<String> reports;

    @Option(names = "--json", description = "Print one JSON object instead of Markdown.")
    boolean json;

    @Override
    public Integer call() throws IOException {
        List<ChainStudy.Run> runs = new ArrayList<>();
        for (String report : reports) {
            runs.add(read(report));
        }
        ChainStudy study = new ChainStudy(runs);
        PrintWriter out = spec.commandLine().getOut();
        out.println(json ? study.toJson() : study.toMarkdown().stripTrailing());
        return ExitCode.OK.code();
    }

    private static ChainStudy.Run read(String report) throws IOException {
        String[] parts = report.split("=", 2);
        if (parts.length != 2 || !parts[0].matches("[1-9]\\d{0,3}") || parts[1].isEmpty()) {
            throw new EngineException.InvalidConfig("'" + report + "': expected K=FILE, such as 4=k4.json");
        }
        try {
            return ChainStudy.Run.of(Integer.parseInt(parts[0]), WholeFile.text(Path.of(parts[1]), LARGEST));
        } catch (JacksonException e) {
            throw new EngineException.InvalidInput(parts[1] + ": not JSON: " + JsonProblem.of(e), e);
        }
    }
}
