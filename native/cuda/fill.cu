// Fills and casts: one pass, each element written once (and read once by the cast).
#include "../common/philox.h"
#include "common.cuh"

namespace st {
namespace {

__global__ void __launch_bounds__(flatThreads) fillI32(int32_t *y, int64_t n, int32_t value) {
    const int64_t i = flatIndex();
    if (i < n) y[i] = value;
}

template <typename T>
__global__ void __launch_bounds__(flatThreads)
    fillNormal(T *y, int64_t n, float mean, float std, float low, float high, uint64_t seed, uint64_t first) {
    const int64_t i = flatIndex();
    if (i < n) y[i] = fromFloat<T>(fminf(fmaxf(mean + std * normal(seed, first + static_cast<uint64_t>(i)), low), high));
}

/// Eight elements a thread: 16 bytes on the bf16 side, 32 on the f32 side.
template <typename Y, typename X>
__global__ void __launch_bounds__(flatThreads) cast(Y *y, const X *x, int64_t n, bool wide) {
    const int64_t at = flatIndex() * 8;
    if (at >= n) return;
    if (!wide || n - at < 8) {
        for (int64_t i = at; i < n && i < at + 8; i++) y[i] = fromFloat<Y>(toFloat(x[i]));
        return;
    }
    float value[8];
    constexpr int xs = perWords<X>, ys = perWords<Y>;
#pragma unroll
    for (int part = 0; part < 8 / xs; part++) {
        float some[xs];
        unpack(loadWords(x + at + part * xs), some);
#pragma unroll
        for (int i = 0; i < xs; i++) value[part * xs + i] = some[i];
    }
#pragma unroll
    for (int part = 0; part < 8 / ys; part++) {
        float some[ys];
#pragma unroll
        for (int i = 0; i < ys; i++) some[i] = value[part * ys + i];
        storeWords(y + at + part * ys, pack(some));
    }
}

template <typename Y, typename X>
st_status launchCast(st_device *device, void *y, const void *x, int64_t n) {
    ST_LAUNCH((cast<Y, X>), flatBlocks(ceilDiv(n, 8)), flatThreads, 0, device->stream, static_cast<Y *>(y),
              static_cast<const X *>(x), n, aligned16(x) && aligned16(y));
    return launched(device, "cast");
}

}  // namespace
}  // namespace st

extern "C" {

st_status st_fill_i32(st_device *device, int32_t *y, int64_t n, int32_t value) {
    ST_REQUIRE(device, n >= 0, "st_fill_i32: n %lld is negative", static_cast<long long>(n));
    if (n == 0) return ST_OK;
    ST_LAUNCH((st::fillI32), st::flatBlocks(n), st::flatThreads, 0, device->stream, y, n, value);
    return st::launched(device, "fill_i32");
}

st_status st_fill_normal(st_device *device, void *y, int64_t n, double mean, double std, double clamp, uint64_t seed, uint64_t first,
                         st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_fill_normal");
    ST_REQUIRE(device, n >= 0, "st_fill_normal: n %lld is negative", static_cast<long long>(n));
    if (n == 0) return ST_OK;
    const float infinity = __builtin_inff();
    const float low = clamp > 0 ? static_cast<float>(mean - clamp * std) : -infinity;
    const float high = clamp > 0 ? static_cast<float>(mean + clamp * std) : infinity;
    ST_BY_DTYPE(dtype, ST_LAUNCH((st::fillNormal<T>), st::flatBlocks(n), st::flatThreads, 0, device->stream, static_cast<T *>(y), n,
                                 static_cast<float>(mean), static_cast<float>(std), low, high, seed, first));
    return st::launched(device, "fill_normal");
}

st_status st_cast(st_device *device, void *y, const void *x, int64_t n, st_dtype y_dtype, st_dtype x_dtype) {
    ST_REQUIRE_DTYPE(device, y_dtype, "st_cast");
    ST_REQUIRE_DTYPE(device, x_dtype, "st_cast");
    ST_REQUIRE(device, n >= 0, "st_cast: n %lld is negative", static_cast<long long>(n));
    if (n == 0) return ST_OK;
    if (y_dtype == ST_BF16)
        return x_dtype == ST_BF16 ? st::launchCast<st::bf16, st::bf16>(device, y, x, n)
                                  : st::launchCast<st::bf16, float>(device, y, x, n);
    return x_dtype == ST_BF16 ? st::launchCast<float, st::bf16>(device, y, x, n) : st::launchCast<float, float>(device, y, x, n);
}

}  // extern "C"
