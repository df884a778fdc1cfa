package subtext.text;

import subtext.random.Philox;

/** Texts made to be awkward, a function of their seed: all planes, emoji sequences, piles of marks, NULs, white space, digits, names of tokens. */
final class RandomText {
    private static final String[] PARTS = {
        " ",
        "  ",
        "\t",
        "\n",
        "\r\n",
        "\n\n",
        "\u00a0",
        "\u3000",
        "\u0085",
        "\u2028",
        "\u200b",
        "\u0000",
        "\ufeff",
        "\ufffd",
        "'s",
        "'LL",
        "'\u017f",
        "don't",
        "the",
        " The",
        "THE",
        "iPhone",
        "x=42;",
        "3.14",
        "\u00bd",
        "\u2167",
        "\u0663",
        "\u4e09",
        "\ud83d\ude00",
        "\ud83d\udc69\u200d\ud83d\udc69\u200d\ud83d\udc67",
        "\ud83c\udff3\ufe0f\u200d\ud83c\udf08",
        "\ud83d\udc4d\ud83c\udffd",
        "\ud83c\uddeb\ud83c\uddee",
        "e\u0301",
        "\u00e9",
        "a\u0301\u0316\u0334",
        "q\u0307\u0323",
        "\u1112\u1161\u11ab",
        "\ud55c",
        "\u0928\u093f",
        "\u0644\u0627",
        "\u202eabc\u202c",
        "<0x0A>",
        "<bos>",
        "</latent>",
        "<latent><prior>",
        "<s>",
        "<|endoftext|>",
        "<think>",
        "\u0120",
        "\u010a",
    };

    private RandomText() {}

    /** Up to 40 parts. */
    static String of(long seed) {
        StringBuilder text = new StringBuilder();
        int size = Philox.below(seed, 0, 41);
        for (int i = 1; i <= size; i++) {
            switch (Philox.below(seed, 1000 + i, 8)) {
                case 0, 1, 2 -> text.append((char) ('a' + Philox.below(seed, i, 26)));
                case 3 -> text.append(Philox.below(seed, i, 100_000));
                case 4 -> text.appendCodePoint(character(seed, i));
                default -> text.append(PARTS[Philox.below(seed, i, PARTS.length)]);
            }
        }
        return text.toString();
    }

    private static int character(long seed, int i) {
        int c = Philox.below(seed, i, 0x110000);
        return c >= 0xD800 && c < 0xE000 ? c - 0xD800 + 0x300 : c;
    }
}
