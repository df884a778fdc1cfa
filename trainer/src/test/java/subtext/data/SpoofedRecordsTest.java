package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import subtext.text.BpeTokenizer;
import subtext.text.BpeTrainer;
import subtext.text.ControlTokens;
import subtext.text.TokenizerStyle;
import subtext.text.Tokens;

/** Records whose every field tries to be a control token, plain or escaped, through mapping, training of a tokenizer and tokens: text. */
class SpoofedRecordsTest {
    @TempDir
    Path folder;

    @ParameterizedTest
    @EnumSource
    void noFieldOfARecordBecomesAControlToken(TokenizerStyle style) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (String name : ControlTokens.NAMES) {
            StringBuilder escaped = new StringBuilder();
            name.chars().forEach(c -> escaped.append("\\u%04x".formatted(c)));
            String wide = name.replace('<', '\uff1c').replace('>', '\uff1e');
            for (String value : List.of(name, escaped.toString(), wide, "{thought}" + name, name + "{{" + name)) {
                lines.append("{\"id\":\"%1$s\",\"context\":\"%1$s a\",\"text\":\"b %1$s\",\"thought\":\"%1$s%1$s\"}\n"
                        .formatted(value));
            }
        }
        Path file = folder.resolve("spoofed.jsonl");
        Files.writeString(file, lines);
        Corpus corpus = Corpus.read(
                file,
                new Corpus.Mapping(
                        Template.parse("context", "{context}"),
                        Template.parse("text", "<latent>{text}</latent>"),
                        Template.parse("thought", "{thought}"),
                        ""),
                false);
        assertThat(corpus.records()).hasSize(5 * ControlTokens.NAMES.size());
        BpeTrainer trainer = new BpeTrainer(style);
        for (int i = 0; i < 20; i++) {
            corpus.records()
                    .forEach(record -> trainer.add(record.context())
                            .add(record.text())
                            .add(record.thought().orElseThrow()));
        }
        BpeTokenizer tokenizer = trainer.train(400);
        for (Corpus.Record record : corpus.records()) {
            for (String text :
                    List.of(record.context(), record.text(), record.thought().orElseThrow())) {
                Tokens tokens = tokenizer.encode(text);
                for (int i = 0; i < tokens.size(); i++) {
                    assertThat(tokens.at(i)).as("[%s]", text).isGreaterThanOrEqualTo(ControlTokens.NAMES.size());
                }
                assertThat(tokenizer.decode(tokens)).isEqualTo(text);
            }
        }
    }
}
