package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** SIGTERM and Ctrl-C, sent to a process of its own in the middle of a training: it saves, ends with 75, and the run goes on. */
class SignalsTest {
    @TempDir
    Path folder;

    @ParameterizedTest
    @ValueSource(strings = {"TERM", "INT"})
    void aSignalSavesAndEndsWithSeventyFive(String signal) throws IOException, InterruptedException {
        String run = folder.resolve("run").toString();
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--enable-native-access=ALL-UNNAMED",
                        "-cp",
                        System.getProperty("java.class.path"),
                        Main.class.getName(),
                        "em",
                        "--preset",
                        "smoke",
                        "--device",
                        "cpu",
                        "--run",
                        run,
                        "--set",
                        "training.steps=400",
                        "--set",
                        "baselines=[]",
                        "--iterations",
                        "0")
                .start();
        StringBuilder said = new StringBuilder();
        try (BufferedReader lines = process.errorReader(StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.contains("step 1 of 400")) {
                    assertThat(new ProcessBuilder("kill", "-" + signal, Long.toString(process.pid()))
                                    .start()
                                    .waitFor())
                            .isZero();
                }
                said.append(line).append('\n');
            }
        }
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
        assertThat(process.exitValue()).as(said.toString()).isEqualTo(75);
        assertThat(said)
                .contains("SIG" + signal + ": stopping after the piece of work at hand", "saved in", "--resume");
        for (List<String> command : List.of(List.of("em", "--resume", "--run", run), List.of("verify", run))) {
            StringWriter err = new StringWriter();
            assertThat(Main.run(
                            new PrintWriter(new StringWriter()),
                            new PrintWriter(err, true),
                            command.toArray(String[]::new)))
                    .as(err.toString())
                    .isZero();
        }
    }
}
