package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.report.HtmlReport;
import subtext.report.RunView;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** What a run says of itself is what it did: shares of draws, what the baselines had, what every stage cost. */
class RunReportTest {
    private static final RunConfig TINY = RunConfig.preset("smoke")
            .with("device.backend", "cpu")
            .with("training.steps", "6")
            .with("em.iterations", "1")
            .with("em.part", "100")
            .with("baselines", "[]");

    @TempDir
    Path folder;

    private EmReport.Seed run(String name, RunConfig config) {
        return EmRun.start(new EmSettings(folder.resolve(name), false, false, config), event -> {})
                .seeds()
                .getFirst();
    }

    /** A thought that closes with a marker inside is malformed, not cut off: a higher limit would not help. */
    @Test
    void cutOffIsWhatHitTheLimit() throws IOException {
        EmReport.Iteration last = run("cut", TINY).iterations().getLast();
        List<ScoredSample> draws =
                LatentPart.read(
                                folder.resolve("cut/seeds/0/iterations/01/latents")
                                        .resolve(LatentPart.name(0)),
                                null)
                        .stream()
                        .flatMap(record -> record.samples().stream())
                        .toList();
        double atLimit = share(
                draws,
                draws.stream().filter(draw -> draw.thought().size() == TINY.em().maxThought()));
        assertThat(last.drawn().orElseThrow().cutOff()).isCloseTo(atLimit, within(1e-12));
    }

    private static double share(List<?> all, Stream<?> some) {
        return (double) some.count() / all.size();
    }

    /** A warm start of fewer steps is no baseline trained as long as an M-step. */
    @Test
    void warmStepMatchHasTheStepsOfAnMStep() throws IOException {
        EmReport.Seed seed = run("short", TINY.with("training.warmSteps", "3").with("baselines", "warm-step-match"));
        EmReport.Baseline baseline = seed.baselines().getFirst();
        assertThat(baseline.steps()).isEqualTo(6);
        Path model = folder.resolve("short/seeds/0/baselines/warm-step-match/model/model.safetensors");
        assertThat(subtext.io.Digest.of(model))
                .isNotEqualTo(seed.iterations().getFirst().model());
        assertThat(Files.readString(folder.resolve("short/report.txt"))).doesNotContain("iteration 0 itself");
    }

    /** A warm start of an M-step's steps and tokens is the baseline, and the page reads its row. */
    @Test
    void warmStepMatchIsIterationZeroOnlyWhereThatHasTheSteps() throws IOException {
        RunConfig config = TINY.with("em.iterations", "0").with("baselines", "warm-step-match");
        EmReport.Seed seed = run("same", config);
        EmReport.Baseline baseline = seed.baselines().getFirst();
        EmReport.Iteration warm = seed.iterations().getFirst();
        assertThat(baseline.measured()).isEqualTo(warm.measured());
        assertThat(baseline.note()).contains("iteration 0 itself");
        Path row = folder.resolve("same/seeds/0/baselines/warm-step-match");
        assertThat(row.resolve("model")).doesNotExist();
        assertThat(RunDirectory.verify(folder.resolve("same"), path -> {}).problems())
                .isEmpty();
        assertThat(view("same").baselines()).containsExactly(baseline);
        // runs of before the row was written
        Files.delete(row.resolve("result.json"));
        Files.delete(row.resolve("DONE"));
        assertThat(view("same").baselines()).containsExactly(baseline);

        EmReport.Seed longer = run("longer", config.with("training.warmTokens", "600"));
        assertThat(view("longer").baselines()).containsExactlyElementsOf(longer.baselines());
        assertThat(longer.baselines().getFirst().measured())
                .isNotEqualTo(longer.iterations().getFirst().measured());
    }

    private RunView.SeedView view(String name) throws IOException {
        return RunView.read(folder.resolve(name)).seeds().getFirst();
    }

    /** Thoughts that are longer than those of the warm start do not make raw text be seen more often: as many documents, whatever their length. */
    @Test
    void rawTokenMatchSeesTheDocumentsOfAnMStep() {
        EmReport.Seed seed = run("match", TINY.with("training.steps", "40").with("baselines", "raw-token-match"));
        EmReport.Cost warm = seed.iterations().getFirst().cost().orElseThrow();
        EmReport.Cost mStep = seed.iterations().getLast().cost().orElseThrow();
        EmReport.Cost raw = seed.baselines().getFirst().cost().orElseThrow();
        assertThat(mStep.documentTokens())
                .as("the drawn thoughts have another length, or this test says nothing")
                .isNotCloseTo(warm.documentTokens(), withinPercentage(5.0));
        // a step leaves room for less than a document at its end: of 512 tokens, one of some twenty
        assertThat(raw.tokens() / raw.documentTokens())
                .isCloseTo(mStep.tokens() / mStep.documentTokens(), withinPercentage(5.0));
    }

    /** What is matched is said: tokens and operations of every stage, in the report, the table and the page. */
    @Test
    void everyStageSaysWhatItCost() throws IOException {
        RunConfig config = TINY.with("em.iterations", "2")
                .with("baselines", "raw-token-match,raw-flop-match,raw-total-flop-match,oracle,warm-step-match");
        EmReport.Seed seed = run("cost", config);
        JsonNode json = JsonMapper.shared()
                .readTree(Files.readString(folder.resolve("cost/report.json")))
                .at("/seeds/0");
        String table = Files.readString(folder.resolve("cost/report.txt"));
        assertThat(table.lines()
                        .filter(line -> line.matches("  (iteration \\d|raw-|oracle|warm-step|thoughts|cost| {22}).*"))
                        .filter(line -> !line.contains("warning")))
                .as("tables fit a terminal")
                .hasSizeGreaterThan(20)
                .allMatch(line -> line.length() <= 130);
        String page = HtmlReport.page(RunView.read(folder.resolve("cost")));
        double all = 0;
        for (EmReport.Iteration it : seed.iterations()) {
            EmReport.Cost cost = it.cost().orElseThrow();
            assertThat(cost.tokens()).isEqualTo(it.mTokens());
            JsonNode one = json.path("iterations").get(it.iteration());
            assertThat(one.path("mFlops").asDouble()).isEqualTo(cost.flops()).isPositive();
            if (it.iteration() > 0) {
                assertThat(one.path("eTokens").asLong())
                        .isEqualTo(it.drawn().orElseThrow().tokens());
                assertThat(one.path("eFlops").asDouble())
                        .isEqualTo(it.eFlops().orElseThrow())
                        .isPositive();
            }
            all += cost.flops() + it.eFlops().orElse(0);
            for (String told : List.of(table, page)) {
                assertThat(told).contains(String.format(Locale.ROOT, "%.2e", cost.flops()));
            }
        }
        Map<String, EmReport.Cost> costs = new HashMap<>();
        for (int b = 0; b < seed.baselines().size(); b++) {
            EmReport.Baseline baseline = seed.baselines().get(b);
            EmReport.Cost cost = baseline.cost().orElseThrow();
            costs.put(baseline.name(), cost);
            JsonNode one = json.path("baselines").get(b);
            assertThat(one.path("mTokens").asLong()).isEqualTo(cost.tokens()).isPositive();
            assertThat(one.path("mFlops").asDouble()).isEqualTo(cost.flops()).isPositive();
            for (String told : List.of(table, page)) {
                assertThat(told).contains(String.format(Locale.ROOT, "%.2e", cost.flops()));
            }
        }
        List<String[]> csv = Files.readAllLines(folder.resolve("cost/metrics.csv")).stream()
                .map(line -> line.split(",", -1))
                .toList();
        assertThat(csv).allSatisfy(row -> assertThat(row).hasSameSizeAs(csv.getFirst()));
        int flops = List.of(csv.getFirst()).indexOf("m_flops");
        for (String[] row : csv.subList(1, csv.size())) {
            EmReport.Cost cost = row[1].equals("em")
                    ? seed.iterations().get(Integer.parseInt(row[2])).cost().orElseThrow()
                    : costs.get(row[1]);
            assertThat(Double.parseDouble(row[flops])).isEqualTo(cost.flops());
        }
        // matched are tokens, and the operations of all of EM, to the last step that rounding adds
        EmReport.Cost mStep = seed.iterations().getLast().cost().orElseThrow();
        assertThat((double) costs.get("raw-flop-match").tokens()).isCloseTo(mStep.tokens(), withinPercentage(6.0));
        double step = costs.get("raw-flop-match").flops() / TINY.training().steps();
        int budget = Integer.parseInt(seed.baselines().get(2).note().replaceAll("\\D+", ""));
        assertThat(budget * step).isCloseTo(all, withinPercentage(10.0));
    }

    /** What is kept by document is what the means are of, and the figures of every E-step stand in the report. */
    @Test
    void meansAreOfWhatIsKeptByDocument() throws IOException {
        EmReport.Seed seed = run("kept", TINY.with("training.steps", "30").with("baselines", "raw-token-match,oracle"));
        List<EmReport.Measured> all = new ArrayList<>();
        seed.iterations().forEach(it -> all.add(it.measured()));
        seed.baselines().forEach(baseline -> all.add(baseline.measured()));
        int held = TINY.world().heldOut();
        for (EmReport.Measured measured : all) {
            EmReport.PerDocument documents = measured.documents().orElseThrow();
            assertThat(documents.right()).hasSize(held);
            assertThat(documents.nats()).hasSize(held);
            assertThat(documents.right().stream().filter(right -> right).count() / (double) held)
                    .isEqualTo(measured.accuracy().orElseThrow());
            double mean =
                    documents.nats().stream().mapToDouble(n -> n).average().orElseThrow();
            EmReport.Bound likelihood = measured.logLikelihood().orElseThrow();
            assertThat(likelihood.mean()).isCloseTo(mean, within(1e-9));
            assertThat(likelihood.low()).isLessThanOrEqualTo(likelihood.mean());
            // a document of the world has one text, all of a length
            EmReport.Bound token = measured.perUnit().orElseThrow().token();
            assertThat(mean / token.mean()).isCloseTo(Math.rint(mean / token.mean()), within(1e-9));
            assertThat(token.low()).isBetween(0.0, token.mean());
        }
        JsonNode json = JsonMapper.shared()
                .readTree(Files.readString(folder.resolve("kept/report.json")))
                .at("/seeds/0/iterations/1");
        EmReport.Health health =
                seed.iterations().getLast().drawn().orElseThrow().health().orElseThrow();
        assertThat(json.at("/drawn/klPerToken").asDouble())
                .isEqualTo(health.klPerToken().orElseThrow());
        assertThat(json.at("/drawn/malformed").asDouble()).isEqualTo(health.malformed());
        assertThat(json.at("/nllPerToken").asDouble())
                .isEqualTo(all.get(1).perUnit().orElseThrow().token().mean());
        assertThat(json.has("documents")).as("too long for a report").isFalse();
        assertThat(HtmlReport.page(RunView.read(folder.resolve("kept"))))
                .contains("KL per token", "per token [95 %]", "FLOP so far", "paired over " + held + " documents");
    }

    /** Results written before costs, health and malformed thoughts were kept are read, and make a page. */
    @Test
    void resultsOfOlderBuildsAreRead() throws IOException {
        EmReport.Seed seed = run("old", TINY.with("baselines", "raw-token-match"));
        int lost = 0;
        try (Stream<Path> files = Files.walk(folder.resolve("old/seeds"))) {
            for (Path file : files.filter(f -> f.toString().matches(".*(result|shown)\\.json"))
                    .toList()) {
                JsonNode tree = JsonMapper.shared().readTree(Files.readString(file));
                lost += without(tree, Set.of("cost", "eFlops", "health", "malformed", "perUnit", "documents"));
                Files.writeString(file, JsonMapper.shared().writeValueAsString(tree));
            }
        }
        assertThat(lost).isGreaterThan(8);
        RunView.SeedView view = view("old");
        EmReport.Iteration last = view.iterations().getLast();
        assertThat(last.cost()).isEmpty();
        assertThat(last.eFlops()).isEmpty();
        assertThat(last.drawn().orElseThrow().health()).isEmpty();
        assertThat(last.drawn().orElseThrow().cutOff())
                .isEqualTo(seed.iterations().getLast().drawn().orElseThrow().cutOff());
        assertThat(last.measured().documents()).isEmpty();
        assertThat(last.measured().perUnit()).isEmpty();
        assertThat(view.baselines().getFirst().cost()).isEmpty();
        assertThat(HtmlReport.page(RunView.read(folder.resolve("old"))))
                .contains("raw-token-match", "6 steps", "documents taken as unpaired");
    }

    /** Takes fields out of a tree; gives how many there were. */
    private static int without(JsonNode tree, Set<String> names) {
        int lost = 0;
        if (tree instanceof ObjectNode object) {
            int before = object.size();
            object.remove(names);
            lost += before - object.size();
        }
        for (JsonNode child : tree) {
            lost += without(child, names);
        }
        return lost;
    }
}
