package subtext.text;

/**
 * The merges of a byte-pair encoding, by pair of ids, and their application to one word in O(n log n): symbols in a linked list, a heap of
 * the pairs that can merge, lowest rank first and leftmost among equals. Sennrich et al. 2016.
 */
final class Merges {
    private static final int EMPTY = -1;
    private static final int SHORT = 24;

    private final long[] pairs;
    private final int[] ranks;
    private final int[] results;
    private final int mask;

    /** @param capacity how many merges will be added */
    Merges(int capacity) {
        int size = Integer.highestOneBit(Math.max(8, capacity * 2) - 1) * 2;
        pairs = new long[size];
        ranks = new int[size];
        java.util.Arrays.fill(ranks, EMPTY);
        results = new int[capacity];
        mask = size - 1;
    }

    /** Adds the merge of that rank; of a pair given twice the last counts, as in Hugging Face's library. */
    void add(int left, int right, int rank, int result) {
        long pair = pair(left, right);
        int at = place(pair);
        pairs[at] = pair;
        ranks[at] = rank;
        results[rank] = result;
    }

    /** Merges the first {@code n} symbols in place; the number left. */
    int apply(int[] symbols, int n) {
        return n <= SHORT ? applyToShort(symbols, n) : applyToLong(symbols, n);
    }

    /** For a word of ordinary length looking through all pairs each time is faster than keeping a heap. */
    private int applyToShort(int[] symbols, int n) {
        if (n < 2) {
            return n;
        }
        int[] rank = new int[n - 1];
        for (int i = 0; i + 1 < n; i++) {
            rank[i] = rank(symbols[i], symbols[i + 1]);
        }
        while (n > 1) {
            int best = EMPTY;
            for (int i = 0; i + 1 < n; i++) {
                if (rank[i] != EMPTY && (best == EMPTY || rank[i] < rank[best])) {
                    best = i;
                }
            }
            if (best == EMPTY) {
                break;
            }
            symbols[best] = results[rank[best]];
            System.arraycopy(symbols, best + 2, symbols, best + 1, n - best - 2);
            if (best + 2 < n) {
                System.arraycopy(rank, best + 1, rank, best, n - best - 2);
                rank[best] = rank(symbols[best], symbols[best + 1]);
            }
            if (best > 0) {
                rank[best - 1] = rank(symbols[best - 1], symbols[best]);
            }
            n--;
        }
        return n;
    }

    private int applyToLong(int[] symbols, int n) {
        int[] next = new int[n];
        int[] previous = new int[n];
        Heap heap = new Heap(n);
        for (int i = 0; i < n; i++) {
            next[i] = i + 1 < n ? i + 1 : EMPTY;
            previous[i] = i - 1;
        }
        for (int i = 0; i + 1 < n; i++) {
            offer(heap, symbols, i, i + 1);
        }
        while (!heap.isEmpty()) {
            long entry = heap.poll();
            int rank = (int) (entry >>> 32);
            int left = (int) entry;
            int right = symbols[left] < 0 ? EMPTY : next[left];
            // an entry is stale if either symbol has changed since: the pair now there has another rank
            if (right == EMPTY || rank(symbols[left], symbols[right]) != rank) {
                continue;
            }
            symbols[left] = results[rank];
            symbols[right] = EMPTY;
            next[left] = next[right];
            if (next[left] != EMPTY) {
                previous[next[left]] = left;
                offer(heap, symbols, left, next[left]);
            }
            if (previous[left] != EMPTY) {
                offer(heap, symbols, previous[left], left);
            }
        }
        int size = 0;
        for (int i = 0; i != EMPTY; i = next[i]) {
            symbols[size++] = symbols[i];
        }
        return size;
    }

    private void offer(Heap heap, int[] symbols, int left, int right) {
        int rank = rank(symbols[left], symbols[right]);
        if (rank != EMPTY) {
            heap.add((long) rank << 32 | left);
        }
    }

    private int rank(int left, int right) {
        return ranks[place(pair(left, right))];
    }

    private int place(long pair) {
        long hash = pair * 0x9E3779B97F4A7C15L;
        int at = (int) (hash >>> 32) & mask;
        while (ranks[at] != EMPTY && pairs[at] != pair) {
            at = at + 1 & mask;
        }
        return at;
    }

    private static long pair(int left, int right) {
        return (long) left << 32 | right;
    }

    /** A binary heap of longs, smallest first. */
    private static final class Heap {
        private long[] entries;
        private int size;

        Heap(int capacity) {
            entries = new long[Math.max(4, capacity)];
        }

        boolean isEmpty() {
            return size == 0;
        }

        void add(long entry) {
            if (size == entries.length) {
                entries = java.util.Arrays.copyOf(entries, 2 * size);
            }
            int i = size++;
            while (i > 0 && entries[(i - 1) / 2] > entry) {
                entries[i] = entries[(i - 1) / 2];
                i = (i - 1) / 2;
            }
            entries[i] = entry;
        }

        long poll() {
            long first = entries[0];
            long last = entries[--size];
            int i = 0;
            while (2 * i + 1 < size) {
                int child = 2 * i + 1;
                if (child + 1 < size && entries[child + 1] < entries[child]) {
                    child++;
                }
                if (entries[child] >= last) {
                    break;
                }
                entries[i] = entries[child];
                i = child;
            }
            entries[i] = last;
            return first;
        }
    }
}
