package subtext.generate;

import subtext.text.Tokens;

/**
 * One continuation drawn from a model.
 *
 * @param tokens the ids drawn, ending with the stop token if finished
 * @param logQ sum of the log-probabilities of the drawn tokens, stop token included, under the law they were drawn from, in nats
 * @param finished true if the stop token was drawn before the length limit
 */
public record Sample(Tokens tokens, double logQ, boolean finished) {}
