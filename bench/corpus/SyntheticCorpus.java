import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;

/**
 * Writes a corpus of JSON lines, a function of its size: words of a made-up language by Zipf's law in sentences and paragraphs, about 2 kB a document. One
 * document in 100 is an earlier one again, one in 100 an earlier one with a word changed, one line in 20,000 is broken.
 *
 * <pre>java SyntheticCorpus.java 10g corpus.jsonl</pre>
 */
public final class SyntheticCorpus {
    private static final int WORDS = 50_000;

    private SyntheticCorpus() {}

    public static void main(String[] arguments) throws IOException {
        long bytes = size(arguments[0]);
        byte[][] words = words();
        byte[][] recent = new byte[1000][];
        SplittableRandom random = new SplittableRandom(42);
        long written = 0;
        try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(Path.of(arguments[1])), 1 << 20)) {
            for (int document = 0; written < bytes; document++) {
                byte[] line;
                byte[] old = recent[random.nextInt(recent.length)];
                int kind = random.nextInt(20_000);
                if (kind == 0) {
                    line = "{\"text\": \"broken\n".getBytes(StandardCharsets.UTF_8);
                } else if (kind <= 200 && old != null) {
                    line = old;
                } else if (kind <= 400 && old != null) {
                    line = old.clone();
                    int at = 40 + random.nextInt(200);
                    while (line[at] < 'a' || line[at - 1] == '\\') {
                        at++;
                    }
                    line[at] = 'q';
                } else {
                    line = line(random, words);
                    recent[document % recent.length] = line;
                }
                out.write(line);
                written += line.length;
            }
        }
    }

    private static byte[] line(SplittableRandom random, byte[][] words) {
        byte[] line = new byte[8192];
        byte[] start = "{\"text\":\"".getBytes(StandardCharsets.US_ASCII);
        System.arraycopy(start, 0, line, 0, start.length);
        int at = start.length;
        int end = 600 + random.nextInt(2800);
        int sentence = 0;
        while (at < end) {
            byte[] word = words[Math.min(WORDS - 1, (int) Math.exp(random.nextDouble() * Math.log(WORDS)) - 1)];
            System.arraycopy(word, 0, line, at, word.length);
            if (sentence == 0) {
                line[at] -= 32; // a capital letter
            }
            at += word.length;
            if (++sentence > 5 + random.nextInt(20)) {
                line[at++] = '.';
                sentence = 0;
                if (random.nextInt(6) == 0) {
                    line[at++] = '\\';
                    line[at++] = 'n';
                    line[at++] = '\\';
                    line[at++] = 'n';
                    continue;
                }
            }
            line[at++] = ' ';
        }
        line[at++] = '"';
        line[at++] = '}';
        line[at++] = '\n';
        return java.util.Arrays.copyOf(line, at);
    }

    private static byte[][] words() {
        SplittableRandom random = new SplittableRandom(7);
        String[] syllables = {
            "ba", "be", "bi", "co", "cu", "da", "de", "di", "fo", "fu", "ga", "ge", "ha", "he", "jo", "ka", "ke", "la", "le", "li", "mo",
            "mu", "na", "ne", "ni", "po", "pu", "ra", "re", "ri", "so", "su", "ta", "te", "ti", "vo", "wa", "we", "yo", "za", "st", "nd"
        };
        byte[][] words = new byte[WORDS][];
        for (int w = 0; w < WORDS; w++) {
            StringBuilder word = new StringBuilder();
            int n = 1 + (w > 40 ? random.nextInt(2) : 0) + (w > 2000 ? random.nextInt(3) : 0);
            for (int s = 0; s < n; s++) {
                word.append(syllables[random.nextInt(syllables.length)]);
            }
            words[w] = word.toString().getBytes(StandardCharsets.US_ASCII);
        }
        return words;
    }

    private static long size(String text) {
        long unit = switch (text.charAt(text.length() - 1)) {
            case 'k' -> 1_000L;
            case 'm' -> 1_000_000L;
            case 'g' -> 1_000_000_000L;
            default -> 1L;
        };
        return unit * Long.parseLong(unit == 1 ? text : text.substring(0, text.length() - 1));
    }
}
