// Causal grouped-query attention over packed sequences, with the log-sum-exp kept for backward.
//
//   y_i = sum_{j <= i} softmax_j(scale q_i . k_j) v_j       Vaswani et al. 2017; the algorithm is FlashAttention-2 (Dao 2023)
//
// FLOP: 4 D per (query, key) pair seen, about 2 H D sum(T^2); reads q, k, v and writes y once per query tile, k and v again from L2 for
// every further tile: bound by arithmetic from T ~ 500 on. Tensor cores by mma.sync for bf16 (attention_bf16.cuh), fma for f32.
#include "attention_bf16.cuh"
#include "attention_f32.cuh"
#include "attention_plain.cuh"
#include "attention_sm90.cuh"

namespace st {
namespace attention {
namespace {

st_status launch(st_device *device, const Call<bf16> &call, int64_t longest) {
#if !defined(ST_CUDA_EMULATED)
    if (sm90::takes(device->attentionSm90, longest, call.D))
        return call.D == 64 ? sm90::launchForward<64>(device, call, longest) : sm90::launchForward<128>(device, call, longest);
#endif
    cudaStream_t stream = device->stream;
    const int padded = paddedHead(call.D);
    if (padded == 0) {
        launchPlain<bf16, false>(call, stream);
    } else {
        ST_BY_PADDED_HEAD(padded, launchWide<DP, false>(call, longest, stream));
    }
    return ST_OK;
}

st_status launch(st_device *device, const Call<float> &call, int64_t longest) {
    cudaStream_t stream = device->stream;
    const int padded = paddedHeadF32(call.D);
    if (padded == 0) {
        launchPlain<float, false>(call, stream);
    } else {
        ST_BY_PADDED_HEAD_F32(padded, launchF32<DP, false>(call, longest, stream));
    }
    return ST_OK;
}

}  // namespace
}  // namespace attention
}  // namespace st

extern "C" st_status st_attention_forward(st_device *device, void *y, void *lse, const void *qkv, const int32_t *cu_seqlens, int64_t S,
                                          int64_t longest, int64_t N, int64_t H, int64_t Hkv, int64_t D, double scale, int64_t window,
                                          st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_attention_forward");
    const st_status status = st::attention::checkShape(device, "st_attention_forward", S, longest, N, H, Hkv, D, scale, window);
    if (status != ST_OK) return status;
    if (N == 0 || S == 0) return ST_OK;
    ST_BY_DTYPE(dtype, {
        st::attention::Call<T> call = {};
        call.y = static_cast<T *>(y);
        call.lse = static_cast<float *>(lse);
        call.q = static_cast<const T *>(qkv);
        call.k = call.q + H * D;
        call.v = call.k + Hkv * D;
        call.cuSeqlens = cu_seqlens;
        call.qStride = call.keyStride = (H + 2 * Hkv) * D;
        st::attention::fillShape(call, S, N, H, Hkv, D, scale, window);
        const st_status launched = st::attention::launch(device, call, longest);
        if (launched != ST_OK) return launched;
    });
    return st::launched(device, "st_attention_forward");
}
