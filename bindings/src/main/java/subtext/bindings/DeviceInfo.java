package subtext.bindings;

/**
 * What a device says about itself.
 *
 * @param name model name of the processor or GPU
 * @param path instruction set or kernel path in use: {@code avx512}, {@code avx2}, {@code portable}, {@code sm_90a}, ...
 * @param build compiler that built the library
 * @param totalBytes memory of the device; for the CPU the host's, or its container's limit
 * @param freeBytes of which free at the time of asking: in a container what its limits leave, at every level
 * @param processors streaming multiprocessors, or CPU threads in use
 * @param computeCapability 90 for sm_90; 0 for the CPU
 * @param driverVersion as CUDA counts (13000 for 13.0); 0 for the CPU
 * @param runtimeVersion likewise
 * @param emulated whether this is the emulator of the tests
 */
public record DeviceInfo(
        String name,
        String path,
        String build,
        long totalBytes,
        long freeBytes,
        int processors,
        int computeCapability,
        int driverVersion,
        int runtimeVersion,
        boolean emulated) {

    /** For people: {@code AMD EPYC (avx512, 2 threads)}. */
    @Override
    public String toString() {
        return "%s (%s, %d %s)"
                .formatted(name, path, processors, computeCapability == 0 ? "threads" : "multiprocessors");
    }
}
