package subtext.run;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import subtext.bindings.EngineException;
import subtext.io.Digest;

/**
 * JSON that holds the digest of itself: the first field named {@code sha256} is that of all bytes with 64 zeros in its place. So one file,
 * replaced by one rename, says of every byte in it whether it is as written.
 */
public final class SelfDigest {
    /** What a text to be sealed holds as the value of its first {@code sha256}. */
    public static final String EMPTY = "0".repeat(64);

    private static final Pattern FIELD = Pattern.compile("\"sha256\" ?: ?\"([0-9a-f]{64})\"");

    private SelfDigest() {}

    /**
     * {@return the text with its digest put in}
     *
     * @param text JSON whose first {@code sha256} is {@link #EMPTY}
     * @throws IllegalArgumentException if it is not
     */
    public static String seal(String text) {
        Matcher field = FIELD.matcher(text);
        if (!field.find() || !field.group(1).equals(EMPTY)) {
            throw new IllegalArgumentException("text: expected a first field \"sha256\" of 64 zeros");
        }
        String digest = Digest.of(text.getBytes(StandardCharsets.UTF_8));
        return text.substring(0, field.start(1)) + digest + text.substring(field.end(1));
    }

    /**
     * {@return the text of sealed bytes}
     *
     * @param bytes the whole file, unchanged
     * @param name of the file, for the message
     * @param cure what to do if it is damaged
     * @throws EngineException.CorruptFile if a byte is not as written
     */
    public static String open(byte[] bytes, Object name, String cure) {
        check(bytes, name, cure);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    /**
     * Checks sealed bytes.
     *
     * @param bytes the whole file, unchanged
     * @param name of the file, for the message
     * @param cure what to do if it is damaged
     * @throws EngineException.CorruptFile if a byte is not as written
     */
    public static void check(byte[] bytes, Object name, String cure) {
        // a damaged file need not be UTF-8: one character per byte until it is known to be whole
        Matcher field = FIELD.matcher(new String(bytes, StandardCharsets.ISO_8859_1));
        if (!field.find()) {
            throw new EngineException.CorruptFile(name + ": no SHA-256 of its content in it" + cure);
        }
        String found = new Digest()
                .add(ByteBuffer.wrap(bytes, 0, field.start(1)))
                .add(ByteBuffer.wrap(EMPTY.getBytes(StandardCharsets.US_ASCII)))
                .add(ByteBuffer.wrap(bytes, field.end(1), bytes.length - field.end(1)))
                .hex();
        if (!found.equals(field.group(1))) {
            throw new EngineException.CorruptFile(
                    name + ": SHA-256 is " + found + ", the file says " + field.group(1) + cure);
        }
    }
}
