package subtext.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import subtext.data.Prepare;
import subtext.data.Prepared;
import subtext.em.PrepareRun;
import subtext.run.RunConfig;
import tools.jackson.databind.json.JsonMapper;

/** Makes token shards of a corpus once, for many trainings and for corpora larger than memory. */
@Command(
        name = "prepare",
        description =
                "Makes token shards of a corpus: reads it in bounded memory, leaves duplicates out, holds a share out, tokenises, and says what"
                        + " it found. em and train take the folder as --corpus. A command that was killed goes on when it is given again.",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext prepare finemath/ shards --from models/tinyllama --held-out 0.001",
            "  subtext prepare 'data/**.jsonl.zst' shards --set corpus.text='{title}. {body}' --bad-records skip",
            "  subtext prepare gsm8k/train.jsonl shards --preset gsm8k-small --held-out 0.05",
            "  subtext em --preset gsm8k-small --corpus shards",
            "  subtext prepare finemath/ shards --from models/tinyllama --set corpus.thoughts=teacher.jsonl",
            "  subtext verify shards"
        })
final class PrepareCommand implements Callable<Integer> {
    /** Between two lines of progress. */
    private static final long PROGRESS_NANOS = 5_000_000_000L;

    /** Share of held-out chunks found in the training text from which on it is a warning. */
    private static final double MANY_LEAKS = 0.01;

    @Spec
    CommandSpec spec;

    @Parameters(
            index = "0",
            paramLabel = "CORPUS",
            description =
                    "A file (JSON lines, parquet or plain text; .gz and .zst are unpacked), a folder of such files, or a glob.")
    String corpus;

    @Parameters(index = "1", paramLabel = "OUT", description = "Folder for the shards.")
    Path out;

    @Option(
            names = "--from",
            paramLabel = "MODEL",
            description =
                    "Folder of the model whose tokenizer is used. Default: one is trained, corpus.vocabulary ids.")
    Path from;

    @Option(
            names = "--held-out",
            paramLabel = "SHARE",
            description =
                    "Share of the documents to hold out, chosen by the hash of their content. Default: ${DEFAULT-VALUE}.")
    double heldOut = 0.01;

    @Option(
            names = "--duplicates",
            paramLabel = "keep|exact|near",
            description =
                    "Leave out no document, those equal to an earlier one, or those nearly equal too (MinHash over 5 words, 14 bands of 8)."
                            + " Default: near.")
    Prepare.Duplicates duplicates = Prepare.Duplicates.NEAR;

    @Option(
            names = "--bad-records",
            paramLabel = "stop|skip",
            description = "What to do with a record that cannot be read. Default: stop.")
    RunFlags.BadRecords badRecords;

    @Option(
            names = "--preset",
            paramLabel = "NAME",
            description =
                    "Settings to start from, as of em: what corpus.* and model.from say counts here. Default: chain.")
    String preset = "chain";

    @Option(names = "--config", paramLabel = "FILE", description = "Settings in YAML or JSON over the preset.")
    Path config;

    @Option(
            names = "--set",
            paramLabel = "KEY=VALUE",
            description = "One setting over the file, such as corpus.text='{body}'. May be given often.")
    List<String> set = List.of();

    @Option(names = "--json", description = "Print the statistics as one JSON object, as in OUT/prepared.json.")
    boolean json;

    @Override
    public Integer call() {
        RunConfig resolved = RunConfig.preset(preset);
        if (preset.equals("chain")) {
            resolved = resolved.with("corpus.vocabulary", "32000");
        }
        if (config != null) {
            resolved = resolved.over(ConfigFile.read(config), config + ": ");
        }
        for (String setting : set) {
            resolved = RunFlags.apply(resolved, setting);
        }
        resolved = resolved.with("corpus.path", corpus);
        if (from != null) {
            resolved = resolved.with("model.from", from.toString());
        }
        if (badRecords != null) {
            resolved = resolved.with("corpus.badRecords", badRecords.name().toLowerCase(Locale.ROOT));
        }
        PrintWriter err = spec.commandLine().getErr();
        Prepared prepared = PrepareRun.start(resolved, out, duplicates, heldOut, progress(err));
        Prepared.Statistics statistics = prepared.statistics();
        statistics.problems().forEach(problem -> err.println("left out: " + problem));
        Prepared.Leaked leaks = statistics.leaks();
        if (Math.max(leaks.exact(), leaks.runs()) > MANY_LEAKS * leaks.chunks()) {
            err.printf(
                    "warning: of %,d held-out chunks %,d stand in the training text whole and %,d share 13 words with it: held-out figures"
                            + " will look too good%n",
                    leaks.chunks(), leaks.exact(), leaks.runs());
        }
        PrintWriter to = spec.commandLine().getOut();
        if (json) {
            to.println(JsonMapper.shared().readTree(statistics.toJson())); // on one line
        } else {
            print(to, statistics);
        }
        to.flush();
        return ExitCode.OK.code();
    }

    private void print(PrintWriter to, Prepared.Statistics s) {
        to.printf("%s: %,d files, %,d records, %,d bad%n", s.corpus(), s.files(), s.records(), s.bad());
        to.printf("duplicates left out: %,d equal, %,d nearly equal%n", s.exactDuplicates(), s.nearDuplicates());
        to.printf("%-9s %13s %17s %17s %9s %7s%n", "", "documents", "characters", "tokens", "per token", "shards");
        part(to, "train", s.train());
        part(to, "held-out", s.heldOut());
        if (s.warmStart().documents() > 0) {
            part(to, "thoughts", s.warmStart());
        }
        to.printf(
                "leaks: of %,d held-out chunks %,d stand in the training text whole, %,d share 13 words with it%s%n",
                s.leaks().chunks(),
                s.leaks().exact(),
                s.leaks().runs(),
                s.leaks().sampled() == 1 ? "" : " (one run in " + s.leaks().sampled() + " was looked at)");
        to.printf(
                "%s: shards of %,d ids, tokenizer %s%n",
                out, s.vocabulary(), s.tokenizerSha256().substring(0, 16));
    }

    private static void part(PrintWriter to, String name, Prepared.Part part) {
        to.printf(
                "%-9s %,13d %,17d %,17d %9.2f %7d%n",
                name,
                part.documents(),
                part.characters(),
                part.tokens(),
                part.tokens() == 0 ? 0 : (double) part.characters() / part.tokens(),
                part.shards().size());
    }

    private static Consumer<Prepare.Progress> progress(PrintWriter err) {
        long[] last = {System.nanoTime()};
        return progress -> {
            if (System.nanoTime() - last[0] > PROGRESS_NANOS) {
                last[0] = System.nanoTime();
                err.printf(
                        "%s: %,d records%s%n",
                        progress.stage(),
                        progress.records(),
                        progress.total() == 0 ? "" : " of %,d".formatted(progress.total()));
                err.flush();
            }
        };
    }
}
