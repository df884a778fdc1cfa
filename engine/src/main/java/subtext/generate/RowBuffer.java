package subtext.generate;

import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;
import subtext.model.CachedRows;
import subtext.text.Tokens;

/**
 * Rows on their way to a cached forward: stretches of sequences are added on the host and go up in one transfer.
 */
final class RowBuffer {
    private static final int ALIGNMENT = 16;
    private static final int ROW_FIELDS = 5;
    private static final int SEQUENCE_FIELDS = 4;

    private final Device device;
    private final int capacity;
    private final Tensor ints;
    private final int[] token;
    private final int[] position;
    private final int[] rowSlot;
    private final int[] rowOffset;
    private final int[] target;
    private final int[] slot;
    private final int[] prefixSlot;
    private final int[] prefixLength;
    private final int[] start;
    private final int[] cuSeqlens;
    private int rows;
    private int sequences;
    private int longest;

    RowBuffer(Device device, int capacity, Tensor ints) {
        this.device = device;
        this.capacity = capacity;
        this.ints = ints;
        token = new int[capacity];
        position = new int[capacity];
        rowSlot = new int[capacity];
        rowOffset = new int[capacity];
        target = new int[capacity];
        slot = new int[capacity];
        prefixSlot = new int[capacity];
        prefixLength = new int[capacity];
        start = new int[capacity];
        cuSeqlens = new int[capacity + 1];
    }

    /** The device memory of a buffer for so many rows. */
    static Tensor lay(Slab slab, String name, int capacity) {
        return slab.tensor(name, DType.I32, (ROW_FIELDS + SEQUENCE_FIELDS) * (long) aligned(capacity) + capacity + 1);
    }

    /** Rows that still fit. */
    int room() {
        return capacity - rows;
    }

    int rows() {
        return rows;
    }

    void clear() {
        rows = 0;
        sequences = 0;
        longest = 0;
    }

    /**
     * Adds the tokens at {@code from} to {@code to} of a sequence, whose index is also their position.
     *
     * @param own the sequence's slot
     * @param prefix whose first {@code shared} positions it borrows
     */
    void add(Tokens tokens, int from, int to, int own, int prefix, int shared) {
        slot[sequences] = own;
        prefixSlot[sequences] = prefix;
        prefixLength[sequences] = shared;
        start[sequences] = from;
        for (int i = from; i < to; i++) {
            token[rows] = tokens.at(i);
            position[rows] = i;
            rowSlot[rows] = own;
            rowOffset[rows] = shared;
            target[rows] = i + 1 < tokens.size() ? tokens.at(i + 1) : -1;
            rows++;
        }
        sequences++;
        cuSeqlens[sequences] = rows;
        longest = Math.max(longest, to - from);
    }

    /** Sends everything up and describes it. */
    CachedRows upload() {
        int n = aligned(rows);
        int s = aligned(sequences);
        int[] all = new int[ROW_FIELDS * n + SEQUENCE_FIELDS * s + sequences + 1];
        int at = 0;
        for (int[] field : new int[][] {token, position, rowSlot, rowOffset, target}) {
            System.arraycopy(field, 0, all, at, rows);
            at += n;
        }
        for (int[] field : new int[][] {slot, prefixSlot, prefixLength, start}) {
            System.arraycopy(field, 0, all, at, sequences);
            at += s;
        }
        System.arraycopy(cuSeqlens, 0, all, at, sequences + 1);
        device.upload(ints.rows(0, all.length), all);
        long rest = (long) ROW_FIELDS * n;
        return new CachedRows(
                part(0, rows),
                part(n, rows),
                part(2L * n, rows),
                part(3L * n, rows),
                part(rest + 4L * s, sequences + 1),
                part(rest, sequences),
                part(rest + s, sequences),
                part(rest + 2L * s, sequences),
                part(rest + 3L * s, sequences),
                longest);
    }

    /** (N) i32, after {@link #upload}: the token that follows each row in its sequence, -1 after the last. */
    Tensor target() {
        return part(4L * aligned(rows), rows);
    }

    private Tensor part(long from, long size) {
        return ints.rows(from, from + size);
    }

    static int aligned(int n) {
        return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
}
