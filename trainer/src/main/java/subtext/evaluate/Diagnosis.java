package subtext.evaluate;

import static subtext.evaluate.Warning.Kind.COPYING;
import static subtext.evaluate.Warning.Kind.DIVERSITY_COLLAPSE;
import static subtext.evaluate.Warning.Kind.EMPTY_THOUGHTS;
import static subtext.evaluate.Warning.Kind.HELD_OUT_WORSE;
import static subtext.evaluate.Warning.Kind.LEAKAGE;
import static subtext.evaluate.Warning.Kind.LENGTH_BIAS;
import static subtext.evaluate.Warning.Kind.LOG_PROB_MISMATCH;
import static subtext.evaluate.Warning.Kind.MALFORMED;
import static subtext.evaluate.Warning.Kind.PRIOR_GAP;
import static subtext.evaluate.Warning.Kind.REPETITION;
import static subtext.evaluate.Warning.Kind.TRUNCATION;
import static subtext.evaluate.Warning.Kind.UNEXPLAINED;
import static subtext.evaluate.Warning.Kind.WEIGHT_DEGENERACY;
import static subtext.evaluate.Warning.Level.SERIOUS;
import static subtext.evaluate.Warning.Level.WARN;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Turns what was measured into warnings, by the bounds of {@link Thresholds}. */
public final class Diagnosis {
    private Diagnosis() {}

    /**
     * Warnings about the draws of an E-step.
     *
     * @param now the E-step just done
     * @param first the first E-step of the run, if this is a later one: what variety is compared with
     * @param bounds beyond which a figure is warned of
     * @return one for each figure beyond its bound, in the order in which they are looked at; empty if all is well
     */
    public static List<Warning> ofEStep(EStepHealth now, Optional<EStepHealth> first, Thresholds bounds) {
        List<Warning> warnings = new ArrayList<>();
        if (now.samples() > 1 && now.essPerSample().median() < bounds.essShare()) {
            warnings.add(new Warning(WEIGHT_DEGENERACY, WARN, now.essPerSample().median(), bounds.essShare()));
        }
        if (now.cutOff() > bounds.cutOffStop()) {
            warnings.add(new Warning(TRUNCATION, SERIOUS, now.cutOff(), bounds.cutOffStop()));
        } else {
            above(warnings, new Warning(TRUNCATION, WARN, now.cutOff(), bounds.cutOff()));
        }
        above(warnings, new Warning(MALFORMED, WARN, now.malformed(), bounds.malformed()));
        above(warnings, new Warning(LENGTH_BIAS, WARN, Math.abs(now.lengthCorrelation()), bounds.lengthCorrelation()));
        above(warnings, new Warning(REPETITION, WARN, now.repetitive(), bounds.repetitive()));
        above(warnings, new Warning(COPYING, WARN, now.copying(), bounds.copying()));
        above(warnings, new Warning(EMPTY_THOUGHTS, WARN, now.empty(), bounds.empty()));
        above(warnings, new Warning(UNEXPLAINED, WARN, now.unexplained(), bounds.unexplained()));
        first.filter(health -> health.distinct3() > 0).ifPresent(health -> {
            double fall = 1 - now.distinct3() / health.distinct3();
            above(warnings, new Warning(DIVERSITY_COLLAPSE, WARN, fall, bounds.distinctFall()));
        });
        return List.copyOf(warnings);
    }

    /**
     * Any difference between the sampler's and the scorer's log-probability is told; on a device that is exact the run has ended before.
     *
     * @param largestDifference absolute, nats; 0 on a device whose log-probabilities are exact
     * @return a serious warning, unless the difference is 0
     */
    public static Optional<Warning> ofLogProbMismatch(double largestDifference) {
        return exceeding(new Warning(LOG_PROB_MISMATCH, SERIOUS, largestDifference, 0));
    }

    /**
     * Warns if the held-out bound went down several times in a row, up to the last iteration.
     *
     * @param boundPerIteration nats per document, oldest first, higher is better
     * @param bounds says how many times in a row are too many
     * @return a warning with the number of falls, or empty
     */
    public static Optional<Warning> ofHeldOut(List<Double> boundPerIteration, Thresholds bounds) {
        int worse = 0;
        for (int i = 1; i < boundPerIteration.size(); i++) {
            worse = boundPerIteration.get(i) < boundPerIteration.get(i - 1) ? worse + 1 : 0;
        }
        Warning warning = new Warning(HELD_OUT_WORSE, WARN, worse, bounds.heldOutWorse());
        return worse >= bounds.heldOutWorse() ? Optional.of(warning) : Optional.empty();
    }

    /**
     * Thoughts drawn from the prior should not be worse than none.
     *
     * @param nllUnderPriorThoughts negative log-likelihood with thoughts from the prior, nats per document
     * @param nllWithoutThoughts the same of text without a thought
     * @param bounds says by how many nats thoughts may be worse
     * @return a warning with the difference, or empty
     */
    public static Optional<Warning> ofPriorGap(
            double nllUnderPriorThoughts, double nllWithoutThoughts, Thresholds bounds) {
        return exceeding(new Warning(PRIOR_GAP, WARN, nllUnderPriorThoughts - nllWithoutThoughts, bounds.priorGap()));
    }

    /**
     * Any held-out chunk that stands in the training text is one too many, unless the bound says otherwise.
     *
     * @param share of the held-out chunks that stand in the training text, 0 to 1
     * @param bounds says how large a share may be; 0 unless it was set
     * @return a warning with the share, or empty
     */
    public static Optional<Warning> ofLeakage(double share, Thresholds bounds) {
        return exceeding(new Warning(LEAKAGE, WARN, share, bounds.leaked()));
    }

    private static void above(List<Warning> warnings, Warning warning) {
        exceeding(warning).ifPresent(warnings::add);
    }

    /** The warning if its value is above its bound; NaN counts as above, since nothing is known then. */
    private static Optional<Warning> exceeding(Warning warning) {
        return warning.value() <= warning.threshold() ? Optional.empty() : Optional.of(warning);
    }
}
