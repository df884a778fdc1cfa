// f32 matrix products on the FMA units. Every element is the chain acc = fmaf(a[m][k], b[k][n], acc) over k = 0, 1, 2, ... from +0, whatever
// the tile, so all tile sizes give the same bits. Tiles of 16 k in shared memory, k-major and double-buffered through registers.
// A 128 x 128 tile does 2 * 128 * 128 flops for 1 KB loaded per k: the FMA units are the limit.
#ifndef SUBTEXT_CUDA_MATMUL_F32_CUH
#define SUBTEXT_CUDA_MATMUL_F32_CUH

#include "matmul.cuh"

namespace st {
namespace f32 {

constexpr int tileK = 16;

/// The part of a tile of `rows` x 16 k that one thread carries from global to shared memory.
template <int rows, int threads, bool alongK>
struct Carrier {
    static constexpr int items = rows * tileK / 4, each = ceilDiv(items, threads), pitch = rows + 4;
    float held[each][4];

    __device__ __forceinline__ void load(const float *x, int64_t row0, int64_t k0, int64_t R, int64_t K, bool wide) {
#pragma unroll
        for (int e = 0; e < each; e++) {
            const int item = threadIdx.x + e * threads;
            if (items % threads != 0 && item >= items) break;
            if (alongK) {
                const int64_t r = row0 + item / (tileK / 4), k = k0 + item % (tileK / 4) * 4;
                loadSome(x + r * K + k, r < R ? K - k : 0, wide, held[e]);
            } else {
                const int64_t k = k0 + item / (rows / 4), r = row0 + item % (rows / 4) * 4;
                loadSome(x + k * R + r, k < K ? R - r : 0, wide, held[e]);
            }
        }
    }

    __device__ __forceinline__ void store(float *tile) const {
#pragma unroll
        for (int e = 0; e < each; e++) {
            const int item = threadIdx.x + e * threads;
            if (items % threads != 0 && item >= items) break;
            if (alongK) {
                const int r = item / (tileK / 4), k = item % (tileK / 4) * 4;
#pragma unroll
                for (int i = 0; i < 4; i++) tile[(k + i) * pitch + r] = held[e][i];
            } else {
                const int k = item / (rows / 4), r = item % (rows / 4) * 4;
                storeWords(tile + k * pitch + r, pack(held[e]));
            }
        }
    }
};

/// Where element i of a thread's `each` rows (or columns) of a tile lies: groups of four, half a tile apart, so that a warp reads shared
/// memory without bank conflicts.
template <int size, int each>
__device__ __forceinline__ int offsetOf(int thread, int i) {
    return each == 8 ? i / 4 * (size / 2) + thread * 4 + i % 4 : thread * each + i;
}

template <int tileM, int tileN, int eachM, int eachN, Layout layout>
__global__ void __launch_bounds__((tileM / eachM) * (tileN / eachN), 2)
    matmul(float *c, const float *a, const float *b, const float *residual, int64_t M, int64_t N, int64_t K, bool wideA, bool wideB) {
    constexpr int threadsN = tileN / eachN, threads = (tileM / eachM) * threadsN;
    constexpr int pitchA = tileM + 4, pitchB = tileN + 4;
    __shared__ __align__(16) float tileA[2][tileK * pitchA];
    __shared__ __align__(16) float tileB[2][tileK * pitchB];
    const int64_t m0 = static_cast<int64_t>(blockIdx.y) * tileM, n0 = static_cast<int64_t>(blockIdx.x) * tileN;
    const int ty = threadIdx.x / threadsN, tx = threadIdx.x % threadsN;

    Carrier<tileM, threads, aAlongK(layout)> carryA;
    Carrier<tileN, threads, bAlongK(layout)> carryB;
    float acc[eachM][eachN] = {};
    carryA.load(a, m0, 0, M, K, wideA);
    carryB.load(b, n0, 0, N, K, wideB);
    carryA.store(tileA[0]);
    carryB.store(tileB[0]);
    __syncthreads();
    int current = 0;
    for (int64_t k0 = 0; k0 < K; k0 += tileK) {
        const bool more = k0 + tileK < K;
        if (more) {
            carryA.load(a, m0, k0 + tileK, M, K, wideA);
            carryB.load(b, n0, k0 + tileK, N, K, wideB);
        }
#pragma unroll
        for (int k = 0; k < tileK; k++) {
            float x[eachM], y[eachN];
#pragma unroll
            for (int i = 0; i < eachM; i++) x[i] = tileA[current][k * pitchA + offsetOf<tileM, eachM>(ty, i)];
#pragma unroll
            for (int j = 0; j < eachN; j++) y[j] = tileB[current][k * pitchB + offsetOf<tileN, eachN>(tx, j)];
#pragma unroll
            for (int i = 0; i < eachM; i++)
#pragma unroll
                for (int j = 0; j < eachN; j++) acc[i][j] = fmaf(x[i], y[j], acc[i][j]);
        }
        if (more) {  // the other buffer was last read before the previous barrier
            carryA.store(tileA[current ^ 1]);
            carryB.store(tileB[current ^ 1]);
        }
        __syncthreads();
        current ^= 1;
    }
#pragma unroll
    for (int i = 0; i < eachM; i++) {
        const int64_t m = m0 + offsetOf<tileM, eachM>(ty, i);
        if (m >= M) continue;
#pragma unroll
        for (int j = 0; j < eachN; j++) {
            const int64_t n = n0 + offsetOf<tileN, eachN>(tx, j);
            if (n < N) c[m * N + n] = residual == nullptr ? acc[i][j] : acc[i][j] + residual[m * N + n];
        }
    }
}

template <int tileM, int tileN, int eachM, int eachN, Layout layout>
st_status launch(st_device *device, const Product &p) {
    const dim3 grid(static_cast<unsigned>(ceilDiv(p.N, tileN)), static_cast<unsigned>(ceilDiv(p.M, tileM)));
    const bool wideA = (aAlongK(layout) ? p.K : p.M) % 4 == 0 && aligned16(p.a), wideB = (bAlongK(layout) ? p.K : p.N) % 4 == 0 && aligned16(p.b);
    ST_LAUNCH((matmul<tileM, tileN, eachM, eachN, layout>), grid, (tileM / eachM) * (tileN / eachN), 0, device->stream,
              static_cast<float *>(p.c), static_cast<const float *>(p.a), static_cast<const float *>(p.b),
              static_cast<const float *>(p.residual), p.M, p.N, p.K, wideA, wideB);
    return launched(device, "matmul f32");
}

template <Layout layout>
st_status run(st_device *device, const Product &p) {
    if (layout == Layout::NT && p.M <= 32) return launch<16, 64, 2, 4, Layout::NT>(device, p);
    const int64_t large = ceilDiv(p.M, 128) * ceilDiv(p.N, 128);
    if (large >= device->processors) return launch<128, 128, 8, 8, layout>(device, p);
    return launch<64, 64, 4, 4, layout>(device, p);
}

}  // namespace f32
}  // namespace st

#endif
