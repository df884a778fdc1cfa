// The table of kernels: one per instruction set, filled by the files that are compiled for it. Plain functions and plain structs only:
// this header is shared by code compiled for different instruction sets, so nothing in it may generate code.
//
// Kernels work on a range of their outermost index, so that api.cc can hand ranges to threads; no range changes a result. Arrays
// of three are by storage type: f32, bf16, f64.
#ifndef SUBTEXT_CPU_KERNELS_H
#define SUBTEXT_CPU_KERNELS_H

#include <stdint.h>

namespace subtext {

struct MatmulPlan {
    void* c;
    const void* a;
    const void* b;
    const void* residual;
    int64_t M, N, K;
    int32_t layout;           // 0 nt, 1 nn, 2 tn
    bool wide;                // c is real although the storage is not
    int64_t rows, columns;    // of a task's block of c
    int64_t tasks;            // numbered so that neighbours share their columns
    int64_t scratchBytes;     // per thread
    int64_t serial;           // number of the call, so that a thread knows which packed block it still holds
    int64_t sharedBytes;      // of few rows: a, widened, for all threads
};

/// Which keys a call of attention sees: the rows of qkv itself, or a cache with an optional borrowed prefix.
struct AttentionPlan {
    void* y;
    void* lse;
    const void* qkv;
    const void* k;  // cache, or NULL for the rows of qkv
    const void* v;
    const int32_t* cuSeqlens;
    const int32_t* slot;
    const int32_t* prefixSlot;
    const int32_t* prefixLength;
    const int32_t* start;
    int64_t S, H, Hkv, D, capacity, window;
    double scale;
    // backward
    void* dqkv;
    const void* dy;
    void* dq;     // (N, H*D) real, scratch
    void* delta;  // (N, H) real, scratch
};

struct Kernels {
    const char* name;
    int32_t vectorRows;  // rows of the register tile, for cost estimates

    void (*add[3])(void* y, const void* a, const void* b, int64_t from, int64_t to);
    void (*cast[3][3])(void* y, const void* x, int64_t from, int64_t to);  // [y][x]
    void (*swigluForward[3])(void* y, const void* gateUp, int64_t from, int64_t to, int64_t F);
    void (*swigluBackward[3])(void* dGateUp, const void* dy, const void* gateUp, int64_t from, int64_t to, int64_t F);
    void (*rope[3])(void* x, const int32_t* position, const void* table, int64_t from, int64_t to, int64_t heads, int64_t D,
                    int64_t stride, int64_t context, int32_t direction);

    void (*embeddingForward[3])(void* y, const void* w, const int32_t* token, int64_t from, int64_t to, int64_t C, int64_t V);
    void (*embeddingBackward[3])(void* dw, const void* dy, const int32_t* token, const int32_t* order, int64_t from, int64_t to,
                                 int64_t N, int64_t C, int64_t V);

    void (*rmsnormForward[3])(void* y, void* rstd, const void* x, const void* w, int64_t from, int64_t to, int64_t C, double eps);
    void (*rmsnormBackward[3])(void* dx, void* partial, const void* dy, const void* x, const void* w, const void* rstd,
                               int64_t from, int64_t to, int64_t C);
    void (*rmsnormReduce[3])(void* dw, const void* partial, int64_t blocks, int64_t from, int64_t to, int64_t C);

    void (*matmulPlan[3])(MatmulPlan* plan, int32_t threads);
    void (*matmul[3])(const MatmulPlan* plan, int64_t from, int64_t to, void* scratch);
    /// nt of at most fewRows rows, of f32 and bf16: `shared` is filled by fewWiden before the first task.
    int64_t fewRows[2];
    void (*fewPlan[2])(MatmulPlan* plan);
    void (*fewWiden[2])(const MatmulPlan* plan, void* shared);
    void (*few[2])(const MatmulPlan* plan, int64_t from, int64_t to, const void* shared, void* scratch);

    int64_t (*attentionScratchBytes[3])(int64_t H, int64_t Hkv, int64_t D);  // per thread, forward and backward
    /// Query rows first .. first + rows - 1 of sequence s, all heads that share key head `kv`.
    void (*attentionForward[3])(const AttentionPlan* plan, int64_t s, int64_t kv, int64_t first, int64_t rows, void* scratch);
    void (*attentionBackward[3])(const AttentionPlan* plan, int64_t s, int64_t kv, void* scratch);
    void (*cacheStore[3])(void* k, void* v, const void* qkv, const int32_t* slot, const int32_t* position, const int32_t* offset,
                          int64_t from, int64_t to, int64_t H, int64_t Hkv, int64_t D, int64_t slots, int64_t capacity);

    void (*logProb[3])(void* logProb, const void* logits, const int32_t* token, int64_t from, int64_t to, int64_t V,
                       int64_t stride);
    void (*crossEntropy[3])(void* loss, void* dlogits, const void* logits, const int32_t* target, const void* weight, int64_t from,
                            int64_t to, int64_t V, int64_t stride);
    void (*sample[3])(int32_t* token, void* logProb, const void* logits, const uint64_t* key, const int32_t* position, int64_t from,
                      int64_t to, int64_t V, int64_t stride, double temperature);
    /// One draw among `count` tokens kept[0..count-1], ascending, whose logits are row[0..count-1].
    void (*sampleKept[3])(int32_t* token, void* logProb, const void* row, const int32_t* kept, int64_t count, uint64_t key,
                          int32_t position, double temperature);
    /// p = softmax(row / temperature), n entries; false if there is no such law (not-a-number or infinity in the row).
    bool (*law[3])(double* p, const void* row, int64_t n, double temperature);

    void (*adamw[3])(void* weight, void* master, void* m, void* v, const void* grad, int64_t from, int64_t to, double gradScale,
                     double lr, double beta1, double beta2, double eps, double decay, double correction1, double correction2);
    double (*sumSquares[3])(const void* x, int64_t from, int64_t to);
};

namespace portable {
const Kernels* kernels();
}
namespace avx2 {
const Kernels* kernels();
}
namespace avx512 {
const Kernels* kernels();
}

}  // namespace subtext

#endif
