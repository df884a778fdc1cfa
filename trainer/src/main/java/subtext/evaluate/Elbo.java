package subtext.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import subtext.em.LogWeights;

/**
 * The importance-weighted bound on log p(x) with K draws, in nats: a lower bound in mean, tighter as K grows. Burda et al. 2016. A
 * document's bound is the sum over its chunks.
 *
 * @param samples K
 * @param documents the bound of each document, nats, in the order in which they are met first. Minus infinity where the K draws of a chunk are all unfinished
 *     or impossible; the mean is then minus infinity too, as it must be for a bound
 * @param perDocument mean over documents, with an interval by resampling documents
 * @param perToken sum over sum of tokens of x
 * @param perCharacter sum over sum of characters of x
 */
public record Elbo(
        int samples, List<Double> documents, Interval perDocument, Interval perToken, Interval perCharacter) {
    /** Most subsets of the pool to average over; beyond it, disjoint blocks are used. */
    private static final long MOST_SUBSETS = 20_000;

    /**
     * The weights of one chunk.
     *
     * @param document id; chunks of one document are resampled together
     * @param weights a pool of M draws, at least the largest K asked for. The draws are fresh ones, not those that chose a thought
     * @param tokens tokens of x
     * @param characters characters of x
     */
    public record Weighed(String document, LogWeights weights, long tokens, long characters) {}

    /**
     * The bound at each K, all from the same pools: averaged over subsets, so that they differ by K and not by luck.
     *
     * @param chunks of all documents, those of one document in any place
     * @param sampleCounts the K, each from 1 to the size of the smallest pool
     * @param bootstrap resamples the documents
     * @return one bound for each K, in the order given
     */
    public static List<Elbo> of(List<Weighed> chunks, List<Integer> sampleCounts, DocumentBootstrap bootstrap) {
        Map<String, List<Weighed>> documents = new LinkedHashMap<>();
        for (Weighed chunk : chunks) {
            documents.computeIfAbsent(chunk.document(), id -> new ArrayList<>()).add(chunk);
        }
        double[] tokens = perDocument(documents, Weighed::tokens);
        double[] characters = perDocument(documents, Weighed::characters);
        List<Elbo> bounds = new ArrayList<>();
        for (int samples : sampleCounts) {
            double[] nats = perDocument(documents, chunk -> bound(chunk.weights(), samples));
            bounds.add(new Elbo(
                    samples,
                    Arrays.stream(nats).boxed().toList(),
                    bootstrap.mean(nats),
                    bootstrap.ratio(nats, tokens),
                    bootstrap.ratio(nats, characters)));
        }
        return List.copyOf(bounds);
    }

    /**
     * {@return the bound at K from a pool of M draws, nats: the mean over all subsets of size K, or over disjoint blocks if those are too
     * many}
     *
     * @param pool M log-weights of one chunk
     * @param samples K, 1 to M
     */
    public static double bound(LogWeights pool, int samples) {
        if (subsets(pool.size(), samples) <= MOST_SUBSETS) {
            return pool.elbo(samples);
        }
        int blocks = pool.size() / samples;
        double[] values = pool.toArray();
        double sum = 0;
        for (int block = 0; block < blocks; block++) {
            sum += LogWeights.of(Arrays.copyOfRange(values, block * samples, (block + 1) * samples))
                    .elbo();
        }
        return sum / blocks;
    }

    /** C(m, k), cut off above {@link #MOST_SUBSETS}. */
    private static long subsets(int m, int k) {
        long count = 1;
        for (int i = 1; i <= Math.min(k, m - k) && count <= MOST_SUBSETS; i++) {
            count = count * (m - i + 1) / i;
        }
        return count;
    }

    private static double[] perDocument(Map<String, List<Weighed>> documents, ToDoubleFunction<Weighed> value) {
        return documents.values().stream()
                .mapToDouble(chunks -> chunks.stream().mapToDouble(value).sum())
                .toArray();
    }
}
