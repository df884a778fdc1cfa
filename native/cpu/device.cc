// Device, memory, events: the part of subtext.h that is not arithmetic.
#include "device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <system_error>

#include "limits.h"

namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kHugePage = 2u << 20;
constexpr int32_t kMostThreads = 1024;

int64_t nowNanos() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string processorName() {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);) {
        if (line.compare(0, 10, "model name") == 0) {
            const size_t at = line.find(": ");
            if (at != std::string::npos) return line.substr(at + 2);
        }
    }
    return "CPU";
}

int64_t machineBytes() { return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE); }

int64_t freeBytes() {
    int64_t available = subtext::availableMemory();
    if (available == subtext::kNoLimit) available = int64_t{sysconf(_SC_AVPHYS_PAGES)} * sysconf(_SC_PAGESIZE);
    return std::min({available, subtext::readLimits().freeMemory, subtext::addressSpaceLeft()});
}

/// Threads for `threads: 0`. More than a container's quota would only stop each other in the middle of a loop.
int32_t usualThreads() {
    const int64_t processors = std::min(subtext::schedulableProcessors(), subtext::readLimits().processors);
    return static_cast<int32_t>(std::min<int64_t>(processors, kMostThreads));
}

/// Where this process is given less than the machine has; "" if nowhere.
std::string limitsText() {
    const subtext::Limits limits = subtext::readLimits();
    std::string text;
    char part[64];
    if (limits.memory < machineBytes()) {
        std::snprintf(part, sizeof part, "memory %.1f of %.1f GiB by ", limits.memory * 0x1p-30, machineBytes() * 0x1p-30);
        text += part + limits.memoryFile;
    }
    if (subtext::addressSpaceLimit() != subtext::kNoLimit) {
        std::snprintf(part, sizeof part, "address space %.1f GiB by ulimit -v", subtext::addressSpaceLimit() * 0x1p-30);
        text += (text.empty() ? "" : "; ") + std::string(part);
    }
    const int64_t online = sysconf(_SC_NPROCESSORS_ONLN), schedulable = subtext::schedulableProcessors();
    if (std::min(limits.processors, schedulable) < online) {
        const bool quota = limits.processors < schedulable;
        std::snprintf(part, sizeof part, "%lld of %lld processors by ", (long long)(quota ? limits.processors : schedulable), (long long)online);
        text += (text.empty() ? "" : "; ") + (part + (quota ? limits.processorsFile : std::string("scheduling affinity")));
    }
    return text;
}

void copyText(char* to, int64_t capacity, const std::string& text) {
    if (!to || capacity <= 0) return;
    const size_t n = std::min<size_t>(text.size(), static_cast<size_t>(capacity) - 1);
    std::memcpy(to, text.data(), n);
    to[n] = 0;
}

/// Memory for `bytes`, or nullptr. Large blocks begin at a huge page and ask for huge pages: a strip of a matrix walks many rows, and
/// with pages of 4 KiB each row is another entry of the TLB. A system that gives none gives what it has.
void* obtain(size_t bytes) {
    const bool large = bytes >= 4 * kHugePage;
    void* p = nullptr;
    if (posix_memalign(&p, large ? kHugePage : kAlignment, bytes ? bytes : 1)) return nullptr;
#ifdef MADV_HUGEPAGE
    if (large) madvise(p, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
    return p;
}

st_status allocate(st_device* device, std::unordered_map<void*, int64_t>& blocks, void** memory, int64_t bytes, const char* what) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (!memory) return device->fail(ST_INVALID_ARGUMENT, "%s: memory must not be NULL", what);
    *memory = nullptr;
    if (bytes < 0) return device->fail(ST_INVALID_ARGUMENT, "%s: bytes must not be negative, got %lld", what, (long long)bytes);
    void* p = obtain(static_cast<size_t>(bytes));
    if (!p) {
        return device->fail(ST_OUT_OF_MEMORY, "%s: no %lld bytes of host memory; a smaller batch or model needs less", what,
                            (long long)bytes);
    }
    try {
        blocks.emplace(p, bytes);
    } catch (const std::bad_alloc&) {
        std::free(p);
        return device->fail(ST_OUT_OF_MEMORY, "%s: no host memory", what);
    }
    device->allocations++;
    device->allocatedBytes += bytes;
    *memory = p;
    return ST_OK;
}

st_status release(st_device* device, std::unordered_map<void*, int64_t>& blocks, void* memory, const char* what, const char* from) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (!memory) return ST_OK;
    const auto block = blocks.find(memory);
    if (block == blocks.end()) {
        return device->fail(ST_INVALID_ARGUMENT, "%s: %p did not come from %s of this device or is already freed", what, memory, from);
    }
    device->allocatedBytes -= block->second;
    blocks.erase(block);
    std::free(memory);
    return ST_OK;
}

st_status transfer(st_device* device, void* to, const void* from, int64_t bytes, const char* what) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (bytes < 0) return device->fail(ST_INVALID_ARGUMENT, "%s: bytes must not be negative, got %lld", what, (long long)bytes);
    if (bytes == 0) return ST_OK;
    if (!to || !from) return device->fail(ST_INVALID_ARGUMENT, "%s: %s must not be NULL", what, to ? "from" : "to");
    const auto copy = [&](int64_t begin, int64_t end) {
        std::memmove(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin, end - begin);
    };
    const char *a = static_cast<const char*>(from), *b = static_cast<char*>(to);
    const bool apart = a + bytes <= b || b + bytes <= a;
    device->parallel(bytes, 1 << 20, apart && bytes >= (4 << 20), [&](int64_t begin, int64_t end, int32_t) { copy(begin, end); });
    return ST_OK;
}

}  // namespace

st_device::~st_device() {
    pool.reset();
    for (const auto& block : blocks) std::free(block.first);
    for (const auto& block : hostBlocks) std::free(block.first);
    std::free(threadScratch);
    std::free(commonScratch);
}

st_status st_device::fail(st_status status, const char* format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    std::vsnprintf(text, sizeof text, format, list);
    va_end(list);
    try {
        error = text;
    } catch (const std::bad_alloc&) {
        error.clear();
    }
    return status;
}

char* st_device::sharedScratch(int64_t bytes) {
    if (bytes > commonScratchBytes) {
        void* p = obtain(static_cast<size_t>(bytes + 4095) / 4096 * 4096);
        if (!p) {
            fail(ST_OUT_OF_MEMORY, "no %lld bytes of host memory for scratch", (long long)bytes);
            return nullptr;
        }
        std::free(commonScratch);
        commonScratch = static_cast<char*>(p);
        commonScratchBytes = bytes;
    }
    return commonScratch;
}

char* st_device::scratch(int64_t bytes) {
    const int64_t page = 4096;
    // one page more than a multiple of the cache way: the threads' buffers should not meet the same sets
    const int64_t each = (bytes + page - 1) / page * page + page;
    if (each > threadScratchBytes) {
        void* p = nullptr;
        if (posix_memalign(&p, page, each * pool->threads())) p = nullptr;
        if (!p) {
            fail(ST_OUT_OF_MEMORY, "no %lld bytes of host memory for scratch; fewer threads need less", (long long)each * pool->threads());
            return nullptr;
        }
        std::free(threadScratch);
        threadScratch = static_cast<char*>(p);
        threadScratchBytes = each;
        for (int32_t i = 0; i < pool->threads(); i++) std::memset(threadScratch + i * each, 0, 64);  // matmul keeps a header there
    }
    return threadScratch;
}

extern "C" {

int32_t st_abi_version(void) { return ST_ABI_VERSION; }

st_status st_device_open(st_device** device, int32_t ordinal, int32_t threads, char* error, int64_t capacity) {
    if (!device) {
        copyText(error, capacity, "device: must not be NULL");
        return ST_INVALID_ARGUMENT;
    }
    *device = nullptr;
    if (ordinal != 0) {
        copyText(error, capacity, "ordinal: the CPU is device 0, got " + std::to_string(ordinal));
        return ST_UNAVAILABLE;
    }
    if (threads < 0 || threads > kMostThreads) {
        copyText(error, capacity, "threads: expected 0 (one per core) to " + std::to_string(kMostThreads) + ", got " + std::to_string(threads));
        return ST_INVALID_ARGUMENT;
    }
    try {
        std::string reason;
        auto opened = std::make_unique<st_device>();
        opened->kernels = subtext::chooseKernels(&reason);
        if (!opened->kernels) {
            copyText(error, capacity, reason);
            return ST_INVALID_ARGUMENT;
        }
        if (!threads) threads = usualThreads();
        opened->pool = std::make_unique<subtext::Pool>(threads);
        *device = opened.release();
        copyText(error, capacity, "");
        return ST_OK;
    } catch (const std::system_error&) {
        copyText(error, capacity, "threads: the system gave no " + std::to_string(threads) + " threads; ask for fewer");
        return ST_DEVICE_ERROR;
    } catch (const std::bad_alloc&) {
        copyText(error, capacity, "no host memory");
        return ST_OUT_OF_MEMORY;
    }
}

st_status st_device_close(st_device* device) {
    delete device;
    return ST_OK;
}

const char* st_last_error(const st_device* device) { return device ? device->error.c_str() : ""; }

st_status st_device_property(st_device* device, int64_t* value, int32_t property) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (!value) return device->fail(ST_INVALID_ARGUMENT, "device_property: value must not be NULL");
    switch (property) {
        case ST_TOTAL_BYTES: *value = std::min(machineBytes(), subtext::readLimits().memory); return ST_OK;
        case ST_FREE_BYTES: *value = freeBytes(); return ST_OK;
        case ST_PROCESSORS: *value = device->pool->threads(); return ST_OK;
        case ST_COMPUTE_CAPABILITY:
        case ST_DRIVER_VERSION:
        case ST_RUNTIME_VERSION:
        case ST_IS_EMULATED: *value = 0; return ST_OK;
        case ST_ALLOCATIONS: *value = device->allocations; return ST_OK;
        case ST_ALLOCATED_BYTES: *value = device->allocatedBytes; return ST_OK;
    }
    return device->fail(ST_INVALID_ARGUMENT, "device_property: property %d is unknown", property);
}

st_status st_device_text(st_device* device, char* text, int64_t capacity, int32_t which) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (!text || capacity <= 0) return device->fail(ST_INVALID_ARGUMENT, "device_text: text needs room, got capacity %lld", (long long)capacity);
    switch (which) {
        case ST_TEXT_NAME: copyText(text, capacity, processorName()); return ST_OK;
        case ST_TEXT_PATH:
            copyText(text, capacity, device->kernels->name + (device->amx ? std::string("+") + device->amx->name : ""));
            return ST_OK;
        case ST_TEXT_BUILD: copyText(text, capacity, "C++ " __VERSION__); return ST_OK;
        case ST_TEXT_LIMITS: copyText(text, capacity, limitsText()); return ST_OK;
    }
    return device->fail(ST_INVALID_ARGUMENT, "device_text: which = %d is unknown", which);
}

st_status st_device_stream(st_device* device, void** stream) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (!stream) return device->fail(ST_INVALID_ARGUMENT, "device_stream: stream must not be NULL");
    *stream = nullptr;
    return ST_OK;
}

st_status st_device_matmul(st_device* device, int32_t unit) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (unit == ST_MATMUL_VECTOR) {
        device->amx = nullptr;
        return ST_OK;
    }
    if (unit != ST_MATMUL_AMX) return device->fail(ST_INVALID_ARGUMENT, "device_matmul: unit %d, expected ST_MATMUL_VECTOR or ST_MATMUL_AMX", unit);
    std::string reason;
    const subtext::AmxKernels* amx = subtext::chooseAmx(&reason);
    if (!amx) return device->fail(ST_UNSUPPORTED, "%s", reason.c_str());
    device->amx = amx;
    return ST_OK;
}

st_status st_alloc(st_device* device, void** memory, int64_t bytes) {
    return device ? allocate(device, device->blocks, memory, bytes, "alloc") : ST_INVALID_ARGUMENT;
}
st_status st_free(st_device* device, void* memory) {
    return device ? release(device, device->blocks, memory, "free", "st_alloc") : ST_INVALID_ARGUMENT;
}
st_status st_host_alloc(st_device* device, void** memory, int64_t bytes) {
    return device ? allocate(device, device->hostBlocks, memory, bytes, "host_alloc") : ST_INVALID_ARGUMENT;
}
st_status st_host_free(st_device* device, void* memory) {
    return device ? release(device, device->hostBlocks, memory, "host_free", "st_host_alloc") : ST_INVALID_ARGUMENT;
}
st_status st_upload(st_device* device, void* to, const void* host, int64_t bytes) { return transfer(device, to, host, bytes, "upload"); }
st_status st_download(st_device* device, void* host, const void* from, int64_t bytes) {
    return transfer(device, host, from, bytes, "download");
}
st_status st_copy(st_device* device, void* to, const void* from, int64_t bytes) { return transfer(device, to, from, bytes, "copy"); }

st_status st_synchronize(st_device* device) { return device ? ST_OK : ST_INVALID_ARGUMENT; }

st_status st_event_create(st_device* device, st_event** event) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (!event) return device->fail(ST_INVALID_ARGUMENT, "event_create: event must not be NULL");
    *event = nullptr;
    try {
        auto created = std::make_unique<st_event>();
        created->device = device;
        st_event* key = created.get();
        device->events.emplace(key, std::move(created));
        *event = key;
        return ST_OK;
    } catch (const std::bad_alloc&) {
        return device->fail(ST_OUT_OF_MEMORY, "event_create: no host memory");
    }
}

st_status st_event_record(st_device* device, st_event* event) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (!device->events.count(event)) return device->fail(ST_INVALID_ARGUMENT, "event_record: event is not one of this device");
    event->nanos = nowNanos();
    return ST_OK;
}

st_status st_event_elapsed(st_device* device, double* milliseconds, st_event* from, st_event* to) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (!milliseconds) return device->fail(ST_INVALID_ARGUMENT, "event_elapsed: milliseconds must not be NULL");
    for (st_event* event : {from, to}) {
        if (!device->events.count(event)) {
            return device->fail(ST_INVALID_ARGUMENT, "event_elapsed: %s is not an event of this device", event == from ? "from" : "to");
        }
        if (event->nanos < 0) {
            return device->fail(ST_INVALID_ARGUMENT, "event_elapsed: %s was never recorded", event == from ? "from" : "to");
        }
    }
    *milliseconds = static_cast<double>(to->nanos - from->nanos) * 1e-6;
    return ST_OK;
}

st_status st_event_free(st_device* device, st_event* event) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (!event) return ST_OK;
    if (!device->events.erase(event)) return device->fail(ST_INVALID_ARGUMENT, "event_free: event is not one of this device");
    return ST_OK;
}

st_status st_record_begin(st_device* device) {
    if (!device) return ST_INVALID_ARGUMENT;
    return device->fail(ST_UNSUPPORTED, "record_begin: the CPU does not record; run the code again instead of replaying");
}
st_status st_record_end(st_device* device, st_recording** recording) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (recording) *recording = nullptr;
    return device->fail(ST_UNSUPPORTED, "record_end: the CPU does not record");
}
st_status st_record_replay(st_device* device, st_recording*) {
    if (!device) return ST_INVALID_ARGUMENT;
    return device->fail(ST_UNSUPPORTED, "record_replay: the CPU does not record");
}
st_status st_record_free(st_device* device, st_recording* recording) {
    if (!device) return ST_INVALID_ARGUMENT;
    if (!recording) return ST_OK;
    return device->fail(ST_UNSUPPORTED, "record_free: the CPU does not record");
}

}  // extern "C"
