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
        /** Writes everything to the channel, which starts empty; the caller flushes and closes it. */
        void write(FileChannel channel) throws IOException;
    }

    /** Replaces or creates {@code target} with these bytes. */
    public static void write(Path target, byte[] bytes) throws IOException {
        write(target, channel -> writeFully(channel, ByteBuffer.wrap(bytes)));
    }

    /** Replaces or creates {@code target} with this text in UTF-8. */
    public static void write(Path target, String text) throws IOException {
        write(target, text.getBytes(StandardCharsets.UTF_8));
    }

    /**
     * Replaces or creates {@code target} with what the body writes. If anything fails, the target is as it was and the temporary file
     * is gone.
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

    /** Renames a finished file or folder into place on the same file system and flushes the folder it lands in. */
    public static void move(Path from, Path to) throws IOException {
        Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
        flushFolder(to.toAbsolutePath().getParent());
    }

    /** Makes a folder and those above it that are missing, each flushed into the one above, so that what is written in them is found. */
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
     * @return how many there were
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

    /** Flushes a folder's entries to the disk, so that a rename in it survives a power cut. */
    public static void flushFolder(Path folder) throws IOException {
        try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }

    /** Writes all remaining bytes: one {@code write} of a channel may write fewer. */
    public static void writeFully(FileChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }
}
