package subtext.em;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.Optional;
import subtext.bindings.EngineException;
import subtext.io.AtomicFiles;
import subtext.io.Conversation;
import subtext.io.Digest;
import subtext.io.HuggingFace;
import subtext.io.JsonProblem;
import subtext.io.Safetensors;
import subtext.model.LlamaConfig;
import subtext.model.WeightPieces;
import subtext.run.Manifest;
import subtext.run.RunDirectory;
import subtext.text.Tokenizer;
import subtext.train.Checkpoint;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.MapperFeature;
import tools.jackson.databind.json.JsonMapper;

/**
 * The folder of an iteration or a baseline: checkpoints while it trains, then the model, then what was measured, then {@code DONE} over
 * both and over the thoughts they are from; then the checkpoints go. Each step looks whether it was taken before.
 *
 * @param path the folder
 * @param keep whether the checkpoints stay
 */
record StageFolder(Path path, boolean keep) {
    private static final String RESULT = "result.json";
    private static final String MODEL = "model";
    private static final String LATENTS = "latents";
    private static final String WEIGHTS = "model.safetensors";
    private static final JsonMapper JSON = JsonMapper.builder()
            .disable(MapperFeature.SORT_PROPERTIES_ALPHABETICALLY)
            .build();

    Path checkpoints() {
        return path.resolve("checkpoint");
    }

    Path latents() {
        return path.resolve(LATENTS);
    }

    Path model() {
        return path.resolve(MODEL);
    }

    /**
     * What was measured, if the stage is finished.
     *
     * @throws EngineException.CorruptFile if it is finished and a file of it is damaged
     */
    <T> Optional<T> result(Class<T> type) throws IOException {
        if (!Files.exists(path.resolve(RunDirectory.DONE))) {
            return Optional.empty();
        }
        Manifest.verify(path, RunDirectory.DONE, MODEL, RESULT, EmReport.SHOWN, LATENTS);
        dropCheckpoints(); // a kill may have left them
        try {
            return Optional.of(JSON.readValue(Files.readString(path.resolve(RESULT)), type));
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(path.resolve(RESULT) + ": " + JsonProblem.of(e), e);
        }
    }

    /** Writes the chunks that people are shown, with their thoughts. */
    void writeShown(List<EmReport.Shown> shown) throws IOException {
        AtomicFiles.write(path.resolve(EmReport.SHOWN), JSON.writeValueAsString(shown) + "\n");
    }

    /** Writes what was measured and declares the stage finished. */
    void finish(Object result) throws IOException {
        AtomicFiles.write(path.resolve(RESULT), JSON.writeValueAsString(result) + "\n");
        Manifest.write(path, RunDirectory.DONE, MODEL, RESULT, EmReport.SHOWN, LATENTS);
        dropCheckpoints();
    }

    private void dropCheckpoints() throws IOException {
        if (!keep) {
            Checkpoint.deleteAll(checkpoints());
        }
    }

    /** Writes the model and gives the digest of its weights. */
    String writeModel(LlamaConfig config, Safetensors.Source weights, Tokenizer tokenizer, Conversation conversation)
            throws IOException {
        HuggingFace.save(model(), config, tokenizer, conversation, weights, Safetensors.Type.F32);
        return digest();
    }

    /** The digest of the model's weights: two runs that agree in it have the same model. */
    String digest() throws IOException {
        return Digest.of(model().resolve(WEIGHTS));
    }

    /**
     * The weights of the model, read from its file each time they are asked for; its digest is taken again only if the file is another or was
     * written to since.
     *
     * @param digest what {@link #writeModel} gave
     * @throws EngineException.CorruptFile when they are asked for and the file is not that one any more
     */
    WeightPieces weights(LlamaConfig config, String digest) {
        State[] good = new State[1];
        return sink -> {
            State now = State.of(model().resolve(WEIGHTS));
            if (!now.equals(good[0])) {
                String found = digest();
                if (!found.equals(digest)) {
                    throw new EngineException.CorruptFile(
                            model().resolve(WEIGHTS) + ": SHA-256 is " + found + ", expected " + digest);
                }
                good[0] = now.isSettled() ? now : null;
            }
            HuggingFace.weights(model(), config, sink::accept);
        };
    }

    /** What the file system says of a file: not the same if it was replaced or written to. */
    private record State(Object key, long size, FileTime modified) {
        static State of(Path file) throws IOException {
            BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
            return new State(attributes.fileKey(), attributes.size(), attributes.lastModifiedTime());
        }

        /** Whether a later write would change the time: file systems count it in steps. */
        boolean isSettled() {
            return modified.toMillis() + 2000 < System.currentTimeMillis();
        }
    }
}
