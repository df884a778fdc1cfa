// What a library takes of the host's memory: after their first calls the ops allocate nothing, and a closed device leaves nothing behind.
//
// malloc and its kin are defined by this program, which puts them before the C library's for everything it loads. A call counts if it comes
// from the text of the library under test; what the test, the C++ library of the test and the C library ask for does not.
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "harness.h"

#if defined(__SANITIZE_ADDRESS__)
#define ST_COUNTS_ALLOCATIONS 0  // the sanitizer has its own malloc
#elif defined(__GLIBC__)
#define ST_COUNTS_ALLOCATIONS 1
#else
#define ST_COUNTS_ALLOCATIONS 0
#endif

#if ST_COUNTS_ALLOCATIONS
namespace {
std::atomic<uintptr_t> textFrom{0}, textTo{0};
std::atomic<int64_t> taken{0}, given{0};
std::atomic<int64_t> asked{0};  // of those taken, by st_alloc and its like, whose very purpose it is
thread_local bool asking = false;

inline bool counts(void* caller) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(caller);
    return at >= textFrom.load(std::memory_order_relaxed) && at < textTo.load(std::memory_order_relaxed);
}
inline void* take(void* memory, void* caller) {
    if (memory && counts(caller)) {
        taken.fetch_add(1, std::memory_order_relaxed);
        if (asking) asked.fetch_add(1, std::memory_order_relaxed);
    }
    return memory;
}
inline void give(void* memory, void* caller) {
    if (memory && counts(caller)) given.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace

#define ST_REPLACES extern "C" __attribute__((visibility("default"), noinline))
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);
}
ST_REPLACES void* malloc(size_t bytes) { return take(__libc_malloc(bytes), __builtin_return_address(0)); }
ST_REPLACES void* calloc(size_t n, size_t bytes) { return take(__libc_calloc(n, bytes), __builtin_return_address(0)); }
ST_REPLACES void* memalign(size_t to, size_t bytes) {
    return take(__libc_memalign(to, bytes), __builtin_return_address(0));
}
ST_REPLACES void* aligned_alloc(size_t to, size_t bytes) {
    return take(__libc_memalign(to, bytes), __builtin_return_address(0));
}
ST_REPLACES int posix_memalign(void** memory, size_t to, size_t bytes) {
    void* p = take(__libc_memalign(to, bytes), __builtin_return_address(0));
    if (!p) return ENOMEM;
    *memory = p;
    return 0;
}
ST_REPLACES void* realloc(void* old, size_t bytes) {
    void* caller = __builtin_return_address(0);
    void* p = __libc_realloc(old, bytes);
    if (p || !bytes) give(old, caller);
    return take(p, caller);
}
ST_REPLACES void free(void* memory) {
    give(memory, __builtin_return_address(0));
    __libc_free(memory);
}
#endif

namespace op_tests {

#if ST_COUNTS_ALLOCATIONS
namespace {

/// Counts from now on what comes from the file that holds this function.
void watch(const void* function) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(function);
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* wanted) {
            for (int i = 0; i < info->dlpi_phnum; i++) {
                const auto& part = info->dlpi_phdr[i];
                const uintptr_t from = info->dlpi_addr + part.p_vaddr, to = from + part.p_memsz;
                const uintptr_t at = *static_cast<uintptr_t*>(wanted);
                if (part.p_type == PT_LOAD && at >= from && at < to) {
                    textFrom = from;
                    textTo = to;
                    return 1;
                }
            }
            return 0;
        },
        const_cast<uintptr_t*>(&at));
}

int64_t residentBytes() {
    long pages = 0, resident = 0;
    if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
        if (std::fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
        std::fclose(file);
    }
    return int64_t{resident} * sysconf(_SC_PAGESIZE);
}

Library wrapped;  // the library itself, behind entries that tell what st_alloc and its like ask for

template <class F>
st_status asks(F call) {
    asking = true;
    const st_status status = call();
    asking = false;
    return status;
}

Library telling(const Library& library) {
    wrapped = library;
    Library out = library;
    out.alloc = [](st_device* d, void** p, int64_t n) { return asks([&] { return wrapped.alloc(d, p, n); }); };
    out.free = [](st_device* d, void* p) { return asks([&] { return wrapped.free(d, p); }); };
    out.host_alloc = [](st_device* d, void** p, int64_t n) {
        return asks([&] { return wrapped.host_alloc(d, p, n); });
    };
    out.host_free = [](st_device* d, void* p) { return asks([&] { return wrapped.host_free(d, p); }); };
    out.event_create = [](st_device* d, st_event** e) { return asks([&] { return wrapped.event_create(d, e); }); };
    out.event_free = [](st_device* d, st_event* e) { return asks([&] { return wrapped.event_free(d, e); }); };
    return out;
}

void runOps(Device& device, const Settings& settings, const std::vector<Op>& ops, int indices, int64_t& calls) {
    for (const Op& op : ops) {
        if (!op.test || !std::strstr(op.name, settings.op.c_str())) continue;
        for (const st_dtype dtype : {ST_F32, ST_BF16, ST_F64}) {
            if ((op.f32Only && dtype != ST_F32) || (dtype == ST_F64 && !device.hasF64())) continue;
            for (int index = 0; index < std::min(indices, op.trials ? op.trials : indices); index++) {
                Trial trial(device, settings, dtype, settings.seed * 8191 + index, index, false);
                op.test(trial);
                calls++;
            }
        }
    }
}

void verdict(Score& score, bool passed, const std::string& text) {
    std::printf("%s%s\n", passed ? "" : "FAIL ", text.c_str());
    std::fflush(stdout);
    (passed ? score.passed : score.failed)++;
}

}  // namespace

void runMemory(const Library& library, const Settings& settings, const std::vector<Op>& ops, Score& score) {
    const Library told = telling(library);
    watch(reinterpret_cast<const void*>(library.add));
    const int threads = settings.threads ? settings.threads : 2;

    // the counter itself must be able to count
    const int64_t before = taken;
    { Device device(told, settings.ordinal, threads, settings.matmul); }
    verdict(score, taken - asked > before,
            format("opening a device is seen to allocate: %lld times", (long long)(taken - before)));
    verdict(score, taken == given,
            format("a closed device has freed all: %lld of %lld", (long long)given, (long long)taken));

    {
        Device device(told, settings.ordinal, threads, settings.matmul);
        int64_t calls = 0;
        runOps(device, settings, ops, 8, calls);  // scratch grows to what the largest of these shapes needs
        const int64_t grown = taken - asked;
        calls = 0;
        const int64_t wanted = settings.quick ? 1 : 2000;
        do runOps(device, settings, ops, 8, calls);
        while (calls < wanted);
        const int64_t more = taken - asked - grown;
        verdict(score, more == 0,
                format("%lld more trials of all ops allocate %lld times", (long long)calls, (long long)more));
    }
    verdict(score, taken == given,
            format("a device that computed has freed all: %lld of %lld", (long long)given, (long long)taken));

    // stacks of threads and the arenas of malloc settle within the first hundreds
    const int warm = 200, times = 1000;
    int64_t settled = 0;
    for (int i = 0; i < warm + times; i++) {
        if (i == warm) settled = residentBytes();
        Device device(told, settings.ordinal, threads, settings.matmul);
        void* memory[3] = {};
        for (void*& each : memory) {
            device.must(told.alloc(device, &each, 1 << 18), "alloc");
            device.must(told.fill_zero(device, each, 1 << 18), "fill_zero");
        }
        device.must(told.matmul_nt(device, memory[0], memory[1], memory[2], nullptr, 64, 64, 64, ST_F32, ST_F32),
                    "matmul_nt");
        device.must(told.free(device, memory[1]), "free");  // the others are freed by closing
    }
    const int64_t growth = residentBytes() - settled;
    verdict(score, taken == given,
            format("%d devices have freed all: %lld of %lld", warm + times, (long long)given, (long long)taken));
    verdict(score, growth < (1 << 20),
            format("after %d of them %d more grow the process by %lld KiB", warm, times, (long long)(growth >> 10)));
}

#else

void runMemory(const Library&, const Settings&, const std::vector<Op>&, Score&) {
    std::printf("allocations are not counted here: that needs glibc and no sanitizer\n");
}

#endif

}  // namespace op_tests
