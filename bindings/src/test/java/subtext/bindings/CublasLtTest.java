package subtext.bindings;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * The bindings of cuBLASLt, on the emulator with the emulator's cuBLASLt: who computes which product, that both agree, and what happens
 * without the library. Shapes are just large enough to be worth a call.
 */
class CublasLtTest {
    private static final String PROPERTY = "subtext.cublaslt.path";
    private static final int M = 512;
    private static final int N = 512;
    private static final int K = 512;

    private final List<String> log = new ArrayList<>();
    private final Logger logger = Logger.getLogger(Device.class.getName());
    private final Handler handler = new Handler() {
        @Override
        public void publish(LogRecord record) {
            log.add(record.getMessage());
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
    };

    /** The products of the three layouts, on the same operands. */
    private record Products(double[] nt, double[] nn, double[] tn) {}

    @BeforeEach
    void listen() {
        Assumptions.assumeTrue(Backend.CUDA_EMULATED.reasonUnavailable().isEmpty(), "the emulator was not built");
        logger.setUseParentHandlers(false);
        logger.addHandler(handler);
    }

    @AfterEach
    void forget() {
        logger.removeHandler(handler);
        logger.setUseParentHandlers(true);
        System.clearProperty(PROPERTY);
    }

    private static Path emulated() {
        Path library = Path.of(System.getProperty("subtext.native.path")).resolveSibling("libcublasLt_emulated.so");
        assertThat(library).isRegularFile();
        return library;
    }

    private static Device open(Matmul matmul) {
        return Device.open(Backend.CUDA_EMULATED, DeviceOptions.defaults().withMatmul(matmul));
    }

    private static Products products(Device device) {
        Tensor[] t = new Tensor[3];
        try (Slab slab = device.slab("products", s -> {
            t[0] = s.tensor("a", DType.F32, M, K);
            t[1] = s.tensor("b", DType.F32, N, K);
            t[2] = s.tensor("c", DType.F32, M, N);
        })) {
            device.upload(t[0], normals(M * K, 1));
            device.upload(t[1], normals(N * K, 2));
            device.kernels().matmulNT(t[2], t[0], t[1]);
            double[] nt = device.downloadDoubles(t[2]);
            device.kernels().matmulNN(t[2], t[0], t[1]);
            double[] nn = device.downloadDoubles(t[2]);
            device.zero(t[2]);
            device.kernels().matmulTN(t[2], t[0], t[1]);
            device.kernels().matmulTN(t[2], t[0], t[1]); // adds
            assertThat(slab.used()).isPositive();
            return new Products(nt, nn, device.downloadDoubles(t[2]));
        }
    }

    private static float[] normals(int n, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        float[] x = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) random.nextGaussian();
        }
        return x;
    }

    /** Two sums of K products of standard normals in different order: a few roundings of numbers around sqrt(K). */
    private static void assertNear(double[] got, double[] want) {
        double bound = 4 * Math.ulp(1f) * K;
        assertThat(got).hasSameSizeAs(want);
        for (int i = 0; i < want.length; i++) {
            assertThat(got[i]).isCloseTo(want[i], within(bound));
        }
    }

    @Test
    void servesBackwardProductsAndLeavesForwardOnesExact() {
        System.setProperty(PROPERTY, emulated().toString());
        Products own;
        try (Device device = open(Matmul.OWN)) {
            assertThat(device.vendorMatmul()).isEmpty();
            own = products(device);
        }
        try (Device device = open(Matmul.AUTO)) {
            assertThat(device.vendorMatmul().orElseThrow())
                    .startsWith("cuBLASLt ")
                    .contains("libcublasLt_emulated.so");
            assertThat(device.exact()).isTrue();
            Products auto = products(device);
            assertThat(auto.nt()).as("forward, to the bit").isEqualTo(own.nt());
            assertNear(auto.nn(), own.nn());
            assertNear(auto.tn(), own.tn());
            assertThat(products(device).tn()).as("repeats itself").isEqualTo(auto.tn());
        }
        try (Device device = open(Matmul.VENDOR)) {
            assertThat(device.exact()).isFalse();
            assertNear(products(device).nt(), own.nt());
        }
        assertThat(log).isEmpty();
    }

    @Test
    void isDoneWithoutInOneLogLine() {
        System.setProperty(PROPERTY, "/nowhere/libcublasLt.so.13");
        try (Device device = open(Matmul.AUTO)) {
            assertThat(device.vendorMatmul()).isEmpty();
            assertThat(device.exact()).isTrue();
        }
        assertThat(log).hasSize(1);
        assertThat(log.getFirst()).contains("no cuBLASLt").contains("/nowhere/libcublasLt.so.13");
        assertThatThrownBy(() -> open(Matmul.VENDOR))
                .isInstanceOf(EngineException.BackendUnavailable.class)
                .hasMessageContaining("--matmul vendor: no cuBLASLt, tried /nowhere/libcublasLt.so.13")
                .hasMessageContaining("--matmul own");
        assertThat(Device.vendorMatmulSearch()).startsWith("not found: tried /nowhere");
    }

    @Test
    void theEmulatorTakesNoLibraryOfTheMachine() {
        try (Device device = open(Matmul.AUTO)) {
            assertThat(device.vendorMatmul()).isEmpty();
        }
    }
}
