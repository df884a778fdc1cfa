package subtext.bindings.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * The part of cuBLASLt that backward products use, in jextract's shape: C names verbatim, descriptors, address-first handles, struct
 * layouts. The library is looked up at run time and never linked; a machine without it is a normal machine.
 *
 * <p>Enum values and prototypes as documented by NVIDIA for cuBLAS 12 and 13; {@code size_t} is 64 bits. {@code ./mvnw -Pjextract -pl
 * bindings -am verify} compares them with what jextract makes of NVIDIA's header, where both are installed.
 */
public final class CublasLtH {
    private CublasLtH() {}

    /** {@code cudaDataType_t} */
    public static final int CUDA_R_32F = 0;

    public static final int CUDA_R_16BF = 14;
    /** {@code cublasComputeType_t}: products and sums in single precision. */
    public static final int CUBLAS_COMPUTE_32F = 68;
    /** {@code cublasOperation_t} */
    public static final int CUBLAS_OP_N = 0;

    public static final int CUBLAS_OP_T = 1;
    /** {@code cublasLtMatmulDescAttributes_t}, both of 32 bits. */
    public static final int CUBLASLT_MATMUL_DESC_TRANSA = 3;

    public static final int CUBLASLT_MATMUL_DESC_TRANSB = 4;
    /** {@code cublasLtMatmulPreferenceAttributes_t}, of 64 bits. */
    public static final int CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1;

    /** {@code cublasLtMatmulAlgo_t}: opaque, copied by value inside the heuristic's result. */
    public static final StructLayout cublasLtMatmulAlgo_t = MemoryLayout.structLayout(
                    MemoryLayout.sequenceLayout(8, JAVA_LONG).withName("data"))
            .withName("cublasLtMatmulAlgo_t");

    /** {@code cublasLtMatmulHeuristicResult_t} */
    public static final StructLayout cublasLtMatmulHeuristicResult_t = MemoryLayout.structLayout(
                    cublasLtMatmulAlgo_t.withName("algo"),
                    JAVA_LONG.withName("workspaceSize"),
                    JAVA_INT.withName("state"),
                    JAVA_FLOAT.withName("wavesCount"),
                    MemoryLayout.sequenceLayout(4, JAVA_INT).withName("reserved"))
            .withName("cublasLtMatmulHeuristicResult_t");

    private static final FunctionDescriptor STATUS_OF_POINTER = FunctionDescriptor.of(JAVA_INT, ADDRESS);
    private static final FunctionDescriptor SET =
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, JAVA_LONG);

    /** Every function in use with its C prototype, in the order of {@link Library}'s addresses. */
    static final SequencedMap<String, FunctionDescriptor> FUNCTIONS = functions();

    private static SequencedMap<String, FunctionDescriptor> functions() {
        SequencedMap<String, FunctionDescriptor> all = new LinkedHashMap<>();
        all.put("cublasLtGetVersion", FunctionDescriptor.of(JAVA_LONG));
        all.put("cublasLtCreate", STATUS_OF_POINTER);
        all.put("cublasLtDestroy", STATUS_OF_POINTER);
        all.put("cublasLtMatmulDescCreate", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT));
        all.put("cublasLtMatmulDescDestroy", STATUS_OF_POINTER);
        all.put("cublasLtMatmulDescSetAttribute", SET);
        all.put(
                "cublasLtMatrixLayoutCreate",
                FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG));
        all.put("cublasLtMatrixLayoutDestroy", STATUS_OF_POINTER);
        all.put("cublasLtMatmulPreferenceCreate", STATUS_OF_POINTER);
        all.put("cublasLtMatmulPreferenceDestroy", STATUS_OF_POINTER);
        all.put("cublasLtMatmulPreferenceSetAttribute", SET);
        all.put(
                "cublasLtMatmulAlgoGetHeuristic",
                FunctionDescriptor.of(
                        JAVA_INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS,
                        ADDRESS));
        all.put(
                "cublasLtMatmul",
                FunctionDescriptor.of(
                        JAVA_INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS,
                        ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS));
        return Collections.unmodifiableSequencedMap(all);
    }

    private static final MethodHandle GET_VERSION = handle(FUNCTIONS.get("cublasLtGetVersion"));
    private static final MethodHandle POINTER = handle(STATUS_OF_POINTER);
    private static final MethodHandle DESC_CREATE = handle(FUNCTIONS.get("cublasLtMatmulDescCreate"));
    private static final MethodHandle SET_ATTRIBUTE = handle(SET);
    private static final MethodHandle LAYOUT_CREATE = handle(FUNCTIONS.get("cublasLtMatrixLayoutCreate"));
    private static final MethodHandle GET_HEURISTIC = handle(FUNCTIONS.get("cublasLtMatmulAlgoGetHeuristic"));
    private static final MethodHandle MATMUL = handle(FUNCTIONS.get("cublasLtMatmul"));

    private static MethodHandle handle(FunctionDescriptor descriptor) {
        return Linker.nativeLinker().downcallHandle(descriptor);
    }

    /** The addresses of one opened cuBLASLt. It stays open for the life of the process: the driver keeps state behind it. */
    public record Library(
            String path,
            MemorySegment getVersion,
            MemorySegment create,
            MemorySegment destroy,
            MemorySegment matmulDescCreate,
            MemorySegment matmulDescDestroy,
            MemorySegment matmulDescSetAttribute,
            MemorySegment matrixLayoutCreate,
            MemorySegment matrixLayoutDestroy,
            MemorySegment matmulPreferenceCreate,
            MemorySegment matmulPreferenceDestroy,
            MemorySegment matmulPreferenceSetAttribute,
            MemorySegment matmulAlgoGetHeuristic,
            MemorySegment matmul) {

        /**
         * Opens a library by path or by soname.
         *
         * @return empty if it cannot be opened or lacks one of the functions
         */
        public static Optional<Library> open(String pathOrName) {
            SymbolLookup lookup;
            try {
                lookup = pathOrName.contains("/")
                        ? SymbolLookup.libraryLookup(Path.of(pathOrName), Arena.global())
                        : SymbolLookup.libraryLookup(pathOrName, Arena.global());
            } catch (IllegalArgumentException absent) {
                return Optional.empty();
            }
            MemorySegment[] found = new MemorySegment[FUNCTIONS.size()];
            int i = 0;
            for (String name : FUNCTIONS.keySet()) {
                Optional<MemorySegment> address = lookup.find(name);
                if (address.isEmpty()) return Optional.empty();
                found[i++] = address.get();
            }
            return Optional.of(new Library(
                    pathOrName,
                    found[0],
                    found[1],
                    found[2],
                    found[3],
                    found[4],
                    found[5],
                    found[6],
                    found[7],
                    found[8],
                    found[9],
                    found[10],
                    found[11],
                    found[12]));
        }
    }

    /** {@snippet lang=c : size_t cublasLtGetVersion(void) } */
    public static long cublasLtGetVersion(Library library) {
        try {
            return (long) GET_VERSION.invokeExact(library.getVersion());
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /** {@snippet lang=c : cublasStatus_t cublasLtCreate(cublasLtHandle_t *lightHandle) } */
    public static int cublasLtCreate(Library library, MemorySegment lightHandle) {
        return pointer(library.create(), lightHandle);
    }

    /** {@snippet lang=c : cublasStatus_t cublasLtDestroy(cublasLtHandle_t lightHandle) } */
    public static int cublasLtDestroy(Library library, MemorySegment lightHandle) {
        return pointer(library.destroy(), lightHandle);
    }

    /** {@snippet lang=c : cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *matmulDesc, cublasComputeType_t computeType, cudaDataType_t scaleType) } */
    public static int cublasLtMatmulDescCreate(
            Library library, MemorySegment matmulDesc, int computeType, int scaleType) {
        try {
            return (int) DESC_CREATE.invokeExact(library.matmulDescCreate(), matmulDesc, computeType, scaleType);
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /** {@snippet lang=c : cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t matmulDesc) } */
    public static int cublasLtMatmulDescDestroy(Library library, MemorySegment matmulDesc) {
        return pointer(library.matmulDescDestroy(), matmulDesc);
    }

    /** {@snippet lang=c : cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t matmulDesc, cublasLtMatmulDescAttributes_t attr, const void *buf, size_t sizeInBytes) } */
    public static int cublasLtMatmulDescSetAttribute(
            Library library, MemorySegment matmulDesc, int attribute, MemorySegment buffer, long bytes) {
        try {
            return (int)
                    SET_ATTRIBUTE.invokeExact(library.matmulDescSetAttribute(), matmulDesc, attribute, buffer, bytes);
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /** {@snippet lang=c : cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *matLayout, cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld) } */
    public static int cublasLtMatrixLayoutCreate(
            Library library, MemorySegment layout, int type, long rows, long columns, long leadingDimension) {
        try {
            return (int) LAYOUT_CREATE.invokeExact(
                    library.matrixLayoutCreate(), layout, type, rows, columns, leadingDimension);
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /** {@snippet lang=c : cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matLayout) } */
    public static int cublasLtMatrixLayoutDestroy(Library library, MemorySegment layout) {
        return pointer(library.matrixLayoutDestroy(), layout);
    }

    /** {@snippet lang=c : cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *pref) } */
    public static int cublasLtMatmulPreferenceCreate(Library library, MemorySegment preference) {
        return pointer(library.matmulPreferenceCreate(), preference);
    }

    /** {@snippet lang=c : cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref) } */
    public static int cublasLtMatmulPreferenceDestroy(Library library, MemorySegment preference) {
        return pointer(library.matmulPreferenceDestroy(), preference);
    }

    /** {@snippet lang=c : cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref, cublasLtMatmulPreferenceAttributes_t attr, const void *buf, size_t sizeInBytes) } */
    public static int cublasLtMatmulPreferenceSetAttribute(
            Library library, MemorySegment preference, int attribute, MemorySegment buffer, long bytes) {
        try {
            return (int) SET_ATTRIBUTE.invokeExact(
                    library.matmulPreferenceSetAttribute(), preference, attribute, buffer, bytes);
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@snippet lang=c : cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t operationDesc, cublasLtMatrixLayout_t Adesc, cublasLtMatrixLayout_t Bdesc, cublasLtMatrixLayout_t Cdesc, cublasLtMatrixLayout_t Ddesc, cublasLtMatmulPreference_t preference, int requestedAlgoCount, cublasLtMatmulHeuristicResult_t heuristicResultsArray[], int *returnAlgoCount) }
     */
    public static int cublasLtMatmulAlgoGetHeuristic(
            Library library,
            MemorySegment handle,
            MemorySegment operation,
            MemorySegment a,
            MemorySegment b,
            MemorySegment c,
            MemorySegment d,
            MemorySegment preference,
            int requested,
            MemorySegment results,
            MemorySegment returned) {
        try {
            return (int) GET_HEURISTIC.invokeExact(
                    library.matmulAlgoGetHeuristic(),
                    handle,
                    operation,
                    a,
                    b,
                    c,
                    d,
                    preference,
                    requested,
                    results,
                    returned);
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * {@snippet lang=c : cublasStatus_t cublasLtMatmul(cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t computeDesc, const void *alpha, const void *A, cublasLtMatrixLayout_t Adesc, const void *B, cublasLtMatrixLayout_t Bdesc, const void *beta, const void *C, cublasLtMatrixLayout_t Cdesc, void *D, cublasLtMatrixLayout_t Ddesc, const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspaceSizeInBytes, cudaStream_t stream) }
     */
    public static int cublasLtMatmul(
            Library library,
            MemorySegment handle,
            MemorySegment operation,
            MemorySegment alpha,
            MemorySegment a,
            MemorySegment aLayout,
            MemorySegment b,
            MemorySegment bLayout,
            MemorySegment beta,
            MemorySegment c,
            MemorySegment cLayout,
            MemorySegment d,
            MemorySegment dLayout,
            MemorySegment algorithm,
            MemorySegment workspace,
            long workspaceBytes,
            MemorySegment stream) {
        try {
            return (int) MATMUL.invokeExact(
                    library.matmul(),
                    handle,
                    operation,
                    alpha,
                    a,
                    aLayout,
                    b,
                    bLayout,
                    beta,
                    c,
                    cLayout,
                    d,
                    dLayout,
                    algorithm,
                    workspace,
                    workspaceBytes,
                    stream);
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    private static int pointer(MemorySegment function, MemorySegment argument) {
        try {
            return (int) POINTER.invokeExact(function, argument);
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /** Liveness and thread checks of the JDK pass through; {@code invokeExact} declares the rest but cannot throw it. */
    private static RuntimeException unexpected(Throwable t) {
        if (t instanceof RuntimeException exception) throw exception;
        if (t instanceof Error error) throw error;
        throw new AssertionError(t);
    }
}
