package subtext.bindings;

import java.util.Optional;

/** Which library computes. A device is one of these plus an ordinal. */
public enum Backend {
    /** The processor: AVX-512, AVX2 or portable code, chosen when the library starts. */
    CPU("libsubtext_cpu.so"),
    /** One NVIDIA GPU. */
    CUDA("libsubtext_cuda.so"),
    /** The CUDA sources on the emulator, for tests: never packed into a jar, found through an explicit path only. */
    CUDA_EMULATED("libsubtext_cuda_emulated.so");

    private final String libraryName;

    Backend(String libraryName) {
        this.libraryName = libraryName;
    }

    /** {@return the file name of the library, without a folder} */
    public String libraryName() {
        return libraryName;
    }

    /** {@return CUDA where its library and a device are there, else CPU} {@link #reasonUnavailable} says why CUDA was not taken. */
    public static Backend best() {
        return CUDA.reasonUnavailable().isPresent() ? CPU : CUDA;
    }

    /**
     * Tries the first device of this backend: opens and closes it.
     *
     * @return why it cannot be opened, in one line; empty if it can
     */
    public Optional<String> reasonUnavailable() {
        try (Device device = Device.open(this)) {
            return Optional.empty();
        } catch (EngineException e) {
            return Optional.of(e.getMessage());
        }
    }
}
