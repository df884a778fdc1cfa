package subtext.bindings.ffi;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import subtext.bindings.EngineException;

/**
 * One opened kernel library: where it lies, the SHA-256 of its file, its functions.
 *
 * <p>It is looked for, in this order, at the path the caller names; in {@code subtext.native.path} (property), else
 * {@code SUBTEXT_NATIVE_PATH} (variable), each a list of files or folders; and in the jar. What comes from the jar is unpacked into
 * {@code <cache>/<version>-<digest>/}, a folder only its owner can enter, by temporary file, fsync and atomic rename. Its digest is checked
 * on <em>every</em> start, because the loader kills the JVM on a damaged file (SIGBUS) and would run code that somebody else put there.
 * For the same reason nobody but the owner may be able to write in that folder, or to put another in its place.
 * The cache is {@code subtext.native.workdir}, {@code SUBTEXT_NATIVE_WORKDIR}, {@code $XDG_CACHE_HOME/subtext} or {@code ~/.cache/subtext}.
 *
 * <p>Libraries stay open until the JVM ends; they hold no state of their own.
 *
 * @param path the file that was opened
 * @param digest its SHA-256 in hexadecimal
 * @param symbols its functions
 */
public record NativeLibrary(Path path, String digest, Symbols symbols) {
    private static final String PATH_PROPERTY = "subtext.native.path";
    private static final String PATH_VARIABLE = "SUBTEXT_NATIVE_PATH";
    private static final String WORKDIR_PROPERTY = "subtext.native.workdir";
    private static final String WORKDIR_VARIABLE = "SUBTEXT_NATIVE_WORKDIR";
    private static final String CURE =
            "set " + WORKDIR_VARIABLE + " to a folder of your own on a file system that allows execution, or "
                    + PATH_VARIABLE + " to an unpacked library";
    private static final Set<PosixFilePermission> OWNER_ONLY = PosixFilePermissions.fromString("rwx------");
    private static final String TEMPORARY = ".part";

    /** Unpacking takes a second; what is older was left by a process that was killed. */
    private static final Duration ABANDONED = Duration.ofHours(1);

    private static final int STICKY = 01000;

    /**
     * Finds and opens a library.
     *
     * @param name its file name, such as {@code libsubtext_cpu.so}
     * @param explicit a file to open and no other
     * @throws EngineException.BackendUnavailable in one line, naming what was tried and the cure
     */
    public static NativeLibrary open(String name, Optional<Path> explicit) {
        if (explicit.isPresent()) {
            Path file = explicit.get();
            if (!Files.isRegularFile(file)) {
                throw new EngineException.BackendUnavailable("no kernel library at " + file);
            }
            return load(file, digest(file));
        }
        List<String> tried = new ArrayList<>();
        for (Path place : searchPath()) {
            Path file = Files.isDirectory(place) ? place.resolve(name) : place;
            if (file.endsWith(name) && Files.isRegularFile(file)) {
                return load(file, digest(file));
            }
            tried.add(place.toString());
        }
        String folder = "META-INF/native/" + platform() + "/";
        Optional<String> expected = packedDigest(folder, name);
        if (expected.isPresent()) {
            return load(unpack(folder + name, name, expected.get()), expected.get());
        }
        tried.add("jar:" + folder + name);
        throw new EngineException.BackendUnavailable("no library " + name + ": tried " + String.join(", ", tried)
                + (name.contains("cuda")
                        ? "; build on a machine with nvcc (-Dsubtext.cuda=ON) or run with --device cpu"
                        : "")
                + "; " + PATH_VARIABLE + " names a library or its folder");
    }

    private static List<Path> searchPath() {
        String path = setting(PATH_PROPERTY, PATH_VARIABLE);
        List<Path> places = new ArrayList<>();
        for (String place : path.split(":")) {
            if (!place.isBlank()) {
                places.add(Path.of(place));
            }
        }
        return places;
    }

    private static String setting(String property, String variable) {
        String value = System.getProperty(property);
        if (value == null) {
            value = System.getenv(variable);
        }
        return value == null ? "" : value;
    }

    private static String platform() {
        String system = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String processor = System.getProperty("os.arch");
        return system + "-" + (processor.equals("amd64") ? "x86_64" : processor);
    }

    // ---- opening
    // -----------------------------------------------------------------------------------------------------

    private static NativeLibrary load(Path file, String digest) {
        requireWholeElf(file);
        SymbolLookup lookup;
        try {
            // never closed: unloading a library while a thread of it still runs would crash
            lookup = SymbolLookup.libraryLookup(file.toAbsolutePath(), Arena.global());
        } catch (IllegalCallerException e) {
            throw new EngineException.BackendUnavailable(
                    "this JVM denies native access: start it with --enable-native-access=ALL-UNNAMED (class path) or "
                            + "--enable-native-access=subtext.bindings (module path)",
                    e);
        } catch (IllegalArgumentException e) {
            String reason = onNoexec(file)
                    ? "its file system is mounted noexec; " + CURE
                    : "the system's loader refuses it (ldd " + file + " shows missing libraries)";
            throw new EngineException.BackendUnavailable("cannot open " + file + ": " + reason, e);
        }
        Symbols symbols;
        try {
            symbols = new Symbols(lookup, file.toString());
        } catch (IllegalArgumentException e) {
            throw new EngineException.BackendUnavailable(
                    e.getMessage() + ": it was built from other sources, build it anew", e);
        }
        int version = SubtextH.st_abi_version(symbols);
        if (version != SubtextH.ST_ABI_VERSION) {
            throw new EngineException.BackendUnavailable(
                    "%s speaks version %d of subtext.h, this program version %d: build it anew"
                            .formatted(file, version, SubtextH.ST_ABI_VERSION));
        }
        return new NativeLibrary(file, digest, symbols);
    }

    /** Refuses what is not a 64-bit ELF file of its full length: opening it would kill the JVM or run into nonsense. */
    private static void requireWholeElf(Path file) {
        try (FileChannel channel = FileChannel.open(file)) {
            ByteBuffer header = ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN);
            while (header.hasRemaining() && channel.read(header) >= 0) {
                // reads on until the header is full or the file ends
            }
            boolean elf = header.position() == 64 && header.getInt(0) == 0x464c457f && header.get(4) == 2;
            if (!elf) {
                throw new EngineException.BackendUnavailable(
                        file + " is not a shared library of a 64-bit Linux system");
            }
            // the section table is the last thing in the file: e_shoff + e_shentsize * e_shnum
            long end = header.getLong(40) + (long) header.getShort(58) * header.getShort(60);
            if (channel.size() < end) {
                throw new EngineException.BackendUnavailable(
                        file + " is truncated: " + channel.size() + " bytes of " + end + "; copy or build it anew");
            }
        } catch (IOException e) {
            throw new EngineException.BackendUnavailable("cannot read " + file + ": " + reason(e), e);
        }
    }

    /** Whether the file lies on a mount with the option noexec, as the kernel's own table says. */
    private static boolean onNoexec(Path file) {
        try {
            Path real = file.toRealPath();
            String options = "";
            int depth = -1;
            for (String line : Files.readAllLines(Path.of("/proc/self/mounts"))) {
                String[] fields = line.split(" ");
                Path mount = Path.of(fields[1].replace("\\040", " "));
                if (real.startsWith(mount) && mount.getNameCount() >= depth) {
                    depth = mount.getNameCount();
                    options = fields[3];
                }
            }
            return List.of(options.split(",")).contains("noexec");
        } catch (IOException e) {
            return false; // no such table: the caller gives its general reason
        }
    }

    // ---- unpacking
    // ---------------------------------------------------------------------------------------------------

    /** The digest the jar states for a library, empty if the jar has no such library. */
    private static Optional<String> packedDigest(String folder, String name) {
        try (InputStream sums = resource(folder + "SHA256SUMS")) {
            if (sums == null) {
                return Optional.empty();
            }
            return new String(sums.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .filter(line -> line.endsWith("  " + name))
                    .map(line -> line.substring(0, line.indexOf(' ')))
                    .findFirst();
        } catch (IOException e) {
            throw new EngineException.BackendUnavailable(
                    "cannot read " + folder + "SHA256SUMS from the jar: " + reason(e), e);
        }
    }

    /** By this class's own loader: the thread's context loader is another one in Spark and in nested jars. */
    private static InputStream resource(String name) {
        ClassLoader loader = NativeLibrary.class.getClassLoader();
        return loader == null ? ClassLoader.getSystemResourceAsStream(name) : loader.getResourceAsStream(name);
    }

    private static Path unpack(String resource, String name, String expected) {
        Path folder = cache().resolve(version() + "-" + expected.substring(0, 16));
        Path file = folder.resolve(name);
        try {
            ownFolder(folder);
            sweep(folder);
            if (!isThere(file) || !digest(file).equals(expected)) {
                write(resource, folder, file);
                String written = digest(file);
                if (!written.equals(expected)) {
                    throw refused(
                            file,
                            "has SHA-256 " + written + ", expected " + expected
                                    + ": the jar is damaged, build or copy it anew");
                }
            }
            return file;
        } catch (AccessDeniedException e) {
            throw refused(folder, "cannot be written (permission denied): " + CURE);
        } catch (IOException e) {
            throw refused(folder, "cannot be written (" + reason(e) + "): " + CURE);
        }
    }

    private static Path cache() {
        String workdir = setting(WORKDIR_PROPERTY, WORKDIR_VARIABLE);
        if (!workdir.isBlank()) {
            return Path.of(workdir).toAbsolutePath();
        }
        String xdg = System.getenv("XDG_CACHE_HOME");
        if (xdg != null && !xdg.isBlank()) {
            return Path.of(xdg).toAbsolutePath().resolve("subtext");
        }
        String home = System.getProperty("user.home", "");
        if (home.isBlank() || home.equals("?")) { // a user that the system does not know, as in many containers
            throw new EngineException.BackendUnavailable("native library cache: this user has no home folder: " + CURE);
        }
        return Path.of(home, ".cache").toAbsolutePath().resolve("subtext");
    }

    /** Makes the folder, or checks that the one there is a folder of ours that nobody else can write to or put another in place of. */
    private static void ownFolder(Path folder) throws IOException {
        Path cache = folder.getParent();
        Files.createDirectories(cache);
        requireOurs(cache);
        int mode = (int) Files.getAttribute(cache, "unix:mode");
        if (permissions(cache).contains(PosixFilePermission.OTHERS_WRITE) && (mode & STICKY) == 0) {
            throw refused(cache, "may be written to by everybody: chmod 700 it, or " + CURE);
        }
        try {
            Files.createDirectory(folder, PosixFilePermissions.asFileAttribute(OWNER_ONLY));
        } catch (FileAlreadyExistsException e) {
            if (!Files.isDirectory(folder, LinkOption.NOFOLLOW_LINKS)) {
                throw refused(folder, "is not a folder but a link or a file: delete it");
            }
        }
        Set<PosixFilePermission> permissions = permissions(folder);
        if (!OWNER_ONLY.containsAll(permissions) // less is enough where the library is there already
                || !permissions.contains(PosixFilePermission.OWNER_READ)
                || !permissions.contains(PosixFilePermission.OWNER_EXECUTE)) {
            throw refused(
                    folder,
                    "has permissions %s, expected %s: chmod 700 it, or delete it"
                            .formatted(
                                    PosixFilePermissions.toString(permissions),
                                    PosixFilePermissions.toString(OWNER_ONLY)));
        }
        requireOurs(folder);
    }

    private static Set<PosixFilePermission> permissions(Path folder) throws IOException {
        return Files.readAttributes(folder, PosixFileAttributes.class).permissions();
    }

    /** The owner may do anything with a folder; so may root, to whom the system's own temporary folders belong. */
    private static void requireOurs(Path folder) throws IOException {
        Path self = Path.of("/proc/self");
        String owner = Files.getOwner(folder).getName();
        Object number = Files.getAttribute(folder, "unix:uid");
        // by number where it can be had: a user that the system does not know has no name
        boolean ours = Files.exists(self)
                ? number.equals(Files.getAttribute(self, "unix:uid"))
                : owner.equals(System.getProperty("user.name"));
        if (!ours && !number.equals(0)) {
            throw refused(folder, "belongs to " + owner + ": " + CURE);
        }
    }

    /** Whether a file is there; anything else of that name is refused, since reading it may follow a link or never end. */
    private static boolean isThere(Path file) {
        if (Files.isSymbolicLink(file)) {
            throw refused(file, "is a symbolic link: delete it");
        }
        boolean regular = Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS);
        if (!regular && Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
            throw refused(file, "is not a file: delete it");
        }
        return regular;
    }

    /** Deletes what processes that were killed while unpacking left behind. */
    private static void sweep(Path folder) {
        Instant limit = Instant.now().minus(ABANDONED);
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder, "*" + TEMPORARY)) {
            for (Path entry : entries) {
                if (Files.readAttributes(entry, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS)
                        .lastModifiedTime()
                        .toInstant()
                        .isBefore(limit)) {
                    Files.deleteIfExists(entry);
                }
            }
        } catch (IOException | DirectoryIteratorException e) {
            return; // another process was faster, or the folder is read-only: they are in nobody's way
        }
    }

    private static void write(String resource, Path folder, Path file) throws IOException {
        // a name that nobody can guess, made and not followed, for its owner alone
        Path temporary = Files.createTempFile(folder, file.getFileName().toString(), TEMPORARY);
        try {
            try (InputStream packed = resource(resource);
                    FileChannel channel = FileChannel.open(temporary, StandardOpenOption.WRITE)) {
                if (packed == null) {
                    throw new EngineException.BackendUnavailable(
                            "the jar lists " + resource + " but lacks it: build or copy it anew");
                }
                packed.transferTo(Channels.newOutputStream(channel));
                channel.force(true);
            }
            Files.setPosixFilePermissions(temporary, OWNER_ONLY);
            Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(temporary);
        }
    }

    private static EngineException.BackendUnavailable refused(Path path, String why) {
        return new EngineException.BackendUnavailable("native library cache: " + path + " " + why);
    }

    private static String reason(IOException e) {
        String reason = e instanceof FileSystemException file ? file.getReason() : e.getMessage();
        return reason == null ? e.getClass().getSimpleName() : reason;
    }

    private static String version() {
        try (InputStream in = NativeLibrary.class.getResourceAsStream("version")) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8).strip();
        } catch (IOException e) {
            throw new EngineException.BackendUnavailable("the jar is damaged: " + reason(e), e);
        }
    }

    private static String digest(Path file) {
        try (InputStream in = Files.newInputStream(file)) {
            MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
            byte[] block = new byte[1 << 16];
            for (int n = in.read(block); n >= 0; n = in.read(block)) {
                sha256.update(block, 0, n);
            }
            return HexFormat.of().formatHex(sha256.digest());
        } catch (IOException e) {
            throw new EngineException.BackendUnavailable("cannot read " + file + ": " + reason(e), e);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every Java has SHA-256", e);
        }
    }
}
