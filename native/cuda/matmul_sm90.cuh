// bf16 matrix products on Hopper: wgmma fed by tensor copies (TMA).
//
// A block is persistent and has one producer and one or two consumer warpgroups. The producer, a single thread, fills a ring of stages of
// 64 k with swizzled tiles of a and b; each consumer warpgroup multiplies its 64 rows of a by the whole tile of b into registers, frees the
// stage before last, and at the end of a tile hands it to the copy engine through shared memory, while the producer already loads the
// next tile. The blocks of a cluster take neighbouring tiles: those of one row of tiles share a, those of one column share b, each
// fetching its part of it for all. Two blocks one above the other cut what a 128 x 256 tile draws from L2 from 48 to 32 KB a stage, for
// 4.2 MFLOP; without that L2 is the limit.
//
// Every element of a forward product is one chain of k16 products over k = 0, 16, 32, ... whatever the tile: the tile may follow M, the bits
// do not. Weight gradients have a large K and few tiles; there the last round of tiles is cut along k, and the stretches add in order.
#ifndef SUBTEXT_CUDA_MATMUL_SM90_CUH
#define SUBTEXT_CUDA_MATMUL_SM90_CUH

#include <algorithm>

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
    static constexpr int columns = tileN < 64 ? tileN : 64;       // written out at a time when a residual is added
    static constexpr bool storesBoxes = tileN >= 64;              // and else by the copy engine
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

/// How a launch is laid out. A cluster is m x n blocks; tilesM and tilesN count its tiles of (m tileM) x (n tileN).
struct Grid {
    int steps;               // of 64 k
    int m, n;                // blocks of a cluster
    int tilesM, tilesN;
    int linesA;              // lines of a that a stage holds along k: tileM, or fewer if M is less
    bool wideC, boxes, adds;  // f32 output; written by the copy engine; added to what is there
    int whole, parts;        // tiles from `whole` on are cut into `parts` stretches of k, each the work of a cluster
    int32_t *turns;          // of those stretches: which may add next, for every warp of a tile
};

/// One piece of work of a cluster.
struct Piece {
    int tile, part, from, to;  // steps [from, to) of a tile
};

__device__ __forceinline__ int pieces(const Grid &grid) { return grid.whole + (grid.tilesM * grid.tilesN - grid.whole) * grid.parts; }

__device__ __forceinline__ Piece pieceAt(const Grid &grid, int index) {
    if (index < grid.whole) return {index, 0, 0, grid.steps};
    const int beyond = index - grid.whole, part = beyond % grid.parts;
    return {grid.whole + beyond / grid.parts, part, static_cast<int>(static_cast<int64_t>(grid.steps) * part / grid.parts),
            static_cast<int>(static_cast<int64_t>(grid.steps) * (part + 1) / grid.parts)};
}

/// The stretches of a tile add to it in the order of k: lane 0 waits for its turn and hands it on when its sums have arrived.
__device__ __forceinline__ void awaitTurn(const int32_t *turn, int part) {
    int32_t now;
    do {
        asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(now) : "l"(turn) : "memory");
    } while (now != part);
    asm volatile("fence.proxy.async;" ::: "memory");
}
__device__ __forceinline__ void passTurn(int32_t *turn, int next) {
    hopper::storeWait();
    asm volatile("fence.proxy.async;" ::: "memory");
    __threadfence();
    asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(turn), "r"(next) : "memory");
}

/// Writes a warp's 16 rows of the accumulators by the copy engine: 128 columns of bf16 or 64 of f32 at a time through shared memory. The
/// copies go on while the next tile is computed. `out` is laid out as the swizzled boxes of the map: lines of 128 bytes.
template <typename P>
__device__ __forceinline__ void storeBoxes(const float (&d)[P::tileN / 2], unsigned char *out, const CUtensorMap *map, int m0, int n0, int N, bool wideC,
                                           bool adds) {
    using namespace hopper;
    const int lane = threadIdx.x % 32, t = lane % 4;
    const auto at = [&](int row, int box, int group, int byte) { return out + box * 2048 + row * lineBytes + (group ^ (row & 7)) * 16 + byte; };
    const auto reuse = [&] {
        if (lane == 0) storeWaitRead();
        __syncwarp();
    };
    const auto hand = [&](int column, int box) {
        if (lane == 0 && column < N) {
            if (adds)
                addBox(map, out + box * 2048, column, m0);
            else
                storeBox(map, out + box * 2048, column, m0);
        }
    };
    if (wideC) {
#pragma unroll
        for (int part = 0; part < P::tileN / 64; part++) {
            reuse();
#pragma unroll
            for (int j = 0; j < 8; j++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int from = part * 32 + 4 * j + 2 * half;
                    *reinterpret_cast<float2 *>(at(lane / 4 + 8 * half, j / 4, j % 4 * 2 + t / 2, t % 2 * 8)) = make_float2(d[from], d[from + 1]);
                }
            fenceForCopies();
            __syncwarp();
            hand(n0 + part * 64, 0);
            hand(n0 + part * 64 + 32, 1);
            if (lane == 0) storeCommit();
        }
    } else {
        constexpr int columns = P::tileN < 128 ? P::tileN : 128;
#pragma unroll
        for (int part = 0; part < P::tileN / columns; part++) {
            reuse();
#pragma unroll
            for (int j = 0; j < columns / 8; j++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int from = part * columns / 2 + 4 * j + 2 * half;
                    *reinterpret_cast<uint32_t *>(at(lane / 4 + 8 * half, j / 8, j % 8, t * 4)) = packBf16(d[from], d[from + 1]);
                }
            fenceForCopies();
            __syncwarp();
#pragma unroll
            for (int box = 0; box < columns / 64; box++) hand(n0 + part * columns + 64 * box, box);
            if (lane == 0) storeCommit();
        }
    }
}

template <Layout layout, typename P>
__global__ void __launch_bounds__(P::threads, 1)
    matmul(const __grid_constant__ CUtensorMap mapA, const __grid_constant__ CUtensorMap mapB, const __grid_constant__ CUtensorMap mapC, void *c,
           const void *residual, int64_t M, int64_t N, Grid grid) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    using namespace hopper;
    constexpr int transposeA = aAlongK(layout) ? 0 : 1, transposeB = bAlongK(layout) ? 0 : 1;
    constexpr bool movesRegisters = P::tileN == 256, cuts = layout == Layout::TN;
    ST_DYNAMIC_SHARED(unsigned char, dynamic);
    unsigned char *const ring = dynamic + ((1024 - (tc::sharedAddress(dynamic) & 1023)) & 1023);
    unsigned char *const out = ring + P::stages * P::stageBytes;
    uint64_t *const full = reinterpret_cast<uint64_t *>(out + 4 * P::consumers * P::outBytes);
    uint64_t *const empty = full + P::stages;

    const int warp = __shfl_sync(fullWarp, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int cluster = grid.m * grid.n, rank = cluster > 1 ? static_cast<int>(clusterRank()) : 0;
    const int rankM = rank / grid.n, rankN = rank % grid.n;
    if (threadIdx.x == 0) {
        for (int s = 0; s < P::stages; s++) {
            barrierInit(full + s, 1);                           // the producer
            barrierInit(empty + s, 4 * P::consumers * cluster);  // every consumer warp of the cluster
        }
        barrierInitDone();
    }
    clusterMeet();

    const int count = cuts ? pieces(grid) : grid.tilesM * grid.tilesN, first = blockIdx.x / cluster, clusters = gridDim.x / cluster;
    const int band = 32 / (P::consumers * grid.m);  // 2048 rows: with as many columns, what 132 blocks do at a time
    Ring at;
    if (warp < 4) {
        if (movesRegisters) giveRegisters<40>();
        if (threadIdx.x == 0) {
            prefetchMap(&mapA);
            prefetchMap(&mapB);
            const int partA = grid.linesA / grid.n, fromA = rankN * partA;   // of a, for the blocks of the same rows
            const int partB = P::tileN / grid.m, fromB = rankM * partB;      // of b, for those of the same columns
            const uint16_t sameRows = static_cast<uint16_t>(((1u << grid.n) - 1) << (rankM * grid.n));
            uint16_t sameColumns = 0;
            for (int m = 0; m < grid.m; m++) sameColumns = static_cast<uint16_t>(sameColumns | 1u << (m * grid.n + rankN));
            const uint32_t bytes = static_cast<uint32_t>(grid.linesA * lineBytes + P::bBytes);
            const auto copy = [](unsigned char *to, const CUtensorMap *map, uint64_t *barrier, int inner, int outer, bool shared, uint16_t mask) {
                if (shared)
                    copyBoxToAll(to, map, barrier, inner, outer, mask);
                else
                    copyBox(to, map, barrier, inner, outer);
            };
            for (int index = first; index < count; index += clusters) {
                const Piece piece = cuts ? pieceAt(grid, index) : Piece{index, 0, 0, grid.steps};
                const TilePlace place = placeTile(piece.tile, grid.tilesM, grid.tilesN, band);
                const int m0 = (place.m * grid.m + rankM) * P::tileM, n0 = (place.n * grid.n + rankN) * P::tileN;
                for (int step = piece.from; step < piece.to; step++) {
                    const int k0 = step * tileK;
                    unsigned char *const a = ring + at.stage * P::stageBytes, *const b = a + P::aBytes;
                    uint64_t *const barrier = full + at.stage;
                    barrierWait(empty + at.stage, at.parity ^ 1);
                    barrierExpect(barrier, bytes);
                    if (aAlongK(layout)) {
                        copy(a + fromA * lineBytes, &mapA, barrier, k0, m0 + fromA, grid.n > 1, sameRows);
                    } else {
                        for (int i = fromA / 64; i < (fromA + partA) / 64; i++)
                            copy(a + i * blockBytes, &mapA, barrier, m0 + 64 * i, k0, grid.n > 1, sameRows);
                    }
                    if (bAlongK(layout)) {
                        copy(b + fromB * lineBytes, &mapB, barrier, k0, n0 + fromB, grid.m > 1, sameColumns);
                    } else {
                        for (int i = fromB / 64; i < (fromB + partB) / 64; i++)
                            copy(b + i * blockBytes, &mapB, barrier, n0 + 64 * i, k0, grid.m > 1, sameColumns);
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
        for (int index = first; index < count; index += clusters) {
            const Piece piece = cuts ? pieceAt(grid, index) : Piece{index, 0, 0, grid.steps};
            int previous = 0;
            for (int step = piece.from; step < piece.to; step++) {
                barrierWait(full + at.stage, at.parity);
                const unsigned char *const stage = ring + at.stage * P::stageBytes;
                const uint64_t a = operand(stage + group * blockBytes, blockBytes, 1024), b = operand(stage + P::aBytes, blockBytes, 1024);
                holdInPlace(d);
                wgmmaFence();
#pragma unroll
                for (int k = 0; k < tileK / 16; k++)
                    wgmma<transposeA, transposeB>(d, a + k * advanceA, b + k * advanceB, step > piece.from || k > 0);
                wgmmaCommit();
                if (step > piece.from) {
                    wgmmaWait<1>();  // the previous step's products have read their stage
                    release(previous);
                }
                previous = at.stage;
                at.template next<P::stages>();
            }
            wgmmaWait<0>();
            holdInPlace(d);
            release(previous);
            const TilePlace place = placeTile(piece.tile, grid.tilesM, grid.tilesN, band);
            const int m0 = (place.m * grid.m + rankM) * P::tileM + group * 64 + warp % 4 * 16, n0 = (place.n * grid.n + rankN) * P::tileN;
            unsigned char *const own = out + (warp - 4) * P::outBytes;
            if (m0 < M) {
                if (P::storesBoxes && grid.boxes) {
                    const bool shared = cuts && piece.tile >= grid.whole && grid.parts > 1;
                    int32_t *const turn = shared ? grid.turns + ((piece.tile - grid.whole) * cluster + rank) * 4 * P::consumers + warp - 4 : nullptr;
                    if (shared && lane == 0) awaitTurn(turn, piece.part);
                    storeBoxes<P>(d, own, &mapC, m0, n0, static_cast<int>(N), grid.wideC, grid.adds);
                    if (shared && lane == 0) passTurn(turn, piece.part + 1 == grid.parts ? 0 : piece.part + 1);  // left as it was found
                } else
                    writeOut<P>(d, reinterpret_cast<float *>(own), c, residual, m0, n0, M, N, grid.wideC);
            }
        }
        if (lane == 0) storeWait();
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

/// How many clusters of `size` blocks, one block a processor, run at a time: fewer than processors / size where a group of processors
/// is not a multiple of the size.
inline int clustersOf(st_device *device, int size) {
    if (size == 1) return device->processors;
    int &known = device->clusters[size];
    if (known == 0) {
        using P = Plan<64, 1>;
        const auto kernel = matmul<Layout::NT, P>;
        cudaLaunchAttribute attribute;
        attribute.id = cudaLaunchAttributeClusterDimension;
        attribute.val.clusterDim.x = static_cast<unsigned>(size);
        attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
        cudaLaunchConfig_t config = {};
        config.gridDim = dim3(static_cast<unsigned>(device->processors / size * size));
        config.blockDim = dim3(P::threads);
        config.dynamicSmemBytes = P::sharedBytes;
        config.attrs = &attribute;
        config.numAttrs = 1;
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, P::sharedBytes);
        int found = 0;
        const bool answered = cudaOccupancyMaxActiveClusters(&found, kernel, &config) == cudaSuccess && found > 0;
        if (!answered) cudaGetLastError();
        known = answered && found < device->processors / size ? found : device->processors / size;
    }
    return known;
}

/// Blocks of a cluster: two rows of tiles wherever there are two; and where tiles are of 64 rows, which draw more from L2 than they
/// compute, two columns as well.
template <Layout layout, typename P>
Grid layOut(st_device *device, const Product &p) {
    Grid grid = {};
    grid.m = device->cluster > 1 && p.M > P::tileM && P::tileN / 2 % 8 == 0 ? 2 : 1;
    grid.n = device->cluster > 1 && P::consumers == 1 && p.M > 32 && p.N > P::tileN ? 2 : 1;
    grid.steps = static_cast<int>(ceilDiv(p.K, tileK));
    grid.tilesM = static_cast<int>(ceilDiv(p.M, P::tileM * grid.m));
    grid.tilesN = static_cast<int>(ceilDiv(p.N, P::tileN * grid.n));
    // a box that reaches far below the last row costs as much as one that does not; the rows left out of a tile are never written
    grid.linesA = aAlongK(layout) && p.M < P::tileM ? static_cast<int>(roundUp(p.M, 16)) : P::tileM;
    grid.wideC = p.wideC;
    grid.adds = p.wideC && p.residual == p.c;
    grid.boxes = P::storesBoxes && (p.residual == nullptr || grid.adds);
    // weight gradients: the last round of tiles, when it would leave most clusters idle, is cut along k
    const int tiles = grid.tilesM * grid.tilesN, clusters = clustersOf(device, grid.m * grid.n), left = tiles % clusters;
    const int parts = layout == Layout::TN && grid.boxes && left > 0 && device->splits ? clusters / left : 1;
    grid.parts = parts > 1 && grid.steps / parts >= 16 ? parts : 1;
    grid.whole = grid.parts > 1 ? tiles - left : tiles;
    grid.turns = device->turns;
    return grid;
}

template <Layout layout, typename P>
st_status launch(st_device *device, const Product &p) {
    const Grid grid = layOut<layout, P>(device, p);
    CUtensorMap mapA, mapB, mapC;
    st_status status = aAlongK(layout) ? hopper::describe(device, &mapA, p.a, p.K, p.M, grid.linesA / grid.n)
                                       : hopper::describe(device, &mapA, p.a, p.M, p.K, 64);
    if (status != ST_OK) return status;
    status = bAlongK(layout) ? hopper::describe(device, &mapB, p.b, p.K, p.N, P::tileN / grid.m) : hopper::describe(device, &mapB, p.b, p.N, p.K, 64);
    if (status != ST_OK) return status;
    status = hopper::describe(device, &mapC, p.c, p.N, p.M, 16, p.wideC);
    if (status != ST_OK) return status;

    const int cluster = grid.m * grid.n;
    const int64_t tiles = grid.whole + (static_cast<int64_t>(grid.tilesM) * grid.tilesN - grid.whole) * grid.parts, most = clustersOf(device, cluster);
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
    ST_CUDA(device, cudaLaunchKernelEx(&config, kernel, mapA, mapB, mapC, p.c, p.residual, p.M, p.N, grid));
    return launched(device, "matmul bf16 (wgmma)");
}

/// Estimated cycles of a launch: rounds of tiles, each of as many steps as there are stretches of 64 k. A step takes the longest of
///   the tensor cores, 2048 products a cycle;
///   shared memory, 128 bytes a cycle: the copies write a stage, and each warpgroup reads its rows of a and all of b;
///   the copies from L2, some 48 bytes a cycle and processor;
///   the chain of dependent products, 68 cycles a link of 16 k however narrow the tile (measured on an H100).
template <Layout layout, typename P>
int64_t cost(st_device *device, const Product &p) {
    const Grid grid = layOut<layout, P>(device, p);
    const int64_t rounds = ceilDiv(static_cast<int64_t>(grid.whole), clustersOf(device, grid.m * grid.n));
    const int64_t products = static_cast<int64_t>(P::tileM) * P::tileN * tileK / 2048, chain = tileK / 16 * 68;
    const int64_t shared = (P::stageBytes + P::consumers * (64 + P::tileN) * lineBytes) / 128;
    const int64_t copies = (grid.linesA / grid.n + P::tileN / grid.m) * lineBytes / 48;
    const int64_t step = std::max(std::max(products, shared), std::max(copies, chain));
    const int64_t last = grid.parts > 1 ? ceilDiv(grid.steps, grid.parts) * step + grid.parts * 6 * P::tileN : 0;
    return rounds * (grid.steps * step + 6 * P::tileN) + last + 2000;
}

template <Layout layout>
st_status run(st_device *device, const Product &p) {
    using Large = Plan<256, 2>;
    using Middle = Plan<128, 2>;
    const int64_t large = cost<layout, Large>(device, p), middle = cost<layout, Middle>(device, p);
    if constexpr (layout == Layout::NT) {
        using Flat = Plan<128, 1>;
        using Small = Plan<64, 1>;
        using Narrow = Plan<32, 1>;
        const int64_t flat = cost<layout, Flat>(device, p), small = cost<layout, Small>(device, p), narrow = cost<layout, Narrow>(device, p);
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
