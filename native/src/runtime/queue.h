// A device's queue: jobs in order, executed by one thread of its own, which is worker 0 of the
// pool. A ticket numbers each job; a caller that finds the queue idle may execute a small program
// itself while it holds the execution lock.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "client.h"

namespace figment {

class Job {
 public:
  explicit Job(Ref<Client> client, uint64_t bytes = 0)
      : client_(std::move(client)), bytes_(bytes) {}
  virtual ~Job() = default;

  /// On the queue thread, under the execution lock. Reports its errors to whom they concern.
  virtual void execute() noexcept = 0;
  /// After execute(); disposes of the job, or hands it on to somebody who will.
  virtual void finish() noexcept { delete this; }
  /// Instead of execute() and finish(), when the client goes away first.
  virtual void discard() noexcept { delete this; }

  Client& client() const { return *client_; }

 private:
  friend class Queue;
  Ref<Client> client_;
  uint64_t bytes_;  ///< memory that waits for this job
  uint64_t ticket_ = 0;
  Job* next_ = nullptr;
};

class Queue {
 public:
  /// Takes the job over and answers its ticket. Waits first when too much is in flight: a caller
  /// that never yields must not outrun its device without bound.
  uint64_t submit(Job* job);

  bool reached(uint64_t ticket) const {
    return completed_.load(std::memory_order_acquire) >= ticket;
  }
  bool idle() const { return reached(submitted_.load(std::memory_order_acquire)); }
  void wait(uint64_t ticket);
  /// Waits for everything submitted so far.
  void drain() { wait(submitted_.load(std::memory_order_acquire)); }

  /// Discards the client's waiting jobs and waits for its running one, which sees that the client
  /// is closing at its next poll.
  void discardJobsOf(const Client& client);

  /// Held while kernels run, by whichever thread runs them.
  std::mutex& executionLock() { return execution_; }

 private:
  static constexpr uint64_t kMaxJobsInFlight = 256;
  static constexpr uint64_t kMaxBytesInFlight = uint64_t(1) << 30;

  void threadMain();

  std::mutex execution_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::condition_variable advanced_;
  Job* head_ = nullptr;
  Job* tail_ = nullptr;
  const Client* running_ = nullptr;
  bool started_ = false;
  std::atomic<uint64_t> bytesInFlight_{0};
  std::atomic<uint64_t> submitted_{0};
  std::atomic<uint64_t> completed_{0};
};

}  // namespace figment
