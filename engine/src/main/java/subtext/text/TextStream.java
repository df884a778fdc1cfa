package subtext.text;

/**
 * Ids to text one by one, for text shown as it is drawn. A character may be spelled by several tokens, and text that may still change is
 * held back: what {@link #add} and {@link #end} gave, joined, is {@link Tokenizer#decode} of all ids. Confined to one thread.
 */
public interface TextStream {
    /** The text that became certain by this id, often the empty one. */
    String add(int id);

    /** What was held back: spoiled characters come out as U+FFFD. */
    String end();
}
