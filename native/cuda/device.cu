// Device, memory, order and time, recordings: the part of subtext.h that is not arithmetic.
#include "common.cuh"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <new>

struct st_event {
    cudaEvent_t event;
};

struct st_recording {
    cudaGraph_t graph;
    cudaGraphExec_t executable;
};

namespace st {

st_status fail(st_device *device, st_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(device->error, sizeof device->error, format, arguments);
    va_end(arguments);
    return status;
}

st_status check(st_device *device, cudaError_t error, const char *what) {
    if (error == cudaSuccess) return ST_OK;
    cudaGetLastError();  // so that the next call does not report it again
    const st_status status = error == cudaErrorMemoryAllocation ? ST_OUT_OF_MEMORY : ST_DEVICE_ERROR;
    return fail(device, status, "%s: %s (%s)%s", what, cudaGetErrorString(error), cudaGetErrorName(error),
                device->synchronous ? "" : "; set SUBTEXT_SYNC=1 to see which kernel");
}

st_status launched(st_device *device, const char *kernel) {
    const cudaError_t launch = cudaGetLastError();
    if (launch != cudaSuccess)
        return fail(device, ST_DEVICE_ERROR, "%s: launch failed: %s (%s)", kernel, cudaGetErrorString(launch),
                    cudaGetErrorName(launch));
    if (device->synchronous && !device->recording) {
        const cudaError_t late = cudaStreamSynchronize(device->stream);
        if (late != cudaSuccess)
            return fail(device, ST_DEVICE_ERROR, "%s: failed while running: %s (%s)", kernel, cudaGetErrorString(late),
                        cudaGetErrorName(late));
    }
    return ST_OK;
}

namespace {

bool environmentIs(const char *name, const char *value) {
    const char *given = getenv(name);
    return given != nullptr && strcmp(given, value) == 0;
}

/// True if [host, host + bytes) lies in memory of st_host_alloc.
bool isPinned(const st_device *device, const void *host, int64_t bytes) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(host);
    auto after = device->hostMemory.upper_bound(address);
    if (after == device->hostMemory.begin()) return false;
    --after;
    return address + static_cast<uintptr_t>(bytes) <= after->first + static_cast<uintptr_t>(after->second);
}

st_status refuse(char *error, int64_t capacity, st_status status, const char *format, ...) {
    if (error != nullptr && capacity > 0) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error, static_cast<size_t>(capacity), format, arguments);
        va_end(arguments);
    }
    return status;
}

/// Says in the user's words why cudaGetDeviceCount failed.
st_status unavailable(char *error, int64_t capacity, cudaError_t reason) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    cudaGetLastError();
    if (driver == 0)
        return refuse(error, capacity, ST_UNAVAILABLE,
                      "CUDA is not available: no NVIDIA driver (libcuda.so.1) was found; install one or use the CPU");
    if (reason == cudaErrorInsufficientDriver)
        return refuse(error, capacity, ST_UNAVAILABLE,
                      "CUDA is not available: the driver supports CUDA %d.%d, this build needs %d.%d; update the driver or use the CPU",
                      driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    return refuse(error, capacity, ST_UNAVAILABLE, "CUDA is not available: %s (%s); use the CPU", cudaGetErrorString(reason),
                  cudaGetErrorName(reason));
}

#if !defined(ST_CUDA_EMULATED)
void *driverFunction(const char *name) {
    void *function = nullptr;
    cudaDriverEntryPointQueryResult found;
    if (cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found) != cudaSuccess ||
        found != cudaDriverEntryPointSuccess) {
        cudaGetLastError();
        return nullptr;
    }
    return function;
}
#endif

}  // namespace
}  // namespace st

extern "C" {

int32_t st_abi_version(void) { return ST_ABI_VERSION; }

st_status st_device_open(st_device **out, int32_t ordinal, int32_t, char *error, int64_t capacity) {
    if (out == nullptr) return st::refuse(error, capacity, ST_INVALID_ARGUMENT, "device: NULL");
    *out = nullptr;
    int count = 0;
    cudaError_t reason = cudaGetDeviceCount(&count);
    if (reason != cudaSuccess) return st::unavailable(error, capacity, reason);
    if (ordinal < 0 || ordinal >= count)
        return st::refuse(error, capacity, ST_UNAVAILABLE, "ordinal %d: there %s %d CUDA device%s here", ordinal,
                          count == 1 ? "is" : "are", count, count == 1 ? "" : "s");

    cudaDeviceProp properties;
    reason = cudaGetDeviceProperties(&properties, ordinal);
    if (reason != cudaSuccess) return st::unavailable(error, capacity, reason);
    const int capability = 10 * properties.major + properties.minor;
    if (capability < 80)
        return st::refuse(error, capacity, ST_UNAVAILABLE,
                          "%s has compute capability %d.%d; these kernels need 8.0 (Ampere) or later: use the CPU", properties.name,
                          properties.major, properties.minor);

    st_device *device = new (std::nothrow) st_device;
    if (device == nullptr) return st::refuse(error, capacity, ST_OUT_OF_MEMORY, "no host memory for the device handle");
    device->ordinal = ordinal;
    device->capability = capability;
    device->processors = properties.multiProcessorCount;
    snprintf(device->name, sizeof device->name, "%s", properties.name);
    device->synchronous = st::environmentIs("SUBTEXT_SYNC", "1");
#if !defined(ST_CUDA_EMULATED)
    if (capability == 90 && !st::environmentIs("SUBTEXT_CUDA_PATH", "portable")) {
        device->encodeTiled = st::driverFunction("cuTensorMapEncodeTiled");
        device->wgmma = device->encodeTiled != nullptr;
        device->attentionBackwardSm90 = device->wgmma && !st::environmentIs("SUBTEXT_CUDA_ATTENTION", "mma");
        device->attentionSm90 = device->attentionBackwardSm90 && !st::environmentIs("SUBTEXT_CUDA_ATTENTION", "sm90-backward");
        device->cluster = st::environmentIs("SUBTEXT_CUDA_CLUSTER", "1") ? 1 : 2;
        device->splits = st::environmentIs("SUBTEXT_CUDA_SPLIT", "1");
    }
#endif
    const size_t turnBytes = st::turnCount * sizeof(int32_t);
    reason = cudaSetDevice(ordinal);
    if (reason == cudaSuccess) reason = cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking);
    if (reason == cudaSuccess) reason = cudaMalloc(reinterpret_cast<void **>(&device->turns), turnBytes);
    if (reason == cudaSuccess) reason = cudaMemsetAsync(device->turns, 0, turnBytes, device->stream);
    if (reason == cudaSuccess) reason = cudaStreamSynchronize(device->stream);
    if (reason != cudaSuccess) {
        st::refuse(error, capacity, ST_UNAVAILABLE, "%s cannot be opened: %s (%s)", properties.name, cudaGetErrorString(reason),
                   cudaGetErrorName(reason));
        st_device_close(device);
        return ST_UNAVAILABLE;
    }
    *out = device;
    return ST_OK;
}

st_status st_device_close(st_device *device) {
    if (device == nullptr) return ST_OK;
    if (device->stream != nullptr) cudaStreamSynchronize(device->stream);
    for (const auto &memory : device->deviceMemory) cudaFree(reinterpret_cast<void *>(memory.first));
    for (const auto &memory : device->hostMemory) cudaFreeHost(reinterpret_cast<void *>(memory.first));
    if (device->turns != nullptr) cudaFree(device->turns);
    if (device->stream != nullptr) cudaStreamDestroy(device->stream);
    cudaGetLastError();
    delete device;
    return ST_OK;
}

const char *st_last_error(const st_device *device) { return device == nullptr ? "device: NULL" : device->error; }

st_status st_device_property(st_device *device, int64_t *value, int32_t property) {
    size_t freeBytes = 0, totalBytes = 0;
    int version = 0;
    switch (property) {
        case ST_TOTAL_BYTES:
        case ST_FREE_BYTES:
            ST_CUDA(device, cudaMemGetInfo(&freeBytes, &totalBytes));
            *value = static_cast<int64_t>(property == ST_TOTAL_BYTES ? totalBytes : freeBytes);
            return ST_OK;
        case ST_PROCESSORS: *value = device->processors; return ST_OK;
        case ST_COMPUTE_CAPABILITY: *value = device->capability; return ST_OK;
        case ST_DRIVER_VERSION:
            ST_CUDA(device, cudaDriverGetVersion(&version));
            *value = version;
            return ST_OK;
        case ST_RUNTIME_VERSION:
            ST_CUDA(device, cudaRuntimeGetVersion(&version));
            *value = version;
            return ST_OK;
        case ST_ALLOCATIONS: *value = device->allocations; return ST_OK;
        case ST_ALLOCATED_BYTES: *value = device->allocatedBytes; return ST_OK;
        case ST_IS_EMULATED:
#if defined(ST_CUDA_EMULATED)
            *value = 1;
#else
            *value = 0;
#endif
            return ST_OK;
        default: return st::fail(device, ST_INVALID_ARGUMENT, "property: no such number %d", property);
    }
}

st_status st_device_text(st_device *device, char *text, int64_t capacity, int32_t which) {
    ST_REQUIRE(device, text != nullptr && capacity > 0, "text: needs room, got capacity %lld", static_cast<long long>(capacity));
    const size_t room = static_cast<size_t>(capacity);
    switch (which) {
        case ST_TEXT_NAME: snprintf(text, room, "%s", device->name); return ST_OK;
        case ST_TEXT_PATH: snprintf(text, room, "%s", device->wgmma ? "sm_90a" : "sm_80"); return ST_OK;
        case ST_TEXT_BUILD:
#if defined(ST_CUDA_EMULATED)
            snprintf(text, room, "g++ %s, CUDA emulated", __VERSION__);
#else
            snprintf(text, room, "nvcc %d.%d.%d", __CUDACC_VER_MAJOR__, __CUDACC_VER_MINOR__, __CUDACC_VER_BUILD__);
#endif
            return ST_OK;
        case ST_TEXT_LIMITS: text[0] = 0; return ST_OK;  // a container's limits are of the host
        default: return st::fail(device, ST_INVALID_ARGUMENT, "which: no such text %d", which);
    }
}

st_status st_device_matmul(st_device *device, int32_t unit) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (unit == ST_MATMUL_VECTOR) return ST_OK;
    return st::fail(device, ST_UNSUPPORTED, "device_matmul: a GPU multiplies by its own kernels, the matrix unit of a processor is for the CPU");
}

st_status st_device_stream(st_device *device, void **stream) {
    *stream = device->stream;
    return ST_OK;
}

// ---- memory ----------------------------------------------------------------------------------------------------------

st_status st_alloc(st_device *device, void **memory, int64_t bytes) {
    *memory = nullptr;
    ST_REQUIRE(device, bytes >= 0, "bytes: %lld is negative", static_cast<long long>(bytes));
    ST_REQUIRE(device, !device->recording, "st_alloc: not while a recording is being made; allocate before st_record_begin");
    const cudaError_t error = cudaMalloc(memory, static_cast<size_t>(bytes > 0 ? bytes : 1));
    if (error != cudaSuccess) {
        cudaGetLastError();
        *memory = nullptr;
        size_t freeBytes = 0, totalBytes = 0;
        cudaMemGetInfo(&freeBytes, &totalBytes);
        return st::fail(device, error == cudaErrorMemoryAllocation ? ST_OUT_OF_MEMORY : ST_DEVICE_ERROR,
                        "%lld bytes of device memory: %s (%s); %zu of %zu bytes are free", static_cast<long long>(bytes),
                        cudaGetErrorString(error), cudaGetErrorName(error), freeBytes, totalBytes);
    }
    device->deviceMemory[reinterpret_cast<uintptr_t>(*memory)] = bytes;
    device->allocations++;
    device->allocatedBytes += bytes;
    return ST_OK;
}

st_status st_free(st_device *device, void *memory) {
    if (memory == nullptr) return ST_OK;
    const auto found = device->deviceMemory.find(reinterpret_cast<uintptr_t>(memory));
    ST_REQUIRE(device, found != device->deviceMemory.end(), "st_free: %p did not come from st_alloc of this device", memory);
    device->allocatedBytes -= found->second;
    device->deviceMemory.erase(found);
    ST_CUDA(device, cudaFree(memory));
    return ST_OK;
}

st_status st_host_alloc(st_device *device, void **memory, int64_t bytes) {
    *memory = nullptr;
    ST_REQUIRE(device, bytes >= 0, "bytes: %lld is negative", static_cast<long long>(bytes));
    ST_REQUIRE(device, !device->recording, "st_host_alloc: not while a recording is being made; allocate before st_record_begin");
    ST_CUDA(device, cudaHostAlloc(memory, static_cast<size_t>(bytes > 0 ? bytes : 1), cudaHostAllocDefault));
    device->hostMemory[reinterpret_cast<uintptr_t>(*memory)] = bytes;
    device->allocations++;
    device->allocatedBytes += bytes;
    return ST_OK;
}

st_status st_host_free(st_device *device, void *memory) {
    if (memory == nullptr) return ST_OK;
    const auto found = device->hostMemory.find(reinterpret_cast<uintptr_t>(memory));
    ST_REQUIRE(device, found != device->hostMemory.end(), "st_host_free: %p did not come from st_host_alloc of this device", memory);
    ST_CUDA(device, cudaStreamSynchronize(device->stream));  // a queued copy may still be reading it
    device->allocatedBytes -= found->second;
    device->hostMemory.erase(found);
    ST_CUDA(device, cudaFreeHost(memory));
    return ST_OK;
}

st_status st_upload(st_device *device, void *to, const void *host, int64_t bytes) {
    ST_REQUIRE(device, bytes >= 0, "bytes: %lld is negative", static_cast<long long>(bytes));
    if (bytes == 0) return ST_OK;
    // a graph would read the host memory at replay, long after the caller may have reused it
    ST_REQUIRE(device, !device->recording || st::isPinned(device, host, bytes),
               "st_upload: a recording can only copy from memory of st_host_alloc");
    // from pageable memory the runtime copies into its own staging area before it returns
    ST_CUDA(device, cudaMemcpyAsync(to, host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, device->stream));
    return ST_OK;
}

st_status st_download(st_device *device, void *host, const void *from, int64_t bytes) {
    ST_REQUIRE(device, bytes >= 0, "bytes: %lld is negative", static_cast<long long>(bytes));
    ST_REQUIRE(device, !device->recording, "st_download: waits for its result, so it cannot be recorded");
    if (bytes > 0) ST_CUDA(device, cudaMemcpyAsync(host, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, device->stream));
    ST_CUDA(device, cudaStreamSynchronize(device->stream));
    return ST_OK;
}

st_status st_copy(st_device *device, void *to, const void *from, int64_t bytes) {
    ST_REQUIRE(device, bytes >= 0, "bytes: %lld is negative", static_cast<long long>(bytes));
    if (bytes > 0) ST_CUDA(device, cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, device->stream));
    return ST_OK;
}

st_status st_fill_zero(st_device *device, void *to, int64_t bytes) {
    ST_REQUIRE(device, bytes >= 0, "bytes: %lld is negative", static_cast<long long>(bytes));
    if (bytes > 0) ST_CUDA(device, cudaMemsetAsync(to, 0, static_cast<size_t>(bytes), device->stream));
    return ST_OK;
}

// ---- order and time --------------------------------------------------------------------------------------------------

st_status st_synchronize(st_device *device) {
    ST_REQUIRE(device, !device->recording, "st_synchronize: not while a recording is being made");
    ST_CUDA(device, cudaStreamSynchronize(device->stream));
    return ST_OK;
}

st_status st_event_create(st_device *device, st_event **event) {
    *event = new (std::nothrow) st_event{};
    if (*event == nullptr) return st::fail(device, ST_OUT_OF_MEMORY, "no host memory for an event");
    const st_status status = st::check(device, cudaEventCreate(&(*event)->event), "cudaEventCreate");
    if (status != ST_OK) {
        delete *event;
        *event = nullptr;
    }
    return status;
}

st_status st_event_record(st_device *device, st_event *event) {
    ST_CUDA(device, cudaEventRecord(event->event, device->stream));
    return ST_OK;
}

st_status st_event_elapsed(st_device *device, double *milliseconds, st_event *from, st_event *to) {
    float elapsed = 0;
    ST_CUDA(device, cudaEventSynchronize(from->event));
    ST_CUDA(device, cudaEventSynchronize(to->event));
    ST_CUDA(device, cudaEventElapsedTime(&elapsed, from->event, to->event));
    *milliseconds = elapsed;
    return ST_OK;
}

st_status st_event_free(st_device *device, st_event *event) {
    if (event == nullptr) return ST_OK;
    const cudaEvent_t inner = event->event;
    delete event;
    ST_CUDA(device, cudaEventDestroy(inner));
    return ST_OK;
}

st_status st_record_begin(st_device *device) {
    ST_REQUIRE(device, !device->recording, "st_record_begin: a recording is already being made; call st_record_end first");
    ST_CUDA(device, cudaStreamBeginCapture(device->stream, cudaStreamCaptureModeThreadLocal));
    device->recording = true;
    return ST_OK;
}

st_status st_record_end(st_device *device, st_recording **recording) {
    *recording = nullptr;
    ST_REQUIRE(device, device->recording, "st_record_end: no recording is being made; call st_record_begin first");
    device->recording = false;
    cudaGraph_t graph = nullptr;
    ST_CUDA(device, cudaStreamEndCapture(device->stream, &graph));
    cudaGraphExec_t executable = nullptr;
    const st_status status = st::check(device, cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    if (status != ST_OK) {
        cudaGraphDestroy(graph);
        return status;
    }
    *recording = new (std::nothrow) st_recording{graph, executable};
    if (*recording == nullptr) {
        cudaGraphExecDestroy(executable);
        cudaGraphDestroy(graph);
        return st::fail(device, ST_OUT_OF_MEMORY, "no host memory for a recording");
    }
    return ST_OK;
}

st_status st_record_replay(st_device *device, st_recording *recording) {
    ST_REQUIRE(device, !device->recording, "st_record_replay: not while a recording is being made");
    ST_CUDA(device, cudaGraphLaunch(recording->executable, device->stream));
    return st::launched(device, "st_record_replay");
}

st_status st_record_free(st_device *device, st_recording *recording) {
    if (recording == nullptr) return ST_OK;
    ST_CUDA(device, cudaStreamSynchronize(device->stream));  // a replay may still be under way
    cudaGraphExecDestroy(recording->executable);
    cudaGraphDestroy(recording->graph);
    delete recording;
    return ST_OK;
}

}  // extern "C"
