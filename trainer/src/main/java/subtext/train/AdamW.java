package subtext.train;

import java.io.IOException;
import java.util.List;
import java.util.Optional;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.Kernels;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;
import subtext.model.Llama;
import subtext.model.ParameterTable;
import subtext.model.WeightPieces;

/**
 * AdamW over a whole model: two kernel calls, one for the range of the matrices, which decay, one for that of the norms, which do not.
 * Owns both moments and, where weights are stored in less than f32, master weights. Confined to the device's thread.
 *
 * @see <a href="https://arxiv.org/abs/1711.05101">Loshchilov &amp; Hutter 2019</a>, algorithm 2
 */
public final class AdamW implements AutoCloseable {
    /**
     * The constants of the update beside the learning rate.
     *
     * @param beta1 decay of the first moment, 0 to below 1
     * @param beta2 decay of the second moment, 0 to below 1
     * @param eps added to the root of the second moment, above 0
     * @param decay of the matrices per step, as a share of the learning rate; norms do not decay
     */
    public record Constants(double beta1, double beta2, double eps, double decay) {}

    private final Llama model;
    private final Device device;
    private final Kernels k;
    private final Slab slab;
    private final boolean separateMaster;
    private Tensor master;
    private Tensor m;
    private Tensor v;
    private Tensor squares;
    private Tensor scratch;
    /** What is read from the device passes through here, piece by piece. */
    private final float[] piece;

    /**
     * Takes room for moments and master weights on the device of the model.
     *
     * @param model opened with gradients; stays with the caller and must outlive the optimizer
     */
    public AdamW(Llama model) {
        this.model = model;
        this.device = model.device();
        this.k = device.kernels();
        long n = model.table().size();
        DType real = model.dtype().real();
        this.separateMaster = model.dtype() != real;
        this.piece = new float[(int) Math.min(WeightPieces.ELEMENTS, n)];
        this.slab = device.slab("optimizer", slab -> {
            m = slab.tensor("m", real, n);
            v = slab.tensor("v", real, n);
            squares = slab.tensor("squares", DType.F64, 1);
            scratch = slab.tensor("sumSquares.scratch", DType.F32, (k.sumSquaresScratchBytes(n) + 3) / 4);
            master = separateMaster ? slab.tensor("master", real, n) : null;
        });
        if (!separateMaster) {
            master = model.weights().flat();
        }
    }

    /**
     * {@return bytes that the optimizer of a model of these sizes takes beside it}
     *
     * @param device whose kernels it would call; nothing is allocated
     * @param table the model's parameters
     * @param dtype storage of the weights; below f32, master weights come on top of the moments
     */
    public static long bytes(Device device, ParameterTable table, DType dtype) {
        long moments = 2 * table.size() * dtype.real().bytes();
        long master = dtype == dtype.real() ? 0 : table.size() * dtype.real().bytes();
        return moments + master + device.kernels().sumSquaresScratchBytes(table.size());
    }

    /** Begins with the weights that the model has, both moments clear; nothing passes through the host. */
    public void start() {
        if (separateMaster) {
            k.cast(master, model.weights().flat());
        }
        device.zero(m);
        device.zero(v);
    }

    /**
     * Sets the weights and clears both moments.
     *
     * @param weights of the model; what they leave out is zero
     * @throws IOException if they cannot be read
     */
    public void start(WeightPieces weights) throws IOException {
        load(weights);
        device.zero(m);
        device.zero(v);
    }

    /** Sets the weights and leaves the moments as they are. */
    void load(WeightPieces weights) throws IOException {
        device.zero(model.weights().flat());
        if (separateMaster) {
            device.zero(master);
        }
        weights.forEach(this::upload);
    }

    private void upload(long at, float[] values) {
        model.upload(at, values);
        if (separateMaster) {
            upload(master, at, values);
        }
    }

    private void upload(Tensor to, long at, float[] values) {
        device.upload(to.rows(at, at + values.length), values);
    }

    /** What takes weights and moments from a checkpoint. */
    Checkpoint.Target target() {
        return new Checkpoint.Target(
                model.table().size(),
                this::upload,
                (at, values) -> upload(m, at, values),
                (at, values) -> upload(v, at, values));
    }

    /** Weights and moments for a checkpoint, read from the device as it is written. */
    Checkpoint.Content content(TrainState state) {
        return new Checkpoint.Content(
                state,
                model.table().size(),
                this::weights,
                (at, count) -> download(m, at, count),
                (at, count) -> download(v, at, count));
    }

    private float[] download(Tensor from, long at, int count) {
        float[] to = count <= piece.length ? piece : new float[count];
        device.downloadFloats(to, from.rows(at, at + count));
        return to;
    }

    /** {@return the global L2 norm of the gradients; not finite if any of them is not} */
    public double gradientNorm() {
        k.sumSquares(squares, model.gradients().flat(), scratch);
        return Math.sqrt(device.downloadDoubles(squares)[0]);
    }

    /**
     * Updates the weights from the model's gradients.
     *
     * @param gradientScale factor of the gradients, for clipping
     * @param learningRate of this step
     * @param c the other constants
     * @param update number of this update, from 1
     */
    public void update(double gradientScale, double learningRate, Constants c, long update) {
        long decayed = model.table().decayed();
        range(0, decayed, gradientScale, learningRate, c, c.decay(), update);
        range(decayed, model.table().size(), gradientScale, learningRate, c, 0, update);
    }

    private void range(long from, long to, double scale, double learningRate, Constants c, double decay, long update) {
        k.adamw(
                model.weights().flat().rows(from, to),
                master.rows(from, to),
                m.rows(from, to),
                v.rows(from, to),
                model.gradients().flat().rows(from, to),
                scale,
                learningRate,
                c.beta1(),
                c.beta2(),
                c.eps(),
                decay,
                update);
    }

    /**
     * {@return weights at full precision, first in an array that may be longer and holds them until the next call}
     *
     * @param at the first of them in the flat array
     * @param count how many
     */
    public float[] weights(long at, int count) {
        return download(master, at, count);
    }

    /**
     * Where a number of the optimizer's or the model's is not finite, and of what: {@code second moment of layer 3, mlp.down_proj}. Goes
     * through everything, for a step that failed.
     */
    Optional<String> nonFiniteState() {
        return nonFiniteContent().or(() -> nonFinite("weight", model.weights().flat()));
    }

    /** The same of what a checkpoint holds. */
    Optional<String> nonFiniteContent() {
        return nonFinite("first moment", m)
                .or(() -> nonFinite("second moment", v))
                .or(() -> nonFinite("weight", master));
    }

    /** The same of the gradients. */
    Optional<String> nonFiniteGradient() {
        return nonFinite("gradient", model.gradients().flat());
    }

    /** Both moments. */
    List<Tensor> moments() {
        return List.of(m, v);
    }

    private Optional<String> nonFinite(String what, Tensor flat) {
        return model.table().nonFinite((at, count) -> download(flat, at, count)).map(place -> what + " of " + place);
    }

    /** Frees the moments. */
    @Override
    public void close() {
        slab.close();
    }
}
