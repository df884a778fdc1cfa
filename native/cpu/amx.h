// Products by the processor's matrix unit (Intel AMX), or by the same arithmetic in software.
//
// The unit multiplies bf16 and adds in f32: for every element of c, over 32 k at a time, half of the products are one chain of fused
// multiply-adds from zero and the other half another, and the sum of both is added to c (TDPBF16PS; subnormal numbers count as zero).
// Of bf16 operands the halves are even and odd k, of f32 the first and the last sixteen. f32 operands are cut into three bf16
// parts whose sum they are, x = x1 + x2 + x3, the first two being the nearest bf16 to what is left (half-way: the greater in size), and
//   x y = x3 y1 + x2 y1 + x2 y2 + x1 y2 + x1 y3 + x1 y1,     leaving out x3 y2, x2 y3 and x3 y3, 2^-25 of it at most,
// in this order for every 32 k: the error of a product is that of f32. Every element is one chain of such steps over k in ascending
// order, whatever M, blocks or threads are, and the same in software: tests hold one to the other, bit for bit.
#ifndef SUBTEXT_CPU_AMX_H
#define SUBTEXT_CPU_AMX_H

#include <string>

#include "kernels.h"

namespace subtext {

/// A part of a product: columns n0 .. n0 + columns - 1 and k0 .. k0 + depth - 1, of which b lies packed.
struct AmxSlice {
    const MatmulPlan* plan;
    int64_t n0, columns, k0, depth;  // n0 and k0 multiples of 32, as are columns and depth but at the ends of N and K
    int64_t rows;                    // of c in a task
    uint16_t* b;                     // panels of 32 columns, each [32 k][part][2][16][32]
    float* rest;                     // running values (M, N) of a c that cannot hold them, or nullptr
};

/// By storage type: f32, bf16.
struct AmxKernels {
    const char* name;
    int64_t parts[2];
    void (*packB[2])(const AmxSlice* slice, int64_t from, int64_t to, void* scratch);  // panels
    void (*block[2])(const AmxSlice* slice, int64_t from, int64_t to, void* scratch);  // tasks: blocks of rows
    int64_t (*blockScratchBytes)(int kind, int64_t rows);
    /// nt of at most fewRows rows, for which b is read where it lies. Tasks of pack are 16 rows of a; of few, fewColumns columns.
    int64_t fewRows[2];
    int64_t fewColumns;
    int64_t (*fewScratchBytes)(int kind, int64_t K);
    void (*fewPack[2])(const MatmulPlan* plan, void* packed, int64_t from, int64_t to, void* scratch);
    void (*few[2])(const MatmulPlan* plan, const void* packed, int64_t from, int64_t to, void* scratch);
};

namespace amx {
const AmxKernels* kernels();
}
namespace amx_emulated {
const AmxKernels* kernels();
}

/// The matrix unit, or its emulation if SUBTEXT_AMX=emulated; NULL with a reason if there is none.
const AmxKernels* chooseAmx(std::string* reason);

}  // namespace subtext

struct st_device;
namespace subtext {
/// c of a product of f32 (kind 0) or bf16 (1); false if there is no memory for scratch.
bool amxMatmul(st_device* device, int kind, const MatmulPlan& plan);
}  // namespace subtext

#endif
