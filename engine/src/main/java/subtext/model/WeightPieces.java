package subtext.model;

import java.io.IOException;

/**
 * The weights of a model, given away piece by piece, in any order: read from files or made as they are asked for. Of a model of a billion
 * parameters the host so holds a MiB, and nobody needs an array that Java could not index. Given again, they are the same.
 */
@FunctionalInterface
public interface WeightPieces {
    /** Elements of a piece, at most, where nothing else decides: a MiB of f32. */
    int ELEMENTS = 1 << 18;

    /** Takes pieces. */
    @FunctionalInterface
    interface Sink {
        /**
         * Takes the next piece.
         *
         * @param at index of its first value in the flat array of the parameter table
         * @param values as many as the piece has; used again for the next one, so not to be kept
         * @throws IOException to stop
         */
        void accept(long at, float[] values) throws IOException;
    }

    /**
     * Gives all of them to {@code sink}, each value once; padding and gaps, which are zeros, may be left out.
     *
     * @param sink takes them
     * @throws IOException if they cannot be read, or taken
     */
    void forEach(Sink sink) throws IOException;

    /**
     * {@return the weights of a small model, which are there as a flat array, in one piece}
     *
     * @param flat in the order of the table; not copied
     */
    static WeightPieces of(float[] flat) {
        return sink -> sink.accept(0, flat);
    }

    /**
     * {@return all of them in one flat array, for a small model}
     *
     * @param table whose order they are in
     * @throws IOException if they cannot be read
     */
    default float[] flat(ParameterTable table) throws IOException {
        float[] flat = new float[Math.toIntExact(table.size())];
        forEach((at, values) -> System.arraycopy(values, 0, flat, (int) at, values.length));
        return flat;
    }
}
