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
}
