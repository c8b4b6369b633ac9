// Which launches of a recorded program must wait for which: one that reads waits for the last that
// wrote there, one that writes for all that have read or written there. Others may run at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernel.h"

namespace figment::cuda {

/// A run of memory.
struct Range {
  const std::byte* begin;
  const std::byte* end;
};

/// All that lies between the first and the last element of an operand; empty of an empty one.
Range rangeOf(const Operand& operand);

class DataOrder {
 public:
  /// The next launch. Answers the numbers of those before it that it follows, least first, without
  /// those that these follow anyway.
  std::vector<uint32_t> add(std::vector<Range> reads, std::vector<Range> writes);
  /// Those that no other follows.
  std::vector<uint32_t> last() const;

 private:
  struct Launch {
    std::vector<Range> reads, writes;
    std::vector<uint64_t> before;  ///< those that are over when it begins, a bit each
    bool followed = false;
  };

  std::vector<Launch> launches_;
};

}  // namespace figment::cuda
