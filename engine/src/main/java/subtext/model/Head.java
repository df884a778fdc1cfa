package subtext.model;

import subtext.bindings.DType;
import subtext.bindings.Kernels;
import subtext.bindings.Tensor;

/**
 * The output half: logits = W · rmsnorm(x), their loss, and the gradients of both, in chunks of rows, so that the logits of a whole batch
 * are never held. With real activations the gradient of a chunk's logits takes their place.
 */
final class Head {
    /** Norm (C) and output (padded V, C): weights, or their gradients. With a tied model the output is the embedding. */
    record Weights(Tensor norm, Tensor output) {
        static Weights of(Parameters parameters) {
            boolean tied = parameters.table().config().tied();
            return new Weights(parameters.tensor("norm"), parameters.tensor(tied ? "embedding" : "head"));
        }
    }

    /** What forward leaves for backward: x (N, C), rstd (N), normed (N, C). */
    record Saved(Tensor x, Tensor rstd, Tensor normed) {
        Saved rows(long n) {
            return new Saved(x.rows(0, n), rstd.rows(0, n), normed.rows(0, n));
        }
    }

    /** Room of one chunk of R rows: logits (R, padded V) real, dLogits the same or, for bf16, (R, padded V) of it; dNormed (N, C). */
    record Scratch(Tensor logits, Tensor dLogits, Tensor dNormed, Tensor rmsnorm) {}

    private final Kernels k;
    private final double eps;
    private final int vocabulary;

    Head(Kernels kernels, LlamaConfig config) {
        this.k = kernels;
        this.eps = config.normEps();
        this.vocabulary = config.vocabulary();
    }

    /**
     * Rows of logits held at once: as many as make 128 MiB, or with bf16, which is for GPUs, 512 MiB, since the output matrix is read, and
     * its gradient read and written, once a chunk; at least 64 and at most 4096. A function of vocabulary and storage alone, because on a
     * GPU where chunks end is part of the order in which weight gradients are added up.
     */
    static int chunkRows(LlamaConfig config, DType dtype) {
        long logits = dtype == DType.BF16 ? 1L << 27 : 1L << 25;
        return Math.clamp(logits / config.paddedVocabulary() / 64 * 64, 64, 4096);
    }

    /** The last norm. A null rstd is not written. */
    void norm(Weights w, Saved s) {
        k.rmsnormForward(s.normed(), s.rstd(), s.x(), w.norm(), eps);
    }

    /** logits (R, padded V) real of R normed rows. */
    void logits(Tensor logits, Weights w, Tensor normed) {
        k.matmulNT(logits, normed, w.output());
    }

    /** logProb (N) real of target (N) after normed rows, through a chunk of logits (R, padded V); 0 where nothing is asked. */
    void logProbs(Tensor logProb, Weights w, Tensor normed, Tensor chunk, Tensor target) {
        long rows = normed.shape().dim(0);
        for (long from = 0; from < rows; from += chunk.shape().dim(0)) {
            long to = Math.min(rows, from + chunk.shape().dim(0));
            Tensor logits = chunk.rows(0, to - from);
            logits(logits, w, normed.rows(from, to));
            k.logProb(logProb.rows(from, to), logits, target.rows(from, to), vocabulary);
        }
    }

    /**
     * loss (N) real, not weighted; dx (N, C) = gradient of the weighted sum by saved.x, written; dw is added to.
     *
     * @param weight (N) real, factor of each row in the gradient
     */
    void forwardBackward(
            Tensor loss, Tensor dx, Weights dw, Weights w, Saved s, Scratch t, Tensor target, Tensor weight) {
        norm(w, s);
        long rows = s.x().shape().dim(0);
        Tensor dNormed = t.dNormed().rows(0, rows);
        for (long from = 0; from < rows; from += t.logits().shape().dim(0)) {
            long to = Math.min(rows, from + t.logits().shape().dim(0));
            Tensor normed = s.normed().rows(from, to);
            Tensor logits = t.logits().rows(0, to - from);
            Tensor dLogits = t.dLogits().rows(0, to - from);
            logits(logits, w, normed);
            k.crossEntropy(
                    loss.rows(from, to), dLogits, logits, target.rows(from, to), weight.rows(from, to), vocabulary);
            k.matmulNN(dNormed.rows(from, to), dLogits, w.output());
            k.matmulTN(dw.output(), dLogits, normed);
        }
    }

    /** The norm's backward: adds to dx, which the caller has cleared. */
    void normBackward(Tensor dx, Weights dw, Weights w, Saved s, Scratch t) {
        Tensor dNormed = t.dNormed().rows(0, dx.shape().dim(0));
        k.rmsnormBackward(dx, dw.norm(), dNormed, s.x(), w.norm(), s.rstd(), t.rmsnorm());
    }

    /** Whether the gradient of logits may take their place. */
    static boolean inPlace(DType dtype) {
        return dtype == dtype.real();
    }
}
