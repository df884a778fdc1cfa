package subtext.bindings;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.Consumer;

/**
 * One allocation on a device, cut into tensors from the front. The code that lays tensors out is run twice: by {@link #measure}, which
 * only counts, and on the allocation of just that size; so a layout cannot outgrow its slab, and what does not fit fails before the first
 * kernel. Scratch is taken in stack order between {@link #mark} and {@link #release}.
 *
 * <p>Confined to the thread of its device. Closing it frees the memory and kills every tensor cut from it; closing the device closes it too.
 */
public final class Slab implements AutoCloseable {
    /** Every tensor begins at a multiple of this. */
    static final long ALIGNMENT = 256;

    private record Piece(String name, DType dtype, Shape shape, long from, long to) {}

    private final String role;
    private final Device device;
    private final Arena arena;
    private final MemorySegment base;
    private final long capacity;
    private final List<Piece> pieces = new ArrayList<>();
    private long used;
    private long highWater;
    private boolean closed;

    /** A slab that only counts. */
    private Slab() {
        this.role = "measured";
        this.device = null;
        this.arena = null;
        this.base = MemorySegment.NULL;
        this.capacity = Long.MAX_VALUE;
    }

    Slab(String role, Device device, MemorySegment base, long capacity) {
        this.role = role;
        this.device = device;
        this.arena = Arena.ofConfined();
        this.base = base.reinterpret(arena, null);
        this.capacity = capacity;
    }

    /**
     * Runs a layout on a slab that only counts.
     *
     * @param layout cuts and releases tensors, without using them
     * @return the bytes that it takes, at its highest point
     */
    public static long measure(Consumer<Slab> layout) {
        return measured(layout).highWater;
    }

    static Slab measured(Consumer<Slab> layout) {
        Slab counting = new Slab();
        layout.accept(counting);
        return counting;
    }

    /**
     * Cuts the next tensor. Its content is whatever lay there before.
     *
     * @param name what errors and {@link #table} call it
     * @param dtype type of its elements
     * @param shape its sizes, outermost first, at most {@link Shape#MAX_RANK} of them
     * @return the tensor, which lives until this slab is closed or gives its memory back
     * @throws IllegalArgumentException if it does not fit: the layout asked for more than it did when it was measured
     */
    public Tensor tensor(String name, DType dtype, long... shape) {
        Shape sizes = Shape.of(shape);
        long bytes = Math.multiplyExact(sizes.size(), dtype.bytes());
        long from = used;
        long to = Math.addExact(from, Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT);
        if (to > capacity) {
            throw new IllegalArgumentException("slab " + role + ": " + name + " " + dtype + " " + sizes + " needs "
                    + bytes + " bytes, " + (capacity - used) + " are left");
        }
        used = to;
        highWater = Math.max(highWater, used);
        pieces.add(new Piece(name, dtype, sizes, from, to));
        MemorySegment address = arena == null
                ? base
                : MemorySegment.ofAddress(base.address() + from).reinterpret(arena, null);
        return new Tensor(name, dtype, sizes, address, arena);
    }

    /** {@return where the next tensor will begin, in bytes, for {@link #release}} */
    public long mark() {
        return used;
    }

    /**
     * Gives back what was cut since {@code mark}. Tensors cut since then must not be used any more: their memory will be cut again.
     *
     * @param mark what {@link #mark} gave before
     * @throws IllegalArgumentException for a mark beyond what is in use
     */
    public void release(long mark) {
        if (mark < 0 || mark > used) {
            throw new IllegalArgumentException("slab " + role + ": mark " + mark + " of " + used + " bytes in use");
        }
        used = mark;
        pieces.removeIf(piece -> piece.from() >= mark && piece.to() > mark);
    }

    /** {@return what it holds, such as weights, in the words of errors and tables} */
    public String role() {
        return role;
    }

    /** {@return the bytes allocated; of a slab that only counts, {@link Long#MAX_VALUE}} */
    public long capacity() {
        return capacity;
    }

    /** {@return the bytes in use now, alignment included} */
    public long used() {
        return used;
    }

    /** {@return the bytes in use at the highest point so far, alignment included} */
    public long highWater() {
        return highWater;
    }

    /**
     * For people: what lies here now.
     *
     * @return a line with the totals, then one line for each tensor, largest first
     */
    public String table() {
        StringBuilder table = new StringBuilder();
        table.append("%s: %s in use, at most %s%n".formatted(role, mebibytes(used), mebibytes(highWater)));
        pieces.stream()
                .sorted(Comparator.comparingLong((Piece piece) -> piece.from() - piece.to())
                        .thenComparingLong(Piece::from))
                .forEach(piece -> table.append("  %12s  %s %s %s%n"
                        .formatted(mebibytes(piece.to() - piece.from()), piece.name(), piece.dtype(), piece.shape())));
        return table.toString();
    }

    static String mebibytes(long bytes) {
        return "%.1f MiB".formatted(bytes / (double) (1 << 20));
    }

    /** Frees the memory and kills every tensor cut from it. Closing twice does nothing. */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        if (device != null) {
            device.requireOwner();
        }
        closed = true;
        if (arena != null) {
            long address = base.address();
            arena.close();
            device.free(this, MemorySegment.ofAddress(address));
        }
    }
}
