// What the matrix product kernels share: a problem, its layout, and the order in which tiles are taken.
#ifndef SUBTEXT_CUDA_MATMUL_CUH
#define SUBTEXT_CUDA_MATMUL_CUH

#include "common.cuh"

namespace st {

/// Which operand is contiguous along k: NT has both, NN only a, TN none.
enum class Layout { NT, NN, TN };

__host__ __device__ constexpr bool aAlongK(Layout layout) { return layout != Layout::TN; }
__host__ __device__ constexpr bool bAlongK(Layout layout) { return layout == Layout::NT; }

/// c (M, N) = product + residual. TN passes c itself as the residual. c and residual are f32 if `wideC`, else of the operands' type.
struct Product {
    void *c;
    const void *a, *b, *residual;
    int64_t M, N, K;
    bool wideC;
};

struct TilePlace {
    int m, n;
};

/// Tile `index` of a grid of tilesM x tilesN: bands of `band` rows of tiles, down a band before along it, so that the blocks at work at one
/// time share few rows of a and few rows of b and find them in L2.
__host__ __device__ __forceinline__ TilePlace placeTile(int index, int tilesM, int tilesN, int band) {
    const int perBand = band * tilesN, b = index / perBand, within = index - b * perBand;
    const int rows = tilesM - b * band < band ? tilesM - b * band : band;
    return {b * band + within % rows, within / rows};
}

}  // namespace st

#endif
