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
    static constexpr int64_t depth = 384;  // most k per block: a strip of a (12 x 384 f32) stays in the first-level cache
    static constexpr int64_t widest = sizeof(T) == 4 ? 256 : 128;
    static constexpr int64_t widestTn = widest * 3 / 2;     // of a^T each strip is packed once for so many columns
    static constexpr int64_t room = 768 * widest;           // of packed b, and for tn of c: a part of the second-level cache
    static constexpr int64_t stripStride = depth + 16;      // not a power of two, so that the rows of a strip meet different cache sets
    static constexpr int64_t group = 96 / kTileRows;        // strips of a^T packed together: whole lines of its rows are read
    static constexpr int64_t groupStride = kTileRows * depth + 16;
    static constexpr int64_t line = 64 / sizeof(T);
    static constexpr int64_t header = 64;
    static constexpr int64_t bBytes = room * sizeof(T);
    static constexpr int64_t aBytes = (group * groupStride > kTileRows * stripStride ? group * groupStride : kTileRows * stripStride) *
                                          sizeof(T) + 64 * sizeof(T);
};

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/// k per block: K in equal parts. Rows of a^T that are a multiple of 8 KiB apart meet few sets of the second-level cache, so fewer are
/// asked for at once.
template <class S>
int64_t depthOf(const MatmulPlan* plan) {
    const int64_t K = plan->K, pitch = plan->M * static_cast<int64_t>(sizeof(S));
    const int64_t deepest = plan->layout == tn && pitch % 8192 == 0 ? Blocking<real<S>>::depth / 2 : Blocking<real<S>>::depth;
    return K <= deepest ? most(K, 1) : ceilDiv(ceilDiv(K, ceilDiv(K, deepest)), 16) * 16;
}

/// Whether all of K of a task's columns of b is packed at once and kept from task to task.
template <class T>
bool keepsColumns(int64_t K, int64_t columns) {
    return K * (ceilDiv(columns, Blocking<T>::panel) * Blocking<T>::panel) <= Blocking<T>::room;
}

/// Cuts c into tasks: blocks large enough that packing is a few per cent of the work, and as many for one thread as for the other.
template <class S>
void matmulPlan(MatmulPlan* plan, int32_t threads) {
    typedef real<S> T;
    typedef Blocking<T> B;
    const int64_t M = plan->M, N = plan->N, K = plan->K;
    const auto columnsOf = [&](int64_t parts) { return ceilDiv(ceilDiv(N, parts), B::panel) * B::panel; };
    const auto rowsOf = [&](int64_t parts) { return ceilDiv(ceilDiv(M, parts), kTileRows) * kTileRows; };
    const auto even = [&](int64_t tasks) { return tasks % threads == 0 || tasks >= 16 * threads; };
    int64_t columns = least(columnsOf(1), B::widest), rows;
    if (plan->layout == tn) {
        int64_t across = ceilDiv(N, B::widestTn), down = ceilDiv(M * columnsOf(across), B::room);
        rows = rowsOf(down), columns = columnsOf(across);
        while (!even(ceilDiv(M, rows) * ceilDiv(N, columns)) && most(rows, columns) > 64) {
            if (rows > columns) rows = rowsOf(++down);
            else columns = columnsOf(++across);
        }
    } else {
        columns = columnsOf(ceilDiv(N, columns));
        const bool kept = keepsColumns<T>(K, columns);
        const int64_t wanted = threads > 1 ? 4 * threads : 1;
        if (threads > 1 && M <= 2048 && M >= 192) {  // each thread packs columns of its own, if they can be shared out evenly
            int64_t parts = ceilDiv(N, columns);
            const auto across = [&] { return ceilDiv(N, columnsOf(parts)); };
            while (columnsOf(parts) > 3 * B::panel && !(even(across()) && across() >= 2 * threads)) parts++;
            if (even(across())) columns = columnsOf(parts);
        }
        const int64_t across = ceilDiv(N, columns);
        const bool rests = plan->residual || sizeof(S) < sizeof(T);  // running values may be in scratch
        const int64_t tallest = rests ? 384 : kept ? 1024 : 2048;
        int64_t parts = ceilDiv(M, tallest);
        while (!even(across * parts) || across * parts < 2 * threads) {
            if (rowsOf(parts + 1) < 4 * kTileRows) break;
            parts++;
        }
        rows = rowsOf(parts);
        while (rows > 4 * kTileRows && ceilDiv(M, rows) * across < least(wanted, 2 * threads)) rows = rowsOf(++parts);
        while (columns > B::panel && ceilDiv(M, rows) * ceilDiv(N, columns) < least(wanted, 2 * threads)) {
            columns = ceilDiv(columns / 2, B::panel) * B::panel;
        }
    }
    plan->rows = rows;
    plan->columns = columns;
    plan->tasks = ceilDiv(M, rows) * ceilDiv(N, columns);
    plan->scratchBytes = B::header + B::bBytes + B::aBytes + rows * columns * static_cast<int64_t>(sizeof(T));
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

/// Rows first .. first + rows - 1 of a^T, k0 .. k0 + depth - 1, as strips [strip][k][kTileRows], Blocking::groupStride apart.
template <class S>
void packColumns(real<S>* to, const S* a, int64_t M, int64_t first, int64_t rows, int64_t k0, int64_t depth) {
    typedef real<S> T;
    constexpr int64_t L = V<T>::lanes;
    for (int64_t k = 0; k < depth; k++) {
        const S* row = a + (k0 + k) * M + first;
        T* strip = to + k * kTileRows;
        // k and i ascend: what a vector spills beyond its row is overwritten, and behind a strip there is room
        for (int64_t r = 0; r < rows; r += kTileRows, strip += Blocking<T>::groupStride) {
            for (int64_t i = r; i < r + kTileRows && first + i < M; i += L) store(strip + i - r, load(row + i, least(L, M - first - i)));
        }
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
void runStrip(T* c, int64_t ldc, int64_t rows, int64_t columns, int64_t depth, const T* a, int64_t lda, const T* packed, bool add,
              Around<T> around) {
    constexpr int64_t L = V<T>::lanes, P = Blocking<T>::panel;
    for (int64_t n = 0; n < columns; n += P, packed += P * depth) {
        if (columns - n >= P) {
            strip<T, kTileRows, kTileVectors, WALK, true>(c + n, ldc, rows, depth, a, lda, packed, P, L, add, around);
        } else {
            Around<T> here = around;
            for (int64_t j = 0; n + j < columns; j += L) {
                const int64_t last = columns - n - j;
                if (last >= L) strip<T, kTileRows, 1, WALK, true>(c + n + j, ldc, rows, depth, a, lda, packed + j, P, L, add, here);
                else strip<T, kTileRows, 1, WALK, false>(c + n + j, ldc, rows, depth, a, lda, packed + j, P, last, add, here);
                here.from += L;
                if (here.residual) here.residual += L;
            }
        }
        around.from += P;
        if (around.residual) around.residual += P;
    }
}

template <class S>
Ahead block(const S* first, int64_t rows, int64_t columns, int64_t pitch) {
    constexpr int64_t bytes = sizeof(S);
    return {reinterpret_cast<const char*>(first), rows, columns * bytes, pitch * bytes, 0};
}

struct Held {  // which block of b the thread's scratch holds; k0 = -1: all of K
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
    const int64_t downwards = ceilDiv(M, plan->rows), deep = depthOf<S>(plan);
    const bool oneBlock = K <= deep, transposed = plan->layout == tn, kept = !transposed && keepsColumns<T>(K, plan->columns);
    const bool real32 = sizeof(S) == sizeof(T) || plan->wide || transposed;  // c is T
    const bool direct = real32 && (!plan->residual || oneBlock || plan->residual != plan->c);  // running values rest in c
    // rows of a as they are, unless they are so far apart that they meet in few cache sets
    const int64_t pitch = K * static_cast<int64_t>(sizeof(T));
    const bool inPlace = sizeof(S) == sizeof(T) && (pitch <= 2048 || pitch % 2048 != 0);
    const int64_t groupRows = (transposed ? B::group : 1) * kTileRows;
    const S* a = static_cast<const S*>(plan->a);

    for (int64_t task = from; task < to; task++) {
        const int64_t n0 = task / downwards * plan->columns, columns = least(plan->columns, N - n0);
        const int64_t m0 = task % downwards * plan->rows, rows = least(plan->rows, M - m0);
        const int64_t padded = ceilDiv(columns, B::panel) * B::panel;
        if (kept && (held->serial != plan->serial || held->block != n0 || held->k0 != -1)) {
            for (int64_t k0 = 0; k0 < K; k0 += deep) packB<S>(packedB + k0 * padded, plan, n0, columns, k0, least(deep, K - k0));
            *held = {plan->serial, n0, -1};
        }
        for (int64_t k0 = 0; k0 < K || k0 == 0; k0 += deep) {
            const int64_t depth = least(deep, K - k0);
            const bool last = k0 + deep >= K, add = k0 > 0 || transposed;
            const T* b = kept ? packedB + k0 * padded : packedB;
            if (!kept && (held->serial != plan->serial || held->block != n0 || held->k0 != k0)) {
                packB<S>(packedB, plan, n0, columns, k0, depth);
                *held = {plan->serial, n0, k0};
            }
            // while this block is computed, the next one of b comes nearer
            Ahead far;
            if (!kept && !last && rows >= 4 * kTileRows) {
                const int64_t next = least(deep, K - k0 - depth);
                const S* at = static_cast<const S*>(plan->b);
                far = plan->layout == nt ? block(at + n0 * K + k0 + depth, columns, next, K) : block(at + (k0 + depth) * N + n0, next, columns, N);
            }
            for (int64_t g = 0; g < rows; g += groupRows) {
                const int64_t here = least(groupRows, rows - g), following = least(groupRows, rows - g - here), m = m0 + g + here;
                if (transposed) packColumns<S>(packedA, a, M, m0 + g, here, k0, depth);
                Ahead near;
                if (following > 0) {
                    // the last vector of a group has read the first line of the next
                    near = transposed ? block(a + k0 * M + m + B::line, depth, following, M) : block(a + m * K + k0, following, depth, K);
                } else if (transposed && !last) {  // the first group of the next block
                    near = block(a + (k0 + depth) * M + m0, least(deep, K - k0 - depth), least(groupRows, rows) + B::line, M);
                }
                for (int64_t i = g; i < g + here; i += kTileRows) {
                    const int64_t r = least(kTileRows, rows - i), at = (m0 + i) * N + n0;
                    T* resting = direct ? static_cast<T*>(plan->c) + at : rest + (oneBlock ? 0 : i * plan->columns);
                    const int64_t ldrest = direct ? N : plan->columns;
                    Around<T> around = {resting, ldrest, nullptr, &near, &far};
                    if (direct && last && plan->residual) around.residual = static_cast<const T*>(plan->residual) + at;
                    if (transposed) {
                        const T* packed = packedA + (i - g) / kTileRows * B::groupStride;
                        runStrip<T, AWalk::columns>(resting, ldrest, r, columns, depth, packed, kTileRows, b, add, around);
                    } else if (inPlace) {
                        const T* rowsOfA = reinterpret_cast<const T*>(a) + (m0 + i) * K + k0;
                        runStrip<T, AWalk::rows>(resting, ldrest, r, columns, depth, rowsOfA, K, b, add, around);
                    } else {
                        copyRows(packedA, B::stripStride, a + (m0 + i) * K + k0, K, r, depth);
                        runStrip<T, AWalk::rows>(resting, ldrest, r, columns, depth, packedA, B::stripStride, b, add, around);
                    }
                    if (last && !direct) {
                        if (real32) {
                            finish(static_cast<T*>(plan->c) + at, static_cast<const T*>(plan->residual) + at, N, resting, ldrest, r, columns);
                        } else {
                            const S* residual = plan->residual ? static_cast<const S*>(plan->residual) + at : nullptr;
                            finish(static_cast<S*>(plan->c) + at, residual, N, resting, ldrest, r, columns);
                        }
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
