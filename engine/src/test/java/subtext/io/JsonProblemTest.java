package subtext.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.json.JsonMapper;

/** Broken JSON is told by what and where, in the file's terms. */
class JsonProblemTest {
    @TempDir
    Path folder;

    @Test
    void eachIsOneLineWithItsPlace() {
        Map<String, String> broken = Map.of(
                "{\"a\": 1,\n \"b\"", "(line 2, column 5)",
                "{\"a\": [1, 2", "close marker for Array (line 1, column 12)",
                "{\n\n  \"a\": tru}", "(line 3,",
                "{\"a\": 1} }", "(line 1, column 10)");
        broken.forEach((text, place) -> {
            JacksonException e = catchThrowableOfType(
                    JacksonException.class, () -> JsonMapper.shared().readTree(text));
            assertThat(e).as(text).isNotNull();
            assertThat(JsonProblem.of(e))
                    .as(text)
                    .contains(place)
                    .doesNotContain("REDACTED", "start marker", "\n")
                    .hasSizeLessThan(200);
            assertThat(JsonProblem.inLine(e)).contains("(column ").doesNotContain("line ");
        });
    }

    @Test
    void namesInItCannotSpeakToATerminal() {
        JacksonException e = catchThrowableOfType(
                JacksonException.class,
                () -> JsonMapper.builder()
                        .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                        .build()
                        .readTree("{\"\\u001b[2Ja\\n\":1,\"\\u001b[2Ja\\n\":2}"));
        assertThat(JsonProblem.of(e)).contains("\"\\u001b[2Ja\\u000a\"").doesNotContain("\u001b", "\n");
    }

    @Test
    void aConfigurationThatBreaksOffIsToldSo() throws Exception {
        Path file = Files.writeString(folder.resolve("config.json"), "{\"model_type\": \"llama\",\n\"vocab_size\"");
        EngineException e = catchThrowableOfType(EngineException.class, () -> HuggingFace.config(folder));
        assertThat(e).hasMessageStartingWith(file + ": not valid JSON: ").hasMessageEndingWith("(line 2, column 13)");
    }
}
