package subtext.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import subtext.bindings.EngineException;
import subtext.evaluate.ChainStudy.Verdict;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Made-up reports, of which each claim is known to hold or to fail. */
class ChainStudyTest {
    private static final double[] JITTER = {0.01, -0.02, 0.03, -0.01, 0.02};

    /** Figures of one seed in the shape of em --json; the tests bend them. */
    private static final class Made {
        final Map<Integer, double[]> accuracy = new HashMap<>();
        final Map<String, Double> baselines = new HashMap<>();
        double bound = -1.0;
        double nll = 5.6;

        Made(int seed) {
            double j = JITTER[seed];
            accuracy.put(1, new double[] {.16 + j, .25 + j, .22 + j, .20 + j});
            accuracy.put(2, new double[] {.16 + j, .40 + j, .50 + j, .60 + j});
            accuracy.put(4, new double[] {.16 + j, .52 + j, .75 + j, .85 + j});
            accuracy.put(8, new double[] {.16 + j, .60 + j, .86 + j, .96 + j});
            baselines.putAll(Map.of("raw-token-match", .06, "raw-flop-match", .07, "raw-total-flop-match", .07 - j));
            baselines.putAll(Map.of("raw-plus-teacher", .48 - j, "warm-step-match", .30 - j, "oracle", .999));
        }

        String json(int seed, int k) {
            StringBuilder out = new StringBuilder("{\"run\":\"r\",\"seeds\":[{\"seed\":" + seed + ",\"iterations\":[");
            double[] values = accuracy.get(k);
            for (int t = 0; t < values.length; t++) {
                out.append(t == 0 ? "" : ",")
                        .append(String.format(
                                Locale.ROOT,
                                "{\"iteration\":%d,\"accuracy\":%.6f,\"elbo\":{\"1\":-9,\"8\":%f}}",
                                t,
                                values[t],
                                bound - 3 + t));
            }
            out.append("],\"baselines\":[");
            List<String> arms = new ArrayList<>();
            baselines.forEach((name, value) -> arms.add(String.format(
                    Locale.ROOT,
                    "{\"name\":\"%s\",\"accuracy\":%.6f,%s}",
                    name,
                    value,
                    name.startsWith("raw-") && !name.equals("raw-plus-teacher")
                            ? "\"nll\":" + nll
                            : "\"elbo\":{\"8\":-4.4}")));
            return out.append(String.join(",", arms))
                    .append("]}],\"wallSeconds\":1.5}")
                    .toString();
        }
    }

    private static ChainStudy study(Consumer<List<Made>> bend) {
        List<Made> seeds = new ArrayList<>();
        for (int seed = 0; seed < 5; seed++) {
            seeds.add(new Made(seed));
        }
        bend.accept(seeds);
        List<ChainStudy.Run> runs = new ArrayList<>();
        for (int k : new int[] {1, 2, 4, 8}) {
            for (int seed = 0; seed < 5; seed++) {
                if (seeds.get(seed).accuracy.containsKey(k)) {
                    runs.add(ChainStudy.Run.of(k, seeds.get(seed).json(seed, k)));
                }
            }
        }
        return new ChainStudy(runs);
    }

    @Test
    void everyClaimHoldsWhereItShould() {
        ChainStudy study = study(seeds -> {});
        assertThat(study.criteria()).hasSize(9).allMatch(criterion -> criterion.verdict() == Verdict.HOLDS);
        assertThat(study.passes()).isTrue();
    }

    /** Each claim is broken on its own; it fails, and it alone. */
    @Test
    void everyClaimCanFail() {
        assertOnlyFailing(
                "K=4: accuracy rises",
                seeds -> seeds.subList(0, 2).forEach(s -> s.accuracy.get(4)[2] = .5));
        assertOnlyFailing("K=4: mean final accuracy", seeds -> {
            for (int i = 0; i < 5; i++) {
                seeds.get(i).accuracy.put(4, new double[] {.16, .52 + JITTER[i], .60 + JITTER[i], .70 + JITTER[i]});
            }
        });
        assertOnlyFailing(
                "K=4: final accuracy above raw-total-flop",
                s -> s.forEach(x -> x.baselines.put("raw-total-flop-match", .86)));
        assertOnlyFailing("K=4: final accuracy above raw-plus-teacher", seeds -> {
            double[] noisy = {.99, .50, .95, .60, .99}; // above in mean, but not by two errors
            for (int i = 0; i < 5; i++) {
                seeds.get(i).baselines.put("raw-plus-teacher", noisy[i]);
            }
        });
        assertOnlyFailing(
                "K=4: final accuracy above warm-step", s -> s.forEach(x -> x.baselines.put("warm-step-match", .90)));
        assertOnlyFailing("K=4: final ELBO_8", s -> s.get(3).nll = 0.99);
        assertOnlyFailing("K=1: final accuracy", s -> s.forEach(x -> x.accuracy.get(1)[3] = .45));
        assertOnlyFailing(
                "mean accuracy at iteration 1", s -> s.forEach(x -> x.accuracy.get(2)[1] = .20));
        assertOnlyFailing("oracle", s -> s.forEach(x -> x.baselines.put("oracle", .98)));
    }

    @Test
    void oneSeedThatFallsIsForgivenAndTwoAreNot() {
        assertThat(study(seeds -> seeds.get(0).accuracy.get(4)[2] = .1).passes())
                .isTrue();
        assertThat(study(seeds -> seeds.subList(0, 2).forEach(s -> s.accuracy.get(4)[2] = .1))
                        .passes())
                .isFalse();
    }

    @Test
    void whatIsMissingIsNotDecided() {
        ChainStudy withoutEight = study(seeds -> seeds.forEach(s -> s.accuracy.remove(8)));
        assertThat(withoutEight.criteria())
                .filteredOn(criterion -> criterion.verdict() == Verdict.NOT_DECIDED)
                .extracting(ChainStudy.Criterion::claim)
                .containsExactly("mean accuracy at iteration 1 ordered K = 1 < 2 < 4 < 8");
        assertThat(withoutEight.passes()).isFalse();
        ChainStudy oneSeed = new ChainStudy(List.of(ChainStudy.Run.of(4, new Made(0).json(0, 4))));
        assertThat(oneSeed.criteria()).allMatch(criterion -> criterion.verdict() == Verdict.NOT_DECIDED);
    }

    @Test
    void baselinesAreThoseOfTheRunWithFourSamples() {
        Made one = new Made(0);
        one.baselines.put("raw-total-flop-match", .5);
        ChainStudy study = new ChainStudy(
                List.of(ChainStudy.Run.of(1, one.json(0, 1)), ChainStudy.Run.of(4, new Made(0).json(0, 4))));
        assertThat(study.toMarkdown()).contains("| raw-total-flop-match | accuracy | 0.060 |");
    }

    @Test
    void tableShowsEverySeedAndTheirSummary() {
        String table = study(seeds -> {}).toMarkdown();
        assertThat(table)
                .startsWith("| arm | quantity | seed 0 | seed 1 | seed 2 | seed 3 | seed 4 | mean ± SE |")
                .contains("| K=4, iteration 3 | accuracy | 0.860 | 0.830 | 0.880 | 0.840 | 0.870 | 0.856 ± 0.009 |")
                .contains("| K=4, iteration 3 | ELBO_8 | -1.000 |")
                .contains("| raw-token-match | NLL | 5.600 |")
                .contains("| holds | +0.382 ± 0.019; higher in 5 of 5 seeds |");
    }

    @Test
    void jsonHoldsTheSame() {
        JsonNode json = JsonMapper.builder().build().readTree(study(seeds -> {}).toJson());
        assertThat(json.get("passes").asBoolean()).isTrue();
        assertThat(json.get("seeds").size()).isEqualTo(5);
        assertThat(json.get("criteria").get(0).get("verdict").asString()).isEqualTo("HOLDS");
        assertThat(json.get("rows").get(0).get("perSeed").size()).isEqualTo(5);
    }

    @Test
    void foreignOrDoubledReportsAreRefused() {
        assertThatThrownBy(() -> new ChainStudy(List.of(ChainStudy.Run.of(4, "{}"))))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessage("study: report has no 'seeds'; is it the object of em --json?");
        ChainStudy.Run run = ChainStudy.Run.of(4, new Made(0).json(0, 4));
        assertThatThrownBy(() -> new ChainStudy(List.of(run, run)))
                .hasMessage("study: seed 0 is there twice for K = 4; give each run once");
        assertThatThrownBy(() -> new ChainStudy(List.of())).hasMessageContaining("at least one report");
    }

    private static void assertOnlyFailing(String claim, Consumer<List<Made>> bend) {
        assertThat(study(bend).criteria())
                .filteredOn(criterion -> criterion.verdict() != Verdict.HOLDS)
                .as(claim)
                .singleElement()
                .satisfies(criterion -> {
                    assertThat(criterion.verdict()).isEqualTo(Verdict.FAILS);
                    assertThat(criterion.claim()).startsWith(claim);
                });
    }
}
