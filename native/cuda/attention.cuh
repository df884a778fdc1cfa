// What all attention kernels share: who computes which rows, where a key lies, and the one definition of a row's result.
//
// The definition. The row at absolute position p of its sequence sees the keys max(0, p - window + 1) .. p. It visits them in blocks of 64
// absolute positions (0..63, 64..127, ...), in order, and each block b is one update of (m, l, o) by the online softmax
// (Milakov & Gimelshein 2018; Dao et al. 2022, algorithm 1), in base 2 with c = scale * log2(e):
//
//   s_j   = q . k_j                          one chain over d per key (fma, or mma.sync m16n8k16 over 16 d at a time); -inf if not seen
//   m'    = max(m, max_j s_j)                exact, so its order is free
//   p_j   = exp2(s_j c - round(m' c))
//   alpha = exp2(round(m c) - round(m' c))   exactly 1 when the maximum stands
//   l     = l alpha + sum_j p_j              a fixed tree over the 64 keys
//   o     = o alpha + sum_j p_j v_j          one chain over the block's keys in ascending order
//
// A block of which the row sees nothing changes no bit: its p_j are +0, alpha is 1, and before the first visible key m = -inf, l = 0
// and o = 0 stay as they are. Therefore skipping such a block, or visiting it for the sake of other rows of the tile, is the same, and a
// row's bits depend neither on the tile it is computed in nor on packing, cache, prefix or the number of rows asked for. Keys are never
// split over thread blocks. The result is o / l, with + 0 to make the sign of a zero independent of masked terms.
#ifndef SUBTEXT_CUDA_ATTENTION_CUH
#define SUBTEXT_CUDA_ATTENTION_CUH

#include "common.cuh"

#include <math.h>

namespace st {
namespace attention {

constexpr int keyBlock = 64;
constexpr float log2e = 1.4426950408889634f;
constexpr float ln2 = 0.6931471805599453f;

/// 2^x by the special-function unit, results below 2^-126 flushed to zero; 2^0 is exactly 1 and 2^-inf is 0.
__device__ __forceinline__ float exp2Fast(float x) {
#if defined(ST_CUDA_EMULATED)
    const float y = exp2f(x);
    return y < 1.17549435e-38f ? 0.0f : y;
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

/// One call of st_attention_forward or st_attention_cached. The pointers of the cache are null for packed attention, where k and v point
/// into qkv; strides count elements.
template <typename T>
struct Call {
    T *y;                 // (N, H*D)
    float *lse;           // (N, H) or null
    const T *q, *k, *v;   // head 0 of row 0
    const int32_t *cuSeqlens, *slot, *prefixSlot, *prefixLength, *start;
    int64_t qStride;      // between rows of q
    int64_t keyStride;    // between positions of k and v
    int64_t slotStride;   // between slots of the cache
    int64_t N;
    int32_t S, H, Hkv, D, window;
    int32_t tiles;        // per sequence, or 0: tiles are found by row, see tileOf
    float c;              // scale * log2(e)
};

inline st_status checkShape(st_device *device, const char *op, int64_t S, int64_t longest, int64_t N, int64_t H, int64_t Hkv, int64_t D,
                            double scale, int64_t window) {
    ST_REQUIRE(device, S >= 0 && longest >= 0 && N >= 0 && N <= INT32_MAX && S <= INT32_MAX, "%s: S %lld, longest %lld, N %lld: out of range",
               op, static_cast<long long>(S), static_cast<long long>(longest), static_cast<long long>(N));
    ST_REQUIRE(device, H > 0 && Hkv > 0 && H % Hkv == 0, "%s: H %lld must be a multiple of Hkv %lld", op, static_cast<long long>(H),
               static_cast<long long>(Hkv));
    ST_REQUIRE(device, D > 0 && D <= 16384, "%s: D %lld: must be 1 to 16384", op, static_cast<long long>(D));
    ST_REQUIRE(device, scale > 0, "%s: scale %g: must be positive", op, scale);
    ST_REQUIRE(device, window >= 0, "%s: window %lld: must not be negative, 0 means all keys", op, static_cast<long long>(window));
    return ST_OK;
}

template <typename Arguments>
void fillShape(Arguments &call, int64_t S, int64_t N, int64_t H, int64_t Hkv, int64_t D, double scale, int64_t window) {
    call.N = N;
    call.S = static_cast<int32_t>(S);
    call.H = static_cast<int32_t>(H);
    call.Hkv = static_cast<int32_t>(Hkv);
    call.D = static_cast<int32_t>(D);
    call.window = static_cast<int32_t>(window < INT32_MAX / 2 ? window : 0);  // longer than any sequence: all keys
    call.c = static_cast<float>(scale * 1.4426950408889634);
}

/// The rows one thread block works on.
struct Tile {
    int32_t sequence, head;
    int32_t row;       // of the batch: the sequence's first
    int32_t rows;      // of the sequence
    int32_t start;     // absolute position of the sequence's first row
    int32_t first;     // the tile's first row within the sequence
};

/// Blocks to launch for tiles of `height` rows over `heads` heads; `*tiles` goes into the call. Sequences of similar length get a grid of
/// S x tiles; otherwise sequence s gets the tile numbers from cuSeqlens[s] / height + s on, which leaves at most one number in vain each.
inline int64_t tileCount(int64_t N, int64_t S, int64_t longest, int64_t heads, int height, int32_t *tiles) {
    const int64_t each = ceilDiv(longest, height), bound = N / height + S;
    *tiles = each * S <= bound + bound / 4 ? static_cast<int32_t>(each) : 0;
    return (*tiles > 0 ? each * S : bound) * heads;
}

/// The tile of block `id`; false if there is none. Tiles with more keys come first, so that the last wave is a light one; the heads
/// that share keys are neighbours. Called by whole warps.
__device__ __forceinline__ bool tileOf(Tile *tile, const int32_t *cuSeqlens, const int32_t *start, int64_t N, int32_t S, int32_t tiles,
                                       int32_t heads, int height, int64_t id) {
    int32_t s, t;
    tile->head = static_cast<int32_t>(id % heads);
    id /= heads;
    if (tiles > 0) {
        t = tiles - 1 - static_cast<int32_t>(id / S);
        s = static_cast<int32_t>(id % S);
    } else {
        // The last s with cuSeqlens[s] / height + s <= number, by a search of 32 probes at a time.
        const int32_t number = static_cast<int32_t>(N / height + S - 1 - id), lane = threadIdx.x % 32;
        int32_t low = 0, count = S;
        while (count > 1) {
            const int32_t step = ceilDiv(count, 32), probe = low + lane * step;
            const bool reached = lane * step < count && cuSeqlens[probe] / height + probe <= number;
            const int32_t last = __popc(__ballot_sync(fullWarp, reached)) - 1;
            count = min(step, count - last * step);
            low += last * step;
        }
        s = low;
        t = number - (cuSeqlens[s] / height + s);
    }
    tile->sequence = s;
    tile->row = cuSeqlens[s];
    tile->rows = cuSeqlens[s + 1] - tile->row;
    tile->start = start != nullptr ? start[s] : 0;
    tile->first = t * height;
    return tile->first < tile->rows;
}

/// Where the keys of one sequence lie: position p has its key at k + offset(p) and its value at v + offset(p).
template <bool cached>
struct KeyRows {
    int64_t stride, own, prefix;
    int32_t prefixLength;

    template <typename T>
    __device__ __forceinline__ KeyRows(const Call<T> &call, const Tile &tile, int32_t kvHead) {
        stride = call.keyStride;
        prefix = 0;
        prefixLength = 0;
        own = static_cast<int64_t>(kvHead) * call.D;
        if (cached) {
            prefixLength = call.prefixLength[tile.sequence];
            if (prefixLength > 0) prefix = own + call.prefixSlot[tile.sequence] * call.slotStride;
            own += call.slot[tile.sequence] * call.slotStride - prefixLength * stride;
        } else {
            own += tile.row * stride;
        }
    }
    __device__ __forceinline__ int64_t offset(int32_t p) const {
        return p * stride + (cached && p < prefixLength ? prefix : own);
    }
};

/// First and last + 1 key block of a tile whose rows have the positions `low` .. `high`.
__device__ __forceinline__ int32_t firstBlock(int32_t low, int32_t window) {
    return window > 0 ? max(0, low - window + 1) / keyBlock : 0;
}
__device__ __forceinline__ int32_t endBlock(int32_t high) { return high / keyBlock + 1; }

/// The running maximum's step: takes the maximum of a block into m, gives the subtrahend m' c and the factor alpha.
__device__ __forceinline__ void raise(float &m, float blockMax, float c, float &subtrahend, float &alpha) {
    const float next = fmaxf(m, blockMax);
    subtrahend = next == -INFINITY ? 0.0f : next * c;  // nothing seen yet: exp2(-inf - 0) = 0
    alpha = exp2Fast(m * c - subtrahend);
    m = next;
}

__device__ __forceinline__ float probability(float s, float c, float subtrahend) { return exp2Fast(fmaf(s, c, -subtrahend)); }

/// 1 / l, and 0 for the rows that pad a tile.
__device__ __forceinline__ float reciprocal(float l) { return l > 0.0f ? 1.0f / l : 0.0f; }

__device__ __forceinline__ float logSumExp(float m, float l, float c) { return (m * c + log2f(l)) * ln2; }

}  // namespace attention
}  // namespace st

#endif
