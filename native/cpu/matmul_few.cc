// Products c = a b^T + residual of few rows, as decoding has them: bound by reading b, which is read once, for all rows together.
//
// b is (N, K) by rows, but a chain of sums runs over k, so a vector must hold 16 columns at one k: blocks of 16 rows of b are turned in
// registers as they arrive. Up to 12 rows, a turned block is multiplied at once and never written; with more, it is laid into a panel that
// stays in the first-level cache while all rows of a pass over it. bf16 is turned in pairs, 32 k at a time, and widened behind.
// Every element is the chain of matmul.cc: fused multiply-adds over k in ascending order from zero, the residual last.
// Reads NK of b at the speed of memory; work 2MNK.
#include "isa_op.h"
#include "kernels.h"
#include "tile.h"

namespace subtext {
namespace ST_ISA {
namespace {

constexpr int64_t kLanes = V<float>::lanes;
constexpr int64_t kPanelColumns = kTileVectors * kLanes;
constexpr int64_t kPanelDepth = 128;  // k of a panel: 16 KiB in front of tiles of two vectors
#if ST_AVX512
constexpr int64_t kRegisterRows = 12;  // with 16 registers for the block and two to widen into
constexpr int64_t kMostF32 = 12;       // rows
#else
constexpr int64_t kRegisterRows = 0;
constexpr int64_t kMostF32 = 16;
#endif
constexpr int64_t kMostBf16 = 128;

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Rows of a lie this far apart: not a power of two, so that they meet different sets of the cache.
int64_t strideOf(int64_t K) { return (K + kLanes - 1) / kLanes * kLanes + kLanes; }

/// Rows that a register block computes for M rows: the last may be idle.
int64_t blockRows(int64_t M) { return M <= 4 ? M : (M + 1) / 2 * 2; }

template <class S>
void fewPlan(MatmulPlan* plan) {
    plan->columns = plan->M <= kRegisterRows ? kLanes : kPanelColumns;
    plan->tasks = ceilDiv(plan->N, plan->columns);
    plan->rows = plan->M <= kRegisterRows ? blockRows(plan->M) : plan->M;
    plan->sharedBytes = plan->rows * strideOf(plan->K) * static_cast<int64_t>(sizeof(float));
    plan->scratchBytes = (kPanelDepth + plan->rows) * kPanelColumns * static_cast<int64_t>(sizeof(float));
}

/// The rows of a, widened, and zeros for idle ones.
template <class S>
void fewWiden(const MatmulPlan* plan, void* shared) {
    const int64_t K = plan->K, stride = strideOf(K);
    float* to = static_cast<float*>(shared);
    copyRows(to, stride, static_cast<const S*>(plan->a), K, plan->M, K);
    for (int64_t m = plan->M; m < plan->rows; m++) memset(to + m * stride, 0, K * sizeof(float));
}

/// c = acc + residual, rounded to the storage of c, for rows of at most one panel.
template <class C>
ST_INLINE void finish(const MatmulPlan* plan, int64_t n0, const float* acc, int64_t ldacc, int64_t columns) {
    for (int64_t m = 0; m < plan->M; m++) {
        C* c = static_cast<C*>(plan->c) + m * plan->N + n0;
        const C* residual = plan->residual ? static_cast<const C*>(plan->residual) + m * plan->N + n0 : nullptr;
        eachVector<float>(columns, [&](int64_t j, int64_t n) {
            V<float> v = load(acc + m * ldacc + j, n);
            if (residual) v = v + load(residual + j, n);
            store(c + j, v, n);
        });
    }
}
template <class S>
ST_INLINE void finishAs(const MatmulPlan* plan, int64_t n0, const float* acc, int64_t ldacc, int64_t columns) {
    if (plan->wide) finish<float>(plan, n0, acc, ldacc, columns);
    else finish<S>(plan, n0, acc, ldacc, columns);
}

#if ST_AVX512
/// Sixteen rows of b, 64 bytes each from k on, turned: 16 k of f32, or 16 pairs of k of bf16. Asks for the same bytes of the next strip.
template <class S, bool FULL>
ST_INLINE void turn(__m512 out[16], const S* b, int64_t K, int64_t k, int64_t rows, int64_t left) {
    constexpr int64_t each = 64 / sizeof(S);
    __m512 in[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        const S* from = b + i * K + k;
        if constexpr (FULL) {
            in[i] = _mm512_loadu_ps(from);
            __builtin_prefetch(from + 16 * K, 0, 2);
        } else if (i >= rows) {
            in[i] = _mm512_setzero_ps();
        } else if constexpr (sizeof(S) == 4) {
            in[i] = _mm512_maskz_loadu_ps(static_cast<__mmask16>(left >= each ? 0xFFFF : (1u << left) - 1), from);
        } else {
            in[i] = _mm512_castsi512_ps(
                _mm512_maskz_loadu_epi16(static_cast<__mmask32>(left >= each ? 0xFFFFFFFFu : (1u << left) - 1), from));
        }
    }
    transpose16(in, out);
}
ST_INLINE __m512 firstOf(__m512 pair) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(pair), 16)); }
ST_INLINE __m512 secondOf(__m512 pair) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pair), _mm512_set1_epi32(static_cast<int>(0xFFFF0000u))));
}

/// acc (R, 16) = R rows of a times `rows` rows of b, in registers throughout.
template <class S, int R>
__attribute__((noinline)) void registerStrip(float* to, const float* a, int64_t lda, const S* b, int64_t K, int64_t rows) {
    constexpr int64_t each = 64 / sizeof(S);
    constexpr int G = (R + 2) / 3;  // as in tile.h
    __m512 acc[R];
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) acc[i] = _mm512_setzero_ps();
    const float* base[G];
#pragma GCC unroll 4
    for (int g = 0; g < G; g++) base[g] = a + 3 * g * lda;
    const auto multiply = [&](__m512 w, int64_t k) __attribute__((always_inline)) {
#pragma GCC unroll 16
        for (int i = 0; i < R; i++) acc[i] = _mm512_fmadd_ps(_mm512_set1_ps(base[i / 3][(i % 3) * lda + k]), w, acc[i]);
    };
    const auto advance = [&](int64_t k) __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int g = 0; g < G; g++) base[g] += k;
    };
    __m512 w[16];
    int64_t k = 0;
    if (rows == 16) {
        for (; k + each <= K; k += each) {
            turn<S, true>(w, b, K, k, 16, each);
#pragma GCC unroll 16
            for (int j = 0; j < 16; j++) {
                if constexpr (sizeof(S) == 4) {
                    multiply(w[j], j);
                } else {
                    multiply(firstOf(w[j]), 2 * j);
                    multiply(secondOf(w[j]), 2 * j + 1);
                }
            }
            advance(each);
        }
    }
    for (; k < K; k += each) {
        const int64_t left = K - k;
        turn<S, false>(w, b, K, k, rows, left);
        alignas(64) float turned[16][16];
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) _mm512_store_ps(turned[j], w[j]);
        for (int64_t j = 0; j < least(left, each); j++) {
            if constexpr (sizeof(S) == 4) {
                multiply(_mm512_load_ps(turned[j]), j);
            } else {
                const __m512 pair = _mm512_load_ps(turned[j / 2]);
                multiply(j % 2 ? secondOf(pair) : firstOf(pair), j);
            }
        }
        advance(least(left, each));
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) _mm512_store_ps(to + i * 16, acc[i]);
}

template <class S>
void fewInRegisters(const MatmulPlan* plan, int64_t from, int64_t to, const float* a) {
    alignas(64) float acc[kRegisterRows * 16];
    const int64_t K = plan->K, lda = strideOf(K);
    for (int64_t task = from; task < to; task++) {
        const int64_t n0 = task * 16, rows = least(16, plan->N - n0);
        const S* b = static_cast<const S*>(plan->b) + n0 * K;
        switch (plan->rows) {
            case 1: registerStrip<S, 1>(acc, a, lda, b, K, rows); break;
            case 2: registerStrip<S, 2>(acc, a, lda, b, K, rows); break;
            case 3: registerStrip<S, 3>(acc, a, lda, b, K, rows); break;
            case 4: registerStrip<S, 4>(acc, a, lda, b, K, rows); break;
            case 6: registerStrip<S, 6>(acc, a, lda, b, K, rows); break;
            case 8: registerStrip<S, 8>(acc, a, lda, b, K, rows); break;
            case 10: registerStrip<S, 10>(acc, a, lda, b, K, rows); break;
            default: registerStrip<S, 12>(acc, a, lda, b, K, rows); break;
        }
        finishAs<S>(plan, n0, acc, 16, rows);
    }
}
#endif

/// panel[k * kPanelColumns + i] = from[i * K + k] for i < rows, zeros behind: one vector of a panel.
template <class S>
ST_INLINE void fillPanel(float* panel, const S* from, int64_t K, int64_t rows, int64_t depth) {
#if ST_AVX512
    if constexpr (sizeof(S) == 2) {
        for (int64_t k = 0; k < depth; k += 32) {
            __m512 w[16];
            const int64_t left = depth - k;
            if (rows == 16 && left >= 32) {
                turn<S, true>(w, from, K, k, 16, 32);
#pragma GCC unroll 16
                for (int j = 0; j < 16; j++) {
                    _mm512_storeu_ps(panel + (k + 2 * j) * kPanelColumns, firstOf(w[j]));
                    _mm512_storeu_ps(panel + (k + 2 * j + 1) * kPanelColumns, secondOf(w[j]));
                }
            } else {
                turn<S, false>(w, from, K, k, rows, left);
#pragma GCC unroll 16
                for (int j = 0; j < 16; j++) {
                    if (2 * j < left) _mm512_storeu_ps(panel + (k + 2 * j) * kPanelColumns, firstOf(w[j]));
                    if (2 * j + 1 < left) _mm512_storeu_ps(panel + (k + 2 * j + 1) * kPanelColumns, secondOf(w[j]));
                }
            }
        }
        return;
    }
#endif
    for (int64_t i = 0; i < rows; i++) {  // the same bytes of the next panel
        const char* row = reinterpret_cast<const char*>(from + (kPanelColumns + i) * K);
        for (int64_t line = 0; line < depth * static_cast<int64_t>(sizeof(S)); line += 64) __builtin_prefetch(row + line, 0, 2);
    }
    transposeStrip(panel, kPanelColumns, from, K, rows, depth);
}

template <class S>
void fewByPanels(const MatmulPlan* plan, int64_t from, int64_t to, const float* a, float* scratch) {
    float* panel = scratch;
    float* acc = scratch + kPanelDepth * kPanelColumns;
    const int64_t K = plan->K, M = plan->M, lda = strideOf(K);
    for (int64_t task = from; task < to; task++) {
        const int64_t n0 = task * kPanelColumns, columns = least(kPanelColumns, plan->N - n0);
        const S* b = static_cast<const S*>(plan->b) + n0 * K;
        if (K == 0) memset(acc, 0, M * kPanelColumns * sizeof(float));
        for (int64_t k = 0; k < K; k += kPanelDepth) {
            const int64_t depth = least(kPanelDepth, K - k);
            for (int64_t j = 0; j < kPanelColumns; j += kLanes) {
                if (j < columns) fillPanel(panel + j, b + j * K + k, K, least(kLanes, columns - j), depth);
            }
            if (columns > kPanelColumns - kLanes) {
                strip<float, kTileRows, kTileVectors, AWalk::rows, true>(acc, kPanelColumns, M, depth, a + k, lda, panel, kPanelColumns,
                                                                         kLanes, k > 0);
            } else {
                strip<float, kTileRows, 1, AWalk::rows, true>(acc, kPanelColumns, M, depth, a + k, lda, panel, kPanelColumns, kLanes, k > 0);
            }
        }
        finishAs<S>(plan, n0, acc, kPanelColumns, columns);
    }
}

template <class S>
void few(const MatmulPlan* plan, int64_t from, int64_t to, const void* shared, void* scratch) {
    const float* a = static_cast<const float*>(shared);
#if ST_AVX512
    if (plan->M <= kRegisterRows) {
        fewInRegisters<S>(plan, from, to, a);
        return;
    }
#endif
    fewByPanels<S>(plan, from, to, a, static_cast<float*>(scratch));
}

}  // namespace

void enterMatmulFew(Kernels* table) {
    // beyond, larger blocks of b are worth packing (matmul.cc); measured on AVX-512 and AVX2
    table->fewRows[0] = kMostF32;
    table->fewRows[1] = kMostBf16;
    table->fewPlan[0] = fewPlan<float>;
    table->fewPlan[1] = fewPlan<bf16>;
    table->fewWiden[0] = fewWiden<float>;
    table->fewWiden[1] = fewWiden<bf16>;
    table->few[0] = few<float>;
    table->few[1] = few<bf16>;
}

}  // namespace ST_ISA
}  // namespace subtext
