package subtext.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.DType;
import subtext.bindings.EngineException;
import subtext.engine.Engine;
import subtext.generate.Sampling;
import subtext.model.LlamaConfig;
import subtext.testing.TestDevice;

/** stories260K, a real checkpoint, imported, exported and summed up. Skipped where it is not. */
class ModelImportTest {
    @TempDir
    private Path scratch;

    private Path stories;

    @BeforeEach
    void find() {
        Path root = Path.of(System.getProperty("subtext.root", "..")).toAbsolutePath();
        stories = root.resolve("../shared/data/stories260K").normalize();
        Assumptions.assumeTrue(Files.isDirectory(stories), "no " + stories + ": the import tests are skipped");
    }

    @Test
    void theControlTokensComeWithRowsOfTheirOwn() throws IOException {
        Path to = scratch.resolve("imported");
        ModelImport.Result result = ModelImport.run(stories, to, Safetensors.Type.F32, true);
        assertThat(result.added()).containsExactly("<latent>", "</latent>", "<prior>", "<posterior>");
        assertThat(result.firstAdded()).isEqualTo(512);
        HuggingFace.Checkpoint before = HuggingFace.load(stories);
        HuggingFace.Checkpoint after = HuggingFace.load(to);
        LlamaConfig config = after.config();
        assertThat(config).isEqualTo(before.config().withVocabulary(516));
        assertThat(after.tokenizer().controls().complete()).isTrue();
        assertThat(after.tokenizer().controls().latent()).isEqualTo(512);
        assertThat(after.tokenizer().encode("<latent> a"))
                .isEqualTo(before.tokenizer().encode("<latent> a"));

        int old = 512 * 64;
        assertThat(Arrays.copyOf(after.weights(), old)).isEqualTo(Arrays.copyOf(before.weights(), old));
        double squares = 0;
        for (int i = old; i < old + 4 * 64; i++) {
            assertThat(Math.abs(after.weights()[i])).isLessThanOrEqualTo(3 / 8f); // three times 64^-0.5
            squares += after.weights()[i] * after.weights()[i];
        }
        // 256 draws of standard deviation 1/8: the mean square is within four of its standard errors
        assertThat(squares / 256)
                .isBetween(1 / 64.0 * (1 - 4 * Math.sqrt(2 / 256.0)), 1 / 64.0 * (1 + 4 * Math.sqrt(2 / 256.0)));
        compare(stories, to, "model.embed_tokens.weight");

        Path again = scratch.resolve("again");
        ModelImport.run(stories, again, Safetensors.Type.F32, true);
        assertThat(again.resolve("model.safetensors")).hasSameBinaryContentAs(to.resolve("model.safetensors"));
        try (Engine engine = Engine.open(stories, TestDevice.backend(), TestDevice.options(), DType.F32);
                Engine imported = Engine.open(to, TestDevice.backend(), TestDevice.options(), DType.F32)) {
            assertThat(imported.generate("Once", Sampling.greedy(Sampling.NO_STOP, 20)))
                    .isEqualTo(engine.generate("Once", Sampling.greedy(Sampling.NO_STOP, 20)));
        }
    }

    @Test
    void exportedTensorsAreTheSameBytes() throws IOException {
        Path to = scratch.resolve("exported");
        assertThat(ModelImport.run(stories, to, Safetensors.Type.F32, false).added())
                .isEmpty();
        compare(stories, to, "");
        assertThat(HuggingFace.config(to)).isEqualTo(HuggingFace.config(stories));
        assertThat(Files.readString(to.resolve("config.json")))
                .contains("\"LlamaForCausalLM\"", "\"bos_token_id\" : 1", "\"eos_token_id\" : 2");
        for (Safetensors.Type type : new Safetensors.Type[] {Safetensors.Type.F16, Safetensors.Type.BF16}) {
            Path half = scratch.resolve(type.name());
            ModelImport.run(to, half, type, false);
            Path back = scratch.resolve(type + "-back");
            ModelImport.run(half, back, type, false);
            compare(half, back, "");
        }
    }

    @Test
    void aModelIsNotOverwritten() throws IOException {
        Path to = scratch.resolve("to");
        Files.createDirectories(to);
        Files.writeString(to.resolve("config.json"), "{}");
        assertThatThrownBy(() -> ModelImport.run(stories, to, Safetensors.Type.F32, true))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining("there is a model already");
    }

    @Test
    void aSummarySaysWhatTheFolderHolds() throws IOException {
        ModelSummary summary = ModelSummary.of(stories);
        assertThat(summary.config().parameters()).isEqualTo(260_032);
        assertThat(summary.tensors()).isEqualTo(Map.of("F32", 47));
        assertThat(summary.controls().bos()).isEqualTo(1);
        assertThat(summary.files()).hasSize(3).allMatch(f -> f.sha256().matches("[0-9a-f]{64}"));
        assertThat(summary.cacheBytes(4)).isEqualTo(2L * 5 * 512 * 4 * 8 * 4);
    }

    private static void compare(Path one, Path other, String but) throws IOException {
        try (Safetensors a = Safetensors.open(one.resolve("model.safetensors"));
                Safetensors b = Safetensors.open(other.resolve("model.safetensors"))) {
            assertThat(b.tensors().keySet())
                    .containsExactlyInAnyOrderElementsOf(a.tensors().keySet());
            for (String name : a.tensors().keySet()) {
                if (!name.equals(but)) {
                    assertThat(b.bytes(name)).as(name).isEqualTo(a.bytes(name));
                }
            }
        }
    }
}
