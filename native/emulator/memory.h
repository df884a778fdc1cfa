// Device and pinned memory of the emulator: poisoned when fresh, fenced on both sides, known by address.
#ifndef SUBTEXT_EMULATOR_MEMORY_H
#define SUBTEXT_EMULATOR_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include <string>

namespace emulator {

enum class Kind : uint8_t { device, pinned };

/// One allocation. Regions are never moved or deleted, so a stale pointer finds the record of what it once pointed to.
struct Region {
    unsigned char *base;
    size_t bytes;
    Kind kind;
    bool live;
};

/// Every byte of fresh memory: NaN in every floating type, -1 as an integer.
constexpr unsigned char poison = 0xff;
/// The gaps between a region and the pages nobody may touch.
constexpr unsigned char fence = 0xfb;

/// Memory aligned to 256 bytes, or null when there is none left.
void *allocate(size_t bytes, Kind kind);
/// False if `memory` is not the base of a live region of this kind.
bool release(void *memory, Kind kind);
/// The region in whose neighbourhood p lies, live or not; null for addresses the emulator did not hand out.
const Region *regionOf(const void *p);
/// True if p lies in the reserved range of device and pinned memory.
bool inArena(const void *p);
/// True if [p, p + bytes) lies in one live region.
bool inside(const void *p, size_t bytes);
/// What is wrong with an access to [p, p + bytes), in words; "" if nothing.
std::string complaint(const void *p, size_t bytes);
/// Damaged fences around live regions, in words; "" if there are none. The damage is reported once.
std::string damage();

size_t allocatedBytes();
size_t totalBytes();

}  // namespace emulator

#endif
