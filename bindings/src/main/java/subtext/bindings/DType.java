package subtext.bindings;

/**
 * Element types. {@link #F64} exists on the CPU only, for gradient tests; {@link #I64} serves only as storage of the keys of
 * {@link Kernels#sample}, no kernel takes it as its {@code dtype}.
 */
public enum DType {
    /** IEEE single precision: weights, activations and all statistics beside {@link #BF16}. */
    F32(0, 4),
    /** The upper half of an {@link #F32}: weights and activations; sums are taken in f32. */
    BF16(1, 2),
    /** Signed 32 bits: token ids, positions, lengths and slots. */
    I32(2, 4),
    /** IEEE double precision. */
    F64(3, 8),
    /** 64 bits, as they are. */
    I64(-1, 8);

    private final int code;
    private final int bytes;

    DType(int code, int bytes) {
        this.code = code;
        this.bytes = bytes;
    }

    /** {@return the bytes of one element} */
    public int bytes() {
        return bytes;
    }

    /** {@return the type of statistics, losses, gradients and optimizer state beside activations of this type: F64 for F64, else F32} */
    public DType real() {
        return this == F64 ? F64 : F32;
    }

    /** Whether activations and weights may be stored in this type. */
    boolean isFloating() {
        return this == F32 || this == BF16 || this == F64;
    }

    /** The code of {@code subtext.h}. */
    int code() {
        return code;
    }
}
