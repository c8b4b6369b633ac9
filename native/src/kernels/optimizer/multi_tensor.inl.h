// One parallel sweep over many tensors: their elements, end to end, in chunks of fixed size that
// never straddle two tensors. Which chunk is where follows from the sizes alone.
#pragma once

#include "../norm/isa_variant.h"

namespace figment::FIGMENT_ISA {

constexpr int64_t kSweepChunk = 16384;

/// Its own loop, because inline functions of kernel.h must not be compiled for this ISA.
FIGMENT_INLINE int64_t flatElements(const Operand& operand) {
  int64_t elements = 1;
  for (int i = 0; i < operand.rank; i++) elements *= operand.dims[i];
  return elements;
}

/// Where each of `count` tensors' chunks begin; lives in scratch memory.
struct SweepTable {
  int64_t* firstChunk;  ///< [count + 1]
  int count;

  static size_t bytes(int64_t tensors) {
    return size_t(alignedFloats(2 * (tensors + 1))) * sizeof(float);
  }

  SweepTable(const Operand* tensors, int tensorCount, std::byte* memory)
      : firstChunk(reinterpret_cast<int64_t*>(memory)), count(tensorCount) {
    firstChunk[0] = 0;
    for (int t = 0; t < count; t++)
      firstChunk[t + 1] = firstChunk[t] + ceilDivide(flatElements(tensors[t]), kSweepChunk);
  }

  int64_t chunks() const { return firstChunk[count]; }
  /// The tensor that chunk lies in: the last whose first chunk is not after it.
  int tensorOf(int64_t chunk) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = low + (high - low) / 2;
      (firstChunk[middle] <= chunk ? low : high) = middle;
    }
    // Empty tensors share their first chunk with the next one, which the search already prefers.
    return low;
  }
};

/// Calls f(tensor, first element, elements, chunk) for every chunk, in parallel.
template <class F>
void sweep(const SweepTable& table, const Operand* tensors, Context& context, F&& f) {
  context.parallelFor(table.chunks(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t chunk = begin; chunk < end; chunk++) {
      const int tensor = table.tensorOf(chunk);
      const int64_t first = (chunk - table.firstChunk[tensor]) * kSweepChunk;
      f(tensor, first, smaller(kSweepChunk, flatElements(tensors[tensor]) - first), chunk);
    }
  });
}

}  // namespace figment::FIGMENT_ISA
