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

    /** Views of a flat tensor of {@code table.size()} elements. */
    public Parameters(ParameterTable table, Tensor flat) {
        if (flat.shape().size() != table.size()) {
            throw new IllegalArgumentException("flat: expected " + table.size() + " elements, got " + flat.shape());
        }
        this.table = table;
        this.flat = flat;
    }

    /** The flat tensor to cut from a slab in its layout. */
    public static Tensor lay(Slab slab, String name, ParameterTable table, DType dtype) {
        return slab.tensor(name, dtype, table.size());
    }

    /** Names, shapes, places. */
    public ParameterTable table() {
        return table;
    }

    /** Everything, as one vector: what the optimizer updates and checkpoints store. */
    public Tensor flat() {
        return flat;
    }

    /** The part that decays, as one vector. */
    public Tensor matrices() {
        return flat.rows(0, table.decayed());
    }

    /** The part that does not. */
    public Tensor norms() {
        return flat.rows(table.decayed(), table.size());
    }

    /** The parameter of that name, in its shape. */
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
