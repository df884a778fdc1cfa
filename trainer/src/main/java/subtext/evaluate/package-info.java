/**
 * Judging a run: estimates with their uncertainty, comparisons between arms, the health of an E-step, and accuracy on a task. Nothing
 * here draws from a clock: every resampling is a function of a seed.
 */
package subtext.evaluate;
