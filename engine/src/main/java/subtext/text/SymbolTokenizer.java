package subtext.text;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import subtext.bindings.EngineException;

/**
 * Words of a small closed language, separated by white space: each symbol is one token. The symbols have the ids from 0 on in
 * their order, so an id is the symbol's place; the six control tokens follow.
 */
public final class SymbolTokenizer implements Tokenizer {
    private final List<String> symbols;
    private final Map<String, Integer> ids = new HashMap<>();
    private final ControlTokens controls;

    /**
     * A tokenizer of these symbols and the control tokens behind them.
     *
     * @param symbols distinct, without white space, none empty
     * @throws IllegalArgumentException if one is empty, has white space, comes twice or is the name of a control token
     */
    public SymbolTokenizer(List<String> symbols) {
        this.symbols = List.copyOf(symbols);
        this.controls = ControlTokens.from(symbols.size());
        for (int i = 0; i < symbols.size(); i++) {
            String symbol = symbols.get(i);
            if (symbol.isBlank() || symbol.chars().anyMatch(Character::isWhitespace) || ids.put(symbol, i) != null) {
                throw new IllegalArgumentException(
                        "symbols: expected distinct words without white space, got \"" + symbol + "\"");
            }
        }
        if (new HashSet<>(ControlTokens.NAMES).removeAll(ids.keySet())) {
            throw new IllegalArgumentException(
                    "symbols: the names of control tokens are taken: " + ControlTokens.NAMES);
        }
    }

    /** {@return the symbols in the order of their ids, from 0 on} */
    public List<String> symbols() {
        return symbols;
    }

    /**
     * {@return the id of a symbol, in [0, number of symbols)}
     *
     * @param symbol the word, exactly as given to the constructor
     * @throws EngineException.InvalidInput if there is no such symbol
     */
    public int id(String symbol) {
        Integer id = ids.get(symbol);
        if (id == null) {
            throw new EngineException.InvalidInput("no symbol \"" + symbol + "\" in " + symbols);
        }
        return id;
    }

    /**
     * {@inheritDoc}
     *
     * @throws EngineException.InvalidInput if a word is no symbol
     */
    @Override
    public Tokens encode(String text) {
        String trimmed = text.strip();
        if (trimmed.isEmpty()) {
            return Tokens.EMPTY;
        }
        String[] words = trimmed.split("\\s+");
        int[] encoded = new int[words.length];
        for (int i = 0; i < words.length; i++) {
            encoded[i] = id(words[i]);
        }
        return Tokens.of(encoded);
    }

    @Override
    public Tokens encodeContinuation(String text) {
        return encode(text);
    }

    @Override
    public TextStream stream() {
        return new Joining(false);
    }

    @Override
    public TextStream continuationStream() {
        return stream();
    }

    @Override
    public String show(Tokens tokens) {
        Joining joining = new Joining(true);
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < tokens.size(); i++) {
            text.append(joining.add(tokens.at(i)));
        }
        return text.toString();
    }

    /** Symbols with a space between two. */
    private final class Joining implements TextStream {
        private final boolean spelled;
        private boolean begun;

        Joining(boolean spelled) {
            this.spelled = spelled;
        }

        @Override
        public String add(int id) {
            if (id < 0 || id >= vocabulary()) {
                throw new EngineException.InvalidInput("token " + id + ": the vocabulary has " + vocabulary() + " ids");
            }
            if (id >= symbols.size() && !spelled) {
                return "";
            }
            String word = id < symbols.size() ? symbols.get(id) : ControlTokens.NAMES.get(id - symbols.size());
            String text = begun ? " " + word : word;
            begun = true;
            return text;
        }

        @Override
        public String end() {
            return "";
        }
    }

    @Override
    public int vocabulary() {
        return ControlTokens.NAMES.size() + symbols.size();
    }

    @Override
    public ControlTokens controls() {
        return controls;
    }

    @Override
    public boolean opensWithBos() {
        return true;
    }

    @Override
    public void save(Path file) throws IOException {
        TokenizerFile.write(file, this);
    }
}
