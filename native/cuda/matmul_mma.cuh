// bf16 matrix products by mma.sync, for every GPU from sm_80 on. Every element is one chain of m16n8k16 products over k = 0, 16, 32, ... into
// an f32 accumulator, whatever the tile, so all tile sizes give the same bits. cp.async brings tiles of 32 k into a ring of four stages.
// Rows in shared memory are swizzled by 16-byte chunks so that ldmatrix meets no bank conflict.
#ifndef SUBTEXT_CUDA_MATMUL_MMA_CUH
#define SUBTEXT_CUDA_MATMUL_MMA_CUH

#include "matmul.cuh"

namespace st {
namespace mma {

constexpr int tileK = 32, stages = 4;

/// A tile of `rows` x 32 k in shared memory: [row][k] if alongK, else [k][row]. Places are counted in bf16.
template <int rows, bool alongK>
struct Tile {
    static constexpr int elements = rows * tileK;

    /// Chunk (8 elements along the contiguous direction) `chunk` of line `line`.
    static __device__ __forceinline__ int at(int line, int chunk) {
        if (alongK) return line * tileK + (chunk ^ (line / 2 & 3)) * 8;  // two lines of 64 bytes span the banks
        return line * rows + (chunk ^ (line & 7)) * 8;
    }

    template <int threads>
    static __device__ __forceinline__ void load(bf16 *tile, const bf16 *x, int64_t row0, int64_t k0, int64_t R, int64_t K, bool wide) {
        constexpr int perLine = (alongK ? tileK : rows) / 8, chunks = elements / 8;
#pragma unroll
        for (int e = 0; e < ceilDiv(chunks, threads); e++) {
            const int item = threadIdx.x + e * threads;
            if (chunks % threads != 0 && item >= chunks) break;
            const int line = item / perLine, chunk = item % perLine;
            const int64_t r = alongK ? row0 + line : row0 + chunk * 8, k = alongK ? k0 + chunk * 8 : k0 + line;
            const bool in = r < R && k < K;
            const bf16 *from = in ? (alongK ? x + r * K + k : x + k * R + r) : x;
            bf16 *to = tile + at(line, chunk);
            if (wide) {
                tc::cp_async_16(to, from, in);
            } else {  // odd strides: element by element
                const int64_t left = alongK ? K - k : R - r;
#pragma unroll
                for (int i = 0; i < 8; i++) to[i] = in && i < left ? from[i] : fromFloat<bf16>(0.0f);
            }
        }
    }
};

template <int tileM, int tileN, int warpsM, int warpsN, Layout layout>
__global__ void __launch_bounds__(32 * warpsM * warpsN)
    matmul(void *c, const bf16 *a, const bf16 *b, const void *residual, int64_t M, int64_t N, int64_t K, bool wideC, bool wideA, bool wideB,
           int tilesM, int tilesN) {
    constexpr int threads = 32 * warpsM * warpsN;
    constexpr int partM = tileM / warpsM, partN = tileN / warpsN;  // of one warp
    static_assert(partM % 16 == 0 && partN % 16 == 0, "whole fragments");
    constexpr bool alongA = aAlongK(layout), alongB = bAlongK(layout);
    using TileA = Tile<tileM, alongA>;
    using TileB = Tile<tileN, alongB>;
    ST_DYNAMIC_SHARED(bf16, shared);
    bf16 *const sharedA = shared, *const sharedB = shared + stages * TileA::elements;

    const TilePlace place = placeTile(blockIdx.x, tilesM, tilesN, 8);
    const int64_t m0 = static_cast<int64_t>(place.m) * tileM, n0 = static_cast<int64_t>(place.n) * tileN;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int warpM = warp / warpsN * partM, warpN = warp % warpsN * partN;
    const int line = lane % 8, matrix = lane / 8;  // of ldmatrix

    const int64_t steps = ceilDiv(K, tileK);
    const auto load = [&](int64_t step) {
        if (step < steps) {
            TileA::template load<threads>(sharedA + step % stages * TileA::elements, a, m0, step * tileK, M, K, wideA);
            TileB::template load<threads>(sharedB + step % stages * TileB::elements, b, n0, step * tileK, N, K, wideB);
        }
        tc::cp_async_commit();  // an empty group too, so that the count of groups stays the step
    };
    for (int s = 0; s < stages - 1; s++) load(s);

    float acc[partM / 16][partN / 8][4] = {};
    for (int64_t step = 0; step < steps; step++) {
        tc::cp_async_wait<stages - 2>();
        __syncthreads();  // this stage has arrived for all, and all are done with the one loaded next
        load(step + stages - 1);
        const bf16 *tileA = sharedA + step % stages * TileA::elements;
        const bf16 *tileB = sharedB + step % stages * TileB::elements;
#pragma unroll
        for (int k = 0; k < tileK; k += 16) {
            uint32_t fragA[partM / 16][4], fragB[partN / 16][4];
#pragma unroll
            for (int i = 0; i < partM / 16; i++) {
                const int row = warpM + 16 * i;
                if (alongA)
                    tc::ldmatrix_x4(fragA[i], tileA + TileA::at(row + line + (matrix & 1) * 8, k / 8 + matrix / 2));
                else
                    tc::ldmatrix_x4_trans(fragA[i], tileA + TileA::at(k + line + matrix / 2 * 8, row / 8 + (matrix & 1)));
            }
#pragma unroll
            for (int j = 0; j < partN / 16; j++) {
                const int column = warpN + 16 * j;
                if (alongB)
                    tc::ldmatrix_x4(fragB[j], tileB + TileB::at(column + line + matrix / 2 * 8, k / 8 + (matrix & 1)));
                else
                    tc::ldmatrix_x4_trans(fragB[j], tileB + TileB::at(k + line + (matrix & 1) * 8, column / 8 + matrix / 2));
            }
#pragma unroll
            for (int i = 0; i < partM / 16; i++)
#pragma unroll
                for (int j = 0; j < partN / 8; j++) tc::mma_m16n8k16_bf16(acc[i][j], fragA[i], fragB[j / 2] + j % 2 * 2);
        }
    }
    tc::cp_async_wait<0>();

    const bool pairs = N % 2 == 0;  // two neighbours at once
#pragma unroll
    for (int i = 0; i < partM / 16; i++)
#pragma unroll
        for (int j = 0; j < partN / 8; j++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int64_t m = m0 + warpM + 16 * i + 8 * half + lane / 4, n = n0 + warpN + 8 * j + lane % 4 * 2;
                if (m >= M || n >= N) continue;
                float x = acc[i][j][2 * half], y = acc[i][j][2 * half + 1];
                const int64_t at = m * N + n;
                if (wideC) {
                    float *to = static_cast<float *>(c) + at;
                    const float *old = residual == nullptr ? nullptr : static_cast<const float *>(residual) + at;
                    if (pairs) {
                        if (old != nullptr) {
                            const float2 r = *reinterpret_cast<const float2 *>(old);
                            x += r.x, y += r.y;
                        }
                        *reinterpret_cast<float2 *>(to) = make_float2(x, y);
                    } else {
                        to[0] = old == nullptr ? x : x + old[0];
                        if (n + 1 < N) to[1] = old == nullptr ? y : y + old[1];
                    }
                } else {
                    bf16 *to = static_cast<bf16 *>(c) + at;
                    const bf16 *old = residual == nullptr ? nullptr : static_cast<const bf16 *>(residual) + at;
                    if (pairs) {
                        if (old != nullptr) {
                            const uint32_t r = *reinterpret_cast<const uint32_t *>(old);
                            x += lowBf16(r), y += highBf16(r);
                        }
                        *reinterpret_cast<uint32_t *>(to) = packBf16(x, y);
                    } else {
                        to[0] = fromFloat<bf16>(old == nullptr ? x : x + toFloat(old[0]));
                        if (n + 1 < N) to[1] = fromFloat<bf16>(old == nullptr ? y : y + toFloat(old[1]));
                    }
                }
            }
}

template <int tileM, int tileN, int warpsM, int warpsN, Layout layout>
st_status launch(st_device *device, const Product &p) {
    constexpr int sharedBytes = stages * (tileM + tileN) * tileK * 2;
    const int tilesM = static_cast<int>(ceilDiv(p.M, tileM)), tilesN = static_cast<int>(ceilDiv(p.N, tileN));
    const bool wideA = (aAlongK(layout) ? p.K : p.M) % 8 == 0 && aligned16(p.a), wideB = (bAlongK(layout) ? p.K : p.N) % 8 == 0 && aligned16(p.b);
    ST_LAUNCH((matmul<tileM, tileN, warpsM, warpsN, layout>), static_cast<unsigned>(tilesM * tilesN), 32 * warpsM * warpsN, sharedBytes,
              device->stream, p.c, static_cast<const bf16 *>(p.a), static_cast<const bf16 *>(p.b), p.residual, p.M, p.N, p.K, p.wideC, wideA,
              wideB, tilesM, tilesN);
    return launched(device, "matmul bf16 (mma)");
}

template <Layout layout>
st_status run(st_device *device, const Product &p) {
    if (layout == Layout::NT && p.M <= 32) return launch<16, 64, 1, 4, Layout::NT>(device, p);
    if (ceilDiv(p.M, 128) * ceilDiv(p.N, 128) >= device->processors) return launch<128, 128, 2, 4, layout>(device, p);
    return launch<64, 64, 2, 2, layout>(device, p);
}

}  // namespace mma
}  // namespace st

#endif
