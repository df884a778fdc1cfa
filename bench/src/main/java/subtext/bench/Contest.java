package subtext.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleSupplier;

/**
 * Several ways of doing the same work, timed in turns: every round each of them once, in an order that rotates, so that a machine that
 * slows down slows all of them down. What is compared is round with round.
 */
final class Contest {
    private Contest() {}

    /**
     * One who takes part.
     *
     * @param measure does some of the work and gives its rate, more is better
     */
    record Contender(String name, DoubleSupplier measure) {}

    /** The rates of one contender, one a round. */
    record Result(String name, double[] rates) {
        double median() {
            return Contest.median(rates);
        }

        double low() {
            return Arrays.stream(rates).min().orElse(Double.NaN);
        }

        double high() {
            return Arrays.stream(rates).max().orElse(Double.NaN);
        }

        /** Median over the rounds of this one's rate over the other's in the same round. */
        double over(Result other) {
            double[] ratios = new double[rates.length];
            Arrays.setAll(ratios, i -> rates[i] / other.rates[i]);
            return Contest.median(ratios);
        }
    }

    /** Lets everybody warm up once, then measures. */
    static List<Result> run(List<Contender> contenders, int rounds) {
        double[][] rates = new double[contenders.size()][rounds];
        for (int round = -1; round < rounds; round++) {
            for (int turn = 0; turn < contenders.size(); turn++) {
                int who = (turn + round + 1) % contenders.size();
                double rate = contenders.get(who).measure().getAsDouble();
                if (round >= 0) {
                    rates[who][round] = rate;
                }
            }
        }
        List<Result> results = new ArrayList<>();
        for (int i = 0; i < contenders.size(); i++) {
            results.add(new Result(contenders.get(i).name(), rates[i]));
        }
        return results;
    }

    /** The middle value; of an even number the lower of the two. */
    static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[(sorted.length - 1) / 2];
    }

    /** Calls {@code work} for at least {@code seconds}, at least once: seconds a call. */
    static double secondsPerCall(double seconds, Runnable work) {
        long from = System.nanoTime();
        long until = from + (long) (seconds * 1e9);
        int calls = 0;
        long now;
        do {
            work.run();
            calls++;
            now = System.nanoTime();
        } while (now < until);
        return (now - from) * 1e-9 / calls;
    }
}
