package subtext.generate;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.random.Philox;
import subtext.testing.TestDevice;
import subtext.text.Tokens;

/**
 * Draws follow the law they claim: every continuation of up to three tokens over a vocabulary of five is enumerated, its probability added
 * up exactly, and frequencies are compared by chi-square. On every backend that is there: {@code -Dsubtext.test.draws}, 60,000 unless told,
 * and 1,000 on the emulator.
 */
@ParameterizedClass
@MethodSource("subtext.testing.TestDevice#backends")
class SamplingLawTest {
    private static final int DRAWS = Integer.getInteger("subtext.test.draws", 60_000);
    private static final int EMULATED_DRAWS = 1_000;
    private static final int STOP = 2;
    private static final int LONGEST = 3;
    private static final LlamaConfig CONFIG = new LlamaConfig(1, 16, 2, 1, 8, 24, 5, 16, 10_000, 1e-5, true);

    @Parameter
    Backend backend;

    @ParameterizedTest
    @CsvSource({"1, 0, 1, 1", "1, 0, 1, 2", "0.7, 0, 1, 3", "1.5, 3, 1, 4", "1, 0, 0.8, 5"})
    void frequenciesFollowTheEnumeratedLaw(double temperature, int topK, double topP, long seed) {
        Sampling sampling = new Sampling(temperature, topK, topP, STOP, LONGEST);
        Tokens prompt = Tokens.of(0, 3, 1);
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, CONFIG, DType.F32, Llama.Capacity.scoring(4096, 1024), 21);
                Generator generator = new Generator(llama, new Generator.Limits(256, 8, 8, 64));
                Scorer scorer = new Scorer(llama, new Scorer.Limits(512, 256, 8))) {
            Map<Tokens, Double> law = enumerate(scorer, prompt, sampling);
            assertThat(law.values().stream().mapToDouble(p -> p).sum()).isBetween(1 - 1e-5, 1 + 1e-5);

            Map<Tokens, Integer> counts = new HashMap<>();
            int draws = backend == Backend.CUDA_EMULATED ? EMULATED_DRAWS : DRAWS;
            int perPrompt = 500;
            List<Prompt> prompts = new ArrayList<>();
            for (int i = 0; i < draws / perPrompt; i++) {
                long[] keys = new long[perPrompt];
                for (int j = 0; j < perPrompt; j++) {
                    keys[j] = Philox.key(seed, i, j);
                }
                prompts.add(new Prompt(prompt, keys));
            }
            double worst = 0;
            int total = 0;
            for (List<Sample> samples : generator.draw(prompts, sampling)) {
                for (Sample sample : samples) {
                    counts.merge(sample.tokens(), 1, Integer::sum);
                    assertThat(law).containsKey(sample.tokens());
                    worst = Math.max(worst, Math.abs(sample.logQ() - Math.log(law.get(sample.tokens()))));
                    total++;
                }
            }
            // log q is that of the law drawn from, temperature and truncation included
            assertThat(worst).isLessThan(1e-4);
            assertThat(pValue(law, counts, total)).as("chi-square").isGreaterThan(1e-4);
        }
    }

    /** Every continuation that stops or is cut off, with its probability in double precision from the logits' log-probabilities. */
    private static Map<Tokens, Double> enumerate(Scorer scorer, Tokens prompt, Sampling sampling) {
        Map<Tokens, Double> law = new HashMap<>();
        Map<Tokens, Double> open = Map.of(Tokens.EMPTY, 1.0);
        for (int t = 0; t < LONGEST; t++) {
            Map<Tokens, Double> next = new HashMap<>();
            for (Map.Entry<Tokens, Double> prefix : open.entrySet()) {
                List<Tokens> choices = new ArrayList<>();
                for (int v = 0; v < CONFIG.vocabulary(); v++) {
                    choices.add(Tokens.of(v));
                }
                double[] logProb = scorer.score(Tokens.concat(prompt, prefix.getKey()), choices).stream()
                        .mapToDouble(Score::sum)
                        .toArray();
                double[] p = tempered(logProb, sampling);
                for (int v = 0; v < p.length; v++) {
                    if (p[v] > 0) {
                        Tokens longer = Tokens.concat(prefix.getKey(), Tokens.of(v));
                        (v == STOP || t == LONGEST - 1 ? law : next).put(longer, prefix.getValue() * p[v]);
                    }
                }
            }
            open = next;
        }
        return law;
    }

    private static double[] tempered(double[] logProb, Sampling sampling) {
        int n = logProb.length;
        double[] p = new double[n];
        double sum = 0;
        for (int v = 0; v < n; v++) {
            p[v] = Math.exp(logProb[v] / sampling.temperature());
            sum += p[v];
        }
        List<Integer> order = new ArrayList<>();
        for (int v = 0; v < n; v++) {
            p[v] /= sum;
            order.add(v);
        }
        order.sort((a, b) -> p[a] != p[b] ? Double.compare(p[b], p[a]) : a - b);
        int most = sampling.topK() == 0 ? n : sampling.topK();
        double within = 0;
        for (int v : order.subList(0, most)) {
            within += p[v];
        }
        double kept = 0;
        int keep = 0;
        while (keep < most && (keep == 0 || kept < sampling.topP() * within)) {
            kept += p[order.get(keep++)];
        }
        for (int i = 0; i < n; i++) {
            p[order.get(i)] = i < keep ? p[order.get(i)] / kept : 0;
        }
        return p;
    }

    /** Upper tail of chi-square by Wilson and Hilferty's cube root, cells of expectation below 5 pooled. */
    private static double pValue(Map<Tokens, Double> law, Map<Tokens, Integer> counts, int draws) {
        double chi = 0;
        double pooledExpected = 0;
        double pooledSeen = 0;
        int cells = 0;
        for (Map.Entry<Tokens, Double> entry : law.entrySet()) {
            double expected = entry.getValue() * draws;
            double seen = counts.getOrDefault(entry.getKey(), 0);
            if (expected < 5) {
                pooledExpected += expected;
                pooledSeen += seen;
            } else {
                chi += (seen - expected) * (seen - expected) / expected;
                cells++;
            }
        }
        if (pooledExpected > 1) {
            chi += (pooledSeen - pooledExpected) * (pooledSeen - pooledExpected) / pooledExpected;
            cells++;
        }
        double df = cells - 1;
        double z = (Math.cbrt(chi / df) - (1 - 2 / (9 * df))) / Math.sqrt(2 / (9 * df));
        // normal tail, Abramowitz & Stegun 26.2.17, error below 1e-7
        double t = 1 / (1 + 0.2316419 * Math.abs(z));
        double tail = Math.exp(-z * z / 2)
                / Math.sqrt(2 * Math.PI)
                * t
                * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
        return z > 0 ? tail : 1 - tail;
    }
}
