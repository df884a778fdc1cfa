package subtext.evaluate;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import java.util.function.Predicate;
import java.util.function.ToDoubleFunction;
import subtext.em.LogWeights;
import subtext.em.ScoredSample;
import subtext.text.Tokens;

/**
 * What the draws of one E-step look like: whether the weights still mean anything, and whether the thoughts stay thoughts.
 *
 * @param chunks number of chunks
 * @param samples K, the largest number of draws of a chunk
 * @param essPerSample effective sample size over K of each chunk, 1/K to 1; 0 where no draw has weight
 * @param spread standard deviation of the finite log-weights of each chunk, nats
 * @param topWeight largest normalised weight of each chunk
 * @param entropy mean over chunks of the entropy of the normalised weights over log K, 0 (one draw has it all) to 1; 1 for K = 1
 * @param cutOff share of draws that reached the length limit and were not closed
 * @param malformed share of draws that were closed with a marker in them
 * @param unexplained share of chunks of which no draw has weight: they go into training without a thought
 * @param empty share of finished draws without a single token
 * @param klPerToken mean of log q - log p(z) over finished draws, over the mean of their tokens, closing marker counted: an estimate of KL(q || p) per
 *     token, nats; empty where none is finished
 * @param lengthCorrelation correlation of log-weight and length over draws, both measured from their chunk's mean
 * @param proposedLength tokens of each finished draw, closing marker not counted
 * @param chosenLength tokens of each chosen draw
 * @param distinct3 share of different ones among the 3-grams of all finished draws
 * @param duplicates share of draws that repeat an earlier draw of their chunk
 * @param repetitive share of finished draws that compress more than four times
 * @param copying share of chunks whose chosen thought has more than half of its 3-grams from the text it explains
 */
public record EStepHealth(
        int chunks,
        int samples,
        Quantiles essPerSample,
        Quantiles spread,
        Quantiles topWeight,
        double entropy,
        double cutOff,
        double malformed,
        double unexplained,
        double empty,
        OptionalDouble klPerToken,
        double lengthCorrelation,
        Quantiles proposedLength,
        Quantiles chosenLength,
        double distinct3,
        double duplicates,
        double repetitive,
        double copying) {
    private static final int GRAM = 3;
    private static final double COMPRESSIBLE = 4;
    private static final double COPIED = 0.5;

    /**
     * The draws of one chunk.
     *
     * @param text the chunk, x
     * @param samples K draws
     * @param weights their log-weights, minus infinity for one that may not be chosen
     * @param chosen index of the draw that goes into training, -1 for none
     */
    public record Drawn(Tokens text, List<ScoredSample> samples, LogWeights weights, int chosen) {
        /**
         * Copies the list of draws.
         *
         * @throws IllegalArgumentException unless there is one weight for each draw
         */
        public Drawn {
            samples = List.copyOf(samples);
            if (samples.size() != weights.size()) {
                throw new IllegalArgumentException(
                        "weights: expected " + samples.size() + ", one for each draw, got " + weights.size());
            }
        }

        /** The tokens of a draw without its closing marker. */
        Tokens thought(int k) {
            return samples.get(k).thought();
        }
    }

    /**
     * {@return what the draws of all chunks of an E-step look like}
     *
     * @param chunks at least one, in any order
     */
    public static EStepHealth of(List<Drawn> chunks) {
        List<Tokens> finished = new ArrayList<>();
        List<List<Tokens>> all = new ArrayList<>();
        List<Double> lengths = new ArrayList<>();
        List<Double> logWeights = new ArrayList<>();
        long draws = 0;
        long cutOff = 0;
        long malformed = 0;
        double nats = 0;
        long tokens = 0;
        for (Drawn chunk : chunks) {
            List<Tokens> thoughts = new ArrayList<>();
            for (int k = 0; k < chunk.samples().size(); k++) {
                ScoredSample sample = chunk.samples().get(k);
                thoughts.add(sample.thought());
                cutOff += sample.closed() ? 0 : 1;
                malformed += sample.malformed() ? 1 : 0;
                if (sample.finished()) {
                    finished.add(sample.thought());
                    nats += sample.logQ() - sample.score().logPrior();
                    tokens += sample.thought().size() + 1L;
                }
            }
            draws += thoughts.size();
            all.add(thoughts);
            addCentred(chunk, lengths, logWeights);
        }
        int samples =
                chunks.stream().mapToInt(chunk -> chunk.samples().size()).max().orElseThrow();
        double[] chosenLength = chunks.stream()
                .filter(chunk -> chunk.chosen() >= 0)
                .mapToDouble(chunk -> chunk.thought(chunk.chosen()).size())
                .toArray();
        return new EStepHealth(
                chunks.size(),
                samples,
                over(chunks, chunk -> chunk.weights().ess() / chunk.weights().size()),
                over(chunks, chunk -> chunk.weights().spread()),
                over(chunks, chunk -> top(chunk.weights())),
                chunks.stream()
                        .mapToDouble(chunk -> entropy(chunk.weights()))
                        .average()
                        .orElseThrow(),
                (double) cutOff / draws,
                (double) malformed / draws,
                share(chunks, chunk -> chunk.weights().allZero()),
                share(finished, Tokens::isEmpty),
                tokens == 0 ? OptionalDouble.empty() : OptionalDouble.of(nats / tokens),
                Correlation.pearson(array(lengths), array(logWeights)),
                lengths(finished.stream().mapToDouble(Tokens::size).toArray()),
                lengths(chosenLength),
                ThoughtText.distinct(finished, GRAM),
                ThoughtText.duplicateShare(all),
                share(finished, thought -> ThoughtText.compression(thought) > COMPRESSIBLE),
                share(
                        chunks,
                        chunk -> chunk.chosen() >= 0
                                && ThoughtText.overlap(chunk.thought(chunk.chosen()), chunk.text(), GRAM) > COPIED));
    }

    /**
     * {@return entropy of the normalised weights over log K: 1 for even weights or a single draw, 0 if one has it all or none has any}
     *
     * @param weights of one chunk's K draws
     */
    public static double entropy(LogWeights weights) {
        if (weights.size() == 1) {
            return weights.allZero() ? 0 : 1;
        }
        double entropy = 0;
        for (double p : weights.normalised()) {
            entropy -= p > 0 ? p * Math.log(p) : 0;
        }
        return entropy / Math.log(weights.size());
    }

    private static double top(LogWeights weights) {
        double top = 0;
        for (double p : weights.normalised()) {
            top = Math.max(top, p);
        }
        return top;
    }

    /** Adds length and log-weight of the draws with weight, each minus its mean in the chunk: hard chunks must not look like length. */
    private static void addCentred(Drawn chunk, List<Double> lengths, List<Double> logWeights) {
        double meanLength = 0;
        double meanLogWeight = 0;
        int n = 0;
        for (int k = 0; k < chunk.samples().size(); k++) {
            if (Double.isFinite(chunk.weights().at(k))) {
                meanLength += chunk.thought(k).size();
                meanLogWeight += chunk.weights().at(k);
                n++;
            }
        }
        for (int k = 0; k < chunk.samples().size(); k++) {
            if (Double.isFinite(chunk.weights().at(k))) {
                lengths.add(chunk.thought(k).size() - meanLength / n);
                logWeights.add(chunk.weights().at(k) - meanLogWeight / n);
            }
        }
    }

    private static Quantiles over(List<Drawn> chunks, ToDoubleFunction<Drawn> value) {
        return Quantiles.of(chunks.stream().mapToDouble(value).toArray());
    }

    private static Quantiles lengths(double[] lengths) {
        return lengths.length == 0 ? new Quantiles(0, 0, 0, 0, 0) : Quantiles.of(lengths);
    }

    private static <T> double share(List<T> things, Predicate<T> holds) {
        return things.isEmpty() ? 0 : (double) things.stream().filter(holds).count() / things.size();
    }

    private static double[] array(List<Double> values) {
        return values.stream().mapToDouble(Double::doubleValue).toArray();
    }
}
