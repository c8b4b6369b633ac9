// What ran when, for profiles: program runs, their records, and the pieces of records that workers
// take. A ring that keeps the latest events; nothing is noted, and no memory held, while nobody
// profiles.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <vector>

namespace figment {

enum class EventKind : uint32_t { run = 0, record = 1, piece = 2 };

/// Something that took time. Names live as long as the process.
struct TimelineEvent {
  EventKind kind;
  uint32_t worker;   ///< of the pool; 0 for runs and records, which the queue's thread sees to
  uint32_t program;  ///< Program::id
  uint32_t record;   ///< index within the program; 0 for runs
  uint32_t tag;
  const char* op;  ///< null for runs
  const char* variant;
  double startMicros;  ///< on the clock of `now`
  double micros;
};

class Timeline {
 public:
  /// Events kept; older ones are overwritten.
  static constexpr uint64_t kCapacity = uint64_t(1) << 18;

  /// As many calls of off as of on turn it off again.
  void on();
  void off();
  /// Asked once per run; answers null when nobody profiles.
  Timeline* active() { return users_.load(std::memory_order_relaxed) > 0 ? this : nullptr; }

  void add(const TimelineEvent& event);
  /// Appends the events from number `since` on that are still there; answers the number of the
  /// first, or of the next to come when there is none. Numbers go up from 0 for the whole process.
  uint64_t read(uint64_t since, std::vector<TimelineEvent>& events) const;

  /// Microseconds on a clock that never goes back.
  static double now() {
    return std::chrono::duration<double, std::micro>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

 private:
  std::atomic<int> users_{0};
  mutable std::mutex mutex_;
  std::vector<TimelineEvent> ring_;
  uint64_t next_ = 0;
  uint64_t first_ = 0;  ///< oldest event in the ring
};

}  // namespace figment
