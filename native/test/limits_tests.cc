// Limits of control groups, read from made-up trees of files: what a container is given, of both versions and at every level, and what
// is missing, empty or nonsense, which must limit nothing and end in no failure.
//
//   limits_tests             makes its trees in TMPDIR and removes them
//   limits_tests --here      prints what limits this process
// Exit status: 0 if all passed, 1 if any failed.
#include <sched.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "limits.h"

namespace fs = std::filesystem;
using subtext::kNoLimit;
using subtext::Limits;

namespace {

int passed = 0, failed = 0;
fs::path base;

/// A root folder with what the kernel would show of itself in it.
class Tree {
  public:
    explicit Tree(const std::string& name) : name_(name), root_(base / std::to_string(count_++)) { fs::create_directories(root_); }

    Tree& file(const std::string& path, const std::string& text) {
        const fs::path at = root_.string() + path;
        fs::create_directories(at.parent_path());
        std::ofstream(at, std::ios::binary) << text;
        return *this;
    }
    Tree& folder(const std::string& path) {
        fs::create_directories(root_.string() + path);
        return *this;
    }
    Tree& group(const std::string& cgroup) { return file("/proc/self/cgroup", cgroup); }
    Tree& mounts(const std::string& mountinfo) { return file("/proc/self/mountinfo", mountinfo); }
    /// Version 2: limit, used and cache of a group.
    Tree& memory(const std::string& folder, const std::string& most, int64_t used, int64_t cache) {
        return file(folder + "/memory.max", most + "\n")
            .file(folder + "/memory.current", std::to_string(used) + "\n")
            .file(folder + "/memory.stat", "anon 7\nfile 99\nactive_file 55\ninactive_file " + std::to_string(cache) + "\nslab 3\n");
    }
    /// Version 1.
    Tree& memory1(const std::string& folder, const std::string& most, int64_t used, int64_t cache) {
        return file(folder + "/memory.limit_in_bytes", most + "\n")
            .file(folder + "/memory.usage_in_bytes", std::to_string(used) + "\n")
            .file(folder + "/memory.stat", "cache 1\ninactive_file 1\ntotal_cache 2\ntotal_inactive_file " + std::to_string(cache) + "\n");
    }

    std::string root() const { return root_.string(); }
    Limits read() const { return subtext::readLimits(root_.string()); }

    void limits(int64_t memory, const std::string& memoryFile, int64_t freeMemory, int64_t processors, const std::string& processorsFile) const {
        const Limits got = read();
        const bool right = got.memory == memory && got.memoryFile == memoryFile && got.freeMemory == freeMemory && got.processors == processors &&
                           got.processorsFile == processorsFile;
        (right ? passed : failed)++;
        if (right) return;
        const auto print = [](const char* what, const Limits& l) {
            std::printf("     %s memory %lld by '%s', free %lld, processors %lld by '%s'\n", what, (long long)l.memory, l.memoryFile.c_str(),
                        (long long)l.freeMemory, (long long)l.processors, l.processorsFile.c_str());
        };
        std::printf("FAIL %s\n", name_.c_str());
        print("want", {memory, memoryFile, freeMemory, processors, processorsFile});
        print("got ", got);
    }
    void memoryIs(int64_t memory, const std::string& file, int64_t freeMemory) const { limits(memory, file, freeMemory, kNoLimit, ""); }
    void processorsAre(int64_t processors, const std::string& file) const { limits(kNoLimit, "", kNoLimit, processors, file); }
    void unlimited() const { limits(kNoLimit, "", kNoLimit, kNoLimit, ""); }

  private:
    static int count_;
    std::string name_;
    fs::path root_;
};
int Tree::count_ = 0;

const std::string kMount2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const std::string kMount1 =
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

void version2() {
    const std::string at = "/sys/fs/cgroup";
    Tree("the root group has no limit").group("0::/\n").mounts(kMount2).file(at + "/cgroup.controllers", "cpu memory\n").unlimited();
    Tree("a container sees its group as the root").group("0::/\n").mounts(kMount2).memory(at, "1000", 300, 100)
        .memoryIs(1000, at + "/memory.max", 800);
    Tree("the group itself").group("0::/a/b\n").mounts(kMount2).memory(at + "/a/b", "1000", 300, 0).memory(at + "/a", "max", 900, 0)
        .memoryIs(1000, at + "/a/b/memory.max", 700);
    Tree("a group above").group("0::/a/b\n").mounts(kMount2).memory(at + "/a/b", "max", 300, 0).memory(at + "/a", "5000", 900, 50)
        .memoryIs(5000, at + "/a/memory.max", 4150);
    Tree("the largest limit is the tightest where others have used it up").group("0::/a/b\n").mounts(kMount2)
        .memory(at + "/a/b", "1000", 0, 0).memory(at + "/a", "5000", 4900, 0).memoryIs(1000, at + "/a/b/memory.max", 100);
    Tree("above a group without files").group("0::/a/b/c\n").mounts(kMount2).folder(at + "/a/b/c").memory(at + "/a", "5000", 0, 0)
        .memoryIs(5000, at + "/a/memory.max", 5000);
    Tree("a group that is gone").group("0::/a/b (deleted)\n").mounts(kMount2).memory(at + "/a", "5000", 0, 0)
        .memoryIs(5000, at + "/a/memory.max", 5000);
    Tree("beyond the limit nothing is free").group("0::/a\n").mounts(kMount2).memory(at + "/a", "1000", 1200, 100)
        .memoryIs(1000, at + "/a/memory.max", 0);
    Tree("no more cache than is used").group("0::/a\n").mounts(kMount2).memory(at + "/a", "1000", 200, 900)
        .memoryIs(1000, at + "/a/memory.max", 1000);
    Tree("limit 0").group("0::/a\n").mounts(kMount2).memory(at + "/a", "0", 0, 0).memoryIs(0, at + "/a/memory.max", 0);
    Tree("only the limit can be read").group("0::/a\n").mounts(kMount2).file(at + "/a/memory.max", "1000").memoryIs(1000, at + "/a/memory.max", 1000);
    Tree("a colon in the name").group("0::/a:b\n").mounts(kMount2).memory(at + "/a:b", "1000", 0, 0).memoryIs(1000, at + "/a:b/memory.max", 1000);
    Tree("a space in the mount point").group("0::/a\n").mounts("30 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n")
        .memory("/my groups/a", "1000", 0, 0).memoryIs(1000, "/my groups/a/memory.max", 1000);
    Tree("a part of the hierarchy is mounted").group("0::/pod/a\n").mounts("30 23 0:26 /pod /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
        .memory(at + "/a", "1000", 0, 0).memory(at, "3000", 2500, 0).memoryIs(1000, at + "/a/memory.max", 500);
    Tree("the path outside, the group inside").group("0::/docker/77\n").mounts("30 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
        .memory(at, "3000", 0, 0).memoryIs(3000, at + "/memory.max", 3000);
    Tree("a name that only begins alike is another group").group("0::/podium/a\n")
        .mounts("30 23 0:26 /pod /other rw - cgroup2 cgroup2 rw\n" + kMount2)
        .memory("/other", "10", 0, 0).memory("/other/ium/a", "10", 0, 0).memory(at + "/podium", "1000", 0, 0)
        .memoryIs(1000, at + "/podium/memory.max", 1000);
    Tree("outside of the namespace").group("0::/../b\n").mounts(kMount2).memory(at, "1000", 0, 0).memory("/sys/fs/b", "10", 0, 0)
        .memoryIs(1000, at + "/memory.max", 1000);

    Tree("two processors and a half are three").group("0::/a\n").mounts(kMount2).file(at + "/a/cpu.max", "250000 100000\n")
        .processorsAre(3, at + "/a/cpu.max");
    Tree("two are two").group("0::/a\n").mounts(kMount2).file(at + "/a/cpu.max", "200000 100000\n").processorsAre(2, at + "/a/cpu.max");
    Tree("a tenth is one").group("0::/a\n").mounts(kMount2).file(at + "/a/cpu.max", "1000 10000\n").processorsAre(1, at + "/a/cpu.max");
    Tree("the least on the way up").group("0::/a/b\n").mounts(kMount2).file(at + "/a/cpu.max", "200000 100000\n")
        .file(at + "/a/b/cpu.max", "800000 100000\n").processorsAre(2, at + "/a/cpu.max");
    Tree("no quota").group("0::/a\n").mounts(kMount2).file(at + "/a/cpu.max", "max 100000\n").unlimited();
    Tree("both at once").group("0::/a\n").mounts(kMount2).memory(at + "/a", "1000", 1, 0).file(at + "/a/cpu.max", "150000 100000\n")
        .limits(1000, at + "/a/memory.max", 999, 2, at + "/a/cpu.max");
}

void version1() {
    const std::string memory = "/sys/fs/cgroup/memory", cpu = "/sys/fs/cgroup/cpu,cpuacct";
    const std::string none = "9223372036854771712";
    const std::string group = "9:name=systemd:/\n4:memory:/docker/77\n2:cpu,cpuacct:/docker/77\n0::/\n";
    Tree("a number near 2^63 is not the least").group(group).mounts(kMount1).memory1(memory + "/docker/77", none, 100, 0)
        .memory1(memory, none, 100, 0).memory1(memory + "/docker", "7000", 3000, 500).memoryIs(7000, memory + "/docker/memory.limit_in_bytes", 4500);
    Tree("mounted as a container's root").group(group)
        .mounts("35 31 0:32 /docker/77 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n")
        .memory1(memory, "1000", 300, 100).memoryIs(1000, memory + "/memory.limit_in_bytes", 800);
    Tree("quota").group(group).mounts(kMount1).file(cpu + "/docker/77/cpu.cfs_quota_us", "150000\n")
        .file(cpu + "/docker/77/cpu.cfs_period_us", "100000\n").processorsAre(2, cpu + "/docker/77/cpu.cfs_quota_us");
    Tree("no quota").group(group).mounts(kMount1).file(cpu + "/docker/77/cpu.cfs_quota_us", "-1\n")
        .file(cpu + "/docker/77/cpu.cfs_period_us", "100000\n").unlimited();
    Tree("cpuset is not cpu").group("3:cpuset:/x\n4:memory:/\n").mounts("34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n")
        .file("/sys/fs/cgroup/cpuset/x/cpu.cfs_quota_us", "1000\n").file("/sys/fs/cgroup/cpuset/x/cpu.cfs_period_us", "100000\n").unlimited();
    Tree("both versions side by side").group("4:memory:/a\n0::/b\n")
        .mounts(kMount1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n").memory1(memory + "/a", "2000", 0, 0)
        .file("/sys/fs/cgroup/unified/b/cpu.max", "100000 100000\n")
        .limits(2000, memory + "/a/memory.limit_in_bytes", 2000, 1, "/sys/fs/cgroup/unified/b/cpu.max");
}

void whatIsWrongLimitsNothing() {
    const std::string at = "/sys/fs/cgroup";
    Tree("an empty root").unlimited();
    Tree("empty files").group("").mounts("").unlimited();
    Tree("the mount is not told: the usual points").group("4:memory:/a\n1:cpu:/a\n0::/b\n").memory(at + "/b", "1000", 0, 0)
        .memory1(at + "/memory/a", "900", 0, 0).file(at + "/cpu/a/cpu.cfs_quota_us", "1").file(at + "/cpu/a/cpu.cfs_period_us", "1000")
        .limits(900, at + "/memory/a/memory.limit_in_bytes", 900, 1, at + "/cpu/a/cpu.cfs_quota_us");
    Tree("the group is not told: that of the mount").mounts(kMount2).memory(at, "1000", 0, 0).memoryIs(1000, at + "/memory.max", 1000);
    Tree("the path is not there").group("0::/a/b/c\n").mounts(kMount2).unlimited();
    Tree("the mount is not there").group("0::/a\n").mounts("30 23 0:26 / /nowhere rw - cgroup2 cgroup2 rw\n").unlimited();
    for (const char* wrong : {"", "\n", " ", "max", "max\n", "-1", "-5000", "abc", "12abc", "0x10", "1e9", "1.5", "99999999999999999999999999\n",
                              "9223372036854775808", "\xff\xfe", "+5"}) {
        Tree(std::string("memory.max is ") + wrong).group("0::/a\n").mounts(kMount2).memory(at + "/a", wrong, 1, 1).unlimited();
        Tree(std::string("cpu.max is ") + wrong).group("0::/a\n").mounts(kMount2).file(at + "/a/cpu.max", std::string(wrong) + " 100000").unlimited();
        Tree(std::string("its period is ") + wrong).group("0::/a\n").mounts(kMount2).file(at + "/a/cpu.max", std::string("100000 ") + wrong)
            .unlimited();
    }
    Tree("the period is 0").group("0::/a\n").mounts(kMount2).file(at + "/a/cpu.max", "100000 0\n").unlimited();
    Tree("there is no period").group("0::/a\n").mounts(kMount2).file(at + "/a/cpu.max", "100000\n").unlimited();
    Tree("the greatest numbers").group("0::/a\n").mounts(kMount2).memory(at + "/a", "9223372036854775806", INT64_MAX - 1, INT64_MAX - 1)
        .file(at + "/a/cpu.max", "9223372036854775806 1\n")
        .limits(INT64_MAX - 1, at + "/a/memory.max", INT64_MAX - 1, INT64_MAX - 1, at + "/a/cpu.max");
    Tree("folders where files should be").folder("/proc/self/cgroup").folder("/proc/self/mountinfo").folder(at + "/memory.max").unlimited();
    Tree("usage that is no number").group("0::/a\n").mounts(kMount2).memory(at + "/a", "1000", 0, 0).file(at + "/a/memory.current", "many")
        .file(at + "/a/memory.stat", "inactive_file\ninactive_file x\n\n").memoryIs(1000, at + "/a/memory.max", 1000);
    Tree("lines cut short").group("0\n0:\n:\n::\n0::\n").mounts("30\n30 23 0:26 / \n- cgroup2\n1 2 3 4 5 6 - cgroup2\n" + kMount2)
        .memory(at, "1000", 0, 0).memoryIs(1000, at + "/memory.max", 1000);
    Tree("a path without end").group("0::" + std::string(1 << 20, '/') + "\n").mounts(kMount2).unlimited();
    Tree("a path of a million names").group("0::" + [] {
        std::string path;
        for (int i = 0; i < 1 << 19; i++) path += "/a";
        return path;
    }() + "\n").mounts(kMount2).unlimited();
}

/// Memory of the machine, by /proc/meminfo.
void machine() {
    const std::string meminfo = "MemTotal:       24000 kB\nMemFree:         1000 kB\nMemAvailable:   17000 kB\nCommitLimit:    12000 kB\n";
    const auto available = [](const char* name, const Tree& tree, int64_t want) {
        const int64_t got = subtext::availableMemory(tree.root());
        (got == want ? passed : failed)++;
        if (got != want) std::printf("FAIL %s: want %lld, got %lld\n", name, (long long)want, (long long)got);
    };
    available("what Linux calls available", Tree("").file("/proc/meminfo", meminfo + "Committed_AS:   11000 kB\n"), 17000 * 1024);
    available("promises are kept: what is left of them", Tree("").file("/proc/meminfo", meminfo + "Committed_AS:   11000 kB\n")
        .file("/proc/sys/vm/overcommit_memory", "2\n"), 1000 * 1024);
    available("more promised than may be", Tree("").file("/proc/meminfo", meminfo + "Committed_AS:   13000 kB\n")
        .file("/proc/sys/vm/overcommit_memory", "2\n"), 0);
    available("the rest of the promises is not the least", Tree("")
        .file("/proc/meminfo", "MemAvailable: 9 kB\nCommitLimit: 900 kB\nCommitted_AS: 1 kB\n").file("/proc/sys/vm/overcommit_memory", "2\n"), 9 * 1024);
    available("promises that are not told", Tree("").file("/proc/meminfo", meminfo).file("/proc/sys/vm/overcommit_memory", "2\n"), 17000 * 1024);
    available("nothing is told", Tree(""), kNoLimit);
    available("an old Linux", Tree("").file("/proc/meminfo", "MemTotal: 5 kB\nMemFree: 3 kB\n"), kNoLimit);
    available("nonsense", Tree("").file("/proc/meminfo", "MemAvailable:\nMemAvailable: kB\n"), kNoLimit);
    available("beyond all numbers", Tree("").file("/proc/meminfo", "MemAvailable: 9223372036854775807 kB\n"), kNoLimit);
}

/// ulimit -v, of this process: what is left is less than the limit, and the limit can be taken in.
void addressSpace() {
    rlimit before;
    if (getrlimit(RLIMIT_AS, &before)) return;
    rlimit set = before;
    set.rlim_cur = std::min<rlim_t>(before.rlim_max, rlim_t{1} << 46);  // more than a sanitizer reserves
    const bool free = before.rlim_cur != RLIM_INFINITY || subtext::addressSpaceLeft() == kNoLimit;
    const bool limited = setrlimit(RLIMIT_AS, &set) == 0 && subtext::addressSpaceLimit() == static_cast<int64_t>(set.rlim_cur) &&
                         subtext::addressSpaceLeft() < static_cast<int64_t>(set.rlim_cur) - (1 << 20);
    setrlimit(RLIMIT_AS, &before);
    (free && limited ? passed : failed)++;
    if (!free || !limited) std::printf("FAIL address space\n");
}

/// Any bytes in any of the files: it comes back, and what it says lies in its range.
void noise() {
    std::mt19937_64 random(1);
    const auto bent = [&](std::string text) {
        for (int k = static_cast<int>(random() % 6); k > 0; k--) text[random() % text.size()] = static_cast<char>(random());
        return text.substr(0, random() % 4 ? text.size() : random() % text.size());
    };
    const std::string at = "/sys/fs/cgroup";
    Tree tree("noise");
    for (int i = 0; i < 500; i++) {
        tree.group(bent("4:memory:/docker/77\n0::/a/b\n")).mounts(bent(kMount1 + kMount2)).file(at + "/a/b/cpu.max", bent("250000 100000\n"))
            .file(at + "/a/b/memory.max", bent("1000\n")).file(at + "/a/b/memory.current", bent("300\n"))
            .file(at + "/a/b/memory.stat", bent("anon 1\ninactive_file 100\n"));
        const Limits got = tree.read();
        const bool right = got.memory >= 0 && got.freeMemory >= 0 && (got.freeMemory <= got.memory) && got.processors >= 1;
        (right ? passed : failed)++;
        if (!right) std::printf("FAIL noise, trial %d of seed 1\n", i);
    }
}

void affinity() {
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all)) return;
    const int64_t count = CPU_COUNT(&all);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all)) {
            CPU_SET(i, &one);
            break;
        }
    }
    const bool whole = subtext::schedulableProcessors() == count;
    sched_setaffinity(0, sizeof one, &one);
    const bool single = subtext::schedulableProcessors() == 1;
    sched_setaffinity(0, sizeof all, &all);
    (whole && single ? passed : failed)++;
    if (!whole || !single) std::printf("FAIL processors that the scheduler may use\n");
}

}  // namespace

int main(int count, char** arguments) {
    if (count > 1 && !std::strcmp(arguments[1], "--here")) {
        const Limits here = subtext::readLimits();
        std::printf("memory %lld by '%s', free %lld, processors %lld by '%s', schedulable %lld\n", (long long)here.memory, here.memoryFile.c_str(),
                    (long long)here.freeMemory, (long long)here.processors, here.processorsFile.c_str(), (long long)subtext::schedulableProcessors());
        return 0;
    }
    std::string made = (fs::temp_directory_path() / "subtext-limits-XXXXXX").string();
    if (!mkdtemp(made.data())) {
        std::perror(made.c_str());
        return 2;
    }
    base = made;
    version2();
    version1();
    whatIsWrongLimitsNothing();
    machine();
    addressSpace();
    noise();
    affinity();
    fs::remove_all(base);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}
