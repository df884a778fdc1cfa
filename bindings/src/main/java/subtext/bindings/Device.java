package subtext.bindings;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import subtext.bindings.ffi.NativeLibrary;
import subtext.bindings.ffi.SubtextH;
import subtext.bindings.ffi.Symbols;

/**
 * A kernel library, a device of it and its one queue of work. Confined to the thread that opened it: any other gets a
 * {@link WrongThreadException}. Owns its slabs, host buffers, recordings and timers; closing the device closes them.
 *
 * <pre>{@code
 * try (Device device = Device.open(Backend.best());
 *      Slab weights = device.slab("weights", table::lay)) {
 *     device.kernels().matmulNT(c, a, b);
 * }
 * }</pre>
 */
public final class Device implements AutoCloseable {
    private static final System.Logger LOG = System.getLogger(Device.class.getName());
    private static final int TEXT_BYTES = 1024;
    /** Copies between Java arrays and the device pass through this much native memory at a time. */
    private static final long STAGING_BYTES = 1 << 20;

    private final Backend backend;
    private final NativeLibrary library;
    private final Symbols symbols;
    private final Arena arena = Arena.ofConfined();
    /** Tied to the arena, so every call checks for us that the device is open and the thread the right one. */
    private final MemorySegment handle;

    private final MemorySegment staging;
    private final MemorySegment result;
    private final Kernels kernels;
    private final List<AutoCloseable> owned = new ArrayList<>();
    private final boolean planning;
    private final Matmul matmul;
    private CublasLt vendor;
    private long plannedBytes;
    private boolean closed;

    private Device(Backend backend, NativeLibrary library, DeviceOptions options, boolean planning) {
        this.backend = backend;
        this.planning = planning;
        this.library = library;
        this.symbols = library.symbols();
        MemorySegment error = arena.allocate(TEXT_BYTES);
        this.result = arena.allocate(ADDRESS);
        this.staging =
                arena.allocate(STAGING_BYTES, 64); // before the device: where there is no memory, nothing is open yet
        int status =
                SubtextH.st_device_open(symbols, result, options.ordinal(), options.threads(), error, error.byteSize());
        if (status != SubtextH.ST_OK) {
            String reason = error.getString(0);
            arena.close();
            throw new EngineException.BackendUnavailable("%s device %d: %s%s (library %s)"
                    .formatted(
                            backend,
                            options.ordinal(),
                            reason.isEmpty() ? Status.of(status).toString() : reason,
                            backend == Backend.CPU ? "" : "; run with --device cpu to do without",
                            library.path()));
        }
        this.handle = result.get(ADDRESS, 0).reinterpret(arena, null);
        this.kernels = new Kernels(this, symbols, handle);
        this.matmul = options.matmul();
        if (matmul == Matmul.AMX) {
            openMatrixUnit();
        } else if (backend != Backend.CPU && matmul != Matmul.OWN) {
            openVendorMatmul(matmul);
        }
    }

    private void openMatrixUnit() {
        if (SubtextH.st_device_matmul(symbols, handle, SubtextH.ST_MATMUL_AMX) != SubtextH.ST_OK) {
            String reason = lastError();
            close();
            throw new EngineException.BackendUnavailable("--matmul amx: " + reason + "; use --matmul own");
        }
    }

    private void openVendorMatmul(Matmul matmul) {
        // the real library would write to memory that the emulator only pretends is a GPU's
        CublasLt.Found found = property(SubtextH.ST_IS_EMULATED) != 0 ? CublasLt.named() : CublasLt.find();
        if (found.library().isPresent()) {
            check("st_device_stream", SubtextH.st_device_stream(symbols, handle, result));
            vendor = new CublasLt(this, found.library().get(), result.get(ADDRESS, 0));
            owned.add(vendor);
            kernels.vendor(vendor, matmul == Matmul.VENDOR);
        } else if (matmul == Matmul.VENDOR) {
            close();
            throw new EngineException.BackendUnavailable(
                    "--matmul vendor: no cuBLASLt, tried " + String.join(", ", found.tried())
                            + "; name its file in SUBTEXT_CUBLASLT_PATH or use --matmul own");
        } else if (!found.tried().isEmpty()) {
            LOG.log(
                    System.Logger.Level.INFO,
                    () -> "no cuBLASLt, our own kernels serve backward products; tried "
                            + String.join(", ", found.tried()));
        }
    }

    /**
     * Opens the first device of a backend with default options, on the calling thread.
     *
     * @param backend which library computes
     * @return the device, which the caller closes
     * @throws EngineException.BackendUnavailable as {@link #open(Backend, DeviceOptions)}
     */
    public static Device open(Backend backend) {
        return open(backend, DeviceOptions.defaults());
    }

    /**
     * Opens a device on the calling thread.
     *
     * @param backend which library computes
     * @param options which device of it, and how
     * @return the device, which the caller closes
     * @throws EngineException.BackendUnavailable if there is no library or no such device, with everything that was tried
     */
    public static Device open(Backend backend, DeviceOptions options) {
        return new Device(backend, NativeLibrary.open(backend.libraryName(), options.library()), options, false);
    }

    /**
     * Opens a device that allocates nothing: slabs are only counted, in {@link #allocatedBytes} and against the free memory of
     * {@link #info}, and what would fill them does nothing. The very code that builds a model thus says what it would take. Kernels must
     * not be called.
     *
     * @param backend which library would compute
     * @param options which device of it, whose memory counts
     * @return the device, which the caller closes
     * @throws EngineException.BackendUnavailable as {@link #open(Backend, DeviceOptions)}
     */
    public static Device planning(Backend backend, DeviceOptions options) {
        return new Device(backend, NativeLibrary.open(backend.libraryName(), options.library()), options, true);
    }

    /** {@return whether this device only counts} */
    public boolean planning() {
        return planning;
    }

    /** {@return which library computes, or on a planning device would} */
    public Backend backend() {
        return backend;
    }

    /** {@return the kernels of this device, which work on its tensors only} */
    public Kernels kernels() {
        return kernels;
    }

    // ---- memory
    // ------------------------------------------------------------------------------------------------------

    /**
     * Measures a layout, allocates a slab of just that size and lays it out. The content is undefined.
     *
     * @param role what it is to hold, in the words of errors and tables
     * @param layout cuts the tensors; run twice, to count and then on the memory, once only on a planning device
     * @return the slab, closed by the caller or with this device
     * @throws EngineException.OutOfDeviceMemory if it does not fit, with the table of what it was to hold
     */
    public Slab slab(String role, Consumer<Slab> layout) {
        Slab measured = Slab.measured(layout);
        long bytes = measured.highWater();
        if (planning) {
            plannedBytes += Math.max(bytes, Slab.ALIGNMENT);
            return measured;
        }
        int status = SubtextH.st_alloc(symbols, handle, result, Math.max(bytes, Slab.ALIGNMENT));
        if (status == SubtextH.ST_OUT_OF_MEMORY) {
            throw new EngineException.OutOfDeviceMemory(
                    "slab %s: %s wanted, %s free on %s; take a smaller batch or model%n%s"
                            .formatted(
                                    role,
                                    Slab.mebibytes(bytes),
                                    Slab.mebibytes(property(SubtextH.ST_FREE_BYTES)),
                                    backend,
                                    measured.table().indent(2).stripTrailing()));
        }
        check("st_alloc", status);
        Slab slab = new Slab(role, this, result.get(ADDRESS, 0), bytes);
        owned.add(slab);
        try {
            layout.accept(slab);
        } catch (RuntimeException | Error failure) {
            slab.close();
            throw failure;
        }
        return slab;
    }

    /**
     * Allocates pinned host memory.
     *
     * @param bytes its size
     * @return the memory, closed by the caller or with this device
     * @throws EngineException.OutOfDeviceMemory if the system does not give it
     */
    public HostBuffer hostBuffer(long bytes) {
        int status = SubtextH.st_host_alloc(symbols, handle, result, bytes);
        if (status == SubtextH.ST_OUT_OF_MEMORY) {
            throw new EngineException.OutOfDeviceMemory("pinned host buffer: " + Slab.mebibytes(bytes) + " wanted");
        }
        check("st_host_alloc", status);
        HostBuffer buffer = new HostBuffer(this, result.get(ADDRESS, 0), bytes);
        owned.add(buffer);
        return buffer;
    }

    void free(Slab slab, MemorySegment base) {
        owned.remove(slab);
        check("st_free", SubtextH.st_free(symbols, handle, base));
    }

    void free(HostBuffer buffer, MemorySegment base) {
        owned.remove(buffer);
        check("st_host_free", SubtextH.st_host_free(symbols, handle, base));
    }

    void free(Recording recording, MemorySegment graph) {
        owned.remove(recording);
        check("st_record_free", SubtextH.st_record_free(symbols, handle, graph));
    }

    void free(DeviceTimer timer, MemorySegment from, MemorySegment to) {
        owned.remove(timer);
        check("st_event_free", SubtextH.st_event_free(symbols, handle, from));
        check("st_event_free", SubtextH.st_event_free(symbols, handle, to));
    }

    // ---- copies
    // ------------------------------------------------------------------------------------------------------

    /**
     * Fills an I32 tensor. The array is copied before this returns; so too in the other uploads of arrays.
     *
     * @param to I32, of any shape
     * @param values all elements, row-major, exactly as many as the tensor has
     * @throws IllegalArgumentException if type or number disagree; so too in the other uploads and downloads
     */
    public void upload(Tensor to, int[] values) {
        requireCopy(to, values.length, DType.I32);
        upload(to, JAVA_INT, (staged, from, count) -> MemorySegment.copy(values, from, staged, JAVA_INT, 0, count));
    }

    /**
     * Fills an I64 tensor.
     *
     * @param to I64, of any shape
     * @param values all elements, row-major
     */
    public void upload(Tensor to, long[] values) {
        requireCopy(to, values.length, DType.I64);
        upload(to, JAVA_LONG, (staged, from, count) -> MemorySegment.copy(values, from, staged, JAVA_LONG, 0, count));
    }

    /**
     * Fills an F32 tensor, or a BF16 one with every value rounded to nearest even.
     *
     * @param to F32 or BF16, of any shape
     * @param values all elements, row-major
     */
    public void upload(Tensor to, float[] values) {
        requireCopy(to, values.length, DType.F32, DType.BF16);
        if (to.dtype() == DType.F32) {
            upload(
                    to,
                    JAVA_FLOAT,
                    (staged, from, count) -> MemorySegment.copy(values, from, staged, JAVA_FLOAT, 0, count));
        } else {
            upload(to, JAVA_SHORT, (staged, from, count) -> {
                for (int i = 0; i < count; i++) {
                    staged.setAtIndex(JAVA_SHORT, i, bfloat16(values[from + i]));
                }
            });
        }
    }

    /**
     * Fills an F64 tensor.
     *
     * @param to F64, of any shape
     * @param values all elements, row-major
     */
    public void upload(Tensor to, double[] values) {
        requireCopy(to, values.length, DType.F64);
        upload(
                to,
                JAVA_DOUBLE,
                (staged, from, count) -> MemorySegment.copy(values, from, staged, JAVA_DOUBLE, 0, count));
    }

    /**
     * Fills a tensor with raw bytes, copied before this returns.
     *
     * @param to of any type and shape
     * @param host native or heap memory of exactly the tensor's bytes
     */
    public void uploadBytes(Tensor to, MemorySegment host) {
        requireBytes(to, host.byteSize());
        if (host.isNative()) {
            check("st_upload", SubtextH.st_upload(symbols, handle, to.address(), host, to.bytes()));
        } else {
            upload(
                    to,
                    JAVA_BYTE,
                    to.bytes(),
                    (staged, from, count) -> MemorySegment.copy(host, from, staged, 0, count));
        }
    }

    /**
     * Queues a copy from pinned memory. Leave that part of the buffer alone until {@link #synchronize} or a download.
     *
     * @param to of any type and shape
     * @param from a buffer of this device, read
     * @param offset where in the buffer the tensor's bytes begin
     * @throws IndexOutOfBoundsException if they reach beyond the buffer
     */
    public void upload(Tensor to, HostBuffer from, long offset) {
        MemorySegment part = from.segment().asSlice(offset, to.bytes());
        check("st_upload", SubtextH.st_upload(symbols, handle, to.address(), part, to.bytes()));
    }

    /**
     * Reads an I32 tensor; waits for all work queued before, as every download does.
     *
     * @param from I32, of any shape
     * @return all elements, row-major, in an array of the caller's
     */
    public int[] downloadInts(Tensor from) {
        int[] values = new int[length(from)];
        requireCopy(from, values.length, DType.I32);
        download(from, JAVA_INT, (staged, at, count) -> MemorySegment.copy(staged, JAVA_INT, 0, values, at, count));
        return values;
    }

    /**
     * Reads an I64 tensor.
     *
     * @param from I64, of any shape
     * @return all elements, row-major
     */
    public long[] downloadLongs(Tensor from) {
        long[] values = new long[length(from)];
        requireCopy(from, values.length, DType.I64);
        download(from, JAVA_LONG, (staged, at, count) -> MemorySegment.copy(staged, JAVA_LONG, 0, values, at, count));
        return values;
    }

    /**
     * Reads an F32 or BF16 tensor.
     *
     * @param from F32, or BF16, which is widened exactly
     * @return all elements, row-major
     */
    public float[] downloadFloats(Tensor from) {
        float[] values = new float[length(from)];
        downloadFloats(values, from);
        return values;
    }

    /**
     * Reads an F32 or BF16 tensor into the first elements of an array.
     *
     * @param values at least as many as the tensor has
     * @param from the tensor
     * @throws IllegalArgumentException if the array is shorter, or the tensor of another type
     */
    public void downloadFloats(float[] values, Tensor from) {
        if (length(from) > values.length) {
            throw new IllegalArgumentException(
                    from + ": has " + from.shape().size() + " elements, the array " + values.length);
        }
        requireCopy(from, length(from), DType.F32, DType.BF16);
        if (from.dtype() == DType.F32) {
            download(
                    from,
                    JAVA_FLOAT,
                    (staged, at, count) -> MemorySegment.copy(staged, JAVA_FLOAT, 0, values, at, count));
        } else {
            download(from, JAVA_SHORT, (staged, at, count) -> {
                for (int i = 0; i < count; i++) {
                    values[at + i] = Float.intBitsToFloat(staged.getAtIndex(JAVA_SHORT, i) << 16);
                }
            });
        }
    }

    /**
     * Reads a tensor of floating point.
     *
     * @param from F64, or F32 or BF16, which are widened exactly
     * @return all elements, row-major
     */
    public double[] downloadDoubles(Tensor from) {
        if (from.dtype() != DType.F64) {
            float[] narrow = downloadFloats(from);
            double[] values = new double[narrow.length];
            for (int i = 0; i < narrow.length; i++) {
                values[i] = narrow[i];
            }
            return values;
        }
        double[] values = new double[length(from)];
        download(
                from,
                JAVA_DOUBLE,
                (staged, at, count) -> MemorySegment.copy(staged, JAVA_DOUBLE, 0, values, at, count));
        return values;
    }

    /**
     * Reads the raw bytes of a tensor.
     *
     * @param host native or heap memory of exactly the tensor's bytes, written
     * @param from of any type and shape
     */
    public void downloadBytes(MemorySegment host, Tensor from) {
        requireBytes(from, host.byteSize());
        if (host.isNative()) {
            check("st_download", SubtextH.st_download(symbols, handle, host, from.address(), from.bytes()));
        } else {
            download(
                    from,
                    JAVA_BYTE,
                    from.bytes(),
                    (staged, at, count) -> MemorySegment.copy(staged, 0, host, at, count));
        }
    }

    /**
     * Reads a tensor into pinned memory.
     *
     * @param to a buffer of this device, written
     * @param offset where in the buffer the tensor's bytes begin
     * @param from of any type and shape
     * @throws IndexOutOfBoundsException if they reach beyond the buffer
     */
    public void download(HostBuffer to, long offset, Tensor from) {
        MemorySegment part = to.segment().asSlice(offset, from.bytes());
        check("st_download", SubtextH.st_download(symbols, handle, part, from.address(), from.bytes()));
    }

    /**
     * Copies a tensor's bytes into another. Queued.
     *
     * @param to written
     * @param from of the same type and number of elements, in any shape
     * @throws IllegalArgumentException if they differ in that
     */
    public void copy(Tensor to, Tensor from) {
        if (to.dtype() != from.dtype() || to.shape().size() != from.shape().size()) {
            throw to.disagreement("to", from.dtype() + " " + from.shape());
        }
        check("st_copy", SubtextH.st_copy(symbols, handle, to.address(), from.address(), from.bytes()));
    }

    /**
     * Sets every byte to zero. Queued; a planning device does nothing.
     *
     * @param tensor of any type and shape
     */
    public void zero(Tensor tensor) {
        if (planning) {
            return;
        }
        check("st_fill_zero", SubtextH.st_fill_zero(symbols, handle, tensor.address(), tensor.bytes()));
    }

    /** Moves {@code count} elements, from element {@code from} of the Java side, to or from the start of {@code staged}. */
    @FunctionalInterface
    private interface Mover {
        void move(MemorySegment staged, int from, int count);
    }

    private void upload(Tensor to, ValueLayout element, Mover mover) {
        upload(to, element, to.shape().size(), mover);
    }

    private void upload(Tensor to, ValueLayout element, long size, Mover mover) {
        if (planning) {
            return;
        }
        long step = STAGING_BYTES / element.byteSize();
        for (long at = 0; at < size; at += step) {
            int count = (int) Math.min(step, size - at);
            mover.move(staging, Math.toIntExact(at), count);
            MemorySegment target = to.at(at * element.byteSize());
            check("st_upload", SubtextH.st_upload(symbols, handle, target, staging, count * element.byteSize()));
        }
    }

    private void download(Tensor from, ValueLayout element, Mover mover) {
        download(from, element, from.shape().size(), mover);
    }

    private void download(Tensor from, ValueLayout element, long size, Mover mover) {
        long step = STAGING_BYTES / element.byteSize();
        for (long at = 0; at < size; at += step) {
            int count = (int) Math.min(step, size - at);
            MemorySegment source = from.at(at * element.byteSize());
            check("st_download", SubtextH.st_download(symbols, handle, staging, source, count * element.byteSize()));
            mover.move(staging, Math.toIntExact(at), count);
        }
    }

    private static int length(Tensor tensor) {
        long size = tensor.shape().size();
        if (size > Integer.MAX_VALUE - 8) {
            throw new IllegalArgumentException(
                    tensor + ": too large for one array, read it in parts by rows(from, to)");
        }
        return (int) size;
    }

    private static void requireCopy(Tensor tensor, int length, DType... allowed) {
        if (!List.of(allowed).contains(tensor.dtype())) {
            throw new IllegalArgumentException(
                    tensor + ": holds " + tensor.dtype() + ", the array is for " + List.of(allowed));
        }
        if (tensor.shape().size() != length) {
            throw new IllegalArgumentException(
                    tensor + ": has " + tensor.shape().size() + " elements, the array " + length);
        }
    }

    private static void requireBytes(Tensor tensor, long bytes) {
        if (tensor.bytes() != bytes) {
            throw new IllegalArgumentException(tensor + ": has " + tensor.bytes() + " bytes, the host memory " + bytes);
        }
    }

    /** The upper half of the bits of {@code value}, rounded to nearest even; a NaN stays one. */
    static short bfloat16(float value) {
        int bits = Float.floatToRawIntBits(value);
        if (Float.isNaN(value)) {
            return (short) ((bits >>> 16) | 0x40);
        }
        return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
    }

    // ---- order and time
    // ----------------------------------------------------------------------------------------------

    /** Waits for all queued work. */
    public void synchronize() {
        check("st_synchronize", SubtextH.st_synchronize(symbols, handle));
    }

    /**
     * Records the work that {@code body} queues, without doing it. Where the backend has no graphs the body is kept and
     * {@link Recording#replay} runs it.
     *
     * @param body queues work by {@link #kernels}, under the rules of {@link Recording}; what it throws is passed on and ends the recording
     * @return the work, to be replayed any number of times; closed by the caller or with this device
     */
    public Recording record(Runnable body) {
        int status = SubtextH.st_record_begin(symbols, handle);
        if (status == SubtextH.ST_UNSUPPORTED) {
            return new Recording(this, body, null);
        }
        check("st_record_begin", status);
        kernels.recording(true);
        try {
            body.run();
        } catch (RuntimeException | Error failure) {
            // the queue must leave its recording state; what it recorded is of no use
            if (SubtextH.st_record_end(symbols, handle, result) == SubtextH.ST_OK) {
                SubtextH.st_record_free(symbols, handle, result.get(ADDRESS, 0));
            }
            throw failure;
        } finally {
            kernels.recording(false);
        }
        check("st_record_end", SubtextH.st_record_end(symbols, handle, result));
        Recording recording = new Recording(this, body, result.get(ADDRESS, 0).reinterpret(arena, null));
        owned.add(recording);
        return recording;
    }

    void replay(MemorySegment graph) {
        check("st_record_replay", SubtextH.st_record_replay(symbols, handle, graph));
    }

    /** {@return a stopwatch on this device's clock, closed by the caller or with this device} */
    public DeviceTimer timer() {
        DeviceTimer timer = new DeviceTimer(this, event(), event());
        owned.add(timer);
        return timer;
    }

    private MemorySegment event() {
        check("st_event_create", SubtextH.st_event_create(symbols, handle, result));
        return result.get(ADDRESS, 0).reinterpret(arena, null);
    }

    void recordEvent(MemorySegment event) {
        check("st_event_record", SubtextH.st_event_record(symbols, handle, event));
    }

    double elapsed(MemorySegment from, MemorySegment to) {
        check("st_event_elapsed", SubtextH.st_event_elapsed(symbols, handle, result, from, to));
        return result.get(JAVA_DOUBLE, 0);
    }

    // ---- facts
    // -------------------------------------------------------------------------------------------------------

    /** {@return what the device says about itself now} */
    public DeviceInfo info() {
        return new DeviceInfo(
                text(SubtextH.ST_TEXT_NAME),
                text(SubtextH.ST_TEXT_PATH),
                text(SubtextH.ST_TEXT_BUILD),
                property(SubtextH.ST_TOTAL_BYTES),
                Math.max(0, property(SubtextH.ST_FREE_BYTES) - plannedBytes),
                (int) property(SubtextH.ST_PROCESSORS),
                (int) property(SubtextH.ST_COMPUTE_CAPABILITY),
                (int) property(SubtextH.ST_DRIVER_VERSION),
                (int) property(SubtextH.ST_RUNTIME_VERSION),
                property(SubtextH.ST_IS_EMULATED) != 0);
    }

    /**
     * Where this process is given less than the machine has: by the limits of a container or by scheduling affinity.
     *
     * @return one line with how much and which file says so, read anew; empty where nothing limits, and on a GPU
     */
    public Optional<String> limits() {
        return Optional.of(text(SubtextH.ST_TEXT_LIMITS)).filter(text -> !text.isEmpty());
    }

    /** {@return the vendor's matrix library in use, with version and file; empty if products are all our own} */
    public Optional<String> vendorMatmul() {
        return Optional.ofNullable(vendor).map(CublasLt::description);
    }

    /** {@return what was asked to compute matrix products} */
    public Matmul matmul() {
        return matmul;
    }

    /**
     * {@return whether forward products, and with them log-probabilities, are exact to the bit for any batch: not under
     * {@link Matmul#VENDOR}}
     */
    public boolean exact() {
        return !kernels.vendorForward();
    }

    /**
     * Looks for cuBLASLt on this machine, and opens it if it is there.
     *
     * @return the version and file it is found as, or every place it is not at, in one line
     */
    public static String vendorMatmulSearch() {
        CublasLt.Found found = CublasLt.find();
        return found.library()
                .map(CublasLt::description)
                .orElseGet(() -> "not found: tried " + String.join(", ", found.tried())
                        + "; SUBTEXT_CUBLASLT_PATH names its file");
    }

    /** {@return how often device or pinned memory was allocated since the device was opened} A steady state adds none. */
    public long allocations() {
        return property(SubtextH.ST_ALLOCATIONS);
    }

    /** {@return the bytes allocated and not yet freed; of a device that only counts, what would have been allocated} */
    public long allocatedBytes() {
        return plannedBytes + property(SubtextH.ST_ALLOCATED_BYTES);
    }

    /** {@return the file the library was opened from} */
    public Path libraryPath() {
        return library.path();
    }

    /** {@return the SHA-256 of that file, in hexadecimal: it names the kernels a result was computed with} */
    public String libraryDigest() {
        return library.digest();
    }

    private long property(int property) {
        check("st_device_property", SubtextH.st_device_property(symbols, handle, result, property));
        return result.get(JAVA_LONG, 0);
    }

    private String text(int which) {
        check("st_device_text", SubtextH.st_device_text(symbols, handle, staging, TEXT_BYTES, which));
        return staging.getString(0);
    }

    /** Turns a status into an exception. */
    void check(String operation, int status) {
        if (status != SubtextH.ST_OK) {
            throw new EngineException.NativeCall(operation, Status.of(status), lastError());
        }
    }

    private String lastError() {
        MemorySegment text = SubtextH.st_last_error(symbols, handle);
        return text.equals(MemorySegment.NULL)
                ? ""
                : text.reinterpret(Long.MAX_VALUE).getString(0);
    }

    /** @throws WrongThreadException on any thread but the device's */
    void requireOwner() {
        if (!handle.isAccessibleBy(Thread.currentThread())) {
            throw new WrongThreadException("a device serves only the thread that opened it");
        }
    }

    /** Closes what the device owns, then the device. Closing twice does nothing. */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        requireOwner();
        closed = true;
        EngineException failure = null;
        for (AutoCloseable each : List.copyOf(owned).reversed()) {
            failure = joined(failure, each);
        }
        int status = SubtextH.st_device_close(symbols, handle);
        arena.close();
        if (failure != null) {
            throw failure;
        }
        if (status != SubtextH.ST_OK) {
            throw new EngineException.NativeCall("st_device_close", Status.of(status), "");
        }
    }

    /** Closes one thing; a failure does not keep the others from being closed. */
    private static EngineException joined(EngineException failure, AutoCloseable closeable) {
        try {
            closeable.close();
        } catch (EngineException e) {
            if (failure == null) {
                return e;
            }
            failure.addSuppressed(e);
        } catch (RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new AssertionError("slabs, buffers, recordings and timers close without checked exceptions", e);
        }
        return failure;
    }
}
