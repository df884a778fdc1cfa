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

    /** The file name of the library. */
    public String libraryName() {
        return libraryName;
    }

    /** CUDA where its library and a device are there, else CPU. {@link #reasonUnavailable} says why CUDA was not taken. */
    public static Backend best() {
        return CUDA.reasonUnavailable().isPresent() ? CPU : CUDA;
    }

    /** Why the first device of this backend cannot be opened, in one line; empty if it can. Opens and closes it. */
    public Optional<String> reasonUnavailable() {
        try (Device device = Device.open(this)) {
            return Optional.empty();
        } catch (EngineException e) {
            return Optional.of(e.getMessage());
        }
    }
}
