// The one row routine of log_prob, cross_entropy and sample: the greatest z and log of the sum of exp(z - greatest), z = logit / t.
// Elements are summed in lanes (element i in lane i % 16, or 8 in f64), then by the tree, so that the same row gives the same bits
// wherever it is used.
#ifndef SUBTEXT_CPU_ROWS_H
#define SUBTEXT_CPU_ROWS_H

#include "vecmath.h"

namespace subtext {
namespace ST_ISA {
namespace {

template <class T>
struct RowLaw {
    T top;     // greatest z
    T logSum;  // log of the sum of exp(z - top)
    /// log softmax at z
    T logProb(T z) const { return (z - top) - logSum; }
};

template <class T>
ST_INLINE RowLaw<T> rowLaw(const T* logits, int64_t n, T temperature) {
    const V<T> low = broadcast<T>(T(-INFINITY)), t = broadcast<T>(temperature);
    V<T> top = low;
    I<T> odd = bitsOf(zero<T>());  // lanes that met a NaN: max would drop it
    eachVector<T>(n, [&](int64_t i, int64_t lanes) {
        V<T> z = load(logits + i, lanes) / t;
        if (lanes < V<T>::lanes) z = select(lanesBetween<T>(0, lanes), z, low);
        for (int j = 0; j < kRegisters; j++) odd.r[j] |= z.r[j] != z.r[j];
        top = greater(z, top);
    });
    top = select(odd, broadcast<T>(T(NAN)), top);
    const T m = greatest(top);
    const V<T> mv = broadcast<T>(m);
    V<T> total = zero<T>();
    eachVector<T>(n, [&](int64_t i, int64_t lanes) {
        V<T> e = exponential(load(logits + i, lanes) / t - mv);
        if (lanes < V<T>::lanes) e = select(lanesBetween<T>(0, lanes), e, zero<T>());
        total = total + e;
    });
    return {m, logarithm1<T>(sum(total))};
}

}  // namespace
}  // namespace ST_ISA
}  // namespace subtext

#endif
