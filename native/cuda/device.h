// The device handle behind subtext.h's opaque st_device, and how ops report errors into it.
#ifndef SUBTEXT_CUDA_DEVICE_H
#define SUBTEXT_CUDA_DEVICE_H

#if defined(ST_CUDA_EMULATED)
#include "cuda_emulator.h"
#else
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#endif

#include <stdint.h>

#include <map>

#include "../include/subtext.h"

/// One GPU with one stream. Used by one thread at a time (the Java side confines it); nothing here is locked.
struct st_device {
    int ordinal = 0;
    cudaStream_t stream = nullptr;
    int capability = 0;      // 90 for sm_90
    int processors = 0;      // streaming multiprocessors
    bool wgmma = false;      // the sm_90a path of st_matmul_*; SUBTEXT_CUDA_PATH=portable switches it off
    bool attentionSm90 = false, attentionBackwardSm90 = false;  // the same for attention, by SUBTEXT_CUDA_ATTENTION
    int cluster = 2;         // blocks of a cluster in those kernels; SUBTEXT_CUDA_CLUSTER=1 keeps blocks to themselves
    bool splits = false;     // of the last tiles of weight gradients along k: SUBTEXT_CUDA_SPLIT=1, until a GPU has confirmed it
    int clusters[5] = {};    // how many clusters of 2 or 4 blocks run at a time; 0: not asked yet
    bool synchronous = false;  // SUBTEXT_SYNC=1: wait after every op, so that a late error names its kernel
    bool recording = false;  // between st_record_begin and st_record_end
    void *encodeTiled = nullptr;  // cuTensorMapEncodeTiled, looked up through the runtime; no link to libcuda
    int64_t allocations = 0;
    int64_t allocatedBytes = 0;
    std::map<uintptr_t, int64_t> deviceMemory, hostMemory;  // address to bytes, so that close frees what is left
    int32_t *turns = nullptr;  // st::turnCount zeros, which kernels that take turns (matmul_tn) leave zero again
    char name[256] = "";
    char error[1024] = "";
};

namespace st {

constexpr int turnCount = 1 << 16;

/// Stores a printf-style text in the handle and returns `status`.
st_status fail(st_device *device, st_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/// The status of a runtime call; on failure the text names `what`.
st_status check(st_device *device, cudaError_t error, const char *what);

/// To be returned by every op after its last launch: picks up a bad launch, and with SUBTEXT_SYNC=1 waits and names the kernel.
st_status launched(st_device *device, const char *kernel);

}  // namespace st

/// Returns ST_INVALID_ARGUMENT from the enclosing op unless `condition` holds. The text follows: ST_REQUIRE(device, N >= 0, "N: %lld", N)
#define ST_REQUIRE(device, condition, ...)                                             \
    do {                                                                               \
        if (!(condition)) return st::fail((device), ST_INVALID_ARGUMENT, __VA_ARGS__); \
    } while (0)

/// Returns the failure of a runtime call from the enclosing op.
#define ST_CUDA(device, call)                                                     \
    do {                                                                          \
        const st_status st_status_ = st::check((device), (call), #call);          \
        if (st_status_ != ST_OK) return st_status_;                               \
    } while (0)

/// Ops store f32 or bf16; f64 is the CPU's, for gradient tests.
#define ST_REQUIRE_DTYPE(device, dtype, op)                                                                          \
    do {                                                                                                             \
        if ((dtype) != ST_F32 && (dtype) != ST_BF16)                                                                 \
            return st::fail((device), (dtype) == ST_F64 ? ST_UNSUPPORTED : ST_INVALID_ARGUMENT,                      \
                            "%s: dtype %d has no CUDA kernel, use ST_F32 (0) or ST_BF16 (1)", (op),                  \
                            static_cast<int>(dtype));                                                                \
    } while (0)

/// Runs `statement` with T the storage type of `dtype`: ST_BY_DTYPE(dtype, return forward<T>(...));
#define ST_BY_DTYPE(dtype, ...)                  \
    do {                                         \
        if ((dtype) == ST_BF16) {                \
            using T = st::bf16;                  \
            __VA_ARGS__;                         \
        } else {                                 \
            using T = float;                     \
            __VA_ARGS__;                         \
        }                                        \
    } while (0)

#endif
