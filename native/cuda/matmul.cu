// Matrix products in the three layouts a linear layer needs: c = a b^T + residual (forward), c = a b (input gradients), c += a^T b (weight
// gradients). The kernels are in matmul_f32.cuh (FMA units), matmul_mma.cuh (tensor cores from sm_80 on) and matmul_sm90.cuh (wgmma and TMA).
//
// Which of them a forward product takes depends on the device, on N, K and the weights' address, never on M: a row's bits must not depend on
// how many rows there are.
#include "matmul_f32.cuh"
#include "matmul_mma.cuh"
#if !defined(ST_CUDA_EMULATED)
#include "matmul_sm90.cuh"
#endif

namespace st {
namespace {

/// Sums of nothing: c = residual or 0; c += 0 leaves it.
template <Layout layout>
st_status emptyChain(st_device *device, const Product &p) {
    if (layout == Layout::TN || p.c == p.residual) return ST_OK;
    const size_t bytes = static_cast<size_t>(p.M) * p.N * (p.wideC ? 4 : 2);
    if (p.residual != nullptr)
        ST_CUDA(device, cudaMemcpyAsync(p.c, p.residual, bytes, cudaMemcpyDeviceToDevice, device->stream));
    else
        ST_CUDA(device, cudaMemsetAsync(p.c, 0, bytes, device->stream));
    return ST_OK;
}

template <Layout layout>
st_status product(st_device *device, const char *op, const Product &p, st_dtype dtype) {
    ST_REQUIRE(device, p.M >= 0 && p.N >= 0 && p.K >= 0, "%s: M %lld, N %lld or K %lld is negative", op, static_cast<long long>(p.M),
               static_cast<long long>(p.N), static_cast<long long>(p.K));
    if (p.M == 0 || p.N == 0) return ST_OK;
    if (p.K == 0) return emptyChain<layout>(device, p);
    if (dtype == ST_F32) return f32::run<layout>(device, p);
#if !defined(ST_CUDA_EMULATED)
    if (device->wgmma && sm90::fits<layout>(p)) return sm90::run<layout>(device, p);
#endif
    return mma::run<layout>(device, p);
}

}  // namespace
}  // namespace st

extern "C" {

st_status st_matmul_nt(st_device *device, void *c, const void *a, const void *b, const void *residual, int64_t M, int64_t N, int64_t K,
                       st_dtype dtype, st_dtype c_dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_matmul_nt");
    ST_REQUIRE(device, c_dtype == dtype || c_dtype == ST_F32, "st_matmul_nt: c_dtype %d is neither dtype (%d) nor ST_F32 (0)", c_dtype, dtype);
    return st::product<st::Layout::NT>(device, "st_matmul_nt", {c, a, b, residual, M, N, K, c_dtype == ST_F32}, dtype);
}

st_status st_matmul_nn(st_device *device, void *c, const void *a, const void *b, int64_t M, int64_t N, int64_t K, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_matmul_nn");
    return st::product<st::Layout::NN>(device, "st_matmul_nn", {c, a, b, nullptr, M, N, K, dtype == ST_F32}, dtype);
}

st_status st_matmul_tn(st_device *device, void *c, const void *a, const void *b, int64_t M, int64_t N, int64_t K, st_dtype dtype) {
    ST_REQUIRE_DTYPE(device, dtype, "st_matmul_tn");
    return st::product<st::Layout::TN>(device, "st_matmul_tn", {c, a, b, c, M, N, K, true}, dtype);
}

}  // extern "C"
