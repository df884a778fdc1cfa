package subtext.train;

import subtext.bindings.EngineException;

/**
 * How to train, data aside.
 *
 * @param steps updates
 * @param tokens predicted tokens per step, at most
 * @param microTokens predicted tokens per pass, at most
 * @param schedule learning rates
 * @param adamw the other constants of the update
 * @param clip largest global norm of the gradient; 0: no clipping
 * @param spike a step whose norm exceeds this many times the running mean of the norms is not taken; 0: no guard
 * @param checkpointEvery steps between checkpoints; 0: none before the end
 * @param keep checkpoints kept, at least 2
 * @param documentMask whether packed documents do not see each other
 */
public record TrainPlan(
        int steps,
        int tokens,
        int microTokens,
        Schedule schedule,
        AdamW.Constants adamw,
        double clip,
        double spike,
        int checkpointEvery,
        int keep,
        boolean documentMask) {
    /**
     * A plan with documents masked from each other.
     *
     * @param steps updates
     * @param tokens predicted tokens per step, at most
     * @param microTokens predicted tokens per pass, at most
     * @param schedule learning rates
     * @param adamw the other constants of the update
     * @param clip largest global norm of the gradient; 0: no clipping
     * @param spike a step whose norm exceeds this many times the running mean of the norms is not taken; 0: no guard
     * @param checkpointEvery steps between checkpoints; 0: none before the end
     * @param keep checkpoints kept, at least 2
     */
    public TrainPlan(
            int steps,
            int tokens,
            int microTokens,
            Schedule schedule,
            AdamW.Constants adamw,
            double clip,
            double spike,
            int checkpointEvery,
            int keep) {
        this(steps, tokens, microTokens, schedule, adamw, clip, spike, checkpointEvery, keep, true);
    }

    /**
     * Checks every value.
     *
     * @throws subtext.bindings.EngineException.InvalidConfig naming the first that cannot be, by its key in the configuration
     */
    public TrainPlan {
        require(steps >= 0, "training.steps", steps, "at least 0");
        require(tokens >= 1, "training.tokens", tokens, "at least 1");
        require(microTokens >= 1, "training.microTokens", microTokens, "at least 1");
        require(adamw.beta1() >= 0 && adamw.beta1() < 1, "training.beta1", adamw.beta1(), "at least 0 and below 1");
        require(adamw.beta2() >= 0 && adamw.beta2() < 1, "training.beta2", adamw.beta2(), "at least 0 and below 1");
        require(adamw.eps() > 0, "training.eps", adamw.eps(), "above 0");
        require(adamw.decay() >= 0, "training.weightDecay", adamw.decay(), "at least 0");
        require(clip >= 0, "training.clip", clip, "at least 0");
        require(spike == 0 || spike > 1, "training.spike", spike, "0 or more than 1");
        require(checkpointEvery >= 0, "training.checkpointEvery", checkpointEvery, "at least 0");
        require(keep >= 2, "training.keep", keep, "at least 2");
    }

    /**
     * {@return the same for another number of steps, the schedule stretched to them}
     *
     * @param steps at least 0
     */
    public TrainPlan withSteps(int steps) {
        return new TrainPlan(
                steps,
                tokens,
                microTokens,
                schedule.over(steps),
                adamw,
                clip,
                spike,
                checkpointEvery,
                keep,
                documentMask);
    }

    /**
     * {@return the same with another budget of tokens per step; a pass holds no more than a step}
     *
     * @param tokens predicted tokens per step, at least 1
     */
    public TrainPlan withTokens(int tokens) {
        return new TrainPlan(
                steps,
                tokens,
                Math.min(microTokens, tokens),
                schedule,
                adamw,
                clip,
                spike,
                checkpointEvery,
                keep,
                documentMask);
    }

    private static void require(boolean holds, String field, Object value, String expected) {
        if (!holds) {
            throw new EngineException.InvalidConfig(field + ": expected " + expected + ", got " + value);
        }
    }
}
