package subtext.train;

import java.util.List;
import subtext.data.Sequence;

/**
 * Takes the weights with the lowest loss on development sequences instead of the last.
 *
 * @param development what to measure on, none of it trained on
 * @param every steps between measurements
 * @param patience training stops after so many measurements without a new lowest loss
 */
public record EarlyStopping(List<Sequence> development, int every, int patience) {
    /**
     * Copies the list of sequences.
     *
     * @throws IllegalArgumentException if {@code every} or {@code patience} is below 1
     */
    public EarlyStopping {
        development = List.copyOf(development);
        if (every < 1 || patience < 1) {
            throw new IllegalArgumentException(
                    "every, patience: expected at least 1, got " + every + " and " + patience);
        }
    }
}
