// What the lanes of a warp do together, done once on all their operands.
#include "access.h"
#include "memory.h"

namespace emulator {

void performSyncwarp(void *const[32], uint32_t mask) { passedSyncwarp(mask); }

void performShuffle(void *const operands[32], uint32_t mask) {
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
        Shuffle &to = *static_cast<Shuffle *>(operands[__builtin_ctz(rest)]);
        // a lane outside the mask gives an undefined value: poison
        to.result = mask >> to.source & 1u ? static_cast<Shuffle *>(operands[to.source])->value : ~uint64_t{0};
    }
}

void performBallot(void *const operands[32], uint32_t mask) {
    uint32_t votes = 0;
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1)
        votes |= static_cast<Vote *>(operands[__builtin_ctz(rest)])->predicate << __builtin_ctz(rest);
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) static_cast<Vote *>(operands[__builtin_ctz(rest)])->result = votes;
}

void performMatch(void *const operands[32], uint32_t mask) {
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
        Match &to = *static_cast<Match *>(operands[__builtin_ctz(rest)]);
        to.result = 0;
        for (uint32_t other = mask; other != 0; other &= other - 1)
            if (static_cast<Match *>(operands[__builtin_ctz(other)])->value == to.value) to.result |= other & -other;
    }
}

namespace {

float low(uint32_t pair) { return bits<float>(pair << 16); }
float high(uint32_t pair) { return bits<float>(pair & 0xffff0000u); }

}  // namespace

// Lane 4 g + t holds, of A (16 x 16): rows g and g + 8 at k = 2t, 2t+1 (a[0], a[1]) and 2t+8, 2t+9 (a[2], a[3]);
// of B (16 x 8): column g at the same k (b[0], b[1]); of D (16 x 8): rows g (d[0], d[1]) and g + 8 (d[2], d[3]) at columns 2t, 2t+1.
void performMma(void *const operands[32], uint32_t mask) {
    if (mask != 0xffffffffu) fail(launchFailure, "mma in a warp of which only lanes %#x exist", mask);
    typedef float Row __attribute__((vector_size(32)));  // eight columns
    float a[16][16];
    alignas(32) float b[16][8], d[16][8];
    for (unsigned lane = 0; lane < 32; lane++) {
        const Mma &own = *static_cast<Mma *>(operands[lane]);
        const unsigned g = lane / 4, k = lane % 4 * 2;
        a[k][g] = low(own.a[0]), a[k + 1][g] = high(own.a[0]);
        a[k][g + 8] = low(own.a[1]), a[k + 1][g + 8] = high(own.a[1]);
        a[k + 8][g] = low(own.a[2]), a[k + 9][g] = high(own.a[2]);
        a[k + 8][g + 8] = low(own.a[3]), a[k + 9][g + 8] = high(own.a[3]);
        b[k][g] = low(own.b[0]), b[k + 1][g] = high(own.b[0]);
        b[k + 8][g] = low(own.b[1]), b[k + 9][g] = high(own.b[1]);
        d[g][k] = own.d[0], d[g][k + 1] = own.d[1];
        d[g + 8][k] = own.d[2], d[g + 8][k + 1] = own.d[3];
    }
    for (int first = 0; first < 16; first += 8) {  // eight rows at a time, as many as stay in registers
        Row sum[8];
        memcpy(sum, d[first], sizeof sum);
        for (int k = 0; k < 16; k++) {
            Row right;
            memcpy(&right, b[k], sizeof right);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) sum[i] += a[k][first + i] * right;  // the product of two bf16 is exact in f32
        }
        memcpy(d[first], sum, sizeof sum);
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        float *own = static_cast<Mma *>(operands[lane])->d;
        const unsigned g = lane / 4, j = lane % 4 * 2;
        own[0] = d[g][j], own[1] = d[g][j + 1];
        own[2] = d[g + 8][j], own[3] = d[g + 8][j + 1];
    }
}

// Lane l gives the address of row l % 8 of matrix l / 8 and receives, of every matrix, elements 2 (l % 4) and the next of row l / 4;
// transposed: of column l / 4.
template <int matrices, bool transposed>
void performLoadMatrix(void *const operands[32], uint32_t mask) {
    if (mask != 0xffffffffu) fail(launchFailure, "ldmatrix in a warp of which only lanes %#x exist", mask);
    for (int m = 0; m < matrices; m++) {
        uint16_t element[8][8];
        for (int row = 0; row < 8; row++) {
            const void *from = static_cast<LoadMatrix *>(operands[8 * m + row])->row;
            check(from, 16, 16, false);
            follow(*(local.thread - laneOf(*local.thread) + 8 * m + row), from, 16, false);
            memcpy(element[row], from, 16);
        }
        for (int lane = 0; lane < 32; lane++) {
            const int i = lane / 4, j = lane % 4 * 2;
            const uint32_t first = transposed ? element[j][i] : element[i][j], second = transposed ? element[j + 1][i] : element[i][j + 1];
            static_cast<LoadMatrix *>(operands[lane])->r[m] = first | second << 16;
        }
    }
}
template void performLoadMatrix<4, false>(void *const[32], uint32_t);
template void performLoadMatrix<4, true>(void *const[32], uint32_t);
template void performLoadMatrix<2, false>(void *const[32], uint32_t);
template void performLoadMatrix<2, true>(void *const[32], uint32_t);

}  // namespace emulator
