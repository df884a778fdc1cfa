package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.io.Conversation;
import subtext.io.HuggingFace;
import subtext.run.RunConfig;
import subtext.text.ControlTokens;
import subtext.text.Tokenizer;
import subtext.text.Tokens;

/** What is trained from a model that can be talked to is talked to in the same way. */
class StartConversationTest {
    @TempDir
    Path folder;

    private Path train(String name, RunConfig config) throws IOException {
        Path run = folder.resolve(name);
        TrainRun.start(new EmSettings(run, false, false, config), TrainRun.On.TEXT, event -> {});
        try (Stream<Path> all = Files.walk(run)) {
            return all.filter(file -> file.endsWith("model/config.json"))
                    .findFirst()
                    .orElseThrow()
                    .getParent();
        }
    }

    @Test
    void endTokensAndTemplatesGoOnToWhatIsTrained() throws IOException {
        RunConfig config = RunConfig.preset("chain-text")
                .with("device.backend", "cpu")
                .with("world.documents", "60")
                .with("world.heldOut", "20")
                .with("world.dev", "20")
                .with("world.warmStart", "40")
                .with("model.layers", "2")
                .with("model.width", "64")
                .with("training.steps", "2")
                .with("training.warmup", "1")
                .with("training.tokens", "1024");
        Path first = train("first", config);
        Tokenizer tokenizer = HuggingFace.tokenizer(first);
        assertThat(Conversation.of(first, HuggingFace.config(first), tokenizer)).isEqualTo(Conversation.of(tokenizer));
        ControlTokens controls = tokenizer.controls();
        Files.writeString(
                first.resolve("generation_config.json"),
                "{\"eos_token_id\": [%d, %d]}".formatted(controls.eos(), controls.endLatent()));
        Files.writeString(
                first.resolve("tokenizer_config.json"), "{\"chat_template\": \"x\", \"eos_token\": \"</latent>\"}");
        Path second = train("second", config.with("model.from", first.toString()));
        assertThat(Conversation.of(second, HuggingFace.config(second), tokenizer))
                .isEqualTo(new Conversation(
                        Tokens.of(controls.eos(), controls.endLatent()),
                        controls.endLatent(),
                        new TreeMap<>(Map.of(Conversation.DEFAULT, "x"))));
    }
}
