package subtext.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import subtext.bindings.EngineException;
import subtext.io.AtomicFiles;
import subtext.io.Digest;
import subtext.random.Philox;
import subtext.text.BpeTokenizer;
import subtext.text.BpeTrainer;
import subtext.text.Tokenizer;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/**
 * A corpus of any size made into token shards, in memory that does not grow with it. It is read twice, thrice if a tokenizer is trained:
 *
 * <ol>
 *   <li>Scan: of every record the hash of its content and the keys of {@link MinHash} go to files; those of records with a key in common meet in one
 *       file, so duplicates are found a file at a time. A record is left out if an earlier one is equal or shares a key. Whether a document is
 *       held out is a function of its content alone, so a corpus may grow or be put in another order and no document changes sides.
 *   <li>Write: what is left is tokenised by all cores and goes to shards in the order of the corpus; training text is compared with the held-out
 *       chunks on the way.
 * </ol>
 *
 * <p>Documents of a warm start, in files of their own with a thought for each chunk, are looked through first and written last, to shards of
 * their own.
 *
 * <p>No progress is stored: the scan's result and every shard are files that are there whole or not at all, and starting again is looking
 * which are there. A killed and repeated command ends in the same bytes.
 */
public final class Prepare {
    /** Which records are left out because an earlier one says the same. */
    public enum Duplicates {
        /** None. */
        KEEP,
        /** Equal ones. */
        EXACT,
        /** Equal and nearly equal ones; see {@link MinHash}. */
        NEAR
    }

    /**
     * What decides the shards.
     *
     * @param corpus file, folder or glob
     * @param thoughts file, folder or glob of the documents of the warm start, in chunks with thoughts (see {@link Taught}); empty: none
     * @param mapping how records become texts
     * @param skipBad whether bad records are left out and counted
     * @param chunker cuts texts; empty: a text is one chunk
     * @param duplicates which are left out
     * @param heldOut share of the documents to hold out, by the hash of their content
     * @param tokenizer to use; empty: one is trained on the training part and the documents of the warm start
     * @param vocabulary ids of a tokenizer that is trained
     * @param shardBytes a shard ends with the document that reaches this
     */
    public record Settings(
            String corpus,
            String thoughts,
            Corpus.Mapping mapping,
            boolean skipBad,
            Optional<Chunker> chunker,
            Duplicates duplicates,
            double heldOut,
            Optional<Tokenizer> tokenizer,
            int vocabulary,
            int shardBytes) {
        /** Bytes of a shard unless told otherwise. */
        public static final int SHARD_BYTES = 64 << 20;

        /**
         * Checks the share to hold out.
         *
         * @throws EngineException.InvalidConfig unless it is at least 0 and below 1
         */
        public Settings {
            if (!(heldOut >= 0 && heldOut < 1)) {
                throw new EngineException.InvalidConfig(
                        "--held-out: expected a share of at least 0 and below 1, got " + heldOut);
            }
        }
    }

    /**
     * How far it is.
     *
     * @param stage {@code scan}, {@code tokenizer}, {@code write} or {@code thoughts}
     * @param records looked at
     * @param total of them; 0 while it is not known
     */
    public record Progress(String stage, long records, long total) {}

    /** Characters under way between threads, at most, unless one record alone has more. */
    private static final long UNDER_WAY = 4L << 20;

    /** Characters that a tokenizer is trained on, about. */
    private static final long TOKENIZER_TEXT = 32L << 20;

    /** Runs of held-out words held in memory, at most: 8 bytes each over the load of the table. */
    private static final int MOST_RUNS = 4 << 20;

    /** Bytes of corpus per file of keys, about: some hundred thousand keys of usual documents. */
    private static final long CORPUS_PER_FILE = 128L << 20;

    private static final int PROGRESS_EVERY = 1000;

    // what is in the folder, beside what Prepared names
    private static final String LOCK = ".lock";
    static final String PLAN = "plan.json";
    private static final String SCAN = "scan";
    private static final String TRAIN = "train";
    private static final String HELD_OUT_PART = "held-out";
    private static final String WARM_START = "warm-start";

    private static final JsonMapper JSON =
            JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

    private final Path out;
    private final Settings settings;
    private final Consumer<Progress> listener;
    private final List<Path> files;
    private final List<Path> thoughtFiles;
    private final int threads = Runtime.getRuntime().availableProcessors();
    private boolean folderIsNew;

    private Prepare(Path out, Settings settings, Consumer<Progress> listener) {
        this.out = out;
        this.settings = settings;
        this.listener = listener;
        this.files = CorpusFiles.of(settings.corpus());
        this.thoughtFiles = settings.thoughts().isEmpty() ? List.of() : CorpusFiles.of(settings.thoughts());
    }

    /**
     * Makes the shards, or goes on making them, or finds them made.
     *
     * @param out folder for them, new or begun with the same settings on the same files
     * @param settings what decides the shards
     * @param listener told now and then how far it is, on the thread that called
     * @return the finished folder, open
     * @throws EngineException.InvalidConfig if it was begun with others
     * @throws EngineException.InvalidInput if the corpus cannot be used
     * @throws java.io.UncheckedIOException if the folder cannot be read or written
     */
    public static Prepared run(Path out, Settings settings, Consumer<Progress> listener) {
        Prepare prepare = new Prepare(out, settings, listener);
        try {
            prepare.refuseForeign();
            prepare.folderIsNew = !Files.exists(out);
            AtomicFiles.createDirectories(out);
            try (FileChannel channel =
                            FileChannel.open(out.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                    FileLock lock = lock(channel)) {
                if (lock == null) {
                    throw new EngineException.InvalidConfig(out + ": another process is preparing here");
                }
                return prepare.run();
            }
        } catch (IOException e) {
            throw new UncheckedIOException(out + ": " + e.getMessage(), e);
        }
    }

    private static FileLock lock(FileChannel channel) throws IOException {
        try {
            return channel.tryLock();
        } catch (OverlappingFileLockException e) {
            return null;
        }
    }

    private Prepared run() throws IOException {
        claim();
        if (Prepared.isAt(out)) {
            return Prepared.open(out);
        }
        try {
            return make();
        } catch (EngineException.InvalidInput | EngineException.InvalidConfig e) {
            discard();
            throw e;
        }
    }

    private Prepared make() throws IOException {
        Path scanFolder = out.resolve(SCAN);
        Optional<Taught> taught = settings.thoughts().isEmpty()
                ? Optional.empty()
                : Optional.of(
                        Taught.scan(settings.thoughts(), settings.mapping().id(), settings.skipBad()));
        Scan scan = scan(scanFolder);
        Drops drops = drops(scanFolder, scan);
        Tokenizer tokenizer = tokenizer(scan, drops, taught);
        Prepared.Statistics statistics = write(scanFolder, scan, drops, taught, tokenizer);
        AtomicFiles.write(out.resolve(Prepared.MANIFEST), Prepared.sealed(statistics));
        delete(scanFolder);
        return Prepared.open(out);
    }

    /**
     * Takes away what was made of a corpus that is refused: whatever cures it, a mended file or another setting, makes the plan another
     * one. The plan goes last, so that a folder half cleared is still one of ours.
     */
    private void discard() throws IOException {
        for (String part : List.of(SCAN, TRAIN, HELD_OUT_PART, WARM_START)) {
            delete(out.resolve(part));
        }
        Files.deleteIfExists(out.resolve(Prepared.TOKENIZER));
        Files.deleteIfExists(out.resolve(PLAN));
        Files.deleteIfExists(out.resolve(LOCK));
        if (folderIsNew) {
            Files.delete(out);
        }
    }

    // ---- the plan: what the folder is for

    /** A folder with files in it that prepare did not begin gets nothing, not even a lock. */
    private void refuseForeign() throws IOException {
        if (!Files.isDirectory(out) || Files.exists(out.resolve(PLAN))) {
            return;
        }
        try (Stream<Path> there = Files.list(out)) {
            if (there.anyMatch(path -> !path.getFileName().toString().startsWith("."))) {
                throw new EngineException.InvalidConfig(
                        out + " is not empty and was not begun by prepare; name another folder");
            }
        }
    }

    /** Says in the folder what is prepared there, or sees that it is this. */
    private void claim() throws IOException {
        Map<String, Object> plan = new LinkedHashMap<>();
        plan.put("format", TokenShard.VERSION);
        plan.put("files", sources(files));
        if (!thoughtFiles.isEmpty()) {
            plan.put("thoughts", sources(thoughtFiles));
        }
        plan.put("context", settings.mapping().context().toString());
        plan.put("text", settings.mapping().text().toString());
        plan.put("thought", settings.mapping().thought().toString());
        plan.put("id", settings.mapping().id());
        plan.put("chunks", settings.chunker().map(Chunker::toString).orElse("whole"));
        plan.put("badRecords", settings.skipBad() ? "skip" : "stop");
        plan.put("duplicates", settings.duplicates().toString());
        plan.put("heldOut", settings.heldOut());
        plan.put(
                "tokenizer",
                settings.tokenizer().isPresent()
                        ? Prepared.digest(settings.tokenizer().get())
                        : "trained, " + settings.vocabulary() + " ids");
        plan.put("shardBytes", settings.shardBytes());
        JsonNode now = JSON.valueToTree(plan);
        Path file = out.resolve(PLAN);
        if (Files.exists(file)) {
            JsonNode before = JSON.readTree(Prepared.unsealed(file));
            Set<String> keys = new LinkedHashSet<>(plan.keySet());
            keys.addAll(before.propertyNames());
            for (String key : keys) {
                if (!String.valueOf(now.get(key)).equals(String.valueOf(before.get(key)))) {
                    throw new EngineException.InvalidConfig(out + " was begun with other "
                            + (key.equals("files") || key.equals("thoughts")
                                    ? key + ", or these have changed since"
                                    : key + " (" + before.get(key) + ", now " + now.get(key) + ")")
                            + "; name another folder, or remove this one");
                }
            }
            return;
        }
        AtomicFiles.write(file, Prepared.sealed(plan));
    }

    /** Files with what tells that one was changed. */
    private static List<List<String>> sources(List<Path> files) throws IOException {
        List<List<String>> sources = new ArrayList<>();
        for (Path file : files) {
            sources.add(List.of(
                    file.toString(),
                    Long.toString(Files.size(file)),
                    Files.getLastModifiedTime(file).toString()));
        }
        return sources;
    }

    // ---- scan

    /**
     * What the scan found.
     *
     * @param records good ones
     * @param characters of them
     * @param runs of words in held-out chunks
     */
    record Scan(int records, long characters, long runs) {}

    /** What is computed of a record by a thread of its own. */
    private record Scanned(int record, long hash, long[] keys, Optional<Leaks.Units> heldOut, Optional<String> name) {}

    private Scan scan(Path folder) throws IOException {
        Path result = folder.resolve("scan.json");
        if (Files.exists(result)) {
            return JSON.readValue(Files.readString(result), Scan.class);
        }
        delete(folder);
        AtomicFiles.createDirectories(folder);
        long[] characters = {0};
        int[] records = {0};
        long runs;
        try (Keys keys = new Keys(folder, keyFiles());
                Leaks.Writer held = new Leaks.Writer(folder.resolve("held-out"));
                Ordered<Numbered, Scanned> work =
                        new Ordered<>(threads, UNDER_WAY, this::scanned, scanned -> keep(scanned, keys, held))) {
            read(found -> {
                long heavy = characters(found);
                characters[0] += heavy;
                work.add(new Numbered(records[0]++, found), heavy);
                tell("scan", records[0], 0);
            });
            work.finish();
            keys.force();
            held.force();
            runs = held.runs();
        }
        AtomicFiles.flushFolder(folder);
        Scan scan = new Scan(records[0], characters[0], runs);
        AtomicFiles.write(result, JSON.writeValueAsString(scan));
        return scan;
    }

    private record Numbered(int record, Corpus.Found found) {}

    private Scanned scanned(Numbered numbered) {
        Corpus.Found found = numbered.found();
        long hash = hash(found);
        boolean out = isHeldOut(hash);
        boolean near = settings.duplicates() == Duplicates.NEAR;
        Optional<Leaks.Units> units = out ? Optional.of(Leaks.Units.of(units(found))) : Optional.empty();
        return new Scanned(
                numbered.record(),
                hash,
                near ? MinHash.keys(Words.of(found.context() + found.text())) : new long[0],
                units,
                found.named());
    }

    private void keep(Scanned scanned, Keys keys, Leaks.Writer held) throws IOException {
        keys.exact().add(scanned.hash(), scanned.record());
        for (long key : scanned.keys()) {
            keys.near().add(key, scanned.record());
        }
        if (scanned.name().isPresent()) {
            keys.names().add(firstBytes(scanned.name().get()), scanned.record());
        }
        if (scanned.heldOut().isPresent()) {
            held.add(scanned.record(), scanned.heldOut().get());
        }
    }

    private record Keys(KeyFiles exact, KeyFiles near, KeyFiles names) implements AutoCloseable {
        Keys(Path folder, int files) throws IOException {
            this(
                    new KeyFiles(folder, "exact", Math.max(1, files / 8)),
                    new KeyFiles(folder, "near", files),
                    new KeyFiles(folder, "name", Math.max(1, files / 8)));
        }

        void force() throws IOException {
            exact.force();
            near.force();
            names.force();
        }

        @Override
        public void close() throws IOException {
            exact.close();
            near.close();
            names.close();
        }
    }

    /** A power of two by the size of the corpus, with packed text taken for four times its size. */
    private int keyFiles() throws IOException {
        long bytes = 0;
        for (Path file : files) {
            bytes += 4 * Files.size(file);
        }
        return Math.clamp(Long.highestOneBit(Math.max(1, bytes / CORPUS_PER_FILE)) << 1, 4, 256);
    }

    // ---- what is left out

    /** Records that are left out, by why. */
    private record Drops(BitSet exact, BitSet near, BitSet sameName) {
        boolean left(int record) {
            return exact.get(record) || near.get(record) || sameName.get(record);
        }
    }

    private Drops drops(Path folder, Scan scan) throws IOException {
        BitSet exact = new BitSet(scan.records());
        BitSet near = new BitSet(scan.records());
        BitSet names = new BitSet(scan.records());
        try (Keys keys = new Keys(folder, keyFiles())) {
            keys.exact().later(exact);
            keys.near().later(near);
            keys.names().later(names);
        }
        near.andNot(exact);
        return new Drops(exact, near, names);
    }

    // ---- tokenizer

    private Tokenizer tokenizer(Scan scan, Drops drops, Optional<Taught> taught) throws IOException {
        Path file = out.resolve(Prepared.TOKENIZER);
        if (!Files.exists(file)) {
            Tokenizer tokenizer =
                    settings.tokenizer().isPresent() ? settings.tokenizer().get() : trained(scan, drops, taught);
            if (!tokenizer.controls().complete() && tokenizer instanceof BpeTokenizer bpe) {
                tokenizer = bpe.withControls();
            }
            tokenizer.save(file);
        }
        return Tokenizer.load(file);
    }

    /** On documents chosen by their hash, as many as have about the wanted number of characters. */
    private Tokenizer trained(Scan scan, Drops drops, Optional<Taught> taught) {
        BpeTrainer trainer = new BpeTrainer();
        double share = (double) TOKENIZER_TEXT / Math.max(1, scan.characters());
        long key = Philox.key(0, "tokenizer");
        int[] record = {0};
        read(found -> {
            int number = record[0]++;
            long hash = hash(found);
            if (!drops.left(number) && !isHeldOut(hash) && Philox.uniform(key, hash) < share) {
                trainer.add(found.context())
                        .add(found.text())
                        .add(found.thought().orElse(""));
            }
            tell("tokenizer", record[0], scan.records());
        });
        taught.ifPresent(documents -> {
            double part = (double) TOKENIZER_TEXT / Math.max(1, documents.characters());
            documents.teach(
                    trainer,
                    IntStream.range(0, documents.size())
                            .filter(i -> Philox.uniform(key, i) < part)
                            .toArray());
        });
        return trainer.train(settings.vocabulary());
    }

    // ---- write

    /** A record on its way to a shard; empty where it is in one already. */
    private record Written(
            Numbered numbered,
            boolean heldOut,
            Optional<Annotated> document,
            String problem,
            Optional<Leaks.Hits> hits) {}

    private Prepared.Statistics write(Path folder, Scan scan, Drops drops, Optional<Taught> taught, Tokenizer tokenizer)
            throws IOException {
        String digest = Digest.of(out.resolve(Prepared.TOKENIZER));
        Leaks leaks = new Leaks(folder.resolve("held-out"), leftOut(drops), scan.runs(), MOST_RUNS);
        Corpus.Bad bad = new Corpus.Bad(settings.skipBad());
        long[] characters = new long[2];
        long[] kept = new long[2];
        int[] record = {0};
        try (ShardWriter train = shards(TRAIN, tokenizer, digest);
                ShardWriter heldOut = shards(HELD_OUT_PART, tokenizer, digest);
                Ordered<Numbered, Written> work = new Ordered<>(
                        threads,
                        UNDER_WAY,
                        numbered -> written(numbered, drops, tokenizer, leaks, train.next(), heldOut.next()),
                        written -> {
                            written.hits().ifPresent(leaks::mark);
                            Corpus.Found found = written.numbered().found();
                            int side = written.heldOut() ? 1 : 0;
                            if (!written.problem().isEmpty()) {
                                bad.add(found.file(), found.unit(), found.number(), written.problem());
                                return;
                            }
                            kept[side]++;
                            characters[side] += characters(found);
                            if (written.document().isPresent()) {
                                (written.heldOut() ? heldOut : train)
                                        .add(
                                                written.numbered().record(),
                                                written.document().get());
                            }
                        })) {
            Corpus.stream(settings.corpus(), settings.mapping(), bad, found -> {
                int number = record[0]++;
                if (number >= scan.records()) {
                    throw changed();
                }
                if (drops.sameName().get(number)) {
                    return Optional.of("the id '" + found.named().orElse("") + "' was there before");
                }
                tell("write", record[0], scan.records());
                if (!drops.left(number) || settings.duplicates() == Duplicates.KEEP) {
                    try {
                        work.add(new Numbered(number, found), characters(found));
                    } catch (IOException e) {
                        throw new UncheckedIOException(out + ": " + e.getMessage(), e);
                    }
                }
                return Optional.empty();
            });
            if (record[0] != scan.records()) {
                throw changed();
            }
            work.finish();
            train.end(record[0]);
            heldOut.end(record[0]);
        }
        Prepared.Part warm = Prepared.Part.NONE;
        if (taught.isPresent()) {
            warm = writeTaught(taught.get(), tokenizer, digest, leaks);
        }
        Prepared.Part trained = part(TRAIN, characters[0]);
        Prepared.Part held = part(HELD_OUT_PART, characters[1]);
        if (trained.documents() == 0) {
            throw new EngineException.InvalidInput("corpus: " + settings.corpus()
                    + ": no document is left to train on of " + scan.records() + "; hold out fewer by --held-out");
        }
        Leaks.Count count = leaks.count();
        long unspelled = kept[0] + kept[1] - trained.documents() - held.documents();
        boolean counted = settings.duplicates() != Duplicates.KEEP;
        return new Prepared.Statistics(
                settings.corpus(),
                files.size(),
                settings.thoughts(),
                scan.records(),
                bad.count() + unspelled + taught.map(Taught::skipped).orElse(0L),
                Stream.concat(bad.problems().stream(), taught.stream().flatMap(t -> t.problems().stream()))
                        .toList(),
                counted ? drops.exact().cardinality() : 0,
                counted ? drops.near().cardinality() : 0,
                trained,
                held,
                warm,
                new Prepared.Leaked(count.chunks(), count.exact(), count.runs(), count.sampled()),
                digest,
                tokenizer.vocabulary());
    }

    /** A document of the warm start on its way to a shard; empty where it is in one already. */
    private record WrittenTaught(int place, Optional<Annotated> document, Leaks.Hits hits) {}

    private Prepared.Part writeTaught(Taught taught, Tokenizer tokenizer, String digest, Leaks leaks)
            throws IOException {
        try (ShardWriter shards = shards(WARM_START, tokenizer, digest);
                Ordered<Taught.Placed, WrittenTaught> work = new Ordered<>(
                        threads,
                        UNDER_WAY,
                        placed -> new WrittenTaught(
                                placed.place(),
                                placed.place() < shards.next()
                                        ? Optional.empty()
                                        : Optional.of(placed.document(tokenizer)),
                                leaks.look(Leaks.Units.of(placed.texts()))),
                        written -> {
                            leaks.mark(written.hits());
                            if (written.document().isPresent()) {
                                shards.add(written.place(), written.document().get());
                            }
                        })) {
            taught.each(placed -> {
                tell("thoughts", placed.place() + 1, taught.size());
                try {
                    work.add(placed, placed.characters());
                } catch (IOException e) {
                    throw new UncheckedIOException(out + ": " + e.getMessage(), e);
                }
            });
            work.finish();
            shards.end(taught.size());
        }
        return part(WARM_START, taught.characters());
    }

    private EngineException changed() {
        return new EngineException.InvalidInput(
                "corpus: " + settings.corpus() + " changed while it was read; start again in another folder");
    }

    private BitSet leftOut(Drops drops) {
        BitSet left = (BitSet) drops.sameName().clone();
        if (settings.duplicates() != Duplicates.KEEP) {
            left.or(drops.exact());
            left.or(drops.near());
        }
        return left;
    }

    private ShardWriter shards(String part, Tokenizer tokenizer, String digest) throws IOException {
        return new ShardWriter(out.resolve(part), tokenizer.vocabulary(), digest, settings.shardBytes());
    }

    private Written written(
            Numbered numbered, Drops drops, Tokenizer tokenizer, Leaks leaks, long trainFrom, long heldOutFrom) {
        Corpus.Found found = numbered.found();
        boolean heldOut = isHeldOut(hash(found));
        Optional<Leaks.Hits> hits = heldOut ? Optional.empty() : Optional.of(leaks.look(Leaks.Units.of(units(found))));
        if (numbered.record() < (heldOut ? heldOutFrom : trainFrom)) {
            return new Written(numbered, heldOut, Optional.empty(), "", hits);
        }
        try {
            String id = found.named().orElseGet(found::contentId);
            if (found.named().isEmpty() && drops.exact().get(numbered.record())) {
                id += "-" + numbered.record();
            }
            return new Written(numbered, heldOut, Optional.of(document(found, id, tokenizer)), "", hits);
        } catch (EngineException.InvalidInput e) {
            return new Written(numbered, heldOut, Optional.empty(), e.getMessage(), hits);
        }
    }

    private Annotated document(Corpus.Found found, String id, Tokenizer tokenizer) {
        List<Chunk> chunks = new ArrayList<>();
        List<Optional<Annotated.Thought>> thoughts = new ArrayList<>();
        if (!found.context().isEmpty()) {
            Chunk.add(chunks, tokenizer, found.context(), false);
            thoughts.add(Optional.empty());
        }
        for (String text : texts(found)) {
            Chunk.add(chunks, tokenizer, text, true);
            thoughts.add(found.thought().map(z -> new Annotated.Thought(tokenizer.encodeContinuation(z), 1f)));
        }
        return new Annotated(new Document(id, chunks), thoughts);
    }

    private Prepared.Part part(String name, long characters) throws IOException {
        List<Prepared.Shard> shards = new ArrayList<>();
        long documents = 0;
        long tokens = 0;
        for (int s = 0; Files.exists(ShardWriter.name(out.resolve(name), s)); s++) {
            Path file = ShardWriter.name(out.resolve(name), s);
            TokenShard.Header header = TokenShard.open(file).header();
            shards.add(new Prepared.Shard(
                    name + "/" + file.getFileName(),
                    header.documents(),
                    header.tokens(),
                    header.size(),
                    header.digest()));
            documents += header.documents();
            tokens += header.tokens();
        }
        return new Prepared.Part(documents, characters, tokens, shards);
    }

    // ---- what is the same in every reading

    private interface Reader {
        void accept(Corpus.Found found) throws IOException;
    }

    /** Reads the corpus; bad records are told of when it is written. */
    private void read(Reader reader) {
        Corpus.stream(settings.corpus(), settings.mapping(), new Corpus.Bad(settings.skipBad()), found -> {
            try {
                reader.accept(found);
                return Optional.empty();
            } catch (IOException e) {
                throw new UncheckedIOException(out + ": " + e.getMessage(), e);
            }
        });
    }

    private void tell(String stage, long records, long total) {
        if (records % PROGRESS_EVERY == 0) {
            listener.accept(new Progress(stage, records, total));
        }
    }

    private static long characters(Corpus.Found found) {
        return found.context().length()
                + found.text().length()
                + found.thought().map(String::length).orElse(0);
    }

    private List<String> texts(Corpus.Found found) {
        return settings.chunker().map(chunker -> chunker.cut(found.text())).orElse(List.of(found.text()));
    }

    /** The chunks, the first with the context. */
    private List<String> units(Corpus.Found found) {
        List<String> units = new ArrayList<>(texts(found));
        units.set(0, found.context() + units.getFirst());
        return units;
    }

    private boolean isHeldOut(long hash) {
        return Philox.uniform(HELD_OUT, hash) < settings.heldOut();
    }

    private static final long HELD_OUT = Philox.key(0, "held-out");

    private static long hash(Corpus.Found found) {
        return Long.parseUnsignedLong(found.contentId(), 16);
    }

    private static long firstBytes(String name) {
        return Long.parseUnsignedLong(
                Digest.of(name.getBytes(StandardCharsets.UTF_8)).substring(0, 16), 16);
    }

    private static void delete(Path folder) throws IOException {
        if (Files.isDirectory(folder)) {
            List<Path> all;
            try (Stream<Path> under = Files.walk(folder)) {
                all = under.sorted(Comparator.reverseOrder()).toList();
            }
            for (Path path : all) {
                Files.delete(path);
            }
        }
    }
}
