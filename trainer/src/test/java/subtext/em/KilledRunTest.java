package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.io.AtomicFiles;
import subtext.io.Digest;
import subtext.random.Draws;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;
import subtext.testing.FaultyDisk;
import subtext.testing.FaultyDisk.Fault;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Runs in processes of their own that end by SIGKILL, half of them at a moment drawn uniformly from the time a run takes, half of them inside
 * the write of a checkpoint or of a part of thoughts. For the latter the disk layer stops the process at an operation drawn from all those
 * writes, half of the bytes written if it is one that writes, until the signal comes: a write takes microseconds, and a moment drawn
 * by time alone would miss it. All are taken up again and end in the very models and figures of the unbroken run.
 */
class KilledRunTest {
    private static final RunConfig TINY = RunConfig.preset("smoke")
            .with("device.backend", "cpu")
            .with("device.threads", "1")
            .with("world.warmStart", "12")
            .with("world.documents", "12")
            .with("world.dev", "4")
            .with("world.heldOut", "4")
            .with("training.steps", "5")
            .with("training.tokens", "256")
            .with("training.checkpointEvery", "1")
            .with("em.iterations", "2")
            .with("em.part", "3")
            .with("baselines", "[]");

    private static final String READY = "ready";
    private static final String INSIDE = "inside";

    @TempDir
    Path folder;

    private static boolean isInsideAWrite(Path path) {
        return path.toString().contains("/checkpoint/") || path.toString().contains("/latents/");
    }

    /** The run to be killed: folder, then an empty folder for the disk layer and how many such operations to let pass, or nothing. */
    static final class Victim {
        private Victim() {}

        public static void main(String[] arguments) throws IOException {
            Path run = Path.of(arguments[0]);
            if (arguments.length > 1) {
                FaultyDisk disk = new FaultyDisk(Files.createDirectory(Path.of(arguments[1])));
                int[] left = {Integer.parseInt(arguments[2])};
                disk.observe(path -> {
                    if (left[0] < 0) { // the one before was the chosen one, and this is what follows its half
                        System.out.println(INSIDE);
                        sleep();
                    } else if (isInsideAWrite(path) && left[0]-- == 0) {
                        disk.failAt(0, Fault.SHORT_WRITE); // at this very operation
                    }
                });
                run = disk.over(run);
            }
            System.out.println(READY);
            EmRun.start(new EmSettings(run, false, false, TINY), event -> {});
        }

        private static void sleep() {
            try {
                Thread.sleep(600_000);
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }
    }

    private static Process begin(String... arguments) throws IOException {
        List<String> command = new java.util.ArrayList<>(List.of(
                ProcessHandle.current().info().command().orElseThrow(),
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-Xmx256m",
                "-cp",
                System.getProperty("java.class.path"),
                "--enable-native-access=ALL-UNNAMED",
                Victim.class.getName()));
        command.addAll(List.of(arguments));
        return new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
    }

    private static void awaitLine(BufferedReader lines, String wanted) throws IOException {
        String line = lines.readLine();
        while (line != null && !line.equals(wanted)) {
            line = lines.readLine();
        }
        assertThat(line).as("said by the run to be killed").isEqualTo(wanted);
    }

    private static void kill(Process process) throws InterruptedException {
        process.destroyForcibly();
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    }

    /** Kills a run after some time; false if it was faster. */
    private static boolean killAfter(double seconds, Path run) throws IOException, InterruptedException {
        Process process = begin(run.toString());
        try (BufferedReader lines = process.inputReader(StandardCharsets.UTF_8)) {
            awaitLine(lines, READY);
            Thread.sleep((long) (seconds * 1e3));
            kill(process);
        }
        return process.exitValue() == 128 + 9;
    }

    private static void killInside(int operation, Path run) throws IOException, InterruptedException {
        Process process = begin(run.toString(), run + "-shadow", Integer.toString(operation));
        try (BufferedReader lines = process.inputReader(StandardCharsets.UTF_8)) {
            awaitLine(lines, INSIDE);
            kill(process);
        }
        assertThat(process.exitValue()).isEqualTo(128 + 9);
    }

    private static Map<String, String> models(Path root) throws IOException {
        Map<String, String> digests = new TreeMap<>();
        try (Stream<Path> files = Files.walk(root.resolve("seeds"))) {
            for (Path file :
                    files.filter(f -> f.endsWith("model/model.safetensors")).toList()) {
                digests.put(root.relativize(file).toString(), Digest.of(file));
            }
        }
        return digests;
    }

    /** All that a report says, warnings included, but for times and the folder. */
    private static JsonNode figures(EmReport report) {
        JsonNode tree = JsonMapper.shared().readTree(report.toJson());
        ((ObjectNode) tree).remove("run");
        strip(tree);
        return tree;
    }

    private static void strip(JsonNode tree) {
        if (tree instanceof ObjectNode object) {
            object.remove(object.propertyNames().stream()
                    .filter(name -> name.contains("econd"))
                    .toList());
        }
        tree.forEach(KilledRunTest::strip);
    }

    private static boolean hasLeftovers(Path root) {
        return FaultyDisk.tree(root).stream().anyMatch(name -> name.contains(AtomicFiles.TEMPORARY));
    }

    private static void delete(Path root) throws IOException {
        try (Stream<Path> all = Files.walk(root)) {
            for (Path path : all.sorted(java.util.Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }

    private void killed(int count, long seed) throws IOException, InterruptedException {
        long begun = System.nanoTime();
        // the unbroken run, and how many operations lie inside the writes
        FaultyDisk disk = new FaultyDisk(Files.createDirectory(folder.resolve("shadow")));
        int[] inside = {0};
        disk.observe(path -> inside[0] += isInsideAWrite(path) ? 1 : 0);
        Path whole = folder.resolve("whole");
        JsonNode figures = figures(EmRun.start(new EmSettings(disk.over(whole), false, false, TINY), event -> {}));
        Map<String, String> models = models(whole);
        assertThat(models).hasSize(3);
        assertThat(figures.path("seeds").get(0).path("warnings")).isNotEmpty();
        // how long it takes in a process of its own
        Process process = begin(folder.resolve("timed").toString());
        double seconds;
        try (BufferedReader lines = process.inputReader(StandardCharsets.UTF_8)) {
            awaitLine(lines, READY);
            long from = System.nanoTime();
            process.waitFor();
            seconds = (System.nanoTime() - from) * 1e-9;
        }
        assertThat(process.exitValue()).isZero();
        assertThat(models(folder.resolve("timed"))).isEqualTo(models);

        Draws draws = new Draws(seed);
        int begunOnes = 0;
        int cutWrites = 0;
        int faster = 0;
        for (int i = 0; i < count; i++) {
            Path run = folder.resolve("run-" + i);
            if (i % 2 == 0) {
                while (!killAfter(seconds * draws.below(1 << 20) / (1 << 20), run)) {
                    faster++;
                    delete(run);
                }
            } else {
                // all but the very last, which nothing follows
                killInside(draws.below(inside[0] - 1), run);
            }
            boolean begunOne = Files.exists(run.resolve("run.json"));
            begunOnes += begunOne ? 1 : 0;
            cutWrites += Files.exists(run) && hasLeftovers(run) ? 1 : 0;
            EmReport resumed = EmRun.start(new EmSettings(run, begunOne, false, TINY), event -> {});
            assertThat(figures(resumed)).as("case %d", i).isEqualTo(figures);
            assertThat(models(run)).as("case %d", i).isEqualTo(models);
            assertThat(RunDirectory.verify(run, path -> {}).problems())
                    .as("case %d", i)
                    .isEmpty();
            assertThat(hasLeftovers(run)).as("case %d: leftovers", i).isFalse();
            delete(run);
            if (i % 2 == 1) {
                delete(Path.of(run + "-shadow"));
            }
        }
        System.out.printf(
                "%d killed, %d inside one of %d operations of writes, %d at random within %.1f s (%d more were faster): %d had begun,"
                        + " %d left half a write; all ended in the same models and figures, %.0f s%n",
                count,
                count / 2,
                inside[0],
                count - count / 2,
                seconds,
                faster,
                begunOnes,
                cutWrites,
                (System.nanoTime() - begun) * 1e-9);
        assertThat(cutWrites).as("kills that left half a write").isGreaterThanOrEqualTo(count / 4);
    }

    @Test
    void killedAnywhereItEndsInTheSameModels() throws IOException, InterruptedException {
        killed(4, 4);
    }

    @Tag("slow")
    @Test
    void killedTwoHundredTimesItEndsInTheSameModels() throws IOException, InterruptedException {
        killed(200, 200);
    }
}
