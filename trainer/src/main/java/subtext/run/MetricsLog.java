package subtext.run;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.zip.CRC32C;
import subtext.bindings.EngineException;
import subtext.io.AtomicFiles;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A file of one JSON object per line that is only ever added to. Each line ends with a checksum of itself and of the line before it, so a
 * changed, missing or half-written line is found. What a resumed run measures again is not written twice: a line is known by its kind
 * and the fields that say what it is of, and the first one stays.
 *
 * <p>Lines missing whole from the end cannot be told from lines not written yet; a finished run's {@code DONE} has the digest of the file.
 */
public final class MetricsLog implements AutoCloseable {
    private static final String CHECK = ",\"crc32c\":\"";
    private static final JsonMapper JSON = JsonMapper.builder().build();

    private final FileChannel channel;
    private final Set<String> known;
    private long last;

    private MetricsLog(FileChannel channel, Set<String> known, long last) {
        this.channel = channel;
        this.known = known;
        this.last = last;
    }

    /** Where the undamaged lines end, the checksum of the last, and what is wrong behind them. */
    private record Scan(int lines, long end, long last, Set<String> known, String problem) {}

    /**
     * Opens a log, or starts one. A last line that a power cut left half-written is cut off.
     *
     * @param file need not exist; its folder must
     * @return the log, behind its last whole line; to be closed by the caller
     * @throws EngineException.CorruptFile if a line before the last is damaged
     * @throws IOException if the file cannot be read, cut or created
     */
    public static MetricsLog open(Path file) throws IOException {
        byte[] bytes = Files.exists(file) ? Files.readAllBytes(file) : new byte[0];
        Scan scan = scan(bytes);
        if (scan.problem() != null && scan.end() + lineLength(bytes, (int) scan.end()) < bytes.length) {
            throw new EngineException.CorruptFile(
                    file + ": " + scan.problem() + "; delete the file to go on without what was measured");
        }
        FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        try {
            channel.truncate(scan.end());
            channel.position(scan.end());
        } catch (IOException | RuntimeException e) {
            channel.close();
            throw e;
        }
        return new MetricsLog(channel, scan.known(), scan.last());
    }

    /**
     * Checks every line of a log and changes nothing.
     *
     * @param file a log that exists
     * @param problems gets a line that names the first damage, if there is any
     * @throws IOException if the file cannot be read
     */
    public static void check(Path file, List<String> problems) throws IOException {
        problem(Files.readAllBytes(file)).ifPresent(problem -> problems.add(file + ": " + problem));
    }

    /** What is wrong with the content of a log. */
    static Optional<String> problem(byte[] bytes) {
        return Optional.ofNullable(scan(bytes).problem());
    }

    private static int lineLength(byte[] bytes, int from) {
        int at = from;
        while (at < bytes.length && bytes[at] != '\n') {
            at++;
        }
        return at - from + 1;
    }

    private static Scan scan(byte[] bytes) {
        Set<String> known = new HashSet<>();
        long last = 0;
        int lines = 0;
        int from = 0;
        while (from < bytes.length) {
            int to = from + lineLength(bytes, from);
            String where = "line " + (lines + 1) + " is ";
            if (to > bytes.length) {
                return new Scan(lines, from, last, known, where + "cut off");
            }
            String line = new String(bytes, from, to - from - 1, StandardCharsets.ISO_8859_1);
            int body = line.lastIndexOf(CHECK);
            if (body < 0) {
                return new Scan(lines, from, last, known, where + "damaged: it has no checksum");
            }
            long sum = sum(last, bytes, from, body);
            if (!line.substring(body).equals(CHECK + hex(sum) + "\"}")) {
                return new Scan(lines, from, last, known, where + "damaged: its checksum is not " + hex(sum));
            }
            try {
                known.add(key(JSON.readTree(new String(bytes, from, to - from - 1, StandardCharsets.UTF_8))));
            } catch (JacksonException e) {
                return new Scan(lines, from, last, known, where + "not JSON");
            }
            last = sum;
            lines++;
            from = to;
        }
        return new Scan(lines, from, last, known, null);
    }

    private static long sum(long before, byte[] bytes, int from, int length) {
        CRC32C crc = new CRC32C();
        crc.update(ByteBuffer.allocate(Long.BYTES).putLong(0, before));
        crc.update(bytes, from, length);
        return crc.getValue();
    }

    private static String hex(long sum) {
        return String.format("%08x", sum);
    }

    /** What a line is of. Two lines with the same key say the same thing, measured twice. */
    private static String key(JsonNode line) {
        StringBuilder key = new StringBuilder(line.path("event").asString(""));
        for (String field : List.of("at", "line", "seed", "stage", "step", "done", "iteration", "part", "name")) {
            key.append('\u0000').append(line.path(field).asString(""));
        }
        return key.toString();
    }

    /**
     * Adds a line, unless one of the same kind about the same thing is there.
     *
     * @param event kind of the line
     * @param fields JSON values by name, in this order in the line
     * @throws IOException if the line cannot be written; no part of it is then left in the file
     */
    public void add(String event, Map<String, Object> fields) throws IOException {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("event", event);
        all.putAll(fields);
        String text = JSON.writeValueAsString(all);
        if (!known.add(key(JSON.readTree(text)))) {
            return;
        }
        byte[] body = text.substring(0, text.length() - 1).getBytes(StandardCharsets.UTF_8);
        long sum = sum(last, body, 0, body.length);
        byte[] line = (new String(body, StandardCharsets.UTF_8) + CHECK + hex(sum) + "\"}\n")
                .getBytes(StandardCharsets.UTF_8);
        long from = channel.position();
        try {
            AtomicFiles.writeFully(channel, ByteBuffer.wrap(line));
        } catch (IOException e) {
            try {
                channel.truncate(from); // a full disk must not leave half a line
            } catch (IOException again) {
                e.addSuppressed(again);
            }
            throw e;
        }
        last = sum;
    }

    /**
     * Flushes what was added to the disk.
     *
     * @throws IOException if the disk does not take it
     */
    public void flush() throws IOException {
        channel.force(false);
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}
