package subtext.cli;

import java.io.IOException;
import java.net.BindException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import subtext.bindings.EngineException;
import subtext.report.LivePage;

/** Serves the page of a run while it goes on. */
@Command(
        name = "watch",
        description = "Serves a run's page on localhost and keeps it up to date while the run goes on; Ctrl-C ends it.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {"  subtext watch runs/em-1", "  subtext watch runs/em-1 --port 8000"})
final class WatchCommand implements Callable<Integer> {
    private static final int LARGEST_PORT = 65535;

    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "RUN", description = "Folder of the run.")
    Path run;

    @Option(names = "--port", paramLabel = "N", description = "Port on the loopback address; 0: any that is free.")
    int port = 7878;

    @Override
    public Integer call() throws IOException, InterruptedException {
        if (port < 0 || port > LARGEST_PORT) {
            throw new EngineException.InvalidConfig("--port: expected 0.." + LARGEST_PORT + ", got " + port);
        }
        try (LivePage page = new LivePage(run, port)) {
            spec.commandLine().getOut().println(page.address());
            Thread.currentThread().join(); // until the process is told to end
        } catch (BindException e) {
            throw new EngineException.InvalidConfig(
                    "--port: " + port + " is in use; name another, or 0 for any that is free");
        }
        return ExitCode.OK.code();
    }
}
