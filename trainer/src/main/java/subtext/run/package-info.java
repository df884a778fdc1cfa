/**
 * What makes a run repeatable and its results trustworthy: resolved settings, keys for everything random, a folder that only one process
 * works in, digests and checksums of all that is written, and the wish to stop.
 */
package subtext.run;
