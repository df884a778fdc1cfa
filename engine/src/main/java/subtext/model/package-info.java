/** The Llama model: sizes, parameters, packed batches, and the forward and backward passes written out by hand. */
package subtext.model;
