package subtext.run;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;
import subtext.bindings.EngineException;
import subtext.em.LatentPart;
import subtext.io.AtomicFiles;
import subtext.io.JsonProblem;
import subtext.io.WholeFile;
import subtext.train.Checkpoint;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * The folder of a run, its paths by name, and the lock that keeps a second process out. Each finished piece is one file or folder that is
 * there whole or not at all; to resume is to look at what is there.
 *
 * <pre>
 * run.json                                     command, configuration, digests of inputs, and what computed it, with its own digest
 * metrics.jsonl                                what was measured, line by line, each with a checksum
 * metrics.csv  report.json  report.txt  DONE   of a finished run; DONE holds the digests of all of the above
 * lock                                         held while a process works here, and says by which
 * seeds/0/iterations/00/checkpoint/step-001000/{optimizer.safetensors, state.json, COMPLETE}     until DONE
 *                      /model/{config.json, model.safetensors, tokenizer.json}
 *                      /result.json  DONE      DONE holds the digests of model, result and thoughts
 * seeds/0/iterations/01/latents/part-00000.jsonl ...
 * seeds/0/baselines/oracle/...                 as an iteration
 * </pre>
 */
public final class RunDirectory implements AutoCloseable {
    /** Ends a finished stage. */
    public static final String DONE = "DONE";

    private static final String RUN = "run.json";
    private static final int LARGEST = 16 << 20;
    private static final String METRICS = "metrics.jsonl";
    private static final String CSV = "metrics.csv";
    private static final String REPORT = "report.json";
    private static final String TABLE = "report.txt";
    private static final String PAGE = "report.html";
    /** What of the provenance may decide bits. */
    private static final List<String> COMPUTING =
            List.of("version", "commit", "librarySha256", "products", "exactLogProbabilities");

    private static final String[] STAGE = {"model", "result.json", "shown.json", "latents"};
    private static final String[] SEALED = {RUN, METRICS, CSV, REPORT, TABLE, PAGE, "tensorboard"};
    private static final JsonMapper JSON = JsonMapper.builder()
            .disable(tools.jackson.databind.MapperFeature.SORT_PROPERTIES_ALPHABETICALLY)
            .enable(tools.jackson.databind.SerializationFeature.INDENT_OUTPUT)
            .build();

    private final Path root;
    private final FileChannel channel;
    private final FileLock lock;
    private final boolean resumed;
    private final List<String> notices;

    private RunDirectory(Path root, FileChannel channel, FileLock lock, boolean resumed, List<String> notices) {
        this.root = root;
        this.channel = channel;
        this.lock = lock;
        this.resumed = resumed;
        this.notices = List.copyOf(notices);
    }

    /**
     * Starts a run in a new folder, or goes on with one.
     *
     * @param root the folder; created if it is missing
     * @param resume whether an existing run is wanted
     * @param beginning what it is begun with; a resumed run must have begun with the same
     * @param provenance what computes it, as JSON values by name; a sitting by something else than the last is noted in {@code run.json}
     * @return the run, locked against other processes until it is closed
     * @throws EngineException.InvalidConfig if there is a run and it was not to be resumed, or it was begun with other settings or by another command
     * @throws EngineException.InvalidInput if another process works there, or the inputs are not those that the run began with
     * @throws EngineException.CorruptFile if the stored settings are damaged
     * @throws IOException if the folder cannot be read or written
     */
    public static RunDirectory open(Path root, boolean resume, Beginning beginning, Map<String, Object> provenance)
            throws IOException {
        boolean exists = Files.exists(root.resolve(RUN));
        if (exists && !resume) {
            throw new EngineException.InvalidConfig(
                    "run: " + root + " holds a run; go on with it by --resume, or name another folder by --run");
        }
        AtomicFiles.createDirectories(root);
        Path file = root.resolve("lock");
        FileChannel channel =
                FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
        try {
            FileLock lock = null;
            try {
                lock = channel.tryLock();
            } catch (OverlappingFileLockException e) {
                // this very process works there: said below
            }
            if (lock == null) {
                String owner = new String(Files.readAllBytes(file), StandardCharsets.UTF_8).strip();
                throw new EngineException.InvalidInput("run: " + root + " is in use by "
                        + (owner.isEmpty() ? "another process" : owner)
                        + "; wait for it, or name another folder by --run");
            }
            channel.truncate(0);
            AtomicFiles.writeFully(channel, ByteBuffer.wrap((owner() + "\n").getBytes(StandardCharsets.UTF_8)));
            AtomicFiles.sweep(root);
            List<String> notices = new ArrayList<>();
            if (exists) {
                ObjectNode run = stored(root);
                differ(config(root, run), beginning.config());
                differ(root, run, beginning);
                // from here on the run changes; its seal is put on again at the end
                Files.deleteIfExists(root.resolve(DONE));
                sit(root, run, JSON.valueToTree(provenance)).ifPresent(notices::add);
            } else {
                ObjectNode tree = JSON.createObjectNode();
                tree.put("sha256", SelfDigest.EMPTY);
                tree.put("command", beginning.command());
                tree.set("config", JSON.readTree(beginning.config().toJson()));
                tree.set("inputs", JSON.valueToTree(beginning.inputs()));
                tree.set("provenance", JSON.valueToTree(provenance));
                write(root, tree);
            }
            return new RunDirectory(root, channel, lock, exists, notices);
        } catch (IOException | RuntimeException | Error e) {
            channel.close(); // and with it goes the lock
            throw e;
        }
    }

    /** Who holds the lock, as a second process is told. */
    private static String owner() {
        ProcessHandle self = ProcessHandle.current();
        String host;
        try {
            host = Files.readString(Path.of("/proc/sys/kernel/hostname")).strip();
        } catch (IOException e) {
            host = "this machine";
        }
        return "process " + self.pid() + " of " + System.getProperty("user.name") + " on " + host + ", since "
                + self.info().startInstant().map(Object::toString).orElse("unknown");
    }

    /**
     * Seals a finished run: {@code DONE} over what was measured and how.
     *
     * @throws IOException if a file of the run cannot be read or {@code DONE} cannot be written
     */
    public void finish() throws IOException {
        Manifest.write(root, DONE, SEALED);
    }

    private static void write(Path root, ObjectNode run) throws IOException {
        run.put("sha256", SelfDigest.EMPTY);
        AtomicFiles.write(root.resolve(RUN), SelfDigest.seal(JSON.writeValueAsString(run) + "\n"));
    }

    /** Notes a sitting that other code computes than the last one, and says what has changed; empty if nothing has. */
    private static Optional<String> sit(Path root, ObjectNode run, ObjectNode now) throws IOException {
        ArrayNode sittings = run.withArray("sittings");
        JsonNode last = sittings.isEmpty() ? run.path("provenance") : sittings.get(sittings.size() - 1);
        List<String> changes = new ArrayList<>();
        differences("", last, now, changes);
        changes.removeIf(line -> COMPUTING.stream().noneMatch(name -> line.startsWith(name + " ")));
        if (changes.isEmpty()) {
            return Optional.empty();
        }
        sittings.add(now);
        write(root, run);
        return Optional.of(
                "run: goes on by other code: " + String.join("; ", changes)
                        + "; what is finished is kept, so the run's bits are no longer those of one sitting unless both compute alike");
    }

    /**
     * {@return the configuration of an existing run}
     *
     * @param root folder of the run
     * @throws EngineException.InvalidInput if there is no {@code run.json} to be read
     * @throws EngineException.CorruptFile if it is not as it was written
     */
    public static RunConfig storedConfig(Path root) {
        return config(root, stored(root));
    }

    /**
     * {@return the command that began an existing run, such as {@code em}; empty if its {@code run.json} is of a build that did not say}
     *
     * @param root folder of the run
     * @throws EngineException.InvalidInput if there is no {@code run.json} to be read
     * @throws EngineException.CorruptFile if it is not as it was written
     */
    public static Optional<String> storedCommand(Path root) {
        return Optional.of(stored(root).path("command").asString("")).filter(command -> !command.isEmpty());
    }

    /**
     * Refuses to go on with a run that another command began; a folder without a run, and a run of a build that did not note the command, pass.
     *
     * @param root folder of the run
     * @param command to go on by, such as {@code em}
     * @throws EngineException.InvalidConfig naming the command that began it
     * @throws EngineException.CorruptFile if {@code run.json} is not as it was written
     */
    public static void requireCommand(Path root, String command) {
        if (started(root)) {
            differ(root, storedCommand(root).orElse(command), command);
        }
    }

    private static void differ(Path root, String before, String now) {
        if (!before.equals(now)) {
            throw new EngineException.InvalidConfig("run: " + root + " was begun by '" + before + "', not by '" + now
                    + "'; resume it by that, or name another folder by --run");
        }
    }

    private static ObjectNode stored(Path root) {
        Path file = root.resolve(RUN);
        byte[] bytes;
        try {
            bytes = WholeFile.bytes(file, LARGEST);
        } catch (IOException e) {
            throw new EngineException.InvalidInput(
                    "run: cannot read " + file + ": is " + root + " the folder of a run?", e);
        }
        String text = SelfDigest.open(bytes, file, "; it was changed or damaged after the run began");
        try {
            return (ObjectNode) JSON.readTree(text);
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(file + ": not JSON: " + JsonProblem.of(e), e);
        }
    }

    private static RunConfig config(Path root, ObjectNode run) {
        try {
            return RunConfig.fromJson(run.path("config").toString());
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(root.resolve(RUN) + ": not JSON: " + JsonProblem.of(e), e);
        }
    }

    /**
     * {@return whether there is a run in a folder, finished or not}
     *
     * @param root need not exist
     */
    public static boolean started(Path root) {
        return Files.exists(root.resolve(RUN));
    }

    /**
     * {@return whether the run of a folder is finished} Looks for its seal and does not check it, as {@link #verify} does.
     *
     * @param root need not exist
     */
    public static boolean finished(Path root) {
        return started(root) && Files.exists(root.resolve(DONE));
    }

    /**
     * {@return the final report of a finished run, as {@code em --json} prints it}
     *
     * @param root folder of the run
     * @throws IOException if there is none, or it cannot be read
     */
    public static String report(Path root) throws IOException {
        return Files.readString(root.resolve(REPORT));
    }

    /**
     * {@return the folder of an iteration's stage, in a run's folder}
     *
     * @param root folder of the run
     * @param seed one of the run's
     * @param iteration 0 for the warm start
     */
    public static Path iteration(Path root, long seed, int iteration) {
        return iteration(root.resolve("seeds").resolve(Long.toString(seed)), iteration);
    }

    /**
     * {@return the folder of an iteration's stage, in a seed's folder}
     *
     * @param seed folder of the seed
     * @param iteration 0 for the warm start
     */
    public static Path iteration(Path seed, int iteration) {
        return seed.resolve("iterations").resolve(String.format(java.util.Locale.ROOT, "%02d", iteration));
    }

    /**
     * Refuses to go on with a run by other settings; the device, the bounds of warnings and what is kept may change.
     *
     * @param root folder of the run
     * @param wanted settings to go on with
     * @throws EngineException.InvalidConfig naming what is different
     * @throws EngineException.InvalidInput if the folder holds no run
     */
    public static void requireSame(Path root, RunConfig wanted) {
        differ(storedConfig(root), wanted);
    }

    /** Refuses settings that would change results; the device and what is kept may change. */
    private static void differ(RunConfig stored, RunConfig wanted) {
        JsonNode before = JSON.readTree(stored.toJson());
        JsonNode now = JSON.readTree(wanted.toJson());
        List<String> differences = new ArrayList<>();
        differences("", before, now, differences);
        differences.removeIf(line -> line.startsWith("device.backend")
                || line.startsWith("device.threads")
                || line.startsWith("device.slots")
                || line.startsWith("device.recompute")
                || line.startsWith("training.keepFinished")
                || line.startsWith("warnings."));
        if (!differences.isEmpty()) {
            throw new EngineException.InvalidConfig("run: started with other settings: "
                    + String.join("; ", differences) + "; resume with those, or name another folder by --run");
        }
    }

    /** Refuses another command and other inputs. A run of a build that did not note them is taken on trust. */
    private static void differ(Path root, ObjectNode run, Beginning now) {
        differ(root, run.path("command").asString(now.command()), now.command());
        now.inputs().forEach((name, digest) -> {
            String before = run.path("inputs").path(name).asString(digest);
            if (!before.equals(digest)) {
                throw new EngineException.InvalidInput(name + ": not what the run in " + root
                        + " began with: SHA-256 of its files was " + before + ", is " + digest
                        + "; put them back, or begin another run by --run");
            }
        });
    }

    private static void differences(String key, JsonNode before, JsonNode now, List<String> into) {
        if (before.isObject()) {
            for (var entry : before.properties()) {
                String name = key.isEmpty() ? entry.getKey() : key + "." + entry.getKey();
                differences(name, entry.getValue(), now.path(entry.getKey()), into);
            }
        } else if (!before.equals(now)) {
            into.add(key + " was " + before + ", is " + now);
        }
    }

    /** {@return the folder that everything of the run is in} */
    public Path root() {
        return root;
    }

    /** {@return lines that a person should know about going on with the run; none of a new one} */
    public List<String> notices() {
        return notices;
    }

    /** {@return whether the run had been started before} */
    public boolean resumed() {
        return resumed;
    }

    /**
     * {@return the folder of a seed, such as {@code seeds/0}}
     *
     * @param seed one of the run's
     */
    public Path seed(long seed) {
        return root.resolve("seeds").resolve(Long.toString(seed));
    }

    /** {@return the file of one line of JSON per thing measured} */
    public Path metrics() {
        return root.resolve(METRICS);
    }

    /** {@return the file of the table of iterations and baselines} */
    public Path csv() {
        return root.resolve(CSV);
    }

    /** {@return the file of the final report, as {@code em --json} prints it} */
    public Path report() {
        return root.resolve(REPORT);
    }

    /** {@return the file of the final report for a person to read} */
    public Path table() {
        return root.resolve(TABLE);
    }

    /**
     * Writes the page of a run into its folder, anew if there is one. The list of digests of a finished run then holds the digest of this
     * page; the other digests are left as they are, so that nothing damaged is made good.
     *
     * @param root folder of a run
     * @param page HTML, encoded as UTF-8
     * @return the file written
     * @throws IOException if it cannot be written
     */
    public static Path writePage(Path root, String page) throws IOException {
        Path target = root.resolve(PAGE);
        if (!Files.exists(root.resolve(DONE))) {
            AtomicFiles.write(target, page);
            return target;
        }
        try (FileChannel channel =
                        FileChannel.open(root.resolve("lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                FileLock lock = channel.tryLock()) {
            AtomicFiles.write(target, page);
            // a process at work here has taken the list away, and writes it over the new page at the end
            if (lock != null && Files.exists(root.resolve(DONE))) {
                Manifest.update(root, DONE, PAGE);
            }
        } catch (OverlappingFileLockException e) {
            AtomicFiles.write(target, page); // this very process works there
        }
        return target;
    }

    /**
     * Lets other processes in.
     *
     * @throws IOException if the lock file cannot be closed
     */
    @Override
    public void close() throws IOException {
        lock.release();
        channel.close();
    }

    /**
     * What {@link #verify} found.
     *
     * @param files how many were checked
     * @param problems one line for each file that is missing or damaged
     */
    public record Verified(int files, List<String> problems) {}

    /**
     * Checks everything in a run against the digests and checksums it was written with: settings, measurements, thoughts, checkpoints,
     * models and results, and the lists of digests themselves.
     *
     * @param root folder of the run, which is only read
     * @param progress told each path before it is checked
     * @return how many files were checked, and a line for each that is not as it was written
     * @throws EngineException.InvalidInput if the folder holds no run
     * @throws IOException if a file or folder cannot be read
     */
    public static Verified verify(Path root, Consumer<Path> progress) throws IOException {
        int files = 1;
        List<String> problems = new ArrayList<>();
        try {
            storedConfig(root);
        } catch (EngineException.CorruptFile | EngineException.InvalidConfig e) {
            problems.add(e.getMessage());
        }
        List<Path> all;
        try (Stream<Path> walk = Files.walk(root)) {
            all = walk.sorted().toList();
        }
        for (Path path : all) {
            String name = path.getFileName().toString();
            try {
                if (name.startsWith("part-") && name.endsWith(".jsonl")) {
                    progress.accept(path);
                    files++;
                    LatentPart.read(path, null);
                } else if (path.equals(root.resolve(METRICS))) {
                    progress.accept(path);
                    files++;
                    MetricsLog.check(path, problems);
                } else if (name.equals(DONE)) {
                    progress.accept(path);
                    files += path.getParent().equals(root)
                            ? Manifest.check(root, DONE, problems, SEALED)
                            : Manifest.check(path.getParent(), DONE, problems, STAGE);
                } else if (Files.isDirectory(path)) {
                    int found = Checkpoint.check(path, problems);
                    if (found > 0) {
                        progress.accept(path);
                        files += found;
                    }
                }
            } catch (EngineException.CorruptFile e) {
                problems.add(e.getMessage());
            }
        }
        return new Verified(files, problems.stream().distinct().toList());
    }
}
