package subtext.text;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import subtext.bindings.EngineException;
import tools.jackson.databind.node.ObjectNode;

/**
 * Byte-pair encoding as in {@code tokenizer.json}: over bytes with words cut beforehand (GPT-2, Llama 3, Qwen, SmolLM), or over characters
 * with bytes for the rare ones (Llama 2, Mistral). It keeps the document it was read from and writes that back.
 *
 * <p>Time is O(n log n) in the text. Safe to use from several threads.
 */
public final class BpeTokenizer implements Tokenizer {
    private static final char SPACE_MARK = '\u2581';

    /**
     * What a {@code tokenizer.json} says, in this engine's words.
     *
     * @param byteLevel whether symbols are bytes in GPT-2's alphabet, else characters with a fallback to {@code <0xNN>}
     * @param nfc whether text is brought to Unicode's composed form first
     * @param markSpaces whether spaces become U+2581 and one is put before the text
     * @param prefixSpace whether a space is put before the text if it has none
     * @param splits how words are cut, one after another
     * @param ignoreMerges whether a word that is an entry of the vocabulary is taken whole
     * @param unknown id of what nothing else spells, or -1
     */
    record Rules(
            boolean byteLevel,
            boolean nfc,
            boolean markSpaces,
            boolean prefixSpace,
            List<Splitting> splits,
            boolean ignoreMerges,
            int unknown) {}

    /** A token beside the vocabulary. Special ones are never read from text. */
    record Added(int id, String content, boolean special) {}

    private final ObjectNode document;
    private final Rules rules;
    private final Map<String, Integer> ids = new HashMap<>();
    private final String[] pieces;
    private final boolean[] special;
    private final Merges merges;
    private final int[] byteIds = new int[256];
    private final Map<String, Integer> literal = new HashMap<>();
    private final Pattern literals;
    private final ControlTokens controls;

    BpeTokenizer(
            ObjectNode document,
            Rules rules,
            Map<String, Integer> vocabulary,
            List<String[]> mergeList,
            List<Added> added) {
        this.document = document;
        this.rules = rules;
        int size = 0;
        for (int id : vocabulary.values()) {
            size = Math.max(size, id + 1);
        }
        for (Added token : added) {
            size = Math.max(size, token.id() + 1);
        }
        pieces = new String[size];
        special = new boolean[size];
        vocabulary.forEach((piece, id) -> pieces[id] = piece);
        ids.putAll(vocabulary);
        Map<String, Integer> specials = new HashMap<>();
        for (Added token : added) {
            pieces[token.id()] = token.content();
            special[token.id()] = token.special();
            // out of reach of text: neither a word nor a merge may end in a special token
            ids.remove(token.content());
            (token.special() ? specials : literal).put(token.content(), token.id());
        }
        this.merges = merges(mergeList, vocabulary);
        Arrays.fill(byteIds, -1);
        for (int b = 0; b < 256; b++) {
            String piece = rules.byteLevel() ? String.valueOf(ByteAlphabet.character(b)) : "<0x%02X>".formatted(b);
            byteIds[b] = ids.getOrDefault(piece, -1);
            if (byteIds[b] < 0 && rules.unknown() < 0) {
                throw new EngineException.InvalidInput(
                        "tokenizer: no token for byte %02X and none for the unknown".formatted(b));
            }
            if (!rules.byteLevel() && byteIds[b] >= 0) {
                ids.remove(piece); // text that spells <0x0A> is not the byte
            }
        }
        this.literals = literal.isEmpty() ? null : alternatives(literal);
        this.controls = new ControlTokens(
                first(specials, "<bos>", "<s>", "<|begin_of_text|>", "<|endoftext|>"),
                first(specials, "<eos>", "</s>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>"),
                first(specials, "<latent>"),
                first(specials, "</latent>"),
                first(specials, "<prior>"),
                first(specials, "<posterior>"));
    }

    private Merges merges(List<String[]> list, Map<String, Integer> vocabulary) {
        Merges table = new Merges(list.size());
        for (int rank = 0; rank < list.size(); rank++) {
            String left = list.get(rank)[0];
            String right = list.get(rank)[1];
            Integer a = vocabulary.get(left);
            Integer b = vocabulary.get(right);
            Integer ab = vocabulary.get(left + right);
            if (a == null || b == null || ab == null) {
                throw new EngineException.InvalidInput("tokenizer: merge " + rank + " (\"" + left + "\" \"" + right
                        + "\") names \"" + (a == null ? left : b == null ? right : left + right)
                        + "\", which is not in the vocabulary");
            }
            if (special[ab]) {
                throw new EngineException.InvalidInput("tokenizer: merge " + rank + " makes the special token \"" + left
                        + right + "\", which text could then spell");
            }
            table.add(a, b, rank, ab);
        }
        return table;
    }

    private static Pattern alternatives(Map<String, Integer> literal) {
        List<String> longestFirst = new ArrayList<>(literal.keySet());
        longestFirst.sort((a, b) -> a.length() != b.length() ? b.length() - a.length() : a.compareTo(b));
        return Pattern.compile(
                String.join("|", longestFirst.stream().map(Pattern::quote).toList()));
    }

    private static int first(Map<String, Integer> specials, String... names) {
        for (String name : names) {
            if (specials.containsKey(name)) {
                return specials.get(name);
            }
        }
        return ControlTokens.NONE;
    }

    /** This tokenizer with the control tokens it lacks, on new ids after its own; the model's embedding must grow with it. */
    public BpeTokenizer withControls() {
        return withControls(0);
    }

    /**
     * The same with new ids no lower than {@code from}.
     *
     * @param from the vocabulary of the model, which may have rows for ids that its tokenizer does not know
     */
    public BpeTokenizer withControls(int from) {
        ObjectNode grown = document.deepCopy();
        int[] have = controls.ids();
        int next = Math.max(from, vocabulary());
        for (int i = 0; i < have.length; i++) {
            if (have[i] == ControlTokens.NONE) {
                TokenizerFile.addSpecial(grown, next++, ControlTokens.NAMES.get(i));
            }
        }
        return TokenizerFile.bpe(grown);
    }

    /** @throws EngineException.InvalidInput if the text holds half a surrogate pair, or a character that the vocabulary cannot spell */
    @Override
    public Tokens encode(String text) {
        checkSurrogates(text);
        Ints out = new Ints(text.length() / 2 + 8);
        if (literals == null) {
            encodeText(text, out);
            return out.tokens();
        }
        Matcher matcher = literals.matcher(text);
        int at = 0;
        while (matcher.find()) {
            encodeText(text.substring(at, matcher.start()), out);
            out.add(literal.get(matcher.group()));
            at = matcher.end();
        }
        encodeText(text.substring(at), out);
        return out.tokens();
    }

    private static void checkSurrogates(String text) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                i++;
            } else if (Character.isSurrogate(c)) {
                throw new EngineException.InvalidInput("text: half a surrogate pair at character " + i);
            }
        }
    }

    private void encodeText(String text, Ints out) {
        if (text.isEmpty()) {
            return;
        }
        String normal = rules.nfc() ? Normalizer.normalize(text, Normalizer.Form.NFC) : text;
        if (rules.markSpaces()) {
            normal = SPACE_MARK + normal.replace(' ', SPACE_MARK);
        } else if (rules.prefixSpace() && normal.charAt(0) != ' ') {
            normal = " " + normal;
        }
        List<String> words = List.of(normal);
        for (Splitting splitting : rules.splits()) {
            words = words.stream()
                    .flatMap(word -> splitting.split(word).stream())
                    .toList();
        }
        for (String word : words) {
            if (rules.byteLevel()) {
                encodeBytes(word, out);
            } else {
                encodeCharacters(word, out);
            }
        }
    }

    private void encodeBytes(String word, Ints out) {
        byte[] bytes = word.getBytes(StandardCharsets.UTF_8);
        if (rules.ignoreMerges()) {
            StringBuilder spelled = new StringBuilder(bytes.length);
            for (byte b : bytes) {
                spelled.append(ByteAlphabet.character(b & 0xFF));
            }
            Integer whole = ids.get(spelled.toString());
            if (whole != null) {
                out.add(whole);
                return;
            }
        }
        int[] symbols = new int[bytes.length];
        for (int i = 0; i < bytes.length; i++) {
            symbols[i] = orUnknown(byteIds[bytes[i] & 0xFF]);
        }
        out.add(symbols, merges.apply(symbols, symbols.length));
    }

    private void encodeCharacters(String word, Ints out) {
        if (rules.ignoreMerges() && ids.containsKey(word)) {
            out.add(ids.get(word));
            return;
        }
        Ints symbols = new Ints(word.length());
        for (int i = 0; i < word.length(); ) {
            int c = word.codePointAt(i);
            String character = Character.toString(c);
            i += character.length();
            Integer id = ids.get(character);
            if (id != null) {
                symbols.add(id);
            } else {
                for (byte b : character.getBytes(StandardCharsets.UTF_8)) {
                    symbols.add(orUnknown(byteIds[b & 0xFF]));
                }
            }
        }
        out.add(symbols.values, merges.apply(symbols.values, symbols.size));
    }

    private int orUnknown(int id) {
        return id >= 0 ? id : rules.unknown();
    }

    @Override
    public String decode(Tokens tokens) {
        return text(tokens, false);
    }

    @Override
    public String show(Tokens tokens) {
        return text(tokens, true);
    }

    private String text(Tokens tokens, boolean spelled) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (int i = 0; i < tokens.size(); i++) {
            int id = tokens.at(i);
            if (id < 0 || id >= pieces.length) {
                throw new EngineException.InvalidInput(
                        "token " + id + ": the vocabulary has " + pieces.length + " ids");
            }
            if (pieces[id] != null && (spelled || !special[id])) {
                bytes.writeBytes(bytes(id));
            }
        }
        String text = bytes.toString(StandardCharsets.UTF_8);
        return rules.markSpaces() && text.startsWith(" ") ? text.substring(1) : text;
    }

    private byte[] bytes(int id) {
        String piece = pieces[id];
        if (special[id] || literal.containsKey(piece)) {
            return piece.getBytes(StandardCharsets.UTF_8);
        }
        if (rules.byteLevel()) {
            byte[] bytes = ByteAlphabet.bytes(piece);
            return bytes != null ? bytes : piece.getBytes(StandardCharsets.UTF_8);
        }
        if (piece.length() == 6
                && piece.startsWith("<0x")
                && byteIds[Integer.parseInt(piece.substring(3, 5), 16)] == id) {
            return new byte[] {(byte) Integer.parseInt(piece.substring(3, 5), 16)};
        }
        return (rules.markSpaces() ? piece.replace(SPACE_MARK, ' ') : piece).getBytes(StandardCharsets.UTF_8);
    }

    @Override
    public int vocabulary() {
        return pieces.length;
    }

    @Override
    public ControlTokens controls() {
        return controls;
    }

    @Override
    public void save(Path file) throws IOException {
        TokenizerFile.write(file, document);
    }

    /** A growing array of ids. */
    private static final class Ints {
        private int[] values;
        private int size;

        Ints(int capacity) {
            values = new int[Math.max(4, capacity)];
        }

        void add(int value) {
            if (size == values.length) {
                values = Arrays.copyOf(values, 2 * size);
            }
            values[size++] = value;
        }

        void add(int[] more, int count) {
            if (size + count > values.length) {
                values = Arrays.copyOf(values, Math.max(2 * size, size + count));
            }
            System.arraycopy(more, 0, values, size, count);
            size += count;
        }

        Tokens tokens() {
            return Tokens.of(Arrays.copyOf(values, size));
        }
    }
}
