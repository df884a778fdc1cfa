// The checked library: every load and store of a kernel, with its bounds and its order.
//
// The kernels are compiled with -fsanitize=thread, which puts a call before every access; the calls land here and not in the
// sanitizer's own runtime. Two accesses to the same bytes by different threads, one of them a write, must be ordered:
//   in one block, by a barrier between them, or by __syncwarp for lanes of one warp (Lamport clocks per lane: Fidge 1988);
//   in different blocks of a launch, by a chain of atomics on common words (a clock per block).
// For every two bytes the last write and the last two readers are remembered, which finds all but contrived races.
#include <stdlib.h>
#include <sys/mman.h>

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "access.h"
#include "memory.h"

namespace emulator {
namespace {

/// Who, when. `launch` 0 is nobody.
struct Stamp {
    uint32_t launch, block;
    uint32_t epoch : 22, thread : 10;  // barriers the block has passed
    uint16_t clock;                    // of the lane, since the barrier
    uint16_t chain;                    // of the block: atomics so far
};
struct Cell {
    Stamp write, read[2];
};
constexpr size_t cellBytes = 2;  // memory per cell

using Chains = std::unordered_map<uint32_t, uint16_t>;  // by block: its atomics that are known to be over

struct State {
    uint32_t launch = 0, block = 0, epoch = 0;
    uint16_t clock[1024][32];  // by thread and lane: what the thread knows of that lane of its warp
    std::unordered_map<uint32_t, Chains> known;             // by block
    std::unordered_map<uint32_t, uint16_t> chain;           // by block
    std::unordered_map<const void *, Chains> published;     // by atomic word
    std::vector<Cell> dynamicShared, staticShared;
    std::unordered_map<uintptr_t, std::vector<Cell>> device;  // by page
};
State &state() {
    static State *const one = new State;
    return *one;
}

constexpr size_t page = 4096;

bool ordered(const Stamp &before, const Stamp &now, bool sameMemoryOfBlock) {
    State &s = state();
    if (before.launch != now.launch) return true;
    if (before.block != now.block) {
        if (sameMemoryOfBlock) return true;  // shared memory starts anew with every block
        const auto known = s.known.find(now.block);
        if (known == s.known.end()) return false;
        const auto chain = known->second.find(before.block);
        return chain != known->second.end() && chain->second > before.chain;
    }
    if (before.thread == now.thread || before.epoch != now.epoch) return true;
    return before.thread / 32 == now.thread / 32 && s.clock[now.thread][before.thread % 32] > before.clock;
}

[[noreturn]] void race(const Stamp &before, bool wrote, const void *p, size_t bytes, bool write, bool shared) {
    const char *now = write ? "writes" : "reads", *then = wrote ? "wrote" : "read";
    if (shared) {
        const auto *address = static_cast<const unsigned char *>(p);
        const bool dynamic = static_cast<size_t>(address - local.block->shared) < local.block->sharedBytes;
        fail(launchFailure, "race: %s %zu bytes at offset %lld of %s shared memory, which thread %u %s with no barrier between", now,
             bytes, static_cast<long long>(address - (dynamic ? local.block->shared : local.staticShared)),
             dynamic ? "dynamic" : "static", static_cast<unsigned>(before.thread), then);
    }
    const Region *region = regionOf(p);
    fail(launchFailure, "race: %s %zu bytes at offset %lld of %zu bytes of device memory, which thread %u of block %u %s with nothing between",
         now, bytes, static_cast<long long>(static_cast<const unsigned char *>(p) - region->base), region->bytes,
         static_cast<unsigned>(before.thread), before.block, then);
}

void touch(Cell &cell, const Stamp &now, const void *p, size_t bytes, bool write, bool shared) {
    if (!ordered(cell.write, now, shared)) race(cell.write, true, p, bytes, write, shared);
    if (write) {
        for (const Stamp &reader : cell.read)
            if (!ordered(reader, now, shared)) race(reader, false, p, bytes, write, shared);
        cell.write = now;
        return;
    }
    const Stamp &last = cell.read[0];
    if (last.launch != now.launch || last.block != now.block || last.thread != now.thread) cell.read[1] = last;
    cell.read[0] = now;
}

}  // namespace

void beginLaunch() {
    State &s = state();
    s.launch++;
    s.known.clear(), s.chain.clear(), s.published.clear();
    if (s.launch % 1024 == 0) s.device.clear();  // nothing before this launch matters
}

void beginBlock(uint64_t number) {
    State &s = state();
    s.block = static_cast<uint32_t>(number);
    s.epoch = 0;
    memset(s.clock, 0, sizeof s.clock);
}

void passedBarrier() {
    State &s = state();
    s.epoch++;
    memset(s.clock, 0, sizeof s.clock);
}

void passedSyncwarp(uint32_t mask) {
    State &s = state();
    auto *clock = s.clock + (local.thread->linear & ~31u);
    uint16_t joined[32] = {};
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        clock[lane][lane]++;
        for (int l = 0; l < 32; l++) joined[l] = std::max(joined[l], clock[lane][l]);
    }
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) memcpy(clock[__builtin_ctz(rest)], joined, sizeof joined);
}

void follow(const Thread &thread, const void *p, size_t bytes, bool write) {
    if (bytes < cellBytes) return;  // neighbouring bytes share a cell
    State &s = state();
    const auto *address = static_cast<const unsigned char *>(p);
    std::vector<Cell> *cells;
    size_t first;
    bool shared = true;
    if (inArena(p)) {
        if (regionOf(p) == nullptr || regionOf(p)->kind != Kind::device) return;
        shared = false;
        const auto number = reinterpret_cast<uintptr_t>(p);
        cells = &s.device[number / page];
        if (cells->empty()) cells->resize(page / cellBytes);
        if (number % page + bytes > page) {  // accesses of more than an element may reach the next page
            const size_t here = page - number % page;
            follow(thread, p, here, write);
            return follow(thread, address + here, bytes - here, write);
        }
        first = number % page;
    } else if (static_cast<size_t>(address - local.block->shared) < local.block->sharedBytes) {
        cells = &s.dynamicShared;
        first = static_cast<size_t>(address - local.block->shared);
    } else if (static_cast<size_t>(address - local.staticShared) < local.staticSharedBytes) {
        cells = &s.staticShared;
        first = static_cast<size_t>(address - local.staticShared);
    } else {
        return;
    }
    if (cells->size() * cellBytes < first + bytes) cells->resize((first + bytes) / cellBytes + page);
    Stamp now = {};
    now.launch = s.launch, now.block = s.block, now.epoch = s.epoch, now.thread = thread.linear & 1023u;
    now.clock = s.clock[thread.linear][laneOf(thread)];
    const auto chain = s.chain.find(s.block);
    now.chain = chain == s.chain.end() ? 0 : chain->second;
    for (size_t c = first / cellBytes; c < (first + bytes) / cellBytes; c++) touch((*cells)[c], now, p, bytes, write, shared);
}

/// What a block did before an atomic is known to whoever comes to the same word later.
void followAtomic(const void *p) {
    if (local.thread == nullptr || !inArena(p)) return;
    State &s = state();
    Chains &known = s.known[s.block], &published = s.published[p];
    for (const auto &each : published) known[each.first] = std::max(known[each.first], each.second);
    known[s.block] = ++s.chain[s.block];
    for (const auto &each : known) published[each.first] = std::max(published[each.first], each.second);
}

}  // namespace emulator

// ---- what -fsanitize=thread calls ------------------------------------------------------------------------------------

namespace {

inline void access(const void *p, size_t bytes, size_t alignment, bool write) {
    using namespace emulator;
    if (local.thread == nullptr) return;  // host code
    if (static_cast<size_t>(static_cast<const unsigned char *>(p) - reinterpret_cast<unsigned char *>(&local)) < sizeof local) return;
    const bool shared = static_cast<size_t>(static_cast<const unsigned char *>(p) - local.block->shared) < local.block->sharedBytes;
    const bool ours = static_cast<size_t>(static_cast<const unsigned char *>(p) - local.staticShared) < local.staticSharedBytes;
    if (!shared && !ours && !inArena(p)) return;
    check(p, bytes, alignment, write);
    follow(*local.thread, p, bytes, write);
}

}  // namespace

#pragma GCC visibility push(hidden)
extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void *, void *) {}
void __tsan_vptr_read(void *) {}
void __tsan_read1(void *p) { access(p, 1, 1, false); }
void __tsan_read2(void *p) { access(p, 2, 2, false); }
void __tsan_read4(void *p) { access(p, 4, 4, false); }
void __tsan_read8(void *p) { access(p, 8, 4, false); }   // a pair of words is not wider than its alignment
void __tsan_read16(void *p) { access(p, 16, 4, false); }
void __tsan_write1(void *p) { access(p, 1, 1, true); }
void __tsan_write2(void *p) { access(p, 2, 2, true); }
void __tsan_write4(void *p) { access(p, 4, 4, true); }
void __tsan_write8(void *p) { access(p, 8, 4, true); }
void __tsan_write16(void *p) { access(p, 16, 4, true); }
void __tsan_read_range(void *p, size_t bytes) { access(p, bytes, 1, false); }
void __tsan_write_range(void *p, size_t bytes) { access(p, bytes, 1, true); }
void __tsan_atomic_thread_fence(int order) { __atomic_thread_fence(order); }
void __tsan_atomic_signal_fence(int) {}
}
#pragma GCC visibility pop
