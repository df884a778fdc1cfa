package subtext.text;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.TreeMap;
import subtext.bindings.EngineException;

/**
 * Learns a byte-level byte-pair encoding: again and again the most frequent pair of neighbours becomes a token. A function of the texts'
 * words and their counts alone; of equally frequent pairs the one of lower ids is taken. Control tokens get ids 0 to 5, bytes 6 to 261,
 * merges the rest.
 *
 * @see <a href="https://arxiv.org/abs/1508.07909">Sennrich et al. 2016</a>
 */
public final class BpeTrainer {
    /** The smallest vocabulary: control tokens and bytes. */
    public static final int SMALLEST = 6 + 256;

    private final TreeMap<String, Long> words = new TreeMap<>();

    /** With no text yet. */
    public BpeTrainer() {}

    /** Counts the words of a text. */
    public BpeTrainer add(String text) {
        for (String word : Splitting.GPT2.split(text)) {
            words.merge(word, 1L, Long::sum);
        }
        return this;
    }

    /**
     * The encoding of what was added.
     *
     * @param vocabulary ids in all, at least {@link #SMALLEST}; fewer come out where no pair occurs twice any more
     */
    public BpeTokenizer train(int vocabulary) {
        if (vocabulary < SMALLEST) {
            throw new EngineException.InvalidConfig("vocabulary: expected " + SMALLEST + " or more, got " + vocabulary);
        }
        return new Learning(words).learn(vocabulary - SMALLEST);
    }

    /** The state of learning: every word as symbols, every pair with its count and the words it occurs in. */
    private static final class Learning {
        private final List<int[]> symbols = new ArrayList<>();
        private final List<Long> counts = new ArrayList<>();
        private final Map<Long, Long> pairCounts = new HashMap<>();
        private final Map<Long, Set<Integer>> pairWords = new HashMap<>();
        private final PriorityQueue<Candidate> queue = new PriorityQueue<>();
        private final List<String> pieces = new ArrayList<>();
        private final List<String[]> merges = new ArrayList<>();

        private record Candidate(long count, long pair) implements Comparable<Candidate> {
            @Override
            public int compareTo(Candidate other) {
                return count != other.count ? Long.compare(other.count, count) : Long.compare(pair, other.pair);
            }
        }

        Learning(TreeMap<String, Long> words) {
            for (int b = 0; b < 256; b++) {
                pieces.add(String.valueOf(ByteAlphabet.character(b)));
            }
            words.forEach((word, count) -> {
                byte[] bytes = word.getBytes(StandardCharsets.UTF_8);
                int[] ids = new int[bytes.length];
                for (int i = 0; i < ids.length; i++) {
                    ids[i] = bytes[i] & 0xFF;
                }
                symbols.add(ids);
                counts.add(count);
                count(symbols.size() - 1, count);
            });
            pairCounts.forEach((pair, count) -> queue.add(new Candidate(count, pair)));
        }

        BpeTokenizer learn(int wanted) {
            Set<String> taken = new HashSet<>(pieces);
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
            return TokenizerFile.bpe(TokenizerFile.byteLevel(pieces, merges));
        }

        private void merge(long pair, int left, int right, int merged) {
            Set<Long> touched = new HashSet<>();
            for (int word : pairWords.remove(pair)) {
                long count = counts.get(word);
                int[] old = symbols.get(word);
                for (int i = 0; i + 1 < old.length; i++) {
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
                symbols.set(word, java.util.Arrays.copyOf(ids, size));
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
                long p = pair(ids[i], ids[i + 1]);
                pairCounts.merge(p, count, Long::sum);
                pairWords.computeIfAbsent(p, key -> new HashSet<>()).add(word);
                pairs.add(p);
            }
            return pairs;
        }

        private static long pair(int left, int right) {
            return (long) left << 32 | right;
        }
    }
}
