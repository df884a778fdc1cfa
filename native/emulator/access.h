// Checks of single accesses, and where the checked library hears about the progress of blocks.
#ifndef SUBTEXT_EMULATOR_ACCESS_H
#define SUBTEXT_EMULATOR_ACCESS_H

#include "emulated_execution.h"

namespace emulator {

void beginLaunchChecks(const char *kernel);
void beginBlockChecks(const Block &block, uint64_t number, int threads);
void passedBarrier();                    // by all threads of the block
void passedSyncwarp(uint32_t mask);      // by these lanes of the running thread's warp

/// True if p lies in the stacks of this OS thread's fibers.
bool onFiberStack(const void *p);

}  // namespace emulator

#endif
