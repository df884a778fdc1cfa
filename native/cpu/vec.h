// One vector type for every instruction set, so that an op is written once and gives the same bits everywhere.
//
// V<float> has 16 lanes and V<double> 8, always: one AVX-512 register, two AVX2 registers or four SSE registers. Sums over lanes
// go by one fixed tree, and multiply-adds are fused everywhere (in software where the processor has none), so AVX-512, AVX2 and
// the portable path agree bit for bit.
//
// Included only by files compiled once per instruction set (ST_ISA names it). Everything has internal linkage: a function compiled
// for AVX-512 must never be the copy that the linker picks for the others.
#ifndef SUBTEXT_CPU_VEC_H
#define SUBTEXT_CPU_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define ST_INLINE inline __attribute__((always_inline))

namespace subtext {
namespace ST_ISA {
namespace {

#if defined(__AVX512F__)
#define ST_AVX512 1
constexpr int kRegisterBytes = 64;
#elif defined(__AVX2__) && defined(__FMA__)
#define ST_AVX2 1
constexpr int kRegisterBytes = 32;
#else
#define ST_PORTABLE 1
constexpr int kRegisterBytes = 16;
#endif

/// Brain float: the upper half of an f32.
struct bf16 {
    uint16_t bits;
};

/// The type that arithmetic on storage S is done in.
template <class S>
struct RealOf {
    typedef float type;
};
template <>
struct RealOf<double> {
    typedef double type;
};
template <class S>
using real = typename RealOf<S>::type;

template <class T>
struct Native;
template <>
struct Native<float> {
    typedef float vector __attribute__((vector_size(kRegisterBytes)));
    typedef int32_t ints __attribute__((vector_size(kRegisterBytes)));
    typedef uint32_t wraps __attribute__((vector_size(kRegisterBytes)));
    typedef int32_t integer;
};
template <>
struct Native<double> {
    typedef double vector __attribute__((vector_size(kRegisterBytes)));
    typedef int64_t ints __attribute__((vector_size(kRegisterBytes)));
    typedef uint64_t wraps __attribute__((vector_size(kRegisterBytes)));
    typedef int64_t integer;
};

constexpr int kRegisters = 64 / kRegisterBytes;  // native registers in a V

template <class T>
struct V {
    static constexpr int lanes = 64 / sizeof(T);
    typedef typename Native<T>::vector N;
    N r[kRegisters];
};

/// A mask or an integer per lane.
template <class T>
struct I {
    typename Native<T>::ints r[kRegisters];
};

#define ST_EACH _Pragma("GCC unroll 16") for (int i = 0; i < kRegisters; i++)

template <class T>
ST_INLINE V<T> operator+(V<T> a, V<T> b) {
    ST_EACH a.r[i] += b.r[i];
    return a;
}
template <class T>
ST_INLINE V<T> operator-(V<T> a, V<T> b) {
    ST_EACH a.r[i] -= b.r[i];
    return a;
}
template <class T>
ST_INLINE V<T> operator*(V<T> a, V<T> b) {
    ST_EACH a.r[i] *= b.r[i];
    return a;
}
template <class T>
ST_INLINE V<T> operator/(V<T> a, V<T> b) {
    ST_EACH a.r[i] /= b.r[i];
    return a;
}
template <class T>
ST_INLINE V<T> operator-(V<T> a) {
    ST_EACH a.r[i] = -a.r[i];
    return a;
}

template <class T>
ST_INLINE V<T> zero() {
    V<T> v;
    ST_EACH v.r[i] = typename V<T>::N{};
    return v;
}
template <class T>
ST_INLINE V<T> broadcast(T x) {
    V<T> v;
#if ST_AVX512
    if constexpr (sizeof(T) == 4) v.r[0] = _mm512_set1_ps(x);
    else v.r[0] = _mm512_set1_pd(x);
#elif ST_AVX2
    if constexpr (sizeof(T) == 4) ST_EACH v.r[i] = _mm256_set1_ps(x);
    else ST_EACH v.r[i] = _mm256_set1_pd(x);
#else
    ST_EACH for (int j = 0; j < kRegisterBytes / (int)sizeof(T); j++) v.r[i][j] = x;
#endif
    return v;
}

#if ST_PORTABLE && !defined(__FMA__) && !defined(__aarch64__)
#define ST_SOFT_FMA 1
/// a * b + c rounded once, two at a time. In double the product of two floats is exact, and a sum rounded to odd (its last bit set
/// when it lost anything) rounds correctly to float.
typedef double Pair __attribute__((vector_size(16)));
typedef int64_t PairBits __attribute__((vector_size(16)));
ST_INLINE Pair sumToOdd(Pair p, Pair z) {
    const Pair s = p + z, back = s - p;
    const Pair e = (p - (s - back)) + (z - back);  // what the sum lost, exactly
    PairBits u = reinterpret_cast<PairBits>(s);
    const PairBits lost = (e > 0) | (e < 0);                    // false for NaN, which infinities leave
    const PairBits even = (u & 1) - 1;                          // all ones if the last bit is clear
    const PairBits sign = reinterpret_cast<PairBits>(e) ^ u;    // negative: towards zero
    const PairBits step = (sign < 0) | 1;
    u += step & lost & even;
    return reinterpret_cast<Pair>(u);
}
ST_INLINE float fusedMultiplyAdd(float a, float b, float c) {
    const Pair p = {static_cast<double>(a) * b, 0}, z = {c, 0};
    return static_cast<float>(sumToOdd(p, z)[0]);
}
#else
ST_INLINE float fusedMultiplyAdd(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#endif
ST_INLINE double fusedMultiplyAdd(double a, double b, double c) { return __builtin_fma(a, b, c); }

/// a * b + c on one native register, rounded once.
template <class T>
ST_INLINE typename V<T>::N nativeFma(typename V<T>::N a, typename V<T>::N b, typename V<T>::N c) {
#if ST_AVX512
    if constexpr (sizeof(T) == 4) return _mm512_fmadd_ps(a, b, c);
    else return _mm512_fmadd_pd(a, b, c);
#elif ST_AVX2
    if constexpr (sizeof(T) == 4) return _mm256_fmadd_ps(a, b, c);
    else return _mm256_fmadd_pd(a, b, c);
#else
#if ST_SOFT_FMA
    if constexpr (sizeof(T) == 4) {
        typedef float Half __attribute__((vector_size(8)));
        const auto lower = [](typename V<T>::N v) { return __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1), Pair); };
        const auto upper = [](typename V<T>::N v) { return __builtin_convertvector(__builtin_shufflevector(v, v, 2, 3), Pair); };
        const Half low = __builtin_convertvector(sumToOdd(lower(a) * lower(b), lower(c)), Half);
        const Half high = __builtin_convertvector(sumToOdd(upper(a) * upper(b), upper(c)), Half);
        return __builtin_shufflevector(low, high, 0, 1, 2, 3);
    }
#endif
    for (int j = 0; j < kRegisterBytes / (int)sizeof(T); j++) {
        c[j] = fusedMultiplyAdd(static_cast<T>(a[j]), static_cast<T>(b[j]), static_cast<T>(c[j]));
    }
    return c;
#endif
}
/// a * b + c, rounded once.
template <class T>
ST_INLINE V<T> fma(V<T> a, V<T> b, V<T> c) {
    ST_EACH c.r[i] = nativeFma<T>(a.r[i], b.r[i], c.r[i]);
    return c;
}

template <class T>
ST_INLINE V<T> squareRoot(V<T> a) {
#if ST_AVX512
    if constexpr (sizeof(T) == 4) a.r[0] = _mm512_sqrt_ps(a.r[0]);
    else a.r[0] = _mm512_sqrt_pd(a.r[0]);
#elif ST_AVX2
    if constexpr (sizeof(T) == 4) ST_EACH a.r[i] = _mm256_sqrt_ps(a.r[i]);
    else ST_EACH a.r[i] = _mm256_sqrt_pd(a.r[i]);
#else
    ST_EACH for (int j = 0; j < kRegisterBytes / (int)sizeof(T); j++) {
        if constexpr (sizeof(T) == 4) a.r[i][j] = __builtin_sqrtf(a.r[i][j]);
        else a.r[i][j] = __builtin_sqrt(a.r[i][j]);
    }
#endif
    return a;
}

/// Per lane a > b ? a : b; b where either is not a number.
template <class T>
ST_INLINE V<T> greater(V<T> a, V<T> b) {
#if ST_AVX512
    if constexpr (sizeof(T) == 4) a.r[0] = _mm512_max_ps(a.r[0], b.r[0]);
    else a.r[0] = _mm512_max_pd(a.r[0], b.r[0]);
#elif ST_AVX2
    if constexpr (sizeof(T) == 4) ST_EACH a.r[i] = _mm256_max_ps(a.r[i], b.r[i]);
    else ST_EACH a.r[i] = _mm256_max_pd(a.r[i], b.r[i]);
#else
    ST_EACH a.r[i] = a.r[i] > b.r[i] ? a.r[i] : b.r[i];
#endif
    return a;
}
/// Per lane a < b ? a : b; b where either is not a number.
template <class T>
ST_INLINE V<T> smaller(V<T> a, V<T> b) {
#if ST_AVX512
    if constexpr (sizeof(T) == 4) a.r[0] = _mm512_min_ps(a.r[0], b.r[0]);
    else a.r[0] = _mm512_min_pd(a.r[0], b.r[0]);
#elif ST_AVX2
    if constexpr (sizeof(T) == 4) ST_EACH a.r[i] = _mm256_min_ps(a.r[i], b.r[i]);
    else ST_EACH a.r[i] = _mm256_min_pd(a.r[i], b.r[i]);
#else
    ST_EACH a.r[i] = a.r[i] < b.r[i] ? a.r[i] : b.r[i];
#endif
    return a;
}

template <class T>
ST_INLINE I<T> lessThan(V<T> a, V<T> b) {
    I<T> m;
    ST_EACH m.r[i] = a.r[i] < b.r[i];
    return m;
}
template <class T>
ST_INLINE V<T> select(I<T> m, V<T> yes, V<T> no) {
    ST_EACH no.r[i] = m.r[i] ? yes.r[i] : no.r[i];
    return no;
}
template <class T>
ST_INLINE I<T> bitsOf(V<T> v) {
    I<T> b;
    ST_EACH b.r[i] = reinterpret_cast<typename Native<T>::ints>(v.r[i]);
    return b;
}
template <class T>
ST_INLINE V<T> ofBits(I<T> b) {
    V<T> v;
    ST_EACH v.r[i] = reinterpret_cast<typename Native<T>::vector>(b.r[i]);
    return v;
}
template <class T>
ST_INLINE I<T> laneNumbers() {
    typename Native<T>::integer n[V<T>::lanes];
    for (int j = 0; j < V<T>::lanes; j++) n[j] = j;
    I<T> b;
    memcpy(&b, n, 64);
    return b;
}
/// The lanes from <= lane < to.
template <class T>
ST_INLINE I<T> lanesBetween(int64_t from, int64_t to) {
    typedef typename Native<T>::integer N;
    // far limits would wrap in 32 bits
    const N lo = static_cast<N>(from < 0 ? 0 : from > 64 ? 64 : from), hi = static_cast<N>(to < 0 ? 0 : to > 64 ? 64 : to);
    I<T> n = laneNumbers<T>();
    ST_EACH n.r[i] = (n.r[i] >= lo) & (n.r[i] < hi);
    return n;
}

/// Sum over the lanes by the tree (i, i + half).
template <class T>
ST_INLINE T sum(V<T> v) {
    T x[V<T>::lanes];
    memcpy(x, &v, 64);
#if ST_AVX512
    if constexpr (sizeof(T) == 4) {
        __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v.r[0]), _mm512_extractf32x8_ps(v.r[0], 1));
        __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
        q = _mm_add_ps(q, _mm_movehl_ps(q, q));
        return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
    }
#elif ST_AVX2
    if constexpr (sizeof(T) == 4) {
        __m256 h = _mm256_add_ps(v.r[0], v.r[1]);
        __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
        q = _mm_add_ps(q, _mm_movehl_ps(q, q));
        return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
    }
#endif
    for (int half = V<T>::lanes / 2; half > 0; half /= 2) {
        for (int j = 0; j < half; j++) x[j] += x[j + half];
    }
    return x[0];
}
/// The greatest lane, or not a number if any lane is not.
template <class T>
ST_INLINE T greatest(V<T> v) {
    T x[V<T>::lanes];
#if ST_AVX512
    if constexpr (sizeof(T) == 4) {
        if (_mm512_cmp_ps_mask(v.r[0], v.r[0], _CMP_UNORD_Q)) return NAN;
        return _mm512_reduce_max_ps(v.r[0]);
    }
#endif
    memcpy(x, &v, 64);
    T m = x[0];
    for (int j = 1; j < V<T>::lanes; j++) m = x[j] > m || x[j] != x[j] ? x[j] : m;
    return m;
}

// ---- memory -------------------------------------------------------------------------------------------------------------

// A native register at any address; a memcpy of the whole struct would keep it in memory.
template <class T>
struct Unaligned {
    typedef T vector __attribute__((vector_size(kRegisterBytes), aligned(sizeof(T)), may_alias));
};
template <class T>
ST_INLINE V<T> loadNative(const T* p) {
    V<T> v;
    ST_EACH v.r[i] = *reinterpret_cast<const typename Unaligned<T>::vector*>(p + i * (kRegisterBytes / sizeof(T)));
    return v;
}
template <class T>
ST_INLINE void storeNative(T* p, V<T> v) {
    ST_EACH *reinterpret_cast<typename Unaligned<T>::vector*>(p + i * (kRegisterBytes / sizeof(T))) = v.r[i];
}
ST_INLINE V<float> load(const float* p) { return loadNative(p); }
ST_INLINE V<double> load(const double* p) { return loadNative(p); }
ST_INLINE void store(float* p, V<float> v) { storeNative(p, v); }
ST_INLINE void store(double* p, V<double> v) { storeNative(p, v); }

ST_INLINE float widen(bf16 x) {
    const uint32_t u = static_cast<uint32_t>(x.bits) << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
ST_INLINE float widen(float x) { return x; }
ST_INLINE double widen(double x) { return x; }

/// To nearest, ties to even; a quiet NaN stays one.
ST_INLINE bf16 toBf16(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    const uint32_t rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
    const uint32_t quiet = (u >> 16) | 0x40u;
    return {static_cast<uint16_t>((u & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded)};
}

ST_INLINE V<float> load(const bf16* p) {
    V<float> v;
#if ST_AVX512
    v.r[0] = _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
#elif ST_AVX2
    for (int i = 0; i < 2; i++) {
        v.r[i] = _mm256_castsi256_ps(_mm256_slli_epi32(
            _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8 * i))), 16));
    }
#else
    float x[16];
    for (int j = 0; j < 16; j++) x[j] = widen(p[j]);
    memcpy(&v, x, 64);
#endif
    return v;
}
ST_INLINE void store(bf16* p, V<float> v) {
#if ST_AVX512
    const __m512i u = _mm512_castps_si512(v.r[0]);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7FFF)), odd), 16);
    const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));
    const __mmask16 nan = _mm512_cmp_ps_mask(v.r[0], v.r[0], _CMP_UNORD_Q);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, quiet)));
#else
    float x[16];
    memcpy(x, &v, 64);
    for (int j = 0; j < 16; j++) p[j] = toBf16(x[j]);
#endif
}

/// The first n lanes from memory, zeros behind them; reads nothing beyond.
template <class S>
ST_INLINE V<real<S>> load(const S* p, int64_t n) {
    if (n >= V<real<S>>::lanes) return load(p);
#if ST_AVX512
    if constexpr (sizeof(S) == 4) {
        V<real<S>> v;
        v.r[0] = _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
        return v;
    }
#endif
    S x[V<real<S>>::lanes] = {};
    for (int64_t j = 0; j < n; j++) x[j] = p[j];
    return load(x);
}
/// Writes the first n lanes and nothing beyond.
template <class S>
ST_INLINE void store(S* p, V<real<S>> v, int64_t n) {
    if (n >= V<real<S>>::lanes) {
        store(p, v);
        return;
    }
#if ST_AVX512
    if constexpr (sizeof(S) == 4) {
        _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v.r[0]);
        return;
    }
#endif
    S x[V<real<S>>::lanes];
    store(x, v);
    for (int64_t j = 0; j < n; j++) p[j] = x[j];
}

/// Calls f(i, lanes) for i = 0, lanes, 2 lanes, ... and once f(i, rest) for what is left of n; `lanes` is a constant to the compiler.
template <class T, class F>
ST_INLINE void eachVector(int64_t n, F f) {
    constexpr int64_t lanes = V<T>::lanes;
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) f(i, lanes);
    if (i < n) f(i, n - i);
}

}  // namespace
}  // namespace ST_ISA
}  // namespace subtext

#endif
