package subtext.model;

import java.util.Arrays;
import java.util.List;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.Kernels;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;

/**
 * From normed rows to queries, keys and values that have not turned yet: where the families differ. All of them take the product with
 * one matrix; Qwen2 adds a bias, Qwen3 norms each head of queries and keys. Forward and backward face each other.
 *
 * <p>Heads to be normed have to lie one after another, and those of a row of qkv do not: queries, keys and values are computed apart and
 * then merged, head by head, by a fixed list of rows.
 */
final class QkvProjection {
    /** qkv ((H + 2 Hkv) D, C); bias ((H + 2 Hkv) D) or null; qNorm, kNorm (D) or null: weights, or their gradients. */
    record Weights(Tensor qkv, Tensor bias, Tensor qNorm, Tensor kNorm) {
        static Weights of(Parameters parameters, int layer) {
            Family family = parameters.table().config().family();
            String here = "layers." + layer + ".attention.";
            return new Weights(
                    parameters.tensor(here + "qkv"),
                    family.qkvBias() ? parameters.tensor(here + "bias") : null,
                    family.headNorms() ? parameters.tensor(here + "qNorm") : null,
                    family.headNorms() ? parameters.tensor(here + "kNorm") : null);
        }
    }

    /**
     * What backward needs of heads that were normed: q (N, H D), k (N, Hkv D) before it, and their rstd (N H), (N Hkv). Without head norms
     * all are null; a forward pass that no backward follows has no rstd.
     */
    record Saved(Tensor q, Tensor k, Tensor qRstd, Tensor kRstd) {
        static final Saved NOTHING = new Saved(null, null, null, null);

        /** Cut from a slab; rstd only if backward follows. */
        static Saved lay(Slab slab, String suffix, LlamaConfig config, DType dtype, long rows, boolean backward) {
            if (!config.family().headNorms()) {
                return NOTHING;
            }
            long kv = config.kvHeads();
            return new Saved(
                    slab.tensor("q" + suffix, dtype, rows, config.attentionWidth()),
                    slab.tensor("k" + suffix, dtype, rows, kv * config.headDim()),
                    backward ? slab.tensor("q.rstd" + suffix, dtype.real(), rows * config.heads()) : null,
                    backward ? slab.tensor("k.rstd" + suffix, dtype.real(), rows * kv) : null);
        }

        Saved rows(long n, LlamaConfig config) {
            if (q == null) {
                return this;
            }
            return new Saved(
                    q.rows(0, n),
                    k.rows(0, n),
                    qRstd == null ? null : qRstd.rows(0, n * config.heads()),
                    kRstd == null ? null : kRstd.rows(0, n * config.kvHeads()));
        }
    }

    /**
     * Constants and room of a pass, null where the family needs none.
     *
     * @param capacity R, the most rows
     * @param zeros (R) i32: every row takes the one bias
     * @param ones (R, 1): backward adds all rows up
     * @param merge (R (H + 2 Hkv)) i32: for each head of qkv its row in {@code apart}
     * @param split where the heads of queries, of keys and of values lie in qkv: (R H), (R Hkv), (R Hkv) i32
     * @param apart (R (H + 2 Hkv), D): R H rows of queries, then R Hkv of keys, then as many of values
     * @param dApart the same for gradients
     */
    record Room(
            long capacity, Tensor zeros, Tensor ones, Tensor merge, List<Tensor> split, Tensor apart, Tensor dApart) {
        /** Cut from a slab; {@link #fill} it before use. */
        static Room lay(Slab slab, LlamaConfig config, DType dtype, long rows, boolean backward) {
            boolean bias = config.family().qkvBias();
            boolean norms = config.family().headNorms();
            long heads = config.heads() + 2L * config.kvHeads();
            return new Room(
                    rows,
                    bias ? slab.tensor("zeros", DType.I32, rows) : null,
                    bias && backward ? slab.tensor("ones", dtype, rows, 1) : null,
                    norms ? slab.tensor("merge", DType.I32, rows * heads) : null,
                    norms && backward
                            ? List.of(
                                    slab.tensor("split.q", DType.I32, rows * config.heads()),
                                    slab.tensor("split.k", DType.I32, rows * config.kvHeads()),
                                    slab.tensor("split.v", DType.I32, rows * config.kvHeads()))
                            : List.of(),
                    norms ? slab.tensor("apart", dtype, rows * heads, config.headDim()) : null,
                    norms && backward ? slab.tensor("dApart", dtype, rows * heads, config.headDim()) : null);
        }

        void fill(Device device, LlamaConfig config) {
            if (capacity == 0) {
                return;
            }
            if (zeros != null) {
                device.zero(zeros);
            }
            if (ones != null) {
                fillOnes(device);
            }
            if (merge != null) {
                int h = config.heads();
                int kv = config.kvHeads();
                int r = Math.toIntExact(capacity);
                int[] rows = new int[r * (h + 2 * kv)];
                for (int n = 0; n < r; n++) {
                    int at = n * (h + 2 * kv);
                    for (int i = 0; i < h; i++) {
                        rows[at + i] = n * h + i;
                    }
                    for (int i = 0; i < kv; i++) {
                        rows[at + h + i] = r * h + n * kv + i;
                        rows[at + h + kv + i] = r * (h + kv) + n * kv + i;
                    }
                }
                device.upload(merge, rows);
            }
            if (!split.isEmpty()) {
                device.upload(split.get(0), places(config, 0, config.heads()));
                device.upload(split.get(1), places(config, config.heads(), config.kvHeads()));
                device.upload(split.get(2), places(config, config.heads() + config.kvHeads(), config.kvHeads()));
            }
        }

        private int[] places(LlamaConfig config, int from, int heads) {
            int stride = config.heads() + 2 * config.kvHeads();
            int[] rows = new int[Math.toIntExact(capacity * heads)];
            for (int i = 0; i < rows.length; i++) {
                rows[i] = i / heads * stride + from + i % heads;
            }
            return rows;
        }

        private void fillOnes(Device device) {
            if (ones.dtype() == DType.F64) {
                double[] values = new double[(int) capacity];
                Arrays.fill(values, 1);
                device.upload(ones, values);
            } else {
                float[] values = new float[(int) capacity];
                Arrays.fill(values, 1);
                device.upload(ones, values);
            }
        }
    }

    private final Device device;
    private final Kernels k;
    private final LlamaConfig config;
    private final long q;
    private final long kv;

    QkvProjection(Device device, LlamaConfig config) {
        this.device = device;
        this.k = device.kernels();
        this.config = config;
        this.q = config.attentionWidth();
        this.kv = (long) config.kvHeads() * config.headDim();
    }

    /** qkv (N, (H + 2 Hkv) D) of normed (N, C). */
    void forward(Tensor qkv, Weights w, Tensor normed, Saved s, Room room) {
        long n = normed.shape().dim(0);
        switch (config.family()) {
            case LLAMA, MISTRAL -> k.matmulNT(qkv, normed, w.qkv());
            case QWEN2 -> {
                // the bias is the residual of the product: added in f32, rounded once
                k.gatherRows(
                        qkv,
                        w.bias().reshape(1, config.qkvWidth()),
                        room.zeros().rows(0, n));
                k.matmulNT(qkv, normed, w.qkv(), qkv);
            }
            case QWEN3 -> {
                k.matmulNT(s.q(), normed, w.qkv().rows(0, q)); // 1
                k.matmulNT(s.k(), normed, w.qkv().rows(q, q + kv));
                k.matmulNT(
                        values(room.apart(), room, n).reshape(n, kv),
                        normed,
                        w.qkv().rows(q + kv, q + 2 * kv));
                k.rmsnormForward(
                        queries(room.apart(), room, n), s.qRstd(), heads(s.q()), w.qNorm(), config.normEps()); // 2
                k.rmsnormForward(keys(room.apart(), room, n), s.kRstd(), heads(s.k()), w.kNorm(), config.normEps());
                k.gatherRows(heads(qkv), room.apart(), merge(room, n)); // 3
            }
        }
    }

    /**
     * dNormed (N, C) written, dw added to; dQkv (N, (H + 2 Hkv) D) is the gradient of forward's output and may be overwritten.
     *
     * @param rmsnorm scratch of the norms' backward
     */
    void backward(
            Tensor dNormed, Weights dw, Weights w, Tensor dQkv, Tensor normed, Saved s, Room room, Tensor rmsnorm) {
        long n = normed.shape().dim(0);
        switch (config.family()) {
            case LLAMA, MISTRAL -> {}
            case QWEN2 ->
                k.matmulTN(dw.bias().reshape(1, config.qkvWidth()), room.ones().rows(0, n), dQkv);
            case QWEN3 -> headNormsBackward(dw, w, dQkv, s, room, rmsnorm, n);
        }
        k.matmulNN(dNormed, dQkv, w.qkv());
        k.matmulTN(dw.qkv(), dQkv, normed);
    }

    private void headNormsBackward(Weights dw, Weights w, Tensor dQkv, Saved s, Room room, Tensor rmsnorm, long n) {
        Tensor dHeads = heads(dQkv);
        Tensor dq = queries(room.dApart(), room, n);
        Tensor dk = keys(room.dApart(), room, n);
        k.gatherRows(queries(room.apart(), room, n), dHeads, room.split().get(0).rows(0, n * config.heads())); // 3'
        k.gatherRows(keys(room.apart(), room, n), dHeads, room.split().get(1).rows(0, n * config.kvHeads()));
        k.gatherRows(values(room.dApart(), room, n), dHeads, room.split().get(2).rows(0, n * config.kvHeads()));
        device.zero(dq);
        device.zero(dk);
        k.rmsnormBackward(
                dq, dw.qNorm(), queries(room.apart(), room, n), heads(s.q()), w.qNorm(), s.qRstd(), rmsnorm); // 2'
        k.rmsnormBackward(dk, dw.kNorm(), keys(room.apart(), room, n), heads(s.k()), w.kNorm(), s.kRstd(), rmsnorm);
        k.gatherRows(dHeads, room.dApart(), merge(room, n)); // 1' is the common product
    }

    /** Bytes of {@code rmsnorm} scratch that the backward of so many rows takes. */
    long scratchBytes(long rows, DType dtype) {
        return config.family().headNorms()
                ? k.rmsnormBackwardScratchBytes(rows * config.heads(), config.headDim(), dtype)
                : 0;
    }

    /** (N heads, D) of (N, heads D). */
    private Tensor heads(Tensor rows) {
        return rows.reshape(rows.shape().size() / config.headDim(), config.headDim());
    }

    private Tensor queries(Tensor apart, Room room, long n) {
        return apart.rows(0, n * config.heads());
    }

    private Tensor keys(Tensor apart, Room room, long n) {
        long from = room.capacity() * config.heads();
        return apart.rows(from, from + n * config.kvHeads());
    }

    private Tensor values(Tensor apart, Room room, long n) {
        long from = room.capacity() * (config.heads() + config.kvHeads());
        return apart.rows(from, from + n * config.kvHeads());
    }

    private Tensor merge(Room room, long n) {
        return room.merge().rows(0, n * (config.heads() + 2L * config.kvHeads()));
    }
}
