/** Text and token ids: byte-pair encodings, symbols, and control tokens that text cannot spell. */
package subtext.text;
