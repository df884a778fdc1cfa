package subtext.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** A library's single-precision matrix product, called as we call our own: through FFM, on memory that is already there. */
final class Sgemm {
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;
    private static final ValueLayout.OfByte CHAR = ValueLayout.JAVA_BYTE;

    private final String name;
    private final MethodHandle call;
    private final boolean cblas;

    private Sgemm(String name, MethodHandle call, boolean cblas) {
        this.name = name;
        this.call = call;
        this.cblas = cblas;
    }

    String name() {
        return name;
    }

    /** OpenBLAS from its Maven jar. */
    static Optional<Sgemm> openBlas(Peers peers, int threads) {
        return peers.library("openblas", "libopenblas.so.0").map(file -> {
            preload(file, "libgcc_s.so.1", "libquadmath.so.0", "libgfortran.so.5");
            SymbolLookup library = SymbolLookup.libraryLookup(file, Arena.global());
            setThreads(library, "openblas_set_num_threads", threads);
            return cblas("OpenBLAS", library);
        });
    }

    /** Intel's MKL from its Maven jar, with its threads and LP64 integers. */
    static Optional<Sgemm> mkl(Peers peers, int threads) {
        return peers.library("mkl", "libmkl_rt.so.2").map(file -> {
            preload(file, "libiomp5.so");
            SymbolLookup library = SymbolLookup.libraryLookup(file, Arena.global());
            setThreads(library, "MKL_Set_Threading_Layer", 0); // Intel's: the jar has no sequential one
            setThreads(library, "MKL_Set_Num_Threads", threads);
            return cblas("MKL", library);
        });
    }

    /** oneDNN from its Maven jar, with GNU's OpenMP. */
    static Optional<Sgemm> oneDnn(Peers peers, int threads) {
        return peers.library("dnnl", "libdnnl.so.3").map(file -> {
            preload(file, "libgomp.so.1");
            SymbolLookup openMp = SymbolLookup.libraryLookup(file.resolveSibling("libgomp.so.1"), Arena.global());
            setThreads(openMp, "omp_set_num_threads", threads);
            SymbolLookup library = SymbolLookup.libraryLookup(file, Arena.global());
            MethodHandle call = Linker.nativeLinker()
                    .downcallHandle(
                            library.find("dnnl_sgemm").orElseThrow(),
                            FunctionDescriptor.of(
                                    INT,
                                    CHAR,
                                    CHAR,
                                    LONG,
                                    LONG,
                                    LONG,
                                    FLOAT,
                                    ValueLayout.ADDRESS,
                                    LONG,
                                    ValueLayout.ADDRESS,
                                    LONG,
                                    FLOAT,
                                    ValueLayout.ADDRESS,
                                    LONG));
            return new Sgemm("oneDNN", call, false);
        });
    }

    private static void preload(Path beside, String... files) {
        for (String file : files) {
            Path path = beside.resolveSibling(file);
            if (Files.exists(path)) {
                System.load(path.toString());
            }
        }
    }

    private static void setThreads(SymbolLookup library, String function, int threads) {
        library.find(function).ifPresent(address -> {
            try {
                Linker.nativeLinker()
                        .downcallHandle(address, FunctionDescriptor.ofVoid(INT))
                        .invokeExact(threads);
            } catch (Throwable e) {
                throw new IllegalStateException(e);
            }
        });
    }

    private static Sgemm cblas(String name, SymbolLookup library) {
        MethodHandle call = Linker.nativeLinker()
                .downcallHandle(
                        library.find("cblas_sgemm").orElseThrow(),
                        FunctionDescriptor.ofVoid(
                                INT,
                                INT,
                                INT,
                                INT,
                                INT,
                                INT,
                                FLOAT,
                                ValueLayout.ADDRESS,
                                INT,
                                ValueLayout.ADDRESS,
                                INT,
                                FLOAT,
                                ValueLayout.ADDRESS,
                                INT));
        return new Sgemm(name, call, true);
    }

    /** Memory in huge pages where the system has them, as our device's memory is. */
    static MemorySegment large(Arena arena, long bytes) {
        MemorySegment memory = arena.allocate(bytes, 1 << 21);
        Linker.nativeLinker().defaultLookup().find("madvise").ifPresent(address -> {
            try {
                int hugepage = 14;
                int status = (int) Linker.nativeLinker()
                        .downcallHandle(address, FunctionDescriptor.of(INT, ValueLayout.ADDRESS, LONG, INT))
                        .invokeExact(memory, bytes, hugepage); // advice: refused is fine
            } catch (Throwable e) {
                throw new IllegalStateException(e);
            }
        });
        return memory;
    }

    /** c (m, n) = beta c + op(a) op(b), row-major, all dense. */
    void multiply(
            boolean transposeA,
            boolean transposeB,
            int m,
            int n,
            int k,
            MemorySegment a,
            MemorySegment b,
            float beta,
            MemorySegment c) {
        int lda = transposeA ? m : k;
        int ldb = transposeB ? k : n;
        try {
            if (cblas) {
                call.invokeExact(
                        101, transposeA ? 112 : 111, transposeB ? 112 : 111, m, n, k, 1f, a, lda, b, ldb, beta, c, n);
            } else {
                int status = (int) call.invokeExact(
                        (byte) (transposeA ? 'T' : 'N'),
                        (byte) (transposeB ? 'T' : 'N'),
                        (long) m,
                        (long) n,
                        (long) k,
                        1f,
                        a,
                        (long) lda,
                        b,
                        (long) ldb,
                        beta,
                        c,
                        (long) n);
                if (status != 0) {
                    throw new IllegalStateException(name + ": status " + status);
                }
            }
        } catch (Throwable e) {
            throw new IllegalStateException(name, e);
        }
    }
}
