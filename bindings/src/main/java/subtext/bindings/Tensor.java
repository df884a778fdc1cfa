package subtext.bindings;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * A typed view of device memory: contiguous, row-major. It owns nothing; the {@link Slab} it was cut from does. Its address is a segment of
 * length zero tied to the slab's arena, so reading it from Java, using it after the slab was closed and using it from another thread than
 * the device's are refused by the JDK's own rules.
 */
public final class Tensor {
    private final String name;
    private final DType dtype;
    private final Shape shape;
    private final MemorySegment address;
    private final Arena arena;

    Tensor(String name, DType dtype, Shape shape, MemorySegment address, Arena arena) {
        this.name = name;
        this.dtype = dtype;
        this.shape = shape;
        this.address = address;
        this.arena = arena;
    }

    /** {@return what errors and tables call it} */
    public String name() {
        return name;
    }

    /** {@return the type of its elements} */
    public DType dtype() {
        return dtype;
    }

    /** {@return its sizes, outermost first; contiguous} */
    public Shape shape() {
        return shape;
    }

    /** {@return the bytes of all elements} */
    public long bytes() {
        return Math.multiplyExact(shape.size(), dtype.bytes());
    }

    /**
     * Some rows of a matrix, or elements of a vector: a part of the outermost dimension, on the same memory.
     *
     * @param from first index, from 0
     * @param to index behind the last, at most the outermost size
     * @return the part, of the same rank; it may be empty
     * @throws IllegalArgumentException for a scalar or a range outside
     */
    public Tensor rows(long from, long to) {
        if (shape.rank() == 0 || from < 0 || to < from || to > shape.d0()) {
            throw new IllegalArgumentException(this + ": no rows " + from + " to " + to);
        }
        long stride = shape.d0() == 0 ? 0 : bytes() / shape.d0();
        Shape part = new Shape(shape.rank(), to - from, shape.d1(), shape.d2(), shape.d3());
        return new Tensor(name + "[" + from + ":" + to + "]", dtype, part, at(from * stride), arena);
    }

    /**
     * The same memory with other sizes.
     *
     * @param sizes outermost first; their product is the number of elements
     * @return a view of the same memory and name
     * @throws IllegalArgumentException if the number of elements differs
     */
    public Tensor reshape(long... sizes) {
        Shape other = Shape.of(sizes);
        if (other.size() != shape.size()) {
            throw new IllegalArgumentException(this + ": cannot be reshaped to " + other);
        }
        return new Tensor(name, dtype, other, address, arena);
    }

    /**
     * The same memory under another name.
     *
     * @param name what errors and tables call the result; this tensor keeps its own
     * @return a view of the same type and shape
     */
    public Tensor named(String name) {
        return new Tensor(name, dtype, shape, address, arena);
    }

    /** The address {@code bytes} after the first. */
    MemorySegment at(long bytes) {
        return arena == null
                ? address
                : MemorySegment.ofAddress(address.address() + bytes).reinterpret(arena, null);
    }

    MemorySegment address() {
        return address;
    }

    /** This tensor, if it has this type and shape. */
    Tensor require(String argument, DType dtype, Shape shape) {
        if (this.dtype != dtype || !this.shape.equals(shape)) {
            throw disagreement(argument, dtype + " " + shape);
        }
        return this;
    }

    /** The exception for an argument that is not what an operation needs. */
    IllegalArgumentException disagreement(String argument, String expected) {
        return new IllegalArgumentException(argument + ": expected " + expected + ", got " + dtype + " " + shape
                + (name.equals(argument) ? "" : " (" + name + ")"));
    }

    /** For people: {@code wte BF16 (512, 64)}. */
    @Override
    public String toString() {
        return name + " " + dtype + " " + shape;
    }
}
