// Rows by index: embedding, its gradient, gather, and the stores into the key/value cache.
//   forward, gather: NC read, NC written. Backward: NC read, and each row of dw that occurs read and written once.
// The gradient has one order of summation: `order` sorts rows by token, so the rows of a token form a segment. Four warps share a
// segment, warp w taking rows w, w+4, ...; the warps' sums are added in warp order.
#include "common.cuh"

namespace st {
namespace {

/// y[m] = x[row[m]], a row of zeros where row[m] is outside [0, rows).
template <typename T>
__global__ void __launch_bounds__(flatThreads)
    gatherRows(T *y, const T *x, const int32_t *row, int64_t M, int64_t C, int64_t rows, int64_t perRow, bool wide) {
    const int64_t item = flatIndex();
    if (item >= M * perRow) return;
    const int64_t m = item / perRow, column = item % perRow * perWords<T>;
    const int64_t from = row[m];
    float value[perWords<T>] = {};
    if (from >= 0 && from < rows) loadSome(x + from * C + column, C - column, wide, value);
    storeSome(y + m * C + column, C - column, wide, value);
}

constexpr int segmentWarps = 4;

/// Block (i, j): if sorted position i begins a segment, columns [j * 32 * L, (j+1) * 32 * L) of its token's gradient.
template <typename T>
__global__ void __launch_bounds__(32 * segmentWarps)
    embeddingBackward(float *dw, const T *dy, const int32_t *token, const int32_t *order, int64_t N, int64_t C, int64_t V, bool wide) {
    constexpr int L = perWords<T>, ahead = 4;
    __shared__ float partial[segmentWarps - 1][L][32];
    const int64_t first = blockIdx.x;
    const int32_t own = token[order[first]];
    if (own < 0 || own >= V || (first > 0 && token[order[first - 1]] == own)) return;  // the whole block leaves

    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int64_t column = (static_cast<int64_t>(blockIdx.y) * 32 + lane) * L;
    float sum[L] = {};
    for (int64_t at = first + warp; at < N; at += segmentWarps * ahead) {
        float some[ahead][L];
        bool in[ahead];
#pragma unroll
        for (int a = 0; a < ahead; a++) {  // several loads under way before the first is used
            const int64_t i = at + a * segmentWarps;
            const int32_t n = i < N ? order[i] : 0;
            in[a] = i < N && token[n] == own;
            if (in[a] && column < C) loadSome(dy + n * C + column, C - column, wide, some[a]);
        }
#pragma unroll
        for (int a = 0; a < ahead; a++)
            if (in[a] && column < C)
#pragma unroll
                for (int l = 0; l < L; l++) sum[l] += some[a][l];
        if (!in[ahead - 1]) break;
    }
    if (warp > 0)
#pragma unroll
        for (int l = 0; l < L; l++) partial[warp - 1][l][lane] = sum[l];
    __syncthreads();
    if (warp > 0 || column >= C) return;
    for (int l = 0; l < L; l++) {
        for (int w = 0; w < segmentWarps - 1; w++) sum[l] += partial[w][l][lane];
        if (column + l < C) dw[own * C + column + l] += sum[l];
    }
}

/// Copies the keys (blockIdx.y 0) and the values (1) of N rows of qkv into their places in the cache.
template <typename T>
__global__ void __launch_bounds__(flatThreads)
    cacheStore(T *k, T *v, const T *qkv, const int32_t *slot, const int32_t *position, const int32_t *offset, int64_t N, int64_t stride,
               int64_t start, int64_t width, int64_t slots, int64_t capacity, int64_t perRow, bool wide) {
    const int64_t item = flatIndex();
    if (item >= N * perRow) return;
    const int64_t n = item / perRow, column = item % perRow * perWords<T>;
    const int64_t s = slot[n], index = static_cast<int64_t>(position[n]) - offset[n];
    if (s < 0 || s >= slots || index < 0 || index >= capacity) return;
    float value[perWords<T>];
    loadSome(qkv + n * stride + start + blockIdx.y * width + column, width - column, wide, value);
    T *to = blockIdx.y == 0 ? k : v;
    storeSome(to + (s * capacity + index) * width + column, width - column, wide, value);
}

template <typename T>
st_status launchGather(st_device *device, const char *name, void *y, const void *x, const int32_t *row, int64_t M, int64_t C,
                       int64_t rows) {
    const int64_t perRow = ceilDiv(C, perWords<T>);
    ST_LAUNCH((gatherRows<T>), flatBlocks(M * perRow), flatThreads, 0, device->stream, static_cast<T *>(y), static_cast<const T *>(x),
              row, M, C, rows, perRow, C % perWords<T> == 0 && aligned16(y) && aligned16(x));
    return launched(device, name);
}

template <typename T>
st_status launchBackward(st_device *device, void *dw, const void *dy, const int32_t *token, const int32_t *order, int64_t N, int64_t C,
                         int64_t V) {
    const dim3 grid(static_cast<unsigned>(N), static_cast<unsigned>(ceilDiv(C, 32 * perWords<T>)));
    ST_LAUNCH((embeddingBackward<T>), grid, 32 * segmentWarps, 0, device->stream, static_cast<float *>(dw), static_cast<const T *>(dy),
              token, order, N, C, V, C % perWords<T> == 0 && aligned16(dy));
    return launched(device, "embedding_backward");
}

template <typename T>
st_status launchCacheStore(st_device *device, void *k, void *v, const void *qkv, const int32_t *slot, const int32_t *position,
                           const int32_t *offset, int64_t N, int64_t H, int64_t Hkv, int64_t D, int64_t slots, int64_t capacity) {
    const int64_t width = Hkv * D, perRow = ceilDiv(width, perWords<T>);
    const bool wide = width % perWords<T> == 0 && H * D % perWords<T> == 0 && aligned16(k) && aligned16(v) && aligned16(qkv);
    ST_LAUNCH((cacheStore<T>), dim3(flatBlocks(N * perRow), 2), flatThreads, 0, device->stream, static_cast<T *>(k),
              static_cast<T *>(v), static_cast<const T *>(qkv), slot, position, offset, N, (H + 2 * Hkv) * D, H * D, width, slots,
              capacity, perRow, wide);
    return launched(device, "cache_store");
}

}  // namespace
}  // namespace st

extern "C" {

st_status st_embedding_forward(st_device *device, void *y, const void *w, const int32_t *token, int64_t N, int64_t C, int64_t V,
                               st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_embedding_forward");
    ST_REQUIRE(device, N >= 0 && C >= 0 && V >= 0, "st_embedding_forward: N %lld, C %lld or V %lld is negative",
               static_cast<long long>(N), static_cast<long long>(C), static_cast<long long>(V));
    if (N == 0 || C == 0) return ST_OK;
    ST_BY_DTYPE(dtype, return st::launchGather<T>(device, "embedding_forward", y, w, token, N, C, V));
}

st_status st_embedding_backward(st_device *device, void *dw, const void *dy, const int32_t *token, const int32_t *order, int64_t N,
                                int64_t C, int64_t V, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_embedding_backward");
    ST_REQUIRE(device, N >= 0 && C >= 0 && V >= 0, "st_embedding_backward: N %lld, C %lld or V %lld is negative",
               static_cast<long long>(N), static_cast<long long>(C), static_cast<long long>(V));
    if (N == 0 || C == 0 || V == 0) return ST_OK;
    ST_BY_DTYPE(dtype, return st::launchBackward<T>(device, dw, dy, token, order, N, C, V));
}

st_status st_gather_rows(st_device *device, void *y, const void *x, const int32_t *row, int64_t M, int64_t C, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_gather_rows");
    ST_REQUIRE(device, M >= 0 && C >= 0, "st_gather_rows: M %lld or C %lld is negative", static_cast<long long>(M),
               static_cast<long long>(C));
    if (M == 0 || C == 0) return ST_OK;
    ST_BY_DTYPE(dtype, return st::launchGather<T>(device, "gather_rows", y, x, row, M, C, INT32_MAX));
}

st_status st_cache_store(st_device *device, void *k, void *v, const void *qkv, const int32_t *slot, const int32_t *position,
                         const int32_t *offset, int64_t N, int64_t H, int64_t Hkv, int64_t D, int64_t slots, int64_t capacity,
                         st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_cache_store");
    ST_REQUIRE(device, N >= 0 && H >= 0 && Hkv >= 0 && D >= 0 && slots >= 0 && capacity >= 0, "st_cache_store: a size is negative");
    if (N == 0 || Hkv == 0 || D == 0 || slots == 0 || capacity == 0) return ST_OK;
    ST_BY_DTYPE(dtype, return st::launchCacheStore<T>(device, k, v, qkv, slot, position, offset, N, H, Hkv, D, slots, capacity));
}

}  // extern "C"
