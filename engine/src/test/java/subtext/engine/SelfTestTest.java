package subtext.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import subtext.bindings.Backend;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.engine.SelfTest.Check;
import subtext.testing.TestDevice;

/** The look at the kernels before a run: it passes here, in under a second, and would not with any one result wrong. */
class SelfTestTest {
    @Test
    void itPassesInUnderASecond() {
        try (Device device = Device.open(Backend.CPU)) {
            double fastest = Double.POSITIVE_INFINITY;
            for (int i = 0; i < 5; i++) { // other work may be in the way of some
                long from = System.nanoTime();
                assertThat(SelfTest.run(device))
                        .allSatisfy(check -> assertThat(check.passed())
                                .as(check.name() + ": " + check.detail())
                                .isTrue());
                fastest = Math.min(fastest, (System.nanoTime() - from) * 1e-9);
            }
            System.out.printf("self-test of the CPU's kernels: %.3f s%n", fastest);
            assertThat(fastest).isLessThan(1);
            SelfTest.require(device);
        }
    }

    /** On the emulator and a GPU too, where they are. */
    @ParameterizedTest
    @MethodSource("subtext.testing.TestDevice#backends")
    void itPassesOnEveryBackend(Backend backend) {
        try (Device device = TestDevice.open(backend)) {
            SelfTest.require(device);
        }
    }

    /** As a broken kernel would give it: one element of one result is wrong by a hundredth. */
    @Test
    void everyWrongResultIsFoundByItsCheck() {
        try (Device device = Device.open(Backend.CPU)) {
            int[] count = {0};
            SelfTest.run(device, values -> {
                count[0]++;
                return values;
            });
            assertThat(count[0]).as("results that are looked at").isGreaterThan(35);
            List<String> found = new ArrayList<>();
            for (int wrong = 0; wrong < count[0]; wrong++) {
                int[] left = {wrong};
                List<Check> checks = SelfTest.run(device, values -> {
                    if (left[0]-- == 0) {
                        int at = values.length / 2;
                        values[at] += 0.01f + 0.01f * Math.abs(values[at]);
                    }
                    return values;
                });
                List<Check> failed =
                        checks.stream().filter(check -> !check.passed()).toList();
                assertThat(failed).as("result %d of %d", wrong, count[0]).hasSize(1);
                found.add(failed.getFirst().name());
                assertThatThrownBy(() -> SelfTest.require(device, checks))
                        .isInstanceOf(EngineException.BackendUnavailable.class)
                        .hasMessageStartingWith("self-test: ")
                        .hasMessageContaining(failed.getFirst().name())
                        .hasMessageContaining("subtext doctor");
            }
            assertThat(found.stream().distinct().count())
                    .as("every check finds something")
                    .isEqualTo(SelfTest.run(device).size());
        }
    }
}
