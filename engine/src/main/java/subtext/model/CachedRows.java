package subtext.model;

import subtext.bindings.Tensor;

/**
 * Rows to be computed behind a cache, described by device tensors, so that a recorded step can change them. All i32.
 *
 * @param token (N) ids read
 * @param position (N) absolute positions
 * @param rowSlot (N) where each row's keys and values go; below 0 they go nowhere
 * @param rowOffset (N) length of the prefix that lies in another slot
 * @param cuSeqlens (S + 1) first row of each sequence, then N
 * @param slot (S) each sequence's own slot; below 0 its rows give zeros
 * @param prefixSlot (S) whose first positions it borrows
 * @param prefixLength (S) how many
 * @param start (S) absolute position of its first row here
 * @param longest the most rows of any sequence here
 */
public record CachedRows(
        Tensor token,
        Tensor position,
        Tensor rowSlot,
        Tensor rowOffset,
        Tensor cuSeqlens,
        Tensor slot,
        Tensor prefixSlot,
        Tensor prefixLength,
        Tensor start,
        long longest) {
    /** {@return N, rows of all sequences} */
    public long rows() {
        return token.shape().dim(0);
    }
}
