// The table of this instruction set.
#include "isa_op.h"

#define ST_TEXT_OF(x) #x
#define ST_NAME(x) ST_TEXT_OF(x)

namespace subtext {
namespace ST_ISA {

const Kernels* kernels() {
    static Kernels table;  // filled on every call with the same values; opening devices is not a hot path
    table.name = ST_NAME(ST_ISA);
    enterAdamw(&table);
    enterAttention(&table);
    enterCrossEntropy(&table);
    enterElementwise(&table);
    enterEmbedding(&table);
    enterMatmul(&table);
    enterMatmulFew(&table);
    enterRmsnorm(&table);
    enterRope(&table);
    enterSample(&table);
    return &table;
}

}  // namespace ST_ISA
}  // namespace subtext
