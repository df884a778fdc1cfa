// CUDA on the host, for tests: what native/cuda/*.cu include instead of cuda_runtime.h and cuda_bf16.h when they are compiled by a
// plain C++ compiler with -DST_CUDA_EMULATED. README.md says what is covered and what is not.
#ifndef SUBTEXT_CUDA_EMULATOR_H
#define SUBTEXT_CUDA_EMULATOR_H

#include "emulated_types.h"
#include "emulated_execution.h"
#include "emulated_runtime.h"

#endif
