package subtext.world;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import subtext.data.Chunk;
import subtext.data.Document;
import subtext.random.Philox;
import subtext.text.ControlTokens;
import subtext.text.SymbolTokenizer;
import subtext.text.Tokens;

/**
 * The chain world: hidden rules g_1 .. g_G, each a permutation of n states, and problems that name a start and a chain of rules and
 * reveal a few of the states it passes through.
 *
 * <pre>
 *   question   s5 c a f b d e          start, then one rule per step: a chunk that takes no thought
 *   thought    s9 s0 s3 s12 s7 s2      the state after every step: what the text leaves unsaid
 *   answer     s3 s2                   the states after the readout steps: the chunk to explain
 * </pre>
 *
 * Composing {@code depth} rules at once is hard to learn from answers alone, each single step is easy, and a wrong thought seldom
 * explains the answer. Rules and problems are functions of (seed, index). Every question has one place in a keyed ordering of all
 * questions, and the splits take turns along it, so no two problems of any splits share a question.
 */
public final class ChainWorld {
    /** Salts of the keys drawn from the world's seed. */
    private static final String RULES = "chain rules",
            ORDER = "chain order",
            TEACHER = "chain teacher",
            SLIPS = "chain slips";

    /**
     * What makes a world.
     *
     * @param states n, number of states
     * @param generators G, number of hidden rules, at most 26 so that each has a letter
     * @param depth L, steps in a problem
     * @param readouts the steps, 1 .. depth in rising order, after which the answer tells the state; the last is the answer proper
     * @param seed of rules and problems
     */
    public record Plan(int states, int generators, int depth, List<Integer> readouts, long seed) {
        private static final int MOST_STATES = 4096;
        private static final long MOST_QUESTIONS = 1L << 60;

        /**
         * Copies the readouts.
         *
         * @throws IllegalArgumentException naming the first value that is out of range
         */
        public Plan {
            readouts = List.copyOf(readouts);
            require(states >= 2 && states <= MOST_STATES, "states", "2 to " + MOST_STATES, states);
            require(generators >= 1 && generators <= 26, "generators", "1 to 26", generators);
            require(
                    depth >= 1 && states * Math.pow(generators, depth) <= MOST_QUESTIONS,
                    "depth",
                    "at least 1, and states * generators^depth at most " + MOST_QUESTIONS,
                    depth);
            require(!readouts.isEmpty(), "readouts", "at least one step", readouts);
            int previous = 0;
            for (int readout : readouts) {
                require(readout > previous && readout <= depth, "readouts", "rising steps in 1.." + depth, readouts);
                previous = readout;
            }
        }

        /**
         * {@return the plan of Chain-16: 16 states, 8 rules, 6 steps, the states after steps 3 and 6 told}
         *
         * @param seed of rules and problems, any number
         */
        public static Plan chain16(long seed) {
            return new Plan(16, 8, 6, List.of(3, 6), seed);
        }

        private static void require(boolean holds, String field, String allowed, Object value) {
            if (!holds) {
                throw new IllegalArgumentException(field + ": expected " + allowed + ", got " + value);
            }
        }
    }

    /** Disjoint sets of problems. */
    public enum Split {
        /** Problems whose thoughts are shown to the warm start. */
        WARM_START,
        /** The corpus: thoughts hidden. */
        TRAIN,
        /** For early stopping and choices. */
        DEV,
        /** For reported figures. */
        HELD_OUT;

        private String label() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }
    }

    /**
     * A problem with its truth.
     *
     * @param id unique in the world, such as {@code chain-0-train-17}; {@link ChainWorld#problem(String)} reads it back
     * @param question start state and rules, 1 + depth tokens
     * @param thought the state after each step, depth tokens
     * @param answer the states after the readout steps
     */
    public record Problem(String id, Tokens question, Tokens thought, Tokens answer) {
        /** {@return question chunk, then answer chunk; only the answer takes a thought} */
        public Document document() {
            return new Document(id, List.of(new Chunk(question, false), new Chunk(answer, true)));
        }

        /**
         * The same said otherwise, without its thought: the start named after the rules, the readouts told last first, and both. The world
         * has one name for each thing, so nothing is renamed.
         *
         * @return three documents, named after this one with {@code /1}, {@code /2} and {@code /3}
         */
        public List<Document> paraphrases() {
            Tokens startLast = Tokens.concat(question.slice(1, question.size()), question.slice(0, 1));
            int[] backwards = IntStream.range(0, answer.size())
                    .map(i -> answer.at(answer.size() - 1 - i))
                    .toArray();
            return List.of(
                    new Document(id + "/1", List.of(new Chunk(startLast, false), new Chunk(answer, true))),
                    new Document(id + "/2", List.of(new Chunk(question, false), new Chunk(Tokens.of(backwards), true))),
                    new Document(
                            id + "/3", List.of(new Chunk(startLast, false), new Chunk(Tokens.of(backwards), true))));
        }
    }

    /**
     * How a thought and an answer compare with the truth.
     *
     * @param wellFormed the thought is {@code depth} state tokens and nothing else
     * @param exact the thought is the true one
     * @param steps share of the steps, 0 to 1, whose state is the true one at that place
     * @param answer the last readout of the answer is right
     */
    public record Verdict(boolean wellFormed, boolean exact, double steps, boolean answer) {
        /** {@return whether the answer is right for a wrong reason} */
        public boolean falsePositive() {
            return answer && !exact;
        }
    }

    private final Plan plan;
    private final int[][] rules; // [generator][state] -> state
    private final SymbolTokenizer tokenizer;
    private final int firstState; // token ids; those of states follow each other, those of rules too
    private final int firstGenerator;
    private final KeyedOrder order;

    /**
     * Draws the rules and orders the questions: the same plan gives the same world.
     *
     * @param plan checked already; what it asks for is drawn at once, (generators, states) numbers
     */
    public ChainWorld(Plan plan) {
        this.plan = plan;
        this.tokenizer = new SymbolTokenizer(symbols());
        this.firstState = tokenizer.id("s0");
        this.firstGenerator = tokenizer.id(letter(0));
        long key = Philox.key(plan.seed(), RULES);
        this.rules = IntStream.range(0, plan.generators())
                .mapToObj(g -> Philox.permutation(Philox.key(key, g), plan.states()))
                .toArray(int[][]::new);
        long questions = plan.states();
        for (int step = 0; step < plan.depth(); step++) {
            questions = Math.multiplyExact(questions, (long) plan.generators());
        }
        this.order = new KeyedOrder(questions, Philox.key(plan.seed(), ORDER));
    }

    /** {@return what the world was made of} */
    public Plan plan() {
        return plan;
    }

    /**
     * {@return the state that a rule leads to, in [0, states): the hidden knowledge}
     *
     * @param generator the rule, in [0, generators)
     * @param state it is applied to, in [0, states)
     */
    public int next(int generator, int state) {
        return rules[generator][state];
    }

    // ---- vocabulary: states, generators and the six control tokens, numbered by the tokenizer
    // ------------------------------------

    /**
     * {@return the token id of a state}
     *
     * @param state in [0, states)
     */
    public int state(int state) {
        return firstState + state;
    }

    /**
     * {@return the state of a token, in [0, states); -1 if the token is not a state}
     *
     * @param token any id
     */
    public int stateOf(int token) {
        return token >= firstState && token < firstState + plan.states() ? token - firstState : -1;
    }

    /**
     * {@return the token id of a rule}
     *
     * @param generator in [0, generators)
     */
    public int generator(int generator) {
        return firstGenerator + generator;
    }

    /**
     * {@return the rule of a token, in [0, generators); -1 if the token is not a rule}
     *
     * @param token any id
     */
    public int generatorOf(int token) {
        int generator = token - firstGenerator;
        return generator >= 0 && generator < plan.generators() ? generator : -1;
    }

    /** {@return names of the tokens that are not control tokens, in the order of their ids: s0, s1, ..., a, b, ...} */
    public List<String> symbols() {
        List<String> names = new ArrayList<>();
        for (int s = 0; s < plan.states(); s++) {
            names.add("s" + s);
        }
        for (int g = 0; g < plan.generators(); g++) {
            names.add(letter(g));
        }
        return List.copyOf(names);
    }

    /** {@return the tokenizer whose ids the problems are written in} */
    public SymbolTokenizer tokenizer() {
        return tokenizer;
    }

    /** {@return the control tokens of the tokenizer, all six} */
    public ControlTokens controls() {
        return tokenizer.controls();
    }

    /** {@return number of token ids: 30 for Chain-16} */
    public int vocabulary() {
        return tokenizer.vocabulary();
    }

    /** The letter of a rule. */
    static String letter(int generator) {
        return String.valueOf((char) ('a' + generator));
    }

    // ---- problems
    // --------------------------------------------------------------------------------------------------------------

    /** {@return how many problems each split can give} */
    public long splitSize() {
        return order.size() / Split.values().length;
    }

    /**
     * {@return a problem of a split, the same whenever it is asked for}
     *
     * @param split whose it is
     * @param index in [0, {@link #splitSize})
     * @throws IllegalArgumentException if the split has not so many problems
     */
    public Problem problem(Split split, long index) {
        if (index < 0 || index >= splitSize()) {
            throw new IllegalArgumentException(
                    "index: expected 0.." + (splitSize() - 1) + " in a world of this size, got " + index);
        }
        // the splits take turns, so a longer corpus leaves every other split as it was
        long code = order.at(index * Split.values().length + split.ordinal());
        int[] question = new int[1 + plan.depth()];
        int[] thought = new int[plan.depth()];
        int state = (int) (code % plan.states());
        code /= plan.states();
        question[0] = state(state);
        for (int step = 0; step < plan.depth(); step++) {
            int g = (int) (code % plan.generators());
            code /= plan.generators();
            question[1 + step] = generator(g);
            state = next(g, state);
            thought[step] = state(state);
        }
        int[] answer =
                plan.readouts().stream().mapToInt(step -> thought[step - 1]).toArray();
        String id = "chain-" + plan.seed() + "-" + split.label() + "-" + index;
        return new Problem(id, Tokens.of(question), Tokens.of(thought), Tokens.of(answer));
    }

    /**
     * {@return problems 0 .. count - 1 of a split}
     *
     * @param split whose they are
     * @param count how many, at most {@link #splitSize}
     * @throws IllegalArgumentException if the split has not so many problems
     */
    public List<Problem> problems(Split split, int count) {
        return LongStream.range(0, count)
                .mapToObj(index -> problem(split, index))
                .toList();
    }

    /**
     * {@return the problem of an id}
     *
     * @param id that this world gave, or one of the same plan
     * @throws IllegalArgumentException if it is of another seed, or no id of a problem
     */
    public Problem problem(String id) {
        for (Split split : Split.values()) {
            String prefix = "chain-" + plan.seed() + "-" + split.label() + "-";
            if (id.startsWith(prefix)) {
                try {
                    return problem(split, Long.parseLong(id.substring(prefix.length())));
                } catch (NumberFormatException e) {
                    break; // not a number after the prefix: not an id of ours, said below
                }
            }
        }
        throw new IllegalArgumentException(
                "id: expected one of this chain world (seed " + plan.seed() + "), got " + id);
    }

    /**
     * The thought that a teacher writes who knows only the first rules and guesses the state after any other, evenly and afresh each time;
     * from a guess on it goes by its rules. So a model that learns from it can know no more than the teacher, however long it
     * trains, and knows how little it knows: what is left to find is a matter of information, not of optimisation.
     *
     * @param problem of this world
     * @param knownRules how many of the rules the teacher knows; all of them give the true thought
     * @return the thought, a state after each step: depth tokens, the same at every call
     * @throws IllegalArgumentException if the world has not so many rules
     */
    public Tokens taught(Problem problem, int knownRules) {
        if (knownRules < 0 || knownRules > plan.generators()) {
            throw new IllegalArgumentException("knownRules: expected 0.." + plan.generators() + ", got " + knownRules);
        }
        long key = Philox.key(Philox.key(plan.seed(), TEACHER), problem.id());
        int[] thought = new int[plan.depth()];
        int state = stateOf(problem.question().at(0));
        for (int step = 0; step < plan.depth(); step++) {
            int g = generatorOf(problem.question().at(1 + step));
            state = g < knownRules ? next(g, state) : Philox.below(key, step, plan.states());
            thought[step] = state(state);
        }
        return Tokens.of(thought);
    }

    /**
     * The thought of a teacher who knows every rule and now and then slips: at one step, any with the same chance, the state is another
     * than the true one, and the steps after go on from there.
     *
     * @param problem of this world
     * @param share of the problems at which the teacher slips, 0 to 1
     * @return the thought, a state after each step: depth tokens, the same at every call
     * @throws IllegalArgumentException unless the share is from 0 to 1
     */
    public Tokens slipping(Problem problem, double share) {
        if (!(share >= 0 && share <= 1)) {
            throw new IllegalArgumentException("share: expected 0 to 1, got " + share);
        }
        long key = Philox.key(Philox.key(plan.seed(), SLIPS), problem.id());
        if (Philox.uniform(key, 0) >= share) {
            return problem.thought();
        }
        int slip = Philox.below(key, 1, plan.depth());
        int[] thought = new int[plan.depth()];
        int state = stateOf(problem.question().at(0));
        for (int step = 0; step < plan.depth(); step++) {
            state = next(generatorOf(problem.question().at(1 + step)), state);
            if (step == slip) {
                state = (state + 1 + Philox.below(key, 2, plan.states() - 1)) % plan.states();
            }
            thought[step] = state(state);
        }
        return Tokens.of(thought);
    }

    // ---- checks
    // ----------------------------------------------------------------------------------------------------------------

    /**
     * {@return true if the thought is {@code depth} states and nothing else}
     *
     * @param thought any ids, without the closing marker
     */
    public boolean wellFormed(Tokens thought) {
        if (thought.size() != plan.depth()) {
            return false;
        }
        for (int i = 0; i < thought.size(); i++) {
            if (stateOf(thought.at(i)) < 0) {
                return false;
            }
        }
        return true;
    }

    /**
     * {@return share of the steps, 0 to 1, at which the thought has the true state; missing steps are wrong ones}
     *
     * @param problem that tells the truth
     * @param thought any ids, of any number; those after the last step are not looked at
     */
    public double stepAccuracy(Problem problem, Tokens thought) {
        int right = 0;
        for (int step = 0; step < Math.min(plan.depth(), thought.size()); step++) {
            right += thought.at(step) == problem.thought().at(step) ? 1 : 0;
        }
        return (double) right / plan.depth();
    }

    /**
     * {@return true if the token at the place of the last readout is the true final state}
     *
     * @param problem that tells the truth
     * @param answer any ids, of any number; what follows the last readout is not looked at
     */
    public boolean answerCorrect(Problem problem, Tokens answer) {
        int last = problem.answer().size() - 1;
        return answer.size() > last && answer.at(last) == problem.answer().at(last);
    }

    /**
     * {@return how a thought and an answer compare with the truth}
     *
     * @param problem that tells the truth
     * @param thought any ids, without the closing marker
     * @param answer any ids
     */
    public Verdict judge(Problem problem, Tokens thought, Tokens answer) {
        return new Verdict(
                wellFormed(thought),
                thought.equals(problem.thought()),
                stepAccuracy(problem, thought),
                answerCorrect(problem, answer));
    }
}
