// log softmax at one token, and the loss with its gradient. Reads N V twice (the second time from cache), writes N V for dlogits.
#include "isa_op.h"
#include "rows.h"

namespace subtext {
namespace ST_ISA {
namespace {

template <class S>
void logProb(void* out, const void* logits, const int32_t* token, int64_t from, int64_t to, int64_t vocabulary, int64_t stride) {
    typedef real<S> T;
    for (int64_t n = from; n < to; n++) {
        const T* row = static_cast<const T*>(logits) + n * stride;
        T value = 0;
        if (token[n] >= 0 && token[n] < vocabulary) value = rowLaw<T>(row, vocabulary, T(1)).logProb(row[token[n]]);
        static_cast<T*>(out)[n] = value;
    }
}

template <class S>
void crossEntropy(void* loss, void* dlogits, const void* logits, const int32_t* target, const void* weight, int64_t from,
                  int64_t to, int64_t vocabulary, int64_t stride) {
    typedef real<S> T;
    for (int64_t n = from; n < to; n++) {
        const T* row = static_cast<const T*>(logits) + n * stride;
        S* d = dlogits ? static_cast<S*>(dlogits) + n * stride : nullptr;
        if (target[n] < 0 || target[n] >= vocabulary) {
            static_cast<T*>(loss)[n] = 0;
            if (d) memset(static_cast<void*>(d), 0, stride * sizeof(S));
            continue;
        }
        const RowLaw<T> law = rowLaw<T>(row, vocabulary, T(1));
        const T logp = law.logProb(row[target[n]]);
        static_cast<T*>(loss)[n] = -logp;
        if (!d) continue;
        const T w = static_cast<const T*>(weight)[n];
        const V<T> top = broadcast<T>(law.top), logSum = broadcast<T>(law.logSum), wv = broadcast<T>(w);
        eachVector<T>(vocabulary, [&](int64_t i, int64_t lanes) {
            store(d + i, exponential((load(row + i, lanes) - top) - logSum) * wv, lanes);
        });
        // p - 1 before the weight: near p = 1 the difference is what matters
        T atTarget[V<T>::lanes];
        store(atTarget, broadcast<T>(w * (exponential1<T>(logp) - T(1))));
        store(d + target[n], load(atTarget), 1);
        if (stride > vocabulary) memset(static_cast<void*>(d + vocabulary), 0, (stride - vocabulary) * sizeof(S));
    }
}

}  // namespace

void enterCrossEntropy(Kernels* table) {
    ST_SET(table->logProb, logProb);
    ST_SET(table->crossEntropy, crossEntropy);
}

}  // namespace ST_ISA
}  // namespace subtext
