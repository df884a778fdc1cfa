package subtext.model;

import subtext.bindings.Kernels;
import subtext.bindings.Tensor;

/**
 * The feed-forward half of a block: x + W_down · swiglu(W_gateUp · rmsnorm(x)). Forward and backward face each other; their steps are
 * numbered alike.
 *
 * @see <a href="https://arxiv.org/abs/2002.05202">Shazeer 2020</a>
 */
final class FeedForward {
    /** Norm (C), gateUp (2 F, C), down (C, F): weights, or their gradients. */
    record Weights(Tensor norm, Tensor gateUp, Tensor down) {
        static Weights of(Parameters parameters, int layer) {
            String here = "layers." + layer + ".feedForward.";
            return new Weights(
                    parameters.tensor(here + "norm"),
                    parameters.tensor(here + "gateUp"),
                    parameters.tensor(here + "down"));
        }
    }

    /** What forward leaves for backward: x (N, C), rstd (N), normed (N, C), gateUp (N, 2 F), hidden (N, F). */
    record Saved(Tensor x, Tensor rstd, Tensor normed, Tensor gateUp, Tensor hidden) {
        Saved rows(long n) {
            return new Saved(x.rows(0, n), rstd.rows(0, n), normed.rows(0, n), gateUp.rows(0, n), hidden.rows(0, n));
        }
    }

    /** Room for backward: dNormed (N, C), dGateUp (N, 2 F), dHidden (N, F), and the kernel's own. */
    record Scratch(Tensor dNormed, Tensor dGateUp, Tensor dHidden, Tensor rmsnorm) {
        Scratch rows(long n) {
            return new Scratch(dNormed.rows(0, n), dGateUp.rows(0, n), dHidden.rows(0, n), rmsnorm);
        }
    }

    private final Kernels k;
    private final double eps;

    FeedForward(Kernels kernels, LlamaConfig config) {
        this.k = kernels;
        this.eps = config.normEps();
    }

    /** y (N, C) from saved.x; y may be saved.x where nothing is kept for backward. A null rstd is not written. */
    void forward(Tensor y, Weights w, Saved s) {
        k.rmsnormForward(s.normed(), s.rstd(), s.x(), w.norm(), eps); // 1
        k.matmulNT(s.gateUp(), s.normed(), w.gateUp()); // 2
        k.swigluForward(s.hidden(), s.gateUp()); // 3
        k.matmulNT(y, s.hidden(), w.down(), s.x()); // 4
    }

    /** dx holds dL/dy on entry and dL/dx on return; dw is added to. */
    void backward(Tensor dx, Weights dw, Weights w, Saved s, Scratch t) {
        k.matmulNN(t.dHidden(), dx, w.down()); // 4'
        k.matmulTN(dw.down(), dx, s.hidden());
        k.swigluBackward(t.dGateUp(), t.dHidden(), s.gateUp()); // 3'
        k.matmulNN(t.dNormed(), t.dGateUp(), w.gateUp()); // 2'
        k.matmulTN(dw.gateUp(), t.dGateUp(), s.normed());
        // 1', adds: the residual branch (4') has already put its part into dx
        k.rmsnormBackward(dx, dw.norm(), t.dNormed(), s.x(), w.norm(), s.rstd(), t.rmsnorm());
    }
}
