// What to say when a device's memory is exhausted: what was asked for, what there is, and the least
// limit for it. Amounts are those of blocks, which is what limits are held to.
#pragma once

#include <cstdint>
#include <string>

#include "allocator.h"

namespace figment {

/// Bytes that a run takes besides inputs and states.
struct RunRoom {
  uint64_t results = 0;  ///< their blocks, in all; 0 where they have their places already
  uint64_t temporaries = 0;
  uint64_t scratch = 0;

  uint64_t blocks() const;
  std::string text() const;
};

/// That `request`, which takes so many bytes of blocks, finds no room beside what is in use.
std::string describeShortage(const std::string& request, uint64_t blocks, uint64_t inUse,
                             uint64_t limit);
std::string describeShortage(const RunRoom& room, const MemoryCounters& now);

}  // namespace figment
