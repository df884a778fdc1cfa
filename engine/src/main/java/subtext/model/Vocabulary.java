package subtext.model;

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
     * @param flat in the order of {@code ParameterTable.of(from)}
     * @param to the same sizes with as many ids or more
     * @param key random key of the new rows
     * @return in the order of {@code ParameterTable.of(to)}; {@code flat} itself if the vocabularies are equal
     * @throws IllegalArgumentException if {@code to} has fewer ids
     */
    public static float[] grow(LlamaConfig from, float[] flat, LlamaConfig to, long key) {
        if (from.vocabulary() == to.vocabulary()) {
            return flat;
        }
        if (to.vocabulary() < from.vocabulary()) {
            throw new IllegalArgumentException(
                    "vocabulary: cannot shrink from " + from.vocabulary() + " to " + to.vocabulary());
        }
        Map<String, ParameterTable.Slice> old = ParameterTable.of(from).slices().stream()
                .collect(Collectors.toMap(ParameterTable.Slice::name, Function.identity()));
        ParameterTable table = ParameterTable.of(to);
        float[] grown = new float[Math.toIntExact(table.size())];
        double std = 1 / Math.sqrt(to.width());
        for (ParameterTable.Slice slice : table.slices()) {
            ParameterTable.Slice source = old.get(slice.name());
            System.arraycopy(flat, (int) source.offset(), grown, (int) slice.offset(), (int) source.size());
            long noise = Philox.key(key, slice.name());
            for (long i = source.size(); i < slice.size(); i++) {
                double normal = StrictMath.sqrt(-2 * StrictMath.log(1 - Philox.uniform(noise, 2 * i)))
                        * StrictMath.cos(2 * StrictMath.PI * Philox.uniform(noise, 2 * i + 1));
                grown[(int) (slice.offset() + i)] = (float) (std * Math.clamp(normal, -CLAMP, CLAMP));
            }
        }
        return grown;
    }
}
