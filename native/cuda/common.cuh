// What the CUDA ops share: launches, 16-byte accesses, bf16, reductions in a fixed order, and the tensor-core and async-copy
// instructions as small functions, so that the emulator can give each of them a body of its own.
//
// The whole library is compiled with -fmad=false: the compiler then never fuses a * b + c on its own, and an expression has the
// same bits in whichever kernel it is inlined. Write fmaf() where fusing is wanted.
#ifndef SUBTEXT_CUDA_COMMON_CUH
#define SUBTEXT_CUDA_COMMON_CUH

#include "device.h"

#include <string.h>

#if !defined(ST_CUDA_EMULATED)

/// Launches a kernel: ST_LAUNCH((kernel<T>), grid, block, sharedBytes, stream, args...). More than 48 KB of dynamic shared memory is asked
/// for here; errors are picked up by st::launched.
#define ST_LAUNCH(kernel, grid, block, sharedBytes, stream, ...)                                                          \
    do {                                                                                                                  \
        if ((sharedBytes) > 48 * 1024)                                                                                    \
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(sharedBytes));     \
        kernel<<<(grid), (block), (sharedBytes), (stream)>>>(__VA_ARGS__);                                                \
    } while (0)

/// A kernel's dynamic shared memory as an array of `type` called `name`.
#define ST_DYNAMIC_SHARED(type, name)                                    \
    extern __shared__ __align__(1024) unsigned char st_dynamic_shared[]; \
    type *name = reinterpret_cast<type *>(st_dynamic_shared)

#endif  // the emulator defines both

namespace st {

using bf16 = __nv_bfloat16;

template <typename I, typename J>
__host__ __device__ constexpr I ceilDiv(I a, J b) {
    return static_cast<I>((a + static_cast<I>(b) - 1) / static_cast<I>(b));
}

template <typename I, typename J>
__host__ __device__ constexpr I roundUp(I a, J b) {
    return ceilDiv(a, b) * static_cast<I>(b);
}

// ---- conversions -----------------------------------------------------------------------------------------------------

__device__ __forceinline__ float toFloat(float x) { return x; }
__device__ __forceinline__ float toFloat(bf16 x) { return __bfloat162float(x); }

template <typename T>
__device__ __forceinline__ T fromFloat(float x);
template <>
__device__ __forceinline__ float fromFloat<float>(float x) {
    return x;
}
template <>
__device__ __forceinline__ bf16 fromFloat<bf16>(float x) {
    return __float2bfloat16_rn(x);  // nearest even
}

/// Two floats as a bf16 pair, `low` in the low half: the order of memory and of mma operands.
__device__ __forceinline__ uint32_t packBf16(float low, float high) {
#if defined(ST_CUDA_EMULATED)
    return static_cast<uint32_t>(__bfloat16_as_ushort(__float2bfloat16_rn(low))) |
           static_cast<uint32_t>(__bfloat16_as_ushort(__float2bfloat16_rn(high))) << 16;
#else
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#endif
}

__device__ __forceinline__ float lowBf16(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float highBf16(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

// ---- 16-byte accesses ------------------------------------------------------------------------------------------------

/// Sixteen bytes of memory in registers: four floats or eight bf16.
struct alignas(16) Words {
    uint32_t w[4];
};

template <typename T>
constexpr int perWords = static_cast<int>(16 / sizeof(T));

__host__ __device__ __forceinline__ bool aligned16(const void *p) { return (reinterpret_cast<uintptr_t>(p) & 15) == 0; }

__device__ __forceinline__ Words loadWords(const void *p) {
#if defined(ST_CUDA_EMULATED)
    return emulator::checkedRead<Words>(p);
#else
    const uint4 v = *static_cast<const uint4 *>(p);
    return {{v.x, v.y, v.z, v.w}};
#endif
}

/// For data read once by the whole grid: does not displace what the caches hold for others.
__device__ __forceinline__ Words loadWordsOnce(const void *p) {
#if defined(ST_CUDA_EMULATED)
    return emulator::checkedRead<Words>(p);
#else
    const uint4 v = __ldcs(static_cast<const uint4 *>(p));
    return {{v.x, v.y, v.z, v.w}};
#endif
}

__device__ __forceinline__ void storeWords(void *p, Words v) {
#if defined(ST_CUDA_EMULATED)
    emulator::checkedWrite<Words>(p) = v;
#else
    *static_cast<uint4 *>(p) = make_uint4(v.w[0], v.w[1], v.w[2], v.w[3]);
#endif
}

__device__ __forceinline__ void unpack(const Words &v, float (&x)[4]) {
    for (int i = 0; i < 4; i++) x[i] = __uint_as_float(v.w[i]);
}
__device__ __forceinline__ void unpack(const Words &v, float (&x)[8]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        x[2 * i] = lowBf16(v.w[i]);
        x[2 * i + 1] = highBf16(v.w[i]);
    }
}
__device__ __forceinline__ Words pack(const float (&x)[4]) {
    return {{__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]), __float_as_uint(x[3])}};
}
__device__ __forceinline__ Words pack(const float (&x)[8]) {
    return {{packBf16(x[0], x[1]), packBf16(x[2], x[3]), packBf16(x[4], x[5]), packBf16(x[6], x[7])}};
}

/// Elements [0, count) of a stretch of up to 16 bytes as floats, zeros beyond; `wide` promises that p is 16-byte aligned.
template <typename T>
__device__ __forceinline__ void loadSome(const T *p, int64_t count, bool wide, float (&x)[perWords<T>]) {
    if (wide && count >= perWords<T>) {
        unpack(loadWords(p), x);
    } else {
#pragma unroll
        for (int i = 0; i < perWords<T>; i++) x[i] = i < count ? toFloat(p[i]) : 0.0f;
    }
}

template <typename T>
__device__ __forceinline__ void storeSome(T *p, int64_t count, bool wide, const float (&x)[perWords<T>]) {
    if (wide && count >= perWords<T>) {
        storeWords(p, pack(x));
    } else {
#pragma unroll
        for (int i = 0; i < perWords<T>; i++)
            if (i < count) p[i] = fromFloat<T>(x[i]);
    }
}

/// Threads of the element-wise kernels, and the blocks they need for `items` items of one thread each.
constexpr int flatThreads = 256;
inline unsigned flatBlocks(int64_t items) { return static_cast<unsigned>(ceilDiv(items, flatThreads)); }

__device__ __forceinline__ int64_t flatIndex() { return static_cast<int64_t>(blockIdx.x) * flatThreads + threadIdx.x; }

// ---- reductions in a fixed order -------------------------------------------------------------------------------------

constexpr uint32_t fullWarp = 0xffffffffu;

/// Sum over the `width` lanes of an aligned group (a power of two up to 32), in every lane. Butterfly: the order is fixed, and as
/// a + b == b + a every lane holds the same bits.
template <int width = 32>
__device__ __forceinline__ float warpSum(float x) {
#pragma unroll
    for (int offset = width / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(fullWarp, x, offset);
    return x;
}

template <int width = 32>
__device__ __forceinline__ double warpSum(double x) {
#pragma unroll
    for (int offset = width / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(fullWarp, x, offset);
    return x;
}

template <int width = 32>
__device__ __forceinline__ float warpMax(float x) {
#pragma unroll
    for (int offset = width / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(fullWarp, x, offset));
    return x;
}

/// Sum over a block of `threads` threads (a multiple of 32), in every thread; the warps' sums are added in warp order. `partial` is
/// shared memory of threads/32 elements; it may be used again after the next barrier.
template <int threads, typename F>
__device__ __forceinline__ F blockSum(F x, F *partial) {
    constexpr int warps = threads / 32;
    static_assert(threads % 32 == 0 && warps <= 32, "whole warps");
    x = warpSum(x);
    if (warps == 1) return x;
    __syncthreads();  // the previous use of `partial` is over
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
    __syncthreads();
    x = partial[0];
#pragma unroll
    for (int w = 1; w < warps; w++) x += partial[w];
    return x;
}

template <int threads>
__device__ __forceinline__ float blockMax(float x, float *partial) {
    constexpr int warps = threads / 32;
    static_assert(threads % 32 == 0 && warps <= 32, "whole warps");
    x = warpMax(x);
    if (warps == 1) return x;
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
    __syncthreads();
    x = partial[0];
#pragma unroll
    for (int w = 1; w < warps; w++) x = fmaxf(x, partial[w]);
    return x;
}

// ---- tensor cores and asynchronous copies (sm_80 up) -----------------------------------------------------------------
// Under ST_CUDA_EMULATED cuda_emulator.h defines these with the same signatures.

#if !defined(ST_CUDA_EMULATED)
namespace tc {

__device__ __forceinline__ uint32_t sharedAddress(const void *p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

/// d += a b: one warp's 16 x 8 tile over 16 k. a: rows g, g+8 (g = lane/4) by k pairs 2t, 2t+8 (t = lane%4), in the order (g, 2t), (g+8, 2t),
/// (g, 2t+8), (g+8, 2t+8); b: k pairs 2t, 2t+8 of column g; d: (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1).
__device__ __forceinline__ void mma_m16n8k16_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8 x 8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void ldmatrix_x4(uint32_t r[4], const void *smem) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(sharedAddress(smem))
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t r[4], const void *smem) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(sharedAddress(smem))
                 : "memory");
}
/// Two matrices; lanes 0 to 15 give the addresses.
__device__ __forceinline__ void ldmatrix_x2(uint32_t r[2], const void *smem) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(sharedAddress(smem))
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t r[2], const void *smem) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(sharedAddress(smem))
                 : "memory");
}

/// Copies 16 bytes to shared memory asynchronously, or sixteen zeros when not `valid` (`gmem` is then not read).
__device__ __forceinline__ void cp_async_16(void *smem, const void *gmem, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(sharedAddress(smem)), "l"(gmem), "r"(valid ? 16 : 0)
                 : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most N of the groups this thread committed are still under way.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace tc
#endif

}  // namespace st

#endif
