package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.io.Digest;
import subtext.run.RunConfig;
import subtext.run.Seeds;

/**
 * Runs in processes whose whole heap is smaller than the weights, let alone a checkpoint of three times their size: start from noise,
 * checkpoint, killed, taken up again, an E-step, a second training, all files written. They end in the models of a run that had room.
 */
class SmallHeapTest {
    private static final RunConfig LARGE = RunConfig.preset("smoke")
            .with("device.backend", "cpu")
            .with("device.slots", "4")
            .with("model.layers", "10")
            .with("model.width", "512")
            .with("model.heads", "8")
            .with("model.kvHeads", "8")
            .with("model.headDim", "64")
            .with("model.hidden", "1408")
            .with("world.warmStart", "6")
            .with("world.documents", "4")
            .with("world.dev", "2")
            .with("world.heldOut", "2")
            .with("training.steps", "2")
            .with("training.warmup", "1")
            .with("training.tokens", "64")
            .with("training.microTokens", "64")
            .with("training.checkpointEvery", "1")
            .with("training.keepFinished", "true")
            .with("em.iterations", "1")
            .with("em.samples", "2")
            .with("evaluation.resamples", "20")
            .with("evaluation.elboSamples", "2")
            .with("evaluation.bounds", "[1,2]")
            .with("baselines", "[]");

    /** What a heap is given beside what is stated: collectors keep some of it for themselves. */
    private static final long BESIDE = 16 << 20;

    @TempDir
    Path folder;

    /** The run of a process: its folder, whether to resume it, and whether to end without a word after the first checkpoint. */
    static final class Child {
        private Child() {}

        public static void main(String[] arguments) {
            boolean dies = Boolean.parseBoolean(arguments[2]);
            EmRun.start(
                    new EmSettings(Path.of(arguments[0]), Boolean.parseBoolean(arguments[1]), false, LARGE), event -> {
                        if (event instanceof EmEvent.CheckpointWritten && dies) {
                            Runtime.getRuntime().halt(9);
                        }
                        if (event instanceof EmEvent.StageStarted stage && stage.done() > 0) {
                            System.out.println(stage.stage() + " goes on at " + stage.done());
                        }
                    });
        }
    }

    private static String run(long heap, int code, Path run, boolean resume, boolean dies)
            throws IOException, InterruptedException {
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-Xmx" + heap,
                        "-XX:TieredStopAtLevel=1",
                        "-cp",
                        System.getProperty("java.class.path"),
                        "--enable-native-access=ALL-UNNAMED",
                        Child.class.getName(),
                        run.toString(),
                        Boolean.toString(resume),
                        Boolean.toString(dies))
                .redirectErrorStream(true)
                .start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor(600, TimeUnit.SECONDS)).isTrue();
        assertThat(process.exitValue()).as(said).isEqualTo(code);
        return said;
    }

    @Test
    void aModelLargerThanTheHeapIsTrainedSavedAndResumed() throws IOException, InterruptedException {
        Material material = Materials.of(LARGE, new Seeds(0), Optional.empty(), line -> {});
        long heap = RunPlan.heap(material.bytes()) + BESIDE;
        Path small = folder.resolve("small");
        run(heap, 9, small, false, true);
        Path checkpoint = small.resolve("seeds/0/iterations/00/checkpoint");
        assertThat(checkpoint.toFile().list()).containsExactly("step-000001");
        assertThat(Files.size(checkpoint.resolve("step-000001/optimizer.safetensors")))
                .isGreaterThan(3 * heap);
        assertThat(run(heap, 0, small, true, false)).contains("iteration 0: warm start goes on at 1");

        Path large = folder.resolve("large");
        EmRun.start(new EmSettings(large, false, false, LARGE), event -> {});
        for (String file : List.of(
                "seeds/0/iterations/00/model/model.safetensors",
                "seeds/0/iterations/00/checkpoint/step-000002/optimizer.safetensors",
                "seeds/0/iterations/01/model/model.safetensors",
                "seeds/0/iterations/01/checkpoint/step-000002/optimizer.safetensors")) {
            assertThat(Files.size(small.resolve(file))).as(file).isGreaterThan(heap);
            assertThat(Digest.of(small.resolve(file))).as(file).isEqualTo(Digest.of(large.resolve(file)));
        }
    }
}
