// Where an access may go: live device and pinned memory, the block's shared memory, the fiber's stack, and this library's constants.
#include "access.h"

#include <dlfcn.h>
#include <link.h>

#include "memory.h"

namespace emulator {
namespace {

struct Image {
    uintptr_t first = UINTPTR_MAX, last = 0;
};

/// The addresses of this library's code and data: __constant__ variables and tables lie there.
const Image &image() {
    static const Image one = [] {
        Image found;
        dl_iterate_phdr(
            [](dl_phdr_info *info, size_t, void *to) {
                Image mapped;
                for (int i = 0; i < info->dlpi_phnum; i++) {
                    const auto &header = info->dlpi_phdr[i];
                    if (header.p_type != PT_LOAD) continue;
                    const uintptr_t first = info->dlpi_addr + header.p_vaddr;
                    if (first < mapped.first) mapped.first = first;
                    if (first + header.p_memsz > mapped.last) mapped.last = first + header.p_memsz;
                }
                const auto here = reinterpret_cast<uintptr_t>(&image);
                if (here < mapped.first || here >= mapped.last) return 0;
                *static_cast<Image *>(to) = mapped;
                return 1;
            },
            &found);
        return found;
    }();
    return one;
}

}  // namespace

void check(const void *p, size_t bytes, size_t alignment, bool write) {
    if (local.thread == nullptr) return;
    const char *what = write ? "writes" : "reads";
    if (reinterpret_cast<uintptr_t>(p) % alignment != 0)
        fail(misalignedAddress, "%s %zu bytes at %p, which is not aligned to %zu", what, bytes, p, alignment);
    if (inside(p, bytes)) return;
    if (inArena(p)) fail(illegalAddress, "%s %s", what, complaint(p, bytes).c_str());
    const auto *address = static_cast<const unsigned char *>(p);
    const Block &block = *local.block;
    const size_t offset = static_cast<size_t>(address - block.shared);
    if (offset < block.sharedBytes && bytes <= block.sharedBytes - offset) return;
    if (static_cast<size_t>(address - local.staticShared) < local.staticSharedBytes) return;
    if (onFiberStack(p)) return;
    const auto number = reinterpret_cast<uintptr_t>(p);
    if (number >= image().first && number < image().last) return;
    if (offset + 4096 < block.sharedBytes + 8192)
        fail(illegalAddress, "%s %zu bytes at offset %lld of %zu bytes of dynamic shared memory", what, bytes,
             static_cast<long long>(address - block.shared), block.sharedBytes);
    fail(illegalAddress, "%s %zu bytes at %p, which is no device memory", what, bytes, p);
}

uint64_t atomicLoad(const void *p, size_t bytes) {
    check(p, bytes, bytes, false);
    followAtomic(p);
    return bytes == 4 ? __atomic_load_n(static_cast<const uint32_t *>(p), __ATOMIC_SEQ_CST)
                      : __atomic_load_n(static_cast<const uint64_t *>(p), __ATOMIC_SEQ_CST);
}

uint64_t atomicSwap(void *p, size_t bytes, uint64_t expected, uint64_t next) {
    if (bytes == 4) {
        uint32_t found = static_cast<uint32_t>(expected);
        __atomic_compare_exchange_n(static_cast<uint32_t *>(p), &found, static_cast<uint32_t>(next), false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        return found;
    }
    __atomic_compare_exchange_n(static_cast<uint64_t *>(p), &expected, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return expected;
}

}  // namespace emulator
