package subtext.model;

import java.util.HashMap;
import java.util.Map;
import subtext.bindings.DType;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;

/**
 * A {@link ParameterTable} laid on a device: one flat tensor and named views of it. Used unchanged for weights, gradients, both moments
 * of the optimizer and master weights. Owned by the slab it was cut from.
 */
public final class Parameters {
    private final ParameterTable table;
    private final Tensor flat;
    private final Map<String, Tensor> views = new HashMap<>();

    /**
     * Views of a flat tensor.
     *
     * @param table names, shapes and places
     * @param flat {@code table.size()} elements of any type, owned by its slab
     * @throws IllegalArgumentException if the number of elements differs
     */
    public Parameters(ParameterTable table, Tensor flat) {
        if (flat.shape().size() != table.size()) {
            throw new IllegalArgumentException("flat: expected " + table.size() + " elements, got " + flat.shape());
        }
        this.table = table;
        this.flat = flat;
    }

    /**
     * Cuts the flat tensor from a slab, in its layout.
     *
     * @param slab where it will lie
     * @param name what errors and tables call it, such as gradients
     * @param table how many elements there are
     * @param dtype type of its elements
     * @return the tensor, its content undefined
     */
    public static Tensor lay(Slab slab, String name, ParameterTable table, DType dtype) {
        return slab.tensor(name, dtype, table.size());
    }

    /** {@return names, shapes, places} */
    public ParameterTable table() {
        return table;
    }

    /** {@return everything, as one vector: what the optimizer updates and checkpoints store} */
    public Tensor flat() {
        return flat;
    }

    /** {@return the part that decays, as one vector} */
    public Tensor matrices() {
        return flat.rows(0, table.decayed());
    }

    /** {@return the part that does not decay, norms and biases, as one vector} */
    public Tensor norms() {
        return flat.rows(table.decayed(), table.size());
    }

    /**
     * The view of one parameter.
     *
     * @param name as in {@link ParameterTable#entries}
     * @return the parameter in its shape, on the memory of {@link #flat}
     * @throws IllegalArgumentException if the model has no such parameter
     */
    public Tensor tensor(String name) {
        return views.computeIfAbsent(name, key -> {
            ParameterTable.Entry entry = table.entry(key);
            Tensor view =
                    flat.rows(entry.offset(), entry.offset() + entry.shape().size());
            return entry.kind() != ParameterTable.Kind.MATRIX
                    ? view
                    : view.reshape(entry.shape().dim(0), entry.shape().dim(1));
        });
    }
}
