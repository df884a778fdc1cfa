package subtext.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import subtext.em.EmReport;
import subtext.evaluate.Student;

/** What a run found, in plain sentences with their intervals: improved, got worse, or cannot be told. */
final class Verdict {
    private static final double NORMAL95 = 1.960;

    private Verdict() {}

    /** A difference and its 95 % interval. */
    record Change(double mean, double low, double high) {
        /** Whether the interval lies on one side of zero. */
        boolean certain() {
            return low > 0 || high < 0;
        }
    }

    static List<String> of(RunView run) {
        List<String> sentences = new ArrayList<>();
        List<RunView.SeedView> whole = run.seeds().stream()
                .filter(seed -> seed.iterations().size() > 1)
                .toList();
        if (whole.isEmpty()) {
            sentences.add("No EM iteration is finished yet, so there is nothing to compare.");
            warnings(run).ifPresent(sentences::add);
            return sentences;
        }
        int last = whole.stream()
                .mapToInt(seed -> seed.iterations().size() - 1)
                .min()
                .orElseThrow();
        accuracy(run, whole, last)
                .ifPresent(change -> sentences.add(
                        sentence("Accuracy after a greedy thought", "points", change, 100, whole.size(), last)
                                + values(whole, last, seed -> seed.measured().accuracy(), 3)));
        bound(whole, last)
                .ifPresent(change -> sentences.add(sentence(
                                "The held-out bound ELBO_" + largestBound(whole),
                                "nats per document",
                                change,
                                1,
                                whole.size(),
                                last)
                        + values(
                                whole,
                                last,
                                it -> OptionalDouble.of(it.measured()
                                        .elbo()
                                        .lastEntry()
                                        .getValue()
                                        .mean()),
                                3)));
        sentences.addAll(baselines(whole, last));
        warnings(run).ifPresent(sentences::add);
        return sentences;
    }

    /** Which warnings fired, and in which iterations. */
    private static Optional<String> warnings(RunView run) {
        if (run.fired().isEmpty()) {
            return Optional.empty();
        }
        List<String> kinds = new ArrayList<>();
        run.fired()
                .forEach((kind, iterations) -> kinds.add(kind.toLowerCase(Locale.ROOT)
                                .replace('_', ' ')
                        + (iterations.size() == 1 ? " (iteration " : " (iterations ")
                        + String.join(
                                ", ", iterations.stream().map(String::valueOf).toList())
                        + ")"));
        return Optional.of("Warnings fired: " + String.join(", ", kinds) + ".");
    }

    private static String sentence(String what, String unit, Change change, double scale, int seeds, int last) {
        String direction = !change.certain()
                ? "did not change by more than its uncertainty"
                : change.mean() > 0 ? "improved" : "got worse";
        return String.format(
                Locale.ROOT,
                "%s %s from the warm start to iteration %d: by %+.3g %s, 95 %% interval [%+.3g, %+.3g] (%s).",
                what,
                direction,
                last,
                change.mean() * scale,
                unit,
                change.low() * scale,
                change.high() * scale,
                seeds > 1
                        ? "paired over " + seeds + " seeds"
                        : "one seed; documents taken as unpaired, which makes it wide");
    }

    private static String values(
            List<RunView.SeedView> seeds,
            int last,
            java.util.function.Function<EmReport.Iteration, OptionalDouble> value,
            int decimals) {
        StringBuilder text = new StringBuilder(" Means by iteration:");
        for (int i = 0; i <= last; i++) {
            double sum = 0;
            int n = 0;
            for (RunView.SeedView seed : seeds) {
                OptionalDouble v = value.apply(seed.iterations().get(i));
                if (v.isPresent()) {
                    sum += v.getAsDouble();
                    n++;
                }
            }
            text.append(String.format(Locale.ROOT, " %." + decimals + "f", sum / n));
        }
        return text.append('.').toString();
    }

    private static Optional<Change> accuracy(RunView run, List<RunView.SeedView> seeds, int last) {
        double[] differences = new double[seeds.size()];
        for (int s = 0; s < differences.length; s++) {
            OptionalDouble before =
                    seeds.get(s).iterations().getFirst().measured().accuracy();
            OptionalDouble after =
                    seeds.get(s).iterations().get(last).measured().accuracy();
            if (before.isEmpty() || after.isEmpty()) {
                return Optional.empty();
            }
            differences[s] = after.getAsDouble() - before.getAsDouble();
        }
        if (differences.length > 1) {
            return Optional.of(paired(differences));
        }
        int n = heldOut(run);
        double before =
                seeds.getFirst().iterations().getFirst().measured().accuracy().getAsDouble();
        double after =
                seeds.getFirst().iterations().get(last).measured().accuracy().getAsDouble();
        double error = Math.sqrt(variance(before, n) + variance(after, n));
        return Optional.of(
                new Change(differences[0], differences[0] - NORMAL95 * error, differences[0] + NORMAL95 * error));
    }

    /** Answers that an accuracy is the share of. */
    static int heldOut(RunView run) {
        return run.config().corpus().path().isEmpty()
                ? run.config().world().heldOut()
                : run.config().corpus().heldOut();
    }

    /** A share of n answers and its 95 % interval, by Agresti and Coull. */
    static Change share(double share, int n) {
        double centre = (share * n + 2) / (n + 4);
        double half = NORMAL95 * Math.sqrt(variance(share, n));
        return new Change(
                share, Math.max(0, Math.min(share, centre - half)), Math.min(1, Math.max(share, centre + half)));
    }

    /** Of a share of n answers; by Agresti and Coull, so that a share of 1 is not taken for certainty. */
    private static double variance(double share, int n) {
        double p = (share * n + 2) / (n + 4);
        return p * (1 - p) / (n + 4);
    }

    private static int largestBound(List<RunView.SeedView> seeds) {
        return seeds.getFirst().iterations().getFirst().measured().elbo().lastKey();
    }

    private static Optional<Change> bound(List<RunView.SeedView> seeds, int last) {
        if (seeds.stream()
                .anyMatch(seed -> seed.iterations().stream()
                        .anyMatch(it -> it.measured().elbo().isEmpty()))) {
            return Optional.empty();
        }
        double[] differences = new double[seeds.size()];
        double square = 0;
        for (int s = 0; s < differences.length; s++) {
            EmReport.Bound before = seeds.get(s)
                    .iterations()
                    .getFirst()
                    .measured()
                    .elbo()
                    .lastEntry()
                    .getValue();
            EmReport.Bound after = seeds.get(s)
                    .iterations()
                    .get(last)
                    .measured()
                    .elbo()
                    .lastEntry()
                    .getValue();
            differences[s] = after.mean() - before.mean();
            double a = (before.high() - before.low()) / 2;
            double b = (after.high() - after.low()) / 2;
            square = a * a + b * b;
        }
        return Optional.of(
                differences.length > 1
                        ? paired(differences)
                        : new Change(
                                differences[0],
                                differences[0] - Math.sqrt(square),
                                differences[0] + Math.sqrt(square)));
    }

    /** Mean and Student interval of differences, one per seed. */
    static Change paired(double[] differences) {
        int n = differences.length;
        double mean = 0;
        for (double d : differences) {
            mean += d / n;
        }
        double squares = 0;
        for (double d : differences) {
            squares += (d - mean) * (d - mean);
        }
        double half = Student.quantile95(n - 1) * Math.sqrt(squares / (n - 1) / n);
        return new Change(mean, mean - half, mean + half);
    }

    private static List<String> baselines(List<RunView.SeedView> seeds, int last) {
        List<String> sentences = new ArrayList<>();
        List<String> names = seeds.getFirst().baselines().stream()
                .map(EmReport.Baseline::name)
                .filter(name -> !name.equals("oracle"))
                .toList();
        List<String> beaten = new ArrayList<>();
        List<String> not = new ArrayList<>();
        for (String name : names) {
            double em = 0;
            double other = 0;
            int n = 0;
            for (RunView.SeedView seed : seeds) {
                Optional<EmReport.Baseline> found = seed.baselines().stream()
                        .filter(b ->
                                b.name().equals(name) && b.measured().accuracy().isPresent())
                        .findFirst();
                OptionalDouble accuracy = seed.iterations().get(last).measured().accuracy();
                if (found.isPresent() && accuracy.isPresent()) {
                    em += accuracy.getAsDouble();
                    other += found.get().measured().accuracy().getAsDouble();
                    n++;
                }
            }
            if (n > 0) {
                (em > other ? beaten : not).add(String.format(Locale.ROOT, "%s (%.3f)", name, other / n));
            }
        }
        if (!beaten.isEmpty()) {
            sentences.add("By accuracy the last iteration is above " + String.join(", ", beaten) + ".");
        }
        if (!not.isEmpty()) {
            sentences.add("By accuracy the last iteration is not above " + String.join(", ", not) + ".");
        }
        return sentences;
    }
}
