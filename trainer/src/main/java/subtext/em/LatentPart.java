package subtext.em;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
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

    private LatentPart() {}

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
     * @param records one for each chunk, in the order of the lines
     * @throws IOException if it cannot be written; what was there before is then as it was
     */
    public static void write(Path file, String source, double seconds, List<LatentRecord> records) throws IOException {
        Map<String, Object> header = new LinkedHashMap<>();
        header.put("format", FORMAT);
        header.put("sha256", SelfDigest.EMPTY);
        header.put("source", source);
        header.put("records", records.size());
        header.put("seconds", seconds);
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
        String cure = "; delete the file to draw it again";
        String text = SelfDigest.open(Files.readAllBytes(file), file, cure);
        int end = text.indexOf('\n');
        try {
            JsonNode header = JSON.readTree(text.substring(0, Math.max(0, end)));
            if (!header.path("format").asString("").equals(FORMAT)) {
                throw new EngineException.CorruptFile(file + ": line 1: expected format " + FORMAT + cure);
            }
            String body = text.substring(end + 1);
            if (source != null && !header.path("source").asString("").equals(source)) {
                throw new EngineException.CorruptFile(file + ": drawn from "
                        + header.path("source").asString("") + ", this run needs " + source + cure);
            }
            List<LatentRecord> records = new ArrayList<>();
            for (String line : body.split("\n")) {
                if (!line.isEmpty()) {
                    records.add(record(JSON.readTree(line)));
                }
            }
            return records;
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(file + ": not JSON lines: " + JsonProblem.inLine(e), e);
        }
    }

    /**
     * {@return the time that drawing a part took; 0 if its header does not say} The digest is not checked.
     *
     * @param file one that {@link #write} wrote
     * @throws IOException if it cannot be read
     */
    public static double seconds(Path file) throws IOException {
        try (var lines = Files.lines(file)) {
            return JSON.readTree(lines.findFirst().orElse("{}")).path("seconds").asDouble(0);
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
            samples.add(new ScoredSample(
                    Tokens.of(thought),
                    sample.path("finished").asBoolean(),
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
