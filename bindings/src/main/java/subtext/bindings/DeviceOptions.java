package subtext.bindings;

import java.nio.file.Path;
import java.util.Optional;

/**
 * How to open a device.
 *
 * @param ordinal which device of the backend, from 0; the CPU has only 0
 * @param threads CPU threads, 0 for one per core; CUDA ignores it
 * @param library the library file to use; empty looks in {@code subtext.native.path}, {@code SUBTEXT_NATIVE_PATH} and then in the jar
 * @param matmul whose matrix products a CUDA device uses
 */
public record DeviceOptions(int ordinal, int threads, Optional<Path> library, Matmul matmul) {

    /** Most CPU threads. */
    public static final int MOST_THREADS = 1024;

    /**
     * Checks what no backend could take.
     *
     * @throws IllegalArgumentException if the ordinal or the number of threads is out of range
     */
    public DeviceOptions {
        if (ordinal < 0) {
            throw new IllegalArgumentException("ordinal: expected 0 or more, got " + ordinal);
        }
        if (threads < 0 || threads > MOST_THREADS) {
            throw new IllegalArgumentException(
                    "threads: expected 0 (one per core) to " + MOST_THREADS + ", got " + threads);
        }
    }

    /** {@return device 0, one thread per core, the library found by the usual rules} */
    public static DeviceOptions defaults() {
        return new DeviceOptions(0, 0, Optional.empty(), Matmul.AUTO);
    }

    /**
     * The same for another device of the backend.
     *
     * @param ordinal from 0; the CPU has only 0
     * @return these options but for the ordinal
     * @throws IllegalArgumentException if it is negative
     */
    public DeviceOptions withOrdinal(int ordinal) {
        return new DeviceOptions(ordinal, threads, library, matmul);
    }

    /**
     * The same with another number of CPU threads.
     *
     * @param threads 0 for one per core, at most {@link #MOST_THREADS}
     * @return these options but for the threads
     * @throws IllegalArgumentException if it is out of range
     */
    public DeviceOptions withThreads(int threads) {
        return new DeviceOptions(ordinal, threads, library, matmul);
    }

    /**
     * The same with a library file of the caller's; nothing else is looked for.
     *
     * @param library the file, looked at only when a device is opened
     * @return these options but for the library
     */
    public DeviceOptions withLibrary(Path library) {
        return new DeviceOptions(ordinal, threads, Optional.of(library), matmul);
    }

    /**
     * The same with the products of another maker.
     *
     * @param matmul who computes them; whether it is there is seen when a device is opened
     * @return these options but for the products
     */
    public DeviceOptions withMatmul(Matmul matmul) {
        return new DeviceOptions(ordinal, threads, library, matmul);
    }
}
