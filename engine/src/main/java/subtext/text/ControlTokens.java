package subtext.text;

/**
 * The ids of the six control tokens. They are ids, never strings to be matched in text, so text cannot spoof them.
 *
 * @param bos opens a document
 * @param eos closes a document
 * @param latent opens a latent
 * @param endLatent closes a latent
 * @param prior follows {@code latent} when the thought precedes its text
 * @param posterior follows {@code latent} when the thought follows its text
 */
public record ControlTokens(int bos, int eos, int latent, int endLatent, int prior, int posterior) {}
