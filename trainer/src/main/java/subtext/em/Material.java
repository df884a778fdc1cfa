package subtext.em;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import subtext.data.Annotated;
import subtext.data.Document;
import subtext.data.View;
import subtext.evaluate.AnswerTask;
import subtext.evaluate.Completer;
import subtext.text.Tokenizer;
import subtext.text.Tokens;

/**
 * The documents of one seed, split so that none is in two parts, and what is known about them.
 *
 * @param tokenizer ids to text and back; has all six control tokens
 * @param warmStart documents with the thoughts that the warm start is shown
 * @param corpus documents whose thoughts are to be found
 * @param development documents for early stopping
 * @param heldOut documents for reported figures
 * @param truth the true thoughts and the task; empty for real text
 * @param textual whether tokens stand for text with characters to count
 * @param answers the task of a corpus whose final answers are known
 */
public record Material(
        Tokenizer tokenizer,
        List<Annotated> warmStart,
        List<Document> corpus,
        List<Document> development,
        List<Document> heldOut,
        Optional<Truth> truth,
        boolean textual,
        Optional<AnswerTask> answers) {

    /**
     * Documents whose final answers are not known by themselves.
     *
     * @param tokenizer ids to text and back; has all six control tokens
     * @param warmStart documents with the thoughts that the warm start is shown
     * @param corpus documents whose thoughts are to be found
     * @param development documents for early stopping
     * @param heldOut documents for reported figures
     * @param truth the true thoughts and the task; empty for real text
     * @param textual whether tokens stand for text with characters to count
     */
    public Material(
            Tokenizer tokenizer,
            List<Annotated> warmStart,
            List<Document> corpus,
            List<Document> development,
            List<Document> heldOut,
            Optional<Truth> truth,
            boolean textual) {
        this(tokenizer, warmStart, corpus, development, heldOut, truth, textual, Optional.empty());
    }

    /** What a made-up world knows of its own documents. */
    public interface Truth {
        /**
         * {@return the true thought of a chunk, without its closing marker; empty for a chunk that takes none}
         *
         * @param document id of the document
         * @param chunk index of the chunk in the document
         */
        Optional<Tokens> thought(String document, int chunk);

        /**
         * {@return a document said otherwise, without thoughts; empty where it is not known how}
         *
         * @param document id of the document
         */
        default List<Document> paraphrases(String document) {
            return List.of();
        }

        /**
         * {@return whether a thought is the true one}
         *
         * @param document id of the document
         * @param chunk index of the chunk in the document
         * @param thought without its closing marker
         */
        default boolean isTrue(String document, int chunk, Tokens thought) {
            return thought(document, chunk).filter(thought::equals).isPresent();
        }

        /**
         * {@return of each held-out problem whether it is answered rightly, in an order of their own; empty if there is no such task in this
         *     rendering}
         *
         * @param model answers greedily
         * @param thinking whether it writes a thought before each answer
         */
        List<Boolean> answers(Completer model, boolean thinking);
    }

    /** Copies the lists; what lies on disk stays there. */
    public Material {
        warmStart = View.copyOf(warmStart);
        corpus = View.copyOf(corpus);
        development = View.copyOf(development);
        heldOut = View.copyOf(heldOut);
    }

    /** Bytes of Java's heap that the documents take, about; of a prepared corpus, which stays on the disk, their order and the numbers of their questions. */
    long bytes() {
        long tokens = 0;
        long objects = 0;
        for (List<Document> part : List.of(corpus, development, heldOut)) {
            if (part instanceof View<Document>) {
                tokens += 2L * part.size();
                continue;
            }
            for (Document document : part) {
                objects += 2 + document.chunks().size();
                tokens += document.text().size();
            }
        }
        for (Annotated annotated : warmStart instanceof View<Annotated> ? List.<Annotated>of() : warmStart) {
            objects += 3 + 2L * annotated.document().chunks().size();
            tokens += annotated.document().text().size();
            tokens += annotated.thoughts().stream()
                    .flatMap(Optional::stream)
                    .mapToLong(thought -> thought.tokens().size())
                    .sum();
        }
        return 4 * tokens + 80 * objects;
    }

    /** {@return the corpus and every other way of saying it, without thoughts; empty where none is known} */
    public Optional<List<Annotated>> paraphrased() {
        return truth.map(known -> corpus.stream()
                        .flatMap(document -> known.paraphrases(document.id()).stream())
                        .map(Annotated::raw)
                        .toList())
                .filter(others -> !others.isEmpty())
                .map(others -> Stream.concat(corpus.stream().map(Annotated::raw), others.stream())
                        .toList());
    }

    /** {@return the corpus with its true thoughts; empty where they are not known} */
    public Optional<List<Annotated>> oracle() {
        return truth.map(known -> corpus.stream()
                .map(document -> {
                    List<Optional<Annotated.Thought>> thoughts = new java.util.ArrayList<>();
                    for (int c = 0; c < document.chunks().size(); c++) {
                        thoughts.add(known.thought(document.id(), c).map(z -> new Annotated.Thought(z, 1f)));
                    }
                    return new Annotated(document, thoughts);
                })
                .toList());
    }
}
