// The calls of cuBLASLt that the bindings use, over the emulator: libcublasLt_emulated.so, to be given as the vendor's library.
//
// Column-major products in f32, summed in ascending k. Work is queued on the emulated stream, so it is ordered with kernels and can be
// recorded. Stricter than the vendor's: everything that is not used here is refused, and the workspace is overwritten.
// Enumerators and prototypes as NVIDIA documents them for cuBLAS 12 and 13.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <vector>

#include "emulated_runtime.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

enum Status { success = 0, notInitialized = 1, invalidValue = 7, notSupported = 15 };
enum Type { f32 = 0, bf16 = 14 };                        // cudaDataType_t: CUDA_R_32F, CUDA_R_16BF
enum { compute32f = 68 };                                // cublasComputeType_t: CUBLAS_COMPUTE_32F
enum { descTransA = 3, descTransB = 4 };                 // cublasLtMatmulDescAttributes_t, int32: CUBLAS_OP_N = 0, CUBLAS_OP_T = 1
enum { layoutType, layoutOrder, layoutRows, layoutColumns, layoutLd };  // cublasLtMatrixLayoutAttribute_t
enum { preferenceWorkspace = 1 };                        // cublasLtMatmulPreferenceAttributes_t, size_t

struct Description {
    int32_t transA = 0, transB = 0;
};
struct Layout {
    int32_t type;
    uint64_t rows, columns;
    int64_t ld;
};
struct Preference {
    size_t workspace = 0;
};
struct Algorithm {
    uint64_t data[8];
};
struct HeuristicResult {
    Algorithm algorithm;
    size_t workspaceBytes;
    int32_t state;
    float waves;
    int32_t reserved[4];
};
static_assert(sizeof(HeuristicResult) == 96, "as in cublasLt.h");

constexpr uint64_t mark = 0x73756274657874u;  // our algorithms, so that another library's are refused
constexpr size_t workspaceWanted = 4096;

float elementAt(const void *matrix, int32_t type, int64_t i) {
    return type == bf16 ? static_cast<float>(static_cast<const __nv_bfloat16 *>(matrix)[i]) : static_cast<const float *>(matrix)[i];
}

/// op(matrix) as a dense column-major f32 matrix of `rows` rows.
std::vector<float> gathered(const void *matrix, const Layout &l, bool transposed) {
    const int64_t rows = static_cast<int64_t>(transposed ? l.columns : l.rows), columns = static_cast<int64_t>(transposed ? l.rows : l.columns);
    std::vector<float> dense(static_cast<size_t>(rows * columns));
    for (int64_t j = 0; j < columns; j++)
        for (int64_t i = 0; i < rows; i++)
            dense[static_cast<size_t>(j * rows + i)] = elementAt(matrix, l.type, transposed ? i * l.ld + j : j * l.ld + i);
    return dense;
}

struct Product {
    Description description;
    Layout a, b, c, d;
    float alpha, beta;
    const void *aData, *bData, *cData;
    void *dData, *workspace;

    Status check() const {
        for (const Layout *l : {&a, &b, &c, &d})
            if ((l->type != f32 && l->type != bf16) || l->ld < static_cast<int64_t>(l->rows)) return invalidValue;
        if (a.type != b.type || c.type != d.type || (a.type == f32 && d.type == bf16)) return notSupported;
        const uint64_t m = description.transA ? a.columns : a.rows, k = description.transA ? a.rows : a.columns;
        const uint64_t n = description.transB ? b.rows : b.columns, kb = description.transB ? b.columns : b.rows;
        const bool fits = k == kb && d.rows == m && d.columns == n && c.rows == m && c.columns == n;
        return fits ? success : invalidValue;
    }

    void run() const {
        memset(workspace, 0xff, workspaceWanted);
        const std::vector<float> left = gathered(aData, a, description.transA), right = gathered(bData, b, description.transB);
        const size_t m = d.rows, n = d.columns, k = description.transA ? a.rows : a.columns;
        std::vector<float> sum(m);
        for (size_t j = 0; j < n; j++) {
            std::fill(sum.begin(), sum.end(), 0.0f);
            for (size_t p = 0; p < k; p++)
                for (size_t i = 0; i < m; i++) sum[i] += left[p * m + i] * right[j * k + p];
            for (size_t i = 0; i < m; i++) {
                const size_t at = j * static_cast<size_t>(d.ld) + i;
                float y = alpha * sum[i];
                if (beta != 0) y += beta * elementAt(cData, c.type, static_cast<int64_t>(j * static_cast<size_t>(c.ld) + i));  // else C is not read
                if (d.type == bf16) static_cast<__nv_bfloat16 *>(dData)[at] = y;
                else static_cast<float *>(dData)[at] = y;
            }
        }
    }
};

template <typename T>
Status set(T &to, const void *from, size_t bytes) {
    if (from == nullptr || bytes != sizeof to) return invalidValue;
    memcpy(&to, from, bytes);
    return success;
}

}  // namespace

EXPORT size_t cublasLtGetVersion() { return 130000; }
EXPORT int cublasLtCreate(void **handle) {
    *handle = new int(0);
    return success;
}
EXPORT int cublasLtDestroy(void *handle) {
    delete static_cast<int *>(handle);
    return success;
}

EXPORT int cublasLtMatmulDescCreate(Description **description, int computeType, int scaleType) {
    *description = nullptr;
    if (computeType != compute32f || scaleType != f32) return notSupported;
    *description = new Description;
    return success;
}
EXPORT int cublasLtMatmulDescDestroy(Description *description) {
    delete description;
    return success;
}
EXPORT int cublasLtMatmulDescSetAttribute(Description *description, int attribute, const void *value, size_t bytes) {
    int32_t transposed = 0;
    const Status status = set(transposed, value, bytes);
    if (status != success || transposed < 0 || transposed > 1) return invalidValue;
    if (attribute == descTransA) description->transA = transposed;
    else if (attribute == descTransB) description->transB = transposed;
    else return notSupported;
    return success;
}

EXPORT int cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    *layout = new Layout{type, rows, columns, ld};
    return success;
}
EXPORT int cublasLtMatrixLayoutDestroy(Layout *layout) {
    delete layout;
    return success;
}
EXPORT int cublasLtMatrixLayoutSetAttribute(Layout *layout, int attribute, const void *value, size_t bytes) {
    switch (attribute) {
        case layoutType: return set(layout->type, value, bytes);
        case layoutRows: return set(layout->rows, value, bytes);
        case layoutColumns: return set(layout->columns, value, bytes);
        case layoutLd: return set(layout->ld, value, bytes);
        default: return notSupported;  // column-major only, no batches
    }
}

EXPORT int cublasLtMatmulPreferenceCreate(Preference **preference) {
    *preference = new Preference;
    return success;
}
EXPORT int cublasLtMatmulPreferenceDestroy(Preference *preference) {
    delete preference;
    return success;
}
EXPORT int cublasLtMatmulPreferenceSetAttribute(Preference *preference, int attribute, const void *value, size_t bytes) {
    return attribute == preferenceWorkspace ? set(preference->workspace, value, bytes) : notSupported;
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(void *handle, Description *description, Layout *a, Layout *b, Layout *c, Layout *d,
                                          Preference *preference, int wanted, HeuristicResult *results, int *found) {
    *found = 0;
    if (handle == nullptr) return notInitialized;
    if (wanted < 1) return invalidValue;
    const Status status = Product{*description, *a, *b, *c, *d, 1, 0, nullptr, nullptr, nullptr, nullptr, nullptr}.check();
    if (status != success) return status;
    if (preference->workspace < workspaceWanted) return notSupported;
    results[0] = HeuristicResult{{{mark}}, workspaceWanted, success, 1.0f, {}};
    *found = 1;
    return success;
}

EXPORT int cublasLtMatmul(void *handle, Description *description, const void *alpha, const void *aData, Layout *a, const void *bData,
                          Layout *b, const void *beta, const void *cData, Layout *c, void *dData, Layout *d, const Algorithm *algorithm,
                          void *workspace, size_t workspaceBytes, CUstream_st *stream) {
    if (handle == nullptr) return notInitialized;
    if (algorithm == nullptr || algorithm->data[0] != mark || workspace == nullptr || workspaceBytes < workspaceWanted) return invalidValue;
    if (reinterpret_cast<uintptr_t>(workspace) % 16 != 0 || stream == nullptr) return invalidValue;
    Product product{*description, *a, *b, *c, *d, 0, 0, aData, bData, cData, dData, workspace};
    memcpy(&product.alpha, alpha, sizeof(float));  // host pointers, read now
    memcpy(&product.beta, beta, sizeof(float));
    const Status status = product.check();
    if (status != success) return status;
    stream->enqueue([product] {
        product.run();
        return cudaSuccess;
    });
    return success;
}
