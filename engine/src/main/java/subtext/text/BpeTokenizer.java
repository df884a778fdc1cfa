package subtext.text;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import subtext.bindings.EngineException;
import tools.jackson.databind.node.ObjectNode;

/**
 * Byte-pair encoding as in {@code tokenizer.json}: over bytes with words cut beforehand (GPT-2, Llama 3, Qwen, SmolLM), or over characters
 * with bytes for the rare ones (Llama 2, Mistral). Ids and texts are those of Hugging Face's library but for two things: no text becomes a
 * special token, and what the vocabulary cannot spell is refused where that library leaves it out. It keeps the document it was read from
 * and writes that back.
 *
 * <p>{@code decode(encode(s))} is {@code s}, with the exceptions that the file asks for: composed characters where it says NFC, U+2581
 * read as a space where spaces are written so, and one space at the beginning of a text where the file says {@code Metaspace}.
 *
 * <p>Time is O(n log n) in the longest word and linear in all else, whatever the text. Safe to use from several threads.
 */
public final class BpeTokenizer implements Tokenizer {
    static final char SPACE_MARK = '\u2581';

    /** Words longer than this are not remembered within a text. */
    private static final int MEMORABLE = 32;

    private static final int MOST_REMEMBERED = 1 << 15;

    /** What becomes of spaces before words are cut. */
    enum Spaces {
        /** They stay. */
        PLAIN,
        /** They stay, and a text that does not begin with one is given one. */
        PLAIN_BEHIND_ONE,
        /** They become U+2581. */
        MARKED,
        /** They become U+2581, and one more is put before every stretch of text. */
        MARKED_BEHIND_ONE,
        /** The same, unless the stretch begins with one. */
        MARKED_BEHIND_ONE_IF_NONE,
        /** The same, but only before the first stretch. */
        MARKED_BEHIND_FIRST;

        boolean marked() {
            return this != PLAIN && this != PLAIN_BEHIND_ONE;
        }
    }

    /**
     * What a {@code tokenizer.json} says, in this engine's words.
     *
     * @param byteLevel whether symbols are bytes in GPT-2's alphabet, else characters
     * @param byteFallback whether a character that is no symbol is written in bytes {@code <0xNN>}
     * @param nfc whether text is brought to Unicode's composed form first
     * @param splits how words are cut, one after another
     * @param ignoreMerges whether a word that is an entry of the vocabulary is taken whole
     * @param unknown id of what nothing else spells, or -1
     * @param fuseUnknown whether neighbours of that id become one
     * @param stripsSpace whether decoding takes away one space from the beginning
     * @param bos id of the token that the file's template puts before a text, or -1
     */
    record Rules(
            boolean byteLevel,
            boolean byteFallback,
            boolean nfc,
            Spaces spaces,
            List<Splitting> splits,
            boolean ignoreMerges,
            int unknown,
            boolean fuseUnknown,
            boolean stripsSpace,
            int bos) {}

    /** A token beside the vocabulary. Special ones are never read from text. */
    record Added(int id, String content, boolean special) {}

    private final ObjectNode document;
    private final Rules rules;
    private final Map<String, Integer> ids = new HashMap<>();
    private final String[] pieces;
    private final boolean[] special;
    private final boolean[] literal;
    private final Merges merges;
    private final int[] byteIds = new int[256];
    private final int[] byteOf;
    private final Literals literals;
    private final boolean cutsBeforeMarks;
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
        literal = new boolean[size];
        vocabulary.forEach((piece, id) -> pieces[id] = piece);
        ids.putAll(vocabulary);
        Map<String, Integer> specials = new HashMap<>();
        Map<String, Integer> spelled = new HashMap<>();
        for (Added token : added) {
            pieces[token.id()] = token.content();
            special[token.id()] = token.special();
            literal[token.id()] = !token.special();
            // out of reach of text: neither a word nor a merge may end in a special token
            ids.remove(token.content());
            (token.special() ? specials : spelled).put(token.content(), token.id());
        }
        this.literals = spelled.isEmpty() ? null : new Literals(spelled);
        this.byteOf = new int[size];
        Arrays.fill(byteOf, -1);
        for (int b = 0; b < 256; b++) {
            String piece = rules.byteLevel() ? String.valueOf(ByteAlphabet.character(b)) : "<0x%02X>".formatted(b);
            byteIds[b] = rules.byteLevel() || rules.byteFallback() ? ids.getOrDefault(piece, -1) : -1;
            if (byteIds[b] >= 0 && !rules.byteLevel()) {
                byteOf[byteIds[b]] = b;
                ids.remove(piece); // text that spells <0x0A> is not the byte
            }
        }
        this.merges = merges(mergeList, vocabulary);
        this.cutsBeforeMarks = rules.spaces().marked()
                && rules.splits().isEmpty()
                && !rules.ignoreMerges()
                && ids.containsKey(String.valueOf(SPACE_MARK))
                && mergeList.stream().noneMatch(BpeTokenizer::joinsWords);
        this.controls = new ControlTokens(
                rules.bos() >= 0 ? rules.bos() : first(specials, "<bos>", "<s>", "<|begin_of_text|>", "<|endoftext|>"),
                first(specials, "<eos>", "</s>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>"),
                first(specials, "<latent>"),
                first(specials, "</latent>"),
                first(specials, "<prior>"),
                first(specials, "<posterior>"));
        if (rules.unknown() >= 0 && Arrays.stream(controls.ids()).anyMatch(id -> id == rules.unknown())) {
            throw new EngineException.InvalidInput("model.unk_token: " + TokenizerFile.quoted(pieces[rules.unknown()])
                    + " is a control token, which text could then become");
        }
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
                throw new EngineException.InvalidInput("model.merges[" + rank + "]: "
                        + TokenizerFile.quoted(a == null ? left : b == null ? right : left + right)
                        + " is not in the vocabulary");
            }
            if (special[ab] || byteOf[ab] >= 0) {
                throw new EngineException.InvalidInput("model.merges[" + rank + "]: makes the "
                        + (special[ab] ? "special" : "byte") + " token " + TokenizerFile.quoted(left + right)
                        + ", which text could then spell");
            }
            table.add(a, b, rank, ab);
        }
        return table;
    }

    /** Whether a merge makes a piece with a space mark behind something else: then words do depend on their neighbours. */
    private static boolean joinsWords(String[] merge) {
        String piece = merge[0] + merge[1];
        for (int i = 1; i < piece.length(); i++) {
            if (piece.charAt(i) == SPACE_MARK && piece.charAt(i - 1) != SPACE_MARK) {
                return true;
            }
        }
        return false;
    }

    private static int first(Map<String, Integer> specials, String... names) {
        for (String name : names) {
            if (specials.containsKey(name)) {
                return specials.get(name);
            }
        }
        return ControlTokens.NONE;
    }

    /**
     * This tokenizer with the control tokens it lacks, on new ids after its own; the model's embedding must grow with it.
     *
     * @return a new tokenizer whose {@link #controls} are complete; every old id means what it did
     * @throws EngineException.InvalidInput if the name of a control token is that of an ordinary one
     */
    public BpeTokenizer withControls() {
        return withControls(0);
    }

    /**
     * The same with new ids no lower than {@code from}.
     *
     * @param from the vocabulary of the model, which may have rows for ids that its tokenizer does not know
     * @return a new tokenizer whose {@link #controls} are complete; every old id means what it did
     * @throws EngineException.InvalidInput if the name of a control token is that of an ordinary one
     */
    public BpeTokenizer withControls(int from) {
        ObjectNode grown = document.deepCopy();
        int[] have = controls.ids();
        int next = Math.max(from, vocabulary());
        for (int i = 0; i < have.length; i++) {
            if (have[i] == ControlTokens.NONE) {
                if (i == 0) {
                    TokenizerFile.openWith(grown, next, ControlTokens.NAMES.getFirst());
                }
                TokenizerFile.addSpecial(grown, next++, ControlTokens.NAMES.get(i));
            }
        }
        return TokenizerFile.bpe(grown);
    }

    /**
     * {@inheritDoc}
     *
     * @throws EngineException.InvalidInput if the text holds half a surrogate pair, or a character that the vocabulary cannot spell: some
     *     vocabularies, SmolLM2's for one, lack bytes
     */
    @Override
    public Tokens encode(String text) {
        return encode(text, Place.FIRST);
    }

    @Override
    public Tokens encodeContinuation(String text) {
        return encode(text, Place.CONTINUED);
    }

    private Tokens encode(String text, Place beginning) {
        checkSurrogates(text);
        Encoding encoding = new Encoding(text.length() / 2 + 8);
        if (literals == null) {
            encoding.stretch(text, beginning);
        } else {
            literals.each(text, new Literals.Sink() {
                @Override
                public void text(String stretch, int at) {
                    encoding.stretch(stretch, at == 0 ? beginning : Place.LATER);
                }

                @Override
                public void literal(int id) {
                    encoding.out.add(id);
                }
            });
        }
        return encoding.out.tokens();
    }

    static void checkSurrogates(String text) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                i++;
            } else if (Character.isSurrogate(c)) {
                throw new EngineException.InvalidInput("text: half a surrogate pair at character " + i);
            }
        }
    }

    /** Where a stretch of text between literals stands. */
    private enum Place {
        /** At the beginning of a text. */
        FIRST,
        /** At the beginning of what goes on from other text. */
        CONTINUED,
        /** Behind a literal. */
        LATER
    }

    /** One text on its way to ids, with the words already met. */
    private final class Encoding {
        private final Ints out;
        private final Map<String, int[]> known = new HashMap<>();

        Encoding(int capacity) {
            out = new Ints(capacity);
        }

        /** Text between literals. */
        void stretch(String text, Place place) {
            if (text.isEmpty()) {
                return;
            }
            cut(spaced(rules.nfc() ? Composition.nfc(text) : text, place), 0);
        }

        private String spaced(String text, Place place) {
            Spaces spaces = rules.spaces();
            String marked = spaces.marked() ? text.replace(' ', SPACE_MARK) : text;
            if (place == Place.CONTINUED) {
                return marked;
            }
            boolean none = marked.charAt(0) != (spaces.marked() ? SPACE_MARK : ' ');
            return switch (spaces) {
                case PLAIN, MARKED -> marked;
                case PLAIN_BEHIND_ONE -> none ? " " + marked : marked;
                case MARKED_BEHIND_ONE -> SPACE_MARK + marked;
                case MARKED_BEHIND_ONE_IF_NONE -> none ? SPACE_MARK + marked : marked;
                case MARKED_BEHIND_FIRST -> none && place == Place.FIRST ? SPACE_MARK + marked : marked;
            };
        }

        private void cut(String text, int level) {
            if (level < rules.splits().size()) {
                rules.splits().get(level).each(text, word -> cut(word, level + 1));
            } else if (cutsBeforeMarks) {
                int begin = 0;
                for (int i = 1; i < text.length(); i++) {
                    if (text.charAt(i) == SPACE_MARK && text.charAt(i - 1) != SPACE_MARK) {
                        word(text.substring(begin, i));
                        begin = i;
                    }
                }
                word(text.substring(begin));
            } else {
                word(text);
            }
        }

        private void word(String word) {
            if (word.length() > MEMORABLE) {
                Ints symbols = symbols(word);
                out.add(symbols.values, merges.apply(symbols.values, symbols.size));
                return;
            }
            int[] pieces = known.get(word);
            if (pieces == null) {
                Ints symbols = symbols(word);
                pieces = Arrays.copyOf(symbols.values, merges.apply(symbols.values, symbols.size));
                if (known.size() < MOST_REMEMBERED) {
                    known.put(word, pieces);
                }
            }
            out.add(pieces, pieces.length);
        }

        private Ints symbols(String word) {
            return rules.byteLevel() ? bytes(word) : characters(word);
        }

        private Ints bytes(String word) {
            byte[] bytes = word.getBytes(StandardCharsets.UTF_8);
            Ints symbols = new Ints(bytes.length);
            if (rules.ignoreMerges()) {
                StringBuilder spelled = new StringBuilder(bytes.length);
                for (byte b : bytes) {
                    spelled.append(ByteAlphabet.character(b & 0xFF));
                }
                Integer whole = ids.get(spelled.toString());
                if (whole != null) {
                    symbols.add(whole);
                    return symbols;
                }
            }
            for (byte b : bytes) {
                if (byteIds[b & 0xFF] >= 0) {
                    symbols.add(byteIds[b & 0xFF]);
                } else {
                    unknown(symbols, "byte %02X of %s".formatted(b & 0xFF, TokenizerFile.quoted(word)));
                }
            }
            return symbols;
        }

        private Ints characters(String word) {
            Ints symbols = new Ints(word.length());
            if (rules.ignoreMerges() && ids.containsKey(word)) {
                symbols.add(ids.get(word));
                return symbols;
            }
            for (int i = 0; i < word.length(); ) {
                int c = word.codePointAt(i);
                String character = Character.toString(c);
                i += character.length();
                Integer id = ids.get(character);
                if (id != null) {
                    symbols.add(id);
                    continue;
                }
                byte[] bytes = character.getBytes(StandardCharsets.UTF_8);
                boolean spelled = true;
                for (byte b : bytes) {
                    spelled &= byteIds[b & 0xFF] >= 0;
                }
                if (spelled) {
                    for (byte b : bytes) {
                        symbols.add(byteIds[b & 0xFF]);
                    }
                } else {
                    unknown(symbols, "character U+%04X".formatted(c));
                }
            }
            return symbols;
        }

        private void unknown(Ints symbols, String what) {
            if (rules.unknown() < 0) {
                throw new EngineException.InvalidInput("text: the vocabulary has no token for " + what);
            }
            boolean again = symbols.size > 0 && symbols.values[symbols.size - 1] == rules.unknown();
            if (!rules.fuseUnknown() || !again) {
                symbols.add(rules.unknown());
            }
        }
    }

    // ---- ids to text

    @Override
    public TextStream stream() {
        return new Decoding(false, rules.stripsSpace());
    }

    @Override
    public TextStream continuationStream() {
        return new Decoding(false, false);
    }

    @Override
    public String show(Tokens tokens) {
        Decoding decoding = new Decoding(true, rules.stripsSpace());
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < tokens.size(); i++) {
            text.append(decoding.add(tokens.at(i)));
        }
        return text.append(decoding.end()).toString();
    }

    /**
     * Bytes to characters. Over bytes, what is not UTF-8 becomes U+FFFD, one for each longest part that could have begun a character. Over
     * characters, a run of byte tokens is UTF-8 as a whole or becomes U+FFFD for each byte, as in Hugging Face's library.
     */
    private final class Decoding implements TextStream {
        private final boolean spelled;
        private final boolean strips;
        private final CharsetDecoder utf8 = StandardCharsets.UTF_8
                .newDecoder()
                .onMalformedInput(CodingErrorAction.REPLACE)
                .onUnmappableCharacter(CodingErrorAction.REPLACE);
        private byte[] pending = new byte[16];
        private int held;
        private boolean begun;

        Decoding(boolean spelled, boolean strips) {
            this.spelled = spelled;
            this.strips = strips;
        }

        @Override
        public String add(int id) {
            if (id < 0 || id >= pieces.length) {
                throw new EngineException.InvalidInput(
                        "token " + id + ": the vocabulary has " + pieces.length + " ids");
            }
            String piece = pieces[id];
            if (piece == null || special[id] && !spelled) {
                return "";
            }
            if (special[id] || literal[id]) {
                return rules.byteLevel()
                        ? bytes(piece.getBytes(StandardCharsets.UTF_8), false)
                        : stripped(run() + piece, false);
            }
            if (rules.byteLevel()) {
                byte[] bytes = ByteAlphabet.bytes(piece);
                return bytes(bytes != null ? bytes : piece.getBytes(StandardCharsets.UTF_8), false);
            }
            if (byteOf[id] >= 0) {
                hold((byte) byteOf[id]);
                return "";
            }
            return stripped(run() + (rules.spaces().marked() ? piece.replace(SPACE_MARK, ' ') : piece), false);
        }

        @Override
        public String end() {
            return rules.byteLevel() ? bytes(new byte[0], true) : stripped(run(), true);
        }

        private String bytes(byte[] more, boolean last) {
            ByteBuffer in = ByteBuffer.allocate(held + more.length);
            in.put(pending, 0, held).put(more).flip();
            CharBuffer out = CharBuffer.allocate(in.remaining() + 1);
            utf8.decode(in, out, last);
            held = 0;
            while (in.hasRemaining()) {
                hold(in.get());
            }
            return stripped(out.flip().toString(), last);
        }

        private void hold(byte b) {
            if (held == pending.length) {
                pending = Arrays.copyOf(pending, 2 * held);
            }
            pending[held++] = b;
        }

        /** The run of bytes that ends here. */
        private String run() {
            if (held == 0) {
                return "";
            }
            int n = held;
            held = 0;
            try {
                return StandardCharsets.UTF_8
                        .newDecoder()
                        .decode(ByteBuffer.wrap(pending, 0, n))
                        .toString();
            } catch (CharacterCodingException e) {
                return "\uFFFD".repeat(n);
            }
        }

        private String stripped(String text, boolean last) {
            if (begun || text.isEmpty()) {
                return text;
            }
            begun = true;
            return strips && text.charAt(0) == ' ' ? text.substring(1) : text;
        }
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
    public int unknown() {
        return rules.unknown();
    }

    @Override
    public boolean opensWithBos() {
        int bos = controls.bos();
        return bos != ControlTokens.NONE && (rules.bos() == bos || pieces[bos].equals(ControlTokens.NAMES.getFirst()));
    }

    /** {@return what it is, in a few words for people: its symbols, how words are cut, whether text is composed first} */
    public String kind() {
        String symbols = rules.byteLevel()
                ? "BPE over bytes"
                : rules.byteFallback() ? "BPE over characters, bytes for the rest" : "BPE over characters";
        String words = rules.splits().isEmpty()
                ? ""
                : ", words cut as "
                        + String.join(
                                " then ",
                                rules.splits().stream()
                                        .map(splitting -> splitting.name().toLowerCase(Locale.ROOT))
                                        .toList());
        return symbols + words + (rules.nfc() ? ", NFC" : "");
    }

    /**
     * {@return how one id is written in the vocabulary; empty where there is no such token}
     *
     * @param id any number
     */
    public String piece(int id) {
        return id < 0 || id >= pieces.length || pieces[id] == null ? "" : pieces[id];
    }

    /**
     * {@return whether an id is one that text never becomes}
     *
     * @param id any number; one outside the vocabulary is not special
     */
    public boolean special(int id) {
        return id >= 0 && id < special.length && special[id];
    }

    @Override
    public void save(Path file) throws IOException {
        TokenizerFile.write(file, opened());
    }

    /**
     * The document with our {@code <bos>} in its template: files of earlier versions lack it there, or have a second template for it.
     */
    private ObjectNode opened() {
        String bos = ControlTokens.NAMES.getFirst();
        if (!piece(controls.bos()).equals(bos) || TokenizerFile.opensWith(document, bos)) {
            return document;
        }
        ObjectNode mended = document.deepCopy();
        TokenizerFile.openWith(mended, controls.bos(), bos);
        return mended;
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
