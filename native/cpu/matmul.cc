// Matrix products c = a b^T + residual, c = a b, c += a^T b on register tiles (tile.h).
//
// A task is a block of c. It packs its columns of b into panels as wide as a tile (transposing for nt, widening bf16), a block of
// k at a time, and runs down its rows in strips of kTileRows. Each element of c is one chain of fused multiply-adds over k in
// ascending order; between blocks of k the running value rests in c (or in f32 scratch, where c cannot hold it), so neither blocks,
// tasks nor threads change a bit.
// Work 2MNK; packing costs about 1/rows + 1/columns of it.
#include "isa_op.h"
#include "kernels.h"
#include "tile.h"

namespace subtext {
namespace ST_ISA {
namespace {

enum Layout { nt = 0, nn = 1, tn = 2 };

template <class T>
struct Blocking {
    static constexpr int64_t panel = kTileVectors * V<T>::lanes;
    static constexpr int64_t depth = 384;  // k per block: a strip of a (12 x 384 f32) stays in the first-level cache
    static constexpr int64_t widest = sizeof(T) == 4 ? 256 : 128;
    static constexpr int64_t stripStride = depth + 16;  // not a power of two, so that the rows of a strip meet different cache sets
    static constexpr int64_t header = 64;
    static constexpr int64_t bBytes = depth * widest * sizeof(T);
    static constexpr int64_t aBytes = (kTileRows * stripStride + 64) * sizeof(T);
};

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <class S>
void matmulPlan(MatmulPlan* plan, int32_t threads) {
    typedef real<S> T;
    typedef Blocking<T> B;
    const int64_t wanted = threads > 1 ? 4 * threads : 1;
    plan->columns = least(ceilDiv(plan->N, B::panel) * B::panel, B::widest);
    int64_t strips = 32;
    const auto tasks = [&] { return ceilDiv(plan->M, strips * kTileRows) * ceilDiv(plan->N, plan->columns); };
    while (strips > 4 && tasks() < wanted) strips /= 2;
    while (plan->columns > B::panel && tasks() < least(wanted, 2 * threads)) {
        plan->columns = ceilDiv(plan->columns / 2, B::panel) * B::panel;
    }
    plan->rows = strips * kTileRows;
    plan->tasks = tasks();
    plan->scratchBytes = B::header + B::bBytes + B::aBytes + plan->rows * plan->columns * static_cast<int64_t>(sizeof(T));
}

/// Columns first .. first + count - 1 of b, k0 .. k0 + depth - 1, as panels [panel][k][Blocking::panel].
template <class S>
void packB(real<S>* to, const MatmulPlan* plan, int64_t first, int64_t count, int64_t k0, int64_t depth) {
    typedef real<S> T;
    constexpr int64_t L = V<T>::lanes, P = Blocking<T>::panel;
    const S* b = static_cast<const S*>(plan->b);
    for (int64_t n = 0; n < count; n += P, to += P * depth) {
        if (plan->layout == nt) {
            for (int64_t j = 0; j < P && n + j < count; j += L) {
                transposeStrip(to + j, P, b + (first + n + j) * plan->K + k0, plan->K, least(L, count - n - j), depth);
            }
        } else {
            const int64_t width = least(P, count - n);
            copyRows(to, P, b + k0 * plan->N + first + n, plan->N, depth, width);
        }
    }
}

/// Rows first .. first + rows - 1 of a^T as [k][kTileRows].
template <class S>
void packColumns(real<S>* to, const S* a, int64_t lda, int64_t first, int64_t M, int64_t k0, int64_t depth) {
    typedef real<S> T;
    constexpr int64_t L = V<T>::lanes;
    for (int64_t k = 0; k < depth; k++) {
        const S* row = a + (k0 + k) * lda + first;
        // k and i ascend: what a vector spills beyond its row is overwritten
        for (int64_t i = 0; i < kTileRows && first + i < M; i += L) store(to + k * kTileRows + i, load(row + i, least(L, M - first - i)));
    }
}

/// c = acc + residual, rounded to the storage of c.
template <class C, class T>
void finish(C* c, const C* residual, int64_t ldc, const T* acc, int64_t ldacc, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i++) {
        eachVector<T>(columns, [&](int64_t j, int64_t n) {
            V<T> v = load(acc + i * ldacc + j, n);
            if (residual) v = v + load(residual + i * ldc + j, n);
            store(c + i * ldc + j, v, n);
        });
    }
}

template <class T, AWalk WALK>
void runStrip(T* c, int64_t ldc, int64_t rows, int64_t columns, int64_t depth, const T* a, int64_t lda, const T* packed, bool add) {
    constexpr int64_t L = V<T>::lanes, P = Blocking<T>::panel;
    for (int64_t n = 0; n < columns; n += P, packed += P * depth) {
        if (columns - n >= P) {
            strip<T, kTileRows, kTileVectors, WALK, true>(c + n, ldc, rows, depth, a, lda, packed, P, L, add);
        } else {
            for (int64_t j = 0; n + j < columns; j += L) {
                const int64_t last = columns - n - j;
                if (last >= L) strip<T, kTileRows, 1, WALK, true>(c + n + j, ldc, rows, depth, a, lda, packed + j, P, L, add);
                else strip<T, kTileRows, 1, WALK, false>(c + n + j, ldc, rows, depth, a, lda, packed + j, P, last, add);
            }
        }
    }
}

/// Asks for the lines of `rows` rows of `bytes` bytes: the next strip comes from far while this one is computed.
ST_INLINE void prefetchRows(const void* first, int64_t stride, int64_t rows, int64_t bytes) {
    for (int64_t i = 0; i < rows; i++) {
        const char* row = static_cast<const char*>(first) + i * stride;
        for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(row + b, 0, 2);
    }
}

struct Held {  // which block of b the thread's scratch holds
    int64_t serial, block, k0;
};

template <class S>
void matmul(const MatmulPlan* plan, int64_t from, int64_t to, void* scratch) {
    typedef real<S> T;
    typedef Blocking<T> B;
    Held* held = static_cast<Held*>(scratch);
    T* packedB = reinterpret_cast<T*>(static_cast<char*>(scratch) + B::header);
    T* packedA = reinterpret_cast<T*>(reinterpret_cast<char*>(packedB) + B::bBytes);
    T* rest = reinterpret_cast<T*>(reinterpret_cast<char*>(packedA) + B::aBytes);

    const int64_t M = plan->M, N = plan->N, K = plan->K;
    const int64_t downwards = ceilDiv(M, plan->rows);
    const bool oneBlock = K <= B::depth;
    const bool real32 = sizeof(S) == sizeof(T) || plan->wide || plan->layout == tn;  // c is T
    const bool direct = real32 && !plan->residual;
    const bool rowsFit = sizeof(S) == sizeof(T) && K * static_cast<int64_t>(sizeof(T)) <= 2048;
    const S* a = static_cast<const S*>(plan->a);

    for (int64_t task = from; task < to; task++) {
        const int64_t n0 = task / downwards * plan->columns, columns = least(plan->columns, N - n0);
        const int64_t m0 = task % downwards * plan->rows, rows = least(plan->rows, M - m0);
        for (int64_t k0 = 0; k0 < K || k0 == 0; k0 += B::depth) {
            const int64_t depth = least(B::depth, K - k0);
            const bool last = k0 + B::depth >= K;
            if (held->serial != plan->serial || held->block != n0 || held->k0 != k0) {
                packB<S>(packedB, plan, n0, columns, k0, depth);
                *held = {plan->serial, n0, k0};
            }
            for (int64_t i = 0; i < rows; i += kTileRows) {
                const int64_t r = least(kTileRows, rows - i);
                T* c = direct ? static_cast<T*>(plan->c) + (m0 + i) * N + n0 : rest + (oneBlock ? 0 : i * plan->columns);
                const int64_t ldc = direct ? N : plan->columns;
                const bool add = k0 > 0 || plan->layout == tn;
                const int64_t following = least(kTileRows, rows - i - r);
                if (plan->layout != tn) prefetchRows(a + (m0 + i + r) * K + k0, K * sizeof(S), following, depth * sizeof(S));
                if (add && direct) prefetchRows(c + r * ldc, ldc * sizeof(T), following, columns * sizeof(T));
                if (plan->layout == tn) {
                    packColumns<S>(packedA, a, M, m0 + i, M, k0, depth);
                    runStrip<T, AWalk::columns>(c, ldc, r, columns, depth, packedA, kTileRows, packedB, add);
                } else if (rowsFit) {
                    runStrip<T, AWalk::rows>(c, ldc, r, columns, depth, reinterpret_cast<const T*>(a) + (m0 + i) * K + k0, K,
                                             packedB, add);
                } else {
                    copyRows(packedA, B::stripStride, a + (m0 + i) * K + k0, K, r, depth);
                    runStrip<T, AWalk::rows>(c, ldc, r, columns, depth, packedA, B::stripStride, packedB, add);
                }
                if (last && !direct) {
                    const int64_t at = (m0 + i) * N + n0;
                    if (real32) {
                        finish(static_cast<T*>(plan->c) + at, static_cast<const T*>(plan->residual) + at, N, c, ldc, r, columns);
                    } else {
                        const S* residual = plan->residual ? static_cast<const S*>(plan->residual) + at : nullptr;
                        finish(static_cast<S*>(plan->c) + at, residual, N, c, ldc, r, columns);
                    }
                }
            }
        }
    }
}

}  // namespace

void enterMatmul(Kernels* table) {
    table->vectorRows = kTileRows;
    ST_SET(table->matmulPlan, matmulPlan);
    ST_SET(table->matmul, matmul);
}

}  // namespace ST_ISA
}  // namespace subtext
