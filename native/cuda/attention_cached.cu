// Attention of new rows over the key/value cache: decoding, chunked prefill, scoring behind a shared prefix. The bits are those of
// attention_forward.cu, because the key blocks, the block step and its fragments are the same (attention.cuh).
//
// A key block may straddle the borrowed prefix and the sequence's own slot: the source is chosen per key when a block is loaded.
// Decoding reads each key and value once per kv head, 4 D bytes a position in bf16, and is bound by memory: the loads of the next
// blocks are under way while four warps work on one (attentionNarrow). Calls with more rows use the kernel of the training forward.
#include "attention_bf16.cuh"
#include "attention_f32.cuh"
#include "attention_plain.cuh"

namespace st {
namespace attention {
namespace {

/// Up to this many (row, head) pairs per kv head the narrow kernel is used; it reads the keys again for every 16 of them.
constexpr int64_t narrowRows = 32;

void launch(const Call<bf16> &call, int64_t longest, cudaStream_t stream) {
    const int padded = paddedHead(call.D);
    if (padded == 0) {
        launchPlain<bf16, true>(call, stream);
    } else if (longest * (call.H / call.Hkv) <= narrowRows || longest == 1) {
        ST_BY_PADDED_HEAD(padded, launchNarrow<DP>(call, longest, stream));
    } else {
        ST_BY_PADDED_HEAD(padded, launchWide<DP, true>(call, longest, stream));
    }
}

void launch(const Call<float> &call, int64_t longest, cudaStream_t stream) {
    const int padded = paddedHeadF32(call.D);
    if (padded == 0) {
        launchPlain<float, true>(call, stream);
    } else {
        ST_BY_PADDED_HEAD_F32(padded, launchF32<DP, true>(call, longest, stream));
    }
}

}  // namespace
}  // namespace attention
}  // namespace st

extern "C" st_status st_attention_cached(st_device *device, void *y, const void *qkv, const void *k, const void *v,
                                         const int32_t *cu_seqlens, const int32_t *slot, const int32_t *prefix_slot,
                                         const int32_t *prefix_length, const int32_t *start, int64_t S, int64_t longest, int64_t N, int64_t H,
                                         int64_t Hkv, int64_t D, int64_t slots, int64_t capacity, double scale, int64_t window,
                                         st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_attention_cached");
    const st_status status = st::attention::checkShape(device, "st_attention_cached", S, longest, N, H, Hkv, D, scale, window);
    if (status != ST_OK) return status;
    ST_REQUIRE(device, slots >= 0 && capacity >= 0, "st_attention_cached: slots %lld, capacity %lld: must not be negative",
               static_cast<long long>(slots), static_cast<long long>(capacity));
    if (N == 0 || S == 0) return ST_OK;
    ST_BY_DTYPE(dtype, {
        st::attention::Call<T> call = {};
        call.y = static_cast<T *>(y);
        call.q = static_cast<const T *>(qkv);
        call.k = static_cast<const T *>(k);
        call.v = static_cast<const T *>(v);
        call.cuSeqlens = cu_seqlens;
        call.slot = slot;
        call.prefixSlot = prefix_slot;
        call.prefixLength = prefix_length;
        call.start = start;
        call.qStride = (H + 2 * Hkv) * D;
        call.keyStride = Hkv * D;
        call.slotStride = capacity * Hkv * D;
        st::attention::fillShape(call, S, N, H, Hkv, D, scale, window);
        st::attention::launch(call, longest, device->stream);
    });
    return st::launched(device, "st_attention_cached");
}
