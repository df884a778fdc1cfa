/** Files: safetensors, folders in Hugging Face layout, writes that happen whole or not at all, digests. */
package subtext.io;
