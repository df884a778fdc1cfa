package subtext.text;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Ids and texts equal to those of Hugging Face's own library for the configurations of seven families, by vectors that
 * {@code golden/make_tokenizers.js} made with it.
 */
class TokenizerParityTest {
    private static final Path GOLDEN =
            Path.of(System.getProperty("subtext.root", ".."), "engine/src/test/resources/golden/tokenizers");

    @ParameterizedTest
    @EnumSource
    void textsAndIdsAreThoseOfTheLibrary(TokenizerStyle style) throws IOException {
        Tokenizer tokenizer = Tokenizer.load(GOLDEN.resolve(style + ".json"));
        JsonNode vectors = JsonMapper.shared().readTree(Files.readAllBytes(GOLDEN.resolve(style + ".vectors.json")));
        for (JsonNode vector : vectors.path("texts")) {
            assertThat(tokenizer.encode(vector.path("text").asString()))
                    .as("[%s]", vector.path("text").asString())
                    .isEqualTo(ids(vector));
        }
        for (JsonNode vector : vectors.path("decoded")) {
            assertThat(tokenizer.decode(ids(vector)))
                    .as("%s", vector.path("ids"))
                    .isEqualTo(vector.path("text").asString());
        }
        List<String> digests = new ArrayList<>();
        vectors.path("digests").forEach(digest -> digests.add(digest.asString()));
        assertThat(vectors.path("texts").size()).isGreaterThan(100);
        assertThat(vectors.path("decoded").size()).isGreaterThan(100);
        assertThat(digests).hasSize(100);
        assertThat(digests(tokenizer, 10_000)).isEqualTo(digests);
    }

    /** A real tokenizer, against what {@code make_tokenizers.js --real FILE N} printed: {@code -Dsubtext.tokenizer=FILE -Dsubtext.digests=FILE}. */
    @Test
    @Tag("slow")
    @EnabledIfSystemProperty(named = "subtext.tokenizer", matches = ".+")
    void aRealTokenizerReadsAsTheLibraryDoes() throws IOException {
        List<String> digests = Files.readAllLines(Path.of(System.getProperty("subtext.digests")));
        Tokenizer tokenizer = Tokenizer.load(Path.of(System.getProperty("subtext.tokenizer")));
        assertThat(digests(tokenizer, 100 * digests.size())).isEqualTo(digests);
    }

    private static Tokens ids(JsonNode vector) {
        int[] ids = new int[vector.path("ids").size()];
        Arrays.setAll(ids, i -> vector.path("ids").path(i).intValue());
        return Tokens.of(ids);
    }

    private static List<String> digests(Tokenizer tokenizer, int count) {
        Numbers numbers = new Numbers(20240607);
        List<String> digests = new ArrayList<>();
        for (int i = 0; i < count; i += 100) {
            int hash = 0x811c9dc5;
            for (int k = 0; k < 100; k++) {
                Tokens ids = tokenizer.encode(text(numbers));
                hash = fnv(hash, ids.size());
                for (int id : ids.toArray()) {
                    hash = fnv(hash, id);
                }
            }
            digests.add("%08x".formatted(hash));
        }
        return digests;
    }

    // ---- the rule by which make_tokenizers.js makes texts, repeated

    /** Marsaglia's xorshift, 32 bits. */
    private static final class Numbers {
        private int x;

        Numbers(int seed) {
            x = seed;
        }

        int below(int n) {
            x ^= x << 13;
            x ^= x >>> 17;
            x ^= x << 5;
            return Integer.remainderUnsigned(x, n);
        }
    }

    private static int fnv(int hash, int value) {
        for (int shift = 0; shift < 32; shift += 8) {
            hash = (hash ^ value >>> shift & 0xff) * 0x01000193;
        }
        return hash;
    }

    private static String text(Numbers numbers) {
        StringBuilder s = new StringBuilder();
        for (int n = numbers.below(25); n > 0; n--) {
            int kind = numbers.below(8);
            if (kind < 4) {
                s.append(PARTS[numbers.below(PARTS.length)]);
            } else if (kind < 5) {
                s.append(numbers.below(100_000));
            } else if (kind < 7) {
                for (int k = 1 + numbers.below(6); k > 0; k--) {
                    s.append((char) ('a' + numbers.below(26)));
                }
            } else {
                int[] range = RANGES[numbers.below(RANGES.length)];
                s.appendCodePoint(range[0] + numbers.below(range[1] - range[0] + 1));
            }
        }
        return s.toString();
    }

    private static final int[][] RANGES = {
        {0x20, 0x7e},
        {0x20, 0x7e},
        {0xa1, 0xac},
        {0xae, 0x17f},
        {0x300, 0x36f},
        {0x391, 0x3a1},
        {0x3b1, 0x3c9},
        {0x410, 0x44f},
        {0x5d0, 0x5ea},
        {0x621, 0x63a},
        {0x660, 0x669},
        {0x905, 0x939},
        {0x966, 0x96f},
        {0xe01, 0xe30},
        {0x1100, 0x1112},
        {0x1161, 0x1175},
        {0x11a8, 0x11c2},
        {0x1e00, 0x1e95},
        {0x2010, 0x2027},
        {0x2070, 0x2070},
        {0x2074, 0x2079},
        {0x20a0, 0x20ac},
        {0x2153, 0x215e},
        {0x2160, 0x217f},
        {0x2190, 0x21ff},
        {0x2200, 0x22ff},
        {0x2460, 0x249b},
        {0x3041, 0x3094},
        {0x30a1, 0x30fa},
        {0x3131, 0x318e},
        {0x4e00, 0x9fa5},
        {0xac00, 0xd7a3},
        {0xf900, 0xfa2d},
        {0xff10, 0xff19},
        {0xff21, 0xff3a},
        {0x10330, 0x10349},
        {0x1d400, 0x1d454},
        {0x1f300, 0x1f320},
        {0x1f600, 0x1f640},
        {0x20000, 0x2a6d6},
    };

    private static final String[] PARTS = {
        " ",
        " ",
        "  ",
        "   ",
        "\t",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        "\u00a0",
        "\u3000",
        "\u0085",
        "\u2028",
        "\013",
        "\u200b",
        "\0",
        "\ufeff",
        "'s",
        "'S",
        "'ll",
        "'LL",
        "'re",
        "'Ve",
        "'d",
        "'\u017f",
        "'t",
        "''",
        "don't",
        "I'M",
        "the",
        " the",
        " The",
        "THE",
        "cat",
        " iPhone",
        "x=42;",
        "3.14",
        " 1234567",
        "\u00bd",
        "\u00b2",
        "\u0301",
        "e\u0301",
        "a\u0301\u0316",
        "\u212b",
        "\u1e9b\u0323",
        "\u2581",
        "\u2581\u2581a",
        "<0x0A>",
        "<bos>",
        "</latent>",
        "<latent>",
        "<prior>",
        "<s>",
        "</s>",
        "<|endoftext|>",
        "<think>",
        "</think>",
        "<thi",
        "\u0120",
        "\u010a",
        "/",
        "//\n",
        "!?",
        "...",
        " $",
        "\ud83d\ude00",
        "\ud83d\udc69\u200d\ud83d\udc67",
        "\ud83d\udc4d\ud83c\udffd",
        "\ud83c\uddeb\ud83c\uddee",
    };
}
