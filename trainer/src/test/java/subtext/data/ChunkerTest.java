package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.random.Draws;

class ChunkerTest {
    private final SentenceSplitter splitter = new SentenceSplitter();

    @Test
    void sentencesEndWhereAReaderEndsThem() {
        assertThat(splitter.split("One. Two! Three? Four")).containsExactly("One.", " Two!", " Three?", " Four");
        assertThat(splitter.split("He said \"No.\" She left.")).containsExactly("He said \"No.\"", " She left.");
        assertThat(splitter.split("It costs 3.50 dollars. Yes.")).containsExactly("It costs 3.50 dollars.", " Yes.");
        assertThat(splitter.split("Dr. Smith met J. Doe. They talked."))
                .containsExactly("Dr. Smith met J. Doe.", " They talked.");
        assertThat(splitter.split("First paragraph\n\nSecond one."))
                .containsExactly("First paragraph\n\n", "Second one.");
        assertThat(splitter.split("你好。再见。")).containsExactly("你好。", "再见。");
        assertThat(splitter.split("")).isEmpty();
        assertThat(String.join("", splitter.split("   "))).isEqualTo("   ");
    }

    /** Whatever the text, not a character is lost; 3,000 random texts of letters, stops, quotes, blanks and lines. */
    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3})
    void nothingIsLostInCutting(long seed) {
        String letters = "aB3 .!?\"')\n\n。é\t,";
        Draws draws = new Draws(seed);
        for (int r = 0; r < 1_000; r++) {
            StringBuilder text = new StringBuilder();
            int n = draws.below(120);
            for (int i = 0; i < n; i++) {
                text.append(letters.charAt(draws.below(letters.length())));
            }
            assertThat(String.join("", splitter.split(text.toString()))).isEqualTo(text.toString());
            assertThat(String.join("", new Chunker(seed, 3, 5).cut(text.toString())))
                    .isEqualTo(text.toString());
        }
    }

    /** Lengths are 1 + Poisson(mean - 1), cut off: mean and variance over 4,000 chunks, four standard errors. */
    @Test
    void chunkLengthsFollowTheirLaw() {
        double mean = 4;
        List<Integer> lengths = new ArrayList<>();
        for (int t = 0; t < 200; t++) {
            StringBuilder text = new StringBuilder();
            for (int s = 0; s < 100; s++) {
                text.append("Sentence ").append(t).append(' ').append(s).append(". ");
            }
            List<String> chunks = new Chunker(9, mean, 40).cut(text.toString());
            // the last chunk takes what is left
            chunks.subList(0, chunks.size() - 1)
                    .forEach(chunk -> lengths.add(splitter.split(chunk).size()));
        }
        double average = lengths.stream().mapToInt(Integer::intValue).average().orElseThrow();
        double variance = lengths.stream()
                .mapToDouble(l -> (l - average) * (l - average))
                .average()
                .orElseThrow();
        double n = lengths.size();
        assertThat(n).isGreaterThan(4_000);
        // dropping the last chunk of a text favours short ones a little: by about mean / chunks per text of the spread
        assertThat(average).isBetween(mean - 4 * Math.sqrt(3 / n) - 0.15, mean + 4 * Math.sqrt(3 / n));
        assertThat(variance).isBetween(2.5, 3.5);
        assertThat(lengths).allMatch(length -> length >= 1 && length <= 40);
    }

    @Test
    void aTextIsCutTheSameWayWhereverItStands() {
        String text = "A b. C d. E f. G h. I j. K l. M n. O p. Q r. S t.";
        List<String> cut = new Chunker(5, 2.5, 6).cut(text);
        new Chunker(5, 2.5, 6).cut("Another text. With sentences.");
        assertThat(new Chunker(5, 2.5, 6).cut(text)).isEqualTo(cut);
        List<List<String>> others = new ArrayList<>();
        for (long key = 6; key < 16; key++) {
            others.add(new Chunker(key, 2.5, 6).cut(text));
        }
        assertThat(others).anyMatch(other -> !other.equals(cut));
    }
}
