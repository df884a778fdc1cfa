package subtext.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Stream;
import subtext.bindings.EngineException;
import subtext.text.BpeTrainer;
import subtext.text.Tokenizer;

/**
 * Documents that come cut into chunks, with a teacher's thought beneath each chunk or some: what a warm start is shown. The files are read
 * once to count the documents and once each time something is asked of them, so of their texts one is in memory at a time.
 */
public final class Taught {
    private final String path;
    private final Corpus.Mapping mapping;
    private final boolean skipBad;
    private final List<String> ids = new ArrayList<>();
    private final Corpus.Bad bad;
    private long characters;

    private Taught(String path, String id, boolean skipBad) {
        this.path = path;
        this.mapping = Corpus.Mapping.ofChunks(id);
        this.skipBad = skipBad;
        this.bad = new Corpus.Bad(skipBad);
    }

    /**
     * Looks through the files.
     *
     * @param path a file, folder or glob of JSON lines, in the form of {@link Corpus.Mapping#ofChunks}
     * @param id name of the field that names a record; empty: its content does
     * @param skipBad leave out records that cannot be used and count them; false: the first one stops
     * @return what is there
     * @throws EngineException.InvalidInput as {@link Corpus#stream}, and if no chunk has a thought
     */
    public static Taught scan(String path, String id, boolean skipBad) {
        Taught taught = new Taught(path, id, skipBad);
        Map<String, Integer> seen = new HashMap<>();
        long[] thoughts = {0};
        Corpus.stream(path, taught.mapping, taught.bad, found -> {
            String name = found.named().orElseGet(found::contentId);
            int before = seen.merge(name, 1, Integer::sum) - 1;
            if (before > 0 && found.named().isPresent()) {
                return Optional.of("the id '" + name + "' was there before");
            }
            taught.ids.add(before == 0 ? name : name + "-" + (before + 1));
            taught.characters += characters(found);
            thoughts[0] += known(found).count();
            return Optional.empty();
        });
        if (thoughts[0] == 0) {
            throw new EngineException.InvalidInput("corpus: " + path
                    + ": no chunk has a thought; expected them in the field 'latent' or 'thought' of each chunk");
        }
        return taught;
    }

    private static long characters(Corpus.Found found) {
        return found.text().length() + known(found).mapToLong(String::length).sum();
    }

    private static Stream<String> known(Corpus.Found found) {
        return found.chunks().stream().map(Corpus.Piece::thought).flatMap(Optional::stream);
    }

    /** {@return number of documents} */
    public int size() {
        return ids.size();
    }

    /** {@return records left out because they were bad} */
    public long skipped() {
        return bad.count();
    }

    /** {@return what was wrong with the first of them, with their places} */
    public List<String> problems() {
        return bad.problems();
    }

    /** {@return characters of the texts and thoughts of all documents} */
    public long characters() {
        return characters;
    }

    /**
     * Gives the texts of some documents, and their thoughts, to one who learns a tokenizer.
     *
     * @param trainer told of each
     * @param places of the documents in the files, from 0, none twice
     */
    public void teach(BpeTrainer trainer, int... places) {
        int[] wanted = wanted(places);
        each(placed -> {
            if (wanted[placed.place()] >= 0) {
                trainer.add(placed.found().text());
                known(placed.found()).forEach(trainer::add);
            }
        });
    }

    /**
     * {@return some documents in tokens, held in memory} A chunk without a thought goes in raw.
     *
     * @param tokenizer that makes the ids
     * @param places of the documents in the files, from 0, none twice, in the order wanted
     * @throws EngineException.InvalidInput if the tokenizer cannot spell a text, naming file and line
     */
    public List<Annotated> documents(Tokenizer tokenizer, int... places) {
        int[] wanted = wanted(places);
        Annotated[] documents = new Annotated[places.length];
        each(placed -> {
            if (wanted[placed.place()] >= 0) {
                documents[wanted[placed.place()]] = placed.document(tokenizer);
            }
        });
        return List.of(documents);
    }

    /** For each document its place among those wanted, or -1. */
    private int[] wanted(int[] places) {
        int[] wanted = new int[size()];
        Arrays.fill(wanted, -1);
        for (int j = 0; j < places.length; j++) {
            wanted[places[j]] = j;
        }
        return wanted;
    }

    /** A document still in text. */
    record Placed(int place, String id, Corpus.Found found) {
        List<String> texts() {
            return found.chunks().stream().map(Corpus.Piece::text).toList();
        }

        long characters() {
            return Taught.characters(found);
        }

        /** In tokens. */
        Annotated document(Tokenizer tokenizer) {
            List<Chunk> chunks = new ArrayList<>();
            List<Optional<Annotated.Thought>> thoughts = new ArrayList<>();
            for (Corpus.Piece piece : found.chunks()) {
                try {
                    Chunk.add(chunks, tokenizer, piece.text(), true);
                    thoughts.add(piece.thought().map(z -> new Annotated.Thought(tokenizer.encodeContinuation(z), 1f)));
                } catch (EngineException.InvalidInput e) {
                    throw new EngineException.InvalidInput(found.file() + ": " + found.unit() + " " + found.number()
                            + ": chunk " + (thoughts.size() + 1) + ": " + e.getMessage());
                }
            }
            return new Annotated(new Document(id, chunks), thoughts);
        }
    }

    /** Goes through the files as the scan did. */
    void each(Consumer<Placed> sink) {
        int[] at = {0};
        Set<String> named = new HashSet<>();
        Corpus.stream(path, mapping, new Corpus.Bad(skipBad), found -> {
            if (found.named().isPresent() && !named.add(found.named().get())) {
                return Optional.of("the id '" + found.named().get() + "' was there before");
            }
            if (at[0] == size() || !isOf(ids.get(at[0]), found)) {
                throw changed();
            }
            sink.accept(new Placed(at[0], ids.get(at[0]), found));
            at[0]++;
            return Optional.empty();
        });
        if (at[0] != size()) {
            throw changed();
        }
    }

    private static boolean isOf(String id, Corpus.Found found) {
        return found.named()
                .map(id::equals)
                .orElseGet(() -> id.equals(found.contentId()) || id.startsWith(found.contentId() + "-"));
    }

    private EngineException changed() {
        return new EngineException.InvalidInput("corpus: " + path + " changed while it was read; start again");
    }
}
