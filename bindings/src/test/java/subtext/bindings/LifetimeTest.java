package subtext.bindings;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static subtext.bindings.DType.BF16;
import static subtext.bindings.DType.F32;
import static subtext.bindings.DType.F64;
import static subtext.bindings.DType.I32;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Who owns what, and that nothing outlives its owner. */
class LifetimeTest {
    private Device device;

    @BeforeEach
    void open() {
        device = Device.open(Backend.CPU, DeviceOptions.defaults().withThreads(1));
    }

    @AfterEach
    void close() {
        device.close();
    }

    @Test
    void aTensorDiesWithItsSlab() {
        Slab slab = device.slab("short", s -> {});
        Tensor[] x = new Tensor[1];
        Slab other = device.slab("other", s -> x[0] = s.tensor("x", F32, 4));
        other.close();
        slab.close();
        assertThatThrownBy(() -> device.downloadFloats(x[0])).isInstanceOf(IllegalStateException.class);
        assertThatThrownBy(() -> device.kernels().add(x[0], x[0], x[0])).isInstanceOf(IllegalStateException.class);
        assertThatThrownBy(() -> x[0].rows(1, 2)).isInstanceOf(IllegalStateException.class);
    }

    @Test
    void aDeviceClosesWhatItOwns() {
        Tensor[] x = new Tensor[1];
        Slab slab = device.slab("kept open", s -> x[0] = s.tensor("x", F32, 4));
        HostBuffer buffer = device.hostBuffer(64);
        MemorySegment memory = buffer.segment();
        Kernels k = device.kernels();
        device.close();
        assertThatThrownBy(() -> k.add(x[0], x[0], x[0])).isInstanceOf(IllegalStateException.class);
        assertThatThrownBy(() -> memory.get(ValueLayout.JAVA_INT, 0)).isInstanceOf(IllegalStateException.class);
        assertThatThrownBy(device::synchronize).isInstanceOf(IllegalStateException.class);
        slab.close();
        buffer.close();
        device.close();
    }

    @Test
    void onlyTheOpeningThreadMayUseADevice() {
        Tensor[] x = new Tensor[1];
        Slab slab = device.slab("mine", s -> x[0] = s.tensor("x", F32, 4));
        assertThat(failureElsewhere(device::synchronize)).isInstanceOf(WrongThreadException.class);
        assertThat(failureElsewhere(() -> device.kernels().add(x[0], x[0], x[0])))
                .isInstanceOf(WrongThreadException.class);
        assertThat(failureElsewhere(slab::close)).isInstanceOf(WrongThreadException.class);
        assertThat(failureElsewhere(device::close)).isInstanceOf(WrongThreadException.class);
        device.zero(x[0]);
        assertThat(device.downloadFloats(x[0])).containsOnly(0);
    }

    private static Throwable failureElsewhere(Runnable action) {
        try {
            CompletableFuture.runAsync(action).join();
            return null;
        } catch (CompletionException e) {
            return e.getCause();
        }
    }

    @Test
    void pinnedMemoryIsFilledByAnyThread() {
        try (HostBuffer buffer = device.hostBuffer(16)) {
            CompletableFuture.runAsync(() -> buffer.buffer().asFloatBuffer().put(new float[] {1, 2, 3, 4}))
                    .join();
            Tensor[] x = new Tensor[1];
            device.slab("x", s -> x[0] = s.tensor("x", F32, 3));
            device.upload(x[0], buffer, 4);
            device.synchronize();
            assertThat(device.downloadFloats(x[0])).containsExactly(2, 3, 4);
        }
    }

    @Test
    void everythingAllocatedIsFreed() {
        long before = device.allocatedBytes();
        for (int i = 0; i < 10; i++) {
            try (Slab slab = device.slab("again", s -> s.tensor("x", F32, 1000));
                    HostBuffer buffer = device.hostBuffer(1000)) {
                assertThat(device.allocatedBytes()).isGreaterThanOrEqualTo(before + 5000);
                assertThat(slab.capacity()).isGreaterThanOrEqualTo(4000);
                assertThat(buffer.bytes()).isEqualTo(1000);
            }
        }
        assertThat(device.allocatedBytes()).isEqualTo(before);
        assertThat(device.allocations()).isEqualTo(20);
    }

    /** A machine that has just written a checkpoint is not full: what only caches files is free. A container may leave less of it. */
    @Test
    void freeMemoryIsWhatLinuxCallsAvailable() throws IOException {
        Path meminfo = Path.of("/proc/meminfo");
        assumeTrue(Files.exists(meminfo));
        long before = available(meminfo);
        long free = device.info().freeBytes();
        long after = available(meminfo);
        long others = 1L << 30; // come and go between two looks
        boolean limited = device.limits().orElse("").startsWith("memory ");
        assertThat(free).isBetween(limited ? 0 : Math.min(before, after) - others, Math.max(before, after) + others);
        assertThat(free).isLessThanOrEqualTo(device.info().totalBytes());
    }

    private static long available(Path meminfo) throws IOException {
        return Files.readAllLines(meminfo).stream()
                .filter(line -> line.startsWith("MemAvailable:"))
                .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) * 1024)
                .findFirst()
                .orElseThrow();
    }

    @Test
    void copiesAllocateNothing() {
        Tensor[] x = new Tensor[1];
        device.slab("x", s -> x[0] = s.tensor("x", F32, 1 << 19));
        long before = device.allocations();
        float[] values = new float[1 << 19];
        for (int i = 0; i < values.length; i++) {
            values[i] = i;
        }
        device.upload(x[0], values); // two pieces of staging
        assertThat(device.downloadFloats(x[0])).isEqualTo(values);
        assertThat(device.allocations()).isEqualTo(before);
    }

    @Test
    void aLayoutIsMeasuredAtItsHighestPoint() {
        long bytes = Slab.measure(s -> {
            s.tensor("kept", F32, 64); // 256 bytes
            long mark = s.mark();
            s.tensor("scratch", F64, 64); // 512
            s.release(mark);
            s.tensor("other", BF16, 1); // rounded up to 256
        });
        assertThat(bytes).isEqualTo(768);
    }

    @Test
    void aSlabThatIsFullSaysSo() {
        try (Slab slab = device.slab("small", s -> s.tensor("x", F32, 4))) {
            assertThatThrownBy(() -> slab.tensor("y", F32, 4, 4))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("slab small: y F32 (4, 4) needs 64 bytes, 0 are left");
            assertThat(slab.table()).contains("x F32 (4)").startsWith("small: ");
        }
    }

    @Test
    void whatDoesNotFitFailsWithTheTable() {
        assertThatThrownBy(() -> device.slab("huge", s -> s.tensor("everything", F32, 1L << 50)))
                .isInstanceOf(EngineException.OutOfDeviceMemory.class)
                .hasMessageStartingWith("slab huge: ")
                .hasMessageContaining("everything F32 (1125899906842624)");
    }

    @Test
    void viewsShareTheMemory() {
        Tensor[] x = new Tensor[1];
        device.slab("x", s -> x[0] = s.tensor("x", I32, 3, 2));
        device.upload(x[0], new int[] {1, 2, 3, 4, 5, 6});
        assertThat(device.downloadInts(x[0].rows(1, 3))).containsExactly(3, 4, 5, 6);
        assertThat(device.downloadInts(x[0].reshape(6).rows(2, 3))).containsExactly(3);
        assertThatThrownBy(() -> x[0].rows(2, 4)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> x[0].reshape(4)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> device.upload(x[0], new int[5]))
                .hasMessage("x I32 (3, 2): has 6 elements, the array 5");
        assertThatThrownBy(() -> device.upload(x[0], new float[6])).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void recordingsAndTimersAreOwnedToo() {
        DeviceTimer timer = device.timer();
        timer.start();
        timer.stop();
        assertThat(timer.elapsedMillis()).isGreaterThanOrEqualTo(0);
        timer.close();
        timer.close();
    }
}
