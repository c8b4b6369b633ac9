// One sweep over many tensors: their elements, end to end, in chunks of fixed size that never
// straddle two tensors. Where the tensors lie is a table in the launch's parameters, as many as
// they hold; of more tensors there are more launches.
#pragma once

#include "../../device/four.h"
#include "../../device/launch.h"

namespace figment::cuda {

/// What a table may take of the 4 KiB of a launch's parameters.
constexpr int kTableBytes = 3840;

#ifdef FIGMENT_KERNELS
/// The last of `tensors` whose first chunk, firstOf(t), is not after this one.
template <class F>
FIGMENT_DEVICE int lastNotAfter(uint32_t chunk, int tensors, F&& firstOf) {
  int low = 0, high = tensors;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (firstOf(middle) <= chunk)
      low = middle;
    else
      high = middle;
  }
  return low;
}
#endif

/// Of each tensor `kGroups` arrays of the same length: parameters, gradients, states, results.
template <class T, int kGroups>
struct SweepTable {
  static constexpr int kMost = kTableBytes / (8 * kGroups + 16);
  Global<T> at[kGroups][kMost];
  int64_t count[kMost];
  uint32_t firstChunk[kMost];  ///< in order; each tensor has some
  int32_t index[kMost];        ///< among the operation's
  int32_t tensors = 0;
  uint32_t chunks = 0;
  bool aligned = true;  ///< every array starts at a multiple of 16 bytes

  bool full() const { return tensors == kMost; }
  /// Adds a tensor that is not empty.
  void add(const Operand* const (&arrays)[kGroups], int number, int64_t chunk) {
    for (int g = 0; g < kGroups; g++) {
      at[g][tensors] = viewOf<T>(*arrays[g]);
      aligned = aligned && startsAligned(*arrays[g]);
    }
    count[tensors] = arrays[0]->elements();
    firstChunk[tensors] = chunks;
    index[tensors] = number;
    chunks += uint32_t(ceilDiv(count[tensors], chunk));
    tensors++;
  }

#ifdef FIGMENT_KERNELS
  /// The tensor that a chunk is of.
  FIGMENT_DEVICE int tensorOf(uint32_t chunk) const {
    return lastNotAfter(chunk, tensors, [&](int t) { return firstChunk[t]; });
  }
#endif
};

constexpr Variant multiTensorVariant(const char* op, int (*supports)(const OpCall&),
                                     void (*run)(const OpCall&, Context&),
                                     size_t (*scratch)(const OpCall&, int) = nullptr) {
  return {.op = op,
          .name = "multi-tensor",
          .isa = Isa::sm75,
          .supports = supports,
          .scratch = scratch,
          .run = run};
}

}  // namespace figment::cuda
