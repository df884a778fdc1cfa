package subtext.bench;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * What the processor can do at best, measured where and when the figures are that are held against it: multiply-adds from registers, and
 * reading and copying of a footprint. The loops are C, {@code ceilings.c} beside this class, compiled for the machine it runs on; a C
 * compiler is what a build of Subtext needs anyway.
 */
public final class Ceilings {
    /** A footprint no cache holds: two arrays of this are far beyond a last-level cache's share. */
    public static final long MEMORY = 1L << 30;

    private final MethodHandle fma;
    private final MethodHandle read;
    private final MethodHandle copy;
    private final MethodHandle update;

    private Ceilings(SymbolLookup library) {
        Linker linker = Linker.nativeLinker();
        FunctionDescriptor rate =
                FunctionDescriptor.of(ValueLayout.JAVA_DOUBLE, ValueLayout.JAVA_INT, ValueLayout.JAVA_DOUBLE);
        FunctionDescriptor rateOf = FunctionDescriptor.of(
                ValueLayout.JAVA_DOUBLE, ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.JAVA_DOUBLE);
        this.fma = linker.downcallHandle(library.find("ceiling_fma").orElseThrow(), rate);
        this.read = linker.downcallHandle(library.find("ceiling_read").orElseThrow(), rateOf);
        this.copy = linker.downcallHandle(library.find("ceiling_copy").orElseThrow(), rateOf);
        this.update = linker.downcallHandle(library.find("ceiling_update").orElseThrow(), rateOf);
    }

    /**
     * Compiles and loads the loops.
     *
     * @throws IllegalStateException if there is no C compiler, with its message
     */
    public static Ceilings open() {
        try {
            Path folder = Files.createTempDirectory("subtext-ceilings");
            Path source = folder.resolve("ceilings.c");
            Path library = folder.resolve("libceilings.so");
            try (InputStream in = Ceilings.class.getResourceAsStream("ceilings.c")) {
                Files.write(source, in.readAllBytes());
            }
            String wide = System.getProperty("os.arch").equals("amd64") ? "-mprefer-vector-width=512" : "-O3";
            Process compiler = new ProcessBuilder(List.of(
                            "cc",
                            "-O3",
                            "-march=native",
                            wide,
                            "-ffp-contract=fast",
                            "-fPIC",
                            "-shared",
                            "-pthread",
                            source.toString(),
                            "-o",
                            library.toString()))
                    .redirectErrorStream(true)
                    .start();
            String said = new String(compiler.getInputStream().readAllBytes()).strip();
            if (compiler.waitFor() != 0) {
                throw new IllegalStateException("ceilings: cc failed: " + said);
            }
            Ceilings ceilings = new Ceilings(SymbolLookup.libraryLookup(library, Arena.global()));
            for (Path file : List.of(source, library, folder)) {
                Files.delete(file); // what is loaded stays loaded
            }
            return ceilings;
        } catch (IOException e) {
            throw new UncheckedIOException("ceilings: no C compiler `cc`: install one (apt-get install gcc)", e);
        } catch (InterruptedException e) {
            throw new IllegalStateException("ceilings: interrupted", e);
        }
    }

    /** GFLOP/s of multiply-adds from registers: the best of five tries, since others may have a processor for a moment. */
    public double fma(int threads) {
        try {
            double best = 0;
            for (int i = 0; i < 5; i++) {
                best = Math.max(best, (double) fma.invokeExact(threads, 0.1) * 1e-9);
            }
            return best;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /** GB/s of reading {@code bytes} over and over. */
    public double read(int threads, long bytes) {
        try {
            return (double) read.invokeExact(threads, bytes, seconds(bytes)) * 1e-9;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /** GB/s, read and written both counted, of copying one half of {@code bytes} over the other. */
    public double copy(int threads, long bytes) {
        try {
            return (double) copy.invokeExact(threads, bytes, seconds(bytes)) * 1e-9;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /** GB/s, read and written both counted, of changing {@code bytes} where they lie. */
    public double update(int threads, long bytes) {
        try {
            return (double) update.invokeExact(threads, bytes, seconds(bytes)) * 1e-9;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    private static double seconds(long bytes) {
        return bytes < 1L << 26 ? 0.15 : 0.6;
    }
}
