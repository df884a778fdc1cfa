// Attention over f32 on the ordinary arithmetic units: tiles in shared memory, eight threads to a row. Meant for small models and for
// checking; the definition of attention.cuh, the same kernel for packed sequences and for the cache.
//
// 128 threads: threads 8 i .. 8 i + 7 own the rows i, i + 16, ... (R of them); thread c of the eight scores the keys c, c + 8, ..., and owns
// every eighth group of columns of the result. Per key block and row 4 * 64 * D FLOP; each key is read once per tile and kv head.
#ifndef SUBTEXT_CUDA_ATTENTION_F32_CUH
#define SUBTEXT_CUDA_ATTENTION_F32_CUH

#include "attention.cuh"

namespace st {
namespace attention {

/// R rows per thread, head size padded to DP by zeros (which change no bit: fma(0, 0, s) = s).
template <int DP, int R>
struct Plane {
    static constexpr int threads = 128, height = 16 * R;
    static constexpr int stride = DP + 4;               // floats between rows of a tile: rows shift by 16 bytes against the banks
    static constexpr int weightStride = keyBlock + 4;
    static constexpr int vector = DP >= 32 ? 4 : 2;     // adjacent columns a thread owns
    static constexpr int columns = DP / 8;              // columns a thread owns in all
    static_assert(DP % 16 == 0, "eight threads by vectors");

    /// First column of the thread's group `i` of `vector` columns.
    static __device__ __forceinline__ int column(int i) { return (threadIdx.x % 8) * vector + i * 8 * vector; }
    static __device__ __forceinline__ int row(int r) { return threadIdx.x / 8 + 16 * r; }

    /// s[r][i] = row(r) of `rows` . row c + 8 i of `keys`: one chain over d.
    static __device__ __forceinline__ void scores(float (&s)[R][8], const float *rows, const float *keys) {
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int i = 0; i < 8; i++) s[r][i] = 0.0f;
        const int c = threadIdx.x % 8;
#pragma unroll 4
        for (int d = 0; d < DP; d += 4) {
            float a[R][4], b[4];
#pragma unroll
            for (int r = 0; r < R; r++) unpack(loadWords(rows + row(r) * stride + d), a[r]);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                unpack(loadWords(keys + (c + 8 * i) * stride + d), b);
#pragma unroll
                for (int r = 0; r < R; r++)
#pragma unroll
                    for (int e = 0; e < 4; e++) s[r][i] = fmaf(a[r][e], b[e], s[r][i]);
            }
        }
    }

    /// weights (height x 64): the warp's own rows, written by the threads that scored them and read by the eight that own the row.
    static __device__ __forceinline__ void share(float *weights, const float (&p)[R][8]) {
        const int c = threadIdx.x % 8;
        __syncwarp();
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int i = 0; i < 8; i++) weights[row(r) * weightStride + c + 8 * i] = p[r][i];
        __syncwarp();
    }

    /// o[r][column] += sum_j weights[row(r)][j] * values[j][column]: one chain over j, ascending.
    static __device__ __forceinline__ void accumulate(float (&o)[R][columns], const float *weights, const float *values) {
#pragma unroll 2
        for (int j = 0; j < keyBlock; j += 4) {
            float w[R][4];
#pragma unroll
            for (int r = 0; r < R; r++) unpack(loadWords(weights + row(r) * weightStride + j), w[r]);
#pragma unroll
            for (int e = 0; e < 4; e++)
#pragma unroll
                for (int i = 0; i < columns / vector; i++) {
                    float v[vector];
                    const float *from = values + (j + e) * stride + column(i);
                    if (vector == 4) {
                        float four[4];
                        unpack(loadWords(from), four);
#pragma unroll
                        for (int x = 0; x < vector; x++) v[x] = four[x];
                    } else {
#pragma unroll
                        for (int x = 0; x < vector; x++) v[x] = from[x];
                    }
#pragma unroll
                    for (int r = 0; r < R; r++)
#pragma unroll
                        for (int x = 0; x < vector; x++) o[r][i * vector + x] = fmaf(w[r][e], v[x], o[r][i * vector + x]);
                }
        }
    }

    /// Copies `rows` rows of D (a multiple of 4) into a tile; row r comes from source(r) if it is < valid, else zeros.
    template <int rows, typename Source>
    static __device__ __forceinline__ void copy(float *tile, int32_t valid, int32_t D, Source source) {
#pragma unroll 4
        for (int item = threadIdx.x; item < rows * (DP / 4); item += threads) {
            const int r = item / (DP / 4), d = item % (DP / 4) * 4;
            const bool inside = r < valid && d < D;
            tc::cp_async_16(tile + r * stride + d, source(inside ? r : 0) + (inside ? d : 0), inside);
        }
    }

    /// to(r) + column = o[r][column] * factor[r] for rows < valid.
    template <typename To>
    static __device__ __forceinline__ void store(const float (&o)[R][columns], const float (&factor)[R], int32_t valid, int32_t D, To to) {
#pragma unroll
        for (int r = 0; r < R; r++) {
            if (row(r) >= valid) continue;
            float *const out = to(row(r));
#pragma unroll
            for (int i = 0; i < columns; i++) {
                const int d = column(i / vector) + i % vector;
                if (d < D) out[d] = o[r][i] * factor[r] + 0.0f;
            }
        }
    }
};

/// The heads of a group that a tile of `height` rows takes together: the group, or its largest part that divides it and fits.
inline int32_t sharedHeads(int64_t group, int height) {
    int32_t share = 1;
    for (int32_t part = 1; part <= height && part <= group; part++)
        if (group % part == 0) share = part;
    return share;
}

/// Rows of a tile are (position, head) pairs of `share` heads that have one kv head.
template <int DP, int R, bool cached>
__global__ void __launch_bounds__(128, 2) attentionF32(const Call<float> call, const int32_t share) {
    using P = Plane<DP, R>;
    ST_DYNAMIC_SHARED(float, shared);
    float *const queries = shared, *const keys = queries + P::height * P::stride, *const values = keys + keyBlock * P::stride,
                 *const weights = values + keyBlock * P::stride;

    const int32_t positions = P::height / share;
    Tile tile;
    if (!tileOf(&tile, call.cuSeqlens, call.start, call.N, call.S, call.tiles, call.H / share, positions, blockIdx.x)) return;
    const int32_t head = tile.head * share, rows = min(positions, tile.rows - tile.first), valid = rows * share;
    const int64_t firstRow = static_cast<int64_t>(tile.row) + tile.first, yStride = static_cast<int64_t>(call.H) * call.D;
    const auto result = [&](int r) { return call.y + (firstRow + r / share) * yStride + (head + r % share) * call.D; };
    if (cached && call.slot[tile.sequence] < 0) {
        for (int r = threadIdx.x / 32; r < valid; r += P::threads / 32)
            for (int d = threadIdx.x % 32; d < call.D; d += 32) result(r)[d] = 0.0f;
        return;
    }

    const KeyRows<cached> keyRows(call, tile, head / (call.H / call.Hkv));
    const int32_t length = tile.start + tile.rows, low = tile.start + tile.first;
    const int32_t end = endBlock(low + rows - 1);
    P::template copy<P::height>(queries, valid, call.D,
                                [&](int r) { return call.q + (firstRow + r / share) * call.qStride + (head + r % share) * call.D; });

    float o[R][P::columns], m[R], l[R];
    for (int r = 0; r < R; r++) {
        m[r] = -INFINITY;
        l[r] = 0.0f;
        for (int i = 0; i < P::columns; i++) o[r][i] = 0.0f;
    }
    for (int32_t block = firstBlock(low, call.window); block < end; block++) {
        const int32_t first = block * keyBlock;
        __syncthreads();
        P::template copy<keyBlock>(keys, length - first, call.D, [&](int j) { return call.k + keyRows.offset(first + j); });
        P::template copy<keyBlock>(values, length - first, call.D, [&](int j) { return call.v + keyRows.offset(first + j); });
        tc::cp_async_commit();
        tc::cp_async_wait<0>();
        __syncthreads();
        float s[R][8];
        P::scores(s, queries, keys);
#pragma unroll
        for (int r = 0; r < R; r++) {
            const int32_t seen = low + P::row(r) / share - first, from = call.window > 0 ? seen - call.window + 1 : 0;
            float blockMax = -INFINITY;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const int32_t key = threadIdx.x % 8 + 8 * i;
                if (key > seen || key < from) s[r][i] = -INFINITY;
                blockMax = fmaxf(blockMax, s[r][i]);
            }
            float subtrahend, alpha;
            raise(m[r], warpMax<8>(blockMax), call.c, subtrahend, alpha);
#pragma unroll
            for (int i = 0; i < 8; i++) s[r][i] = probability(s[r][i], call.c, subtrahend);
            const float sum = ((s[r][0] + s[r][1]) + (s[r][2] + s[r][3])) + ((s[r][4] + s[r][5]) + (s[r][6] + s[r][7]));
            l[r] = fmaf(l[r], alpha, warpSum<8>(sum));
#pragma unroll
            for (int i = 0; i < P::columns; i++) o[r][i] *= alpha;
        }
        P::share(weights, s);
        P::accumulate(o, weights, values);
    }
    float factor[R];
#pragma unroll
    for (int r = 0; r < R; r++) {
        factor[r] = reciprocal(l[r]);
        if (call.lse != nullptr && threadIdx.x % 8 == 0 && P::row(r) < valid)
            call.lse[(firstRow + P::row(r) / share) * call.H + head + P::row(r) % share] = logSumExp(m[r], l[r], call.c);
    }
    P::store(o, factor, valid, call.D, result);
}

template <int DP, int R, bool cached>
void launchF32(Call<float> call, int64_t longest, cudaStream_t stream) {
    using P = Plane<DP, R>;
    constexpr int bytes = ((P::height + 2 * keyBlock) * P::stride + P::height * P::weightStride) * static_cast<int>(sizeof(float));
    const int32_t share = sharedHeads(call.H / call.Hkv, P::height);
    const int64_t blocks = tileCount(call.N, call.S, longest, call.H / share, P::height / share, &call.tiles);
    ST_LAUNCH((attentionF32<DP, R, cached>), dim3(static_cast<unsigned>(blocks)), dim3(P::threads), bytes, stream, call, share);
}

template <int DP, bool cached>
void launchF32(Call<float> call, int64_t longest, cudaStream_t stream) {
    const int64_t rows = longest * (call.H / call.Hkv);
    if (rows <= 16) {
        launchF32<DP, 1, cached>(call, longest, stream);
    } else if (rows <= 32) {
        launchF32<DP, 2, cached>(call, longest, stream);
    } else {
        launchF32<DP, 4, cached>(call, longest, stream);
    }
}

/// The head size in shared memory, or 0 if D has no tiled f32 kernel.
inline int paddedHeadF32(int64_t D) {
    if (D % 4 != 0) return 0;
    return D <= 16 ? 16 : D <= 32 ? 32 : D <= 64 ? 64 : D <= 128 ? 128 : 0;
}

#define ST_BY_PADDED_HEAD_F32(padded, ...)                       \
    switch (padded) {                                            \
        case 16: { constexpr int DP = 16; __VA_ARGS__; } break;   \
        case 32: { constexpr int DP = 32; __VA_ARGS__; } break;   \
        case 64: { constexpr int DP = 64; __VA_ARGS__; } break;   \
        default: { constexpr int DP = 128; __VA_ARGS__; } break;  \
    }

}  // namespace attention
}  // namespace st

#endif
