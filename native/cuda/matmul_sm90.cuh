// bf16 matrix products on Hopper: wgmma fed by tensor copies (TMA).
//
// A block is persistent and has one producer and one or two consumer warpgroups. The producer, a single thread, fills a ring of stages of
// 64 k with swizzled tiles of a and b; each consumer warpgroup multiplies its 64 rows of a by the whole tile of b into registers, frees the
// stage before last, and at the end of a tile writes it out through shared memory in whole lines, while the producer already loads the
// next tile. Two blocks of a cluster take tiles one above the other and share b: each fetches half of it for both, which cuts
// what a 128 x 256 tile draws from L2 from 48 to 32 KB a stage, for 4.2 MFLOP.
//
// Every element is one chain of k16 products over k = 0, 16, 32, ... whatever the tile: the tile may follow M, the bits do not.
#ifndef SUBTEXT_CUDA_MATMUL_SM90_CUH
#define SUBTEXT_CUDA_MATMUL_SM90_CUH

#include "hopper.cuh"
#include "matmul.cuh"

namespace st {
namespace sm90 {

constexpr int tileK = 64;            // 128 bytes of bf16: the widest swizzle
constexpr int lineBytes = 128;
constexpr int blockBytes = 64 * lineBytes;  // 64 lines of 128 bytes: what one 64-row (or 64-k) piece of a tile takes
constexpr int ringBytes = 192 * 1024;

/// The resources of a kernel with tiles of 64 * consumers x tileN.
template <int tileN_, int consumers_>
struct Plan {
    static constexpr int tileN = tileN_, consumers = consumers_, tileM = 64 * consumers;
    static constexpr int aBytes = tileM * lineBytes, bBytes = tileN * lineBytes, stageBytes = aBytes + bBytes;
    static constexpr int stages = ringBytes / stageBytes;
    static constexpr int threads = 128 * (consumers + 1);
    static constexpr int columns = tileN < 64 ? tileN : 64;       // written out at a time
    static constexpr int outBytes = 16 * columns * 4;             // of one warp
    static constexpr int sharedBytes = 1024 + stages * stageBytes + 4 * consumers * outBytes + 2 * stages * 8;
    static_assert(aBytes % 1024 == 0 && bBytes % 1024 == 0, "the swizzle repeats every 1024 bytes");
    static_assert(sharedBytes <= 227 * 1024, "shared memory of a block");
};

/// Walks through the ring: a stage, and the parity of the phase its barriers are in.
struct Ring {
    int stage = 0;
    uint32_t parity = 0;
    template <int stages>
    __device__ __forceinline__ void next() {
        if (++stage == stages) stage = 0, parity ^= 1;
    }
};

/// Writes a warp's 16 rows of the accumulators through its own piece of shared memory, so that global memory is written (and the residual
/// read) in whole lines. In that piece, 16-byte groups of a row are permuted by its number, against bank conflicts.
template <typename P>
__device__ __forceinline__ void writeOut(const float (&d)[P::tileN / 2], float *out, void *c, const void *residual, int64_t m0, int64_t n0, int64_t M,
                                         int64_t N, bool wideC) {
    constexpr int groups = P::columns / 4, each = 16 * groups / 32;
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int part = 0; part < P::tileN / P::columns; part++) {
        const int64_t column0 = n0 + part * P::columns;
        if (column0 >= N) break;
        float4 old[each];
        if (residual != nullptr) {  // under way while the accumulators change places
#pragma unroll
            for (int e = 0; e < each; e++) {
                const int row = (e * 32 + lane) / groups, group = (e * 32 + lane) % groups;
                const int64_t m = m0 + row, n = column0 + 4 * group;
                old[e] = make_float4(0, 0, 0, 0);
                if (m >= M || n >= N) continue;
                if (wideC) {
                    old[e] = *reinterpret_cast<const float4 *>(static_cast<const float *>(residual) + m * N + n);
                } else {
                    const uint2 pairs = *reinterpret_cast<const uint2 *>(static_cast<const bf16 *>(residual) + m * N + n);
                    old[e] = make_float4(lowBf16(pairs.x), highBf16(pairs.x), lowBf16(pairs.y), highBf16(pairs.y));
                }
            }
        }
        __syncwarp();  // the previous part has been read
#pragma unroll
        for (int j = 0; j < P::columns / 8; j++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int row = lane / 4 + 8 * half, t = lane % 4, at = part * P::columns / 2 + 4 * j + 2 * half;
                const int group = (2 * j + t / 2) ^ (2 * (row & 7) & (groups - 1));
                *reinterpret_cast<float2 *>(out + row * P::columns + group * 4 + t % 2 * 2) = make_float2(d[at], d[at + 1]);
            }
        __syncwarp();
#pragma unroll
        for (int e = 0; e < each; e++) {
            const int row = (e * 32 + lane) / groups, group = (e * 32 + lane) % groups;
            const int64_t m = m0 + row, n = column0 + 4 * group;
            float4 v = *reinterpret_cast<const float4 *>(out + row * P::columns + (group ^ (2 * (row & 7) & (groups - 1))) * 4);
            if (m >= M || n >= N) continue;
            if (residual != nullptr) v = make_float4(v.x + old[e].x, v.y + old[e].y, v.z + old[e].z, v.w + old[e].w);
            if (wideC)
                *reinterpret_cast<float4 *>(static_cast<float *>(c) + m * N + n) = v;
            else
                *reinterpret_cast<uint2 *>(static_cast<bf16 *>(c) + m * N + n) = make_uint2(packBf16(v.x, v.y), packBf16(v.z, v.w));
        }
    }
}

/// tilesM counts pairs of tiles when the cluster has two blocks.
template <Layout layout, typename P>
__global__ void __launch_bounds__(P::threads, 1)
    matmul(const __grid_constant__ CUtensorMap mapA, const __grid_constant__ CUtensorMap mapB, void *c, const void *residual, int64_t M, int64_t N,
           int steps, int tilesM, int tilesN, int cluster, bool wideC) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    using namespace hopper;
    constexpr int transposeA = aAlongK(layout) ? 0 : 1, transposeB = bAlongK(layout) ? 0 : 1;
    constexpr bool movesRegisters = P::tileN == 256;
    ST_DYNAMIC_SHARED(unsigned char, dynamic);
    unsigned char *const ring = dynamic + ((1024 - (tc::sharedAddress(dynamic) & 1023)) & 1023);
    float *const out = reinterpret_cast<float *>(ring + P::stages * P::stageBytes);
    uint64_t *const full = reinterpret_cast<uint64_t *>(ring + P::stages * P::stageBytes + 4 * P::consumers * P::outBytes);
    uint64_t *const empty = full + P::stages;

    const int warp = __shfl_sync(fullWarp, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int rank = cluster > 1 ? static_cast<int>(clusterRank()) : 0;
    if (threadIdx.x == 0) {
        for (int s = 0; s < P::stages; s++) {
            barrierInit(full + s, 1);                           // the producer
            barrierInit(empty + s, 4 * P::consumers * cluster);  // every consumer warp of the cluster
        }
        barrierInitDone();
    }
    clusterMeet();

    const int tiles = tilesM * tilesN, first = blockIdx.x / cluster, clusters = gridDim.x / cluster;
    const int band = 32 / (P::consumers * cluster);  // 2048 rows: with as many columns, what 132 blocks do at a time
    Ring at;
    if (warp < 4) {
        if (movesRegisters) giveRegisters<40>();
        if (threadIdx.x == 0) {
            prefetchMap(&mapA);
            prefetchMap(&mapB);
            const int partN = P::tileN / cluster, partFrom = rank * partN;  // of b, for all blocks of the cluster
            const uint16_t everyone = static_cast<uint16_t>((1u << cluster) - 1);
            for (int tile = first; tile < tiles; tile += clusters) {
                const TilePlace place = placeTile(tile, tilesM, tilesN, band);
                const int m0 = (place.m * cluster + rank) * P::tileM, n0 = place.n * P::tileN;
                for (int step = 0; step < steps; step++) {
                    const int k0 = step * tileK;
                    unsigned char *const a = ring + at.stage * P::stageBytes, *const b = a + P::aBytes;
                    uint64_t *const barrier = full + at.stage;
                    barrierWait(empty + at.stage, at.parity ^ 1);
                    barrierExpect(barrier, P::stageBytes);
                    if (aAlongK(layout)) {
                        copyBox(a, &mapA, barrier, k0, m0);
                    } else {
                        for (int i = 0; i < P::consumers; i++) copyBox(a + i * blockBytes, &mapA, barrier, m0 + 64 * i, k0);
                    }
                    if (bAlongK(layout)) {
                        if (cluster == 1)
                            copyBox(b, &mapB, barrier, k0, n0);
                        else
                            copyBoxToAll(b + partFrom * lineBytes, &mapB, barrier, k0, n0 + partFrom, everyone);
                    } else {
                        for (int i = partFrom / 64; i < (partFrom + partN) / 64; i++) {
                            if (cluster == 1)
                                copyBox(b + i * blockBytes, &mapB, barrier, n0 + 64 * i, k0);
                            else
                                copyBoxToAll(b + i * blockBytes, &mapB, barrier, n0 + 64 * i, k0, everyone);
                        }
                    }
                    at.template next<P::stages>();
                }
            }
        }
    } else {
        if (movesRegisters) takeRegisters<232>();
        const int group = warp / 4 - 1;  // of the consumers
        // along k, 16 k are 32 bytes of every line; along mn, 16 lines
        constexpr int advanceA = (aAlongK(layout) ? 32 : 16 * lineBytes) / 16, advanceB = (bAlongK(layout) ? 32 : 16 * lineBytes) / 16;
        const auto release = [&](int stage) {
            if (lane < cluster) barrierArriveAt(empty + stage, lane);
        };
        float d[P::tileN / 2];
        for (int tile = first; tile < tiles; tile += clusters) {
            int previous = 0;
            for (int step = 0; step < steps; step++) {
                barrierWait(full + at.stage, at.parity);
                const unsigned char *const stage = ring + at.stage * P::stageBytes;
                const uint64_t a = operand(stage + group * blockBytes, blockBytes, 1024), b = operand(stage + P::aBytes, blockBytes, 1024);
                holdInPlace(d);
                wgmmaFence();
#pragma unroll
                for (int k = 0; k < tileK / 16; k++)
                    wgmma<transposeA, transposeB>(d, a + k * advanceA, b + k * advanceB, step > 0 || k > 0);
                wgmmaCommit();
                if (step > 0) {
                    wgmmaWait<1>();  // the previous step's products have read their stage
                    release(previous);
                }
                previous = at.stage;
                at.template next<P::stages>();
            }
            wgmmaWait<0>();
            holdInPlace(d);
            release(previous);
            const TilePlace place = placeTile(tile, tilesM, tilesN, band);
            const int64_t m0 = static_cast<int64_t>(place.m * cluster + rank) * P::tileM + group * 64 + warp % 4 * 16;
            if (m0 < M)
                writeOut<P>(d, out + (warp - 4) * (P::outBytes / 4), c, residual, m0, static_cast<int64_t>(place.n) * P::tileN, M, N, wideC);
        }
    }
    __syncwarp();
    clusterMeet();  // no block leaves while another may still arrive at its barriers
#endif
}

/// Does TMA take these operands? Not a question of M where M is the number of rows of a forward product.
template <Layout layout>
bool fits(const Product &p) {
    const int64_t lineA = aAlongK(layout) ? p.K : p.M, lineB = bAlongK(layout) ? p.K : p.N;
    return lineA % 8 == 0 && lineB % 8 == 0 && p.N % 8 == 0 && aligned16(p.a) && aligned16(p.b) && aligned16(p.c) && aligned16(p.residual) &&
           p.M < INT32_MAX - 512 && p.N < INT32_MAX - 512 && p.K < INT32_MAX - 512;
}

template <Layout layout, typename P>
st_status launch(st_device *device, const Product &p) {
    // a pair of tiles needs more than one tile of rows, and at least 64 columns to each half of b
    const int cluster = device->cluster > 1 && P::consumers == 2 && p.M > P::tileM ? 2 : 1;
    CUtensorMap mapA, mapB;
    const st_status statusA = aAlongK(layout) ? hopper::describe(device, &mapA, p.a, p.K, p.M, P::tileM) : hopper::describe(device, &mapA, p.a, p.M, p.K, 64);
    if (statusA != ST_OK) return statusA;
    const st_status statusB = bAlongK(layout) ? hopper::describe(device, &mapB, p.b, p.K, p.N, P::tileN / cluster) : hopper::describe(device, &mapB, p.b, p.N, p.K, 64);
    if (statusB != ST_OK) return statusB;

    const int tilesM = static_cast<int>(ceilDiv(p.M, P::tileM * cluster)), tilesN = static_cast<int>(ceilDiv(p.N, P::tileN));
    const int64_t tiles = static_cast<int64_t>(tilesM) * tilesN, most = device->processors / cluster;
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = static_cast<unsigned>(cluster);
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(static_cast<unsigned>((tiles < most ? tiles : most) * cluster));
    config.blockDim = dim3(P::threads);
    config.dynamicSmemBytes = P::sharedBytes;
    config.stream = device->stream;
    config.attrs = &attribute;
    config.numAttrs = 1;
    const auto kernel = matmul<layout, P>;
    ST_CUDA(device, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, P::sharedBytes));
    ST_CUDA(device, cudaLaunchKernelEx(&config, kernel, mapA, mapB, p.c, p.residual, p.M, p.N, static_cast<int>(ceilDiv(p.K, tileK)), tilesM,
                                       tilesN, cluster, p.wideC));
    return launched(device, "matmul bf16 (wgmma)");
}

/// Estimated cycles of a launch: rounds of tiles times the slower of the tensor cores (2048 products a cycle) and the copies (some 48
/// bytes a cycle and processor), plus filling the ring and writing out.
template <typename P>
int64_t cost(const st_device *device, const Product &p) {
    const int pair = device->cluster > 1 && P::consumers == 2 && p.M > P::tileM ? 2 : 1;
    const int64_t rounds = ceilDiv(ceilDiv(p.M, P::tileM * pair) * ceilDiv(p.N, P::tileN), device->processors / pair);
    const int64_t rows = p.M < P::tileM ? p.M : P::tileM;
    const int64_t products = static_cast<int64_t>(P::tileM) * P::tileN * tileK / 2048, copies = (rows + P::tileN / pair) * lineBytes / 48;
    return rounds * (ceilDiv(p.K, tileK) * (products > copies ? products : copies) + 6 * P::tileN) + 2000;
}

template <Layout layout>
st_status run(st_device *device, const Product &p) {
    using Large = Plan<256, 2>;
    using Middle = Plan<128, 2>;
    const int64_t large = cost<Large>(device, p), middle = cost<Middle>(device, p);
    if constexpr (layout == Layout::NT) {
        using Flat = Plan<128, 1>;
        using Small = Plan<64, 1>;
        using Narrow = Plan<32, 1>;
        const int64_t flat = cost<Flat>(device, p), small = cost<Small>(device, p), narrow = cost<Narrow>(device, p);
        const int64_t square = large < middle ? large : middle;
        if (narrow < small && narrow < flat && narrow < square) return launch<layout, Narrow>(device, p);
        if (small < flat && small < square) return launch<layout, Small>(device, p);
        if (flat < square) return launch<layout, Flat>(device, p);
    }
    return large <= middle ? launch<layout, Large>(device, p) : launch<layout, Middle>(device, p);
}

}  // namespace sm90
}  // namespace st

#endif
