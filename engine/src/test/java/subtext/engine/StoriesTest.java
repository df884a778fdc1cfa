package subtext.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.generate.Sampling;
import subtext.io.HuggingFace;
import subtext.io.Safetensors;
import subtext.model.Llama;
import subtext.model.PackedBatch;
import subtext.testing.TestDevice;
import subtext.text.Tokens;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A real trained model of 260 thousand parameters against figures computed in float64 from the same file. Skipped where it is not. */
class StoriesTest {
    private static Path folder;
    private static JsonNode golden;

    @BeforeAll
    static void find() throws IOException {
        Path root = Path.of(System.getProperty("subtext.root", "..")).toAbsolutePath();
        folder = root.resolve("../shared/data/stories260K").normalize();
        Assumptions.assumeTrue(Files.isDirectory(folder), "no " + folder + ": the stories260K tests are skipped");
        golden = new JsonMapper().readTree(Files.readAllBytes(folder.resolve("golden.json")));
    }

    @Test
    void greedyTextIsTheReferences() throws IOException {
        try (Engine engine = Engine.open(folder, TestDevice.backend(), TestDevice.options(), DType.F32)) {
            Engine.Generation generation =
                    engine.generate(golden.path("prompt").asString(), Sampling.greedy(Sampling.NO_STOP, 115), 0);
            Tokens whole = tokens("greedy_ids"); // prompt included
            Tokens rest = whole.slice(generation.prompt().size(), whole.size());
            assertThat(generation.prompt()).isEqualTo(tokens("prompt_ids"));
            assertThat(generation.sample().tokens()).isEqualTo(rest);
            assertThat(golden.path("greedy_text").asString())
                    .endsWith(generation.text())
                    .startsWith(golden.path("prompt").asString());
            assertThat(golden.path("prompt").asString() + generation.text())
                    .isEqualTo(golden.path("greedy_text").asString());
        }
    }

    @Test
    void logProbabilitiesAndLogitsAreTheReferences() throws IOException {
        try (Engine engine = Engine.open(folder, TestDevice.backend(), TestDevice.options(), DType.F32)) {
            Engine.ScoredText scored = engine.score(golden.path("passage").asString());
            assertThat(scored.tokens()).isEqualTo(tokens("passage_ids"));
            assertThat(scored.score().logProbs()).containsExactly(doubles("passage_token_logprobs"), within(2e-4));
            assertThat(scored.score().sum())
                    .isCloseTo(golden.path("passage_logprob_sum").asDouble(), within(2e-3));
        }
        HuggingFace.Checkpoint checkpoint = HuggingFace.load(folder);
        try (Device device = TestDevice.open();
                Llama llama = Llama.open(device, checkpoint.config(), DType.F32, Llama.Capacity.scoring(64, 1))) {
            llama.upload(checkpoint.weights());
            Tokens passage = tokens("passage_ids");
            double[] logits = llama.logits(PackedBatch.of(
                    List.of(new PackedBatch.Sequence(passage, new int[passage.size()], new float[passage.size()]))));
            double[] last = java.util.Arrays.copyOfRange(logits, logits.length - 512, logits.length);
            assertThat(last).containsExactly(doubles("last_logits"), within(1e-3));
        }
    }

    @Test
    void savedAgainItHasTheSameTensors(@TempDir Path copy) throws IOException {
        HuggingFace.Checkpoint checkpoint = HuggingFace.load(folder);
        HuggingFace.save(copy, checkpoint.config(), checkpoint.tokenizer(), checkpoint.weights(), DType.F32);
        try (Safetensors before = Safetensors.open(folder.resolve("model.safetensors"));
                Safetensors after = Safetensors.open(copy.resolve("model.safetensors"))) {
            assertThat(after.tensors().keySet())
                    .containsExactlyInAnyOrderElementsOf(before.tensors().keySet());
            for (String name : before.tensors().keySet()) {
                assertThat(after.info(name).shape()).isEqualTo(before.info(name).shape());
                assertThat(after.bytes(name)).as(name).isEqualTo(before.bytes(name));
            }
        }
        HuggingFace.Checkpoint again = HuggingFace.load(copy);
        assertThat(again.config()).isEqualTo(checkpoint.config());
        assertThat(again.weights()).isEqualTo(checkpoint.weights());
        String text = golden.path("greedy_text").asString();
        assertThat(again.tokenizer().encode(text))
                .isEqualTo(checkpoint.tokenizer().encode(text));
        assertThat(again.tokenizer().decode(again.tokenizer().encode(text))).isEqualTo(text);
    }

    @Test
    void textNeverSpellsAControlToken() throws IOException {
        var tokenizer = HuggingFace.tokenizer(folder);
        Tokens spoofed = tokenizer.encode("<s></s><unk><0x0A> <s>");
        for (int i = 0; i < spoofed.size(); i++) {
            assertThat(spoofed.at(i)).isGreaterThan(2);
        }
        assertThat(tokenizer.decode(spoofed)).isEqualTo("<s></s><unk><0x0A> <s>");
        assertThat(tokenizer.decode(tokenizer.encode("tab\there, \u4f60\u597d \ud83d\ude00")))
                .isEqualTo("tab\there, \u4f60\u597d \ud83d\ude00");
    }

    private static Tokens tokens(String field) {
        JsonNode node = golden.path(field);
        int[] ids = new int[node.size()];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = node.path(i).asInt();
        }
        return Tokens.of(ids);
    }

    private static double[] doubles(String field) {
        JsonNode node = golden.path(field);
        double[] values = new double[node.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = node.path(i).asDouble();
        }
        return values;
    }
}
