// The part of the CUDA runtime that native/cuda uses, with the runtime's names, types and numbers.
//
// Streams are queues that run when somebody waits for them (SUBTEXT_EMULATOR_ASYNC=0: at once), so host code that relies on work
// being finished early, or reuses pinned memory too soon, fails here as it would on a GPU. An error of a kernel is reported by the
// next call that synchronises, once, and cudaGetErrorString then tells the whole story.
#ifndef SUBTEXT_EMULATED_RUNTIME_H
#define SUBTEXT_EMULATED_RUNTIME_H

#include <functional>
#include <tuple>
#include <utility>

#include "emulated_execution.h"

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidSymbol = 13,
    cudaErrorInsufficientDriver = 35,
    cudaErrorInvalidDevice = 101,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchTimeout = 702,
    cudaErrorMisalignedAddress = 716,
    cudaErrorLaunchFailure = 719,
    cudaErrorNotSupported = 801,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureUnmatched = 903,
    cudaErrorSymbolNotFound = 500,
    cudaErrorUnknown = 999
};

enum cudaMemcpyKind {
    cudaMemcpyHostToHost = 0,
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3,
    cudaMemcpyDefault = 4
};

enum cudaDeviceAttr {
    cudaDevAttrMaxThreadsPerBlock = 1,
    cudaDevAttrMaxSharedMemoryPerBlock = 8,
    cudaDevAttrWarpSize = 10,
    cudaDevAttrClockRate = 13,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrMemoryClockRate = 36,
    cudaDevAttrGlobalMemoryBusWidth = 37,
    cudaDevAttrL2CacheSize = 38,
    cudaDevAttrMaxThreadsPerMultiProcessor = 39,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};

enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
    cudaFuncAttributePreferredSharedMemoryCarveout = 9
};
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal = 0,
    cudaStreamCaptureModeThreadLocal = 1,
    cudaStreamCaptureModeRelaxed = 2
};
enum cudaStreamCaptureStatus {
    cudaStreamCaptureStatusNone = 0,
    cudaStreamCaptureStatusActive = 1,
    cudaStreamCaptureStatusInvalidated = 2
};
enum cudaDriverEntryPointQueryResult {
    cudaDriverEntryPointSuccess = 0,
    cudaDriverEntryPointSymbolNotFound = 1,
    cudaDriverEntryPointVersionNotSufficent = 2
};

#define cudaStreamDefault 0x00
#define cudaStreamNonBlocking 0x01
#define cudaEventDefault 0x00
#define cudaEventBlockingSync 0x01
#define cudaEventDisableTiming 0x02
#define cudaHostAllocDefault 0x00
#define cudaEnableDefault 0x00

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlock;
    int warpSize, maxThreadsPerBlock;
    int major, minor, multiProcessorCount;
    size_t sharedMemPerBlockOptin, sharedMemPerMultiprocessor;
    int l2CacheSize, maxThreadsPerMultiProcessor;
};

/// A stream. The first virtual function is the whole interface, so that another emulated library (cuBLASLt) can queue work here.
struct CUstream_st {
    virtual cudaError_t enqueue(std::function<cudaError_t()> work) = 0;
    virtual ~CUstream_st() = default;
};
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;
using cudaStream_t = CUstream_st *;
using cudaEvent_t = CUevent_st *;
using cudaGraph_t = CUgraph_st *;
using cudaGraphExec_t = CUgraphExec_st *;

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaDeviceReset();
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaMemGetInfo(size_t *free, size_t *total);
cudaError_t cudaFree(void *memory);
cudaError_t cudaFreeHost(void *memory);
cudaError_t emulatedMalloc(void **memory, size_t bytes);
cudaError_t emulatedHostAlloc(void **memory, size_t bytes);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream = nullptr);
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream = nullptr);
cudaError_t cudaMemset(void *to, int value, size_t bytes);
cudaError_t cudaStreamCreate(cudaStream_t *stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
cudaError_t cudaEventCreate(cudaEvent_t *event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
const char *cudaGetErrorString(cudaError_t error);
const char *cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetDriverEntryPoint(const char *symbol, void **function, unsigned long long flags,
                                    cudaDriverEntryPointQueryResult *result = nullptr);
cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned version, unsigned long long flags,
                                             cudaDriverEntryPointQueryResult *result = nullptr);

template <typename T>
inline cudaError_t cudaMalloc(T **memory, size_t bytes) {
    return emulatedMalloc(reinterpret_cast<void **>(memory), bytes);
}
template <typename T>
inline cudaError_t cudaMallocHost(T **memory, size_t bytes, unsigned = 0) {
    return emulatedHostAlloc(reinterpret_cast<void **>(memory), bytes);
}
template <typename T>
inline cudaError_t cudaHostAlloc(T **memory, size_t bytes, unsigned) {
    return emulatedHostAlloc(reinterpret_cast<void **>(memory), bytes);
}

namespace emulator {

constexpr size_t sharedBytesPerBlock = 48 * 1024, sharedBytesPerBlockOptin = 163 * 1024;  // as on sm_80
constexpr int threadsPerBlock = 1024, threadsPerProcessor = 2048;

cudaError_t setError(cudaError_t error);  // remembered for cudaGetLastError
cudaError_t allowShared(const void *kernel, size_t bytes);
cudaError_t launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t sharedBytes, cudaStream_t stream,
                   std::function<void()> body);

template <typename... Parameters, typename... Arguments>
inline cudaError_t launchKernel(const char *name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t sharedBytes,
                                cudaStream_t stream, Arguments &&...arguments) {
    static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument per kernel parameter");
    const void *address = reinterpret_cast<const void *>(kernel);
    if (sharedBytes > sharedBytesPerBlock) allowShared(address, sharedBytes);
    const std::tuple<Parameters...> values(static_cast<Parameters>(arguments)...);
    return launch(name, address, grid, block, sharedBytes, stream, [kernel, values] { std::apply(kernel, values); });
}

}  // namespace emulator

template <typename... Parameters>
inline cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute, int value) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    return emulator::allowShared(reinterpret_cast<const void *>(kernel), static_cast<size_t>(value));
}
template <typename... Parameters>
inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void (*)(Parameters...), int threads, size_t) {
    if (threads <= 0) return emulator::setError(cudaErrorInvalidValue);
    *blocks = emulator::threadsPerProcessor / threads;  // registers and shared memory are not counted
    return cudaSuccess;
}

/// Launches a kernel: ST_LAUNCH((kernel<T>), grid, block, sharedBytes, stream, args...).
#define ST_LAUNCH(kernel, grid, block, sharedBytes, stream, ...)                                                     \
    ::emulator::launchKernel(#kernel, kernel, dim3(grid), dim3(block), static_cast<size_t>(sharedBytes), (stream), \
                             ##__VA_ARGS__)

#endif
