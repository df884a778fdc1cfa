package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import subtext.bindings.DType;
import subtext.io.HuggingFace;
import subtext.io.Safetensors;
import subtext.model.Family;
import subtext.model.Initialisation;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.model.RopeScaling;
import subtext.text.BpeTrainer;
import subtext.text.Tokenizer;
import subtext.text.TokenizerStyle;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A foreign checkpoint of each family through the commands, as a person takes it in and gives it out again. */
class FamiliesTest {
    @TempDir
    Path folder;

    private record Outcome(int code, String out, String err) {
        JsonNode json() {
            assertThat(code).as(err).isZero();
            return JsonMapper.shared().readTree(out);
        }
    }

    private Outcome run(String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        int code = Main.run(
                new PrintWriter(out, true),
                new PrintWriter(err, true),
                Stream.of(arguments)
                        .map(argument -> argument.replace("@", folder.toString()))
                        .toArray(String[]::new));
        return new Outcome(code, out.toString(), err.toString());
    }

    /** A small random model with the family's kind of tokenizer, which knows nothing of thoughts. */
    private void foreign(Family family, TokenizerStyle style, boolean tied, RopeScaling scaling, int window)
            throws IOException {
        Path file = folder.resolve("trained.json");
        new BpeTrainer(style)
                .add("the cat sat on the mat and the rat sat on the cat. 12 cats, 345 hats. ".repeat(4))
                .train(360)
                .save(file);
        String document = Files.readString(file);
        String[][] names = {
            {"<bos>", "<s>"},
            {"<eos>", "</s>"},
            {"<latent>", "<unk_0>"},
            {"</latent>", "<unk_1>"},
            {"<prior>", "<unk_2>"},
            {"<posterior>", "<unk_3>"}
        };
        for (String[] name : names) {
            document = document.replace("\"" + name[0] + "\"", "\"" + name[1] + "\"");
        }
        Files.writeString(file, document);
        Tokenizer tokenizer = Tokenizer.load(file);
        assertThat(tokenizer.controls().complete()).isFalse();
        LlamaConfig config = new LlamaConfig(
                2, 32, 4, 2, 8, 64, tokenizer.vocabulary(), 128, 10_000, 1e-5, tied, scaling, family, window);
        HuggingFace.save(
                folder.resolve("foreign"),
                config,
                tokenizer,
                Initialisation.weights(ParameterTable.of(config), 5),
                DType.F32);
    }

    @ParameterizedTest(name = "{0} {1}")
    @CsvSource({
        "LLAMA,LLAMA2,false,0",
        "LLAMA,LLAMA3,false,0",
        "LLAMA,SMOLLM2,true,0",
        "MISTRAL,MISTRAL,false,16",
        "QWEN2,QWEN2,true,0",
        "QWEN3,QWEN2,false,0"
    })
    void isTakenInUsedAndGivenOut(Family family, TokenizerStyle style, boolean tied, int window) throws IOException {
        RopeScaling scaling =
                style == TokenizerStyle.LLAMA3 ? new RopeScaling.Llama3(8, 1, 4, 64) : new RopeScaling.None();
        foreign(family, style, tied, scaling, window);
        JsonNode before = run("inspect", "@/foreign", "--json").json();
        assertThat(before.path("architecture").asString()).isEqualTo(family.architecture());
        assertThat(before.path("latentControls").asBoolean()).isFalse();
        Outcome thoughtless = run("generate", "--model", "@/foreign", "--think", "--device", "cpu");
        assertThat(thoughtless.code()).isEqualTo(3);
        assertThat(thoughtless.err())
                .contains("lacks control tokens such as <latent>, so it was never trained to think")
                .hasLineCount(1);
        assertThat(run("score", "--model", "@/foreign", "--text", "the cat", "--elbo", "2", "--device", "cpu")
                        .err())
                .isEqualTo(thoughtless.err());

        JsonNode added = run("import", "@/foreign", "@/own", "--json").json().path("added");
        assertThat(added.toString()).isEqualTo("[\"<latent>\",\"</latent>\",\"<prior>\",\"<posterior>\"]");
        assertThat(run("inspect", "@/own", "--json")
                        .json()
                        .path("latentControls")
                        .asBoolean())
                .isTrue();

        // what was known before is the same number after
        String[] score = {"score", "--text", "the cat sat on 12 hats", "--json", "--device", "cpu", "--model"};
        JsonNode was = run(Stream.concat(Stream.of(score), Stream.of("@/foreign"))
                        .toArray(String[]::new))
                .json();
        JsonNode is = run(Stream.concat(Stream.of(score), Stream.of("@/own")).toArray(String[]::new))
                .json();
        assertThat(is.path("tokens")).isEqualTo(was.path("tokens"));
        // four more ids share the probability
        assertThat(is.path("logProb").asDouble())
                .isLessThan(was.path("logProb").asDouble())
                .isGreaterThan(was.path("logProb").asDouble()
                        - 0.1 * was.path("tokens").size());
        Outcome generated =
                run("generate", "--model", "@/own", "--prompt", "the cat", "--max-tokens", "6", "--device", "cpu");
        assertThat(generated.code()).as(generated.err()).isZero();
        assertThat(generated.out()).startsWith("the cat");

        assertThat(run("export", "--model", "@/own", "--format", "hf", "--out", "@/out")
                        .code())
                .isZero();
        try (Safetensors one = Safetensors.open(folder.resolve("own/model.safetensors"));
                Safetensors other = Safetensors.open(folder.resolve("out/model.safetensors"))) {
            assertThat(other.tensors().keySet()).isEqualTo(one.tensors().keySet());
            for (String name : one.tensors().keySet()) {
                assertThat(other.bytes(name)).as(name).isEqualTo(one.bytes(name));
            }
        }
        assertThat(folder.resolve("out/generation_config.json")).exists();
        Outcome gguf = run("export", "--model", "@/own", "--format", "gguf", "--type", "q8_0", "--out", "@/m.gguf");
        assertThat(gguf.code()).as(gguf.err()).isZero();
        assertThat(Files.size(folder.resolve("m.gguf"))).isGreaterThan(10_000);
    }
}
