package subtext.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A file is replaced whole or not at all; digests are those of FIPS 180-4. */
class FilesTest {
    @TempDir
    private Path folder;

    @Test
    void aFileIsReplacedWhole() throws IOException {
        Path file = folder.resolve("state.json");
        AtomicFiles.write(file, "first");
        AtomicFiles.write(file, "second");
        assertThat(file).hasContent("second");
        assertThat(folder.toFile().list()).containsExactly("state.json");
    }

    @Test
    void aFailedWriteLeavesTheOldFileAndNothingElse() throws IOException {
        Path file = folder.resolve("state.json");
        AtomicFiles.write(file, "old");
        assertThatThrownBy(() -> AtomicFiles.write(file, channel -> {
                    channel.write(ByteBuffer.wrap(new byte[100]));
                    throw new IOException("no space left on device");
                }))
                .isInstanceOf(IOException.class)
                .hasMessage("no space left on device");
        assertThat(file).hasContent("old");
        assertThat(folder.toFile().list()).containsExactly("state.json");
    }

    @Test
    void aFolderThatIsNotThereIsNamed() {
        assertThatThrownBy(() -> AtomicFiles.write(folder.resolve("none/such"), "x"))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("none");
    }

    @Test
    void movesIntoPlace() throws IOException {
        Path from = Files.createDirectory(folder.resolve("building"));
        Files.writeString(from.resolve("a"), "1");
        AtomicFiles.move(from, folder.resolve("built"));
        assertThat(folder.resolve("built/a")).hasContent("1");
        assertThat(from).doesNotExist();
    }

    @Test
    void digestsAreTheStandards() throws IOException {
        String abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assertThat(Digest.of("abc".getBytes())).isEqualTo(abc);
        assertThat(Digest.of(new byte[0]))
                .isEqualTo("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        Path file = folder.resolve("abc");
        Files.writeString(file, "abc");
        assertThat(Digest.of(file)).isEqualTo(abc);
        Digest parts = new Digest().add(ByteBuffer.wrap("a".getBytes())).add(ByteBuffer.wrap("bc".getBytes()));
        assertThat(parts.hex()).isEqualTo(abc);
    }
}
