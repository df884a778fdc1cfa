// The execution model of CUDA on the host: what a kernel can say about its threads, and how they meet.
//
// Every thread of a block is a fiber with a stack of its own. A thread runs until it has to wait (a barrier or a warp collective);
// the next thread of the chosen order then runs, on the same OS thread. Blocks are spread over OS threads. A collective is carried
// out once, by the last lane that arrives, on the operands of all of them.
#ifndef SUBTEXT_EMULATED_EXECUTION_H
#define SUBTEXT_EMULATED_EXECUTION_H

#include "emulated_types.h"

namespace emulator {

struct Worker;

/// What device code sees of its own thread.
struct Thread {
    uint3 index;            // threadIdx
    unsigned linear;        // x fastest
    void *stackPointer;     // where it stopped; null before it first runs
    void *stack;
    const char *waitingAt;  // the collective it waits at, for messages; null while it can run
    uint32_t waitingMask;
};

/// What device code sees of its block.
struct Block {
    uint3 index;                  // blockIdx
    dim3 size, grid;              // blockDim, gridDim
    unsigned char *shared;        // dynamic shared memory
    size_t sharedBytes;
};

/// The state of one OS thread. In one struct because the memory of __shared__ variables lies beside it and is poisoned around it.
struct Local {
    Thread *thread;   // the running CUDA thread, null in host code
    Block *block;
    Worker *worker;
    unsigned char *staticShared;  // thread-local memory of this library: the __shared__ variables
    size_t staticSharedBytes;
};
extern __thread Local local __attribute__((visibility("hidden")));

/// Why a kernel was stopped; the values are cudaError's.
enum Failure { illegalAddress = 700, launchTimeout = 702, misalignedAddress = 716, launchFailure = 719 };

/// Ends the launch with an error that names the kernel, the block and the thread. Only from device code.
[[noreturn]] void fail(Failure failure, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// A collective's work, done once on the operands of the lanes in `mask`. Its address also tells collectives apart.
using Perform = void (*)(void *const operands[32], uint32_t mask);

/// Waits until the lanes of `mask` have all called with the same mask and `perform`, and returns when it has been performed.
void meet(uint32_t mask, Perform perform, void *operand, const char *name);

/// Waits for the whole block; the result is the number of threads with a true predicate.
int barrier(int predicate, const char *name);

/// Fails unless [p, p + bytes) is aligned and lies inside one live piece of device, pinned or shared memory.
void check(const void *p, size_t bytes, size_t alignment, bool write);

/// A word of four or eight bytes; atomicSwap stores `next` if it finds `expected`, and returns what it found.
uint64_t atomicLoad(const void *p, size_t bytes);
uint64_t atomicSwap(void *p, size_t bytes, uint64_t expected, uint64_t next);

void copyAsync(void *shared, const void *global, bool valid);
void copyAsyncCommit();
void copyAsyncWait(int groupsLeft);

/// *p after the checks of `check`: for accesses wider than an element.
template <typename T>
inline const T &checkedRead(const void *p) {
    check(p, sizeof(T), alignof(T), false);
    return *static_cast<const T *>(p);
}
template <typename T>
inline T &checkedWrite(void *p) {
    check(p, sizeof(T), alignof(T), true);
    return *static_cast<T *>(p);
}

inline unsigned laneOf(const Thread &thread) { return thread.linear % 32; }

// The collectives. A value of up to eight bytes travels as a 64-bit word.
struct Shuffle {
    uint64_t value, result;
    unsigned source;
};
void performShuffle(void *const operands[32], uint32_t mask);
struct Vote {
    uint32_t predicate, result;
};
void performBallot(void *const operands[32], uint32_t mask);
void performSyncwarp(void *const operands[32], uint32_t mask);
struct Match {
    uint64_t value;
    uint32_t result;
};
void performMatch(void *const operands[32], uint32_t mask);

template <typename T>
inline T shuffle(uint32_t mask, T value, unsigned source, const char *name) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "32 or 64 bits");
    Shuffle operand{0, 0, source};
    memcpy(&operand.value, &value, sizeof value);
    meet(mask, performShuffle, &operand, name);
    memcpy(&value, &operand.result, sizeof value);
    return value;
}

/// A reduction of 32-bit integers over the lanes of a mask.
template <typename T>
struct Reduction {
    T value, result;
};
template <typename T, T (*combine)(T, T)>
void performReduction(void *const operands[32], uint32_t mask) {
    bool first = true;
    T total = 0;
    for (int lane = 0; lane < 32; lane++) {
        if (!(mask >> lane & 1u)) continue;
        const T value = static_cast<Reduction<T> *>(operands[lane])->value;
        total = first ? value : combine(total, value);
        first = false;
    }
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1u) static_cast<Reduction<T> *>(operands[lane])->result = total;
}
template <typename T, T (*combine)(T, T)>
inline T reduce(uint32_t mask, T value, const char *name) {
    Reduction<T> operand{value, 0};
    meet(mask, performReduction<T, combine>, &operand, name);
    return operand.result;
}
template <typename T>
inline T sum(T a, T b) { return a + b; }
template <typename T>
inline T smaller(T a, T b) { return b < a ? b : a; }
template <typename T>
inline T larger(T a, T b) { return a < b ? b : a; }
inline unsigned bitAnd(unsigned a, unsigned b) { return a & b; }
inline unsigned bitOr(unsigned a, unsigned b) { return a | b; }
inline unsigned bitXor(unsigned a, unsigned b) { return a ^ b; }

}  // namespace emulator

#define threadIdx (::emulator::local.thread->index)
#define blockIdx (::emulator::local.block->index)
#define blockDim (::emulator::local.block->size)
#define gridDim (::emulator::local.block->grid)
constexpr int warpSize = 32;

/// A kernel's dynamic shared memory as an array of `type` called `name`.
#define ST_DYNAMIC_SHARED(type, name) type *name = reinterpret_cast<type *>(::emulator::local.block->shared)

// ---- barriers and collectives ----------------------------------------------------------------------------------------

inline void __syncthreads() { emulator::barrier(0, "__syncthreads"); }
inline int __syncthreads_count(int predicate) { return emulator::barrier(predicate, "__syncthreads_count"); }
inline int __syncthreads_or(int predicate) { return emulator::barrier(predicate, "__syncthreads_or") != 0; }
inline int __syncthreads_and(int predicate) { return emulator::barrier(!predicate, "__syncthreads_and") == 0; }

inline void __syncwarp(uint32_t mask = 0xffffffffu) {
    emulator::meet(mask, emulator::performSyncwarp, nullptr, "__syncwarp");
}

template <typename T>
inline T __shfl_sync(uint32_t mask, T value, int source, int width = 32) {
    const unsigned lane = emulator::laneOf(*emulator::local.thread), inside = static_cast<unsigned>(width) - 1;
    return emulator::shuffle(mask, value, (lane & ~inside) | (static_cast<unsigned>(source) & inside), "__shfl_sync");
}
template <typename T>
inline T __shfl_xor_sync(uint32_t mask, T value, int flip, int width = 32) {
    const unsigned lane = emulator::laneOf(*emulator::local.thread), last = lane | (static_cast<unsigned>(width) - 1);
    const unsigned source = lane ^ static_cast<unsigned>(flip);
    return emulator::shuffle(mask, value, source <= last ? source : lane, "__shfl_xor_sync");  // a lower segment may be read
}
template <typename T>
inline T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32) {
    const unsigned lane = emulator::laneOf(*emulator::local.thread), inside = static_cast<unsigned>(width) - 1;
    return emulator::shuffle(mask, value, (lane & inside) >= delta ? lane - delta : lane, "__shfl_up_sync");
}
template <typename T>
inline T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32) {
    const unsigned lane = emulator::laneOf(*emulator::local.thread), inside = static_cast<unsigned>(width) - 1;
    return emulator::shuffle(mask, value, (lane & inside) + delta <= inside ? lane + delta : lane, "__shfl_down_sync");
}

inline uint32_t __ballot_sync(uint32_t mask, int predicate) {
    emulator::Vote vote{predicate != 0, 0};
    emulator::meet(mask, emulator::performBallot, &vote, "__ballot_sync");
    return vote.result;
}
inline int __any_sync(uint32_t mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(uint32_t mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
template <typename T>
inline uint32_t __match_any_sync(uint32_t mask, T value) {
    emulator::Match match{0, 0};
    memcpy(&match.value, &value, sizeof value);
    emulator::meet(mask, emulator::performMatch, &match, "__match_any_sync");
    return match.result;
}

inline unsigned __reduce_add_sync(uint32_t mask, unsigned value) {
    return emulator::reduce<unsigned, emulator::sum<unsigned>>(mask, value, "__reduce_add_sync");
}
inline int __reduce_add_sync(uint32_t mask, int value) {
    return static_cast<int>(__reduce_add_sync(mask, static_cast<unsigned>(value)));
}
inline unsigned __reduce_min_sync(uint32_t mask, unsigned value) {
    return emulator::reduce<unsigned, emulator::smaller<unsigned>>(mask, value, "__reduce_min_sync");
}
inline int __reduce_min_sync(uint32_t mask, int value) {
    return emulator::reduce<int, emulator::smaller<int>>(mask, value, "__reduce_min_sync");
}
inline unsigned __reduce_max_sync(uint32_t mask, unsigned value) {
    return emulator::reduce<unsigned, emulator::larger<unsigned>>(mask, value, "__reduce_max_sync");
}
inline int __reduce_max_sync(uint32_t mask, int value) {
    return emulator::reduce<int, emulator::larger<int>>(mask, value, "__reduce_max_sync");
}
inline unsigned __reduce_and_sync(uint32_t mask, unsigned value) {
    return emulator::reduce<unsigned, emulator::bitAnd>(mask, value, "__reduce_and_sync");
}
inline unsigned __reduce_or_sync(uint32_t mask, unsigned value) {
    return emulator::reduce<unsigned, emulator::bitOr>(mask, value, "__reduce_or_sync");
}
inline unsigned __reduce_xor_sync(uint32_t mask, unsigned value) {
    return emulator::reduce<unsigned, emulator::bitXor>(mask, value, "__reduce_xor_sync");
}

[[noreturn]] inline void __trap() { emulator::fail(emulator::launchFailure, "__trap"); }

// ---- memory ----------------------------------------------------------------------------------------------------------

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() {}
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

template <typename T>
inline T __ldg(const T *p) { return emulator::checkedRead<T>(p); }
template <typename T>
inline T __ldcs(const T *p) { return emulator::checkedRead<T>(p); }
template <typename T>
inline T __ldcg(const T *p) { return emulator::checkedRead<T>(p); }
template <typename T>
inline T __ldca(const T *p) { return emulator::checkedRead<T>(p); }
template <typename T>
inline void __stcs(T *p, T value) { emulator::checkedWrite<T>(p) = value; }
template <typename T>
inline void __stcg(T *p, T value) { emulator::checkedWrite<T>(p) = value; }

/// old = *p; *p = combine(old), atomically; returns old.
template <typename T, typename F>
inline T emulatedAtomic(T *p, F combine) {
    using U = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
    static_assert(sizeof(T) == sizeof(U), "32 or 64 bits");
    U old = static_cast<U>(emulator::atomicLoad(p, sizeof(U)));
    for (;;) {
        const U next = emulator::bits<U>(static_cast<T>(combine(emulator::bits<T>(old))));
        const U seen = static_cast<U>(emulator::atomicSwap(p, sizeof(U), old, next));
        if (seen == old) return emulator::bits<T>(old);
        old = seen;
    }
}
template <typename T, typename V>
inline T atomicAdd(T *p, V v) { return emulatedAtomic(p, [v](T old) { return old + static_cast<T>(v); }); }
template <typename T, typename V>
inline T atomicSub(T *p, V v) { return emulatedAtomic(p, [v](T old) { return old - static_cast<T>(v); }); }
template <typename T, typename V>
inline T atomicExch(T *p, V v) { return emulatedAtomic(p, [v](T) { return static_cast<T>(v); }); }
template <typename T, typename V>
inline T atomicMax(T *p, V v) { return emulatedAtomic(p, [v](T old) { return old < static_cast<T>(v) ? static_cast<T>(v) : old; }); }
template <typename T, typename V>
inline T atomicMin(T *p, V v) { return emulatedAtomic(p, [v](T old) { return static_cast<T>(v) < old ? static_cast<T>(v) : old; }); }
template <typename T, typename V>
inline T atomicAnd(T *p, V v) { return emulatedAtomic(p, [v](T old) { return old & static_cast<T>(v); }); }
template <typename T, typename V>
inline T atomicOr(T *p, V v) { return emulatedAtomic(p, [v](T old) { return old | static_cast<T>(v); }); }
template <typename T, typename V, typename W>
inline T atomicCAS(T *p, V expected, W v) {
    return emulatedAtomic(p, [=](T old) { return old == static_cast<T>(expected) ? static_cast<T>(v) : old; });
}

// ---- tensor cores and asynchronous copies (fragment layouts: PTX ISA, "Matrix fragments for mma.m16n8k16") ------------

namespace emulator {

struct Mma {
    float *d;
    const uint32_t *a, *b;
};
void performMma(void *const operands[32], uint32_t mask);

struct LoadMatrix {
    uint32_t *r;
    const void *row;
};
template <int matrices, bool transposed>
void performLoadMatrix(void *const operands[32], uint32_t mask);

template <int matrices, bool transposed>
inline void loadMatrix(uint32_t *r, const void *row) {
    LoadMatrix operand{r, row};
    meet(0xffffffffu, performLoadMatrix<matrices, transposed>, &operand, transposed ? "ldmatrix.trans" : "ldmatrix");
}

}  // namespace emulator

namespace st {
namespace tc {

/// d += a b. Every element is one chain: d, then the sixteen products in ascending k, each added in f32 with one rounding.
/// (The hardware sums groups of products before it rounds; results therefore agree to a few units in the last place only.)
inline void mma_m16n8k16_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    emulator::Mma operand{d, a, b};
    emulator::meet(0xffffffffu, emulator::performMma, &operand, "mma.m16n8k16");
}
inline void ldmatrix_x4(uint32_t r[4], const void *smem) { emulator::loadMatrix<4, false>(r, smem); }
inline void ldmatrix_x4_trans(uint32_t r[4], const void *smem) { emulator::loadMatrix<4, true>(r, smem); }
inline void ldmatrix_x2(uint32_t r[2], const void *smem) { emulator::loadMatrix<2, false>(r, smem); }
inline void ldmatrix_x2_trans(uint32_t r[2], const void *smem) { emulator::loadMatrix<2, true>(r, smem); }

/// The copy happens as late as the waits allow; until then the destination holds poison, so a missing wait shows.
inline void cp_async_16(void *smem, const void *gmem, bool valid) { emulator::copyAsync(smem, gmem, valid); }
inline void cp_async_commit() { emulator::copyAsyncCommit(); }
template <int N>
inline void cp_async_wait() {
    emulator::copyAsyncWait(N);
}

}  // namespace tc
}  // namespace st

#endif
