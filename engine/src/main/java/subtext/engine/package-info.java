/** The front door for a program that embeds Subtext: a folder, a backend, text in and text out. */
package subtext.engine;
