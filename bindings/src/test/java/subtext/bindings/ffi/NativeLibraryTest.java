package subtext.bindings.ffi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;

/** Finding, unpacking and checking a library; every refusal is one line that names the thing and the cure. */
class NativeLibraryTest {
    private static final String CPU = "libsubtext_cpu.so";

    @TempDir
    Path folder;

    @BeforeEach
    void useAnEmptyCacheAndTheJar() {
        System.setProperty("subtext.native.workdir", folder.resolve("cache").toString());
        System.setProperty("subtext.native.path", "");
    }

    @AfterEach
    void restore() {
        System.clearProperty("subtext.native.workdir");
        System.clearProperty("subtext.native.path");
    }

    private NativeLibrary open() {
        return NativeLibrary.open(CPU, Optional.empty());
    }

    private static void assertRefused(ThrowingOpen open, String... parts) {
        assertThatThrownBy(open::run)
                .isInstanceOf(EngineException.BackendUnavailable.class)
                .satisfies(e -> assertThat(e.getMessage()).contains(parts).doesNotContain("\n"));
    }

    @FunctionalInterface
    private interface ThrowingOpen {
        void run() throws IOException;
    }

    @Test
    void unpacksOnceIntoAFolderOfItsOwner() throws IOException {
        NativeLibrary library = open();
        Path home = library.path().getParent();
        assertThat(home.getFileName().toString())
                .endsWith("-" + library.digest().substring(0, 16));
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(home)))
                .isEqualTo("rwx------");
        try (Stream<Path> files = Files.list(home)) {
            assertThat(files).as("no temporary file is left").containsExactly(library.path());
        }
        Object before = Files.getAttribute(library.path(), "unix:ino");
        assertThat(open().path()).isEqualTo(library.path());
        assertThat(Files.getAttribute(library.path(), "unix:ino")).isEqualTo(before);
    }

    @Test
    void aDamagedCopyIsReplacedBeforeItIsOpened() throws IOException {
        NativeLibrary library = open();
        byte[] whole = Files.readAllBytes(library.path());
        Path other = folder.resolve("kept.so"); // the mapped file must keep its content: replace, do not overwrite
        Files.move(library.path(), other);
        Files.write(library.path(), Arrays.copyOf(whole, whole.length / 2));
        open();
        assertThat(Files.readAllBytes(library.path())).isEqualTo(whole);
    }

    @Test
    void aFolderThatOthersMayWriteToIsRefused() throws IOException {
        Path home = open().path().getParent();
        Files.setPosixFilePermissions(home, PosixFilePermissions.fromString("rwxrwxrwx"));
        assertRefused(this::open, home.toString(), "rwxrwxrwx", "chmod 700");
    }

    @Test
    void aLinkInPlaceOfTheFolderOrTheFileIsRefused() throws IOException {
        Path library = open().path();
        Path home = library.getParent();
        Path moved = folder.resolve("moved.so");
        Files.move(library, moved);
        Files.createSymbolicLink(library, moved);
        assertRefused(this::open, library.toString(), "symbolic link", "delete it");
        Files.delete(library);
        Files.delete(home);
        Files.createSymbolicLink(home, folder);
        assertRefused(this::open, home.toString(), "is not a folder", "delete it");
    }

    @Test
    void aCacheThatCannotBeWrittenSaysWhereElse() throws IOException {
        Path file = Files.writeString(folder.resolve("cache"), "a file where a folder should be");
        assertRefused(this::open, file.toString(), "SUBTEXT_NATIVE_WORKDIR");
    }

    @Test
    void whatIsNotThereIsListedWithEverythingTried() {
        System.setProperty("subtext.native.path", "/nowhere:" + folder);
        assertRefused(
                () -> NativeLibrary.open("libsubtext_cuda_emulated.so", Optional.empty()),
                "/nowhere, " + folder,
                "jar:META-INF/native/",
                "SUBTEXT_NATIVE_PATH");
        assertRefused(
                () -> NativeLibrary.open(CPU, Optional.of(folder.resolve("x.so"))),
                folder.resolve("x.so").toString());
    }

    @Test
    void aPathOfFoldersIsSearchedBeforeTheJar() throws IOException {
        Path copy = folder.resolve("named").resolve(CPU);
        Files.createDirectory(copy.getParent());
        Files.copy(open().path(), copy);
        System.setProperty("subtext.native.path", "/nowhere:" + copy.getParent());
        assertThat(open().path()).isEqualTo(copy);
        System.setProperty("subtext.native.path", copy.toString());
        assertThat(open().path()).isEqualTo(copy);
    }

    @Test
    void truncatedAndForeignFilesAreRefusedBeforeTheLoaderSeesThem() throws IOException {
        byte[] whole = Files.readAllBytes(open().path());
        for (int length : List.of(0, 10, 64, 4096, whole.length - 1)) {
            Path half = Files.write(folder.resolve("half.so"), Arrays.copyOf(whole, length));
            assertRefused(() -> NativeLibrary.open(CPU, Optional.of(half)), half.toString());
        }
        Path text = Files.writeString(
                folder.resolve("text.so"), "not a library, though long enough to have a header of 64 bytes");
        assertRefused(() -> NativeLibrary.open(CPU, Optional.of(text)), "is not a shared library");
    }

    @Test
    void aLibraryWithoutOurFunctionsIsRefusedByName() throws IOException {
        Path java = Path.of(System.getProperty("java.home"), "lib", "libzip.so");
        assertRefused(() -> NativeLibrary.open(CPU, Optional.of(java)), java.toString(), "has no function st_");
    }
}
