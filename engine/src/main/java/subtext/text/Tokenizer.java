package subtext.text;

import java.io.IOException;
import java.nio.file.Path;

/**
 * Turns text into token ids and back. Text never becomes a control token, whatever it spells; control tokens are ids that the caller puts
 * in.
 */
public sealed interface Tokenizer permits BpeTokenizer, SymbolTokenizer {
    /** The ids of a text, no control token among them. */
    Tokens encode(String text);

    /** The text of ids; control tokens have none. */
    String decode(Tokens tokens);

    /** One more than the largest id. */
    int vocabulary();

    /** The control tokens; {@link ControlTokens#NONE} for those a foreign tokenizer lacks. */
    ControlTokens controls();

    /** For people: the ids as text, control tokens spelled out. Not to be encoded again. */
    String show(Tokens tokens);

    /** Writes {@code tokenizer.json}, atomically. */
    void save(Path file) throws IOException;

    /**
     * Reads a {@code tokenizer.json}.
     *
     * @throws subtext.bindings.EngineException.CorruptFile if it is damaged or asks for something this engine does not do, which is named
     */
    static Tokenizer load(Path file) throws IOException {
        return TokenizerFile.read(file);
    }
}
