package subtext.text;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.IntStream;
import subtext.bindings.EngineException;

/**
 * Learns a byte-pair encoding: again and again the most frequent pair of neighbours becomes a token. A function of the texts' words and
 * their counts alone; of equally frequent pairs the one of lower ids is taken. Control tokens get ids 0 to 5, bytes 6 to 261, in a style
 * over characters then these, and merges the rest.
 *
 * <p>Memory is bounded, whatever the texts: of more than {@value #MOST_WORDS} different words the rarest are forgotten while counting, and
 * the result is then one of the texts and their order.
 *
 * <p>Characters are taken from the most frequent on, until they cover 99.95 % of the text or half of the vocabulary; the others are
 * written in bytes, and bytes are never merged there.
 *
 * @see <a href="https://arxiv.org/abs/1508.07909">Sennrich et al. 2016</a>
 * @see <a href="https://www.vldb.org/conf/2002/S10P03.pdf">Manku &amp; Motwani 2002</a>, for counting with a bound
 */
public final class BpeTrainer {
    /** The smallest vocabulary: control tokens and bytes. */
    public static final int SMALLEST = 6 + 256;

    /** Longer words are counted in parts: a text without spaces would otherwise be gone through whole for every merge. */
    private static final int LONGEST_WORD = 256;

    /** Of a thousand-and-a-half characters one is left to bytes. */
    private static final double COVERAGE = 0.9995;

    /** Different words that are counted at once, at most: some 300 MB of them and their pairs while merges are learnt. */
    public static final int MOST_WORDS = 1 << 19;

    private final TokenizerStyle style;
    private final int mostWords;
    private final Map<String, long[]> words = new HashMap<>();
    private long forgotten;

    /** Over bytes, as GPT-2; with no text yet. */
    public BpeTrainer() {
        this(TokenizerStyle.GPT2);
    }

    /**
     * In the style of a family; with no text yet.
     *
     * @param style how words are cut while counting, and what the tokenizer learnt will do with text
     */
    public BpeTrainer(TokenizerStyle style) {
        this(style, MOST_WORDS);
    }

    BpeTrainer(TokenizerStyle style, int mostWords) {
        this.style = style;
        this.mostWords = mostWords;
    }

    /**
     * Counts the words of a text.
     *
     * @param text of any length, a document at best: no word goes across two texts
     * @return this
     * @throws EngineException.InvalidInput if it holds half a surrogate pair
     */
    public BpeTrainer add(String text) {
        BpeTokenizer.checkSurrogates(text);
        style.words(text, this::count);
        return this;
    }

    private void count(String word) {
        int at = 0;
        while (word.length() - at > LONGEST_WORD) {
            int end = at + LONGEST_WORD - (Character.isHighSurrogate(word.charAt(at + LONGEST_WORD - 1)) ? 1 : 0);
            countPart(word.substring(at, end));
            at = end;
        }
        countPart(word.substring(at));
    }

    private void countPart(String word) {
        words.computeIfAbsent(word, key -> new long[1])[0]++;
        if (words.size() > mostWords) {
            // down to half: else each new word would go through all of them
            while (words.size() > mostWords / 2) {
                forgotten++;
                words.values().removeIf(count -> count[0] <= forgotten);
            }
        }
    }

    /** Different words in mind. */
    int words() {
        return words.size();
    }

    /** {@return a word met up to so many times may have been forgotten; 0: none was} */
    public long forgotten() {
        return forgotten;
    }

    /**
     * The encoding of what was added.
     *
     * @param vocabulary ids in all, at least {@link #SMALLEST}; fewer come out where no pair occurs twice any more
     * @return a tokenizer with all six control tokens; what was counted stays, so more may be added and another trained
     * @throws EngineException.InvalidConfig if {@code vocabulary} is below {@link #SMALLEST}
     */
    public BpeTokenizer train(int vocabulary) {
        if (vocabulary < SMALLEST) {
            throw new EngineException.InvalidConfig("vocabulary: expected " + SMALLEST + " or more, got " + vocabulary);
        }
        List<String> pieces = new ArrayList<>();
        Map<String, Integer> characters = new HashMap<>();
        for (int b = 0; b < 256; b++) {
            pieces.add(style.bytes() ? String.valueOf(ByteAlphabet.character(b)) : "<0x%02X>".formatted(b));
        }
        if (!style.bytes()) {
            for (String character : frequentCharacters((vocabulary - SMALLEST) / 2)) {
                characters.put(character, pieces.size());
                pieces.add(character);
            }
        }
        return new Learning(style, new TreeMap<>(words), pieces, characters)
                .learn(vocabulary - SMALLEST - characters.size());
    }

    private List<String> frequentCharacters(int most) {
        TreeMap<String, Long> counts = new TreeMap<>();
        words.forEach((word, count) ->
                word.codePoints().forEach(c -> counts.merge(Character.toString(c), count[0], Long::sum)));
        List<Map.Entry<String, Long>> sorted = new ArrayList<>(counts.entrySet());
        sorted.sort(Map.Entry.<String, Long>comparingByValue().reversed().thenComparing(Map.Entry.comparingByKey()));
        double total = sorted.stream().mapToDouble(Map.Entry::getValue).sum();
        List<String> frequent = new ArrayList<>();
        double covered = 0;
        for (Map.Entry<String, Long> entry : sorted) {
            if (frequent.size() == most || covered >= COVERAGE * total) {
                break;
            }
            frequent.add(entry.getKey());
            covered += entry.getValue();
        }
        return frequent;
    }

    /** The state of learning: every word as symbols, every pair with its count and the words it occurs in. */
    private static final class Learning {
        private final List<int[]> symbols = new ArrayList<>();
        private final List<Long> counts = new ArrayList<>();
        private final Map<Long, Long> pairCounts = new HashMap<>();
        private final Map<Long, Places> pairWords = new HashMap<>();
        private final PriorityQueue<Candidate> queue = new PriorityQueue<>();
        private final TokenizerStyle style;
        private final List<String> pieces;
        private final Map<String, Integer> characters;
        private final List<String[]> merges = new ArrayList<>();

        private record Candidate(long count, long pair) implements Comparable<Candidate> {
            @Override
            public int compareTo(Candidate other) {
                return count != other.count ? Long.compare(other.count, count) : Long.compare(pair, other.pair);
            }
        }

        Learning(
                TokenizerStyle style,
                TreeMap<String, long[]> words,
                List<String> pieces,
                Map<String, Integer> characters) {
            this.style = style;
            this.pieces = pieces;
            this.characters = characters;
            words.forEach((word, count) -> {
                symbols.add(symbols(word));
                counts.add(count[0]);
                count(symbols.size() - 1, count[0]);
            });
            pairCounts.forEach((pair, count) -> queue.add(new Candidate(count, pair)));
        }

        private int[] symbols(String word) {
            return word.codePoints()
                    .flatMap(c -> {
                        String character = Character.toString(c);
                        Integer id = characters.get(character);
                        if (id != null) {
                            return IntStream.of(id);
                        }
                        byte[] bytes = character.getBytes(StandardCharsets.UTF_8);
                        return IntStream.range(0, bytes.length).map(i -> bytes[i] & 0xFF);
                    })
                    .toArray();
        }

        BpeTokenizer learn(int wanted) {
            Set<String> taken = new HashSet<>(pieces);
            taken.addAll(ControlTokens.NAMES); // a corpus full of these names makes no piece of them
            while (merges.size() < wanted && !queue.isEmpty()) {
                Candidate best = queue.poll();
                long now = pairCounts.getOrDefault(best.pair(), 0L);
                if (now != best.count()) {
                    continue; // outdated: it was queued again with its new count
                }
                if (now < 2) {
                    break;
                }
                int left = (int) (best.pair() >>> 32);
                int right = (int) best.pair();
                String piece = pieces.get(left) + pieces.get(right);
                if (!taken.add(piece)) {
                    pairCounts.remove(best.pair()); // two ways to one piece: a vocabulary names it once
                    continue;
                }
                merges.add(new String[] {pieces.get(left), pieces.get(right)});
                pieces.add(piece);
                merge(best.pair(), left, right, pieces.size() - 1);
            }
            return TokenizerFile.bpe(style.document(pieces, merges));
        }

        private void merge(long pair, int left, int right, int merged) {
            Set<Long> touched = new HashSet<>();
            for (int word : pairWords.remove(pair).distinct()) {
                long count = counts.get(word);
                int[] old = symbols.get(word);
                for (int i = 0; i + 1 < old.length; i++) {
                    if (!mergeable(old[i], old[i + 1])) {
                        continue;
                    }
                    long p = pair(old[i], old[i + 1]);
                    if (pairCounts.merge(p, -count, Long::sum) == 0) {
                        pairCounts.remove(p);
                    }
                    touched.add(p);
                }
                int[] ids = new int[old.length];
                int size = 0;
                for (int i = 0; i < old.length; i++) {
                    boolean here = i + 1 < old.length && old[i] == left && old[i + 1] == right;
                    ids[size++] = here ? merged : old[i];
                    i += here ? 1 : 0;
                }
                symbols.set(word, Arrays.copyOf(ids, size));
                touched.addAll(count(word, count));
            }
            pairCounts.remove(pair);
            for (long p : touched) {
                Long count = pairCounts.get(p);
                if (count != null) {
                    queue.add(new Candidate(count, p));
                }
            }
        }

        private Set<Long> count(int word, long count) {
            Set<Long> pairs = new HashSet<>();
            int[] ids = symbols.get(word);
            for (int i = 0; i + 1 < ids.length; i++) {
                if (!mergeable(ids[i], ids[i + 1])) {
                    continue;
                }
                long p = pair(ids[i], ids[i + 1]);
                pairCounts.merge(p, count, Long::sum);
                pairWords.computeIfAbsent(p, key -> new Places()).add(word);
                pairs.add(p);
            }
            return pairs;
        }

        /** Bytes that stand in for a character are not merged: the piece would read as their names. */
        private boolean mergeable(int left, int right) {
            return style.bytes() || left >= 256 && right >= 256;
        }

        private static long pair(int left, int right) {
            return (long) left << 32 | right;
        }
    }

    /** Words that a pair occurs in, or did; one may be there more than once. */
    private static final class Places {
        private int[] words = new int[2];
        private int size;

        void add(int word) {
            if (size > 0 && words[size - 1] == word) {
                return;
            }
            if (size == words.length) {
                words = Arrays.copyOf(words, size + size / 2 + 1);
            }
            words[size++] = word;
        }

        int[] distinct() {
            return Arrays.stream(words, 0, size).sorted().distinct().toArray();
        }
    }
}
