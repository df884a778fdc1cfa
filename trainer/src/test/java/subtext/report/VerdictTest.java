package subtext.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;
import java.util.function.IntPredicate;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import subtext.em.EmReport;
import subtext.run.RunConfig;

/** The verdict says above, below or better only where an interval over documents, or seeds, leaves no doubt. */
class VerdictTest {
    private static final int DOCUMENTS = 200;
    private static final RunConfig CONFIG =
            RunConfig.chain().with("world.heldOut", "" + DOCUMENTS).with("evaluation.resamples", "1000");

    private static EmReport.Bound bound(List<Double> nats, int sign) {
        double mean = sign * nats.stream().mapToDouble(n -> n).average().orElseThrow();
        return new EmReport.Bound(mean, mean - 1, mean + 1);
    }

    private static EmReport.Measured measured(
            boolean thinking, Optional<IntPredicate> right, IntToDoubleFunction nats, boolean kept) {
        List<Boolean> answers = right.map(each ->
                        IntStream.range(0, DOCUMENTS).mapToObj(each::test).toList())
                .orElse(List.of());
        List<Double> values =
                IntStream.range(0, DOCUMENTS).mapToObj(nats::applyAsDouble).toList();
        TreeMap<Integer, EmReport.Bound> elbo = new TreeMap<>();
        if (thinking) {
            elbo.put(8, bound(values, 1));
        }
        return new EmReport.Measured(
                answers.isEmpty()
                        ? OptionalDouble.empty()
                        : OptionalDouble.of(
                                (double) answers.stream().filter(a -> a).count() / DOCUMENTS),
                elbo,
                thinking ? Optional.empty() : Optional.of(bound(values, -1)),
                OptionalDouble.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                kept ? Optional.of(new EmReport.PerDocument(answers, values)) : Optional.empty());
    }

    private static EmReport.Measured accurate(IntPredicate right) {
        return measured(true, Optional.of(right), d -> -5, true);
    }

    private static RunView.SeedView seed(
            long seed, EmReport.Measured warm, EmReport.Measured last, Map<String, EmReport.Measured> baselines) {
        List<EmReport.Iteration> iterations = new ArrayList<>();
        for (EmReport.Measured measured : List.of(warm, last)) {
            iterations.add(new EmReport.Iteration(
                    iterations.size(),
                    measured,
                    Optional.empty(),
                    1,
                    0,
                    1,
                    10,
                    "digest",
                    Optional.empty(),
                    OptionalDouble.empty()));
        }
        return new RunView.SeedView(
                seed,
                iterations,
                new TreeMap<>(baselines)
                        .entrySet().stream()
                                .map(e -> new EmReport.Baseline(
                                        e.getKey(), 6, 6, e.getValue(), 1, 1, "", Optional.empty()))
                                .toList(),
                Map.of(),
                new TreeMap<>(),
                new TreeMap<>());
    }

    private static String verdict(RunView.SeedView... seeds) {
        return String.join(
                "\n",
                Verdict.of(new RunView(
                        Path.of("run"),
                        CONFIG,
                        Map.of(),
                        List.of(seeds),
                        List.of(),
                        Map.of(),
                        List.of(),
                        Optional.empty(),
                        Optional.of(1.0),
                        1,
                        Optional.empty())));
    }

    /** 120 of 200 against 100, .60 and .50: apart if they are the same documents and twenty more, not if they are others. */
    @Test
    void oneSeedIsPairedByDocument() {
        EmReport.Measured last = accurate(d -> d < 120);
        String same = verdict(seed(0, accurate(d -> d < 108), last, Map.of("raw-flop-match", accurate(d -> d < 110))));
        assertThat(same)
                .contains(
                        "Accuracy after a greedy thought improved from the warm start to iteration 1: by +6.00 points")
                .contains("paired over 200 documents")
                .contains("iteration 1 is above raw-flop-match (0.550: +0.050 [+0.0");
        String others =
                verdict(seed(0, accurate(d -> d >= 200 - 108), last, Map.of("raw-flop-match", accurate(d -> d >= 90))));
        assertThat(others)
                .contains(
                        "Accuracy after a greedy thought cannot be told apart from that of the warm start in iteration 1:"
                                + " by +6.00 points")
                .contains("iteration 1 cannot be told apart from raw-flop-match (0.550: +0.050 [-0.")
                .doesNotContain("is above");
    }

    /** One document of 200 more is no lead, as many or not; and what is better is said to be better. */
    @Test
    void aLeadOfOneDocumentIsNone() {
        String verdict = verdict(seed(
                0,
                accurate(d -> d < 100),
                accurate(d -> d < 101),
                Map.of(
                        "raw-flop-match", accurate(d -> d < 100),
                        "raw-token-match", accurate(d -> d < 101),
                        "oracle", accurate(d -> d < 190),
                        "raw-plus-teacher", accurate(d -> d < 12))));
        assertThat(verdict)
                .contains("cannot be told apart from raw-flop-match (0.500: +0.005 [")
                .contains("raw-token-match (0.505: +0.000 [+0.000, +0.000])")
                .contains("is below oracle (0.950: -0.445 [")
                .contains("is above raw-plus-teacher (0.060: +0.445 [");
        assertThat(verdict.lines().filter(line -> line.startsWith("Accuracy")))
                .singleElement()
                .asString()
                .contains("cannot be told apart");
    }

    /** Text without a task: the bound against the raw models' log-likelihood, document by document. */
    @Test
    void realTextIsComparedByNats() {
        EmReport.Measured last = measured(true, Optional.empty(), d -> -50 - d % 40, true);
        EmReport.Measured worse = measured(false, Optional.empty(), d -> -51 - d % 40 - d % 3, true);
        EmReport.Measured same = measured(false, Optional.empty(), d -> -50 - d % 40 + (d % 2 - 0.5), true);
        EmReport.Measured better = measured(true, Optional.empty(), d -> -48 - d % 40, true);
        String verdict = verdict(seed(
                0,
                measured(true, Optional.empty(), d -> -52 - d % 40, true),
                last,
                Map.of("raw-flop-match", worse, "raw-token-match", same, "raw-plus-teacher", better)));
        assertThat(verdict)
                .contains(
                        "The held-out bound ELBO_8 improved from the warm start to iteration 1: by +2.00 nats per document")
                .contains(
                        "By nats per document, of models with thoughts ELBO_8, a lower bound, of raw ones the log-likelihood,")
                .contains("is above raw-flop-match (-71.")
                .contains("cannot be told apart from raw-token-match (-69.5")
                .contains("is below raw-plus-teacher (-67.5")
                .doesNotContain("accuracy");
    }

    /** Several seeds are paired by seed: two that agree to a hair decide, two that do not decide nothing. */
    @Test
    void severalSeedsArePairedBySeed() {
        List<RunView.SeedView> seeds = new ArrayList<>();
        for (int s = 0; s < 3; s++) {
            int more = s;
            seeds.add(seed(
                    s,
                    accurate(d -> d < 100),
                    accurate(d -> d < 140 + more),
                    Map.of(
                            "raw-flop-match", accurate(d -> d < 100),
                            "warm-step-match", accurate(d -> d < 120 + 20 * more))));
        }
        assertThat(verdict(seeds.toArray(new RunView.SeedView[0])))
                .contains("improved from the warm start to iteration 1: by +20.5 points")
                .contains("paired over 3 seeds")
                .contains("is above raw-flop-match (0.500: +0.205 [")
                .contains("cannot be told apart from warm-step-match (0.700: +0.005 [-0.");
    }

    /** Results of before documents were kept: unpaired, and said so. */
    @Test
    void withoutDocumentsIntervalsAreWide() {
        EmReport.Measured warm = measured(true, Optional.of(d -> d < 108), d -> -5, false);
        EmReport.Measured last = measured(true, Optional.of(d -> d < 120), d -> -5, false);
        assertThat(verdict(seed(0, warm, last, Map.of("oracle", accurate(d -> d < 190)))))
                .contains("documents taken as unpaired")
                .contains("cannot be told apart from that of the warm start in iteration 1: by +6.00 points")
                .contains("is below oracle");
    }
}
