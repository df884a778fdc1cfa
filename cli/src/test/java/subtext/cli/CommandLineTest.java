package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.bindings.Backend;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The command line as a person or a script meets it: exit codes, one JSON object on stdout. Mistakes: {@code HostileInputTest}. */
class CommandLineTest {
    private record Outcome(int code, String out, String err) {
        JsonNode json() {
            assertThat(out.strip().lines()).as("one line of JSON").hasSize(1);
            return JsonMapper.shared().readTree(out);
        }
    }

    @TempDir
    Path folder;

    private Outcome run(String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        String[] placed = Stream.of(arguments)
                .map(argument -> argument.replace("@", folder.toString()))
                .toArray(String[]::new);
        int code = Main.run(new PrintWriter(out, true), new PrintWriter(err, true), placed);
        return new Outcome(code, out.toString(), err.toString());
    }

    @Test
    void theArmsOfTheStudyAreListed() {
        Outcome outcome = run("experiment", "chain-study", "--list");
        assertThat(outcome.code()).isZero();
        assertThat(outcome.out()).contains("em.restart=carry", "em.folds=2", "world.teacherErrors=0.3");
        assertThat(outcome.out().lines()).hasSizeGreaterThan(15);
    }

    @Test
    void aDryRunOfThePapersSettingsPrintsItsNumbersAndMakesNothing() {
        Outcome outcome = run(
                "em",
                "--preset",
                "tinyllama-finemath",
                "--run",
                "@/r",
                "--dry-run",
                "--rates",
                "../bench/results/h100.json");
        assertThat(outcome.code()).as(outcome.err()).isZero();
        assertThat(outcome.out())
                .contains("22 layers", "32 heads of 64", "1.1B parameters", "33,060 steps", "13.0B tokens an iteration")
                .contains("K = 4", "NVIDIA H100");
        assertThat(folder.resolve("r")).doesNotExist();
    }

    /** As they are, on a machine that has neither model nor corpus. */
    @ParameterizedTest
    @ValueSource(strings = {"chain", "gsm8k-small", "tinyllama-finemath", "smollm2-135m"})
    void presetsArePlannedUnedited(String preset) {
        Outcome outcome =
                run("em", "--preset", preset, "--run", "@/r", "--dry-run", "--rates", "../bench/results/h100.json");
        assertThat(outcome.code()).as(outcome.err()).isZero();
        assertThat(outcome.out()).contains("model ", "method ", "documents ", "memory ", "disk ", "rates ", "E-step");
        assertThat(outcome.out().contains("is not there yet")).isEqualTo(!preset.equals("chain"));
        assertThat(folder.resolve("r")).doesNotExist();
    }

    @Test
    void aDryRunOfATrainingPrintsItsPlanAndMakesNothing() throws IOException {
        Files.writeString(folder.resolve("a.txt"), "One two three. Four five.\n\n".repeat(40));
        String[] train = {
            "train",
            "--preset",
            "smoke",
            "--corpus",
            "@/a.txt",
            "--run",
            "@/r",
            "--device",
            "cpu",
            "--set",
            "corpus.vocabulary=270"
        };
        Outcome outcome =
                run(Stream.concat(Stream.of(train), Stream.of("--dry-run")).toArray(String[]::new));
        assertThat(outcome.code()).as(outcome.err()).isZero();
        assertThat(outcome.out())
                .contains("method     training, 12 steps of 512 tokens; 36 documents", "in all", "FLOP", "training ");
        JsonNode plan = run(Stream.concat(Stream.of(train), Stream.of("--dry-run", "--json"))
                        .toArray(String[]::new))
                .json();
        long device = plan.path("needs").path("device").asLong();
        assertThat(plan.path("processBytes").asLong())
                .isEqualTo(device + plan.path("needs").path("heap").asLong() + (64L << 20));
        assertThat(plan.path("stages")).hasSize(1);
        assertThat(folder.resolve("r")).doesNotExist();
    }

    /** The same corpus, the same command, and by default what it was trained on. */
    @Test
    void aRunGoesOnOnlyWithWhatItBeganWith() throws IOException {
        Path corpus = folder.resolve("a.txt");
        String text = "One two three. Four five.\n\n".repeat(40);
        Files.writeString(corpus, text);
        String[] train = {"train", "--preset", "smoke", "--run", "@/r", "--device", "cpu", "--json"};
        String[] onText = {"--corpus", "@/a.txt", "--set", "corpus.vocabulary=270"};
        String digest = run(Stream.of(train, onText).flatMap(Stream::of).toArray(String[]::new))
                .json()
                .path("sha256")
                .asString();
        assertThat(Files.readAllLines(folder.resolve("r/metrics.jsonl")))
                .anyMatch(line -> line.contains("\"event\":\"step\"") && line.contains("train-text"))
                .last()
                .asString()
                .contains("\"event\":\"finished\"");
        assertThat(folder.resolve("r/tensorboard")).isNotEmptyDirectory();
        assertThat(Files.readString(folder.resolve("r/report.html")))
                .contains("Trained on text: 12 steps", "The held-out likelihood is", "Training loss</figcaption>")
                .contains("a.txt, training on text, seed 0")
                .doesNotContain("No EM iteration", "<h2>Iterations</h2>", "Under way");
        assertThat(run("report", "@/r").code()).isZero();
        assertThat(run("verify", "@/r").code()).isZero();
        String[] resume = {"train", "--resume", "--run", "@/r", "--json"};
        Files.writeString(corpus, text.replaceFirst("five", "six"));
        Outcome changed = run(resume);
        assertThat(changed.code()).isEqualTo(3);
        assertThat(changed.err()).contains("corpus.path: not what the run in").hasLineCount(1);
        Files.writeString(corpus, text);
        assertThat(run(resume).json().path("sha256").asString()).isEqualTo(digest);
        Outcome other = run("em", "--resume", "--run", "@/r");
        assertThat(other.code()).isEqualTo(2);
        assertThat(other.err()).contains("was begun by 'train --on text'").hasLineCount(1);

        train[4] = "@/t";
        String thoughts = run(Stream.of(train, new String[] {"--on", "thoughts"})
                        .flatMap(Stream::of)
                        .toArray(String[]::new))
                .json()
                .path("sha256")
                .asString();
        resume[3] = "@/t";
        assertThat(run(resume).json().path("sha256").asString()).isEqualTo(thoughts);
        assertThat(run("train", "--resume", "--run", "@/t", "--on", "text").code())
                .isEqualTo(2);
    }

    @Test
    void recomputedActivationsTakeLessMemoryAndGiveTheSameModel() throws IOException {
        String[] digests = new String[2];
        long[] device = new long[2];
        double[] flops = new double[2];
        for (int i = 0; i < 2; i++) {
            String[] train = {
                "train",
                "--preset",
                "smoke",
                "--set",
                "model.layers=6",
                "--set",
                "training.microTokens=512",
                "--set",
                "device.slots=2",
                "--run",
                "@/" + i,
                "--device",
                "cpu",
                "--set",
                "device.recompute=" + (i == 1),
                "--json"
            };
            JsonNode plan = run(Stream.concat(Stream.of(train), Stream.of("--dry-run"))
                            .toArray(String[]::new))
                    .json();
            device[i] = plan.path("needs").path("device").asLong();
            flops[i] = plan.path("stages").get(0).path("flops").asDouble();
            digests[i] = run(train).json().path("sha256").asString();
        }
        assertThat(digests[1]).hasSize(64).isEqualTo(digests[0]);
        assertThat(device[1]).isLessThan(device[0] * 9 / 10);
        assertThat(flops[1] / flops[0]).isEqualTo(4.0 / 3, org.assertj.core.api.Assertions.within(1e-9));
    }

    @ParameterizedTest
    @ValueSource(strings = {"em", "train"})
    void aRunThatDoesNotFitIsRefusedBeforeItStarts(String command) {
        Outcome outcome = run(
                command,
                "--preset",
                "smoke",
                "--run",
                "@/r",
                "--device",
                "cpu",
                "--set",
                "training.microTokens=100000000");
        assertThat(outcome.code()).as(outcome.err()).isEqualTo(4);
        assertThat(outcome.err()).startsWith("subtext: memory: ").contains("are free");
        assertThat(folder.resolve("r")).doesNotExist();
    }

    /** The weights are ruined by the first update, which the second step meets: where, at which step, and nothing was saved. */
    @Test
    void aTrainingThatDivergesEndsWithFive() {
        Outcome outcome = run(
                "em",
                "--preset",
                "smoke",
                "--run",
                "@/r",
                "--device",
                "cpu",
                "--set",
                "training.learningRate=1e38",
                "--set",
                "training.warmup=0");
        assertThat(outcome.code()).as(outcome.err()).isEqualTo(5);
        assertThat(outcome.err().lines().toList().getLast())
                .matches("subtext: step 2: (weight|output|gradient|first moment|second moment) of .* is not finite: .*")
                .contains("the last checkpoint is none", "lower training.learningRate");
        assertThat(outcome.out()).isEmpty();
    }

    @Test
    void everyCommandHasHelpWithExamples() {
        for (String command : List.of(
                "em",
                "train",
                "generate",
                "score",
                "import",
                "export",
                "inspect",
                "tokenizer",
                "verify",
                "doctor",
                "study")) {
            Outcome outcome = run(command, "--help");
            assertThat(outcome.code()).isZero();
            assertThat(outcome.out()).contains("Usage: subtext " + command).contains("Examples:");
        }
        assertThat(run("tokenizer", "train", "--help").out())
                .containsIgnoringWhitespaces("Examples:", "gpt2, llama3, qwen2, smollm2, tekken, llama2, mistral");
        assertThat(run("tokenizer", "inspect", "--help").out()).contains("Examples:");
        assertThat(run("--help").out()).contains("Exit codes:").contains("Examples:");
        assertThat(run("--version").out()).startsWith("subtext ");
        assertThat(run("help", "em").out()).contains("Usage: subtext em");
        assertThat(run().code()).isZero();
    }

    @Test
    void aTokenizerIsLearntAndInspected() throws IOException {
        Path corpus = folder.resolve("corpus.jsonl");
        Files.writeString(
                corpus,
                "{\"q\":\"the cat sat\",\"a\":\"on the mat <latent>\"}\n{\"q\":\"the other cat\",\"a\":\"sat 12 times\"}\n"
                        .repeat(5));
        for (String name : new String[] {"a", "b"}) {
            Outcome made = run(
                    "tokenizer",
                    "train",
                    "--style",
                    "llama2",
                    "--vocabulary",
                    "300",
                    "--text",
                    "{q}. {a}",
                    "--json",
                    "--out",
                    "@/" + name + ".json",
                    "@/corpus.jsonl");
            assertThat(made.code()).as(made.err()).isZero();
            assertThat(made.json().path("vocabulary").asInt()).isEqualTo(300);
            assertThat(made.json().path("documents").asInt()).isEqualTo(10);
            assertThat(made.json().path("sha256").asString()).hasSize(64);
        }
        assertThat(folder.resolve("a.json")).hasSameBinaryContentAs(folder.resolve("b.json"));
        JsonNode seen = run("tokenizer", "inspect", "@/a.json", "--text", "the cat <latent>", "--json")
                .json();
        assertThat(seen.path("kind").asString()).isEqualTo("BPE over characters, bytes for the rest");
        assertThat(seen.path("controls").path("<posterior>").asInt()).isEqualTo(5);
        assertThat(seen.path("opensWithBos").asBoolean()).isTrue();
        assertThat(seen.path("specials").size()).isEqualTo(6);
        assertThat(seen.path("text").asString()).isEqualTo("the cat <latent>");
        assertThat(seen.path("tokens").size()).isEqualTo(seen.path("pieces").size());
        seen.path("tokens").forEach(id -> assertThat(id.asInt()).isGreaterThanOrEqualTo(6));
        Outcome told = run("tokenizer", "inspect", "@/a.json", "--text", "the cat");
        assertThat(told.code()).isZero();
        assertThat(told.out()).contains("300 ids", "<latent> 2", "a text begins with <bos>", "\u2581the", "sha256");
        assertThat(told.err()).isEmpty();
    }

    @Test
    void doctorSaysWhatItFound() {
        JsonNode found = run("doctor", "--device", "cpu", "--json").json();
        assertThat(found.path("chosen").asString()).isEqualTo("cpu");
        JsonNode cpu = found.path("backends").get(0);
        assertThat(cpu.path("device").path("path").asString()).isIn("avx512", "avx2", "portable");
        assertThat(cpu.path("sha256").asString()).hasSize(64);
        assertThat(cpu.path("checks"))
                .isNotEmpty()
                .allMatch(check -> check.path("passed").asBoolean());
        assertThat(run("doctor", "--device", "cpu").out())
                .contains("equal bits")
                .doesNotContain("FAILED");
    }

    /** Whether the library finds no driver or was left out of the build; what needs no GPU goes on. */
    @Test
    void cudaThatIsNotThereIsOneLineAndExitCodeFour() throws IOException {
        Assumptions.assumeTrue(Backend.CUDA.reasonUnavailable().isPresent(), "there is a GPU");
        for (String command : List.of("em", "train")) {
            Outcome outcome = run(command, "--preset", "smoke", "--device", "cuda", "--run", "@/r");
            assertThat(outcome.code()).as(outcome.err()).isEqualTo(4);
            assertThat(outcome.err())
                    .startsWith("subtext: ")
                    .contains("--device cpu")
                    .hasLineCount(1);
            assertThat(outcome.out()).isEmpty();
            assertThat(folder.resolve("r")).as("a run that could not begin").doesNotExist();
        }
        Outcome doctor = run("doctor");
        assertThat(doctor.code()).as(doctor.err()).isZero();
        assertThat(doctor.out().lines().filter(line -> line.startsWith("cuda ")))
                .singleElement()
                .asString()
                .contains("not available: ")
                .contains("--device cpu");
        assertThat(doctor.out()).contains("used by default: cpu").contains("cublaslt ");
        Outcome asked = run("doctor", "--device", "cuda");
        assertThat(asked.code()).isEqualTo(4);
    }

    @Test
    void aRunIsMadeRefusedResumedVerifiedAndUsed() throws IOException {
        String[] em = {
            "em",
            "--preset",
            "smoke",
            "--set",
            "baselines=raw-token-match",
            "--device",
            "cpu",
            "--run",
            "@/run",
            "--json"
        };
        Outcome first = run(em);
        assertThat(first.code()).as(first.err()).isZero();
        JsonNode seed = first.json().path("seeds").get(0);
        assertThat(seed.path("iterations")).hasSize(3);
        assertThat(seed.path("iterations").get(2).path("elbo").propertyNames()).containsExactly("1", "4", "8");
        assertThat(seed.path("baselines").get(0).path("name").asString()).isEqualTo("raw-token-match");
        assertThat(first.err()).contains("tokens/s").contains("left");

        Outcome again = run(em);
        assertThat(again.code()).isEqualTo(2);
        assertThat(again.err()).contains("--resume").hasLineCount(1);

        Outcome resumed = run("em", "--resume", "--run", "@/run", "--json");
        assertThat(resumed.code()).as(resumed.err()).isZero();
        assertThat(resumed.json().path("seeds").get(0).path("iterations").get(2).path("model"))
                .isEqualTo(seed.path("iterations").get(2).path("model"));

        Outcome verified = run("verify", "@/run", "--json");
        assertThat(verified.code()).isZero();
        assertThat(verified.json().path("files").asInt()).isGreaterThan(10);

        Path model = models().getFirst();
        JsonNode inspected = run("inspect", model.toString(), "--json").json();
        assertThat(inspected.path("architecture").asString()).isEqualTo("LlamaForCausalLM");
        assertThat(inspected.path("latentControls").asBoolean()).isTrue();
        assertThat(inspected.path("files").get(0).path("sha256").asString()).hasSize(64);
        assertThat(run("inspect", model.toString()).out())
                .contains("sha256", "memory to generate", "all control tokens");
        Outcome copied = run("export", "--model", model.toString(), "--format", "hf", "--out", "@/copy");
        assertThat(copied.code()).as(copied.err()).isZero();
        assertThat(folder.resolve("copy/model.safetensors")).hasSameBinaryContentAs(model.resolve("model.safetensors"));
        assertThat(run("import", "@/copy", "@/imported", "--json").json().path("added"))
                .isEmpty();
        Outcome symbols = run("export", "--model", "@/copy", "--format", "gguf", "--out", "@/m.gguf");
        assertThat(symbols.code()).isEqualTo(2);
        assertThat(symbols.err()).contains("WordLevel").hasLineCount(1);
        Outcome taken = run("import", "@/copy", "@/imported");
        assertThat(taken.code()).isEqualTo(3);
        assertThat(taken.err()).contains("there is a model already").hasLineCount(1);

        JsonNode generated = run("generate", "--model", model.toString(), "--max-tokens", "5", "--json")
                .json();
        assertThat(generated.propertyNames()).contains("promptTokens", "tokens", "text", "logProbs");
        assertThat(generated.path("logProbs")).hasSameSizeAs(generated.path("tokens"));
        // the same as it comes: nothing else on stdout
        assertThat(run("generate", "--model", model.toString(), "--max-tokens", "5")
                        .out())
                .isEqualTo(generated.path("text").asString() + System.lineSeparator());

        byte[] bytes = Files.readAllBytes(model.resolve("model.safetensors"));
        bytes[bytes.length - 1] ^= 1;
        Files.write(model.resolve("model.safetensors"), bytes);
        Outcome damaged = run("verify", "@/run");
        assertThat(damaged.code()).isEqualTo(7);
        assertThat(damaged.out()).contains("model.safetensors: SHA-256 is");
    }

    private List<Path> models() throws IOException {
        try (Stream<Path> walk = Files.walk(folder.resolve("run"))) {
            return walk.filter(path -> Files.exists(path.resolve("model.safetensors"))
                            && Files.exists(path.resolve("config.json")))
                    .sorted()
                    .toList();
        }
    }

    @Test
    void progressNamesTheTimeLeft() {
        assertThat(Progress.duration(59.4)).isEqualTo("59 s");
        assertThat(Progress.duration(61)).isEqualTo("1 min 01 s");
        assertThat(Progress.duration(3 * 3600 + 125)).isEqualTo("3 h 02 min");
    }
}
