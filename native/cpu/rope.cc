// Rotary positions, in place: element i of a head is paired with i + D/2 and turned by position * frequency_i.
//   forward   (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin); backward turns the other way.            Su et al. 2021
// Reads and writes the rotated part of x once; the table row stays in cache over the heads.
#include "isa_op.h"

namespace subtext {
namespace ST_ISA {
namespace {

template <class S>
void rope(void* x, const int32_t* position, const void* table, int64_t from, int64_t to, int64_t heads, int64_t D, int64_t stride,
          int64_t context, int32_t direction) {
    typedef real<S> T;
    constexpr int64_t L = V<T>::lanes;
    const int64_t half = D / 2;
    for (int64_t row = from; row < to; row++) {
        if (position[row] < 0 || position[row] >= context) continue;  // nothing to turn by
        const T* pairs = static_cast<const T*>(table) + static_cast<int64_t>(position[row]) * D;
        S* base = static_cast<S*>(x) + row * stride;
        for (int64_t i = 0; i < half; i += L) {
            const int64_t n = half - i < L ? half - i : L;
            T cosines[L] = {}, sines[L] = {};
            for (int64_t j = 0; j < n; j++) {
                cosines[j] = pairs[2 * (i + j)];
                sines[j] = direction > 0 ? pairs[2 * (i + j) + 1] : -pairs[2 * (i + j) + 1];
            }
            const V<T> c = load(cosines), s = load(sines);
            for (int64_t h = 0; h < heads; h++) {
                S* first = base + h * D + i;
                S* second = first + half;
                const V<T> a = load(first, n), b = load(second, n);
                store(first, fma(a, c, -(b * s)), n);
                store(second, fma(b, c, a * s), n);
            }
        }
    }
}

}  // namespace

void enterRope(Kernels* table) { ST_SET(table->rope, rope); }

}  // namespace ST_ISA
}  // namespace subtext
