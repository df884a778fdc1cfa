package subtext.em;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.RandomAccess;

/**
 * The records of an E-step, in the order of its questions, part after part. The first ones are held, up to a bound of bytes; of the others only where they
 * stand in their part's file, and each is read when it is asked for, against the checksum it had when its part was found whole.
 */
final class LatentRecords extends AbstractList<LatentRecord> implements RandomAccess {
    /** Bytes of records that are held. */
    static final long HELD = 32L << 20;

    /** Bytes of a thought beside its tokens: its scores, and Java's objects, about. */
    static final int PER_THOUGHT = 150;

    /** Bytes of a record that is read when it is asked for: where it stands, and its checksum. */
    static final int PER_PLACE = 8;

    private final long most;
    private final List<LatentRecord> held = new ArrayList<>();
    private final List<LatentPart> parts = new ArrayList<>();
    private final List<Integer> first = new ArrayList<>();
    private long bytes;
    private int size;

    /** None yet. */
    LatentRecords() {
        this(HELD);
    }

    /** @param most bytes of records that are held, about */
    LatentRecords(long most) {
        this.most = most;
    }

    /**
     * Adds the next part.
     *
     * @param records all of it
     * @param part the same on disk
     */
    void add(List<LatentRecord> records, LatentPart part) {
        if (records.size() != part.size()) {
            throw new IllegalArgumentException(
                    "part: expected the " + records.size() + " records given, got " + part.size());
        }
        if (parts.isEmpty() && bytes + bytes(records) <= most) {
            held.addAll(records);
            bytes += bytes(records);
        } else {
            parts.add(part);
            first.add(size);
        }
        size = Math.addExact(size, records.size());
    }

    private static long bytes(List<LatentRecord> records) {
        return records.stream()
                .flatMap(record -> record.samples().stream())
                .mapToLong(sample -> (long) Integer.BYTES * sample.thought().size() + PER_THOUGHT)
                .sum();
    }

    /**
     * {@inheritDoc}
     *
     * @throws UncheckedIOException if its part cannot be read
     * @throws subtext.bindings.EngineException.CorruptFile if its part is not as it was when it was added
     */
    @Override
    public LatentRecord get(int index) {
        Objects.checkIndex(index, size);
        if (index < held.size()) {
            return held.get(index);
        }
        int p = java.util.Collections.binarySearch(first, index);
        p = p < 0 ? -p - 2 : p;
        LatentPart part = parts.get(p);
        try {
            return part.record(index - first.get(p));
        } catch (IOException e) {
            throw new UncheckedIOException(part + ": " + e.getMessage(), e);
        }
    }

    @Override
    public int size() {
        return size;
    }
}
