// Log-probabilities and cross-entropy of rows of logits.
//   loss = lse - x_target;  dx_v = weight (exp(x_v - lse) - [v = target])
// Traffic: log_prob 4NV bytes; cross-entropy 4NV from memory, once more from L2, and NV elements of dlogits written. One row a block.
#include "head.cuh"

namespace st {
namespace {

__global__ void __launch_bounds__(headThreads, 2)
    logProb(float *out, const float *logits, const int32_t *token, int64_t V, int64_t stride, bool wide) {
    __shared__ HeadShared shared;
    const int64_t n = blockIdx.x;
    const int64_t own = token[n];
    if (own < 0 || own >= V) {
        if (threadIdx.x == 0) out[n] = 0;
        return;
    }
    const float *row = logits + n * stride;
    const RowLaw law = rowLaw(row, V, 1.0f, wide, shared);
    if (threadIdx.x == 0) out[n] = law.logProb(row[own]);
}

template <typename T>
__global__ void __launch_bounds__(headThreads, 2)
    crossEntropy(float *loss, T *dlogits, const float *logits, const int32_t *target, const float *weight, int64_t V, int64_t stride,
                 bool wide) {
    __shared__ HeadShared shared;
    constexpr int L = perWords<T>;
    const int64_t n = blockIdx.x, own = target[n];
    const bool counted = own >= 0 && own < V;
    const float *row = logits + n * stride;
    RowLaw law = {0, 0};
    if (counted) {
        law = rowLaw(row, V, 1.0f, wide, shared);
        if (threadIdx.x == 0) loss[n] = -law.logProb(row[own]);
    } else if (threadIdx.x == 0) {
        loss[n] = 0;
    }
    if (dlogits == nullptr) return;
    __syncthreads();  // dlogits may be logits: row[own] has been read
    const float scale = weight[n];
    T *to = dlogits + n * stride;
    for (int64_t v = static_cast<int64_t>(threadIdx.x) * L; v < stride; v += headThreads * L) {
        float d[L] = {};
        if (counted) {
#pragma unroll
            for (int part = 0; part < L; part += 4) {
                float x[4];
                loadLogits(row, (v + part) / 4, V, wide, x);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int64_t at = v + part + i;
                    d[part + i] = at < V ? scale * (expf(law.logProb(x[i])) - (at == own ? 1.0f : 0.0f)) : 0.0f;
                }
            }
        }
        storeSome(to + v, stride - v, wide && stride % L == 0, d);
    }
}

template <typename T>
st_status launchCrossEntropy(st_device *device, void *loss, void *dlogits, const void *logits, const int32_t *target,
                             const void *weight, int64_t N, int64_t V, int64_t stride) {
    const bool wide = stride % 4 == 0 && aligned16(logits) && aligned16(dlogits);
    ST_LAUNCH((crossEntropy<T>), static_cast<unsigned>(N), headThreads, 0, device->stream, static_cast<float *>(loss),
              static_cast<T *>(dlogits), static_cast<const float *>(logits), target, static_cast<const float *>(weight), V, stride, wide);
    return launched(device, "cross_entropy");
}

}  // namespace
}  // namespace st

extern "C" {

st_status st_log_prob(st_device *device, void *log_prob, const void *logits, const int32_t *token, int64_t N, int64_t V, int64_t stride,
                      st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_log_prob");
    ST_REQUIRE(device, N >= 0 && V >= 0 && stride >= V, "st_log_prob: N %lld, V %lld, stride %lld: need N >= 0, stride >= V >= 0",
               static_cast<long long>(N), static_cast<long long>(V), static_cast<long long>(stride));
    if (N == 0 || V == 0) return ST_OK;
    ST_LAUNCH((st::logProb), static_cast<unsigned>(N), st::headThreads, 0, device->stream, static_cast<float *>(log_prob),
              static_cast<const float *>(logits), token, V, stride, stride % 4 == 0 && st::aligned16(logits));
    return st::launched(device, "log_prob");
}

st_status st_cross_entropy(st_device *device, void *loss, void *dlogits, const void *logits, const int32_t *target, const void *weight,
                           int64_t N, int64_t V, int64_t stride, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_cross_entropy");
    ST_REQUIRE(device, N >= 0 && V >= 0 && stride >= V, "st_cross_entropy: N %lld, V %lld, stride %lld: need N >= 0, stride >= V >= 0",
               static_cast<long long>(N), static_cast<long long>(V), static_cast<long long>(stride));
    if (N == 0 || V == 0) return ST_OK;
    ST_BY_DTYPE(dtype, return st::launchCrossEntropy<T>(device, loss, dlogits, logits, target, weight, N, V, stride));
}

}  // extern "C"
