package subtext.cli;

import java.io.IOException;
import java.nio.file.Path;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import subtext.bindings.DType;
import subtext.engine.Engine;

/** Which model to open, and where: the options of the commands that use a trained model. */
final class ModelFlags {
    @Option(
            names = "--model",
            required = true,
            paramLabel = "DIR",
            description = "Folder of a model in Hugging Face layout: config.json, model.safetensors, tokenizer.json.")
    Path model;

    @Option(
            names = "--type",
            paramLabel = "f32|bf16",
            description = "Storage of weights and activations. Default: ${DEFAULT-VALUE}.")
    Precision type = Precision.F32;

    @Mixin
    DeviceFlags device;

    /** What {@code --type} may be. */
    enum Precision {
        F32,
        BF16
    }

    Engine open() throws IOException {
        return Engine.open(model, device.backend(), device.options(), type == Precision.F32 ? DType.F32 : DType.BF16);
    }
}
