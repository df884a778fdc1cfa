package subtext.bindings;

import java.util.Arrays;
import java.util.stream.Collectors;
import java.util.stream.LongStream;

/**
 * The sizes of a tensor, outermost first; row-major and contiguous. Prints as {@code (4096, 768)}. A size may be 0.
 *
 * @param rank number of sizes, 0 (a scalar) to 4
 * @param d0 outermost size, 1 where the rank is smaller
 * @param d1 second size, or 1
 * @param d2 third size, or 1
 * @param d3 fourth size, or 1
 */
public record Shape(int rank, long d0, long d1, long d2, long d3) {

    /** The largest rank. */
    public static final int MAX_RANK = 4;

    /**
     * Checks rank and sizes.
     *
     * @throws IllegalArgumentException for a rank outside 0 to 4 or a negative size
     */
    public Shape {
        if (rank < 0 || rank > MAX_RANK) {
            throw new IllegalArgumentException("rank: expected 0 to " + MAX_RANK + ", got " + rank);
        }
        if (d0 < 0 || d1 < 0 || d2 < 0 || d3 < 0) {
            throw new IllegalArgumentException("sizes must not be negative: " + d0 + ", " + d1 + ", " + d2 + ", " + d3);
        }
    }

    /**
     * The shape with these sizes; its rank is how many there are.
     *
     * @param sizes outermost first, none negative; none at all for a scalar
     * @return the shape
     * @throws IllegalArgumentException for more than {@link #MAX_RANK} sizes or a negative one
     */
    public static Shape of(long... sizes) {
        if (sizes.length > MAX_RANK) {
            throw new IllegalArgumentException("at most " + MAX_RANK + " sizes, got " + Arrays.toString(sizes));
        }
        return new Shape(sizes.length, at(sizes, 0), at(sizes, 1), at(sizes, 2), at(sizes, 3));
    }

    private static long at(long[] sizes, int i) {
        return i < sizes.length ? sizes[i] : 1;
    }

    /**
     * One size by its number.
     *
     * @param i from 0 for the outermost to rank - 1
     * @return the size
     * @throws IndexOutOfBoundsException outside that range, and for a scalar always
     */
    public long dim(int i) {
        if (i < 0 || i >= rank) {
            throw new IndexOutOfBoundsException("dimension " + i + " of " + this);
        }
        return switch (i) {
            case 0 -> d0;
            case 1 -> d1;
            case 2 -> d2;
            default -> d3;
        };
    }

    /** {@return the innermost size, 1 for a scalar} */
    public long last() {
        return rank == 0 ? 1 : dim(rank - 1);
    }

    /**
     * {@return the number of rows of {@link #last()} elements: the product of all sizes but the innermost}
     *
     * @throws ArithmeticException if it does not fit a long
     */
    public long rows() {
        long rows = 1;
        for (int i = 0; i < rank - 1; i++) {
            rows = Math.multiplyExact(rows, dim(i));
        }
        return rows;
    }

    /**
     * {@return the number of elements, 1 for a scalar}
     *
     * @throws ArithmeticException if it does not fit a long
     */
    public long size() {
        return Math.multiplyExact(rows(), last());
    }

    @Override
    public String toString() {
        return LongStream.of(d0, d1, d2, d3)
                .limit(rank)
                .mapToObj(Long::toString)
                .collect(Collectors.joining(", ", "(", ")"));
    }
}
