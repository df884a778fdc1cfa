package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import subtext.run.SelfDigest;
import subtext.text.Tokens;

class LatentPartTest {
    private static final List<LatentRecord> RECORDS = List.of(
            new LatentRecord(
                    "a \"quoted\" id",
                    3,
                    List.of(
                            new ScoredSample(
                                    Tokens.of(1, 2, 3), true, true, -0.1 - 0.2, new JointScore(-1e-300, -Math.PI)),
                            new ScoredSample(
                                    Tokens.EMPTY, true, false, -1e6, new JointScore(Double.NEGATIVE_INFINITY, -0.0))),
                    0),
            new LatentRecord(
                    "b", 0, List.of(new ScoredSample(Tokens.of(7), false, false, -1, new JointScore(-2, -3))), -1));

    @TempDir
    Path folder;

    @Test
    void recordsComeBackToTheBit() throws IOException {
        Path file = folder.resolve(LatentPart.name(17));
        LatentPart.write(file, "model x", 1.5, 0, RECORDS);
        assertThat(file).hasFileName("part-00017.jsonl");
        assertThat(LatentPart.read(file, "model x")).isEqualTo(RECORDS);
        assertThat(LatentPart.seconds(file)).isEqualTo(1.5);
        assertThat(folder.toFile().list()).containsExactly("part-00017.jsonl");
    }

    /** Parts of before malformed and cut-off thoughts were told apart: one that is not finished counts as cut off, as it did. */
    @Test
    void olderPartsAreRead() throws IOException {
        Path file = folder.resolve("part-00000.jsonl");
        LatentPart.write(file, "model x", 1.5, 0, RECORDS);
        String now = Files.readString(file);
        String older = now.replaceAll("\"closed\":(true|false),", "")
                .replaceFirst("\"sha256\":\"[0-9a-f]+\"", "\"sha256\":\"" + SelfDigest.EMPTY + "\"");
        assertThat(older).isNotEqualTo(now);
        Files.writeString(file, SelfDigest.seal(older));
        List<LatentRecord> read = LatentPart.read(file, "model x");
        assertThat(read.getLast()).isEqualTo(RECORDS.getLast());
        assertThat(read.getFirst().samples().getFirst())
                .isEqualTo(RECORDS.getFirst().samples().getFirst());
        assertThat(read.getFirst().samples().get(1).closed()).isFalse();
        assertThat(read.getFirst().chosen()).isZero();
    }

    @Test
    void everyDamagedByteOfTheRecordsIsFound() throws IOException {
        Path file = folder.resolve("part-00000.jsonl");
        LatentPart.write(file, "model x", 0, 0, RECORDS);
        byte[] whole = Files.readAllBytes(file);
        int body = new String(whole, java.nio.charset.StandardCharsets.UTF_8).indexOf('\n') + 1;
        for (int i = body; i < whole.length; i++) {
            byte[] damaged = whole.clone();
            damaged[i] ^= 1;
            Files.write(file, damaged);
            assertThatThrownBy(() -> LatentPart.read(file, "model x")).isInstanceOf(EngineException.CorruptFile.class);
        }
        Files.write(file, java.util.Arrays.copyOf(whole, whole.length - 5));
        assertThatThrownBy(() -> LatentPart.read(file, "model x")).hasMessageContaining("SHA-256");
    }

    @Test
    void aPartOfAnotherModelIsRefused() throws IOException {
        Path file = folder.resolve("part-00000.jsonl");
        LatentPart.write(file, "model x", 0, 0, RECORDS);
        assertThatThrownBy(() -> LatentPart.read(file, "model y"))
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageContaining("delete the file to draw it again");
    }
}
