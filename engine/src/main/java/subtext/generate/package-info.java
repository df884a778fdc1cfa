/** Drawing continuations and scoring them, over a cache of keys and values shared by what begins alike. */
package subtext.generate;
