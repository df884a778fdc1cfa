// One launch, from the runtime's side.
#ifndef SUBTEXT_EMULATOR_EXECUTION_H
#define SUBTEXT_EMULATOR_EXECUTION_H

#include <functional>
#include <string>

#include "emulated_execution.h"

namespace emulator {

struct Launch {
    const char *kernel;
    const void *function;
    dim3 grid, block;
    size_t sharedBytes;
    std::function<void()> body;  // one thread's run through the kernel
};

/// What a launch ended with: no error, or the first failure and its story.
struct Outcome {
    int error = 0;
    std::string message;
};

Outcome run(const Launch &launch);

}  // namespace emulator

#endif
