package subtext.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;
import subtext.model.Llama;
import subtext.model.LlamaConfig;
import subtext.model.PackedBatch;
import subtext.model.Parameters;
import subtext.random.Philox;
import subtext.testing.TestDevice;
import subtext.text.Tokens;

/**
 * A token's log-probability has one value, to the bit: by the sampler that drew it, by the scorer behind a shared prefix, and by the
 * training forward; alone or among others, however packed, on any number of threads. On every backend that is there; the emulator, some
 * thousand times slower than the CPU, compares fewer tokens.
 */
@ParameterizedClass
@MethodSource("subtext.testing.TestDevice#backends")
class ExactnessTest {
    private static final int STOP = 5;

    @Parameter
    Backend backend;

    /** What can be compared in seconds: {@code most}, on the emulator {@code emulated}. */
    private int within(int most, int emulated) {
        return backend == Backend.CUDA_EMULATED ? emulated : most;
    }

    @Test
    void samplerScorerAndTrainerAgreeToTheBit() {
        compareTokens(DType.F32, within(100_000, 1_500));
    }

    @Test
    void samplerScorerAndTrainerAgreeToTheBitInBf16() {
        compareTokens(DType.BF16, within(20_000, 1_500));
    }

    private void compareTokens(DType dtype, int wanted) {
        LlamaConfig config = TestDevice.tiny(true);
        int compared = 0;
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, dtype, Llama.Capacity.scoring(4096, 256), 11);
                Generator generator = new Generator(llama, new Generator.Limits(37, 14, 150, 200));
                Scorer scorer = new Scorer(llama, new Scorer.Limits(300, 23, 150))) {
            for (int round = 0; compared < wanted; round++) {
                List<Prompt> prompts = prompts(config, 20, 100 + round);
                List<List<Sample>> samples = generator.draw(prompts, Sampling.exact(STOP, 60));
                List<Scorer.Request> requests = new ArrayList<>();
                for (int i = 0; i < prompts.size(); i++) {
                    requests.add(new Scorer.Request(
                            prompts.get(i).tokens(),
                            samples.get(i).stream().map(Sample::tokens).toList()));
                }
                List<List<Score>> scores = scorer.score(requests);
                for (int i = 0; i < prompts.size(); i++) {
                    Tokens prompt = prompts.get(i).tokens();
                    List<PackedBatch.Sequence> sequences = new ArrayList<>();
                    for (Sample sample : samples.get(i)) {
                        sequences.add(PackedBatch.Sequence.next(Tokens.concat(prompt, sample.tokens())));
                    }
                    PackedBatch packed = PackedBatch.of(sequences);
                    double[] trained = packed.rows() == 0 ? new double[0] : llama.logProbs(packed);
                    for (int j = 0; j < samples.get(i).size(); j++) {
                        Sample sample = samples.get(i).get(j);
                        int from = packed.cuSeqlens()[j] + prompt.size() - 1;
                        double[] ofTrainer = Arrays.copyOfRange(
                                trained, from, from + sample.tokens().size());
                        assertThat(scores.get(i).get(j).logProbs())
                                .as("scorer, round %d, prompt %d", round, i)
                                .isEqualTo(sample.logProbs());
                        assertThat(ofTrainer)
                                .as("trainer, round %d, prompt %d", round, i)
                                .isEqualTo(sample.logProbs());
                        assertThat(scores.get(i).get(j).sum()).isEqualTo(sample.logQ());
                        compared += sample.tokens().size();
                    }
                }
            }
        }
        assertThat(compared).isGreaterThanOrEqualTo(wanted);
    }

    @Test
    void aSampleIsTheSameAloneAndInAnyCompany() {
        Sampling sampling = Sampling.exact(STOP, within(40, 20));
        LlamaConfig config = TestDevice.tiny(true);
        List<Prompt> prompts = prompts(config, 9, 7);
        List<List<Sample>> reference = null;
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.weights(), 12)) {
            // lanes, prompts, prefill rows, steps between looks
            for (int[] room :
                    new int[][] {{1, 1, 1, 1}, {2, 1, 7, 3}, {8, 3, 64, 8}, {64, 30, 500, 1}, {64, 30, 500, 16}}) {
                try (Generator generator =
                        new Generator(llama, new Generator.Limits(room[0], room[1], 150, room[2]), room[3])) {
                    List<List<Sample>> samples = generator.draw(prompts, sampling);
                    reference = reference == null ? samples : reference;
                    assertThat(samples).as("room %s", Arrays.toString(room)).isEqualTo(reference);
                    // in another order, some left out
                    List<Prompt> fewer = List.of(prompts.get(6), prompts.get(2));
                    assertThat(generator.draw(fewer, sampling)).isEqualTo(List.of(reference.get(6), reference.get(2)));
                }
            }
        }
        assertThat(reference.stream()
                        .flatMap(List::stream)
                        .filter(Sample::finished)
                        .count())
                .isPositive();
        assertThat(reference.stream()
                        .flatMap(List::stream)
                        .filter(s -> !s.finished())
                        .count())
                .isPositive();
    }

    /** Several tokens may end a sample: it is the one without a stop, cut off behind the first of them, however rarely the host looks. */
    @Test
    void aSampleEndsAtWhicheverStopTokenComesFirst() {
        LlamaConfig config = TestDevice.tiny(true);
        List<Prompt> prompts = prompts(config, 9, 7);
        Tokens stops = Tokens.of(STOP, STOP + 5, STOP + 11);
        int longest = within(40, 20);
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.weights(), 12)) {
            List<List<Sample>> expected;
            try (Generator generator = new Generator(llama, new Generator.Limits(8, 3, 150, 64))) {
                expected = generator.draw(prompts, Sampling.exact(Sampling.NO_STOP, longest)).stream()
                        .map(samples -> samples.stream()
                                .map(sample -> cut(sample, stops))
                                .toList())
                        .toList();
            }
            Map<Integer, Integer> ends = new HashMap<>();
            for (List<Sample> samples : expected) {
                for (Sample sample : samples) {
                    int last = sample.tokens().at(sample.tokens().size() - 1);
                    ends.merge(sample.finished() ? last : -1, 1, Integer::sum);
                }
            }
            assertThat(ends).as("how samples end").hasSize(stops.size() + 1);
            for (int steps : new int[] {1, 3, 16}) {
                try (Generator generator = new Generator(llama, new Generator.Limits(8, 3, 150, 64), steps)) {
                    Sampling sampling = new Sampling(1, 0, 1, stops, longest);
                    assertThat(generator.draw(prompts, sampling))
                            .as("%d steps", steps)
                            .isEqualTo(expected);
                    List<Integer> told = new ArrayList<>();
                    generator.draw(prompts.subList(0, 1), sampling, (prompt, sample, token) -> told.add(token));
                    assertThat(told)
                            .hasSize(expected.getFirst().stream()
                                    .mapToInt(sample -> sample.tokens().size())
                                    .sum());
                }
            }
        }
    }

    private static Sample cut(Sample sample, Tokens stops) {
        for (int i = 0; i < sample.tokens().size(); i++) {
            int token = sample.tokens().at(i);
            if (Arrays.stream(stops.toArray()).anyMatch(stop -> stop == token)) {
                return Sample.of(sample.tokens().slice(0, i + 1), Arrays.copyOf(sample.logProbs(), i + 1), true);
            }
        }
        return sample;
    }

    @Test
    void theSameKeyDrawsTheSameAndAnotherKeyAnother() {
        LlamaConfig config = TestDevice.tiny(true);
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.weights(), 12);
                Generator generator = new Generator(llama, new Generator.Limits(4, 2, 64, 64))) {
            List<Sample> samples = generator
                    .draw(List.of(new Prompt(Tokens.of(3, 1, 4), 5, 6, 5)), Sampling.exact(-1, 30))
                    .getFirst();
            assertThat(samples.get(0)).isEqualTo(samples.get(2));
            assertThat(samples.get(0).tokens()).isNotEqualTo(samples.get(1).tokens());
            assertThat(samples).allMatch(s -> s.tokens().size() == 30 && !s.finished());
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "BF16"})
    void aSequenceScoresTheSameAloneAndPackedWithOthers(DType dtype) {
        LlamaConfig config = TestDevice.tiny(false);
        List<Tokens> texts = new ArrayList<>();
        for (int i = 0; i < within(64, 16); i++) {
            texts.add(TestDevice.text(config, 2 + Philox.below(3, i, 130), Philox.key(4, i)));
        }
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, dtype, Llama.Capacity.scoring(64 * 132, 64), 13);
                Scorer scorer = new Scorer(llama, new Scorer.Limits(97, 5, 140))) {
            List<double[]> alone =
                    texts.stream().map(t -> llama.logProbs(packed(List.of(t)))).toList();
            for (int size : new int[] {2, 3, 7, 16, 33, 64}) {
                for (int from = 0; from + size <= texts.size(); from += size) {
                    PackedBatch batch = packed(texts.subList(from, from + size));
                    double[] together = llama.logProbs(batch);
                    for (int j = 0; j < size; j++) {
                        assertThat(Arrays.copyOfRange(together, batch.cuSeqlens()[j], batch.cuSeqlens()[j + 1]))
                                .as("sequence %d in a batch of %d", from + j, size)
                                .isEqualTo(alone.get(from + j));
                    }
                }
            }
            // behind a cache, cut anywhere, in rooms that force chunks
            for (int i = 0; i < texts.size(); i++) {
                Tokens text = texts.get(i);
                int cut = 1 + Philox.below(5, i, text.size() - 1);
                double[] cached = scorer.score(text.slice(0, cut), List.of(text.slice(cut, text.size())))
                        .getFirst()
                        .logProbs();
                assertThat(cached)
                        .as("sequence %d cut at %d", i, cut)
                        .isEqualTo(Arrays.copyOfRange(alone.get(i), cut - 1, text.size() - 1));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 4})
    void lossesDoNotDependOnThreads(int threads) {
        LlamaConfig config = TestDevice.tiny(true);
        PackedBatch batch = packed(
                List.of(TestDevice.text(config, 90, 1), TestDevice.text(config, 33, 2), TestDevice.text(config, 2, 3)));
        double[][] losses = new double[2][];
        double[][] gradients = new double[2][];
        for (int i = 0; i < 2; i++) {
            try (Device device = TestDevice.open(backend, i == 0 ? 1 : threads);
                    Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.training(128, 3), 14)) {
                losses[i] = llama.forwardBackwardRows(batch, 1);
                gradients[i] = device.downloadDoubles(llama.gradients().flat());
            }
        }
        assertThat(losses[1]).isEqualTo(losses[0]);
        assertThat(gradients[1]).isEqualTo(gradients[0]);
    }

    @Test
    void trainingStepsDoNotDependOnThreads() {
        int steps = within(200, 10);
        LlamaConfig config = TestDevice.tiny(true);
        float[][] weights = new float[3][];
        double[][] losses = new double[3][steps];
        int[] threads = {1, 2, 4};
        for (int i = 0; i < 3; i++) {
            Tensor[] moments = new Tensor[2];
            try (Device device = TestDevice.open(backend, threads[i]);
                    Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.training(128, 8), 16);
                    Slab slab = device.slab("moments", s -> {
                        moments[0] = Parameters.lay(s, "m", llama.table(), DType.F32);
                        moments[1] = Parameters.lay(s, "v", llama.table(), DType.F32);
                    })) {
                assertThat(slab.used()).isPositive();
                device.zero(moments[0]);
                device.zero(moments[1]);
                for (int step = 1; step <= steps; step++) {
                    PackedBatch batch = packed(List.of(
                            TestDevice.text(config, 2 + step % 60, step), TestDevice.text(config, 40, 1000 + step)));
                    llama.zeroGradients();
                    losses[i][step - 1] = llama.forwardBackward(batch, 1 / batch.weight());
                    device.kernels()
                            .adamw(
                                    llama.weights().flat(),
                                    llama.weights().flat(),
                                    moments[0],
                                    moments[1],
                                    llama.gradients().flat(),
                                    1,
                                    1e-3,
                                    0.9,
                                    0.95,
                                    1e-8,
                                    0.1,
                                    step);
                }
                weights[i] = llama.download();
            }
        }
        for (int i = 1; i < 3; i++) {
            assertThat(losses[i]).as("%d threads", threads[i]).isEqualTo(losses[0]);
            assertThat(weights[i]).as("%d threads", threads[i]).isEqualTo(weights[0]);
        }
    }

    /**
     * Ten thousand sequences, on the emulator one thousand: each alone, packed among all others of its round, behind a cached prefix of its
     * own, and behind one that it shares with its family.
     */
    @Test
    void thousandsOfSequencesScoreTheSameInAnyCompany() {
        LlamaConfig config = TestDevice.tiny(true);
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.scoring(70 * 68, 70), 17);
                Scorer scorer = new Scorer(llama, new Scorer.Limits(500, 40, 80))) {
            int wanted = within(10_000, 1_000);
            int longest = within(34, 18);
            int compared = 0;
            for (int round = 0; compared < wanted; round++) {
                List<Scorer.Request> families = new ArrayList<>();
                List<Scorer.Request> apart = new ArrayList<>();
                List<Tokens> texts = new ArrayList<>();
                int size = 2 + Philox.below(6, round, 63);
                while (texts.size() < size) {
                    long key = Philox.key(18, round, texts.size());
                    Tokens prefix = TestDevice.text(config, 1 + Philox.below(key, 0, longest), key);
                    List<Tokens> members = new ArrayList<>();
                    for (int member = Philox.below(key, 1, 6); member >= 0; member--) {
                        int length = 1 + Philox.below(key, 2 + member, longest);
                        Tokens continuation = TestDevice.text(config, length, Philox.key(key, member));
                        members.add(continuation);
                        apart.add(Scorer.Request.of(prefix, continuation));
                        texts.add(Tokens.concat(prefix, continuation));
                    }
                    families.add(new Scorer.Request(prefix, members));
                }
                PackedBatch batch = packed(texts);
                double[] together = llama.logProbs(batch);
                List<Score> cached =
                        scorer.score(apart).stream().map(List::getFirst).toList();
                List<Score> shared =
                        scorer.score(families).stream().flatMap(List::stream).toList();
                for (int i = 0; i < texts.size(); i++, compared++) {
                    double[] alone = llama.logProbs(packed(List.of(texts.get(i))));
                    double[] continued =
                            Arrays.copyOfRange(alone, apart.get(i).prefix().size() - 1, alone.length);
                    assertThat(Arrays.copyOfRange(together, batch.cuSeqlens()[i], batch.cuSeqlens()[i + 1]))
                            .as("packed, round %d, sequence %d", round, i)
                            .isEqualTo(alone);
                    assertThat(cached.get(i).logProbs())
                            .as("cached, round %d, sequence %d", round, i)
                            .isEqualTo(continued);
                    assertThat(shared.get(i).logProbs())
                            .as("behind a shared prefix, round %d, sequence %d", round, i)
                            .isEqualTo(continued);
                }
            }
            assertThat(compared).isGreaterThanOrEqualTo(wanted);
        }
    }

    @Test
    void trainingLossesAreMinusTheLogProbabilities() {
        LlamaConfig config = TestDevice.tiny(true);
        PackedBatch batch = packed(List.of(TestDevice.text(config, 90, 1), TestDevice.text(config, 33, 2)));
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.training(128, 3), 14)) {
            double[] losses = llama.forwardBackwardRows(batch, 0.25);
            double[] logProbs = llama.logProbs(batch);
            for (int n = 0; n < losses.length; n++) {
                assertThat(losses[n]).isEqualTo(-logProbs[n]);
            }
        }
    }

    @Test
    void aRequestOfMoreContinuationsThanSlotsIsCut() {
        LlamaConfig config = TestDevice.tiny(true);
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.weights(), 15);
                Scorer small = new Scorer(llama, new Scorer.Limits(16, 3, 40));
                Scorer large = new Scorer(llama, new Scorer.Limits(512, 64, 40))) {
            List<Tokens> continuations = new ArrayList<>();
            for (int i = 0; i < 11; i++) {
                continuations.add(TestDevice.text(config, i % 4 == 3 ? 0 : 3 * i, i));
            }
            List<Scorer.Request> requests = List.of(
                    new Scorer.Request(TestDevice.text(config, 20, 1), continuations),
                    new Scorer.Request(Tokens.of(7), List.of()),
                    new Scorer.Request(Tokens.of(7), continuations.subList(0, 3)));
            assertThat(small.score(requests)).isEqualTo(large.score(requests));
            assertThat(small.score(requests).get(0).get(3).logProbs()).isEmpty();
        }
    }

    /** Scoring while the prompt is in the cache gives what drawing and then scoring give, and computes what they share once. */
    @Test
    void drawingAndScoringTogetherIsDrawingThenScoring() {
        drawAndScore(DType.F32);
    }

    @Test
    void drawingAndScoringTogetherIsDrawingThenScoringInBf16() {
        drawAndScore(DType.BF16);
    }

    private void drawAndScore(DType dtype) {
        int count = within(13, 5);
        LlamaConfig config = TestDevice.tiny(true);
        Generator.Following following = (i, samples) -> behind(config, count, i, samples);
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, dtype, Llama.Capacity.weights(), 19);
                Scorer scorer = new Scorer(llama, new Scorer.Limits(300, 23, 150))) {
            List<Prompt> prompts = new ArrayList<>(prompts(config, count, 900));
            prompts.add(4, new Prompt(TestDevice.text(config, 9, 5))); // nothing is drawn, nothing asked
            Sampling sampling = Sampling.exact(STOP, 30);
            List<Generator.Scored> first = null;
            int[][] rooms = {{37, 14, 200, 37}, {5, 2, 7, 1}, {8, 3, 97, 3}};
            for (int[] room : Arrays.copyOf(rooms, within(3, 1))) {
                Generator.Limits limits = new Generator.Limits(room[0], room[1], 150, room[2], room[3]);
                try (Generator generator = new Generator(llama, limits)) {
                    List<List<Sample>> drawn = generator.draw(prompts, sampling);
                    long drawing = generator.computedTokens();
                    long shared = 0;
                    List<List<Score>> scores = new ArrayList<>();
                    long before = scorer.computedTokens();
                    for (int i = 0; i < prompts.size(); i++) {
                        if (drawn.get(i).isEmpty()) {
                            scores.add(List.of());
                            continue;
                        }
                        Scorer.Request request = behind(config, count, i, drawn.get(i));
                        shared += request.prefix().size() - 1;
                        scores.add(scorer.score(List.of(request)).getFirst());
                    }
                    long scoring = scorer.computedTokens() - before;
                    List<Generator.Scored> together = generator.drawAndScore(prompts, sampling, following);
                    for (int i = 0; i < prompts.size(); i++) {
                        assertThat(together.get(i).samples()).isEqualTo(drawn.get(i));
                        assertThat(together.get(i).scores()).isEqualTo(scores.get(i));
                    }
                    assertThat(generator.computedTokens() - drawing).isEqualTo(drawing + scoring - shared);
                    assertThat(first == null || first.equals(together)).isTrue();
                    first = together;
                }
            }
        }
    }

    /** Sequences that leave the prompt early, late or at its last token; behind them a sample, other text, or nothing. */
    private static Scorer.Request behind(LlamaConfig config, int count, int i, List<Sample> samples) {
        Tokens prompt = prompts(config, count, 900).get(i < 4 ? i : i - 1).tokens();
        Tokens text = TestDevice.text(config, 1 + i % 5, 40 + i);
        int shared = Philox.below(71, i, prompt.size());
        List<Tokens> continuations = new ArrayList<>();
        for (Sample sample : samples) {
            continuations.add(Tokens.concat(sample.tokens(), text));
        }
        continuations.add(Tokens.EMPTY);
        return new Scorer.Request(Tokens.concat(prompt.slice(0, shared), text.slice(0, 1)), continuations);
    }

    @Test
    void whatIsScoredMustBeginAsThePromptDoes() {
        LlamaConfig config = TestDevice.tiny(true);
        List<Prompt> prompts = prompts(config, 2, 3);
        Sampling sampling = Sampling.exact(STOP, 3);
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.weights(), 19);
                Generator generator = new Generator(llama, new Generator.Limits(4, 2, 150, 50, 2));
                Generator without = new Generator(llama, new Generator.Limits(4, 2, 150, 50))) {
            Tokens other = Tokens.of((prompts.getFirst().tokens().at(0) + 1) % config.vocabulary(), 1);
            assertThatThrownBy(() -> generator.drawAndScore(
                            prompts, sampling, (i, s) -> new Scorer.Request(other, List.of(Tokens.of(1)))))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("begin prompt");
            Tokens longer = TestDevice.text(config, 151, 1);
            assertThatThrownBy(() -> generator.drawAndScore(
                            prompts, sampling, (i, s) -> new Scorer.Request(Tokens.of(1), List.of(longer))))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining("capacity");
            assertThatThrownBy(() -> without.drawAndScore(
                            prompts, sampling, (i, s) -> new Scorer.Request(Tokens.of(1), List.of())))
                    .isInstanceOf(IllegalStateException.class);
            // what was refused leaves the generator as it was
            assertThat(generator.draw(prompts, sampling)).isEqualTo(without.draw(prompts, sampling));
        }
    }

    private static PackedBatch packed(List<Tokens> texts) {
        return PackedBatch.of(texts.stream().map(PackedBatch.Sequence::next).toList());
    }

    /** Prompts of 1 to 100 tokens, each with 1 to 6 samples. */
    private static List<Prompt> prompts(LlamaConfig config, int count, long seed) {
        List<Prompt> prompts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            long key = Philox.key(seed, i);
            Tokens text = TestDevice.text(config, i == 0 ? 1 : 1 + Philox.below(key, 1, 100), key);
            long[] keys = new long[1 + Philox.below(key, 2, 6)];
            for (int j = 0; j < keys.length; j++) {
                keys[j] = Philox.key(key, j);
            }
            prompts.add(new Prompt(text, keys));
        }
        return prompts;
    }
}
