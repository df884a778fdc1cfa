package subtext.model;

import subtext.bindings.AttentionShape;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.Kernels;
import subtext.bindings.Tensor;

/**
 * The attention half of a block: x + W_out · attention(rope(W_qkv · rmsnorm(x))). Forward and backward face each other; their steps are
 * numbered alike. The cached forward differs in where keys and values lie and in nothing else, to the bit.
 *
 * @see <a href="https://arxiv.org/abs/2305.13245">Ainslie et al. 2023</a> for grouped queries
 */
final class Attention {
    /** Norm (C), qkv ((H + 2 Hkv) D, C) and what a family has beside it, out (C, H D): weights, or their gradients. */
    record Weights(Tensor norm, QkvProjection.Weights qkv, Tensor out) {
        static Weights of(Parameters parameters, int layer) {
            String here = "layers." + layer + ".attention.";
            return new Weights(
                    parameters.tensor(here + "norm"),
                    QkvProjection.Weights.of(parameters, layer),
                    parameters.tensor(here + "out"));
        }
    }

    /**
     * What forward leaves for backward: x (N, C), rstd (N), normed (N, C), what the projection keeps, qkv (N, (H + 2 Hkv) D), mixed (N, H D),
     * lse (N, H).
     */
    record Saved(
            Tensor x, Tensor rstd, Tensor normed, QkvProjection.Saved heads, Tensor qkv, Tensor mixed, Tensor lse) {
        Saved rows(long n, LlamaConfig config) {
            return new Saved(
                    x.rows(0, n),
                    rstd.rows(0, n),
                    normed.rows(0, n),
                    heads.rows(n, config),
                    qkv.rows(0, n),
                    mixed.rows(0, n),
                    lse.rows(0, n));
        }
    }

    /** The activations of new rows behind a cache: normed (N, C), what the projection leaves, qkv, mixed. */
    record Rows(Tensor normed, QkvProjection.Saved heads, Tensor qkv, Tensor mixed) {}

    /** Room for backward: dNormed (N, C), dQkv (N, (H + 2 Hkv) D), dMixed (N, H D), and the kernels' own. */
    record Scratch(Tensor dNormed, Tensor dQkv, Tensor dMixed, Tensor attention, Tensor rmsnorm) {
        Scratch rows(long n) {
            return new Scratch(dNormed.rows(0, n), dQkv.rows(0, n), dMixed.rows(0, n), attention, rmsnorm);
        }
    }

    private final Kernels k;
    private final QkvProjection projection;
    private final AttentionShape shape;
    private final Tensor ropeTable;
    private final double eps;

    Attention(Device device, LlamaConfig config, Tensor ropeTable) {
        this.k = device.kernels();
        this.projection = new QkvProjection(device, config);
        this.shape = config.attentionShape();
        this.ropeTable = ropeTable;
        this.eps = config.normEps();
    }

    AttentionShape shape() {
        return shape;
    }

    /** y (N, C) from saved.x; position (N), cuSeqlens (S + 1) i32. */
    void forward(
            Tensor y, Weights w, Saved s, QkvProjection.Room room, Tensor position, Tensor cuSeqlens, long longest) {
        k.rmsnormForward(s.normed(), s.rstd(), s.x(), w.norm(), eps); // 1
        projection.forward(s.qkv(), w.qkv(), s.normed(), s.heads(), room); // 2
        k.rope(s.qkv(), position, ropeTable, rotated(), shape.headDim(), +1); // 3
        k.attentionForward(s.mixed(), s.lse(), s.qkv(), cuSeqlens, longest, shape); // 4
        k.matmulNT(y, s.mixed(), w.out(), s.x()); // 5
    }

    /** dx holds dL/dy on entry and dL/dx on return; dw is added to. */
    void backward(
            Tensor dx,
            Weights dw,
            Weights w,
            Saved s,
            Scratch t,
            QkvProjection.Room room,
            Tensor position,
            Tensor cuSeqlens,
            long longest) {
        k.matmulNN(t.dMixed(), dx, w.out()); // 5'
        k.matmulTN(dw.out(), dx, s.mixed());
        k.attentionBackward(
                t.dQkv(), t.dMixed(), s.mixed(), s.qkv(), s.lse(), cuSeqlens, t.attention(), longest, shape); // 4'
        k.rope(t.dQkv(), position, ropeTable, rotated(), shape.headDim(), -1); // 3'
        projection.backward(t.dNormed(), dw.qkv(), w.qkv(), t.dQkv(), s.normed(), s.heads(), room, t.rmsnorm()); // 2'
        // 1', adds: the residual branch (5') has already put its part into dx
        k.rmsnormBackward(dx, dw.norm(), t.dNormed(), s.x(), w.norm(), s.rstd(), t.rmsnorm());
    }

    /** The forward pass of new rows behind a cache, which takes their keys and values; y (N, C) may be x. */
    void forward(Tensor y, Weights w, Tensor x, Rows s, QkvProjection.Room room, KvCache.Layer cache, CachedRows rows) {
        store(w, x, s, room, cache, rows); // 1, 2, 3
        k.attentionCached(
                s.mixed(),
                s.qkv(),
                cache.k(),
                cache.v(),
                rows.cuSeqlens(),
                rows.slot(),
                rows.prefixSlot(),
                rows.prefixLength(),
                rows.start(),
                rows.longest(),
                shape); // 4
        k.matmulNT(y, s.mixed(), w.out(), x); // 5
    }

    /** Keys and values of new rows into the cache, no more: what a prefill needs of the last block. */
    void store(Weights w, Tensor x, Rows s, QkvProjection.Room room, KvCache.Layer cache, CachedRows rows) {
        k.rmsnormForward(s.normed(), null, x, w.norm(), eps); // 1
        projection.forward(s.qkv(), w.qkv(), s.normed(), s.heads(), room); // 2
        k.rope(s.qkv(), rows.position(), ropeTable, rotated(), shape.headDim(), +1); // 3
        k.cacheStore(cache.k(), cache.v(), s.qkv(), rows.rowSlot(), rows.position(), rows.rowOffset(), shape);
    }

    /** Bytes of scratch for norms that the projection's backward of so many rows takes. */
    long projectionScratchBytes(long rows, DType dtype) {
        return projection.scratchBytes(rows, dtype);
    }

    /** Queries and keys turn, values do not. */
    private long rotated() {
        return shape.heads() + shape.kvHeads();
    }
}
