package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.random.Draws;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** From a corpus to a model by way of shards, as a person goes: prepare, verify, em, train; and what prepare warns of. */
class PreparedCorpusTest {
    private record Outcome(int code, String out, String err) {
        JsonNode json() {
            assertThat(code).as(err).isZero();
            assertThat(out.strip().lines()).as("one line of JSON").hasSize(1);
            return JsonMapper.shared().readTree(out);
        }
    }

    private static final String[] SMALL = {
        "--device", "cpu",
        "--set", "corpus.warmStart=60",
        "--set", "corpus.documents=60",
        "--set", "corpus.dev=10",
        "--set", "corpus.heldOut=10",
        "--set", "model.width=32",
        "--set", "model.heads=2",
        "--set", "model.hidden=64",
        "--set", "model.context=128",
        "--set", "training.steps=10",
        "--set", "training.tokens=512",
        "--set", "training.microTokens=512",
        "--set", "training.warmup=2",
        "--set", "em.iterations=1",
        "--set", "em.maxThought=24",
        "--json"
    };

    @TempDir
    Path folder;

    private Outcome run(List<String> first, String... more) {
        List<String> arguments = new ArrayList<>(first);
        arguments.addAll(List.of(more));
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        int code = Main.run(
                new PrintWriter(out, true),
                new PrintWriter(err, true),
                arguments.stream()
                        .map(argument -> argument.replace("@", folder.toString()))
                        .toArray(String[]::new));
        return new Outcome(code, out.toString(), err.toString());
    }

    private Outcome run(String... arguments) {
        return run(List.of(), arguments);
    }

    /** Problems in the layout of GSM8K, none twice. */
    private Path problems(int count) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < count; i++) {
            int a = 2 + i % 40;
            int b = 3 + i / 40;
            lines.append("{\"question\":\"Ann has %d apples and buys %d. How many?\",".formatted(a, b))
                    .append("\"answer\":\"%d + %d = <<%d+%d=%d>>%d.\\n#### %d\"}\n"
                            .formatted(a, b, a, b, a + b, a + b, a + b));
        }
        return Files.writeString(folder.resolve("problems.jsonl"), lines);
    }

    @Test
    void aCorpusIsPreparedVerifiedAndTrainedOn() throws IOException {
        problems(240);
        JsonNode prepared = run(
                        "prepare",
                        "@/problems.jsonl",
                        "@/shards",
                        "--preset",
                        "gsm8k-small",
                        "--held-out",
                        "0.1",
                        "--duplicates",
                        "exact",
                        "--json")
                .json();
        assertThat(prepared.path("records").asInt()).isEqualTo(240);
        int heldOut = prepared.path("heldOut").path("documents").asInt();
        assertThat(heldOut).isBetween(11, 40);
        assertThat(prepared.path("train").path("documents").asInt()).isEqualTo(240 - heldOut);
        assertThat(run("verify", "@/shards").code()).isZero();

        String[] em = {"em", "--preset", "gsm8k-small", "--corpus", "@/shards", "--run", "@/em"};
        JsonNode seed = run(List.of(em), SMALL).json().path("seeds").get(0);
        assertThat(seed.path("iterations")).hasSize(2);
        assertThat(seed.path("iterations").get(1).path("elbo").propertyNames()).containsExactly("1", "4");
        // the tokenizer of the model is that of the shards
        JsonNode tokenizer =
                run("tokenizer", "inspect", "@/shards/tokenizer.json", "--json").json();
        assertThat(tokenizer.path("sha256").asString())
                .isEqualTo(prepared.path("tokenizerSha256").asString());
        JsonNode again =
                run(List.of("em", "--resume", "--run", "@/em", "--json")).json();
        assertThat(again.path("seeds").get(0).path("iterations").get(1).path("model"))
                .isEqualTo(seed.path("iterations").get(1).path("model"));

        JsonNode trained = run(
                        List.of("train", "--preset", "gsm8k-small", "--corpus", "@/shards", "--run", "@/train"), SMALL)
                .json();
        assertThat(trained.path("steps").asInt()).isEqualTo(10);
        assertThat(trained.path("nllPerCharacter").asDouble()).isBetween(0.1, 5.0);
        assertThat(run("generate", "--model", trained.path("model").asString(), "--prompt", "Ann", "--max-tokens", "4")
                        .out())
                .startsWith("Ann");

        // on the shards of another tokenizer than the model's
        Outcome other = run(
                "train",
                "--from",
                trained.path("model").asString(),
                "--corpus",
                "@/other",
                "--run",
                "@/never",
                "--device",
                "cpu");
        assertThat(other.code()).isEqualTo(3);
        run("prepare", "@/problems.jsonl", "@/other", "--preset", "gsm8k-small", "--set", "corpus.vocabulary=300");
        Outcome unlike = run(
                "train",
                "--from",
                trained.path("model").asString(),
                "--corpus",
                "@/other",
                "--run",
                "@/never",
                "--device",
                "cpu");
        assertThat(unlike.code()).isEqualTo(2);
        assertThat(unlike.err()).contains("prepared with another tokenizer").hasLineCount(1);

        Path shard = folder.resolve("shards/train/shard-00000.tok");
        byte[] bytes = Files.readAllBytes(shard);
        bytes[bytes.length / 2] ^= 1;
        Files.delete(shard); // it is mapped: a new file, not new content
        Files.write(shard, bytes);
        Outcome damaged = run("verify", "@/shards");
        assertThat(damaged.code()).isEqualTo(7);
        assertThat(damaged.out()).contains("shard-00000.tok: damaged");
    }

    @Test
    void aTeachersThoughtsForEachChunkGoIntoShardsOfTheirOwn() throws IOException {
        StringBuilder corpus = new StringBuilder();
        StringBuilder taught = new StringBuilder("{\"chunks\":[]}\n");
        for (int i = 0; i < 120; i++) {
            String first = "Ann has %d apples and buys %d. ".formatted(2 + i % 40, 3 + i / 40);
            String then = "She now has %d.".formatted(5 + i % 40 + i / 40);
            if (i % 4 > 0) {
                corpus.append("{\"text\":\"").append(first).append(then).append("\"}\n");
            } else {
                taught.append(
                        "{\"chunks\":[{\"suffix\":\"%s\",\"latent\":\"A problem.\"},{\"suffix\":\"%s\",\"latent\":\"Add both.\"}]}\n"
                                .formatted(first, then));
            }
        }
        Files.writeString(folder.resolve("corpus.jsonl"), corpus);
        Files.writeString(folder.resolve("taught.jsonl"), taught);
        String[] prepare = {
            "prepare",
            "@/corpus.jsonl",
            "@/shards",
            "--held-out",
            "0.2",
            "--duplicates",
            "exact",
            "--bad-records",
            "skip",
            "--set",
            "corpus.thoughts=@/taught.jsonl",
            "--set",
            "corpus.vocabulary=300",
            "--set",
            "corpus.chunkSentences=1"
        };
        Outcome prepared = run(prepare);
        assertThat(prepared.code()).as(prepared.err()).isZero();
        assertThat(prepared.out()).contains("90 records, 1 bad").containsPattern("thoughts +30 ");
        assertThat(prepared.err()).contains("left out: " + folder.resolve("taught.jsonl") + ": line 1: field 'chunks'");
        assertThat(run("verify", "@/shards").code()).isZero();
        JsonNode seed = run(
                        List.of("em", "--corpus", "@/shards", "--run", "@/em"),
                        Stream.concat(
                                        Stream.of(SMALL),
                                        Stream.of(
                                                "--set",
                                                "corpus.warmStart=0",
                                                "--set",
                                                "corpus.documents=0",
                                                "--set",
                                                "model.kvHeads=2",
                                                "--set",
                                                "baselines=[]",
                                                "--set",
                                                "evaluation.elboSamples=1",
                                                "--set",
                                                "evaluation.bounds=[1]"))
                                .toArray(String[]::new))
                .json()
                .path("seeds")
                .get(0);
        assertThat(seed.path("iterations")).hasSize(2);

        // other thoughts, other shards
        Files.writeString(folder.resolve("taught.jsonl"), taught.append("\n"));
        Outcome changed = run(prepare);
        assertThat(changed.code()).isEqualTo(2);
        assertThat(changed.err())
                .contains("was begun with other thoughts, or these have changed since")
                .hasLineCount(1);
    }

    @Test
    void heldOutTextThatIsTrainedOnTooIsWarnedOf() throws IOException {
        Draws draws = new Draws(12);
        StringBuilder clean = new StringBuilder();
        List<String> passages = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            StringBuilder text = new StringBuilder();
            for (int w = 0; w < 40; w++) {
                text.append(w == 0 ? "" : " ").append("word").append(draws.below(5000));
            }
            passages.add(text.toString());
            clean.append("{\"text\":\"").append(text).append("\"}\n");
        }
        Files.writeString(folder.resolve("clean.jsonl"), clean);
        Outcome quiet =
                run("prepare", "@/clean.jsonl", "@/quiet", "--held-out", "0.2", "--set", "corpus.vocabulary=300");
        assertThat(quiet.code()).as(quiet.err()).isZero();
        assertThat(quiet.err()).doesNotContain("warning");

        // every passage again, 13 words of it, among words of its own: unlike enough to be no duplicate
        StringBuilder leaky = new StringBuilder(clean);
        for (String passage : passages) {
            leaky.append("{\"text\":\"");
            for (int w = 0; w < 60; w++) {
                leaky.append("other").append(draws.below(5000)).append(' ');
            }
            leaky.append(String.join(" ", List.of(passage.split(" ")).subList(10, 23))
                            .toUpperCase(java.util.Locale.ROOT))
                    .append(".\"}\n");
        }
        Files.writeString(folder.resolve("leaky.jsonl"), leaky);
        Outcome warned =
                run("prepare", "@/leaky.jsonl", "@/warned", "--held-out", "0.2", "--set", "corpus.vocabulary=300");
        assertThat(warned.code()).as(warned.err()).isZero();
        assertThat(warned.err().lines().filter(line -> line.startsWith("warning: ")))
                .singleElement()
                .asString()
                .contains("share 13 words with it: held-out figures will look too good");
        assertThat(warned.out()).contains("0 equal, 0 nearly equal");
    }

    @Test
    void aRefusedCorpusIsOneLineAndLeavesNoFolder() throws IOException {
        Files.writeString(folder.resolve("bad.jsonl"), "{\"text\":\"One.\"}\n{\"text\":\n");
        Outcome refused = run("prepare", "@/bad.jsonl", "@/shards", "--set", "corpus.vocabulary=300");
        assertThat(refused.code()).isEqualTo(3);
        assertThat(refused.err())
                .startsWith("subtext: " + folder.resolve("bad.jsonl") + ": line 2: not JSON")
                .contains("--bad-records skip")
                .hasLineCount(1);
        assertThat(refused.out()).isEmpty();
        try (Stream<Path> left = Files.list(folder)) {
            assertThat(left).containsExactly(folder.resolve("bad.jsonl"));
        }
        Outcome skipped = run(
                "prepare",
                "@/bad.jsonl",
                "@/shards",
                "--bad-records",
                "skip",
                "--held-out",
                "0",
                "--set",
                "corpus.vocabulary=300");
        assertThat(skipped.code()).as(skipped.err()).isZero();
        assertThat(skipped.out()).contains("1 records, 1 bad");
        assertThat(skipped.err()).contains("left out: " + folder.resolve("bad.jsonl") + ": line 2: not JSON");
    }
}
