package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.bindings.EngineException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class TemplateTest {
    private static final JsonMapper JSON = JsonMapper.builder().build();

    /** A record in the form of GSM8K: a worked solution with calculator marks and the answer after four hashes. */
    private static final JsonNode RECORD = JSON.readTree("""
            {"question": "Ann has 4 pens and buys 3. How many?",
             "answer": "She had 4.\\n4 + 3 = <<4+3=7>>7 pens.\\n#### 7", "n": 3, "list": [1]}
            """);

    @Test
    void mappingOfWorkedSolutionsTakesThemApart() {
        assertThat(render("{question}\n")).isEqualTo("Ann has 4 pens and buys 3. How many?\n");
        assertThat(render("#### {answer|after:####|trim}")).isEqualTo("#### 7");
        assertThat(render("{answer|before:####|drop:<<[^>]*>>|trim}")).isEqualTo("She had 4.\n4 + 3 = 7 pens.");
        assertThat(render("{question}\n#### {answer|after:####|trim}"))
                .isEqualTo("Ann has 4 pens and buys 3. How many?\n#### 7");
    }

    @Test
    void literalsNumbersAndBracesStay() {
        assertThat(render("")).isEmpty();
        assertThat(Template.parse("t", "").isEmpty()).isTrue();
        assertThat(render("{n}{n} {{n}}")).isEqualTo("33 {n}");
    }

    @Test
    void recordsWithoutTheFieldOrTheMarkAreRefusedByName() {
        assertThatThrownBy(() -> render("{text}"))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessage("field 'text' is missing");
        assertThatThrownBy(() -> render("{question|after:####}")).hasMessage("field 'question' has no '####'");
        assertThatThrownBy(() -> render("{list}")).hasMessage("field 'list': expected text, got a list or an object");
    }

    @ParameterizedTest
    @ValueSource(strings = {"{question", "a } b", "{}", "{a|upper}", "{a|trim:x}", "{a|before}", "{a|drop:[}"})
    void brokenTemplatesAreRefusedInOneLine(String source) {
        assertThatThrownBy(() -> Template.parse("corpus.text", source))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageStartingWith("corpus.text: ")
                .hasMessageNotContaining("\n");
    }

    /** Every record of the real file, where it lies beside the project. */
    @Test
    void everyRecordOfGsm8kIsMapped() throws IOException {
        Path file = Path.of(System.getProperty("subtext.root", "."), "../shared/data/gsm8k/train.jsonl");
        Assumptions.assumeTrue(Files.exists(file), "no " + file + ": not checked");
        Template text = Template.parse("text", "{question}\n#### {answer|after:####|trim}");
        Template thought = Template.parse("thought", "{answer|before:####|drop:<<[^>]*>>|trim}");
        List<String> lines = Files.readAllLines(file);
        for (String line : lines) {
            JsonNode record = JSON.readTree(line);
            assertThat(text.render(record)).matches("(?s).+\n#### -?[\\d,.]+");
            assertThat(thought.render(record)).isNotBlank().doesNotContain("<<", "####");
        }
        assertThat(lines).hasSize(7_473);
    }

    private static String render(String template) {
        return Template.parse("template", template).render(RECORD);
    }
}
