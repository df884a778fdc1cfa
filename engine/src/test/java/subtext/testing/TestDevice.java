package subtext.testing;

import java.nio.file.Path;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.EngineException;
import subtext.bindings.Matmul;
import subtext.model.Initialisation;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.random.Philox;
import subtext.text.Tokens;

/**
 * The devices that the model tests run on. Tests of exactness and parity take each of {@link #backends}; the others take {@link #backend},
 * {@code -Dsubtext.test.backend=cpu|cuda_emulated|cuda}, CPU unless told. {@code -Dsubtext.test.library} names the library of the backend
 * that was told, {@code -Dsubtext.test.matmul=amx} what computes products. Small random models and texts, each a function of its seed.
 */
public final class TestDevice {
    private static final String BACKEND = "subtext.test.backend";
    private static final String LIBRARY = "subtext.test.library";
    private static final String MATMUL = "subtext.test.matmul";

    private TestDevice() {}

    /** The backend of tests that take one. */
    public static Backend backend() {
        return Backend.valueOf(System.getProperty(BACKEND, "cpu").toUpperCase(Locale.ROOT));
    }

    /**
     * The backends of tests that take each: the one that was told, else the CPU, the CUDA sources on the emulator where it was built from
     * these sources, and CUDA where there is a GPU.
     */
    public static Stream<Backend> backends() {
        return System.getProperty(BACKEND) != null
                ? Stream.of(backend())
                : Stream.of(Backend.values()).filter(backend -> backend == Backend.CPU || isThere(backend));
    }

    private static boolean isThere(Backend backend) {
        try (Device device = open(backend, 1)) {
            return device.backend() == backend;
        } catch (EngineException.BackendUnavailable e) {
            return false;
        }
    }

    /** The backend's device with two threads. */
    public static Device open() {
        return open(backend());
    }

    /** A device of a backend with two threads. */
    public static Device open(Backend backend) {
        return open(backend, 2);
    }

    /** A device of a backend with so many CPU threads. */
    public static Device open(Backend backend, int threads) {
        try {
            return Device.open(backend, options(backend).withThreads(threads));
        } catch (EngineException.BackendUnavailable e) {
            Assumptions.assumeFalse(options(backend).matmul() == Matmul.AMX, e.getMessage());
            throw e;
        }
    }

    /** How tests open the backend's device. */
    public static DeviceOptions options() {
        return options(backend());
    }

    /** How tests open a backend's device. */
    public static DeviceOptions options(Backend backend) {
        String told = System.getProperty(LIBRARY);
        DeviceOptions options = DeviceOptions.defaults()
                .withThreads(2)
                .withMatmul(Matmul.valueOf(System.getProperty(MATMUL, "auto").toUpperCase(Locale.ROOT)));
        if (told != null && backend == backend()) {
            return options.withLibrary(Path.of(told));
        }
        return backend == Backend.CUDA_EMULATED
                ? options.withLibrary(
                        Path.of(System.getProperty("subtext.root", ".."), "native/target/build", backend.libraryName()))
                : options;
    }

    /** Skips a test that computes in f64 where the backend cannot. */
    public static void assumeF64() {
        Assumptions.assumeTrue(backend() == Backend.CPU, "f64 is computed on the CPU only");
    }

    /** Two layers, width 32, 4 query and 2 kv heads, hidden 40, 97 ids: awkward sizes. */
    public static LlamaConfig tiny(boolean tied) {
        return new LlamaConfig(2, 32, 4, 2, 8, 40, 97, 256, 10_000, 1e-5, tied);
    }

    /** A model with random weights, large enough for its law to be far from uniform. */
    public static Llama model(Device device, LlamaConfig config, DType dtype, Llama.Capacity capacity, long seed) {
        Llama llama = Llama.open(device, config, dtype, capacity);
        llama.upload(weights(config, seed));
        return llama;
    }

    /** Its weights. */
    public static float[] weights(LlamaConfig config, long seed) {
        ParameterTable table = ParameterTable.of(config);
        float[] flat = Initialisation.weights(table, seed);
        for (int i = 0; i < table.decayed(); i++) {
            flat[i] *= 8;
        }
        for (int i = (int) table.decayed(); i < flat.length; i++) {
            flat[i] *= (float) (0.5 + Philox.uniform(seed, i));
        }
        return flat;
    }

    /** A random text of so many ids. */
    public static Tokens text(LlamaConfig config, int size, long seed) {
        int[] ids = new int[size];
        for (int i = 0; i < size; i++) {
            ids[i] = Philox.below(seed, i, config.vocabulary());
        }
        return Tokens.of(ids);
    }
}
