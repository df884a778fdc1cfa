package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
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
import subtext.generate.Sampling;
import tools.jackson.databind.json.JsonMapper;

/** Continues a text, or many, with or without a thought first. */
@Command(
        name = "generate",
        description = "Continues a text with a trained model, until an end token or the limit; prints it as it comes."
                + " A model trained by em can be asked to think first.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext generate --model stories260K --prompt \"Once upon a time\" --max-tokens 120",
            "  subtext generate --model stories260K --prompt \"Once\" --temperature 0.8 --top-p 0.95 --seed 7 --json",
            "  subtext generate --model runs/em-1/seeds/0/iterations/03/model --think --prompt \"s5 c a f b d e\"",
            "  subtext generate --model stories260K --file prompts.jsonl --out texts.jsonl"
        })
final class GenerateCommand implements Callable<Integer> {
    /** Tokens of the texts of a window, at most, about: what their results may take of the heap. */
    private static final int WINDOW_TOKENS = 1 << 20;

    private static final int MOST_TOKENS = 128;
    /** Tokens of a thought unless told otherwise, of a model whose context is long enough. */
    static final int MOST_THOUGHT = 256;

    @Spec
    CommandSpec spec;

    @Mixin
    ModelFlags model;

    @ArgGroup
    Source source = new Source();

    @Option(
            names = "--max-tokens",
            paramLabel = "N",
            description = "Most tokens of a text to draw. Default: 128, of a model with a short context half of it.")
    Integer maxTokens;

    @Option(
            names = "--think",
            description =
                    "Draw a thought first, as a model trained by em does: up to </latent>, then the text up to <eos> or the next thought.")
    boolean think;

    @Option(
            names = "--max-thought",
            paramLabel = "N",
            description = "With --think: most tokens of a thought; a longer one is cut off and closed."
                    + " Default: 256, of a model with a short context a quarter of it.")
    Integer maxThought;

    @Option(
            names = "--temperature",
            paramLabel = "T",
            defaultValue = "0",
            description =
                    "0 takes the most likely token each time; 1 draws from the model's own law. Default: ${DEFAULT-VALUE}.")
    double temperature;

    @Option(
            names = "--top-k",
            paramLabel = "K",
            defaultValue = "0",
            description = "Keep the K most likely tokens; 0 keeps all.")
    int topK;

    @Option(
            names = "--top-p",
            paramLabel = "P",
            defaultValue = "1",
            description = "Then keep the smallest set of most likely tokens of this probability; 1 keeps all.")
    double topP;

    @Option(
            names = "--seed",
            paramLabel = "S",
            defaultValue = "0",
            description = "The same seed and prompt give the same text. Default: ${DEFAULT-VALUE}.")
    long seed;

    @Option(
            names = "--json",
            description = "Print one JSON object: promptTokens, tokens, text, logProbs, finished;"
                    + " with --think also thought, thoughtTokens, thoughtLogProbs, thoughtFinished.")
    boolean json;

    @Mixin
    ResultFlags results;

    /** What is continued: one text, or many. */
    static final class Source {
        @Option(
                names = "--prompt",
                paramLabel = "TEXT",
                description = "Text to continue. Default: the beginning of a text.")
        String prompt;

        @Option(
                names = "--file",
                paramLabel = "FILE",
                description = "Many texts at once, drawn together: JSON lines {\"id\": ..., \"prompt\": \"...\"}."
                        + " Gives a line of JSON for each, in their order.")
        Path file;
    }

    @Override
    public Integer call() throws IOException {
        results.check(source.file != null);
        if (maxThought != null && !think) {
            throw new EngineException.InvalidConfig("--max-thought: goes with --think");
        }
        if (maxThought != null && maxThought < 1) {
            throw new EngineException.InvalidConfig("--max-thought: expected 1 or more, got " + maxThought);
        }
        try (Engine engine = model.open()) {
            int context = engine.llama().config().context();
            Sampling sampling = new Sampling(
                    temperature,
                    topK,
                    topP,
                    engine.endTokens(),
                    limit("--max-tokens", maxTokens, Math.min(MOST_TOKENS, context / 2), context));
            int thought = limit("--max-thought", maxThought, Math.min(MOST_THOUGHT, context / 4), context);
            if (think) {
                engine.requireThoughts();
            }
            PrintWriter out = spec.commandLine().getOut();
            if (source.file != null) {
                many(engine, sampling, thought, out);
                return ExitCode.OK.code();
            }
            String prompt = source.prompt == null ? "" : source.prompt;
            if (json) {
                Map<String, Object> tree = think
                        ? tree(engine.think(prompt, sampling, thought, seed))
                        : tree(engine.generate(prompt, sampling, seed));
                out.println(JsonMapper.shared().writeValueAsString(tree));
            } else {
                Text text = new Text(out, prompt);
                if (think) {
                    Thought told = new Thought(out);
                    Engine.Thinking thinking = engine.think(prompt, sampling, thought, seed, told::add, piece -> {
                        told.end();
                        text.add(piece);
                    });
                    told.end();
                    if (!thinking.thoughtSample().finished()) {
                        spec.commandLine()
                                .getErr()
                                .println("subtext: the thought was cut off after " + thought
                                        + " tokens; --max-thought allows more");
                    }
                } else {
                    engine.generate(prompt, sampling, seed, text::add);
                }
                text.end();
            }
            return ExitCode.OK.code();
        }
    }

    private static int limit(String option, Integer given, int otherwise, int context) {
        int limit = given == null ? Math.max(1, otherwise) : given;
        if (limit > context) {
            throw new EngineException.InvalidConfig(option + ": the model's context is " + context + ", got " + limit);
        }
        return limit;
    }

    private void many(Engine engine, Sampling sampling, int thought, PrintWriter out) throws IOException {
        int context = engine.llama().config().context();
        int drawn = sampling.maxTokens() + (think ? thought : 0);
        Requests requests = new Requests(source.file, false, Math.clamp(WINDOW_TOKENS / drawn, 1, 4096));
        Requests.Step<Requests.Request> check = request -> {
            int given = (think
                            ? engine.thoughtPrompt(request.prompt())
                            : engine.tokenizer().open(request.prompt()))
                    .size();
            if (given == 0) {
                throw new EngineException.InvalidInput("an empty prompt, and the tokenizer has no <bos> to begin with");
            }
            if (given + drawn - (think ? 0 : 1) > context) {
                throw new EngineException.InvalidInput("a prompt of " + given + " tokens and " + drawn
                        + " more exceed the model's context of " + context + "; shorten it or give less --max-tokens"
                        + (think ? " or --max-thought" : ""));
            }
        };
        results.write(
                out,
                sink -> requests.forEachWindow(check, window -> {
                    List<String> prompts =
                            window.stream().map(Requests.Request::prompt).toList();
                    List<Map<String, Object>> trees = think
                            ? engine.think(prompts, sampling, thought, seed).stream()
                                    .map(GenerateCommand::tree)
                                    .toList()
                            : engine.generate(prompts, sampling, seed).stream()
                                    .map(GenerateCommand::tree)
                                    .toList();
                    for (int i = 0; i < window.size(); i++) {
                        sink.put(window.get(i), trees.get(i));
                    }
                }));
    }

    private static Map<String, Object> tree(Engine.Generation generation) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("promptTokens", generation.prompt().toArray());
        tree.put("tokens", generation.sample().tokens().toArray());
        tree.put("text", generation.text());
        tree.put("logProbs", generation.sample().logProbs());
        tree.put("finished", generation.sample().finished());
        return tree;
    }

    private static Map<String, Object> tree(Engine.Thinking thinking) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("promptTokens", thinking.prompt().toArray());
        tree.put("thought", thinking.thought());
        tree.put("thoughtTokens", thinking.thoughtSample().tokens().toArray());
        tree.put("thoughtLogProbs", thinking.thoughtSample().logProbs());
        tree.put("thoughtFinished", thinking.thoughtSample().finished());
        tree.put("tokens", thinking.sample().tokens().toArray());
        tree.put("text", thinking.text());
        tree.put("logProbs", thinking.sample().logProbs());
        tree.put("finished", thinking.sample().finished());
        return tree;
    }

    /** Prompt and text, as they come. */
    private static final class Text {
        private final PrintWriter out;
        private final String prompt;
        private boolean begun;

        Text(PrintWriter out, String prompt) {
            this.out = out;
            this.prompt = prompt;
        }

        void add(String piece) {
            if (!begun) { // not before it is sure that there is something to show
                out.print(prompt);
                begun = true;
            }
            out.print(piece);
            out.flush();
        }

        void end() {
            out.println(begun ? "" : prompt);
        }
    }

    /** A thought, each of its lines marked, as it comes. */
    private static final class Thought {
        private static final String MARK = "thought| ";

        private final PrintWriter out;
        private boolean begun;
        private boolean ended;

        Thought(PrintWriter out) {
            this.out = out;
        }

        void add(String piece) {
            if (!begun) {
                out.print(MARK);
                begun = true;
            }
            out.print(piece.replace("\n", System.lineSeparator() + MARK));
            out.flush();
        }

        void end() {
            if (!ended) {
                out.println(begun ? "" : MARK.strip());
                ended = true;
            }
        }
    }
}
