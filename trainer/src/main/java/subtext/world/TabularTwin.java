package subtext.world;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import subtext.em.JointScore;
import subtext.em.LatentModel;
import subtext.em.LogWeights;
import subtext.em.Question;
import subtext.em.Selection;
import subtext.generate.Sample;
import subtext.random.Draws;
import subtext.random.Philox;
import subtext.text.Tokens;

/**
 * A model of a chain world made of one table T[g][s] -> law of the next state, with nothing to approximate: log p(x | q) by the
 * forward recursion, the posterior by backward messages, expected counts by forward-backward (Rabiner 1989). It stands where the network
 * stands, so every estimator and the E-step can be held against the truth.
 *
 * <p>p(z, x | q) = prod_t T[g_t][z_{t-1}][z_t] * prod_{r in readouts} e(x_r | z_r), where a readout tells the state rightly with
 * probability 1 - noise and otherwise any state with equal chance. The closing marker of a thought is certain.
 */
public final class TabularTwin implements LatentModel {
    /** Where thoughts are drawn from: the law q(z | x, q). */
    public sealed interface Proposal permits Prior, Tempered, Mixed, Posterior {}

    /** q = p(z | question): blind to the answer. */
    public record Prior() implements Proposal {}

    /**
     * The prior with every step's law raised to 1 / temperature.
     *
     * @param temperature above 0; more than 1 evens the laws out, less sharpens them
     */
    public record Tempered(double temperature) implements Proposal {
        /**
         * Checks the temperature.
         *
         * @throws IllegalArgumentException unless it is above 0
         */
        public Tempered {
            if (!(temperature > 0)) {
                throw new IllegalArgumentException("temperature: expected > 0, got " + temperature);
            }
        }
    }

    /**
     * The prior with a share of every step's law handed to all states evenly.
     *
     * @param uniformShare handed out evenly, 0 to 1
     */
    public record Mixed(double uniformShare) implements Proposal {
        /**
         * Checks the share.
         *
         * @throws IllegalArgumentException unless it is from 0 to 1
         */
        public Mixed {
            requireShare(uniformShare);
        }
    }

    /**
     * The exact posterior under the table with a share of every step's law handed out evenly; 0 is the model's own posterior.
     *
     * @param uniformShare handed out evenly, 0 to 1
     */
    public record Posterior(double uniformShare) implements Proposal {
        /**
         * Checks the share.
         *
         * @throws IllegalArgumentException unless it is from 0 to 1
         */
        public Posterior {
            requireShare(uniformShare);
        }

        /** {@return the model's own posterior: nothing handed out} */
        public static Posterior exact() {
            return new Posterior(0);
        }
    }

    /** Weighted counts of steps, from which a table is made. */
    public static final class Counts {
        private final ChainWorld world;
        private final double[][][] seen; // [generator][state][next]

        /**
         * No step seen yet, of this world.
         *
         * @param world whose rules and states are counted: a number for each (rule, state, next state)
         */
        public Counts(ChainWorld world) {
            this.world = world;
            int n = world.plan().states();
            this.seen = new double[world.plan().generators()][n][n];
        }

        /**
         * Adds the steps of one thought. A thought that is not well formed is left out.
         *
         * @param question start state and rules, 1 + depth tokens
         * @param thought the state after each step, without the closing marker
         * @param weight counted for each of its steps, 0 or more
         * @return this
         */
        public Counts add(Tokens question, Tokens thought, double weight) {
            if (world.wellFormed(thought)) {
                int state = world.stateOf(question.at(0));
                for (int t = 0; t < thought.size(); t++) {
                    int to = world.stateOf(thought.at(t));
                    seen[rule(world, question, t)][state][to] += weight;
                    state = to;
                }
            }
            return this;
        }

        /**
         * {@return the table of (count + smoothing) / (total + n smoothing); an unseen row without smoothing is uniform}
         *
         * @param smoothing added to each count, 0 or more
         * @param noise chance that a readout tells any state instead of the right one, 0 to 1
         * @param proposal where its thoughts are drawn from
         * @throws IllegalArgumentException unless the noise is from 0 to 1
         */
        public TabularTwin model(double smoothing, double noise, Proposal proposal) {
            int n = world.plan().states();
            double[][][] table = new double[seen.length][n][n];
            for (int g = 0; g < seen.length; g++) {
                for (int s = 0; s < n; s++) {
                    double total = n * smoothing;
                    for (double count : seen[g][s]) {
                        total += count;
                    }
                    for (int to = 0; to < n; to++) {
                        table[g][s][to] = total > 0 ? (seen[g][s][to] + smoothing) / total : 1.0 / n;
                    }
                }
            }
            return new TabularTwin(world, table, noise, proposal);
        }
    }

    private final ChainWorld world;
    private final double[][][] table; // [generator][state][next], rows sum to 1
    private final double[][][] proposalTable;
    private final double noise;
    private final Proposal proposal;

    private TabularTwin(ChainWorld world, double[][][] table, double noise, Proposal proposal) {
        if (!(noise >= 0 && noise <= 1)) {
            throw new IllegalArgumentException("noise: expected 0..1, got " + noise);
        }
        this.world = world;
        this.table = table;
        this.noise = noise;
        this.proposal = proposal;
        this.proposalTable = proposalTable(table, proposal);
    }

    /**
     * {@return the table learnt from problems whose thoughts are shown: a warm start}
     *
     * @param world that the problems are of
     * @param shown each counted once; none give the uniform table
     * @param smoothing added to each count, 0 or more
     * @param noise chance that a readout tells any state instead of the right one, 0 to 1
     * @param proposal where its thoughts are drawn from
     * @throws IllegalArgumentException unless the noise is from 0 to 1
     */
    public static TabularTwin warmStart(
            ChainWorld world, List<ChainWorld.Problem> shown, double smoothing, double noise, Proposal proposal) {
        Counts counts = new Counts(world);
        shown.forEach(problem -> counts.add(problem.question(), problem.thought(), 1));
        return counts.model(smoothing, noise, proposal);
    }

    /**
     * {@return the same model with thoughts drawn from another law}
     *
     * @param other law, derived from the same table
     */
    public TabularTwin with(Proposal other) {
        return new TabularTwin(world, table, noise, other);
    }

    /**
     * {@return T[g][s][next], a probability}
     *
     * @param generator g, the rule, in [0, generators)
     * @param state s, before the step, in [0, states)
     * @param next after it, in [0, states)
     */
    public double probability(int generator, int state, int next) {
        return table[generator][state][next];
    }

    // ---- the E-step's view
    // -----------------------------------------------------------------------------------------------------

    @Override
    public List<List<Sample>> drawPosterior(List<Question> questions, int samples, long key) {
        List<List<Sample>> all = new ArrayList<>(questions.size());
        for (Question question : questions) {
            long chunkKey = Philox.key(Philox.key(key, question.document()), question.chunk());
            double[][] ahead = proposal instanceof Posterior ? ahead(question, proposalTable) : null;
            List<Sample> draws = new ArrayList<>(samples);
            for (int k = 0; k < samples; k++) {
                draws.add(draw(question, ahead, new Draws(Philox.key(chunkKey, k))));
            }
            all.add(List.copyOf(draws));
        }
        return List.copyOf(all);
    }

    private Sample draw(Question question, double[][] ahead, Draws draws) {
        int depth = world.plan().depth();
        int[] thought = new int[depth + 1];
        double logQ = 0;
        int state = world.stateOf(question.context().at(0));
        for (int t = 0; t < depth; t++) {
            double[] law = stepLaw(question, t, state, ahead);
            if (law == null) {
                return new Sample(Tokens.of(), 0, false); // no thought explains x at all: nothing to draw
            }
            state = draws.index(law);
            logQ += Math.log(law[state]);
            thought[t] = world.state(state);
        }
        thought[depth] = world.controls().endLatent();
        return new Sample(Tokens.of(thought), logQ, true);
    }

    /** The proposal's law of z_t given z_{t-1}, normalised; null if it has no mass. */
    private double[] stepLaw(Question question, int t, int state, double[][] ahead) {
        double[] row = proposalTable[rule(world, question.context(), t)][state];
        if (ahead == null) {
            return row;
        }
        double[] law = new double[row.length];
        double total = 0;
        for (int to = 0; to < law.length; to++) {
            law[to] = row[to] * emission(question, t, to) * ahead[t][to];
            total += law[to];
        }
        if (total == 0) {
            return null;
        }
        for (int to = 0; to < law.length; to++) {
            law[to] /= total;
        }
        return law;
    }

    /**
     * {@return log q(z | x, q) of a thought in nats; minus infinity if the proposal cannot give it}
     *
     * @param question q, and the answer x that a posterior looks at
     * @param thought z, without its closing marker
     */
    public double logProposal(Question question, Tokens thought) {
        if (!world.wellFormed(thought)) {
            return Double.NEGATIVE_INFINITY;
        }
        double[][] ahead = proposal instanceof Posterior ? ahead(question, proposalTable) : null;
        double logQ = 0;
        int state = world.stateOf(question.context().at(0));
        for (int t = 0; t < thought.size(); t++) {
            double[] law = stepLaw(question, t, state, ahead);
            if (law == null) {
                return Double.NEGATIVE_INFINITY;
            }
            state = world.stateOf(thought.at(t));
            logQ += Math.log(law[state]);
        }
        return logQ;
    }

    @Override
    public List<List<JointScore>> score(List<Question> questions, List<List<Tokens>> latents) {
        List<List<JointScore>> all = new ArrayList<>(questions.size());
        for (int i = 0; i < questions.size(); i++) {
            Question question = questions.get(i);
            all.add(latents.get(i).stream().map(z -> score(question, z)).toList());
        }
        return List.copyOf(all);
    }

    private JointScore score(Question question, Tokens thought) {
        if (!world.wellFormed(thought)) {
            return new JointScore(Double.NEGATIVE_INFINITY, Double.NEGATIVE_INFINITY);
        }
        double logPrior = 0;
        double logLikelihood = 0;
        int state = world.stateOf(question.context().at(0));
        for (int t = 0; t < thought.size(); t++) {
            int to = world.stateOf(thought.at(t));
            logPrior += Math.log(table[rule(world, question.context(), t)][state][to]);
            logLikelihood += Math.log(emission(question, t, to));
            state = to;
        }
        return new JointScore(logPrior, logLikelihood);
    }

    // ---- exact quantities
    // ------------------------------------------------------------------------------------------------------

    /**
     * {@return log p(x | q) in nats, by the forward recursion over all n^depth thoughts; minus infinity if none gives x}
     *
     * @param question q, and the answer x
     */
    public double logLikelihood(Question question) {
        int n = world.plan().states();
        double[] forward = new double[n]; // p(x so far, z_t = s)
        forward[world.stateOf(question.context().at(0))] = 1;
        double log = 0;
        for (int t = 0; t < world.plan().depth(); t++) {
            double[][] rule = table[rule(world, question.context(), t)];
            double[] next = new double[n];
            double total = 0;
            for (int to = 0; to < n; to++) {
                double mass = 0;
                for (int s = 0; s < n; s++) {
                    mass += forward[s] * rule[s][to];
                }
                next[to] = mass * emission(question, t, to);
                total += next[to];
            }
            if (total == 0) {
                return Double.NEGATIVE_INFINITY;
            }
            for (int to = 0; to < n; to++) {
                next[to] /= total; // keeps long chains from underflow
            }
            log += Math.log(total);
            forward = next;
        }
        return log;
    }

    /**
     * {@return mean of -log p(x | q) in nats per document}
     *
     * @param questions at least one
     * @throws java.util.NoSuchElementException if there is none
     */
    public double meanNll(List<Question> questions) {
        return -questions.stream().mapToDouble(this::logLikelihood).average().orElseThrow();
    }

    /**
     * Adds the expected steps under the exact posterior of z to the counts: depth in all, none if x is impossible under the table.
     *
     * @param question q, and the answer x
     * @param counts of the same world, added to
     */
    public void addExpectedSteps(Question question, Counts counts) {
        int n = world.plan().states();
        double[][] ahead = ahead(question, table);
        double[] here = new double[n]; // p(z_{t-1} = s | x)
        here[world.stateOf(question.context().at(0))] = 1;
        for (int t = 0; t < world.plan().depth(); t++) {
            int g = rule(world, question.context(), t);
            double[] next = new double[n];
            for (int s = 0; s < n; s++) {
                if (here[s] == 0) {
                    continue;
                }
                double total = 0;
                for (int to = 0; to < n; to++) {
                    total += table[g][s][to] * emission(question, t, to) * ahead[t][to];
                }
                if (total == 0) {
                    return; // x is impossible under this table: no posterior
                }
                for (int to = 0; to < n; to++) {
                    double step = here[s] * table[g][s][to] * emission(question, t, to) * ahead[t][to] / total;
                    counts.seen[g][s][to] += step;
                    next[to] += step;
                }
            }
            here = next;
        }
    }

    /**
     * The most likely thought step by step in the prior role: how the model thinks when it cannot see the answer.
     *
     * @param question start state and rules, 1 + depth tokens
     * @return the state after each step, depth tokens; of equally likely states the lowest
     */
    public Tokens greedyThought(Tokens question) {
        int[] thought = new int[world.plan().depth()];
        int state = world.stateOf(question.at(0));
        for (int t = 0; t < thought.length; t++) {
            double[] law = table[rule(world, question, t)][state];
            int best = 0;
            for (int to = 1; to < law.length; to++) {
                best = law[to] > law[best] ? to : best;
            }
            state = best;
            thought[t] = world.state(state);
        }
        return Tokens.of(thought);
    }

    /**
     * {@return share of problems, 0 to 1, whose final state the greedy thought reaches}
     *
     * @param problems of the same world, at least one
     */
    public double accuracy(List<ChainWorld.Problem> problems) {
        long right = problems.stream()
                .filter(problem -> {
                    Tokens thought = greedyThought(problem.question());
                    return thought.at(thought.size() - 1) == problem.thought().at(thought.size() - 1);
                })
                .count();
        return (double) right / problems.size();
    }

    // ---- expectation-maximisation on the table
    // ---------------------------------------------------------------------------------

    /**
     * {@return the table after one iteration of exact EM, from expected counts. Without smoothing the likelihood cannot fall}
     *
     * @param corpus questions of the same world, each counted once
     * @param smoothing added to each count, 0 or more
     */
    public TabularTwin exactStep(List<Question> corpus, double smoothing) {
        Counts counts = new Counts(world);
        corpus.forEach(question -> addExpectedSteps(question, counts));
        return counts.model(smoothing, noise, proposal);
    }

    /**
     * One iteration as the trainer makes it: draw K thoughts for each question, weigh them by p(z, x) / q(z), choose one, and learn the
     * table afresh from the chosen.
     *
     * @param corpus questions of the same world
     * @param samples K, of each, 1 or more
     * @param selection how one of the K is chosen; a question whose samples all have weight 0 is left out
     * @param smoothing added to each count, 0 or more
     * @param key of all draws and choices of this iteration
     * @return the table learnt; noise and proposal stay
     */
    public TabularTwin sampledStep(
            List<Question> corpus, int samples, Selection selection, double smoothing, long key) {
        Counts counts = new Counts(world);
        List<List<Sample>> drawn = drawPosterior(corpus, samples, Philox.key(key, "draw"));
        List<List<Tokens>> thoughts = drawn.stream()
                .map(draws -> draws.stream().map(TabularTwin::withoutEnd).toList())
                .toList();
        List<List<JointScore>> scores = score(corpus, thoughts);
        long choice = Philox.key(key, "choose");
        for (int i = 0; i < corpus.size(); i++) {
            double[] logWeights = new double[samples];
            for (int k = 0; k < samples; k++) {
                Sample sample = drawn.get(i).get(k);
                logWeights[k] =
                        sample.finished() ? scores.get(i).get(k).logJoint() - sample.logQ() : Double.NEGATIVE_INFINITY;
            }
            Question question = corpus.get(i);
            int chosen = selection.choose(
                    LogWeights.of(logWeights), Philox.key(Philox.key(choice, question.document()), question.chunk()));
            if (chosen >= 0) {
                counts.add(question.context(), thoughts.get(i).get(chosen), 1);
            }
        }
        return counts.model(smoothing, noise, proposal);
    }

    // ---- parts
    // -----------------------------------------------------------------------------------------------------------------

    private static Tokens withoutEnd(Sample sample) {
        Tokens tokens = sample.tokens();
        return sample.finished() ? tokens.slice(0, tokens.size() - 1) : tokens;
    }

    /** p(what the answer tells of step t, counted from 0 | z_t = state); 1 where it tells nothing. */
    private double emission(Question question, int t, int state) {
        int readout = world.plan().readouts().indexOf(t + 1);
        if (readout < 0) {
            return 1;
        }
        double elsewhere = noise / world.plan().states();
        return world.stateOf(question.text().at(readout)) == state ? 1 - noise + elsewhere : elsewhere;
    }

    /** ahead[t][s], up to a factor per t: p(what the answer tells after step t | z_t = s) under a table. */
    private double[][] ahead(Question question, double[][][] law) {
        int n = world.plan().states();
        int depth = world.plan().depth();
        double[][] ahead = new double[depth][n];
        Arrays.fill(ahead[depth - 1], 1);
        for (int t = depth - 2; t >= 0; t--) {
            double[][] rule = law[rule(world, question.context(), t + 1)];
            double largest = 0;
            for (int s = 0; s < n; s++) {
                double mass = 0;
                for (int to = 0; to < n; to++) {
                    mass += rule[s][to] * emission(question, t + 1, to) * ahead[t + 1][to];
                }
                ahead[t][s] = mass;
                largest = Math.max(largest, mass);
            }
            for (int s = 0; s < n && largest > 0; s++) {
                ahead[t][s] /= largest;
            }
        }
        return ahead;
    }

    /** The rule of step t, counted from 0, that a question names. */
    private static int rule(ChainWorld world, Tokens question, int t) {
        return world.generatorOf(question.at(1 + t));
    }

    private static double[][][] proposalTable(double[][][] table, Proposal proposal) {
        return switch (proposal) {
            case Prior prior -> table;
            case Tempered tempered -> mapRows(table, row -> temper(row, tempered.temperature()));
            case Mixed mixed -> mapRows(table, row -> mix(row, mixed.uniformShare()));
            case Posterior posterior -> mapRows(table, row -> mix(row, posterior.uniformShare()));
        };
    }

    private static double[][][] mapRows(double[][][] table, UnaryOperator<double[]> map) {
        double[][][] mapped = new double[table.length][][];
        for (int g = 0; g < table.length; g++) {
            mapped[g] = Arrays.stream(table[g]).map(map).toArray(double[][]::new);
        }
        return mapped;
    }

    private static double[] temper(double[] row, double temperature) {
        double[] tempered = new double[row.length];
        double total = 0;
        for (int i = 0; i < row.length; i++) {
            tempered[i] = Math.pow(row[i], 1 / temperature);
            total += tempered[i];
        }
        for (int i = 0; i < row.length; i++) {
            tempered[i] /= total;
        }
        return tempered;
    }

    private static double[] mix(double[] row, double share) {
        double[] mixed = new double[row.length];
        for (int i = 0; i < row.length; i++) {
            mixed[i] = (1 - share) * row[i] + share / row.length;
        }
        return mixed;
    }

    private static void requireShare(double share) {
        if (!(share >= 0 && share <= 1)) {
            throw new IllegalArgumentException("uniformShare: expected 0..1, got " + share);
        }
    }
}
