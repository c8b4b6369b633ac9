#include "shortage.h"

namespace figment {

uint64_t RunRoom::blocks() const {
  return results + CachingAllocator::blockBytes(temporaries) +
         CachingAllocator::blockBytes(scratch);
}

std::string RunRoom::text() const {
  const auto block = [](uint64_t bytes) {
    return std::to_string(CachingAllocator::blockBytes(bytes));
  };
  const std::string first =
      results > 0 ? std::to_string(results) + " bytes for its results, " + block(temporaries)
                  : block(temporaries) + " bytes";
  return "a program needs " + first + " for its temporaries and " + block(scratch) +
         " for its kernels";
}

std::string describeShortage(const std::string& request, uint64_t blocks, uint64_t inUse,
                             uint64_t limit) {
  const std::string said = "out of memory: " + request + ", " + std::to_string(inUse) +
                           " are in use, the limit is " + std::to_string(limit);
  const uint64_t least = inUse + blocks;
  if (limit != 0 && least > limit)
    return said + "; it takes a limit of at least " + std::to_string(least);
  return said + "; the system has no more";
}

std::string describeShortage(const RunRoom& room, const MemoryCounters& now) {
  return describeShortage(room.text(), room.blocks(), now.inUse, now.limit);
}

}  // namespace figment
