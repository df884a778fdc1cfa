package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import subtext.io.AtomicFiles;
import subtext.io.Digest;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;
import subtext.testing.FaultyDisk;
import subtext.testing.FaultyDisk.Crash;
import subtext.testing.FaultyDisk.Cut;
import subtext.testing.FaultyDisk.Fault;
import subtext.text.Tokens;

/**
 * Parts of thoughts, and whole runs, on a disk that fails at an operation or under a process that ends there: older state stays, nothing
 * temporary is left by a failure, and a run taken up again ends in the very models of an unbroken one.
 */
class RunFaultTest {
    private static final RunConfig TINY = RunConfig.preset("smoke")
            .with("device.backend", "cpu")
            .with("device.threads", "1")
            .with("training.steps", "4")
            .with("training.checkpointEvery", "2")
            .with("em.iterations", "1")
            .with("em.part", "30")
            .with("baselines", "raw-total-flop-match");

    @TempDir
    Path folder;

    // ---- one part of thoughts

    private static List<LatentRecord> records(int seed) {
        return List.of(new LatentRecord(
                "d" + seed,
                1,
                List.of(new ScoredSample(Tokens.of(1, seed, 3), true, true, -0.5 * seed, new JointScore(-1, -2))),
                0));
    }

    @Test
    void everyFaultAndCrashPointOfOnePartLeavesTheOlderOneOrTheNew() throws IOException {
        FaultyDisk disk = new FaultyDisk(Files.createDirectory(folder.resolve("shadow")));
        Path real = Files.createDirectory(folder.resolve("latents")).resolve("part-00000.jsonl");
        Path over = disk.over(real);
        disk.failAt(1 << 30, Fault.CRASH);
        LatentPart.write(over, "model x", 1, 0, records(1));
        int operations = disk.operations();
        assertThat(operations).isGreaterThanOrEqualTo(5); // open, write, flush, rename, flush the folder
        disk.cut(Cut.DROPPED);
        assertThat(LatentPart.read(real, "model x")).isEqualTo(records(1));
        for (int n = 0; n < operations; n++) {
            for (Fault fault : List.of(Fault.NO_SPACE, Fault.HALF_THEN_NO_SPACE, Fault.IO_ERROR, Fault.SHORT_WRITE)) {
                LatentPart.write(real, "model x", 1, 0, records(1));
                disk.failAt(n, fault);
                boolean failed = false;
                try {
                    LatentPart.write(over, "model x", 1, 0, records(2));
                } catch (IOException e) {
                    failed = true;
                    assertThat(e).isInstanceOf(FileSystemException.class);
                }
                assertThat(failed && fault == Fault.SHORT_WRITE).isFalse();
                assertThat(LatentPart.read(real, "model x"))
                        .isIn(failed ? List.of(records(1), records(2)) : List.of(records(2)));
                assertThat(FaultyDisk.tree(real.getParent())).containsExactly("part-00000.jsonl");
            }
            for (Cut cut : Cut.values()) {
                disk.cut(Cut.NOTHING_LOST);
                LatentPart.write(real, "model x", 1, 0, records(1));
                disk.failAt(n, Fault.CRASH);
                try {
                    LatentPart.write(over, "model x", 1, 0, records(2));
                } catch (Crash e) {
                    // as meant
                }
                disk.cut(cut);
                assertThat(LatentPart.read(real, "model x")).isIn(records(1), records(2));
                AtomicFiles.sweep(real.getParent());
                assertThat(FaultyDisk.tree(real.getParent())).containsExactly("part-00000.jsonl");
            }
        }
    }

    // ---- whole runs

    private EmReport run(Path where, boolean resume) {
        return EmRun.start(new EmSettings(where, resume, false, TINY), event -> {});
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

    private static boolean begun(Path root) {
        return Files.exists(root.resolve("run.json"));
    }

    private void faults(Fault fault, int points) throws IOException {
        FaultyDisk disk = new FaultyDisk(Files.createDirectories(folder.resolve("shadow")));
        Path whole = folder.resolve("whole-" + fault);
        disk.failAt(1 << 30, fault);
        run(disk.over(whole), false);
        int operations = disk.operations();
        Map<String, String> models = models(whole);
        assertThat(models).hasSize(3);
        disk.cut(Cut.NOTHING_LOST);
        int failures = 0;
        for (int p = 0; p < points; p++) {
            int n = (int) ((2L * p + 1) * operations / (2L * points));
            Path real = folder.resolve(fault + "-" + n);
            Cut cut = Cut.values()[p % Cut.values().length];
            disk.failAt(n, fault);
            Throwable failure = null;
            try {
                run(disk.over(real), false);
            } catch (Crash | RuntimeException e) {
                failure = e;
                failures++;
            }
            assertThat(disk.happened()).isTrue();
            if (fault == Fault.CRASH) {
                assertThat(failure).isInstanceOf(Crash.class);
                disk.cut(cut);
            } else if (failure != null) {
                assertThat(failure).as("%s at %d", fault, n).hasRootCauseInstanceOf(FileSystemException.class);
                assertThat(FaultyDisk.tree(real))
                        .as("%s at %d", fault, n)
                        .noneMatch(name -> name.contains(AtomicFiles.TEMPORARY));
                disk.cut(Cut.NOTHING_LOST);
            }
            run(real, begun(real));
            assertThat(models(real))
                    .as("%s at %d of %d, %s", fault, n, operations, cut)
                    .isEqualTo(models);
            assertThat(RunDirectory.verify(real, path -> {}).problems()).isEmpty();
            assertThat(FaultyDisk.tree(real)).noneMatch(name -> name.contains(AtomicFiles.TEMPORARY));
        }
        assertThat(failures).isGreaterThan(points / 4);
        System.out.printf("%s: %d of %d operations, %d failed%n", fault, points, operations, failures);
    }

    @ParameterizedTest
    @EnumSource(
            value = Fault.class,
            names = {"HALF_THEN_NO_SPACE", "IO_ERROR", "CRASH"})
    void someFaultsOfAWholeRunAreSurvived(Fault fault) throws IOException {
        faults(fault, 9);
    }

    @Tag("slow")
    @ParameterizedTest
    @EnumSource(
            value = Fault.class,
            names = {"NO_SPACE", "HALF_THEN_NO_SPACE", "IO_ERROR", "CRASH"})
    void manyFaultsOfAWholeRunAreSurvived(Fault fault) throws IOException {
        faults(fault, 150);
    }
}
