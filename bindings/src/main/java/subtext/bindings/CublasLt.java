package subtext.bindings;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import subtext.bindings.ffi.CublasLtH;
import subtext.bindings.ffi.CublasLtH.Library;

/**
 * Matrix products by NVIDIA's cuBLASLt on a device's stream. Serves backward products, whose bits no log-probability depends on, and, where
 * {@link Matmul#VENDOR} asks for it, forward products too. Its choice of algorithm depends on the shape alone, so a run repeats itself on
 * the same GPU and library; it does depend on the number of rows, therefore it is no kernel for exact log-probabilities.
 *
 * <p>Row-major c = a b is computed as column-major c^T = b^T a^T. Owns its handle, descriptors and workspace; closed by its device.
 */
final class CublasLt implements AutoCloseable {
    /** What NVIDIA recommends for Hopper. */
    private static final long WORKSPACE_BYTES = 32L << 20;
    /** Below this many multiplications the look-up costs more than the product saves. */
    private static final long WORTHWHILE = 1L << 27;
    /** Shapes kept; a trainer with rows of varying number would otherwise collect them without end. */
    private static final int MOST_PLANS = 1024;

    private static final String PATH_PROPERTY = "subtext.cublaslt.path";
    private static final List<String> SONAMES = List.of("libcublasLt.so.13", "libcublasLt.so.12");

    /** A library that was found, or where it was looked for. */
    record Found(Optional<Library> library, List<String> tried) {}

    private enum Layout {
        NT,
        NN,
        TN
    }

    private record Key(Layout layout, long m, long n, long k, DType in, DType out) {}

    private record Plan(
            MemorySegment operation,
            MemorySegment first,
            MemorySegment second,
            MemorySegment result,
            MemorySegment algorithm,
            Arena arena) {}

    private final Library library;
    private final MemorySegment stream;
    private final Slab slab;
    private final Tensor workspace;
    private final Arena arena = Arena.ofConfined();
    private final MemorySegment handle;
    private final MemorySegment preference;
    private final MemorySegment one = arena.allocate(JAVA_FLOAT);
    private final MemorySegment zero = arena.allocate(JAVA_FLOAT);
    private final Map<Key, Plan> plans = new HashMap<>();

    CublasLt(Device device, Library library, MemorySegment stream) {
        this.library = library;
        this.stream = stream;
        Tensor[] cut = new Tensor[1];
        this.slab = device.slab("cublasLt", s -> cut[0] = s.tensor("workspace", DType.I32, WORKSPACE_BYTES / 4));
        this.workspace = cut[0];
        one.set(JAVA_FLOAT, 0, 1f);
        zero.set(JAVA_FLOAT, 0, 0f);
        MemorySegment out = arena.allocate(ADDRESS);
        check("cublasLtCreate", CublasLtH.cublasLtCreate(library, out));
        this.handle = out.get(ADDRESS, 0);
        check("cublasLtMatmulPreferenceCreate", CublasLtH.cublasLtMatmulPreferenceCreate(library, out));
        this.preference = out.get(ADDRESS, 0);
        MemorySegment bytes = arena.allocateFrom(JAVA_LONG, WORKSPACE_BYTES);
        check(
                "cublasLtMatmulPreferenceSetAttribute",
                CublasLtH.cublasLtMatmulPreferenceSetAttribute(
                        library,
                        preference,
                        CublasLtH.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                        bytes,
                        JAVA_LONG.byteSize()));
    }

    /**
     * Looks for the library: the property {@code subtext.cublaslt.path}, the variable {@code SUBTEXT_CUBLASLT_PATH}, the loader's own path,
     * then the usual folders of CUDA toolkits and of Python environments.
     */
    static Found find() {
        String named = Optional.ofNullable(System.getProperty(PATH_PROPERTY))
                .orElseGet(() -> System.getenv("SUBTEXT_CUBLASLT_PATH"));
        List<String> candidates = new ArrayList<>();
        if (named != null) {
            candidates.add(named);
        } else {
            candidates.addAll(SONAMES);
            for (String soname : SONAMES) {
                candidates.add("/usr/local/cuda/lib64/" + soname);
            }
            candidates.addAll(inPythonEnvironments());
        }
        return first(candidates);
    }

    /** The library of the property {@code subtext.cublaslt.path} and no other: how the emulator's is given to the emulator. */
    static Found named() {
        return first(Stream.ofNullable(System.getProperty(PATH_PROPERTY)).toList());
    }

    private static Found first(List<String> candidates) {
        List<String> tried = new ArrayList<>();
        for (String candidate : candidates) {
            tried.add(candidate);
            if (candidate.contains("/") && !Files.isRegularFile(Path.of(candidate))) {
                continue;
            }
            Optional<Library> library = Library.open(candidate);
            if (library.isPresent()) {
                return new Found(library, tried);
            }
        }
        return new Found(Optional.empty(), tried);
    }

    /** {@code <environment>/lib/python3.x/site-packages/nvidia/<package>/lib/libcublasLt.so.*} of the environment in use and the system's. */
    private static List<String> inPythonEnvironments() {
        List<Path> roots = new ArrayList<>();
        String environment = System.getenv("VIRTUAL_ENV");
        if (environment != null) {
            roots.add(Path.of(environment));
        }
        String path = System.getenv("PATH");
        if (path != null) {
            for (String folder : path.split(":")) {
                if (!folder.isEmpty() && Files.isExecutable(Path.of(folder, "python3"))) {
                    roots.add(Path.of(folder).toAbsolutePath().normalize().getParent());
                }
            }
        }
        List<String> found = new ArrayList<>();
        for (Path root : roots) {
            if (root == null) {
                continue;
            }
            for (Path python : listed(root.resolve("lib"), "python3*")) {
                for (String packages : List.of("site-packages", "dist-packages")) {
                    for (Path vendor : listed(python.resolve(packages).resolve("nvidia"), "*")) {
                        for (Path file : listed(vendor.resolve("lib"), "libcublasLt.so.*")) {
                            found.add(file.toString());
                        }
                    }
                }
            }
        }
        return found;
    }

    private static List<Path> listed(Path folder, String glob) {
        List<Path> entries = new ArrayList<>();
        if (Files.isDirectory(folder)) {
            try (DirectoryStream<Path> stream = Files.newDirectoryStream(folder, glob)) {
                stream.forEach(entries::add);
            } catch (IOException unreadable) {
                return List.of(); // a folder that cannot be read holds no library for us
            }
            entries.sort(null);
        }
        return entries;
    }

    /** Version as {@code major * 10000 + minor * 100 + patch}, and the file. */
    String description() {
        return description(library);
    }

    static String description(Library library) {
        return "cuBLASLt " + CublasLtH.cublasLtGetVersion(library) + " (" + library.path() + ")";
    }

    /** Whether a product of these sizes is one for this library: by shape alone, so that a run repeats itself. */
    boolean serves(long m, long n, long k, DType dtype) {
        if (dtype != DType.BF16 && dtype != DType.F32 || m == 0 || n == 0 || k == 0) {
            return false;
        }
        // 16-byte rows: anything else sends the library to slow paths or is refused
        long unit = 16 / dtype.bytes();
        return m % unit == 0 && n % unit == 0 && k % unit == 0 && m * n >= WORTHWHILE / k;
    }

    /** {@code c = a b^T + residual}, as {@link Kernels#matmulNT}; residual null or c's shape. */
    void nt(Tensor c, Tensor a, Tensor b, Tensor residual, long m, long n, long k) {
        run(Layout.NT, c, a, b, residual, m, n, k);
    }

    /** {@code c = a b}, as {@link Kernels#matmulNN}. */
    void nn(Tensor c, Tensor a, Tensor b, long m, long n, long k) {
        run(Layout.NN, c, a, b, null, m, n, k);
    }

    /** {@code c += a^T b}, as {@link Kernels#matmulTN}. */
    void tn(Tensor c, Tensor a, Tensor b, long m, long n, long k) {
        run(Layout.TN, c, a, b, c, m, n, k);
    }

    private void run(Layout layout, Tensor c, Tensor a, Tensor b, Tensor added, long m, long n, long k) {
        Key key = new Key(layout, m, n, k, a.dtype(), c.dtype());
        Plan plan = plans.get(key);
        if (plan == null) {
            if (plans.size() == MOST_PLANS) {
                plans.values().forEach(this::free);
                plans.clear();
            }
            plan = plan(key);
            plans.put(key, plan);
        }
        // column-major: the first operand is our b, the second our a
        check(
                "cublasLtMatmul",
                CublasLtH.cublasLtMatmul(
                        library,
                        handle,
                        plan.operation(),
                        one,
                        b.address(),
                        plan.first(),
                        a.address(),
                        plan.second(),
                        added == null ? zero : one,
                        (added == null ? c : added).address(),
                        plan.result(),
                        c.address(),
                        plan.result(),
                        plan.algorithm(),
                        workspace.address(),
                        WORKSPACE_BYTES,
                        stream));
    }

    private Plan plan(Key key) {
        Arena arena = Arena.ofConfined();
        MemorySegment out = arena.allocate(ADDRESS);
        int in = type(key.in());
        check(
                "cublasLtMatmulDescCreate",
                CublasLtH.cublasLtMatmulDescCreate(library, out, CublasLtH.CUBLAS_COMPUTE_32F, CublasLtH.CUDA_R_32F));
        MemorySegment operation = out.get(ADDRESS, 0);
        boolean transposeFirst = key.layout() == Layout.NT;
        boolean transposeSecond = key.layout() == Layout.TN;
        attribute(arena, operation, CublasLtH.CUBLASLT_MATMUL_DESC_TRANSA, transposeFirst);
        attribute(arena, operation, CublasLtH.CUBLASLT_MATMUL_DESC_TRANSB, transposeSecond);
        MemorySegment first = transposeFirst ? layout(out, in, key.k(), key.n()) : layout(out, in, key.n(), key.k());
        MemorySegment second = transposeSecond ? layout(out, in, key.m(), key.k()) : layout(out, in, key.k(), key.m());
        MemorySegment result = layout(out, type(key.out()), key.n(), key.m());
        MemorySegment heuristic = arena.allocate(CublasLtH.cublasLtMatmulHeuristicResult_t);
        MemorySegment count = arena.allocate(JAVA_INT);
        check(
                "cublasLtMatmulAlgoGetHeuristic for " + key,
                CublasLtH.cublasLtMatmulAlgoGetHeuristic(
                        library, handle, operation, first, second, result, result, preference, 1, heuristic, count));
        if (count.get(JAVA_INT, 0) == 0) {
            throw new EngineException.NativeCall(
                    "cublasLtMatmulAlgoGetHeuristic",
                    Status.UNSUPPORTED,
                    "no algorithm for " + key + "; use --matmul own");
        }
        // the algorithm is the first member of the result
        return new Plan(operation, first, second, result, heuristic, arena);
    }

    private void attribute(Arena arena, MemorySegment operation, int attribute, boolean transpose) {
        MemorySegment value = arena.allocateFrom(JAVA_INT, transpose ? CublasLtH.CUBLAS_OP_T : CublasLtH.CUBLAS_OP_N);
        check(
                "cublasLtMatmulDescSetAttribute",
                CublasLtH.cublasLtMatmulDescSetAttribute(library, operation, attribute, value, JAVA_INT.byteSize()));
    }

    /** A column-major matrix without gaps. */
    private MemorySegment layout(MemorySegment out, int type, long rows, long columns) {
        check(
                "cublasLtMatrixLayoutCreate",
                CublasLtH.cublasLtMatrixLayoutCreate(library, out, type, rows, columns, rows));
        return out.get(ADDRESS, 0);
    }

    private static int type(DType dtype) {
        return dtype == DType.BF16 ? CublasLtH.CUDA_R_16BF : CublasLtH.CUDA_R_32F;
    }

    private void free(Plan plan) {
        check("cublasLtMatmulDescDestroy", CublasLtH.cublasLtMatmulDescDestroy(library, plan.operation()));
        for (MemorySegment layout : List.of(plan.first(), plan.second(), plan.result())) {
            check("cublasLtMatrixLayoutDestroy", CublasLtH.cublasLtMatrixLayoutDestroy(library, layout));
        }
        plan.arena().close();
    }

    /** @throws EngineException.NativeCall for a {@code cublasStatus_t} other than success */
    private static void check(String operation, int status) {
        if (status != 0) {
            throw new EngineException.NativeCall(operation, Status.DEVICE_ERROR, "cublasStatus_t " + status);
        }
    }

    /** The stream must be idle: the device synchronises first. */
    @Override
    public void close() {
        plans.values().forEach(this::free);
        plans.clear();
        check("cublasLtMatmulPreferenceDestroy", CublasLtH.cublasLtMatmulPreferenceDestroy(library, preference));
        check("cublasLtDestroy", CublasLtH.cublasLtDestroy(library, handle));
        arena.close();
        slab.close();
    }
}
