/**
 * A world whose truth is known: problems whose answers follow from hidden rules by a chain of unstated states. The token form is
 * for measuring, the text form for exercising the whole pipeline, and the tabular twin is a model of it whose every probability can be
 * computed exactly.
 */
package subtext.world;
