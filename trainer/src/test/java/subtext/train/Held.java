package subtext.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.Consumer;
import subtext.io.Safetensors;

/** What a checkpoint of a small model holds, in arrays. */
record Held(TrainState state, float[] weights, float[] m, float[] v) {
    Checkpoint.Content content() {
        return new Checkpoint.Content(state, weights.length, source(weights), source(m), source(v));
    }

    private static Safetensors.Source source(float[] values) {
        return (at, n) -> Arrays.copyOfRange(values, (int) at, (int) at + n);
    }

    /** The newest undamaged checkpoint of a folder, of so many parameters. */
    static Optional<Held> newest(Path folder, int size, Consumer<String> notice) throws IOException {
        float[][] to = new float[3][size];
        return Checkpoint.restore(folder, new Checkpoint.Target(size, sink(to[0]), sink(to[1]), sink(to[2])), notice)
                .map(state -> new Held(state, to[0], to[1], to[2]));
    }

    private static Safetensors.Sink sink(float[] to) {
        return (at, values) -> System.arraycopy(values, 0, to, (int) at, values.length);
    }
}
