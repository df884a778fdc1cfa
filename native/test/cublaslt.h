// The few prototypes of cuBLASLt that the bench calls, looked up at run time: the vendor's matrix product is the ceiling to compare with.
#ifndef SUBTEXT_TEST_CUBLASLT_H
#define SUBTEXT_TEST_CUBLASLT_H

#include <dlfcn.h>
#include <glob.h>
#include <stdint.h>
#include <stdlib.h>

#include <string>
#include <vector>

class CublasLt {
public:
    enum class Layout { NT, NN, TN };

    /// Looks on the loader's path, then in the nvidia packages of the Python installations given and found.
    CublasLt() {
        std::vector<std::string> candidates;
        if (const char *given = getenv("SUBTEXT_CUBLASLT")) candidates.push_back(given);
        candidates.insert(candidates.end(), {"libcublasLt.so.13", "libcublasLt.so.12"});
        for (const char *pattern : {"/opt/*/.venv/lib/python3*/site-packages/nvidia/*/lib/libcublasLt.so.1[23]",
                                    "/opt/*/lib/python3*/site-packages/nvidia/*/lib/libcublasLt.so.1[23]",
                                    "/usr/lib/python3*/*-packages/nvidia/*/lib/libcublasLt.so.1[23]",
                                    "/usr/local/lib/python3*/*-packages/nvidia/*/lib/libcublasLt.so.1[23]",
                                    "/usr/local/cuda*/lib64/libcublasLt.so.1[23]", "/usr/local/cuda*/targets/*/lib/libcublasLt.so.1[23]"}) {
            glob_t found;
            if (glob(pattern, 0, nullptr, &found) == 0)
                for (size_t i = 0; i < found.gl_pathc; i++) candidates.push_back(found.gl_pathv[i]);
            globfree(&found);
        }
        for (const std::string &candidate : candidates) {
            void *library = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
            if (library == nullptr) continue;
            const bool complete = look(library, "cublasLtCreate", create) && look(library, "cublasLtMatmulDescCreate", descCreate) &&
                                  look(library, "cublasLtMatmulDescSetAttribute", descSet) &&
                                  look(library, "cublasLtMatrixLayoutCreate", layoutCreate) &&
                                  look(library, "cublasLtMatmulPreferenceCreate", preferenceCreate) &&
                                  look(library, "cublasLtMatmulPreferenceSetAttribute", preferenceSet) &&
                                  look(library, "cublasLtMatmulAlgoGetHeuristic", heuristic) && look(library, "cublasLtMatmul", matmul);
            if (complete && create(&handle) == 0) {
                path = candidate;
                return;
            }
        }
        handle = nullptr;
    }

    bool present() const { return handle != nullptr; }
    std::string path;

    struct Result {
        uint64_t algorithm[8];
        size_t workspace;
        int state;
        float waves;
        int reserved[4];
    };

    /// One bf16 product in row-major terms, as subtext.h states it; c is f32 for TN (and then added to) and bf16 else.
    struct Plan {
        void *description, *a, *b, *c;
        float alpha, beta;
        bool swapped;
        std::vector<Result> algorithms;
    };

    static constexpr size_t workspaceBytes = 64 << 20;

    Plan plan(Layout layout, int64_t M, int64_t N, int64_t K, bool wideC, int most) const {
        const int bf16 = 14, f32 = 0, compute32f = 68, no = 0, yes = 1;
        Plan p = {};
        p.alpha = 1;
        p.beta = layout == Layout::TN ? 1.0f : 0.0f;
        descCreate(&p.description, compute32f, f32);
        // column-major: c^T (N x M) = b^T a^T, so b is its first operand
        const int first = layout == Layout::NT ? yes : no, second = layout == Layout::TN ? yes : no;
        descSet(p.description, 3, &first, sizeof first);
        descSet(p.description, 4, &second, sizeof second);
        if (layout == Layout::NT)
            layoutCreate(&p.b, bf16, K, N, K);
        else
            layoutCreate(&p.b, bf16, N, K, N);
        if (layout == Layout::TN)
            layoutCreate(&p.a, bf16, M, K, M);
        else
            layoutCreate(&p.a, bf16, K, M, K);
        layoutCreate(&p.c, wideC ? f32 : bf16, N, M, N);
        void *preference = nullptr;
        preferenceCreate(&preference);
        const size_t workspace = workspaceBytes;
        preferenceSet(preference, 1, &workspace, sizeof workspace);
        p.algorithms.resize(most);
        int found = 0;
        heuristic(handle, p.description, p.b, p.a, p.c, p.c, preference, most, p.algorithms.data(), &found);
        p.algorithms.resize(found);
        return p;
    }

    int run(const Plan &p, int algorithm, void *c, const void *a, const void *b, void *workspace, void *stream) const {
        return matmul(handle, p.description, &p.alpha, b, p.b, a, p.a, &p.beta, c, p.c, c, p.c, p.algorithms[algorithm].algorithm, workspace,
                      workspaceBytes, stream);
    }

private:
    template <typename F>
    static bool look(void *library, const char *name, F &function) {
        function = reinterpret_cast<F>(dlsym(library, name));
        return function != nullptr;
    }

    void *handle = nullptr;
    int (*create)(void **);
    int (*descCreate)(void **, int, int);
    int (*descSet)(void *, int, const void *, size_t);
    int (*layoutCreate)(void **, int, uint64_t, uint64_t, int64_t);
    int (*preferenceCreate)(void **);
    int (*preferenceSet)(void *, int, const void *, size_t);
    int (*heuristic)(void *, void *, void *, void *, void *, void *, void *, int, Result *, int *);
    int (*matmul)(void *, void *, const void *, const void *, void *, const void *, void *, const void *, const void *, void *, void *, void *,
                  const void *, void *, size_t, void *);
};

#endif
