package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.Backend;
import subtext.run.RunConfig;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * {@code em --device cuda} end to end without a GPU: a tiny run by the CUDA sources on the emulator, which goes under the name of the CUDA
 * library here. It agrees with the CPU's, and one killed by SIGKILL ends in the bits of the unbroken one.
 */
class EmulatedRunTest {
    private static final String NATIVE_PATH = "subtext.native.path";
    private static final String CUBLASLT_PATH = "subtext.cublaslt.path";

    private static final RunConfig TINY = RunConfig.preset("smoke")
            .with("device.backend", "cuda")
            .with("world.warmStart", "12")
            .with("world.documents", "10")
            .with("world.dev", "4")
            .with("world.heldOut", "4")
            .with("training.steps", "5")
            .with("training.tokens", "256")
            .with("training.checkpointEvery", "2")
            .with("em.iterations", "1")
            .with("em.part", "4")
            .with("baselines", "[]");

    @TempDir
    Path folder;

    @BeforeEach
    void nameTheEmulatorCuda() throws IOException {
        Path emulator = emulator();
        Assumptions.assumeTrue(Files.isRegularFile(emulator), "the emulator was not built");
        Path libraries = Files.createDirectory(folder.resolve("libraries"));
        Files.createSymbolicLink(libraries.resolve("libsubtext_cuda.so"), emulator);
        // before where libraries are looked for otherwise, in a pack for one
        System.setProperty(
                NATIVE_PATH, libraries + ":" + Objects.requireNonNullElse(System.getenv("SUBTEXT_NATIVE_PATH"), ""));
        Assumptions.assumeTrue(Backend.CUDA.reasonUnavailable().isEmpty(), "the emulator is of another build");
    }

    private static Path emulator() {
        return Path.of(System.getProperty("subtext.root", ".."), "native/target/build/libsubtext_cuda_emulated.so");
    }

    @AfterEach
    void forgetIt() throws IOException {
        Files.deleteIfExists(folder.resolve("libraries/libsubtext_cuda.so"));
        System.clearProperty(NATIVE_PATH);
        System.clearProperty(CUBLASLT_PATH);
    }

    private record Course(List<Double> losses, List<LatentRecord> thoughts, Map<String, String> models) {}

    private Course run(String name, boolean resume, RunConfig config) throws IOException {
        List<Double> losses = new ArrayList<>();
        EmRun.start(new EmSettings(folder.resolve(name), resume, false, config), event -> {
            if (event instanceof EmEvent.StepTrained step) {
                losses.add(step.loss());
            }
        });
        return new Course(losses, thoughts(folder.resolve(name)), models(folder.resolve(name)));
    }

    /**
     * The emulator adds products one by one in f32 where the CPU adds them in another order: losses around 4 nats differ by some roundings a
     * step. Both draw with the same random numbers, so a thought differs only where two candidates lie within that error, and all that
     * follows in it.
     */
    @Test
    void agreesWithTheCpu() throws IOException {
        Course emulated = run("emulated", false, TINY);
        Course cpu = run("cpu", false, TINY.with("device.backend", "cpu"));
        assertThat(emulated.losses()).hasSize(2 * 5).hasSameSizeAs(cpu.losses());
        for (int i = 0; i < cpu.losses().size(); i++) {
            assertThat(emulated.losses().get(i))
                    .as("loss of step %d", i)
                    .isCloseTo(cpu.losses().get(i), within(1e-4));
        }
        assertThat(emulated.thoughts()).hasSize(10).hasSameSizeAs(cpu.thoughts());
        int drawn = 0;
        int same = 0;
        for (int i = 0; i < cpu.thoughts().size(); i++) {
            List<ScoredSample> here = emulated.thoughts().get(i).samples();
            List<ScoredSample> there = cpu.thoughts().get(i).samples();
            for (int k = 0; k < there.size(); k++, drawn++) {
                if (here.get(k).thought().equals(there.get(k).thought())) {
                    same++;
                    assertThat(here.get(k).logQ()).isCloseTo(there.get(k).logQ(), within(1e-3));
                }
            }
        }
        assertThat(same).as("thoughts of %d that are the same", drawn).isGreaterThanOrEqualTo(drawn * 9 / 10);
    }

    /** A run that gave up the equality for speed says so, where people and programs look for it; one that did not says that too. */
    @Test
    void theRecordSaysWhetherLogProbabilitiesAreExact() throws IOException {
        RunConfig shorter = TINY.with("training.steps", "1").with("world.documents", "4");
        System.setProperty(
                CUBLASLT_PATH,
                emulator().resolveSibling("libcublasLt_emulated.so").toString());
        for (String matmul : List.of("vendor", "auto", "own")) {
            run(matmul, false, shorter.with("device.matmul", matmul));
            JsonNode provenance = JsonMapper.shared()
                    .readTree(Files.readString(folder.resolve(matmul).resolve("run.json")))
                    .path("provenance");
            String metrics = Files.readString(folder.resolve(matmul).resolve("metrics.jsonl"));
            assertThat(provenance.path("exactLogProbabilities").asBoolean())
                    .as(matmul)
                    .isEqualTo(!matmul.equals("vendor"));
            String products = provenance.path("products").asString();
            switch (matmul) {
                case "vendor" -> {
                    assertThat(products).startsWith("forward and backward by cuBLASLt ");
                    assertThat(metrics).contains("log-probabilities are not exact: --matmul vendor");
                }
                case "auto" -> assertThat(products).startsWith("own forward, backward by cuBLASLt ");
                default -> assertThat(products).isEqualTo("own");
            }
            if (!matmul.equals("vendor")) {
                assertThat(metrics).doesNotContain("not exact");
            }
        }
    }

    @Test
    void killedItGoesOnToTheSameBits() throws IOException, InterruptedException {
        Course whole = run("whole", false, TINY);
        assertThat(whole.models()).hasSize(2);
        // in the first training, past a checkpoint; among the parts of the E-step; in the second training
        for (String moment : List.of("StepTrained 4", "LatentsDrawn 2", "StepTrained 8")) {
            String name = "killed at " + moment;
            killAt(moment, folder.resolve(name));
            assertThat(models(folder.resolve(name))).as(name).isNotEqualTo(whole.models());
            Course resumed = run(name, true, TINY);
            assertThat(resumed.models()).as(name).isEqualTo(whole.models());
            assertThat(resumed.thoughts()).as(name).isEqualTo(whole.thoughts());
        }
    }

    /** Runs in a JVM of its own that dies by SIGKILL when the event of that name and count is announced. */
    private static void killAt(String moment, Path run) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(
                        ProcessHandle.current().info().command().orElseThrow(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        "--enable-native-access=ALL-UNNAMED",
                        "-D" + NATIVE_PATH + "=" + System.getProperty(NATIVE_PATH),
                        Victim.class.getName(),
                        run.toString(),
                        moment)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        try (BufferedReader out = process.inputReader(StandardCharsets.UTF_8)) {
            assertThat(out.readLine()).isEqualTo(moment);
        } finally {
            process.destroyForcibly();
        }
        assertThat(process.waitFor(30, TimeUnit.SECONDS)).isTrue();
        assertThat(process.exitValue()).as("killed").isEqualTo(128 + 9);
    }

    /** The run to be killed: announces one event and waits for its end. */
    static final class Victim {
        private Victim() {}

        public static void main(String[] arguments) {
            Map<String, Integer> seen = new TreeMap<>();
            EmRun.start(new EmSettings(Path.of(arguments[0]), false, false, TINY), event -> {
                String name = event.getClass().getSimpleName();
                if ((name + " " + seen.merge(name, 1, Integer::sum)).equals(arguments[1])) {
                    System.out.println(arguments[1]);
                    try {
                        Thread.sleep(60_000);
                    } catch (InterruptedException e) {
                        Thread.currentThread().interrupt();
                    }
                }
            });
        }
    }

    private static Map<String, String> models(Path run) throws IOException {
        Map<String, String> digests = new TreeMap<>();
        try (Stream<Path> files = Files.walk(run.resolve("seeds"))) {
            for (Path file :
                    files.filter(f -> f.endsWith("model/model.safetensors")).toList()) {
                digests.put(run.relativize(file).toString(), subtext.io.Digest.of(file));
            }
        }
        return digests;
    }

    private static List<LatentRecord> thoughts(Path run) throws IOException {
        List<LatentRecord> records = new ArrayList<>();
        try (Stream<Path> parts = Files.list(run.resolve("seeds/0/iterations/01/latents"))) {
            for (Path part : parts.sorted().toList()) {
                records.addAll(LatentPart.read(part, null));
            }
        }
        return records;
    }
}
