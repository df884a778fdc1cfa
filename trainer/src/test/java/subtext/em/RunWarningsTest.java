package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.evaluate.Warning;
import subtext.evaluate.Warning.Kind;
import subtext.report.HtmlReport;
import subtext.report.RunView;
import subtext.run.RunConfig;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The figures that a person is warned of are computed in a run, and told everywhere: while it goes on, in metrics, report and page. */
class RunWarningsTest {
    private static final JsonMapper JSON = JsonMapper.builder().build();
    private static final RunConfig TINY = RunConfig.preset("smoke")
            .with("device.backend", "cpu")
            .with("training.steps", "6")
            .with("em.iterations", "3")
            .with("baselines", "[]");

    @TempDir
    Path folder;

    private record Ran(EmReport report, List<EmEvent> events, Path root) {
        Set<Kind> told() {
            return events.stream()
                    .filter(EmEvent.Warned.class::isInstance)
                    .map(e -> ((EmEvent.Warned) e).warning().kind())
                    .collect(Collectors.toCollection(() -> EnumSet.noneOf(Kind.class)));
        }

        /** The iterations that were warned of this. */
        Set<Integer> iterations(Kind kind) {
            return report.seeds().getFirst().warnings().stream()
                    .filter(raised -> raised.warning().kind() == kind)
                    .map(EmReport.Raised::iteration)
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }

    private Ran run(String name, RunConfig config) {
        List<EmEvent> events = new ArrayList<>();
        Path root = folder.resolve(name);
        return new Ran(EmRun.start(new EmSettings(root, false, false, config), events::add), events, root);
    }

    /** With every bound at its strictest all that can be found in this run is, and stands in all four places. */
    @Test
    void whatIsFoundIsToldEverywhere() throws IOException {
        Ran ran = run(
                "strict",
                TINY.with("warnings.essShare", "1")
                        .with("warnings.cutOff", "0")
                        .with("warnings.malformed", "0")
                        .with("warnings.lengthCorrelation", "0")
                        .with("warnings.empty", "0")
                        .with("warnings.unexplained", "0")
                        .with("warnings.heldOutWorse", "1"));
        assertThat(ran.told()).contains(Kind.WEIGHT_DEGENERACY, Kind.TRUNCATION, Kind.MALFORMED, Kind.LENGTH_BIAS);
        List<Warning> told = ran.events().stream()
                .filter(EmEvent.Warned.class::isInstance)
                .map(e -> ((EmEvent.Warned) e).warning())
                .toList();
        assertThat(ran.report().seeds().getFirst().warnings().stream().map(EmReport.Raised::warning))
                .containsExactlyElementsOf(told);
        String metrics = Files.readString(ran.root().resolve("metrics.jsonl"));
        String table = Files.readString(ran.root().resolve("report.txt"));
        String page = HtmlReport.page(RunView.read(ran.root()));
        JsonNode json = JSON.readTree(Files.readString(ran.root().resolve("report.json")))
                .path("seeds")
                .get(0)
                .path("warnings");
        assertThat(json.size()).isEqualTo(told.size());
        for (int i = 0; i < told.size(); i++) {
            String sentence = told.get(i).sentence();
            assertThat(sentence).contains(told.get(i).kind().advice());
            assertThat(metrics).contains(JSON.writeValueAsString(sentence));
            assertThat(table).contains(sentence);
            assertThat(page).contains(sentence.replace(">", "&gt;").replace("'", "&#39;"));
            assertThat(json.get(i).path("kind").asString())
                    .isEqualTo(told.get(i).kind().name());
            assertThat(json.get(i).path("value").asDouble())
                    .isEqualTo(told.get(i).value());
        }
    }

    /** The held-out bound that falls, and thoughts of the prior that do harm: warned of where the measured figures say so, and only there. */
    @Test
    void heldOutFiguresAreWatched() {
        // hardly ever in prior order: such thoughts are not learnt, and the text behind none is
        RunConfig config = TINY.with("em.priorShare", "0.01").with("training.steps", "30");
        Ran ran = run("held-out", config.with("warnings.heldOutWorse", "1"));
        List<EmReport.Iteration> iterations = ran.report().seeds().getFirst().iterations();
        Set<Integer> fell = new TreeSet<>();
        Set<Integer> gap = new TreeSet<>();
        for (int i = 0; i < iterations.size(); i++) {
            EmReport.Measured measured = iterations.get(i).measured();
            if (i > 0
                    && measured.elbo().lastEntry().getValue().mean()
                            < iterations
                                    .get(i - 1)
                                    .measured()
                                    .elbo()
                                    .lastEntry()
                                    .getValue()
                                    .mean()) {
                fell.add(i);
            }
            EmReport.PriorGap prior = measured.priorGap().orElseThrow();
            assertThat(prior.chunks()).isBetween(1, TINY.world().heldOut());
            if (prior.priorThoughts() > prior.noThought()) {
                gap.add(i);
            }
        }
        assertThat(ran.iterations(Kind.HELD_OUT_WORSE)).isEqualTo(fell);
        assertThat(ran.iterations(Kind.PRIOR_GAP)).isEqualTo(gap);
        assertThat(fell).as("there is something to warn of").isNotEmpty();
        assertThat(gap).as("there is something to warn of").isNotEmpty();
        Ran lax = run("lax", config.with("warnings.heldOutWorse", "9").with("warnings.priorGap", "1e9"));
        assertThat(lax.told()).doesNotContain(Kind.HELD_OUT_WORSE, Kind.PRIOR_GAP);
    }

    /** A corpus with every record twice: of the held-out documents some are trained on, and these are named. */
    @Test
    void heldOutDocumentsInTheCorpusAreNamed() throws IOException {
        StringBuilder once = new StringBuilder();
        StringBuilder twice = new StringBuilder();
        for (int i = 0; i < 60; i++) {
            for (String id : List.of("p" + i, "q" + i)) {
                String line =
                        "{\"id\":\"%s\",\"question\":\"How much is %d and %d?\",\"answer\":\"add them #### %d\"}%n"
                                .formatted(id, i, i * i, i + i * i);
                twice.append(line);
                once.append(id.startsWith("p") ? line : "");
            }
        }
        RunConfig config = TINY.with("em.iterations", "1")
                .with("corpus.id", "id")
                .with("corpus.context", "{question}\n")
                .with("corpus.text", "{answer|after:####|trim}")
                .with("corpus.thought", "{answer|before:####|trim}")
                .with("corpus.chunked", "false")
                .with("corpus.warmStart", "10")
                .with("corpus.dev", "2")
                .with("corpus.heldOut", "10")
                .with("corpus.vocabulary", "300")
                .with("model.context", "128")
                .with("training.microTokens", "512");
        Path file = folder.resolve("corpus.jsonl");
        Files.writeString(file, twice);
        Ran ran = run("leaking", config.with("corpus.path", file.toString()));
        assertThat(ran.iterations(Kind.LEAKAGE)).containsExactly(0);
        Warning warning = ran.report().seeds().getFirst().warnings().getFirst().warning();
        assertThat(warning.value()).isGreaterThan(0.5);
        String notice = ran.events().stream()
                .filter(e -> e instanceof EmEvent.Notice n && n.line().startsWith("held out: of 10 chunks"))
                .map(e -> ((EmEvent.Notice) e).line())
                .findFirst()
                .orElseThrow();
        assertThat(notice.substring(notice.lastIndexOf(": ") + 2).split(", "))
                .hasSize((int) Math.round(10 * warning.value()))
                .allMatch(id -> id.matches("[pq]\\d+"));
        assertThat(run("allowed", config.with("corpus.path", file.toString()).with("warnings.leaked", "1"))
                        .told())
                .doesNotContain(Kind.LEAKAGE);
        Files.writeString(file, once);
        assertThat(run("clean", config.with("corpus.path", file.toString())).told())
                .doesNotContain(Kind.LEAKAGE);
    }
}
