package subtext.text;

import java.io.IOException;
import java.nio.file.Path;

/**
 * Turns text into token ids and back. Text never becomes a control token, whatever it spells; control tokens are ids that the caller puts
 * in.
 */
public sealed interface Tokenizer permits BpeTokenizer, SymbolTokenizer {
    /**
     * {@return the ids of a text, no control token among them}
     *
     * @param text any Unicode text; empty gives no ids
     * @throws subtext.bindings.EngineException.InvalidInput if the text holds half a surrogate pair, which no UTF-8 can write, or something
     *     that the vocabulary cannot spell
     */
    Tokens encode(String text);

    /**
     * The ids of a text that goes on from another text or stands behind a control token: {@link #encode}, but without the space that some
     * tokenizers, such as Llama 2's, put before a text.
     *
     * @param text any Unicode text; empty gives no ids
     * @return its ids, no control token among them
     * @throws subtext.bindings.EngineException.InvalidInput as {@link #encode}
     */
    Tokens encodeContinuation(String text);

    /**
     * {@return the text of ids; control tokens have none}
     *
     * @param tokens any ids of the vocabulary; those that spell no UTF-8 come out as U+FFFD
     * @throws subtext.bindings.EngineException.InvalidInput if the vocabulary lacks one of them
     */
    default String decode(Tokens tokens) {
        return drain(stream(), tokens);
    }

    /**
     * {@return the text of ids, with a space at its beginning kept}
     *
     * @param tokens ids from {@link #encodeContinuation}
     * @throws subtext.bindings.EngineException.InvalidInput if the vocabulary lacks one of them
     */
    default String decodeContinuation(Tokens tokens) {
        return drain(continuationStream(), tokens);
    }

    /** {@return a fresh {@link #decode} that goes id by id} */
    TextStream stream();

    /** {@return a fresh {@link #decodeContinuation} that goes id by id} */
    TextStream continuationStream();

    /** {@return one more than the largest id} */
    int vocabulary();

    /** {@return the control tokens; {@link ControlTokens#NONE} for those a foreign tokenizer lacks} */
    ControlTokens controls();

    /** {@return the id of what the vocabulary cannot spell, or {@link ControlTokens#NONE} where that is refused} */
    default int unknown() {
        return ControlTokens.NONE;
    }

    /**
     * Whether a text given to the model begins with {@code <bos>}: what the file's template says of a foreign tokenizer, always for one of
     * ours. Qwen's texts do not, though documents in training are parted by the token that stands for {@code <bos>} there.
     *
     * @return true if {@link #open} always puts {@code <bos>} first
     */
    boolean opensWithBos();

    /**
     * {@return a text's ids as a model expects them: {@code <bos>} first, if that is the custom, or if there is nothing else}
     *
     * @param text any Unicode text; empty gives {@code <bos>} alone
     * @throws subtext.bindings.EngineException.InvalidInput as {@link #encode}
     */
    default Tokens open(String text) {
        Tokens encoded = encode(text);
        boolean bos = controls().bos() != ControlTokens.NONE && (opensWithBos() || encoded.isEmpty());
        return bos ? Tokens.concat(Tokens.of(controls().bos()), encoded) : encoded;
    }

    /**
     * For people: the ids as text, control tokens spelled out. Not to be encoded again.
     *
     * @param tokens any ids of the vocabulary
     * @return the text with names such as {@code <latent>} in it
     * @throws subtext.bindings.EngineException.InvalidInput if the vocabulary lacks one of the ids
     */
    String show(Tokens tokens);

    /**
     * Writes {@code tokenizer.json}, atomically.
     *
     * @param file where to; an existing one is replaced
     * @throws IOException if the file cannot be written; what was there before then stays
     */
    void save(Path file) throws IOException;

    /**
     * Reads a {@code tokenizer.json}.
     *
     * @param file a {@code tokenizer.json} of ours or of Hugging Face's library, at most 128 MiB
     * @return the tokenizer, of the kind that the file's {@code model.type} names
     * @throws subtext.bindings.EngineException.CorruptFile if it is damaged or asks for something this engine does not do, which is named
     * @throws subtext.bindings.EngineException.InvalidInput if it is larger than that, or no file
     * @throws IOException if it cannot be read
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
