// Philox4x32-10: everything random is a function of (key, counter).             Salmon et al. 2011, "Parallel random numbers"
// One definition for the host compiler and for nvcc, so that both libraries draw from the same bits.
#ifndef SUBTEXT_COMMON_PHILOX_H
#define SUBTEXT_COMMON_PHILOX_H

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define ST_HD __host__ __device__ __forceinline__
#else
#define ST_HD inline
#endif

namespace st {

struct PhiloxBlock {
    uint32_t x[4];
};

/// Ten rounds over the 128-bit counter (c0..c3) under the 64-bit key.
ST_HD PhiloxBlock philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t a = static_cast<uint64_t>(0xD2511F53u) * c0;
        const uint64_t b = static_cast<uint64_t>(0xCD9E8D57u) * c2;
        c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
        c1 = static_cast<uint32_t>(b);
        c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
        c3 = static_cast<uint32_t>(a);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

/// The block for 64-bit counters, as used by st_fill_normal: element i takes lanes 0 (radius) and 1 (angle) of block first + i.
ST_HD PhiloxBlock philox(uint64_t key, uint64_t counter) {
    return philox(key, static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0u, 0u);
}

/// Uniform in (0, 1) with full relative resolution near 0; never 0 and never 1.
ST_HD float uniform(uint32_t bits) {
    const float u = (static_cast<float>(bits) + 0.5f) * 2.3283064365386963e-10f;  // 2^-32
    return u < 0.99999994f ? u : 0.99999994f;
}

/// Standard Gumbel: -log(E), E = -log1p(-u) exponential. The side that decides an arg max is E near 0, which is where u is finest.
ST_HD float gumbel(uint32_t bits) { return -logf(-log1pf(-uniform(bits))); }

/// Standard normal `index` of a stream (st_fill_normal), by Box-Muller from the first two lanes of its own block.
ST_HD float normal(uint64_t seed, uint64_t index) {
    const PhiloxBlock block = philox(seed, index);
    return sqrtf(-2.0f * logf(uniform(block.x[0]))) * cosf(6.2831853f * uniform(block.x[1]));
}

/// Noise for vocabulary entries 4*block .. 4*block+3 of the draw at `position` under `key` (st_sample).
ST_HD PhiloxBlock sampleNoise(uint64_t key, int32_t position, uint32_t block) {
    return philox(key, block, static_cast<uint32_t>(position), 0x53544758u, 0u);
}

}  // namespace st

#endif
