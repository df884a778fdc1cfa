package subtext.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.text.Normalizer;
import java.util.EnumMap;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import subtext.bindings.EngineException;
import subtext.random.Philox;

/** Any text comes back from its ids, in every style, whole or token by token, in time that does not depend on what the text is. */
class RoundTripTest {
    private static final String CORPUS =
            ("the cat sat on the mat. The cat's hat, the rat's bat: 12 cats & 345 hats cost $6.70\n\n".repeat(20)
                    + ("Zw\u00f6lf Boxk\u00e4mpfer jagen Viktor quer \u00fcber den Sylter Deich. "
                                    + "\u4f60\u597d\uff0c\u4e16\u754c \ud83d\ude00\ud83d\udc4d pack my box with five dozen liquor jugs\n")
                            .repeat(5));

    private static final Map<TokenizerStyle, BpeTokenizer> TOKENIZERS = new EnumMap<>(TokenizerStyle.class);

    @BeforeAll
    static void train() {
        for (TokenizerStyle style : TokenizerStyle.values()) {
            TOKENIZERS.put(style, new BpeTrainer(style).add(CORPUS).train(400));
        }
    }

    @Test
    void twentyThousandTextsComeBack() {
        comeBack(0, 20_000);
    }

    @Test
    @Tag("slow")
    void aMillionTextsComeBack() {
        comeBack(1_000_000, 2_000_000);
    }

    /** Each text in one style, in turns. Every sixteenth is spoiled by half a surrogate pair, which has no UTF-8, and is refused. */
    private static void comeBack(int first, int last) {
        TokenizerStyle[] styles = TokenizerStyle.values();
        for (int i = first; i < last; i++) {
            TokenizerStyle style = styles[i % styles.length];
            BpeTokenizer tokenizer = TOKENIZERS.get(style);
            String text = RandomText.of(i);
            if (i % 16 == 0) {
                int at = Philox.below(i, 5000, text.length() + 1);
                at -= at > 0 && at < text.length() && Character.isLowSurrogate(text.charAt(at)) ? 1 : 0;
                char half = (char) (0xD800 + Philox.below(i, 5001, 0x800));
                boolean pairs = Character.isHighSurrogate(half)
                                && at < text.length()
                                && Character.isLowSurrogate(text.charAt(at))
                        || Character.isLowSurrogate(half) && at > 0 && Character.isHighSurrogate(text.charAt(at - 1));
                if (!pairs) {
                    String spoiled = text.substring(0, at) + half + text.substring(at);
                    assertThatThrownBy(() -> tokenizer.encode(spoiled))
                            .isInstanceOf(EngineException.InvalidInput.class)
                            .hasMessage("text: half a surrogate pair at character " + at);
                }
            }
            Tokens ids = tokenizer.encode(text);
            String back = tokenizer.decode(ids);
            if (!back.equals(expected(style, text))) {
                throw new AssertionError("seed " + i + ", " + style + ": [" + text + "] came back as [" + back + "]");
            }
            for (int k = 0; k < ids.size(); k++) {
                if (ids.at(k) < ControlTokens.NAMES.size()) {
                    throw new AssertionError("seed " + i + ", " + style + ": a control token out of [" + text + "]");
                }
            }
        }
    }

    /** What a style cannot tell apart: Qwen composes characters; Mistral's Metaspace puts no space before a text that begins with one. */
    private static String expected(TokenizerStyle style, String text) {
        return switch (style) {
            case QWEN2 -> Normalizer.normalize(text, Normalizer.Form.NFC);
            case MISTRAL -> text.startsWith(" ") ? text.substring(1) : text;
            default -> text;
        };
    }

    /** Cut anywhere, a text comes back from its pieces: only the first is treated as the beginning of a text. */
    @Test
    void piecesOfATextComeBackAsTheText() {
        TokenizerStyle[] styles = TokenizerStyle.values();
        for (int i = 0; i < 20_000; i++) {
            TokenizerStyle style = styles[i % styles.length];
            BpeTokenizer tokenizer = TOKENIZERS.get(style);
            String text = RandomText.of(i);
            int at = Philox.below(i, 5002, text.length() + 1);
            at -= at > 0 && at < text.length() && Character.isLowSurrogate(text.charAt(at)) ? 1 : 0;
            String first = text.substring(0, at);
            String rest = text.substring(at);
            String composed = style == TokenizerStyle.QWEN2 ? expected(style, rest) : rest;
            Tokens continued = tokenizer.encodeContinuation(rest);
            if (!tokenizer.decodeContinuation(continued).equals(composed)) {
                throw new AssertionError("seed " + i + ", " + style + ": [" + rest + "] came back as ["
                        + tokenizer.decodeContinuation(continued) + "]");
            }
            if (!first.isEmpty()) {
                String back = tokenizer.decode(Tokens.concat(tokenizer.encode(first), continued));
                if (!back.equals(expected(style, first) + composed)) {
                    throw new AssertionError("seed " + i + ", " + style + ": [" + first + "] and [" + rest
                            + "] came back as [" + back + "]");
                }
            }
        }
        BpeTokenizer llama2 = TOKENIZERS.get(TokenizerStyle.LLAMA2);
        assertThat(Tokens.concat(llama2.encode("the cat"), llama2.encodeContinuation(" sat.")))
                .as("cut between words, the ids of the whole")
                .isEqualTo(llama2.encode("the cat sat."));
    }

    @Test
    void spacesMarksAndNamesOfBytesAreTextInEveryStyle() {
        for (TokenizerStyle style : TokenizerStyle.values()) {
            BpeTokenizer tokenizer = TOKENIZERS.get(style);
            for (String text : new String[] {"", " ", "  ", " a", "a ", "<0x41>", "\u0000", "\ufeff", "a\u0000b"}) {
                assertThat(tokenizer.decode(tokenizer.encode(text)))
                        .as("%s [%s]", style, text)
                        .isEqualTo(expected(style, text));
            }
        }
        // U+2581 is how a space is written there, and comes back as one, as in SentencePiece itself
        BpeTokenizer marked = TOKENIZERS.get(TokenizerStyle.LLAMA2);
        assertThat(marked.encode("a\u2581b")).isEqualTo(marked.encode("a b"));
    }

    @ParameterizedTest
    @EnumSource
    void aStreamGivesTheSameTextPieceByPiece(TokenizerStyle style) {
        BpeTokenizer tokenizer = TOKENIZERS.get(style);
        int pieces = 0;
        for (int i = 0; i < 2_000; i++) {
            // half of them texts, half of them any ids, spoiled characters included
            Tokens ids = tokenizer.encode(RandomText.of(i));
            if (i % 2 == 1) {
                int[] any = new int[Philox.below(i, 0, 30)];
                for (int k = 0; k < any.length; k++) {
                    any[k] = Philox.below(i, 1 + k, k % 3 == 0 ? tokenizer.vocabulary() : 262);
                }
                ids = Tokens.of(any);
            }
            TextStream stream = tokenizer.stream();
            StringBuilder text = new StringBuilder();
            for (int k = 0; k < ids.size(); k++) {
                String piece = stream.add(ids.at(k));
                pieces += piece.isEmpty() ? 0 : 1;
                text.append(piece);
                for (int c = 0; c < piece.length(); c++) {
                    assertThat(Character.isHighSurrogate(piece.charAt(c)) && c + 1 == piece.length())
                            .isFalse();
                }
            }
            text.append(stream.end());
            assertThat(text.toString()).as("seed %d", i).isEqualTo(tokenizer.decode(ids));
        }
        assertThat(pieces).isGreaterThan(10_000);
    }

    @Test
    void aCharacterIsShownWhenItsLastByteHasCome() {
        BpeTokenizer tokenizer = TOKENIZERS.get(TokenizerStyle.GPT2);
        TextStream stream = tokenizer.stream();
        int[] grin = {6 + 0xF0, 6 + 0x9F, 6 + 0x98, 6 + 0x80
        }; // bytes have the ids from 6 on, in the order of their values
        assertThat(stream.add(grin[0]) + stream.add(grin[1]) + stream.add(grin[2]))
                .isEmpty();
        assertThat(stream.add(grin[3])).isEqualTo("\ud83d\ude00");
        assertThat(stream.add(grin[0]) + stream.add(grin[1])).isEmpty();
        assertThat(stream.add(6 + 'a')).isEqualTo("\ufffda");
        assertThat(stream.add(grin[0])).isEmpty();
        assertThat(stream.end()).isEqualTo("\ufffd");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "a",
                " ",
                "ab\n \t",
                "'s",
                "1",
                "  x",
                "\ud83d\ude00",
                "\u00e9",
                "\u0301\u0316",
                "\u0344\u0316\u0334",
                "e\u0301",
                "\u4e16",
                "xyzzy",
                "<think>",
                "!?",
                "Aa"
            })
    void timeIsLinearWhateverTheText(String part) {
        timeIsLinear(part, TokenizerStyle.LLAMA3, TokenizerStyle.QWEN2, TokenizerStyle.LLAMA2);
    }

    @Test
    @Tag("slow")
    void timeIsLinearInEveryStyle() {
        for (String part : new String[] {"a", " ", "1", "'s", "\n ", "\ud83d\ude00", "\u0301\u0316", "A", "Aa/"}) {
            timeIsLinear(part, TokenizerStyle.values());
        }
    }

    private static void timeIsLinear(String part, TokenizerStyle... styles) {
        String text = "b" + part.repeat((1 << 20) / part.getBytes(StandardCharsets.UTF_8).length);
        // a mebibyte takes a fraction of a second, on a busy machine some; work in the square of it, minutes to hours
        for (TokenizerStyle style : styles) {
            BpeTokenizer tokenizer = TOKENIZERS.get(style);
            long begin = System.nanoTime();
            String back = tokenizer.decode(tokenizer.encode(text));
            assertThat(System.nanoTime() - begin).as("%s, in ns", style).isLessThan(60_000_000_000L);
            String expected = style == TokenizerStyle.QWEN2 ? Composition.nfc(text) : text;
            assertThat(back.equals(expected)).as("%s", style).isTrue();
        }
    }

    @Test
    void longRunsOfMarksAreComposedAsByJava() {
        for (int i = 0; i < 300; i++) {
            StringBuilder text = new StringBuilder();
            for (int run = 0; run < 3; run++) {
                text.append((char) ('a' + Philox.below(i, run, 26)));
                int size = Philox.below(i, 10 + run, 200);
                for (int k = 0; k < size; k++) {
                    int kind = Philox.below(i, 1000 * run + k, 12);
                    text.appendCodePoint(
                            switch (kind) {
                                case 0 -> 0x34F; // a mark that stays where it is
                                case 1 -> 0x344; // one that is two
                                case 2 -> 0x0F73; // two, which are reordered
                                case 3 -> 0x1D165 + Philox.below(i, k, 8);
                                case 4 -> 0x05B0 + Philox.below(i, k, 14);
                                case 5 -> 0x093C;
                                default -> 0x300 + Philox.below(i, k, 0x70);
                            });
                }
            }
            assertThat(Composition.nfc(text.toString()))
                    .as("seed %d", i)
                    .isEqualTo(Normalizer.normalize(text, Normalizer.Form.NFC));
        }
    }
}
