package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.IntConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** SIGTERM and Ctrl-C, sent to a process of its own in the middle of a training: it saves, ends with 75, and the run goes on. */
class SignalsTest {
    @TempDir
    Path folder;

    private record Ended(int code, String said) {}

    /** Begins a run with some settings more, and does something at its first step. */
    private Ended run(int steps, IntConsumer atFirstStep, String... more) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
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
                folder.resolve("run").toString(),
                "--set",
                "training.steps=" + steps,
                "--set",
                "baselines=[]",
                "--iterations",
                "0"));
        command.addAll(List.of(more));
        Process process = new ProcessBuilder(command).start();
        StringBuilder said = new StringBuilder();
        try (BufferedReader lines = process.errorReader(StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.contains("step 1 of " + steps)) {
                    atFirstStep.accept((int) process.pid());
                }
                said.append(line).append('\n');
            }
        }
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
        return new Ended(process.exitValue(), said.toString());
    }

    private static void send(String signal, int pid) {
        try {
            assertThat(new ProcessBuilder("kill", "-" + signal, Integer.toString(pid))
                            .start()
                            .waitFor())
                    .isZero();
        } catch (IOException | InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private void goesOnToItsEnd() {
        String run = folder.resolve("run").toString();
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

    /** What a shell without job control starts in the background ignores Ctrl-C, and so does every process that it starts. */
    private static void assumeHeard(String signal) throws IOException {
        int number = signal.equals("INT") ? 2 : 15;
        long ignored = Files.readAllLines(Path.of("/proc/self/status")).stream()
                .filter(line -> line.startsWith("SigIgn:"))
                .mapToLong(line -> Long.parseUnsignedLong(line.substring(7).strip(), 16))
                .findFirst()
                .orElse(0);
        assumeTrue(
                (ignored >> (number - 1) & 1) == 0,
                "SIG" + signal + " is ignored here, as in the background of a shell");
    }

    @ParameterizedTest
    @ValueSource(strings = {"TERM", "INT"})
    void aSignalSavesAndEndsWithSeventyFive(String signal) throws IOException, InterruptedException {
        assumeHeard(signal);
        Ended ended = run(400, pid -> send(signal, pid));
        assertThat(ended.code()).as(ended.said()).isEqualTo(75);
        assertThat(ended.said())
                .contains("SIG" + signal + ": stopping after the piece of work at hand", "saved in", "--resume");
        goesOnToItsEnd();
    }

    /** Both are there when the process wakes, long before the step at hand is done: whichever is met last ends it, and nothing is lost. */
    @Test
    void theSecondSignalEndsAtOnce() throws IOException, InterruptedException {
        assumeHeard("INT");
        IntConsumer twice = pid -> {
            send("STOP", pid);
            send("TERM", pid);
            send("INT", pid);
            send("CONT", pid);
        };
        Ended ended = run(8, twice, "--set", "model.width=512", "--set", "model.hidden=2048");
        assertThat(ended.code()).as(ended.said()).isIn(130, 143);
        assertThat(ended.said()).doesNotContain("saved in");
        goesOnToItsEnd();
    }
}
