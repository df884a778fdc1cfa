package subtext.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Stream;
import subtext.bindings.EngineException;
import subtext.io.AtomicFiles;
import subtext.io.JsonProblem;
import subtext.io.Safetensors;
import subtext.run.Manifest;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/**
 * Training states on disk: a folder per checkpoint, {@code step-001000/{optimizer.safetensors, state.json, COMPLETE}}. The folder is
 * written under a temporary name, every file flushed, {@code COMPLETE} with the digests of the others last, then renamed. What is read is
 * checked against the digests; a damaged checkpoint is passed over for the one before it, of which at least one is kept. The weights of a
 * lowest development loss lie beside them in the same manner, {@code best-000100/{weights.safetensors, COMPLETE}}.
 *
 * <p>The weights are stored flat at full precision together with both moments, so a resumed training goes on with the same bits.
 */
public final class Checkpoint {
    static final String COMPLETE = "COMPLETE";
    private static final String TENSORS = "optimizer.safetensors";
    private static final String STATE = "state.json";
    private static final String WEIGHTS = "weights.safetensors";
    private static final JsonMapper JSON = JsonMapper.builder().build();

    /**
     * All of a training.
     *
     * @param weights flat in the order of the parameter table, as are the moments
     */
    public record Content(TrainState state, float[] weights, float[] firstMoment, float[] secondMoment) {}

    private Checkpoint() {}

    /** Writes a checkpoint into a folder of checkpoints and deletes all but the newest {@code keep}. */
    static Path write(Path folder, Content content, int keep) throws IOException {
        List<Long> shape = List.of((long) content.weights().length);
        Path target = seal(folder, String.format("step-%06d", content.state().step()), temporary -> {
            Safetensors.write(
                    temporary.resolve(TENSORS),
                    List.of(
                            Safetensors.Entry.floats("weights", Safetensors.Type.F32, shape, content.weights(), 0),
                            Safetensors.Entry.floats("m", Safetensors.Type.F32, shape, content.firstMoment(), 0),
                            Safetensors.Entry.floats("v", Safetensors.Type.F32, shape, content.secondMoment(), 0)),
                    Map.of());
            AtomicFiles.write(temporary.resolve(STATE), JSON.writeValueAsString(content.state()));
            Manifest.write(temporary, COMPLETE, TENSORS, STATE);
        });
        List<Path> all = list(folder, "step-");
        for (Path old : all.subList(0, Math.max(0, all.size() - keep))) {
            delete(old);
        }
        deleteUnnamedBest(folder, all.subList(Math.max(0, all.size() - keep), all.size()));
        return target;
    }

    /** Deletes weights of a lowest development loss that no checkpoint names any more; none if it cannot be known what they name. */
    private static void deleteUnnamedBest(Path folder, List<Path> checkpoints) throws IOException {
        List<Path> best = list(folder, "best-");
        if (best.isEmpty()) {
            return;
        }
        Set<String> named = new HashSet<>();
        for (Path checkpoint : checkpoints) {
            try {
                TrainState state = JSON.readValue(Files.readString(checkpoint.resolve(STATE)), TrainState.class);
                named.add(best(state.bestStep()));
            } catch (IOException | JacksonException e) {
                return; // a damaged one; the next write looks again
            }
        }
        for (Path each : best) {
            if (!named.contains(each.getFileName().toString())) {
                delete(each);
            }
        }
    }

    /** Writes the weights of the lowest development loss; those before stay as long as a checkpoint names them. */
    static void writeBest(Path folder, int step, float[] weights) throws IOException {
        seal(folder, best(step), temporary -> {
            Safetensors.write(
                    temporary.resolve(WEIGHTS),
                    List.of(Safetensors.Entry.floats(
                            "weights", Safetensors.Type.F32, List.of((long) weights.length), weights, 0)),
                    Map.of());
            Manifest.write(temporary, COMPLETE, WEIGHTS);
        });
    }

    /**
     * Reads what {@link #writeBest} wrote.
     *
     * @throws EngineException.CorruptFile if it is missing or damaged
     */
    static float[] readBest(Path folder, int step) throws IOException {
        verify(folder.resolve(best(step)));
        try (Safetensors tensors = Safetensors.open(folder.resolve(best(step)).resolve(WEIGHTS))) {
            return tensors.floats("weights");
        }
    }

    private static String best(int step) {
        return String.format("best-%06d", step);
    }

    @FunctionalInterface
    private interface Body {
        void write(Path temporary) throws IOException;
    }

    /** Writes a folder under a temporary name and renames it; if anything fails, what was there before is as it was. */
    private static Path seal(Path folder, String name, Body body) throws IOException {
        AtomicFiles.createDirectories(folder);
        for (Path leftover : list(folder, ".")) {
            delete(leftover); // of a write that was killed
        }
        Path temporary = folder.resolve("." + name + AtomicFiles.TEMPORARY);
        Path target = folder.resolve(name);
        try {
            Files.createDirectory(temporary);
            body.write(temporary);
            if (Files.exists(target)) {
                delete(target); // a damaged one of the same step that was passed over
            }
            AtomicFiles.move(temporary, target);
        } catch (IOException | RuntimeException e) {
            try {
                if (Files.exists(temporary)) {
                    delete(temporary);
                }
            } catch (IOException | RuntimeException again) {
                e.addSuppressed(again); // the next write tries once more
            }
            throw e;
        }
        return target;
    }

    /**
     * The newest checkpoint of a folder that is complete and undamaged.
     *
     * @param notice told, in one line each, of checkpoints passed over
     */
    static Optional<Content> newest(Path folder, Consumer<String> notice) throws IOException {
        if (!Files.isDirectory(folder)) {
            return Optional.empty();
        }
        for (Path checkpoint : list(folder, "step-").reversed()) {
            try {
                return Optional.of(read(checkpoint));
            } catch (EngineException.CorruptFile e) {
                notice.accept(e.getMessage() + "; going on from the checkpoint before it");
            }
        }
        return Optional.empty();
    }

    /**
     * Reads a checkpoint.
     *
     * @throws EngineException.CorruptFile if a file is missing, its digest is not the recorded one or a number in it not finite
     */
    public static Content read(Path checkpoint) throws IOException {
        verify(checkpoint);
        try (Safetensors tensors = Safetensors.open(checkpoint.resolve(TENSORS))) {
            return new Content(
                    JSON.readValue(Files.readString(checkpoint.resolve(STATE)), TrainState.class),
                    finite(checkpoint, tensors, "weights"),
                    finite(checkpoint, tensors, "m"),
                    finite(checkpoint, tensors, "v"));
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(checkpoint.resolve(STATE) + ": " + JsonProblem.of(e), e);
        }
    }

    private static float[] finite(Path checkpoint, Safetensors tensors, String name) throws IOException {
        float[] values = tensors.floats(name);
        for (int i = 0; i < values.length; i++) {
            if (!Float.isFinite(values[i])) {
                throw new EngineException.CorruptFile(
                        checkpoint.resolve(TENSORS) + ": " + name + " holds " + values[i] + " at element " + i);
            }
        }
        return values;
    }

    /**
     * Checks the digests of a checkpoint.
     *
     * @throws EngineException.CorruptFile naming the file that is missing or damaged
     */
    public static void verify(Path checkpoint) throws IOException {
        Manifest.verify(checkpoint, COMPLETE, entries(checkpoint));
    }

    /**
     * Whether a folder is a checkpoint, or the weights of a lowest development loss; then its digests are checked.
     *
     * @param problems gets a line for each file that is missing or damaged
     * @return how many files were checked, 0 if it is none
     */
    public static int check(Path folder, List<String> problems) throws IOException {
        String name = folder.getFileName().toString();
        return name.matches("(step|best)-\\d{6,}") && Files.isDirectory(folder)
                ? Manifest.check(folder, COMPLETE, problems, entries(folder))
                : 0;
    }

    private static String[] entries(Path folder) {
        return folder.getFileName().toString().startsWith("best-")
                ? new String[] {WEIGHTS}
                : new String[] {TENSORS, STATE};
    }

    private static List<Path> list(Path folder, String prefix) throws IOException {
        try (Stream<Path> entries = Files.list(folder)) {
            return new ArrayList<>(entries.filter(
                            entry -> entry.getFileName().toString().startsWith(prefix))
                    .sorted(Comparator.comparing(entry -> entry.getFileName().toString()))
                    .toList());
        }
    }

    /**
     * Deletes a folder and what is in it. It loses its name first: what a kill leaves of it is not taken for a checkpoint, and is deleted with
     * other leftovers.
     */
    static void delete(Path folder) throws IOException {
        String name = folder.getFileName().toString();
        Path doomed =
                name.startsWith(".") ? folder : folder.resolveSibling("." + name + ".deleted" + AtomicFiles.TEMPORARY);
        try {
            if (!doomed.equals(folder)) {
                AtomicFiles.move(folder, doomed);
            }
            empty(doomed);
        } catch (IOException e) {
            if (Files.exists(doomed)) {
                empty(doomed); // a fault that passes is not to leave anything
            }
            throw e;
        }
    }

    private static void empty(Path folder) throws IOException {
        List<Path> inside;
        try (Stream<Path> entries = Files.walk(folder)) {
            inside = entries.sorted(Comparator.reverseOrder()).toList();
        }
        for (Path entry : inside) {
            Files.deleteIfExists(entry);
        }
    }
}
