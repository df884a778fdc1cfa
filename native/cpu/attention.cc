// Causal grouped-query attention, forward, backward and over a cache.      Vaswani et al. 2017; Ainslie et al. 2023; Dao et al. 2022
//
// The keys of a query are visited in blocks of 64 absolute positions with the online softmax. What a row computes:
//   score_j = scale * chain over d of q_d k_jd;   m' = max(m, block max);   p_j = exp(score_j - m')
//   l' = l exp(m - m') + sum p_j (16 lanes, then the tree);   o' = o exp(m - m') continued by the chain over j of p_j v_j
//   y = o (1 / l);   lse = m + log l
// None of it depends on which rows are computed together, nor on whether keys lie in qkv or in a cache: training, prefill, scoring
// and decoding agree bit for bit. Keys a row may not see are never multiplied, so they cannot hand it a NaN.
#include "isa_op.h"
#include "tile.h"
#include "vecmath.h"

namespace subtext {
namespace ST_ISA {
namespace {

constexpr int64_t kBlock = 64;  // keys per block, part of the definition of the result

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

template <class T>
int64_t padded(int64_t D) {
    return (D + V<T>::lanes - 1) / V<T>::lanes * V<T>::lanes;
}

/// A thread's scratch, cut into the blocks of one key block and one query block.
template <class T>
struct Desk {
    int64_t Dp;
    T *kT, *vT, *k, *v, *q, *dy, *score, *dp, *o, *m, *l, *dk, *dv;

    Desk(void* scratch, int64_t G, int64_t D) : Dp(padded<T>(D)) {
        T* p = static_cast<T*>(scratch);
        const auto take = [&](int64_t n) {
            T* at = p;
            p += (n + 15) / 16 * 16;
            return at;
        };
        kT = take(D * kBlock);
        vT = take(D * kBlock);
        k = take(kBlock * Dp);
        v = take(kBlock * Dp);
        q = take(kBlock * Dp);
        dy = take(kBlock * Dp);
        score = take(kBlock * kBlock);
        dp = take(kBlock * kBlock);
        o = take(G * kBlock * Dp);
        m = take(G * kBlock);
        l = take(G * kBlock);
        dk = take(kBlock * Dp);
        dv = take(kBlock * Dp);
    }
};

template <class S>
int64_t attentionScratchBytes(int64_t H, int64_t Hkv, int64_t D) {
    typedef real<S> T;
    const int64_t G = H / Hkv, Dp = padded<T>(D);
    return (2 * D * kBlock + 6 * kBlock * Dp + 2 * kBlock * kBlock + G * kBlock * (Dp + 2) + 16 * 16) *
           static_cast<int64_t>(sizeof(T));
}

/// Rows of T: those in memory if they can be used as they are, else a widened and padded copy.
template <class T>
struct Rows {
    const T* at;
    int64_t stride;
};

template <class S>
ST_INLINE Rows<real<S>> rowsOf(real<S>* buffer, int64_t Dp, const S* from, int64_t stride, int64_t rows, int64_t D) {
    if constexpr (sizeof(S) == sizeof(real<S>)) {
        if (D == Dp) return {from, stride};
    }
    copyRows(buffer, Dp, from, stride, rows, D);
    return {buffer, Dp};
}

/// Where keys (or values) of one sequence and head lie: positions below `border` behind `prefix`, the others behind `own`.
template <class S>
struct Source {
    const S* prefix;
    const S* own;
    int64_t border, stride;

    const S* at(int64_t position) const { return position < border ? prefix + position * stride : own + (position - border) * stride; }
};

/// kT[d][j] = key (first + j) for j < n; zeros up to a full vector.
template <class S>
ST_INLINE void transposeKeys(real<S>* kT, const Source<S>& keys, int64_t first, int64_t n, int64_t D) {
    typedef real<S> T;
    constexpr int64_t L = V<T>::lanes;
    for (int64_t j = 0; j < n; j += L) {
        const int64_t rows = least(L, n - j), p = first + j;
        if (p >= keys.border || p + rows <= keys.border) {
            transposeStrip(kT + j, kBlock, keys.at(p), keys.stride, rows, D);
        } else {
            for (int64_t i = 0; i < L; i++) {
                for (int64_t d = 0; d < D; d++) kT[d * kBlock + j + i] = i < rows ? widen(keys.at(p + i)[d]) : T(0);
            }
        }
    }
}

template <class S>
ST_INLINE Rows<real<S>> gatherRows(real<S>* buffer, int64_t Dp, const Source<S>& source, int64_t first, int64_t n, int64_t D) {
    if (first >= source.border || first + n <= source.border) return rowsOf(buffer, Dp, source.at(first), source.stride, n, D);
    const int64_t before = source.border - first;
    copyRows(buffer, Dp, source.at(first), source.stride, before, D);
    copyRows(buffer + before * Dp, Dp, source.own, source.stride, n - before, D);
    return {buffer, Dp};
}

/// One row of scores becomes p; m and l move on; returns the factor for what was summed before.
template <class T>
ST_INLINE T softmaxRow(T* score, int64_t low, int64_t limit, T scale, T* m, T* l) {
    constexpr int64_t L = V<T>::lanes;
    V<T> z[kBlock / L];
    const V<T> none = broadcast<T>(T(-INFINITY)), s = broadcast<T>(scale);
    V<T> top = none;
    const int64_t vectors = (limit + L - 1) / L;
    for (int64_t j = 0; j < vectors; j++) {
        z[j] = load(score + j * L) * s;
        if (low > j * L || limit < (j + 1) * L) z[j] = select(lanesBetween<T>(low - j * L, limit - j * L), z[j], none);
        top = greater(z[j], top);
    }
    const T blockTop = greatest(top);
    const T before = *m, now = before > blockTop ? before : blockTop;
    const V<T> nowV = broadcast<T>(now);
    V<T> total = zero<T>();
    for (int64_t j = 0; j < vectors; j++) {
        const V<T> p = exponential(z[j] - nowV);
        store(score + j * L, p);
        total = total + p;
    }
    *m = now;
    if (before == T(-INFINITY)) {  // nothing was summed before
        *l = sum(total);
        return T(1);
    }
    const T factor = before == now ? T(1) : exponential1<T>(before - now);
    *l = fusedMultiplyAdd(*l, factor, sum(total));
    return factor;
}

/// o += p v for R rows of which row i sees `shared + i` keys: the sums of a tile on the diagonal, in registers throughout.
template <class T, int R, int NV>
ST_INLINE void causalTile(T* o, int64_t ldo, const T* p, int64_t ldp, const T* v, int64_t ldv, int64_t shared) {
    typedef typename V<T>::N N;
    constexpr int L = V<T>::lanes, Q = kRegisters;
    N acc[R][NV * Q];
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            const V<T> x = load(o + i * ldo + j * L);
#pragma GCC unroll 4
            for (int q = 0; q < Q; q++) acc[i][j * Q + q] = x.r[q];
        }
    }
    const auto step = [&](const T* row, const T* weights, int first) __attribute__((always_inline)) {
        N x[NV * Q];
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            const V<T> y = load(row + j * L);
#pragma GCC unroll 4
            for (int q = 0; q < Q; q++) x[j * Q + q] = y.r[q];
        }
#pragma GCC unroll 16
        for (int i = 0; i < R; i++) {
            if (i < first) continue;
            const N w = broadcast<T>(weights[i * ldp]).r[0];
#pragma GCC unroll 16
            for (int j = 0; j < NV * Q; j++) acc[i][j] = nativeFma<T>(w, x[j], acc[i][j]);
        }
    };
    for (int64_t k = 0; k < shared; k++) step(v + k * ldv, p + k, 0);
#pragma GCC unroll 16
    for (int k = 0; k < R - 1; k++) step(v + (shared + k) * ldv, p + shared + k, k + 1);
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            V<T> x;
#pragma GCC unroll 4
            for (int q = 0; q < Q; q++) x.r[q] = acc[i][j * Q + q];
            store(o + i * ldo + j * L, x);
        }
    }
}
template <class T>
__attribute__((noinline)) void causalRows(T* o, int64_t Dp, const T* p, const T* v, int64_t ldv, int64_t shared) {
    constexpr int64_t L = V<T>::lanes;
    int64_t d = 0;
    for (; d + kTileVectors * L <= Dp; d += kTileVectors * L) {
        causalTile<T, kTileRows, kTileVectors>(o + d, Dp, p, kBlock, v + d, ldv, shared);
    }
    for (; d < Dp; d += L) causalTile<T, kTileRows, 1>(o + d, Dp, p, kBlock, v + d, ldv, shared);
}

template <class S>
void attentionForward(const AttentionPlan* plan, int64_t s, int64_t kv, int64_t first, int64_t rows, void* scratch) {
    typedef real<S> T;
    constexpr int64_t L = V<T>::lanes;
    const int64_t H = plan->H, Hkv = plan->Hkv, D = plan->D, G = H / Hkv, stride = (H + 2 * Hkv) * D;
    const Desk<T> desk(scratch, G, D);
    const int64_t Dp = desk.Dp, row0 = plan->cuSeqlens[s] + first;
    const S* qkv = static_cast<const S*>(plan->qkv);

    Source<S> keys, values;
    int64_t position0 = first;  // absolute position of the first row
    if (plan->k) {
        const int64_t page = plan->capacity * Hkv * D;
        const S* k = static_cast<const S*>(plan->k) + kv * D;
        const S* v = static_cast<const S*>(plan->v) + kv * D;
        const int64_t own = plan->slot[s] * page, border = plan->prefixLength[s], prefix = border > 0 ? plan->prefixSlot[s] * page : 0;
        keys = {k + prefix, k + own, border, Hkv * D};
        values = {v + prefix, v + own, border, Hkv * D};
        position0 += plan->start[s];
    } else {
        const S* base = qkv + plan->cuSeqlens[s] * stride;
        keys = {nullptr, base + (H + kv) * D, 0, stride};
        values = {nullptr, base + (H + Hkv + kv) * D, 0, stride};
    }

    // a single row works on its G heads together; more rows go head by head
    const int64_t units = rows == 1 ? 1 : G, unitRows = rows == 1 ? G : rows;
    const int64_t rowStride = rows == 1 ? D : stride, step = rows == 1 ? 0 : 1;
    for (int64_t i = 0; i < G * rows; i++) {
        desk.m[i] = T(-INFINITY);
        desk.l[i] = 0;
    }
    memset(desk.o, 0, G * rows * Dp * sizeof(T));

    const int64_t window = plan->window > 0 ? plan->window : INT64_MAX / 4;
    const int64_t lastPosition = position0 + rows - 1;
    const T scale = static_cast<T>(plan->scale);
    for (int64_t block = most(0, position0 - window + 1) / kBlock * kBlock; block <= lastPosition; block += kBlock) {
        const int64_t n = least(kBlock, lastPosition + 1 - block);
        transposeKeys(desk.kT, keys, block, n, D);
        const Rows<T> value = gatherRows(desk.v, Dp, values, block, n, D);
        int64_t begin = 0, end = unitRows;  // rows that see a key of this block
        if (step) {
            begin = most(0, block - position0);
            if (plan->window > 0) end = least(end, block + kBlock - 1 + window - position0);
        }
        for (int64_t unit = 0; unit < units; unit++) {
            const S* query = qkv + row0 * stride + (kv * G + unit) * D;
            for (int64_t r0 = begin; r0 < end; r0 += kTileRows) {
                const int64_t tileRows = least(kTileRows, end - r0);
                const auto limitOf = [&](int64_t r) { return least(kBlock, position0 + r * step + 1 - block); };
                const auto lowOf = [&](int64_t r) { return most(0, position0 + r * step - window + 1 - block); };
                const int64_t widest = limitOf(r0 + tileRows - 1), narrowest = limitOf(r0);
                const int64_t highest = least(lowOf(r0 + tileRows - 1), narrowest);  // first key that all rows of the tile see
                const Rows<T> q = rowsOf(desk.q, Dp, query + r0 * rowStride, rowStride, tileRows, D);
                product<T, AWalk::rows, true>(desk.score, kBlock, tileRows, (widest + L - 1) / L * L, D, q.at, q.stride, desk.kT, kBlock,
                                              false);
                T* o = desk.o + (unit * rows + r0) * Dp;
                for (int64_t i = 0; i < tileRows; i++) {
                    const int64_t state = unit * rows + r0 + i, low = lowOf(r0 + i);
                    const T factor = softmaxRow(desk.score + i * kBlock, low, limitOf(r0 + i), scale, desk.m + state, desk.l + state);
                    if (factor != T(1)) {
                        const V<T> f = broadcast<T>(factor);
                        for (int64_t d = 0; d < Dp; d += L) store(o + i * Dp + d, load(o + i * Dp + d) * f);
                    }
                    if (low < highest) {  // keys that only the first rows of the tile see: those with a window
                        product<T, AWalk::rows, true>(o + i * Dp, Dp, 1, Dp, highest - low, desk.score + i * kBlock + low, kBlock,
                                                      value.at + low * value.stride, value.stride, true);
                    }
                }
                if (tileRows == kTileRows && widest == narrowest + kTileRows - 1 && highest == 0) {
                    causalRows(o, Dp, desk.score, value.at, value.stride, narrowest);
                    continue;
                }
                product<T, AWalk::rows, true>(o, Dp, tileRows, Dp, narrowest - highest, desk.score + highest, kBlock,
                                              value.at + highest * value.stride, value.stride, true);
                for (int64_t i = 0; i < tileRows; i++) {
                    const int64_t from = most(narrowest, lowOf(r0 + i)), limit = limitOf(r0 + i);
                    if (from < limit) {
                        product<T, AWalk::rows, true>(o + i * Dp, Dp, 1, Dp, limit - from, desk.score + i * kBlock + from, kBlock,
                                                      value.at + from * value.stride, value.stride, true);
                    }
                }
            }
        }
    }

    for (int64_t i = 0; i < G * rows; i += L) {  // a full vector may be read and written: the desk is cut that way
        const V<T> l = load(desk.l + i);
        store(desk.m + i, load(desk.m + i) + logarithm(l));
        store(desk.l + i, broadcast<T>(1) / l);
    }
    for (int64_t g = 0; g < G; g++) {
        const int64_t head = kv * G + g;
        for (int64_t r = 0; r < rows; r++) {
            const int64_t state = g * rows + r;
            const V<T> inverse = broadcast<T>(desk.l[state]);
            S* y = static_cast<S*>(plan->y) + ((row0 + r) * H + head) * D;
            const T* o = desk.o + state * Dp;
            eachVector<T>(D, [&](int64_t d, int64_t lanes) { store(y + d, load(o + d) * inverse, lanes); });
            if (plan->lse) static_cast<T*>(plan->lse)[(row0 + r) * H + head] = desk.m[state];
        }
    }
}

/// Per key block: P = exp(scale q k - lse), dV += P^T dY, dP = dY V^T, dS = P (dP - delta) scale, dK += dS^T Q, dQ += dS K, with
/// delta = sum over d of dy y. Key blocks and query blocks ascend, so every sum has one order.             Dao et al. 2022, algorithm 4
template <class S>
void attentionBackward(const AttentionPlan* plan, int64_t s, int64_t kv, void* scratch) {
    typedef real<S> T;
    constexpr int64_t L = V<T>::lanes;
    const int64_t H = plan->H, Hkv = plan->Hkv, D = plan->D, G = H / Hkv, stride = (H + 2 * Hkv) * D;
    const Desk<T> desk(scratch, G, D);
    const int64_t Dp = desk.Dp, row0 = plan->cuSeqlens[s], length = plan->cuSeqlens[s + 1] - row0;
    const S* qkv = static_cast<const S*>(plan->qkv) + row0 * stride;
    const S* dy = static_cast<const S*>(plan->dy) + row0 * H * D;
    const S* y = static_cast<const S*>(plan->y) + row0 * H * D;
    const T* lse = static_cast<const T*>(plan->lse) + row0 * H;
    S* dqkv = static_cast<S*>(plan->dqkv) + row0 * stride;
    // dq is summed up where it is wanted, unless that is narrower than T
    constexpr bool direct = sizeof(S) == sizeof(T);
    const int64_t dqStride = direct ? stride : H * D;
    T* dq = direct ? reinterpret_cast<T*>(dqkv) : static_cast<T*>(plan->dq) + row0 * H * D;
    T* delta = static_cast<T*>(plan->delta) + row0 * H;
    const T scale = static_cast<T>(plan->scale);
    const int64_t window = plan->window > 0 ? plan->window : INT64_MAX / 4;

    for (int64_t r = 0; r < length; r++) {
        for (int64_t h = kv * G; h < (kv + 1) * G; h++) {
            const int64_t at = (r * H + h) * D;
            V<T> dot = zero<T>();
            eachVector<T>(D, [&](int64_t d, int64_t n) { dot = fma(load(dy + at + d, n), load(y + at + d, n), dot); });
            delta[r * H + h] = sum(dot);
            memset(dq + r * dqStride + h * D, 0, D * sizeof(T));
        }
    }
    const Source<S> keys = {nullptr, qkv + (H + kv) * D, 0, stride}, values = {nullptr, qkv + (H + Hkv + kv) * D, 0, stride};
    for (int64_t block = 0; block < length; block += kBlock) {
        const int64_t n = least(kBlock, length - block), nv = (n + L - 1) / L * L;
        transposeKeys(desk.kT, keys, block, n, D);
        transposeKeys(desk.vT, values, block, n, D);
        const Rows<T> key = gatherRows(desk.k, Dp, keys, block, n, D);
        memset(desk.dk, 0, n * Dp * sizeof(T));
        memset(desk.dv, 0, n * Dp * sizeof(T));
        for (int64_t h = kv * G; h < (kv + 1) * G; h++) {
            const int64_t end = least(length, block + kBlock - 1 + window);
            for (int64_t r0 = block; r0 < end; r0 += kBlock) {
                const int64_t rows = least(kBlock, end - r0);
                const Rows<T> q = rowsOf(desk.q, Dp, qkv + r0 * stride + h * D, stride, rows, D);
                const Rows<T> d = rowsOf(desk.dy, Dp, dy + (r0 * H + h) * D, H * D, rows, D);
                const bool diagonal = r0 == block;  // here row r sees keys 0 .. r alone, and tiles beyond it are left out
                for (int64_t r = 0; r < rows; r += kTileRows) {
                    const int64_t tileRows = least(kTileRows, rows - r);
                    const int64_t columns = diagonal ? least(nv, (r + tileRows + L - 1) / L * L) : nv;
                    product<T, AWalk::rows, true>(desk.score + r * kBlock, kBlock, tileRows, columns, D, q.at + r * q.stride, q.stride, desk.kT,
                                                  kBlock, false);
                    product<T, AWalk::rows, true>(desk.dp + r * kBlock, kBlock, tileRows, columns, D, d.at + r * d.stride, d.stride, desk.vT,
                                                  kBlock, false);
                }
                for (int64_t r = 0; r < rows; r++) {
                    const int64_t position = r0 + r;
                    const int64_t limit = least(n, position + 1 - block), low = most(0, position - window + 1 - block);
                    const V<T> l = broadcast<T>(lse[position * H + h]), del = broadcast<T>(delta[position * H + h]);
                    const V<T> sv = broadcast<T>(scale);
                    for (int64_t j = 0; j < nv; j += L) {
                        T* pAt = desk.score + r * kBlock + j;
                        T* dAt = desk.dp + r * kBlock + j;
                        if (low <= j && j + L <= limit) {
                            const V<T> p = exponential(load(pAt) * sv - l);
                            store(dAt, p * (load(dAt) - del) * sv);
                            store(pAt, p);
                            continue;
                        }
                        if (j >= limit || j + L <= low) {
                            store(pAt, zero<T>());
                            store(dAt, zero<T>());
                            continue;
                        }
                        const I<T> seen = lanesBetween<T>(low - j, limit - j);
                        const V<T> p = exponential(load(pAt) * sv - l);
                        const V<T> ds = p * (load(dAt) - del) * sv;
                        store(pAt, select(seen, p, zero<T>()));
                        store(dAt, select(seen, ds, zero<T>()));
                    }
                }
                for (int64_t j = 0; j < n; j += kTileRows) {
                    const int64_t keysHere = least(kTileRows, n - j), from = diagonal ? j : 0;  // rows before `from` do not see key j
                    product<T, AWalk::columns, true>(desk.dv + j * Dp, Dp, keysHere, Dp, rows - from, desk.score + from * kBlock + j, kBlock,
                                                     d.at + from * d.stride, d.stride, true);
                    product<T, AWalk::columns, true>(desk.dk + j * Dp, Dp, keysHere, Dp, rows - from, desk.dp + from * kBlock + j, kBlock,
                                                     q.at + from * q.stride, q.stride, true);
                }
                for (int64_t r = 0; r < rows; r += kTileRows) {
                    const int64_t tileRows = least(kTileRows, rows - r), seen = diagonal ? least(n, r + tileRows) : n;
                    product<T, AWalk::rows, false>(dq + (r0 + r) * dqStride + h * D, dqStride, tileRows, D, seen, desk.dp + r * kBlock, kBlock,
                                                   key.at, key.stride, true);
                }
            }
        }
        for (int64_t j = 0; j < n; j++) {
            S* dk = dqkv + (block + j) * stride + (H + kv) * D;
            S* dv = dqkv + (block + j) * stride + (H + Hkv + kv) * D;
            eachVector<T>(D, [&](int64_t d, int64_t lanes) {
                store(dk + d, load(desk.dk + j * Dp + d), lanes);
                store(dv + d, load(desk.dv + j * Dp + d), lanes);
            });
        }
    }
    for (int64_t r = 0; r < length && !direct; r++) {
        const T* from = dq + (r * H + kv * G) * D;
        S* to = dqkv + r * stride + kv * G * D;
        eachVector<T>(G * D, [&](int64_t d, int64_t lanes) { store(to + d, load(from + d, lanes), lanes); });
    }
}

template <class S>
void cacheStore(void* k, void* v, const void* qkv, const int32_t* slot, const int32_t* position, const int32_t* offset,
                int64_t from, int64_t to, int64_t H, int64_t Hkv, int64_t D, int64_t slots, int64_t capacity) {
    const int64_t width = Hkv * D;
    for (int64_t n = from; n < to; n++) {
        const int64_t index = static_cast<int64_t>(position[n]) - offset[n];
        if (slot[n] < 0 || slot[n] >= slots || index < 0 || index >= capacity) continue;
        const S* row = static_cast<const S*>(qkv) + n * (H + 2 * Hkv) * D + H * D;
        const int64_t at = (slot[n] * capacity + index) * width;
        memcpy(static_cast<void*>(static_cast<S*>(k) + at), row, width * sizeof(S));
        memcpy(static_cast<void*>(static_cast<S*>(v) + at), row + width, width * sizeof(S));
    }
}

}  // namespace

void enterAttention(Kernels* table) {
    ST_SET(table->attentionScratchBytes, attentionScratchBytes);
    ST_SET(table->attentionForward, attentionForward);
    ST_SET(table->attentionBackward, attentionBackward);
    ST_SET(table->cacheStore, cacheStore);
}

}  // namespace ST_ISA
}  // namespace subtext
