package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.model.ParameterTable;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;
import subtext.run.Seeds;
import subtext.testing.FaultyDisk;

/** Weights that go wrong in memory while thoughts are drawn: no part is written from them, and the place is named. */
class NonFiniteThoughtsTest {
    private static final RunConfig TINY = RunConfig.preset("smoke")
            .with("world.warmStart", "12")
            .with("world.documents", "12")
            .with("world.dev", "4")
            .with("world.heldOut", "4")
            .with("training.steps", "2")
            .with("training.tokens", "256")
            .with("em.iterations", "1")
            .with("em.part", "4")
            .with("baselines", "[]");

    @TempDir
    Path folder;

    private EmReport.Seed run(Network network, Material material, Path where, Consumer<EmEvent> listener)
            throws IOException {
        return ExpectationMaximisation.builder()
                .network(network)
                .material(material)
                .plan(EmPlan.of(TINY))
                .seed(0)
                .folder(where)
                .listener(listener)
                .build()
                .run();
    }

    @Test
    void noThoughtIsWrittenByWeightsThatAreNotFinite() throws IOException {
        Material material = Materials.of(TINY, new Seeds(0), Optional.empty(), line -> {});
        try (Device device = Device.open(Backend.CPU);
                Network network = new Network(
                        device,
                        EmRun.sizes(TINY, Optional.empty(), material),
                        DType.F32,
                        256,
                        TINY.em().maxThought(),
                        0,
                        TINY.em().samples())) {
            Path whole = folder.resolve("whole");
            EmReport.Seed expected = run(network, material, whole, event -> {});
            List<String> said = new ArrayList<>();
            for (ParameterTable.Slice slice : network.llama().table().slices()) {
                Path where = folder.resolve(slice.name());
                // the row of the first symbol for the embedding, which every posterior prompt may hold: all of it for
                // certainty
                float[] bad = new float[(int) slice.size()];
                java.util.Arrays.fill(bad, said.size() % 2 == 0 ? Float.NaN : Float.POSITIVE_INFINITY);
                Throwable failure = catchThrowable(() -> run(network, material, where, event -> {
                    if (event instanceof EmEvent.LatentsDrawn drawn && drawn.part() == 0) {
                        network.llama().upload(slice.offset(), bad);
                    }
                }));
                assertThat(failure)
                        .as(slice.name())
                        .isInstanceOf(EngineException.NonFinite.class)
                        .hasMessageStartingWith("E-step of iteration 1, part 2 of 3: log ")
                        .hasMessageContaining(": weight of " + slice.place() + " is not finite")
                        .hasMessageMatching("[^\\n]*");
                said.add(failure.getMessage());
                Path latents = RunDirectory.iteration(where, 1).resolve("latents");
                assertThat(FaultyDisk.tree(latents)).containsExactly("part-00000.jsonl");
                // taken up again by a healthy network it ends as if nothing had been
                EmReport.Seed resumed = run(network, material, where, event -> {});
                assertThat(resumed.iterations().getLast().model())
                        .isEqualTo(expected.iterations().getLast().model());
                assertThat(Files.exists(latents.resolve("part-00002.jsonl"))).isTrue();
            }
            System.out.println(said.size() + " places, the first: " + said.getFirst());
        }
    }

    @Test
    void aSamplerThatDisagreesWithTheScorerEndsAnExactRun() {
        ExpectationMaximisation.requireAgreement(2, 0);
        for (double mismatch : new double[] {Double.MIN_VALUE, 1e-9, Double.NaN}) {
            assertThatThrownBy(() -> ExpectationMaximisation.requireAgreement(2, mismatch))
                    .isInstanceOf(EngineException.Inexact.class)
                    .hasMessageStartingWith("E-step of iteration 2: sampler and scorer differ by " + mismatch);
        }
    }
}
