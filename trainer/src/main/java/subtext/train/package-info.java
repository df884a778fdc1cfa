/**
 * One training, whatever its data mean: plan, learning rates, AdamW, the loop, early stopping and checkpoints from which it goes on with the
 * same bits.
 */
package subtext.train;
