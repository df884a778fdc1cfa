// Embedding: rows of a table, and the sum of gradients per token.
#include "isa_op.h"

namespace subtext {
namespace ST_ISA {
namespace {

template <class S>
void embeddingForward(void* y, const void* w, const int32_t* token, int64_t from, int64_t to, int64_t C, int64_t vocabulary) {
    for (int64_t n = from; n < to; n++) {
        S* out = static_cast<S*>(y) + n * C;
        if (token[n] < 0 || token[n] >= vocabulary) memset(static_cast<void*>(out), 0, C * sizeof(S));
        else memcpy(static_cast<void*>(out), static_cast<const S*>(w) + token[n] * C, C * sizeof(S));
    }
}

/// Takes the runs of equal tokens that begin within order[from .. to-1]; a run is summed by one thread, in the order given.
template <class S>
void embeddingBackward(void* dw, const void* dy, const int32_t* token, const int32_t* order, int64_t from, int64_t to, int64_t N,
                       int64_t C, int64_t vocabulary) {
    typedef real<S> T;
    const auto tokenAt = [&](int64_t i) {
        const int64_t row = order[i];
        return row < 0 || row >= N ? -1 : token[row];
    };
    int64_t i = from;
    while (i > 0 && i < to && tokenAt(i) == tokenAt(i - 1)) i++;  // belongs to the range before
    while (i < to) {
        const int64_t id = tokenAt(i);
        int64_t end = i + 1;
        while (end < N && tokenAt(end) == id) end++;
        if (id >= 0 && id < vocabulary) {
            T* out = static_cast<T*>(dw) + id * C;
            const S* rows = static_cast<const S*>(dy);
            eachVector<T>(C, [&](int64_t c, int64_t n) {
                V<T> sum = load(out + c, n);
                for (int64_t j = i; j < end; j++) sum = sum + load(rows + order[j] * C + c, n);
                store(out + c, sum, n);
            });
        }
        i = end;
    }
}

}  // namespace

void enterEmbedding(Kernels* table) {
    ST_SET(table->embeddingForward, embeddingForward);
    ST_SET(table->embeddingBackward, embeddingBackward);
}

}  // namespace ST_ISA
}  // namespace subtext
