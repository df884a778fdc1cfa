// exp and log of our own: the only ones used for softmax, silu, log-sum-exp and Gumbel noise, so that all paths agree bit for bit.
//
// Both are accurate to about one unit in the last place over their whole range of the result, keep not-a-number, and give
// 0, infinity and denormals where libm does. They are built from additions, multiplications and fused multiply-adds alone, so every
// instruction set gives the same bits.
#ifndef SUBTEXT_CPU_VECMATH_H
#define SUBTEXT_CPU_VECMATH_H

#include "vec.h"

namespace subtext {
namespace ST_ISA {
namespace {

template <class T>
struct FloatFormat;
template <>
struct FloatFormat<float> {
    static constexpr int mantissa = 23, bias = 127;
    static constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to an integer
    static constexpr float ln2High = 0.693145751953125f, ln2Low = 1.42860682030941723212e-6f;
    static constexpr float lowest = -104.0f, highest = 89.0f;
    static constexpr float vanishing = -103.972084f;  // the greatest whose exp rounds to zero
    static constexpr int expTerms = 7, logTerms = 5;
};
template <>
struct FloatFormat<double> {
    static constexpr int mantissa = 52, bias = 1023;
    static constexpr double magic = 6755399441055744.0;
    static constexpr double ln2High = 6.93147180369123816490e-01, ln2Low = 1.90821492927058770002e-10;
    static constexpr double lowest = -746.0, highest = 710.0;
    static constexpr double vanishing = -745.13321910194122;
    static constexpr int expTerms = 13, logTerms = 11;
};

template <class T>
ST_INLINE V<T> twoToThe(I<T> n) {  // n within the exponents of normal numbers
    ST_EACH n.r[i] = (n.r[i] + FloatFormat<T>::bias) << FloatFormat<T>::mantissa;
    return ofBits(n);
}

/// e^x: x = n ln 2 + r with |r| <= ln 2 / 2, then Taylor's series of e^r, then 2^n in two factors so that denormals round once.
/// Where the result is zero none is computed: a product that underflows takes the processor a hundred times as long, and the masked keys of
/// attention are all of this kind.
template <class T>
ST_INLINE V<T> exponential(V<T> x) {
    typedef FloatFormat<T> F;
    constexpr T factorial[] = {T(1),       T(1),        T(2),         T(6),          T(24),          T(120),         T(720),
                               T(5040),    T(40320),    T(362880),    T(3628800),    T(39916800),    T(479001600.0), T(6227020800.0)};
#if ST_AVX512
    uint32_t notZero;  // also where x is not a number
    if constexpr (sizeof(T) == 4) notZero = _mm512_cmp_ps_mask(x.r[0], _mm512_set1_ps(F::vanishing), _CMP_NLE_UQ);
    else notZero = _mm512_cmp_pd_mask(x.r[0], _mm512_set1_pd(F::vanishing), _CMP_NLE_UQ);
#else
    I<T> zeros;
    ST_EACH zeros.r[i] = x.r[i] <= broadcast<T>(F::vanishing).r[i];
    x = select(zeros, zero<T>(), x);
#endif
    x = smaller(broadcast<T>(F::highest), greater(broadcast<T>(F::lowest), x));  // keeps NaN: it is the second operand
    const V<T> shifted = fma(x, broadcast<T>(T(1.4426950408889634)), broadcast<T>(F::magic));
    const V<T> n = shifted - broadcast<T>(F::magic);
    V<T> r = fma(n, broadcast<T>(-F::ln2High), x);
    r = fma(n, broadcast<T>(-F::ln2Low), r);
    V<T> p = broadcast<T>(T(1) / factorial[F::expTerms]);
#pragma GCC unroll 16
    for (int k = F::expTerms - 1; k >= 2; k--) p = fma(p, r, broadcast<T>(T(1) / factorial[k]));
    p = fma(r * r, p, r) + broadcast<T>(1);
#if ST_AVX512
    // p 2^n rounded once: what the two products give, of which the first is exact
    if constexpr (sizeof(T) == 4) p.r[0] = _mm512_maskz_scalef_ps(static_cast<__mmask16>(notZero), p.r[0], n.r[0]);
    else p.r[0] = _mm512_maskz_scalef_pd(static_cast<__mmask8>(notZero), p.r[0], n.r[0]);
    return p;
#else
    I<T> whole = bitsOf(shifted), half;
    const I<T> magic = bitsOf(broadcast<T>(F::magic));
    ST_EACH {
        whole.r[i] -= magic.r[i];
        half.r[i] = whole.r[i] >> 1;
        whole.r[i] -= half.r[i];
    }
    return select(zeros, zero<T>(), p * twoToThe<T>(half) * twoToThe<T>(whole));
#endif
}

/// Natural logarithm: x = 2^e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), and with s = f / (2 + f)
/// log(1 + f) = 2 atanh s = f - (f^2/2 - s (f^2/2 + R)), R = 2/3 s^2 + 2/5 s^4 + ...
template <class T>
ST_INLINE V<T> logarithm(V<T> x) {
    typedef FloatFormat<T> F;
    const T tiny = sizeof(T) == 4 ? T(1.17549435e-38) : T(2.2250738585072014e-308);
    const T scale = sizeof(T) == 4 ? T(33554432.0) : T(18014398509481984.0);  // 2^25, 2^54
    const T scaleBits = sizeof(T) == 4 ? T(25) : T(54);
    const V<T> given = x;
    const I<T> denormal = lessThan(x, broadcast<T>(tiny));
    x = select(denormal, x * broadcast<T>(scale), x);
    // subtracting the bits of sqrt(1/2) leaves the exponent e above and what belongs to 1 + f below
    const I<T> root = bitsOf(broadcast<T>(T(0.70710678118654752)));
    I<T> bits = bitsOf(x), e;
    // as unsigned: a negative x, whose result is replaced below, would overflow
    typedef typename Native<T>::ints Signed;
    typedef typename Native<T>::wraps Unsigned;
    ST_EACH {
        e.r[i] = (Signed)((Unsigned)bits.r[i] - (Unsigned)root.r[i]) >> F::mantissa;
        bits.r[i] = (Signed)((Unsigned)bits.r[i] - ((Unsigned)e.r[i] << F::mantissa));
    }
    V<T> exponent;
    ST_EACH exponent.r[i] = __builtin_convertvector(e.r[i], typename V<T>::N);
    exponent = exponent - select(denormal, broadcast<T>(scaleBits), zero<T>());
    const V<T> f = ofBits(bits) - broadcast<T>(1);
    const V<T> s = f / (f + broadcast<T>(2));
    const V<T> z = s * s;
    V<T> R = broadcast<T>(T(2) / (2 * F::logTerms + 1));
#pragma GCC unroll 16
    for (int k = F::logTerms - 1; k >= 1; k--) R = fma(R, z, broadcast<T>(T(2) / (2 * k + 1)));
    R = R * z;
    const V<T> half = broadcast<T>(T(0.5)) * f * f;
    const V<T> low = fma(exponent, broadcast<T>(F::ln2Low), s * (half + R));
    V<T> y = fma(exponent, broadcast<T>(F::ln2High), f - (half - low));
    const V<T> infinity = broadcast<T>(T(INFINITY));
    y = select(lessThan(given, infinity), y, given);                                   // +inf and NaN
    y = select(lessThan(given, broadcast<T>(T(0))), broadcast<T>(T(NAN)), y);          // negative
    I<T> isZero;
    ST_EACH isZero.r[i] = given.r[i] == broadcast<T>(T(0)).r[i];
    return select(isZero, -infinity, y);
}

/// One element, with the very bits of the vector function.
template <class T>
ST_INLINE T exponential1(T x) {
    T y[V<T>::lanes];
    store(y, exponential(broadcast<T>(x)));
    return y[0];
}
template <class T>
ST_INLINE T logarithm1(T x) {
    T y[V<T>::lanes];
    store(y, logarithm(broadcast<T>(x)));
    return y[0];
}

}  // namespace
}  // namespace ST_ISA
}  // namespace subtext

#endif
