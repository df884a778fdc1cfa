// RMSNorm.                                                                              Zhang & Sennrich 2019, equation 4
//   r = 1 / sqrt(mean(x^2) + eps);  y = x r w
//   dx += r (dy w - x r^2 mean(dy w x));  dw += sum over rows of dy x r
// Traffic in elements: forward 2NC (x stays in registers between the two uses); backward 4NC (dy, x, dx read, dx written), plus one
// partial dw per block in f32. dw is summed in two stages of fixed order: over the rows of a block, then over the blocks.
// A row belongs to `rowThreads` threads, a number that depends on C alone, so its bits do not depend on the other rows.
#include "common.cuh"

namespace st {
namespace {

/// How the C columns of a row are dealt out: thread t takes the 16-byte words t, t + threads, ..., at most `each` of them.
struct Deal {
    int threads;  // per row, a multiple of 32
    int each;     // 1, 2, 4, 8, or 0: too wide for registers, or not made of whole words
};

template <typename T>
Deal deal(int64_t C, int most, bool wide) {
    if (!wide || C % perWords<T> != 0) return {256, 0};
    const int64_t words = C / perWords<T>;
    if (words <= 32 * most) return {32, words <= 32 ? 1 : words <= 64 ? 2 : words <= 128 ? 4 : 8};  // one warp, no barrier
    for (int each = 1; each <= most; each *= 2)
        if (words <= 256 * each) return {static_cast<int>(roundUp(ceilDiv(words, each), 32)), each};
    if (words <= 1024 * most) return {static_cast<int>(roundUp(ceilDiv(words, most), 32)), most};
    return {256, 0};
}

/// Sum over the threads of a row, in every one of them. `partial` holds 32 floats and alternates between two halves, so that one barrier
/// a sum is enough.
__device__ __forceinline__ float rowSum(float x, int threads, float *partial) {
    x = warpSum(x);
    if (threads == 32) return x;
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
    __syncthreads();
    x = partial[0];
    for (int w = 1; w < threads / 32; w++) x += partial[w];
    return x;
}

/// blockDim.x threads a row, blockDim.y rows a block.
template <typename T, int each>
__global__ void __launch_bounds__(1024) forward(T *y, float *rstd, const T *x, const T *w, int64_t N, int64_t C, float eps) {
    __shared__ float partial[32];
    constexpr int L = perWords<T>;
    const int64_t n = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (n >= N) return;  // whole warps: more than one row a block only when a row is one warp
    const int threads = blockDim.x, words = static_cast<int>(C / L);
    Words held[each];
    float sum = 0;
#pragma unroll
    for (int e = 0; e < each; e++) {
        const int word = threadIdx.x + e * threads;
        held[e] = {{0, 0, 0, 0}};
        if (word < words) held[e] = loadWordsOnce(x + n * C + static_cast<int64_t>(word) * L);
    }
#pragma unroll
    for (int e = 0; e < each; e++) {
        float value[L];
        unpack(held[e], value);
#pragma unroll
        for (int i = 0; i < L; i++) sum = fmaf(value[i], value[i], sum);
    }
    sum = rowSum(sum, threads, partial);
    const float r = 1.0f / sqrtf(sum / static_cast<float>(C) + eps);
    if (rstd != nullptr && threadIdx.x == 0) rstd[n] = r;
#pragma unroll
    for (int e = 0; e < each; e++) {
        const int word = threadIdx.x + e * threads;
        if (word >= words) continue;
        float value[L], gain[L];
        unpack(held[e], value);
        unpack(loadWords(w + static_cast<int64_t>(word) * L), gain);
#pragma unroll
        for (int i = 0; i < L; i++) value[i] = value[i] * r * gain[i];
        storeWords(y + n * C + static_cast<int64_t>(word) * L, pack(value));
    }
}

/// For any C and alignment: one row a block of 256, element by element, x read twice (the second time from cache).
template <typename T>
__global__ void __launch_bounds__(256) forwardAny(T *y, float *rstd, const T *x, const T *w, int64_t C, float eps) {
    __shared__ float partial[32];
    const int64_t at = blockIdx.x * C;
    float sum = 0;
    for (int64_t c = threadIdx.x; c < C; c += 256) {
        const float value = toFloat(x[at + c]);
        sum = fmaf(value, value, sum);
    }
    sum = rowSum(sum, 256, partial);
    const float r = 1.0f / sqrtf(sum / static_cast<float>(C) + eps);
    if (rstd != nullptr && threadIdx.x == 0) rstd[blockIdx.x] = r;
    for (int64_t c = threadIdx.x; c < C; c += 256) y[at + c] = fromFloat<T>(toFloat(x[at + c]) * r * toFloat(w[c]));
}

/// Blocks of the backward pass, hence partial sums of dw: depends on N and C only.
int64_t backwardBlocks(int64_t N, int64_t C) {
    const int64_t most = C <= 1024 ? 1056 : C <= 4096 ? 528 : 264;
    return N < most ? N : most;
}

/// Block b takes rows b, b + gridDim.x, ...; its part of dw goes to partialDw[b].
template <typename T, int each>
__global__ void __launch_bounds__(1024, 1)
    backward(T *dx, float *partialDw, const T *dy, const T *x, const T *w, const float *rstd, int64_t N, int64_t C) {
    __shared__ float partial[64];
    constexpr int L = perWords<T>;
    const int threads = blockDim.x, words = static_cast<int>(C / L);
    float gain[each][L], dw[each][L];
#pragma unroll
    for (int e = 0; e < each; e++) {
        const int word = threadIdx.x + e * threads;
#pragma unroll
        for (int i = 0; i < L; i++) gain[e][i] = dw[e][i] = 0;
        if (word < words) unpack(loadWords(w + static_cast<int64_t>(word) * L), gain[e]);
    }
    int half = 0;
    for (int64_t n = blockIdx.x; n < N; n += gridDim.x, half ^= 32) {
        const float r = rstd[n];
        Words xs[each], ds[each], olds[each];
#pragma unroll
        for (int e = 0; e < each; e++) {
            const int word = threadIdx.x + e * threads;
            const Words none = {{0, 0, 0, 0}};
            xs[e] = none, ds[e] = none, olds[e] = none;
            if (word >= words) continue;
            const int64_t at = n * C + static_cast<int64_t>(word) * L;
            xs[e] = loadWordsOnce(x + at);
            ds[e] = loadWordsOnce(dy + at);
            olds[e] = loadWordsOnce(dx + at);
        }
        float dot = 0;
#pragma unroll
        for (int e = 0; e < each; e++) {
            float a[L], d[L];
            unpack(xs[e], a);
            unpack(ds[e], d);
#pragma unroll
            for (int i = 0; i < L; i++) {
                dot = fmaf(d[i] * gain[e][i], a[i], dot);
                dw[e][i] = fmaf(d[i], a[i] * r, dw[e][i]);
            }
        }
        dot = rowSum(dot, threads, partial + half);
        const float pull = dot * r * r / static_cast<float>(C);
#pragma unroll
        for (int e = 0; e < each; e++) {
            const int word = threadIdx.x + e * threads;
            if (word >= words) continue;
            float a[L], d[L], old[L];
            unpack(xs[e], a);
            unpack(ds[e], d);
            unpack(olds[e], old);
#pragma unroll
            for (int i = 0; i < L; i++) old[i] += r * (d[i] * gain[e][i] - a[i] * pull);
            storeWords(dx + n * C + static_cast<int64_t>(word) * L, pack(old));
        }
    }
#pragma unroll
    for (int e = 0; e < each; e++) {
        const int word = threadIdx.x + e * threads;
        if (word >= words) continue;
        float *to = partialDw + blockIdx.x * C + static_cast<int64_t>(word) * L;
#pragma unroll
        for (int i = 0; i < L; i += 4) {
            const float four[4] = {dw[e][i], dw[e][i + 1], dw[e][i + 2], dw[e][i + 3]};
            storeWords(to + i, pack(four));
        }
    }
}

/// For any C and alignment: 256 threads, dw accumulated in the block's own part of the scratch.
template <typename T>
__global__ void __launch_bounds__(256)
    backwardAny(T *dx, float *partialDw, const T *dy, const T *x, const T *w, const float *rstd, int64_t N, int64_t C) {
    __shared__ float partial[64];
    float *own = partialDw + blockIdx.x * C;
    for (int64_t c = threadIdx.x; c < C; c += 256) own[c] = 0;
    int half = 0;
    for (int64_t n = blockIdx.x; n < N; n += gridDim.x, half ^= 32) {
        const int64_t at = n * C;
        const float r = rstd[n];
        float dot = 0;
        for (int64_t c = threadIdx.x; c < C; c += 256) {
            const float a = toFloat(x[at + c]), d = toFloat(dy[at + c]);
            dot = fmaf(d * toFloat(w[c]), a, dot);
            own[c] = fmaf(d, a * r, own[c]);
        }
        dot = rowSum(dot, 256, partial + half);
        const float pull = dot * r * r / static_cast<float>(C);
        for (int64_t c = threadIdx.x; c < C; c += 256)
            dx[at + c] = fromFloat<T>(toFloat(dx[at + c]) +
                                      r * (toFloat(dy[at + c]) * toFloat(w[c]) - toFloat(x[at + c]) * pull));
    }
}

/// dw[c] += sum over b of partialDw[b][c]: eight warps share 32 columns, warp g taking blocks g, g+8, ...
__global__ void __launch_bounds__(256) sumPartials(float *dw, const float *partialDw, int64_t blocks, int64_t C) {
    __shared__ float sums[8][32];
    const int lane = threadIdx.x % 32, group = threadIdx.x / 32;
    const int64_t c = static_cast<int64_t>(blockIdx.x) * 32 + lane;
    float sum = 0;
    if (c < C)
#pragma unroll 4
        for (int64_t b = group; b < blocks; b += 8) sum += partialDw[b * C + c];
    sums[group][lane] = sum;
    __syncthreads();
    if (group > 0 || c >= C) return;
    for (int g = 1; g < 8; g++) sum += sums[g][lane];
    dw[c] += sum;
}

template <typename T>
st_status launchForward(st_device *device, void *y, void *rstd, const void *x, const void *w, int64_t N, int64_t C, double eps) {
    T *out = static_cast<T *>(y);
    float *r = static_cast<float *>(rstd);
    const T *in = static_cast<const T *>(x), *gain = static_cast<const T *>(w);
    const float e = static_cast<float>(eps);
    const Deal plan = deal<T>(C, 8, aligned16(y) && aligned16(x) && aligned16(w));
    const int rows = plan.threads == 32 ? 4 : 1;
    const dim3 grid(static_cast<unsigned>(ceilDiv(N, rows))), block(plan.threads, rows);
    switch (plan.each) {
        case 1: ST_LAUNCH((forward<T, 1>), grid, block, 0, device->stream, out, r, in, gain, N, C, e); break;
        case 2: ST_LAUNCH((forward<T, 2>), grid, block, 0, device->stream, out, r, in, gain, N, C, e); break;
        case 4: ST_LAUNCH((forward<T, 4>), grid, block, 0, device->stream, out, r, in, gain, N, C, e); break;
        case 8: ST_LAUNCH((forward<T, 8>), grid, block, 0, device->stream, out, r, in, gain, N, C, e); break;
        default: ST_LAUNCH((forwardAny<T>), static_cast<unsigned>(N), 256, 0, device->stream, out, r, in, gain, C, e);
    }
    return launched(device, "rmsnorm_forward");
}

template <typename T>
st_status launchBackward(st_device *device, void *dx, void *dw, const void *dy, const void *x, const void *w, const void *rstd,
                         void *scratch, int64_t N, int64_t C) {
    T *out = static_cast<T *>(dx);
    float *partialDw = static_cast<float *>(scratch);
    const float *r = static_cast<const float *>(rstd);
    const T *d = static_cast<const T *>(dy), *in = static_cast<const T *>(x), *gain = static_cast<const T *>(w);
    Deal plan = deal<T>(C, 2, aligned16(dx) && aligned16(dy) && aligned16(x) && aligned16(w) && aligned16(scratch));
    const int64_t blocks = backwardBlocks(N, C);
    const unsigned grid = static_cast<unsigned>(blocks);
    switch (plan.each) {
        case 1: ST_LAUNCH((backward<T, 1>), grid, plan.threads, 0, device->stream, out, partialDw, d, in, gain, r, N, C); break;
        case 2: ST_LAUNCH((backward<T, 2>), grid, plan.threads, 0, device->stream, out, partialDw, d, in, gain, r, N, C); break;
        default: ST_LAUNCH((backwardAny<T>), grid, 256, 0, device->stream, out, partialDw, d, in, gain, r, N, C);
    }
    const st_status status = launched(device, "rmsnorm_backward");
    if (status != ST_OK) return status;
    ST_LAUNCH((sumPartials), static_cast<unsigned>(ceilDiv(C, 32)), 256, 0, device->stream, static_cast<float *>(dw), partialDw, blocks, C);
    return launched(device, "rmsnorm_backward (sum of dw)");
}

}  // namespace
}  // namespace st

extern "C" {

st_status st_rmsnorm_forward(st_device *device, void *y, void *rstd, const void *x, const void *w, int64_t N, int64_t C, double eps,
                             st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_rmsnorm_forward");
    ST_REQUIRE(device, N >= 0 && C >= 0, "st_rmsnorm_forward: N %lld or C %lld is negative", static_cast<long long>(N),
               static_cast<long long>(C));
    if (N == 0 || C == 0) return ST_OK;
    ST_BY_DTYPE(dtype, return st::launchForward<T>(device, y, rstd, x, w, N, C, eps));
}

int64_t st_rmsnorm_backward_scratch_bytes(st_device *, int64_t N, int64_t C, st_dtype) {
    return N > 0 && C > 0 ? st::backwardBlocks(N, C) * C * 4 : 0;
}

st_status st_rmsnorm_backward(st_device *device, void *dx, void *dw, const void *dy, const void *x, const void *w, const void *rstd,
                              void *scratch, int64_t N, int64_t C, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_rmsnorm_backward");
    ST_REQUIRE(device, N >= 0 && C >= 0, "st_rmsnorm_backward: N %lld or C %lld is negative", static_cast<long long>(N),
               static_cast<long long>(C));
    if (N == 0 || C == 0) return ST_OK;
    ST_BY_DTYPE(dtype, return st::launchBackward<T>(device, dx, dw, dy, x, w, rstd, scratch, N, C));
}

}  // extern "C"
