/**
 * Expectation-maximisation over thoughts: the E-step draws and weighs them, the M-step trains on those chosen, and a run alternates the two
 * for every seed, measures each model on held-out text and trains the baselines beside. Its plan says beforehand what it takes.
 */
package subtext.em;
