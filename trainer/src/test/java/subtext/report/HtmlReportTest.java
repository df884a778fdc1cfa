package subtext.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.em.EmEvent;
import subtext.em.EmRun;
import subtext.em.EmSettings;
import subtext.run.Beginning;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;

/** The page of a run holds what the run found, at any moment of it, and nothing of a corpus becomes markup. */
class HtmlReportTest {
    private static final RunConfig TINY = RunConfig.preset("smoke")
            .with("device.backend", "cpu")
            .with("training.steps", "6")
            .with("baselines", "raw-token-match,oracle,warm-step-match");

    @TempDir
    Path folder;

    @Test
    void theRunWritesItsPage() throws IOException {
        var report = EmRun.start(new EmSettings(folder.resolve("a"), false, false, TINY), event -> {});
        String page = Files.readString(folder.resolve("a/report.html"));
        var last = report.seeds().getFirst().iterations().getLast().measured();
        assertThat(page)
                .startsWith("<!doctype html>")
                .contains("ELBO_8", "raw-token-match", "oracle", "Resolved configuration", "&quot;samples&quot; : 4")
                .contains(String.format(
                        "%.3f [%.3f",
                        last.elbo().get(8).mean(), last.elbo().get(8).low()))
                .doesNotContain("<script", "http://", "https://");
        RunView view = RunView.read(folder.resolve("a"));
        RunView.SeedView seed = view.seeds().getFirst();
        assertThat(view.now()).isEmpty();
        assertThat(seed.iterations()).hasSize(3);
        assertThat(seed.baselines()).hasSize(3);
        assertThat(seed.shown().keySet()).containsExactly(1, 2);
        assertThat(seed.shown().get(2)).isEqualTo(report.seeds().getFirst().shown());
        // the same chunks in both iterations
        assertThat(seed.shown().get(1).stream().map(s -> s.document()))
                .containsExactlyElementsOf(
                        seed.shown().get(2).stream().map(s -> s.document()).toList());
        double[] ess = seed.draws().get(1).essShare();
        assertThat(ess).hasSize(TINY.world().documents());
        assertThat(Arrays.stream(ess).boxed())
                .allSatisfy(share -> assertThat(share).isBetween(0.0, 1.0 + 1e-12));
        assertThat(seed.curves().keySet())
                .contains("iteration 0: warm start", "iteration 2: M-step", "baseline oracle");
        String both = HtmlReport.comparison(List.of(view, view));
        assertThat(both).contains("Means over seeds", "K=4 resample", "<td class=\"text\">oracle</td><td>1</td>");
    }

    /** Runs are one setting if they differ in seeds alone: in anything else that decides figures, they are two, named by it. */
    @Test
    void aComparisonTellsSettingsApart() throws IOException {
        RunConfig none = TINY.with("baselines", "[]").with("em.iterations", "1");
        List<RunView> views = new java.util.ArrayList<>();
        for (RunConfig config : List.of(
                none,
                none.with("seeds", "1").with("device.threads", "1"),
                none.with("em.priorShare", "0.25").with("seeds", "2"))) {
            Path run = folder.resolve("run-" + views.size());
            EmRun.start(new EmSettings(run, false, false, config), event -> {});
            views.add(RunView.read(run));
        }
        String page = HtmlReport.comparison(views);
        assertThat(page)
                .contains(
                        "<td class=\"text\">run-0</td><td class=\"text\">priorShare=0.5</td>",
                        "<td class=\"text\">run-1</td><td class=\"text\">priorShare=0.5</td>",
                        "<td class=\"text\">run-2</td><td class=\"text\">priorShare=0.25</td>");
    }

    /** More lines than can be told apart are parted into figures, the first line in each. */
    @Test
    void manyRunsAreSeveralFigures() throws IOException {
        Path run = folder.resolve("many");
        EmRun.start(
                new EmSettings(run, false, false, TINY.with("baselines", "[]").with("em.iterations", "1")),
                event -> {});
        RunView view = RunView.read(run);
        Map<String, RunView> named = new java.util.LinkedHashMap<>();
        for (int i = 0; i < 20; i++) {
            named.put("arm" + i, view);
        }
        Path still = folder.resolve("still");
        EmRun.start(
                new EmSettings(still, false, false, TINY.with("baselines", "[]").with("em.iterations", "0")),
                event -> {});
        named.put("still", RunView.read(still));
        String page = HtmlReport.comparison(named);
        assertThat(page)
                .as("one point is no line")
                .doesNotContain(">still</text>")
                .contains("<td class=\"text\">still</td>");
        assertThat(page).contains("95 % interval over seeds (4 of 4)").doesNotContain("(5 of 4)");
        for (int figure = 1; figure <= 4; figure++) {
            String svg = page.substring(page.indexOf("over seeds (" + figure + " of 4)</figcaption>"));
            assertThat(svg.substring(0, svg.indexOf("</svg>"))).contains(">arm0<");
        }
        for (int i = 0; i < 20; i++) {
            assertThat(page).contains(">arm" + i + "</text>");
        }
    }

    private static final class Stop extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    @Test
    void aRunUnderWayIsShownAsFarAsItIs() throws IOException {
        Path run = folder.resolve("b");
        try {
            EmRun.start(new EmSettings(run, false, false, TINY), event -> {
                if (event instanceof EmEvent.StepTrained step && step.stage().equals("iteration 1: M-step")) {
                    throw new Stop();
                }
            });
        } catch (Stop e) {
            // as far as wanted
        }
        RunView view = RunView.read(run);
        assertThat(view.now()).hasValueSatisfying(now -> assertThat(now).contains("iteration 1: M-step"));
        assertThat(view.seeds().getFirst().iterations()).hasSize(1);
        assertThat(HtmlReport.page(view)).contains("Under way", "No EM iteration is finished yet");
        assertThat(run.resolve("report.html")).doesNotExist();

        EmRun.start(new EmSettings(run, true, false, TINY), event -> {});
        assertThat(Files.readString(run.resolve("report.html"))).contains("finished in 2 sittings, the last of ");
    }

    @Test
    void aRunThatHasOnlyBegunIsAPageToo() throws IOException {
        Path run = folder.resolve("c");
        RunDirectory.open(run, false, new Beginning("em", TINY, Map.of()), Map.of())
                .close();
        assertThat(HtmlReport.page(RunView.read(run))).contains("Under way");
    }

    @Test
    void textOfACorpusStaysText() {
        assertThat(Html.text("<script>alert('x')</script> & \"\u0000"))
                .isEqualTo("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;\ufffd");
    }

    /** By hand: differences .1, .2, .3 have mean .2, standard error .1 / sqrt 3, and t of 2 degrees 4.303. */
    @Test
    void intervalsOverSeedsAreStudents() {
        Verdict.Change change = Verdict.paired(new double[] {0.1, 0.2, 0.3});
        assertThat(change.mean()).isCloseTo(0.2, within(1e-12));
        assertThat(change.high() - change.mean()).isCloseTo(4.303 * 0.1 / Math.sqrt(3), within(1e-9));
        assertThat(change.certain()).isFalse();
        assertThat(Verdict.paired(new double[] {0.19, 0.2, 0.21}).certain()).isTrue();
    }

    @Test
    void ticksAreRoundAndCoverTheValues() {
        assertThat(Chart.ticks(0, 1, 5)).containsExactly(new double[] {0, 0.2, 0.4, 0.6, 0.8, 1}, within(1e-12));
        assertThat(Chart.ticks(-9.4, -0.1, 5)).containsExactly(new double[] {-10, -8, -6, -4, -2, 0}, within(1e-12));
        assertThat(Chart.ticks(3, 3, 5)).hasSizeBetween(3, 8);
        for (double[] range : new double[][] {{1e-9, 2e-9}, {-1e6, 3}, {0.0571, 0.0634}, {7, 7.0001}}) {
            double[] ticks = Chart.ticks(range[0], range[1], 5);
            assertThat(ticks.length).isBetween(3, 8);
            assertThat(ticks[0]).isLessThanOrEqualTo(range[0] + 1e-12);
            assertThat(ticks[ticks.length - 1]).isGreaterThanOrEqualTo(range[1] - 1e-12);
        }
    }
}
