package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.withinPercentage;

import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import subtext.run.RunConfig;

/** What is said of a run beforehand: refused at the very byte that is missing, and its tokens counted as the run then counts them. */
class RunPlanTest {
    private static final long GB = 1_000_000_000;

    @TempDir
    Path folder;

    private static RunPlan.Needs needs(long device, long heap, boolean shared, long disk) {
        return new RunPlan.Needs(device, 10 * GB, heap, 4 * GB, shared, disk, 20 * GB);
    }

    @Test
    void whatFitsToTheByteIsTakenAndAByteMoreRefused() {
        long shared = 10 * GB - RunPlan.BESIDE;
        assertThatCode(() -> needs(10 * GB, 4 * GB, false, 20 * GB).requireFit(folder))
                .doesNotThrowAnyException();
        assertThatCode(() -> needs(shared - GB, GB, true, 20 * GB).requireFit(folder))
                .doesNotThrowAnyException();
        assertThatThrownBy(() -> needs(10 * GB + 1, GB, false, GB).requireFit(folder))
                .isInstanceOf(EngineException.OutOfDeviceMemory.class)
                .hasMessageContaining("the run needs");
        assertThatThrownBy(() -> needs(GB, 4 * GB + 1, false, GB).requireFit(folder))
                .isInstanceOf(EngineException.OutOfDeviceMemory.class)
                .hasMessageContaining("-Xmx4g");
        assertThatThrownBy(() -> needs(shared - GB + 1, GB, true, GB).requireFit(folder))
                .isInstanceOf(EngineException.OutOfDeviceMemory.class)
                .hasMessageContaining("of Java's heap");
        assertThatThrownBy(() -> needs(GB, GB, true, 20 * GB + 1).requireFit(folder))
                .isInstanceOf(FileSystemException.class)
                .hasMessageContaining(folder.toString())
                .hasMessageContaining("the run will write about 18.63 GiB, 18.63 GiB are free");
    }

    /** On the CPU tensors and heap are one memory: what cannot fit is not cured by a larger heap, and a heap that may outgrow it is told. */
    @Test
    void theHeapIsOfTheSameMemoryAsTheTensors() {
        long mib = 1L << 20;
        // a container: 1 GiB is free, Java takes a quarter of it
        assertThatThrownBy(() ->
                        new RunPlan.Needs(900 * mib, 1024 * mib, 300 * mib, 256 * mib, true, 0, GB).requireFit(folder))
                .hasMessageContaining(
                        "Java needs about 300.0 MiB of heap, and may take 256.0 MiB; beside the model 60.0 MiB are free:");
        assertThatThrownBy(() ->
                        new RunPlan.Needs(500 * mib, 1024 * mib, 300 * mib, 256 * mib, true, 0, GB).requireFit(folder))
                .hasMessageEndingWith("set SUBTEXT_JAVA_OPTS=-Xmx304m");
        RunPlan.Needs tight = new RunPlan.Needs(800 * mib, 1024 * mib, 100 * mib, 161 * mib, true, 0, GB);
        assertThatCode(() -> tight.requireFit(folder)).doesNotThrowAnyException();
        assertThat(tight.caution())
                .contains("memory: Java's heap may grow to 161.0 MiB, 160.0 MiB are free beside the model;"
                        + " SUBTEXT_JAVA_OPTS=-Xmx160m keeps it within");
        assertThat(new RunPlan.Needs(800 * mib, 1024 * mib, 100 * mib, 160 * mib, true, 0, GB).caution())
                .isEmpty();
        assertThat(new RunPlan.Needs(800 * mib, 1024 * mib, 100 * mib, 500 * mib, false, 0, GB).caution())
                .as("a GPU has its own")
                .isEmpty();
    }

    /** The volume is counted, not assumed, on the chain world; what is drawn differs by the lengths of the thoughts alone. */
    @Test
    void tokensAreThoseOfTheRun() {
        RunConfig config = RunConfig.preset("smoke")
                .with("device.backend", "cpu")
                .with("seeds", "0")
                .with("training.steps", "200")
                .with("world.heldOut", "50")
                .with("baselines", "[]");
        Path run = folder.resolve("run");
        EmSettings settings = new EmSettings(folder.resolve("run"), false, false, config);
        Map<String, Double> planned = EmRun.plan(settings, Optional.empty(), event -> {}).stages().stream()
                .collect(Collectors.toMap(RunPlan.Stage::name, RunPlan.Stage::tokens));
        List<EmReport.Iteration> iterations =
                EmRun.start(settings, event -> {}).seeds().getFirst().iterations();
        assertThat(planned).hasSize(2 + 3 * (iterations.size() - 1));
        for (int i = 0; i < iterations.size(); i++) {
            EmReport.Iteration it = iterations.get(i);
            String name = "iteration " + i;
            // packed rows have a little room at their ends
            assertThat((double) it.mTokens())
                    .isCloseTo(planned.get(name + (i == 0 ? ": warm start" : ": M-step")), withinPercentage(3.0));
            it.drawn()
                    .ifPresent(draws -> assertThat((double) draws.tokens())
                            .isCloseTo(planned.get(name + ": E-step"), withinPercentage(20.0)));
            // the bound's draws, and as many chunks once more behind thoughts of the prior
            double bound = it.measured().draws().orElseThrow().tokens();
            assertThat(planned.get(name + ": measured")).isBetween(1.5 * bound, 2.5 * bound);
        }
    }

    /** A baseline that is the warm start itself costs nothing; one that is trained as long as an M-step is planned as that is. */
    @Test
    void warmStepMatchIsPlannedWhereItIsTrained() {
        RunConfig config =
                RunConfig.preset("smoke").with("device.backend", "cpu").with("baselines", "warm-step-match");
        assertThat(stages(config)).doesNotContainKey("baseline warm-step-match");
        Map<String, Double> planned = stages(config.with("training.warmSteps", "3"));
        assertThat(planned.get("baseline warm-step-match")).isEqualTo(planned.get("iteration 1: M-step"));
    }

    private Map<String, Double> stages(RunConfig config) {
        return EmRun.plan(
                        new EmSettings(folder.resolve("planned"), false, false, config), Optional.empty(), event -> {})
                .stages()
                .stream()
                .collect(Collectors.toMap(RunPlan.Stage::name, RunPlan.Stage::flops));
    }
}
