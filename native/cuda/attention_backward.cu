// Gradients of causal grouped-query attention: probabilities are recomputed from the saved log-sum-exp.           After Dao 2023
//
//   p_ij = exp(scale q_i . k_j - lse_i)        delta_i = dy_i . y_i
//   ds_ij = p_ij (dy_i . v_j - delta_i)        dv_j = sum_i p_ij dy_i
//   dq_i = scale sum_j ds_ij k_j               dk_j = scale sum_i ds_ij q_i
//
// Three kernels, all sums in a fixed order, nothing atomic:
//   delta    one pass over y and dy into scratch (N, H): 4 N H D bytes in bf16
//   keys     a block per tile of keys loops over the heads of the group and over their query tiles; dk and dv stay in registers. Works on
//            the transposed score tile (keys are rows), so that p and ds go from accumulator to operand without shared memory
//   queries  a block per tile of queries loops over the keys; dq stays in registers
// Scores and dy . v are computed in both, 14 D FLOP per (query, key) pair seen where 10 D would do; the alternative is to pass partial dq
// through memory, in f32, once per key tile.
#include "attention_bf16.cuh"
#include "attention_f32.cuh"
#include "attention_plain.cuh"
#include "attention_sm90.cuh"

namespace st {
namespace attention {
namespace {

/// One call of st_attention_backward; pointers at head 0 of row 0, strides in elements.
template <typename T>
struct Gradient {
    T *dq, *dk, *dv;
    const T *q, *k, *v, *y, *dy;
    const float *lse, *delta;  // (N, H)
    const int32_t *cuSeqlens;
    int64_t stride;            // between rows of qkv and of dqkv
    int64_t N;
    int32_t S, H, Hkv, D, window, tiles;
    float scale, c;            // c = scale * log2(e)

    __device__ __forceinline__ int64_t yStride() const { return static_cast<int64_t>(H) * D; }
};

// ---- delta ------------------------------------------------------------------------------------------------------------

/// delta (n, h) = y . dy; `width` lanes per (row, head) take chunks of 16 bytes, or single elements where D does not allow chunks.
template <typename T, int width>
__global__ void __launch_bounds__(256) attentionDelta(float *delta, const T *y, const T *dy, int64_t pairs, int32_t D) {
    const int64_t pair = (static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x) / width;
    const int lane = threadIdx.x % width;
    float sum = 0.0f;
    if (pair < pairs) {
        const T *const a = y + pair * D, *const b = dy + pair * D;
        if (D % perWords<T> == 0) {
            for (int32_t d = lane * perWords<T>; d < D; d += width * perWords<T>) {
                float x[perWords<T>], dx[perWords<T>];
                unpack(loadWords(a + d), x);
                unpack(loadWords(b + d), dx);
                for (int i = 0; i < perWords<T>; i++) sum = fmaf(x[i], dx[i], sum);
            }
        } else {
            for (int32_t d = lane; d < D; d += width) sum = fmaf(toFloat(a[d]), toFloat(b[d]), sum);
        }
    }
    sum = warpSum<width>(sum);
    if (pair < pairs && lane == 0) delta[pair] = sum;
}

template <typename T>
void launchDelta(const Gradient<T> &call, float *delta, cudaStream_t stream) {
    const int64_t pairs = call.N * call.H;
    if (call.D <= 4 * perWords<T>) {
        ST_LAUNCH((attentionDelta<T, 4>), dim3(static_cast<unsigned>(ceilDiv(pairs, 64))), dim3(256), 0, stream, delta, call.y, call.dy, pairs,
                  call.D);
    } else {
        ST_LAUNCH((attentionDelta<T, 16>), dim3(static_cast<unsigned>(ceilDiv(pairs, 16))), dim3(256), 0, stream, delta, call.y, call.dy, pairs,
                  call.D);
    }
}

// ---- bf16: dk and dv --------------------------------------------------------------------------------------------------

/// WARPS warps of MT * 16 keys; query tiles of `step` rows in two stages, worked on `chunk` rows at a time.
template <int DP, int MT, int WARPS>
struct KeySide {
    static constexpr int height = WARPS * MT * 16, threads = WARPS * 32;
    static constexpr int step = DP <= 128 ? 64 : 32, chunk = DP <= 128 ? 32 : 16;
    static constexpr int stageElements = 2 * step * DP;
    static constexpr int sharedBytes = (2 * height * DP + 2 * stageElements) * static_cast<int>(sizeof(bf16)) + 4 * step * 4;
    static constexpr int residents = WARPS >= 8 || 2 * sharedBytes > 220 * 1024 ? 1 : 2;
};

/// withKeys, withValues: which of dk and dv to make; above head size 128 the registers hold only one of them.
template <int DP, int MT, int WARPS, bool withKeys, bool withValues>
__global__ void __launch_bounds__(WARPS * 32, (KeySide<DP, MT, WARPS>::residents)) attentionBackwardKeys(const Gradient<bf16> call) {
    using Shape = KeySide<DP, MT, WARPS>;
    constexpr int warpRows = MT * 16, NC = Shape::chunk / 16;
    ST_DYNAMIC_SHARED(bf16, shared);
    bf16 *const keys = shared, *const values = keys + Shape::height * DP, *const stages = values + Shape::height * DP;
    float *const sums = reinterpret_cast<float *>(stages + 2 * Shape::stageElements);  // (stage, lse log2(e) or delta, query)

    Tile tile;
    if (!tileOf(&tile, call.cuSeqlens, nullptr, call.N, call.S, call.tiles, call.Hkv, Shape::height, blockIdx.x)) return;
    const int32_t valid = min(Shape::height, tile.rows - tile.first), group = call.H / call.Hkv;
    const int64_t firstKey = static_cast<int64_t>(tile.row) + tile.first;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;

    // Query tiles start at multiples of `step`; the first one holds the diagonal, the last one ends the sequence or the window.
    const int32_t begin = tile.first / Shape::step;
    const int32_t lastQuery = call.window > 0 ? min(tile.rows - 1, tile.first + valid - 1 + call.window - 1) : tile.rows - 1;
    const int32_t perHead = lastQuery / Shape::step + 1 - begin, total = perHead * group;

    const bf16 *const k = call.k + firstKey * call.stride + tile.head * call.D, *const v = call.v + firstKey * call.stride + tile.head * call.D;
    copyTile<DP, Shape::height, Shape::threads>(keys, valid, call.D, [&](int r) { return k + r * call.stride; });
    copyTile<DP, Shape::height, Shape::threads>(values, valid, call.D, [&](int r) { return v + r * call.stride; });

    const auto load = [&](int32_t item) {
        bf16 *const stage = stages + (item & 1) * Shape::stageElements;
        const int32_t head = tile.head * group + item / perHead, first = (begin + item % perHead) * Shape::step;
        const bf16 *const q = call.q + (tile.row + first) * call.stride + head * call.D;
        const bf16 *const dy = call.dy + (tile.row + first) * call.yStride() + head * call.D;
        copyTile<DP, Shape::step, Shape::threads>(stage, tile.rows - first, call.D, [&](int r) { return q + r * call.stride; });
        copyTile<DP, Shape::step, Shape::threads>(stage + Shape::step * DP, tile.rows - first, call.D,
                                                  [&](int r) { return dy + r * call.yStride(); });
    };
    // The row sums of a tile go through a register, because they are too small and scattered for cp.async: fetched before a tile's work,
    // stored after it. Rows past the end get lse = inf, which makes their p = 0.
    const auto fetchSums = [&](int32_t item) {
        const int32_t head = tile.head * group + item / perHead;
        const int32_t r = (begin + item % perHead) * Shape::step + static_cast<int32_t>(threadIdx.x % Shape::step);
        const bool second = threadIdx.x / Shape::step == 1;
        if (r >= tile.rows) return second ? 0.0f : INFINITY;
        const int64_t index = static_cast<int64_t>(tile.row + r) * call.H + head;
        return second ? call.delta[index] : call.lse[index] * log2e;
    };
    const auto storeSums = [&](int32_t item, float sum) {
        if (threadIdx.x < 2 * Shape::step) sums[(item & 1) * 2 * Shape::step + threadIdx.x] = sum;
    };
    static_assert(Shape::threads >= 2 * Shape::step, "one sum per thread");
    load(0);
    tc::cp_async_commit();
    storeSums(0, fetchSums(0));

    const int32_t warpLow = tile.first + warp * warpRows, warpHigh = warpLow + warpRows - 1;
    const bool idle = warp * warpRows >= valid;
    const Lane16x16<DP, true> rowLane;
    const Lane16x16<DP, false> columnLane;
    float dk[withKeys ? MT : 1][withKeys ? DP / 8 : 1][4] = {}, dv[withValues ? MT : 1][withValues ? DP / 8 : 1][4] = {};

    for (int32_t item = 0; item < total; item++) {
        tc::cp_async_wait<0>();
        __syncthreads();
        float nextSum = 0.0f;
        if (item + 1 < total) {
            load(item + 1);
            nextSum = fetchSums(item + 1);
        }
        tc::cp_async_commit();
        const int32_t firstQuery = (begin + item % perHead) * Shape::step;
        const bf16 *const queries = stages + (item & 1) * Shape::stageElements, *const dys = queries + Shape::step * DP;
        const float *const lse = sums + (item & 1) * 2 * Shape::step, *const delta = lse + Shape::step;

        // Not unrolled: the registers of one chunk are all there is room for.
#pragma unroll 1
        for (int chunk = 0; chunk < Shape::step; chunk += Shape::chunk) {
            const int32_t low = firstQuery + chunk, high = low + Shape::chunk - 1;
            if (idle || high < warpLow || low >= tile.rows || (call.window > 0 && low - warpHigh >= call.window)) continue;
            float s[MT][2 * NC][4] = {}, dp[MT][2 * NC][4] = {};
#pragma unroll (MT == 2 ? 1 : 4)
            for (int step = 0; step < DP / 16; step++) {
                uint32_t a[MT][4], b[4];
#pragma unroll
                for (int i = 0; i < MT; i++) tc::ldmatrix_x4(a[i], rowLane(keys, warp * warpRows + 16 * i, step));
#pragma unroll
                for (int n = 0; n < NC; n++) {
                    tc::ldmatrix_x4(b, columnLane(queries, chunk + 16 * n, step));
#pragma unroll
                    for (int i = 0; i < MT; i++) {
                        tc::mma_m16n8k16_bf16(s[i][2 * n], a[i], b);
                        tc::mma_m16n8k16_bf16(s[i][2 * n + 1], a[i], b + 2);
                    }
                }
                if constexpr (withKeys) {
#pragma unroll
                    for (int i = 0; i < MT; i++) tc::ldmatrix_x4(a[i], rowLane(values, warp * warpRows + 16 * i, step));
#pragma unroll
                    for (int n = 0; n < NC; n++) {
                        tc::ldmatrix_x4(b, columnLane(dys, chunk + 16 * n, step));
#pragma unroll
                        for (int i = 0; i < MT; i++) {
                            tc::mma_m16n8k16_bf16(dp[i][2 * n], a[i], b);
                            tc::mma_m16n8k16_bf16(dp[i][2 * n + 1], a[i], b + 2);
                        }
                    }
                }
            }
            const bool masked = low < warpHigh || (call.window > 0 && high - warpLow >= call.window);
#pragma unroll
            for (int n = 0; n < 2 * NC; n++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const int column = chunk + 8 * n + 2 * t + e;
                    const float rowLse = lse[column], rowDelta = delta[column];
#pragma unroll
                    for (int i = 0; i < MT; i++)
#pragma unroll
                        for (int r = 0; r < 2; r++) {
                            float p = exp2Fast(fmaf(s[i][n][2 * r + e], call.c, -rowLse));
                            if (masked) {
                                const int32_t distance = firstQuery + column - (warpLow + 16 * i + 8 * r + g);
                                if (distance < 0 || (call.window > 0 && distance >= call.window)) p = 0.0f;
                            }
                            s[i][n][2 * r + e] = p;
                            dp[i][n][2 * r + e] = p * (dp[i][n][2 * r + e] - rowDelta);
                        }
                }
            }
#pragma unroll
            for (int step = 0; step < NC; step++) {
                uint32_t p[MT][4], ds[MT][4];
#pragma unroll
                for (int i = 0; i < MT; i++)
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        p[i][2 * half] = packBf16(s[i][2 * step + half][0], s[i][2 * step + half][1]);
                        p[i][2 * half + 1] = packBf16(s[i][2 * step + half][2], s[i][2 * step + half][3]);
                        ds[i][2 * half] = packBf16(dp[i][2 * step + half][0], dp[i][2 * step + half][1]);
                        ds[i][2 * half + 1] = packBf16(dp[i][2 * step + half][2], dp[i][2 * step + half][3]);
                    }
#pragma unroll
                for (int n = 0; n < DP / 16; n++) {
                    uint32_t b[4];
                    if constexpr (withValues) {
                        tc::ldmatrix_x4_trans(b, rowLane(dys, chunk + 16 * step, n));
#pragma unroll
                        for (int i = 0; i < MT; i++) {
                            tc::mma_m16n8k16_bf16(dv[i][2 * n], p[i], b);
                            tc::mma_m16n8k16_bf16(dv[i][2 * n + 1], p[i], b + 2);
                        }
                    }
                    if constexpr (withKeys) {
                        tc::ldmatrix_x4_trans(b, rowLane(queries, chunk + 16 * step, n));
#pragma unroll
                        for (int i = 0; i < MT; i++) {
                            tc::mma_m16n8k16_bf16(dk[i][2 * n], ds[i], b);
                            tc::mma_m16n8k16_bf16(dk[i][2 * n + 1], ds[i], b + 2);
                        }
                    }
                }
            }
        }
        if (item + 1 < total) storeSums(item + 1, nextSum);
    }
    if (idle) return;

    __syncwarp();  // the warp's own keys and values are read for the last time: their place takes the result
#pragma unroll
    for (int i = 0; i < MT; i++) {
        if constexpr (withKeys) roundInto<DP>(keys, warp * warpRows + 16 * i, &dk[i][0][0], call.scale, call.scale);
        if constexpr (withValues) roundInto<DP>(values, warp * warpRows + 16 * i, &dv[i][0][0], 1.0f, 1.0f);
    }
    __syncwarp();
    const int64_t out = (firstKey + warp * warpRows) * call.stride + tile.head * call.D;
    if (withKeys) storeRows<DP, warpRows>(call.dk + out, call.stride, keys, warp * warpRows, valid - warp * warpRows, call.D);
    if (withValues) storeRows<DP, warpRows>(call.dv + out, call.stride, values, warp * warpRows, valid - warp * warpRows, call.D);
}

// ---- bf16: dq ---------------------------------------------------------------------------------------------------------

/// WARPS warps of MT * 16 queries; key tiles of `step` rows in two stages, worked on `chunk` keys at a time.
template <int DP, int MT, int WARPS>
struct QuerySide {
    static constexpr int height = WARPS * MT * 16, threads = WARPS * 32;
    static constexpr int step = DP <= 64 ? 64 : 32, chunk = 32;
    static constexpr int stageElements = 2 * step * DP;
    static constexpr int sharedBytes = (2 * height * DP + 2 * stageElements) * static_cast<int>(sizeof(bf16));
    static constexpr int residents = 2 * sharedBytes <= 220 * 1024 ? 2 : 1;
};

template <int DP, int MT, int WARPS>
__global__ void __launch_bounds__(WARPS * 32, (QuerySide<DP, MT, WARPS>::residents)) attentionBackwardQueries(const Gradient<bf16> call) {
    using Shape = QuerySide<DP, MT, WARPS>;
    constexpr int warpRows = MT * 16, NC = Shape::chunk / 16;
    ST_DYNAMIC_SHARED(bf16, shared);
    bf16 *const queries = shared, *const dys = queries + Shape::height * DP, *const stages = dys + Shape::height * DP;

    Tile tile;
    if (!tileOf(&tile, call.cuSeqlens, nullptr, call.N, call.S, call.tiles, call.H, Shape::height, blockIdx.x)) return;
    const int32_t valid = min(Shape::height, tile.rows - tile.first), kvHead = tile.head / (call.H / call.Hkv);
    const int64_t firstRow = static_cast<int64_t>(tile.row) + tile.first;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int32_t begin = call.window > 0 ? max(0, tile.first - call.window + 1) / Shape::step : 0;
    const int32_t end = (tile.first + valid - 1) / Shape::step + 1;

    const bf16 *const q = call.q + firstRow * call.stride + tile.head * call.D;
    const bf16 *const dy = call.dy + firstRow * call.yStride() + tile.head * call.D;
    copyTile<DP, Shape::height, Shape::threads>(queries, valid, call.D, [&](int r) { return q + r * call.stride; });
    copyTile<DP, Shape::height, Shape::threads>(dys, valid, call.D, [&](int r) { return dy + r * call.yStride(); });
    const auto load = [&](int32_t block) {
        bf16 *const stage = stages + (block & 1) * Shape::stageElements;
        const int32_t first = block * Shape::step;
        const int64_t from = static_cast<int64_t>(tile.row + first) * call.stride + kvHead * call.D;
        copyTile<DP, Shape::step, Shape::threads>(stage, tile.rows - first, call.D, [&](int r) { return call.k + from + r * call.stride; });
        copyTile<DP, Shape::step, Shape::threads>(stage + Shape::step * DP, tile.rows - first, call.D,
                                                  [&](int r) { return call.v + from + r * call.stride; });
    };
    load(begin);
    tc::cp_async_commit();

    const int32_t warpLow = tile.first + warp * warpRows, warpHigh = warpLow + warpRows - 1;
    const bool idle = warp * warpRows >= valid;
    const Lane16x16<DP, true> rowLane;
    const Lane16x16<DP, false> columnLane;
    float lse[MT][2], delta[MT][2];
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = warp * warpRows + 16 * i + 8 * r + g;
            lse[i][r] = row < valid ? call.lse[(firstRow + row) * call.H + tile.head] * log2e : INFINITY;
            delta[i][r] = row < valid ? call.delta[(firstRow + row) * call.H + tile.head] : 0.0f;
        }
    float dq[MT][DP / 8][4] = {};

    for (int32_t block = begin; block < end; block++) {
        tc::cp_async_wait<0>();
        __syncthreads();
        if (block + 1 < end) load(block + 1);
        tc::cp_async_commit();
        const bf16 *const keys = stages + (block & 1) * Shape::stageElements, *const values = keys + Shape::step * DP;
#pragma unroll 1
        for (int chunk = 0; chunk < Shape::step; chunk += Shape::chunk) {
            const int32_t low = block * Shape::step + chunk, high = low + Shape::chunk - 1;
            if (idle || low > warpHigh || (call.window > 0 && high <= warpLow - call.window)) continue;
            float s[MT][2 * NC][4] = {}, dp[MT][2 * NC][4] = {};
#pragma unroll 4
            for (int step = 0; step < DP / 16; step++) {
                uint32_t a[MT][4], b[4];
#pragma unroll
                for (int i = 0; i < MT; i++) tc::ldmatrix_x4(a[i], rowLane(queries, warp * warpRows + 16 * i, step));
#pragma unroll
                for (int n = 0; n < NC; n++) {
                    tc::ldmatrix_x4(b, columnLane(keys, chunk + 16 * n, step));
#pragma unroll
                    for (int i = 0; i < MT; i++) {
                        tc::mma_m16n8k16_bf16(s[i][2 * n], a[i], b);
                        tc::mma_m16n8k16_bf16(s[i][2 * n + 1], a[i], b + 2);
                    }
                }
#pragma unroll
                for (int i = 0; i < MT; i++) tc::ldmatrix_x4(a[i], rowLane(dys, warp * warpRows + 16 * i, step));
#pragma unroll
                for (int n = 0; n < NC; n++) {
                    tc::ldmatrix_x4(b, columnLane(values, chunk + 16 * n, step));
#pragma unroll
                    for (int i = 0; i < MT; i++) {
                        tc::mma_m16n8k16_bf16(dp[i][2 * n], a[i], b);
                        tc::mma_m16n8k16_bf16(dp[i][2 * n + 1], a[i], b + 2);
                    }
                }
            }
            const bool masked = high > warpLow || (call.window > 0 && low <= warpHigh - call.window);
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int n = 0; n < 2 * NC; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        float p = exp2Fast(fmaf(s[i][n][e], call.c, -lse[i][e / 2]));
                        if (masked) {
                            const int32_t distance = warpLow + 16 * i + 8 * (e / 2) + g - (low + 8 * n + 2 * t + e % 2);
                            if (distance < 0 || (call.window > 0 && distance >= call.window)) p = 0.0f;
                        }
                        dp[i][n][e] = p * (dp[i][n][e] - delta[i][e / 2]);
                    }
#pragma unroll
            for (int step = 0; step < NC; step++) {
                uint32_t ds[MT][4];
#pragma unroll
                for (int i = 0; i < MT; i++)
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        ds[i][2 * half] = packBf16(dp[i][2 * step + half][0], dp[i][2 * step + half][1]);
                        ds[i][2 * half + 1] = packBf16(dp[i][2 * step + half][2], dp[i][2 * step + half][3]);
                    }
#pragma unroll
                for (int n = 0; n < DP / 16; n++) {
                    uint32_t b[4];
                    tc::ldmatrix_x4_trans(b, rowLane(keys, chunk + 16 * step, n));
#pragma unroll
                    for (int i = 0; i < MT; i++) {
                        tc::mma_m16n8k16_bf16(dq[i][2 * n], ds[i], b);
                        tc::mma_m16n8k16_bf16(dq[i][2 * n + 1], ds[i], b + 2);
                    }
                }
            }
        }
    }
    if (idle) return;

    __syncwarp();
#pragma unroll
    for (int i = 0; i < MT; i++) roundInto<DP>(queries, warp * warpRows + 16 * i, &dq[i][0][0], call.scale, call.scale);
    __syncwarp();
    storeRows<DP, warpRows>(call.dq + (firstRow + warp * warpRows) * call.stride + tile.head * call.D, call.stride, queries, warp * warpRows,
                            valid - warp * warpRows, call.D);
}

template <int DP, int MT, int WARPS, bool withKeys = true, bool withValues = true>
void launchKeys(Gradient<bf16> call, int64_t longest, cudaStream_t stream) {
    using Shape = KeySide<DP, MT, WARPS>;
    const int64_t blocks = tileCount(call.N, call.S, longest, call.Hkv, Shape::height, &call.tiles);
    ST_LAUNCH((attentionBackwardKeys<DP, MT, WARPS, withKeys, withValues>), dim3(static_cast<unsigned>(blocks)), dim3(Shape::threads), Shape::sharedBytes, stream,
              call);
}

template <int DP, int MT, int WARPS>
void launchQueries(Gradient<bf16> call, int64_t longest, cudaStream_t stream) {
    using Shape = QuerySide<DP, MT, WARPS>;
    const int64_t blocks = tileCount(call.N, call.S, longest, call.H, Shape::height, &call.tiles);
    ST_LAUNCH((attentionBackwardQueries<DP, MT, WARPS>), dim3(static_cast<unsigned>(blocks)), dim3(Shape::threads), Shape::sharedBytes, stream,
              call);
}

/// Tall tiles for long sequences; above head size 128 registers and shared memory allow low ones only.
template <int DP>
void launchPadded(const Gradient<bf16> &call, int64_t longest, cudaStream_t stream) {
    constexpr bool large = DP > 128;
    if constexpr (large) {
        launchKeys<DP, 1, 4, true, false>(call, longest, stream);
        launchKeys<DP, 1, 4, false, true>(call, longest, stream);
        launchQueries<DP, 1, 4>(call, longest, stream);
    } else if (longest <= 64) {
        launchKeys<DP, 1, 4>(call, longest, stream);
        launchQueries<DP, 1, 4>(call, longest, stream);
    } else {
        constexpr int keyMT = DP <= 64 ? 2 : 1;
        launchKeys<DP, keyMT, keyMT == 2 ? 4 : 8>(call, longest, stream);
        launchQueries<DP, 2, 4>(call, longest, stream);
    }
}

// ---- f32 --------------------------------------------------------------------------------------------------------------

/// Tiles of the f32 kernels: P::height rows of one side, 64 of the other.
template <int DP>
using Side = Plane<DP, 4>;

template <int DP>
constexpr int sideBytes = ((2 * Side<DP>::height + 2 * keyBlock) * Side<DP>::stride + Side<DP>::height * Side<DP>::weightStride + 2 * keyBlock) *
                          static_cast<int>(sizeof(float));

template <int DP>
__global__ void __launch_bounds__(128, 2) attentionBackwardKeysF32(const Gradient<float> call) {
    using P = Side<DP>;
    constexpr int R = P::height / 16;
    ST_DYNAMIC_SHARED(float, shared);
    float *const keys = shared, *const values = keys + P::height * P::stride, *const queries = values + P::height * P::stride,
                 *const dys = queries + keyBlock * P::stride, *const weights = dys + keyBlock * P::stride,
                 *const lse = weights + P::height * P::weightStride, *const delta = lse + keyBlock;
    Tile tile;
    if (!tileOf(&tile, call.cuSeqlens, nullptr, call.N, call.S, call.tiles, call.Hkv, P::height, blockIdx.x)) return;
    const int32_t valid = min(P::height, tile.rows - tile.first), group = call.H / call.Hkv;
    const int64_t firstKey = static_cast<int64_t>(tile.row) + tile.first;
    const float *const k = call.k + firstKey * call.stride + tile.head * call.D, *const v = call.v + firstKey * call.stride + tile.head * call.D;
    P::template copy<P::height>(keys, valid, call.D, [&](int r) { return k + r * call.stride; });
    P::template copy<P::height>(values, valid, call.D, [&](int r) { return v + r * call.stride; });

    const int32_t lastQuery = call.window > 0 ? min(tile.rows - 1, tile.first + valid - 1 + call.window - 1) : tile.rows - 1;
    float dk[R][P::columns] = {}, dv[R][P::columns] = {};
    for (int32_t head = tile.head * group; head < (tile.head + 1) * group; head++) {
        for (int32_t first = tile.first / keyBlock * keyBlock; first <= lastQuery; first += keyBlock) {
            __syncthreads();
            const float *const q = call.q + (tile.row + first) * call.stride + head * call.D;
            const float *const dy = call.dy + (tile.row + first) * call.yStride() + head * call.D;
            P::template copy<keyBlock>(queries, tile.rows - first, call.D, [&](int r) { return q + r * call.stride; });
            P::template copy<keyBlock>(dys, tile.rows - first, call.D, [&](int r) { return dy + r * call.yStride(); });
            tc::cp_async_commit();
            if (threadIdx.x < keyBlock) {
                const bool inside = first + static_cast<int32_t>(threadIdx.x) < tile.rows;
                const int64_t index = (static_cast<int64_t>(tile.row) + first + threadIdx.x) * call.H + head;
                lse[threadIdx.x] = inside ? call.lse[index] * log2e : INFINITY;
                delta[threadIdx.x] = inside ? call.delta[index] : 0.0f;
            }
            tc::cp_async_wait<0>();
            __syncthreads();
            float p[R][8], ds[R][8];
            P::scores(p, keys, queries);
            P::scores(ds, values, dys);
#pragma unroll
            for (int r = 0; r < R; r++)
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    const int column = threadIdx.x % 8 + 8 * i;
                    const int32_t distance = first + column - (tile.first + P::row(r));
                    const bool seen = distance >= 0 && (call.window == 0 || distance < call.window);
                    p[r][i] = seen ? exp2Fast(fmaf(p[r][i], call.c, -lse[column])) : 0.0f;
                    ds[r][i] = p[r][i] * (ds[r][i] - delta[column]);
                }
            P::share(weights, p);
            P::accumulate(dv, weights, dys);
            P::share(weights, ds);
            P::accumulate(dk, weights, queries);
        }
    }
    float scale[R], one[R];
    for (int r = 0; r < R; r++) {
        scale[r] = call.scale;
        one[r] = 1.0f;
    }
    P::store(dk, scale, valid, call.D, [&](int r) { return call.dk + (firstKey + r) * call.stride + tile.head * call.D; });
    P::store(dv, one, valid, call.D, [&](int r) { return call.dv + (firstKey + r) * call.stride + tile.head * call.D; });
}

template <int DP>
__global__ void __launch_bounds__(128, 2) attentionBackwardQueriesF32(const Gradient<float> call) {
    using P = Side<DP>;
    constexpr int R = P::height / 16;
    ST_DYNAMIC_SHARED(float, shared);
    float *const queries = shared, *const dys = queries + P::height * P::stride, *const keys = dys + P::height * P::stride,
                 *const values = keys + keyBlock * P::stride, *const weights = values + keyBlock * P::stride;
    Tile tile;
    if (!tileOf(&tile, call.cuSeqlens, nullptr, call.N, call.S, call.tiles, call.H, P::height, blockIdx.x)) return;
    const int32_t valid = min(P::height, tile.rows - tile.first), kvHead = tile.head / (call.H / call.Hkv);
    const int64_t firstRow = static_cast<int64_t>(tile.row) + tile.first;
    const float *const q = call.q + firstRow * call.stride + tile.head * call.D;
    const float *const dy = call.dy + firstRow * call.yStride() + tile.head * call.D;
    P::template copy<P::height>(queries, valid, call.D, [&](int r) { return q + r * call.stride; });
    P::template copy<P::height>(dys, valid, call.D, [&](int r) { return dy + r * call.yStride(); });
    float lse[R], delta[R], dq[R][P::columns] = {};
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int64_t index = (firstRow + P::row(r)) * call.H + tile.head;
        lse[r] = P::row(r) < valid ? call.lse[index] * log2e : INFINITY;
        delta[r] = P::row(r) < valid ? call.delta[index] : 0.0f;
    }
    for (int32_t block = firstBlock(tile.first, call.window); block < endBlock(tile.first + valid - 1); block++) {
        const int32_t first = block * keyBlock;
        const int64_t from = static_cast<int64_t>(tile.row + first) * call.stride + kvHead * call.D;
        __syncthreads();
        P::template copy<keyBlock>(keys, tile.rows - first, call.D, [&](int r) { return call.k + from + r * call.stride; });
        P::template copy<keyBlock>(values, tile.rows - first, call.D, [&](int r) { return call.v + from + r * call.stride; });
        tc::cp_async_commit();
        tc::cp_async_wait<0>();
        __syncthreads();
        float p[R][8], ds[R][8];
        P::scores(p, queries, keys);
        P::scores(ds, dys, values);
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const int32_t distance = tile.first + P::row(r) - (first + static_cast<int32_t>(threadIdx.x % 8) + 8 * i);
                const bool seen = distance >= 0 && (call.window == 0 || distance < call.window);
                ds[r][i] = seen ? exp2Fast(fmaf(p[r][i], call.c, -lse[r])) * (ds[r][i] - delta[r]) : 0.0f;
            }
        P::share(weights, ds);
        P::accumulate(dq, weights, keys);
    }
    float scale[R];
    for (int r = 0; r < R; r++) scale[r] = call.scale;
    P::store(dq, scale, valid, call.D, [&](int r) { return call.dq + (firstRow + r) * call.stride + tile.head * call.D; });
}

template <int DP>
void launchPadded(Gradient<float> call, int64_t longest, cudaStream_t stream) {
    using P = Side<DP>;
    int64_t blocks = tileCount(call.N, call.S, longest, call.Hkv, P::height, &call.tiles);
    ST_LAUNCH((attentionBackwardKeysF32<DP>), dim3(static_cast<unsigned>(blocks)), dim3(P::threads), sideBytes<DP>, stream, call);
    blocks = tileCount(call.N, call.S, longest, call.H, P::height, &call.tiles);
    ST_LAUNCH((attentionBackwardQueriesF32<DP>), dim3(static_cast<unsigned>(blocks)), dim3(P::threads), sideBytes<DP>, stream, call);
}

// ---- any head size ----------------------------------------------------------------------------------------------------

/// p_ij, and ds_ij / p_ij + delta_i = dy_i . v_j, summed over the warp's lanes; all lanes have both.
template <typename T>
__device__ __forceinline__ void pair(const Gradient<T> &call, int64_t query, int64_t key, int32_t head, int32_t kvHead, float *p, float *ds) {
    const T *const q = call.q + query * call.stride + head * call.D, *const k = call.k + key * call.stride + kvHead * call.D;
    const T *const v = call.v + key * call.stride + kvHead * call.D, *const dy = call.dy + query * call.yStride() + head * call.D;
    float s = 0.0f, dp = 0.0f;
    for (int32_t d = threadIdx.x; d < call.D; d += 32) {
        s = fmaf(toFloat(q[d]), toFloat(k[d]), s);
        dp = fmaf(toFloat(dy[d]), toFloat(v[d]), dp);
    }
    *p = exp2Fast(fmaf(warpSum(s), call.c, -call.lse[query * call.H + head] * log2e));
    *ds = *p * (warpSum(dp) - call.delta[query * call.H + head]);
}

/// One warp per (row, kv head): dk and dv of a key.
template <typename T>
__global__ void __launch_bounds__(32) attentionBackwardKeysPlain(const Gradient<T> call) {
    ST_DYNAMIC_SHARED(float, dk);
    float *const dv = dk + call.D;
    const int64_t key = blockIdx.x / call.Hkv;
    const int32_t kvHead = static_cast<int32_t>(blockIdx.x % call.Hkv), group = call.H / call.Hkv;
    const int64_t end = call.cuSeqlens[sequenceOf(call.cuSeqlens, call.S, key) + 1];
    const int64_t last = call.window > 0 && key + call.window < end ? key + call.window : end;
    for (int32_t d = threadIdx.x; d < call.D; d += 32) dk[d] = dv[d] = 0.0f;
    for (int32_t head = kvHead * group; head < (kvHead + 1) * group; head++) {
        for (int64_t query = key; query < last; query++) {
            float p, ds;
            pair(call, query, key, head, kvHead, &p, &ds);
            for (int32_t d = threadIdx.x; d < call.D; d += 32) {
                dv[d] = fmaf(p, toFloat(call.dy[query * call.yStride() + head * call.D + d]), dv[d]);
                dk[d] = fmaf(ds, toFloat(call.q[query * call.stride + head * call.D + d]), dk[d]);
            }
        }
    }
    for (int32_t d = threadIdx.x; d < call.D; d += 32) {
        call.dk[key * call.stride + kvHead * call.D + d] = fromFloat<T>(dk[d] * call.scale);
        call.dv[key * call.stride + kvHead * call.D + d] = fromFloat<T>(dv[d]);
    }
}

/// One warp per (row, head): dq of a query.
template <typename T>
__global__ void __launch_bounds__(32) attentionBackwardQueriesPlain(const Gradient<T> call) {
    ST_DYNAMIC_SHARED(float, dq);
    const int64_t query = blockIdx.x / call.H;
    const int32_t head = static_cast<int32_t>(blockIdx.x % call.H), kvHead = head / (call.H / call.Hkv);
    const int64_t first = call.cuSeqlens[sequenceOf(call.cuSeqlens, call.S, query)];
    const int64_t from = call.window > 0 && query - call.window + 1 > first ? query - call.window + 1 : first;
    for (int32_t d = threadIdx.x; d < call.D; d += 32) dq[d] = 0.0f;
    for (int64_t key = from; key <= query; key++) {
        float p, ds;
        pair(call, query, key, head, kvHead, &p, &ds);
        for (int32_t d = threadIdx.x; d < call.D; d += 32)
            dq[d] = fmaf(ds, toFloat(call.k[key * call.stride + kvHead * call.D + d]), dq[d]);
    }
    for (int32_t d = threadIdx.x; d < call.D; d += 32) call.dq[query * call.stride + head * call.D + d] = fromFloat<T>(dq[d] * call.scale);
}

template <typename T>
void launchPlain(const Gradient<T> &call, cudaStream_t stream) {
    const int bytes = call.D * static_cast<int>(sizeof(float));
    ST_LAUNCH((attentionBackwardKeysPlain<T>), dim3(static_cast<unsigned>(call.N * call.Hkv)), dim3(32), 2 * bytes, stream, call);
    ST_LAUNCH((attentionBackwardQueriesPlain<T>), dim3(static_cast<unsigned>(call.N * call.H)), dim3(32), bytes, stream, call);
}

// ---- choice -----------------------------------------------------------------------------------------------------------

st_status launch(st_device *device, const Gradient<bf16> &call, int64_t longest) {
#if !defined(ST_CUDA_EMULATED)
    if (sm90::takes(device->attentionBackwardSm90, longest, call.D))
        return call.D == 64 ? sm90::launchBackward<64>(device, call, longest) : sm90::launchBackward<128>(device, call, longest);
#endif
    cudaStream_t stream = device->stream;
    const int padded = paddedHead(call.D);
    if (padded == 0) {
        launchPlain(call, stream);
    } else {
        ST_BY_PADDED_HEAD(padded, launchPadded<DP>(call, longest, stream));
    }
    return ST_OK;
}

st_status launch(st_device *device, const Gradient<float> &call, int64_t longest) {
    cudaStream_t stream = device->stream;
    const int padded = paddedHeadF32(call.D);
    if (padded == 0) {
        launchPlain(call, stream);
    } else {
        ST_BY_PADDED_HEAD_F32(padded, launchPadded<DP>(call, longest, stream));
    }
    return ST_OK;
}

}  // namespace
}  // namespace attention
}  // namespace st

extern "C" int64_t st_attention_backward_scratch_bytes(st_device *, int64_t, int64_t, int64_t N, int64_t H, int64_t, int64_t, st_dtype) {
    return N * H * static_cast<int64_t>(sizeof(float));  // delta
}

extern "C" st_status st_attention_backward(st_device *device, void *dqkv, const void *dy, const void *y, const void *qkv, const void *lse,
                                           const int32_t *cu_seqlens, void *scratch, int64_t S, int64_t longest, int64_t N, int64_t H,
                                           int64_t Hkv, int64_t D, double scale, int64_t window, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_attention_backward");
    const st_status status = st::attention::checkShape(device, "st_attention_backward", S, longest, N, H, Hkv, D, scale, window);
    if (status != ST_OK) return status;
    if (N == 0 || S == 0) return ST_OK;
    ST_BY_DTYPE(dtype, {
        st::attention::Gradient<T> call = {};
        call.dq = static_cast<T *>(dqkv);
        call.dk = call.dq + H * D;
        call.dv = call.dk + Hkv * D;
        call.q = static_cast<const T *>(qkv);
        call.k = call.q + H * D;
        call.v = call.k + Hkv * D;
        call.y = static_cast<const T *>(y);
        call.dy = static_cast<const T *>(dy);
        call.lse = static_cast<const float *>(lse);
        call.delta = static_cast<const float *>(scratch);
        call.cuSeqlens = cu_seqlens;
        call.stride = (H + 2 * Hkv) * D;
        call.scale = static_cast<float>(scale);
        st::attention::fillShape(call, S, N, H, Hkv, D, scale, window);
        st::attention::launchDelta(call, static_cast<float *>(scratch), device->stream);
        const st_status launched = st::attention::launch(device, call, longest);
        if (launched != ST_OK) return launched;
    });
    return st::launched(device, "st_attention_backward");
}
