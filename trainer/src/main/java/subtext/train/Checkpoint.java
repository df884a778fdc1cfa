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
     * All of a training, read piece by piece as it is written: with both moments it is three times the model.
     *
     * @param size elements of the weights and of each moment
     * @param weights flat in the order of the parameter table, as are the moments
     */
    record Content(
            TrainState state,
            long size,
            Safetensors.Source weights,
            Safetensors.Source firstMoment,
            Safetensors.Source secondMoment) {}

    /**
     * What a checkpoint is read into, piece by piece. If it turns out to be damaged on the way, all of another one follows.
     *
     * @param size elements of the weights and of each moment
     */
    record Target(long size, Safetensors.Sink weights, Safetensors.Sink firstMoment, Safetensors.Sink secondMoment) {}

    private Checkpoint() {}

    /** Writes a checkpoint into a folder of checkpoints and deletes all but the newest {@code keep}. */
    static Path write(Path folder, Content content, int keep) throws IOException {
        List<Long> shape = List.of(content.size());
        Path target = seal(folder, String.format("step-%06d", content.state().step()), temporary -> {
            Safetensors.write(
                    temporary.resolve(TENSORS),
                    List.of(
                            Safetensors.Entry.floats("weights", Safetensors.Type.F32, shape, content.weights()),
                            Safetensors.Entry.floats("m", Safetensors.Type.F32, shape, content.firstMoment()),
                            Safetensors.Entry.floats("v", Safetensors.Type.F32, shape, content.secondMoment())),
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
    static void writeBest(Path folder, int step, long size, Safetensors.Source weights) throws IOException {
        seal(folder, best(step), temporary -> {
            Safetensors.write(
                    temporary.resolve(WEIGHTS),
                    List.of(Safetensors.Entry.floats("weights", Safetensors.Type.F32, List.of(size), weights)),
                    Map.of());
            Manifest.write(temporary, COMPLETE, WEIGHTS);
        });
    }

    /**
     * Reads what {@link #writeBest} wrote.
     *
     * @throws EngineException.CorruptFile if it is missing or damaged
     */
    static void readBest(Path folder, int step, Safetensors.Sink weights) throws IOException {
        verify(folder.resolve(best(step)));
        try (Safetensors tensors = Safetensors.open(folder.resolve(best(step)).resolve(WEIGHTS))) {
            tensors.floats("weights", weights);
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
     * Reads the newest checkpoint of a folder that is complete and undamaged.
     *
     * @param to takes its weights and moments; where none is found, its content is undefined
     * @param notice told, in one line each, of checkpoints passed over
     * @throws EngineException.CorruptFile if it is a checkpoint of a model of another size
     */
    static Optional<TrainState> restore(Path folder, Target to, Consumer<String> notice) throws IOException {
        if (!Files.isDirectory(folder)) {
            return Optional.empty();
        }
        for (Path checkpoint : list(folder, "step-").reversed()) {
            long size;
            try {
                verify(checkpoint);
                size = size(checkpoint);
                if (size == to.size()) {
                    return Optional.of(read(checkpoint, to));
                }
            } catch (EngineException.CorruptFile e) {
                notice.accept(e.getMessage() + "; going on from the checkpoint before it");
                continue;
            }
            throw new EngineException.CorruptFile(
                    folder + ": the checkpoint holds " + size + " parameters, the model has " + to.size());
        }
        return Optional.empty();
    }

    /** Elements of the weights and of each moment. */
    private static long size(Path checkpoint) throws IOException {
        Path file = checkpoint.resolve(TENSORS);
        try (Safetensors tensors = Safetensors.open(file)) {
            long size = tensors.info("weights").size();
            for (String moment : List.of("m", "v")) {
                if (tensors.info(moment).size() != size) {
                    throw new EngineException.CorruptFile(file + ": " + moment + " has "
                            + tensors.info(moment).size() + " elements, the weights have " + size);
                }
            }
            return size;
        }
    }

    /** A checkpoint whose digests are right; refused if a number in it is not finite. */
    private static TrainState read(Path checkpoint, Target to) throws IOException {
        Path file = checkpoint.resolve(TENSORS);
        try (Safetensors tensors = Safetensors.open(file)) {
            TrainState state = JSON.readValue(Files.readString(checkpoint.resolve(STATE)), TrainState.class);
            tensors.floats("weights", finite(file, "weights", to.weights()));
            tensors.floats("m", finite(file, "m", to.firstMoment()));
            tensors.floats("v", finite(file, "v", to.secondMoment()));
            return state;
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(checkpoint.resolve(STATE) + ": " + JsonProblem.of(e), e);
        }
    }

    private static Safetensors.Sink finite(Path file, String name, Safetensors.Sink next) {
        return (at, values) -> {
            for (int i = 0; i < values.length; i++) {
                if (!Float.isFinite(values[i])) {
                    throw new EngineException.CorruptFile(
                            file + ": " + name + " holds " + values[i] + " at element " + (at + i));
                }
            }
            next.accept(at, values);
        };
    }

    /**
     * Checks the digests of a checkpoint.
     *
     * @param checkpoint its folder, {@code step-...} or {@code best-...}
     * @throws EngineException.CorruptFile naming the file that is missing or damaged
     * @throws IOException if its list of digests cannot be read
     */
    public static void verify(Path checkpoint) throws IOException {
        Manifest.verify(checkpoint, COMPLETE, entries(checkpoint));
    }

    /**
     * Whether a folder is a checkpoint, or the weights of a lowest development loss; then its digests are checked.
     *
     * @param folder any, looked at by its name first
     * @param problems gets a line for each file that is missing or damaged
     * @return how many files were checked, 0 if it is none
     * @throws IOException if its list of digests cannot be read
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

    /**
     * Deletes a folder of checkpoints, if it is there. Killed meanwhile, it leaves nothing that is taken for a checkpoint.
     *
     * @param folder of the checkpoints of a training whose model is saved
     * @throws IOException if something in it cannot be deleted
     */
    public static void deleteAll(Path folder) throws IOException {
        if (Files.exists(folder)) {
            delete(folder);
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
