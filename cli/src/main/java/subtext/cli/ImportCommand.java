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
import subtext.io.ModelImport;
import subtext.io.Safetensors;
import tools.jackson.databind.json.JsonMapper;

/** Takes a checkpoint of others as a model of ours. */
@Command(
        name = "import",
        description =
                "Copies a checkpoint in Hugging Face layout and adds the control tokens that training with latents needs.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {"  subtext import TinyLlama_v1.1 models/tinyllama --type bf16", "  subtext inspect models/tinyllama"})
final class ImportCommand implements Callable<Integer> {
    /** What {@code --type} may be. */
    enum Precision {
        F32,
        BF16,
        F16;

        Safetensors.Type type() {
            return Safetensors.Type.valueOf(name());
        }
    }

    @Spec
    CommandSpec spec;

    @Parameters(index = "0", paramLabel = "FROM", description = "Folder with config.json, weights and tokenizer.json.")
    Path from;

    @Parameters(index = "1", paramLabel = "TO", description = "Folder to write the model to.")
    Path to;

    @Option(
            names = "--type",
            paramLabel = "f32|bf16|f16",
            description = "Type of the tensors written. Default: ${DEFAULT-VALUE}, which loses nothing.")
    Precision type = Precision.F32;

    @Option(names = "--json", description = "Print one JSON object: model, vocabulary, added, firstAdded.")
    boolean json;

    @Override
    public Integer call() throws IOException {
        ModelImport.Result result = ModelImport.run(from, to, type.type(), true);
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            Map<String, Object> tree = new LinkedHashMap<>();
            tree.put("model", to.toString());
            tree.put("vocabulary", result.config().vocabulary());
            tree.put("added", result.added());
            tree.put("firstAdded", result.firstAdded());
            out.println(JsonMapper.shared().writeValueAsString(tree));
        } else {
            out.println(to + ": " + result.config().family().modelType() + ", "
                    + InspectCommand.count(result.config().parameters()) + " parameters, "
                    + result.config().vocabulary() + " ids"
                    + (result.added().isEmpty()
                            ? "; no control token was missing"
                            : "; added " + String.join(" ", result.added()) + " from id " + result.firstAdded()
                                    + " on"));
        }
        return ExitCode.OK.code();
    }
}
