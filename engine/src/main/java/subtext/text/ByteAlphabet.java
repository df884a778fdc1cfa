package subtext.text;

/**
 * GPT-2's way of writing bytes as visible characters in a vocabulary file: printable Latin-1 stands for itself, the other 68 bytes are
 * moved to U+0100 and up. Radford et al. 2019.
 */
final class ByteAlphabet {
    private static final char[] CHARACTERS = characters();
    private static final int[] BYTES = bytes();

    private ByteAlphabet() {}

    /** The character of a byte 0 to 255. */
    static char character(int value) {
        return CHARACTERS[value];
    }

    /** The bytes that a vocabulary entry spells, or null if it holds a character outside the alphabet. */
    static byte[] bytes(String piece) {
        byte[] bytes = new byte[piece.length()];
        for (int i = 0; i < bytes.length; i++) {
            char c = piece.charAt(i);
            if (c >= BYTES.length || BYTES[c] < 0) {
                return null;
            }
            bytes[i] = (byte) BYTES[c];
        }
        return bytes;
    }

    private static char[] characters() {
        char[] characters = new char[256];
        char moved = 256;
        for (int b = 0; b < 256; b++) {
            boolean printable = b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE;
            characters[b] = printable ? (char) b : moved++;
        }
        return characters;
    }

    private static int[] bytes() {
        int[] bytes = new int[256 + 68];
        java.util.Arrays.fill(bytes, -1);
        for (int b = 0; b < 256; b++) {
            bytes[CHARACTERS[b]] = b;
        }
        return bytes;
    }
}
