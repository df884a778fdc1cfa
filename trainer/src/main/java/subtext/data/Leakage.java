package subtext.data;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;
import java.util.stream.IntStream;
import subtext.text.Tokenizer;
import subtext.text.Tokens;

/**
 * Which held-out chunks of a run stand in what it trains on: whole, or by a run of 13 words, as {@link Leaks} looks for them when a corpus is
 * prepared. The held-out side is held in memory, the training side is read once. A chunk is taken with the context of its record, so
 * that short answers are not all alike.
 *
 * @see <a href="https://arxiv.org/abs/2005.14165">Brown et al. 2020</a>, appendix C, for the runs of 13 words
 */
public final class Leakage {
    private static final int LISTED = 20;

    private final Function<Tokens, long[]> words;
    private final boolean wholeDocuments;
    private final Set<Long> exact = new HashSet<>();
    private final Set<Long> runs = new HashSet<>();
    private final Set<Long> hits = ConcurrentHashMap.newKeySet();

    /**
     * What was found.
     *
     * @param chunks held-out chunks
     * @param exact of them, those that are training chunks word for word
     * @param runs of them, those that share a run of 13 words with a training document or a thought of the warm start
     * @param hit of them, those that are one or the other
     * @param documents the first of the held-out documents they are in
     */
    public record Found(long chunks, long exact, long runs, long hit, List<String> documents) {
        /** Copies the list of documents. */
        public Found {
            documents = List.copyOf(documents);
        }

        /** {@return share of the held-out chunks that were found, 0 to 1; 0 if there are none} */
        public double share() {
            return chunks == 0 ? 0 : (double) hit / chunks;
        }
    }

    private Leakage(Function<Tokens, long[]> words, boolean wholeDocuments) {
        this.words = words;
        this.wholeDocuments = wholeDocuments;
    }

    /**
     * In text: by chunk.
     *
     * @param heldOut documents to measure on; their chunks are looked for
     * @param training documents to train on, read once by all cores
     * @param shown documents with thoughts that are trained on as well
     * @param tokenizer that made the tokens: words are looked for in its text
     * @return what was found, counted in held-out chunks
     */
    public static Found inText(
            List<Document> heldOut, List<Document> training, List<Annotated> shown, Tokenizer tokenizer) {
        return new Leakage(tokens -> Words.of(tokenizer.decode(tokens)), false).look(heldOut, training, shown);
    }

    /**
     * In a made-up world, whose documents are all of one pattern: whole documents only, by their ids.
     *
     * @param heldOut documents to measure on
     * @param training documents to train on, read once by all cores
     * @param shown documents with thoughts that are trained on as well
     * @return what was found, counted in held-out documents
     */
    public static Found inWorld(List<Document> heldOut, List<Document> training, List<Annotated> shown) {
        return new Leakage(Leakage::ids, true).look(heldOut, training, shown);
    }

    private static long[] ids(Tokens tokens) {
        return IntStream.range(0, tokens.size())
                .mapToLong(i -> Words.mix(tokens.at(i) + 1L))
                .toArray();
    }

    private Found look(List<Document> heldOut, List<Document> training, List<Annotated> shown) {
        for (Document document : heldOut) {
            for (long[] unit : units(document)) {
                if (unit.length > 0) {
                    exact.add(Leaks.Units.whole(unit));
                }
                for (long gram : grams(unit)) {
                    runs.add(gram);
                }
            }
        }
        IntStream.range(0, training.size()).parallel().forEach(i -> meet(training.get(i)));
        for (Annotated annotated : shown) {
            meet(annotated.document());
            annotated.thoughts().stream().flatMap(Optional::stream).forEach(thought -> {
                for (long gram : grams(words.apply(thought.tokens()))) {
                    meetRun(gram);
                }
            });
        }
        return count(heldOut);
    }

    private void meet(Document document) {
        List<long[]> units = units(document);
        for (long[] unit : units) {
            long whole = unit.length == 0 ? 0 : Leaks.Units.whole(unit);
            if (unit.length > 0 && exact.contains(whole)) {
                hits.add(whole);
            }
        }
        // a run may go over the border of two chunks
        for (long gram : grams(new Leaks.Units(units).all())) {
            meetRun(gram);
        }
    }

    private void meetRun(long gram) {
        if (runs.contains(gram)) {
            hits.add(gram);
        }
    }

    private Found count(List<Document> heldOut) {
        long chunks = 0;
        long exactly = 0;
        long partly = 0;
        long hit = 0;
        List<String> documents = new ArrayList<>();
        for (Document document : heldOut) {
            boolean any = false;
            for (long[] unit : units(document)) {
                boolean whole = unit.length > 0 && hits.contains(Leaks.Units.whole(unit));
                boolean run = false;
                for (long gram : grams(unit)) {
                    run |= hits.contains(gram);
                }
                chunks++;
                exactly += whole ? 1 : 0;
                partly += run ? 1 : 0;
                hit += whole || run ? 1 : 0;
                any |= whole || run;
            }
            if (any && documents.size() < LISTED) {
                documents.add(document.id());
            }
        }
        return new Found(chunks, exactly, partly, hit, documents);
    }

    private long[] grams(long[] unit) {
        return wholeDocuments ? new long[0] : Words.grams(unit, Leaks.RUN);
    }

    /** The words of each chunk that is to be explained, those before it that take no thought with it. */
    private List<long[]> units(Document document) {
        if (wholeDocuments) {
            return List.of(words.apply(document.text()));
        }
        List<long[]> units = new ArrayList<>();
        List<Chunk> chunks = document.chunks();
        int from = 0;
        for (int c = 0; c < chunks.size(); c++) {
            if (chunks.get(c).latent() || c + 1 == chunks.size()) {
                units.add(words.apply(document.text(from, c + 1)));
                from = c + 1;
            }
        }
        return units;
    }
}
