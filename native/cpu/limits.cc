// Control groups as Linux shows them: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,cpu}, proc_pid_mountinfo(5).
#include "limits.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

namespace subtext {

namespace {

constexpr size_t kLargestFile = 4u << 20;  // a machine of containers has thousands of mounts
constexpr size_t kLongestPath = 4096;      // PATH_MAX

std::string contentOf(const std::string& path) {
    std::string text;
    std::ifstream file(path, std::ios::binary);
    char piece[4096];
    while (text.size() < kLargestFile && (file.read(piece, sizeof piece), file.gcount() > 0)) text.append(piece, file.gcount());
    return text;
}

std::vector<std::string> parts(const std::string& text, char at) {
    std::vector<std::string> found;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, at);) found.push_back(part);
    return found;
}

/// A count in decimal; kNoLimit for "max", -1, what is no number, and what is beyond int64_t.
int64_t number(const std::string& text) {
    const size_t end = std::min(text.find_first_of(" \n"), text.size());
    int64_t value = 0;
    for (size_t i = 0; i < end; i++) {
        const int64_t digit = text[i] - '0';
        if (digit < 0 || digit > 9 || value > (INT64_MAX - digit) / 10) return kNoLimit;
        value = value * 10 + digit;
    }
    return end ? value : kNoLimit;
}

/// The number behind `key` in lines of "key number"; kNoLimit if there is none.
int64_t numberOf(const std::string& key, const std::string& lines) {
    for (const std::string& line : parts(lines, '\n')) {
        if (line.compare(0, key.size() + 1, key + " ") != 0) continue;
        return number(line.substr(std::min(line.find_first_not_of(' ', key.size()), line.size())));
    }
    return kNoLimit;
}

/// The bytes behind `key` in /proc/meminfo, which counts in kB of 1024.
int64_t bytesOf(const std::string& key, const std::string& meminfo) {
    const int64_t kibibytes = numberOf(key, meminfo);
    return kibibytes > INT64_MAX / 1024 ? kNoLimit : kibibytes * 1024;
}

/// Space, tab, newline and backslash stand in mountinfo as \040 and so on.
std::string unescaped(const std::string& text) {
    std::string out;
    const auto octal = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '7'; };
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
            out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
            i += 3;
        } else {
            out += text[i];
        }
    }
    return out;
}

/// Of version 2 (controller "") or of one controller of version 1: which lines of /proc/self/cgroup and which mounts are its own.
struct Hierarchy {
    std::string controller;
    std::vector<std::string> usual;  // where it is mounted if mountinfo does not say
};

struct Mount {
    std::string root, point;  // the folder of the hierarchy that is mounted, and where
};

/// The group this process is in; "" if unknown. Lines are "5:cpu,cpuacct:/path" and "0::/path".
std::string groupOf(const Hierarchy& hierarchy, const std::string& cgroup) {
    for (const std::string& line : parts(cgroup, '\n')) {
        const size_t first = line.find(':');
        const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::vector<std::string> controllers = parts(line.substr(first + 1, second - first - 1), ',');
        const bool ours = hierarchy.controller.empty()
                              ? controllers.empty()
                              : std::find(controllers.begin(), controllers.end(), hierarchy.controller) != controllers.end();
        if (ours) return line.substr(second + 1);
    }
    return "";
}

/// Lines are "id parent device root point options [tag ...] - type source options".
std::vector<Mount> mountsOf(const Hierarchy& hierarchy, const std::string& mountinfo) {
    std::vector<Mount> found;
    for (const std::string& line : parts(mountinfo, '\n')) {
        const std::vector<std::string> field = parts(line, ' ');
        const size_t dash = std::find(field.begin(), field.end(), "-") - field.begin();
        if (dash < 6 || dash + 3 >= field.size()) continue;
        const std::vector<std::string> options = parts(field[dash + 3], ',');
        const bool ours = hierarchy.controller.empty()
                              ? field[dash + 1] == "cgroup2"
                              : field[dash + 1] == "cgroup" && std::find(options.begin(), options.end(), hierarchy.controller) != options.end();
        if (ours) found.push_back({unescaped(field[3]), unescaped(field[4])});
    }
    if (found.empty()) {
        for (const std::string& point : hierarchy.usual) found.push_back({"/", point});
    }
    return found;
}

/// Whether a group lies in the part of the hierarchy that is mounted, and where below the mount.
bool below(const Mount& mount, const std::string& group, std::string* rest) {
    const std::string root = mount.root == "/" ? "" : mount.root;
    if (group.compare(0, root.size(), root) != 0) return false;
    *rest = group.substr(root.size());
    while (!rest->empty() && rest->back() == '/') rest->pop_back();
    // "/../x" is a group outside of the namespace, which nothing here leads to
    return rest->size() <= kLongestPath && (rest->empty() || rest->front() == '/') && (*rest + "/").find("/../") == std::string::npos;
}

/// Calls f(folder) for the group of this process and all above it that are mounted, innermost first.
template <class F>
void forGroups(const Hierarchy& hierarchy, const std::string& cgroup, const std::string& mountinfo, F f) {
    const std::string group = groupOf(hierarchy, cgroup);
    const std::vector<Mount> mounts = mountsOf(hierarchy, mountinfo);
    bool found = false;
    for (const Mount& mount : mounts) {
        std::string rest;
        if (!below(mount, group, &rest)) continue;
        found = true;
        for (;; rest.erase(rest.rfind('/'))) {
            f(mount.point + rest);
            if (rest.empty()) break;
        }
    }
    // a container may be told its path outside, while what is mounted inside is its own group
    if (!found && !mounts.empty()) f(mounts.front().point);
}

/// The names that the two versions have for the same.
struct MemoryFiles {
    const char *limit, *used, *unusedCache;
};

void readMemory(Limits& limits, const std::string& root, const std::string& folder, const MemoryFiles& files) {
    const std::string file = folder + "/" + files.limit;
    const int64_t limit = number(contentOf(root + file));
    if (limit == kNoLimit) return;
    if (limit < limits.memory) {
        limits.memory = limit;
        limits.memoryFile = file;
    }
    int64_t used = number(contentOf(root + folder + "/" + files.used));
    if (used == kNoLimit) used = 0;
    // the kernel drops these before it kills; files in active use are counted as taken
    int64_t cache = numberOf(files.unusedCache, contentOf(root + folder + "/memory.stat"));
    if (cache == kNoLimit) cache = 0;
    limits.freeMemory = std::min(limits.freeMemory, std::max<int64_t>(0, limit - (used - std::min(cache, used))));
}

void readQuota(Limits& limits, const std::string& file, int64_t quota, int64_t period) {
    if (quota == kNoLimit || period == kNoLimit || period == 0) return;
    const int64_t processors = std::max<int64_t>(1, quota / period + (quota % period != 0));
    if (processors >= limits.processors) return;
    limits.processors = processors;
    limits.processorsFile = file;
}

}  // namespace

Limits readLimits(const std::string& root) {
    const Hierarchy unified = {"", {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}};
    const Hierarchy memory = {"memory", {"/sys/fs/cgroup/memory"}};
    const Hierarchy cpu = {"cpu", {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}};
    const std::string cgroup = contentOf(root + "/proc/self/cgroup"), mountinfo = contentOf(root + "/proc/self/mountinfo");
    Limits limits;
    forGroups(unified, cgroup, mountinfo, [&](const std::string& folder) {
        readMemory(limits, root, folder, {"memory.max", "memory.current", "inactive_file"});
        const std::string file = folder + "/cpu.max", quota = contentOf(root + file);
        const size_t space = quota.find(' ');
        if (space != std::string::npos) readQuota(limits, file, number(quota), number(quota.substr(space + 1)));
    });
    // (version 1 writes "no limit" as a number near 2^63, which is never the least)
    forGroups(memory, cgroup, mountinfo, [&](const std::string& folder) {
        readMemory(limits, root, folder, {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"});
    });
    forGroups(cpu, cgroup, mountinfo, [&](const std::string& folder) {
        const std::string file = folder + "/cpu.cfs_quota_us";
        readQuota(limits, file, number(contentOf(root + file)), number(contentOf(root + folder + "/cpu.cfs_period_us")));
    });
    return limits;
}

int64_t availableMemory(const std::string& root) {
    const std::string meminfo = contentOf(root + "/proc/meminfo");
    int64_t available = bytesOf("MemAvailable:", meminfo);
    if (number(contentOf(root + "/proc/sys/vm/overcommit_memory")) == 2) {
        const int64_t limit = bytesOf("CommitLimit:", meminfo), promised = bytesOf("Committed_AS:", meminfo);
        if (limit != kNoLimit && promised != kNoLimit) available = std::min(available, std::max<int64_t>(0, limit - promised));
    }
    return available;
}

int64_t addressSpaceLimit() {
    rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > static_cast<rlim_t>(kNoLimit)) return kNoLimit;
    return static_cast<int64_t>(limit.rlim_cur);
}

int64_t addressSpaceLeft() {
    const int64_t limit = addressSpaceLimit(), pages = number(contentOf("/proc/self/statm"));
    if (limit == kNoLimit || pages == kNoLimit) return limit;
    return std::max<int64_t>(0, limit - pages * sysconf(_SC_PAGESIZE));
}

int64_t schedulableProcessors() {
#if defined(__linux__)
    // the kernel refuses a mask that is smaller than its own
    for (int bits = CPU_SETSIZE; bits <= 1 << 16; bits *= 2) {
        cpu_set_t* mask = CPU_ALLOC(bits);
        if (!mask) break;
        const size_t bytes = CPU_ALLOC_SIZE(bits);
        const bool known = sched_getaffinity(0, bytes, mask) == 0;
        const bool larger = !known && errno == EINVAL;
        const int count = known ? CPU_COUNT_S(bytes, mask) : 0;
        CPU_FREE(mask);
        if (count > 0) return count;
        if (!larger) break;
    }
#endif
    return std::max<int64_t>(1, std::thread::hardware_concurrency());
}

}  // namespace subtext
