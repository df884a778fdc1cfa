package subtext.em;

import subtext.model.LlamaConfig;
import subtext.train.TrainPlan;
import subtext.train.TrainState;

/**
 * Floating-point operations of the work of a run, by the model's formula: what runs and baselines are matched by. A trained token costs three forward
 * passes, one drawn or scored one; activations that are computed again are not counted.
 */
final class Compute {
    private static final int PASSES = 3;

    private Compute() {}

    /**
     * Operations of one token's forward pass.
     *
     * @param documentTokens mean predicted tokens of the documents that it stands in
     * @param documentMask whether packed documents do not see each other
     */
    static double forward(LlamaConfig config, double documentTokens, boolean documentMask) {
        double seen = documentMask ? Math.min(documentTokens, config.context()) : config.context();
        return config.forwardFlops(seen / 2);
    }

    /** Operations of training on so many tokens. */
    static double training(LlamaConfig config, double tokens, double documentTokens, boolean documentMask) {
        return PASSES * tokens * forward(config, documentTokens, documentMask);
    }

    /**
     * What a training took.
     *
     * @param state where it ended
     * @param tokens predicted tokens, those of further trainings on documents like these included
     */
    static EmReport.Cost cost(LlamaConfig config, TrainPlan plan, TrainState state, long tokens) {
        // a document that was begun counts half: of thousands it does not matter
        double documents = state.cursor().example() + (state.cursor().piece() > 0 ? 0.5 : 0);
        double documentTokens = documents > 0 ? state.tokens() / documents : 0;
        return new EmReport.Cost(tokens, documentTokens, training(config, tokens, documentTokens, plan.documentMask()));
    }
}
