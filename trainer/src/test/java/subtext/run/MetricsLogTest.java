package subtext.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;

/** Lines are written once, and every changed byte in them is found. */
class MetricsLogTest {
    @TempDir
    Path folder;

    private Path write(int steps) throws IOException {
        Path file = folder.resolve("metrics.jsonl");
        try (MetricsLog log = MetricsLog.open(file)) {
            for (int s = 1; s <= steps; s++) {
                log.add("step", Map.of("seed", 0, "stage", "M-step", "step", s, "loss", 1.0 / s));
            }
            log.add("notice", Map.of("line", "\u00e9t\u00e9"));
        }
        return file;
    }

    private static List<String> problems(Path file) throws IOException {
        List<String> problems = new ArrayList<>();
        MetricsLog.check(file, problems);
        return problems;
    }

    @Test
    void whatIsMeasuredTwiceIsWrittenOnce() throws IOException {
        Path file = write(3);
        write(5);
        assertThat(Files.readAllLines(file)).hasSize(6);
        assertThat(problems(file)).isEmpty();
    }

    @Test
    void everyFlippedBitIsFound() throws IOException {
        Path file = write(4);
        byte[] whole = Files.readAllBytes(file);
        for (int bit = 0; bit < 8 * whole.length; bit++) {
            byte[] damaged = whole.clone();
            damaged[bit / 8] ^= (byte) (1 << bit % 8);
            assertThat(MetricsLog.problem(damaged)).as("bit %d", bit).isPresent();
        }
    }

    @Test
    void aHalfWrittenLastLineIsCutOffAndADamagedOneBeforeItIsRefused() throws IOException {
        Path file = write(4);
        byte[] whole = Files.readAllBytes(file);
        Files.write(file, Arrays.copyOf(whole, whole.length - 7));
        assertThat(problems(file)).hasSize(1).allMatch(line -> line.contains("line 5 is cut off"));
        write(4);
        assertThat(Files.readAllBytes(file)).isEqualTo(whole);
        byte[] damaged = whole.clone();
        damaged[30] ^= 1;
        Files.write(file, damaged);
        assertThatThrownBy(() -> MetricsLog.open(file))
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageContaining("line 1 is damaged");
    }
}
