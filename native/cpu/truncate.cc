// Which tokens top_k and top_p leave. Sorting is scalar work, so this file is compiled once, for any processor.
#include <algorithm>
#include <numeric>

#include "device.h"

namespace subtext {

namespace {

/// More likely first; ties to the lower id.
template <class T>
struct MoreLikely {
    const T* row;
    bool operator()(int32_t a, int32_t b) const { return row[a] > row[b] || (row[a] == row[b] && a < b); }
};

template <class T>
int64_t keep(int32_t* kept, double* p, T* gathered, const T* row, int64_t vocabulary, double temperature, int64_t topK, double topP,
             bool (*law)(double*, const void*, int64_t, double)) {
    // a row that is not a number has no order; the law says so first
    if (!law(p, row, vocabulary, temperature)) return 0;
    const MoreLikely<T> moreLikely = {row};
    std::iota(kept, kept + vocabulary, 0);
    int64_t count = vocabulary;
    if (topK > 0 && topK < vocabulary) {
        count = topK;
        std::nth_element(kept, kept + count - 1, kept + vocabulary, moreLikely);
    }
    if (topP < 1) {
        if (count < vocabulary) {  // the probabilities that count are those of the law that top_k left, summed in the order of the ids
            std::sort(kept, kept + count);
            for (int64_t i = 0; i < count; i++) gathered[i] = row[kept[i]];
            if (!law(p, gathered, count, temperature)) return 0;
            // p lies by place; put it where the sorted ids can find it, from the back so that nothing is overwritten early
            for (int64_t i = count - 1; i >= 0; i--) p[kept[i]] = p[i];
        }
        // the most likely come in batches, each sorted; mostly a few hundred of the vocabulary are enough
        double mass = 0;
        int64_t enough = count, sorted = 0;
        for (int64_t batch = 64; sorted < count && mass < topP; batch *= 4) {
            const int64_t end = std::min(count, sorted + batch);
            if (end < count) std::nth_element(kept + sorted, kept + end, kept + count, moreLikely);
            std::sort(kept + sorted, kept + end, moreLikely);
            for (; sorted < end; sorted++) {
                mass += p[kept[sorted]];
                if (mass >= topP) {
                    enough = sorted + 1;
                    break;
                }
            }
        }
        count = enough;
    }
    std::sort(kept, kept + count);
    return count;
}

}  // namespace

int64_t keepMostLikely(int32_t* kept, double* p, void* gathered, const void* row, bool wide, int64_t vocabulary, double temperature,
                       int64_t topK, double topP, bool (*law)(double*, const void*, int64_t, double)) {
    if (wide) return keep(kept, p, static_cast<double*>(gathered), static_cast<const double*>(row), vocabulary, temperature, topK, topP, law);
    return keep(kept, p, static_cast<float*>(gathered), static_cast<const float*>(row), vocabulary, temperature, topK, topP, law);
}

}  // namespace subtext
