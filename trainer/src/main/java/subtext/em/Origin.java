package subtext.em;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import subtext.bindings.EngineException;
import subtext.io.Conversation;
import subtext.io.Digest;
import subtext.io.HuggingFace;
import subtext.model.LlamaConfig;
import subtext.model.Vocabulary;
import subtext.model.WeightPieces;
import subtext.run.RunConfig;
import subtext.text.BpeTokenizer;
import subtext.text.Tokenizer;

/**
 * The model that a run starts from instead of from scratch. Its tokenizer is given the control tokens it lacks, and its matrices the rows for them.
 *
 * @param folder in Hugging Face layout
 * @param own the sizes of the model as it is
 * @param config the sizes it is trained in: more ids, and perhaps a shorter context
 * @param tokenizer with all control tokens
 * @param conversation its end tokens and chat templates, which the models trained from it keep
 */
record Origin(Path folder, LlamaConfig own, LlamaConfig config, Tokenizer tokenizer, Conversation conversation) {
    /**
     * The model of a configuration; empty where it starts from scratch.
     *
     * @throws EngineException if there is none in that folder, or it cannot be trained
     */
    static Optional<Origin> of(RunConfig config) {
        if (config.model().from().isEmpty()) {
            return Optional.empty();
        }
        Path folder = Path.of(config.model().from());
        if (!Files.isDirectory(folder)) {
            throw new EngineException.InvalidInput(
                    "model.from: no folder " + folder
                            + "; it should hold a model in Hugging Face layout: config.json, model.safetensors, tokenizer.json");
        }
        try {
            LlamaConfig own = HuggingFace.config(folder);
            Tokenizer tokenizer = HuggingFace.tokenizer(folder);
            if (!tokenizer.controls().complete()) {
                if (!(tokenizer instanceof BpeTokenizer bpe)) {
                    throw new EngineException.InvalidConfig(
                            "model.from: " + folder + ": its tokenizer cannot be given the control tokens");
                }
                tokenizer = bpe.withControls(own.vocabulary());
            }
            LlamaConfig grown = own.withVocabulary(Math.max(own.vocabulary(), tokenizer.vocabulary()));
            int context = config.model().context();
            return Optional.of(new Origin(
                    folder,
                    own,
                    context > 0 && context < own.context() ? grown.withContext(context) : grown,
                    tokenizer,
                    Conversation.of(folder, grown, tokenizer)));
        } catch (IOException e) {
            throw new UncheckedIOException(folder + ": " + e.getMessage(), e);
        }
    }

    /**
     * The weights in the order of the table of {@link #config}, read from the folder each time they are asked for; rows for new ids are noise
     * of this key. Refused if they are not those of the first time: all trainings of a run start alike, whatever becomes of the folder.
     */
    WeightPieces weights(long key) {
        // the context is no part of the weights
        return Vocabulary.grow(own, theSame(folder, own), own.withVocabulary(config.vocabulary()), key);
    }

    private static WeightPieces theSame(Path folder, LlamaConfig own) {
        String[] first = new String[1];
        return sink -> {
            Digest digest = new Digest();
            ByteBuffer[] bytes = {ByteBuffer.allocate(0)};
            try {
                HuggingFace.weights(folder, own, (at, values) -> {
                    if (bytes[0].capacity() < Float.BYTES * values.length) {
                        bytes[0] = ByteBuffer.allocate(Float.BYTES * values.length);
                    }
                    bytes[0].clear().asFloatBuffer().put(values);
                    digest.add(bytes[0].limit(Float.BYTES * values.length));
                    sink.accept(at, values);
                });
            } catch (IOException e) {
                throw new UncheckedIOException(folder + ": " + e.getMessage(), e);
            }
            String found = digest.hex();
            if (first[0] != null && !first[0].equals(found)) {
                throw new EngineException.InvalidInput("model.from: " + folder
                        + ": the weights are not those that the run began with; put them back and go on with --resume");
            }
            first[0] = found;
        };
    }
}
