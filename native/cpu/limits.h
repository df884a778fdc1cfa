// What the groups of processes (cgroups) that this process is in may take. A container's memory and processors are those of its group and
// of every group above it, and /proc/meminfo and the number of cores tell nothing of them.
#ifndef SUBTEXT_CPU_LIMITS_H
#define SUBTEXT_CPU_LIMITS_H

#include <cstdint>
#include <string>

namespace subtext {

/// What a limit is that is not there.
constexpr int64_t kNoLimit = INT64_MAX;

struct Limits {
    int64_t memory = kNoLimit;  // bytes: the least limit
    std::string memoryFile;     // that states it
    int64_t freeMemory = kNoLimit;  // bytes: the least of limit - used + file cache that is not in use, over all groups with a limit
    int64_t processors = kNoLimit;  // the least quota of processor time, rounded up to whole processors, at least 1
    std::string processorsFile;
};

/// Reads /proc/self/cgroup, /proc/self/mountinfo and the groups' files, of version 1 and 2, below `root`: "" but in tests. What is
/// missing or makes no sense limits nothing.
Limits readLimits(const std::string& root = "");

/// Bytes that can be had without pushing anybody out, as /proc/meminfo below `root` says: free pages and those of files that can be read
/// again; where the system promises no more than it has (vm.overcommit_memory = 2), at most what is left to promise. kNoLimit if unknown.
int64_t availableMemory(const std::string& root = "");

/// Bytes of address space that a limit of this process (ulimit -v) leaves, and the limit itself; kNoLimit without one.
int64_t addressSpaceLeft();
int64_t addressSpaceLimit();

/// Processors that the scheduler may run this thread on, at least 1.
int64_t schedulableProcessors();

}  // namespace subtext

#endif
