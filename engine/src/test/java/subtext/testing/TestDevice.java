package subtext.testing;

import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import org.junit.jupiter.api.Assumptions;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.model.Initialisation;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.random.Philox;
import subtext.text.Tokens;

/**
 * The device that the model tests run on: {@code -Dsubtext.test.backend=cpu|cuda_emulated|cuda}, CPU unless told, with the library of
 * {@code -Dsubtext.test.library} if given. Small random models and texts for it, each a function of its seed.
 */
public final class TestDevice {
    private TestDevice() {}

    /** The backend under test. */
    public static Backend backend() {
        return Backend.valueOf(System.getProperty("subtext.test.backend", "cpu").toUpperCase(Locale.ROOT));
    }

    /** A device of it with two threads. */
    public static Device open() {
        return open(2);
    }

    /** A device of it with so many CPU threads. */
    public static Device open(int threads) {
        return Device.open(backend(), options().withThreads(threads));
    }

    /** How tests open it. */
    public static DeviceOptions options() {
        Optional<Path> library =
                Optional.ofNullable(System.getProperty("subtext.test.library")).map(Path::of);
        DeviceOptions options = DeviceOptions.defaults().withThreads(2);
        return library.isPresent() ? options.withLibrary(library.get()) : options;
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
