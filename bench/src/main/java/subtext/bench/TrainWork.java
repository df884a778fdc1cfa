package subtext.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.Matmul;
import subtext.model.Initialisation;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.PackedBatch;
import subtext.model.ParameterTable;
import subtext.model.WeightPieces;
import subtext.text.Tokens;
import subtext.train.AdamW;

/** The trainer's step on one batch of random tokens: clear, forward, backward, global norm, AdamW. */
final class TrainWork implements AutoCloseable {
    final LlamaConfig config;
    final int sequences;
    final int length;
    private final Device device;
    private final Llama llama;
    private final AdamW optimizer;
    private final AdamW.Constants constants = new AdamW.Constants(0.9, 0.95, 1e-8, 0.01);
    private final List<int[]> tokens = new ArrayList<>();
    private final PackedBatch batch;
    private final float[] initial;
    private int steps;

    TrainWork(LlamaConfig config, Matmul unit, int threads, int sequences, int length) {
        this.config = config;
        this.sequences = sequences;
        this.length = length;
        int rows = sequences * length;
        device = Device.open(
                Backend.CPU, DeviceOptions.defaults().withThreads(threads).withMatmul(unit));
        llama = Llama.open(device, config, DType.F32, Llama.Capacity.training(rows, sequences));
        optimizer = new AdamW(llama);
        initial = Initialisation.weights(llama.table(), 1);
        start();
        SplittableRandom random = new SplittableRandom(1);
        List<PackedBatch.Sequence> packed = new ArrayList<>();
        for (int s = 0; s < sequences; s++) {
            int[] ids = random.ints(length + 1, 0, config.vocabulary()).toArray();
            tokens.add(ids);
            packed.add(PackedBatch.Sequence.next(Tokens.of(ids)));
        }
        batch = PackedBatch.of(packed);
    }

    private void start() {
        try {
            optimizer.start(WeightPieces.of(initial));
        } catch (IOException e) {
            throw new UncheckedIOException(e); // nothing is read
        }
    }

    int rows() {
        return sequences * length;
    }

    double flops() {
        return ModelShape.trainFlops(config, rows(), length);
    }

    long bytes() {
        return device.allocatedBytes();
    }

    /** One step. The norm is computed, as the trainer does, but nothing is clipped, since the peers do not. Mean loss before it. */
    double step() {
        llama.zeroGradients();
        double loss = llama.forwardBackward(batch, 1.0 / rows()) / rows();
        if (!Double.isFinite(optimizer.gradientNorm())) {
            throw new IllegalStateException("gradient norm: not finite");
        }
        optimizer.update(1, 1e-4, constants, ++steps);
        device.synchronize();
        return loss;
    }

    /** Back to the initial weights. */
    void restart() {
        start();
        steps = 0;
    }

    /** Checks that the loss begins at that of a uniform guess, near enough, and falls on a batch seen again. */
    void verify() {
        double first = step();
        double second = step();
        double third = step();
        if (!(Math.abs(first - Math.log(config.vocabulary())) < 0.3 && second < first && third < second)) {
            throw new IllegalStateException("loss: expected to fall from about " + Math.log(config.vocabulary())
                    + ", got " + first + ", " + second + ", " + third);
        }
        restart();
    }

    /** weights.f32, tightly packed in the order of the parameter table, and tokens.i32 (B, T + 1), for the peers. */
    void write(Path folder) throws IOException {
        ByteBuffer ids = ByteBuffer.allocate(4 * sequences * (length + 1)).order(ByteOrder.LITTLE_ENDIAN);
        tokens.forEach(sequence -> {
            for (int id : sequence) {
                ids.putInt(id);
            }
        });
        try (FileChannel out = create(folder.resolve("tokens.i32"))) {
            out.write(ids.flip());
        }
        try (FileChannel out = create(folder.resolve("weights.f32"))) {
            for (ParameterTable.Entry entry : llama.table().entries()) {
                boolean vocabulary =
                        entry.name().equals("embedding") || entry.name().equals("head");
                long n = vocabulary
                        ? (long) config.vocabulary() * config.width()
                        : entry.shape().size();
                ByteBuffer values = ByteBuffer.allocate(Math.toIntExact(4 * n)).order(ByteOrder.LITTLE_ENDIAN);
                values.asFloatBuffer().put(initial, Math.toIntExact(entry.offset()), (int) n);
                while (values.hasRemaining()) {
                    out.write(values);
                }
            }
        }
    }

    private static FileChannel create(Path file) throws IOException {
        return FileChannel.open(
                file, StandardOpenOption.CREATE, StandardOpenOption.WRITE, StandardOpenOption.TRUNCATE_EXISTING);
    }

    @Override
    public void close() {
        optimizer.close();
        llama.close();
        device.close();
    }
}
