// The CPU device: memory, threads, error text and the table of kernels of the instruction set in use.
#ifndef SUBTEXT_CPU_DEVICE_H
#define SUBTEXT_CPU_DEVICE_H

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "amx.h"
#include "kernels.h"
#include "pool.h"
#include "subtext.h"

struct st_event {
    int64_t nanos = -1;  // -1: not recorded
    const st_device* device = nullptr;
};

struct st_device {
    std::unique_ptr<subtext::Pool> pool;
    const subtext::Kernels* kernels = nullptr;
    const subtext::AmxKernels* amx = nullptr;  // products of f32 and bf16 by the matrix unit, if that was asked for
    std::string error;

    std::unordered_map<void*, int64_t> blocks;      // st_alloc: bytes
    std::unordered_map<void*, int64_t> hostBlocks;  // st_host_alloc: bytes
    std::unordered_map<st_event*, std::unique_ptr<st_event>> events;
    int64_t allocations = 0, allocatedBytes = 0;

    // scratch that ops keep between calls; it grows in the first steps and then stays
    char* threadScratch = nullptr;
    int64_t threadScratchBytes = 0;  // per thread
    char* commonScratch = nullptr;
    int64_t commonScratchBytes = 0;
    std::vector<int64_t> firstTask;  // of each sequence
    int64_t serial = 0;

    ~st_device();

    /// Notes why and returns `status`.
    st_status fail(st_status status, const char* format, ...) __attribute__((format(printf, 3, 4)));

    /// Per-thread scratch of at least `bytes`, 64-byte aligned, for thread numbers 0 .. threads-1; NULL if there is no memory.
    char* scratch(int64_t bytes);
    /// Scratch of at least `bytes` that threads share, page aligned; NULL if there is no memory.
    char* sharedScratch(int64_t bytes);

    /// Runs f(from, to, thread) over 0 .. n-1 in pieces of `grain`; on the calling thread alone if the work is too small to share.
    template <class F>
    void parallel(int64_t n, int64_t grain, bool worthwhile, F f) {
        if (!worthwhile || n <= grain) {
            if (n > 0) f(int64_t{0}, n, 0);
            return;
        }
        pool->run(n, grain, [](void* context, int64_t from, int64_t to, int32_t thread) { (*static_cast<F*>(context))(from, to, thread); }, &f);
    }
};

namespace subtext {

/// The best table this processor runs, capped by SUBTEXT_ISA; NULL with a reason if the variable names none.
const Kernels* chooseKernels(std::string* reason);

/// 0, 1, 2 for f32, bf16, f64; -1 for others.
inline int kindOf(st_dtype dtype) { return dtype == ST_F32 ? 0 : dtype == ST_BF16 ? 1 : dtype == ST_F64 ? 2 : -1; }
inline int64_t realBytes(st_dtype dtype) { return dtype == ST_F64 ? 8 : 4; }

/// The ids, ascending, that top_k and top_p keep of a row of `vocabulary` logits (f32, or f64 if `wide`); returns how many, 0 if the row
/// has no law. kept: room for `vocabulary` ids; p: room for as many doubles; gathered: as many reals. law is Kernels::law of the dtype.
int64_t keepMostLikely(int32_t* kept, double* p, void* gathered, const void* row, bool wide, int64_t vocabulary, double temperature,
                       int64_t topK, double topP, bool (*law)(double*, const void*, int64_t, double));

}  // namespace subtext

#endif
