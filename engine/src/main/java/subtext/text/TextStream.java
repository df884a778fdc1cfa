package subtext.text;

/**
 * Ids to text one by one, for text shown as it is drawn. A character may be spelled by several tokens, and text that may still change is
 * held back: what {@link #add} and {@link #end} gave, joined, is {@link Tokenizer#decode} of all ids. Confined to one thread.
 */
public interface TextStream {
    /**
     * {@return the text that became certain by this id, often the empty one}
     *
     * @param id the next one, in [0, vocabulary); a control token has no text
     * @throws subtext.bindings.EngineException.InvalidInput if the vocabulary has no such id
     */
    String add(int id);

    /** {@return what was held back, when no id follows: spoiled characters come out as U+FFFD} */
    String end();
}
