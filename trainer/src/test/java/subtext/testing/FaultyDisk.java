package subtext.testing;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.AccessMode;
import java.nio.file.CopyOption;
import java.nio.file.DirectoryStream;
import java.nio.file.FileStore;
import java.nio.file.FileSystem;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.FileAttributeView;
import java.nio.file.spi.FileSystemProvider;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * A disk that fails on demand: a file system of Java's own kind over a real folder, so that the code under test needs no seam and nothing it
 * writes can pass beside it. It counts every operation that changes something (opening to write, writing, flushing, renaming, deleting, making
 * a folder) and lets one of them go wrong. After a crash nothing works any more, clean-up included, as after {@code kill -9}; {@link #cut}
 * then takes away what no flush had made safe, as a power cut may: bytes of files, and entries of folders.
 */
public final class FaultyDisk extends FileSystemProvider {
    /** What goes wrong at the operation that was chosen. */
    public enum Fault {
        /** The disk is full: this write, and every later one, fails; deleting, renaming and flushing still work. */
        NO_SPACE("No space left on device"),
        /** The same, after half of the bytes. */
        HALF_THEN_NO_SPACE("No space left on device"),
        /** One operation fails, and the next works again. */
        IO_ERROR("Input/output error"),
        /** A write takes half of the bytes and says so, which is allowed. */
        SHORT_WRITE(""),
        /** The process ends before the operation. */
        CRASH("");

        private final String text;

        Fault(String text) {
            this.text = text;
        }
    }

    /** What a power cut leaves of bytes that were written and not flushed, and of folder entries. */
    public enum Cut {
        /** All of it: only the process died. */
        NOTHING_LOST,
        /** None of it. */
        DROPPED,
        /** Half of the bytes, the last of them wrong; the folder entries stay. */
        TORN
    }

    /** The end of the process. */
    public static final class Crash extends Error {
        private static final long serialVersionUID = 1L;
    }

    private final FileSystemProvider real;
    private final Disk disk = new Disk();
    private final Path shadow;
    private int operations;
    private int at = -1;
    private Fault fault;
    private boolean full;
    private boolean crashed;
    private Consumer<Path> observer = path -> {};
    private final Map<Object, Tracked> tracked = new HashMap<>();
    private final List<Entry> journal = new ArrayList<>();

    /** A file that was written: how to reach it, and what of it is safe. */
    private static final class Tracked {
        private final Path link;
        private byte[] safe;

        Tracked(Path link, byte[] safe) {
            this.link = link;
            this.safe = safe;
        }
    }

    /** A change of a folder that was not flushed yet, and how to take it back. */
    private record Entry(Path folder, Undo undo) {}

    @FunctionalInterface
    private interface Undo {
        void run() throws IOException;
    }

    /** @param shadow an empty folder on the same real file system, for what may have to come back */
    public FaultyDisk(Path shadow) {
        this.real = shadow.getFileSystem().provider();
        this.shadow = shadow;
    }

    /** A real path as one of this disk. */
    public Path over(Path path) {
        return new DiskPath(path);
    }

    /** Lets operation {@code number}, counted from 0 from now on, go wrong. */
    public void failAt(int number, Fault what) {
        operations = 0;
        at = number;
        fault = what;
        full = false;
        crashed = false;
    }

    /** Told every operation's path just before it is done, on the thread that does it. */
    public void observe(Consumer<Path> observer) {
        this.observer = observer;
    }

    /** Operations so far. */
    public int operations() {
        return operations;
    }

    /** Whether the chosen operation was reached. */
    public boolean happened() {
        return at >= 0 && operations > at;
    }

    /** Starts the machine again after a crash. */
    public void cut(Cut cut) throws IOException {
        at = -1;
        full = false;
        crashed = false;
        if (cut == Cut.DROPPED) {
            for (Entry entry : journal.reversed()) {
                if (Files.isDirectory(entry.folder())) { // else it is gone for good, and what was in it too
                    entry.undo().run();
                }
            }
        }
        if (cut != Cut.NOTHING_LOST) {
            for (Tracked file : tracked.values()) {
                byte[] now = Files.readAllBytes(file.link);
                if (!Arrays.equals(now, file.safe)) {
                    Files.write(file.link, cut == Cut.DROPPED ? file.safe : torn(file.safe, now));
                }
            }
        }
        journal.clear();
        tracked.clear();
        try (Stream<Path> links = Files.list(shadow)) {
            for (Path link : links.toList()) {
                Files.delete(link);
            }
        }
    }

    private static byte[] torn(byte[] safe, byte[] now) {
        int kept = now.length <= safe.length ? now.length : safe.length + (now.length - safe.length) / 2;
        byte[] torn = Arrays.copyOf(now, kept);
        if (kept > 0) {
            torn[kept - 1] ^= 0x55;
        }
        return torn;
    }

    private enum Kind {
        WRITE,
        CREATE,
        OTHER
    }

    /** Counts an operation and lets it fail if it is the chosen one; true if it is to do half of its work. */
    private boolean step(Kind kind, Path path) throws IOException {
        if (crashed) {
            throw new Crash();
        }
        observer.accept(path);
        boolean chosen = operations++ == at;
        if (full && kind != Kind.OTHER) {
            throw new FileSystemException(path.toString(), null, Fault.NO_SPACE.text);
        }
        if (!chosen) {
            return false;
        }
        switch (fault) {
            case CRASH -> {
                crashed = true;
                throw new Crash();
            }
            case IO_ERROR -> throw new FileSystemException(path.toString(), null, fault.text);
            case SHORT_WRITE -> {
                return kind == Kind.WRITE;
            }
            case NO_SPACE -> {
                full = true;
                if (kind != Kind.OTHER) {
                    throw new FileSystemException(path.toString(), null, fault.text);
                }
                return false;
            }
            case HALF_THEN_NO_SPACE -> {
                full = true;
                if (kind == Kind.CREATE) {
                    throw new FileSystemException(path.toString(), null, fault.text);
                }
                return kind == Kind.WRITE;
            }
        }
        return false;
    }

    private void alive() {
        if (crashed) {
            throw new Crash();
        }
    }

    private static Path real(Path path) {
        return path instanceof DiskPath mine ? mine.real : path;
    }

    private static Object key(Path path) throws IOException {
        return Files.readAttributes(path, BasicFileAttributes.class).fileKey();
    }

    private void track(Path path, byte[] safe) throws IOException {
        Object key = key(path);
        if (!tracked.containsKey(key)) {
            tracked.put(key, new Tracked(link(path), safe));
        }
    }

    /** A second name for a file, by which it can come back. */
    private Path link(Path path) throws IOException {
        return Files.createLink(
                shadow.resolve(Integer.toString(System.identityHashCode(new Object())) + "-" + operations), path);
    }

    private static void remove(Path path) throws IOException {
        if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        try (Stream<Path> under = Files.walk(path)) {
            for (Path each : under.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(each);
            }
        }
    }

    private void made(Path path) {
        journal.add(new Entry(path.toAbsolutePath().getParent(), () -> remove(path)));
    }

    // ---- what changes something

    @Override
    public FileChannel newFileChannel(Path path, Set<? extends OpenOption> options, FileAttribute<?>... attributes)
            throws IOException {
        Path file = real(path);
        boolean folder = Files.isDirectory(file);
        boolean writes = options.contains(StandardOpenOption.WRITE) || options.contains(StandardOpenOption.APPEND);
        if (!writes) {
            alive();
            return new DiskChannel(FileChannel.open(file, options, attributes), file, folder);
        }
        boolean exists = Files.exists(file);
        step(exists ? Kind.OTHER : Kind.CREATE, file);
        byte[] before = exists ? Files.readAllBytes(file) : new byte[0];
        FileChannel channel = FileChannel.open(file, options, attributes);
        if (!exists) {
            made(file);
        }
        track(file, before);
        return new DiskChannel(channel, file, false);
    }

    @Override
    public SeekableByteChannel newByteChannel(
            Path path, Set<? extends OpenOption> options, FileAttribute<?>... attributes) throws IOException {
        return newFileChannel(path, options.isEmpty() ? Set.of(StandardOpenOption.READ) : options, attributes);
    }

    @Override
    public void createDirectory(Path path, FileAttribute<?>... attributes) throws IOException {
        step(Kind.CREATE, real(path));
        Files.createDirectory(real(path), attributes);
        made(real(path));
    }

    @Override
    public void delete(Path path) throws IOException {
        step(Kind.OTHER, real(path));
        Path file = real(path);
        boolean folder = Files.isDirectory(file, LinkOption.NOFOLLOW_LINKS);
        Path kept = folder || !Files.exists(file) ? null : link(file);
        Files.delete(file);
        journal.add(new Entry(file.toAbsolutePath().getParent(), () -> {
            if (folder) {
                Files.createDirectory(file);
            } else if (kept != null && !Files.exists(file)) { // else another folder has taken the name since
                Files.createLink(file, kept);
            }
        }));
    }

    @Override
    public void move(Path source, Path target, CopyOption... options) throws IOException {
        step(Kind.OTHER, real(source));
        Path from = real(source);
        Path to = real(target);
        boolean replaces = Files.exists(to) && List.of(options).contains(StandardCopyOption.REPLACE_EXISTING);
        Path kept = replaces ? link(to) : null;
        Files.move(from, to, options);
        journal.add(new Entry(to.toAbsolutePath().getParent(), () -> {
            Files.move(to, from);
            if (kept != null) {
                Files.createLink(to, kept);
            }
        }));
    }

    @Override
    public void copy(Path source, Path target, CopyOption... options) {
        throw new UnsupportedOperationException("copy");
    }

    @Override
    public void setAttribute(Path path, String attribute, Object value, LinkOption... options) throws IOException {
        alive();
        Files.setAttribute(real(path), attribute, value, options);
    }

    /** A channel whose writes and flushes count. */
    private final class DiskChannel extends FileChannel {
        private final FileChannel channel;
        private final Path file;
        private final boolean folder;

        DiskChannel(FileChannel channel, Path file, boolean folder) {
            this.channel = channel;
            this.file = file;
            this.folder = folder;
        }

        @Override
        public int read(ByteBuffer to) throws IOException {
            alive();
            return channel.read(to);
        }

        @Override
        public long read(ByteBuffer[] to, int offset, int length) throws IOException {
            alive();
            return channel.read(to, offset, length);
        }

        @Override
        public int read(ByteBuffer to, long position) throws IOException {
            alive();
            return channel.read(to, position);
        }

        @Override
        public int write(ByteBuffer from) throws IOException {
            if (!step(Kind.WRITE, file) || from.remaining() < 2) {
                return channel.write(from);
            }
            ByteBuffer half = from.slice(from.position(), from.remaining() / 2);
            int written = channel.write(half);
            from.position(from.position() + written);
            return written;
        }

        @Override
        public long write(ByteBuffer[] from, int offset, int length) throws IOException {
            step(Kind.WRITE, file);
            return channel.write(from, offset, length);
        }

        @Override
        public int write(ByteBuffer from, long position) throws IOException {
            step(Kind.WRITE, file);
            return channel.write(from, position);
        }

        @Override
        public void force(boolean metadata) throws IOException {
            step(Kind.OTHER, file);
            if (folder) {
                journal.removeIf(entry -> entry.folder().equals(file.toAbsolutePath()));
                return;
            }
            Tracked state = tracked.get(key(file));
            if (state != null) {
                state.safe = Files.readAllBytes(file);
            }
        }

        @Override
        public FileChannel truncate(long size) throws IOException {
            step(Kind.OTHER, file);
            channel.truncate(size);
            return this;
        }

        @Override
        public long position() throws IOException {
            return channel.position();
        }

        @Override
        public FileChannel position(long position) throws IOException {
            channel.position(position);
            return this;
        }

        @Override
        public long size() throws IOException {
            return channel.size();
        }

        @Override
        public long transferTo(long position, long count, java.nio.channels.WritableByteChannel target)
                throws IOException {
            alive();
            return channel.transferTo(position, count, target);
        }

        @Override
        public long transferFrom(java.nio.channels.ReadableByteChannel source, long position, long count)
                throws IOException {
            step(Kind.WRITE, file);
            return channel.transferFrom(source, position, count);
        }

        @Override
        public java.nio.MappedByteBuffer map(MapMode mode, long position, long size) throws IOException {
            alive();
            return channel.map(mode, position, size);
        }

        @Override
        public java.nio.channels.FileLock lock(long position, long size, boolean shared) throws IOException {
            return channel.lock(position, size, shared);
        }

        @Override
        public java.nio.channels.FileLock tryLock(long position, long size, boolean shared) throws IOException {
            return channel.tryLock(position, size, shared);
        }

        @Override
        protected void implCloseChannel() throws IOException {
            channel.close();
        }
    }

    // ---- what only looks

    @Override
    public String getScheme() {
        return "faulty";
    }

    @Override
    public FileSystem newFileSystem(URI uri, Map<String, ?> environment) {
        throw new UnsupportedOperationException("one is made by over()");
    }

    @Override
    public FileSystem getFileSystem(URI uri) {
        return disk;
    }

    @Override
    public Path getPath(URI uri) {
        throw new UnsupportedOperationException("paths are made by over()");
    }

    @Override
    public DirectoryStream<Path> newDirectoryStream(Path folder, DirectoryStream.Filter<? super Path> filter)
            throws IOException {
        alive();
        List<Path> found = new ArrayList<>();
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(real(folder))) {
            for (Path entry : entries) {
                // as the real one does: the name appended to the path that was asked for
                Path mine = new DiskPath(real(folder).resolve(entry.getFileName()));
                if (filter.accept(mine)) {
                    found.add(mine);
                }
            }
        }
        return new DirectoryStream<>() {
            @Override
            public Iterator<Path> iterator() {
                return found.iterator();
            }

            @Override
            public void close() {}
        };
    }

    @Override
    public boolean isSameFile(Path a, Path b) throws IOException {
        return Files.isSameFile(real(a), real(b));
    }

    @Override
    public boolean isHidden(Path path) throws IOException {
        return Files.isHidden(real(path));
    }

    @Override
    public FileStore getFileStore(Path path) throws IOException {
        return Files.getFileStore(real(path));
    }

    @Override
    public void checkAccess(Path path, AccessMode... modes) throws IOException {
        alive();
        real.checkAccess(real(path), modes);
    }

    @Override
    public <V extends FileAttributeView> V getFileAttributeView(Path path, Class<V> type, LinkOption... options) {
        return Files.getFileAttributeView(real(path), type, options);
    }

    @Override
    public <A extends BasicFileAttributes> A readAttributes(Path path, Class<A> type, LinkOption... options)
            throws IOException {
        alive();
        return Files.readAttributes(real(path), type, options);
    }

    @Override
    public Map<String, Object> readAttributes(Path path, String attributes, LinkOption... options) throws IOException {
        alive();
        return Files.readAttributes(real(path), attributes, options);
    }

    private final class Disk extends FileSystem {
        @Override
        public FileSystemProvider provider() {
            return FaultyDisk.this;
        }

        @Override
        public void close() {
            throw new UnsupportedOperationException("close");
        }

        @Override
        public boolean isOpen() {
            return true;
        }

        @Override
        public boolean isReadOnly() {
            return false;
        }

        @Override
        public String getSeparator() {
            return "/";
        }

        @Override
        public Iterable<Path> getRootDirectories() {
            return List.of(new DiskPath(Path.of("/")));
        }

        @Override
        public Iterable<FileStore> getFileStores() {
            return List.of();
        }

        @Override
        public Set<String> supportedFileAttributeViews() {
            return Set.of("basic");
        }

        @Override
        public Path getPath(String first, String... more) {
            return new DiskPath(Path.of(first, more));
        }

        @Override
        public java.nio.file.PathMatcher getPathMatcher(String syntaxAndPattern) {
            throw new UnsupportedOperationException("getPathMatcher");
        }

        @Override
        public java.nio.file.attribute.UserPrincipalLookupService getUserPrincipalLookupService() {
            throw new UnsupportedOperationException("getUserPrincipalLookupService");
        }

        @Override
        public java.nio.file.WatchService newWatchService() {
            throw new UnsupportedOperationException("newWatchService");
        }
    }

    /** A real path that is reached through this disk. */
    private final class DiskPath implements Path {
        private final Path real;

        DiskPath(Path real) {
            this.real = real;
        }

        private Path mine(Path path) {
            return path == null ? null : new DiskPath(path);
        }

        @Override
        public FileSystem getFileSystem() {
            return disk;
        }

        @Override
        public boolean isAbsolute() {
            return real.isAbsolute();
        }

        @Override
        public Path getRoot() {
            return mine(real.getRoot());
        }

        @Override
        public Path getFileName() {
            return mine(real.getFileName());
        }

        @Override
        public Path getParent() {
            return mine(real.getParent());
        }

        @Override
        public int getNameCount() {
            return real.getNameCount();
        }

        @Override
        public Path getName(int index) {
            return mine(real.getName(index));
        }

        @Override
        public Path subpath(int from, int to) {
            return mine(real.subpath(from, to));
        }

        @Override
        public boolean startsWith(Path other) {
            return real.startsWith(real(other));
        }

        @Override
        public boolean endsWith(Path other) {
            return real.endsWith(real(other));
        }

        @Override
        public Path normalize() {
            return mine(real.normalize());
        }

        @Override
        public Path resolve(Path other) {
            return mine(real.resolve(real(other)));
        }

        @Override
        public Path relativize(Path other) {
            return mine(real.relativize(real(other)));
        }

        @Override
        public URI toUri() {
            return real.toUri();
        }

        @Override
        public Path toAbsolutePath() {
            return mine(real.toAbsolutePath());
        }

        @Override
        public Path toRealPath(LinkOption... options) throws IOException {
            return mine(real.toRealPath(options));
        }

        @Override
        public java.nio.file.WatchKey register(
                java.nio.file.WatchService watcher,
                java.nio.file.WatchEvent.Kind<?>[] events,
                java.nio.file.WatchEvent.Modifier... modifiers) {
            throw new UnsupportedOperationException("register");
        }

        @Override
        public int compareTo(Path other) {
            return real.compareTo(real(other));
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof DiskPath path && real.equals(path.real);
        }

        @Override
        public int hashCode() {
            return real.hashCode();
        }

        @Override
        public String toString() {
            return real.toString();
        }
    }

    /** Names of all files and folders under a real folder, relative to it. */
    public static List<String> tree(Path folder) {
        try (Stream<Path> all = Files.walk(folder)) {
            return all.filter(path -> !path.equals(folder))
                    .map(path -> folder.relativize(path).toString())
                    .sorted()
                    .toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
