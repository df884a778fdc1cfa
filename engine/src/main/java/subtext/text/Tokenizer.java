package subtext.text;

import java.io.IOException;
import java.nio.file.Path;

/**
 * Turns text into token ids and back. Text never becomes a control token, whatever it spells; control tokens are ids that the caller puts
 * in.
 */
public sealed interface Tokenizer permits BpeTokenizer, SymbolTokenizer {
    /**
     * The ids of a text, no control token among them.
     *
     * @throws subtext.bindings.EngineException.InvalidInput if the text holds half a surrogate pair, which no UTF-8 can write, or
     *     something that the vocabulary cannot spell
     */
    Tokens encode(String text);

    /**
     * The ids of a text that goes on from another text or stands behind a control token: {@link #encode}, but without the space that some
     * tokenizers, such as Llama 2's, put before a text.
     *
     * @throws subtext.bindings.EngineException.InvalidInput as {@link #encode}
     */
    Tokens encodeContinuation(String text);

    /** The text of ids; control tokens have none. */
    default String decode(Tokens tokens) {
        return drain(stream(), tokens);
    }

    /** The text of ids from {@link #encodeContinuation}: a space at its beginning stays. */
    default String decodeContinuation(Tokens tokens) {
        return drain(continuationStream(), tokens);
    }

    /** {@link #decode} id by id. */
    TextStream stream();

    /** {@link #decodeContinuation} id by id. */
    TextStream continuationStream();

    /** One more than the largest id. */
    int vocabulary();

    /** The control tokens; {@link ControlTokens#NONE} for those a foreign tokenizer lacks. */
    ControlTokens controls();

    /**
     * Whether a text given to the model begins with {@code <bos>}: what the file's template says of a foreign tokenizer, always for one of
     * ours. Qwen's texts do not, though documents in training are parted by the token that stands for {@code <bos>} there.
     */
    boolean opensWithBos();

    /** A text as a model expects it: {@code <bos>} first, if that is the custom, or if there is nothing else. */
    default Tokens open(String text) {
        Tokens encoded = encode(text);
        boolean bos = controls().bos() != ControlTokens.NONE && (opensWithBos() || encoded.isEmpty());
        return bos ? Tokens.concat(Tokens.of(controls().bos()), encoded) : encoded;
    }

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

    private static String drain(TextStream stream, Tokens tokens) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < tokens.size(); i++) {
            text.append(stream.add(tokens.at(i)));
        }
        return text.append(stream.end()).toString();
    }
}
