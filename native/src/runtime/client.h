// A client of the queues: one JavaScript environment. Remembers which failures nobody has heard of
// yet, and tells jobs when the environment is going away.
#pragma once

#include <atomic>
#include <deque>
#include <mutex>
#include <string>
#include <utility>

#include "ref.h"

namespace figment {

/// Why a run's results do not exist. Shared by every buffer that depends on it.
struct Failure : RefCounted {
  Failure(std::string code, std::string message)
      : code(std::move(code)), message(std::move(message)) {}

  const std::string code;
  const std::string message;
  std::atomic<bool> reported{false};
};

class Client : public RefCounted {
 public:
  bool closing() const { return closing_.load(std::memory_order_relaxed); }
  void close() { closing_.store(true, std::memory_order_relaxed); }

  /// Keeps a failure until somebody is told. Past the bound the newest are dropped: their buffers
  /// still carry them.
  void remember(Ref<Failure> failure) {
    std::lock_guard lock(mutex_);
    if (unreported_.size() < kMaxUnreported) unreported_.push_back(std::move(failure));
  }

  /// The oldest failure that no read has reported, now marked as reported; empty when there is
  /// none.
  Ref<Failure> takeUnreported() {
    std::lock_guard lock(mutex_);
    while (!unreported_.empty()) {
      Ref<Failure> failure = std::move(unreported_.front());
      unreported_.pop_front();
      if (!failure->reported.exchange(true)) return failure;
    }
    return {};
  }

 private:
  static constexpr size_t kMaxUnreported = 64;

  std::atomic<bool> closing_{false};
  std::mutex mutex_;
  std::deque<Ref<Failure>> unreported_;
};

/// A request to stop, shared by a JavaScript handle and the runs that watch it.
struct CancelToken : RefCounted {
  std::atomic<bool> cancelled{false};
};

}  // namespace figment
