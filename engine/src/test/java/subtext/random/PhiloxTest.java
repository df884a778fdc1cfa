package subtext.random;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class PhiloxTest {
    /** The known answers that the authors of Philox publish with it. */
    @Test
    void blockEqualsThePublishedVectors() {
        assertThat(Philox.block(0, 0, 0, 0, 0)).containsExactly(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
        assertThat(Philox.block(-1L, -1, -1, -1, -1)).containsExactly(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd);
        assertThat(Philox.block(0x299f31d0a4093822L, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344))
                .containsExactly(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1);
    }

    @Test
    void keysOfDifferentPurposesDiffer() {
        Set<Long> keys = new HashSet<>();
        for (long seed = 0; seed < 50; seed++) {
            for (String name : new String[] {"", "a", "b", "ab", "ba"}) {
                keys.add(Philox.key(seed, name));
            }
            for (long i = 0; i < 50; i++) {
                keys.add(Philox.key(seed, i));
                keys.add(Philox.key(seed, i, 0));
                keys.add(Philox.key(seed, 0, i + 1000));
            }
        }
        assertThat(keys).hasSize(50 * 5 + 50 * 50 * 3);
    }

    @Test
    void drawsAreAFunctionOfTheKey() {
        Draws first = new Draws(7);
        Draws second = new Draws(7);
        Draws other = new Draws(8);
        int same = 0;
        for (int i = 0; i < 1_000; i++) {
            int value = first.nextInt();
            assertThat(second.nextInt()).isEqualTo(value);
            same += other.nextInt() == value ? 1 : 0;
        }
        assertThat(same).isLessThan(3);
    }

    /** 600,000 draws below 6 (chi-square with 5 degrees of freedom: 25.7 is passed once in 10,000) and the moments of the others. */
    @Test
    void drawsFollowTheirLaws() {
        Draws draws = new Draws(20260101);
        int n = 600_000;
        long[] faces = new long[6];
        double sum = 0;
        double squares = 0;
        double uniform = 0;
        long[] picked = new long[3];
        for (int i = 0; i < n; i++) {
            faces[draws.below(6)]++;
            double g = draws.normal();
            sum += g;
            squares += g * g;
            uniform += draws.uniform();
            picked[draws.index(new double[] {1, 0, 3})]++;
        }
        double chiSquare = 0;
        for (long face : faces) {
            chiSquare += Math.pow(face - n / 6.0, 2) / (n / 6.0);
        }
        assertThat(chiSquare).isLessThan(25.7);
        double fourErrors = 4 / Math.sqrt(n);
        assertThat(sum / n).isBetween(-fourErrors, fourErrors);
        assertThat(squares / n).isBetween(1 - fourErrors * Math.sqrt(2), 1 + fourErrors * Math.sqrt(2));
        assertThat(uniform / n).isBetween(0.5 - fourErrors / Math.sqrt(12), 0.5 + fourErrors / Math.sqrt(12));
        assertThat(picked[1]).isZero();
        assertThat((double) picked[0] / n)
                .isBetween(0.25 - fourErrors * Math.sqrt(3.0 / 16), 0.25 + fourErrors * Math.sqrt(3.0 / 16));
    }

    @Test
    void weightsWithoutMassAreRefused() {
        assertThatThrownBy(() -> new Draws(1).index(new double[] {0, 0}))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("weights: expected a positive sum");
        assertThatThrownBy(() -> new Draws(1).below(0)).hasMessageContaining("bound: expected > 0, got 0");
    }
}
