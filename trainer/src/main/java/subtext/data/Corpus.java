package subtext.data;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.zip.GZIPInputStream;
import subtext.bindings.EngineException;
import subtext.io.Digest;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Documents read from a file: JSON lines (one object a line), or plain text (documents between blank lines). A name that ends in
 * {@code .gz} is unpacked.
 *
 * @param records in the order of the file
 * @param skipped records left out because they were bad
 * @param firstProblem what was wrong with the first of them; empty if none was
 */
public record Corpus(List<Record> records, int skipped, String firstProblem) {
    /**
     * @param id unique in the corpus and stable: a field of the record, or else made of the digest of its content
     * @param context what stands before the text and takes no thought; may be empty
     * @param text what is to be explained
     * @param thought the thought beneath it, where the record has one
     */
    public record Record(String id, String context, String text, Optional<String> thought) {}

    /**
     * How records become texts.
     *
     * @param context may be empty
     * @param thought may be empty: no thoughts are known
     * @param id name of the field that names a record; empty: its content does
     */
    public record Mapping(Template context, Template text, Template thought, String id) {}

    private static final JsonMapper JSON = new JsonMapper(JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build());

    public Corpus {
        records = List.copyOf(records);
    }

    /**
     * Reads a file whole.
     *
     * @param skipBad leave out records that cannot be used and count them; false: the first one stops
     * @throws EngineException.InvalidInput if the file is missing, empty or unreadable, or a record is bad, naming file, line and cure
     */
    public static Corpus read(Path file, Mapping mapping, boolean skipBad) {
        if (!Files.isRegularFile(file)) {
            throw new EngineException.InvalidInput("corpus: no file " + file);
        }
        String name = file.getFileName().toString().toLowerCase(Locale.ROOT).replaceFirst("\\.gz$", "");
        Reading reading = new Reading(file, mapping, skipBad);
        try (BufferedReader lines = open(file)) {
            if (name.endsWith(".txt") || name.endsWith(".text")) {
                reading.paragraphs(lines);
            } else if (name.endsWith(".jsonl") || name.endsWith(".json") || name.endsWith(".ndjson")) {
                reading.jsonLines(lines);
            } else {
                throw new EngineException.InvalidInput("corpus: " + file
                        + ": the name should end in .jsonl (JSON lines) or .txt (plain text), or that and .gz");
            }
        } catch (CharacterCodingException e) {
            throw new EngineException.InvalidInput(
                    "corpus: " + file + ": line " + (reading.line + 1) + ": not UTF-8", e);
        } catch (IOException | UncheckedIOException e) {
            throw new EngineException.InvalidInput("corpus: cannot read " + file + " (" + e.getMessage() + ")", e);
        }
        if (reading.records.isEmpty()) {
            throw new EngineException.InvalidInput("corpus: " + file + " holds no usable document"
                    + (reading.problem.isEmpty() ? "" : "; the first problem: " + reading.problem));
        }
        return new Corpus(reading.records, reading.skipped, reading.problem);
    }

    private static BufferedReader open(Path file) throws IOException {
        var bytes = Files.newInputStream(file);
        return new BufferedReader(new InputStreamReader(
                file.toString().endsWith(".gz") ? new GZIPInputStream(bytes) : bytes,
                StandardCharsets.UTF_8.newDecoder().onMalformedInput(CodingErrorAction.REPORT)));
    }

    private static final class Reading {
        final Path file;
        final Mapping mapping;
        final boolean skipBad;
        final List<Record> records = new ArrayList<>();
        final Map<String, Integer> seen = new HashMap<>();
        int line;
        int skipped;
        String problem = "";

        Reading(Path file, Mapping mapping, boolean skipBad) {
            this.file = file;
            this.mapping = mapping;
            this.skipBad = skipBad;
        }

        void jsonLines(BufferedReader lines) throws IOException {
            for (String text = lines.readLine(); text != null; text = lines.readLine()) {
                line++;
                text = withoutMark(text);
                if (text.isBlank()) {
                    continue;
                }
                try {
                    JsonNode record = JSON.readTree(text);
                    if (!record.isObject()) {
                        throw new EngineException.InvalidInput("expected a JSON object");
                    }
                    add(
                            mapping.id().isEmpty() ? Optional.empty() : Optional.of(id(record)),
                            mapping.context().render(record),
                            mapping.text().render(record),
                            thought(record));
                } catch (JacksonException e) {
                    bad("not JSON: " + e.getOriginalMessage());
                } catch (EngineException.InvalidInput e) {
                    bad(e.getMessage());
                }
            }
        }

        void paragraphs(BufferedReader lines) throws IOException {
            StringBuilder block = new StringBuilder();
            for (String text = lines.readLine(); text != null; text = lines.readLine()) {
                line++;
                text = withoutMark(text);
                if (text.isBlank()) {
                    flush(block);
                } else {
                    block.append(text).append('\n');
                }
            }
            flush(block);
        }

        private void flush(StringBuilder block) {
            if (!block.isEmpty()) {
                try {
                    add(Optional.empty(), "", block.toString(), Optional.empty());
                } catch (EngineException.InvalidInput e) {
                    bad(e.getMessage());
                }
                block.setLength(0);
            }
        }

        /** A file may begin with a byte order mark. */
        private String withoutMark(String text) {
            return line == 1 && text.startsWith("\uFEFF") ? text.substring(1) : text;
        }

        private String id(JsonNode record) {
            JsonNode id = record.get(mapping.id());
            if (id == null || id.isNull() || id.isContainer()) {
                throw new EngineException.InvalidInput("field '" + mapping.id() + "' should name the record");
            }
            return id.asString();
        }

        private Optional<String> thought(JsonNode record) {
            return mapping.thought().isEmpty()
                    ? Optional.empty()
                    : Optional.of(mapping.thought().render(record));
        }

        private void add(Optional<String> named, String context, String text, Optional<String> thought) {
            if (text.isEmpty()) {
                throw new EngineException.InvalidInput("the text is empty");
            }
            if (!StandardCharsets.UTF_8.newEncoder().canEncode(context + text + thought.orElse(""))) {
                throw new EngineException.InvalidInput("holds half a surrogate pair, which no tokenizer can give back");
            }
            String id = named.orElseGet(() -> Digest.of((context + "\0" + text).getBytes(StandardCharsets.UTF_8))
                    .substring(0, 16));
            int before = seen.merge(id, 1, Integer::sum) - 1;
            if (before > 0 && named.isPresent()) {
                throw new EngineException.InvalidInput("the id '" + id + "' was there before");
            }
            // equal documents are told apart by their count, which does not depend on what stands between them
            records.add(new Record(before == 0 ? id : id + "-" + (before + 1), context, text, thought));
        }

        private void bad(String what) {
            String where = file + ": line " + line + ": " + what;
            if (!skipBad) {
                throw new EngineException.InvalidInput(
                        where + "; mend it, or leave such records out by --bad-records skip");
            }
            skipped++;
            problem = problem.isEmpty() ? where : problem;
        }
    }
}
