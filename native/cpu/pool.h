// A few threads that share the tasks of one loop at a time. Tasks are handed out by a counter, so who runs which is open; ops are
// written so that it never matters to the result.
//
// Workers spin for a moment after a loop, because the next op follows within microseconds, and then sleep: the machine may be shared.
#ifndef SUBTEXT_CPU_POOL_H
#define SUBTEXT_CPU_POOL_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace subtext {

class Pool {
  public:
    typedef void (*Body)(void* context, int64_t from, int64_t to, int32_t thread);

    /// `threads` counts the caller, who works too. Throws std::system_error if the system gives no threads.
    explicit Pool(int32_t threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int32_t threads() const { return threads_; }

    /// Calls body over ranges that cover 0 .. tasks-1, `grain` at a time, and returns when all are done. Thread numbers are below threads().
    void run(int64_t tasks, int64_t grain, Body body, void* context);

  private:
    void work(int32_t thread);
    void takeTasks(int32_t thread);

    // state_: loop number in the upper bits, then kOpen while tasks may be taken, then the count of workers inside
    static constexpr uint64_t kOpen = 1u << 16, kLoop = 1u << 17, kInside = kOpen - 1;

    const int32_t threads_;
    std::vector<std::thread> workers_;
    Body body_ = nullptr;
    void* context_ = nullptr;
    int64_t tasks_ = 0, grain_ = 1;
    alignas(64) std::atomic<int64_t> next_{0};
    alignas(64) std::atomic<uint64_t> state_{0};
    std::atomic<int32_t> sleeping_{0};
    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    std::condition_variable wake_;
};

}  // namespace subtext

#endif
