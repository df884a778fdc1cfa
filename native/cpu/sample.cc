// One token a row by the Gumbel-max trick over counter-based noise, with the log-probability of the very law drawn from.
//                                                                                                  Maddison et al. 2014
// The noise is -log(-log1p(-u)) of common/philox.h, evaluated with the vector log; it is f32 for every dtype.
#include "isa_op.h"
#include "rows.h"

namespace subtext {
namespace ST_ISA {
namespace {
#include "philox.h"

/// Standard Gumbel noise from the uniforms of 16 Philox words. log1p(-u) = log(w) - c / w with w = 1 - u rounded and c = (w - 1) + u.
ST_INLINE V<float> gumbelOf(const uint32_t bits[16]) {
    float u[16];
    for (int j = 0; j < 16; j++) u[j] = st::uniform(bits[j]);
    const V<float> uv = load(u), one = broadcast<float>(1);
    const V<float> w = one - uv;
    const V<float> c = (w - one) + uv;
    return -logarithm(c / w - logarithm(w));
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

/// Noise of the vocabulary entries 32 * group .. 32 * group + 31: the Philox blocks of st::sampleNoise, eight side by side in the low
/// halves of 64-bit lanes.
ST_INLINE void noise(float* out, uint64_t key, int32_t position, int64_t group) {
    constexpr int Q = kRegisters;
    I<double> c0 = laneNumbers<double>(), c1, c2, c3;
    for (int i = 0; i < Q; i++) {
        c0.r[i] += 8 * group;
        c1.r[i] = c0.r[i] - c0.r[i] + static_cast<int64_t>(static_cast<uint32_t>(position));
        c2.r[i] = c0.r[i] - c0.r[i] + 0x53544758;
        c3.r[i] = c0.r[i] - c0.r[i];
    }
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        const I<double> a = timesWord(c0, 0xD2511F53u), b = timesWord(c2, 0xCD9E8D57u);
        for (int i = 0; i < Q; i++) {
            const auto high = [](Native<double>::ints x) { return (x >> 32) & 0xFFFFFFFFll; };
            c0.r[i] = high(b.r[i]) ^ c1.r[i] ^ static_cast<int64_t>(k0);
            c2.r[i] = high(a.r[i]) ^ c3.r[i] ^ static_cast<int64_t>(k1);
            c1.r[i] = b.r[i] & 0xFFFFFFFFll;
            c3.r[i] = a.r[i] & 0xFFFFFFFFll;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    uint64_t first[8], second[8];
    for (int i = 0; i < Q; i++) {
        c0.r[i] |= c1.r[i] << 32;
        c2.r[i] |= c3.r[i] << 32;
    }
    memcpy(first, &c0, 64);
    memcpy(second, &c2, 64);
    uint32_t bits[32];
    for (int b = 0; b < 8; b++) {
        memcpy(bits + 4 * b, first + b, 8);
        memcpy(bits + 4 * b + 2, second + b, 8);
    }
    store(out, gumbelOf(bits));
    store(out + 16, gumbelOf(bits + 16));
}

template <class T>
struct Best {
    T value;
    int64_t at;  // -1 if nothing compared greater: the row is not a number
};

template <class T, class F>
ST_INLINE Best<T> argMax(int64_t n, F valueAt) {
    Best<T> best = {T(-INFINITY), -1};
    eachVector<T>(n, [&](int64_t i, int64_t lanes) {
        T x[V<T>::lanes];
        const V<T> v = valueAt(i, lanes);
        if (lanes == V<T>::lanes && !(greatest(v) > best.value)) return;  // also when NaN is among them: then the row has no law
        store(x, v);
        for (int64_t j = 0; j < lanes; j++) {
            if (x[j] > best.value) best = {x[j], i + j};
        }
    });
    return best;
}

template <class S>
void sample(int32_t* token, void* logProb, const void* logits, const uint64_t* key, const int32_t* position, int64_t from,
            int64_t to, int64_t vocabulary, int64_t stride, double temperature) {
    typedef real<S> T;
    const T t = temperature == 0 ? T(1) : static_cast<T>(temperature);
    const V<T> tv = broadcast<T>(t);
    for (int64_t n = from; n < to; n++) {
        const T* row = static_cast<const T*>(logits) + n * stride;
        const RowLaw<T> law = rowLaw<T>(row, vocabulary, t);
        Best<T> best;
        if (temperature == 0) {
            best = argMax<T>(vocabulary, [&](int64_t i, int64_t lanes) { return load(row + i, lanes); });
        } else {
            float g[32];
            best = argMax<T>(vocabulary, [&](int64_t i, int64_t lanes) {
                if (i % 32 == 0) noise(g, key[n], position[n], i / 32);
                T part[V<T>::lanes];
                for (int j = 0; j < V<T>::lanes; j++) part[j] = g[i % 32 + j];
                return load(row + i, lanes) / tv + load(part);
            });
        }
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
        store(f, gumbelOf(bits));
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
