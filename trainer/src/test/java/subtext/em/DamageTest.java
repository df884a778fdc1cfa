package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import subtext.data.Prepare;
import subtext.data.Prepared;
import subtext.random.Draws;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;
import subtext.run.StopSignal;

/** Every kind of file of a run, changed by one bit or cut off somewhere: {@code verify} finds it and names the file. */
class DamageTest {
    private static final RunConfig TINY = RunConfig.preset("smoke")
            .with("device.backend", "cpu")
            .with("training.steps", "6")
            .with("training.checkpointEvery", "3")
            .with("training.keepFinished", "true")
            .with("em.iterations", "1")
            .with("baselines", "raw-total-flop-match");

    @TempDir
    Path folder;

    private Path run() {
        Path root = folder.resolve("run");
        EmRun.start(new EmSettings(root, false, false, TINY), event -> {});
        return root;
    }

    /** One file of each kind by its name without numbers. */
    private static Map<String, Path> kinds(Path root) throws IOException {
        Map<String, Path> kinds = new LinkedHashMap<>();
        try (Stream<Path> files = Files.walk(root)) {
            files.filter(Files::isRegularFile)
                    .filter(file -> !file.endsWith("lock")) // says who works there, and nothing of the run
                    .sorted()
                    .forEach(file -> kinds.putIfAbsent(
                            root.relativize(file).getNameCount()
                                    + file.getFileName().toString().replaceAll("\\d+", "#"),
                            file));
        }
        return kinds;
    }

    private void damage(int count) throws IOException {
        Path root = run();
        assertThat(RunDirectory.verify(root, path -> {}).problems()).isEmpty();
        Map<String, Path> kinds = kinds(root);
        assertThat(kinds.keySet().stream().map(kind -> kind.substring(1)))
                .contains(
                        "run.json",
                        "metrics.jsonl",
                        "metrics.csv",
                        "report.json",
                        "report.txt",
                        "DONE",
                        "COMPLETE",
                        "state.json",
                        "optimizer.safetensors",
                        "weights.safetensors",
                        "model.safetensors",
                        "config.json",
                        "tokenizer.json",
                        "generation_config.json",
                        "result.json",
                        "shown.json",
                        "report.html",
                        "part-#.jsonl");
        int found = damage(
                List.copyOf(kinds.values()),
                count,
                () -> RunDirectory.verify(root, path -> {}).problems());
        System.out.printf("%d cases over %d kinds of file of a run: all found and named%n", found, kinds.size());
    }

    @FunctionalInterface
    private interface Verify {
        List<String> problems() throws IOException;
    }

    /** Damages the files in turn: three bits, then a cut. */
    private static int damage(List<Path> files, int count, Verify verify) throws IOException {
        Draws draws = new Draws(6);
        for (int i = 0; i < count; i++) {
            Path file = files.get(i % files.size());
            byte[] whole = Files.readAllBytes(file);
            byte[] damaged;
            if (i / files.size() % 4 == 3) {
                damaged = Arrays.copyOf(whole, draws.below(whole.length));
            } else {
                damaged = whole.clone();
                damaged[draws.below(whole.length)] ^= (byte) (1 << draws.below(8));
            }
            replace(file, damaged);
            assertThat(verify.problems())
                    .as("case %d: %s, %d bytes of %d", i, file, damaged.length, whole.length)
                    .isNotEmpty()
                    // a digest that was changed is found where it is compared: the line names the file and the list
                    .anyMatch(problem -> problem.startsWith(file.getParent().toString())
                            && problem.contains(file.getFileName().toString()));
            replace(file, whole);
        }
        assertThat(verify.problems()).isEmpty();
        return count;
    }

    /** A new file, not new content: shards are mapped. */
    private static void replace(Path file, byte[] bytes) throws IOException {
        Files.delete(file);
        Files.write(file, bytes);
    }

    private void damageShards(int count) throws IOException {
        Path corpus = folder.resolve("corpus.jsonl");
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 120; i++) {
            lines.append("{\"text\": \"Document %d says that %d and %d are %d. It ends here.\"}\n"
                    .formatted(i, i, i + 1, 2 * i + 1));
        }
        Files.writeString(corpus, lines);
        Path out = folder.resolve("shards");
        PrepareRun.start(
                RunConfig.preset("chain").with("corpus.path", corpus.toString()).with("corpus.vocabulary", "300"),
                out,
                Prepare.Duplicates.EXACT,
                0.2,
                progress -> {});
        Map<String, Path> kinds = kinds(out);
        kinds.values().removeIf(file -> file.endsWith(".lock"));
        assertThat(kinds.values().stream().map(file -> out.relativize(file).toString()))
                .containsExactlyInAnyOrder(
                        "plan.json",
                        "prepared.json",
                        "tokenizer.json",
                        // one kind; each of its bytes is looked at in PrepareTest
                        "held-out/shard-00000.tok");
        int found = damage(List.copyOf(kinds.values()), count, () -> Prepared.verify(out));
        System.out.printf("%d cases over %d kinds of file of shards: all found and named%n", found, kinds.size());
    }

    @Test
    void damageOfShardsIsFoundAndNamed() throws IOException {
        damageShards(80);
    }

    @Test
    void damageIsFoundAndNamed() throws IOException {
        damage(120);
    }

    @Tag("slow")
    @Test
    void twoThousandDamagesAreFoundAndNamed() throws IOException {
        damage(2000);
        damageShards(400);
    }

    /** The page of a finished run may be written anew, by a newer version with other words; what else is damaged is found as before. */
    @Test
    void aPageWrittenAnewIsVouchedForAndNothingElse() throws IOException {
        Path root = run();
        Path weights = kinds(root).values().stream()
                .filter(file -> file.endsWith("metrics.csv"))
                .findFirst()
                .orElseThrow();
        byte[] whole = Files.readAllBytes(weights);
        byte[] damaged = whole.clone();
        damaged[damaged.length / 2] ^= 1;
        Files.write(weights, damaged);
        assertThat(RunDirectory.writePage(root, "<html>newer</html>")).hasContent("<html>newer</html>");
        assertThat(RunDirectory.verify(root, path -> {}).problems())
                .hasSize(1)
                .first()
                .asString()
                .startsWith(weights + ": ");
        Files.write(weights, whole);
        assertThat(RunDirectory.verify(root, path -> {}).problems()).isEmpty();
        Files.writeString(root.resolve("report.html"), "<html>by another hand</html>");
        assertThat(RunDirectory.verify(root, path -> {}).problems()).hasSize(1);
    }

    /** A missing file is damage too. */
    @Test
    void everyMissingFileIsNamed() throws IOException {
        Path root = run();
        for (Path file : kinds(root).values()) {
            if (file.endsWith("DONE")) {
                continue; // a run or a stage without it is one that is not finished
            }
            byte[] whole = Files.readAllBytes(file);
            Files.delete(file);
            if (file.endsWith("run.json")) {
                assertThatThrownBy(() -> RunDirectory.verify(root, path -> {}))
                        .isInstanceOf(EngineException.InvalidInput.class);
            } else {
                assertThat(RunDirectory.verify(root, path -> {}).problems())
                        .as("%s", file)
                        .isNotEmpty();
            }
            Files.write(file, whole);
        }
    }

    /** Asked to stop at any event, a run saves, says so, and taken up again ends with no line of its metrics written twice. */
    @Test
    void askedToStopARunSavesAndGoesOn() throws IOException {
        Path whole = run();
        List<String> lines = measured(whole);
        for (int at : new int[] {2, 5, 9, 12, 16, 23}) {
            Path root = folder.resolve("stopped-" + at);
            StopSignal stop = new StopSignal();
            int[] seen = {0};
            assertThatThrownBy(() -> EmRun.start(new EmSettings(root, false, false, TINY, stop), event -> {
                        if (seen[0]++ == at) {
                            stop.request("SIGTERM");
                        }
                    }))
                    .as("at event %d", at)
                    .isInstanceOf(EngineException.Stopped.class)
                    .hasMessageContaining("SIGTERM")
                    .hasMessageContaining("--resume");
            assertThat(RunDirectory.verify(root, path -> {}).problems()).isEmpty();
            EmRun.start(new EmSettings(root, true, false, TINY), event -> {});
            assertThat(RunDirectory.verify(root, path -> {}).problems()).isEmpty();
            List<String> found = measured(root);
            assertThat(found).doesNotHaveDuplicates().containsExactlyInAnyOrderElementsOf(lines);
            assertThat(models(root)).isEqualTo(models(whole));
        }
    }

    /** What each line of the metrics is of; how long it took differs from run to run. */
    private static List<String> measured(Path root) throws IOException {
        return Files.readAllLines(root.resolve("metrics.jsonl")).stream()
                .filter(line -> line.matches("\\{\"event\":\"(step|latents|iteration|baseline|finished)\".*"))
                .map(line -> line.replaceAll("[^,]*(econd|crc32c)[^,}]*", ""))
                .map(line -> line.replaceFirst(",\"(loss|accuracy|elbo|nll|chunks|steps)\".*", ""))
                .toList();
    }

    private static List<String> models(Path root) throws IOException {
        try (Stream<Path> files = Files.walk(root.resolve("seeds"))) {
            return files.filter(file -> file.endsWith("model/model.safetensors"))
                    .sorted()
                    .map(file -> {
                        try {
                            return root.relativize(file) + " " + subtext.io.Digest.of(file);
                        } catch (IOException e) {
                            throw new java.io.UncheckedIOException(e);
                        }
                    })
                    .toList();
        }
    }
}
