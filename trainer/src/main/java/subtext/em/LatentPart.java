package subtext.em;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.zip.CRC32C;
import subtext.bindings.EngineException;
import subtext.io.AtomicFiles;
import subtext.io.JsonProblem;
import subtext.run.SelfDigest;
import subtext.text.Tokens;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A file of latent records, readable by a person: a header line, then one line per chunk. It is there whole or not at all, so a part that
 * is present is done. The header holds the digest of the file, and what the part was made from: a part of another model or other
 * keys is refused instead of being mixed in.
 */
public final class LatentPart {
    private static final String FORMAT = "subtext-latents-2";
    private static final JsonMapper JSON = JsonMapper.builder().build();

    private static final String CURE = "; delete the file to draw it again";

    private final Path file;

    /** Where each record's line begins, and the end of the file. */
    private final int[] starts;

    /** CRC-32C of each record's line. */
    private final int[] checksums;

    private LatentPart(Path file, int[] starts, int[] checksums) {
        this.file = file;
        this.starts = starts;
        this.checksums = checksums;
    }

    /**
     * {@return the name of a part's file, such as {@code part-00017.jsonl}}
     *
     * @param part number of the part, from 0
     */
    public static String name(int part) {
        return String.format("part-%05d.jsonl", part);
    }

    /**
     * Writes a part: temporary file, flush, rename.
     *
     * @param file replaced if it is there
     * @param source what the part is a function of, such as the digest of the proposing model and the plan
     * @param seconds time it took, told to people
     * @param mismatch largest difference found between sampler and scorer, nats; 0 on a device whose log-probabilities are exact
     * @param records one for each chunk, in the order of the lines
     * @throws IOException if it cannot be written; what was there before is then as it was
     */
    public static void write(Path file, String source, double seconds, double mismatch, List<LatentRecord> records)
            throws IOException {
        Map<String, Object> header = new LinkedHashMap<>();
        header.put("format", FORMAT);
        header.put("sha256", SelfDigest.EMPTY);
        header.put("source", source);
        header.put("records", records.size());
        header.put("seconds", seconds);
        header.put("mismatch", mismatch);
        StringBuilder text = new StringBuilder(JSON.writeValueAsString(header)).append('\n');
        for (LatentRecord record : records) {
            text.append(JSON.writeValueAsString(tree(record))).append('\n');
        }
        AtomicFiles.write(file, SelfDigest.seal(text.toString()));
    }

    /**
     * Reads a part back, every double to the bit.
     *
     * @param file one that {@link #write} wrote
     * @param source what the part must have been made from; {@code null} to take any
     * @return its records in the order of the lines
     * @throws EngineException.CorruptFile if the file is damaged or of another source
     * @throws IOException if it cannot be read
     */
    public static List<LatentRecord> read(Path file, String source) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        LatentPart part = whole(file, source, bytes);
        List<LatentRecord> records = new ArrayList<>();
        for (int i = 0; i < part.size(); i++) {
            records.add(part.parsed(i, bytes, part.starts[i]));
        }
        return records;
    }

    /**
     * Reads a part once through and keeps where its records stand, 8 bytes of each.
     *
     * @param file one that {@link #write} wrote
     * @param source what the part must have been made from; {@code null} to take any
     * @return the part, found whole
     * @throws EngineException.CorruptFile if the file is damaged or of another source
     * @throws IOException if it cannot be read
     */
    static LatentPart open(Path file, String source) throws IOException {
        return whole(file, source, Files.readAllBytes(file));
    }

    private static LatentPart whole(Path file, String source, byte[] bytes) throws IOException {
        SelfDigest.check(bytes, file, CURE);
        int[] starts = IntStream.concat(
                        IntStream.range(0, bytes.length)
                                .filter(i -> bytes[i] == '\n')
                                .map(i -> i + 1),
                        IntStream.of(bytes.length))
                .distinct()
                .toArray();
        JsonNode header;
        try {
            header = JSON.readTree(bytes, 0, starts[0]);
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(file + ": line 1: not JSON: " + JsonProblem.inLine(e), e);
        }
        if (!header.path("format").asString("").equals(FORMAT)) {
            throw new EngineException.CorruptFile(file + ": line 1: expected format " + FORMAT + CURE);
        }
        if (source != null && !header.path("source").asString("").equals(source)) {
            throw new EngineException.CorruptFile(
                    file + ": drawn from " + header.path("source").asString("") + ", this run needs " + source + CURE);
        }
        int[] checksums = new int[starts.length - 1];
        for (int i = 0; i < checksums.length; i++) {
            checksums[i] = checksum(bytes, starts[i], starts[i + 1] - starts[i]);
        }
        return new LatentPart(file, starts, checksums);
    }

    private static int checksum(byte[] bytes, int from, int length) {
        CRC32C crc = new CRC32C();
        crc.update(bytes, from, length);
        return (int) crc.getValue();
    }

    @Override
    public String toString() {
        return file.toString();
    }

    /** Number of records. */
    int size() {
        return checksums.length;
    }

    /**
     * One record, read from the file again.
     *
     * @throws EngineException.CorruptFile if its line is not the one that was found
     * @throws IOException if it cannot be read
     */
    LatentRecord record(int i) throws IOException {
        ByteBuffer line = ByteBuffer.allocate(starts[i + 1] - starts[i]);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            while (line.hasRemaining() && channel.read(line, (long) starts[i] + line.position()) >= 0) {}
        }
        if (line.hasRemaining() || checksum(line.array(), 0, line.capacity()) != checksums[i]) {
            throw new EngineException.CorruptFile(file + ": line " + (i + 2)
                    + ": changed since it was read first; resume the run to have it drawn again");
        }
        return parsed(i, line.array(), 0);
    }

    private LatentRecord parsed(int i, byte[] bytes, int from) {
        try {
            return record(JSON.readTree(bytes, from, starts[i + 1] - starts[i]));
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(
                    file + ": line " + (i + 2) + ": not JSON: " + JsonProblem.inLine(e), e);
        }
    }

    /**
     * {@return the time that drawing a part took; 0 if its header does not say} The digest is not checked.
     *
     * @param file one that {@link #write} wrote
     * @throws IOException if it cannot be read
     */
    public static double seconds(Path file) throws IOException {
        return header(file, "seconds");
    }

    /** The largest difference between sampler and scorer that was found in a part; 0 if its header does not say. The digest is not checked. */
    static double mismatch(Path file) throws IOException {
        return header(file, "mismatch");
    }

    private static double header(Path file, String name) throws IOException {
        try (var lines = Files.lines(file)) {
            return number(JSON.readTree(lines.findFirst().orElse("{}")).path(name));
        }
    }

    private static Map<String, Object> tree(LatentRecord record) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("document", record.document());
        tree.put("chunk", record.chunk());
        tree.put("chosen", record.chosen());
        List<Object> samples = new ArrayList<>();
        for (ScoredSample sample : record.samples()) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("thought", sample.thought().toArray());
            one.put("closed", sample.closed());
            one.put("finished", sample.finished());
            one.put("logQ", sample.logQ());
            one.put("logPrior", sample.score().logPrior());
            one.put("logLikelihood", sample.score().logLikelihood());
            samples.add(one);
        }
        tree.put("samples", samples);
        return tree;
    }

    private static LatentRecord record(JsonNode tree) {
        List<ScoredSample> samples = new ArrayList<>();
        for (JsonNode sample : tree.path("samples")) {
            JsonNode ids = sample.path("thought");
            int[] thought = new int[ids.size()];
            for (int i = 0; i < thought.length; i++) {
                thought[i] = ids.get(i).asInt();
            }
            boolean finished = sample.path("finished").asBoolean();
            samples.add(new ScoredSample(
                    Tokens.of(thought),
                    sample.path("closed").asBoolean(finished), // not told apart in older parts
                    finished,
                    number(sample.path("logQ")),
                    new JointScore(number(sample.path("logPrior")), number(sample.path("logLikelihood")))));
        }
        return new LatentRecord(
                tree.path("document").asString(),
                tree.path("chunk").asInt(),
                samples,
                tree.path("chosen").asInt());
    }

    // JSON has no infinity: Jackson writes it as the string "-Infinity"
    private static double number(JsonNode node) {
        return node.isString() ? Double.parseDouble(node.asString()) : node.asDouble();
    }
}
