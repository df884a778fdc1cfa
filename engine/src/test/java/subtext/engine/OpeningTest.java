package subtext.engine;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.io.HuggingFace;
import subtext.model.LlamaConfig;
import subtext.testing.TestDevice;
import subtext.text.BpeTokenizer;
import subtext.text.BpeTrainer;

/**
 * A model folder opened, used and closed a thousand times leaves the process as large as it was: files, device, threads, slabs, and what the
 * foreign-function interface makes of them. A JVM of its own is measured, whose own growth is taken out as far as that is possible: a heap of
 * fixed size, touched from the start, and the plain compiler, after which 400 openings settle what is compiled and loaded. What the library
 * allocates is counted to the block by {@code op_tests memory}.
 */
@Tag("slow")
class OpeningTest {
    private static final int WARM = 400;
    private static final int TIMES = 1000;
    private static final long MOST_KIB = 1024;

    @TempDir
    Path folder;

    private long growthKib(String kind) throws IOException, InterruptedException {
        BpeTokenizer tokenizer = new BpeTrainer()
                .add("two plus two is four and four plus four is eight ".repeat(9))
                .train(280);
        LlamaConfig config = TestDevice.tiny(true).withVocabulary(tokenizer.vocabulary());
        HuggingFace.save(folder, config, tokenizer, TestDevice.weights(config, 3), DType.F32);
        List<String> command = new ArrayList<>(List.of(
                ProcessHandle.current().info().command().orElseThrow(),
                "-Xms64m",
                "-Xmx64m",
                "-XX:+AlwaysPreTouch",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                Opener.class.getName(),
                folder.toString(),
                kind));
        Path said = folder.resolve("said");
        Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(said.toFile())
                .start();
        boolean ended = process.waitFor(10, TimeUnit.MINUTES);
        process.destroyForcibly().waitFor();
        assertThat(ended).as("ended within ten minutes").isTrue();
        String output = Files.readString(said);
        assertThat(process.exitValue()).as(output).isZero();
        System.out.printf("%s: %d openings after %d grow the process by %s KiB%n", kind, TIMES, WARM, output.strip());
        return Long.parseLong(output.strip());
    }

    @Test
    void aThousandOpeningsGrowTheProcessByLessThanAMebibyte() throws IOException, InterruptedException {
        Assumptions.assumeTrue(TestDevice.backend() == Backend.CPU, "a GPU's driver has memory of its own");
        assertThat(growthKib("closed")).isLessThan(MOST_KIB);
    }

    /** The measurement can fail: models that are left open add up. */
    @Test
    void modelsLeftOpenAreSeen() throws IOException, InterruptedException {
        Assumptions.assumeTrue(TestDevice.backend() == Backend.CPU, "a GPU's driver has memory of its own");
        assertThat(growthKib("every-tenth-left-open")).isGreaterThan(4 * MOST_KIB);
    }

    /** The program that is measured. */
    static final class Opener {
        private static final List<Engine> KEPT = new ArrayList<>();

        private Opener() {}

        public static void main(String[] arguments) throws IOException {
            Path folder = Path.of(arguments[0]);
            boolean leaks = arguments[1].equals("every-tenth-left-open");
            long settled = 0;
            for (int i = 0; i < WARM + TIMES; i++) {
                if (i == WARM) {
                    settled = residentKib();
                }
                Engine engine = Engine.open(folder, TestDevice.backend(), TestDevice.options(), DType.F32);
                if (i % 20 == 0) {
                    engine.generate("two plus", engine.greedy(2));
                }
                if (leaks && i % 10 == 0) {
                    KEPT.add(engine);
                } else {
                    engine.close();
                }
            }
            System.out.println(residentKib() - settled);
            System.exit(0); // threads of devices left open must not keep it
        }

        private static long residentKib() throws IOException {
            System.gc();
            return Files.readAllLines(Path.of("/proc/self/smaps_rollup")).stream()
                    .filter(line -> line.startsWith("Rss:"))
                    .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
                    .findFirst()
                    .orElseThrow();
        }
    }
}
