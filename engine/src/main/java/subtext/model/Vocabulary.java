package subtext.model;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import subtext.random.Philox;

/** More ids for a model that is there: new rows of the embedding and, where it is a matrix of its own, of the output. */
public final class Vocabulary {
    private static final double CLAMP = 3;

    private Vocabulary() {}

    /**
     * The weights of {@code from} for {@code to}, which has more ids and is otherwise the same. New rows are normal with standard deviation
     * 1 / sqrt(C), cut off at three of them, as a function of (key, matrix, row). Ruan et al. 2025.
     *
     * @param from sizes of the model that is there
     * @param weights in the order of {@code ParameterTable.of(from)}
     * @param to the same sizes with as many ids or more
     * @param key random key of the new rows
     * @return in the order of {@code ParameterTable.of(to)}; {@code weights} itself if the vocabularies are equal
     * @throws IllegalArgumentException if {@code to} has fewer ids
     */
    public static WeightPieces grow(LlamaConfig from, WeightPieces weights, LlamaConfig to, long key) {
        if (from.vocabulary() == to.vocabulary()) {
            return weights;
        }
        if (to.vocabulary() < from.vocabulary()) {
            throw new IllegalArgumentException(
                    "vocabulary: cannot shrink from " + from.vocabulary() + " to " + to.vocabulary());
        }
        ParameterTable old = ParameterTable.of(from);
        ParameterTable grown = ParameterTable.of(to);
        return sink -> {
            weights.forEach((at, values) -> move(old.slices(), grown, at, values, sink));
            Map<String, ParameterTable.Slice> before =
                    old.slices().stream().collect(Collectors.toMap(ParameterTable.Slice::name, Function.identity()));
            for (ParameterTable.Slice slice : grown.slices()) {
                addRows(slice, before.get(slice.name()).size(), key, 1 / Math.sqrt(to.width()), sink);
            }
        };
    }

    /** Gives what a piece holds of each tensor to the tensor's new place. */
    private static void move(
            List<ParameterTable.Slice> old, ParameterTable grown, long at, float[] values, WeightPieces.Sink sink)
            throws IOException {
        for (int i = 0; i < old.size(); i++) {
            ParameterTable.Slice slice = old.get(i);
            long begin = Math.max(at, slice.offset());
            long end = Math.min(at + values.length, slice.offset() + slice.size());
            if (begin < end) {
                long target = grown.slices().get(i).offset() + begin - slice.offset();
                sink.accept(
                        target,
                        end - begin == values.length
                                ? values
                                : Arrays.copyOfRange(values, (int) (begin - at), (int) (end - at)));
            }
        }
    }

    private static void addRows(ParameterTable.Slice slice, long present, long key, double std, WeightPieces.Sink sink)
            throws IOException {
        long noise = Philox.key(key, slice.name());
        Initialisation.each(present, slice.size(), (from, values) -> {
            for (int j = 0; j < values.length; j++) {
                long i = from + j;
                double normal = StrictMath.sqrt(-2 * StrictMath.log(1 - Philox.uniform(noise, 2 * i)))
                        * StrictMath.cos(2 * StrictMath.PI * Philox.uniform(noise, 2 * i + 1));
                values[j] = (float) (std * Math.clamp(normal, -CLAMP, CLAMP));
            }
            sink.accept(slice.offset() + from, values);
        });
    }
}
