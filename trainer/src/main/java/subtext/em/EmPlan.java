package subtext.em;

import java.util.List;
import subtext.bindings.EngineException;
import subtext.evaluate.Thresholds;
import subtext.run.RunConfig;
import subtext.run.Spelling;
import subtext.train.AdamW;
import subtext.train.Schedule;
import subtext.train.TrainPlan;

/**
 * One run of the method for one seed.
 *
 * @param iterations EM iterations after the warm start
 * @param samples K
 * @param selection how one of K thoughts is chosen
 * @param weighting what thoughts are weighed by
 * @param weightedLoss train on all K thoughts with their weights instead of on the chosen one
 * @param restart where each M-step starts
 * @param priorShare probability of the prior order
 * @param contextChunks chunks of raw text that a prompt shows before its chunk. In training, earlier chunks stand there with their
 *     thoughts: prompts without them are the paper's way, and cheaper
 * @param maxThought most tokens of a thought, closing marker included
 * @param part chunks per file of thoughts
 * @param folds parts of the corpus for cross-fitting; 1: none
 * @param teacherShare share of the warm start's documents in {@code raw-plus-teacher}
 * @param training one M-step
 * @param warmStart the training of the warm start
 * @param evaluation what is measured
 * @param baselines names of the baselines
 * @param keepFinished whether a finished training keeps its checkpoints
 * @param warnings bounds beyond which a figure is warned of
 */
public record EmPlan(
        int iterations,
        int samples,
        Selection selection,
        Weighting weighting,
        boolean weightedLoss,
        Restart restart,
        double priorShare,
        int contextChunks,
        int maxThought,
        int part,
        int folds,
        double teacherShare,
        TrainPlan training,
        TrainPlan warmStart,
        RunConfig.Evaluation evaluation,
        List<String> baselines,
        boolean keepFinished,
        Thresholds warnings) {
    /**
     * Checks every value.
     *
     * @throws EngineException.InvalidConfig naming the first value that cannot be
     */
    public EmPlan {
        require(iterations >= 0, "em.iterations", iterations, "at least 0");
        require(samples >= 1, "em.samples", samples, "at least 1");
        require(priorShare > 0 && priorShare < 1, "em.priorShare", priorShare, "between 0 and 1");
        require(contextChunks >= 0, "em.contextChunks", contextChunks, "at least 0");
        require(maxThought >= 1, "em.maxThought", maxThought, "at least 1");
        require(part >= 1, "em.part", part, "at least 1");
        require(folds >= 1, "em.folds", folds, "at least 1");
        require(teacherShare > 0 && teacherShare < 1, "em.teacherShare", teacherShare, "between 0 and 1");
        if (folds > 1 && restart == Restart.CARRY) {
            throw new EngineException.InvalidConfig(
                    "em.folds: a model that is carried on has seen every fold; set em.restart=scratch");
        }
        require(evaluation.elboSamples() >= 1, "evaluation.elboSamples", evaluation.elboSamples(), "at least 1");
        for (int k : evaluation.bounds()) {
            require(
                    k >= 1 && k <= evaluation.elboSamples(),
                    "evaluation.bounds",
                    k,
                    "from 1 to evaluation.elboSamples (" + evaluation.elboSamples() + ")");
        }
        require(evaluation.resamples() >= 1, "evaluation.resamples", evaluation.resamples(), "at least 1");
        require(evaluation.shown() >= 0, "evaluation.shown", evaluation.shown(), "at least 0");
        warnings.checked();
        baselines = List.copyOf(baselines);
        for (String name : baselines) {
            if (!RunConfig.BASELINES.contains(name)) {
                throw new EngineException.InvalidConfig(
                        "baselines: no baseline '" + name + "'" + Spelling.hint(name, RunConfig.BASELINES));
            }
        }
    }

    /**
     * {@return the plan that a configuration describes}
     *
     * @param config the resolved settings
     * @throws EngineException.InvalidConfig naming the first setting that cannot be, by its key
     */
    public static EmPlan of(RunConfig config) {
        RunConfig.Em em = config.em();
        return new EmPlan(
                em.iterations(),
                em.samples(),
                switch (em.selection()) {
                    case "resample", "all" -> new Selection.Resample();
                    case "uniform" -> new Selection.Uniform();
                    case "best" -> new Selection.Best();
                    default -> throw unknown("em.selection", em.selection(), "resample", "uniform", "best", "all");
                },
                switch (em.weight()) {
                    case "joint" -> Weighting.JOINT;
                    case "likelihood" -> Weighting.LIKELIHOOD;
                    default -> throw unknown("em.weight", em.weight(), "joint", "likelihood");
                },
                em.selection().equals("all"),
                switch (em.restart()) {
                    case "scratch" -> Restart.SCRATCH;
                    case "carry" -> Restart.CARRY;
                    default -> throw unknown("em.restart", em.restart(), "scratch", "carry");
                },
                em.priorShare(),
                em.contextChunks(),
                em.maxThought(),
                em.part(),
                em.folds(),
                em.teacherShare(),
                training(config.training()),
                warmStart(config.training()),
                config.evaluation(),
                config.baselines(),
                config.training().keepFinished(),
                config.warnings());
    }

    /**
     * {@return the training that a configuration describes}
     *
     * @param t one M-step's settings
     * @throws EngineException.InvalidConfig naming the first setting that cannot be, by its key
     */
    public static TrainPlan training(RunConfig.Training t) {
        return new TrainPlan(
                t.steps(),
                t.tokens(),
                t.microTokens(),
                schedule(t, t.steps()),
                new AdamW.Constants(t.beta1(), t.beta2(), t.eps(), t.weightDecay()),
                t.clip(),
                t.spike(),
                t.checkpointEvery(),
                t.keep(),
                t.documentMask());
    }

    private static TrainPlan warmStart(RunConfig.Training t) {
        require(t.warmSteps() >= 0, "training.warmSteps", t.warmSteps(), "at least 0");
        require(t.warmTokens() >= 0, "training.warmTokens", t.warmTokens(), "at least 0");
        TrainPlan plan = training(t);
        plan = t.warmTokens() == 0 ? plan : plan.withTokens(t.warmTokens());
        return t.warmSteps() == 0 ? plan : plan.withSteps(t.warmSteps());
    }

    private static Schedule schedule(RunConfig.Training t, int steps) {
        require(t.learningRate() > 0, "training.learningRate", t.learningRate(), "above 0");
        share("training.finalShare", t.finalShare());
        share("training.decayShare", t.decayShare());
        require(t.warmup() >= 0, "training.warmup", t.warmup(), "at least 0");
        return switch (t.schedule()) {
            case "constant" -> new Schedule.Constant(t.learningRate(), t.warmup());
            case "linear" -> new Schedule.Linear(t.learningRate(), t.warmup(), steps, t.finalShare());
            case "cosine" -> new Schedule.Cosine(t.learningRate(), t.warmup(), steps, t.finalShare());
            case "wsd" ->
                new Schedule.WarmupStableDecay(
                        t.learningRate(), t.warmup(), steps, (int) Math.round(t.decayShare() * steps), t.finalShare());
            default -> throw unknown("training.schedule", t.schedule(), "constant", "linear", "cosine", "wsd");
        };
    }

    private static void share(String field, double value) {
        require(value >= 0 && value <= 1, field, value, "a share from 0 to 1");
    }

    private static EngineException unknown(String field, String value, String... known) {
        return new EngineException.InvalidConfig(field + ": expected one of " + List.of(known) + ", got '" + value + "'"
                + Spelling.hint(value, List.of(known)));
    }

    private static void require(boolean holds, String field, Object value, String expected) {
        if (!holds) {
            throw new EngineException.InvalidConfig(field + ": expected " + expected + ", got " + value);
        }
    }
}
