package subtext.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;

class ScheduleTest {
    private static final int STEPS = 100;
    private static final int WARMUP = 10;

    @Test
    void allRiseInAStraightLineToThePeak() {
        for (Schedule schedule : List.of(
                new Schedule.Constant(2, WARMUP),
                new Schedule.Linear(2, WARMUP, STEPS, 0.1),
                new Schedule.Cosine(2, WARMUP, STEPS, 0.1),
                new Schedule.WarmupStableDecay(2, WARMUP, STEPS, 30, 0.1))) {
            assertThat(schedule.at(0)).isEqualTo(0.2);
            assertThat(schedule.at(4)).isEqualTo(1.0);
            assertThat(schedule.at(9)).isEqualTo(2.0);
            assertThat(schedule.at(10)).isEqualTo(2.0);
        }
    }

    @Test
    void eachFallsInItsOwnWay() {
        assertThat(new Schedule.Constant(2, WARMUP).at(1_000_000)).isEqualTo(2);
        Schedule linear = new Schedule.Linear(2, WARMUP, STEPS, 0.1);
        assertThat(linear.at(55)).isCloseTo(1.1, within(1e-12));
        assertThat(linear.at(100)).isCloseTo(0.2, within(1e-12));
        Schedule cosine = new Schedule.Cosine(2, WARMUP, STEPS, 0);
        assertThat(cosine.at(55)).isCloseTo(1.0, within(1e-12));
        assertThat(cosine.at(40)).isCloseTo(1 + Math.cos(Math.PI / 3), within(1e-12));
        assertThat(cosine.at(100)).isCloseTo(0, within(1e-12));
        Schedule wsd = new Schedule.WarmupStableDecay(2, WARMUP, STEPS, 30, 0);
        assertThat(wsd.at(69)).isEqualTo(2);
        assertThat(wsd.at(85)).isCloseTo(1, within(1e-12));
        assertThat(wsd.at(100)).isCloseTo(0, within(1e-12));
    }

    @Test
    void stretchingKeepsTheShape() {
        assertThat(new Schedule.Cosine(2, WARMUP, STEPS, 0).over(400))
                .isEqualTo(new Schedule.Cosine(2, WARMUP, 400, 0));
        assertThat(new Schedule.WarmupStableDecay(2, WARMUP, STEPS, 30, 0).over(400))
                .isEqualTo(new Schedule.WarmupStableDecay(2, WARMUP, 400, 120, 0));
    }
}
