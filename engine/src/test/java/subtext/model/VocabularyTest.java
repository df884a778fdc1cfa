package subtext.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.testing.TestDevice;

/** New ids leave every old weight as it was, and their rows are noise of the right size. */
class VocabularyTest {
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void oldWeightsStayAndNewRowsAreNoise(boolean tied) throws IOException {
        LlamaConfig from = TestDevice.tiny(tied);
        LlamaConfig to = from.withVocabulary(from.vocabulary() + 70); // beyond the padding
        float[] flat = Initialisation.weights(ParameterTable.of(from), 5);
        float[] grown = grow(from, flat, to, 9);
        Map<String, ParameterTable.Slice> old = new HashMap<>();
        ParameterTable.of(from).slices().forEach(slice -> old.put(slice.name(), slice));
        for (ParameterTable.Slice slice : ParameterTable.of(to).slices()) {
            ParameterTable.Slice source = old.get(slice.name());
            for (int i = 0; i < source.size(); i++) {
                assertThat(grown[(int) slice.offset() + i]).isEqualTo(flat[(int) source.offset() + i]);
            }
            double squares = 0;
            for (long i = source.size(); i < slice.size(); i++) {
                squares += Math.pow(grown[(int) (slice.offset() + i)], 2);
            }
            long added = slice.size() - source.size();
            if (added > 0) {
                // variance 1 / C; its estimate from n draws has a relative standard error of sqrt(2 / n)
                assertThat(squares / added * to.width())
                        .isBetween(1 - 5 * Math.sqrt(2.0 / added), 1 + 5 * Math.sqrt(2.0 / added));
            }
        }
        assertThat(grow(from, flat, to, 9)).isEqualTo(grown);
        assertThat(grow(from, flat, to, 10)).isNotEqualTo(grown);
        WeightPieces same = WeightPieces.of(flat);
        assertThat(Vocabulary.grow(from, same, from, 1)).isSameAs(same);
        assertThatThrownBy(() -> grow(to, grown, from, 1)).hasMessageContaining("shrink");
        // the borders of the pieces that come make no difference, whatever they cut through
        for (int size : new int[] {1, 7, 97, 257, 4096}) {
            WeightPieces cut = sink -> {
                for (int at = 0; at < flat.length; at += size) {
                    sink.accept(at, Arrays.copyOfRange(flat, at, Math.min(at + size, flat.length)));
                }
            };
            assertThat(Vocabulary.grow(from, cut, to, 9).flat(ParameterTable.of(to)))
                    .isEqualTo(grown);
        }
    }

    private static float[] grow(LlamaConfig from, float[] flat, LlamaConfig to, long key) throws IOException {
        return Vocabulary.grow(from, WeightPieces.of(flat), to, key).flat(ParameterTable.of(to));
    }
}
