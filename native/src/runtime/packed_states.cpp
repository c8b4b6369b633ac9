#include "packed_states.h"

#include <algorithm>

namespace figment {
namespace {

/// Copies take at most this part of the memory that the process may hold.
constexpr uint64_t kShareOfMemory = 8;

}  // namespace

PackedCopy* PackedStates::copyOf(const void* state, const PackedKey& key) {
  std::lock_guard lock(mutex_);
  const auto known = copies_.find(state);
  if (known != copies_.end()) {
    for (PackedCopy& copy : known->second)
      if (copy.key == key) return &copy;
  }
  const uint64_t limit = allocator_.counters().limit;
  const uint64_t budget = limit > 0 ? limit / kShareOfMemory : ~uint64_t(0);
  if (bytes_ > budget || key.packing.bytes > budget - bytes_) return nullptr;
  auto* data = static_cast<std::byte*>(allocator_.allocate(key.packing.bytes));
  if (!data) return nullptr;
  bytes_ += key.packing.bytes;
  std::vector<PackedCopy>& copies = copies_[state];
  copies.push_back({key, data, false});
  return &copies.back();
}

void PackedStates::forget(const void* state) {
  std::lock_guard lock(mutex_);
  const auto known = copies_.find(state);
  if (known == copies_.end()) return;
  release(known->second);
  copies_.erase(known);
}

void PackedStates::clear() {
  std::lock_guard lock(mutex_);
  for (const auto& [state, copies] : copies_) release(copies);
  copies_.clear();
}

uint64_t PackedStates::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

void PackedStates::release(const std::vector<PackedCopy>& copies) {
  for (const PackedCopy& copy : copies) {
    allocator_.release(copy.data, copy.key.packing.bytes);
    bytes_ -= copy.key.packing.bytes;
  }
}

}  // namespace figment
