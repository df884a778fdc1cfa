// Element by element: y = a + b, casts, y = silu(gate) * up and its backward. Bound by memory: add reads 2n and writes n.
#include "isa_op.h"
#include "vecmath.h"

namespace subtext {
namespace ST_ISA {
namespace {

template <class S>
void add(void* y, const void* a, const void* b, int64_t from, int64_t to) {
    S* out = static_cast<S*>(y) + from;
    const S* left = static_cast<const S*>(a) + from;
    const S* right = static_cast<const S*>(b) + from;
    eachVector<real<S>>(to - from, [&](int64_t i, int64_t n) { store(out + i, load(left + i, n) + load(right + i, n), n); });
}

template <class Y, class X>
void cast(void* y, const void* x, int64_t from, int64_t to) {
    Y* out = static_cast<Y*>(y) + from;
    const X* in = static_cast<const X*>(x) + from;
    if constexpr (sizeof(real<X>) == sizeof(real<Y>)) {
        eachVector<real<X>>(to - from, [&](int64_t i, int64_t n) { store(out + i, load(in + i, n), n); });
    } else {
        for (int64_t i = 0; i < to - from; i++) {
            if constexpr (sizeof(Y) == 2) {
                // through f32 rounded to odd, so that f64 to bf16 rounds once
                const double wide = in[i];
                float f = static_cast<float>(wide);
                uint32_t u;
                memcpy(&u, &f, 4);
                const double back = f;
                if ((back < wide || back > wide) && !(u & 1u)) {
                    const bool grow = (wide < 0 ? -wide : wide) > (back < 0 ? -back : back);
                    u = grow ? u + 1 : u - 1;
                    memcpy(&f, &u, 4);
                }
                out[i] = toBf16(f);
            } else {
                out[i] = static_cast<Y>(widen(in[i]));
            }
        }
    }
}

template <class S>
void swigluForward(void* y, const void* gateUp, int64_t from, int64_t to, int64_t F) {
    typedef real<S> T;
    for (int64_t row = from; row < to; row++) {
        S* out = static_cast<S*>(y) + row * F;
        const S* gate = static_cast<const S*>(gateUp) + row * 2 * F;
        const S* up = gate + F;
        eachVector<T>(F, [&](int64_t i, int64_t n) {
            const V<T> g = load(gate + i, n);
            store(out + i, g / (broadcast<T>(1) + exponential(-g)) * load(up + i, n), n);
        });
    }
}

/// With s = sigmoid(gate): d_up = dy gate s, d_gate = dy up s (1 + gate (1 - s)).
template <class S>
void swigluBackward(void* dGateUp, const void* dy, const void* gateUp, int64_t from, int64_t to, int64_t F) {
    typedef real<S> T;
    const V<T> one = broadcast<T>(1);
    for (int64_t row = from; row < to; row++) {
        const S* gate = static_cast<const S*>(gateUp) + row * 2 * F;
        const S* up = gate + F;
        const S* dOut = static_cast<const S*>(dy) + row * F;
        S* dGate = static_cast<S*>(dGateUp) + row * 2 * F;
        S* dUp = dGate + F;
        eachVector<T>(F, [&](int64_t i, int64_t n) {
            const V<T> g = load(gate + i, n), d = load(dOut + i, n), u = load(up + i, n);
            const V<T> s = one / (one + exponential(-g));
            store(dGate + i, d * u * s * fma(g, one - s, one), n);
            store(dUp + i, d * g * s, n);
        });
    }
}

}  // namespace

void enterElementwise(Kernels* table) {
    ST_SET(table->add, add);
    ST_SET(table->swigluForward, swigluForward);
    ST_SET(table->swigluBackward, swigluBackward);
    table->cast[0][0] = cast<float, float>;
    table->cast[0][1] = cast<float, bf16>;
    table->cast[0][2] = cast<float, double>;
    table->cast[1][0] = cast<bf16, float>;
    table->cast[1][1] = cast<bf16, bf16>;
    table->cast[1][2] = cast<bf16, double>;
    table->cast[2][0] = cast<double, float>;
    table->cast[2][1] = cast<double, bf16>;
    table->cast[2][2] = cast<double, double>;
}

}  // namespace ST_ISA
}  // namespace subtext
