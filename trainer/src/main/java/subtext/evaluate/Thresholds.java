package subtext.evaluate;

import subtext.bindings.EngineException;

/**
 * The bounds beyond which a figure of a run is warned of, with the advice of its {@link Warning.Kind}. They decide what is said and nothing
 * that is computed. In a configuration they are the keys {@code warnings.*}; a share of 1 or a correlation of 1 is never exceeded, which
 * switches its warning off, and so does a large number of nats or iterations.
 *
 * @param essShare least median of the effective sample size over K ({@link Warning.Kind#WEIGHT_DEGENERACY})
 * @param cutOff most thoughts cut off at the length limit, as a share ({@link Warning.Kind#TRUNCATION})
 * @param cutOffStop share of them beyond which the figures mean nothing
 * @param malformed most thoughts that were closed with a marker in them, as a share ({@link Warning.Kind#MALFORMED})
 * @param lengthCorrelation most correlation of log-weight and length, in absolute value ({@link Warning.Kind#LENGTH_BIAS})
 * @param distinctFall most fall of distinct 3-grams since the first iteration, as a share ({@link Warning.Kind#DIVERSITY_COLLAPSE})
 * @param repetitive most thoughts that compress more than four times, as a share ({@link Warning.Kind#REPETITION})
 * @param copying most chunks whose thought copies them, as a share ({@link Warning.Kind#COPYING})
 * @param empty most empty thoughts, as a share ({@link Warning.Kind#EMPTY_THOUGHTS})
 * @param unexplained most chunks with no usable draw, as a share ({@link Warning.Kind#UNEXPLAINED})
 * @param priorGap most nats per document by which thoughts drawn from the prior may be worse than none ({@link Warning.Kind#PRIOR_GAP})
 * @param heldOutWorse so many iterations in a row whose held-out bound got worse are warned of ({@link Warning.Kind#HELD_OUT_WORSE})
 * @param leaked most held-out chunks that stand in the training text, as a share ({@link Warning.Kind#LEAKAGE})
 */
public record Thresholds(
        double essShare,
        double cutOff,
        double cutOffStop,
        double malformed,
        double lengthCorrelation,
        double distinctFall,
        double repetitive,
        double copying,
        double empty,
        double unexplained,
        double priorGap,
        int heldOutWorse,
        double leaked) {

    /** The defaults. */
    public static final Thresholds DEFAULT =
            new Thresholds(0.3, 0.02, 0.10, 0.02, 0.5, 0.3, 0.01, 0.05, 0.05, 0.05, 0, 2, 0);

    /**
     * Checks that every bound is a share, or what else it is to be.
     *
     * @return this
     * @throws EngineException.InvalidConfig naming the key that is not
     */
    public Thresholds checked() {
        share("essShare", essShare);
        share("cutOff", cutOff);
        share("cutOffStop", cutOffStop);
        share("malformed", malformed);
        share("lengthCorrelation", lengthCorrelation);
        share("distinctFall", distinctFall);
        share("repetitive", repetitive);
        share("copying", copying);
        share("empty", empty);
        share("unexplained", unexplained);
        share("leaked", leaked);
        if (!(priorGap >= 0)) {
            throw new EngineException.InvalidConfig(
                    "warnings.priorGap: expected nats per document, at least 0, got " + priorGap);
        }
        if (heldOutWorse < 1) {
            throw new EngineException.InvalidConfig(
                    "warnings.heldOutWorse: expected at least 1 iteration, got " + heldOutWorse);
        }
        if (cutOffStop < cutOff) {
            throw new EngineException.InvalidConfig(
                    "warnings.cutOffStop: expected at least warnings.cutOff (" + cutOff + "), got " + cutOffStop);
        }
        return this;
    }

    private static void share(String key, double value) {
        if (!(value >= 0 && value <= 1)) {
            throw new EngineException.InvalidConfig("warnings." + key + ": expected 0 to 1, got " + value);
        }
    }
}
