package subtext.cli;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import subtext.bindings.EngineException;
import subtext.data.Lines;
import subtext.io.JsonProblem;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A file of JSON lines, one request each: {@code {"id"?, "prompt"?, "text"?}}; other fields are passed over. It is read in windows of
 * bounded size, and looked through once before anything is computed, so that a bad line at its end does not cost an hour. A pipe under
 * {@code /dev} cannot be read twice and is looked through as it comes.
 */
final class Requests {
    /** Bytes of a line, at most. */
    private static final int LONGEST_LINE = 16 << 20;
    /** Characters of the texts of a window, about. */
    private static final int WINDOW_CHARACTERS = 1 << 20;

    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();

    private final Path file;
    private final boolean scored;
    private final int window;

    /**
     * A line of the file.
     *
     * @param line its number, from 1
     * @param id the line's own, or else its number
     * @param prompt empty if it has none
     * @param text empty if it has none
     */
    record Request(long line, Object id, String prompt, String text) {}

    /** Looks at one request, or computes a window of them; what it throws ends the reading. */
    @FunctionalInterface
    interface Step<T> {
        void take(T requests) throws IOException;
    }

    /**
     * @param scored whether each line must have a text, else a prompt
     * @param window most requests of a window
     */
    Requests(Path file, boolean scored, int window) {
        this.file = file;
        this.scored = scored;
        this.window = window;
    }

    /**
     * Reads the file.
     *
     * @param check throws {@link EngineException.InvalidInput} for a request that cannot be computed; the line is then named
     * @param compute called with each window in turn, after all lines have been checked
     */
    void forEachWindow(Step<Request> check, Step<List<Request>> compute) throws IOException {
        BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
        if (!attributes.isRegularFile()
                && (attributes.isDirectory() || !file.toAbsolutePath().startsWith("/dev"))) {
            throw new EngineException.InvalidInput(
                    file + " is " + (attributes.isDirectory() ? "a folder" : "a pipe or device") + ", expected a file");
        }
        if (attributes.isRegularFile() && read(check, requests -> {}) == 0) {
            throw new EngineException.InvalidInput(file + " has no line; " + form());
        }
        read(check, compute);
    }

    private long read(Step<Request> check, Step<List<Request>> compute) throws IOException {
        List<Request> requests = new ArrayList<>();
        long characters = 0;
        long count = 0;
        try (InputStream in = new BufferedInputStream(Files.newInputStream(file), 1 << 16)) {
            Lines lines = new Lines(file, in, LONGEST_LINE);
            for (Lines.State state; (state = lines.next()) != Lines.State.END; ) {
                switch (state) {
                    case TOO_LONG -> throw bad(lines.number(), "longer than " + LONGEST_LINE + " bytes", null);
                    case NOT_UTF8 -> throw bad(lines.number(), "not text in UTF-8", null);
                    case TEXT, END -> {}
                }
                if (lines.text().isBlank()) {
                    continue;
                }
                Request request = request(lines.number(), lines.text());
                try {
                    check.take(request);
                } catch (EngineException.InvalidInput e) {
                    throw bad(request.line(), e.getMessage(), e);
                }
                requests.add(request);
                count++;
                characters += request.prompt().length() + request.text().length();
                if (requests.size() == window || characters > WINDOW_CHARACTERS) {
                    compute.take(requests);
                    requests = new ArrayList<>();
                    characters = 0;
                }
            }
        }
        if (!requests.isEmpty()) {
            compute.take(requests);
        }
        return count;
    }

    private Request request(long line, String text) {
        JsonNode tree;
        try {
            tree = JSON.readTree(text);
        } catch (JacksonException e) {
            throw bad(line, "not JSON: " + JsonProblem.inLine(e), e);
        }
        if (!tree.isObject()) {
            throw bad(line, "not an object; " + form(), null);
        }
        JsonNode id = tree.path("id");
        if (!id.isMissingNode() && !id.isString() && !id.isIntegralNumber()) {
            throw bad(line, "id: expected a string or a whole number", null);
        }
        String prompt = string(line, tree, "prompt", !scored);
        String scoredText = scored ? string(line, tree, "text", true) : "";
        if (scored && scoredText.isEmpty()) {
            throw bad(line, "text is empty: nothing to score", null);
        }
        return new Request(line, id.isMissingNode() ? line : id, prompt, scoredText);
    }

    private String string(long line, JsonNode tree, String field, boolean required) {
        JsonNode value = tree.path(field);
        if (value.isMissingNode() && !required) {
            return "";
        }
        if (!value.isString()) {
            throw bad(
                    line,
                    value.isMissingNode() ? "no field \"" + field + "\"; " + form() : field + ": expected a string",
                    null);
        }
        return value.asString();
    }

    private String form() {
        return scored
                ? "expected lines such as {\"id\": 1, \"prompt\": \"2 + 2 =\", \"text\": \" 4\"}"
                : "expected lines such as {\"id\": 1, \"prompt\": \"2 + 2 =\"}";
    }

    private EngineException.InvalidInput bad(long line, String what, Throwable cause) {
        return new EngineException.InvalidInput(file + ": line " + line + ": " + what, cause);
    }
}
