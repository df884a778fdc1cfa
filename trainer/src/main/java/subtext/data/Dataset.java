package subtext.data;

import java.util.List;
import subtext.random.Philox;

/**
 * An endless stream of training sequences that can be entered at any place: example n is a function of n, so the position in the data
 * is one number and to resume is to ask for the next.
 */
public sealed interface Dataset {
    /**
     * {@return one example, the same whenever it is asked for}
     *
     * @param n its number, from 0, without end
     */
    Sequence at(long n);

    /**
     * Documents, all of them once per epoch in an order shuffled afresh.
     *
     * @param documents at least one; read when an example is asked for
     * @param builder turns a document into a sequence, with coins of the epoch
     * @param shuffleKey key of the orders
     * @return the stream; for use by one thread
     * @throws IllegalArgumentException if there is no document
     */
    static Dataset shuffled(List<Annotated> documents, SequenceBuilder builder, long shuffleKey) {
        return new Shuffled(documents, builder, shuffleKey);
    }

    /**
     * Two streams woven together: of any n examples, {@code share} times n come from the second, rounded down.
     *
     * @param first gives the rest
     * @param second gives the share
     * @param share of the examples that come from {@code second}, 0 to 1
     */
    record Mixture(Dataset first, Dataset second, double share) implements Dataset {
        @Override
        public Sequence at(long n) {
            long before = (long) Math.floor(n * share);
            long after = (long) Math.floor((n + 1) * share);
            return after > before ? second.at(before) : first.at(n - before);
        }
    }

    /** See {@link #shuffled}. For use by one thread: the order of the current epoch is kept. */
    final class Shuffled implements Dataset {
        private final List<Annotated> documents;
        private final SequenceBuilder builder;
        private final long shuffleKey;
        private long epoch = -1;
        private int[] order;

        private Shuffled(List<Annotated> documents, SequenceBuilder builder, long shuffleKey) {
            if (documents.isEmpty()) {
                throw new IllegalArgumentException("documents: expected at least one, got none");
            }
            this.documents = View.copyOf(documents);
            this.builder = builder;
            this.shuffleKey = shuffleKey;
        }

        @Override
        public Sequence at(long n) {
            long wanted = n / documents.size();
            if (wanted != epoch) {
                order = Philox.permutation(Philox.key(shuffleKey, wanted), documents.size());
                epoch = wanted;
            }
            return builder.build(documents.get(order[(int) (n % documents.size())]), wanted);
        }
    }
}
