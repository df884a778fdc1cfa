package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import subtext.data.Prepared;
import subtext.run.RunDirectory;
import tools.jackson.databind.json.JsonMapper;

/** Checks that a run's files are what they were when they were written. */
@Command(
        name = "verify",
        description =
                "Checks the digests of everything in a run (thoughts, checkpoints, models and results), or of prepared shards.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {"  subtext verify runs/em-1", "  subtext verify runs/em-1 --json", "  subtext verify shards"})
final class VerifyCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "RUN", description = "Folder of the run, or one that prepare made.")
    Path run;

    @Option(names = "--json", description = "Print one JSON object: run, files, problems.")
    boolean json;

    @Override
    public Integer call() throws IOException {
        RunDirectory.Verified verified = Prepared.isAt(run)
                ? new RunDirectory.Verified(Prepared.files(run), Prepared.verify(run))
                : RunDirectory.verify(run, path -> {});
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            Map<String, Object> tree = new LinkedHashMap<>();
            tree.put("run", run.toString());
            tree.put("files", verified.files());
            tree.put("problems", verified.problems());
            out.println(JsonMapper.shared().writeValueAsString(tree));
        } else {
            verified.problems().forEach(out::println);
            out.printf(
                    "%s: %d files checked, %d problems%n",
                    run, verified.files(), verified.problems().size());
        }
        return verified.problems().isEmpty() ? ExitCode.OK.code() : ExitCode.VERIFICATION.code();
    }
}
