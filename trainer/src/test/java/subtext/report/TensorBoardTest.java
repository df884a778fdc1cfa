package subtext.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.UnknownFieldSet;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.em.EmEvent;
import subtext.em.EmReport;
import subtext.em.EmRun;
import subtext.em.EmSettings;
import subtext.run.RunConfig;

/** Event files are read back by a parser that is not ours: frames, checksums, steps, tags and values. */
class TensorBoardTest {
    private record Scalar(long step, String tag, float value) {}

    @TempDir
    Path folder;

    @Test
    void everyScalarIsReadBack() throws IOException {
        try (TensorBoard board = new TensorBoard(folder)) {
            for (int step = 1; step <= 30; step++) {
                board.accept(new EmEvent.StepTrained(
                        7, "iteration 1: M-step", step, 30, 3.0 / step, 0.5 * step, 1e-3, 1e5, step == 13));
            }
            board.accept(new EmEvent.LatentsDrawn(7, 1, 300, 301, 25, 0.4, -5.25, 2e5));
        }
        List<Scalar> steps = read(folder.resolve("tensorboard/seed-7/iteration-1-M-step"));
        // every tenth step, and the one that was skipped
        assertThat(steps.stream().filter(s -> s.tag().equals("train/loss")))
                .containsExactly(
                        new Scalar(10, "train/loss", 3.0f / 10),
                        new Scalar(13, "train/loss", (float) (3.0 / 13)),
                        new Scalar(20, "train/loss", 3.0f / 20),
                        new Scalar(30, "train/loss", 3.0f / 30));
        assertThat(steps).hasSize(16);
        assertThat(read(folder.resolve("tensorboard/seed-7/iteration-1-E-step")))
                .contains(new Scalar(300, "e_step/elbo", -5.25f));
    }

    /** A second process leaves the files of the first as they are, even a torn one. */
    @Test
    void goingOnBeginsNewFiles() throws IOException {
        Path stage = folder.resolve("tensorboard/seed-0/x");
        Files.createDirectories(stage);
        Path torn = Files.write(stage.resolve("events.out.tfevents.1.1"), new byte[] {24, 0, 0});
        try (TensorBoard board = new TensorBoard(folder)) {
            board.accept(new EmEvent.StepTrained(0, "x", 10, 20, 1, 1, 1, 1, false));
        }
        assertThat(torn).hasBinaryContent(new byte[] {24, 0, 0});
        try (Stream<Path> files = Files.list(stage)) {
            assertThat(files).hasSize(2);
        }
    }

    /** What a run measured stands in its files, every figure at its iteration, every file whole. */
    @Test
    void aRunsFilesHoldWhatItMeasured() throws IOException {
        RunConfig config = RunConfig.preset("smoke")
                .with("device.backend", "cpu")
                .with("training.steps", "12")
                .with("baselines", "raw-token-match");
        Map<Long, Double> losses = new TreeMap<>();
        EmReport.Seed seed = EmRun.start(new EmSettings(folder.resolve("run"), false, false, config), event -> {
                    if (event instanceof EmEvent.StepTrained step
                            && step.stage().equals("iteration 2: M-step")) {
                        losses.put((long) step.step(), step.loss());
                    }
                })
                .seeds()
                .getFirst();
        Path root = folder.resolve("run/tensorboard/seed-0");
        List<Scalar> measured = read(root.resolve("em"));
        for (EmReport.Iteration it : seed.iterations()) {
            it.measured()
                    .elbo()
                    .forEach((k, bound) -> assertThat(measured)
                            .contains(new Scalar(it.iteration(), "held_out/elbo_" + k, (float) bound.mean())));
            EmReport.PriorGap gap = it.measured().priorGap().orElseThrow();
            it.drawn()
                    .flatMap(EmReport.Draws::health)
                    .ifPresent(health -> assertThat(measured)
                            .contains(
                                    new Scalar(it.iteration(), "thoughts/malformed", (float) health.malformed()),
                                    new Scalar(it.iteration(), "thoughts/entropy", (float) health.entropy())));
            assertThat(measured)
                    .contains(
                            new Scalar(it.iteration(), "held_out/nll_per_token", (float) it.measured()
                                    .perUnit()
                                    .orElseThrow()
                                    .token()
                                    .mean()),
                            new Scalar(it.iteration(), "held_out/nll_prior_thoughts", (float) gap.priorThoughts()),
                            new Scalar(it.iteration(), "held_out/accuracy", (float)
                                    it.measured().accuracy().getAsDouble()));
        }
        assertThat(measured.stream().filter(s -> s.tag().equals("held_out/elbo_8")))
                .hasSize(seed.iterations().size());
        assertThat(read(root.resolve("raw-token-match"))).contains(new Scalar(0, "held_out/nll", (float)
                seed.baselines().getFirst().measured().nll().orElseThrow().mean()));
        assertThat(losses).hasSize(12);
        assertThat(read(root.resolve("iteration-2-M-step")).stream()
                        .filter(s -> s.tag().equals("train/loss")))
                .containsExactly(
                        new Scalar(10, "train/loss", losses.get(10L).floatValue()),
                        new Scalar(12, "train/loss", losses.get(12L).floatValue()));
    }

    private static List<Scalar> read(Path stage) throws IOException {
        List<Path> files;
        try (Stream<Path> list = Files.list(stage)) {
            files = list.toList();
        }
        assertThat(files).hasSize(1);
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(files.getFirst())).order(ByteOrder.LITTLE_ENDIAN);
        List<Scalar> scalars = new ArrayList<>();
        boolean first = true;
        while (bytes.hasRemaining()) {
            int at = bytes.position();
            int length = Math.toIntExact(bytes.getLong());
            assertThat(bytes.getInt()).isEqualTo(masked(bytes.array(), at, 8));
            byte[] message = new byte[length];
            bytes.get(message);
            assertThat(bytes.getInt()).isEqualTo(masked(message, 0, length));
            UnknownFieldSet event = UnknownFieldSet.parseFrom(message);
            double wall =
                    Double.longBitsToDouble(event.getField(1).getFixed64List().getFirst());
            assertThat(wall).isBetween(1.6e9, 1e11);
            if (first) {
                assertThat(event.getField(3).getLengthDelimitedList().getFirst().toStringUtf8())
                        .isEqualTo("brain.Event:2");
                first = false;
                continue;
            }
            UnknownFieldSet value = UnknownFieldSet.parseFrom(UnknownFieldSet.parseFrom(
                            event.getField(5).getLengthDelimitedList().getFirst())
                    .getField(1)
                    .getLengthDelimitedList()
                    .getFirst());
            scalars.add(new Scalar(
                    event.getField(2).getVarintList().getFirst(),
                    value.getField(1).getLengthDelimitedList().getFirst().toStringUtf8(),
                    Float.intBitsToFloat(value.getField(2).getFixed32List().getFirst())));
        }
        return scalars;
    }

    /** CRC-32C bit by bit (Castagnoli, reflected 0x82f63b78), then TFRecord's mask. */
    private static int masked(byte[] bytes, int from, int length) {
        int crc = ~0;
        for (int i = from; i < from + length; i++) {
            crc ^= bytes[i] & 0xff;
            for (int bit = 0; bit < 8; bit++) {
                crc = (crc >>> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
            }
        }
        crc = ~crc;
        return ((crc >>> 15) | (crc << 17)) + 0xa282ead8;
    }
}
