package subtext.model;

import java.util.ArrayList;
import java.util.List;
import subtext.bindings.DType;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;

/**
 * Keys and values of past positions, per layer and slot. A slot holds a sequence, or the part of one that follows a prefix borrowed from
 * another slot: position p of a sequence with prefix length l lies at index p of the prefix slot if p &lt; l, else at p - l of its own.
 */
final class KvCache {
    /** One layer: k, v (slots, capacity, Hkv, D). */
    record Layer(Tensor k, Tensor v) {}

    private final List<Layer> layers = new ArrayList<>();

    /** Cuts the cache of a model from a slab. */
    KvCache(Slab slab, LlamaConfig config, DType dtype, int slots, int capacity) {
        for (int i = 0; i < config.layers(); i++) {
            layers.add(new Layer(
                    slab.tensor("k." + i, dtype, slots, capacity, config.kvHeads(), config.headDim()),
                    slab.tensor("v." + i, dtype, slots, capacity, config.kvHeads(), config.headDim())));
        }
    }

    Layer layer(int i) {
        return layers.get(i);
    }

    /** Bytes of one slot. */
    static long slotBytes(LlamaConfig config, DType dtype, int capacity) {
        return 2L * config.layers() * capacity * config.kvHeads() * config.headDim() * dtype.bytes();
    }
}
