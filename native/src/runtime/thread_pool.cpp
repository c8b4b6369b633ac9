// Workers poll for a while between regions, because the records of a program follow each other
// within microseconds, then sleep on a futex (std::atomic::wait).
#include "thread_pool.h"

#include <algorithm>
#include <chrono>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace figment {
namespace {

/// Longer than the gap between two records or calls, and than one thread waits for another at the
/// end of most regions. Waking a thread costs the waker up to 20 µs and the sleeper 40, on virtual
/// machines.
constexpr std::chrono::microseconds kPolling{100};

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

class Polling {
 public:
  /// Waits for a moment; false when it is time to sleep.
  bool again() {
    for (int i = 0; i < kPauses; i++) relax();
    return std::chrono::steady_clock::now() < end_;
  }

 private:
  static constexpr int kPauses = 4;  // take as long as a look at the clock, or more

  const std::chrono::steady_clock::time_point end_ = std::chrono::steady_clock::now() + kPolling;
};

}  // namespace

void ThreadPool::start() {
  // Told here, not read by the worker: a region may come and go, or the pool stop, before it runs.
  const uint32_t done = region(state_.load(std::memory_order_relaxed));
  for (int worker = 1; worker < threads_; worker++)
    workers_.emplace_back([this, worker, done] { workerMain(worker, done); });
  places_.give(workers_);
  shares_ = std::make_unique<Share[]>(size_t(threads_));
}

void ThreadPool::stop() {
  stopping_ = true;
  state_.fetch_add(kRegion, std::memory_order_release);
  state_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  places_.clear();
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
  places_.follow();

  count_ = count;
  grain_ = grain;
  body_ = body;
  closure_ = closure;
  sharing_ = int(std::min<int64_t>(threads_, chunks));
  for (int i = 0; i < sharing_; i++) {
    shares_[i].next.store(chunks * i / sharing_, std::memory_order_relaxed);
    shares_[i].end = chunks * (i + 1) / sharing_;
  }
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
  for (Polling polling;;) {
    const uint32_t left = left_.load(std::memory_order_acquire);
    if ((state_.load(std::memory_order_acquire) & kInsideMask) == 0) break;
    if (!polling.again()) left_.wait(left, std::memory_order_acquire);
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::work(int worker) noexcept {
  try {
    for (int i = 0; i < sharing_; i++) {
      Share& share = shares_[(worker + i) % sharing_];
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        const int64_t chunk = share.next.fetch_add(1, std::memory_order_relaxed);
        if (chunk >= share.end) break;
        const int64_t begin = chunk * grain_;
        body_(closure_, begin, std::min(begin + grain_, count_), worker);
      }
    }
  } catch (...) {
    for (int i = 0; i < sharing_; i++)
      shares_[i].next.store(shares_[i].end, std::memory_order_relaxed);
    std::lock_guard lock(failureMutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void ThreadPool::workerMain(int worker, uint32_t done) {
  for (;;) {
    uint32_t state = state_.load(std::memory_order_acquire);
    for (Polling polling; region(state) == done;) {
      if (!polling.again()) state_.wait(state, std::memory_order_acquire);
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
