// The runtime's calls: memory, copies, streams, events, graphs, errors. One emulated device.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda_emulator.h"
#include "execution.h"
#include "memory.h"

using Work = std::function<cudaError_t()>;
using Clock = std::chrono::steady_clock;

struct CUgraph_st {
    std::vector<Work> work;
};
struct CUgraphExec_st {
    std::shared_ptr<const std::vector<Work>> work;
};
struct CUevent_st {
    Clock::time_point time;
    bool recorded = false, passed = false, timed = true;
};

namespace emulator {
namespace {

/// What the whole process shares. A failure is told once: by the call that synchronises after it.
struct Runtime {
    std::recursive_mutex mutex;
    cudaError_t last = cudaSuccess;          // for cudaGetLastError
    cudaError_t storyOf = cudaSuccess;       // the error that `story` tells about
    std::string story;
    std::map<const void *, size_t> shared;   // kernels allowed more than 48 KB
};

Runtime &runtime() {
    static Runtime *const one = new Runtime;
    return *one;
}

cudaError_t tell(cudaError_t error, const std::string &story) {
    Runtime &r = runtime();
    const std::lock_guard<std::recursive_mutex> lock(r.mutex);
    r.storyOf = error;
    r.story = story;
    return error;
}

bool deferred() {
    static const bool on = [] {
        const char *text = getenv("SUBTEXT_EMULATOR_ASYNC");
        return text == nullptr || strcmp(text, "0") != 0;
    }();
    return on;
}

/// Work in the order it was queued. While capturing, it is kept and not run.
class Stream final : public CUstream_st {
  public:
    cudaError_t enqueue(Work work) override {
        const std::lock_guard<std::recursive_mutex> lock(mutex_);
        if (capture_ != nullptr) {
            capture_->work.push_back(std::move(work));
            return cudaSuccess;
        }
        queue_.push_back(std::move(work));
        if (!deferred() || queue_.size() >= 4096) {
            const cudaError_t error = drain();
            if (error != cudaSuccess) failed_ = error;
        }
        return cudaSuccess;
    }

    /// Runs what is queued and checks that nothing was written beside memory. After a failure the rest is dropped.
    cudaError_t synchronize() {
        const std::lock_guard<std::recursive_mutex> lock(mutex_);
        if (capture_ != nullptr) return tell(cudaErrorStreamCaptureUnsupported, "a stream cannot be waited for while it records");
        cudaError_t error = drain();
        if (failed_ != cudaSuccess) error = failed_;
        failed_ = cudaSuccess;
        if (error != cudaSuccess) return error;
        const std::string text = damage();
        return text.empty() ? cudaSuccess : tell(cudaErrorIllegalAddress, text);
    }

    bool idle() const { return queue_.empty(); }
    bool capturing() const { return capture_ != nullptr; }

    cudaError_t beginCapture() {
        if (capture_ != nullptr) return cudaErrorStreamCaptureUnsupported;
        capture_ = std::make_unique<CUgraph_st>();
        return cudaSuccess;
    }
    cudaError_t endCapture(cudaGraph_t *graph) {
        if (capture_ == nullptr) return cudaErrorStreamCaptureUnmatched;
        *graph = capture_.release();
        return cudaSuccess;
    }

  private:
    cudaError_t drain() {
        std::vector<Work> queue;
        queue.swap(queue_);
        for (Work &work : queue) {
            const cudaError_t error = work();
            if (error != cudaSuccess) return error;
        }
        return cudaSuccess;
    }
    std::recursive_mutex mutex_;
    std::vector<Work> queue_;
    cudaError_t failed_ = cudaSuccess;
    std::unique_ptr<CUgraph_st> capture_;
};

struct Streams {
    std::mutex mutex;
    std::vector<Stream *> all{new Stream};  // the first is the default stream
};
Streams &streams() {
    static Streams *const one = new Streams;
    return *one;
}

Stream &streamOf(cudaStream_t stream) {
    return stream == nullptr ? *streams().all.front() : *static_cast<Stream *>(stream);
}

/// Waits for every stream that is not recording: what cudaFree, cudaMalloc and the calls without a stream may do.
cudaError_t synchronizeAll() {
    std::vector<Stream *> all;
    {
        const std::lock_guard<std::mutex> lock(streams().mutex);
        all = streams().all;
    }
    cudaError_t result = cudaSuccess;
    for (Stream *stream : all) {
        if (stream->capturing()) continue;
        const cudaError_t error = stream->synchronize();
        if (result == cudaSuccess) result = error;
    }
    return result;
}

std::string sizeText(const char *what, size_t bytes) {
    char text[160];
    snprintf(text, sizeof text, "%s: %zu bytes wanted, %zu of %zu are in use", what, bytes, allocatedBytes(), totalBytes());
    return text;
}

/// Device pointers of a copy must lie in one live region; host pointers may be anything, but device memory is not host memory.
cudaError_t checkCopy(const char *what, const void *p, size_t bytes, bool device) {
    const Region *region = regionOf(p);
    if (!device && region == nullptr) return cudaSuccess;
    if (!device && region->kind == Kind::device) return tell(cudaErrorInvalidValue, std::string(what) + ": device memory where host memory belongs");
    if (device && region != nullptr && region->kind != Kind::device) return tell(cudaErrorInvalidValue, std::string(what) + ": host memory where device memory belongs");
    const std::string text = complaint(p, bytes);
    return text.empty() ? cudaSuccess : tell(cudaErrorInvalidValue, std::string(what) + " of " + text);
}

const struct {
    cudaError_t error;
    const char *name, *text;
} errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched", "the stream is not capturing"},
    {cudaErrorSymbolNotFound, "cudaErrorSymbolNotFound", "named symbol not found"},
};

}  // namespace

cudaError_t setError(cudaError_t error) {
    if (error != cudaSuccess) runtime().last = error;
    return error;
}

cudaError_t allowShared(const void *kernel, size_t bytes) {
    if (bytes > sharedBytesPerBlockOptin)
        return setError(tell(cudaErrorInvalidValue, sizeText("more dynamic shared memory than a block may have", bytes)));
    Runtime &r = runtime();
    const std::lock_guard<std::recursive_mutex> lock(r.mutex);
    r.shared[kernel] = bytes;
    return cudaSuccess;
}

cudaError_t launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t sharedBytes, cudaStream_t stream,
                   std::function<void()> body) {
    Runtime &r = runtime();
    const uint64_t threads = static_cast<uint64_t>(block.x) * block.y * block.z;
    size_t allowed = sharedBytesPerBlock;
    {
        const std::lock_guard<std::recursive_mutex> lock(r.mutex);
        const auto more = r.shared.find(kernel);
        if (more != r.shared.end()) allowed = std::max(allowed, more->second);
    }
    const char *wrong = grid.x == 0 || grid.y == 0 || grid.z == 0                       ? "an empty grid"
                        : grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535       ? "a grid beyond (2^31-1, 65535, 65535)"
                        : threads == 0 || threads > threadsPerBlock || block.z > 64      ? "a block of no or more than 1024 threads"
                        : sharedBytes > allowed                                          ? "too much dynamic shared memory"
                                                                                         : nullptr;
    if (wrong != nullptr) {
        char text[512];
        snprintf(text, sizeof text, "kernel %s: %s: grid (%u,%u,%u), block (%u,%u,%u), %zu bytes shared", name, wrong, grid.x, grid.y,
                 grid.z, block.x, block.y, block.z, sharedBytes);
        return setError(tell(cudaErrorInvalidConfiguration, text));
    }
    Launch work{name, kernel, grid, block, sharedBytes, std::move(body)};
    return setError(streamOf(stream).enqueue([work = std::move(work)] {
        const Outcome outcome = run(work);
        return outcome.error == 0 ? cudaSuccess : tell(static_cast<cudaError_t>(outcome.error), outcome.message);
    }));
}

}  // namespace emulator

using namespace emulator;

// ---- device ----------------------------------------------------------------------------------------------------------

cudaError_t cudaGetDeviceCount(int *count) {
    *count = 1;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return setError(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device) {
    if (device != 0) return setError(cudaErrorInvalidDevice);
    *p = cudaDeviceProp();
    snprintf(p->name, sizeof p->name, "CUDA emulator on CPU");
    p->totalGlobalMem = totalBytes();
    p->sharedMemPerBlock = sharedBytesPerBlock, p->sharedMemPerBlockOptin = sharedBytesPerBlockOptin;
    p->sharedMemPerMultiprocessor = 164 * 1024;
    p->warpSize = 32, p->maxThreadsPerBlock = threadsPerBlock, p->maxThreadsPerMultiProcessor = threadsPerProcessor;
    p->major = 8, p->minor = 0, p->multiProcessorCount = 4, p->l2CacheSize = 1 << 20;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    cudaDeviceProp p;
    const cudaError_t error = cudaGetDeviceProperties(&p, device);
    if (error != cudaSuccess) return error;
    switch (attribute) {
        case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(p.sharedMemPerBlock); break;
        case cudaDevAttrWarpSize: *value = p.warpSize; break;
        case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
        case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
        case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
        case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = static_cast<int>(p.sharedMemPerMultiprocessor); break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(p.sharedMemPerBlockOptin); break;
        default: *value = 0; break;  // clocks and bus widths: the emulator has none
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() { return setError(synchronizeAll()); }
cudaError_t cudaDeviceReset() { return cudaDeviceSynchronize(); }
cudaError_t cudaDriverGetVersion(int *version) {
    *version = 0;  // there is no driver
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPoint(const char *, void **function, unsigned long long, cudaDriverEntryPointQueryResult *result) {
    *function = nullptr;
    if (result != nullptr) *result = cudaDriverEntryPointSymbolNotFound;
    return setError(cudaErrorSymbolNotFound);
}
cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned, unsigned long long flags,
                                             cudaDriverEntryPointQueryResult *result) {
    return cudaGetDriverEntryPoint(symbol, function, flags, result);
}

// ---- memory ----------------------------------------------------------------------------------------------------------

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    *total = totalBytes();
    *free = totalBytes() - allocatedBytes();
    return cudaSuccess;
}

static cudaError_t take(void **memory, size_t bytes, Kind kind) {
    *memory = nullptr;
    if (bytes == 0) return cudaSuccess;
    *memory = allocate(bytes, kind);
    return *memory != nullptr ? cudaSuccess : setError(tell(cudaErrorMemoryAllocation, sizeText("out of memory", bytes)));
}

static cudaError_t give(void *memory, Kind kind, const char *call) {
    if (memory == nullptr) return cudaSuccess;
    const cudaError_t error = synchronizeAll();  // freeing waits for the work that may use it
    if (!release(memory, kind))
        return setError(tell(cudaErrorInvalidValue, std::string(call) + ": not the start of memory of this kind, or freed before"));
    return setError(error);
}

cudaError_t emulatedMalloc(void **memory, size_t bytes) { return take(memory, bytes, Kind::device); }
cudaError_t emulatedHostAlloc(void **memory, size_t bytes) { return take(memory, bytes, Kind::pinned); }
cudaError_t cudaFree(void *memory) { return give(memory, Kind::device, "cudaFree"); }
cudaError_t cudaFreeHost(void *memory) { return give(memory, Kind::pinned, "cudaFreeHost"); }

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    if (bytes == 0) return cudaSuccess;
    const auto isDevice = [](const void *p) {
        const Region *region = regionOf(p);
        return region != nullptr && region->kind == Kind::device;
    };
    if (kind == cudaMemcpyDefault)
        kind = static_cast<cudaMemcpyKind>((isDevice(from) ? 2 : 0) + (isDevice(to) ? 1 : 0));
    cudaError_t error = checkCopy("cudaMemcpy to", to, bytes, kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice);
    if (error == cudaSuccess)
        error = checkCopy("cudaMemcpy from", from, bytes, kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice);
    if (error != cudaSuccess) return setError(error);
    Stream &s = streamOf(stream);
    if (kind == cudaMemcpyHostToDevice && regionOf(from) == nullptr) {  // pageable memory is staged before the call returns
        const auto *bytesFrom = static_cast<const unsigned char *>(from);
        return setError(s.enqueue([to, bytes, staged = std::vector<unsigned char>(bytesFrom, bytesFrom + bytes)] {
            memcpy(to, staged.data(), bytes);
            return cudaSuccess;
        }));
    }
    error = s.enqueue([to, from, bytes] {
        memmove(to, from, bytes);
        return cudaSuccess;
    });
    const bool waits = kind == cudaMemcpyDeviceToHost && regionOf(to) == nullptr && !s.capturing();
    return setError(error == cudaSuccess && waits ? s.synchronize() : error);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    cudaError_t error = synchronizeAll();
    if (error == cudaSuccess) error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
    if (error == cudaSuccess) error = streamOf(nullptr).synchronize();
    return setError(error);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    if (bytes == 0) return cudaSuccess;
    const cudaError_t error = checkCopy("cudaMemset", to, bytes, true);
    if (error != cudaSuccess) return setError(error);
    return setError(streamOf(stream).enqueue([to, value, bytes] {
        memset(to, value, bytes);
        return cudaSuccess;
    }));
}
cudaError_t cudaMemset(void *to, int value, size_t bytes) {
    const cudaError_t error = cudaMemsetAsync(to, value, bytes, nullptr);
    return error == cudaSuccess ? cudaDeviceSynchronize() : error;
}

// ---- streams ---------------------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    auto *created = new Stream;
    const std::lock_guard<std::mutex> lock(streams().mutex);
    streams().all.push_back(created);
    *stream = created;
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, 0); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    if (stream == nullptr) return setError(cudaErrorInvalidResourceHandle);
    const cudaError_t error = streamOf(stream).capturing() ? cudaSuccess : streamOf(stream).synchronize();
    {
        const std::lock_guard<std::mutex> lock(streams().mutex);
        auto &all = streams().all;
        for (size_t i = 1; i < all.size(); i++)
            if (all[i] == stream) all.erase(all.begin() + static_cast<ptrdiff_t>(i--));
    }
    delete stream;
    return setError(error);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return setError(streamOf(stream).synchronize()); }
cudaError_t cudaStreamQuery(cudaStream_t stream) { return streamOf(stream).idle() ? cudaSuccess : cudaErrorNotReady; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned) { return cudaEventSynchronize(event); }

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    if (stream == nullptr) return setError(cudaErrorStreamCaptureUnsupported);
    return setError(streamOf(stream).beginCapture());
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    *graph = nullptr;
    return setError(streamOf(stream).endCapture(graph));
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
    *status = streamOf(stream).capturing() ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long) {
    *executable = new CUgraphExec_st{std::make_shared<const std::vector<Work>>(graph->work)};
    return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    return setError(streamOf(stream).enqueue([work = executable->work] {
        for (const Work &each : *work) {
            const cudaError_t error = each();
            if (error != cudaSuccess) return error;
        }
        return cudaSuccess;
    }));
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    delete executable;
    return cudaSuccess;
}

// ---- events ----------------------------------------------------------------------------------------------------------

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    *event = new CUevent_st;
    (*event)->timed = !(flags & cudaEventDisableTiming);
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, 0); }

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    event->recorded = true;
    event->passed = false;
    return setError(streamOf(stream).enqueue([event] {
        event->time = Clock::now();
        event->passed = true;
        return cudaSuccess;
    }));
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return event->recorded && !event->passed ? setError(synchronizeAll()) : cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return !event->recorded || event->passed ? cudaSuccess : cudaErrorNotReady; }
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
    if (!from->recorded || !to->recorded || !from->timed || !to->timed) return setError(cudaErrorInvalidResourceHandle);
    if (!from->passed || !to->passed) return setError(cudaErrorNotReady);
    *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    const cudaError_t error = cudaEventSynchronize(event);
    delete event;
    return error;
}

// ---- errors ----------------------------------------------------------------------------------------------------------

cudaError_t cudaGetLastError() {
    const cudaError_t error = runtime().last;
    runtime().last = cudaSuccess;
    return error;
}
cudaError_t cudaPeekAtLastError() { return runtime().last; }

const char *cudaGetErrorString(cudaError_t error) {
    Runtime &r = runtime();
    const std::lock_guard<std::recursive_mutex> lock(r.mutex);
    static thread_local char text[1280];
    for (const auto &known : errors) {
        if (known.error != error) continue;
        if (error == cudaSuccess || r.storyOf != error) return known.text;
        snprintf(text, sizeof text, "%s: %s", known.text, r.story.c_str());
        return text;
    }
    return "unrecognized error code";
}
const char *cudaGetErrorName(cudaError_t error) {
    for (const auto &known : errors)
        if (known.error == error) return known.name;
    return "unrecognized error code";
}
