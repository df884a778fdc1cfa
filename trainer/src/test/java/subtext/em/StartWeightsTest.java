package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.DType;
import subtext.bindings.EngineException;
import subtext.io.Conversation;
import subtext.io.HuggingFace;
import subtext.io.Safetensors;
import subtext.model.Initialisation;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.model.WeightPieces;
import subtext.text.BpeTrainer;
import subtext.text.Tokenizer;

/** Weights that are read again from files each time a training wants them are those of the first time, or are refused. */
class StartWeightsTest {
    private static final LlamaConfig CONFIG = LlamaConfig.small(2, 16, 2, BpeTrainer.SMALLEST, 32);
    private static final LlamaConfig GROWN = CONFIG.withVocabulary(CONFIG.vocabulary() + 70);

    @TempDir
    Path folder;

    private final Tokenizer tokenizer = new BpeTrainer().train(BpeTrainer.SMALLEST);

    private void save(Path model, long seed) throws IOException {
        HuggingFace.save(model, CONFIG, tokenizer, Initialisation.weights(ParameterTable.of(CONFIG), seed), DType.F32);
    }

    @Test
    void aStartThatChangedUnderARunIsRefused() throws IOException {
        save(folder, 5);
        WeightPieces weights = new Origin(folder, CONFIG, GROWN, tokenizer, Conversation.of(tokenizer)).weights(9);
        float[] first = weights.flat(ParameterTable.of(GROWN));
        assertThat(weights.flat(ParameterTable.of(GROWN))).isEqualTo(first);
        save(folder, 6);
        assertThatThrownBy(() -> weights.forEach((at, values) -> {}))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageStartingWith(
                        "model.from: " + folder + ": the weights are not those that the run began with");
        save(folder, 5);
        assertThat(weights.flat(ParameterTable.of(GROWN))).isEqualTo(first);
    }

    @Test
    void aModelOfAStageIsTheOneThatWasWritten() throws IOException {
        StageFolder stage = new StageFolder(folder.resolve("stage"), false);
        float[] flat = Initialisation.weights(ParameterTable.of(CONFIG), 5);
        Safetensors.Source source = (at, n) -> Arrays.copyOfRange(flat, (int) at, (int) at + n);
        WeightPieces weights =
                stage.weights(CONFIG, stage.writeModel(CONFIG, source, tokenizer, Conversation.of(tokenizer)));
        assertThat(weights.flat(ParameterTable.of(CONFIG))).isEqualTo(flat);
        Path file = stage.model().resolve("model.safetensors");
        // of a file that has lain for a while the digest is taken once
        Files.setLastModifiedTime(file, FileTime.fromMillis(System.currentTimeMillis() - 10_000));
        for (int i = 0; i < 2; i++) {
            assertThat(weights.flat(ParameterTable.of(CONFIG))).isEqualTo(flat);
        }
        byte[] bytes = Files.readAllBytes(file);
        bytes[bytes.length - 1] ^= 1; // the last bits of a weight, which is as finite as before
        Files.write(file, bytes);
        assertThatThrownBy(() -> weights.forEach((at, values) -> {
                    throw new AssertionError("given away unseen");
                }))
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageContaining(file + ": SHA-256 is ");
    }
}
