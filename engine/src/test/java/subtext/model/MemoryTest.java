package subtext.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.generate.Generator;
import subtext.generate.Prompt;
import subtext.generate.Sampling;
import subtext.generate.Scorer;
import subtext.random.Philox;
import subtext.testing.TestDevice;
import subtext.text.Tokens;

/** What is allocated, when, and that it is given back. */
@ParameterizedClass
@MethodSource("subtext.testing.TestDevice#backends")
class MemoryTest {
    @Parameter
    Backend backend;

    @Test
    void stepsDrawsAndScoresAllocateNothing() {
        LlamaConfig config = TestDevice.tiny(true);
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.training(200, 8), 1);
                Generator generator = new Generator(llama, new Generator.Limits(8, 4, 64, 64));
                Scorer scorer = new Scorer(llama, new Scorer.Limits(64, 8, 64))) {
            long before = -1;
            for (int step = 0; step < 10; step++) {
                List<PackedBatch.Sequence> sequences = new ArrayList<>();
                for (int s = 0; s <= step % 7; s++) {
                    sequences.add(PackedBatch.Sequence.next(
                            TestDevice.text(config, 2 + Philox.below(step, s, 20), Philox.key(step, s))));
                }
                llama.forwardBackward(PackedBatch.of(sequences), 1);
                llama.logProbs(PackedBatch.of(sequences));
                Tokens prompt = TestDevice.text(config, 3 + step, step);
                generator.draw(List.of(new Prompt(prompt, 1, 2, 3)), Sampling.exact(4, 10 + step));
                scorer.score(prompt, List.of(prompt, prompt));
                if (step == 0) {
                    before = device.allocations();
                }
            }
            assertThat(device.allocations()).isEqualTo(before);
        }
    }

    /** What is stated before opening is what is then allocated, in every family, to the byte. */
    @Test
    void memoryIsKnownBeforeItIsTaken() {
        try (Device device = TestDevice.open(backend)) {
            for (Family family : Family.values()) {
                LlamaConfig tiny = TestDevice.tiny(false);
                LlamaConfig config = new LlamaConfig(
                        tiny.layers(),
                        tiny.width(),
                        tiny.heads(),
                        tiny.kvHeads(),
                        tiny.headDim(),
                        tiny.hidden(),
                        tiny.vocabulary(),
                        tiny.context(),
                        tiny.ropeTheta(),
                        tiny.normEps(),
                        tiny.tied(),
                        tiny.ropeScaling(),
                        family,
                        0);
                for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
                    for (Llama.Capacity capacity : new Llama.Capacity[] {
                        Llama.Capacity.weights(),
                        Llama.Capacity.scoring(50, 3),
                        Llama.Capacity.training(200, 8),
                        Llama.Capacity.training(200, 8).withRecompute()
                    }) {
                        long before = device.allocatedBytes();
                        Llama.Memory memory = Llama.measure(device, config, dtype, capacity);
                        assertThat(device.allocatedBytes()).isEqualTo(before);
                        try (Llama llama = Llama.open(device, config, dtype, capacity)) {
                            // a slab of nothing still has an address
                            assertThat(device.allocatedBytes() - before)
                                    .as("%s %s", llama.config().family(), capacity)
                                    .isBetween(memory.bytes(), memory.bytes() + 256);
                        }
                    }
                }
            }
        }
    }

    @Test
    void aDeviceThatCountsSaysWhatAModelTakes() {
        for (boolean tied : new boolean[] {true, false}) {
            for (DType type : new DType[] {DType.F32, DType.BF16}) {
                LlamaConfig config = TestDevice.tiny(tied);
                long taken;
                long planned;
                try (Device device = TestDevice.open(backend)) {
                    long before = device.allocatedBytes();
                    try (Llama llama = Llama.open(device, config, type, Llama.Capacity.training(200, 8));
                            Generator generator = new Generator(llama, new Generator.Limits(8, 4, 64, 64));
                            Scorer scorer = new Scorer(llama, new Scorer.Limits(64, 8, 64))) {
                        taken = device.allocatedBytes() - before;
                        assertThat(scorer.limits().rows()).isEqualTo(64);
                        assertThat(generator.limits().lanes()).isEqualTo(8);
                    }
                }
                try (Device device = Device.planning(backend, TestDevice.options(backend))) {
                    long free = device.info().freeBytes();
                    Llama llama = Llama.open(device, config, type, Llama.Capacity.training(200, 8));
                    new Generator(llama, new Generator.Limits(8, 4, 64, 64));
                    new Scorer(llama, new Scorer.Limits(64, 8, 64));
                    planned = device.allocatedBytes();
                    assertThat(free).isGreaterThan(planned);
                    assertThat(device.allocations()).isZero();
                }
                assertThat(planned).isEqualTo(taken);
            }
        }
    }

    @Test
    void openingAndClosingTwoHundredTimesGivesEverythingBack() {
        LlamaConfig config = TestDevice.tiny(false);
        try (Device device = TestDevice.open(backend)) {
            for (int i = 0; i < 200; i++) {
                try (Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.training(64, 8), 1);
                        Generator generator = new Generator(llama, new Generator.Limits(4, 2, 32, 16));
                        Scorer scorer = new Scorer(llama, new Scorer.Limits(16, 4, 32))) {
                    if (i % 50 == 0) {
                        Tokens prompt = Tokens.of(1, 2, 3);
                        assertThat(generator.draw(List.of(new Prompt(prompt, i)), Sampling.exact(-1, 4)))
                                .hasSize(1);
                        assertThat(scorer.score(prompt, List.of(prompt))).hasSize(1);
                    }
                }
                assertThat(device.allocatedBytes()).isZero();
            }
        }
    }

    @Test
    void closingTwiceDoesNothingAndUseAfterCloseIsRefused() {
        LlamaConfig config = TestDevice.tiny(true);
        PackedBatch batch = PackedBatch.of(List.of(PackedBatch.Sequence.next(Tokens.of(1, 2, 3))));
        try (Device device = TestDevice.open(backend)) {
            Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.scoring(8, 2), 1);
            Generator generator = new Generator(llama, new Generator.Limits(1, 1, 8, 8));
            generator.close();
            generator.close();
            assertThatThrownBy(() -> generator.draw(List.of(new Prompt(Tokens.of(1), 0)), Sampling.exact(-1, 2)))
                    .isInstanceOf(IllegalStateException.class);
            llama.close();
            llama.close();
            assertThatThrownBy(() -> llama.logProbs(batch)).isInstanceOf(IllegalStateException.class);
        }
    }

    @Test
    void whatExceedsTheRoomIsRefusedByName() {
        LlamaConfig config = TestDevice.tiny(true);
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.scoring(8, 2), 1);
                Generator generator = new Generator(llama, new Generator.Limits(1, 1, 8, 8));
                Scorer scorer = new Scorer(llama, new Scorer.Limits(8, 2, 8))) {
            PackedBatch.Sequence five = PackedBatch.Sequence.next(Tokens.of(1, 2, 3, 4, 5, 6));
            assertThatThrownBy(() -> llama.logProbs(PackedBatch.of(List.of(five, five))))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining("10 rows")
                    .hasMessageContaining("8 rows");
            assertThatThrownBy(
                            () -> llama.logProbs(PackedBatch.of(List.of(PackedBatch.Sequence.next(Tokens.of(1, 97))))))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining("97");
            assertThatThrownBy(() -> llama.forwardBackward(PackedBatch.of(List.of(five)), 1))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("gradients");
            assertThatThrownBy(() -> generator.draw(List.of(new Prompt(Tokens.of(1), 0)), Sampling.exact(-1, 9)))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining("maxTokens");
            assertThatThrownBy(() -> generator.draw(
                            List.of(new Prompt(TestDevice.text(config, 10, 1), 0)), Sampling.exact(-1, 2)))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining("prompt 0");
            assertThatThrownBy(() -> generator.draw(List.of(new Prompt(Tokens.of(-1), 0)), Sampling.exact(-1, 2)))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining("-1");
            assertThatThrownBy(() -> scorer.score(Tokens.of(1), List.of(TestDevice.text(config, 9, 1))))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining("capacity");
            assertThatThrownBy(() -> new Sampling(-1, 0, 1, -1, 4))
                    .isInstanceOf(EngineException.InvalidConfig.class)
                    .hasMessageContaining("temperature");
            assertThatThrownBy(() -> new LlamaConfig(1, 8, 3, 2, 4, 8, 10, 16, 10_000, 1e-5, true))
                    .isInstanceOf(EngineException.InvalidConfig.class)
                    .hasMessageContaining("kvHeads");
        }
    }

    @Test
    void theWrongThreadIsRefused() throws InterruptedException {
        LlamaConfig config = TestDevice.tiny(true);
        try (Device device = TestDevice.open(backend);
                Llama llama = TestDevice.model(device, config, DType.F32, Llama.Capacity.scoring(8, 2), 1)) {
            Throwable[] thrown = new Throwable[1];
            Thread thread = new Thread(() -> {
                try {
                    llama.logProbs(PackedBatch.of(List.of(PackedBatch.Sequence.next(Tokens.of(1, 2)))));
                } catch (RuntimeException e) {
                    thrown[0] = e;
                }
            });
            thread.start();
            thread.join();
            assertThat(thrown[0]).isInstanceOf(WrongThreadException.class);
        }
    }

    @Test
    void f64IsRefusedWhereItIsNotComputed() {
        Assumptions.assumeTrue(backend != Backend.CPU, "the CPU computes f64");
        try (Device device = TestDevice.open(backend)) {
            assertThatThrownBy(() -> TestDevice.model(
                                    device, TestDevice.tiny(true), DType.F64, Llama.Capacity.scoring(8, 2), 1)
                            .logProbs(PackedBatch.of(List.of(PackedBatch.Sequence.next(Tokens.of(1, 2))))))
                    .isInstanceOf(EngineException.class);
        }
    }
}
