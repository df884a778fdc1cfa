// Draws one token a row by the Gumbel-max trick, with the log-probability of the very law drawn from.   Maddison et al. 2014
//
// One block a row. Without truncation the row is read twice (normaliser, arg max), the second time from L2. Truncation finds the least
// likely token to keep by descending through the digits of the logits as ordered integers, 8 bits a pass: top-k by counting, top-p by
// adding up probabilities in fixed point, since integer sums have no order. Nothing is sorted, and no scratch is needed.
#include "../common/philox.h"
#include "head.cuh"

namespace st {
namespace {

constexpr int digits = 256;

/// Tokens are kept if their key is greater than `key`, or equal to it with an id below `limit`.
struct Bound {
    uint32_t key;
    int64_t limit;
    __device__ __forceinline__ bool keeps(uint32_t k, int64_t v) const { return k > key || (k == key && v < limit); }
};

struct SampleShared {
    HeadShared head;
    unsigned long long bins[digits];
    unsigned long long need;     // what is still to be covered inside the chosen bin
    uint32_t digit;
    int32_t counts[headThreads];
    float bestValue[headThreads / 32];
    int64_t bestToken[headThreads / 32];
    int64_t limit;
};

/// The logit as an unsigned number of the same order; -0 counts as 0.
__device__ __forceinline__ uint32_t orderedKey(float x) {
    const uint32_t bits = __float_as_uint(x + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// exp of a log-probability with 44 fractional bits: a row of up to 2^19 of them adds up without overflow.
__device__ __forceinline__ unsigned long long fixedMass(float logProb) {
    return static_cast<unsigned long long>(expf(logProb) * 17592186044416.0f);
}

/// Calls body(v, x) for every logit of the row, thread by chunks of four.
template <typename Body>
__device__ __forceinline__ void eachLogit(const float *row, int64_t V, bool wide, Body body) {
    for (int64_t chunk = threadIdx.x; 4 * chunk < V; chunk += headThreads) {
        float x[4];
        loadLogits(row, chunk, V, wide, x);
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (4 * chunk + i < V) body(4 * chunk + i, x[i]);
    }
}

/// Warp 0 finds the highest bin at which the sum from the top reaches `need`, and what is still needed inside it.
__device__ __forceinline__ void chooseBin(SampleShared &shared) {
    __syncthreads();
    if (threadIdx.x < 32) {
        const int lane = threadIdx.x;  // lane i looks after bins 255 - 8i down to 248 - 8i
        unsigned long long own = 0;
        for (int j = 0; j < 8; j++) own += shared.bins[digits - 1 - 8 * lane - j];
        unsigned long long upTo = own;
        for (int offset = 1; offset < 32; offset *= 2) {
            const unsigned long long above = __shfl_up_sync(fullWarp, upTo, offset);
            if (lane >= offset) upTo += above;
        }
        const unsigned long long need = shared.need;
        const unsigned reached = __ballot_sync(fullWarp, upTo >= need);
        // rounding can leave the sum one short of a need of everything: then the lowest bin that is not empty
        const unsigned filled = __ballot_sync(fullWarp, own > 0);
        const int chosen = reached != 0 ? __ffs(static_cast<int>(reached)) - 1 : filled != 0 ? 31 - __clz(static_cast<int>(filled)) : 31;
        __syncwarp();  // every lane has read need before the chosen one replaces it
        if (lane == chosen) {
            unsigned long long above = upTo - own;
            int bin = digits - 1 - 8 * lane;
            const int last = bin - 7;
            int lowestFilled = bin;
            for (; bin >= last; bin--) {
                if (shared.bins[bin] > 0) lowestFilled = bin;
                if (shared.bins[bin] > 0 && above + shared.bins[bin] >= need) break;
                if (bin > last) above += shared.bins[bin];
            }
            if (bin < last) {
                bin = lowestFilled;
                above = upTo - shared.bins[bin];
            }
            shared.digit = static_cast<uint32_t>(bin);
            const unsigned long long rest = need > above ? need - above : 1;
            shared.need = rest < shared.bins[bin] ? rest : shared.bins[bin];
        }
    }
    __syncthreads();
}

/// Tightens `bound` to the fewest most likely of its tokens whose sizes add up to `need`; sizeOf(x) is 1 for a count or a fixed-point
/// probability, and depends on the logit alone.
template <typename Size>
__device__ Bound tighten(const float *row, int64_t V, bool wide, Bound bound, unsigned long long need, Size sizeOf, SampleShared &shared) {
    uint32_t prefix = 0;
    if (threadIdx.x == 0) shared.need = need;
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (int bin = threadIdx.x; bin < digits; bin += headThreads) shared.bins[bin] = 0;
        __syncthreads();
        eachLogit(row, V, wide, [&](int64_t v, float x) {
            const uint32_t key = orderedKey(x);
            if (shift < 24 && (key ^ prefix) >> (shift + 8) != 0) return;
            if (!bound.keeps(key, v)) return;
            const unsigned long long size = sizeOf(x);
            if (size > 0) atomicAdd(&shared.bins[key >> shift & 255u], size);
        });
        chooseBin(shared);
        prefix |= shared.digit << shift;
        __syncthreads();  // bins are cleared next
    }
    // of the tokens with this very key, the first `wanted` by id
    const float x = __uint_as_float(prefix & 0x80000000u ? prefix & 0x7fffffffu : ~prefix);
    const unsigned long long size = sizeOf(x);
    const int64_t wanted = size > 0 ? static_cast<int64_t>((shared.need + size - 1) / size) : 1;
    const int64_t each = ceilDiv(V, headThreads), from = threadIdx.x * each, to = from + each < V ? from + each : V;
    int32_t count = 0;
    for (int64_t v = from; v < to; v++) {
        const uint32_t key = orderedKey(row[v]);
        count += key == prefix && bound.keeps(key, v);
    }
    shared.counts[threadIdx.x] = count;
    if (threadIdx.x == 0) shared.limit = V;
    __syncthreads();
    int64_t before = 0;
    for (int t = 0; t < static_cast<int>(threadIdx.x); t++) before += shared.counts[t];
    if (before < wanted && before + count >= wanted) {  // one thread at most
        int64_t v = from;
        for (;; v++) {
            const uint32_t key = orderedKey(row[v]);
            if (key == prefix && bound.keeps(key, v) && ++before == wanted) break;
        }
        shared.limit = v + 1;
    }
    __syncthreads();
    const Bound tight = {prefix, shared.limit};
    __syncthreads();
    return tight;
}

struct Best {
    float value;
    int64_t token;
    __device__ __forceinline__ void take(float x, int64_t v) {
        if (x > value || (x == value && v < token)) value = x, token = v;
    }
};

/// The best over the block, ties to the lower token, in every thread.
__device__ __forceinline__ Best blockBest(Best best, SampleShared &shared) {
    for (int offset = 16; offset > 0; offset /= 2) {
        const float value = __shfl_xor_sync(fullWarp, best.value, offset);
        const long long token = __shfl_xor_sync(fullWarp, static_cast<long long>(best.token), offset);
        best.take(value, token);
    }
    if (threadIdx.x % 32 == 0) {
        shared.bestValue[threadIdx.x / 32] = best.value;
        shared.bestToken[threadIdx.x / 32] = best.token;
    }
    __syncthreads();
    best = {shared.bestValue[0], shared.bestToken[0]};
    for (int w = 1; w < headThreads / 32; w++) best.take(shared.bestValue[w], shared.bestToken[w]);
    return best;
}

__global__ void __launch_bounds__(headThreads)
    sample(int32_t *token, float *logProb, const float *logits, const uint64_t *key, const int32_t *position, int64_t V, int64_t stride,
           float temperature, int64_t topK, float topP, bool wide) {
    __shared__ SampleShared shared;
    const float never = -__int_as_float(0x7f800000);
    const int64_t n = blockIdx.x;
    const float *row = logits + n * stride;
    const bool greedy = temperature == 0;
    const float scale = greedy ? 1.0f : 1.0f / temperature;
    RowLaw law = rowLaw(row, V, scale, wide, shared.head);

    Bound bound = {0, V};  // all
    if (!greedy && (topK < V || topP < 1)) {
        if (topK < V)
            bound = tighten(row, V, wide, bound, static_cast<unsigned long long>(topK), [](float) -> unsigned long long { return 1; }, shared);
        if (topP < 1) {
            const auto mass = [=](float x) { return fixedMass(law.logProb(x * scale)); };
            if (threadIdx.x == 0) shared.need = 0;
            __syncthreads();
            unsigned long long own = 0;
            eachLogit(row, V, wide, [&](int64_t v, float x) {
                if (bound.keeps(orderedKey(x), v)) own += mass(x);
            });
            atomicAdd(&shared.need, own);
            __syncthreads();
            const double part = static_cast<double>(topP) * static_cast<double>(shared.need);
            __syncthreads();
            const unsigned long long need = static_cast<unsigned long long>(part) + (part > static_cast<double>(static_cast<unsigned long long>(part)) ? 1 : 0);
            bound = tighten(row, V, wide, bound, need > 0 ? need : 1, mass, shared);
        }
        float kept = 0;
        eachLogit(row, V, wide, [&](int64_t v, float x) {
            if (bound.keeps(orderedKey(x), v)) kept += expf(x * scale - law.top);
        });
        law.logSum = logf(blockSum<headThreads>(kept, shared.head.partial));
    }

    // g = -log E with E = -log(1 - u) >= u: a token can only beat `bar` if u <= exp(z - bar). That is cheap to see, and all but some ten
    // tokens a warp are done with; the margin is far above the rounding of either side, so the arg max is that of the exact values.
    constexpr float margin = 1.02f;
    Best best = {never, V};
    for (int64_t base = 0; 4 * base < V; base += headThreads) {
        const int64_t chunk = base + threadIdx.x;
        float x[4];
        loadLogits(row, chunk, V, wide, x);
        if (greedy) {
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (4 * chunk + i < V) best.take(x[i], 4 * chunk + i);
            continue;
        }
        const float bar = warpMax(best.value);
        const PhiloxBlock noise = sampleNoise(key[n], position[n], static_cast<uint32_t>(chunk));
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int64_t v = 4 * chunk + i;
            const float z = x[i] * scale;
            if (bar > never && uniform(noise.x[i]) > margin * __expf(z - bar)) continue;
            if (v < V && bound.keeps(orderedKey(x[i]), v)) best.take(z + gumbel(noise.x[i]), v);
        }
    }
    best = blockBest(best, shared);
    if (threadIdx.x == 0) {
        const int64_t chosen = best.token < V ? best.token : 0;  // a row without a number greater than -inf has no law
        token[n] = static_cast<int32_t>(chosen);
        logProb[n] = law.logProb(row[chosen] * scale);
    }
}

__global__ void __launch_bounds__(flatThreads)
    decodeAdvance(int32_t *history, float *historyLogProb, int32_t *token, int32_t *position, int32_t *drawn, int32_t *done,
                  const int32_t *sampled, const float *sampledLogProb, const int32_t *limit, int64_t S, int64_t capacity, int32_t stopToken) {
    const int64_t s = flatIndex();
    if (s >= S || done[s] != 0) return;
    const int32_t at = drawn[s], next = sampled[s];
    if (at >= 0 && at < capacity) {
        history[s * capacity + at] = next;
        historyLogProb[s * capacity + at] = sampledLogProb[s];
    }
    drawn[s] = at + 1;
    token[s] = next;
    position[s] += 1;
    if (next == stopToken)
        done[s] = 1;
    else if (at + 1 == limit[s])
        done[s] = 2;
}

}  // namespace
}  // namespace st

extern "C" {

int64_t st_sample_scratch_bytes(st_device *, int64_t, int64_t) { return 0; }

st_status st_sample(st_device *device, int32_t *token, void *log_prob, const void *logits, const uint64_t *key, const int32_t *position,
                    void *, int64_t N, int64_t V, int64_t stride, double temperature, int64_t top_k, double top_p, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_sample");
    ST_REQUIRE(device, N >= 0 && V >= 0 && stride >= V, "st_sample: N %lld, V %lld, stride %lld: need N >= 0, stride >= V >= 0",
               static_cast<long long>(N), static_cast<long long>(V), static_cast<long long>(stride));
    ST_REQUIRE(device, V <= 1 << 19, "st_sample: V %lld is more than %d", static_cast<long long>(V), 1 << 19);
    ST_REQUIRE(device, temperature >= 0, "st_sample: temperature %g is negative", temperature);
    ST_REQUIRE(device, top_k >= 0, "st_sample: top_k %lld is negative; 0 switches it off", static_cast<long long>(top_k));
    ST_REQUIRE(device, top_p > 0 && top_p <= 1, "st_sample: top_p %g is not in (0, 1]; 1 switches it off", top_p);
    if (N == 0 || V == 0) return ST_OK;
    ST_LAUNCH((st::sample), static_cast<unsigned>(N), st::headThreads, 0, device->stream, token, static_cast<float *>(log_prob),
              static_cast<const float *>(logits), key, position, V, stride, static_cast<float>(temperature),
              top_k == 0 ? V : top_k, static_cast<float>(top_p), stride % 4 == 0 && st::aligned16(logits));
    return st::launched(device, "sample");
}

st_status st_decode_advance(st_device *device, int32_t *history, void *history_log_prob, int32_t *token, int32_t *position,
                            int32_t *drawn, int32_t *done, const int32_t *sampled, const void *sampled_log_prob, const int32_t *limit,
                            int64_t S, int64_t capacity, int32_t stop_token, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_decode_advance");
    ST_REQUIRE(device, S >= 0 && capacity >= 0, "st_decode_advance: S %lld or capacity %lld is negative", static_cast<long long>(S),
               static_cast<long long>(capacity));
    if (S == 0) return ST_OK;
    ST_LAUNCH((st::decodeAdvance), st::flatBlocks(S), st::flatThreads, 0, device->stream, history, static_cast<float *>(history_log_prob),
              token, position, drawn, done, sampled, static_cast<const float *>(sampled_log_prob), limit, S, capacity, stop_token);
    return st::launched(device, "decode_advance");
}

}  // extern "C"
