// Filling memory: zeros, a number, normal noise.
#include <cmath>
#include <cstring>

#include "device.h"
#include "philox.h"

using subtext::kindOf;

namespace {

uint16_t roundToBf16(float x) {
    uint32_t u;
    std::memcpy(&u, &x, 4);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((u >> 16) | 0x40u);
    return static_cast<uint16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}

}  // namespace

extern "C" {

st_status st_fill_zero(st_device* device, void* to, int64_t bytes) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (bytes < 0) return device->fail(ST_INVALID_ARGUMENT, "fill_zero: bytes must not be negative, got %lld", (long long)bytes);
    if (bytes == 0) return ST_OK;
    if (!to) return device->fail(ST_INVALID_ARGUMENT, "fill_zero: to must not be NULL");
    device->parallel(bytes, 1 << 20, bytes >= (4 << 20),
                     [&](int64_t from, int64_t end, int32_t) { std::memset(static_cast<char*>(to) + from, 0, end - from); });
    return ST_OK;
}

st_status st_fill_i32(st_device* device, int32_t* y, int64_t n, int32_t value) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (n < 0) return device->fail(ST_INVALID_ARGUMENT, "fill_i32: n must not be negative, got %lld", (long long)n);
    if (n > 0 && !y) return device->fail(ST_INVALID_ARGUMENT, "fill_i32: y must not be NULL");
    for (int64_t i = 0; i < n; i++) y[i] = value;
    return ST_OK;
}

// In double, and rounded once: initial weights should not depend on how a platform rounds its float functions.
st_status st_fill_normal(st_device* device, void* y, int64_t n, double mean, double std, double clamp, uint64_t seed, uint64_t first,
                         st_dtype dtype) {
    if (!device) return ST_INVALID_ARGUMENT;
    const int kind = kindOf(dtype);
    if (n < 0) return device->fail(ST_INVALID_ARGUMENT, "fill_normal: n must not be negative, got %lld", (long long)n);
    if (kind < 0) return device->fail(ST_INVALID_ARGUMENT, "fill_normal: dtype %d, expected f32, bf16 or f64", dtype);
    if (n > 0 && !y) return device->fail(ST_INVALID_ARGUMENT, "fill_normal: y must not be NULL");
    device->parallel(n, 4096, n >= 8192, [&](int64_t from, int64_t to, int32_t) {
        for (int64_t i = from; i < to; i++) {
            const st::PhiloxBlock block = st::philox(seed, first + static_cast<uint64_t>(i));
            const double u = st::uniform(block.x[0]), turn = st::uniform(block.x[1]);
            double value = mean + std * (std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * turn));
            if (clamp > 0) value = std::fmin(std::fmax(value, mean - clamp * std), mean + clamp * std);
            if (kind == 0) static_cast<float*>(y)[i] = static_cast<float>(value);
            else if (kind == 1) static_cast<uint16_t*>(y)[i] = roundToBf16(static_cast<float>(value));
            else static_cast<double*>(y)[i] = value;
        }
    });
    return ST_OK;
}

}  // extern "C"
