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

/// Noise of the vocabulary entries 16 * group .. 16 * group + 15.
ST_INLINE V<float> noise(uint64_t key, int32_t position, int64_t group) {
    uint32_t bits[16];
    for (int b = 0; b < 4; b++) {
        const st::PhiloxBlock block = st::sampleNoise(key, position, static_cast<uint32_t>(4 * group + b));
        for (int j = 0; j < 4; j++) bits[4 * b + j] = block.x[j];
    }
    return gumbelOf(bits);
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
            best = argMax<T>(vocabulary, [&](int64_t i, int64_t lanes) {
                const V<float> g = noise(key[n], position[n], i / 16);
                V<T> gt;
                if constexpr (sizeof(T) == 4) {
                    gt = g;
                } else {
                    float f[16];
                    double d[8];
                    store(f, g);
                    for (int j = 0; j < 8; j++) d[j] = f[i % 16 + j];
                    gt = load(d);
                }
                return load(row + i, lanes) / tv + gt;
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
