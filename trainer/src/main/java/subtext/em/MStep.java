package subtext.em;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import subtext.data.Annotated;
import subtext.data.Document;

/** The data of an M-step: documents with the thoughts that an E-step chose. Training on them is any other training. */
public final class MStep {
    private MStep() {}

    /**
     * {@return every document with its chosen thoughts; a chunk without a record or with nothing chosen is raw}
     *
     * @param documents in the order wanted
     * @param records at most one for each chunk; those of other documents are left out
     * @throws IllegalArgumentException if a chunk is there twice
     */
    public static List<Annotated> chosen(List<Document> documents, List<LatentRecord> records) {
        Map<Place, LatentRecord> byPlace = index(records);
        return documents.stream()
                .map(document ->
                        annotate(document, byPlace, record -> record.thought().map(z -> new Annotated.Thought(z, 1f))))
                .toList();
    }

    /**
     * A control: every document K times, variant k with thought k of each chunk, whose block then has K times its normalised weight, so that
     * the weights of a chunk's blocks have mean 1. A chunk with no finished thought is raw in all variants; a thought without weight
     * leaves its block with weight 0.
     *
     * @param documents in the order wanted
     * @param records at most one for each chunk, each with the same K draws
     * @param weighting what a thought is weighed by
     * @return K variants of each document, one after the other
     * @throws IllegalArgumentException if a chunk is there twice
     */
    public static List<Annotated> weighted(List<Document> documents, List<LatentRecord> records, Weighting weighting) {
        Map<Place, LatentRecord> byPlace = index(records);
        int samples = records.stream()
                .mapToInt(record -> record.samples().size())
                .max()
                .orElse(1);
        List<Annotated> variants = new ArrayList<>();
        for (Document document : documents) {
            for (int k = 0; k < samples; k++) {
                int variant = k;
                variants.add(annotate(document, byPlace, record -> {
                    LogWeights weights = weighting.of(record.samples());
                    return weights.allZero()
                            ? Optional.empty()
                            : Optional.of(new Annotated.Thought(
                                    record.samples().get(variant).thought(),
                                    (float) (weights.size() * weights.normalised()[variant])));
                }));
            }
        }
        return variants;
    }

    private record Place(String document, int chunk) {}

    private static Map<Place, LatentRecord> index(List<LatentRecord> records) {
        Map<Place, LatentRecord> byPlace = new HashMap<>();
        for (LatentRecord record : records) {
            if (byPlace.put(new Place(record.document(), record.chunk()), record) != null) {
                throw new IllegalArgumentException(
                        "records: chunk " + record.chunk() + " of " + record.document() + " is there twice");
            }
        }
        return byPlace;
    }

    private static Annotated annotate(
            Document document,
            Map<Place, LatentRecord> byPlace,
            java.util.function.Function<LatentRecord, Optional<Annotated.Thought>> thought) {
        List<Optional<Annotated.Thought>> thoughts = new ArrayList<>();
        for (int c = 0; c < document.chunks().size(); c++) {
            LatentRecord record = byPlace.get(new Place(document.id(), c));
            thoughts.add(record == null ? Optional.empty() : thought.apply(record));
        }
        return new Annotated(document, thoughts);
    }
}
