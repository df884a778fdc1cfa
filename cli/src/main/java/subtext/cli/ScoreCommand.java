package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
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
import subtext.em.LogWeights;
import subtext.em.Question;
import subtext.em.ScoredSample;
import subtext.engine.Engine;
import subtext.evaluate.ThoughtBound;
import subtext.io.WholeFile;
import subtext.text.Tokens;
import tools.jackson.databind.json.JsonMapper;

/** The log-probability of a text, or of many, token by token; or a bound on it over thoughts. */
@Command(
        name = "score",
        description =
                "Gives the log-probability of a text under a trained model, in nats: of each token, in sum, per token and per character."
                        + " With --elbo, a lower bound on it over the thoughts of a model trained by em.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext score --model stories260K --text \"Once upon a time\"",
            "  subtext score --model stories260K --prompt \"Once upon a\" --text \" time\"",
            "  subtext score --model stories260K --file story.txt --json",
            "  subtext score --model stories260K --file texts.jsonl --out scores.jsonl",
            "  subtext score --model runs/em-1/seeds/0/iterations/03/model --elbo 8 --thoughts --prompt \"s5 c a f b d e\" --text \"s3 s2\""
        })
final class ScoreCommand implements Callable<Integer> {
    private static final int LARGEST = 16 << 20;
    private static final int WINDOW = 4096;
    private static final int MOST_SAMPLES = 1 << 16;

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
            names = "--elbo",
            paramLabel = "K",
            description =
                    "Bound log p(text | prompt) from below: draw K thoughts that explain the text, weigh each by p(thought, text) /"
                            + " q(thought | text), and take the log of the mean weight, as an E-step of em does.")
    Integer elbo;

    @Option(
            names = "--max-thought",
            paramLabel = "N",
            description =
                    "With --elbo: most tokens of a thought. Default: 256, of a model with a short context a quarter of it.")
    Integer maxThought;

    @Option(
            names = "--seed",
            paramLabel = "S",
            description = "With --elbo: the same seed, prompt and text give the same thoughts. Default: 0.")
    Long seed;

    @Option(
            names = "--thoughts",
            description =
                    "With --elbo: give all K thoughts too, with log q(thought | text), log p(thought) and log p(text | thought).")
    boolean thoughts;

    @Option(
            names = "--json",
            description = "Print one JSON object: tokens, tokenLogProbs, logProb, nllPerToken, nllPerChar; with --elbo"
                    + " tokens, elbo, samples, ess, finished, nllPerToken, nllPerChar.")
    boolean json;

    @Mixin
    ResultFlags results;

    /** Where the text comes from: one of the two. */
    static final class Source {
        @Option(names = "--text", paramLabel = "TEXT", description = "The text to score.")
        String text;

        @Option(
                names = "--file",
                paramLabel = "FILE",
                description =
                        "A file in UTF-8 that holds the text to score. If its name ends in .jsonl, many texts, scored together:"
                                + " JSON lines {\"id\": ..., \"prompt\": \"...\", \"text\": \"...\"}, of which id and prompt may be missing;"
                                + " gives a line of JSON for each, in their order.")
        Path file;

        boolean many() {
            return file != null && file.toString().endsWith(".jsonl");
        }

        String read() throws IOException {
            return file == null ? text : WholeFile.text(file, LARGEST);
        }
    }

    @Override
    public Integer call() throws IOException {
        check();
        if (source.many()) {
            try (Engine engine = model.open()) {
                many(engine);
            }
            return ExitCode.OK.code();
        }
        String text = source.read();
        if (text.isEmpty()) {
            throw new EngineException.InvalidInput(
                    (source.file == null ? "--text" : source.file.toString()) + " is empty: nothing to score");
        }
        PrintWriter out = spec.commandLine().getOut();
        try (Engine engine = model.open()) {
            if (elbo != null) {
                try (ThoughtBound bounds = bounds(engine)) {
                    ThoughtBound.Bound bound =
                            bounds.of(List.of(bounds.question(prompt, text))).getFirst();
                    if (json) {
                        out.println(JsonMapper.shared().writeValueAsString(tree(engine, bound, text)));
                    } else {
                        print(out, engine, bound, text);
                    }
                }
                return ExitCode.OK.code();
            }
            Engine.ScoredText scored =
                    engine.score(List.of(new Engine.Passage(prompt, text))).getFirst();
            if (json) {
                out.println(JsonMapper.shared().writeValueAsString(tree(scored, text)));
            } else {
                print(out, engine, scored, text);
            }
            return ExitCode.OK.code();
        }
    }

    private void check() {
        results.check(source.many());
        if (source.many() && !prompt.isEmpty()) {
            throw new EngineException.InvalidConfig("--prompt: each line of " + source.file + " has its own");
        }
        if (elbo == null && (maxThought != null || seed != null || thoughts)) {
            throw new EngineException.InvalidConfig(
                    (maxThought != null ? "--max-thought" : seed != null ? "--seed" : "--thoughts")
                            + ": goes with --elbo");
        }
        if (elbo != null && (elbo < 1 || elbo > MOST_SAMPLES)) {
            throw new EngineException.InvalidConfig("--elbo: expected 1 to " + MOST_SAMPLES + ", got " + elbo);
        }
        if (maxThought != null && maxThought < 1) {
            throw new EngineException.InvalidConfig("--max-thought: expected 1 or more, got " + maxThought);
        }
    }

    private ThoughtBound bounds(Engine engine) {
        int thought = maxThought == null
                ? Math.clamp(engine.llama().config().context() / 4, 1, GenerateCommand.MOST_THOUGHT)
                : maxThought;
        return new ThoughtBound(engine, elbo, thought, seed == null ? 0 : seed);
    }

    // ---- many

    private void many(Engine engine) throws IOException {
        PrintWriter out = spec.commandLine().getOut();
        if (elbo == null) {
            int context = engine.llama().config().context();
            Requests.Step<Requests.Request> check = request -> {
                int size = engine.tokens(passage(request)).size();
                if (size > context) {
                    throw new EngineException.InvalidInput("prompt and text of " + size
                            + " tokens exceed the model's context of " + context + "; shorten them");
                }
            };
            results.write(
                    out,
                    sink -> new Requests(source.file, true, WINDOW).forEachWindow(check, window -> {
                        List<Engine.ScoredText> scored = engine.score(
                                window.stream().map(ScoreCommand::passage).toList());
                        for (int i = 0; i < window.size(); i++) {
                            sink.put(
                                    window.get(i),
                                    tree(scored.get(i), window.get(i).text()));
                        }
                    }));
            return;
        }
        try (ThoughtBound bounds = bounds(engine)) {
            Requests requests = new Requests(source.file, true, Math.max(1, WINDOW / elbo));
            results.write(
                    out,
                    sink -> requests.forEachWindow(
                            request -> bounds.question(request.prompt(), request.text()), window -> {
                                List<Question> questions = window.stream()
                                        .map(request -> bounds.question(request.prompt(), request.text()))
                                        .toList();
                                List<ThoughtBound.Bound> found = bounds.of(questions);
                                for (int i = 0; i < window.size(); i++) {
                                    sink.put(
                                            window.get(i),
                                            tree(
                                                    engine,
                                                    found.get(i),
                                                    window.get(i).text()));
                                }
                            }));
        }
    }

    private static Engine.Passage passage(Requests.Request request) {
        return new Engine.Passage(request.prompt(), request.text());
    }

    // ---- log-probabilities

    private static Map<String, Object> tree(Engine.ScoredText scored, String text) {
        double[] logProbs = scored.score().logProbs();
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("tokens", scored.tokens().toArray());
        tree.put("tokenLogProbs", logProbs);
        tree.put("logProb", scored.score().sum());
        costs(tree, scored.score().sum(), logProbs.length, text);
        return tree;
    }

    private static void costs(Map<String, Object> tree, double nats, int tokens, String text) {
        tree.put("nllPerToken", perToken(nats, tokens));
        tree.put("nllPerChar", perCharacter(nats, text));
    }

    private static double perToken(double nats, int tokens) {
        return tokens == 0 ? 0 : -nats / tokens;
    }

    private static double perCharacter(double nats, String text) {
        return -nats / text.codePointCount(0, text.length());
    }

    private static void print(PrintWriter out, Engine engine, Engine.ScoredText scored, String text) {
        double[] logProbs = scored.score().logProbs();
        int unscored = scored.tokens().size() - logProbs.length;
        for (int i = 0; i < logProbs.length; i++) {
            int id = scored.tokens().at(unscored + i);
            out.printf(
                    "%10.4f  %6d  %s%n",
                    logProbs[i], id, visible(engine.tokenizer().decode(Tokens.of(id))));
        }
        double sum = scored.score().sum();
        out.printf(
                "log-probability %.4f nats over %d tokens, %d characters: %.4f per token, %.4f per character%n",
                sum,
                logProbs.length,
                text.codePointCount(0, text.length()),
                perToken(sum, logProbs.length),
                perCharacter(sum, text));
    }

    // ---- bounds

    private Map<String, Object> tree(Engine engine, ThoughtBound.Bound bound, String text) {
        Question question = bound.question();
        LogWeights weights = bound.weights();
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put(
                "tokens",
                Tokens.concat(Tokens.of(engine.tokenizer().controls().bos()), question.context(), question.text())
                        .toArray());
        tree.put("elbo", weights.elbo());
        tree.put("samples", weights.size());
        tree.put("ess", weights.ess());
        tree.put("finished", finished(bound));
        costs(tree, weights.elbo(), question.text().size(), text);
        if (thoughts) {
            List<Object> all = new ArrayList<>();
            for (ScoredSample sample : bound.record().samples()) {
                Map<String, Object> one = new LinkedHashMap<>();
                one.put("thought", thought(engine, sample));
                one.put("tokens", sample.thought().toArray());
                one.put("finished", sample.finished());
                one.put("logQ", sample.logQ());
                one.put("logPrior", sample.score().logPrior());
                one.put("logLikelihood", sample.score().logLikelihood());
                one.put("logWeight", sample.logBoundWeight());
                all.add(one);
            }
            tree.put("thoughts", all);
        }
        return tree;
    }

    private void print(PrintWriter out, Engine engine, ThoughtBound.Bound bound, String text) {
        LogWeights weights = bound.weights();
        if (thoughts) {
            out.printf("%10s  %10s  %10s  %10s  thought%n", "log w", "log q(z|x)", "log p(z)", "log p(x|z)");
            for (ScoredSample sample : bound.record().samples()) {
                out.printf(
                        "%10.4f  %10.4f  %10.4f  %10.4f  %s%s%n",
                        sample.logBoundWeight(),
                        sample.logQ(),
                        sample.score().logPrior(),
                        sample.score().logLikelihood(),
                        visible(thought(engine, sample)),
                        sample.finished() ? "" : sample.malformed() ? " (a marker in it)" : " (cut off)");
            }
        }
        int tokens = bound.question().text().size();
        out.printf(
                "ELBO_%d %.4f nats over %d tokens, %d characters: %.4f per token, %.4f per character;"
                        + " effective thoughts %.2f, finished %d%n",
                weights.size(),
                weights.elbo(),
                tokens,
                text.codePointCount(0, text.length()),
                perToken(weights.elbo(), tokens),
                perCharacter(weights.elbo(), text),
                weights.ess(),
                finished(bound));
    }

    private static long finished(ThoughtBound.Bound bound) {
        return bound.record().samples().stream().filter(ScoredSample::finished).count();
    }

    /** A thought as text; rows of a checkpoint behind the tokenizer's last id have none. */
    private static String thought(Engine engine, ScoredSample sample) {
        int[] known = java.util.Arrays.stream(sample.thought().toArray())
                .filter(id -> id < engine.tokenizer().vocabulary())
                .toArray();
        return engine.tokenizer().decodeContinuation(Tokens.of(known));
    }

    /** A text on one line. */
    private static String visible(String text) {
        return "'" + text.replace("\n", "\\n").replace("\t", "\\t") + "'";
    }
}
