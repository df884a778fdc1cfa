// Checks of single accesses, and where the checked library follows the progress of blocks.
#ifndef SUBTEXT_EMULATOR_ACCESS_H
#define SUBTEXT_EMULATOR_ACCESS_H

#include "emulated_execution.h"

namespace emulator {

/// True if p lies in the stacks of this OS thread's fibers.
bool onFiberStack(const void *p);

// The race detector (races.cc). Without ST_EMULATOR_CHECKED nothing is followed.
#if defined(ST_EMULATOR_CHECKED)
constexpr bool checked = true;
void beginLaunch();
void beginBlock(uint64_t number);
void passedBarrier();               // by all threads of the block
void passedSyncwarp(uint32_t mask);  // by these lanes of the running thread's warp
/// Remembers an access by `thread` and fails if another thread's access to the same bytes is not ordered with it.
void follow(const Thread &thread, const void *p, size_t bytes, bool write);
void followAtomic(const void *p);
#else
constexpr bool checked = false;
inline void beginLaunch() {}
inline void beginBlock(uint64_t) {}
inline void passedBarrier() {}
inline void passedSyncwarp(uint32_t) {}
inline void follow(const Thread &, const void *, size_t, bool) {}
inline void followAtomic(const void *) {}
#endif

}  // namespace emulator

#endif
