package subtext.em;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import subtext.data.Annotated;
import subtext.data.Document;
import subtext.data.View;

/** The data of an M-step: documents with the thoughts that an E-step chose. Training on them is any other training. */
public final class MStep {
    private MStep() {}

    /**
     * {@return every document with its chosen thoughts; a chunk with nothing chosen is raw}
     *
     * @param documents in the order wanted; read when an element of the result is asked for
     * @param records one for each chunk that takes a thought, in reading order; read when they are asked for
     * @throws IllegalArgumentException if there are not as many, or, when an element is asked for, if one is of another chunk
     */
    public static List<Annotated> chosen(List<Document> documents, List<LatentRecord> records) {
        return chosen(Questions.of(documents), records);
    }

    /** The same of documents whose questions are numbered already. */
    static List<Annotated> chosen(Questions questions, List<LatentRecord> records) {
        requireOneEach(questions, records);
        return View.of(
                questions.documents().size(),
                d -> annotate(
                        questions, d, records, record -> record.thought().map(z -> new Annotated.Thought(z, 1f))));
    }

    /**
     * A control: every document K times, variant k with thought k of each chunk, whose block then has K times its normalised weight, so that
     * the weights of a chunk's blocks have mean 1. A chunk with no finished thought is raw in all variants; a thought without weight
     * leaves its block with weight 0.
     *
     * @param documents in the order wanted; read when an element of the result is asked for
     * @param records one for each chunk that takes a thought, in reading order, each of K draws; read when they are asked for
     * @param weighting what a thought is weighed by
     * @return K variants of each document, one after the other
     * @throws IllegalArgumentException if there are not as many records, or, when an element is asked for, if one is of another chunk
     */
    public static List<Annotated> weighted(List<Document> documents, List<LatentRecord> records, Weighting weighting) {
        return weighted(Questions.of(documents), records, weighting);
    }

    /** The same of documents whose questions are numbered already. */
    static List<Annotated> weighted(Questions questions, List<LatentRecord> records, Weighting weighting) {
        requireOneEach(questions, records);
        int samples = records.isEmpty() ? 1 : records.getFirst().samples().size();
        return View.of(
                Math.multiplyExact(questions.documents().size(), samples),
                i -> annotate(questions, i / samples, records, record -> {
                    LogWeights weights = weighting.of(record.samples());
                    return weights.allZero()
                            ? Optional.empty()
                            : Optional.of(new Annotated.Thought(
                                    record.samples().get(i % samples).thought(),
                                    (float) (weights.size() * weights.normalised()[i % samples])));
                }));
    }

    private static void requireOneEach(Questions questions, List<LatentRecord> records) {
        if (records.size() != questions.size()) {
            throw new IllegalArgumentException("records: expected one for each of the " + questions.size()
                    + " chunks that take a thought, got " + records.size());
        }
    }

    private static Annotated annotate(
            Questions questions,
            int d,
            List<LatentRecord> records,
            Function<LatentRecord, Optional<Annotated.Thought>> thought) {
        Document document = questions.documents().get(d);
        List<Optional<Annotated.Thought>> thoughts = new ArrayList<>();
        int next = questions.first(d);
        for (int c = 0; c < document.chunks().size(); c++) {
            if (!document.chunks().get(c).latent()) {
                thoughts.add(Optional.empty());
                continue;
            }
            LatentRecord record = records.get(next++);
            if (record.chunk() != c || !record.document().equals(document.id())) {
                throw new IllegalArgumentException("records: expected chunk " + c + " of " + document.id()
                        + ", got chunk " + record.chunk() + " of " + record.document());
            }
            thoughts.add(thought.apply(record));
        }
        return new Annotated(document, thoughts);
    }
}
