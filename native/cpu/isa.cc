// Which instruction set to use: the best the processor has, capped by the environment variable SUBTEXT_ISA.
#include <cstdlib>
#include <cstring>

#include "device.h"

namespace subtext {

const Kernels* chooseKernels(std::string* reason) {
    const char* cap = std::getenv("SUBTEXT_ISA");
    const std::string wanted = cap ? cap : "";
    if (!wanted.empty() && wanted != "avx512" && wanted != "avx2" && wanted != "portable") {
        *reason = "SUBTEXT_ISA=" + wanted + ": expected avx512, avx2 or portable, or leave it unset";
        return nullptr;
    }
#ifdef ST_X86
    __builtin_cpu_init();
    const bool has2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool has512 = has2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (has512 && (wanted.empty() || wanted == "avx512")) return avx512::kernels();
    if (has2 && wanted != "portable") return avx2::kernels();
#endif
    return portable::kernels();
}

}  // namespace subtext
