// AdamW with decoupled decay, and the sum of squares for clipping.                        Loshchilov & Hutter 2019, algorithm 2
// Reads master, m, v, grad and writes master, m, v (and weight): 28 bytes an element in f32.
#include "isa_op.h"

namespace subtext {
namespace ST_ISA {
namespace {

template <class S>
void adamw(void* weight, void* master, void* m, void* v, const void* grad, int64_t from, int64_t to, double gradScale, double lr,
           double beta1, double beta2, double eps, double decay, double correction1, double correction2) {
    typedef real<S> T;
    S* w = static_cast<S*>(weight) + from;
    T* p = static_cast<T*>(master) + from;
    T* first = static_cast<T*>(m) + from;
    T* second = static_cast<T*>(v) + from;
    const T* g = static_cast<const T*>(grad) + from;
    const auto constant = [](double x) { return broadcast<T>(static_cast<T>(x)); };
    const V<T> scale = constant(gradScale), b1 = constant(beta1), a1 = constant(1 - beta1), b2 = constant(beta2);
    const V<T> a2 = constant(1 - beta2), rate = constant(-lr), epsilon = constant(eps), pull = constant(decay);
    const V<T> c1 = constant(1 / correction1), c2 = constant(1 / correction2);
    eachVector<T>(to - from, [&](int64_t i, int64_t n) {
        const V<T> gi = load(g + i, n) * scale;
        const V<T> mi = fma(b1, load(first + i, n), a1 * gi);
        const V<T> vi = fma(b2, load(second + i, n), a2 * gi * gi);
        const V<T> old = load(p + i, n);
        const V<T> step = mi * c1 / (squareRoot(vi * c2) + epsilon);
        const V<T> updated = fma(rate, fma(pull, old, step), old);
        store(first + i, mi, n);
        store(second + i, vi, n);
        store(p + i, updated, n);
        if constexpr (sizeof(S) != sizeof(T)) store(w + i, updated, n);
        else if (w != p) store(w + i, updated, n);
    });
}

/// Eight elements of either type as f64.
ST_INLINE V<double> loadWide(const double* p) { return load(p); }
ST_INLINE V<double> loadWide(const float* p) {
    V<double> v;
#if ST_AVX512
    v.r[0] = _mm512_cvtps_pd(_mm256_loadu_ps(p));
#else
    double wide[8];
    for (int j = 0; j < 8; j++) wide[j] = p[j];
    v = load(wide);
#endif
    return v;
}

/// Eight f64 sums, lane i % 8 taking element i, then the tree.
template <class T>
double sumSquares(const void* x, int64_t from, int64_t to) {
    const T* in = static_cast<const T*>(x) + from;
    const int64_t n = to - from;
    V<double> squares = zero<double>();
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const V<double> v = loadWide(in + i);
        squares = fma(v, v, squares);
    }
    double rest[8] = {};
    for (int j = 0; i + j < n; j++) rest[j] = in[i + j];
    const V<double> v = load(rest);
    return sum(fma(v, v, squares));
}

}  // namespace

void enterAdamw(Kernels* table) {
    ST_SET(table->adamw, adamw);
    table->sumSquares[0] = sumSquares<float>;
    table->sumSquares[1] = nullptr;
    table->sumSquares[2] = sumSquares<double>;
}

}  // namespace ST_ISA
}  // namespace subtext
