// Gated activation and addition.                                                                               Shazeer 2020
//   y = silu(gate) * up;   d_gate = dy * up * s * (1 + gate * (1 - s)), d_up = dy * gate * s, with s = sigmoid(gate)
// Traffic in elements: swiglu forward 3NF, backward 5NF, add 3n; 16 bytes a thread and stream, aim for 85% of copy bandwidth.
#include "common.cuh"

namespace st {
namespace {

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/// Where item i of a row-wise pass lies: `perRow` items a row, the last of which may be short.
struct Place {
    int64_t row;
    int64_t column;
};
template <typename T>
__device__ __forceinline__ Place place(int64_t item, int64_t perRow) {
    if (item <= 0xffffffffll) {  // 64-bit division costs as much as the memory access
        const uint32_t row = static_cast<uint32_t>(item) / static_cast<uint32_t>(perRow);
        return {row, (item - row * perRow) * perWords<T>};
    }
    return {item / perRow, item % perRow * perWords<T>};
}

template <typename T>
__global__ void __launch_bounds__(flatThreads) swigluForward(T *y, const T *gateUp, int64_t N, int64_t F, int64_t perRow, bool wide) {
    const int64_t item = flatIndex();
    if (item >= N * perRow) return;
    const Place at = place<T>(item, perRow);
    const T *gate = gateUp + at.row * 2 * F + at.column;
    float g[perWords<T>], u[perWords<T>];
    loadSome(gate, F - at.column, wide, g);
    loadSome(gate + F, F - at.column, wide, u);
#pragma unroll
    for (int i = 0; i < perWords<T>; i++) u[i] = g[i] * sigmoid(g[i]) * u[i];
    storeSome(y + at.row * F + at.column, F - at.column, wide, u);
}

template <typename T>
__global__ void __launch_bounds__(flatThreads)
    swigluBackward(T *dGateUp, const T *dy, const T *gateUp, int64_t N, int64_t F, int64_t perRow, bool wide) {
    const int64_t item = flatIndex();
    if (item >= N * perRow) return;
    const Place at = place<T>(item, perRow);
    const int64_t left = F - at.column, gateAt = at.row * 2 * F + at.column;
    float g[perWords<T>], u[perWords<T>], d[perWords<T>];
    loadSome(gateUp + gateAt, left, wide, g);
    loadSome(gateUp + gateAt + F, left, wide, u);
    loadSome(dy + at.row * F + at.column, left, wide, d);
#pragma unroll
    for (int i = 0; i < perWords<T>; i++) {
        const float s = sigmoid(g[i]);
        const float dGate = d[i] * u[i] * s * (1.0f + g[i] * (1.0f - s));
        u[i] = d[i] * (g[i] * s);
        g[i] = dGate;
    }
    storeSome(dGateUp + gateAt, left, wide, g);
    storeSome(dGateUp + gateAt + F, left, wide, u);
}

template <typename T>
__global__ void __launch_bounds__(flatThreads) add(T *y, const T *a, const T *b, int64_t n, bool wide) {
    const int64_t at = flatIndex() * perWords<T>;
    if (at >= n) return;
    float x[perWords<T>], z[perWords<T>];
    loadSome(a + at, n - at, wide, x);
    loadSome(b + at, n - at, wide, z);
#pragma unroll
    for (int i = 0; i < perWords<T>; i++) x[i] += z[i];
    storeSome(y + at, n - at, wide, x);
}

template <typename T>
st_status launchSwigluForward(st_device *device, void *y, const void *gateUp, int64_t N, int64_t F) {
    const int64_t perRow = ceilDiv(F, perWords<T>);
    ST_LAUNCH((swigluForward<T>), flatBlocks(N * perRow), flatThreads, 0, device->stream, static_cast<T *>(y),
              static_cast<const T *>(gateUp), N, F, perRow, F % perWords<T> == 0 && aligned16(y) && aligned16(gateUp));
    return launched(device, "swiglu_forward");
}

template <typename T>
st_status launchSwigluBackward(st_device *device, void *dGateUp, const void *dy, const void *gateUp, int64_t N, int64_t F) {
    const int64_t perRow = ceilDiv(F, perWords<T>);
    const bool wide = F % perWords<T> == 0 && aligned16(dGateUp) && aligned16(dy) && aligned16(gateUp);
    ST_LAUNCH((swigluBackward<T>), flatBlocks(N * perRow), flatThreads, 0, device->stream, static_cast<T *>(dGateUp),
              static_cast<const T *>(dy), static_cast<const T *>(gateUp), N, F, perRow, wide);
    return launched(device, "swiglu_backward");
}

template <typename T>
st_status launchAdd(st_device *device, void *y, const void *a, const void *b, int64_t n) {
    ST_LAUNCH((add<T>), flatBlocks(ceilDiv(n, perWords<T>)), flatThreads, 0, device->stream, static_cast<T *>(y),
              static_cast<const T *>(a), static_cast<const T *>(b), n, aligned16(y) && aligned16(a) && aligned16(b));
    return launched(device, "add");
}

}  // namespace
}  // namespace st

extern "C" {

st_status st_swiglu_forward(st_device *device, void *y, const void *gate_up, int64_t N, int64_t F, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_swiglu_forward");
    ST_REQUIRE(device, N >= 0 && F >= 0, "st_swiglu_forward: N %lld or F %lld is negative", static_cast<long long>(N),
               static_cast<long long>(F));
    if (N == 0 || F == 0) return ST_OK;
    ST_BY_DTYPE(dtype, return st::launchSwigluForward<T>(device, y, gate_up, N, F));
}

st_status st_swiglu_backward(st_device *device, void *d_gate_up, const void *dy, const void *gate_up, int64_t N, int64_t F,
                             st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_swiglu_backward");
    ST_REQUIRE(device, N >= 0 && F >= 0, "st_swiglu_backward: N %lld or F %lld is negative", static_cast<long long>(N),
               static_cast<long long>(F));
    if (N == 0 || F == 0) return ST_OK;
    ST_BY_DTYPE(dtype, return st::launchSwigluBackward<T>(device, d_gate_up, dy, gate_up, N, F));
}

st_status st_add(st_device *device, void *y, const void *a, const void *b, int64_t n, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_add");
    ST_REQUIRE(device, n >= 0, "st_add: n %lld is negative", static_cast<long long>(n));
    if (n == 0) return ST_OK;
    ST_BY_DTYPE(dtype, return st::launchAdd<T>(device, y, a, b, n));
}

}  // extern "C"
