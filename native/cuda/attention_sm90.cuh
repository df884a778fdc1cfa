// bf16 attention on Hopper for packed sequences and head sizes 64 and 128: wgmma fed by tensor copies (TMA). After Shah et al. 2024,
// "FlashAttention-3": a producer warp, consumer warpgroups of 64 rows, and the products of one block under way during the exponentials
// of the next.
//
// The forward kernel follows the definition of attention.cuh to the letter: its accumulators lie as those of mma.sync do, the softmax is the
// same function, and each sum is the same chain of steps of 16. Whether a step of wgmma rounds as a step of mma.sync does is the
// machine's business; attention_bench and op_tests compare the forward pass with decoding (always mma.sync) bit for bit, and on an H100 no
// element differed. SUBTEXT_CUDA_ATTENTION=mma switches these kernels off, =sm90-backward leaves those for the gradients, which need not
// agree with anything but themselves.
//
// Tiles are panels of 64 columns: 64 rows of 128 bytes, swizzled, as TMA writes and wgmma reads them. A tile may hold rows of the next
// sequence: their keys are masked, their queries' probabilities are set to 0 and their results are not written; a NaN there would
// reach the last rows of this sequence.
#ifndef SUBTEXT_CUDA_ATTENTION_SM90_CUH
#define SUBTEXT_CUDA_ATTENTION_SM90_CUH

#include "attention_bf16.cuh"

#if !defined(ST_CUDA_EMULATED)
#include "hopper.cuh"

namespace st {
namespace attention {
namespace sm90 {

constexpr int panelBytes = 64 * 128, panelElements = 64 * 64;

/// d += a b with a from registers (the a operand of mma.sync, per warp) and b along n: one warpgroup's 64 x 2*count tile over 16 k.
__device__ __forceinline__ void wgmmaFromRegisters(float (&d)[32], const uint32_t (&a)[4], uint64_t b) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.eq.b32 p, 0, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
        "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
        "}, {%32,%33,%34,%35}, %36, p, 1, 1, 1;\n}\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
          "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
          "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
          "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void wgmmaFromRegisters(float (&d)[64], const uint32_t (&a)[4], uint64_t b) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.eq.b32 p, 0, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
        "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
        "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
        "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
        "}, {%64,%65,%66,%67}, %68, p, 1, 1, 1;\n}\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
          "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
          "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
          "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
          "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
          "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
          "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
          "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

/// s = rows keys^T: 64 x 64 over D, both tiles along k in panels.
template <int D>
__device__ __forceinline__ void products(float (&s)[32], const bf16 *rows, const bf16 *keys) {
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        const int panel = k / 4 * panelElements, step = k % 4 * 2;  // 16 k are 32 bytes of every line
        hopper::wgmma<0, 0>(s, hopper::operand(rows + panel, 0, 1024) + step, hopper::operand(keys + panel, 0, 1024) + step, k > 0);
    }
}

/// o += w values: w in the registers of four steps of 16 rows of `values` (64 x D in panels).
template <int D>
__device__ __forceinline__ void accumulate(float (&o)[D / 2], const uint32_t (&w)[4][4], const bf16 *values) {
#pragma unroll
    for (int k = 0; k < 4; k++) wgmmaFromRegisters(o, w[k], hopper::operand(values, panelBytes, 1024) + k * (16 * 128 / 16));
}

/// The threads of one warpgroup meet; barrier 0 is __syncthreads'.
__device__ __forceinline__ void groupMeet(int group) { asm volatile("bar.sync %0, 128;" ::"r"(group + 1) : "memory"); }

__device__ __forceinline__ void holdOperand(uint32_t (&w)[4][4]) {
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
        for (int e = 0; e < 4; e++) asm volatile("" : "+r"(w[k][e])::"memory");
}

/// Copies a tile of 64 rows x D as panels.
template <int D>
__device__ __forceinline__ void copyPanels(bf16 *tile, const CUtensorMap *map, uint64_t *barrier, int column, int row) {
#pragma unroll
    for (int p = 0; p < D / 64; p++) hopper::copyBox(tile + p * panelElements, map, barrier, column + 64 * p, row);
}

/// Dynamic shared memory from its next multiple of 1024 bytes on.
__device__ __forceinline__ unsigned char *aligned1024(unsigned char *p) { return p + ((1024 - (tc::sharedAddress(p) & 1023)) & 1023); }

struct Ring {
    int stage = 0;
    uint32_t parity = 0;
    template <int stages>
    __device__ __forceinline__ void next() {
        if (++stage == stages) stage = 0, parity ^= 1;
    }
};

// ---- forward ----------------------------------------------------------------------------------------------------------

template <int D>
struct Forward {
    static constexpr int groups = 3, height = 64 * groups, threads = 128 * (groups + 1);
    static constexpr int stages = D == 64 ? 6 : 4, tileElements = 64 * D, stageBytes = 2 * tileElements * 2;
    static constexpr int sharedBytes = 1024 + groups * tileElements * 2 + stages * stageBytes + (2 * stages + 1) * 8;
};

/// A warpgroup's work on one key block once its scores are there; `first`, of its rows; gives alpha, leaves the probabilities in s.
__device__ __forceinline__ void softmaxOf(float (&s)[32], float (&m)[2], float (&l)[2], float (&alpha)[2], const Call<bf16> &call, int32_t position,
                                          int32_t block) {
    const int32_t first = block * keyBlock, last = first + keyBlock - 1, high = position + 15;
    const bool masked = last > position || (call.window > 0 && first <= high - call.window);
    if (masked) {
        softmax<true>(s, m, l, alpha, call.c, position, first, call.window);
    } else {
        softmax<false>(s, m, l, alpha, call.c, position, first, call.window);
    }
}

template <int D>
__global__ void __launch_bounds__(Forward<D>::threads, 1) forward(const __grid_constant__ CUtensorMap map, const Call<bf16> call) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    using namespace hopper;
    using Shape = Forward<D>;
    ST_DYNAMIC_SHARED(unsigned char, dynamic);
    bf16 *const queries = reinterpret_cast<bf16 *>(aligned1024(dynamic)), *const ring = queries + Shape::groups * Shape::tileElements;
    uint64_t *const full = reinterpret_cast<uint64_t *>(ring + Shape::stages * 2 * Shape::tileElements), *const empty = full + Shape::stages,
                    *const arrived = empty + Shape::stages;

    Tile tile;
    if (!tileOf(&tile, call.cuSeqlens, nullptr, call.N, call.S, call.tiles, call.H, Shape::height, blockIdx.x)) return;
    const int32_t valid = min(Shape::height, tile.rows - tile.first), firstRow = tile.row + tile.first;
    const int32_t begin = firstBlock(tile.first, call.window), end = endBlock(tile.first + valid - 1);
    const int warp = __shfl_sync(fullWarp, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        for (int s = 0; s < Shape::stages; s++) {
            barrierInit(full + s, 1);
            barrierInit(empty + s, 4 * Shape::groups);
        }
        barrierInit(arrived, 1);
        barrierInitDone();
    }
    __syncthreads();

    if (warp < 4) {
        giveRegisters<32>();
        if (threadIdx.x == 0) {
            const int used = ceilDiv(valid, 64), group = call.H / call.Hkv, kvHead = tile.head / group;
            barrierExpect(arrived, used * Shape::tileElements * 2);
            for (int i = 0; i < used; i++)
                copyPanels<D>(queries + i * Shape::tileElements, &map, arrived, tile.head * D, firstRow + 64 * i);
            Ring at;
            for (int32_t block = begin; block < end; block++) {
                bf16 *const keys = ring + at.stage * 2 * Shape::tileElements;
                barrierWait(empty + at.stage, at.parity ^ 1);
                barrierExpect(full + at.stage, Shape::stageBytes);
                copyPanels<D>(keys, &map, full + at.stage, (call.H + kvHead) * D, tile.row + block * keyBlock);
                copyPanels<D>(keys + Shape::tileElements, &map, full + at.stage, (call.H + call.Hkv + kvHead) * D, tile.row + block * keyBlock);
                at.template next<Shape::stages>();
            }
        }
    } else {
        takeRegisters<160>();
        const int group = warp / 4 - 1, groupWarp = warp % 4;
        const int32_t groupLow = tile.first + 64 * group, position = groupLow + 16 * groupWarp;
        bf16 *const own = queries + group * Shape::tileElements;
        // Blocks this warpgroup needs; of the others it only frees the stages.
        const bool idle = 64 * group >= valid;
        const int32_t from = idle ? end : max(begin, firstBlock(groupLow, call.window)), to = idle ? end : min(end, endBlock(groupLow + 63));
        float o[D / 2], s[32], m[2] = {-INFINITY, -INFINITY}, l[2] = {0.0f, 0.0f}, alpha[2];
        uint32_t p[4][4];
#pragma unroll
        for (int i = 0; i < D / 2; i++) o[i] = 0.0f;

        Ring at;
        const auto release = [&](int stage) {
            if (lane == 0) barrierArrive(empty + stage);
        };
        for (int32_t block = begin; block < from; block++) {
            barrierWait(full + at.stage, at.parity);
            release(at.stage);
            at.template next<Shape::stages>();
        }
        if (!idle) {
            barrierWait(arrived, 0);
            barrierWait(full + at.stage, at.parity);
            holdInPlace(s);
            wgmmaFence();
            products<D>(s, own, ring + at.stage * 2 * Shape::tileElements);
            wgmmaCommit();
            wgmmaWait<0>();
            holdInPlace(s);
            softmaxOf(s, m, l, alpha, call, position, from);
#pragma unroll
            for (int k = 0; k < 4; k++) operandOf(p[k], s, k);

            for (int32_t block = from + 1; block < to; block++) {
                const int previous = at.stage;
                at.template next<Shape::stages>();
                barrierWait(full + at.stage, at.parity);
                holdInPlace(s);
                holdInPlace(o);
                holdOperand(p);
                wgmmaFence();
                products<D>(s, own, ring + at.stage * 2 * Shape::tileElements);
                wgmmaCommit();
                accumulate<D>(o, p, ring + previous * 2 * Shape::tileElements + Shape::tileElements);
                wgmmaCommit();
                wgmmaWait<1>();  // the scores are there; the previous block's values are still being added
                holdInPlace(s);
                softmaxOf(s, m, l, alpha, call, position, block);
                wgmmaWait<0>();
                holdInPlace(o);
                holdOperand(p);
                release(previous);
#pragma unroll
                for (int n = 0; n < D / 8; n++) {
                    o[4 * n] *= alpha[0];
                    o[4 * n + 1] *= alpha[0];
                    o[4 * n + 2] *= alpha[1];
                    o[4 * n + 3] *= alpha[1];
                }
#pragma unroll
                for (int k = 0; k < 4; k++) operandOf(p[k], s, k);
            }
            holdInPlace(o);
            holdOperand(p);
            wgmmaFence();
            accumulate<D>(o, p, ring + at.stage * 2 * Shape::tileElements + Shape::tileElements);
            wgmmaCommit();
            wgmmaWait<0>();
            holdInPlace(o);
            release(at.stage);
            at.template next<Shape::stages>();
        }
        for (int32_t block = to; block < end; block++) {
            barrierWait(full + at.stage, at.parity);
            release(at.stage);
            at.template next<Shape::stages>();
        }
        if (!idle) {
            groupMeet(group);  // the warpgroup's queries are read for the last time: their place takes the result
            const float l0 = quadSum(l[0]), l1 = quadSum(l[1]);
            const int32_t row = 64 * group + 16 * groupWarp, rows = valid - row;
            if (call.lse != nullptr && lane % 4 == 0) {
                const int r = lane / 4;
                float *const lse = call.lse + static_cast<int64_t>(firstRow + row + r) * call.H + tile.head;
                if (r < rows) lse[0] = logSumExp(m[0], l0, call.c);
                if (r + 8 < rows) lse[8 * call.H] = logSumExp(m[1], l1, call.c);
            }
            roundInto<D>(own, 16 * groupWarp, o, reciprocal(l0), reciprocal(l1));
            __syncwarp();
            const int64_t yStride = static_cast<int64_t>(call.H) * D;
            storeRows<D, 16>(call.y + (firstRow + row) * yStride + tile.head * D, yStride, own, 16 * groupWarp, rows, D);
        }
    }
#endif
}

// ---- backward: dk and dv ----------------------------------------------------------------------------------------------

template <int D>
struct KeySide {
    static constexpr int groups = 2, height = 64 * groups, threads = 128 * (groups + 1);
    static constexpr int stages = D == 64 ? 4 : 3, tileElements = 64 * D, stageBytes = 2 * tileElements * 2;
    static constexpr int sharedBytes = 1024 + 2 * groups * tileElements * 2 + stages * (stageBytes + 2 * 64 * 4) + (2 * stages + 1) * 8;
};

/// What a warp finds around its place in a 64 x 64 tile whose rows are keys and whose columns are queries: p and ds from s and dp.
/// lse, delta: of the 64 queries; distance: query minus key of the tile's first column and the warp's first row.
__device__ __forceinline__ void gradients(float (&s)[32], float (&dp)[32], const float *lse, const float *delta, float c, int32_t distance,
                                          int32_t window) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const bool masked = distance < 15 || (window > 0 && distance + 63 >= window);
#pragma unroll
    for (int n = 0; n < 8; n++) {
        const float2 lses = *reinterpret_cast<const float2 *>(lse + 8 * n + 2 * t), deltas = *reinterpret_cast<const float2 *>(delta + 8 * n + 2 * t);
#pragma unroll
        for (int r = 0; r < 2; r++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const int i = 4 * n + 2 * r + e;
                float p = exp2Fast(fmaf(s[i], c, -(e == 0 ? lses.x : lses.y)));
                if (masked) {
                    const int32_t d = distance + 8 * n + 2 * t + e - (8 * r + g);
                    if (d < 0 || (window > 0 && d >= window)) p = 0.0f;
                }
                s[i] = p;
                dp[i] = p * (dp[i] - (e == 0 ? deltas.x : deltas.y));
            }
    }
}

/// `Arguments` is the Gradient<bf16> of attention_backward.cu.
template <int D, typename Arguments>
__global__ void __launch_bounds__(KeySide<D>::threads, 1)
    backwardKeys(const __grid_constant__ CUtensorMap map, const __grid_constant__ CUtensorMap mapDy, const Arguments call) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    using namespace hopper;
    using Shape = KeySide<D>;
    constexpr bool overlaps = D == 64;  // the next tile's scores with the sums of the last: the registers of D 128 do not hold both
    ST_DYNAMIC_SHARED(unsigned char, dynamic);
    bf16 *const keys = reinterpret_cast<bf16 *>(aligned1024(dynamic)), *const values = keys + Shape::groups * Shape::tileElements,
                *const ring = values + Shape::groups * Shape::tileElements;
    float *const sums = reinterpret_cast<float *>(ring + Shape::stages * 2 * Shape::tileElements);  // (stage, lse log2(e) or delta, query)
    uint64_t *const full = reinterpret_cast<uint64_t *>(sums + Shape::stages * 128), *const empty = full + Shape::stages,
                    *const arrived = empty + Shape::stages;

    Tile tile;
    if (!tileOf(&tile, call.cuSeqlens, nullptr, call.N, call.S, call.tiles, call.Hkv, Shape::height, blockIdx.x)) return;
    const int32_t valid = min(Shape::height, tile.rows - tile.first), heads = call.H / call.Hkv, firstKey = tile.row + tile.first;
    const int32_t begin = tile.first / 64;
    const int32_t lastQuery = call.window > 0 ? min(tile.rows - 1, tile.first + valid - 1 + call.window - 1) : tile.rows - 1;
    const int32_t end = lastQuery / 64 + 1;
    const int warp = __shfl_sync(fullWarp, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        for (int s = 0; s < Shape::stages; s++) {
            barrierInit(full + s, 1);
            barrierInit(empty + s, 4 * Shape::groups);
        }
        barrierInit(arrived, 1);
        barrierInitDone();
    }
    __syncthreads();

    if (warp < 4) {
        giveRegisters<40>();
        if (warp == 0) {
            const int used = ceilDiv(valid, 64);
            if (lane == 0) {
                barrierExpect(arrived, used * Shape::tileElements * 4);
                for (int i = 0; i < used; i++) {
                    copyPanels<D>(keys + i * Shape::tileElements, &map, arrived, (call.H + tile.head) * D, firstKey + 64 * i);
                    copyPanels<D>(values + i * Shape::tileElements, &map, arrived, (call.H + call.Hkv + tile.head) * D, firstKey + 64 * i);
                }
            }
            Ring at;
            for (int32_t head = tile.head * heads; head < (tile.head + 1) * heads; head++) {
                for (int32_t block = begin; block < end; block++) {
                    bf16 *const queries = ring + at.stage * 2 * Shape::tileElements;
                    float *const lse = sums + at.stage * 128;
                    const int32_t row = tile.row + 64 * block;
                    barrierWait(empty + at.stage, at.parity ^ 1);
                    for (int i = lane; i < 64; i += 32) {
                        const bool inside = 64 * block + i < tile.rows;
                        const int64_t index = static_cast<int64_t>(row + i) * call.H + head;
                        lse[i] = inside ? call.lse[index] * log2e : INFINITY;
                        lse[64 + i] = inside ? call.delta[index] : 0.0f;
                    }
                    __syncwarp();
                    if (lane == 0) {
                        barrierExpect(full + at.stage, Shape::stageBytes);  // also publishes the sums
                        copyPanels<D>(queries, &map, full + at.stage, head * D, row);
                        copyPanels<D>(queries + Shape::tileElements, &mapDy, full + at.stage, head * D, row);
                    }
                    at.template next<Shape::stages>();
                }
            }
        }
    } else {
        takeRegisters<232>();
        const int group = warp / 4 - 1, groupWarp = warp % 4;
        const int32_t groupLow = tile.first + 64 * group;
        bf16 *const ownKeys = keys + group * Shape::tileElements, *const ownValues = values + group * Shape::tileElements;
        const bool idle = 64 * group >= valid;
        float dk[D / 2], dv[D / 2], s[32], dp[32];
        uint32_t p[4][4], ds[4][4];
#pragma unroll
        for (int i = 0; i < D / 2; i++) dk[i] = dv[i] = 0.0f;
        Ring at;
        int pending = -1;  // the stage whose products into dk and dv may still be under way
        if (!idle) barrierWait(arrived, 0);
        for (int32_t head = 0; head < heads; head++) {
            for (int32_t block = begin; block < end; block++) {
                barrierWait(full + at.stage, at.parity);
                const bool unseen = idle || 64 * block + 63 < groupLow || (call.window > 0 && 64 * block - (groupLow + 63) >= call.window);
                if (unseen) {
                    if (pending >= 0) {  // the producer may need that stage before this warpgroup sees another tile
                        wgmmaWait<0>();
                        holdInPlace(dk);
                        holdInPlace(dv);
                        if (lane == 0) barrierArrive(empty + pending);
                        pending = -1;
                    }
                    if (lane == 0) barrierArrive(empty + at.stage);
                } else {
                    const bf16 *const queries = ring + at.stage * 2 * Shape::tileElements, *const dys = queries + Shape::tileElements;
                    const float *const lse = sums + at.stage * 128;
                    holdInPlace(s);
                    holdInPlace(dp);
                    wgmmaFence();
                    products<D>(s, ownKeys, queries);
                    products<D>(dp, ownValues, dys);
                    wgmmaCommit();
                    wgmmaWait<0>();  // the scores, and before them the previous tile's sums
                    holdInPlace(s);
                    holdInPlace(dp);
                    if (overlaps) {
                        holdInPlace(dk);
                        holdInPlace(dv);
                        holdOperand(p);
                        holdOperand(ds);
                    }
                    if (pending >= 0 && lane == 0) barrierArrive(empty + pending);
                    gradients(s, dp, lse, lse + 64, call.c, 64 * block - (groupLow + 16 * groupWarp), call.window);
#pragma unroll
                    for (int k = 0; k < 4; k++) {
                        operandOf(p[k], s, k);
                        operandOf(ds[k], dp, k);
                    }
                    holdOperand(p);
                    holdOperand(ds);
                    wgmmaFence();
                    accumulate<D>(dv, p, dys);
                    accumulate<D>(dk, ds, queries);
                    wgmmaCommit();
                    if (overlaps) {
                        pending = at.stage;
                    } else {
                        wgmmaWait<0>();
                        holdInPlace(dk);
                        holdInPlace(dv);
                        if (lane == 0) barrierArrive(empty + at.stage);
                    }
                }
                at.template next<Shape::stages>();
            }
        }
        wgmmaWait<0>();
        holdInPlace(dk);
        holdInPlace(dv);
        if (!idle) {
            groupMeet(group);
            const int32_t row = 64 * group + 16 * groupWarp, rows = valid - row;
            roundInto<D>(ownKeys, 16 * groupWarp, dk, call.scale, call.scale);
            roundInto<D>(ownValues, 16 * groupWarp, dv, 1.0f, 1.0f);
            __syncwarp();
            const int64_t out = (firstKey + row) * call.stride + tile.head * D;
            storeRows<D, 16>(call.dk + out, call.stride, ownKeys, 16 * groupWarp, rows, D);
            storeRows<D, 16>(call.dv + out, call.stride, ownValues, 16 * groupWarp, rows, D);
        }
    }
#endif
}

// ---- backward: dq -----------------------------------------------------------------------------------------------------

template <int D>
struct QuerySide {
    static constexpr int groups = 2, height = 64 * groups, threads = 128 * (groups + 1);
    static constexpr int stages = D == 64 ? 4 : 3, tileElements = 64 * D, stageBytes = 2 * tileElements * 2;
    static constexpr int sharedBytes = 1024 + 2 * groups * tileElements * 2 + stages * stageBytes + (2 * stages + 1) * 8;
};

template <int D, typename Arguments>
__global__ void __launch_bounds__(QuerySide<D>::threads, 1)
    backwardQueries(const __grid_constant__ CUtensorMap map, const __grid_constant__ CUtensorMap mapDy, const Arguments call) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    using namespace hopper;
    using Shape = QuerySide<D>;
    ST_DYNAMIC_SHARED(unsigned char, dynamic);
    bf16 *const queries = reinterpret_cast<bf16 *>(aligned1024(dynamic)), *const dys = queries + Shape::groups * Shape::tileElements,
                *const ring = dys + Shape::groups * Shape::tileElements;
    uint64_t *const full = reinterpret_cast<uint64_t *>(ring + Shape::stages * 2 * Shape::tileElements), *const empty = full + Shape::stages,
                    *const arrived = empty + Shape::stages;

    Tile tile;
    if (!tileOf(&tile, call.cuSeqlens, nullptr, call.N, call.S, call.tiles, call.H, Shape::height, blockIdx.x)) return;
    const int32_t valid = min(Shape::height, tile.rows - tile.first), kvHead = tile.head / (call.H / call.Hkv), firstRow = tile.row + tile.first;
    const int32_t begin = firstBlock(tile.first, call.window), end = endBlock(tile.first + valid - 1);
    const int warp = __shfl_sync(fullWarp, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        for (int s = 0; s < Shape::stages; s++) {
            barrierInit(full + s, 1);
            barrierInit(empty + s, 4 * Shape::groups);
        }
        barrierInit(arrived, 1);
        barrierInitDone();
    }
    __syncthreads();

    if (warp < 4) {
        giveRegisters<40>();
        if (threadIdx.x == 0) {
            const int used = ceilDiv(valid, 64);
            barrierExpect(arrived, used * Shape::tileElements * 4);
            for (int i = 0; i < used; i++) {
                copyPanels<D>(queries + i * Shape::tileElements, &map, arrived, tile.head * D, firstRow + 64 * i);
                copyPanels<D>(dys + i * Shape::tileElements, &mapDy, arrived, tile.head * D, firstRow + 64 * i);
            }
            Ring at;
            for (int32_t block = begin; block < end; block++) {
                bf16 *const keys = ring + at.stage * 2 * Shape::tileElements;
                barrierWait(empty + at.stage, at.parity ^ 1);
                barrierExpect(full + at.stage, Shape::stageBytes);
                copyPanels<D>(keys, &map, full + at.stage, (call.H + kvHead) * D, tile.row + block * 64);
                copyPanels<D>(keys + Shape::tileElements, &map, full + at.stage, (call.H + call.Hkv + kvHead) * D, tile.row + block * 64);
                at.template next<Shape::stages>();
            }
        }
    } else {
        takeRegisters<232>();
        const int group = warp / 4 - 1, groupWarp = warp % 4, g = lane / 4, t = lane % 4;
        const int32_t groupLow = tile.first + 64 * group, row = 64 * group + 16 * groupWarp, rows = valid - row;
        bf16 *const ownQueries = queries + group * Shape::tileElements, *const ownDys = dys + group * Shape::tileElements;
        const bool idle = 64 * group >= valid;
        float dq[D / 2], s[32], dp[32], lse[2], delta[2];
        uint32_t ds[4][4];
#pragma unroll
        for (int i = 0; i < D / 2; i++) dq[i] = 0.0f;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const bool inside = g + 8 * r < rows;
            const int64_t index = static_cast<int64_t>(firstRow + row + g + 8 * r) * call.H + tile.head;
            lse[r] = inside ? call.lse[index] * log2e : INFINITY;
            delta[r] = inside ? call.delta[index] : 0.0f;
        }
        Ring at;
        int pending = -1;
        if (!idle) barrierWait(arrived, 0);
        for (int32_t block = begin; block < end; block++) {
            barrierWait(full + at.stage, at.parity);
            const bool unseen = idle || 64 * block > groupLow + 63 || (call.window > 0 && 64 * block + 63 <= groupLow - call.window);
            if (unseen) {
                if (pending >= 0) {
                    wgmmaWait<0>();
                    holdInPlace(dq);
                    if (lane == 0) barrierArrive(empty + pending);
                    pending = -1;
                }
                if (lane == 0) barrierArrive(empty + at.stage);
            } else {
                const bf16 *const keys = ring + at.stage * 2 * Shape::tileElements, *const values = keys + Shape::tileElements;
                holdInPlace(s);
                holdInPlace(dp);
                wgmmaFence();
                products<D>(s, ownQueries, keys);
                products<D>(dp, ownDys, values);
                wgmmaCommit();
                wgmmaWait<0>();
                holdInPlace(s);
                holdInPlace(dp);
                holdInPlace(dq);
                holdOperand(ds);
                if (pending >= 0 && lane == 0) barrierArrive(empty + pending);
                const int32_t distance = groupLow + 16 * groupWarp - 64 * block;  // query minus key of row 0 and column 0
                const bool masked = distance < 63 || (call.window > 0 && distance + 15 >= call.window);
#pragma unroll
                for (int i = 0; i < 32; i++) {
                    const int r = i / 2 % 2;
                    float p = exp2Fast(fmaf(s[i], call.c, -lse[r]));
                    if (masked) {
                        const int32_t d = distance + 8 * r + g - (i / 4 * 8 + 2 * t + i % 2);
                        if (d < 0 || (call.window > 0 && d >= call.window)) p = 0.0f;
                    }
                    dp[i] = p * (dp[i] - delta[r]);
                }
#pragma unroll
                for (int k = 0; k < 4; k++) operandOf(ds[k], dp, k);
                holdOperand(ds);
                wgmmaFence();
                accumulate<D>(dq, ds, keys);
                wgmmaCommit();
                pending = at.stage;
            }
            at.template next<Shape::stages>();
        }
        wgmmaWait<0>();
        holdInPlace(dq);
        if (!idle) {
            groupMeet(group);
            roundInto<D>(ownQueries, 16 * groupWarp, dq, call.scale, call.scale);
            __syncwarp();
            storeRows<D, 16>(call.dq + (firstRow + row) * call.stride + tile.head * D, call.stride, ownQueries, 16 * groupWarp, rows, D);
        }
    }
#endif
}

// ---- launches ---------------------------------------------------------------------------------------------------------

/// Whether these kernels take a call, if `allowed`: not the tiny and short, which the portable ones serve better.
inline bool takes(bool allowed, int64_t longest, int64_t D) { return allowed && (D == 64 || D == 128) && longest > 64; }

template <int D>
st_status launchForward(st_device *device, Call<bf16> call, int64_t longest) {
    using Shape = Forward<D>;
    CUtensorMap map;
    const st_status status = hopper::describe(device, &map, call.q, call.qStride, call.N, 64);
    if (status != ST_OK) return status;
    const int64_t blocks = tileCount(call.N, call.S, longest, call.H, Shape::height, &call.tiles);
    ST_LAUNCH((forward<D>), dim3(static_cast<unsigned>(blocks)), dim3(Shape::threads), Shape::sharedBytes, device->stream, map, call);
    return ST_OK;
}

template <int D, typename Arguments>
st_status launchBackward(st_device *device, Arguments call, int64_t longest) {
    CUtensorMap map, mapDy;
    st_status status = hopper::describe(device, &map, call.q, call.stride, call.N, 64);
    if (status == ST_OK) status = hopper::describe(device, &mapDy, call.dy, static_cast<int64_t>(call.H) * D, call.N, 64);
    if (status != ST_OK) return status;
    int64_t blocks = tileCount(call.N, call.S, longest, call.Hkv, KeySide<D>::height, &call.tiles);
    ST_LAUNCH((backwardKeys<D, Arguments>), dim3(static_cast<unsigned>(blocks)), dim3(KeySide<D>::threads), KeySide<D>::sharedBytes,
              device->stream, map, mapDy, call);
    blocks = tileCount(call.N, call.S, longest, call.H, QuerySide<D>::height, &call.tiles);
    ST_LAUNCH((backwardQueries<D, Arguments>), dim3(static_cast<unsigned>(blocks)), dim3(QuerySide<D>::threads), QuerySide<D>::sharedBytes,
              device->stream, map, mapDy, call);
    return ST_OK;
}

}  // namespace sm90
}  // namespace attention
}  // namespace st

#endif
#endif
