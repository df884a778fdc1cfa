package subtext.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import subtext.data.Cursor;
import subtext.io.AtomicFiles;
import subtext.testing.FaultyDisk;
import subtext.testing.FaultyDisk.Crash;
import subtext.testing.FaultyDisk.Cut;
import subtext.testing.FaultyDisk.Fault;

/**
 * One checkpoint is written over two older ones while the disk fails at every operation in turn, or the process ends there. Whatever
 * happens, what is read afterwards is the newest or the one before it, to the bit; never half of one.
 */
class CheckpointFaultTest {
    @TempDir
    Path folder;

    private FaultyDisk disk;
    private Path real;

    private static Checkpoint.Content content(int step) {
        return held(step).content();
    }

    private static Held held(int step) {
        float[] weights = new float[3000];
        float[] m = new float[3000];
        float[] v = new float[3000];
        Arrays.setAll(new int[3000], i -> {
            weights[i] = step + i * 1e-3f;
            m[i] = -step * i;
            v[i] = step * 0.5f + i;
            return 0;
        });
        return new Held(
                new TrainState(step, step - 1, Cursor.START, 1.5, 100L * step, 0, 0, 0, 9, 0.25), weights, m, v);
    }

    /** A folder with the checkpoints of steps 5 and 10, where that of step 15 is going to be written. */
    private Path start(int number) throws IOException {
        real = Files.createDirectories(folder.resolve("case-" + number)).resolve("checkpoint");
        disk = new FaultyDisk(Files.createDirectories(folder.resolve("shadow")));
        Path over = disk.over(real);
        disk.failAt(-1, Fault.CRASH);
        Checkpoint.write(over, content(5), 2);
        Checkpoint.write(over, content(10), 2);
        disk.cut(Cut.DROPPED); // a write that has returned survives a power cut
        assertThat(newest().state().step()).isEqualTo(10);
        return over;
    }

    private Held newest() throws IOException {
        return Held.newest(real, 3000, line -> {}).orElseThrow();
    }

    private int operations() throws IOException {
        Path over = start(9999);
        disk.failAt(1 << 30, Fault.CRASH);
        Checkpoint.write(over, content(15), 2);
        return disk.operations();
    }

    private void assertWhole(Held found, int... steps) {
        assertThat(steps).contains(found.state().step());
        Held expected = held(found.state().step());
        assertThat(found.state()).isEqualTo(expected.state());
        assertThat(found.weights()).isEqualTo(expected.weights());
        assertThat(found.m()).isEqualTo(expected.m());
        assertThat(found.v()).isEqualTo(expected.v());
    }

    private void assertWritable(Path over) throws IOException {
        disk.failAt(-1, Fault.CRASH);
        Checkpoint.write(over, content(15), 2);
        disk.cut(Cut.DROPPED);
        assertWhole(newest(), 15);
        assertThat(FaultyDisk.tree(real).stream().filter(name -> !name.contains("/")))
                .as("a deletion may be lost, before or after it took the name away; nothing else may be there")
                .isSubsetOf("step-000005", ".step-000005.deleted.part", "step-000010", "step-000015")
                .contains("step-000010", "step-000015");
    }

    @ParameterizedTest
    @EnumSource(
            value = Fault.class,
            names = {"NO_SPACE", "HALF_THEN_NO_SPACE", "IO_ERROR"})
    void everyFailedOperationLeavesAWholeCheckpointAndNoRemains(Fault fault) throws IOException {
        int operations = operations();
        assertThat(operations).isGreaterThan(20);
        int failures = 0;
        for (int n = 0; n < operations; n++) {
            Path over = start(n);
            disk.failAt(n, fault);
            boolean failed = false;
            try {
                Checkpoint.write(over, content(15), 2);
            } catch (IOException e) {
                failed = true;
                failures++;
                assertThat(e.getMessage())
                        .contains(real.toString())
                        .contains(fault == Fault.IO_ERROR ? "Input/output error" : "No space left on device");
            }
            assertThat(disk.happened()).isTrue();
            assertWhole(newest(), failed ? new int[] {10, 15} : new int[] {15});
            assertThat(FaultyDisk.tree(real))
                    .as("%s at %d", fault, n)
                    .noneMatch(name -> name.contains(AtomicFiles.TEMPORARY));
            assertWritable(over);
        }
        assertThat(failures).as("of %d operations", operations).isGreaterThan(operations / 3);
    }

    @Test
    void shortWritesAreGoneOnWith() throws IOException {
        int operations = operations();
        for (int n = 0; n < operations; n++) {
            Path over = start(n);
            disk.failAt(n, Fault.SHORT_WRITE);
            Checkpoint.write(over, content(15), 2);
            assertWhole(newest(), 15);
        }
    }

    @ParameterizedTest
    @EnumSource(Cut.class)
    void everyCrashPointLeavesAWholeCheckpoint(Cut cut) throws IOException {
        int operations = operations();
        boolean old = false;
        boolean young = false;
        for (int n = 0; n < operations; n++) {
            Path over = start(n);
            disk.failAt(n, Fault.CRASH);
            try {
                Checkpoint.write(over, content(15), 2);
            } catch (Crash e) {
                // as meant
            }
            disk.cut(cut);
            Held found = newest();
            assertWhole(found, 10, 15);
            old |= found.state().step() == 10;
            young |= found.state().step() == 15;
            assertWritable(over);
        }
        assertThat(old && young).as("crashes before and after the rename").isTrue();
    }
}
