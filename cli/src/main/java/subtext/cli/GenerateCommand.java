package subtext.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import subtext.bindings.EngineException;
import subtext.engine.Engine;
import subtext.generate.Sampling;
import tools.jackson.databind.json.JsonMapper;

/** Continues a text. */
@Command(
        name = "generate",
        description = "Continues a text with a trained model, until <eos> or the limit; prints it as it comes.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext generate --model stories260K --prompt \"Once upon a time\" --max-tokens 120",
            "  subtext generate --model stories260K --prompt \"Once\" --temperature 0.8 --top-p 0.95 --seed 7 --json"
        })
final class GenerateCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Mixin
    ModelFlags model;

    @Option(
            names = "--prompt",
            paramLabel = "TEXT",
            defaultValue = "",
            description = "Text to continue. Default: the beginning of a text.")
    String prompt;

    @Option(
            names = "--max-tokens",
            paramLabel = "N",
            defaultValue = "128",
            description = "Most tokens to draw. Default: ${DEFAULT-VALUE}.")
    int maxTokens;

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
            description = "The same seed gives the same text. Default: ${DEFAULT-VALUE}.")
    long seed;

    @Option(names = "--json", description = "Print one JSON object: promptTokens, tokens, text, logProbs.")
    boolean json;

    @Override
    public Integer call() throws IOException {
        try (Engine engine = model.open()) {
            Sampling sampling = new Sampling(
                    temperature, topK, topP, engine.tokenizer().controls().eos(), maxTokens);
            int context = engine.llama().config().context();
            if (maxTokens > context) {
                throw new EngineException.InvalidConfig(
                        "--max-tokens: the model's context is " + context + ", got " + maxTokens);
            }
            PrintWriter out = spec.commandLine().getOut();
            if (json) {
                Engine.Generation generation = engine.generate(prompt, sampling, seed);
                Map<String, Object> tree = new LinkedHashMap<>();
                tree.put("promptTokens", generation.prompt().toArray());
                tree.put("tokens", generation.sample().tokens().toArray());
                tree.put("text", generation.text());
                tree.put("logProbs", generation.sample().logProbs());
                tree.put("finished", generation.sample().finished());
                out.println(JsonMapper.shared().writeValueAsString(tree));
            } else {
                boolean[] begun = {false};
                engine.generate(prompt, sampling, seed, text -> {
                    if (!begun[0]) { // not before it is sure that there is something to show
                        out.print(prompt);
                        begun[0] = true;
                    }
                    out.print(text);
                    out.flush();
                });
                out.println(begun[0] ? "" : prompt);
            }
            return ExitCode.OK.code();
        }
    }
}
