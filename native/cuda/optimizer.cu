// The gradient's norm and AdamW over one flat range.                                  Loshchilov & Hutter 2019, algorithm 2
// Traffic a parameter: sum_squares 4 bytes; AdamW 16 read, 12 written and 2 for a bf16 weight.
#include "common.cuh"

namespace st {
namespace {

constexpr int sumThreads = 256;
constexpr int64_t sumBlocks = 1024;

/// Partial sums in f64: block b takes the stretches b, b + gridDim.x, ... of 4096 elements.
__global__ void __launch_bounds__(sumThreads) squares(double *partial, const float *x, int64_t n, bool wide) {
    __shared__ double warps[sumThreads / 32];
    constexpr int64_t stretch = sumThreads * 16;
    double sum = 0;
    for (int64_t from = blockIdx.x * stretch; from < n; from += gridDim.x * stretch) {
        float v[4][4];
#pragma unroll
        for (int part = 0; part < 4; part++) {
            const int64_t at = from + part * sumThreads * 4 + threadIdx.x * 4;
            loadSome(x + at, n - at, wide, v[part]);
        }
#pragma unroll
        for (int part = 0; part < 4; part++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const double value = v[part][i];
                sum = fma(value, value, sum);
            }
    }
    sum = blockSum<sumThreads>(sum, warps);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(sumThreads) sumDoubles(double *out, const double *x, int64_t n) {
    __shared__ double warps[sumThreads / 32];
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += sumThreads) sum += x[i];
    sum = blockSum<sumThreads>(sum, warps);
    if (threadIdx.x == 0) *out = sum;
}

int64_t squaresBlocks(int64_t n) {
    const int64_t stretches = ceilDiv(n, sumThreads * 16);
    return stretches < sumBlocks ? stretches : sumBlocks;
}

struct AdamW {
    float gradScale, lr, beta1, beta2, rest1, rest2, correction1, correction2, eps, decay;
};

/// Four parameters a thread and round, so that f32 streams go by 16 bytes; two rounds under way at once.
template <typename T>
__global__ void __launch_bounds__(flatThreads)
    adamw(T *weight, float *master, float *m, float *v, const float *grad, int64_t n, AdamW a, bool wide) {
    constexpr int rounds = 2;
    const int64_t start = static_cast<int64_t>(blockIdx.x) * flatThreads * 4 * rounds + threadIdx.x * 4;
    float p[rounds][4], m1[rounds][4], m2[rounds][4], g[rounds][4];
#pragma unroll
    for (int r = 0; r < rounds; r++) {
        const int64_t at = start + r * flatThreads * 4;
        if (at >= n) break;
        loadSome(grad + at, n - at, wide, g[r]);
        loadSome(m + at, n - at, wide, m1[r]);
        loadSome(v + at, n - at, wide, m2[r]);
        loadSome(master + at, n - at, wide, p[r]);
    }
#pragma unroll
    for (int r = 0; r < rounds; r++) {
        const int64_t at = start + r * flatThreads * 4;
        if (at >= n) break;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float d = a.gradScale * g[r][i];
            m1[r][i] = fmaf(a.beta1, m1[r][i], a.rest1 * d);
            m2[r][i] = fmaf(a.beta2, m2[r][i], a.rest2 * d * d);
            const float step = m1[r][i] * a.correction1 / (sqrtf(m2[r][i] * a.correction2) + a.eps);
            p[r][i] = p[r][i] - a.lr * (step + a.decay * p[r][i]);
        }
        storeSome(m + at, n - at, wide, m1[r]);
        storeSome(v + at, n - at, wide, m2[r]);
        storeSome(master + at, n - at, wide, p[r]);
        if (sizeof(T) == 4) continue;  // weight is master
        if (wide && n - at >= 4) {
            struct alignas(8) Pairs {
                uint32_t w[2];
            };
            *reinterpret_cast<Pairs *>(weight + at) = {{packBf16(p[r][0], p[r][1]), packBf16(p[r][2], p[r][3])}};
        } else {
            for (int i = 0; i < 4 && at + i < n; i++) weight[at + i] = fromFloat<T>(p[r][i]);
        }
    }
}

template <typename T>
st_status launchAdamW(st_device *device, void *weight, void *master, void *m, void *v, const void *grad, int64_t n, AdamW a) {
    const bool wide = aligned16(weight) && aligned16(master) && aligned16(m) && aligned16(v) && aligned16(grad);
    ST_LAUNCH((adamw<T>), static_cast<unsigned>(ceilDiv(n, flatThreads * 8)), flatThreads, 0, device->stream, static_cast<T *>(weight),
              static_cast<float *>(master), static_cast<float *>(m), static_cast<float *>(v), static_cast<const float *>(grad), n, a, wide);
    return launched(device, "adamw");
}

}  // namespace
}  // namespace st

extern "C" {

int64_t st_sum_squares_scratch_bytes(st_device *, int64_t n) { return n > 0 ? st::squaresBlocks(n) * 8 : 0; }

st_status st_sum_squares(st_device *device, double *out, const void *x, void *scratch, int64_t n, st_dtype dtype) {
    if (dtype != ST_F32)
        return st::fail(device, dtype == ST_F64 ? ST_UNSUPPORTED : ST_INVALID_ARGUMENT,
                        "st_sum_squares: dtype %d has no CUDA kernel, gradients are ST_F32 (0)", dtype);
    ST_REQUIRE(device, n >= 0, "st_sum_squares: n %lld is negative", static_cast<long long>(n));
    if (n == 0) {
        ST_CUDA(device, cudaMemsetAsync(out, 0, sizeof *out, device->stream));  // the sum of nothing
        return ST_OK;
    }
    const int64_t blocks = st::squaresBlocks(n);
    ST_LAUNCH((st::squares), static_cast<unsigned>(blocks), st::sumThreads, 0, device->stream, static_cast<double *>(scratch),
              static_cast<const float *>(x), n, st::aligned16(x));
    const st_status status = st::launched(device, "sum_squares");
    if (status != ST_OK) return status;
    ST_LAUNCH((st::sumDoubles), 1, st::sumThreads, 0, device->stream, out, static_cast<const double *>(scratch), blocks);
    return st::launched(device, "sum_squares (second stage)");
}

st_status st_adamw(st_device *device, void *weight, void *master, void *m, void *v, const void *grad, int64_t n, double grad_scale,
                   double lr, double beta1, double beta2, double eps, double decay, int64_t step, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_adamw");
    ST_REQUIRE(device, n >= 0, "st_adamw: n %lld is negative", static_cast<long long>(n));
    ST_REQUIRE(device, step >= 1, "st_adamw: step %lld: steps count from 1", static_cast<long long>(step));
    ST_REQUIRE(device, dtype != ST_F32 || weight == master, "st_adamw: with ST_F32, weight and master must be the same memory");
    if (n == 0) return ST_OK;
    const double t = static_cast<double>(step);
    const st::AdamW a = {static_cast<float>(grad_scale),
                         static_cast<float>(lr),
                         static_cast<float>(beta1),
                         static_cast<float>(beta2),
                         static_cast<float>(1 - beta1),
                         static_cast<float>(1 - beta2),
                         static_cast<float>(1 / (1 - pow(beta1, t))),
                         static_cast<float>(1 / (1 - pow(beta2, t))),
                         static_cast<float>(eps),
                         static_cast<float>(decay)};
    ST_BY_DTYPE(dtype, return st::launchAdamW<T>(device, weight, master, m, v, grad, n, a));
}

}  // extern "C"
