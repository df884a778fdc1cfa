package subtext.data;

import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import subtext.bindings.EngineException;
import subtext.io.Digest;
import subtext.io.JsonProblem;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Documents read from files: JSON lines (one object a line), parquet (one row each), or plain text (documents between blank lines);
 * lines and text also packed by gzip or zstd. {@link #stream} reads any amount in bounded memory, {@link #read} holds all.
 *
 * @param records in the order of the files
 * @param skipped records left out because they were bad
 * @param firstProblem what was wrong with the first of them; empty if none was
 */
public record Corpus(List<Record> records, long skipped, String firstProblem) {
    /** Bytes of a record, at most: a longer one is bad. */
    public static final int LARGEST_RECORD = 16 << 20;

    /** Problems that a tally keeps in words. */
    private static final int PROBLEMS_KEPT = 20;

    private static final int LONGEST_PROBLEM = 300;

    private static final int LONGEST_ID = 1000;

    private static final String HALF_PAIR = "holds half a surrogate pair, which no tokenizer can give back";

    /**
     * A text with its name.
     *
     * @param id unique in the corpus and stable: a field of the record, or else made of the digest of its content
     * @param context what stands before the text and takes no thought; may be empty
     * @param text what is to be explained
     * @param thought the thought beneath it, where the record has one
     * @param answer the known final answer, where one is asked for
     */
    public record Record(String id, String context, String text, Optional<String> thought, Optional<String> answer) {}

    /**
     * How records become texts.
     *
     * @param context of a record; may be empty
     * @param text of a record, what is to be explained
     * @param thought of a record; may be empty: no thoughts are known
     * @param answer of a record, the known final one; may be empty: none is asked for
     * @param id name of the field that names a record; empty: its content does
     * @param chunks whether a record holds its text cut, each chunk with the thought known for it, in {@code chunks}; the templates are then
     *     not used
     */
    public record Mapping(
            Template context, Template text, Template thought, Template answer, String id, boolean chunks) {
        /**
         * Of records whose fields become texts by templates, without answers.
         *
         * @param context of a record; may be empty
         * @param text of a record, what is to be explained
         * @param thought of a record; may be empty: no thoughts are known
         * @param id name of the field that names a record; empty: its content does
         */
        public Mapping(Template context, Template text, Template thought, String id) {
            this(context, text, thought, Template.parse("", ""), id, false);
        }

        /**
         * {@return a mapping of records such as {@code {"chunks": [{"suffix": "...", "latent": "..."}]}}} A chunk's text is in {@code suffix} or
         * {@code text}, its thought in {@code latent} or {@code thought}; missing, null and empty all say that none is known. Other fields,
         * {@code prefix} among them, are not looked at.
         *
         * @param id name of the field that names a record; empty: its content does
         */
        public static Mapping ofChunks(String id) {
            Template none = Template.parse("", "");
            return new Mapping(none, none, none, none, id, true);
        }

        /** Names of the fields that are needed of a record. */
        Set<String> fields() {
            Set<String> fields = new TreeSet<>(context.fields());
            fields.addAll(text.fields());
            fields.addAll(thought.fields());
            fields.addAll(answer.fields());
            if (!id.isEmpty()) {
                fields.add(id);
            }
            return fields;
        }
    }

    /**
     * A chunk that a record itself gives.
     *
     * @param text of the chunk, not empty
     * @param thought the thought beneath it, where one is known
     */
    public record Piece(String text, Optional<String> thought) {}

    /**
     * A good record, where it was found.
     *
     * @param file where
     * @param unit what is counted there, {@code line} or {@code row}
     * @param number of that line or row, from 1
     * @param named the value of the field that names records, where one does
     * @param context what stands before the text; may be empty
     * @param text what is to be explained, not empty
     * @param thought the thought beneath it, where the record has one
     * @param answer the known final answer, where one is asked for
     * @param chunks those of a record that holds its text cut; concatenated they are the text
     */
    public record Found(
            Path file,
            String unit,
            long number,
            Optional<String> named,
            String context,
            String text,
            Optional<String> thought,
            Optional<String> answer,
            List<Piece> chunks) {
        /** Copies the list of chunks. */
        public Found {
            chunks = List.copyOf(chunks);
        }

        /** {@return the name that its content gives it: 16 hexadecimal digits of the digest of context and text} */
        public String contentId() {
            return Digest.of((context + "\0" + text).getBytes(StandardCharsets.UTF_8))
                    .substring(0, 16);
        }
    }

    /** Told of every good record, in order. */
    public interface Sink {
        /**
         * Takes a record.
         *
         * @param record good so far: its fields are there and its text is not empty
         * @return what is wrong with the record, if the receiver cannot use it; it then counts as bad
         */
        Optional<String> accept(Found record);
    }

    /** What is done about records that cannot be used: the first one stops, or they are counted and the first few kept in words. */
    public static final class Bad {
        private final boolean skip;
        private final List<String> problems = new ArrayList<>();
        private long count;

        /**
         * None met yet.
         *
         * @param skip count them; false: stop
         */
        public Bad(boolean skip) {
            this.skip = skip;
        }

        /** @throws EngineException.InvalidInput if the first one stops */
        void add(Path file, String unit, long number, String what) {
            String where = file + ": " + unit + " " + number + ": " + oneLine(what);
            if (!skip) {
                throw new EngineException.InvalidInput(
                        where + "; mend it, or leave such records out by --bad-records skip");
            }
            count++;
            if (problems.size() < PROBLEMS_KEPT) {
                problems.add(where);
            }
        }

        /** {@return how many there were} */
        public long count() {
            return count;
        }

        /** {@return what was wrong with the first 20 of them, with their places} */
        public List<String> problems() {
            return List.copyOf(problems);
        }
    }

    /** Names, values and brackets of a record, at most: each takes some hundred bytes of memory once read. */
    private static final long MOST_JSON_TOKENS = 1 << 20;

    private static final JsonMapper JSON = new JsonMapper(JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxTokenCount(MOST_JSON_TOKENS)
                    .build())
            .build());

    /** Copies the list of records. */
    public Corpus {
        records = List.copyOf(records);
    }

    /**
     * {@return the files that a path stands for, in the order in which they are read}
     *
     * @param path a file, a folder or a glob
     * @throws EngineException.InvalidInput if there is none
     */
    public static List<Path> files(String path) {
        return CorpusFiles.of(path);
    }

    /**
     * Reads one path whole; see {@link #read(String, Mapping, boolean)}.
     *
     * @param path a file or folder
     * @param mapping how records become texts
     * @param skipBad leave out records that cannot be used and count them; false: the first one stops
     * @return the corpus, held in memory
     * @throws EngineException.InvalidInput as {@link #read(String, Mapping, boolean)}
     */
    public static Corpus read(Path path, Mapping mapping, boolean skipBad) {
        return read(path.toString(), mapping, skipBad);
    }

    /**
     * Reads a corpus whole.
     *
     * @param path a file, a folder (all corpus files under it) or a glob; several files are read in the order of their names
     * @param mapping how records become texts; not used for plain text, whose documents are texts already
     * @param skipBad leave out records that cannot be used and count them; false: the first one stops
     * @return the corpus, held in memory; equal records without names of their own are told apart by {@code -2}, {@code -3}
     * @throws EngineException.InvalidInput if a file is missing, damaged or unreadable, there is no usable record, or a record is bad, naming file,
     *     line and cure
     */
    public static Corpus read(String path, Mapping mapping, boolean skipBad) {
        List<Record> records = new ArrayList<>();
        Map<String, Integer> seen = new HashMap<>();
        Bad bad = new Bad(skipBad);
        stream(path, mapping, bad, found -> {
            String id = found.named().orElseGet(found::contentId);
            int before = seen.merge(id, 1, Integer::sum) - 1;
            if (before > 0 && found.named().isPresent()) {
                return Optional.of("the id '" + id + "' was there before");
            }
            // equal documents are told apart by their count, which does not depend on what stands between them
            records.add(new Record(
                    before == 0 ? id : id + "-" + (before + 1),
                    found.context(),
                    found.text(),
                    found.thought(),
                    found.answer()));
            return Optional.empty();
        });
        return new Corpus(
                records,
                bad.count(),
                bad.problems().isEmpty() ? "" : bad.problems().getFirst());
    }

    /**
     * Reads a corpus record by record. Memory is bounded by {@link #LARGEST_RECORD}, for parquet by its row groups as well.
     *
     * @param path a file, a folder (all corpus files under it) or a glob; several files are read in the order of their names
     * @param mapping how records become texts; not used for plain text, whose documents are texts already. One of chunks reads JSON lines only
     * @param bad told of records that cannot be used. A file that is damaged or not what its name says always stops
     * @param sink told of every good record, on the thread that called
     * @return number of good records
     * @throws EngineException.InvalidInput as {@link #read(String, Mapping, boolean)}
     */
    public static long stream(String path, Mapping mapping, Bad bad, Sink sink) {
        Reading reading = new Reading(mapping, bad, sink);
        for (Path file : CorpusFiles.of(path)) {
            reading.read(file);
        }
        if (reading.records == 0) {
            throw new EngineException.InvalidInput("corpus: " + path + " holds no usable document"
                    + (bad.problems().isEmpty()
                            ? ""
                            : "; the first problem: " + bad.problems().getFirst()));
        }
        return reading.records;
    }

    static String tooLong(int longest) {
        return "longer than " + longest + " bytes, the most that a record may have";
    }

    /** A message on one line and of bounded length, whatever a file made a library say. */
    static String oneLine(String message) {
        String line =
                String.valueOf(message).replaceAll("[\\p{Cntrl}\\s]+", " ").strip();
        return line.length() <= LONGEST_PROBLEM ? line : line.substring(0, LONGEST_PROBLEM) + "...";
    }

    private static final class Reading {
        final Mapping mapping;
        final Bad bad;
        final Sink sink;
        Path file;
        String unit = "line";
        long number;
        long records;
        Throwable failed;

        Reading(Mapping mapping, Bad bad, Sink sink) {
            this.mapping = mapping;
            this.bad = bad;
            this.sink = sink;
        }

        void read(Path next) {
            file = next;
            number = 0;
            unit = "line";
            String packing = "";
            try {
                CorpusBytes.Kind kind = CorpusBytes.kind(file);
                packing = kind.packing();
                if (kind == CorpusBytes.Kind.PARQUET) {
                    requireNoChunks("parquet");
                    unit = "row";
                    parquet();
                    return;
                }
                try (CorpusBytes bytes = CorpusBytes.open(file, kind)) {
                    text(new Lines(file, bytes, LARGEST_RECORD));
                }
            } catch (EOFException e) {
                throw new EngineException.InvalidInput(
                        place() + ": the " + packing + " data is cut off; fetch the file again", e);
            } catch (IOException e) {
                throw new EngineException.InvalidInput(
                        packing.isEmpty()
                                ? "corpus: cannot read " + file + " (" + oneLine(e.getMessage()) + ")"
                                : place() + ": the " + packing + " data is damaged (" + oneLine(e.getMessage())
                                        + "); fetch the file again",
                        e);
            }
        }

        private void requireNoChunks(String form) {
            if (mapping.chunks()) {
                throw new EngineException.InvalidInput("corpus: " + file + " is " + form
                        + ": chunks with thoughts are read from JSON lines, an object with 'chunks' each");
            }
        }

        private String place() {
            return "corpus: " + file + ": " + unit + " " + (number + 1);
        }

        // ---- text

        private void text(Lines lines) throws IOException {
            String name = CorpusFiles.inner(file.getFileName().toString());
            if (name.endsWith(".txt") || name.endsWith(".text")) {
                requireNoChunks("plain text");
                paragraphs(lines);
            } else if (name.endsWith(".jsonl") || name.endsWith(".json") || name.endsWith(".ndjson")) {
                jsonLines(lines);
            } else {
                throw new EngineException.InvalidInput("corpus: " + file
                        + ": the name should end in .jsonl (JSON lines) or .txt (plain text), either perhaps followed by .gz or .zst,"
                        + " or the file be parquet");
            }
        }

        /** The next line of text, null at the end; lines that are none are told of and passed over. */
        private String line(Lines lines) throws IOException {
            while (true) {
                Lines.State state = lines.next();
                number = lines.number();
                switch (state) {
                    case END -> {
                        return null;
                    }
                    case TEXT -> {
                        return lines.text();
                    }
                    case TOO_LONG -> bad(tooLong(LARGEST_RECORD));
                    case NOT_UTF8 -> bad("not UTF-8");
                }
            }
        }

        private void jsonLines(Lines lines) throws IOException {
            for (String text = line(lines); text != null; text = line(lines)) {
                if (text.isBlank()) {
                    continue;
                }
                Found found;
                try {
                    JsonNode record = JSON.readTree(text);
                    if (!record.isObject()) {
                        throw new EngineException.InvalidInput("expected a JSON object, got " + kind(record));
                    }
                    found = found(record);
                } catch (JacksonException e) {
                    refuseOtherJson(text, lines);
                    bad("not JSON: " + JsonProblem.inLine(e));
                    continue;
                } catch (EngineException.InvalidInput e) {
                    bad(e.getMessage());
                    continue;
                }
                give(found);
            }
        }

        /** A file that is JSON, but not one object a line, is better told so once than line by line. */
        private void refuseOtherJson(String text, Lines lines) {
            String start = text.strip();
            if (lines.number() == 1 && (start.equals("[") || start.equals("{") || start.startsWith("[{"))) {
                throw new EngineException.InvalidInput(
                        "corpus: " + file + " is one JSON "
                                + (start.startsWith("[") ? "array" : "object")
                                + " over several lines; expected one object a line: jq -c '.[]' makes that of an array, jq -c . of an object");
            }
        }

        private void paragraphs(Lines lines) throws IOException {
            StringBuilder block = new StringBuilder();
            boolean tooLong = false;
            for (String text = line(lines); text != null; text = line(lines)) {
                if (text.isBlank()) {
                    flush(block, tooLong);
                    tooLong = false;
                } else if (text.indexOf('\0') >= 0) {
                    throw new EngineException.InvalidInput(
                            "corpus: " + file + ": line " + number + " holds a zero byte: this is not plain text");
                } else if (block.length() + text.length() >= LARGEST_RECORD) {
                    tooLong = true;
                } else {
                    block.append(text).append('\n');
                }
            }
            flush(block, tooLong);
        }

        private void flush(StringBuilder block, boolean tooLong) {
            if (tooLong) {
                bad(tooLong(LARGEST_RECORD));
            } else if (!block.isEmpty()) {
                // what UTF-8 spells is whole and not empty
                give(new Found(
                        file,
                        unit,
                        number,
                        Optional.empty(),
                        "",
                        block.toString(),
                        Optional.empty(),
                        Optional.empty(),
                        List.of()));
            }
            block.setLength(0);
        }

        // ---- parquet

        private void parquet() throws IOException {
            try {
                ParquetRows.read(file, mapping.fields(), LARGEST_RECORD, new ParquetRows.Sink() {
                    @Override
                    public void row(long row, tools.jackson.databind.node.ObjectNode fields) {
                        number = row;
                        Found found;
                        try {
                            found = found(fields);
                        } catch (EngineException.InvalidInput e) {
                            bad(row, e.getMessage());
                            return;
                        }
                        give(found);
                    }

                    @Override
                    public void bad(long row, String what) {
                        number = row;
                        Reading.this.bad(what);
                    }
                });
            } catch (EngineException e) {
                throw e;
            } catch (IOException | RuntimeException | OutOfMemoryError e) {
                if (e == failed) {
                    throw e; // not of the file
                }
                // the parquet library reports damage in whatever way it stumbles over it
                throw new EngineException.InvalidInput(
                        "corpus: " + file + ": row " + (number + 1)
                                + ": the parquet file is damaged or of a kind that is not read ("
                                + oneLine(e.getMessage()) + ")",
                        e);
            }
        }

        // ---- records

        private Found found(JsonNode record) {
            List<Piece> chunks = mapping.chunks() ? pieces(record) : List.of();
            Found found = new Found(
                    file,
                    unit,
                    number,
                    mapping.id().isEmpty() ? Optional.empty() : Optional.of(id(record)),
                    mapping.context().render(record),
                    mapping.chunks()
                            ? chunks.stream().map(Piece::text).collect(Collectors.joining())
                            : mapping.text().render(record),
                    mapping.thought().isEmpty()
                            ? Optional.empty()
                            : Optional.of(mapping.thought().render(record)),
                    mapping.answer().isEmpty()
                            ? Optional.empty()
                            : Optional.of(mapping.answer().render(record)),
                    chunks);
            if (found.text().isEmpty()) {
                throw new EngineException.InvalidInput("the text is empty");
            }
            if (halfPair(found.context())
                    || halfPair(found.text())
                    || halfPair(found.thought().orElse(""))
                    || halfPair(found.named().orElse(""))) {
                throw new EngineException.InvalidInput(HALF_PAIR);
            }
            return found;
        }

        // ---- records that hold their text cut

        private static List<Piece> pieces(JsonNode record) {
            JsonNode list = record.get("chunks");
            if (list == null || list.isNull()) {
                throw new EngineException.InvalidInput("field 'chunks' is missing");
            }
            if (!list.isArray()) {
                throw new EngineException.InvalidInput("field 'chunks': expected a list, got " + kind(list));
            }
            if (list.isEmpty()) {
                throw new EngineException.InvalidInput("field 'chunks' is an empty list");
            }
            List<Piece> pieces = new ArrayList<>();
            for (JsonNode chunk : list) {
                String where = "chunk " + (pieces.size() + 1) + ": ";
                if (!chunk.isObject()) {
                    throw new EngineException.InvalidInput(
                            where + "expected an object with a text, got " + kind(chunk));
                }
                String text = either(chunk, "suffix", "text", where)
                        .orElseThrow(() -> new EngineException.InvalidInput(
                                where + "no text: expected it in field 'suffix' or 'text'"));
                if (text.isEmpty()) {
                    throw new EngineException.InvalidInput(where + "the text is empty");
                }
                Optional<String> thought =
                        either(chunk, "latent", "thought", where).filter(known -> !known.isEmpty());
                if (halfPair(text) || halfPair(thought.orElse(""))) {
                    throw new EngineException.InvalidInput(where + HALF_PAIR);
                }
                pieces.add(new Piece(text, thought));
            }
            return pieces;
        }

        /** The value of the one of two fields that is there; null counts as not there. */
        private static Optional<String> either(JsonNode chunk, String first, String second, String where) {
            Optional<String> one = text(chunk, first, where);
            Optional<String> other = text(chunk, second, where);
            if (one.isPresent() && other.isPresent()) {
                throw new EngineException.InvalidInput(
                        where + "has both '" + first + "' and '" + second + "': leave one out");
            }
            return one.or(() -> other);
        }

        private static Optional<String> text(JsonNode chunk, String field, String where) {
            JsonNode value = chunk.get(field);
            if (value == null || value.isNull()) {
                return Optional.empty();
            }
            if (!value.isString()) {
                throw new EngineException.InvalidInput(
                        where + "field '" + field + "': expected text, got " + kind(value));
            }
            return Optional.of(value.asString());
        }

        private static String kind(JsonNode node) {
            return node.getNodeType().toString().toLowerCase(Locale.ROOT);
        }

        private void give(Found found) {
            try {
                Optional<String> problem = sink.accept(found);
                if (problem.isPresent()) {
                    bad(problem.get());
                } else {
                    records++;
                }
            } catch (RuntimeException | Error e) {
                failed = e;
                throw e;
            }
        }

        private String id(JsonNode record) {
            JsonNode id = record.get(mapping.id());
            if (id == null
                    || id.isNull()
                    || id.isContainer()
                    || id.asString().isEmpty()
                    || id.asString().length() > LONGEST_ID) {
                throw new EngineException.InvalidInput("field '" + mapping.id() + "' should name the record");
            }
            return id.asString();
        }

        private static boolean halfPair(String text) {
            for (int i = 0; i < text.length(); i++) {
                char c = text.charAt(i);
                if (Character.isSurrogate(c)) {
                    if (Character.isLowSurrogate(c)
                            || i + 1 == text.length()
                            || !Character.isLowSurrogate(text.charAt(i + 1))) {
                        return true;
                    }
                    i++;
                }
            }
            return false;
        }

        private void bad(String what) {
            bad.add(file, unit, number, what);
        }
    }
}
