/** Counter-based random numbers: a draw is a function of what it is for. */
package subtext.random;
