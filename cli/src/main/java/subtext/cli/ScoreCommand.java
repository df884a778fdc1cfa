package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import subtext.bindings.EngineException;
import subtext.engine.Engine;
import subtext.io.WholeFile;
import subtext.text.Tokens;
import tools.jackson.databind.json.JsonMapper;

/** The log-probability of a text, token by token. */
@Command(
        name = "score",
        description =
                "Gives the log-probability of a text under a trained model, in nats: of each token, in sum, per token and per character.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext score --model stories260K --text \"Once upon a time\"",
            "  subtext score --model stories260K --prompt \"Once upon a\" --text \" time\"",
            "  subtext score --model stories260K --file story.txt --json"
        })
final class ScoreCommand implements Callable<Integer> {
    private static final int LARGEST = 16 << 20;

    @Spec
    CommandSpec spec;

    @Mixin
    ModelFlags model;

    @ArgGroup(multiplicity = "1")
    Source source;

    @Option(
            names = "--prompt",
            paramLabel = "TEXT",
            defaultValue = "",
            description = "Text that stands before it and is not scored. Default: the beginning of a text.")
    String prompt;

    @Option(
            names = "--json",
            description = "Print one JSON object: tokens, tokenLogProbs, logProb, nllPerToken, nllPerChar.")
    boolean json;

    /** Where the text comes from: one of the two. */
    static final class Source {
        @Option(names = "--text", paramLabel = "TEXT", description = "The text to score.")
        String text;

        @Option(names = "--file", paramLabel = "FILE", description = "A file in UTF-8 that holds the text to score.")
        Path file;

        String read() throws IOException {
            return file == null ? text : WholeFile.text(file, LARGEST);
        }
    }

    @Override
    public Integer call() throws IOException {
        String text = source.read();
        if (text.isEmpty()) {
            throw new EngineException.InvalidInput(
                    (source.file == null ? "--text" : source.file.toString()) + " is empty: nothing to score");
        }
        try (Engine engine = model.open()) {
            Engine.ScoredText scored = prompt.isEmpty() ? engine.score(text) : engine.score(prompt, text);
            double[] logProbs = scored.score().logProbs();
            int unscored = scored.tokens().size() - logProbs.length;
            double sum = scored.score().sum();
            int characters = text.codePointCount(0, text.length());
            double perToken = logProbs.length == 0 ? 0 : -sum / logProbs.length;
            double perCharacter = -sum / characters;
            PrintWriter out = spec.commandLine().getOut();
            if (json) {
                Map<String, Object> tree = new LinkedHashMap<>();
                tree.put("tokens", scored.tokens().toArray());
                tree.put("tokenLogProbs", logProbs);
                tree.put("logProb", sum);
                tree.put("nllPerToken", perToken);
                tree.put("nllPerChar", perCharacter);
                out.println(JsonMapper.shared().writeValueAsString(tree));
            } else {
                for (int i = 0; i < logProbs.length; i++) {
                    int id = scored.tokens().at(unscored + i);
                    out.printf("%10.4f  %6d  %s%n", logProbs[i], id, visible(engine, id));
                }
                out.printf(
                        "log-probability %.4f nats over %d tokens, %d characters: %.4f per token, %.4f per character%n",
                        sum, logProbs.length, characters, perToken, perCharacter);
            }
            return ExitCode.OK.code();
        }
    }

    /** A token as text on one line. */
    private static String visible(Engine engine, int id) {
        String text = engine.tokenizer().decode(Tokens.of(id));
        return "'" + text.replace("\n", "\\n").replace("\t", "\\t") + "'";
    }
}
