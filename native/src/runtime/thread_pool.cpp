// Workers spin briefly between regions, because the records of a program follow each other within
// microseconds, then sleep on a futex (std::atomic::wait).
#include "thread_pool.h"

#include <algorithm>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace figment {
namespace {

/// About 20 µs of polling on current processors: longer than the gap between two records, shorter
/// than two wake-ups.
constexpr int kSpins = 500;

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

void ThreadPool::start() {
  // Told here, not read by the worker: a region may come and go, or the pool stop, before it runs.
  const uint32_t done = region(state_.load(std::memory_order_relaxed));
  for (int worker = 1; worker < threads_; worker++)
    workers_.emplace_back([this, worker, done] { workerMain(worker, done); });
}

void ThreadPool::stop() {
  stopping_ = true;
  state_.fetch_add(kRegion, std::memory_order_release);
  state_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  stopping_ = false;
}

void ThreadPool::resize(int threads) {
  threads = std::clamp(threads, 1, kMaxThreads);
  if (threads == threads_) return;
  if (!workers_.empty()) stop();
  threads_ = threads;
}

void ThreadPool::parallel(int64_t count, int64_t grain, Context::Body body, void* closure) {
  const int64_t chunks = (count + grain - 1) / grain;
  if (threads_ == 1 || chunks <= 1) {
    for (int64_t begin = 0; begin < count; begin += grain)
      body(closure, begin, std::min(begin + grain, count), 0);
    return;
  }
  if (workers_.empty()) start();

  chunks_ = chunks;
  count_ = count;
  grain_ = grain;
  body_ = body;
  closure_ = closure;
  next_.store(0, std::memory_order_relaxed);
  // Nobody is inside, so plain arithmetic on the number is safe; it wraps into nothing above it. An
  // exchange, because a plain store could pass the notification's look for sleepers.
  state_.exchange(region(state_.load(std::memory_order_relaxed) + kRegion) * kRegion + kOpen);
  if (chunks > int64_t(threads_) - 1) {
    state_.notify_all();
  } else {
    for (int64_t i = 1; i < chunks; i++) state_.notify_one();
  }

  work(0);

  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int spins = 0;; spins++) {
    const uint32_t left = left_.load(std::memory_order_acquire);
    if ((state_.load(std::memory_order_acquire) & kInsideMask) == 0) break;
    if (spins < kSpins)
      relax();
    else
      left_.wait(left, std::memory_order_acquire);
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::work(int worker) noexcept {
  try {
    for (;;) {
      const int64_t chunk = next_.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= chunks_) return;
      const int64_t begin = chunk * grain_;
      body_(closure_, begin, std::min(begin + grain_, count_), worker);
    }
  } catch (...) {
    next_.store(chunks_, std::memory_order_relaxed);
    std::lock_guard lock(failureMutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void ThreadPool::workerMain(int worker, uint32_t done) {
  for (;;) {
    uint32_t state = state_.load(std::memory_order_acquire);
    for (int spins = 0; region(state) == done; spins++) {
      if (spins < kSpins)
        relax();
      else
        state_.wait(state, std::memory_order_acquire);
      state = state_.load(std::memory_order_acquire);
    }
    if (stopping_) return;
    done = region(state);
    while ((state & kOpen) && region(state) == done) {
      if (!state_.compare_exchange_weak(state, state + kInside, std::memory_order_acq_rel))
        continue;
      work(worker);
      const uint32_t before = state_.fetch_sub(kInside, std::memory_order_acq_rel);
      if ((before & kInsideMask) == kInside) {
        left_.fetch_add(1, std::memory_order_release);
        left_.notify_one();
      }
      break;
    }
  }
}

}  // namespace figment
