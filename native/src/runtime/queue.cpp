// The queue thread is started by the first job and lives as long as the process; queues are never
// destroyed, so it may still be waiting while the process exits.
#include "queue.h"

#include <thread>

namespace figment {

uint64_t Queue::submit(Job* job) {
  const uint64_t last = submitted_.load(std::memory_order_acquire);
  if (last >= kMaxJobsInFlight) wait(last - kMaxJobsInFlight + 1);
  if (bytesInFlight_.load(std::memory_order_relaxed) > kMaxBytesInFlight) wait(last);

  std::lock_guard lock(mutex_);
  if (!started_) {
    std::thread([this] { threadMain(); }).detach();
    started_ = true;
  }
  bytesInFlight_.fetch_add(job->bytes_, std::memory_order_relaxed);
  const uint64_t ticket = submitted_.load(std::memory_order_relaxed) + 1;
  job->ticket_ = ticket;
  job->next_ = nullptr;  // it may come from another queue
  (tail_ ? tail_->next_ : head_) = job;
  tail_ = job;
  submitted_.store(ticket, std::memory_order_release);
  arrived_.notify_one();
  return ticket;
}

void Queue::wait(uint64_t ticket) {
  if (reached(ticket)) return;
  std::unique_lock lock(mutex_);
  advanced_.wait(lock, [&] { return reached(ticket); });
}

void Queue::threadMain() {
  std::unique_lock lock(mutex_);
  for (;;) {
    arrived_.wait(lock, [&] { return head_ != nullptr; });
    Job* job = head_;
    head_ = job->next_;
    if (!head_) tail_ = nullptr;
    running_ = &job->client();
    const uint64_t bytes = job->bytes_;
    lock.unlock();
    {
      std::lock_guard execution(execution_);
      job->execute();
    }
    job->finish();
    lock.lock();
    running_ = nullptr;
    bytesInFlight_.fetch_sub(bytes, std::memory_order_relaxed);
    // Tickets of discarded jobs in between count as reached.
    completed_.store(head_ ? head_->ticket_ - 1 : submitted_.load(std::memory_order_relaxed),
                     std::memory_order_release);
    advanced_.notify_all();
  }
}

void Queue::discardJobsOf(const Client& client) {
  Job* discarded = nullptr;
  {
    std::unique_lock lock(mutex_);
    Job** link = &head_;
    tail_ = nullptr;
    while (Job* job = *link) {
      if (&job->client() == &client) {
        *link = job->next_;
        bytesInFlight_.fetch_sub(job->bytes_, std::memory_order_relaxed);
        job->next_ = discarded;
        discarded = job;
      } else {
        tail_ = job;
        link = &job->next_;
      }
    }
    if (!running_) {
      completed_.store(head_ ? head_->ticket_ - 1 : submitted_.load(std::memory_order_relaxed),
                       std::memory_order_release);
      advanced_.notify_all();
    }
    advanced_.wait(lock, [&] { return running_ != &client; });
  }
  while (discarded) {
    Job* next = discarded->next_;
    discarded->discard();
    discarded = next;
  }
}

}  // namespace figment
