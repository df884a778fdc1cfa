package subtext.em;

import java.util.List;
import java.util.Optional;
import subtext.text.Tokens;

/**
 * The K thoughts drawn for one chunk and which of them was chosen.
 *
 * @param document id of the document
 * @param chunk index of the chunk in the document
 * @param samples K draws, in their order
 * @param chosen index of the chosen one, -1 if none was finished: the chunk then goes into training raw
 */
public record LatentRecord(String document, int chunk, List<ScoredSample> samples, int chosen) {
    /** Copies the list of samples. */
    public LatentRecord {
        samples = List.copyOf(samples);
    }

    /** {@return the chosen thought without its closing marker; empty if none was chosen} */
    public Optional<Tokens> thought() {
        return chosen < 0 ? Optional.empty() : Optional.of(samples.get(chosen).thought());
    }
}
