package subtext.bench;

import java.util.Arrays;
import java.util.Locale;
import subtext.bindings.Device;
import subtext.bindings.Tensor;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;

/** The shapes of the peers' scripts. */
public enum ModelShape {
    TINY(4, 256, 4, 4, 704, 512, true),
    SMALL(6, 384, 6, 6, 1024, 4096, true),
    GPT124M(12, 768, 12, 12, 2048, 50304, true),
    STORIES15M(6, 288, 6, 6, 768, 32000, false),
    STORIES110M(12, 768, 12, 12, 2048, 32000, false),
    TINYLLAMA(22, 2048, 32, 4, 5632, 32000, false);

    final int layers;
    final int width;
    final int heads;
    final int kvHeads;
    final int hidden;
    final int vocabulary;
    final boolean tied;

    ModelShape(int layers, int width, int heads, int kvHeads, int hidden, int vocabulary, boolean tied) {
        this.layers = layers;
        this.width = width;
        this.heads = heads;
        this.kvHeads = kvHeads;
        this.hidden = hidden;
        this.vocabulary = vocabulary;
        this.tied = tied;
    }

    /** The sizes, for sequences of up to {@code context} tokens. */
    public LlamaConfig config(int context) {
        return config(layers, context);
    }

    /** The same with another number of layers. */
    LlamaConfig config(int layers, int context) {
        return new LlamaConfig(
                layers, width, heads, kvHeads, width / heads, hidden, vocabulary, context, 10_000, 1e-5, tied);
    }

    /** For tables: {@code tiny}. */
    String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** Normal weights of deviation 0.02 made on the device, norms of one. */
    static void randomWeights(Device device, Llama llama) {
        Tensor flat = llama.weights().flat();
        device.kernels().fillNormal(flat, 0, 0.02, 3, 1, 0);
        for (ParameterTable.Slice slice : llama.table().slices()) {
            if (slice.shape().size() == 1) {
                float[] ones = new float[Math.toIntExact(slice.size())];
                Arrays.fill(ones, 1f);
                device.upload(flat.rows(slice.offset(), slice.offset() + slice.size()), ones);
            }
        }
    }

    /**
     * Floating-point operations of a training step: 6 a parameter and row for the matrices that are multiplied, the output's included, and
     * causal attention counted half.
     */
    static double trainFlops(LlamaConfig c, double rows, double length) {
        double block = c.width() * (double) (c.qkvWidth() + c.attentionWidth()) + 3.0 * c.width() * c.hidden();
        double matrices = c.layers() * block + (double) c.vocabulary() * c.width();
        return rows * (6 * matrices + 6.0 * c.layers() * c.attentionWidth() * length);
    }
}
