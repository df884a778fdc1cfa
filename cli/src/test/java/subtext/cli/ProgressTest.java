package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import subtext.em.EmEvent;
import subtext.run.ProcessMemory;

/** What a person sees while a run goes on: time left, tokens per second and memory, in a log and on a terminal. */
class ProgressTest {
    private static final long SECOND = 1_000_000_000L;

    private final StringWriter written = new StringWriter();
    private long now;

    private Progress progress(boolean terminal, OptionalLong memory) {
        return new Progress(new PrintWriter(written), terminal, () -> now, () -> memory);
    }

    private void train(Progress progress, int from, int to, int of) {
        progress.accept(new EmEvent.StageStarted(0, "iteration 1: M-step", "steps", from, of));
        for (int step = from + 1; step <= to; step++) {
            now += SECOND;
            progress.accept(
                    new EmEvent.StepTrained(0, "iteration 1: M-step", step, of, 2.5, 0.75, 1e-3, 12345.6, false));
        }
    }

    @Test
    void aLogHasALineEveryTenSecondsAndOneAtTheEnd() {
        train(progress(false, OptionalLong.of(412_300_000)), 0, 25, 25);
        List<String> lines = written.toString().lines().toList();
        assertThat(lines)
                .containsExactly(
                        "seed 0, iteration 1: M-step: 25 steps",
                        "  step 10 of 25  15 s left  12,346 tokens/s  412 MB  loss 2.5000  norm 0.75  lr 0.0010",
                        "  step 20 of 25  5 s left  12,346 tokens/s  412 MB  loss 2.5000  norm 0.75  lr 0.0010",
                        "  step 25 of 25  0 s left  12,346 tokens/s  412 MB  loss 2.5000  norm 0.75  lr 0.0010");
    }

    /** The time left is by the steps of this process: those found finished took it none. */
    @Test
    void aResumedStageTakesTheTimeOfItsOwnSteps() {
        train(progress(false, OptionalLong.empty()), 90, 100, 110);
        assertThat(written.toString())
                .contains("110 steps, going on at 90")
                .contains("  step 100 of 110  10 s left  12,346 tokens/s  loss 2.5000");
    }

    @Test
    void aTerminalHasABarThatIsRewrittenInPlaceAndNeverWrapped() {
        Progress progress = progress(true, OptionalLong.of(23_456_000_000L));
        train(progress, 0, 2, 5);
        progress.accept(new EmEvent.Notice("something"));
        String text = written.toString();
        assertThat(text)
                .contains(
                        "\r\u001b[?7l  step 2 of 5  [########------------]  40 %  3 s left  12,346 tokens/s  23.5 GB  loss")
                .endsWith("\u001b[K\u001b[?7h\r\u001b[Ksomething" + System.lineSeparator());
        assertThat(text.split("\n")).hasSize(2); // the stage and the notice: bars end no line
    }

    @Test
    void anEStepTellsItsPartsAlike() {
        Progress progress = progress(false, OptionalLong.of(1_000_000));
        progress.accept(new EmEvent.StageStarted(0, "iteration 1: E-step", "parts", 0, 4));
        now += 20 * SECOND;
        progress.accept(new EmEvent.LatentsDrawn(0, 1, 0, 4, 1000, 0.5, -3.25, 99));
        assertThat(written.toString())
                .contains("  part 1 of 4  1 min 00 s left  99 tokens/s  1 MB  1000 chunks  ESS/K 0.50  ELBO -3.250");
    }

    @Test
    void theBarIsFullOnlyAtTheEnd() {
        assertThat(Progress.bar(0, 7)).isEqualTo("[--------------------]   0 %");
        assertThat(Progress.bar(999, 1000)).isEqualTo("[###################-]  99 %");
        assertThat(Progress.bar(1000, 1000)).isEqualTo("[####################] 100 %");
    }

    /** The memory is this process's: it grows by what is held and touched. */
    @Test
    void memoryGrowsByWhatIsHeld() {
        OptionalLong before = ProcessMemory.resident();
        org.junit.jupiter.api.Assumptions.assumeTrue(before.isPresent(), "no Linux here");
        try (var arena = java.lang.foreign.Arena.ofConfined()) {
            arena.allocate(256L << 20).fill((byte) 1);
            assertThat(ProcessMemory.resident().orElseThrow() - before.getAsLong())
                    .isGreaterThan(200L << 20);
        }
    }
}
