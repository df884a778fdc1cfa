package subtext.experiment;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import subtext.em.EmEvent;
import subtext.em.EmRun;
import subtext.em.EmSettings;
import subtext.io.Digest;
import subtext.run.Beginning;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;
import subtext.run.SelfDigest;
import subtext.run.StopSignal;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** The study in miniature: arms of a tiny network, stopped and taken up again; its statistics against figures made by hand. */
class ChainExperimentTest {
    private static final RunConfig TINY = RunConfig.preset("smoke")
            .with("device.backend", "cpu")
            .with("device.threads", "1")
            .with("seeds", "3,5")
            .with("training.steps", "5")
            .with("baselines", "[]");
    private static final List<Arm> ARMS =
            ChainExperiment.named(List.of("k4", "k1", "folds2", "carry", "teacher30", "mix25", "paraphrase"));

    @TempDir
    Path folder;

    private ExperimentReport run(String name, int parallel, List<EmEvent> events) {
        return new ChainExperiment(folder.resolve(name), TINY, ARMS)
                .run(parallel, new StopSignal(), (arm, event) -> events.add(event));
    }

    private Path iteration(String name, String arm, long seed, int i) {
        return RunDirectory.iteration(folder.resolve(name).resolve("arms").resolve(arm), seed, i);
    }

    private static String model(Path stage) throws IOException {
        return Digest.of(stage.resolve("model/model.safetensors"));
    }

    @Test
    void armsEndInTheSameBitsSharedStoppedAndSideBySide() throws IOException {
        ExperimentReport whole = run("whole", 1, new ArrayList<>());

        // the warm start that an arm was given is the one it would have trained
        EmRun.start(
                new EmSettings(
                        folder.resolve("alone"), false, false, ARMS.get(1).over(TINY)),
                event -> {});
        for (int i = 0; i <= 2; i++) {
            assertThat(model(iteration("whole", "k1", 5, i)))
                    .isEqualTo(model(RunDirectory.iteration(folder.resolve("alone"), 5, i)));
        }
        assertThat(model(iteration("whole", "k1", 5, 0))).isEqualTo(model(iteration("whole", "k4", 5, 0)));
        assertThat(model(iteration("whole", "k1", 5, 1))).isNotEqualTo(model(iteration("whole", "k4", 5, 1)));
        assertThat(model(iteration("whole", "teacher30", 5, 0))).isNotEqualTo(model(iteration("whole", "k4", 5, 0)));
        assertThat(iteration("whole", "k1", 5, 0).resolve("checkpoint"))
                .as("not copied")
                .doesNotExist();
        for (Arm arm : ARMS) {
            assertThat(RunDirectory.verify(folder.resolve("whole/arms").resolve(arm.name()), path -> {})
                            .problems())
                    .as(arm.name())
                    .isEmpty();
        }

        // asked to stop after some arms, then two at a time
        StopSignal stop = new StopSignal();
        ChainExperiment stopped = new ChainExperiment(folder.resolve("stopped"), TINY, ARMS);
        int[] finished = {0};
        assertThatThrownBy(() -> stopped.run(1, stop, (arm, event) -> {
                    if (event instanceof EmEvent.IterationFinished && ++finished[0] == 8) {
                        stop.request("a test");
                    }
                }))
                .isInstanceOf(EngineException.Stopped.class);
        assertThat(folder.resolve("stopped/study.md")).doesNotExist();
        ExperimentReport again = run("stopped", 2, new ArrayList<>());
        assertThat(again.toMarkdown()).isEqualTo(whole.toMarkdown());
        assertThat(again.toJson()).isEqualTo(whole.toJson());
        assertThat(folder.resolve("stopped/study.md")).hasContent(whole.toMarkdown());
        assertThat(Files.readString(folder.resolve("stopped/comparison.html"))).contains("folds2", "teacher30");

        // nothing is left to do: no arm is begun again
        List<EmEvent> events = new ArrayList<>();
        run("stopped", 1, events);
        assertThat(events).isEmpty();

        assertThatThrownBy(() -> new ChainExperiment(folder.resolve("stopped"), TINY.with("training.steps", "6"), ARMS))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining("training.steps was 5, is 6");
    }

    @Test
    void theFailureOfAnArmIsToldAndStopsTheRest() {
        ChainExperiment experiment = new ChainExperiment(folder.resolve("f"), TINY, ARMS);
        assertThatThrownBy(() -> experiment.run(2, new StopSignal(), (arm, event) -> {
                    if (arm.name().equals("teacher30") && event instanceof EmEvent.IterationFinished) {
                        throw new EngineException.InvalidInput("planted");
                    }
                }))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessage("planted");
    }

    /** A folder begun before a setting was there is gone on with: what the file does not say is as it was then. */
    @Test
    void settingsThatAnOlderRunLacksAreTheirDefaults() throws IOException {
        Arm base = ARMS.getFirst();
        ChainExperiment experiment = new ChainExperiment(folder.resolve("old"), TINY, ARMS);
        RunDirectory.open(experiment.run(base), false, new Beginning("em", base.over(TINY), Map.of()), Map.of())
                .close();
        Path file = experiment.run(base).resolve("run.json");
        ObjectNode tree = (ObjectNode) JsonMapper.shared().readTree(Files.readString(file));
        ((ObjectNode) tree.at("/config/em")).remove("teacherShare");
        for (String key : List.of("priorGap", "heldOutWorse", "leaked")) {
            ((ObjectNode) tree.at("/config/warnings")).remove(key);
        }
        tree.put("sha256", SelfDigest.EMPTY);
        Files.writeString(file, SelfDigest.seal(JsonMapper.shared().writeValueAsString(tree)));
        new ChainExperiment(folder.resolve("old"), TINY, ARMS);
        assertThatThrownBy(() -> new ChainExperiment(folder.resolve("old"), TINY.with("em.teacherShare", "0.4"), ARMS))
                .hasMessageContaining("em.teacherShare was 0.5, is 0.4");
    }

    /** The arms there were keep the settings they had, whatever baselines are added to the known ones. */
    @Test
    void theBaseKeepsItsBaselines() {
        assertThat(ARMS.getFirst().over(ChainExperiment.settings()).baselines())
                .containsExactly(
                        "raw-token-match",
                        "raw-flop-match",
                        "raw-total-flop-match",
                        "raw-plus-teacher",
                        "warm-step-match",
                        "oracle");
        assertThat(RunConfig.chain().baselines()).doesNotContain("raw-paraphrase");
    }

    private static String report(Map<Long, double[]> accuracies, double oracle) {
        StringBuilder json = new StringBuilder("{\"seeds\":[");
        accuracies.forEach((seed, accuracy) -> {
            json.append(json.charAt(json.length() - 1) == '[' ? "" : ",")
                    .append("{\"seed\":" + seed + ",\"iterations\":[");
            for (int i = 0; i < accuracy.length; i++) {
                json.append(String.format(
                        Locale.ROOT,
                        "%s{\"iteration\":%d,\"accuracy\":%.4f,\"elbo\":{\"8\":%.3f}}",
                        i == 0 ? "" : ",",
                        i,
                        accuracy[i],
                        -10 * (1 - accuracy[i])));
            }
            json.append("],\"baselines\":[{\"name\":\"oracle\",\"accuracy\":" + oracle
                    + "},{\"name\":\"raw-token-match\",\"accuracy\":0.06,\"nll\":5.5}]}");
        });
        return json.append("]}").toString();
    }

    @Test
    void meansIntervalsDifferencesAndTrendAreThoseOfTheFigures() {
        Map<Arm, String> reports = new LinkedHashMap<>();
        List<Arm> arms = ChainExperiment.named(List.of("k4", "k1", "k8", "carry"));
        reports.put(
                arms.get(0), report(Map.of(0L, new double[] {.3, .5, .7, .80}, 1L, new double[] {.3, .4, .6, .90}), 1));
        reports.put(
                arms.get(1), report(Map.of(0L, new double[] {.3, .3, .3, .30}, 1L, new double[] {.3, .2, .3, .32}), 1));
        reports.put(
                arms.get(2), report(Map.of(0L, new double[] {.3, .6, .9, .95}, 1L, new double[] {.3, .7, .8, .97}), 1));
        reports.put(
                arms.get(3), report(Map.of(0L, new double[] {.3, .6, .7, .81}, 1L, new double[] {.3, .5, .7, .85}), 1));
        ExperimentReport report = ExperimentReport.of(reports);
        JsonNode tree = JsonMapper.shared().readTree(report.toJson());
        JsonNode carry = arm(tree, "carry");
        assertThat(carry.at("/accuracy/mean").asDouble()).isEqualTo(.83, within(1e-12));
        // two values .04 apart: standard error .02, Student's t of one degree of freedom 12.706
        assertThat(carry.at("/accuracy/half95").asDouble()).isEqualTo(.02 * 12.706, within(1e-9));
        assertThat(carry.at("/accuracyDifference/mean").asDouble()).isEqualTo((.01 - .05) / 2, within(1e-12));
        assertThat(carry.at("/accuracyDifference/half95").asDouble()).isEqualTo(.03 * 12.706, within(1e-9));
        assertThat(carry.at("/accuracyDifference/wins").asInt()).isEqualTo(1);
        assertThat(carry.at("/boundDifference/mean").asDouble()).isEqualTo(-.2, within(1e-9));
        assertThat(arm(tree, "raw-token-match").at("/bound/mean").asDouble()).isEqualTo(-5.5);
        assertThat(arm(tree, "oracle (carry)").at("/accuracy/mean").asDouble()).isEqualTo(1);
        assertThat(arm(tree, "k8").at("/rises/2/signTest").asDouble()).isEqualTo(.25, within(1e-12));
        assertThat(arm(tree, "k1").at("/rises/1/losses").asInt()).isZero();
        assertThat(tree.at("/trend/samples").toString()).isEqualTo("[1,4,8]");
        assertThat(tree.at("/trend/accuracyAtIteration1/0").asDouble()).isEqualTo(.25, within(1e-12));
        // each seed in order: the one of 3! x 3! outcomes with the largest L
        assertThat(tree.at("/trend/pValue").asDouble()).isEqualTo(1 / 36.0, within(1e-12));
        assertThat(report.toMarkdown())
                .contains(
                        "| carry | each M-step goes on from the last, instead of from scratch | 0.300 0.550 0.700 0.830 |")
                .contains("| 1 of 2, p = 0.75 |")
                // both seeds rise, then stand or fall: 1/4, and of one that falls and a tie 1
                .contains("| k8 | 2 of 2, p = 0.25 | 2 of 2, p = 0.25 | 2 of 2, p = 0.25 |")
                .contains("| k1 | 0 of 2, p = 1.0 | 1 of 2, p = 0.50 | 1 of 2, p = 0.50 |")
                .contains("not decided"); // of two seeds
        assertThatThrownBy(() -> ExperimentReport.of(Map.of())).isInstanceOf(EngineException.InvalidInput.class);
    }

    private static JsonNode arm(JsonNode tree, String name) {
        for (JsonNode arm : tree.path("arms")) {
            if (arm.path("name").asString().equals(name)) {
                return arm;
            }
        }
        throw new AssertionError("no arm " + name + " in " + tree);
    }

    @Test
    void everyArmIsAPlanThatCanBe() {
        for (Arm arm : ChainExperiment.all()) {
            subtext.em.EmPlan.of(arm.over(ChainExperiment.settings()));
        }
        assertThat(ChainExperiment.all()).extracting(Arm::name).doesNotHaveDuplicates();
        assertThatThrownBy(() -> ChainExperiment.named(List.of("k3"))).hasMessageContaining("no arm 'k3'");
    }
}
