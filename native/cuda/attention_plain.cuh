// Attention for head sizes without a tiled kernel (bf16: not a multiple of 8, or above 256; f32: not a multiple of 4, or above 128): one
// warp per row and head, the row's result in shared memory. Right for every D, fast for none.
#ifndef SUBTEXT_CUDA_ATTENTION_PLAIN_CUH
#define SUBTEXT_CUDA_ATTENTION_PLAIN_CUH

#include "attention.cuh"

namespace st {
namespace attention {

/// The sequence that holds `row`: the last s with cuSeqlens[s] <= row.
__device__ __forceinline__ int32_t sequenceOf(const int32_t *cuSeqlens, int32_t S, int64_t row) {
    int32_t low = 0, high = S - 1;
    while (low < high) {
        const int32_t middle = (low + high + 1) / 2;
        if (cuSeqlens[middle] <= row) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

template <typename T>
__device__ __forceinline__ float dot(const float *a, const T *b, int32_t D) {
    float s = 0.0f;
    for (int32_t d = 0; d < D; d++) s = fmaf(a[d], toFloat(b[d]), s);
    return s;
}

template <typename T, bool cached>
__global__ void __launch_bounds__(32) attentionPlain(const Call<T> call) {
    ST_DYNAMIC_SHARED(float, shared);
    float *const q = shared, *const o = q + call.D, *const weights = o + call.D;
    const int lane = threadIdx.x;
    const int64_t row = blockIdx.x / call.H;
    Tile tile;
    tile.head = static_cast<int32_t>(blockIdx.x % call.H);
    tile.sequence = sequenceOf(call.cuSeqlens, call.S, row);
    tile.row = call.cuSeqlens[tile.sequence];
    tile.rows = call.cuSeqlens[tile.sequence + 1] - tile.row;
    tile.start = cached ? call.start[tile.sequence] : 0;
    T *const y = call.y + (row * call.H + tile.head) * call.D;
    if (cached && call.slot[tile.sequence] < 0) {
        for (int32_t d = lane; d < call.D; d += 32) y[d] = fromFloat<T>(0.0f);
        return;
    }
    const KeyRows<cached> keyRows(call, tile, tile.head / (call.H / call.Hkv));
    const int32_t position = tile.start + static_cast<int32_t>(row - tile.row);
    const int32_t from = call.window > 0 ? max(0, position - call.window + 1) : 0;
    for (int32_t d = lane; d < call.D; d += 32) {
        q[d] = toFloat(call.q[row * call.qStride + tile.head * call.D + d]);
        o[d] = 0.0f;
    }
    __syncwarp();

    float m = -INFINITY, l = 0.0f;
    for (int32_t first = from / keyBlock * keyBlock; first <= position; first += keyBlock) {
        float s[2];
        for (int i = 0; i < 2; i++) {
            const int32_t p = first + lane + 32 * i;
            s[i] = p >= from && p <= position ? dot(q, call.k + keyRows.offset(p), call.D) : -INFINITY;
        }
        float subtrahend, alpha;
        raise(m, warpMax(fmaxf(s[0], s[1])), call.c, subtrahend, alpha);
        for (int i = 0; i < 2; i++) {
            s[i] = probability(s[i], call.c, subtrahend);
            weights[lane + 32 * i] = s[i];
        }
        l = fmaf(l, alpha, warpSum(s[0] + s[1]));
        __syncwarp();
        const int32_t low = max(first, from), high = min(first + keyBlock - 1, position);
        for (int32_t d = lane; d < call.D; d += 32) {
            float sum = o[d] * alpha;
            for (int32_t p = low; p <= high; p++) sum = fmaf(weights[p - first], toFloat(call.v[keyRows.offset(p) + d]), sum);
            o[d] = sum;
        }
        __syncwarp();
    }
    const float factor = reciprocal(l);
    for (int32_t d = lane; d < call.D; d += 32) y[d] = fromFloat<T>(o[d] * factor + 0.0f);
    if (call.lse != nullptr && lane == 0) call.lse[row * call.H + tile.head] = logSumExp(m, l, call.c);
}

template <typename T, bool cached>
void launchPlain(const Call<T> &call, cudaStream_t stream) {
    const int bytes = (2 * call.D + keyBlock) * static_cast<int>(sizeof(float));
    ST_LAUNCH((attentionPlain<T, cached>), dim3(static_cast<unsigned>(call.N * call.H)), dim3(32), bytes, stream, call);
}

}  // namespace attention
}  // namespace st

#endif
