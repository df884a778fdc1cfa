package subtext.cli;

import java.util.Locale;
import picocli.CommandLine.Option;
import subtext.bindings.Backend;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.EngineException;
import subtext.bindings.Matmul;

/** Where to compute: the options that every computing command has. */
final class DeviceFlags {
    /** What {@code --device} may be. */
    enum Choice {
        AUTO,
        CPU,
        CUDA
    }

    @Option(
            names = "--device",
            paramLabel = "auto|cpu|cuda",
            description = "Where to compute. auto takes CUDA if there is one, else the CPU. Default: auto.")
    Choice device;

    @Option(
            names = "--threads",
            paramLabel = "N",
            description = "CPU threads, 0 for one per core; no result depends on it.")
    Integer threads;

    @Option(
            names = "--matmul",
            paramLabel = "own|auto|vendor|amx",
            description =
                    "Matrix products by our kernels (own); on CUDA ours forward and cuBLASLt backward where it is found (auto, the"
                            + " default), or cuBLASLt throughout, which gives up bit-equal log-probabilities (vendor); on a CPU with a"
                            + " matrix unit (Intel AMX) by that, faster, as exact, with bits of its own (amx).")
    Matmul matmul;

    Backend backend() {
        return switch (device) {
            case null -> Backend.best();
            case AUTO -> Backend.best();
            case CPU -> Backend.CPU;
            case CUDA -> Backend.CUDA;
        };
    }

    DeviceOptions options() {
        DeviceOptions options = DeviceOptions.defaults();
        if (threads != null) {
            if (threads < 0 || threads > DeviceOptions.MOST_THREADS) {
                throw new EngineException.InvalidConfig(
                        "--threads: expected 0 (one per core) to " + DeviceOptions.MOST_THREADS + ", got " + threads);
            }
            options = options.withThreads(threads);
        }
        return matmul == null ? options : options.withMatmul(matmul);
    }

    Device open() {
        return Device.open(backend(), options());
    }

    /** The name a configuration gives the choice. */
    static String configured(Choice choice) {
        return choice == Choice.AUTO ? "best" : choice.name().toLowerCase(Locale.ROOT);
    }
}
