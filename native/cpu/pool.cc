#include "pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace subtext {

namespace {

void pause() {
#if defined(__x86_64__)
    _mm_pause();
#endif
}

constexpr int kSpins = 2000;  // some 20-50 microseconds

}  // namespace

Pool::Pool(int32_t threads) : threads_(threads) {
    workers_.reserve(threads - 1);
    try {
        for (int32_t i = 1; i < threads; i++) workers_.emplace_back([this, i] { work(i); });
    } catch (...) {
        stop_ = true;
        wake_.notify_all();
        for (std::thread& worker : workers_) worker.join();
        throw;
    }
}

Pool::~Pool() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void Pool::run(int64_t tasks, int64_t grain, Body body, void* context) {
    if (tasks <= 0) return;
    if (threads_ == 1 || tasks <= grain) {
        body(context, 0, tasks, 0);
        return;
    }
    // the last loop is closed and nobody is inside, so these are ours to write
    body_ = body;
    context_ = context;
    tasks_ = tasks;
    grain_ = grain;
    next_.store(0, std::memory_order_relaxed);
    const uint64_t loop = (state_.load(std::memory_order_relaxed) / kLoop + 1) * kLoop;
    state_.store(loop | kOpen, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) {
        { std::lock_guard<std::mutex> lock(mutex_); }  // a worker between its last look and its sleep must see the new loop
        wake_.notify_all();
    }
    takeTasks(0);
    state_.fetch_and(~kOpen, std::memory_order_acq_rel);
    for (int spin = 0; state_.load(std::memory_order_acquire) & kInside; spin++) {
        if (spin < kSpins) pause();
        else std::this_thread::yield();
    }
}

void Pool::takeTasks(int32_t thread) {
    for (;;) {
        const int64_t from = next_.fetch_add(grain_, std::memory_order_relaxed);
        if (from >= tasks_) return;
        body_(context_, from, from + grain_ < tasks_ ? from + grain_ : tasks_, thread);
    }
}

void Pool::work(int32_t thread) {
    uint64_t seen = 0;  // number of the last loop looked at
    int spin = 0;
    while (!stop_.load(std::memory_order_relaxed)) {
        uint64_t state = state_.load(std::memory_order_acquire);
        if (state / kLoop != seen && (state & kOpen)) {
            if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) continue;
            seen = state / kLoop;
            takeTasks(thread);
            state_.fetch_sub(1, std::memory_order_acq_rel);
            spin = 0;
        } else if (spin < kSpins) {
            spin++;
            pause();
        } else {
            std::unique_lock<std::mutex> lock(mutex_);
            sleeping_.fetch_add(1, std::memory_order_seq_cst);
            wake_.wait(lock, [&] {
                const uint64_t now = state_.load(std::memory_order_seq_cst);
                return stop_.load() || (now / kLoop != seen && (now & kOpen));
            });
            sleeping_.fetch_sub(1, std::memory_order_seq_cst);
            spin = 0;
        }
    }
}

}  // namespace subtext
