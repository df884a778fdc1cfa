// RMSNorm: y = x rstd w with rstd = 1 / sqrt(mean(x^2) + eps).                                Zhang & Sennrich 2019, equation 4
// Backward, with g = w dy: dx += rstd (g - x rstd^2 mean(g x)), dw += sum over rows of dy x rstd.
// Forward reads NC and writes NC; backward reads 3NC and writes NC.
#include "isa_op.h"

namespace subtext {
namespace ST_ISA {
namespace {

template <class S>
void rmsnormForward(void* y, void* rstd, const void* x, const void* w, int64_t from, int64_t to, int64_t C, double eps) {
    typedef real<S> T;
    const S* scale = static_cast<const S*>(w);
    for (int64_t row = from; row < to; row++) {
        const S* in = static_cast<const S*>(x) + row * C;
        S* out = static_cast<S*>(y) + row * C;
        V<T> squares = zero<T>();
        eachVector<T>(C, [&](int64_t i, int64_t n) {
            const V<T> v = load(in + i, n);
            squares = fma(v, v, squares);
        });
        const T variance = sum(squares) / static_cast<T>(C) + static_cast<T>(eps);
        const T r = T(1) / (sizeof(T) == 4 ? static_cast<T>(__builtin_sqrtf(variance)) : static_cast<T>(__builtin_sqrt(variance)));
        if (rstd) static_cast<T*>(rstd)[row] = r;
        const V<T> rv = broadcast<T>(r);
        eachVector<T>(C, [&](int64_t i, int64_t n) { store(out + i, load(in + i, n) * rv * load(scale + i, n), n); });
    }
}

/// Rows from .. to-1 add into dx; their part of dw goes to `partial` (C), which a later pass adds up in the order of the blocks.
template <class S>
void rmsnormBackward(void* dx, void* partial, const void* dy, const void* x, const void* w, const void* rstd, int64_t from,
                     int64_t to, int64_t C) {
    typedef real<S> T;
    const S* scale = static_cast<const S*>(w);
    T* part = static_cast<T*>(partial);
    memset(part, 0, C * sizeof(T));
    for (int64_t row = from; row < to; row++) {
        const S* in = static_cast<const S*>(x) + row * C;
        const S* d = static_cast<const S*>(dy) + row * C;
        S* out = static_cast<S*>(dx) + row * C;
        const V<T> r = broadcast<T>(static_cast<const T*>(rstd)[row]);
        V<T> dot = zero<T>();
        eachVector<T>(C, [&](int64_t i, int64_t n) {
            const V<T> dv = load(d + i, n), xv = load(in + i, n);
            dot = fma(dv * load(scale + i, n), xv, dot);
            store(part + i, fma(dv, xv * r, load(part + i, n)), n);
        });
        const V<T> pull = r * r * broadcast<T>(sum(dot) / static_cast<T>(C));
        eachVector<T>(C, [&](int64_t i, int64_t n) {
            const V<T> g = load(d + i, n) * load(scale + i, n);
            store(out + i, fma(r, g - load(in + i, n) * pull, load(out + i, n)), n);
        });
    }
}

template <class S>
void rmsnormReduce(void* dw, const void* partial, int64_t blocks, int64_t from, int64_t to, int64_t C) {
    typedef real<S> T;
    T* out = static_cast<T*>(dw) + from;
    const T* part = static_cast<const T*>(partial) + from;
    eachVector<T>(to - from, [&](int64_t i, int64_t n) {
        V<T> total = zero<T>();
        for (int64_t b = 0; b < blocks; b++) total = total + load(part + b * C + i, n);
        store(out + i, load(out + i, n) + total, n);
    });
}

}  // namespace

void enterRmsnorm(Kernels* table) {
    ST_SET(table->rmsnormForward, rmsnormForward);
    ST_SET(table->rmsnormBackward, rmsnormBackward);
    ST_SET(table->rmsnormReduce, rmsnormReduce);
}

}  // namespace ST_ISA
}  // namespace subtext
