package subtext.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.text.Tokens;

/** Sizes, places of parameters, initial values and packed batches: what is decided on the host. */
class LlamaConfigTest {
    private static final LlamaConfig STORIES = new LlamaConfig(5, 64, 8, 4, 8, 172, 512, 512, 10_000, 1e-5, true);

    @Test
    void stories260KHasItsParameters() {
        assertThat(STORIES.parameters()).isEqualTo(260_032);
        long sum = ParameterTable.of(STORIES).slices().stream()
                .mapToLong(ParameterTable.Slice::size)
                .sum();
        assertThat(sum).isEqualTo(STORIES.parameters());
        // two operations for each weight of a matrix, and attention over 100 keys
        assertThat(STORIES.forwardFlops(100)).isEqualTo(2.0 * (260_032 - 11 * 64) + 4.0 * 5 * 64 * 100);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void parametersLieApartMatricesFirst(boolean tied) {
        LlamaConfig config = new LlamaConfig(3, 20, 2, 1, 6, 7, 97, 64, 10_000, 1e-5, tied);
        ParameterTable table = ParameterTable.of(config);
        long end = 0;
        for (ParameterTable.Entry entry : table.entries()) {
            assertThat(entry.offset()).as(entry.name()).isGreaterThanOrEqualTo(end);
            assertThat(entry.offset() % ParameterTable.ALIGNMENT).isZero();
            assertThat(entry.kind() == ParameterTable.Kind.MATRIX).isEqualTo(entry.offset() < table.decayed());
            end = entry.offset() + entry.shape().size();
        }
        assertThat(table.size()).isGreaterThanOrEqualTo(end);
        // slices cover disjoint elements, all of the parameters but padding rows
        boolean[] covered = new boolean[(int) table.size()];
        for (ParameterTable.Slice slice : table.slices()) {
            for (long i = slice.offset(); i < slice.offset() + slice.size(); i++) {
                assertThat(covered[(int) i]).isFalse();
                covered[(int) i] = true;
            }
        }
        int count = 0;
        for (boolean c : covered) {
            count += c ? 1 : 0;
        }
        assertThat(count).isEqualTo((int) config.parameters());
    }

    @Test
    void initialValuesAreAFunctionOfTheSeedWithTheDeclaredSpread() {
        LlamaConfig config = LlamaConfig.small(3, 128, 4, 30, 64);
        ParameterTable table = ParameterTable.of(config);
        float[] values = Initialisation.weights(table, 1);
        assertThat(Initialisation.weights(table, 1)).isEqualTo(values);
        assertThat(Initialisation.weights(table, 2)).isNotEqualTo(values);
        for (ParameterTable.Entry entry : table.entries()) {
            int rows =
                    entry.name().equals("embedding") ? 30 : (int) entry.shape().dim(0);
            int n = entry.kind() == ParameterTable.Kind.NORM
                    ? 128
                    : rows * (int) entry.shape().last();
            double sum = 0;
            double squares = 0;
            double largest = 0;
            for (int i = 0; i < n; i++) {
                double x = values[(int) entry.offset() + i];
                sum += x;
                squares += x * x;
                largest = Math.max(largest, Math.abs(x));
            }
            if (entry.kind() == ParameterTable.Kind.NORM) {
                assertThat(sum).isEqualTo(128);
            } else {
                // six standard errors; cutting at three of them takes 1.4 % off the spread
                assertThat(sum / n).as(entry.name()).isCloseTo(0, within(6 * entry.std() / Math.sqrt(n)));
                assertThat(Math.sqrt(squares / n) / entry.std())
                        .as(entry.name())
                        .isCloseTo(0.9933, within(6 / Math.sqrt(2.0 * n)));
                assertThat(largest).isLessThanOrEqualTo(3.001 * entry.std());
            }
            for (long i = entry.offset() + n; i < entry.offset() + entry.shape().size(); i++) {
                assertThat(values[(int) i]).isZero();
            }
        }
    }

    @Test
    void llama3ScalingBlendsBetweenItsTwoBounds() {
        RopeScaling scaling = new RopeScaling.Llama3(8, 1, 4, 8192);
        assertThat(scaling.scale(1)).isEqualTo(1); // a wavelength of 6 positions is kept
        assertThat(scaling.scale(1e-4)).isEqualTo(1e-4 / 8); // one of 63,000 is stretched
        double middle =
                2 * Math.PI / 4096; // half way: original context / wavelength = 2, a third of the way from 1 to 4
        assertThat(scaling.scale(middle)).isCloseTo(middle * (2.0 / 3 / 8 + 1.0 / 3), within(1e-15));
        assertThat(new RopeScaling.Linear(4).scale(2)).isEqualTo(0.5);
    }

    @Test
    void batchesArePackedWithoutPadding() {
        PackedBatch batch = PackedBatch.of(List.of(
                PackedBatch.Sequence.next(Tokens.of(5, 6, 7)),
                PackedBatch.Sequence.next(Tokens.of(9)),
                PackedBatch.Sequence.next(Tokens.of(6, 5, 6, 8), new float[] {9, 0, 0.5f, 2})));
        assertThat(batch.tokens()).containsExactly(5, 6, 6, 5, 6);
        assertThat(batch.targets()).containsExactly(6, 7, -1, 6, 8);
        assertThat(batch.positions()).containsExactly(0, 1, 0, 1, 2);
        assertThat(batch.cuSeqlens()).containsExactly(0, 2, 2, 5);
        assertThat(batch.weights()).containsExactly(1, 1, 0, 0.5f, 2);
        assertThat(batch.weight()).isEqualTo(4.5);
        assertThat(batch.longest()).isEqualTo(3);
        assertThat(batch.order()).containsExactly(0, 3, 1, 2, 4);
        assertThat(batch.rows()).isEqualTo(5);
        assertThat(batch.sequences()).isEqualTo(3);
        assertThat(PackedBatch.of(List.of()).rows()).isZero();
        assertThat(Arrays.stream(batch.order()).sorted()).containsExactly(0, 1, 2, 3, 4);
    }
}
