package subtext.evaluate;

import java.util.Locale;

/**
 * Something about a run that its reader should know before believing it.
 *
 * @param kind what was looked at
 * @param level how much it matters
 * @param value what was found
 * @param threshold the bound it crossed
 */
public record Warning(Kind kind, Level level, double value, double threshold) {
    /** How much it matters. The run goes on in either case. */
    public enum Level {
        /** To be known when reading the figures. */
        WARN("warning"),
        /** The figures mean nothing as they are. */
        SERIOUS("serious warning");

        private final String label;

        Level(String label) {
            this.label = label;
        }

        /** {@return the level in words, for people} */
        public String label() {
            return label;
        }
    }

    /** What can go wrong, with the advice for it. */
    public enum Kind {
        /** One of the K draws takes the weight of all. */
        WEIGHT_DEGENERACY(
                "median effective sample size over K",
                "one draw takes nearly all the weight, so choosing is arg max and a larger K buys little;"
                        + " look at the spread of the log-weights, shorten the thoughts or train the posterior longer"),
        /** Sampler and scorer disagree about the same token. */
        LOG_PROB_MISMATCH(
                "largest difference between the sampler's and the scorer's log-probability of a token",
                "weights compare two different models; run `doctor` and report the device and library"),
        /** Thoughts reach the length limit before their end. */
        TRUNCATION(
                "share of thoughts cut off at the length limit",
                "cut thoughts have no weight and teach nothing; raise the limit on thought tokens"),
        /** Thoughts are closed with a marker in them. */
        MALFORMED(
                "share of thoughts that hold another marker before they close",
                "such thoughts have no weight and teach nothing, and a higher limit does not help; train longer or on more warm-start thoughts,"
                        + " and read the printed chunks"),
        /** Weights go with the length of the thought. */
        LENGTH_BIAS(
                "correlation of log-weight and length",
                "weights choose by length; compare chosen with proposed lengths, and lengthen the warm start's variety"),
        /** Thoughts of different chunks grow alike from iteration to iteration. */
        DIVERSITY_COLLAPSE(
                "fall of distinct 3-grams since the first iteration",
                "thoughts grow alike; use fewer iterations, fewer epochs per iteration or a larger K"),
        /** Thoughts say the same over and over. */
        REPETITION(
                "share of thoughts that compress more than four times",
                "thoughts repeat themselves; read the printed chunks, and train longer or on cleaner warm-start thoughts"),
        /** Thoughts repeat the text they should explain. */
        COPYING(
                "share of chunks whose thought copies the text it explains",
                "a thought that holds the answer explains it for nothing; check that the weight counts log p(z), and watch the"
                        + " likelihood under prior thoughts"),
        /** Thoughts from the prior do harm where those from the posterior do not. */
        PRIOR_GAP(
                "nats per document by which thoughts drawn without seeing the text are worse than no thought",
                "the model uses thoughts only when it has seen the answer; train longer or raise the share of prior order"),
        /** Thoughts close before they say anything. */
        EMPTY_THOUGHTS(
                "share of empty thoughts", "the model skips thinking; check the warm-start thoughts for empty ones"),
        /** Chunks go into training raw, since none of their draws can be used. */
        UNEXPLAINED(
                "share of chunks with no usable draw",
                "these chunks are trained on without a thought; raise K, and see whether their draws are cut off or malformed"),
        /** The held-out bound falls while training goes on. */
        HELD_OUT_WORSE(
                "iterations in a row whose held-out bound got worse",
                "the M-step fits the drawn thoughts and not the world; stop here, or use fewer epochs"),
        /** Held-out text was trained on. */
        LEAKAGE(
                "share of held-out chunks that stand in the training text, whole or by 13 words in a row",
                "their figures are not held out; the notice names the documents: take them out of the corpus, or let `prepare` find"
                        + " what is nearly equal");

        private final String what;
        private final String advice;

        Kind(String what, String advice) {
            this.what = what;
            this.advice = advice;
        }

        /** {@return the quantity, in words} */
        public String what() {
            return what;
        }

        /** {@return what it means and what to do, in one sentence without a full stop} */
        public String advice() {
            return advice;
        }
    }

    /** {@return one line for a person: quantity, value, bound, advice} */
    public String sentence() {
        return String.format(Locale.ROOT, "%s is %.3g (bound %.3g): %s.", kind.what(), value, threshold, kind.advice());
    }
}
