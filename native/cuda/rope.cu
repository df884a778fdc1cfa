// Rotary positions in place, rotate-half convention.                                                          Su et al. 2021
//   (x_i, x_{i+D/2}) <- (x_i cos - x_{i+D/2} sin, x_{i+D/2} cos + x_i sin); direction -1 negates the sine, which is the transpose.
// Traffic: the rotated heads read and written once; the table's rows stay in cache, as all heads of a row share one.
#include "common.cuh"

namespace st {
namespace {

/// One item is up to 16 bytes of the first half of a head and the same of the second.
template <typename T>
__global__ void __launch_bounds__(flatThreads)
    rope(T *x, const int32_t *position, const float *table, int64_t items, int heads, int D, int64_t stride, int64_t context,
         float direction, int perHead, bool wide) {
    const int64_t item = flatIndex();
    if (item >= items) return;
    constexpr int L = perWords<T>;
    const int perRow = heads * perHead, half = D / 2;
    const int64_t n = item <= 0xffffffffll ? static_cast<uint32_t>(item) / static_cast<uint32_t>(perRow) : item / perRow;
    const int within = static_cast<int>(item - n * perRow);
    const int head = within / perHead, i = within % perHead * L;
    const int64_t p = position[n];
    if (p < 0 || p >= context) return;
    T *first = x + n * stride + static_cast<int64_t>(head) * D + i;
    const float *angle = table + (p * half + i) * 2;
    float a[L], b[L], turn[2 * L];
    loadSome(first, half - i, wide, a);
    loadSome(first + half, half - i, wide, b);
#pragma unroll
    for (int l = 0; l < 2 * L; l += 4) {
        float four[4];
        loadSome(angle + l, 2 * (half - i) - l, wide, four);
#pragma unroll
        for (int q = 0; q < 4; q++) turn[l + q] = four[q];
    }
#pragma unroll
    for (int l = 0; l < L; l++) {
        const float c = turn[2 * l], s = direction * turn[2 * l + 1], low = a[l], high = b[l];
        a[l] = low * c - high * s;
        b[l] = high * c + low * s;
    }
    storeSome(first, half - i, wide, a);
    storeSome(first + half, half - i, wide, b);
}

template <typename T>
st_status launchRope(st_device *device, void *x, const int32_t *position, const void *table, int64_t N, int64_t heads, int64_t D,
                     int64_t stride, int64_t context, int32_t direction) {
    const int64_t half = D / 2, perHead = ceilDiv(half, perWords<T>), items = N * heads * perHead;
    const bool wide = half % perWords<T> == 0 && stride % perWords<T> == 0 && aligned16(x) && aligned16(table);
    ST_LAUNCH((rope<T>), flatBlocks(items), flatThreads, 0, device->stream, static_cast<T *>(x), position,
              static_cast<const float *>(table), items, static_cast<int>(heads), static_cast<int>(D), stride, context,
              direction < 0 ? -1.0f : 1.0f, static_cast<int>(perHead), wide);
    return launched(device, "rope");
}

}  // namespace
}  // namespace st

extern "C" st_status st_rope(st_device *device, void *x, const int32_t *position, const void *table, int64_t N, int64_t heads,
                             int64_t D, int64_t stride, int64_t context, int32_t direction, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_rope");
    ST_REQUIRE(device, N >= 0 && heads >= 0 && D >= 0 && context >= 0, "st_rope: a size is negative");
    ST_REQUIRE(device, D % 2 == 0, "st_rope: D %lld is odd, elements are paired", static_cast<long long>(D));
    ST_REQUIRE(device, heads * D <= stride, "st_rope: %lld heads of %lld do not fit in a row of %lld", static_cast<long long>(heads),
               static_cast<long long>(D), static_cast<long long>(stride));
    if (N == 0 || heads == 0 || D == 0) return ST_OK;
    ST_BY_DTYPE(dtype, return st::launchRope<T>(device, x, position, table, N, heads, D, stride, context, direction));
}
