// Packed copies of states, kept from run to run for the kernels that read them in another order
// than they lie in. A copy goes when its state is written or freed, when memory runs short, or
// never: a kernel packs by itself whenever there is none, with the same results.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "../kernels/registry.h"
#include "allocator.h"

namespace figment {

/// Which copy of a state: two are the same if all of this is.
struct PackedKey {
  int64_t byteOffset;  ///< of the operand within the state
  const char* op;
  const char* variant;
  Packing packing;

  bool operator==(const PackedKey&) const = default;
};

struct PackedCopy {
  PackedKey key;
  std::byte* data;
  bool ready;  ///< whether the contents are there
};

class PackedStates {
 public:
  explicit PackedStates(CachingAllocator& allocator) : allocator_(allocator) {}

  /// The copy of the state at that address, made without contents when there is none; null when
  /// there is no room for it. Valid until the state is forgotten. Only the executor asks.
  PackedCopy* copyOf(const void* state, const PackedKey& key);
  /// The state is about to change or has been freed. Any thread, but not while a run reads it.
  void forget(const void* state);
  void clear();
  uint64_t bytes() const;

 private:
  void release(const std::vector<PackedCopy>& copies);

  CachingAllocator& allocator_;
  mutable std::mutex mutex_;
  std::unordered_map<const void*, std::vector<PackedCopy>> copies_;
  uint64_t bytes_ = 0;
};

}  // namespace figment
