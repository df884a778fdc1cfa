// A range of addresses is reserved once. Each region has granules of 64 KB to itself and at least one page behind it that cannot be
// touched; its end lies at a page's end up to alignment, and the gaps before and behind are fenced with a pattern.
#include "memory.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

namespace emulator {
namespace {

constexpr size_t granule = 64 * 1024, page = 4096, alignment = 256, mostRegions = size_t{1} << 24;

template <typename T>
T *reserve(size_t count, int protection) {
    void *range = mmap(nullptr, count * sizeof(T), protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return range == MAP_FAILED ? nullptr : static_cast<T *>(range);
}

struct Arena {
    unsigned char *base = nullptr;
    size_t bytes = 0;
    uint32_t *owner = nullptr;  // by granule: index of its region plus one
    size_t used = 0;            // granules handed out so far
    std::multimap<size_t, size_t> spare;  // granules of freed regions: count to first
    Region *regions = nullptr;  // reserved once, so that look-ups need no lock
    size_t count = 0;
    std::set<Region *> live;
    size_t allocated = 0, total = 0;
    std::mutex mutex;

    Arena() {
        total = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE)) / 2;
        for (bytes = size_t{1} << 38; bytes >= size_t{1} << 32; bytes /= 2) {
            base = reserve<unsigned char>(bytes, PROT_NONE);
            if (base == nullptr) continue;
            owner = reserve<uint32_t>(bytes / granule, PROT_READ | PROT_WRITE);
            regions = reserve<Region>(mostRegions, PROT_READ | PROT_WRITE);
            break;
        }
        if (owner == nullptr || regions == nullptr) bytes = 0, total = 0;
    }

    size_t take(size_t count) {  // the first of `count` granules in a row, or SIZE_MAX
        if (used + count <= bytes / granule) {
            used += count;
            return used - count;
        }
        const auto fit = spare.lower_bound(count);  // freed addresses come back only when fresh ones are gone
        if (fit == spare.end()) return SIZE_MAX;
        const size_t first = fit->second, left = fit->first - count;
        spare.erase(fit);
        if (left > 0) spare.emplace(left, first + count);
        return first;
    }
};

Arena &arena() {
    static Arena *const one = new Arena;  // never destroyed: threads may outlive static destruction
    return *one;
}

size_t roundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

/// The accessible pages of a region: [first, last).
struct Pages {
    unsigned char *first, *last;
};
Pages pagesOf(const Region &region) {
    unsigned char *last = region.base + roundUp(region.bytes, alignment);
    const size_t before = static_cast<size_t>(region.base - arena().base) % page;
    return {region.base - before, last};
}

std::string describe(const Region &region) {
    char text[128];
    snprintf(text, sizeof text, "%zu bytes of %s memory at %p", region.bytes,
             region.kind == Kind::device ? "device" : "pinned host", static_cast<void *>(region.base));
    return text;
}

}  // namespace

void *allocate(size_t bytes, Kind kind) {
    Arena &a = arena();
    const std::lock_guard<std::mutex> lock(a.mutex);
    if (bytes == 0 || a.count == mostRegions || bytes > a.total - std::min(a.total, a.allocated)) return nullptr;
    const size_t body = roundUp(roundUp(bytes, alignment), page);
    const size_t count = roundUp(body + page, granule) / granule;  // a page that cannot be touched ends every region
    const size_t first = a.take(count);
    if (first == SIZE_MAX) return nullptr;
    unsigned char *start = a.base + first * granule;
    if (mprotect(start, body, PROT_READ | PROT_WRITE) != 0) return nullptr;
    unsigned char *base = start + body - roundUp(bytes, alignment);
    memset(start, fence, static_cast<size_t>(base - start));
    memset(base, poison, bytes);
    memset(base + bytes, fence, static_cast<size_t>(start + body - (base + bytes)));
    a.regions[a.count] = {base, bytes, kind, true};
    a.live.insert(&a.regions[a.count++]);
    for (size_t g = first; g < first + count; g++) a.owner[g] = static_cast<uint32_t>(a.count);
    a.allocated += bytes;
    return base;
}

bool release(void *memory, Kind kind) {
    Arena &a = arena();
    Region *region = const_cast<Region *>(regionOf(memory));
    const std::lock_guard<std::mutex> lock(a.mutex);
    if (region == nullptr || region->base != memory || !region->live || region->kind != kind) return false;
    const Pages pages = pagesOf(*region);
    region->live = false;
    a.live.erase(region);
    a.allocated -= region->bytes;
    const size_t body = static_cast<size_t>(pages.last - pages.first);
    madvise(pages.first, body, MADV_DONTNEED);
    mprotect(pages.first, body, PROT_NONE);  // a use after free faults until the addresses are needed again
    a.spare.emplace(roundUp(body + page, granule) / granule, static_cast<size_t>(pages.first - a.base) / granule);
    return true;
}

bool inArena(const void *p) {
    const Arena &a = arena();
    return static_cast<size_t>(static_cast<const unsigned char *>(p) - a.base) < a.bytes;
}

const Region *regionOf(const void *p) {
    const Arena &a = arena();
    if (!inArena(p)) return nullptr;
    const uint32_t owner = a.owner[static_cast<size_t>(static_cast<const unsigned char *>(p) - a.base) / granule];
    return owner == 0 ? nullptr : &a.regions[owner - 1];
}

bool inside(const void *p, size_t bytes) {
    const Region *region = regionOf(p);
    if (region == nullptr || !region->live) return false;
    const size_t offset = static_cast<size_t>(static_cast<const unsigned char *>(p) - region->base);
    return offset <= region->bytes && bytes <= region->bytes - offset;
}

std::string complaint(const void *p, size_t bytes) {
    if (inside(p, bytes)) return "";
    char text[192];
    const Region *region = regionOf(p);
    const Region *above = regionOf(static_cast<const unsigned char *>(p) + granule);  // p may lie just before its start
    if (above != nullptr && above->live && above->base > p &&
        (region == nullptr || !region->live || above->base - static_cast<const unsigned char *>(p) < static_cast<ptrdiff_t>(page)))
        region = above;
    if (region == nullptr) {
        snprintf(text, sizeof text, "%zu bytes at %p are neither device nor pinned memory", bytes, p);
        return text;
    }
    const long long offset = static_cast<const unsigned char *>(p) - region->base;
    snprintf(text, sizeof text, "%zu bytes at offset %lld of ", bytes, offset);
    return text + describe(*region) + (region->live ? "" : ", which has been freed");
}

std::string damage() {
    Arena &a = arena();
    const std::lock_guard<std::mutex> lock(a.mutex);
    for (const Region *each : a.live) {
        const Region &region = *each;
        const Pages pages = pagesOf(region);
        const auto damaged = [&](unsigned char *from, unsigned char *to) {
            unsigned char *hit = std::find_if(from, to, [](unsigned char c) { return c != fence; });
            if (hit == to) return std::string();
            char text[96];
            snprintf(text, sizeof text, "something was written at offset %lld of ", static_cast<long long>(hit - region.base));
            std::fill(from, to, fence);
            return text + describe(region);
        };
        std::string text = damaged(pages.first, region.base);
        if (text.empty()) text = damaged(region.base + region.bytes, pages.last);
        if (!text.empty()) return text;
    }
    return "";
}

size_t allocatedBytes() { return arena().allocated; }
size_t totalBytes() { return arena().total; }

}  // namespace emulator
