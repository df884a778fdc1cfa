// The one row routine behind st_log_prob, st_cross_entropy and st_sample: the same logits give the same log-probability bits in all three,
// because it is the same code with the same number of threads, whatever the alignment.
#ifndef SUBTEXT_CUDA_HEAD_CUH
#define SUBTEXT_CUDA_HEAD_CUH

#include "common.cuh"

namespace st {

constexpr int headThreads = 512;

struct HeadShared {
    float partial[headThreads / 32];
};

/// Columns [4 * chunk, 4 * chunk + 4) of a row of V logits, -inf beyond V.
__device__ __forceinline__ void loadLogits(const float *row, int64_t chunk, int64_t V, bool wide, float (&x)[4]) {
    const int64_t v = 4 * chunk;
    if (wide && v + 4 <= V) {
        unpack(loadWords(row + v), x);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] = v + i < V ? row[v + i] : -__int_as_float(0x7f800000);
    }
}

/// A row's normaliser: the greatest z = scale * logit, and log sum exp(z - top).
struct RowLaw {
    float top, logSum;
    __device__ __forceinline__ float logProb(float z) const { return (z - top) - logSum; }
};

/// The law of a row, in every thread; the row is read once. Thread t owns the chunks t, t + 512, ... and keeps a running
/// maximum and a sum relative to it, four chunks at a time.
__device__ __forceinline__ RowLaw rowLaw(const float *row, int64_t V, float scale, bool wide, HeadShared &shared) {
    constexpr int ahead = 4;
    const float never = -__int_as_float(0x7f800000);
    const int64_t chunks = (V + 3) / 4;
    float most = never, sum = 0;
    for (int64_t chunk = threadIdx.x; chunk < chunks; chunk += ahead * headThreads) {
        float x[ahead][4];
#pragma unroll
        for (int a = 0; a < ahead; a++) loadLogits(row, chunk + a * headThreads, V, wide, x[a]);
        float now = most;
#pragma unroll
        for (int a = 0; a < ahead; a++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                x[a][i] *= scale;
                now = fmaxf(now, x[a][i]);
            }
        if (now == never) continue;  // nothing but -inf so far
        sum *= expf(most - now);
#pragma unroll
        for (int a = 0; a < ahead; a++)
#pragma unroll
            for (int i = 0; i < 4; i++) sum += expf(x[a][i] - now);
        most = now;
    }
    const float all = blockMax<headThreads>(most, shared.partial);
    sum = blockSum<headThreads>(most == never ? 0.0f : sum * expf(most - all), shared.partial);
    return {all, logf(sum)};
}

}  // namespace st

#endif
