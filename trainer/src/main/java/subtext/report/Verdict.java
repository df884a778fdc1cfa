package subtext.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SortedMap;
import subtext.em.EmReport;
import subtext.em.TrainRun;
import subtext.evaluate.DocumentBootstrap;
import subtext.evaluate.Interval;
import subtext.evaluate.Student;

/** What a run found, in plain sentences with their intervals: improved or got worse, above or below, or cannot be told apart. */
final class Verdict {
    private static final double NORMAL95 = 1.960;

    /** Any will do: the same values give the same interval. */
    private static final long BOOTSTRAP_SEED = 0;

    private Verdict() {}

    /** A difference and its 95 % interval. */
    record Change(double mean, double low, double high) {
        /** Whether the interval lies on one side of zero. */
        boolean certain() {
            return low > 0 || high < 0;
        }
    }

    /** A figure that models are compared by: higher is better, a value for each held-out document. */
    private enum Figure {
        ACCURACY("Accuracy after a greedy thought", "points", 100),
        NATS("The held-out bound ELBO_%d", "nats per document", 1);

        private final String title;
        private final String unit;
        private final double scale;

        Figure(String title, String unit, double scale) {
            this.title = title;
            this.unit = unit;
            this.scale = scale;
        }

        OptionalDouble of(EmReport.Measured measured) {
            return switch (this) {
                case ACCURACY -> measured.accuracy();
                case NATS ->
                    measured.logLikelihood()
                            .map(b -> OptionalDouble.of(b.mean()))
                            .orElse(OptionalDouble.empty());
            };
        }

        /** Of each document; empty in results of before they were kept. */
        private double[] documents(EmReport.Measured measured) {
            return measured.documents()
                    .map(each -> switch (this) {
                        case ACCURACY ->
                            each.right().stream()
                                    .mapToDouble(right -> right ? 1 : 0)
                                    .toArray();
                        case NATS ->
                            each.nats().stream().mapToDouble(nats -> nats).toArray();
                    })
                    .orElse(new double[0]);
        }

        /** Square of half of an interval of 95 % around the value alone. */
        private double square(EmReport.Measured measured, int documents) {
            double half = switch (this) {
                case ACCURACY ->
                    NORMAL95 * Math.sqrt(variance(measured.accuracy().getAsDouble(), documents));
                case NATS ->
                    measured.logLikelihood().map(b -> (b.high() - b.low()) / 2).orElseThrow();
            };
            return half * half;
        }
    }

    /** Two models of one seed, measured on the same documents. */
    private record Pair(EmReport.Measured em, EmReport.Measured other) {}

    /** A difference, and what was paired for its interval. */
    private record Compared(Change change, String pairing) {}

    private static void training(RunView.Training training, List<String> sentences) {
        if (training.finished().isEmpty()) {
            sentences.add("The training is not finished yet.");
            return;
        }
        TrainRun.Finished done = training.finished().get();
        sentences.add(String.format(
                Locale.ROOT,
                "Trained on %s: %,d steps, %,d predicted tokens; the training loss ended at %.4f nats per token.",
                training.on() == TrainRun.On.TEXT ? "text" : "text with thoughts",
                done.steps(),
                done.tokens(),
                done.loss()));
        done.measured().logLikelihood().ifPresent(after -> {
            String figure = done.measured().nll().isPresent() ? "likelihood" : "bound on the likelihood";
            sentences.add(String.format(
                    Locale.ROOT,
                    "The held-out %s is %.3f nats per document (95 %% interval %.3f to %.3f)%s.",
                    figure,
                    after.mean(),
                    after.low(),
                    after.high(),
                    done.before()
                            .flatMap(EmReport.Measured::logLikelihood)
                            .map(before -> String.format(Locale.ROOT, ", before the training %.3f", before.mean()))
                            .orElse("")));
        });
    }

    static List<String> of(RunView run) {
        List<String> sentences = new ArrayList<>();
        if (run.training().isPresent()) {
            training(run.training().get(), sentences);
            warnings(run).ifPresent(sentences::add);
            return sentences;
        }
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
        List<Pair> pairs = whole.stream()
                .map(seed -> new Pair(
                        seed.iterations().get(last).measured(),
                        seed.iterations().getFirst().measured()))
                .toList();
        for (Figure figure : Figure.values()) {
            if (pairs.stream()
                    .allMatch(pair -> figure.of(pair.em()).isPresent()
                            && figure.of(pair.other()).isPresent())) {
                sentences.add(sentence(
                                String.format(figure.title, largestBound(whole)),
                                figure,
                                compared(run, figure, pairs),
                                last)
                        + values(whole, last, figure));
            }
        }
        sentences.addAll(baselines(run, whole, last));
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

    private static String sentence(String what, Figure figure, Compared compared, int last) {
        Change change = compared.change();
        String direction = !change.certain()
                ? "cannot be told apart from that of the warm start in iteration " + last
                : (change.mean() > 0 ? "improved" : "got worse") + " from the warm start to iteration " + last;
        return String.format(
                Locale.ROOT,
                "%s %s: by %+.3g %s, 95 %% interval [%+.3g, %+.3g] (%s).",
                what,
                direction,
                change.mean() * figure.scale,
                figure.unit,
                change.low() * figure.scale,
                change.high() * figure.scale,
                compared.pairing());
    }

    private static String values(List<RunView.SeedView> seeds, int last, Figure figure) {
        StringBuilder text = new StringBuilder(" Means by iteration:");
        for (int i = 0; i <= last; i++) {
            int at = i;
            double mean = seeds.stream()
                    .map(seed -> figure.of(seed.iterations().get(at).measured()))
                    .filter(OptionalDouble::isPresent)
                    .mapToDouble(OptionalDouble::getAsDouble)
                    .average()
                    .orElse(Double.NaN);
            text.append(String.format(Locale.ROOT, " %.3f", mean));
        }
        return text.append('.').toString();
    }

    /** Of several seeds the differences are paired by seed, of one by document. */
    private static Compared compared(RunView run, Figure figure, List<Pair> pairs) {
        if (pairs.size() > 1) {
            return new Compared(
                    paired(pairs.stream()
                            .mapToDouble(pair -> figure.of(pair.em()).getAsDouble()
                                    - figure.of(pair.other()).getAsDouble())
                            .toArray()),
                    "paired over " + pairs.size() + " seeds");
        }
        Pair pair = pairs.getFirst();
        double[] em = figure.documents(pair.em());
        double[] other = figure.documents(pair.other());
        if (em.length > 0 && em.length == other.length) {
            Interval interval = new DocumentBootstrap(run.config().evaluation().resamples(), 0.95, BOOTSTRAP_SEED)
                    .pairedDifference(em, other);
            return new Compared(
                    new Change(interval.estimate(), interval.low(), interval.high()),
                    String.format(
                            Locale.ROOT, "one seed, paired over %,d documents; other seeds may differ", em.length));
        }
        double difference =
                figure.of(pair.em()).getAsDouble() - figure.of(pair.other()).getAsDouble();
        double half = Math.sqrt(figure.square(pair.em(), heldOut(run)) + figure.square(pair.other(), heldOut(run)));
        return new Compared(
                new Change(difference, difference - half, difference + half),
                "one seed; documents taken as unpaired, which makes it wide");
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
        SortedMap<Integer, EmReport.Bound> elbo =
                seeds.getFirst().iterations().getFirst().measured().elbo();
        return elbo.isEmpty() ? 0 : elbo.lastKey();
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

    /** The last iteration against every baseline: by accuracy, or, where there is no task, by nats. */
    private static List<String> baselines(RunView run, List<RunView.SeedView> seeds, int last) {
        List<String> names = seeds.stream()
                .flatMap(seed -> seed.baselines().stream())
                .map(EmReport.Baseline::name)
                .distinct()
                .toList();
        List<String> sentences = new ArrayList<>();
        for (Figure figure : Figure.values()) {
            List<String> above = new ArrayList<>();
            List<String> below = new ArrayList<>();
            List<String> neither = new ArrayList<>();
            String pairing = "";
            for (String name : names) {
                List<Pair> pairs = pairs(seeds, last, name);
                boolean task = pairs.stream()
                        .allMatch(pair -> Figure.ACCURACY.of(pair.em()).isPresent()
                                && Figure.ACCURACY.of(pair.other()).isPresent());
                if (pairs.isEmpty() || task != (figure == Figure.ACCURACY)) {
                    continue;
                }
                Compared compared = compared(run, figure, pairs);
                Change change = compared.change();
                double mean = pairs.stream()
                        .mapToDouble(pair -> figure.of(pair.other()).getAsDouble())
                        .average()
                        .orElseThrow();
                (change.certain() ? change.mean() > 0 ? above : below : neither)
                        .add(String.format(
                                Locale.ROOT,
                                "%s (%.3f: %+.3f [%+.3f, %+.3f])",
                                name,
                                mean,
                                change.mean(),
                                change.low(),
                                change.high()));
                pairing = compared.pairing();
            }
            List<String> parts = new ArrayList<>();
            part(parts, "is above ", above);
            part(parts, "cannot be told apart from ", neither);
            part(parts, "is below ", below);
            if (!parts.isEmpty()) {
                sentences.add(switch (figure) {
                            case ACCURACY -> "By accuracy";
                            case NATS ->
                                "By nats per document, of models with thoughts ELBO_" + largestBound(seeds)
                                        + ", a lower bound, of raw ones the log-likelihood,";
                        }
                        + " iteration " + last + " " + String.join("; ", parts)
                        + ". In brackets value, difference and its 95 % interval, " + pairing + ".");
            }
        }
        return sentences;
    }

    private static void part(List<String> parts, String how, List<String> baselines) {
        if (!baselines.isEmpty()) {
            parts.add(how + String.join(", ", baselines));
        }
    }

    private static List<Pair> pairs(List<RunView.SeedView> seeds, int last, String name) {
        List<Pair> pairs = new ArrayList<>();
        for (RunView.SeedView seed : seeds) {
            EmReport.Measured em = seed.iterations().get(last).measured();
            seed.baselines().stream()
                    .filter(baseline -> baseline.name().equals(name))
                    .map(EmReport.Baseline::measured)
                    .filter(other -> em.logLikelihood().isPresent()
                            && other.logLikelihood().isPresent())
                    .findFirst()
                    .ifPresent(other -> pairs.add(new Pair(em, other)));
        }
        return pairs;
    }
}
