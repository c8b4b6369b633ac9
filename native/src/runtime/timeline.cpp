#include "timeline.h"

#include <algorithm>

namespace figment {

void Timeline::on() {
  std::lock_guard lock(mutex_);
  if (users_++ > 0) return;
  ring_.resize(kCapacity);
  first_ = next_;
}

void Timeline::off() {
  std::lock_guard lock(mutex_);
  if (users_ == 0 || --users_ > 0) return;
  ring_ = {};
  first_ = next_;
}

void Timeline::add(const TimelineEvent& event) {
  std::lock_guard lock(mutex_);
  if (ring_.empty()) return;
  ring_[next_ % kCapacity] = event;
  next_++;
  first_ = std::max(first_, next_ - std::min(next_, kCapacity));
}

uint64_t Timeline::read(uint64_t since, std::vector<TimelineEvent>& events) const {
  std::lock_guard lock(mutex_);
  const uint64_t begin = std::clamp(since, first_, next_);
  events.reserve(events.size() + size_t(next_ - begin));
  for (uint64_t i = begin; i < next_; i++) events.push_back(ring_[i % kCapacity]);
  return begin;
}

}  // namespace figment
