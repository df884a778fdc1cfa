/** Experiments of many runs: their arms, the statistics over seeds, and what they confirm. */
package subtext.experiment;
