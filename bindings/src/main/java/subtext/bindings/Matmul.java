package subtext.bindings;

/** What computes matrix products. */
public enum Matmul {
    /** Our kernels everywhere; on the CPU in vectors, with the same bits on every processor. */
    OWN,
    /** The CPU as {@link #OWN}. On CUDA our kernels forward, so that log-probabilities are exact to the bit; cuBLASLt backward where it is found. */
    AUTO,
    /**
     * cuBLASLt forward and backward: log-probabilities of sampler, scorer and trainer then agree only up to rounding, and a run says so in
     * its record. An error where the library is not found. On the CPU as {@link #OWN}.
     */
    VENDOR,
    /**
     * On the CPU our kernels for the processor's matrix unit, Intel AMX: bf16 as it is, f32 in three parts of bf16, as exact as in vectors and
     * faster. Log-probabilities of sampler, scorer and trainer are equal to the bit as ever, but other bits than {@link #OWN} gives. An error
     * where the processor or the system has no such unit, and on CUDA. {@code SUBTEXT_AMX=emulated} computes the same bits in software, slowly.
     */
    AMX
}
