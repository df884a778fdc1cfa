package subtext.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Comparator;
import java.util.List;
import java.util.UUID;
import java.util.stream.Stream;

/**
 * Files that are there whole or not at all: written under a temporary name beside the target, flushed to the disk, renamed, and the
 * folder flushed too, so that neither a kill nor a power cut leaves half a file under the final name.
 */
public final class AtomicFiles {
    /** The end of the temporary names: such files are leftovers of a kill and may be deleted. */
    public static final String TEMPORARY = ".part";

    private AtomicFiles() {}

    /** Writes the content of one file. */
    @FunctionalInterface
    public interface Body {
        /**
         * Writes everything to the channel, which starts empty; the caller flushes and closes it.
         *
         * @param channel open for writing at byte 0; owned by the caller
         * @throws IOException to give up: the target then stays as it was
         */
        void write(FileChannel channel) throws IOException;
    }

    /**
     * Replaces or creates {@code target} with these bytes.
     *
     * @param target in a folder that exists
     * @param bytes the whole content
     * @throws IOException if it cannot be written; the target is then as it was
     */
    public static void write(Path target, byte[] bytes) throws IOException {
        write(target, channel -> writeFully(channel, ByteBuffer.wrap(bytes)));
    }

    /**
     * Replaces or creates {@code target} with this text in UTF-8.
     *
     * @param target in a folder that exists
     * @param text the whole content
     * @throws IOException if it cannot be written; the target is then as it was
     */
    public static void write(Path target, String text) throws IOException {
        write(target, text.getBytes(StandardCharsets.UTF_8));
    }

    /**
     * Replaces or creates {@code target} with what the body writes. If anything fails, the target is as it was and the temporary file
     * is gone.
     *
     * @param target in a folder that exists
     * @param body called once, with the temporary file
     * @throws IOException if the folder is none, the disk refuses, or the body gives up
     */
    public static void write(Path target, Body body) throws IOException {
        Path folder = target.toAbsolutePath().getParent();
        Path temporary = folder.resolve("." + target.getFileName() + "." + UUID.randomUUID() + TEMPORARY);
        try {
            try (FileChannel channel =
                    FileChannel.open(temporary, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
                body.write(channel);
                channel.force(true);
            }
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException | RuntimeException | Error e) {
            if (e instanceof IOException && !Files.isDirectory(folder)) {
                throw new FileSystemException(folder.toString(), null, "is not a folder"); // not the temporary name
            }
            try {
                Files.deleteIfExists(temporary);
            } catch (IOException again) {
                e.addSuppressed(again); // the first failure is the one to tell
            }
            throw e;
        }
        flushFolder(folder);
    }

    /**
     * Renames a finished file or folder into place on the same file system and flushes the folder it lands in.
     *
     * @param from finished and flushed by whoever wrote it
     * @param to its name from now on; a file there is replaced, a folder that is not empty is not
     * @throws IOException if the two lie on different file systems or the disk refuses
     */
    public static void move(Path from, Path to) throws IOException {
        Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
        flushFolder(to.toAbsolutePath().getParent());
    }

    /**
     * Makes a folder and those above it that are missing, each flushed into the one above, so that what is written in them is found.
     *
     * @param folder to be there afterwards; one that is there already is left as it is
     * @throws IOException if a file stands in the way or the disk refuses
     */
    public static void createDirectories(Path folder) throws IOException {
        Path absolute = folder.toAbsolutePath();
        if (Files.isDirectory(absolute)) {
            return;
        }
        Path above = absolute.getParent();
        if (above != null) {
            createDirectories(above);
        }
        try {
            Files.createDirectory(absolute);
        } catch (FileAlreadyExistsException e) {
            if (!Files.isDirectory(absolute)) { // a folder made meanwhile by another process is as good as ours
                throw new FileSystemException(absolute.toString(), null, "is a file, expected a folder");
            }
        }
        flushFolder(above);
    }

    /**
     * Deletes the temporary files and folders under a folder: what writes that were killed left behind. Nobody may be writing there.
     *
     * @param folder searched at any depth
     * @return how many there were
     * @throws IOException if one cannot be deleted, or there is no such folder
     */
    public static int sweep(Path folder) throws IOException {
        List<Path> leftovers;
        try (Stream<Path> all = Files.walk(folder)) {
            leftovers = all.filter(path -> path.getFileName().toString().startsWith(".")
                            && path.getFileName().toString().endsWith(TEMPORARY))
                    .toList();
        }
        for (Path leftover : leftovers) {
            List<Path> inside;
            try (Stream<Path> under = Files.walk(leftover)) {
                inside = under.sorted(Comparator.reverseOrder()).toList();
            } catch (NoSuchFileException e) {
                continue; // it lay in another leftover
            }
            for (Path path : inside) {
                Files.delete(path);
            }
        }
        return leftovers.size();
    }

    /**
     * Flushes a folder's entries to the disk, so that a rename in it survives a power cut.
     *
     * @param folder whose own entries are flushed, not what they hold
     * @throws IOException if it cannot be opened or flushed
     */
    public static void flushFolder(Path folder) throws IOException {
        try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }

    /**
     * Writes all remaining bytes: one {@code write} of a channel may write fewer.
     *
     * @param channel written to at its position
     * @param bytes from position to limit; nothing remains of them afterwards
     * @throws IOException if the disk refuses
     */
    public static void writeFully(FileChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }
}
