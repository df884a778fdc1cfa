package subtext.bindings.ffi;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;

/**
 * What can be wrong with the place where the library of the jar is unpacked. Every case is a process of its own, as a start of the program
 * is, with its variables, its user and its mounts; it ends with the library that works, or with one line that names the thing and the cure.
 */
class NativeCacheTest {
    private static final String CPU = "libsubtext_cpu.so";
    private static final String CURE = "SUBTEXT_NATIVE_WORKDIR";
    private static final int NOBODY = 65534;

    @TempDir
    static Path templates;

    private static Path template;

    @TempDir
    Path folder;

    private Path cache;

    @BeforeAll
    static void unpack() throws IOException {
        template = Start.in(templates).run().opened();
    }

    @BeforeEach
    void name() {
        cache = folder.resolve("cache");
    }

    /** Opens the library and calls it. */
    static final class Opener {
        private Opener() {}

        public static void main(String[] arguments) {
            try {
                NativeLibrary library = NativeLibrary.open(CPU, Optional.empty());
                System.out.println(library.path() + " " + SubtextH.st_abi_version(library.symbols()));
            } catch (EngineException.BackendUnavailable e) {
                System.out.println(e.getMessage());
                System.exit(4);
            }
        }
    }

    private record Outcome(int code, String text) {
        Path opened() {
            assertThat(code).as(text).isZero();
            assertThat(text).endsWith(" " + SubtextH.ST_ABI_VERSION);
            return Path.of(text.substring(0, text.lastIndexOf(' ')));
        }

        void refused(Object... parts) {
            assertThat(code).as(text).isEqualTo(4);
            assertThat(text)
                    .hasLineCount(1)
                    .contains(Arrays.stream(parts).map(Object::toString).toList());
        }
    }

    /** A start of the program to be: what stands before its command, the options of its JVM, its variables. */
    private record Start(List<String> prefix, List<String> options, Map<String, String> variables) {
        static Start in(Path cache) {
            return new Start(List.of(), List.of(), Map.of("SUBTEXT_NATIVE_WORKDIR", cache.toString()));
        }

        static Start of(String... namesAndValues) {
            Map<String, String> variables = new LinkedHashMap<>();
            for (int i = 0; i < namesAndValues.length; i += 2) {
                variables.put(namesAndValues[i], namesAndValues[i + 1]);
            }
            return new Start(List.of(), List.of(), variables);
        }

        Start after(String... prefix) {
            return new Start(List.of(prefix), options, variables);
        }

        Start with(String... options) {
            return new Start(prefix, List.of(options), variables);
        }

        Process begin() throws IOException {
            List<String> command = new ArrayList<>(prefix);
            command.addAll(List.of(
                    Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                    "-Xshare:auto",
                    "-XX:TieredStopAtLevel=1",
                    "-Xmx64m",
                    "--enable-native-access=ALL-UNNAMED"));
            command.addAll(options);
            command.addAll(List.of("-cp", System.getProperty("java.class.path"), Opener.class.getName()));
            ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
            for (String name : List.of("HOME", "XDG_CACHE_HOME", "SUBTEXT_NATIVE_WORKDIR", "SUBTEXT_NATIVE_PATH")) {
                builder.environment().remove(name);
            }
            builder.environment().putAll(variables);
            return builder.start();
        }

        Outcome run() throws IOException {
            return outcome(begin());
        }
    }

    private static Outcome outcome(Process process) throws IOException {
        String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        try {
            if (!process.waitFor(60, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                throw new AssertionError("still running: " + text);
            }
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
        return new Outcome(process.exitValue(), text);
    }

    /** The library as a start unpacks it. */
    private Path unpacked() throws IOException {
        return Start.in(cache).run().opened();
    }

    /** The library as a start before this one has left it. */
    private Path there() throws IOException {
        Path home = Files.createDirectories(cache.resolve(template.getParent().getFileName()));
        chmod(home, "rwx------");
        return Files.copy(template, home.resolve(CPU));
    }

    private static void assertOnlyTheLibrary(Path library) throws IOException {
        try (Stream<Path> files = Files.list(library.getParent())) {
            assertThat(files).containsExactly(library);
        }
    }

    /** Runs a script with mounts of its own and the start as its arguments; skipped where that is not allowed. */
    private Outcome mounted(String script, Start start) throws IOException {
        List<String> unshare = List.of("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec");
        List<String> probe = new ArrayList<>(unshare);
        probe.add("mount -t tmpfs none " + folder);
        boolean allowed;
        try {
            Process process =
                    new ProcessBuilder(probe).redirectErrorStream(true).start();
            allowed = outcome(process).code() == 0;
        } catch (IOException e) {
            allowed = false; // no such program
        }
        Assumptions.assumeTrue(allowed, "this user may not mount");
        List<String> prefix = new ArrayList<>(unshare);
        prefix.addAll(List.of(script + "; exec \"$@\"", "sh"));
        return start.after(prefix.toArray(String[]::new)).run();
    }

    private static void assumeRoot() {
        Assumptions.assumeTrue(System.getProperty("user.name").equals("root"), "only root may change owners");
    }

    private static void chmod(Path path, String permissions) throws IOException {
        Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(permissions));
    }

    // ---- the file system

    @Test
    void aFileSystemThatForbidsExecution() throws IOException {
        Files.createDirectory(cache);
        mounted("mount -t tmpfs -o noexec,mode=700 none " + cache, Start.in(cache))
                .refused("cannot open " + cache, "mounted noexec", CURE);
    }

    @Test
    void aReadOnlyFileSystemWithoutTheLibrary() throws IOException {
        Files.createDirectory(cache);
        mounted("mount -t tmpfs -o ro,mode=700 none " + cache, Start.in(cache))
                .refused(cache, "cannot be written", "Read-only file system", CURE);
    }

    @Test
    void aReadOnlyFileSystemThatHasTheLibrary() throws IOException {
        Path library = there();
        Outcome outcome =
                mounted("mount --bind %1$s %1$s && mount -o remount,bind,ro %1$s".formatted(cache), Start.in(cache));
        assertThat(outcome.opened()).isEqualTo(library);
    }

    @Test
    void aFullDisk() throws IOException {
        Files.createDirectory(cache);
        Path after = folder.resolve("after");
        mounted(
                        "mount -t tmpfs -o size=64k,mode=700 none %s; \"$@\" || code=$?; find %s -type f >%s; exit $code"
                                .formatted(cache, cache, after),
                        Start.in(cache))
                .refused(cache, "No space left on device", CURE);
        assertThat(after).as("what was left there").isEmptyFile();
    }

    @Test
    void aLimitOnTheSizeOfFiles() throws IOException {
        Start.in(cache)
                .after("sh", "-c", "ulimit -f 64; exec \"$@\"", "sh")
                .run()
                .refused(cache, "File too large");
        try (Stream<Path> left = Files.walk(cache)) {
            assertThat(left.filter(Files::isRegularFile)).isEmpty();
        }
        assertThat(unpacked()).exists();
    }

    // ---- what lies there

    @Test
    void aLinkInPlaceOfTheFolder() throws IOException {
        Path home = there().getParent();
        Path elsewhere = Files.move(home, folder.resolve("elsewhere"));
        Files.createSymbolicLink(home, elsewhere);
        Start.in(cache).run().refused(home, "is not a folder but a link", "delete it");
    }

    @Test
    void aLinkInPlaceOfTheFile() throws IOException {
        Path library = there();
        Path precious = Files.move(library, folder.resolve("precious"));
        Files.createSymbolicLink(library, precious);
        Start.in(cache).run().refused(library, "is a symbolic link", "delete it");
    }

    @Test
    void aLinkToNowhereInPlaceOfTheFile() throws IOException {
        Path library = there();
        Files.delete(library);
        Files.createSymbolicLink(library, folder.resolve("made-by-others"));
        Start.in(cache).run().refused(library, "is a symbolic link", "delete it");
        assertThat(folder.resolve("made-by-others")).doesNotExist();
    }

    @Test
    void linksUnderTemporaryNames() throws IOException {
        Path library = there();
        Files.delete(library);
        Path precious = Files.writeString(folder.resolve("precious"), "precious");
        for (String name : new String[] {CPU + ".part", CPU + "1.part", CPU + "7364.part"}) {
            Files.createSymbolicLink(library.resolveSibling(name), precious);
        }
        assertThat(unpacked()).isEqualTo(library);
        assertThat(precious).hasContent("precious");
    }

    @Test
    void aFileInPlaceOfTheFolder() throws IOException {
        Path home = there().getParent();
        Files.delete(home.resolve(CPU));
        Files.delete(home);
        Files.writeString(home, "a file");
        Start.in(cache).run().refused(home, "is not a folder", "delete it");
    }

    @Test
    void aFolderInPlaceOfTheFile() throws IOException {
        Path library = there();
        Files.delete(library);
        Files.createDirectory(library);
        Start.in(cache).run().refused(library, "is not a file", "delete it");
    }

    /** To read it would wait for ever. */
    @Test
    void aPipeInPlaceOfTheFile() throws IOException {
        Path library = there();
        Files.delete(library);
        assertThat(outcome(new ProcessBuilder("mkfifo", library.toString()).start())
                        .code())
                .isZero();
        Start.in(cache).run().refused(library, "is not a file", "delete it");
    }

    @Test
    void aFileInPlaceOfTheCache() throws IOException {
        Files.writeString(cache, "a file");
        Start.in(cache).run().refused(cache, CURE);
    }

    @Test
    void everyDamageOfTheFileIsRepairedBeforeItIsOpened() throws IOException {
        Path library = there();
        byte[] whole = Files.readAllBytes(library);
        byte[] flipped = whole.clone();
        flipped[whole.length / 2] ^= 1;
        byte[] longer = Arrays.copyOf(whole, whole.length + 1);
        for (byte[] damaged : List.of(new byte[0], Arrays.copyOf(whole, whole.length / 2), flipped, longer)) {
            Files.write(library, damaged);
            assertThat(unpacked()).isEqualTo(library);
            assertThat(library).hasBinaryContent(whole);
            assertOnlyTheLibrary(library);
        }
    }

    @Test
    void whatKilledProcessesLeftIsDeletedAndWhatOthersWriteIsNot() throws IOException {
        Path library = there();
        Path old = Files.writeString(library.resolveSibling(CPU + "1234.part"), "half");
        Files.setLastModifiedTime(old, FileTime.from(Instant.now().minus(Duration.ofHours(2))));
        Path young = Files.writeString(library.resolveSibling(CPU + "5678.part"), "half");
        assertThat(unpacked()).isEqualTo(library);
        assertThat(old).doesNotExist();
        assertThat(young).exists();
    }

    // ---- permissions and owners

    @Test
    void foldersThatOthersMayWriteTo() throws IOException {
        Path home = there().getParent();
        for (String permissions : new String[] {"rwxrwxrwx", "rwxrwx---", "rwx----w-", "rwxr-xr-x"}) {
            chmod(home, permissions);
            Start.in(cache).run().refused(home, permissions, "chmod 700");
        }
        chmod(home, "---------");
        Start.in(cache).run().refused(home, "---------", "chmod 700");
        chmod(home, "rwx------");
        chmod(cache, "rwxrwxrwx"); // they could put another folder in its place
        Start.in(cache).run().refused(cache, "written to by everybody", "chmod 700");
    }

    @Test
    void aFolderAsTheSystemsTemporaryOne() throws IOException {
        Files.createDirectory(cache);
        chmod(cache, "rwxrwxrwx");
        Files.setAttribute(cache, "unix:mode", 01777); // nobody may rename what belongs to others
        assertThat(unpacked()).exists();
    }

    @Test
    void aFolderThatItsOwnerMayOnlyRead() throws IOException {
        Path library = there();
        chmod(library.getParent(), "r-x------");
        assertThat(unpacked()).isEqualTo(library);
    }

    @Test
    void foldersOfSomebodyElse() throws IOException {
        assumeRoot();
        Path home = there().getParent();
        Files.setAttribute(home, "unix:uid", NOBODY);
        Start.in(cache).run().refused(home, "belongs to nobody", CURE);
        Files.setAttribute(home, "unix:uid", 0);
        Files.setAttribute(cache, "unix:uid", NOBODY);
        Start.in(cache).run().refused(cache, "belongs to nobody", CURE);
    }

    private static String[] as(int uid) {
        return new String[] {"setpriv", "--reuid", "" + uid, "--regid", "" + uid, "--clear-groups"};
    }

    /** Reads the classes as another user: skipped where that user may not. */
    private static void assumeMayRead(int uid) throws IOException {
        assumeRoot();
        List<String> command = new ArrayList<>(List.of(as(uid)));
        command.addAll(List.of(
                "cat",
                Path.of(
                                SubtextH.class
                                        .getProtectionDomain()
                                        .getCodeSource()
                                        .getLocation()
                                        .getPath(),
                                "subtext/bindings/ffi/SubtextH.class")
                        .toString()));
        Assumptions.assumeTrue(
                outcome(new ProcessBuilder(command).redirectErrorStream(true).start())
                                .code()
                        == 0,
                "another user may not read the classes");
    }

    @Test
    void aFolderThatTheUserMayNotWriteTo() throws IOException {
        assumeMayRead(NOBODY);
        chmod(folder, "rwxr-xr-x");
        Files.createDirectory(cache);
        chmod(cache, "rwxr-xr-x");
        Start.in(cache).after(as(NOBODY)).run().refused(cache, "permission denied", CURE);
    }

    /** As containers do that give their process a number of its own: no name, no home. */
    @Test
    void aUserThatTheSystemDoesNotKnow() throws IOException {
        int stranger = 54321;
        assumeMayRead(stranger);
        Start.of().after(as(stranger)).run().refused("no home folder", CURE);
        chmod(folder, "rwxr-xr-x");
        Files.createDirectory(cache);
        Files.setAttribute(cache, "unix:uid", stranger);
        assertThat(Start.in(cache).after(as(stranger)).run().opened()).exists();
        assertThat(Start.in(cache).after(as(stranger)).run().opened()).exists();
    }

    // ---- where to unpack to

    @Test
    void aHomeThatIsNotThere() throws IOException {
        Path home = folder.resolve("nobody/home");
        Path library = Start.of().with("-Duser.home=" + home).run().opened();
        assertThat(library).startsWithRaw(home.resolve(".cache/subtext"));
        Start.of().with("-Duser.home=").run().refused("no home folder", CURE);
        Start.of().with("-Duser.home=/proc/none").run().refused("/proc/none", CURE);
    }

    @Test
    void propertiesAndVariablesInTheirOrder() throws IOException {
        Path xdg = folder.resolve("xdg");
        Path variable = folder.resolve("variable");
        Path library = Start.of("XDG_CACHE_HOME", xdg.toString()).run().opened();
        assertThat(library).startsWithRaw(xdg.resolve("subtext"));
        String[] both = {"XDG_CACHE_HOME", xdg.toString(), CURE, variable.toString()};
        assertThat(Start.of(both).run().opened()).startsWithRaw(variable);
        assertThat(Start.of(both)
                        .with("-Dsubtext.native.workdir=" + cache)
                        .run()
                        .opened())
                .startsWithRaw(cache);
        // a named library is taken as it is, and nothing is unpacked
        String[] named = {
            "SUBTEXT_NATIVE_PATH",
            library.toString(),
            CURE,
            folder.resolve("unused").toString()
        };
        assertThat(Start.of(named).run().opened()).isEqualTo(library);
        assertThat(folder.resolve("unused")).doesNotExist();
        assertThat(Start.of(named).with("-Dsubtext.native.path=").run().opened())
                .startsWithRaw(folder.resolve("unused"));
    }

    @Test
    void aFolderWithBlanksAndLettersOfOtherAlphabets() throws IOException {
        Path strange = folder.resolve("with blanks, ümläuts and 'quotes'");
        Assumptions.assumeTrue(
                "UTF-8".equals(System.getProperty("sun.jnu.encoding")), "file names of this locale are not UTF-8");
        assertThat(Start.in(strange).run().opened()).exists();
    }

    // ---- several at once

    @Test
    void twoClassLoadersOpenTheSameFile() throws Exception {
        URL[] classPath = Stream.of(System.getProperty("java.class.path").split(":"))
                .map(NativeCacheTest::url)
                .toArray(URL[]::new);
        String before = System.getProperty("subtext.native.workdir");
        String path = System.getProperty("subtext.native.path");
        System.setProperty("subtext.native.workdir", cache.toString());
        System.setProperty("subtext.native.path", "");
        try (URLClassLoader one = new URLClassLoader(classPath, ClassLoader.getPlatformClassLoader());
                URLClassLoader two = new URLClassLoader(classPath, ClassLoader.getPlatformClassLoader())) {
            Object first = openBy(one);
            Object second = openBy(two);
            assertThat(first.getClass()).isNotEqualTo(second.getClass());
            assertThat(version(first)).isEqualTo(SubtextH.ST_ABI_VERSION);
            assertThat(version(second)).isEqualTo(SubtextH.ST_ABI_VERSION);
            assertThat(first.getClass().getMethod("path").invoke(first))
                    .isEqualTo(second.getClass().getMethod("path").invoke(second));
        } finally {
            restore("subtext.native.workdir", before);
            restore("subtext.native.path", path);
        }
    }

    private static void restore(String property, String value) {
        if (value == null) {
            System.clearProperty(property);
        } else {
            System.setProperty(property, value);
        }
    }

    private static URL url(String entry) {
        try {
            return Path.of(entry).toUri().toURL();
        } catch (MalformedURLException e) {
            throw new AssertionError(e);
        }
    }

    private static Object openBy(ClassLoader loader) throws ReflectiveOperationException {
        try {
            return loader.loadClass(NativeLibrary.class.getName())
                    .getMethod("open", String.class, Optional.class)
                    .invoke(null, CPU, Optional.empty());
        } catch (InvocationTargetException e) {
            throw new AssertionError(e.getCause());
        }
    }

    private static Object version(Object library) throws ReflectiveOperationException {
        Object symbols = library.getClass().getMethod("symbols").invoke(library);
        return library.getClass()
                .getClassLoader()
                .loadClass(SubtextH.class.getName())
                .getMethod("st_abi_version", symbols.getClass())
                .invoke(null, symbols);
    }

    private void atOnce(int count) throws IOException {
        List<Process> processes = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            processes.add(Start.in(cache).begin());
        }
        Path library = null;
        for (Process process : processes) {
            Path opened = outcome(process).opened();
            assertThat(library == null || library.equals(opened)).isTrue();
            library = opened;
        }
        assertOnlyTheLibrary(library);
        assertThat(Files.isRegularFile(library, LinkOption.NOFOLLOW_LINKS)).isTrue();
    }

    @Test
    void tenProcessesFromAnEmptyCache() throws IOException {
        atOnce(10);
    }

    @Tag("slow")
    @Test
    void fiftyProcessesFromAnEmptyCache() throws IOException {
        long from = System.nanoTime();
        atOnce(50);
        System.out.printf("50 processes at once from an empty cache: %.1f s%n", (System.nanoTime() - from) * 1e-9);
    }
}
