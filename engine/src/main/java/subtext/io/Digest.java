package subtext.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** SHA-256 as 64 lower-case hexadecimal digits: of bytes, of files, or of parts added one by one. */
public final class Digest {
    private final MessageDigest sha256;

    /** An empty digest to add parts to. */
    public Digest() {
        try {
            sha256 = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e); // every Java platform has it
        }
    }

    /**
     * {@return the digest of these bytes, 64 hexadecimal digits}
     *
     * @param bytes all of them count; unchanged
     */
    public static String of(byte[] bytes) {
        return new Digest().add(ByteBuffer.wrap(bytes)).hex();
    }

    /**
     * {@return the digest of a file's content, 64 hexadecimal digits}
     *
     * @param file read once through, of any size, 64 KiB at a time
     * @throws IOException if it cannot be read
     */
    public static String of(Path file) throws IOException {
        Digest digest = new Digest();
        byte[] buffer = new byte[1 << 16];
        try (InputStream in = Files.newInputStream(file)) {
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                digest.add(ByteBuffer.wrap(buffer, 0, n));
            }
        }
        return digest.hex();
    }

    /**
     * Adds the remaining bytes of a buffer.
     *
     * @param part from position to limit; nothing remains of it afterwards
     * @return this
     */
    public Digest add(ByteBuffer part) {
        sha256.update(part);
        return this;
    }

    /** {@return the digest of all parts so far, 64 hexadecimal digits; afterwards this object starts again empty} */
    public String hex() {
        return HexFormat.of().formatHex(sha256.digest());
    }
}
