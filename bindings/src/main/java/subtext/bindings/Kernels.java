package subtext.bindings;

import static subtext.bindings.DType.F32;
import static subtext.bindings.DType.F64;
import static subtext.bindings.DType.I32;
import static subtext.bindings.DType.I64;

import java.lang.foreign.MemorySegment;
import subtext.bindings.ffi.SubtextH;
import subtext.bindings.ffi.Symbols;

/**
 * The operations of {@code native/include/subtext.h}, one method each, with sizes taken from the tensors' shapes and checked. A method
 * queues its work and returns; it throws {@link IllegalArgumentException} naming the argument where a type or shape disagrees, and
 * {@link EngineException.NativeCall} where the library reports a failure.
 *
 * <p>Sizes by letter: N rows (tokens), C width, F hidden, H query heads, Hkv key and value heads, D head size, V vocabulary, S sequences or
 * slots. A tensor of more than two dimensions serves as a matrix of {@code rows()} by {@code last()}. <i>dtype</i> is the type of activations
 * and weights; <i>real</i> is {@link DType#real}. Forward methods write their outputs; backward methods write input gradients and add into
 * parameter gradients; those with another habit say so. Scratch is any tensor of at least the bytes asked for; its content does not matter.
 */
public final class Kernels {
    /** Waits after every operation, so that an error of the device names the kernel that made it. */
    private static final boolean SYNCHRONOUS = "1".equals(System.getenv("SUBTEXT_SYNC"));

    private final Device device;
    private final Symbols symbols;
    private final MemorySegment handle;
    private boolean recording;
    /** cuBLASLt where it serves, else null. */
    private CublasLt vendor;

    private boolean vendorForward;

    Kernels(Device device, Symbols symbols, MemorySegment handle) {
        this.device = device;
        this.symbols = symbols;
        this.handle = handle;
    }

    void vendor(CublasLt library, boolean forward) {
        vendor = library;
        vendorForward = forward;
    }

    boolean vendorForward() {
        return vendorForward;
    }

    // ---- embedding
    // ---------------------------------------------------------------------------------------------------

    /**
     * {@code y[n] = w[token[n]]}.
     *
     * @param y (N, C) dtype, written
     * @param w (V, C) dtype
     * @param token (N) i32; outside [0, V) gives a row of zeros
     */
    public void embeddingForward(Tensor y, Tensor w, Tensor token) {
        long N = size(token), C = w.shape().last(), V = w.shape().rows();
        DType dtype = activation("w", w);
        matrix("y", y, dtype, N, C);
        vector("token", token, I32, N);
        check(
                "st_embedding_forward",
                SubtextH.st_embedding_forward(
                        symbols, handle, y.address(), w.address(), token.address(), N, C, V, dtype.code()));
    }

    /**
     * {@code dw[token[n]] += dy[n]}.
     *
     * @param dw (V, C) real, added into
     * @param dy (N, C) dtype
     * @param token (N) i32; outside [0, V) adds nothing
     * @param order (N) i32: the row numbers stably sorted by token, so that every sum has one order
     */
    public void embeddingBackward(Tensor dw, Tensor dy, Tensor token, Tensor order) {
        long N = size(token), C = dw.shape().last(), V = dw.shape().rows();
        DType dtype = activation("dy", dy);
        matrix("dw", dw, dtype.real(), V, C);
        matrix("dy", dy, dtype, N, C);
        vector("token", token, I32, N);
        vector("order", order, I32, N);
        check(
                "st_embedding_backward",
                SubtextH.st_embedding_backward(
                        symbols,
                        handle,
                        dw.address(),
                        dy.address(),
                        token.address(),
                        order.address(),
                        N,
                        C,
                        V,
                        dtype.code()));
    }

    /**
     * {@code y[m] = x[row[m]]}.
     *
     * @param y (M, C) dtype, written
     * @param x (N, C) dtype
     * @param row (M) i32 in [0, N), not checked
     */
    public void gatherRows(Tensor y, Tensor x, Tensor row) {
        long M = size(row), C = x.shape().last();
        DType dtype = activation("x", x);
        matrix("y", y, dtype, M, C);
        vector("row", row, I32, M);
        check(
                "st_gather_rows",
                SubtextH.st_gather_rows(symbols, handle, y.address(), x.address(), row.address(), M, C, dtype.code()));
    }

    // ---- normalisation
    // -----------------------------------------------------------------------------------------------

    /**
     * {@code y = x / sqrt(mean(x^2) + eps) * w}. Zhang &amp; Sennrich 2019, equation 4.
     *
     * @param y (N, C) dtype, written
     * @param rstd (N) real, {@code 1 / sqrt(mean(x^2) + eps)}, written, kept for backward; or null
     * @param x (N, C) dtype
     * @param w (C) dtype
     * @param eps what keeps the root from 0, such as 1e-5
     */
    public void rmsnormForward(Tensor y, Tensor rstd, Tensor x, Tensor w, double eps) {
        long N = x.shape().rows(), C = x.shape().last();
        DType dtype = activation("x", x);
        matrix("y", y, dtype, N, C);
        if (rstd != null) {
            vector("rstd", rstd, dtype.real(), N);
        }
        vector("w", w, dtype, C);
        check(
                "st_rmsnorm_forward",
                SubtextH.st_rmsnorm_forward(
                        symbols,
                        handle,
                        y.address(),
                        address(rstd),
                        x.address(),
                        w.address(),
                        N,
                        C,
                        eps,
                        dtype.code()));
    }

    /**
     * How much scratch {@link #rmsnormBackward} needs.
     *
     * @param N rows
     * @param C width
     * @param dtype type of the activations
     * @return the bytes
     */
    public long rmsnormBackwardScratchBytes(long N, long C, DType dtype) {
        return SubtextH.st_rmsnorm_backward_scratch_bytes(symbols, handle, N, C, dtype.code());
    }

    /**
     * Adds into dx (the residual branch has put its part there before) and into dw.
     *
     * @param dx (N, C) dtype, added into
     * @param dw (C) real, added into
     * @param dy (N, C) dtype
     * @param x (N, C) dtype, as it went into forward
     * @param w (C) dtype
     * @param rstd (N) real, of forward
     * @param scratch of {@link #rmsnormBackwardScratchBytes}
     */
    public void rmsnormBackward(Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd, Tensor scratch) {
        long N = x.shape().rows(), C = x.shape().last();
        DType dtype = activation("x", x);
        matrix("dx", dx, dtype, N, C);
        vector("dw", dw, dtype.real(), C);
        matrix("dy", dy, dtype, N, C);
        vector("w", w, dtype, C);
        vector("rstd", rstd, dtype.real(), N);
        scratch(scratch, rmsnormBackwardScratchBytes(N, C, dtype));
        check(
                "st_rmsnorm_backward",
                SubtextH.st_rmsnorm_backward(
                        symbols,
                        handle,
                        dx.address(),
                        dw.address(),
                        dy.address(),
                        x.address(),
                        w.address(),
                        rstd.address(),
                        scratch.address(),
                        N,
                        C,
                        dtype.code()));
    }

    // ---- matrix products
    // ---------------------------------------------------------------------------------------------

    /**
     * {@code c = a b^T}: {@link #matmulNT(Tensor, Tensor, Tensor, Tensor)} without residual.
     *
     * @param c (M, N) dtype, or real for logits; written
     * @param a (M, K) dtype
     * @param b (N, K) dtype
     */
    public void matmulNT(Tensor c, Tensor a, Tensor b) {
        matmulNT(c, a, b, null);
    }

    /**
     * {@code c = a b^T + residual}. Every element is one fixed chain over k, whatever M is, but for {@link Matmul#VENDOR}.
     *
     * @param c (M, N) dtype, or real for logits; written
     * @param a (M, K) dtype
     * @param b (N, K) dtype
     * @param residual of c's type and shape, or null, or c itself; added last, before rounding
     */
    public void matmulNT(Tensor c, Tensor a, Tensor b, Tensor residual) {
        long M = a.shape().rows(), K = a.shape().last(), N = b.shape().rows();
        DType dtype = activation("a", a);
        matrix("b", b, dtype, N, K);
        if (c.dtype() != dtype && c.dtype() != dtype.real()) {
            throw c.disagreement("c", dtype + " or " + dtype.real() + " " + Shape.of(M, N));
        }
        matrix("c", c, c.dtype(), M, N);
        if (residual != null) {
            matrix("residual", residual, c.dtype(), M, N);
        }
        if (vendorForward && vendor.serves(M, N, K, dtype)) {
            vendor.nt(c, a, b, residual, M, N, K);
            return;
        }
        check(
                "st_matmul_nt",
                SubtextH.st_matmul_nt(
                        symbols,
                        handle,
                        c.address(),
                        a.address(),
                        b.address(),
                        address(residual),
                        M,
                        N,
                        K,
                        dtype.code(),
                        c.dtype().code()));
    }

    /**
     * {@code c = a b}, for input gradients.
     *
     * @param c (M, N) dtype, written
     * @param a (M, K) dtype
     * @param b (K, N) dtype
     */
    public void matmulNN(Tensor c, Tensor a, Tensor b) {
        long M = a.shape().rows(), K = a.shape().last(), N = b.shape().last();
        DType dtype = activation("a", a);
        matrix("b", b, dtype, K, N);
        matrix("c", c, dtype, M, N);
        if (vendor != null && vendor.serves(M, N, K, dtype)) {
            vendor.nn(c, a, b, M, N, K);
            return;
        }
        check(
                "st_matmul_nn",
                SubtextH.st_matmul_nn(symbols, handle, c.address(), a.address(), b.address(), M, N, K, dtype.code()));
    }

    /**
     * {@code c += a^T b}, for weight gradients: adds.
     *
     * @param c (M, N) real, added into
     * @param a (K, M) dtype
     * @param b (K, N) dtype
     */
    public void matmulTN(Tensor c, Tensor a, Tensor b) {
        long K = a.shape().rows(), M = a.shape().last(), N = b.shape().last();
        DType dtype = activation("a", a);
        matrix("b", b, dtype, K, N);
        matrix("c", c, dtype.real(), M, N);
        if (vendor != null && vendor.serves(M, N, K, dtype)) {
            vendor.tn(c, a, b, M, N, K);
            return;
        }
        check(
                "st_matmul_tn",
                SubtextH.st_matmul_tn(symbols, handle, c.address(), a.address(), b.address(), M, N, K, dtype.code()));
    }

    // ---- positions
    // ---------------------------------------------------------------------------------------------------

    /**
     * Rotates, in place, the first {@code heads} heads of every row by its position, element i paired with i + D/2. Su et al. 2021.
     *
     * @param x (N, stride) dtype, a row holding heads of size D one after another
     * @param position (N) i32 in [0, context)
     * @param table (context, D/2, 2) real: cos, sin
     * @param heads how many heads of a row are rotated: H + Hkv of a row of queries, keys and values
     * @param headDim head size D, even
     * @param direction +1 forward, -1 the transpose, which is the backward
     */
    public void rope(Tensor x, Tensor position, Tensor table, long heads, long headDim, int direction) {
        long N = x.shape().rows(), stride = x.shape().last(), D = headDim;
        DType dtype = activation("x", x);
        if (heads * D > stride) {
            throw x.disagreement("x", "rows of at least " + heads + " heads of " + D);
        }
        if (direction != 1 && direction != -1) {
            throw new IllegalArgumentException("direction: expected 1 or -1, got " + direction);
        }
        vector("position", position, I32, N);
        long context = table.shape().rank() == 3 ? table.shape().d0() : 0;
        table.require("table", dtype.real(), Shape.of(context, D / 2, 2));
        check(
                "st_rope",
                SubtextH.st_rope(
                        symbols,
                        handle,
                        x.address(),
                        position.address(),
                        table.address(),
                        N,
                        heads,
                        D,
                        stride,
                        context,
                        direction,
                        dtype.code()));
    }

    // ---- attention
    // ---------------------------------------------------------------------------------------------------

    /**
     * Causal grouped-query attention over packed sequences; sequence s owns the rows from cuSeqlens[s] to cuSeqlens[s+1] - 1.
     * Vaswani et al. 2017; Ainslie et al. 2023.
     *
     * @param y (N, H D) dtype, written
     * @param lse (N, H) real, log-sum-exp of the scaled scores, kept for backward, or null
     * @param qkv (N, (H + 2 Hkv) D) dtype: query, key, value heads
     * @param cuSeqlens (S + 1) i32, the last being N
     * @param longest an upper bound of the rows of a sequence
     * @param shape H, Hkv, D, the factor of the scores and the window
     */
    public void attentionForward(
            Tensor y, Tensor lse, Tensor qkv, Tensor cuSeqlens, long longest, AttentionShape shape) {
        long N = qkv.shape().rows(), S = sequences(cuSeqlens);
        DType dtype = activation("qkv", qkv);
        matrix("qkv", qkv, dtype, N, shape.qkvWidth());
        matrix("y", y, dtype, N, shape.width());
        if (lse != null) {
            matrix("lse", lse, dtype.real(), N, shape.heads());
        }
        check(
                "st_attention_forward",
                SubtextH.st_attention_forward(
                        symbols,
                        handle,
                        y.address(),
                        address(lse),
                        qkv.address(),
                        cuSeqlens.address(),
                        S,
                        longest,
                        N,
                        shape.heads(),
                        shape.kvHeads(),
                        shape.headDim(),
                        shape.scale(),
                        shape.window(),
                        dtype.code()));
    }

    /**
     * How much scratch {@link #attentionBackward} needs.
     *
     * @param S sequences
     * @param longest an upper bound of the rows of a sequence
     * @param N rows of all sequences
     * @param shape as for the pass itself
     * @param dtype type of the activations
     * @return the bytes
     */
    public long attentionBackwardScratchBytes(long S, long longest, long N, AttentionShape shape, DType dtype) {
        return SubtextH.st_attention_backward_scratch_bytes(
                symbols, handle, S, longest, N, shape.heads(), shape.kvHeads(), shape.headDim(), dtype.code());
    }

    /**
     * The gradient of {@link #attentionForward}. Writes dqkv.
     *
     * @param dqkv (N, (H + 2 Hkv) D) dtype, written
     * @param dy (N, H D) dtype
     * @param y (N, H D) dtype, what forward wrote
     * @param qkv (N, (H + 2 Hkv) D) dtype, as it went into forward
     * @param lse (N, H) real, of forward
     * @param cuSeqlens (S + 1) i32, as in forward
     * @param scratch of {@link #attentionBackwardScratchBytes}
     * @param longest an upper bound of the rows of a sequence
     * @param shape as in forward
     */
    public void attentionBackward(
            Tensor dqkv,
            Tensor dy,
            Tensor y,
            Tensor qkv,
            Tensor lse,
            Tensor cuSeqlens,
            Tensor scratch,
            long longest,
            AttentionShape shape) {
        long N = qkv.shape().rows(), S = sequences(cuSeqlens);
        DType dtype = activation("qkv", qkv);
        matrix("qkv", qkv, dtype, N, shape.qkvWidth());
        matrix("dqkv", dqkv, dtype, N, shape.qkvWidth());
        matrix("dy", dy, dtype, N, shape.width());
        matrix("y", y, dtype, N, shape.width());
        matrix("lse", lse, dtype.real(), N, shape.heads());
        scratch(scratch, attentionBackwardScratchBytes(S, longest, N, shape, dtype));
        check(
                "st_attention_backward",
                SubtextH.st_attention_backward(
                        symbols,
                        handle,
                        dqkv.address(),
                        dy.address(),
                        y.address(),
                        qkv.address(),
                        lse.address(),
                        cuSeqlens.address(),
                        scratch.address(),
                        S,
                        longest,
                        N,
                        shape.heads(),
                        shape.kvHeads(),
                        shape.headDim(),
                        shape.scale(),
                        shape.window(),
                        dtype.code()));
    }

    /**
     * Stores the keys and values of N rows: row n goes to slot[n] at index position[n] - offset[n]; rows with slot[n] &lt; 0 are skipped.
     *
     * @param k (slots, capacity, Hkv, D) dtype, written at the places named
     * @param v like k, for the values
     * @param qkv (N, (H + 2 Hkv) D) dtype, its queries and keys already rotated; keys and values are read
     * @param slot (N) i32: which slot a row goes to
     * @param position (N) i32: the row's place in its sequence
     * @param offset (N) i32: the position that stands first in the slot, 0 where the slot holds the whole sequence
     * @param shape H, Hkv and D; its scale and window do not matter
     */
    public void cacheStore(
            Tensor k, Tensor v, Tensor qkv, Tensor slot, Tensor position, Tensor offset, AttentionShape shape) {
        long N = qkv.shape().rows();
        DType dtype = activation("qkv", qkv);
        cache(k, v, dtype, shape);
        matrix("qkv", qkv, dtype, N, shape.qkvWidth());
        vector("slot", slot, I32, N);
        vector("position", position, I32, N);
        vector("offset", offset, I32, N);
        check(
                "st_cache_store",
                SubtextH.st_cache_store(
                        symbols,
                        handle,
                        k.address(),
                        v.address(),
                        qkv.address(),
                        slot.address(),
                        position.address(),
                        offset.address(),
                        N,
                        shape.heads(),
                        shape.kvHeads(),
                        shape.headDim(),
                        k.shape().d0(),
                        k.shape().d1(),
                        dtype.code()));
    }

    /**
     * Attention of new rows over the cache, after {@link #cacheStore} of the same rows, with the very bits of {@link #attentionForward}. The
     * rows of sequence s stand at start[s], start[s] + 1, ...; its position p lies in slot prefixSlot[s] at index p where
     * p &lt; prefixLength[s], else in slot[s] at index p - prefixLength[s]. A sequence with slot[s] &lt; 0 gets zeros.
     *
     * @param y (N, H D) dtype, written
     * @param qkv (N, (H + 2 Hkv) D) dtype, of which the queries are read
     * @param k (slots, capacity, Hkv, D) dtype
     * @param v like k, for the values
     * @param cuSeqlens (S + 1) i32: where the new rows of each sequence begin, the last being N
     * @param slot (S) i32: where a sequence's own keys and values lie
     * @param prefixSlot (S) i32: where those of a prefix lie, which sequences may share
     * @param prefixLength (S) i32: how many positions of the prefix slot count; 0 for no prefix
     * @param start (S) i32: the position of the first new row
     * @param longest the most rows any sequence has here
     * @param shape H, Hkv, D, the factor of the scores and the window
     */
    public void attentionCached(
            Tensor y,
            Tensor qkv,
            Tensor k,
            Tensor v,
            Tensor cuSeqlens,
            Tensor slot,
            Tensor prefixSlot,
            Tensor prefixLength,
            Tensor start,
            long longest,
            AttentionShape shape) {
        long N = qkv.shape().rows(), S = sequences(cuSeqlens);
        DType dtype = activation("qkv", qkv);
        cache(k, v, dtype, shape);
        matrix("qkv", qkv, dtype, N, shape.qkvWidth());
        matrix("y", y, dtype, N, shape.width());
        vector("slot", slot, I32, S);
        vector("prefixSlot", prefixSlot, I32, S);
        vector("prefixLength", prefixLength, I32, S);
        vector("start", start, I32, S);
        check(
                "st_attention_cached",
                SubtextH.st_attention_cached(
                        symbols,
                        handle,
                        y.address(),
                        qkv.address(),
                        k.address(),
                        v.address(),
                        cuSeqlens.address(),
                        slot.address(),
                        prefixSlot.address(),
                        prefixLength.address(),
                        start.address(),
                        S,
                        longest,
                        N,
                        shape.heads(),
                        shape.kvHeads(),
                        shape.headDim(),
                        k.shape().d0(),
                        k.shape().d1(),
                        shape.scale(),
                        shape.window(),
                        dtype.code()));
    }

    // ---- feed-forward
    // ------------------------------------------------------------------------------------------------

    /**
     * {@code y = silu(gate) * up}. Shazeer 2020.
     *
     * @param y (N, F) dtype, written
     * @param gateUp (N, 2 F) dtype: gate, then up
     */
    public void swigluForward(Tensor y, Tensor gateUp) {
        long N = y.shape().rows(), F = y.shape().last();
        DType dtype = activation("y", y);
        matrix("gateUp", gateUp, dtype, N, 2 * F);
        check(
                "st_swiglu_forward",
                SubtextH.st_swiglu_forward(symbols, handle, y.address(), gateUp.address(), N, F, dtype.code()));
    }

    /**
     * The gradient of {@link #swigluForward}.
     *
     * @param dGateUp (N, 2 F) dtype, written
     * @param dy (N, F) dtype
     * @param gateUp (N, 2 F) dtype, as it went into forward
     */
    public void swigluBackward(Tensor dGateUp, Tensor dy, Tensor gateUp) {
        long N = dy.shape().rows(), F = dy.shape().last();
        DType dtype = activation("dy", dy);
        matrix("dGateUp", dGateUp, dtype, N, 2 * F);
        matrix("gateUp", gateUp, dtype, N, 2 * F);
        check(
                "st_swiglu_backward",
                SubtextH.st_swiglu_backward(
                        symbols, handle, dGateUp.address(), dy.address(), gateUp.address(), N, F, dtype.code()));
    }

    /**
     * {@code y = a + b}. All of one dtype and size.
     *
     * @param y of any shape, written; may be a or b
     * @param a of y's dtype and size
     * @param b of y's dtype and size
     */
    public void add(Tensor y, Tensor a, Tensor b) {
        long n = size(y);
        DType dtype = activation("y", y);
        vector("a", a, dtype, n);
        vector("b", b, dtype, n);
        check("st_add", SubtextH.st_add(symbols, handle, y.address(), a.address(), b.address(), n, dtype.code()));
    }

    // ---- head
    // --------------------------------------------------------------------------------------------------------

    /**
     * {@code logProb[n] = log softmax(logits[n])[token[n]]}.
     *
     * @param logProb (N) real, written, in nats
     * @param logits (N, stride) real
     * @param token (N) i32: outside [0, vocabulary) gives 0
     * @param vocabulary how many columns of the logits count, from the first
     */
    public void logProb(Tensor logProb, Tensor logits, Tensor token, long vocabulary) {
        long N = size(token), stride = logits.shape().last();
        DType dtype = logits("logits", logits, N, vocabulary);
        vector("logProb", logProb, dtype, N);
        vector("token", token, I32, N);
        check(
                "st_log_prob",
                SubtextH.st_log_prob(
                        symbols,
                        handle,
                        logProb.address(),
                        logits.address(),
                        token.address(),
                        N,
                        vocabulary,
                        stride,
                        dtype.code()));
    }

    /**
     * {@code loss[n] = -log softmax(logits[n])[target[n]]} and
     * {@code dlogits[n] = weight[n] * (softmax(logits[n]) - onehot(target[n]))}.
     *
     * @param loss (N) real, written, in nats, not weighted
     * @param dlogits (N, stride) dtype, or null; with dtype real it may be logits itself; padding columns are written as 0
     * @param logits (N, stride) real
     * @param target (N) i32; outside [0, vocabulary): loss 0 and dlogits 0
     * @param weight (N) real
     * @param vocabulary how many columns of the logits count, from the first; the others are padding
     */
    public void crossEntropy(
            Tensor loss, Tensor dlogits, Tensor logits, Tensor target, Tensor weight, long vocabulary) {
        long N = size(target), stride = logits.shape().last();
        DType real = logits("logits", logits, N, vocabulary);
        DType dtype = dlogits == null ? real : activation("dlogits", dlogits);
        if (dtype.real() != real) {
            throw dlogits.disagreement("dlogits", "a type whose real is " + real);
        }
        vector("loss", loss, real, N);
        if (dlogits != null) {
            matrix("dlogits", dlogits, dtype, N, stride);
        }
        vector("target", target, I32, N);
        vector("weight", weight, real, N);
        check(
                "st_cross_entropy",
                SubtextH.st_cross_entropy(
                        symbols,
                        handle,
                        loss.address(),
                        address(dlogits),
                        logits.address(),
                        target.address(),
                        weight.address(),
                        N,
                        vocabulary,
                        stride,
                        dtype.code()));
    }

    /**
     * How much scratch {@link #sample} needs.
     *
     * @param N rows
     * @param V vocabulary
     * @return the bytes
     */
    public long sampleScratchBytes(long N, long V) {
        return SubtextH.st_sample_scratch_bytes(symbols, handle, N, V);
    }

    /**
     * Draws one token a row by the Gumbel-max trick: arg max of logit / temperature + Gumbel noise. Maddison et al. 2014.
     *
     * @param token (N) i32, written
     * @param logProb (N) real, written: natural log of the probability of the token under the very law drawn from
     * @param logits (N, stride) real
     * @param key (N) i64, the random key of each row
     * @param position (N) i32, counted into the noise, so a replayed step draws afresh
     * @param scratch of {@link #sampleScratchBytes}
     * @param vocabulary how many columns of the logits count, from the first
     * @param temperature 0 takes the most likely token, lowest id first, and gives its logProb at temperature 1
     * @param topK keeps the k most likely tokens; 0 keeps all
     * @param topP then keeps the smallest set of most likely tokens that reaches this probability; 1 keeps all
     */
    public void sample(
            Tensor token,
            Tensor logProb,
            Tensor logits,
            Tensor key,
            Tensor position,
            Tensor scratch,
            long vocabulary,
            double temperature,
            long topK,
            double topP) {
        long N = size(token), stride = logits.shape().last();
        DType dtype = logits("logits", logits, N, vocabulary);
        vector("token", token, I32, N);
        vector("logProb", logProb, dtype, N);
        vector("key", key, I64, N);
        vector("position", position, I32, N);
        scratch(scratch, sampleScratchBytes(N, vocabulary));
        check(
                "st_sample",
                SubtextH.st_sample(
                        symbols,
                        handle,
                        token.address(),
                        logProb.address(),
                        logits.address(),
                        key.address(),
                        position.address(),
                        scratch.address(),
                        N,
                        vocabulary,
                        stride,
                        temperature,
                        topK,
                        topP,
                        dtype.code()));
    }

    /**
     * One step of the bookkeeping of S decoding slots. For every slot with done[s] = 0: history[s][drawn[s]] = sampled[s], likewise
     * historyLogProb; drawn[s] += 1; token[s] = sampled[s]; position[s] += 1; done[s] = 1 if sampled[s] = stopToken, 2 if
     * drawn[s] = limit[s]. Slots that are done keep their state.
     *
     * @param history (S, capacity) i32, the tokens drawn, added to
     * @param historyLogProb (S, capacity) real, their log-probabilities, added to
     * @param token (S) i32, the next step's input, updated
     * @param position (S) i32, the position of that input, updated
     * @param drawn (S) i32, how many tokens a slot has drawn, updated
     * @param done (S) i32, 0 while a slot draws, updated
     * @param sampled (S) i32, what {@link #sample} drew
     * @param sampledLogProb (S) real, likewise
     * @param limit (S) i32, the most tokens a slot may draw, at most capacity
     * @param stopToken the id that ends a slot; negative for none
     */
    public void decodeAdvance(
            Tensor history,
            Tensor historyLogProb,
            Tensor token,
            Tensor position,
            Tensor drawn,
            Tensor done,
            Tensor sampled,
            Tensor sampledLogProb,
            Tensor limit,
            int stopToken) {
        long S = size(token), capacity = history.shape().last();
        DType dtype = historyLogProb.dtype();
        matrix("history", history, I32, S, capacity);
        matrix("historyLogProb", historyLogProb, real("historyLogProb", historyLogProb), S, capacity);
        vector("token", token, I32, S);
        vector("position", position, I32, S);
        vector("drawn", drawn, I32, S);
        vector("done", done, I32, S);
        vector("sampled", sampled, I32, S);
        vector("sampledLogProb", sampledLogProb, dtype, S);
        vector("limit", limit, I32, S);
        check(
                "st_decode_advance",
                SubtextH.st_decode_advance(
                        symbols,
                        handle,
                        history.address(),
                        historyLogProb.address(),
                        token.address(),
                        position.address(),
                        drawn.address(),
                        done.address(),
                        sampled.address(),
                        sampledLogProb.address(),
                        limit.address(),
                        S,
                        capacity,
                        stopToken,
                        dtype.code()));
    }

    // ---- optimizer
    // ---------------------------------------------------------------------------------------------------

    /**
     * How much scratch {@link #sumSquares} needs.
     *
     * @param n elements
     * @return the bytes
     */
    public long sumSquaresScratchBytes(long n) {
        return SubtextH.st_sum_squares_scratch_bytes(symbols, handle, n);
    }

    /**
     * {@code out[0] = sum of x_i^2}, in one order; not finite if any x_i is not.
     *
     * @param out (1) f64, written
     * @param x f32 or f64 of any shape
     * @param scratch of {@link #sumSquaresScratchBytes}
     */
    public void sumSquares(Tensor out, Tensor x, Tensor scratch) {
        long n = size(x);
        DType dtype = real("x", x);
        vector("out", out, F64, 1);
        scratch(scratch, sumSquaresScratchBytes(n));
        check(
                "st_sum_squares",
                SubtextH.st_sum_squares(
                        symbols, handle, out.address(), x.address(), scratch.address(), n, dtype.code()));
    }

    /**
     * AdamW with decoupled decay over one flat range. Loshchilov &amp; Hutter 2019, algorithm 2.
     *
     * @param weight (n) dtype, written; where that is real, the same memory as master
     * @param master (n) real, updated
     * @param m (n) real, the mean of gradients, updated
     * @param v (n) real, the mean of squared gradients, updated
     * @param grad (n) real
     * @param gradScale factor of grad, for clipping and for means
     * @param lr learning rate of this step
     * @param beta1 decay of m, in [0, 1)
     * @param beta2 decay of v, in [0, 1)
     * @param eps added to the root of v
     * @param decay weight decay per unit of learning rate; 0 for none
     * @param step counts from 1
     */
    public void adamw(
            Tensor weight,
            Tensor master,
            Tensor m,
            Tensor v,
            Tensor grad,
            double gradScale,
            double lr,
            double beta1,
            double beta2,
            double eps,
            double decay,
            long step) {
        long n = size(weight);
        DType dtype = activation("weight", weight);
        vector("master", master, dtype.real(), n);
        vector("m", m, dtype.real(), n);
        vector("v", v, dtype.real(), n);
        vector("grad", grad, dtype.real(), n);
        if (dtype == dtype.real()
                && weight.address().address() != master.address().address()) {
            throw new IllegalArgumentException(
                    "weight and master: expected the same memory where weights are " + dtype);
        }
        check(
                "st_adamw",
                SubtextH.st_adamw(
                        symbols,
                        handle,
                        weight.address(),
                        master.address(),
                        m.address(),
                        v.address(),
                        grad.address(),
                        n,
                        gradScale,
                        lr,
                        beta1,
                        beta2,
                        eps,
                        decay,
                        step,
                        dtype.code()));
    }

    // ---- filling
    // -----------------------------------------------------------------------------------------------------

    /**
     * {@code y[i] = mean + std * g_i}, g_i standard normal from Philox key {@code seed}, counter {@code first + i}, kept within clamp
     * standard deviations where {@code clamp > 0}.
     *
     * @param y dtype of any shape, written
     * @param mean of the values
     * @param std standard deviation of the values, before clamping
     * @param clamp how many standard deviations from the mean are allowed; 0 for any
     * @param seed key of the random numbers: the same one gives the same values
     * @param first counter of element 0, so that a part can be filled as it is in the whole
     */
    public void fillNormal(Tensor y, double mean, double std, double clamp, long seed, long first) {
        DType dtype = activation("y", y);
        check(
                "st_fill_normal",
                SubtextH.st_fill_normal(
                        symbols, handle, y.address(), size(y), mean, std, clamp, seed, first, dtype.code()));
    }

    /**
     * {@code y[i] = value}.
     *
     * @param y i32 of any shape, written
     * @param value of every element
     */
    public void fillI32(Tensor y, int value) {
        vector("y", y, I32, size(y));
        check("st_fill_i32", SubtextH.st_fill_i32(symbols, handle, y.address(), size(y), value));
    }

    /**
     * {@code y[i] = x[i]} in y's type, rounded to nearest even.
     *
     * @param y F32, BF16 or F64 of any shape, written; F64 on the CPU only
     * @param x of as many elements, F32, BF16 or F64 likewise
     */
    public void cast(Tensor y, Tensor x) {
        vector("y", y, activation("y", y), size(x));
        check(
                "st_cast",
                SubtextH.st_cast(
                        symbols,
                        handle,
                        y.address(),
                        x.address(),
                        size(x),
                        y.dtype().code(),
                        activation("x", x).code()));
    }

    // ---- checks
    // ------------------------------------------------------------------------------------------------------

    void recording(boolean recording) {
        this.recording = recording;
    }

    private void check(String operation, int status) {
        device.check(operation, status);
        if (SYNCHRONOUS && !recording) {
            device.check(operation, SubtextH.st_synchronize(symbols, handle));
        }
    }

    private static MemorySegment address(Tensor tensor) {
        return tensor == null ? MemorySegment.NULL : tensor.address();
    }

    private static long size(Tensor tensor) {
        return tensor.shape().size();
    }

    /** The number of sequences that (S + 1) offsets delimit. */
    private static long sequences(Tensor cuSeqlens) {
        long offsets = size(cuSeqlens);
        if (cuSeqlens.dtype() != I32 || offsets < 1) {
            throw cuSeqlens.disagreement("cuSeqlens", "I32 (S + 1)");
        }
        return offsets - 1;
    }

    private static DType activation(String argument, Tensor tensor) {
        if (!tensor.dtype().isFloating()) {
            throw tensor.disagreement(argument, "F32, BF16 or F64");
        }
        return tensor.dtype();
    }

    private static DType real(String argument, Tensor tensor) {
        if (tensor.dtype() != F32 && tensor.dtype() != F64) {
            throw tensor.disagreement(argument, "F32 or F64");
        }
        return tensor.dtype();
    }

    private static DType logits(String argument, Tensor logits, long N, long vocabulary) {
        DType dtype = real(argument, logits);
        if (logits.shape().rows() != N || logits.shape().last() < vocabulary) {
            throw logits.disagreement(argument, "(" + N + ", at least " + vocabulary + ")");
        }
        return dtype;
    }

    private static void matrix(String argument, Tensor tensor, DType dtype, long rows, long columns) {
        if (tensor.dtype() != dtype
                || tensor.shape().rows() != rows
                || tensor.shape().last() != columns) {
            throw tensor.disagreement(argument, dtype + " " + Shape.of(rows, columns));
        }
    }

    private static void vector(String argument, Tensor tensor, DType dtype, long size) {
        if (tensor.dtype() != dtype || tensor.shape().size() != size) {
            throw tensor.disagreement(argument, dtype + " " + Shape.of(size));
        }
    }

    private static void cache(Tensor k, Tensor v, DType dtype, AttentionShape shape) {
        long slots = k.shape().rank() == 4 ? k.shape().d0() : 0;
        long capacity = k.shape().rank() == 4 ? k.shape().d1() : 0;
        Shape expected = Shape.of(slots, capacity, shape.kvHeads(), shape.headDim());
        k.require("k", dtype, expected);
        v.require("v", dtype, expected);
    }

    private static void scratch(Tensor scratch, long bytes) {
        if (scratch.bytes() < bytes) {
            throw scratch.disagreement("scratch", "at least " + bytes + " bytes");
        }
    }
}
