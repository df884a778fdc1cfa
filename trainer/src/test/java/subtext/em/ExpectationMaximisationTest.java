package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;

/** Whole runs of a tiny network on the CPU device: same bits, resumed anywhere; nothing lost or drawn twice; what is damaged is found. */
class ExpectationMaximisationTest {
    private static final RunConfig TINY = RunConfig.preset("smoke")
            .with("device.backend", "cpu")
            .with("training.steps", "6")
            .with("training.checkpointEvery", "3")
            .with("em.part", "25")
            .with("baselines", "raw-total-flop-match,oracle,warm-step-match");

    @TempDir
    Path folder;

    private EmReport run(String name, boolean resume, RunConfig config, Consumer<EmEvent> listener) {
        return EmRun.start(new EmSettings(folder.resolve(name), resume, false, config), listener);
    }

    @Test
    void killedAfterAnyEventARunEndsWithTheSameModels() throws IOException {
        List<EmEvent> events = new ArrayList<>();
        EmReport whole = run("whole", false, TINY, events::add);
        Map<String, String> models = models(folder.resolve("whole"));
        assertThat(models).hasSize(3 + 2); // warm-step-match is the warm start itself
        // every event that follows something written, and some between
        for (int kill = 1; kill < events.size() - 1; kill += 1 + kill % 4) {
            int at = kill;
            String name = "killed-" + kill;
            int[] seen = {0};
            assertThatThrownBy(() -> run(name, false, TINY, event -> {
                        if (seen[0]++ == at) {
                            throw new Killed();
                        }
                    }))
                    .as("%s", events.get(at))
                    .isInstanceOf(Killed.class);
            EmReport resumed = run(name, true, TINY, event -> {});
            assertThat(models(folder.resolve(name)))
                    .as("killed at %s", events.get(at))
                    .isEqualTo(models);
            assertThat(resumed.seeds().getFirst().iterations().stream()
                            .map(i -> i.measured().elbo())
                            .toList())
                    .isEqualTo(whole.seeds().getFirst().iterations().stream()
                            .map(i -> i.measured().elbo())
                            .toList());
        }
    }

    @Test
    void everyChunkIsExplainedOnceAndAPartDoesNotChangeWithItsSize() throws IOException {
        run("a", false, TINY.with("baselines", "[]"), event -> {});
        run("b", false, TINY.with("baselines", "[]").with("em.part", "7"), event -> {});
        List<LatentRecord> a = records(folder.resolve("a"), 1);
        assertThat(a).isEqualTo(records(folder.resolve("b"), 1));
        Set<String> documents = new HashSet<>();
        a.forEach(record -> assertThat(documents.add(record.document())).isTrue());
        assertThat(documents).hasSize(TINY.world().documents());
        assertThat(models(folder.resolve("a"))).isEqualTo(models(folder.resolve("b")));
    }

    @Test
    void existingRunsAreRefusedUnlessResumedWithTheSameSettings() {
        RunConfig config = TINY.with("baselines", "[]").with("em.iterations", "0");
        run("r", false, config, event -> {});
        assertThatThrownBy(() -> run("r", false, config, event -> {}))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining("--resume");
        assertThatThrownBy(() -> run("r", true, config.with("em.samples", "8"), event -> {}))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining("em.samples was 4, is 8");
        run("r", true, config.with("device.threads", "1"), event -> {});
        run("r", true, config.with("warnings.essShare", "0.9"), event -> {});
        assertThat(RunDirectory.storedConfig(folder.resolve("r"))).isEqualTo(config);
    }

    @Test
    void verifyFindsWhatIsDamaged() throws IOException {
        run("v", false, TINY.with("baselines", "[]").with("em.iterations", "1"), event -> {});
        Path root = folder.resolve("v");
        assertThat(RunDirectory.verify(root, path -> {}).problems()).isEmpty();
        List<Path> targets;
        try (Stream<Path> files = Files.walk(root)) {
            targets = files.filter(Files::isRegularFile)
                    .filter(file -> file.toString()
                            .matches(".*(model\\.safetensors|optimizer\\.safetensors|result\\.json|part-.*)"))
                    .toList();
        }
        assertThat(targets).hasSizeGreaterThan(5);
        for (Path target : targets) {
            byte[] whole = Files.readAllBytes(target);
            byte[] damaged = whole.clone();
            damaged[damaged.length - 2] ^= 1;
            Files.write(target, damaged);
            assertThat(RunDirectory.verify(root, path -> {}).problems())
                    .as("%s", target)
                    .isNotEmpty()
                    .allMatch(problem -> problem.startsWith(target + ": "));
            Files.write(target, whole);
        }
    }

    @Test
    void weightedLossTrainsOnAllThoughts() {
        EmReport report = run("w", false, TINY.with("em.selection", "all").with("baselines", "[]"), event -> {});
        assertThat(report.seeds().getFirst().iterations()).hasSize(3);
    }

    /** Draws of every iteration, scored again behind their own prompts: not a bit of difference. */
    @Test
    void crossFittingExplainsADocumentByAModelThatHasNotSeenIt() throws IOException {
        RunConfig config = TINY.with("em.folds", "2").with("baselines", "[]");
        List<EmEvent> events = new ArrayList<>();
        EmReport report = run("folds", false, config, events::add);
        Map<String, String> models = models(folder.resolve("folds"));
        Path stages = folder.resolve("folds/seeds/0/iterations");
        // warm start, two iterations, and the two folds of the first: the last has no E-step after it
        assertThat(models).hasSize(3 + 2);
        assertThat(stages.resolve("01/fold-0/model/model.safetensors")).exists();
        assertThat(stages.resolve("02/fold-0")).doesNotExist();
        assertThat(models.values()).doesNotHaveDuplicates();
        assertThat(report.seeds().getFirst().iterations().get(1).mTokens())
                .as("tokens of the folds count too")
                .isGreaterThan(2 * report.seeds().getFirst().iterations().get(2).mTokens());

        // a thought of a fold is the one that the model of the fold draws, and no other's
        Path without = folder.resolve("without");
        run("without", false, TINY.with("baselines", "[]"), event -> {});
        assertThat(records(folder.resolve("folds"), 1)).isEqualTo(records(without, 1));
        assertThat(records(folder.resolve("folds"), 2)).isNotEqualTo(records(without, 2));

        // killed at every stage it ends in the same bits
        for (int kill = 1; kill < events.size() - 1; kill += 9) {
            int at = kill;
            int[] seen = {0};
            String name = "folds-killed-" + kill;
            assertThatThrownBy(() -> run(name, false, config, event -> {
                        if (seen[0]++ == at) {
                            throw new Killed();
                        }
                    }))
                    .isInstanceOf(Killed.class);
            run(name, true, config, event -> {});
            assertThat(models(folder.resolve(name)))
                    .as("killed at %s", events.get(at))
                    .isEqualTo(models);
        }
        assertThat(RunDirectory.verify(folder.resolve("folds"), path -> {}).problems())
                .isEmpty();
    }

    @Test
    void foldsThatCannotBeAreRefused() {
        assertThatThrownBy(() -> run("carry", false, TINY.with("em.folds", "2").with("em.restart", "carry"), e -> {}))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining("em.folds");
        assertThatThrownBy(() -> run("none", false, TINY.with("em.folds", "0"), e -> {}))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining("em.folds: expected at least 1, got 0");
    }

    @Test
    void samplerAndScorerAgreeToTheBit() {
        List<String> notices = new ArrayList<>();
        run("s", false, TINY.with("baselines", "[]").with("world.documents", "120"), event -> {
            if (event instanceof EmEvent.Notice notice) {
                notices.add(notice.line());
            }
        });
        assertThat(notices).noneMatch(line -> line.contains("sampler"));
    }

    @Test
    void oneTrainingOnAFile() throws IOException {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 60; i++) {
            lines.append("{\"text\":\"Item ")
                    .append(i % 7)
                    .append(" costs ")
                    .append(i % 5)
                    .append(" coins. It is sold.\"}\n");
        }
        Path corpus = Files.writeString(folder.resolve("c.jsonl"), lines);
        RunConfig config = TINY.with("corpus.path", corpus.toString())
                .with("corpus.vocabulary", "280")
                .with("corpus.dev", "5")
                .with("corpus.heldOut", "5")
                .with("training.steps", "30");
        EmSettings settings = new EmSettings(folder.resolve("t"), false, false, config);
        List<Double> losses = new ArrayList<>();
        TrainRun.Report report = TrainRun.start(settings, TrainRun.On.TEXT, event -> {
            if (event instanceof EmEvent.StepTrained step) {
                losses.add(step.loss());
            }
        });
        assertThat(report.loss()).isLessThan(losses.getFirst() - 1);
        assertThat(subtext.io.HuggingFace.load(Path.of(report.model())).config().layers())
                .isEqualTo(2);
        EmSettings again = new EmSettings(folder.resolve("t"), true, false, config);
        assertThat(TrainRun.start(again, TrainRun.On.TEXT, event -> {}).digest())
                .isEqualTo(report.digest());
    }

    @Test
    void reportHasTheNamesThatChecksUse() {
        EmReport report = run("j", false, TINY, event -> {});
        var tree = tools.jackson.databind.json.JsonMapper.builder().build().readTree(report.toJson());
        var iteration = tree.at("/seeds/0/iterations/1");
        for (String name :
                List.of("iteration", "accuracy", "elbo", "essPerSample", "selectedCorrect", "eSeconds", "mSeconds")) {
            assertThat(iteration.has(name)).as(name).isTrue();
        }
        assertThat(iteration.at("/elbo/8").asDouble()).isNegative();
        assertThat(tree.at("/seeds/0/baselines/0/name").asString()).isEqualTo("raw-total-flop-match");
        assertThat(tree.at("/seeds/0/baselines/0/nll").asDouble()).isPositive();
        assertThat(tree.has("wallSeconds")).isTrue();
        assertThat(report.table())
                .contains("iteration 0 (warm)")
                .contains("ELBO_8")
                .contains("oracle");
    }

    private static Map<String, String> models(Path root) throws IOException {
        Map<String, String> digests = new TreeMap<>();
        try (Stream<Path> files = Files.walk(root.resolve("seeds"))) {
            for (Path file :
                    files.filter(f -> f.endsWith("model/model.safetensors")).toList()) {
                digests.put(root.relativize(file).toString(), subtext.io.Digest.of(file));
            }
        }
        return digests;
    }

    private static List<LatentRecord> records(Path root, int iteration) throws IOException {
        List<LatentRecord> records = new ArrayList<>();
        Path latents = root.resolve(String.format("seeds/0/iterations/%02d/latents", iteration));
        try (Stream<Path> parts = Files.list(latents)) {
            for (Path part : parts.sorted().toList()) {
                records.addAll(LatentPart.read(part, null));
            }
        }
        return records;
    }

    private static final class Killed extends RuntimeException {
        private static final long serialVersionUID = 1L;
    }
}
