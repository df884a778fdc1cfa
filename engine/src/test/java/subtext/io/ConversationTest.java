package subtext.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import subtext.bindings.DType;
import subtext.bindings.EngineException;
import subtext.model.LlamaConfig;
import subtext.testing.TestDevice;
import subtext.text.Tokenizer;
import subtext.text.Tokens;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** End tokens and chat templates of a folder: what is read, what is refused, and that import and export hand it on. */
class ConversationTest {
    static final String CHAT =
            "{% for message in messages %}{{ message['content'] + eos_token }}{% endfor %}\n \u00e9\u2581";

    @TempDir
    private Path scratch;

    private Path folder;
    private LlamaConfig config;

    @BeforeEach
    void save() throws IOException {
        folder = folder(scratch);
        config = HuggingFace.config(folder);
    }

    /** A model whose tokenizer is Llama 3's in small: 0 opens, 1 closes a text, 2 and 3 close messages. */
    static Path folder(Path scratch) throws IOException {
        Path folder = scratch.resolve("chat");
        Files.createDirectories(folder);
        String added = IntStream.range(0, 4)
                .mapToObj(id -> "{\"id\":%d,\"content\":\"<|%s|>\",\"special\":true}"
                        .formatted(id, new String[] {"begin_of_text", "end_of_text", "eom_id", "eot_id"}[id]))
                .collect(Collectors.joining(","));
        Path tokenizer = folder.resolve("tokenizer.json");
        Files.writeString(
                tokenizer,
                "{\"added_tokens\":[%s],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":{\"type\":\"ByteLevel\"},"
                                .formatted(added)
                        + "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":4,\"b\":5},\"merges\":[]}}");
        LlamaConfig config = TestDevice.tiny(true);
        HuggingFace.save(folder, config, Tokenizer.load(tokenizer), TestDevice.weights(config, 1), DType.F32);
        return folder;
    }

    /** As Llama 3's folders have it. */
    static void chatting(Path folder) throws IOException {
        Files.writeString(folder.resolve("generation_config.json"), "{\"eos_token_id\": [1, 2, 3]}");
        Files.writeString(
                folder.resolve("tokenizer_config.json"),
                JsonMapper.shared()
                        .writeValueAsString(Map.of("eos_token", "<|eot_id|>", "chat_template", CHAT, "other", 1)));
    }

    private Conversation read(Path from) throws IOException {
        return Conversation.of(from, HuggingFace.config(from), HuggingFace.tokenizer(from));
    }

    @Test
    void importAndExportKeepWhatTheFolderSays() throws IOException {
        chatting(folder);
        Path imported = scratch.resolve("imported");
        Path exported = scratch.resolve("exported");
        ModelImport.run(folder, imported, Safetensors.Type.F32, true);
        ModelImport.run(imported, exported, Safetensors.Type.BF16, false);
        for (Path each : new Path[] {folder, imported, exported}) {
            assertThat(read(each))
                    .isEqualTo(
                            new Conversation(Tokens.of(1, 2, 3), 3, new TreeMap<>(Map.of(Conversation.DEFAULT, CHAT))));
        }
        JsonNode settings = HuggingFace.json(exported.resolve("tokenizer_config.json"));
        assertThat(settings.path("chat_template").asString()).isEqualTo(CHAT);
        assertThat(settings.path("eos_token").asString()).isEqualTo("<|eot_id|>");
        assertThat(settings.path("bos_token").asString()).isEqualTo("<|begin_of_text|>");
        for (String name : new String[] {"config.json", "generation_config.json"}) {
            assertThat(HuggingFace.json(exported.resolve(name))
                            .path("eos_token_id")
                            .toString())
                    .as(name)
                    .isEqualTo("[1,2,3]");
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                // generation_config.json | config.json | end tokens
                "3           | 1         | 3 1",
                "[3, 2]      | 1         | 3 2 1",
                "[3, 1, 3]   | 2         | 3 1",
                "null        | [2, 3]    | 2 3 1",
                "            | 3         | 3 1",
                "            | null      | 1",
                "[]          | 3         | 1",
                "[-1, 3]     | 1         | 3 1",
                "[96, 97, 3] | 1         | 96 3 1",
            })
    void endTokensAreThoseOfTheGenerationOrElseOfTheModelAndItsEos(String generation, String model, String expected)
            throws IOException {
        Path file = folder.resolve("generation_config.json");
        Files.delete(file);
        if (generation != null) {
            Files.writeString(file, "{\"eos_token_id\": " + generation + "}");
        }
        Path sizes = folder.resolve("config.json");
        Files.writeString(
                sizes, Files.readString(sizes).replace("\"eos_token_id\" : 1", "\"eos_token_id\" : " + model));
        assertThat(IntStream.of(read(folder).endTokens().toArray())
                        .mapToObj(Integer::toString)
                        .collect(Collectors.joining(" ")))
                .isEqualTo(expected);
    }

    /** An end token that is added is the last; the one that the model itself ends with stays what messages are closed with. */
    @Test
    void aModelThatIsGivenAnEosKeepsItsOwnEnd() throws IOException {
        Path tokenizer = folder.resolve("tokenizer.json");
        Files.writeString(tokenizer, Files.readString(tokenizer).replace("<|end_of_text|>", "<|end|>"));
        Files.writeString(folder.resolve("generation_config.json"), "{\"eos_token_id\": 1}");
        Files.writeString(folder.resolve("tokenizer_config.json"), "{\"eos_token\": {\"content\": \"<|end|>\"}}");
        Path imported = scratch.resolve("imported");
        ModelImport.run(folder, imported, Safetensors.Type.F32, true);
        int eos = HuggingFace.tokenizer(imported).controls().eos();
        assertThat(eos).isGreaterThan(5);
        assertThat(read(imported)).isEqualTo(new Conversation(Tokens.of(1, eos), 1, new TreeMap<>()));
    }

    @Test
    void templatesOfFilesGoBeforeThoseOfTheSettings() throws IOException {
        Path settings = folder.resolve("tokenizer_config.json");
        Files.writeString(
                settings,
                "{\"chat_template\":[{\"name\":\"default\",\"template\":\"x\"},{\"name\":\"tool_use\",\"template\":\"y\"}]}");
        assertThat(read(folder).templates()).isEqualTo(Map.of("default", "x", "tool_use", "y"));
        Path again = scratch.resolve("again");
        ModelImport.run(folder, again, Safetensors.Type.F32, false);
        assertThat(read(again)).isEqualTo(read(folder));
        Files.writeString(folder.resolve("chat_template.jinja"), CHAT);
        assertThat(read(folder).templates()).isEqualTo(Map.of("default", CHAT));
        Path more = Files.createDirectory(folder.resolve("additional_chat_templates"));
        Files.writeString(more.resolve("rag.jinja"), "z");
        Files.writeString(more.resolve("README.md"), "no template");
        assertThat(read(folder).templates()).isEqualTo(Map.of("default", CHAT, "rag", "z"));
        Files.delete(settings);
        assertThat(read(folder).templates()).isEqualTo(Map.of("default", CHAT, "rag", "z"));
    }

    static String[][] mistakes() {
        String many = "[" + "1,".repeat(64) + "1]";
        String names = IntStream.range(0, 17)
                .mapToObj(i -> "{\"name\":\"n%d\",\"template\":\"\"}".formatted(i))
                .collect(Collectors.joining(","));
        return new String[][] {
            {"generation_config.json", "{\"eos_token_id\": \"2\"}", "eos_token_id: expected an id or a list of ids"},
            {"generation_config.json", "{\"eos_token_id\": 2.5}", "eos_token_id: expected an id or a list of ids"},
            {"generation_config.json", "{\"eos_token_id\": [[2]]}", "eos_token_id: expected an id or a list of ids"},
            {
                "generation_config.json",
                "{\"eos_token_id\": 99999999999}",
                "eos_token_id: expected an id or a list of ids"
            },
            {"generation_config.json", "{\"eos_token_id\": " + many + "}", "expected at most 64 ids, got 65"},
            {"generation_config.json", "[]", "not a JSON object"},
            {"generation_config.json", "{", "not valid JSON"},
            {"generation_config.json", " ".repeat((1 << 20) + 1), "has 1048577 bytes, at most 1048576 are expected"},
            {
                "tokenizer_config.json",
                "{\"chat_template\": 3}",
                "chat_template: expected a text, or a list of them by name"
            },
            {"tokenizer_config.json", "{\"chat_template\": [\"x\"]}", "expected a name and a template"},
            {
                "tokenizer_config.json",
                "{\"chat_template\": [{\"name\": \"\\u001b[2J\", \"template\": \"x\"}]}",
                "a chat template's name"
            },
            {"tokenizer_config.json", "{\"chat_template\": [" + names + "]}", "more than 16 chat templates"},
            {"tokenizer_config.json", "{\"chat_template\": \"\\ud800\"}", "no half of a surrogate pair"},
            {
                "tokenizer_config.json",
                "{\"chat_template\": \"" + "x".repeat((1 << 20) + 1) + "\"}",
                "expected at most 1048576 characters"
            },
            {
                "tokenizer_config.json",
                "{\"chat_template\": [{\"name\":\"a\",\"template\":\"\"},{\"name\":\"a\",\"template\":\"\"}]}",
                "chat template a is given twice"
            },
            {"chat_template.jinja", "x".repeat((1 << 20) + 1), "has 1048577 bytes, at most 1048576 are expected"},
        };
    }

    @ParameterizedTest
    @MethodSource("mistakes")
    void whatIsNoConversationIsRefusedByNameAndNothingIsWritten(String name, String content, String message)
            throws IOException {
        Files.writeString(folder.resolve(name), content);
        Path to = scratch.resolve("to");
        assertThatThrownBy(() -> ModelImport.run(folder, to, Safetensors.Type.F32, true))
                .isInstanceOfAny(EngineException.CorruptFile.class, EngineException.InvalidInput.class)
                .hasMessageContaining(folder.resolve(name).toString())
                .hasMessageContaining(message);
        assertThat(to).doesNotExist();
    }

    @Test
    void templatesInFilesAreCounted() throws IOException {
        Path more = Files.createDirectory(folder.resolve("additional_chat_templates"));
        for (int i = 0; i < 17; i++) {
            Files.writeString(more.resolve("t" + i + ".jinja"), "");
        }
        assertThatThrownBy(() -> read(folder))
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageContaining("more than 16 chat templates");
    }
}
