// Tensor-core attention over bf16: tiles in shared memory, the block step of attention.cuh on mma.sync fragments, and the two kernels that
// run it, for many query rows (training, prefill, scoring) and for few (decoding).          After Dao 2023, "FlashAttention-2"
//
// Both kernels feed the same fragments to the same m16n8k16 instructions in the same order per element: s over d in steps of 16, o over
// the block's keys in steps of 16. A row's place in the 16-row fragment does not matter to the unit, so rows may be 16 or 32 consecutive
// positions of one head, or the query heads that share a kv head.
//
// Masked keys enter the products with p = 0, so an infinity or NaN in a value vector reaches the rows of its own sequence that share its
// block of 64 positions, also those before it; other sequences it does not reach.
//
// H100, causal, 16384 tokens (attention_bench): forward 263-328 TFLOP/s at head size 64, 298-355 at 128 (PyTorch's flash kernels in the
// same run: 247-304 and 275-314); decoding 256 sequences 2.2-2.9 TB/s. mma.sync ends about here; attention_sm90.cuh has wgmma.
#ifndef SUBTEXT_CUDA_ATTENTION_BF16_CUH
#define SUBTEXT_CUDA_ATTENTION_BF16_CUH

#include "attention.cuh"

namespace st {
namespace attention {

// ---- tiles in shared memory -------------------------------------------------------------------------------------------

/// Rows of DP elements in chunks of 16 bytes, the chunk number XORed with the row so that the eight rows of a ldmatrix lie in different
/// banks: without padding, whatever DP.
template <int DP>
struct Swizzled {
    static constexpr int chunks = DP / 8;
    static_assert(DP % 16 == 0, "whole k steps");

    /// Depends on row % 8 only.
    static __device__ __forceinline__ int mask(int row) {
        return chunks % 8 == 0 ? row & 7 : chunks % 4 == 0 ? (row >> 1) & 3 : chunks % 2 == 0 ? (row >> 2) & 1 : 0;
    }
    static __device__ __forceinline__ int at(int row, int chunk) { return row * DP + ((chunk ^ mask(row)) << 3); }
};

/// A lane's address for the ldmatrix of 16 rows x 16 columns, matrices ordered so that r[0..3] come out as
///   rowsFirst:  (rows 0-7, columns 0-7), (rows 8-15, columns 0-7), (0-7, 8-15), (8-15, 8-15)   operand a; with .trans operand b of two n
///   otherwise:  (0-7, 0-7), (0-7, 8-15), (8-15, 0-7), (8-15, 8-15)                              operand b of two n tiles
template <int DP, bool rowsFirst>
struct Lane16x16 {
    int row, chunk;

    __device__ __forceinline__ Lane16x16() {
        const int lane = threadIdx.x % 32, matrix = lane / 8;
        const int r = (rowsFirst ? matrix & 1 : matrix >> 1) * 8 + lane % 8;
        row = r * DP;
        chunk = (rowsFirst ? matrix >> 1 : matrix & 1) ^ Swizzled<DP>::mask(r);
    }
    /// A copy whose addresses the compiler cannot compute ahead: kept over a loop they would take a register for each step.
    __device__ __forceinline__ Lane16x16 fresh() const {
        Lane16x16 copy = *this;
#if !defined(ST_CUDA_EMULATED)
        asm volatile("" : "+r"(copy.chunk));
#endif
        return copy;
    }
    /// Rows from `first` (a multiple of 8), columns from 16 * step.
    __device__ __forceinline__ const bf16 *operator()(const bf16 *tile, int first, int step) const {
        return tile + first * DP + row + ((2 * step ^ chunk) << 3);
    }
};

__host__ __device__ constexpr int largestPowerOf2(int n) { return n < 2 ? 1 : 2 * largestPowerOf2(n / 2); }

/// Copies `rows` rows into a tile asynchronously; row r comes from source(r) if it is < valid, else zeros, as are columns D .. DP-1.
template <int DP, int rows, int threads, typename Source>
__device__ __forceinline__ void copyTile(bf16 *tile, int32_t valid, int32_t D, Source source) {
    constexpr int chunks = Swizzled<DP>::chunks, pass = largestPowerOf2(threads / chunks < rows ? threads / chunks : rows);
    static_assert(rows % pass == 0, "whole passes");
    const int first = threadIdx.x / chunks, chunk = threadIdx.x % chunks;
    if (first >= pass) return;
#pragma unroll
    for (int i = 0; i < rows / pass; i++) {
        const int r = i * pass + first;
        const bool inside = r < valid && chunk * 8 < D;
        tc::cp_async_16(tile + Swizzled<DP>::at(r, chunk), inside ? source(r) + chunk * 8 : source(0), inside);
    }
}

/// One warp writes `rows` rows of its own part of a tile to memory, 16 bytes a lane.
template <int DP, int rows>
__device__ __forceinline__ void storeRows(bf16 *to, int64_t stride, const bf16 *tile, int first, int32_t valid, int32_t D) {
    constexpr int chunks = Swizzled<DP>::chunks;
    for (int item = threadIdx.x % 32; item < rows * chunks; item += 32) {
        const int r = item / chunks, chunk = item % chunks;
        if (r < valid && chunk * 8 < D) storeWords(to + r * stride + chunk * 8, loadWords(tile + Swizzled<DP>::at(first + r, chunk)));
    }
}

/// Accumulators (16 rows x DP, fragment layout) times a factor per row pair, as bf16 into rows first .. first + 15 of a tile.
template <int DP>
__device__ __forceinline__ void roundInto(bf16 *tile, int first, const float *o, float factorLow, float factorHigh) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int n = 0; n < DP / 8; n++) {
        uint32_t *low = reinterpret_cast<uint32_t *>(tile + Swizzled<DP>::at(first + g, n) + 2 * t);
        uint32_t *high = reinterpret_cast<uint32_t *>(tile + Swizzled<DP>::at(first + g + 8, n) + 2 * t);
        *low = packBf16(o[4 * n] * factorLow + 0.0f, o[4 * n + 1] * factorLow + 0.0f);
        *high = packBf16(o[4 * n + 2] * factorHigh + 0.0f, o[4 * n + 3] * factorHigh + 0.0f);
    }
}

// ---- the block step on fragments --------------------------------------------------------------------------------------

/// Sum of a lane's probabilities of 16 keys (two n tiles), the leaf of the row sum's tree.
__device__ __forceinline__ float sum16(float a, float b, float c, float d) { return (a + b) + (c + d); }

/// The row sum's step, from the leaves of the block's four groups of 16 keys. Lanes of a quad keep separate sums until the end.
__device__ __forceinline__ float addBlock(float l, float alpha, float t0, float t1, float t2, float t3) {
    return fmaf(l, alpha, (t0 + t1) + (t2 + t3));
}

__device__ __forceinline__ float quadMax(float x) {
    x = fmaxf(x, __shfl_xor_sync(fullWarp, x, 1));
    return fmaxf(x, __shfl_xor_sync(fullWarp, x, 2));
}
__device__ __forceinline__ float quadSum(float x) {
    x += __shfl_xor_sync(fullWarp, x, 1);
    return x + __shfl_xor_sync(fullWarp, x, 2);
}

/// The online softmax of one key block on a fragment of 16 rows by 64 keys (n tile j in s[4j .. 4j+3]): takes scores, leaves probabilities.
/// m, l: the running maximum and sum of rows g and g + 8; alpha: their factors for what was summed before. `position` is that of row 0 of
/// the fragment, `block` that of key 0; masked: whether some row does not see all 64 keys.
template <bool masked>
__device__ __forceinline__ void softmax(float (&s)[32], float (&m)[2], float (&l)[2], float (&alpha)[2], float c, int32_t position, int32_t block,
                                        int32_t window) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        if (masked) {
            const int32_t high = position + 8 * r + g - block, low = window > 0 ? high - window + 1 : 0;
#pragma unroll
            for (int n = 0; n < 8; n++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const int32_t key = 8 * n + 2 * t + e;
                    if (key > high || key < low) s[4 * n + 2 * r + e] = -INFINITY;
                }
            }
        }
        float blockMax = fmaxf(s[2 * r], s[2 * r + 1]);
#pragma unroll
        for (int n = 1; n < 8; n++) blockMax = fmaxf(blockMax, fmaxf(s[4 * n + 2 * r], s[4 * n + 2 * r + 1]));
        float subtrahend;
        raise(m[r], quadMax(blockMax), c, subtrahend, alpha[r]);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            s[4 * n + 2 * r] = probability(s[4 * n + 2 * r], c, subtrahend);
            s[4 * n + 2 * r + 1] = probability(s[4 * n + 2 * r + 1], c, subtrahend);
        }
        float leaf[4];
#pragma unroll
        for (int w = 0; w < 4; w++)
            leaf[w] = sum16(s[8 * w + 2 * r], s[8 * w + 2 * r + 1], s[8 * w + 4 + 2 * r], s[8 * w + 5 + 2 * r]);
        l[r] = addBlock(l[r], alpha[r], leaf[0], leaf[1], leaf[2], leaf[3]);
    }
}

/// The a operand of columns 16 * step .. + 15 of a fragment as above.
__device__ __forceinline__ void operandOf(uint32_t (&a)[4], const float *s, int step) {
    a[0] = packBf16(s[8 * step], s[8 * step + 1]);
    a[1] = packBf16(s[8 * step + 2], s[8 * step + 3]);
    a[2] = packBf16(s[8 * step + 4], s[8 * step + 5]);
    a[3] = packBf16(s[8 * step + 6], s[8 * step + 7]);
}

/// State of MT fragments of 16 rows held by one warp.
template <int DP, int MT>
struct Rows {
    float o[MT][DP / 8][4];
    float m[MT][2], l[MT][2];  // of rows g and g + 8

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < MT; i++) {
            m[i][0] = m[i][1] = -INFINITY;
            l[i][0] = l[i][1] = 0.0f;
#pragma unroll
            for (int n = 0; n < DP / 8; n++) o[i][n][0] = o[i][n][1] = o[i][n][2] = o[i][n][3] = 0.0f;
        }
    }

    /// One key block. `query(i, step)` fills the a operand of fragment i; `position` is that of row 0; masked: whether some row of the warp
    /// does not see all keys of the block, which begins at position `block`.
    template <bool masked, int unroll, typename Query>
    __device__ __forceinline__ void step(const Query &query, const bf16 *keys, const bf16 *values, float c, int32_t position, int32_t block,
                                         int32_t window, const Lane16x16<DP, false> &keyLane, const Lane16x16<DP, true> &valueLane) {
        float s[MT][32];
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
            for (int e = 0; e < 32; e++) s[i][e] = 0.0f;
#pragma unroll (unroll)
        for (int k = 0; k < DP / 16; k++) {
            uint32_t a[MT][4];
#pragma unroll
            for (int i = 0; i < MT; i++) query(a[i], i, k);
#pragma unroll
            for (int n = 0; n < 8; n += 2) {
                uint32_t b[4];
                tc::ldmatrix_x4(b, keyLane(keys, 8 * n, k));
#pragma unroll
                for (int i = 0; i < MT; i++) {
                    tc::mma_m16n8k16_bf16(s[i] + 4 * n, a[i], b);
                    tc::mma_m16n8k16_bf16(s[i] + 4 * n + 4, a[i], b + 2);
                }
            }
        }
        bool moved = false;
        float alpha[MT][2];
#pragma unroll
        for (int i = 0; i < MT; i++) {
            softmax<masked>(s[i], m[i], l[i], alpha[i], c, position + 16 * i, block, window);
            moved |= alpha[i][0] != 1.0f || alpha[i][1] != 1.0f;
        }
        if (__any_sync(fullWarp, moved)) {  // multiplying by 1 changes nothing: skip it
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int n = 0; n < DP / 8; n++) {
                    o[i][n][0] *= alpha[i][0];
                    o[i][n][1] *= alpha[i][0];
                    o[i][n][2] *= alpha[i][1];
                    o[i][n][3] *= alpha[i][1];
                }
        }
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t p[MT][4];
#pragma unroll
            for (int i = 0; i < MT; i++) operandOf(p[i], s[i], k);
#pragma unroll
            for (int n = 0; n < DP / 16; n++) {
                uint32_t b[4];
                tc::ldmatrix_x4_trans(b, valueLane(values, 16 * k, n));
#pragma unroll
                for (int i = 0; i < MT; i++) {
                    tc::mma_m16n8k16_bf16(o[i][2 * n], p[i], b);
                    tc::mma_m16n8k16_bf16(o[i][2 * n + 1], p[i], b + 2);
                }
            }
        }
    }
};

// ---- many query rows --------------------------------------------------------------------------------------------------

/// Query rows of one head per block: WARPS warps of MT * 16 rows. Shared memory: the queries and two stages of keys and values.
template <int DP, int MT, int WARPS>
struct Wide {
    static constexpr int height = WARPS * MT * 16, threads = WARPS * 32;
    static constexpr int sharedBytes = (height + 4 * keyBlock) * DP * static_cast<int>(sizeof(bf16));
    /// Two blocks per multiprocessor where registers and shared memory allow.
    static constexpr int residents = 2 * sharedBytes <= 220 * 1024 ? 2 : 1;
};

template <int DP, int MT, int WARPS, bool cached>
__global__ void __launch_bounds__(WARPS * 32, (Wide<DP, MT, WARPS>::residents)) attentionWide(const Call<bf16> call) {
    using Shape = Wide<DP, MT, WARPS>;
    constexpr int warpRows = MT * 16;
    constexpr bool inRegisters = MT * DP <= 128;  // the queries' fragments, else read again for every key block
    constexpr int unroll = inRegisters ? DP / 16 : 4;
    ST_DYNAMIC_SHARED(bf16, shared);
    bf16 *const queries = shared, *const stages = shared + Shape::height * DP;

    Tile tile;
    if (!tileOf(&tile, call.cuSeqlens, call.start, call.N, call.S, call.tiles, call.H, Shape::height, blockIdx.x)) return;
    const int32_t valid = min(Shape::height, tile.rows - tile.first);
    const int64_t firstRow = static_cast<int64_t>(tile.row) + tile.first, yStride = static_cast<int64_t>(call.H) * call.D;
    bf16 *const y = call.y + firstRow * yStride + tile.head * call.D;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (cached && call.slot[tile.sequence] < 0) {
        for (int r = warp; r < valid; r += WARPS)
            for (int d = lane; d < call.D; d += 32) y[r * yStride + d] = fromFloat<bf16>(0.0f);
        return;
    }

    const KeyRows<cached> keyRows(call, tile, tile.head / (call.H / call.Hkv));
    const int32_t length = tile.start + tile.rows;  // positions that have keys
    const int32_t low = tile.start + tile.first, high = low + valid - 1;
    const int32_t begin = firstBlock(low, call.window), end = endBlock(high);

    const auto load = [&](int32_t block) {
        bf16 *const stage = stages + (block & 1) * 2 * keyBlock * DP;
        const int32_t first = block * keyBlock, inside = length - first;
        copyTile<DP, keyBlock, Shape::threads>(stage, inside, call.D, [&](int r) { return call.k + keyRows.offset(first + r); });
        copyTile<DP, keyBlock, Shape::threads>(stage + keyBlock * DP, inside, call.D,
                                               [&](int r) { return call.v + keyRows.offset(first + r); });
    };
    const bf16 *const q = call.q + firstRow * call.qStride + tile.head * call.D;
    copyTile<DP, Shape::height, Shape::threads>(queries, valid, call.D, [&](int r) { return q + r * call.qStride; });
    load(begin);
    tc::cp_async_commit();

    const int32_t warpLow = low + warp * warpRows, warpHigh = warpLow + warpRows - 1;
    const bool idle = warp * warpRows >= valid;
    const Lane16x16<DP, true> rowLane;
    const Lane16x16<DP, false> keyLane;
    Rows<DP, MT> rows;
    rows.clear();
    uint32_t held[inRegisters ? MT : 1][inRegisters ? DP / 16 : 1][4];

    for (int32_t block = begin; block < end; block++) {
        tc::cp_async_wait<0>();
        __syncthreads();  // this stage has arrived, and the other one is no longer read
        if (block + 1 < end) load(block + 1);
        tc::cp_async_commit();
        if (inRegisters && block == begin) {
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int k = 0; k < (inRegisters ? DP / 16 : 1); k++)
                    tc::ldmatrix_x4(held[inRegisters ? i : 0][k], rowLane(queries, warp * warpRows + 16 * i, k));
        }
        const int32_t first = block * keyBlock, last = first + keyBlock - 1;
        if (idle || first > warpHigh || (call.window > 0 && last <= warpLow - call.window)) continue;

        const Lane16x16<DP, true> queryLane = rowLane.fresh();
        const auto query = [&](uint32_t(&a)[4], int i, int k) {
            if (inRegisters) {
#pragma unroll
                for (int e = 0; e < 4; e++) a[e] = held[inRegisters ? i : 0][inRegisters ? k : 0][e];
            } else {
                tc::ldmatrix_x4(a, queryLane(queries, warp * warpRows + 16 * i, k));
            }
        };
        const bf16 *const keys = stages + (block & 1) * 2 * keyBlock * DP, *const values = keys + keyBlock * DP;
        const bool masked = last > warpLow || (call.window > 0 && first <= warpHigh - call.window);
        if (masked) {
            rows.template step<true, unroll>(query, keys, values, call.c, warpLow, first, call.window, keyLane.fresh(), rowLane.fresh());
        } else {
            rows.template step<false, unroll>(query, keys, values, call.c, warpLow, first, call.window, keyLane.fresh(), rowLane.fresh());
        }
    }
    if (idle) return;

    // The warp's own queries are no longer needed: their place takes the result, to be written in whole rows.
    __syncwarp();
#pragma unroll
    for (int i = 0; i < MT; i++) {
        const float l0 = quadSum(rows.l[i][0]), l1 = quadSum(rows.l[i][1]);
        roundInto<DP>(queries, warp * warpRows + 16 * i, &rows.o[i][0][0], reciprocal(l0), reciprocal(l1));
        if (call.lse != nullptr && lane % 4 == 0) {
            const int r = warp * warpRows + 16 * i + lane / 4;
            if (r < valid) call.lse[(firstRow + r) * call.H + tile.head] = logSumExp(rows.m[i][0], l0, call.c);
            if (r + 8 < valid) call.lse[(firstRow + r + 8) * call.H + tile.head] = logSumExp(rows.m[i][1], l1, call.c);
        }
    }
    __syncwarp();
    storeRows<DP, warpRows>(y + warp * warpRows * yStride, yStride, queries, warp * warpRows, valid - warp * warpRows, call.D);
}

/// Launches attentionWide: tall tiles for long sequences, low ones where a tall one would be mostly empty.
template <int DP, bool cached>
void launchWide(Call<bf16> call, int64_t longest, cudaStream_t stream) {
    constexpr int MT = DP <= 128 ? 2 : 1;
    if (MT == 2 && longest > 64) {
        using Shape = Wide<DP, MT, 4>;
        const int64_t blocks = tileCount(call.N, call.S, longest, call.H, Shape::height, &call.tiles);
        ST_LAUNCH((attentionWide<DP, MT, 4, cached>), dim3(static_cast<unsigned>(blocks)), dim3(Shape::threads), Shape::sharedBytes, stream,
                  call);
    } else {
        using Shape = Wide<DP, 1, 4>;
        const int64_t blocks = tileCount(call.N, call.S, longest, call.H, Shape::height, &call.tiles);
        ST_LAUNCH((attentionWide<DP, 1, 4, cached>), dim3(static_cast<unsigned>(blocks)), dim3(Shape::threads), Shape::sharedBytes, stream,
                  call);
    }
}

// ---- few query rows ---------------------------------------------------------------------------------------------------

/// Sixteen rows per block, which are (query row, head of the kv head's group) pairs; four warps share the work of each key block without
/// changing its order: warp w scores keys 16w .. 16w + 15, and after the exchange of maxima and probabilities takes every fourth group of
/// eight columns of the result. Reads every key and value once per kv head: bound by memory.
template <int DP>
struct Narrow {
    static constexpr int height = 16, warps = 4, threads = 128;
    static constexpr int stages = DP <= 32 ? 4 : DP <= 96 ? 3 : 2;
    static constexpr int stageElements = 2 * keyBlock * DP;
    static constexpr int sharedBytes =
        (stages * stageElements + height * DP + height * keyBlock) * static_cast<int>(sizeof(bf16)) + warps * height * 5 * 4;
};

template <int DP>
__global__ void __launch_bounds__(128) attentionNarrow(const Call<bf16> call) {
    using Shape = Narrow<DP>;
    constexpr int columns = ceilDiv(DP / 8, Shape::warps);  // groups of eight columns per warp, the last ones perhaps idle
    ST_DYNAMIC_SHARED(bf16, shared);
    bf16 *const stages = shared;
    bf16 *const queries = stages + Shape::stages * Shape::stageElements;  // 16 x DP; in the end the result
    bf16 *const weights = queries + Shape::height * DP;                   // 16 x 64, p of the block
    float *const maxima = reinterpret_cast<float *>(weights + Shape::height * keyBlock);  // (warp, row)
    float *const leaves = maxima + Shape::warps * Shape::height;                          // (warp, row, lane of the quad)

    // Rows of this tile are f = tile.first .. of the flattened (row, head of the group); the tile search sees sequences of rows * group.
    const int32_t group = call.H / call.Hkv;
    const int64_t id = blockIdx.x / call.Hkv;
    const int32_t kvHead = static_cast<int32_t>(blockIdx.x % call.Hkv);
    Tile tile;
    tile.sequence = static_cast<int32_t>(id % call.S);
    tile.head = kvHead;
    tile.row = call.cuSeqlens[tile.sequence];
    tile.rows = call.cuSeqlens[tile.sequence + 1] - tile.row;
    tile.start = call.start[tile.sequence];
    tile.first = static_cast<int32_t>(id / call.S) * Shape::height;
    const int32_t valid = min(Shape::height, tile.rows * group - tile.first);
    if (valid <= 0) return;

    const auto rowOf = [&](int f) { return (tile.first + f) / group; };
    const auto headOf = [&](int f) { return kvHead * group + (tile.first + f) % group; };
    const int64_t yStride = static_cast<int64_t>(call.H) * call.D;
    const auto result = [&](int f) { return call.y + (tile.row + rowOf(f)) * yStride + headOf(f) * call.D; };
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    if (call.slot[tile.sequence] < 0) {
        for (int f = warp; f < valid; f += Shape::warps)
            for (int d = lane; d < call.D; d += 32) result(f)[d] = fromFloat<bf16>(0.0f);
        return;
    }

    const KeyRows<true> keyRows(call, tile, kvHead);
    const int32_t length = tile.start + tile.rows;
    const int32_t low = tile.start + rowOf(0), high = tile.start + rowOf(valid - 1);
    const int32_t begin = firstBlock(low, call.window), end = endBlock(high);

    const auto load = [&](int32_t block) {
        if (block < end) {
            bf16 *const stage = stages + (block - begin) % Shape::stages * Shape::stageElements;
            const int32_t first = block * keyBlock, inside = length - first;
            copyTile<DP, keyBlock, 128>(stage, inside, call.D, [&](int r) { return call.k + keyRows.offset(first + r); });
            copyTile<DP, keyBlock, 128>(stage + keyBlock * DP, inside, call.D, [&](int r) { return call.v + keyRows.offset(first + r); });
        }
        tc::cp_async_commit();  // an empty group past the end keeps the count
    };
    copyTile<DP, Shape::height, 128>(queries, valid, call.D,
                                     [&](int f) { return call.q + (tile.row + rowOf(f)) * call.qStride + headOf(f) * call.D; });
#pragma unroll
    for (int i = 0; i + 1 < Shape::stages; i++) load(begin + i);

    const Lane16x16<DP, true> rowLane;
    const Lane16x16<DP, false> keyLane;
    const Lane16x16<keyBlock, true> weightLane;
    float o[columns][4] = {}, m[2] = {-INFINITY, -INFINITY}, l[2] = {0.0f, 0.0f};

    for (int32_t block = begin; block < end; block++) {
        tc::cp_async_wait<Shape::stages - 2>();
        __syncthreads();
        load(block + Shape::stages - 1);
        const bf16 *const keys = stages + (block - begin) % Shape::stages * Shape::stageElements, *const values = keys + keyBlock * DP;

        float s[2][4] = {};  // keys 16 * warp .. + 15
#pragma unroll
        for (int k = 0; k < DP / 16; k++) {
            uint32_t a[4], b[4];
            tc::ldmatrix_x4(a, rowLane(queries, 0, k));
            tc::ldmatrix_x4(b, keyLane(keys, 16 * warp, k));
            tc::mma_m16n8k16_bf16(s[0], a, b);
            tc::mma_m16n8k16_bf16(s[1], a, b + 2);
        }
        const int32_t first = block * keyBlock;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int32_t seen = tile.start + rowOf(g + 8 * r) - first, from = call.window > 0 ? seen - call.window + 1 : 0;
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const int32_t key = 16 * warp + 8 * n + 2 * t + e;
                    if (key > seen || key < from) s[n][2 * r + e] = -INFINITY;
                }
            const float blockMax = quadMax(fmaxf(fmaxf(s[0][2 * r], s[0][2 * r + 1]), fmaxf(s[1][2 * r], s[1][2 * r + 1])));
            if (t == 0) maxima[warp * Shape::height + g + 8 * r] = blockMax;
        }
        __syncthreads();
        float alpha[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = g + 8 * r;
            float blockMax = maxima[row];
#pragma unroll
            for (int w = 1; w < Shape::warps; w++) blockMax = fmaxf(blockMax, maxima[w * Shape::height + row]);
            float subtrahend;
            raise(m[r], blockMax, call.c, subtrahend, alpha[r]);
#pragma unroll
            for (int n = 0; n < 2; n++) {
#pragma unroll
                for (int e = 0; e < 2; e++) s[n][2 * r + e] = probability(s[n][2 * r + e], call.c, subtrahend);
                *reinterpret_cast<uint32_t *>(weights + Swizzled<keyBlock>::at(row, 2 * warp + n) + 2 * t) =
                    packBf16(s[n][2 * r], s[n][2 * r + 1]);
            }
            leaves[(warp * Shape::height + row) * 4 + t] = sum16(s[0][2 * r], s[0][2 * r + 1], s[1][2 * r], s[1][2 * r + 1]);
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float leaf[4];
#pragma unroll
            for (int w = 0; w < 4; w++) leaf[w] = leaves[(w * Shape::height + g + 8 * r) * 4 + t];
            l[r] = addBlock(l[r], alpha[r], leaf[0], leaf[1], leaf[2], leaf[3]);
        }
#pragma unroll
        for (int j = 0; j < columns; j++) {
            o[j][0] *= alpha[0];
            o[j][1] *= alpha[0];
            o[j][2] *= alpha[1];
            o[j][3] *= alpha[1];
        }
#pragma unroll
        for (int k = 0; k < 4; k += 2) {  // two steps of 16 keys
            uint32_t p[2][4];
            tc::ldmatrix_x4(p[0], weightLane(weights, 0, k));
            tc::ldmatrix_x4(p[1], weightLane(weights, 0, k + 1));
#pragma unroll
            for (int j = 0; j < columns; j++) {
                const int column = warp + j * Shape::warps;
                if (column >= DP / 8) break;
                // Rows of one ldmatrix: lane i reads key 16 k + i, eight columns of it.
                uint32_t b[4];
                const int key = 16 * k + lane;
                tc::ldmatrix_x4_trans(b, values + Swizzled<DP>::at(key, column));
                tc::mma_m16n8k16_bf16(o[j], p[0], b);
                tc::mma_m16n8k16_bf16(o[j], p[1], b + 2);
            }
        }
    }

    const float factor[2] = {reciprocal(quadSum(l[0])), reciprocal(quadSum(l[1]))};
    __syncthreads();  // the last read of the queries, whose place takes the result
#pragma unroll
    for (int j = 0; j < columns; j++) {
        const int column = warp + j * Shape::warps;
        if (column >= DP / 8) break;
#pragma unroll
        for (int r = 0; r < 2; r++)
            *reinterpret_cast<uint32_t *>(queries + Swizzled<DP>::at(g + 8 * r, column) + 2 * t) =
                packBf16(o[j][2 * r] * factor[r] + 0.0f, o[j][2 * r + 1] * factor[r] + 0.0f);
    }
    __syncthreads();
    constexpr int chunks = Swizzled<DP>::chunks;
    for (int item = threadIdx.x; item < Shape::height * chunks; item += 128) {
        const int f = item / chunks, chunk = item % chunks;
        if (f < valid && chunk * 8 < call.D) storeWords(result(f) + chunk * 8, loadWords(queries + Swizzled<DP>::at(f, chunk)));
    }
}

template <int DP>
void launchNarrow(Call<bf16> call, int64_t longest, cudaStream_t stream) {
    using Shape = Narrow<DP>;
    const int64_t blocks = ceilDiv(longest * (call.H / call.Hkv), Shape::height) * call.S * call.Hkv;
    ST_LAUNCH((attentionNarrow<DP>), dim3(static_cast<unsigned>(blocks)), dim3(Shape::threads), Shape::sharedBytes, stream, call);
}

/// The head size in shared memory: D rounded up to a size with kernels; the columns added are zeros. 0 if D has no tensor-core kernel.
inline int paddedHead(int64_t D) {
    if (D % 8 != 0) return 0;
    return D <= 16 ? 16 : D <= 32 ? 32 : D <= 64 ? 64 : D <= 96 ? 96 : D <= 128 ? 128 : D <= 192 ? 192 : D <= 256 ? 256 : 0;
}

/// Runs `statement` with DP the constant `padded`, which paddedHead gave.
#define ST_BY_PADDED_HEAD(padded, ...)                           \
    switch (padded) {                                            \
        case 16: { constexpr int DP = 16; __VA_ARGS__; } break;   \
        case 32: { constexpr int DP = 32; __VA_ARGS__; } break;   \
        case 64: { constexpr int DP = 64; __VA_ARGS__; } break;   \
        case 96: { constexpr int DP = 96; __VA_ARGS__; } break;   \
        case 128: { constexpr int DP = 128; __VA_ARGS__; } break; \
        case 192: { constexpr int DP = 192; __VA_ARGS__; } break; \
        default: { constexpr int DP = 256; __VA_ARGS__; } break;  \
    }

}  // namespace attention
}  // namespace st

#endif
