package subtext.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What a run's folder says of how it began and who went on with it. */
class RunDirectoryTest {
    private static final RunConfig CONFIG = RunConfig.preset("smoke");

    @TempDir
    Path folder;

    private List<String> sit(boolean resume, Map<String, String> inputs, String library, String started)
            throws IOException {
        try (RunDirectory directory = RunDirectory.open(
                folder.resolve("r"),
                resume,
                new Beginning("em", CONFIG, inputs),
                Map.of("librarySha256", library, "started", started))) {
            assertThat(directory.resumed()).isEqualTo(resume);
            return directory.notices();
        }
    }

    private JsonNode run() throws IOException {
        return JsonMapper.shared().readTree(Files.readString(folder.resolve("r/run.json")));
    }

    @Test
    void aSittingOfOtherCodeIsNotedAndSaid() throws IOException {
        assertThat(sit(false, Map.of(), "aa", "1")).isEmpty();
        String begun = Files.readString(folder.resolve("r/run.json"));
        assertThat(sit(true, Map.of(), "aa", "2")).isEmpty();
        assertThat(folder.resolve("r/run.json")).hasContent(begun);
        assertThat(sit(true, Map.of(), "bb", "3"))
                .singleElement()
                .asString()
                .startsWith("run: goes on by other code: librarySha256 was \"aa\", is \"bb\"; ");
        assertThat(sit(true, Map.of(), "bb", "4")).isEmpty();
        assertThat(sit(true, Map.of(), "aa", "5")).hasSize(1);
        assertThat(run().path("provenance").path("librarySha256").asString()).isEqualTo("aa");
        assertThat(run().path("sittings")
                        .valueStream()
                        .map(sitting -> sitting.path("librarySha256").asString()
                                + sitting.path("started").asString()))
                .containsExactly("bb3", "aa5");
        assertThat(RunDirectory.storedConfig(folder.resolve("r"))).isEqualTo(CONFIG);
        assertThat(RunDirectory.storedCommand(folder.resolve("r"))).contains("em");
    }

    @Test
    void otherInputsAreRefusedAndTheRunStaysAsItWas() throws IOException {
        sit(false, Map.of("corpus.path", "11"), "aa", "1");
        String begun = Files.readString(folder.resolve("r/run.json"));
        assertThatThrownBy(() -> sit(true, Map.of("corpus.path", "12"), "bb", "2"))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageStartingWith("corpus.path: not what the run in ");
        assertThat(folder.resolve("r/run.json")).hasContent(begun);
        assertThat(sit(true, Map.of("corpus.path", "11"), "aa", "3")).isEmpty();
    }

    /** A run of a build that noted neither command nor inputs. */
    @Test
    void aRunOfAnOlderBuildIsGoneOnWith() throws IOException {
        sit(false, Map.of(), "aa", "1");
        Path file = folder.resolve("r/run.json");
        Files.writeString(
                file,
                SelfDigest.seal(Files.readString(file)
                        .replaceFirst("[0-9a-f]{64}", SelfDigest.EMPTY)
                        .replaceFirst("\"command\" : \"em\",", "")));
        assertThat(RunDirectory.storedCommand(folder.resolve("r"))).isEmpty();
        assertThat(sit(true, Map.of("corpus.path", "11"), "aa", "2")).isEmpty();
    }
}
