package subtext.evaluate;

import static subtext.evaluate.Warning.Kind.COPYING;
import static subtext.evaluate.Warning.Kind.DIVERSITY_COLLAPSE;
import static subtext.evaluate.Warning.Kind.EMPTY_THOUGHTS;
import static subtext.evaluate.Warning.Kind.HELD_OUT_WORSE;
import static subtext.evaluate.Warning.Kind.LEAKAGE;
import static subtext.evaluate.Warning.Kind.LENGTH_BIAS;
import static subtext.evaluate.Warning.Kind.LOG_PROB_MISMATCH;
import static subtext.evaluate.Warning.Kind.PRIOR_GAP;
import static subtext.evaluate.Warning.Kind.REPETITION;
import static subtext.evaluate.Warning.Kind.TRUNCATION;
import static subtext.evaluate.Warning.Kind.UNEXPLAINED;
import static subtext.evaluate.Warning.Kind.WEIGHT_DEGENERACY;
import static subtext.evaluate.Warning.Level.STOP;
import static subtext.evaluate.Warning.Level.WARN;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Turns what was measured into warnings. The bounds stand here and nowhere else. */
public final class Diagnosis {
    private static final double ESS_PER_SAMPLE = 0.3;
    private static final double CUT_OFF_WARN = 0.02;
    private static final double CUT_OFF_STOP = 0.10;
    private static final double LENGTH_CORRELATION = 0.5;
    private static final double DISTINCT_FALL = 0.3;
    private static final double REPETITIVE = 0.01;
    private static final double COPYING_CHUNKS = 0.05;
    private static final double EMPTY = 0.05;
    private static final double NO_USABLE_DRAW = 0.05;
    private static final int WORSE_IN_A_ROW = 2;

    private Diagnosis() {}

    /**
     * Warnings about the draws of an E-step.
     *
     * @param now the E-step just done
     * @param first the first E-step of the run, if this is a later one: what variety is compared with
     */
    public static List<Warning> ofEStep(EStepHealth now, Optional<EStepHealth> first) {
        List<Warning> warnings = new ArrayList<>();
        if (now.samples() > 1 && now.essPerSample().median() < ESS_PER_SAMPLE) {
            warnings.add(new Warning(WEIGHT_DEGENERACY, WARN, now.essPerSample().median(), ESS_PER_SAMPLE));
        }
        if (now.cutOff() > CUT_OFF_STOP) {
            warnings.add(new Warning(TRUNCATION, STOP, now.cutOff(), CUT_OFF_STOP));
        } else {
            above(warnings, new Warning(TRUNCATION, WARN, now.cutOff(), CUT_OFF_WARN));
        }
        above(warnings, new Warning(LENGTH_BIAS, WARN, Math.abs(now.lengthCorrelation()), LENGTH_CORRELATION));
        above(warnings, new Warning(REPETITION, WARN, now.repetitive(), REPETITIVE));
        above(warnings, new Warning(COPYING, WARN, now.copying(), COPYING_CHUNKS));
        above(warnings, new Warning(EMPTY_THOUGHTS, WARN, now.empty(), EMPTY));
        above(warnings, new Warning(UNEXPLAINED, WARN, now.unexplained(), NO_USABLE_DRAW));
        first.filter(health -> health.distinct3() > 0).ifPresent(health -> {
            double fall = 1 - now.distinct3() / health.distinct3();
            above(warnings, new Warning(DIVERSITY_COLLAPSE, WARN, fall, DISTINCT_FALL));
        });
        return List.copyOf(warnings);
    }

    /** Any difference between the sampler's and the scorer's log-probability of a token stops an exact run. */
    public static Optional<Warning> ofLogProbMismatch(double largestDifference) {
        return exceeding(new Warning(LOG_PROB_MISMATCH, STOP, largestDifference, 0));
    }

    /** Held-out bound per iteration, oldest first, higher is better: warns if the last two steps both went down. */
    public static Optional<Warning> ofHeldOut(List<Double> boundPerIteration) {
        int worse = 0;
        for (int i = 1; i < boundPerIteration.size(); i++) {
            worse = boundPerIteration.get(i) < boundPerIteration.get(i - 1) ? worse + 1 : 0;
        }
        Warning warning = new Warning(HELD_OUT_WORSE, WARN, worse, WORSE_IN_A_ROW);
        return worse >= WORSE_IN_A_ROW ? Optional.of(warning) : Optional.empty();
    }

    /** Compares negative log-likelihoods in nats per document: thoughts from the prior should not be worse than none. */
    public static Optional<Warning> ofPriorGap(double nllUnderPriorThoughts, double nllWithoutThoughts) {
        return exceeding(new Warning(PRIOR_GAP, WARN, nllUnderPriorThoughts - nllWithoutThoughts, 0));
    }

    /** Any held-out document that shares text with the training corpus is one too many. */
    public static Optional<Warning> ofLeakage(long sharedDocuments) {
        return exceeding(new Warning(LEAKAGE, STOP, sharedDocuments, 0));
    }

    private static void above(List<Warning> warnings, Warning warning) {
        exceeding(warning).ifPresent(warnings::add);
    }

    /** The warning if its value is above its bound; NaN counts as above, since nothing is known then. */
    private static Optional<Warning> exceeding(Warning warning) {
        return warning.value() <= warning.threshold() ? Optional.empty() : Optional.of(warning);
    }
}
