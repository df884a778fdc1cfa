// The register tile all matrix products are made of: c (rows x columns) = or += sum over k of a(i, k) b(k, n).
//
// Vectorised over n, so every element of c is one chain of fused multiply-adds over k in ascending order. How c is cut into tiles,
// by whom and in what order therefore never changes a bit. b is read by rows (stride ldb); a is read by rows (a[i * lda + k]) or
// by columns (a[k * lda + i]).
#ifndef SUBTEXT_CPU_TILE_H
#define SUBTEXT_CPU_TILE_H

#include "vec.h"

namespace subtext {
namespace ST_ISA {
namespace {

#if ST_AVX512
constexpr int kTileRows = 12, kTileVectors = 2;  // 24 accumulators, 2 of b, 1 of a in 32 registers
#elif ST_AVX2
constexpr int kTileRows = 6, kTileVectors = 1;  // a V is two registers here: 12 accumulators, 2 of b, 1 of a in 16
#else
constexpr int kTileRows = 2, kTileVectors = 1;
#endif

enum class AWalk { rows, columns };

/// Lines of memory that will be needed soon, asked for a few at a time: a burst would fill the buffers of the core that misses wait in.
/// Walks `rows` rows of `rowBytes` bytes, `stride` apart.
struct Ahead {
    const char* row = nullptr;
    int64_t rows = 0, rowBytes = 0, stride = 0, at = 0;

    ST_INLINE void take() {
        if (rows <= 0) return;
        __builtin_prefetch(row + at, 0, 2);
        at += 64;
        if (at >= rowBytes) {
            at = 0;
            row += stride;
            rows--;
        }
    }
};

/// What the tiles of a product do besides multiplying.
template <class T>
struct Around {
    const T* from;      // with `add`: where the running value rests, rows ldfrom apart
    int64_t ldfrom;
    const T* residual;  // added last, rows ldc apart, or nullptr
    Ahead *near, *far;  // what to ask for, a line of each every kStep steps of k
};
constexpr int64_t kStep = 8;  // steps of k in one turn of the loop: address arithmetic takes turns of the ports that multiply

/// Asks for a line that will be written.
ST_INLINE void prefetchWritten(const void* p) {
#if ST_AVX512
    __asm__ volatile("prefetchw %0" : : "m"(*static_cast<const char*>(p)));
#else
    __builtin_prefetch(p, 1, 3);
#endif
}

/// One tile of R rows and NV vectors, of which the last holds `last` columns. With `exact` b and c may be read and written to the
/// end of the last vector; otherwise neither is touched beyond column `last` of it.
template <class T, int R, int NV, AWalk WALK, bool EXACT, bool AROUND>
ST_INLINE void tile(T* c, int64_t ldc, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, int64_t last, bool add,
                    const Around<T>* around) {
    typedef typename V<T>::N N;
    constexpr int L = V<T>::lanes, Q = kRegisters;  // accumulators are native registers: arrays of structs would live in memory
    N acc[R][NV * Q];
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) {
#pragma GCC unroll 16
        for (int j = 0; j < NV * Q; j++) acc[i][j] = N{};
    }
    if (add) {
#pragma GCC unroll 16
        for (int i = 0; i < R; i++) {
#pragma GCC unroll 4
            for (int j = 0; j < NV; j++) {
                const T* from = AROUND ? around->from + i * around->ldfrom : c + i * ldc;
                const V<T> v = EXACT || j < NV - 1 ? load(from + j * L) : load(from + j * L, last);
#pragma GCC unroll 4
                for (int q = 0; q < Q; q++) acc[i][j * Q + q] = v.r[q];
            }
        }
    }
    // rows in groups of three: base, base + lda, base + 2 lda are addresses the processor forms by itself
    constexpr int G = (R + 2) / 3;
    const T* base[G];
#pragma GCC unroll 8
    for (int g = 0; g < G; g++) base[g] = WALK == AWalk::rows ? a + 3 * g * lda : a;
    const auto step = [&]() __attribute__((always_inline)) {
        N bv[NV * Q];
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            const V<T> v = EXACT || j < NV - 1 ? load(b + j * L) : load(b + j * L, last);
#pragma GCC unroll 4
            for (int q = 0; q < Q; q++) bv[j * Q + q] = v.r[q];
        }
        b += ldb;
#pragma GCC unroll 16
        for (int i = 0; i < R; i++) {
            const N av = broadcast<T>(WALK == AWalk::rows ? base[i / 3][(i % 3) * lda] : base[0][i]).r[0];
#pragma GCC unroll 16
            for (int j = 0; j < NV * Q; j++) acc[i][j] = nativeFma<T>(av, bv[j], acc[i][j]);
        }
        if constexpr (WALK == AWalk::rows) {
#pragma GCC unroll 8
            for (int g = 0; g < G; g++) base[g] += 1;
        } else {
            base[0] += lda;
        }
    };
    int64_t k = 0;
    int written = 0;  // rows of c asked for: those of the next tile, if they are read before anything else
    T* const wanted = AROUND && add ? c + NV * L : c;
    for (; k + kStep <= K; k += kStep) {
        if constexpr (AROUND) {
            if (written < R) {
#pragma GCC unroll 4
                for (int j = 0; j < NV; j++) prefetchWritten(wanted + written * ldc + j * L);
                if (around->residual) {
#pragma GCC unroll 4
                    for (int j = 0; j < NV; j++) __builtin_prefetch(around->residual + written * ldc + j * L, 0, 3);
                }
                written++;
            }
            around->near->take();
            around->far->take();
        }
#pragma GCC unroll 8
        for (int u = 0; u < kStep; u++) step();
    }
    for (; k < K; k++) step();
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            V<T> v;
#pragma GCC unroll 4
            for (int q = 0; q < Q; q++) v.r[q] = acc[i][j * Q + q];
            if constexpr (AROUND) {
                if (around->residual) {
                    const T* residual = around->residual + i * ldc + j * L;
                    v = v + (EXACT || j < NV - 1 ? load(residual) : load(residual, last));
                }
            }
            if (EXACT || j < NV - 1) store(c + i * ldc + j * L, v);
            else store(c + i * ldc + j * L, v, last);
        }
    }
}

/// All rows of a strip of NV vectors, in tiles of at most R rows.
template <class T, int R, int NV, AWalk WALK, bool EXACT>
__attribute__((noinline)) void strip(T* c, int64_t ldc, int64_t rows, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb,
                                     int64_t last, bool add) {
    const int64_t aRow = WALK == AWalk::rows ? lda : 1;
    for (; rows >= R; rows -= R, a += R * aRow, c += R * ldc) {
        tile<T, R, NV, WALK, EXACT, false>(c, ldc, K, a, lda, b, ldb, last, add, nullptr);
    }
    if constexpr (R > 1) {
        constexpr int next = R > 8 ? 8 : R > 4 ? 4 : R > 2 ? 2 : 1;
        if (rows > 0) strip<T, next, NV, WALK, EXACT>(c, ldc, rows, K, a, lda, b, ldb, last, add);
    }
}

/// The same for at most R rows, with what is around them.
template <class T, int R, int NV, AWalk WALK, bool EXACT>
__attribute__((noinline)) void strip(T* c, int64_t ldc, int64_t rows, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb,
                                     int64_t last, bool add, Around<T> around) {
    if (rows >= R) {
        tile<T, R, NV, WALK, EXACT, true>(c, ldc, K, a, lda, b, ldb, last, add, &around);
        rows -= R, a += R * (WALK == AWalk::rows ? lda : 1), c += R * ldc;
        around.from += R * around.ldfrom;
        if (around.residual) around.residual += R * ldc;
    }
    if constexpr (R > 1) {
        constexpr int next = R > 8 ? 8 : R > 4 ? 4 : R > 2 ? 2 : 1;
        if (rows > 0) strip<T, next, NV, WALK, EXACT>(c, ldc, rows, K, a, lda, b, ldb, last, add, around);
    }
}

/// c (rows, columns) = or, with `add`, += a b for any rows and columns. PADDED: rows of b and c may be read to a full vector.
template <class T, AWalk WALK, bool PADDED>
ST_INLINE void product(T* c, int64_t ldc, int64_t rows, int64_t columns, int64_t K, const T* a, int64_t lda, const T* b,
                       int64_t ldb, bool add) {
    constexpr int L = V<T>::lanes;
    constexpr int NV = kTileVectors;
    int64_t n = 0;
    for (; n + NV * L <= columns; n += NV * L) {
        strip<T, kTileRows, NV, WALK, true>(c + n, ldc, rows, K, a, lda, b + n, ldb, L, add);
    }
    for (; n < columns; n += L) {
        const int64_t last = columns - n < L ? columns - n : L;
        if (PADDED || last == L) strip<T, kTileRows, 1, WALK, true>(c + n, ldc, rows, K, a, lda, b + n, ldb, L, add);
        else strip<T, kTileRows, 1, WALK, false>(c + n, ldc, rows, K, a, lda, b + n, ldb, last, add);
    }
}

// ---- transposing copies -----------------------------------------------------------------------------------------------------

#if ST_AVX512
ST_INLINE void transpose16(const __m512 in[16], __m512 out[16]) {
    __m512 t[16], u[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(in[i], in[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(in[i], in[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
        u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const __m512 a = _mm512_shuffle_f32x4(u[i], u[i + 4], 0x88), b = _mm512_shuffle_f32x4(u[i], u[i + 4], 0xDD);
        const __m512 c = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0x88), d = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0xDD);
        out[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        out[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        out[i + 8] = _mm512_shuffle_f32x4(a, c, 0xDD);
        out[i + 12] = _mm512_shuffle_f32x4(b, d, 0xDD);
    }
}
#elif ST_AVX2
ST_INLINE void transpose8(const __m256 in[8], __m256 out[8]) {
    __m256 t[8], u[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(in[i], in[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(in[i], in[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
        u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        out[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        out[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}
#endif

/// to[k * ldt + i] = from[i * ldf + k] for i < rows, k < K, and zeros for rows <= i < 16 (8 for f64). rows at most one V.
template <class S>
ST_INLINE void transposeStrip(real<S>* to, int64_t ldt, const S* from, int64_t ldf, int64_t rows, int64_t K) {
    constexpr int L = V<real<S>>::lanes;
    int64_t k = 0;
#if ST_AVX512
    if constexpr (sizeof(real<S>) == 4) {
        if (rows == L) {
            for (; k + 16 <= K; k += 16) {
                __m512 in[16], out[16];
#pragma GCC unroll 16
                for (int i = 0; i < 16; i++) {
                    in[i] = load(from + i * ldf + k).r[0];
                    __builtin_prefetch(from + i * ldf + k + 64);
                }
                transpose16(in, out);
#pragma GCC unroll 16
                for (int i = 0; i < 16; i++) _mm512_storeu_ps(to + (k + i) * ldt, out[i]);
            }
        }
        for (; k < K; k += 16) {  // the edges: same registers, masked
            const int64_t n = K - k < 16 ? K - k : 16;
            __m512 in[16], out[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) in[i] = i < rows ? load(from + i * ldf + k, n).r[0] : _mm512_setzero_ps();
            transpose16(in, out);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                if (i < n) _mm512_storeu_ps(to + (k + i) * ldt, out[i]);
            }
        }
        return;
    }
#elif ST_AVX2
    if constexpr (sizeof(real<S>) == 4) {
        if (rows == L) {
            for (; k + 16 <= K; k += 16) {
                for (int half = 0; half < 16; half += 8) {
                    __m256 left[8], right[8], out[8];
#pragma GCC unroll 8
                    for (int i = 0; i < 8; i++) {
                        const V<float> v = load(from + (half + i) * ldf + k);
                        left[i] = v.r[0];
                        right[i] = v.r[1];
                    }
                    transpose8(left, out);
#pragma GCC unroll 8
                    for (int i = 0; i < 8; i++) _mm256_storeu_ps(to + (k + i) * ldt + half, out[i]);
                    transpose8(right, out);
#pragma GCC unroll 8
                    for (int i = 0; i < 8; i++) _mm256_storeu_ps(to + (k + 8 + i) * ldt + half, out[i]);
                }
            }
        }
    }
#endif
    for (; k < K; k++) {
        for (int64_t i = 0; i < rows; i++) to[k * ldt + i] = widen(from[i * ldf + k]);
        for (int64_t i = rows; i < L; i++) to[k * ldt + i] = 0;
    }
}

/// to[r * ldt + i] = from[r * ldf + i], widened, zeros for columns <= i < the next multiple of a V.
template <class S>
ST_INLINE void copyRows(real<S>* to, int64_t ldt, const S* from, int64_t ldf, int64_t rows, int64_t columns) {
    for (int64_t r = 0; r < rows; r++) {
        eachVector<real<S>>(columns, [&](int64_t i, int64_t n) { store(to + r * ldt + i, load(from + r * ldf + i, n)); });
    }
}

}  // namespace
}  // namespace ST_ISA
}  // namespace subtext

#endif
