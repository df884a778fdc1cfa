package subtext.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class NormalTest {
    /** Figures as printed in tables of the normal law. */
    @Test
    void figuresEqualTheTables() {
        assertThat(Normal.below(0)).isCloseTo(0.5, within(1e-7));
        assertThat(Normal.below(1)).isCloseTo(0.8413447461, within(1e-7));
        assertThat(Normal.below(-3)).isCloseTo(0.0013498980, within(1e-9));
        assertThat(Normal.quantile(0.975)).isCloseTo(1.9599639845, within(1e-8));
        assertThat(Normal.quantile(0.001)).isCloseTo(-3.0902323062, within(1e-8));
    }

    @Test
    void quantileInvertsTheLaw() {
        for (double p = 0.0005; p < 1; p += 0.0101) {
            assertThat(Normal.below(Normal.quantile(p))).isCloseTo(p, within(2e-7));
        }
    }
}
