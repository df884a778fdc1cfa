package subtext.data;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import subtext.bindings.EngineException;

/** The lines of a text in UTF-8, in memory bounded by the longest line that is allowed. Ends are LF or CR LF. */
public final class Lines {
    /** What a line is. */
    public enum State {
        /** A line in UTF-8: {@link #text} has it. */
        TEXT,
        /** Longer than is allowed; passed over. */
        TOO_LONG,
        /** Not in UTF-8. */
        NOT_UTF8,
        /** There is no further line. */
        END
    }

    /** A line without an end over this many bytes is not one: the file has no lines. */
    private static final long NO_LINES = 1L << 30;

    private final Path file;
    private final InputStream in;
    private final int longest;
    private final byte[] buffer = new byte[1 << 16];
    private int at;
    private int end;
    private byte[] line = new byte[1 << 12];
    private int length;
    private long number;
    private String text = "";

    /**
     * The lines of a stream, which the caller closes.
     *
     * @param file named in messages
     * @param in read to its end
     * @param longest bytes of a line, at most; a longer one is passed over in pieces
     */
    public Lines(Path file, InputStream in, int longest) {
        this.file = file;
        this.in = in;
        this.longest = longest;
    }

    /** {@return number of the line last read, from 1} */
    public long number() {
        return number;
    }

    /** {@return the line last read without its end, if it is one of text} */
    public String text() {
        return text;
    }

    /** {@return bytes of the line last read} */
    public int bytes() {
        return length;
    }

    /**
     * Reads the next line.
     *
     * @return what it is
     * @throws EngineException.InvalidInput if there is none within 1 GiB
     * @throws IOException if the stream cannot be read
     */
    public State next() throws IOException {
        length = 0;
        text = "";
        long passed = 0;
        boolean any = false;
        while (true) {
            if (at == end) {
                at = 0;
                end = Math.max(0, in.read(buffer, 0, buffer.length));
                if (end == 0) {
                    if (!any) {
                        return State.END;
                    }
                    number++;
                    return state(passed);
                }
            }
            any = true;
            int to = at;
            while (to < end && buffer[to] != '\n') {
                to++;
            }
            passed += to - at;
            if (passed > NO_LINES) {
                throw new EngineException.InvalidInput(
                        file + ": line " + (number + 1) + " has no end within 1 GiB: this is not a file of lines");
            }
            if (passed <= longest) {
                keep(to);
            }
            boolean whole = to < end;
            at = whole ? to + 1 : end;
            if (whole) {
                number++;
                return state(passed);
            }
        }
    }

    private void keep(int to) {
        int n = to - at;
        if (length + n > line.length) {
            line = java.util.Arrays.copyOf(line, Math.max(2 * line.length, length + n));
        }
        System.arraycopy(buffer, at, line, length, n);
        length += n;
    }

    private State state(long passed) {
        if (passed > longest) {
            line = new byte[1 << 12];
            length = 0;
            return State.TOO_LONG;
        }
        int n = length > 0 && line[length - 1] == '\r' ? length - 1 : length;
        int from = number == 1 && n >= 3 && line[0] == (byte) 0xEF && line[1] == (byte) 0xBB && line[2] == (byte) 0xBF
                ? 3
                : 0;
        text = new String(line, from, n - from, StandardCharsets.UTF_8);
        // where the quick way put a replacement character, the strict one decides whether it was there
        if (text.indexOf('\uFFFD') >= 0) {
            try {
                StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(line, from, n - from));
            } catch (CharacterCodingException e) {
                return State.NOT_UTF8;
            }
        }
        return State.TEXT;
    }
}
