package subtext.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import subtext.bindings.EngineException;
import subtext.io.Gguf;
import subtext.io.ModelImport;
import subtext.io.Safetensors;

/** Gives a model away: to Transformers or to llama.cpp. */
@Command(
        name = "export",
        description = "Writes a model for other programs: a folder for Transformers, or a GGUF file for llama.cpp.",
        mixinStandardHelpOptions = true,
        footerHeading = "%nExamples:%n",
        footer = {
            "  subtext export --model runs/em-1/seeds/0/iterations/03/model --format hf --type bf16 --out model-bf16",
            "  subtext export --model models/tinyllama --format gguf --type q8_0 --out tinyllama-q8_0.gguf"
        })
final class ExportCommand implements Callable<Integer> {
    /** What {@code --format} may be. */
    enum Format {
        HF,
        GGUF
    }

    @Spec
    CommandSpec spec;

    @Option(
            names = "--model",
            required = true,
            paramLabel = "DIR",
            description = "Folder of a model in Hugging Face layout.")
    Path model;

    @Option(
            names = "--format",
            required = true,
            paramLabel = "hf|gguf",
            description = "hf: a folder for Transformers; gguf: one file for llama.cpp.")
    Format format;

    @Option(
            names = "--type",
            paramLabel = "T",
            defaultValue = "f32",
            description = "Type of the matrices: f32, f16, bf16, or with gguf q8_0. Default: ${DEFAULT-VALUE}.")
    String type;

    @Option(names = "--out", required = true, paramLabel = "PATH", description = "Folder or file to write.")
    Path out;

    @Override
    public Integer call() throws IOException {
        Gguf.Type precision = Gguf.type(type);
        switch (format) {
            case GGUF -> {
                if (Files.isDirectory(out)) {
                    throw new EngineException.InvalidConfig("--out: " + out + " is a folder; a GGUF file is wanted");
                }
                Gguf.write(model, out, precision);
            }
            case HF -> {
                if (precision == Gguf.Type.Q8_0) {
                    throw new EngineException.InvalidConfig(
                            "--type: q8_0 is GGUF's; with --format hf take f32, bf16 or f16");
                }
                ModelImport.run(model, out, Safetensors.Type.valueOf(precision.name()), false);
            }
        }
        spec.commandLine().getOut().println(out);
        return ExitCode.OK.code();
    }
}
