// How a file of per-instruction-set kernels enters them into the table.
#ifndef SUBTEXT_CPU_ISA_OP_H
#define SUBTEXT_CPU_ISA_OP_H

#include "kernels.h"
#include "vec.h"

/// Sets the three entries of a table field from one function template over the storage type.
#define ST_SET(field, function)        \
    do {                               \
        (field)[0] = function<float>;  \
        (field)[1] = function<bf16>;   \
        (field)[2] = function<double>; \
    } while (0)

namespace subtext {
namespace ST_ISA {
void enterAdamw(Kernels* table);
void enterAttention(Kernels* table);
void enterCrossEntropy(Kernels* table);
void enterElementwise(Kernels* table);
void enterEmbedding(Kernels* table);
void enterMatmul(Kernels* table);
void enterMatmulFew(Kernels* table);
void enterRmsnorm(Kernels* table);
void enterRope(Kernels* table);
void enterSample(Kernels* table);
}  // namespace ST_ISA
}  // namespace subtext

#endif
