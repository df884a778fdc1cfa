package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Processes that are given less than the machine has. Limits of containers: {@code limits_tests}, on made-up trees of files. */
class LimitsTest {
    @TempDir
    Path folder;

    private record Ended(int code, String out, String err) {}

    /** The program, in a process that {@code before} begins. */
    private Ended run(List<String> before, String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(before);
        command.addAll(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                // little address space of Java's own
                "-Xmx128m",
                "-XX:+UseSerialGC",
                "-XX:ReservedCodeCacheSize=64m",
                "-XX:CompressedClassSpaceSize=64m",
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                Main.class.getName()));
        command.addAll(List.of(arguments));
        File out = folder.resolve("out").toFile();
        File err = folder.resolve("err").toFile();
        Process process = new ProcessBuilder(command)
                .redirectOutput(out)
                .redirectError(err)
                .start();
        assertThat(process.waitFor(120, TimeUnit.SECONDS)).isTrue();
        return new Ended(process.exitValue(), Files.readString(out.toPath()), Files.readString(err.toPath()));
    }

    @Test
    void threadsAreThoseThatTheSchedulerLeaves() throws IOException, InterruptedException {
        Path status = Path.of("/proc/self/status");
        assumeTrue(Files.exists(status) && Files.isExecutable(Path.of("/usr/bin/taskset")));
        String first = Files.readAllLines(status, StandardCharsets.ISO_8859_1).stream()
                .filter(line -> line.startsWith("Cpus_allowed_list:"))
                .map(line -> line.replaceAll("\\D*(\\d+).*", "$1"))
                .findFirst()
                .orElseThrow();
        assumeTrue(Runtime.getRuntime().availableProcessors() > 1);
        List<String> alone = List.of("/usr/bin/taskset", "-c", first);
        JsonNode cpu = JsonMapper.shared()
                .readTree(run(alone, "doctor", "--device", "cpu", "--json").out())
                .path("backends")
                .get(0);
        assertThat(cpu.path("device").path("processors").asInt()).isEqualTo(1);
        assertThat(cpu.path("limits").asString()).containsPattern("\\b1 of \\d+ processors by scheduling affinity");
        assertThat(run(alone, "doctor", "--device", "cpu").out())
                .containsPattern("limited: .*1 of \\d+ processors by scheduling affinity");
    }

    /** The machine has memory enough, the process may have less: seen before anything is made, and not when the memory is asked for. */
    @Test
    void addressSpaceThatEndsIsOneLineAndExitCodeFour() throws IOException, InterruptedException {
        Ended ended = run(
                List.of("sh", "-c", "ulimit -v 2500000; exec \"$@\"", "sh"),
                "em",
                "--preset",
                "smoke",
                "--device",
                "cpu",
                "--run",
                folder.resolve("run").toString(),
                "--set",
                "model.layers=16",
                "--set",
                "model.width=1024",
                "--set",
                "model.heads=16",
                "--set",
                "model.kvHeads=16",
                "--set",
                "model.headDim=64",
                "--set",
                "model.hidden=2816");
        assertThat(ended.code()).as(ended.err()).isEqualTo(4);
        assertThat(ended.err()).startsWith("subtext: ").hasLineCount(1);
        assertThat(ended.err()).contains("memory: the run needs", "are free");
        assertThat(ended.out()).isEmpty();
        assertThat(folder.resolve("run")).doesNotExist();
    }
}
