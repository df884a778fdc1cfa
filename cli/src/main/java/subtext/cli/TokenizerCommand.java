package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import subtext.bindings.EngineException;
import subtext.data.Corpus;
import subtext.data.Template;
import subtext.io.AtomicFiles;
import subtext.io.Digest;
import subtext.text.BpeTokenizer;
import subtext.text.BpeTrainer;
import subtext.text.ControlTokens;
import subtext.text.SymbolTokenizer;
import subtext.text.Tokenizer;
import subtext.text.TokenizerStyle;
import subtext.text.Tokens;
import tools.jackson.databind.json.JsonMapper;

/** Makes tokenizers, and looks into them. */
@Command(
        name = "tokenizer",
        description = "Learns a tokenizer from text, or says what one is.",
        mixinStandardHelpOptions = true,
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {TokenizerCommand.Train.class, TokenizerCommand.Inspect.class},
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext tokenizer train --vocabulary 8192 --text '{question} {answer}' --out tokenizer.json gsm8k/train.jsonl",
            "  subtext tokenizer inspect models/tinyllama --text \"Once upon a time\""
        })
final class TokenizerCommand implements Runnable {
    @Spec
    CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "Missing required subcommand: train or inspect");
    }

    /** {@code tokenizer train}. */
    @Command(
            name = "train",
            description =
                    "Learns a byte-pair encoding from a corpus, in bounded memory. The same corpus gives the same file, to the byte.",
            mixinStandardHelpOptions = true,
            footerHeading = "%nExamples:%n",
            footer = {
                "  subtext tokenizer train --vocabulary 8192 --text '{question} {answer}' --out tokenizer.json gsm8k/train.jsonl",
                "  subtext tokenizer train --vocabulary 32000 --style llama2 --out tokenizer.json books/a.txt books/b.txt.gz"
            })
    static final class Train implements Callable<Integer> {
        @Spec
        CommandSpec spec;

        @Parameters(
                arity = "1..*",
                paramLabel = "CORPUS",
                description =
                        "Files (JSON lines, parquet or plain text; .gz and .zst are unpacked), folders of such files, or globs.")
        List<String> corpora;

        @Option(names = "--out", required = true, paramLabel = "FILE", description = "The tokenizer.json to write.")
        Path out;

        @Option(
                names = "--vocabulary",
                paramLabel = "N",
                defaultValue = "8192",
                description = "Ids in all, the six control tokens and 256 bytes among them. Default: ${DEFAULT-VALUE}.")
        int vocabulary;

        @Option(
                names = "--style",
                paramLabel = "STYLE",
                defaultValue = "gpt2",
                description = "How text is normalized and cut, as by the family of that name:"
                        + " gpt2, llama3, qwen2, smollm2, tekken, llama2, mistral. Default: ${DEFAULT-VALUE}.")
        TokenizerStyle style;

        @Option(
                names = "--text",
                paramLabel = "TEMPLATE",
                defaultValue = "{text}",
                description =
                        "What of a JSON record is text, such as '{question} {answer}'. Default: ${DEFAULT-VALUE}.")
        String text;

        @Option(
                names = "--bad-records",
                paramLabel = "stop|skip",
                defaultValue = "stop",
                description = "What a record that cannot be used does. Default: ${DEFAULT-VALUE}.")
        Policy badRecords;

        @Option(names = "--force", description = "Replace a file that is there.")
        boolean force;

        @Option(names = "--json", description = "Print one JSON object.")
        boolean json;

        /** What {@code --bad-records} may be. */
        enum Policy {
            STOP,
            SKIP;

            @Override
            public String toString() {
                return name().toLowerCase(java.util.Locale.ROOT);
            }
        }

        @Override
        public Integer call() throws IOException {
            if (Files.exists(out) && !force) {
                throw new EngineException.InvalidConfig("--out: " + out + " is there already; --force replaces it");
            }
            if (vocabulary < BpeTrainer.SMALLEST) {
                throw new EngineException.InvalidConfig(
                        "--vocabulary: expected " + BpeTrainer.SMALLEST + " or more, got " + vocabulary);
            }
            Template template = Template.parse("--text", text);
            Template none = Template.parse("", "");
            BpeTrainer trainer = new BpeTrainer(style);
            long[] characters = {0};
            long documents = 0;
            Corpus.Bad bad = new Corpus.Bad(badRecords == Policy.SKIP);
            for (String corpus : corpora) {
                documents += Corpus.stream(corpus, new Corpus.Mapping(none, template, none, ""), bad, found -> {
                    trainer.add(found.text());
                    characters[0] += found.text().length();
                    return Optional.empty();
                });
            }
            PrintWriter err = spec.commandLine().getErr();
            if (bad.count() > 0) {
                err.println("subtext: left out " + bad.count() + " bad records, the first: "
                        + bad.problems().getFirst());
            }
            if (trainer.forgotten() > 0) {
                err.printf(
                        "subtext: there are more than %,d different words; those met up to %,d times may have been left out%n",
                        BpeTrainer.MOST_WORDS, trainer.forgotten());
            }
            BpeTokenizer tokenizer = trainer.train(vocabulary);
            if (out.toAbsolutePath().getParent() != null) {
                AtomicFiles.createDirectories(out.toAbsolutePath().getParent());
            }
            tokenizer.save(out);
            String digest = Digest.of(out);
            PrintWriter console = spec.commandLine().getOut();
            if (json) {
                Map<String, Object> tree = new LinkedHashMap<>();
                tree.put("file", out.toString());
                tree.put("style", style.toString());
                tree.put("vocabulary", tokenizer.vocabulary());
                tree.put("documents", documents);
                tree.put("skipped", bad.count());
                tree.put("characters", characters[0]);
                tree.put("sha256", digest);
                console.println(JsonMapper.shared().writeValueAsString(tree));
            } else {
                console.printf(
                        "%s: %d ids (%s) from %d documents, %d characters%n  sha256 %s%n",
                        out, tokenizer.vocabulary(), style.description(), documents, characters[0], digest);
                if (tokenizer.vocabulary() < vocabulary) {
                    err.println("subtext: no pair of neighbours occurs twice any more: " + tokenizer.vocabulary()
                            + " ids, not " + vocabulary);
                }
            }
            return ExitCode.OK.code();
        }
    }

    /** {@code tokenizer inspect}. */
    @Command(
            name = "inspect",
            description = "Says what a tokenizer is, and with --text which ids a text has.",
            mixinStandardHelpOptions = true,
            footerHeading = "%nExamples:%n",
            footer = {
                "  subtext tokenizer inspect models/qwen3",
                "  subtext tokenizer inspect tokenizer.json --text \"2 + 2 = 4\" --json"
            })
    static final class Inspect implements Callable<Integer> {
        @Spec
        CommandSpec spec;

        @Parameters(paramLabel = "PATH", description = "A tokenizer.json, or a model's folder that holds one.")
        Path path;

        @Option(names = "--text", paramLabel = "TEXT", description = "A text to show as ids and pieces.")
        String text;

        @Option(names = "--json", description = "Print one JSON object.")
        boolean json;

        @Override
        public Integer call() throws IOException {
            Path file = Files.isDirectory(path) ? path.resolve("tokenizer.json") : path;
            Tokenizer tokenizer = Tokenizer.load(file);
            Map<String, Integer> controls = controls(tokenizer.controls());
            List<String> specials = specials(tokenizer);
            PrintWriter out = spec.commandLine().getOut();
            if (json) {
                Map<String, Object> tree = new LinkedHashMap<>();
                tree.put("file", file.toString());
                tree.put("kind", kind(tokenizer));
                tree.put("vocabulary", tokenizer.vocabulary());
                tree.put("controls", controls);
                tree.put("opensWithBos", tokenizer.opensWithBos());
                tree.put("specials", specials);
                tree.put("bytes", Files.size(file));
                tree.put("sha256", Digest.of(file));
                if (text != null) {
                    Tokens tokens = tokenizer.encode(text);
                    tree.put("tokens", tokens.toArray());
                    tree.put("pieces", pieces(tokenizer, tokens));
                    tree.put("text", tokenizer.decode(tokens));
                }
                out.println(JsonMapper.shared().writeValueAsString(tree));
                return ExitCode.OK.code();
            }
            out.printf("%s: %s, %d ids%n", file, kind(tokenizer), tokenizer.vocabulary());
            out.printf(
                    "  control tokens: %s%n",
                    controls.isEmpty()
                            ? "none; 'subtext import' adds them to a model"
                            : controls.entrySet().stream()
                                    .map(e -> e.getKey() + " " + e.getValue())
                                    .collect(Collectors.joining(", ")));
            out.printf("  a text begins %s%n", tokenizer.opensWithBos() ? "with <bos>" : "without <bos>");
            out.printf(
                    "  special tokens, which no text becomes: %d%s%n",
                    specials.size(),
                    specials.isEmpty()
                            ? ""
                            : ", " + specials.stream().limit(12).collect(Collectors.joining(" "))
                                    + (specials.size() > 12 ? " ..." : ""));
            out.printf("  %d bytes, sha256 %s%n", Files.size(file), Digest.of(file));
            if (text != null) {
                Tokens tokens = tokenizer.encode(text);
                out.printf("  %d characters, %d ids%n", text.codePointCount(0, text.length()), tokens.size());
                List<String> pieces = pieces(tokenizer, tokens);
                for (int i = 0; i < tokens.size(); i++) {
                    out.printf("  %8d  %s%n", tokens.at(i), pieces.get(i));
                }
            }
            return ExitCode.OK.code();
        }

        private static String kind(Tokenizer tokenizer) {
            return switch (tokenizer) {
                case BpeTokenizer bpe -> bpe.kind();
                case SymbolTokenizer symbols -> "words of a closed language";
            };
        }

        private static Map<String, Integer> controls(ControlTokens controls) {
            Map<String, Integer> named = new LinkedHashMap<>();
            for (int i = 0; i < ControlTokens.NAMES.size(); i++) {
                if (controls.ids()[i] != ControlTokens.NONE) {
                    named.put(ControlTokens.NAMES.get(i), controls.ids()[i]);
                }
            }
            return named;
        }

        private static List<String> specials(Tokenizer tokenizer) {
            return switch (tokenizer) {
                case BpeTokenizer bpe ->
                    IntStream.range(0, bpe.vocabulary())
                            .filter(bpe::special)
                            .mapToObj(bpe::piece)
                            .toList();
                case SymbolTokenizer symbols -> ControlTokens.NAMES;
            };
        }

        /** How each id is written in the vocabulary. */
        private static List<String> pieces(Tokenizer tokenizer, Tokens tokens) {
            List<String> pieces = new ArrayList<>();
            for (int id : tokens.toArray()) {
                pieces.add(
                        switch (tokenizer) {
                            case BpeTokenizer bpe -> bpe.piece(id);
                            case SymbolTokenizer symbols -> symbols.symbols().get(id);
                        });
            }
            return pieces;
        }
    }
}
