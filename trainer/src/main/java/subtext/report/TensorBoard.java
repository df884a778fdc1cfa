package subtext.report;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import java.util.zip.CRC32C;
import subtext.em.EmEvent;
import subtext.em.EmReport;
import subtext.io.AtomicFiles;

/**
 * Writes a run's events as TensorBoard event files: a folder per seed and stage under {@code tensorboard/}, so that stages lie over one
 * another on the step axis, and a folder {@code em} with what was measured by iteration. A process that goes on with a run begins new
 * files and appends to none, so a torn file stays as it was.
 *
 * <p>A record is length (u64), masked CRC-32C of it, an {@code Event} message, masked CRC-32C of that, little-endian. Fields used: Event
 * {@code wall_time} 1, {@code step} 2, {@code file_version} 3, {@code summary} 5; Summary {@code value} 1; Value {@code tag} 1,
 * {@code simple_value} 2. TensorFlow, {@code event.proto} and {@code record_writer}.
 */
public final class TensorBoard implements Consumer<EmEvent>, AutoCloseable {
    private static final int MASK = 0xa282ead8;
    private static final int STEPS_BETWEEN = 10;
    private static final int VARINT = 0;
    private static final int FIXED64 = 1;
    private static final int BYTES = 2;
    private static final int FIXED32 = 5;

    private final Path root;
    private final String stamp;
    private final Map<String, FileChannel> files = new HashMap<>();

    /**
     * Writes into new files, one for each stage, made when its first event comes.
     *
     * @param root folder of the run; files come under {@code tensorboard} in it
     */
    public TensorBoard(Path root) {
        this.root = root.resolve("tensorboard");
        this.stamp = System.currentTimeMillis() / 1000 + "."
                + ProcessHandle.current().pid();
    }

    @Override
    public void accept(EmEvent event) {
        switch (event) {
            case EmEvent.StepTrained e -> {
                if (e.step() % STEPS_BETWEEN == 0 || e.step() == e.steps() || e.skipped()) {
                    String folder = "seed-" + e.seed() + "/" + e.stage();
                    write(folder, e.step(), "train/loss", e.loss());
                    write(folder, e.step(), "train/gradient_norm", e.gradientNorm());
                    write(folder, e.step(), "train/learning_rate", e.learningRate());
                    write(folder, e.step(), "train/tokens_per_second", e.tokensPerSecond());
                }
            }
            case EmEvent.LatentsDrawn e -> {
                String folder = "seed-" + e.seed() + "/iteration " + e.iteration() + ": E-step";
                write(folder, e.part(), "e_step/ess_per_sample", e.essShare());
                write(folder, e.part(), "e_step/elbo", e.elbo());
                write(folder, e.part(), "e_step/tokens_per_second", e.tokensPerSecond());
            }
            case EmEvent.IterationFinished e -> {
                int at = e.iteration().iteration();
                measured("seed-" + e.seed() + "/em", at, e.iteration().measured());
                e.iteration().drawn().ifPresent(drawn -> {
                    String folder = "seed-" + e.seed() + "/em";
                    write(folder, at, "thoughts/ess_per_sample", drawn.essShareMean());
                    write(folder, at, "thoughts/cut_off", drawn.cutOff());
                    write(folder, at, "thoughts/length", drawn.length());
                    write(folder, at, "thoughts/distinct_3", drawn.distinct3());
                    drawn.health().ifPresent(health -> {
                        write(folder, at, "thoughts/malformed", health.malformed());
                        write(folder, at, "thoughts/top_weight", health.topWeight());
                        write(folder, at, "thoughts/entropy", health.entropy());
                        write(folder, at, "thoughts/chosen_length", health.chosenLength());
                        write(folder, at, "thoughts/length_correlation", health.lengthCorrelation());
                        write(folder, at, "thoughts/duplicates", health.duplicates());
                        health.klPerToken().ifPresent(kl -> write(folder, at, "thoughts/kl_per_token", kl));
                    });
                    drawn.selectedCorrect().ifPresent(share -> write(folder, at, "thoughts/selected_correct", share));
                });
            }
            case EmEvent.BaselineFinished e ->
                measured(
                        "seed-" + e.seed() + "/" + e.baseline().name(),
                        0,
                        e.baseline().measured());
            case EmEvent.RunStarted e -> {}
            case EmEvent.StageStarted e -> {}
            case EmEvent.CheckpointWritten e -> {}
            case EmEvent.Notice e -> {}
            case EmEvent.Warned e -> {}
            case EmEvent.RunFinished e -> close();
        }
    }

    private void measured(String folder, int at, EmReport.Measured measured) {
        measured.accuracy().ifPresent(accuracy -> write(folder, at, "held_out/accuracy", accuracy));
        measured.elbo().forEach((k, bound) -> write(folder, at, "held_out/elbo_" + k, bound.mean()));
        measured.nll().ifPresent(nll -> write(folder, at, "held_out/nll", nll.mean()));
        measured.priorGap().ifPresent(gap -> {
            write(folder, at, "held_out/nll_prior_thoughts", gap.priorThoughts());
            write(folder, at, "held_out/nll_no_thought", gap.noThought());
        });
        measured.perUnit()
                .ifPresent(unit ->
                        write(folder, at, "held_out/nll_per_token", unit.token().mean()));
        measured.nllPerCharacter().ifPresent(nll -> write(folder, at, "held_out/nll_per_character", nll));
    }

    private void write(String folder, long step, String tag, double value) {
        try {
            FileChannel file = files.get(folder);
            if (file == null) {
                file = open(root.resolve(folder.replaceAll("[^A-Za-z0-9/._-]+", "-")));
                files.put(folder, file);
            }
            AtomicFiles.writeFully(file, record(scalar(System.currentTimeMillis() * 1e-3, step, tag, (float) value)));
        } catch (IOException e) {
            throw new UncheckedIOException(root + ": " + e.getMessage(), e);
        }
    }

    private FileChannel open(Path folder) throws IOException {
        Files.createDirectories(folder);
        FileChannel file = FileChannel.open(
                folder.resolve("events.out.tfevents." + stamp),
                StandardOpenOption.CREATE,
                StandardOpenOption.WRITE,
                StandardOpenOption.TRUNCATE_EXISTING);
        Message version = new Message();
        version.fixed64(1, Double.doubleToRawLongBits(System.currentTimeMillis() * 1e-3));
        version.bytes(3, "brain.Event:2".getBytes(StandardCharsets.UTF_8));
        AtomicFiles.writeFully(file, record(version.toByteArray()));
        return file;
    }

    /** An Event with one scalar. */
    static byte[] scalar(double wallTime, long step, String tag, float value) {
        Message summaryValue = new Message();
        summaryValue.bytes(1, tag.getBytes(StandardCharsets.UTF_8));
        summaryValue.fixed32(2, Float.floatToRawIntBits(value));
        Message summary = new Message();
        summary.bytes(1, summaryValue.toByteArray());
        Message event = new Message();
        event.fixed64(1, Double.doubleToRawLongBits(wallTime));
        event.varint(2, step);
        event.bytes(5, summary.toByteArray());
        return event.toByteArray();
    }

    /** A message in its frame of lengths and checksums. */
    static ByteBuffer record(byte[] message) {
        ByteBuffer framed = ByteBuffer.allocate(message.length + 16).order(ByteOrder.LITTLE_ENDIAN);
        framed.putLong(message.length);
        framed.putInt(masked(framed.array(), 0, Long.BYTES));
        framed.put(message);
        framed.putInt(masked(message, 0, message.length));
        return framed.flip();
    }

    private static int masked(byte[] bytes, int from, int length) {
        CRC32C crc = new CRC32C();
        crc.update(bytes, from, length);
        return Integer.rotateRight((int) crc.getValue(), 15) + MASK;
    }

    /** Closes the files; they are complete up to the last event told. */
    @Override
    public void close() {
        try {
            for (FileChannel file : files.values()) {
                file.force(true);
                file.close();
            }
        } catch (IOException e) {
            throw new UncheckedIOException(root + ": " + e.getMessage(), e);
        } finally {
            files.clear();
        }
    }

    /** A protocol buffer message being written. */
    private static final class Message extends ByteArrayOutputStream {
        void varint(int field, long value) {
            raw((long) field << 3 | VARINT);
            raw(value);
        }

        void fixed64(int field, long value) {
            raw((long) field << 3 | FIXED64);
            writeBytes(ByteBuffer.allocate(Long.BYTES)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putLong(value)
                    .array());
        }

        void fixed32(int field, int value) {
            raw((long) field << 3 | FIXED32);
            writeBytes(ByteBuffer.allocate(Integer.BYTES)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putInt(value)
                    .array());
        }

        void bytes(int field, byte[] value) {
            raw((long) field << 3 | BYTES);
            raw(value.length);
            writeBytes(value);
        }

        private void raw(long value) {
            long rest = value;
            while ((rest & ~0x7fL) != 0) {
                write((int) (rest & 0x7f | 0x80));
                rest >>>= 7;
            }
            write((int) rest);
        }
    }
}
