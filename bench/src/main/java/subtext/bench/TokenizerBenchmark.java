package subtext.bench;

import java.nio.charset.StandardCharsets;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import subtext.text.BpeTokenizer;
import subtext.text.BpeTrainer;
import subtext.text.TokenizerStyle;
import subtext.text.Tokens;

/**
 * Milliseconds to make a mebibyte of text into ids, and ids into text: prose, and texts made to be slow. Linear time means that none takes
 * much longer than prose; a second is the most allowed.
 *
 * <pre>java -jar bench/target/benchmarks.jar TokenizerBenchmark</pre>
 */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 1, time = 2)
@Measurement(iterations = 3, time = 1)
@Fork(1)
@State(Scope.Benchmark)
public class TokenizerBenchmark {
    private static final int BYTES = 1 << 20;

    /** Of what the text is made. */
    public enum Kind {
        /** Words of a made-up language with the lengths and frequencies of a real one. */
        PROSE,
        /** No letter but one. */
        LETTER,
        /** Letters at random, no space. */
        NO_SPACES,
        SPACES,
        EMOJI,
        /** Combining marks in the wrong order. */
        MARKS
    }

    @Param({"LLAMA3", "QWEN2", "LLAMA2"})
    public TokenizerStyle style;

    @Param
    public Kind kind;

    private BpeTokenizer tokenizer;
    private String text;
    private Tokens ids;

    /** Learns a vocabulary of 8,192 from prose. */
    @Setup(Level.Trial)
    public void make() {
        tokenizer = new BpeTrainer(style).add(prose(1)).train(8192);
        text = text();
        ids = tokenizer.encode(text);
    }

    private String text() {
        return switch (kind) {
            case PROSE -> prose(2);
            case LETTER -> repeated("a");
            case NO_SPACES -> {
                Random random = new Random(3);
                StringBuilder letters = new StringBuilder();
                while (letters.length() < BYTES) {
                    letters.append((char) ('a' + random.nextInt(26)));
                }
                yield letters.toString();
            }
            case SPACES -> repeated(" ");
            case EMOJI -> repeated("\ud83d\ude00");
            case MARKS -> repeated("\u0301\u0316");
        };
    }

    private static String repeated(String part) {
        return part.repeat(BYTES / part.getBytes(StandardCharsets.UTF_8).length);
    }

    /** Words by Zipf's law out of 20,000 made of syllables. */
    private static String prose(long seed) {
        Random words = new Random(7);
        String[] lexicon = new String[20_000];
        for (int i = 0; i < lexicon.length; i++) {
            StringBuilder word = new StringBuilder();
            for (int k = 0; k <= words.nextInt(4); k++) {
                word.append("bcdfghklmnprstvw".charAt(words.nextInt(16))).append("aeiou".charAt(words.nextInt(5)));
            }
            lexicon[i] = word.toString();
        }
        Random random = new Random(seed);
        StringBuilder prose = new StringBuilder();
        while (prose.length() < BYTES) {
            int rank = (int) Math.pow(lexicon.length, random.nextDouble());
            prose.append(lexicon[rank % lexicon.length]).append(random.nextInt(12) == 0 ? ".\n" : " ");
        }
        return prose.substring(0, BYTES);
    }

    @Benchmark
    public Tokens encode() {
        return tokenizer.encode(text);
    }

    @Benchmark
    public String decode() {
        return tokenizer.decode(ids);
    }
}
