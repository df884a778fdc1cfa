// How a product is cut for the kernels of amx.h, and shared out to threads.
//
// b is packed once for all rows, a slice at a time that fits kSliceBytes: all of N if a slice of k as deep as this is worth it,
// else all of K. Then blocks of rows are tasks.
#include <unistd.h>

#include "amx.h"
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#endif

#include <cstdlib>

#include "device.h"

namespace subtext {

namespace {

constexpr int64_t kColumns = 32, kDepth = 32;  // of a panel of b and a step
constexpr int64_t kSliceBytes = 6 << 20;       // of packed b
constexpr int64_t kMostRows = 256;             // of a task: a packed stays in the second-level cache
constexpr int64_t kShare = 1 << 20;            // multiply-adds from which a second thread helps

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t whole(int64_t n, int64_t of) { return ceilDiv(n, of) * of; }

bool fewProduct(st_device* device, int kind, const MatmulPlan& plan) {
    const AmxKernels* amx = device->amx;
    const int64_t tiles = ceilDiv(plan.M, 16);
    const int64_t packedBytes = whole(tiles * ceilDiv(plan.K, kDepth) * amx->parts[kind] * 1024, 4096);
    char* scratch = device->scratch(64 + packedBytes + amx->fewScratchBytes(kind, plan.K));
    if (!scratch) return false;
    scratch += 64;
    char* packed = scratch;  // in the first thread's part, ahead of its own
    const int64_t each = device->threadScratchBytes;
    const auto own = [&](int32_t thread) { return scratch + thread * each + packedBytes; };
    device->parallel(tiles, 1, plan.M * plan.K >= 65536, [&](int64_t from, int64_t to, int32_t thread) {
        amx->fewPack[kind](&plan, packed, from, to, own(thread));
    });
    const int64_t tasks = ceilDiv(plan.N, amx->fewColumns);
    device->parallel(
        tasks, most(1, tasks / (8 * device->pool->threads())), plan.N * plan.K >= 65536,
        [&](int64_t from, int64_t to, int32_t thread) { amx->few[kind](&plan, packed, from, to, own(thread)); });
    return true;
}

}  // namespace

bool amxMatmul(st_device* device, int kind, const MatmulPlan& plan) {
    const AmxKernels* amx = device->amx;
    if (plan.layout == 0 && plan.M <= amx->fewRows[kind]) return fewProduct(device, kind, plan);
    const int32_t threads = device->pool->threads();
    const int64_t M = plan.M, N = plan.N, K = plan.K, each = amx->parts[kind] * 2;  // bytes of an element of b
    AmxSlice slice = {};
    slice.plan = &plan;
    int64_t columns = whole(N, kColumns), depth = whole(most(K, 1), kDepth);
    if (columns * depth * each > kSliceBytes) {
        const int64_t fit = kSliceBytes / (depth * each) / kColumns * kColumns;
        if (fit >= 768) {
            columns = whole(ceilDiv(N, ceilDiv(N, fit)), kColumns);
        } else {
            columns = whole(ceilDiv(N, ceilDiv(N, 4096)), kColumns);
            const int64_t deepest = most(kDepth, kSliceBytes / (columns * each) / kDepth * kDepth);
            depth = whole(ceilDiv(K, ceilDiv(K, deepest)), kDepth);
        }
    }
    int64_t blocks = ceilDiv(M, kMostRows);
    if (blocks < 16 * threads) blocks = whole(blocks, threads);
    slice.rows = whole(ceilDiv(M, blocks), 32);
    blocks = ceilDiv(M, slice.rows);

    // a c of bf16, or one that is its own residual, cannot hold running values
    const bool wide = kind == 0 || plan.wide || plan.layout == 2;
    const bool rests = !wide || plan.residual == plan.c;
    const int64_t packedBytes = whole(columns * depth * each, 4096), restBytes = rests ? whole(M * N * 4, 4096) : 0;
    const int64_t ownBytes = amx->blockScratchBytes(kind, slice.rows);
    char* shared = device->sharedScratch(packedBytes + restBytes);
    char* scratch = device->scratch(64 + ownBytes);
    if (!shared || !scratch) return false;
    scratch += 64;
    const int64_t stride = device->threadScratchBytes;
    slice.b = reinterpret_cast<uint16_t*>(shared);
    slice.rest = rests ? reinterpret_cast<float*>(shared + packedBytes) : nullptr;
    for (slice.n0 = 0; slice.n0 < N; slice.n0 += columns) {
        slice.columns = least(columns, N - slice.n0);
        for (slice.k0 = 0; slice.k0 < K || slice.k0 == 0; slice.k0 += depth) {
            slice.depth = least(depth, K - slice.k0);
            const bool share = M * slice.columns / 16 * slice.depth >= kShare / 16;
            // along the rows of b: panels of columns, or steps of k
            device->parallel(plan.layout == 0 ? ceilDiv(slice.columns, kColumns) : ceilDiv(slice.depth, kDepth), 1,
                             share, [&](int64_t from, int64_t to, int32_t thread) {
                                 amx->packB[kind](&slice, from, to, scratch + thread * stride);
                             });
            device->parallel(blocks, 1, share, [&](int64_t from, int64_t to, int32_t thread) {
                amx->block[kind](&slice, from, to, scratch + thread * stride);
            });
        }
    }
    return true;
}

const AmxKernels* chooseAmx(std::string* reason) {
#ifdef ST_AMX_COMPILED
    const char* wanted = std::getenv("SUBTEXT_AMX");
    if (wanted && std::string(wanted) == "emulated") {
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return amx_emulated::kernels();
        *reason = "SUBTEXT_AMX=emulated: this processor has no AVX2";
        return nullptr;
    }
    if (wanted && *wanted) {
        *reason = std::string("SUBTEXT_AMX=") + wanted + ": expected emulated, or leave it unset";
        return nullptr;
    }
    unsigned a, b, c, d;
    const bool unit = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1);  // AMX-BF16, AMX-TILE
    const bool vectors =
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (!unit || !vectors) {
        *reason = "this processor has no matrix unit for bf16 (AMX)";
        return nullptr;
    }
    constexpr int kRequest = 0x1023, kTileData = 18;  // arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), Linux 5.16
    if (syscall(SYS_arch_prctl, kRequest, kTileData) != 0) {
        *reason = "the system does not let programs use the processor's matrix unit (AMX needs Linux 5.16)";
        return nullptr;
    }
    return amx::kernels();
#else
    *reason = "this build has no kernels for a matrix unit (AMX, x86-64 only)";
    return nullptr;
#endif
}

}  // namespace subtext
