package subtext.text;

import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * How a tokenizer for a model from scratch treats text: normalizer, pre-tokenizer and decoder of a family in use, so that its
 * {@code tokenizer.json} is read by whatever reads theirs.
 */
public enum TokenizerStyle {
    /** Bytes, words cut as by GPT-2. */
    GPT2("bytes, words cut as by GPT-2") {
        @Override
        void preTokenizer(ObjectNode document) {
            document.set("pre_tokenizer", byteLevel(true));
        }
    },
    /** Bytes, words cut as by Llama 3: numbers by three digits, line ends together; a word in the vocabulary is taken whole. */
    LLAMA3("bytes, numbers by three digits, whole words first") {
        @Override
        void preTokenizer(ObjectNode document) {
            split(document, Splitting.LLAMA3);
        }
    },
    /** Bytes of composed characters, words cut as by Qwen 2, 2.5 and 3: every digit alone. */
    QWEN2("bytes of composed characters (NFC), every digit alone") {
        @Override
        void preTokenizer(ObjectNode document) {
            document.putObject("normalizer").put("type", "NFC");
            split(document, Splitting.QWEN2);
        }
    },
    /** Bytes, words cut as by SmolLM: every digit alone, then as by GPT-2. */
    SMOLLM2("bytes, every digit alone, words cut as by GPT-2") {
        @Override
        void preTokenizer(ObjectNode document) {
            ObjectNode sequence = document.putObject("pre_tokenizer").put("type", "Sequence");
            ArrayNode steps = sequence.putArray("pretokenizers");
            steps.addObject().put("type", "Digits").put("individual_digits", true);
            steps.add(byteLevel(true));
        }
    },
    /** Bytes, words cut as by Mistral's later models: by case, every digit alone. */
    TEKKEN("bytes, words cut by case, every digit alone") {
        @Override
        void preTokenizer(ObjectNode document) {
            split(document, Splitting.TEKKEN);
        }
    },
    /** Characters with bytes for the rare ones, spaces as U+2581, one before every text: Llama 2, TinyLlama, Mistral. */
    LLAMA2("characters, bytes for the rare ones, spaces as U+2581") {
        @Override
        void preTokenizer(ObjectNode document) {
            ObjectNode sequence = document.putObject("normalizer").put("type", "Sequence");
            ArrayNode steps = sequence.putArray("normalizers");
            steps.addObject().put("type", "Prepend").put("prepend", MARK);
            steps.add(replace(" ", MARK));
            document.putNull("pre_tokenizer");
        }
    },
    /** The same with a space only before a text that does not begin with one: Mistral's later files of that kind. */
    MISTRAL("as llama2, but no second space before a text") {
        @Override
        void preTokenizer(ObjectNode document) {
            document.putObject("pre_tokenizer")
                    .put("type", "Metaspace")
                    .put("replacement", MARK)
                    .put("prepend_scheme", "first")
                    .put("split", false);
        }
    };

    private static final String MARK = String.valueOf(BpeTokenizer.SPACE_MARK);

    private final String description;

    TokenizerStyle(String description) {
        this.description = description;
    }

    /** {@return what it does, in a line for people} */
    public String description() {
        return description;
    }

    abstract void preTokenizer(ObjectNode document);

    boolean bytes() {
        return this != LLAMA2 && this != MISTRAL;
    }

    /** The words that a text is made of for counting pairs. */
    void words(String text, Consumer<String> word) {
        switch (this) {
            case GPT2 -> Splitting.GPT2.each(text, word);
            case LLAMA3 -> Splitting.LLAMA3.each(text, word);
            case QWEN2 -> Splitting.QWEN2.each(Composition.nfc(text), word);
            case SMOLLM2 -> Splitting.DIGITS.each(text, part -> Splitting.GPT2.each(part, word));
            case TEKKEN -> Splitting.TEKKEN.each(text, word);
            case LLAMA2, MISTRAL -> marked(text, word);
        }
    }

    /** Every word with the mark before it; a run of spaces is marks that are words of their own, but for the last. */
    private static void marked(String text, Consumer<String> word) {
        String marked = MARK + text.replace(" ", MARK);
        int begin = 0;
        for (int i = 1; i <= marked.length(); i++) {
            if (i == marked.length() || marked.charAt(i) == BpeTokenizer.SPACE_MARK) {
                word.accept(marked.substring(begin, i));
                begin = i;
            }
        }
    }

    /** A document with the six control tokens on ids 0 to 5, then these pieces. */
    ObjectNode document(List<String> pieces, List<String[]> merges) {
        ObjectNode document = TokenizerFile.JSON.createObjectNode();
        document.put("version", "1.0").putNull("truncation").putNull("padding");
        document.putArray("added_tokens");
        document.putNull("normalizer");
        preTokenizer(document);
        document.set("post_processor", TokenizerFile.firstToken(ControlTokens.NAMES.getFirst(), 0));
        document.set("decoder", bytes() ? byteLevel(true) : marksToSpaces());
        ObjectNode model = document.putObject("model");
        model.put("type", "BPE").putNull("dropout").putNull("unk_token");
        model.putNull("continuing_subword_prefix").putNull("end_of_word_suffix");
        model.put("fuse_unk", !bytes()).put("byte_fallback", !bytes()).put("ignore_merges", this == LLAMA3);
        ObjectNode vocabulary = model.putObject("vocab");
        for (int i = 0; i < ControlTokens.NAMES.size(); i++) {
            TokenizerFile.addSpecial(document, i, ControlTokens.NAMES.get(i));
        }
        for (int i = 0; i < pieces.size(); i++) {
            vocabulary.put(pieces.get(i), ControlTokens.NAMES.size() + i);
        }
        ArrayNode list = model.putArray("merges");
        merges.forEach(merge -> list.addArray().add(merge[0]).add(merge[1]));
        return document;
    }

    private static void split(ObjectNode document, Splitting splitting) {
        ObjectNode sequence = document.putObject("pre_tokenizer").put("type", "Sequence");
        ArrayNode steps = sequence.putArray("pretokenizers");
        ObjectNode split = steps.addObject().put("type", "Split");
        split.putObject("pattern").put("Regex", splitting.text());
        split.put("behavior", "Isolated").put("invert", false);
        steps.add(byteLevel(false));
    }

    private static ObjectNode byteLevel(boolean regex) {
        return TokenizerFile.JSON
                .createObjectNode()
                .put("type", "ByteLevel")
                .put("add_prefix_space", false)
                .put("trim_offsets", true)
                .put("use_regex", regex);
    }

    private static ObjectNode replace(String from, String to) {
        ObjectNode step = TokenizerFile.JSON.createObjectNode().put("type", "Replace");
        step.putObject("pattern").put("String", from);
        return step.put("content", to);
    }

    private static ObjectNode marksToSpaces() {
        ObjectNode sequence = TokenizerFile.JSON.createObjectNode().put("type", "Sequence");
        ArrayNode steps = sequence.putArray("decoders");
        steps.add(replace(MARK, " "));
        steps.addObject().put("type", "ByteFallback");
        steps.addObject().put("type", "Fuse");
        steps.addObject()
                .put("type", "Strip")
                .put("content", " ")
                .put("start", 1)
                .put("stop", 0);
        return sequence;
    }

    /** As it is written on the command line. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
