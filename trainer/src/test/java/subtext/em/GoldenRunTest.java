package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.run.RunConfig;

/** A whole small run gives the models it always gave: drawn, weighed, chosen and trained to the same bits on every machine. */
class GoldenRunTest {
    @TempDir
    Path folder;

    @Test
    void theModelsOfEveryIterationAreTheGoldenOnes() throws IOException, NoSuchAlgorithmException {
        RunConfig config =
                RunConfig.preset("smoke").with("device.backend", "cpu").with("baselines", "");
        Path run = folder.resolve("run");
        EmRun.start(new EmSettings(run, false, false, config), event -> {});
        List<String> golden;
        try (InputStream file = getClass().getResourceAsStream("/golden/smoke-models.txt")) {
            golden = new String(file.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .filter(line -> !line.startsWith("#"))
                    .toList();
        }
        assertThat(golden).hasSize(3);
        for (String line : golden) {
            String iteration = line.substring(0, 2);
            byte[] model =
                    Files.readAllBytes(run.resolve("seeds/0/iterations/" + iteration + "/model/model.safetensors"));
            String digest = HexFormat.of()
                    .formatHex(MessageDigest.getInstance("SHA-256").digest(model));
            assertThat(iteration + " " + digest).isEqualTo(line);
        }
    }
}
