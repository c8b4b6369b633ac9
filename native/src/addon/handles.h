// Handles: the numbers by which JavaScript names native objects. A handle holds the object's kind,
// its index in this environment's table and the generation of that index, so that a stale, foreign
// or invented number is recognised and never followed.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "../runtime/error.h"
#include "../runtime/ref.h"

namespace figment {

enum class HandleKind : uint32_t { buffer = 0, program = 1, binding = 2, cancel = 3 };

inline const char* handleKindName(HandleKind kind) {
  constexpr const char* kNames[] = {"buffer", "program", "binding", "cancel token"};
  return kNames[uint32_t(kind)];
}

/// The objects of one kind. A handle is generation · 2^24 + index · 4 + kind, below 2^53.
template <class T, HandleKind kind>
class HandleTable {
 public:
  double add(Ref<T> object) {
    uint32_t index;
    if (free_.empty()) {
      index = uint32_t(entries_.size());
      if (index > kMaxIndex)
        throw Error(code::kHandle,
                    std::string("too many live handles of kind ") + handleKindName(kind));
      entries_.push_back({});
      free_.reserve(entries_.size());  // so that remove() cannot fail
    } else {
      index = free_.back();
      free_.pop_back();
    }
    entries_[index].object = std::move(object);
    return double(uint64_t(entries_[index].generation) << kGenerationShift |
                  uint64_t(index) << kIndexShift | uint64_t(kind));
  }

  T& get(double handle) const { return *entries_[indexOf(handle)].object; }

  Ref<T> remove(double handle) {
    const uint32_t index = indexOf(handle);
    Entry& entry = entries_[index];
    Ref<T> object = std::move(entry.object);
    // An index whose generations are used up is retired: no handle ever means two objects.
    if (entry.generation < kMaxGeneration) {
      entry.generation++;
      free_.push_back(index);
    }
    return object;
  }

 private:
  static constexpr int kIndexShift = 2, kGenerationShift = 24;
  static constexpr uint32_t kMaxIndex = (1u << (kGenerationShift - kIndexShift)) - 1;
  static constexpr uint32_t kMaxGeneration = (1u << 29) - 1;
  static constexpr double kTwoTo53 = 9007199254740992.0;

  struct Entry {
    Ref<T> object;
    uint32_t generation = 1;
  };

  uint32_t indexOf(double handle) const {
    if (handle >= 1 && handle < kTwoTo53 && handle == std::floor(handle)) {
      const auto bits = uint64_t(handle);
      const auto index = uint32_t(bits >> kIndexShift) & kMaxIndex;
      if ((bits & 3) == uint64_t(kind) && index < entries_.size() &&
          entries_[index].generation == bits >> kGenerationShift && entries_[index].object)
        return index;
    }
    throw Error(code::kHandle, std::string("not a live ") + handleKindName(kind) +
                                   " handle: " + std::to_string(handle));
  }

  std::vector<Entry> entries_;
  std::vector<uint32_t> free_;
};

}  // namespace figment
