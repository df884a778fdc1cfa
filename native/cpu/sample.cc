// One token a row by the Gumbel-max trick over counter-based noise, with the log-probability of the very law drawn from.
//                                                                                                  Maddison et al. 2014
// The noise is -log(-log1p(-u)) of common/philox.h, evaluated with the vector log; it is f32 for every dtype.
#include "isa_op.h"
#include "rows.h"

namespace subtext {
namespace ST_ISA {
namespace {
#include "philox.h"

/// st::uniform of 16 Philox words.
ST_INLINE V<float> uniformOf(I<float> bits) {
    V<float> u;
    ST_EACH u.r[i] = __builtin_convertvector(reinterpret_cast<Native<float>::wraps>(bits.r[i]), Native<float>::vector);
    return smaller((u + broadcast<float>(0.5f)) * broadcast<float>(2.3283064365386963e-10f), broadcast<float>(0.99999994f));
}

/// Standard Gumbel noise of 16 uniforms. log1p(-u) = log(w) - c / w with w = 1 - u rounded and c = (w - 1) + u.
ST_INLINE V<float> gumbelOf(V<float> u) {
    const V<float> one = broadcast<float>(1);
    const V<float> w = one - u;
    const V<float> c = (w - one) + u;
    return -logarithm(c / w - logarithm(w));
}

/// Not less than gumbelOf, by a few instructions: -log(-log1p(-u)) <= -log u, and log2 u is not less than the bits of u read as a number,
/// 2^23 (exponent + mantissa), because the logarithm is concave. The slack is a thousand times what rounding can add; that it holds for
/// each of the 2^32 words was tried.
ST_INLINE V<float> gumbelBound(V<float> u) {
    const I<float> bits = bitsOf(u);
    V<float> x;
    ST_EACH x.r[i] = __builtin_convertvector(bits.r[i], Native<float>::vector);
    return fma(x, broadcast<float>(-8.2629582e-8f), broadcast<float>(88.029692f + 0.002f));
}

/// Low halves of the lanes times m, as 64 bits.
ST_INLINE I<double> timesWord(I<double> a, uint32_t m) {
#if ST_AVX512
    a.r[0] = reinterpret_cast<Native<double>::ints>(_mm512_mul_epu32(reinterpret_cast<__m512i>(a.r[0]), _mm512_set1_epi64(m)));
#elif ST_AVX2
    ST_EACH a.r[i] = reinterpret_cast<Native<double>::ints>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a.r[i]), _mm256_set1_epi64x(m)));
#else
    ST_EACH for (int j = 0; j < kRegisterBytes / 8; j++) {
        a.r[i][j] = static_cast<int64_t>(static_cast<uint64_t>(static_cast<uint32_t>(a.r[i][j])) * m);
    }
#endif
    return a;
}

/// a0 b0 a1 b1 ... of two registers of 64-bit lanes.
ST_INLINE void interleave(Native<double>::ints a, Native<double>::ints b, Native<float>::ints* to) {
#if ST_AVX512
    to[0] = reinterpret_cast<Native<float>::ints>(__builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11));
    to[1] = reinterpret_cast<Native<float>::ints>(__builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15));
#elif ST_AVX2
    to[0] = reinterpret_cast<Native<float>::ints>(__builtin_shufflevector(a, b, 0, 4, 1, 5));
    to[1] = reinterpret_cast<Native<float>::ints>(__builtin_shufflevector(a, b, 2, 6, 3, 7));
#else
    to[0] = reinterpret_cast<Native<float>::ints>(__builtin_shufflevector(a, b, 0, 2));
    to[1] = reinterpret_cast<Native<float>::ints>(__builtin_shufflevector(a, b, 1, 3));
#endif
}

/// Words for the vocabulary entries 32 * group .. 32 * group + 31: the Philox blocks of st::sampleNoise, eight side by side in the low
/// halves of 64-bit lanes. What is in the high halves of c1 and c3 meanwhile is never read.
ST_INLINE void words(I<float> out[2], uint64_t key, int32_t position, int64_t group) {
    constexpr int Q = kRegisters;
    I<double> c0 = laneNumbers<double>(), c1, c2, c3;
    for (int i = 0; i < Q; i++) {
        c0.r[i] += 8 * group;
        c1.r[i] = c0.r[i] - c0.r[i] + static_cast<int64_t>(static_cast<uint32_t>(position));
        c2.r[i] = c0.r[i] - c0.r[i] + 0x53544758;
        c3.r[i] = c0.r[i] - c0.r[i];
    }
    const auto high = [](Native<double>::ints x) { return reinterpret_cast<Native<double>::ints>(reinterpret_cast<Native<double>::wraps>(x) >> 32); };
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        const I<double> a = timesWord(c0, 0xD2511F53u), b = timesWord(c2, 0xCD9E8D57u);
        for (int i = 0; i < Q; i++) {
            c0.r[i] = high(b.r[i]) ^ c1.r[i] ^ static_cast<int64_t>(k0);
            c2.r[i] = high(a.r[i]) ^ c3.r[i] ^ static_cast<int64_t>(k1);
            c1.r[i] = b.r[i];
            c3.r[i] = a.r[i];
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    Native<float>::ints all[2 * Q];
    for (int i = 0; i < Q; i++) {
        c0.r[i] = (c0.r[i] & 0xFFFFFFFFll) | (c1.r[i] << 32);
        c2.r[i] = (c2.r[i] & 0xFFFFFFFFll) | (c3.r[i] << 32);
        interleave(c0.r[i], c2.r[i], all + 2 * i);
    }
    for (int i = 0; i < Q; i++) {
        out[0].r[i] = all[i];
        out[1].r[i] = all[Q + i];
    }
}

template <class T>
struct Best {
    T value;
    int64_t at;  // -1 if nothing compared greater: the row is not a number
};

/// Takes the first of the greatest of `lanes` values, those of entries i, i + 1, ..., if it is greater than the best so far.
template <class T>
ST_INLINE void improve(Best<T>* best, V<T> v, int64_t i, int64_t lanes) {
    T x[V<T>::lanes];
    if (lanes == V<T>::lanes && !(greatest(v) > best->value)) return;  // also when NaN is among them: then the row has no law
    store(x, v);
    for (int64_t j = 0; j < lanes; j++) {
        if (x[j] > best->value) *best = {x[j], i + j};
    }
}

template <class T, class F>
ST_INLINE Best<T> argMax(int64_t n, F valueAt) {
    Best<T> best = {T(-INFINITY), -1};
    eachVector<T>(n, [&](int64_t i, int64_t lanes) { improve(&best, valueAt(i, lanes), i, lanes); });
    return best;
}

/// Whether any lane of v is greater than x.
template <class T>
ST_INLINE bool anyGreater(V<T> v, T x) {
#if ST_AVX512
    if constexpr (sizeof(T) == 4) return _mm512_cmp_ps_mask(v.r[0], _mm512_set1_ps(x), _CMP_GT_OQ) != 0;
#elif ST_AVX2
    if constexpr (sizeof(T) == 4) {
        const __m256 low = _mm256_cmp_ps(v.r[0], _mm256_set1_ps(x), _CMP_GT_OQ), high = _mm256_cmp_ps(v.r[1], _mm256_set1_ps(x), _CMP_GT_OQ);
        return _mm256_movemask_ps(_mm256_or_ps(low, high)) != 0;
    }
#endif
    T values[V<T>::lanes];
    store(values, v);
    bool any = false;
    for (int j = 0; j < V<T>::lanes; j++) any |= values[j] > x;
    return any;
}

/// The arg max of row / t + noise. The noise of 16 entries is computed only if, by its bound, one of them can win: rounding keeps
/// order, so an entry whose sum with the bound is not greater than the best has no greater sum with the noise.
template <class T, bool TEMPERED>
ST_INLINE Best<T> noisyArgMax(const T* row, int64_t n, T t, uint64_t key, int32_t position) {
    constexpr int64_t L = V<T>::lanes;
    const V<T> tv = broadcast<T>(t);
    Best<T> best = {T(-INFINITY), -1};
    for (int64_t group = 0; 32 * group < n; group++) {
        I<float> bits[2];
        words(bits, key, position, group);
#pragma GCC unroll 2
        for (int64_t half = 0; half < 2; half++) {
            const int64_t first = 32 * group + 16 * half;
            if (first >= n) break;
            const V<float> u = uniformOf(bits[half]);
            const auto logits = [&](int64_t i, int64_t lanes) {
                const V<T> x = load(row + i, lanes);
                return TEMPERED ? x / tv : x;
            };
            if constexpr (sizeof(T) == 4) {
                const int64_t lanes = n - first < L ? n - first : L;
                const V<T> z = logits(first, lanes);
                if (anyGreater<T>(z + gumbelBound(u), best.value)) improve(&best, z + gumbelOf(u), first, lanes);
            } else {
                float g[16];
                store(g, gumbelOf(u));
                for (int64_t i = first; i < first + 16 && i < n; i += L) {
                    T part[L];
                    for (int64_t j = 0; j < L; j++) part[j] = g[i - first + j];
                    const int64_t lanes = n - i < L ? n - i : L;
                    improve(&best, logits(i, lanes) + load(part), i, lanes);
                }
            }
        }
    }
    return best;
}

template <class S>
void sample(int32_t* token, void* logProb, const void* logits, const uint64_t* key, const int32_t* position, int64_t from,
            int64_t to, int64_t vocabulary, int64_t stride, double temperature) {
    typedef real<S> T;
    const T t = temperature == 0 ? T(1) : static_cast<T>(temperature);
    for (int64_t n = from; n < to; n++) {
        const T* row = static_cast<const T*>(logits) + n * stride;
        // division by one changes nothing but the time
        const RowLaw<T> law = t == T(1) ? rowLaw<T>(row, vocabulary, T(1)) : rowLaw<T>(row, vocabulary, t);
        Best<T> best;
        if (temperature == 0) best = argMax<T>(vocabulary, [&](int64_t i, int64_t lanes) { return load(row + i, lanes); });
        else if (t == T(1)) best = noisyArgMax<T, false>(row, vocabulary, t, key[n], position[n]);
        else best = noisyArgMax<T, true>(row, vocabulary, t, key[n], position[n]);
        const int64_t at = best.at < 0 ? 0 : best.at;
        token[n] = static_cast<int32_t>(at);
        static_cast<T*>(logProb)[n] = law.logProb(row[at] / t);
    }
}

template <class S>
void sampleKept(int32_t* token, void* logProb, const void* gathered, const int32_t* kept, int64_t count, uint64_t key,
                int32_t position, double temperature) {
    typedef real<S> T;
    const T t = temperature == 0 ? T(1) : static_cast<T>(temperature);
    const T* row = static_cast<const T*>(gathered);
    const RowLaw<T> law = rowLaw<T>(row, count, t);
    const Best<T> best = argMax<T>(count, [&](int64_t i, int64_t lanes) {
        uint32_t bits[16] = {};
        for (int64_t j = 0; j < lanes; j++) {
            const int32_t v = kept[i + j];
            bits[j] = st::sampleNoise(key, position, static_cast<uint32_t>(v / 4)).x[v % 4];
        }
        float f[16];
        T g[16];
        I<float> words;
        memcpy(&words, bits, 64);
        store(f, gumbelOf(uniformOf(words)));
        for (int j = 0; j < 16; j++) g[j] = f[j];
        return load(row + i, lanes) / broadcast<T>(t) + load(g);
    });
    const int64_t at = best.at < 0 ? 0 : best.at;
    *token = kept[at];
    *static_cast<T*>(logProb) = law.logProb(row[at] / t);
}

template <class S>
bool law(double* p, const void* gathered, int64_t count, double temperature) {
    typedef real<S> T;
    const T t = temperature == 0 ? T(1) : static_cast<T>(temperature);
    const T* row = static_cast<const T*>(gathered);
    const RowLaw<T> law = rowLaw<T>(row, count, t);
    if (!(law.logSum - law.logSum == 0) || !(law.top - law.top == 0)) return false;
    eachVector<T>(count, [&](int64_t i, int64_t lanes) {
        T e[V<T>::lanes];
        store(e, exponential((load(row + i, lanes) / broadcast<T>(t) - broadcast<T>(law.top)) - broadcast<T>(law.logSum)));
        for (int64_t j = 0; j < lanes; j++) p[i + j] = e[j];
    });
    return true;
}

}  // namespace

void enterSample(Kernels* table) {
    ST_SET(table->sample, sample);
    ST_SET(table->sampleKept, sampleKept);
    ST_SET(table->law, law);
}

}  // namespace ST_ISA
}  // namespace subtext
