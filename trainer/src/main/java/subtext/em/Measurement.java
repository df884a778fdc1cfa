package subtext.em;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import subtext.evaluate.AnswerTask;
import subtext.evaluate.DocumentBootstrap;
import subtext.evaluate.EStepHealth;
import subtext.evaluate.Elbo;
import subtext.evaluate.Interval;
import subtext.random.Philox;
import subtext.run.RunConfig;
import subtext.text.Tokenizer;

/**
 * Measures a model on held-out documents: the task, and bounds on or values of the likelihood of their texts. The draws use the same keys
 * for every model, so models are compared on the same luck.
 */
final class Measurement {
    /** Questions drawn for at once, and tokens of thoughts drawn for them, at most: bounds of the host memory of log-probabilities. */
    private static final int BATCH = 2048;

    private static final int BATCH_TOKENS = 1 << 20;
    /** Held-out chunks for which thoughts are drawn from the prior too: a mean over some hundreds is enough to see a gap. */
    static final int PRIOR_CHUNKS = 512;
    /**
     * Chunks whose draws are looked at for the health of an E-step, from the first: documents are shuffled, and of a long corpus these tell as much as
     * all and fit in memory.
     */
    static final int LOOKED_AT = 1 << 14;

    private final Material material;
    private final List<Question> questions;
    private final RunConfig.Evaluation plan;
    private final long key;

    /**
     * @param questions about the held-out documents; kept, not to be changed
     * @param key of the draws and resamples
     */
    Measurement(Material material, List<Question> questions, RunConfig.Evaluation plan, long key) {
        this.material = material;
        this.questions = questions;
        this.plan = plan;
        this.key = key;
    }

    /** A model that thinks. */
    EmReport.Measured thinking(NeuralModel model) {
        long from = System.nanoTime();
        EStep draws = new EStep(plan.elboSamples(), new Selection.Resample(), Weighting.JOINT, key);
        List<LatentRecord> records = new ArrayList<>();
        int batch = Math.clamp(BATCH_TOKENS / ((long) plan.elboSamples() * model.maxThought()), 1, BATCH);
        for (int at = 0; at < questions.size(); at += batch) {
            records.addAll(draws.explain(
                    model, List.copyOf(questions.subList(at, Math.min(questions.size(), at + batch)))));
        }
        double seconds = (System.nanoTime() - from) * 1e-9;
        List<Elbo.Weighed> weighed = new ArrayList<>();
        for (int i = 0; i < questions.size(); i++) {
            Question question = questions.get(i);
            weighed.add(new Elbo.Weighed(
                    question.document(),
                    LogWeights.of(records.get(i).samples().stream()
                            .mapToDouble(ScoredSample::logBoundWeight)
                            .toArray()),
                    question.text().size(),
                    characters(question)));
        }
        SortedMap<Integer, EmReport.Bound> bounds = new TreeMap<>();
        Optional<Elbo> tightest = Optional.empty(); // bounds rise with K
        for (Elbo elbo : Elbo.of(weighed, plan.bounds(), bootstrap())) {
            bounds.put(elbo.samples(), bound(elbo.perDocument()));
            tightest =
                    tightest.filter(other -> other.samples() > elbo.samples()).or(() -> Optional.of(elbo));
        }
        List<Boolean> right = right(model, true);
        Optional<EmReport.PerUnit> perUnit = tightest.map(elbo -> new EmReport.PerUnit(
                bound(elbo.perToken().negated()),
                material.textual() ? Optional.of(bound(elbo.perCharacter().negated())) : Optional.empty()));
        return new EmReport.Measured(
                accuracy(right),
                bounds,
                Optional.empty(),
                perCharacter(perUnit),
                Optional.of(draws(questions, records, Weighting.JOINT, seconds)),
                priorGap(model),
                perUnit,
                tightest.map(elbo -> new EmReport.PerDocument(right, elbo.documents())));
    }

    private static OptionalDouble perCharacter(Optional<EmReport.PerUnit> perUnit) {
        return perUnit.flatMap(EmReport.PerUnit::character)
                .map(nll -> OptionalDouble.of(nll.mean()))
                .orElse(OptionalDouble.empty());
    }

    /** Whether thoughts drawn before the text is seen make it likelier than no thought does; empty if none was finished. */
    private Optional<EmReport.PriorGap> priorGap(NeuralModel model) {
        List<Question> asked = questions.subList(0, Math.min(questions.size(), PRIOR_CHUNKS));
        List<OptionalDouble> behindThoughts =
                model.priorLogLikelihood(asked, plan.elboSamples(), Philox.key(key, "prior"));
        double[] behindNone = model.noThoughtLogLikelihood(asked);
        Set<String> documents = new HashSet<>();
        double thoughts = 0;
        double none = 0;
        int chunks = 0;
        for (int i = 0; i < asked.size(); i++) {
            if (behindThoughts.get(i).isPresent()) {
                thoughts -= behindThoughts.get(i).getAsDouble();
                none -= behindNone[i];
                chunks++;
                documents.add(asked.get(i).document());
            }
        }
        return chunks == 0
                ? Optional.empty()
                : Optional.of(new EmReport.PriorGap(thoughts / documents.size(), none / documents.size(), chunks));
    }

    /** A model trained on raw text. */
    EmReport.Measured raw(NeuralModel model) {
        double[] logLikelihood = model.rawLogLikelihood(questions);
        Map<String, double[]> documents = new LinkedHashMap<>(); // nats, tokens, characters
        for (int i = 0; i < questions.size(); i++) {
            double[] sums = documents.computeIfAbsent(questions.get(i).document(), id -> new double[3]);
            sums[0] -= logLikelihood[i];
            sums[1] += questions.get(i).text().size();
            sums[2] += characters(questions.get(i));
        }
        double[] nats = documents.values().stream().mapToDouble(sums -> sums[0]).toArray();
        double[] tokens =
                documents.values().stream().mapToDouble(sums -> sums[1]).toArray();
        double[] characters =
                documents.values().stream().mapToDouble(sums -> sums[2]).toArray();
        List<Boolean> right = right(model, false);
        Optional<EmReport.PerUnit> perUnit = Optional.of(new EmReport.PerUnit(
                bound(bootstrap().ratio(nats, tokens)),
                material.textual() ? Optional.of(bound(bootstrap().ratio(nats, characters))) : Optional.empty()));
        return new EmReport.Measured(
                accuracy(right),
                new TreeMap<>(),
                Optional.of(bound(bootstrap().mean(nats))),
                perCharacter(perUnit),
                Optional.empty(),
                Optional.empty(),
                perUnit,
                Optional.of(new EmReport.PerDocument(
                        right, Arrays.stream(nats).mapToObj(n -> -n).toList())));
    }

    /** What the draws for some questions look like. */
    EmReport.Draws draws(List<Question> asked, List<LatentRecord> records, Weighting weighting, double seconds) {
        EStepHealth health = health(asked, records, weighting);
        long tokens = 0;
        long draws = 0;
        long right = 0;
        long selectedRight = 0;
        double ess = 0;
        for (int i = 0; i < records.size(); i++) {
            LatentRecord record = records.get(i);
            tokens += tokens(asked.get(i), record);
            ess += weighting.of(record.samples()).ess() / record.samples().size();
            draws += record.samples().size();
            if (material.truth().isPresent()) {
                Material.Truth truth = material.truth().get();
                for (int k = 0; k < record.samples().size(); k++) {
                    ScoredSample sample = record.samples().get(k);
                    boolean isTrue =
                            sample.finished() && truth.isTrue(record.document(), record.chunk(), sample.thought());
                    right += isTrue ? 1 : 0;
                    selectedRight += isTrue && k == record.chosen() ? 1 : 0;
                }
            }
        }
        boolean known = material.truth().isPresent();
        return new EmReport.Draws(
                new EmReport.Quartiles(
                        health.essPerSample().lower(),
                        health.essPerSample().median(),
                        health.essPerSample().upper()),
                ess / records.size(),
                health.spread().median(),
                health.cutOff(),
                health.unexplained(),
                health.proposedLength().median(),
                health.distinct3(),
                known ? OptionalDouble.of((double) right / draws) : OptionalDouble.empty(),
                known ? OptionalDouble.of((double) selectedRight / records.size()) : OptionalDouble.empty(),
                tokens,
                seconds > 0 ? tokens / seconds : 0,
                Optional.of(new EmReport.Health(
                        health.malformed(),
                        health.topWeight().median(),
                        health.entropy(),
                        health.chosenLength().median(),
                        health.lengthCorrelation(),
                        health.klPerToken(),
                        health.duplicates())));
    }

    /** The first {@link #LOOKED_AT} draws as the diagnosis wants them. */
    EStepHealth health(List<Question> asked, List<LatentRecord> records, Weighting weighting) {
        List<EStepHealth.Drawn> drawn = new ArrayList<>();
        for (int i = 0; i < Math.min(LOOKED_AT, records.size()); i++) {
            LatentRecord record = records.get(i);
            drawn.add(new EStepHealth.Drawn(
                    asked.get(i).text(), record.samples(), weighting.of(record.samples()), record.chosen()));
        }
        return EStepHealth.of(drawn);
    }

    /** Tokens that drawing and scoring cost: context, text and markers once, what was drawn, and thought, marker and text of each draw. */
    static long tokens(Question question, LatentRecord record) {
        long tokens = question.context().size() + question.text().size() + 7L;
        for (ScoredSample sample : record.samples()) {
            int thought = sample.thought().size();
            tokens += thought
                    + (sample.closed() ? 1 : 0)
                    + thought
                    + 1
                    + question.text().size();
        }
        return tokens;
    }

    private List<Boolean> right(NeuralModel model, boolean thinking) {
        if (material.answers().isPresent()) {
            AnswerTask task = material.answers().get();
            return (thinking ? task.withThought(model) : task.withoutThought(model)).right();
        }
        return material.truth().map(truth -> truth.answers(model, thinking)).orElse(List.of());
    }

    private static OptionalDouble accuracy(List<Boolean> right) {
        long count = right.stream().filter(answer -> answer).count();
        return right.isEmpty() ? OptionalDouble.empty() : OptionalDouble.of((double) count / right.size());
    }

    private DocumentBootstrap bootstrap() {
        return new DocumentBootstrap(plan.resamples(), 0.95, key);
    }

    private long characters(Question question) {
        if (!material.textual()) {
            return question.text().size();
        }
        Tokenizer tokenizer = material.tokenizer();
        return (question.chunk() == 0
                        ? tokenizer.decode(question.text())
                        : tokenizer.decodeContinuation(question.text()))
                .length();
    }

    private static EmReport.Bound bound(Interval interval) {
        return new EmReport.Bound(interval.estimate(), interval.low(), interval.high());
    }
}
