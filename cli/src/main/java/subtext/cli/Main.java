package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import subtext.run.Spelling;

/** The program: parses the command line, runs a command, and turns what went wrong into one line and an exit code. */
@Command(
        name = "subtext",
        description = "Trains a Llama-style transformer on text together with the latent thoughts beneath it.",
        mixinStandardHelpOptions = true,
        versionProvider = Version.class,
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {
            EmCommand.class,
            TrainCommand.class,
            GenerateCommand.class,
            ScoreCommand.class,
            ImportCommand.class,
            PrepareCommand.class,
            ExportCommand.class,
            InspectCommand.class,
            TokenizerCommand.class,
            VerifyCommand.class,
            ReportCommand.class,
            WatchCommand.class,
            DoctorCommand.class,
            StudyCommand.class,
            ExperimentCommand.class,
            CommandLine.HelpCommand.class
        },
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {
            "0:done",
            "1:internal error (a stack trace is printed)",
            "2:usage or configuration",
            "3:bad input file",
            "4:resources: memory, disk, device",
            "5:training diverged (a number is not finite), or sampler and scorer disagree",
            "7:verification failed",
            "75:stopped by SIGINT or SIGTERM with everything saved; em and train go on with --resume",
            "130,143:stopped at once by a signal (em, train: the second); --resume goes on from what was saved before"
        },
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext em --iterations 3",
            "  subtext generate --model runs/chain/model --prompt \"Once upon a time\" --max-tokens 64",
            "  subtext doctor"
        })
public final class Main {
    private static final String LOG_FORMAT = "java.util.logging.SimpleFormatter.format";

    /** Kept, since a logger that nobody holds forgets its level: the parquet reader tells of its choices. */
    private static final Logger PARQUET = Logger.getLogger("dev.hardwood");

    private Main() {}

    public static void main(String[] arguments) {
        // one line a message, unless told otherwise
        if (System.getProperty(LOG_FORMAT) == null) {
            System.setProperty(LOG_FORMAT, "subtext: %5$s%6$s%n");
        }
        PARQUET.setLevel(Level.WARNING);
        int code = run(new PrintWriter(System.out, true), new PrintWriter(System.err, true), arguments);
        System.out.flush();
        System.exit(code);
    }

    /** Runs the program and gives its exit code. What a command is asked for goes to {@code out}, all else to {@code err}. */
    static int run(PrintWriter out, PrintWriter err, String... arguments) {
        CommandLine line = new CommandLine(new Main())
                .setOut(out)
                .setErr(err)
                .setCaseInsensitiveEnumValuesAllowed(true)
                .setAbbreviatedOptionsAllowed(false)
                .setOverwrittenOptionsAllowed(false)
                .setUnmatchedArgumentsAllowed(false)
                .setUsageHelpWidth(110)
                .setParameterExceptionHandler(Main::usage)
                .setExecutionExceptionHandler((failure, command, parsed) -> failed(failure, command));
        line.getSubcommands().get("help").setCommandName("help");
        if (arguments.length == 0) {
            line.usage(out);
            return ExitCode.OK.code();
        }
        try {
            return line.execute(arguments);
        } catch (Error error) { // picocli passes errors on: running out of memory is one
            return failed(error, line);
        }
    }

    /** Whether a person watches: what goes to the error stream, progress for one, is seen on a terminal and not written to a file. */
    static boolean onTerminal() {
        try {
            return Files.readSymbolicLink(Path.of("/proc/self/fd/2"))
                    .toString()
                    .matches("/dev/(pts/\\d+|tty\\w*|console)");
        } catch (IOException | UnsupportedOperationException e) {
            // no Linux: both ends of the console, then
            return System.console() != null && System.console().isTerminal();
        }
    }

    private static int usage(CommandLine.ParameterException failure, String[] arguments) {
        CommandLine command = failure.getCommandLine();
        String message = ExitCode.shown(failure.getMessage().replaceFirst("^Error: ", ""));
        if (failure instanceof CommandLine.UnmatchedArgumentException unmatched) {
            String wrong = ExitCode.shown(unmatched.getUnmatched().getFirst());
            String name = wrong.replaceAll("=.*", "");
            boolean option = name.startsWith("-");
            message = (option ? "unknown option '" : "unexpected argument '") + name + "'"
                    + Spelling.hint(name, option ? options(command.getCommandSpec()) : names(command));
        }
        command.getErr()
                .println("subtext: " + message + " ('"
                        + command.getCommandSpec().qualifiedName() + " --help' lists them)");
        return ExitCode.USAGE.code();
    }

    private static List<String> options(CommandSpec command) {
        return command.options().stream()
                .flatMap((OptionSpec option) -> Stream.of(option.names()))
                .sorted(Comparator.naturalOrder())
                .toList();
    }

    private static List<String> names(CommandLine command) {
        return new ArrayList<>(command.getSubcommands().keySet());
    }

    private static int failed(Throwable failure, CommandLine command) {
        ExitCode code = ExitCode.of(failure);
        PrintWriter err = command.getErr();
        if (code == ExitCode.INTERNAL) {
            err.println("subtext: internal error; please report it with what follows");
            failure.printStackTrace(err);
        } else {
            err.println("subtext: " + ExitCode.line(failure));
        }
        return code.code();
    }
}
