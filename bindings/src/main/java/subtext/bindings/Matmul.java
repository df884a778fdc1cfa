package subtext.bindings;

/** Whose matrix products a CUDA device uses. The CPU always uses its own. */
public enum Matmul {
    /** Our kernels everywhere. */
    OWN,
    /** Our kernels forward, so that log-probabilities are exact to the bit; cuBLASLt backward where it is found. */
    AUTO,
    /**
     * cuBLASLt forward and backward: log-probabilities of sampler, scorer and trainer then agree only up to rounding, and a run says so in
     * its record. An error where the library is not found.
     */
    VENDOR
}
