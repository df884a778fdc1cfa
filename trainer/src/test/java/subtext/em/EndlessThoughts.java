package subtext.em;

import java.util.ArrayList;
import java.util.List;
import subtext.generate.Sample;
import subtext.random.Draws;
import subtext.random.Philox;
import subtext.text.Tokens;

/**
 * A model whose thoughts may be of any length, for what happens at the length limit. A thought is a chain over a few symbols that stops
 * after each with some probability; the text is one symbol, emitted from the last symbol of the thought. Prior and posterior are unrelated
 * chains, as those of a badly trained network would be.
 */
final class EndlessThoughts implements LatentModel {
    private final int symbols;
    private final int limit;
    private final double[][] prior; // [previous, or `symbols` at the start][next, or `symbols` to stop]
    private final double[][][] posterior; // [x][previous][next]
    private final double[][] emission; // [last, or `symbols` for the empty thought][x]

    /** @param limit most tokens of a draw, the closing marker included */
    EndlessThoughts(int symbols, int limit, long seed) {
        this.symbols = symbols;
        this.limit = limit;
        Draws draws = new Draws(seed);
        this.prior = laws(symbols + 1, symbols + 1, draws);
        this.posterior = new double[symbols][][];
        for (int x = 0; x < symbols; x++) {
            posterior[x] = laws(symbols + 1, symbols + 1, draws);
        }
        this.emission = laws(symbols + 1, symbols, draws);
    }

    /** p(x) over all thoughts of at most {@code longest} symbols. */
    double evidence(int x, int longest) {
        double[] reached = new double[symbols + 1];
        reached[symbols] = 1;
        double evidence = 0;
        for (int length = 0; length <= longest; length++) {
            double[] next = new double[symbols + 1];
            for (int last = 0; last <= symbols; last++) {
                evidence += reached[last] * prior[last][symbols] * emission[last][x];
                for (int to = 0; to < symbols; to++) {
                    next[to] += reached[last] * prior[last][to];
                }
            }
            reached = next;
        }
        return evidence;
    }

    /** The id of the closing marker. */
    int end() {
        return symbols;
    }

    @Override
    public List<List<Sample>> drawPosterior(List<Question> questions, int samples, long key) {
        List<List<Sample>> all = new ArrayList<>();
        for (Question question : questions) {
            List<Sample> draws = new ArrayList<>();
            for (int k = 0; k < samples; k++) {
                long mine = Philox.key(Philox.key(key, question.document()), question.chunk(), k);
                draws.add(draw(posterior[question.text().at(0)], new Draws(mine)));
            }
            all.add(draws);
        }
        return all;
    }

    private Sample draw(double[][] law, Draws draws) {
        int[] tokens = new int[limit];
        int last = symbols;
        double logQ = 0;
        for (int n = 0; n < limit; n++) {
            int next = draws.index(law[last]);
            logQ += Math.log(law[last][next]);
            tokens[n] = next;
            if (next == symbols) {
                return new Sample(Tokens.of(tokens).slice(0, n + 1), logQ, true);
            }
            last = next;
        }
        return new Sample(Tokens.of(tokens), logQ, false);
    }

    @Override
    public List<List<JointScore>> score(List<Question> questions, List<List<Tokens>> latents) {
        List<List<JointScore>> all = new ArrayList<>();
        for (int i = 0; i < questions.size(); i++) {
            int x = questions.get(i).text().at(0);
            all.add(latents.get(i).stream().map(z -> score(x, z)).toList());
        }
        return all;
    }

    private JointScore score(int x, Tokens thought) {
        double logPrior = 0;
        int last = symbols;
        for (int i = 0; i < thought.size(); i++) {
            logPrior += Math.log(prior[last][thought.at(i)]);
            last = thought.at(i);
        }
        return new JointScore(logPrior + Math.log(prior[last][symbols]), Math.log(emission[last][x]));
    }

    private static double[][] laws(int rows, int columns, Draws draws) {
        double[][] laws = new double[rows][columns];
        for (double[] law : laws) {
            double total = 0;
            for (int i = 0; i < columns; i++) {
                law[i] = 0.1 + draws.uniform();
                total += law[i];
            }
            for (int i = 0; i < columns; i++) {
                law[i] /= total;
            }
        }
        return laws;
    }
}
