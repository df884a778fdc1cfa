package subtext.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import subtext.bindings.EngineException;

/** Files that are read whole: settings, lists, descriptions. How large one may be is looked at before anything is allocated for it. */
public final class WholeFile {
    private static final Path DEVICES = Path.of("/dev");

    private WholeFile() {}

    /**
     * {@return the content of a file}
     *
     * @param file a regular file, not a pipe or device
     * @param most bytes that it may have
     * @throws java.nio.file.NoSuchFileException if there is none
     * @throws EngineException.InvalidInput if it is larger, or no file
     * @throws IOException if it cannot be read
     */
    public static byte[] bytes(Path file, int most) throws IOException {
        return bytes(file, most, false);
    }

    private static byte[] bytes(Path file, int most, boolean devices) throws IOException {
        BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
        if (!attributes.isRegularFile() && (attributes.isDirectory() || !devices)) {
            throw new EngineException.InvalidInput(
                    file + " is " + (attributes.isDirectory() ? "a folder" : "a pipe or device") + ", expected a file");
        }
        if (attributes.isRegularFile() && attributes.size() > most) {
            throw new EngineException.InvalidInput(
                    file + " has " + attributes.size() + " bytes, at most " + most + " are expected");
        }
        try (InputStream in = Files.newInputStream(file)) {
            byte[] bytes = in.readNBytes(most);
            if (in.read() >= 0) {
                throw new EngineException.InvalidInput(
                        file + " has more than the " + most + " bytes that are expected");
            }
            return bytes;
        }
    }

    /**
     * The same as text; under {@code /dev} a pipe or device is read too, as {@code /dev/stdin} is.
     *
     * @param file in UTF-8
     * @param most bytes, not characters, that it may have
     * @return the content as text
     * @throws java.nio.file.NoSuchFileException if there is none
     * @throws EngineException.InvalidInput if it is larger, no file, or not UTF-8
     * @throws IOException if it cannot be read
     */
    public static String text(Path file, int most) throws IOException {
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(
                            bytes(file, most, file.toAbsolutePath().startsWith(DEVICES))))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new EngineException.InvalidInput(file + " is not text in UTF-8", e);
        }
    }
}
