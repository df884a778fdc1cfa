package subtext.bindings.ffi;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The functions of {@code native/include/subtext.h}, one static method each, under their C names.
 *
 * <p>In the shape of jextract's output with one difference: the handles are made without an address, which every call takes from
 * {@link Symbols} as its first argument. So one class serves any number of libraries behind the same header, and the handles are
 * constants the compiler can inline. No call is {@code critical}: kernels run long, and such calls would hold up the collector.
 *
 * <p>Methods pass on what the linker throws about a dead arena or a wrong thread. {@code HeaderContractTest} compares every prototype.
 */
public final class SubtextH {

    /** {@code #define ST_ABI_VERSION 3} */
    public static final int ST_ABI_VERSION = 3;

    /** {@code #define ST_OK 0} */
    public static final int ST_OK = 0;

    /** {@code #define ST_INVALID_ARGUMENT -1} */
    public static final int ST_INVALID_ARGUMENT = -1;

    /** {@code #define ST_OUT_OF_MEMORY -2} */
    public static final int ST_OUT_OF_MEMORY = -2;

    /** {@code #define ST_UNSUPPORTED -3} */
    public static final int ST_UNSUPPORTED = -3;

    /** {@code #define ST_DEVICE_ERROR -4} */
    public static final int ST_DEVICE_ERROR = -4;

    /** {@code #define ST_UNAVAILABLE -5} */
    public static final int ST_UNAVAILABLE = -5;

    /** {@code #define ST_F32 0} */
    public static final int ST_F32 = 0;

    /** {@code #define ST_BF16 1} */
    public static final int ST_BF16 = 1;

    /** {@code #define ST_I32 2} */
    public static final int ST_I32 = 2;

    /** {@code #define ST_F64 3} */
    public static final int ST_F64 = 3;

    /** {@code #define ST_TOTAL_BYTES 0} */
    public static final int ST_TOTAL_BYTES = 0;

    /** {@code #define ST_FREE_BYTES 1} */
    public static final int ST_FREE_BYTES = 1;

    /** {@code #define ST_PROCESSORS 2} */
    public static final int ST_PROCESSORS = 2;

    /** {@code #define ST_COMPUTE_CAPABILITY 3} */
    public static final int ST_COMPUTE_CAPABILITY = 3;

    /** {@code #define ST_DRIVER_VERSION 4} */
    public static final int ST_DRIVER_VERSION = 4;

    /** {@code #define ST_RUNTIME_VERSION 5} */
    public static final int ST_RUNTIME_VERSION = 5;

    /** {@code #define ST_ALLOCATIONS 6} */
    public static final int ST_ALLOCATIONS = 6;

    /** {@code #define ST_ALLOCATED_BYTES 7} */
    public static final int ST_ALLOCATED_BYTES = 7;

    /** {@code #define ST_IS_EMULATED 8} */
    public static final int ST_IS_EMULATED = 8;

    /** {@code #define ST_TEXT_NAME 0} */
    public static final int ST_TEXT_NAME = 0;

    /** {@code #define ST_TEXT_PATH 1} */
    public static final int ST_TEXT_PATH = 1;

    /** {@code #define ST_TEXT_BUILD 2} */
    public static final int ST_TEXT_BUILD = 2;

    /** {@code #define ST_TEXT_LIMITS 3} */
    public static final int ST_TEXT_LIMITS = 3;

    /** {@code #define ST_MATMUL_VECTOR 0} */
    public static final int ST_MATMUL_VECTOR = 0;

    /** {@code #define ST_MATMUL_AMX 1} */
    public static final int ST_MATMUL_AMX = 1;

    private static final ValueLayout.OfInt C_INT = ValueLayout.JAVA_INT;
    private static final ValueLayout.OfLong C_LONG = ValueLayout.JAVA_LONG;
    private static final ValueLayout.OfDouble C_DOUBLE = ValueLayout.JAVA_DOUBLE;
    private static final MemoryLayout C_POINTER = ValueLayout.ADDRESS;

    private static final Linker LINKER = Linker.nativeLinker();

    private static final MethodHandle st_abi_version$handle = handle(C_INT);
    private static final MethodHandle st_device_open$handle = handle(C_INT, C_POINTER, C_INT, C_INT, C_POINTER, C_LONG);
    private static final MethodHandle st_device_close$handle = handle(C_INT, C_POINTER);
    private static final MethodHandle st_last_error$handle = handle(C_POINTER, C_POINTER);
    private static final MethodHandle st_device_property$handle = handle(C_INT, C_POINTER, C_POINTER, C_INT);
    private static final MethodHandle st_device_text$handle = handle(C_INT, C_POINTER, C_POINTER, C_LONG, C_INT);
    private static final MethodHandle st_device_matmul$handle = handle(C_INT, C_POINTER, C_INT);
    private static final MethodHandle st_device_stream$handle = handle(C_INT, C_POINTER, C_POINTER);
    private static final MethodHandle st_alloc$handle = handle(C_INT, C_POINTER, C_POINTER, C_LONG);
    private static final MethodHandle st_free$handle = handle(C_INT, C_POINTER, C_POINTER);
    private static final MethodHandle st_host_alloc$handle = handle(C_INT, C_POINTER, C_POINTER, C_LONG);
    private static final MethodHandle st_host_free$handle = handle(C_INT, C_POINTER, C_POINTER);
    private static final MethodHandle st_upload$handle = handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_LONG);
    private static final MethodHandle st_download$handle = handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_LONG);
    private static final MethodHandle st_copy$handle = handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_LONG);
    private static final MethodHandle st_fill_zero$handle = handle(C_INT, C_POINTER, C_POINTER, C_LONG);
    private static final MethodHandle st_fill_i32$handle = handle(C_INT, C_POINTER, C_POINTER, C_LONG, C_INT);
    private static final MethodHandle st_fill_normal$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_LONG, C_DOUBLE, C_DOUBLE, C_DOUBLE, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_cast$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_INT, C_INT);
    private static final MethodHandle st_synchronize$handle = handle(C_INT, C_POINTER);
    private static final MethodHandle st_event_create$handle = handle(C_INT, C_POINTER, C_POINTER);
    private static final MethodHandle st_event_record$handle = handle(C_INT, C_POINTER, C_POINTER);
    private static final MethodHandle st_event_elapsed$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER);
    private static final MethodHandle st_event_free$handle = handle(C_INT, C_POINTER, C_POINTER);
    private static final MethodHandle st_record_begin$handle = handle(C_INT, C_POINTER);
    private static final MethodHandle st_record_end$handle = handle(C_INT, C_POINTER, C_POINTER);
    private static final MethodHandle st_record_replay$handle = handle(C_INT, C_POINTER, C_POINTER);
    private static final MethodHandle st_record_free$handle = handle(C_INT, C_POINTER, C_POINTER);
    private static final MethodHandle st_embedding_forward$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_embedding_backward$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_gather_rows$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_rmsnorm_forward$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_DOUBLE, C_INT);
    private static final MethodHandle st_rmsnorm_backward_scratch_bytes$handle =
            handle(C_LONG, C_POINTER, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_rmsnorm_backward$handle = handle(
            C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG,
            C_LONG, C_INT);
    private static final MethodHandle st_matmul_nt$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_LONG, C_INT, C_INT);
    private static final MethodHandle st_matmul_nn$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_matmul_tn$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_rope$handle = handle(
            C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_LONG, C_LONG, C_LONG, C_INT, C_INT);
    private static final MethodHandle st_attention_forward$handle = handle(
            C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_LONG, C_LONG, C_LONG,
            C_LONG, C_DOUBLE, C_LONG, C_INT);
    private static final MethodHandle st_attention_backward_scratch_bytes$handle =
            handle(C_LONG, C_POINTER, C_LONG, C_LONG, C_LONG, C_LONG, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_attention_backward$handle = handle(
            C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG,
            C_LONG, C_LONG, C_LONG, C_LONG, C_LONG, C_DOUBLE, C_LONG, C_INT);
    private static final MethodHandle st_cache_store$handle = handle(
            C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_LONG,
            C_LONG, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_attention_cached$handle = handle(
            C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER,
            C_POINTER, C_LONG, C_LONG, C_LONG, C_LONG, C_LONG, C_LONG, C_LONG, C_LONG, C_DOUBLE, C_LONG, C_INT);
    private static final MethodHandle st_swiglu_forward$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_swiglu_backward$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_add$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_INT);
    private static final MethodHandle st_log_prob$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_cross_entropy$handle = handle(
            C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_LONG, C_INT);
    private static final MethodHandle st_sample_scratch_bytes$handle = handle(C_LONG, C_POINTER, C_LONG, C_LONG);
    private static final MethodHandle st_sample$handle = handle(
            C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_LONG, C_LONG,
            C_DOUBLE, C_LONG, C_DOUBLE, C_INT);
    private static final MethodHandle st_decode_advance$handle = handle(
            C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER,
            C_POINTER, C_LONG, C_LONG, C_INT, C_INT);
    private static final MethodHandle st_sum_squares_scratch_bytes$handle = handle(C_LONG, C_POINTER, C_LONG);
    private static final MethodHandle st_sum_squares$handle =
            handle(C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_INT);
    private static final MethodHandle st_adamw$handle = handle(
            C_INT, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_POINTER, C_LONG, C_DOUBLE, C_DOUBLE,
            C_DOUBLE, C_DOUBLE, C_DOUBLE, C_DOUBLE, C_LONG, C_INT);

    private SubtextH() {}

    private static MethodHandle handle(MemoryLayout result, MemoryLayout... arguments) {
        return LINKER.downcallHandle(FunctionDescriptor.of(result, arguments));
    }

    /** {@code invokeExact} declares Throwable; a downcall throws nothing checked. */
    private static AssertionError impossible(Throwable t) {
        return new AssertionError("a downcall threw a checked exception", t);
    }

    /** {@code int32_t st_abi_version(void)} */
    public static int st_abi_version(Symbols symbols) {
        try {
            return (int) st_abi_version$handle.invokeExact(symbols.st_abi_version);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_device_open(st_device **device, int32_t ordinal, int32_t threads, char *error, int64_t capacity)} */
    public static int st_device_open(
            Symbols symbols, MemorySegment device, int ordinal, int threads, MemorySegment error, long capacity) {
        try {
            return (int) st_device_open$handle.invokeExact(
                    symbols.st_device_open, device, ordinal, threads, error, capacity);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_device_close(st_device *device)} */
    public static int st_device_close(Symbols symbols, MemorySegment device) {
        try {
            return (int) st_device_close$handle.invokeExact(symbols.st_device_close, device);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code const char *st_last_error(const st_device *device)} */
    public static MemorySegment st_last_error(Symbols symbols, MemorySegment device) {
        try {
            return (MemorySegment) st_last_error$handle.invokeExact(symbols.st_last_error, device);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_device_property(st_device *device, int64_t *value, int32_t property)} */
    public static int st_device_property(Symbols symbols, MemorySegment device, MemorySegment value, int property) {
        try {
            return (int) st_device_property$handle.invokeExact(symbols.st_device_property, device, value, property);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_device_text(st_device *device, char *text, int64_t capacity, int32_t which)} */
    public static int st_device_text(
            Symbols symbols, MemorySegment device, MemorySegment text, long capacity, int which) {
        try {
            return (int) st_device_text$handle.invokeExact(symbols.st_device_text, device, text, capacity, which);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_device_matmul(st_device *device, int32_t unit)} */
    public static int st_device_matmul(Symbols symbols, MemorySegment device, int unit) {
        try {
            return (int) st_device_matmul$handle.invokeExact(symbols.st_device_matmul, device, unit);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_device_stream(st_device *device, void **stream)} */
    public static int st_device_stream(Symbols symbols, MemorySegment device, MemorySegment stream) {
        try {
            return (int) st_device_stream$handle.invokeExact(symbols.st_device_stream, device, stream);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_alloc(st_device *device, void **memory, int64_t bytes)} */
    public static int st_alloc(Symbols symbols, MemorySegment device, MemorySegment memory, long bytes) {
        try {
            return (int) st_alloc$handle.invokeExact(symbols.st_alloc, device, memory, bytes);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_free(st_device *device, void *memory)} */
    public static int st_free(Symbols symbols, MemorySegment device, MemorySegment memory) {
        try {
            return (int) st_free$handle.invokeExact(symbols.st_free, device, memory);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_host_alloc(st_device *device, void **memory, int64_t bytes)} */
    public static int st_host_alloc(Symbols symbols, MemorySegment device, MemorySegment memory, long bytes) {
        try {
            return (int) st_host_alloc$handle.invokeExact(symbols.st_host_alloc, device, memory, bytes);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_host_free(st_device *device, void *memory)} */
    public static int st_host_free(Symbols symbols, MemorySegment device, MemorySegment memory) {
        try {
            return (int) st_host_free$handle.invokeExact(symbols.st_host_free, device, memory);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_upload(st_device *device, void *to, const void *host, int64_t bytes)} */
    public static int st_upload(
            Symbols symbols, MemorySegment device, MemorySegment to, MemorySegment host, long bytes) {
        try {
            return (int) st_upload$handle.invokeExact(symbols.st_upload, device, to, host, bytes);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_download(st_device *device, void *host, const void *from, int64_t bytes)} */
    public static int st_download(
            Symbols symbols, MemorySegment device, MemorySegment host, MemorySegment from, long bytes) {
        try {
            return (int) st_download$handle.invokeExact(symbols.st_download, device, host, from, bytes);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_copy(st_device *device, void *to, const void *from, int64_t bytes)} */
    public static int st_copy(Symbols symbols, MemorySegment device, MemorySegment to, MemorySegment from, long bytes) {
        try {
            return (int) st_copy$handle.invokeExact(symbols.st_copy, device, to, from, bytes);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_fill_zero(st_device *device, void *to, int64_t bytes)} */
    public static int st_fill_zero(Symbols symbols, MemorySegment device, MemorySegment to, long bytes) {
        try {
            return (int) st_fill_zero$handle.invokeExact(symbols.st_fill_zero, device, to, bytes);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_fill_i32(st_device *device, int32_t *y, int64_t n, int32_t value)} */
    public static int st_fill_i32(Symbols symbols, MemorySegment device, MemorySegment y, long n, int value) {
        try {
            return (int) st_fill_i32$handle.invokeExact(symbols.st_fill_i32, device, y, n, value);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_fill_normal(st_device *device, void *y, int64_t n, double mean, double std, double clamp, uint64_t seed, uint64_t first, st_dtype dtype)} */
    public static int st_fill_normal(
            Symbols symbols,
            MemorySegment device,
            MemorySegment y,
            long n,
            double mean,
            double std,
            double clamp,
            long seed,
            long first,
            int dtype) {
        try {
            return (int) st_fill_normal$handle.invokeExact(
                    symbols.st_fill_normal, device, y, n, mean, std, clamp, seed, first, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_cast(st_device *device, void *y, const void *x, int64_t n, st_dtype y_dtype, st_dtype x_dtype)} */
    public static int st_cast(
            Symbols symbols, MemorySegment device, MemorySegment y, MemorySegment x, long n, int y_dtype, int x_dtype) {
        try {
            return (int) st_cast$handle.invokeExact(symbols.st_cast, device, y, x, n, y_dtype, x_dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_synchronize(st_device *device)} */
    public static int st_synchronize(Symbols symbols, MemorySegment device) {
        try {
            return (int) st_synchronize$handle.invokeExact(symbols.st_synchronize, device);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_event_create(st_device *device, st_event **event)} */
    public static int st_event_create(Symbols symbols, MemorySegment device, MemorySegment event) {
        try {
            return (int) st_event_create$handle.invokeExact(symbols.st_event_create, device, event);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_event_record(st_device *device, st_event *event)} */
    public static int st_event_record(Symbols symbols, MemorySegment device, MemorySegment event) {
        try {
            return (int) st_event_record$handle.invokeExact(symbols.st_event_record, device, event);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_event_elapsed(st_device *device, double *milliseconds, st_event *from, st_event *to)} */
    public static int st_event_elapsed(
            Symbols symbols, MemorySegment device, MemorySegment milliseconds, MemorySegment from, MemorySegment to) {
        try {
            return (int) st_event_elapsed$handle.invokeExact(symbols.st_event_elapsed, device, milliseconds, from, to);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_event_free(st_device *device, st_event *event)} */
    public static int st_event_free(Symbols symbols, MemorySegment device, MemorySegment event) {
        try {
            return (int) st_event_free$handle.invokeExact(symbols.st_event_free, device, event);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_record_begin(st_device *device)} */
    public static int st_record_begin(Symbols symbols, MemorySegment device) {
        try {
            return (int) st_record_begin$handle.invokeExact(symbols.st_record_begin, device);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_record_end(st_device *device, st_recording **recording)} */
    public static int st_record_end(Symbols symbols, MemorySegment device, MemorySegment recording) {
        try {
            return (int) st_record_end$handle.invokeExact(symbols.st_record_end, device, recording);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_record_replay(st_device *device, st_recording *recording)} */
    public static int st_record_replay(Symbols symbols, MemorySegment device, MemorySegment recording) {
        try {
            return (int) st_record_replay$handle.invokeExact(symbols.st_record_replay, device, recording);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_record_free(st_device *device, st_recording *recording)} */
    public static int st_record_free(Symbols symbols, MemorySegment device, MemorySegment recording) {
        try {
            return (int) st_record_free$handle.invokeExact(symbols.st_record_free, device, recording);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_embedding_forward(st_device *device, void *y, const void *w, const int32_t *token, int64_t N, int64_t C, int64_t V, st_dtype dtype)} */
    public static int st_embedding_forward(
            Symbols symbols,
            MemorySegment device,
            MemorySegment y,
            MemorySegment w,
            MemorySegment token,
            long N,
            long C,
            long V,
            int dtype) {
        try {
            return (int) st_embedding_forward$handle.invokeExact(
                    symbols.st_embedding_forward, device, y, w, token, N, C, V, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_embedding_backward(st_device *device, void *dw, const void *dy, const int32_t *token, const int32_t *order, int64_t N, int64_t C, int64_t V, st_dtype dtype)} */
    public static int st_embedding_backward(
            Symbols symbols,
            MemorySegment device,
            MemorySegment dw,
            MemorySegment dy,
            MemorySegment token,
            MemorySegment order,
            long N,
            long C,
            long V,
            int dtype) {
        try {
            return (int) st_embedding_backward$handle.invokeExact(
                    symbols.st_embedding_backward, device, dw, dy, token, order, N, C, V, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_gather_rows(st_device *device, void *y, const void *x, const int32_t *row, int64_t M, int64_t C, st_dtype dtype)} */
    public static int st_gather_rows(
            Symbols symbols,
            MemorySegment device,
            MemorySegment y,
            MemorySegment x,
            MemorySegment row,
            long M,
            long C,
            int dtype) {
        try {
            return (int) st_gather_rows$handle.invokeExact(symbols.st_gather_rows, device, y, x, row, M, C, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_rmsnorm_forward(st_device *device, void *y, void *rstd, const void *x, const void *w, int64_t N, int64_t C, double eps, st_dtype dtype)} */
    public static int st_rmsnorm_forward(
            Symbols symbols,
            MemorySegment device,
            MemorySegment y,
            MemorySegment rstd,
            MemorySegment x,
            MemorySegment w,
            long N,
            long C,
            double eps,
            int dtype) {
        try {
            return (int) st_rmsnorm_forward$handle.invokeExact(
                    symbols.st_rmsnorm_forward, device, y, rstd, x, w, N, C, eps, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code int64_t st_rmsnorm_backward_scratch_bytes(st_device *device, int64_t N, int64_t C, st_dtype dtype)} */
    public static long st_rmsnorm_backward_scratch_bytes(
            Symbols symbols, MemorySegment device, long N, long C, int dtype) {
        try {
            return (long) st_rmsnorm_backward_scratch_bytes$handle.invokeExact(
                    symbols.st_rmsnorm_backward_scratch_bytes, device, N, C, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_rmsnorm_backward(st_device *device, void *dx, void *dw, const void *dy, const void *x, const void *w, const void *rstd, void *scratch, int64_t N, int64_t C, st_dtype dtype)} */
    public static int st_rmsnorm_backward(
            Symbols symbols,
            MemorySegment device,
            MemorySegment dx,
            MemorySegment dw,
            MemorySegment dy,
            MemorySegment x,
            MemorySegment w,
            MemorySegment rstd,
            MemorySegment scratch,
            long N,
            long C,
            int dtype) {
        try {
            return (int) st_rmsnorm_backward$handle.invokeExact(
                    symbols.st_rmsnorm_backward, device, dx, dw, dy, x, w, rstd, scratch, N, C, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_matmul_nt(st_device *device, void *c, const void *a, const void *b, const void *residual, int64_t M, int64_t N, int64_t K, st_dtype dtype, st_dtype c_dtype)} */
    public static int st_matmul_nt(
            Symbols symbols,
            MemorySegment device,
            MemorySegment c,
            MemorySegment a,
            MemorySegment b,
            MemorySegment residual,
            long M,
            long N,
            long K,
            int dtype,
            int c_dtype) {
        try {
            return (int) st_matmul_nt$handle.invokeExact(
                    symbols.st_matmul_nt, device, c, a, b, residual, M, N, K, dtype, c_dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_matmul_nn(st_device *device, void *c, const void *a, const void *b, int64_t M, int64_t N, int64_t K, st_dtype dtype)} */
    public static int st_matmul_nn(
            Symbols symbols,
            MemorySegment device,
            MemorySegment c,
            MemorySegment a,
            MemorySegment b,
            long M,
            long N,
            long K,
            int dtype) {
        try {
            return (int) st_matmul_nn$handle.invokeExact(symbols.st_matmul_nn, device, c, a, b, M, N, K, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_matmul_tn(st_device *device, void *c, const void *a, const void *b, int64_t M, int64_t N, int64_t K, st_dtype dtype)} */
    public static int st_matmul_tn(
            Symbols symbols,
            MemorySegment device,
            MemorySegment c,
            MemorySegment a,
            MemorySegment b,
            long M,
            long N,
            long K,
            int dtype) {
        try {
            return (int) st_matmul_tn$handle.invokeExact(symbols.st_matmul_tn, device, c, a, b, M, N, K, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_rope(st_device *device, void *x, const int32_t *position, const void *table, int64_t N, int64_t heads, int64_t D, int64_t stride, int64_t context, int32_t direction, st_dtype dtype)} */
    public static int st_rope(
            Symbols symbols,
            MemorySegment device,
            MemorySegment x,
            MemorySegment position,
            MemorySegment table,
            long N,
            long heads,
            long D,
            long stride,
            long context,
            int direction,
            int dtype) {
        try {
            return (int) st_rope$handle.invokeExact(
                    symbols.st_rope, device, x, position, table, N, heads, D, stride, context, direction, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_attention_forward(st_device *device, void *y, void *lse, const void *qkv, const int32_t *cu_seqlens, int64_t S, int64_t longest, int64_t N, int64_t H, int64_t Hkv, int64_t D, double scale, int64_t window, st_dtype dtype)} */
    public static int st_attention_forward(
            Symbols symbols,
            MemorySegment device,
            MemorySegment y,
            MemorySegment lse,
            MemorySegment qkv,
            MemorySegment cu_seqlens,
            long S,
            long longest,
            long N,
            long H,
            long Hkv,
            long D,
            double scale,
            long window,
            int dtype) {
        try {
            return (int) st_attention_forward$handle.invokeExact(
                    symbols.st_attention_forward,
                    device,
                    y,
                    lse,
                    qkv,
                    cu_seqlens,
                    S,
                    longest,
                    N,
                    H,
                    Hkv,
                    D,
                    scale,
                    window,
                    dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code int64_t st_attention_backward_scratch_bytes(st_device *device, int64_t S, int64_t longest, int64_t N, int64_t H, int64_t Hkv, int64_t D, st_dtype dtype)} */
    public static long st_attention_backward_scratch_bytes(
            Symbols symbols, MemorySegment device, long S, long longest, long N, long H, long Hkv, long D, int dtype) {
        try {
            return (long) st_attention_backward_scratch_bytes$handle.invokeExact(
                    symbols.st_attention_backward_scratch_bytes, device, S, longest, N, H, Hkv, D, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_attention_backward(st_device *device, void *dqkv, const void *dy, const void *y, const void *qkv, const void *lse, const int32_t *cu_seqlens, void *scratch, int64_t S, int64_t longest, int64_t N, int64_t H, int64_t Hkv, int64_t D, double scale, int64_t window, st_dtype dtype)} */
    public static int st_attention_backward(
            Symbols symbols,
            MemorySegment device,
            MemorySegment dqkv,
            MemorySegment dy,
            MemorySegment y,
            MemorySegment qkv,
            MemorySegment lse,
            MemorySegment cu_seqlens,
            MemorySegment scratch,
            long S,
            long longest,
            long N,
            long H,
            long Hkv,
            long D,
            double scale,
            long window,
            int dtype) {
        try {
            return (int) st_attention_backward$handle.invokeExact(
                    symbols.st_attention_backward,
                    device,
                    dqkv,
                    dy,
                    y,
                    qkv,
                    lse,
                    cu_seqlens,
                    scratch,
                    S,
                    longest,
                    N,
                    H,
                    Hkv,
                    D,
                    scale,
                    window,
                    dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_cache_store(st_device *device, void *k, void *v, const void *qkv, const int32_t *slot, const int32_t *position, const int32_t *offset, int64_t N, int64_t H, int64_t Hkv, int64_t D, int64_t slots, int64_t capacity, st_dtype dtype)} */
    public static int st_cache_store(
            Symbols symbols,
            MemorySegment device,
            MemorySegment k,
            MemorySegment v,
            MemorySegment qkv,
            MemorySegment slot,
            MemorySegment position,
            MemorySegment offset,
            long N,
            long H,
            long Hkv,
            long D,
            long slots,
            long capacity,
            int dtype) {
        try {
            return (int) st_cache_store$handle.invokeExact(
                    symbols.st_cache_store,
                    device,
                    k,
                    v,
                    qkv,
                    slot,
                    position,
                    offset,
                    N,
                    H,
                    Hkv,
                    D,
                    slots,
                    capacity,
                    dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_attention_cached(st_device *device, void *y, const void *qkv, const void *k, const void *v, const int32_t *cu_seqlens, const int32_t *slot, const int32_t *prefix_slot, const int32_t *prefix_length, const int32_t *start, int64_t S, int64_t longest, int64_t N, int64_t H, int64_t Hkv, int64_t D, int64_t slots, int64_t capacity, double scale, int64_t window, st_dtype dtype)} */
    public static int st_attention_cached(
            Symbols symbols,
            MemorySegment device,
            MemorySegment y,
            MemorySegment qkv,
            MemorySegment k,
            MemorySegment v,
            MemorySegment cu_seqlens,
            MemorySegment slot,
            MemorySegment prefix_slot,
            MemorySegment prefix_length,
            MemorySegment start,
            long S,
            long longest,
            long N,
            long H,
            long Hkv,
            long D,
            long slots,
            long capacity,
            double scale,
            long window,
            int dtype) {
        try {
            return (int) st_attention_cached$handle.invokeExact(
                    symbols.st_attention_cached,
                    device,
                    y,
                    qkv,
                    k,
                    v,
                    cu_seqlens,
                    slot,
                    prefix_slot,
                    prefix_length,
                    start,
                    S,
                    longest,
                    N,
                    H,
                    Hkv,
                    D,
                    slots,
                    capacity,
                    scale,
                    window,
                    dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_swiglu_forward(st_device *device, void *y, const void *gate_up, int64_t N, int64_t F, st_dtype dtype)} */
    public static int st_swiglu_forward(
            Symbols symbols, MemorySegment device, MemorySegment y, MemorySegment gate_up, long N, long F, int dtype) {
        try {
            return (int)
                    st_swiglu_forward$handle.invokeExact(symbols.st_swiglu_forward, device, y, gate_up, N, F, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_swiglu_backward(st_device *device, void *d_gate_up, const void *dy, const void *gate_up, int64_t N, int64_t F, st_dtype dtype)} */
    public static int st_swiglu_backward(
            Symbols symbols,
            MemorySegment device,
            MemorySegment d_gate_up,
            MemorySegment dy,
            MemorySegment gate_up,
            long N,
            long F,
            int dtype) {
        try {
            return (int) st_swiglu_backward$handle.invokeExact(
                    symbols.st_swiglu_backward, device, d_gate_up, dy, gate_up, N, F, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_add(st_device *device, void *y, const void *a, const void *b, int64_t n, st_dtype dtype)} */
    public static int st_add(
            Symbols symbols,
            MemorySegment device,
            MemorySegment y,
            MemorySegment a,
            MemorySegment b,
            long n,
            int dtype) {
        try {
            return (int) st_add$handle.invokeExact(symbols.st_add, device, y, a, b, n, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_log_prob(st_device *device, void *log_prob, const void *logits, const int32_t *token, int64_t N, int64_t V, int64_t stride, st_dtype dtype)} */
    public static int st_log_prob(
            Symbols symbols,
            MemorySegment device,
            MemorySegment log_prob,
            MemorySegment logits,
            MemorySegment token,
            long N,
            long V,
            long stride,
            int dtype) {
        try {
            return (int) st_log_prob$handle.invokeExact(
                    symbols.st_log_prob, device, log_prob, logits, token, N, V, stride, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_cross_entropy(st_device *device, void *loss, void *dlogits, const void *logits, const int32_t *target, const void *weight, int64_t N, int64_t V, int64_t stride, st_dtype dtype)} */
    public static int st_cross_entropy(
            Symbols symbols,
            MemorySegment device,
            MemorySegment loss,
            MemorySegment dlogits,
            MemorySegment logits,
            MemorySegment target,
            MemorySegment weight,
            long N,
            long V,
            long stride,
            int dtype) {
        try {
            return (int) st_cross_entropy$handle.invokeExact(
                    symbols.st_cross_entropy, device, loss, dlogits, logits, target, weight, N, V, stride, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code int64_t st_sample_scratch_bytes(st_device *device, int64_t N, int64_t V)} */
    public static long st_sample_scratch_bytes(Symbols symbols, MemorySegment device, long N, long V) {
        try {
            return (long) st_sample_scratch_bytes$handle.invokeExact(symbols.st_sample_scratch_bytes, device, N, V);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_sample(st_device *device, int32_t *token, void *log_prob, const void *logits, const uint64_t *key, const int32_t *position, void *scratch, int64_t N, int64_t V, int64_t stride, double temperature, int64_t top_k, double top_p, st_dtype dtype)} */
    public static int st_sample(
            Symbols symbols,
            MemorySegment device,
            MemorySegment token,
            MemorySegment log_prob,
            MemorySegment logits,
            MemorySegment key,
            MemorySegment position,
            MemorySegment scratch,
            long N,
            long V,
            long stride,
            double temperature,
            long top_k,
            double top_p,
            int dtype) {
        try {
            return (int) st_sample$handle.invokeExact(
                    symbols.st_sample,
                    device,
                    token,
                    log_prob,
                    logits,
                    key,
                    position,
                    scratch,
                    N,
                    V,
                    stride,
                    temperature,
                    top_k,
                    top_p,
                    dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_decode_advance(st_device *device, int32_t *history, void *history_log_prob, int32_t *token, int32_t *position, int32_t *drawn, int32_t *done, const int32_t *sampled, const void *sampled_log_prob, const int32_t *limit, int64_t S, int64_t capacity, int32_t stop_token, st_dtype dtype)} */
    public static int st_decode_advance(
            Symbols symbols,
            MemorySegment device,
            MemorySegment history,
            MemorySegment history_log_prob,
            MemorySegment token,
            MemorySegment position,
            MemorySegment drawn,
            MemorySegment done,
            MemorySegment sampled,
            MemorySegment sampled_log_prob,
            MemorySegment limit,
            long S,
            long capacity,
            int stop_token,
            int dtype) {
        try {
            return (int) st_decode_advance$handle.invokeExact(
                    symbols.st_decode_advance,
                    device,
                    history,
                    history_log_prob,
                    token,
                    position,
                    drawn,
                    done,
                    sampled,
                    sampled_log_prob,
                    limit,
                    S,
                    capacity,
                    stop_token,
                    dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code int64_t st_sum_squares_scratch_bytes(st_device *device, int64_t n)} */
    public static long st_sum_squares_scratch_bytes(Symbols symbols, MemorySegment device, long n) {
        try {
            return (long)
                    st_sum_squares_scratch_bytes$handle.invokeExact(symbols.st_sum_squares_scratch_bytes, device, n);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_sum_squares(st_device *device, double *out, const void *x, void *scratch, int64_t n, st_dtype dtype)} */
    public static int st_sum_squares(
            Symbols symbols,
            MemorySegment device,
            MemorySegment out,
            MemorySegment x,
            MemorySegment scratch,
            long n,
            int dtype) {
        try {
            return (int) st_sum_squares$handle.invokeExact(symbols.st_sum_squares, device, out, x, scratch, n, dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }

    /** {@code st_status st_adamw(st_device *device, void *weight, void *master, void *m, void *v, const void *grad, int64_t n, double grad_scale, double lr, double beta1, double beta2, double eps, double decay, int64_t step, st_dtype dtype)} */
    public static int st_adamw(
            Symbols symbols,
            MemorySegment device,
            MemorySegment weight,
            MemorySegment master,
            MemorySegment m,
            MemorySegment v,
            MemorySegment grad,
            long n,
            double grad_scale,
            double lr,
            double beta1,
            double beta2,
            double eps,
            double decay,
            long step,
            int dtype) {
        try {
            return (int) st_adamw$handle.invokeExact(
                    symbols.st_adamw,
                    device,
                    weight,
                    master,
                    m,
                    v,
                    grad,
                    n,
                    grad_scale,
                    lr,
                    beta1,
                    beta2,
                    eps,
                    decay,
                    step,
                    dtype);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw impossible(t);
        }
    }
}
