// Kernels of amx.h. Compiled twice: for the matrix unit (namespace amx), and with its eight tile registers in memory
// (amx_emulated), which any x86 with AVX2 runs.
//
// Operands are packed into tiles of 16 x 32 (a) and 32 x 16 (b, two k side by side), 1 KiB each. A block of c of 32 x 32 is four
// registers; two tiles of a and two of b move through the other four.
#include "amx.h"

#include <immintrin.h>

#include <cstring>

namespace subtext {
namespace ST_AMX {
namespace {

constexpr int64_t kTile = 16, kDepth = 32;  // a tile of c is 16 x 16; a tile of a or b holds 32 k
constexpr int64_t kSize = kTile * kDepth;   // elements of a tile of a or b
constexpr int64_t kBlock = 2 * kTile;       // rows and columns of c computed at once

struct bf16 {
    uint16_t bits;
};

/// Steps of 32 k between visits of c, by kind and layout: of f32 few, so that a panel of b stays in the first-level cache; of bf16 more,
/// since a visit of a c that cannot hold running values costs two.
constexpr int64_t kStepsAtOnce[2][3] = {{4, 4, 4}, {24, 24, 12}};
constexpr int64_t kMostSteps[2] = {4, 24};

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class S>
constexpr int kParts = sizeof(S) == 4 ? 3 : 1;

// ---- tile registers -----------------------------------------------------------------------------------------------------------

#ifdef ST_AMX_UNIT
#define TILES
#define ZERO(t) _tile_zero(t)
#define LOAD(t, from, stride) _tile_loadd(t, from, stride)
#define STORE(t, to, stride) _tile_stored(t, to, stride)
#define MULTIPLY(c, a, b) _tile_dpbf16ps(c, a, b)

/// Sets up the registers of this thread, and gives them up: they are part of what the system saves when it switches threads.
struct Unit {
    Unit() {
        struct {
            uint8_t palette = 1, start = 0, reserved[14] = {};
            uint16_t columnBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        } shape;
        _tile_loadconfig(&shape);
    }
    ~Unit() { _tile_release(); }
};
#else
struct Register {
    alignas(64) float c[16][16];
    alignas(64) uint16_t x[16][32];
};
#define TILES Register tile[8]
#define ZERO(t) std::memset(tile[t].c, 0, sizeof tile[t].c)
#define LOAD(t, from, stride) load(tile[t], from, stride)
#define STORE(t, to, stride) store(tile[t], to, stride)
#define MULTIPLY(c, a, b) multiply(tile[c], tile[a], tile[b])

void load(Register& tile, const void* from, int64_t stride) {
    for (int i = 0; i < 16; i++) {
        std::memcpy(tile.c[i], static_cast<const char*>(from) + i * stride, 64);
        std::memcpy(tile.x[i], static_cast<const char*>(from) + i * stride, 64);
    }
}
void store(const Register& tile, void* to, int64_t stride) {
    for (int i = 0; i < 16; i++) std::memcpy(static_cast<char*>(to) + i * stride, tile.c[i], 64);
}
float widen(uint16_t bits) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float x;
    std::memcpy(&x, &wide, 4);
    return x;
}
void multiply(Register& c, const Register& a, const Register& b) {
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);  // subnormal numbers count as zero
    for (int m = 0; m < 16; m++) {
        float even[16] = {}, odd[16] = {};
        for (int k = 0; k < 16; k++) {
            const float a0 = widen(a.x[m][2 * k]), a1 = widen(a.x[m][2 * k + 1]);
            for (int n = 0; n < 16; n++) {
                even[n] = __builtin_fmaf(a0, widen(b.x[k][2 * n]), even[n]);
                odd[n] = __builtin_fmaf(a1, widen(b.x[k][2 * n + 1]), odd[n]);
            }
        }
        for (int n = 0; n < 16; n++) c.c[m][n] += even[n] + odd[n];
    }
    _mm_setcsr(before);
}

struct Unit {
    Unit() {}
};
#endif

// ---- packing ------------------------------------------------------------------------------------------------------------------
// Parts of a tile lie kBlock * kDepth elements apart: [part][tile of two][16][32]. What is beyond the operand is zero.

constexpr int64_t kPartStride = 2 * kSize;

#ifdef ST_AMX_UNIT
uint32_t low(int64_t n) { return n >= 32 ? 0xFFFFFFFFu : (1u << n) - 1; }

__m512 widened(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }

/// The parts of 16 numbers and of 16 others, side by side.
void putParts(uint16_t* to, __m512 x, __m512 y, int64_t partStride) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xFFFF0000)), half = _mm512_set1_epi32(0x8000);
#pragma GCC unroll 3
    for (int part = 0; part < 3; part++) {
        __m512i px = _mm512_castps_si512(x), py = _mm512_castps_si512(y);
        if (part < 2) {
            px = _mm512_and_si512(_mm512_add_epi32(px, half), upper);
            py = _mm512_and_si512(_mm512_add_epi32(py, half), upper);
            x = _mm512_sub_ps(x, _mm512_castsi512_ps(px));
            y = _mm512_sub_ps(y, _mm512_castsi512_ps(py));
        }
        // px >> 16 | (py & upper)
        _mm512_store_si512(to + part * partStride,
                           _mm512_ternarylogic_epi32(_mm512_srli_epi32(px, 16), py, upper, 0xF8));
    }
}

/// Rows of 32 k: to[i][place of k] = from[i * ld + k].
template <class S>
void tileOfRows(uint16_t* to, const S* from, int64_t ld, int64_t rows, int64_t depth,
                int64_t partStride = kPartStride) {
    const uint32_t mask = low(depth);
    const __mmask16 first = static_cast<__mmask16>(mask), second = static_cast<__mmask16>(mask >> 16);
    for (int64_t i = 0; i < rows; i++, from += ld, to += kDepth) {
        if constexpr (sizeof(S) == 2)
            _mm512_store_si512(to, _mm512_maskz_loadu_epi16(mask, from));
        else
            putParts(to, _mm512_maskz_loadu_ps(first, from), _mm512_maskz_loadu_ps(second, from + 16), partStride);
    }
    for (int64_t i = rows; i < kTile; i++, to += kDepth) {
        for (int part = 0; part < kParts<S>; part++) _mm512_store_si512(to + part * partStride, _mm512_setzero_si512());
    }
}

/// Pairs of k side by side: to[j][2 i], to[j][2 i + 1] = from[k * ld + i] at the two k of pair j.
template <class S>
void tileOfColumns(uint16_t* to, const S* from, int64_t ld, int64_t columns, int64_t depth) {
    const __mmask16 mask = static_cast<__mmask16>(low(columns));
    for (int64_t j = 0; j < kTile; j++, to += kDepth) {
        const int64_t k0 = kParts<S> == 1 ? 2 * j : j, k1 = kParts<S> == 1 ? 2 * j + 1 : j + kTile;
        const __mmask16 first = k0 < depth ? mask : 0, second = k1 < depth ? mask : 0;
        const S *x = first ? from + k0 * ld : from, *y = second ? from + k1 * ld : from;
        if constexpr (sizeof(S) == 2) {
            const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(second, y)), 16);
            _mm512_store_si512(to, _mm512_or_si512(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first, x)), wide));
        } else {
            putParts(to, _mm512_maskz_loadu_ps(first, x), _mm512_maskz_loadu_ps(second, y), kPartStride);
        }
    }
}

void transpose(__m512i x[16]) {
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2)
        t[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]), t[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        x[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        x[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        x[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        x[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xDD);
        t[i + 8] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xDD);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        x[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        x[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        x[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xDD);
        x[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xDD);
    }
}

/// to[j][i] = from[i][j], 16 x 16 words of four bytes.
void turn(void* to, const void* from) {
    __m512i x[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) x[i] = _mm512_load_si512(static_cast<const char*>(from) + 64 * i);
    transpose(x);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) _mm512_store_si512(static_cast<char*>(to) + 64 * i, x[i]);
}
#else
void putParts(uint16_t* to, float x, int64_t partStride) {
    for (int part = 0; part < 3; part++) {
        uint32_t bits;
        std::memcpy(&bits, &x, 4);
        to[part * partStride] = static_cast<uint16_t>(part < 2 ? (bits + 0x8000) >> 16 : bits >> 16);
        x -= widen(to[part * partStride]);
    }
}
void putParts(uint16_t* to, bf16 x, int64_t) { *to = x.bits; }
template <class S>
void putZero(uint16_t* to, int64_t partStride) {
    for (int part = 0; part < kParts<S>; part++) to[part * partStride] = 0;
}
/// Where k stands in a row of 32, and thereby in which of the two chains of sums.
template <class S>
int64_t placeOf(int64_t k) {
    return kParts<S> == 1 ? k : 2 * (k % kTile) + k / kTile;
}
template <class S>
void tileOfRows(uint16_t* to, const S* from, int64_t ld, int64_t rows, int64_t depth,
                int64_t partStride = kPartStride) {
    for (int64_t i = 0; i < kTile; i++) {
        for (int64_t k = 0; k < kDepth; k++) {
            uint16_t* at = to + i * kDepth + placeOf<S>(k);
            if (i < rows && k < depth)
                putParts(at, from[i * ld + k], partStride);
            else
                putZero<S>(at, partStride);
        }
    }
}
template <class S>
void tileOfColumns(uint16_t* to, const S* from, int64_t ld, int64_t columns, int64_t depth) {
    for (int64_t i = 0; i < kTile; i++) {
        for (int64_t k = 0; k < kDepth; k++) {
            const int64_t place = placeOf<S>(k);
            uint16_t* at = to + place / 2 * kDepth + 2 * i + place % 2;
            if (i < columns && k < depth)
                putParts(at, from[k * ld + i], kPartStride);
            else
                putZero<S>(at, kPartStride);
        }
    }
}
void turn(void* to, const void* from) {
    uint32_t x[16][16];
    std::memcpy(x, from, sizeof x);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 16; j++) static_cast<uint32_t*>(to)[j * 16 + i] = x[i][j];
    }
}
#endif

/// Two tiles of all parts at k: 32 from `first` on of the rows of a (left) or the columns of b, of which there are `count`. In memory k runs
/// along their rows of K (along), or down rows of `count`; tiles of a and of b are each other's transposes, in words of two k.
template <class S>
void packStep(uint16_t* to, const S* from, int64_t count, int64_t K, bool along, bool left, int64_t first, int64_t k,
              int64_t depth, uint16_t* scratch) {
    for (int64_t j = 0; j < 2; j++, first += kTile, to += kSize) {
        const int64_t here = count < first ? 0 : least(kTile, count - first);
        const S* at = !here ? from : along ? from + first * K + k : from + k * count + first;
        uint16_t* tiles = along == left ? to : scratch;
        if (along)
            tileOfRows<S>(tiles, at, K, here, depth);
        else
            tileOfColumns<S>(tiles, at, count, here, depth);
        for (int part = 0; part < kParts<S> && tiles == scratch; part++)
            turn(to + part * kPartStride, scratch + part * kPartStride);
    }
}

/// Columns first .. first + 31 of b.
template <class S>
void packStepOfB(uint16_t* to, const MatmulPlan* plan, int64_t first, int64_t k, int64_t depth, uint16_t* scratch) {
    packStep(to, static_cast<const S*>(plan->b), plan->N, plan->K, plan->layout == 0, false, first, k, depth, scratch);
}

/// Rows first .. first + 31 of a.
template <class S>
void packStepOfA(uint16_t* to, const MatmulPlan* plan, int64_t first, int64_t k, int64_t depth, uint16_t* scratch) {
    packStep(to, static_cast<const S*>(plan->a), plan->M, plan->K, plan->layout != 2, true, first, k, depth, scratch);
}

template <class S>
constexpr int64_t kStep = kParts<S>* kPartStride;  // elements of 32 rows or columns at 32 k

template <class S>
void packB(const AmxSlice* slice, int64_t from, int64_t to, void* scratch) {
    const int64_t steps = ceilDiv(slice->depth, kDepth), panels = ceilDiv(slice->columns, kBlock);
    const auto one = [&](int64_t panel, int64_t s) {
        packStepOfB<S>(slice->b + (panel * steps + s) * kStep<S>, slice->plan, slice->n0 + panel * kBlock,
                       slice->k0 + s * kDepth, least(kDepth, slice->depth - s * kDepth),
                       static_cast<uint16_t*>(scratch));
    };
    for (int64_t task = from; task < to; task++) {  // along the rows of b
        if (slice->plan->layout == 0) {
            for (int64_t s = 0; s < steps; s++) one(task, s);
        } else {
            for (int64_t panel = 0; panel < panels; panel++) one(panel, task);
        }
    }
}

// ---- multiplying --------------------------------------------------------------------------------------------------------------

/// Asks for lines that will be written: rows of 32 f32.
struct Ahead {
    char* row;
    int64_t rows, stride;

    void take() {
        if (rows <= 0) return;
#ifdef ST_AMX_UNIT
        __asm__ volatile("prefetchw %0" : : "m"(row[0]));
        __asm__ volatile("prefetchw %0" : : "m"(row[64]));
#endif
        row += stride;
        rows--;
    }
};

/// Asks for lines that will be read, along rows.
struct Coming {
    const char* row;
    int64_t rows, rowBytes, stride, at;

    void take(int64_t n) {
        for (; n > 0 && rows > 0; n--) {
            __builtin_prefetch(row + at, 0, 2);
            at += 64;
            if (at >= rowBytes) at = 0, row += stride, rows--;
        }
    }
};

/// c (32 x 32) = or, with `add`, += a b over `steps` times 32 k.
template <class S>
void multiplyBlock(float* c, int64_t ldc, const uint16_t* a, const uint16_t* b, int64_t steps, bool add, Ahead ahead,
                   Coming* coming, int64_t lines, Coming* panel) {
    TILES;
    const int64_t stride = ldc * 4;
    if (add) {
        LOAD(0, c, stride);
        LOAD(1, c + kTile, stride);
        LOAD(2, c + kTile * ldc, stride);
        LOAD(3, c + kTile * ldc + kTile, stride);
    } else {
        ZERO(0);
        ZERO(1);
        ZERO(2);
        ZERO(3);
    }
#define LOAD_A(part)                                 \
    do {                                             \
        LOAD(4, a + part * kPartStride, 64);         \
        LOAD(5, a + part * kPartStride + kSize, 64); \
    } while (0)
#define LOAD_B(part)                                 \
    do {                                             \
        LOAD(6, b + part * kPartStride, 64);         \
        LOAD(7, b + part * kPartStride + kSize, 64); \
    } while (0)
#define MULTIPLY_ALL       \
    do {                   \
        MULTIPLY(0, 4, 6); \
        MULTIPLY(1, 4, 7); \
        MULTIPLY(2, 5, 6); \
        MULTIPLY(3, 5, 7); \
    } while (0)
    const int64_t each = ceilDiv(ahead.rows, steps > 0 ? steps : 1);
    for (int64_t s = 0; s < steps; s++, a += kStep<S>, b += kStep<S>) {
        if constexpr (kParts<S> ==
                      3) {  // an order in which each product but the first shares an operand with the one before
            LOAD_A(2);
            LOAD_B(0);
            MULTIPLY_ALL;
            LOAD_A(1);
            MULTIPLY_ALL;
            LOAD_B(1);
            MULTIPLY_ALL;
            LOAD_A(0);
            MULTIPLY_ALL;
            LOAD_B(2);
            MULTIPLY_ALL;
            LOAD_B(0);
            MULTIPLY_ALL;
        } else {
            LOAD_A(0);
            LOAD_B(0);
            MULTIPLY_ALL;
        }
        for (int64_t i = 0; i < each; i++) ahead.take();
        coming->take(lines);
        panel->take(kParts<S> == 3 ? 12 : 4);
    }
    STORE(0, c, stride);
    STORE(1, c + kTile, stride);
    STORE(2, c + kTile * ldc, stride);
    STORE(3, c + kTile * ldc + kTile, stride);
}

#ifndef ST_AMX_UNIT
float valueOf(float x) { return x; }
void put(float* to, float x) { *to = x; }
float valueOf(bf16 x) { return widen(x.bits); }
void put(bf16* to, float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if ((bits & 0x7FFFFFFF) > 0x7F800000)
        to->bits = static_cast<uint16_t>(bits >> 16 | 0x40);
    else
        to->bits = static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
#else
__m512i roundedWords(__m512 x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_mask_or_epi32(up, nan, _mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
}
#endif

/// to[j] = from[j] + residual[j], n at most 16.
template <class C>
void finishRow(C* to, const float* from, const C* residual, int64_t n) {
#ifdef ST_AMX_UNIT
    const __mmask16 mask = static_cast<__mmask16>(low(n));
    __m512 x = _mm512_maskz_loadu_ps(mask, from);
    if constexpr (sizeof(C) == 4) {
        if (residual) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, residual));
        _mm512_mask_storeu_ps(to, mask, x);
    } else {
        if (residual) x = _mm512_add_ps(x, widened(_mm256_maskz_loadu_epi16(mask, residual)));
        _mm256_mask_storeu_epi16(to, mask, _mm512_cvtepi32_epi16(roundedWords(x)));
    }
#else
    for (int64_t j = 0; j < n; j++) put(to + j, residual ? from[j] + valueOf(residual[j]) : from[j]);
#endif
}

template <class C>
void finish(const MatmulPlan* plan, int64_t m, int64_t n, const float* from, int64_t ld, int64_t rows,
            int64_t columns) {
    for (int64_t i = 0; i < rows; i++) {
        const int64_t at = (m + i) * plan->N + n;
        const C* residual = plan->residual ? static_cast<const C*>(plan->residual) + at : nullptr;
        for (int64_t j = 0; j < columns; j += kTile) {
            finishRow<C>(static_cast<C*>(plan->c) + at + j, from + i * ld + j, residual ? residual + j : nullptr,
                         least(kTile, columns - j));
        }
    }
}
template <class S>
void finishAs(const MatmulPlan* plan, int64_t m, int64_t n, const float* from, int64_t ld, int64_t rows,
              int64_t columns) {
    if (plan->wide || plan->layout == 2)
        finish<float>(plan, m, n, from, ld, rows, columns);
    else
        finish<S>(plan, m, n, from, ld, rows, columns);
}

constexpr int64_t kScratchTiles = 3 * kPartStride;  // elements: parts of a tile on its way

int64_t blockScratchBytes(int kind, int64_t rows) {
    const int64_t step = (kind == 0 ? 3 : 1) * kPartStride;
    return (kScratchTiles + ceilDiv(rows, kBlock) * kMostSteps[kind] * step) * 2 + kBlock * kBlock * 4;
}

/// Blocks of `rows` rows: a is packed some k at a time, and multiplied with every panel of b.
template <class S>
void block(const AmxSlice* slice, int64_t from, int64_t to, void* scratch) {
    const Unit unit;
    constexpr int kind = sizeof(S) == 4 ? 0 : 1;
    const MatmulPlan* plan = slice->plan;
    uint16_t* tiles = static_cast<uint16_t*>(scratch);
    float* small = reinterpret_cast<float*>(tiles + kScratchTiles);
    uint16_t* a = tiles + kScratchTiles + kBlock * kBlock * 2;
    const int64_t steps = ceilDiv(slice->depth, kDepth), N = plan->N, atOnce = kStepsAtOnce[kind][plan->layout];
    const bool wide = sizeof(S) == 4 || plan->wide || plan->layout == 2;  // c is f32
    const bool through = slice->k0 + slice->depth >= plan->K;             // this slice ends the chains
    for (int64_t task = from; task < to; task++) {
        const int64_t m0 = task * slice->rows, rows = least(slice->rows, plan->M - m0), strips = ceilDiv(rows, kBlock);
        for (int64_t s0 = 0; s0 < steps || s0 == 0; s0 += atOnce) {
            const int64_t here = least(atOnce, steps - s0);
            const bool add = plan->layout == 2 || slice->k0 + s0 > 0, last = through && s0 + atOnce >= steps;
            const bool finishing = last && (plan->residual || !wide);
            const auto pack = [&](int64_t strip, int64_t s) {
                packStepOfA<S>(a + (strip * here + s) * kStep<S>, plan, m0 + strip * kBlock,
                               slice->k0 + (s0 + s) * kDepth, least(kDepth, slice->depth - (s0 + s) * kDepth), tiles);
            };
            if (plan->layout == 2) {
                for (int64_t s = 0; s < here; s++) {
                    for (int64_t strip = 0; strip < strips; strip++) pack(strip, s);
                }
            } else {
                for (int64_t strip = 0; strip < strips; strip++) {
                    for (int64_t s = 0; s < here; s++) pack(strip, s);
                }
            }
            // meanwhile what will be packed next: further along k, or the next rows
            const bool further = s0 + here < steps;
            const int64_t nextK = further ? slice->k0 + (s0 + here) * kDepth : slice->k0,
                          nextM = further ? m0 : m0 + slice->rows;
            const int64_t nextRows = least(slice->rows, plan->M - nextM);
            const int64_t nextDepth = least(atOnce * kDepth, slice->k0 + slice->depth - nextK);
            Coming coming = {nullptr, 0, 0, 0, 0};
            if (nextRows > 0 && nextDepth > 0) {
                const bool turned = plan->layout == 2;
                const S* next =
                    static_cast<const S*>(plan->a) + (turned ? nextK * plan->M + nextM : nextM * plan->K + nextK);
                coming = {reinterpret_cast<const char*>(next), turned ? nextDepth : nextRows,
                          (turned ? nextRows : nextDepth) * static_cast<int64_t>(sizeof(S)),
                          (turned ? plan->M : plan->K) * static_cast<int64_t>(sizeof(S)), 0};
            }
            const int64_t lines = ceilDiv(coming.rows * ceilDiv(coming.rowBytes, 64),
                                          ceilDiv(slice->columns, kBlock) * strips * (here > 0 ? here : 1));
            for (int64_t n = 0; n < slice->columns; n += kBlock) {
                const uint16_t* b = slice->b + (n / kBlock * steps + s0) * kStep<S>;
                const int64_t columns = least(kBlock, slice->columns - n);
                Coming panel = {reinterpret_cast<const char*>(b + steps * kStep<S>), n + kBlock < slice->columns,
                                here * kStep<S> * 2, 0, 0};
                for (int64_t strip = 0; strip < strips; strip++) {
                    const int64_t m = m0 + strip * kBlock, high = least(kBlock, plan->M - m),
                                  at = m * N + slice->n0 + n;
                    float* resting = slice->rest ? slice->rest + at : static_cast<float*>(plan->c) + at;
                    const uint16_t* rowsOfA = a + strip * here * kStep<S>;
                    // while one block is computed, the next one's place comes nearer
                    const bool below = strip + 1 < strips;
                    const int64_t following = below ? at + kBlock * N : m0 * N + slice->n0 + n + kBlock;
                    Ahead ahead = {
                        reinterpret_cast<char*>((slice->rest ? slice->rest : static_cast<float*>(plan->c)) + following),
                        0, N * 4};
                    if (below)
                        ahead.rows = least(kBlock, plan->M - m - kBlock);
                    else if (n + 2 * kBlock <= slice->columns)
                        ahead.rows = least(kBlock, rows);
                    if (high == kBlock && columns == kBlock && !finishing) {
                        multiplyBlock<S>(resting, N, rowsOfA, b, here, add, ahead, &coming, lines, &panel);
                        continue;
                    }
                    if (add) {
                        for (int64_t i = 0; i < high; i++)
                            std::memcpy(small + i * kBlock, resting + i * N, columns * 4);
                    }
                    multiplyBlock<S>(small, kBlock, rowsOfA, b, here, add, ahead, &coming, lines, &panel);
                    if (finishing) {
                        finishAs<S>(plan, m, slice->n0 + n, small, kBlock, high, columns);
                    } else {
                        for (int64_t i = 0; i < high; i++)
                            std::memcpy(resting + i * N, small + i * kBlock, columns * 4);
                    }
                }
            }
        }
    }
}

// ---- few rows -----------------------------------------------------------------------------------------------------------------
// b is the left operand of the unit and read where it lies, once: c^T = b a^T. a is packed, 16 rows a tile: [16 rows][32 k][part][16][32].

constexpr int64_t kFewColumns = 4 * kTile;

template <class S>
void fewPack(const MatmulPlan* plan, void* packed, int64_t from, int64_t to, void* scratch) {
    const Unit unit;
    const int64_t steps = ceilDiv(plan->K, kDepth);
    uint16_t* tiles = static_cast<uint16_t*>(scratch);
    for (int64_t m = from; m < to; m++) {
        for (int64_t s = 0; s < steps; s++) {
            tileOfRows<S>(tiles, static_cast<const S*>(plan->a) + m * kTile * plan->K + s * kDepth, plan->K,
                          least(kTile, plan->M - m * kTile), least(kDepth, plan->K - s * kDepth));
            uint16_t* at = static_cast<uint16_t*>(packed) + (m * steps + s) * kParts<S> * kSize;
            for (int part = 0; part < kParts<S>; part++) turn(at + part * kSize, tiles + part * kPartStride);
        }
    }
}

int64_t fewScratchBytes(int kind, int64_t K) {
    const int64_t strip = 4 * ceilDiv(K, kDepth) * (kind == 0 ? 3 : 1) * kSize;
    return kScratchTiles * 2 + strip * 2 + 4 * kTile * kTile * 4;
}

/// Four tiles of b, 64 columns of c, at one step of k: where they lie, or packed.
struct Left {
    const uint16_t* at[4];
    int64_t stride, part;  // bytes from row to row; elements from part to part
};

/// c^T (64 x 16) of one tile of a.
template <class S, class AT>
void fewByOne(float* c, const uint16_t* x, int64_t steps, AT leftAt) {
    TILES;
    ZERO(0);
    ZERO(1);
    ZERO(2);
    ZERO(3);
#define LEFT(t, i, p) LOAD(t, w.at[i] + (p)*w.part, w.stride)
#define ROUND(p)           \
    do {                   \
        LEFT(5, 0, p);     \
        MULTIPLY(0, 5, 4); \
        LEFT(6, 1, p);     \
        MULTIPLY(1, 6, 4); \
        LEFT(7, 2, p);     \
        MULTIPLY(2, 7, 4); \
        LEFT(5, 3, p);     \
        MULTIPLY(3, 5, 4); \
    } while (0)
    for (int64_t s = 0; s < steps; s++, x += kParts<S> * kSize) {
        const Left w = leftAt(s, 0, 4);
        if constexpr (kParts<S> == 3) {
            LOAD(4, x + 2 * kSize, 64);
            ROUND(0);
            LOAD(4, x + kSize, 64);
            ROUND(0);
            ROUND(1);
            LOAD(4, x, 64);
            ROUND(1);
            ROUND(2);
            ROUND(0);
        } else {
            LOAD(4, x, 64);
            ROUND(0);
        }
    }
    STORE(0, c, 64);
    STORE(1, c + kTile * kTile, 64);
    STORE(2, c + 2 * kTile * kTile, 64);
    STORE(3, c + 3 * kTile * kTile, 64);
}

/// c^T (32 x 32), as four tiles: tiles `half` and half + 1 of b with two tiles of a.
template <class S, class AT>
void fewByTwo(float* c, const uint16_t* x, const uint16_t* y, int64_t steps, int half, AT leftAt) {
    TILES;
    ZERO(0);
    ZERO(1);
    ZERO(2);
    ZERO(3);
#define LOAD_LEFT(p)          \
    do {                      \
        LEFT(4, half, p);     \
        LEFT(5, half + 1, p); \
    } while (0)
#define LOAD_RIGHT(p)               \
    do {                            \
        LOAD(6, x + (p)*kSize, 64); \
        LOAD(7, y + (p)*kSize, 64); \
    } while (0)
    for (int64_t s = 0; s < steps; s++, x += kParts<S> * kSize, y += kParts<S> * kSize) {
        const Left w = leftAt(s, half, 2);
        if constexpr (kParts<S> == 3) {
            LOAD_RIGHT(2);
            LOAD_LEFT(0);
            MULTIPLY_ALL;
            LOAD_RIGHT(1);
            MULTIPLY_ALL;
            LOAD_LEFT(1);
            MULTIPLY_ALL;
            LOAD_RIGHT(0);
            MULTIPLY_ALL;
            LOAD_LEFT(2);
            MULTIPLY_ALL;
            LOAD_LEFT(0);
            MULTIPLY_ALL;
        } else {
            LOAD_LEFT(0);
            LOAD_RIGHT(0);
            MULTIPLY_ALL;
        }
    }
    STORE(0, c, 64);
    STORE(1, c + kTile * kTile, 64);
    STORE(2, c + 2 * kTile * kTile, 64);
    STORE(3, c + 3 * kTile * kTile, 64);
}

template <class S>
void few(const MatmulPlan* plan, const void* packed, int64_t from, int64_t to, void* scratch) {
    const Unit unit;
    const int64_t K = plan->K, N = plan->N, steps = ceilDiv(K, kDepth), tilesOfA = ceilDiv(plan->M, kTile);
    uint16_t* scratchTiles = static_cast<uint16_t*>(scratch);
    float* out = reinterpret_cast<float*>(scratchTiles + kScratchTiles);
    uint16_t* strip = scratchTiles + kScratchTiles + 4 * kTile * kTile * 2;
    const uint16_t* a = static_cast<const uint16_t*>(packed);
    const auto tileOfA = [&](int64_t m) { return a + m * steps * kParts<S> * kSize; };
    for (int64_t task = from; task < to; task++) {
        const int64_t n0 = task * kFewColumns, columns = least(kFewColumns, N - n0);
        const S* b = static_cast<const S*>(plan->b) + n0 * K;
        const bool direct = sizeof(S) == 2 && columns == kFewColumns && K > 0;
        // the last step of k may be short, and is packed; f32 and the last columns always are: for one pass over k as they come, for
        // several beforehand
        const int64_t whole = direct ? K / kDepth : 0;
        const auto rowOf = [&](int64_t i, int64_t s) {
            return i * kTile >= columns ? b : b + i * kTile * K + s * kDepth;
        };
        const bool passing = tilesOfA <= 2;
        const auto packedAt = [&](int64_t s) { return strip + (passing ? 0 : s - whole) * 4 * kParts<S> * kSize; };
        const auto pack = [&](int64_t s, int64_t first, int64_t count) {
            for (int64_t i = first; i < first + count; i++) {
                tileOfRows<S>(packedAt(s) + i * kParts<S> * kSize, rowOf(i, s), K,
                              columns - i * kTile < 0 ? 0 : least(kTile, columns - i * kTile),
                              least(kDepth, K - s * kDepth), kSize);
            }
        };
        const auto leftAt = [&](int64_t s, int64_t first, int64_t count) {
            Left left;
            const bool here = s < whole;
            if (!here && passing) pack(s, first, count);
            left.stride = here ? K * 2 : 64;
            left.part = kSize;
            for (int64_t i = 0; i < 4; i++) {
                left.at[i] =
                    here ? reinterpret_cast<const uint16_t*>(rowOf(i, s)) : packedAt(s) + i * kParts<S> * kSize;
            }
            return left;
        };
        for (int64_t s = whole; s < steps && !passing; s++) pack(s, 0, 4);
        const auto finishTile = [&](const float* tile, int64_t i, int64_t m) {
            const int64_t n = i * kTile, width = columns - n;
            if (width <= 0) return;
            alignas(64) float turned[kTile * kTile];
            turn(turned, tile);
            finishAs<S>(plan, m * kTile, n0 + n, turned, kTile, least(kTile, plan->M - m * kTile), least(kTile, width));
        };
        int64_t m = 0;
        for (; m + 2 <= tilesOfA; m += 2) {
            for (int half = 0; half < 4; half += 2) {
                if (half * kTile >= columns) break;
                fewByTwo<S>(out, tileOfA(m), tileOfA(m + 1), steps, half, leftAt);
                for (int64_t i = 0; i < 2; i++) {
                    finishTile(out + 2 * i * kTile * kTile, half + i, m);
                    finishTile(out + (2 * i + 1) * kTile * kTile, half + i, m + 1);
                }
            }
        }
        if (m < tilesOfA) {
            fewByOne<S>(out, tileOfA(m), steps, leftAt);
            for (int64_t i = 0; i < 4; i++) finishTile(out + i * kTile * kTile, i, m);
        }
    }
}

}  // namespace

const AmxKernels* kernels() {
    static const AmxKernels table = {
#ifdef ST_AMX_UNIT
        "amx",
#else
        "amx-emulated",
#endif
        {3, 1},
        {packB<float>, packB<bf16>},
        {block<float>, block<bf16>},
        blockScratchBytes,
        {64, 256},
        kFewColumns,
        fewScratchBytes,
        {fewPack<float>, fewPack<bf16>},
        {few<float>, few<bf16>}};
    return &table;
}

}  // namespace ST_AMX
}  // namespace subtext
