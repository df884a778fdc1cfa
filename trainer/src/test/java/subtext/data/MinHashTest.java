package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import subtext.random.Draws;

class MinHashTest {
    /** Two texts of which {@code changed} words in a row differ, and the true similarity of their runs. */
    private record Pair(long[] a, long[] b, double similarity) {
        static Pair of(Draws draws, int words, int changed) {
            long[] a = new long[words];
            Arrays.setAll(a, i -> Words.mix(draws.below(1 << 30)));
            long[] b = a.clone();
            for (int i = 0; i < changed; i++) {
                b[i] = Words.mix(draws.below(1 << 30));
            }
            Set<Long> both = new HashSet<>();
            Set<Long> left = new HashSet<>();
            Arrays.stream(Words.grams(a, MinHash.SHINGLE)).forEach(left::add);
            Set<Long> right = new HashSet<>();
            Arrays.stream(Words.grams(b, MinHash.SHINGLE)).forEach(right::add);
            both.addAll(left);
            both.retainAll(right);
            return new Pair(a, b, (double) both.size() / (left.size() + right.size() - both.size()));
        }
    }

    @ParameterizedTest
    @CsvSource({"97,0", "257,20", "257,60", "400,150", "300,295"})
    void theShareOfEqualMinimaIsTheSimilarity(int words, int changed) {
        Draws draws = new Draws(7);
        double estimated = 0;
        double similarity = 0;
        int pairs = 200;
        for (int p = 0; p < pairs; p++) {
            Pair pair = Pair.of(draws, words, changed);
            int[] a = MinHash.signature(pair.a());
            int[] b = MinHash.signature(pair.b());
            for (int i = 0; i < MinHash.HASHES; i++) {
                estimated += a[i] == b[i] ? 1 : 0;
            }
            similarity += pair.similarity();
        }
        // hashes of one pair are not quite independent: three times the error of as many independent ones, at most .01
        assertThat(estimated / pairs / MinHash.HASHES).isCloseTo(similarity / pairs, within(0.01));
    }

    /** The chance of a key in common is the one that the class states. */
    @ParameterizedTest
    @CsvSource({"300,30", "300,45", "300,75"})
    void textsShareAKeyAsOftenAsStated(int words, int changed) {
        Draws draws = new Draws(11);
        double expected = 0;
        int found = 0;
        int pairs = 600;
        for (int p = 0; p < pairs; p++) {
            Pair pair = Pair.of(draws, words, changed);
            expected += 1 - Math.pow(1 - Math.pow(pair.similarity(), MinHash.ROWS), MinHash.BANDS);
            Set<Long> keys = new HashSet<>();
            Arrays.stream(MinHash.keys(pair.a())).forEach(keys::add);
            found += Arrays.stream(MinHash.keys(pair.b())).anyMatch(keys::contains) ? 1 : 0;
        }
        expected /= pairs;
        double error = 4 * Math.sqrt(expected * (1 - expected) / pairs) + 0.01;
        assertThat((double) found / pairs).isCloseTo(expected, within(error));
    }

    @Test
    void wordsAreWhatStandsBetweenSpacesAndMarks() {
        assertThat(Words.of("Hello, World!")).isEqualTo(Words.of("  hello\n(WORLD) "));
        assertThat(Words.of("a b")).isNotEqualTo(Words.of("ab"));
        assertThat(Words.of("数学很好")).hasSize(4);
        assertThat(Words.of("x数y")).hasSize(3);
        assertThat(Words.of("")).isEmpty();
        assertThat(Words.of("...")).isEmpty();
        assertThat(MinHash.keys(Words.of("..."))).isEmpty();
        assertThat(MinHash.keys(Words.of("one two"))).isEqualTo(MinHash.keys(Words.of("One, two.")));
    }

    @Test
    void runsAreRolledExactly() {
        Draws draws = new Draws(3);
        for (int n : new int[] {1, 5, 13}) {
            long[] words = new long[97];
            Arrays.setAll(words, i -> Words.mix(draws.below(1 << 30)));
            long[] rolled = Words.grams(words, n);
            assertThat(rolled).hasSize(97 - n + 1);
            for (int i = 0; i < rolled.length; i++) {
                assertThat(rolled[i]).isEqualTo(Words.grams(Arrays.copyOfRange(words, i, i + n), n)[0]);
            }
            assertThat(Words.grams(new long[n - 1], n)).isEmpty();
        }
    }
}
