// Fibers, barriers, warp collectives, and the spreading of blocks over OS threads.
//
// A thread runs on its stack until it waits. Who runs next is the first thread able to, in the launch's order: thread 0 upwards
// (normal), downwards (reversed), or by a permutation drawn anew for every block and after every barrier (shuffled). So a kernel that
// lacks a barrier gives different results in different orders, and one that is right gives the same.
#include "execution.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "access.h"
#include "memory.h"

// Saves the callee-saved registers of the caller, leaves its stack pointer in *save, and goes on where `load` was saved.
extern "C" void subtext_emulator_switch(void **save, void *load) __attribute__((visibility("hidden")));
asm(R"(
.text
.globl subtext_emulator_switch
.hidden subtext_emulator_switch
.type subtext_emulator_switch,@function
subtext_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size subtext_emulator_switch,.-subtext_emulator_switch
)");

namespace emulator {

__thread Local local;

namespace {

constexpr int mostThreads = 1024, mostWarps = mostThreads / 32;
constexpr size_t page = 4096, stackBytes = 64 * 1024, sharedAlignment = 1024, mostShared = 256 * 1024;

// ---- order -----------------------------------------------------------------------------------------------------------

uint64_t mix(uint64_t x) {  // splitmix64's finaliser: Steele, Lea & Flood 2014
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/// SUBTEXT_EMULATOR_ORDER = normal | reversed | shuffled[:seed], read at every launch.
struct Order {
    enum { normal, reversed, shuffled } kind = normal;
    uint64_t seed = 0;

    static Order fromEnvironment() {
        Order order;
        const char *text = getenv("SUBTEXT_EMULATOR_ORDER");
        if (text == nullptr) return order;
        if (strcmp(text, "reversed") == 0) order.kind = reversed;
        if (strncmp(text, "shuffled", 8) == 0) {
            order.kind = shuffled;
            order.seed = text[8] == ':' ? strtoull(text + 9, nullptr, 10) : 1;
        }
        return order;
    }

    uint64_t blockAt(uint64_t i, uint64_t count) const {
        if (kind == reversed) return count - 1 - i;
        if (kind == normal || count < 3) return kind == normal ? i : count - 1 - i;
        uint64_t stride = mix(seed) % count;  // coprime to count, so that every block comes once
        while (gcd(stride, count) != 1) stride++;
        return static_cast<uint64_t>(static_cast<unsigned __int128>(i) * stride % count + mix(seed + 1) % count) % count;
    }

  private:
    static uint64_t gcd(uint64_t a, uint64_t b) { return b == 0 ? a : gcd(b, a % b); }
};

// ---- a launch in progress --------------------------------------------------------------------------------------------

struct Progress {
    const Launch &launch;
    const Order order;
    const uint64_t blocks;
    std::atomic<uint64_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    Outcome outcome;

    explicit Progress(const Launch &l)
        : launch(l), order(Order::fromEnvironment()), blocks(static_cast<uint64_t>(l.grid.x) * l.grid.y * l.grid.z) {}
};

struct Copy {
    void *shared;
    const void *global;
    bool valid;
    int64_t group;
};

/// The asynchronous copies of one thread. Groups are numbered; `committed` is the number of the open one.
struct Copies {
    std::vector<Copy> pending;
    int64_t committed = 0;
};

/// Lanes that wait for each other: those of `arrived`, out of those of `mask`.
struct Group {
    uint32_t mask, arrived;
    Perform perform;
    const char *name;
    void *operands[32];
};

struct Warp {
    uint32_t existing, live;
    int groups;
    Group group[32];
};

}  // namespace

/// Everything one OS thread needs to run blocks. Kept for the next launch.
struct Worker {
    Thread threads[mostThreads];
    Warp warps[mostWarps];
    uint16_t order[mostThreads], position[mostThreads];  // by position; its inverse
    uint64_t ready[mostThreads / 64];                    // by position
    Copies copies[mostThreads];
    bool copying = false;  // some thread of this block has used them
    Block block;
    Progress *progress = nullptr;
    int count = 0, live = 0, arrived = 0;
    int sum = 0, result = 0;
    const char *barrierName = nullptr;
    uint64_t random = 0;
    void *scheduler = nullptr;  // its stack pointer while a fiber runs
    bool abandoned = false;
    int left = -1;  // a thread that has left the kernel
    std::vector<void *> spare;  // stacks
    std::vector<uint32_t> staticChunks;
    unsigned char *stacks = nullptr, *shared = nullptr;
    unsigned char alternate[32 * 1024];  // for the signal handler when a fiber's stack overflows
    void *faultAddress = nullptr;
    bool faultIsMisalignment = false;

    Worker();
    void runBlock(uint64_t number);
    void arrange();
    Thread *firstReady() const;
    void makeReady(const Thread &thread) { ready[position[thread.linear] / 64] |= uint64_t{1} << position[thread.linear] % 64; }
    void makeWait(const Thread &thread) { ready[position[thread.linear] / 64] &= ~(uint64_t{1} << position[thread.linear] % 64); }
    void goOn(Thread &me);   // runs whoever is first; returns when `me` runs again
    void enter(Thread &next, void **save);
    void leave(Thread &me);  // the thread has run to its end
    [[noreturn]] void deadlock();
    void report(Failure failure, const Thread &thread, const char *text);
};

namespace {

[[noreturn]] void fiberMain();

std::vector<Worker *> idleWorkers;
std::mutex idleMutex;

/// Finds this library's thread-local memory of the calling thread, where its __shared__ variables live.
int findStaticShared(dl_phdr_info *info, size_t, void *) {
    const auto inside = reinterpret_cast<uintptr_t>(&findStaticShared);
    bool ours = false;
    size_t bytes = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto &header = info->dlpi_phdr[i];
        if (header.p_type == PT_LOAD && inside - (info->dlpi_addr + header.p_vaddr) < header.p_memsz) ours = true;
        if (header.p_type == PT_TLS) bytes = header.p_memsz;
    }
    if (!ours) return 0;
    local.staticShared = static_cast<unsigned char *>(info->dlpi_tls_data);
    local.staticSharedBytes = info->dlpi_tls_data == nullptr ? 0 : bytes;
    return 1;
}

void poisonStaticShared(size_t from, size_t bytes) {
    const Local saved = local;
    memset(saved.staticShared + from, poison, std::min(bytes, saved.staticSharedBytes - from));
    local = saved;
}

/// The static shared memory that each kernel has been seen to write, in chunks: only that is poisoned before its next block. A kernel's
/// first launch is looked at after every block, later ones when they end.
struct StaticUse {
    static constexpr size_t chunk = 512;
    std::mutex mutex;
    std::unordered_map<const void *, std::vector<uint32_t>> chunks;  // by kernel

    bool of(const void *kernel, std::vector<uint32_t> &to) {  // false if the kernel has never been looked at
        const std::lock_guard<std::mutex> lock(mutex);
        const auto found = chunks.find(kernel);
        if (found != chunks.end()) to = found->second;
        else to.clear();
        return found != chunks.end();
    }
    void look(const void *kernel) {
        std::vector<uint32_t> written;
        for (size_t from = 0; from < local.staticSharedBytes; from += chunk) {
            const size_t bytes = std::min(chunk, local.staticSharedBytes - from);
            const unsigned char *first = local.staticShared + from;
            if (first[0] == poison && memcmp(first, first + 1, bytes - 1) == 0) continue;
            poisonStaticShared(from, bytes);
            written.push_back(static_cast<uint32_t>(from));
        }
        const std::lock_guard<std::mutex> lock(mutex);
        std::vector<uint32_t> &known = chunks[kernel];
        for (const uint32_t from : written)
            if (std::find(known.begin(), known.end(), from) == known.end()) known.push_back(from);
    }
};

StaticUse &staticUse() {
    static StaticUse *const one = new StaticUse;
    return *one;
}

// ---- faults ----------------------------------------------------------------------------------------------------------

struct sigaction before[2];  // SIGSEGV, SIGBUS

[[noreturn]] void landing() {
    Worker &worker = *local.worker;
    if (worker.faultIsMisalignment)
        fail(misalignedAddress, "a vector access to a misaligned address");
    if (inArena(worker.faultAddress)) fail(illegalAddress, "access to %s", complaint(worker.faultAddress, 1).c_str());
    const auto *address = static_cast<unsigned char *>(worker.faultAddress);
    if (address >= worker.shared - page && address < worker.shared + mostShared + page)
        fail(illegalAddress, "access at offset %lld of %zu bytes of dynamic shared memory",
             static_cast<long long>(address - worker.block.shared), worker.block.sharedBytes);
    const size_t stride = stackBytes + page;
    if (address >= worker.stacks && address < worker.stacks + mostThreads * stride)
        fail(launchFailure, "the thread's stack of %zu bytes overflowed", stackBytes);
    fail(illegalAddress, "access to address %p, which is no device memory", worker.faultAddress);
}

/// The OS threads that run blocks now. The handler may not touch thread-local memory of any other: that could allocate.
std::atomic<pthread_t> running[64];

bool runsBlocks(pthread_t self) {
    return std::any_of(std::begin(running), std::end(running), [self](const auto &each) { return each.load() == self; });
}

void enrol(pthread_t before, pthread_t after) {
    for (auto &each : running)
        if (pthread_t expected = before; each.compare_exchange_strong(expected, after)) return;
}

/// A fault of a fiber becomes a failure of its launch; any other goes to whoever handled it before.
void onFault(int number, siginfo_t *info, void *context) {
    if (runsBlocks(pthread_self()) && local.thread != nullptr) {
        Worker &worker = *local.worker;
        worker.faultAddress = info->si_addr;
        worker.faultIsMisalignment = number == SIGBUS || info->si_code == SI_KERNEL;
        auto &registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
        // on the scheduler's stack, below what it saved there: the fiber's own may be what overflowed
        registers[REG_RSP] = static_cast<greg_t>(((reinterpret_cast<uintptr_t>(worker.scheduler) - 1024) & ~uintptr_t{15}) - 8);
        registers[REG_RIP] = static_cast<greg_t>(reinterpret_cast<uintptr_t>(&landing));
        return;
    }
    const struct sigaction &old = before[number == SIGBUS];
    if (old.sa_flags & SA_SIGINFO) return old.sa_sigaction(number, info, context);
    if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) return old.sa_handler(number);
    signal(number, SIG_DFL);  // the access is tried again and ends the process
}

void catchFaults() {
    struct sigaction action = {};
    action.sa_sigaction = onFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &before[0]);
    sigaction(SIGBUS, &action, &before[1]);
}

// ---- spreading blocks ------------------------------------------------------------------------------------------------

void runBlocks(Progress &progress) {
    Worker *worker = nullptr;
    {
        const std::lock_guard<std::mutex> lock(idleMutex);
        if (!idleWorkers.empty()) worker = idleWorkers.back(), idleWorkers.pop_back();
    }
    if (worker == nullptr) worker = new Worker;
    if (local.staticShared == nullptr) {
        dl_iterate_phdr(findStaticShared, nullptr);
        poisonStaticShared(0, local.staticSharedBytes);
    }
    const bool known = staticUse().of(progress.launch.function, worker->staticChunks);
    stack_t alternate = {}, old = {};
    sigaltstack(nullptr, &old);
    if (old.ss_flags & SS_DISABLE) {
        alternate.ss_sp = worker->alternate, alternate.ss_size = sizeof worker->alternate;
        sigaltstack(&alternate, nullptr);
    }
    worker->progress = &progress;
    local.worker = worker;
    enrol(0, pthread_self());
    for (uint64_t i; !progress.failed.load(std::memory_order_relaxed) && (i = progress.next.fetch_add(1)) < progress.blocks;) {
        worker->runBlock(progress.order.blockAt(i, progress.blocks));
        if (!known) staticUse().look(progress.launch.function);
    }
    enrol(pthread_self(), 0);
    staticUse().look(progress.launch.function);
    local.worker = nullptr;
    local.block = nullptr;
    worker->progress = nullptr;
    if (old.ss_flags & SS_DISABLE) sigaltstack(&old, nullptr);
    const std::lock_guard<std::mutex> lock(idleMutex);
    idleWorkers.push_back(worker);
}

/// OS threads that help the launching one. They live as long as the process.
class Pool {
  public:
    explicit Pool(int helpers) {
        for (int i = 0; i < helpers; i++) std::thread([this] { serve(); }).detach();
    }
    void run(Progress &progress, int helpers) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            progress_ = &progress, wanted_ = helpers;
        }
        wake_.notify_all();
        runBlocks(progress);
        std::unique_lock<std::mutex> lock(mutex_);
        wanted_ = 0;
        idle_.wait(lock, [this] { return running_ == 0; });
    }

  private:
    void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return wanted_ > 0; });
            wanted_--, running_++;
            Progress &progress = *progress_;
            lock.unlock();
            runBlocks(progress);
            lock.lock();
            running_--;
            idle_.notify_all();
        }
    }
    std::mutex mutex_;
    std::condition_variable wake_, idle_;
    Progress *progress_ = nullptr;
    int wanted_ = 0, running_ = 0;
};

int osThreads() {
    static const int count = [] {
        const char *text = getenv("SUBTEXT_EMULATOR_THREADS");
        if (checked) return 1;  // the race detector follows one block at a time
        const int n = text != nullptr ? atoi(text) : static_cast<int>(std::thread::hardware_concurrency());
        return std::max(1, std::min(n, 64));
    }();
    return count;
}

}  // namespace

Outcome run(const Launch &launch) {
    static std::mutex oneAtATime;
    static Pool *const pool = (catchFaults(), new Pool(osThreads() - 1));
    const std::lock_guard<std::mutex> lock(oneAtATime);
    beginLaunch();
    Progress progress(launch);
    const uint64_t threads = progress.blocks * launch.block.x * launch.block.y * launch.block.z;
    const int helpers = static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(osThreads() - 1), progress.blocks - 1));
    if (helpers == 0 || threads < 1024) runBlocks(progress);  // waking another OS thread costs more
    else pool->run(progress, helpers);
    return progress.outcome;
}

// ---- one block -------------------------------------------------------------------------------------------------------

Worker::Worker() {
    const size_t stride = stackBytes + page;
    stacks = static_cast<unsigned char *>(mmap(nullptr, mostThreads * stride, PROT_READ | PROT_WRITE,
                                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    auto *guarded = static_cast<unsigned char *>(
        mmap(nullptr, mostShared + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (stacks == MAP_FAILED || guarded == MAP_FAILED) {
        fprintf(stderr, "CUDA emulator: no memory for the stacks of a block\n");
        abort();
    }
    for (int i = 0; i < mostThreads; i++) mprotect(stacks + static_cast<size_t>(i) * stride, page, PROT_NONE);
    shared = guarded + page;
    mprotect(shared, mostShared, PROT_READ | PROT_WRITE);
    memset(shared, fence, mostShared);
}

void Worker::arrange() {
    for (int i = 0; i < count; i++) order[i] = static_cast<uint16_t>(progress->order.kind == Order::reversed ? count - 1 - i : i);
    if (progress->order.kind == Order::shuffled)
        for (int i = count - 1; i > 0; i--) std::swap(order[i], order[(random = mix(random)) % static_cast<uint64_t>(i + 1)]);
    for (int i = 0; i < count; i++) position[order[i]] = static_cast<uint16_t>(i);
}

Thread *Worker::firstReady() const {
    for (int i = 0; i * 64 < count; i++)
        if (ready[i] != 0) return const_cast<Thread *>(&threads[order[i * 64 + __builtin_ctzll(ready[i])]]);
    return nullptr;
}

void Worker::runBlock(uint64_t number) {
    const Launch &launch = progress->launch;
    block.grid = launch.grid, block.size = launch.block;
    block.index = {static_cast<unsigned>(number % launch.grid.x), static_cast<unsigned>(number / launch.grid.x % launch.grid.y),
                   static_cast<unsigned>(number / launch.grid.x / launch.grid.y)};
    // the end of what was asked for lies, up to alignment, at the page nobody may touch
    const size_t reach = (launch.sharedBytes + sharedAlignment - 1) / sharedAlignment * sharedAlignment;
    block.shared = shared + mostShared - reach, block.sharedBytes = launch.sharedBytes;
    memset(block.shared, poison, launch.sharedBytes);
    memset(block.shared + launch.sharedBytes, fence, reach - launch.sharedBytes);
    for (const uint32_t from : staticChunks) poisonStaticShared(from, StaticUse::chunk);
    local.block = &block;

    count = live = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
    arrived = sum = 0, left = -1, abandoned = false, copying = false;
    random = mix(progress->order.seed ^ mix(number));
    arrange();
    unsigned i = 0;
    for (unsigned z = 0; z < launch.block.z; z++)
        for (unsigned y = 0; y < launch.block.y; y++)
            for (unsigned x = 0; x < launch.block.x; x++, i++) threads[i] = {{x, y, z}, i, nullptr, nullptr, nullptr, 0};
    for (int w = 0; w * 32 < count; w++) {
        warps[w].existing = warps[w].live = count - w * 32 >= 32 ? 0xffffffffu : (1u << (count - w * 32)) - 1u;
        warps[w].groups = 0;
    }
    for (int w = 0; w * 64 < count; w++) ready[w] = count - w * 64 >= 64 ? ~uint64_t{0} : (uint64_t{1} << (count - w * 64)) - 1;
    if (static_cast<int>(spare.size()) != mostThreads) {
        spare.clear();
        for (int s = mostThreads - 1; s >= 0; s--)  // tops are staggered: they would share the sets of the first-level cache
            spare.push_back(stacks + static_cast<size_t>(s + 1) * (stackBytes + page) - static_cast<size_t>(s) * 320 % page);
    }
    beginBlock(number);
    enter(*firstReady(), &scheduler);
    local.thread = nullptr;
    if (abandoned) {
        spare.clear();
        if (copying)
            for (int t = 0; t < count; t++) copies[t] = Copies();
        return;
    }
    const unsigned char *end = block.shared + reach;
    const unsigned char *hit = std::find_if(const_cast<const unsigned char *>(block.shared) + block.sharedBytes, end,
                                            [](unsigned char c) { return c != fence; });
    if (hit != end) {
        char text[128];
        snprintf(text, sizeof text, "some thread wrote at offset %lld of %zu bytes of dynamic shared memory",
                 static_cast<long long>(hit - block.shared), block.sharedBytes);
        report(illegalAddress, threads[0], text);
    }
}

bool onFiberStack(const void *p) {
    return static_cast<size_t>(static_cast<const unsigned char *>(p) - local.worker->stacks) < mostThreads * (stackBytes + page);
}

/// Runs `next`, which is able to; what ran so far is saved in *save.
void Worker::enter(Thread &next, void **save) {
    local.thread = &next;
    if (next.stackPointer == nullptr) {
        next.stack = spare.back();
        spare.pop_back();
        void **top = static_cast<void **>(next.stack);
        *--top = nullptr;  // the return address of fiberMain, which never returns
        *--top = reinterpret_cast<void *>(&fiberMain);
        for (int i = 0; i < 6; i++) *--top = nullptr;
        next.stackPointer = top;
    }
    subtext_emulator_switch(save, next.stackPointer);
}

void Worker::goOn(Thread &me) {
    Thread *next = firstReady();
    if (next == &me) return;
    if (next == nullptr) deadlock();
    enter(*next, &me.stackPointer);
}

void Worker::leave(Thread &me) {
    Warp &warp = warps[me.linear / 32];
    const uint32_t bit = 1u << laneOf(me);
    for (int g = 0; g < warp.groups; g++)
        if (warp.group[g].mask & bit)
            fail(launchFailure, "left the kernel while lanes %#x wait for it at %s with mask %#x", warp.group[g].arrived,
                 warp.group[g].name, warp.group[g].mask);
    if (arrived > 0)
        fail(launchFailure, "left the kernel while %d threads of its block wait at %s: the barrier never meets", arrived, barrierName);
    if (copying) copies[me.linear].pending.clear();
    warp.live &= ~bit;
    live--;
    left = static_cast<int>(me.linear);
    makeWait(me);
}

void Worker::deadlock() {
    const auto waits = [&](const char *name) {
        for (int i = 0; i < count; i++)
            if (threads[i].waitingAt != nullptr && (strncmp(threads[i].waitingAt, "__syncthreads", 13) == 0) == (name != nullptr))
                return &threads[i];
        return static_cast<Thread *>(nullptr);
    };
    const Thread *atBarrier = waits("barrier"), *inWarp = waits(nullptr);
    if (atBarrier != nullptr && inWarp != nullptr)
        fail(launchFailure, "nobody can go on: thread %u waits at %s, thread %u at %s with mask %#x", atBarrier->linear,
             atBarrier->waitingAt, inWarp->linear, inWarp->waitingAt, inWarp->waitingMask);
    if (inWarp != nullptr)
        fail(launchFailure, "nobody can go on: thread %u waits at %s with mask %#x", inWarp->linear, inWarp->waitingAt,
             inWarp->waitingMask);
    fail(launchFailure, "nobody can go on: %d of %d threads wait at a barrier", arrived, count);
}

namespace {

/// A stack's life: it runs threads one after another, as long as the next one has not begun elsewhere.
void fiberMain() {
    Worker &worker = *local.worker;
    for (;;) {
        Thread &me = *local.thread;
        worker.progress->launch.body();
        worker.leave(me);
        Thread *next = worker.firstReady();
        if (next != nullptr && next->stackPointer == nullptr) {
            local.thread = next;
            next->stack = me.stack;
            next->stackPointer = me.stack;  // not null: it has begun
            continue;
        }
        worker.spare.push_back(me.stack);
        void *dropped;
        if (next != nullptr) worker.enter(*next, &dropped);
        else if (worker.live == 0) subtext_emulator_switch(&dropped, worker.scheduler);
        else worker.deadlock();
    }
}

}  // namespace

void fail(Failure failure, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (local.thread == nullptr) {
        fprintf(stderr, "CUDA emulator: device code called from host code: %s\n", text);
        abort();
    }
    Worker &worker = *local.worker;
    worker.report(failure, *local.thread, text);
    local.thread = nullptr;
    void *dropped;
    subtext_emulator_switch(&dropped, worker.scheduler);
    __builtin_unreachable();
}

void Worker::report(Failure failure, const Thread &thread, const char *text) {
    const uint3 b = block.index, t = thread.index;
    char story[1024];
    snprintf(story, sizeof story, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u): %s", progress->launch.kernel, b.x, b.y, b.z, t.x,
             t.y, t.z, text);
    const std::lock_guard<std::mutex> lock(progress->mutex);
    if (progress->outcome.error == 0) progress->outcome = {failure, story};
    progress->failed = true;
    abandoned = true;
}

// ---- meeting ---------------------------------------------------------------------------------------------------------

int barrier(int predicate, const char *name) {
    Worker &worker = *local.worker;
    Thread &me = *local.thread;
    if (worker.left >= 0)
        fail(launchFailure, "waits at %s, which thread %d can no longer reach: it has left the kernel", name, worker.left);
    if (worker.arrived > 0 && strcmp(worker.barrierName, name) != 0)
        fail(launchFailure, "waits at %s while others wait at %s", name, worker.barrierName);
    worker.barrierName = name;
    worker.arrived++;
    worker.sum += predicate != 0;
    if (worker.arrived < worker.count) {
        me.waitingAt = name;
        worker.makeWait(me);
    } else {
        worker.result = worker.sum;
        worker.arrived = worker.sum = 0;
        if (worker.progress->order.kind == Order::shuffled) worker.arrange();
        for (int w = 0; w * 64 < worker.count; w++)
            worker.ready[w] = worker.count - w * 64 >= 64 ? ~uint64_t{0} : (uint64_t{1} << (worker.count - w * 64)) - 1;
        for (int i = 0; i < worker.count; i++) worker.threads[i].waitingAt = nullptr;
        passedBarrier();
    }
    worker.goOn(me);
    return worker.result;
}

void meet(uint32_t mask, Perform perform, void *operand, const char *name) {
    Worker &worker = *local.worker;
    Thread &me = *local.thread;
    Warp &warp = worker.warps[me.linear / 32];
    const unsigned lane = laneOf(me);
    if (!(mask >> lane & 1u)) fail(launchFailure, "calls %s with mask %#x, which leaves out its own lane %u", name, mask, lane);
    const uint32_t members = mask & warp.existing;
    if (members & ~warp.live)
        fail(launchFailure, "calls %s with mask %#x, but lanes %#x have left the kernel", name, mask, members & ~warp.live);
    int g = 0;
    for (; g < warp.groups; g++) {
        const Group &group = warp.group[g];
        if (group.mask == mask && group.perform == perform) break;
        if ((group.arrived & mask) && (group.mask >> lane & 1u))  // they wait for this lane, and this lane for them, elsewhere
            fail(launchFailure, "calls %s with mask %#x while lanes %#x wait at %s with mask %#x", name, mask, group.arrived,
                 group.name, group.mask);
    }
    Group &group = warp.group[g];
    if (g == warp.groups) {
        warp.groups++;
        group.mask = mask, group.arrived = 0, group.perform = perform, group.name = name;
    }
    group.operands[lane] = operand;
    group.arrived |= 1u << lane;
    if (group.arrived != members) {
        me.waitingAt = name, me.waitingMask = mask;
        worker.makeWait(me);
        worker.goOn(me);
        return;
    }
    perform(group.operands, members);
    for (uint32_t rest = members; rest != 0; rest &= rest - 1) {
        Thread &thread = worker.threads[(me.linear & ~31u) + static_cast<unsigned>(__builtin_ctz(rest))];
        thread.waitingAt = nullptr;
        worker.makeReady(thread);
    }
    if (--warp.groups > g) group = warp.group[warp.groups];
    worker.goOn(me);
}

// ---- asynchronous copies ---------------------------------------------------------------------------------------------

void copyAsync(void *shared, const void *global, bool valid) {
    Worker &worker = *local.worker;
    Copies &copies = worker.copies[local.thread->linear];
    check(shared, 16, 16, true);
    follow(*local.thread, shared, 16, true);
    if (valid) {
        check(global, 16, 16, false);
        follow(*local.thread, global, 16, false);
    }
    memset(shared, poison, 16);
    copies.pending.push_back({shared, global, valid, copies.committed});
    worker.copying = true;
}

void copyAsyncCommit() { local.worker->copies[local.thread->linear].committed++; }

void copyAsyncWait(int groupsLeft) {
    if (!local.worker->copying) return;
    Copies &copies = local.worker->copies[local.thread->linear];
    size_t n = 0;
    for (; n < copies.pending.size(); n++) {
        const Copy &copy = copies.pending[n];
        if (copy.group + groupsLeft >= copies.committed) break;
        follow(*local.thread, copy.shared, 16, true);  // others may read it only after a barrier behind this wait
        if (copy.valid) memcpy(copy.shared, copy.global, 16);
        else memset(copy.shared, 0, 16);
    }
    copies.pending.erase(copies.pending.begin(), copies.pending.begin() + static_cast<ptrdiff_t>(n));
}

}  // namespace emulator
