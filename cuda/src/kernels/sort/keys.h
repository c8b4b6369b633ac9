// Elements as integers whose ascending order is the wanted one, as on the CPU
// (native/src/kernels/sort): the order of the elements (reversed when descending) with NaN last
// either way, ties by position. All keys of a row differ, so its order is the same however it is
// found.
#pragma once

#include "../../device/launch.h"
#include "../../device/number.h"

namespace figment::cuda {

#ifdef FIGMENT_KERNELS

/// The order of f32 as that of unsigned integers; zeros of both signs are equal.
FIGMENT_DEVICE uint32_t orderOf(float x, bool descending) {
  if (x != x) return 0xffffffffu;  // infinity of either order stays below
  const uint32_t bits = x == 0 ? 0 : floatToBits(x);
  const uint32_t order = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return descending ? ~order : order;
}
FIGMENT_DEVICE uint32_t orderOf(int32_t x, bool descending) {
  const uint32_t order = uint32_t(x) ^ 0x80000000u;
  return descending ? ~order : order;
}
template <class T>
FIGMENT_DEVICE uint64_t keyOf(T x, int64_t position, bool descending) {
  return uint64_t(orderOf(x, descending)) << 32 | uint64_t(position);
}
FIGMENT_DEVICE int32_t positionOf(uint64_t key) { return int32_t(uint32_t(key)); }

/// After every key.
constexpr uint64_t kNoKey = ~uint64_t(0);

/// Sorts keys in shared memory by Batcher's bitonic network (K. E. Batcher, "Sorting networks and
/// their applications", AFIPS 1968); their number is a power of two. All threads of the block call
/// it, after a barrier; it ends with one.
FIGMENT_DEVICE void bitonicSort(const Shared<uint64_t>& keys, int count) {
  for (int run = 2; run <= count; run *= 2)
    for (int step = run / 2; step > 0; step /= 2) {
      for (int i = threadInBlock(); i < count / 2; i += int(blockDim.x)) {
        const int low = 2 * i - (i & (step - 1)), high = low + step;
        const uint64_t a = keys[low], b = keys[high];
        const bool ascending = (low & run) == 0;
        if ((a > b) == ascending) {
          keys[low] = b;
          keys[high] = a;
        }
      }
      __syncthreads();
    }
}

#endif

// --- Rows of any length, digit by digit from the lowest (radix.cu)
// --------------------------------

/// Bytes of radixSort's scratch besides the keys.
size_t radixBytes(int64_t rows, int64_t cols);

/// Sorts each of `rows` rows of `cols` keys by their upper halves, of which only the lowest `bits`
/// may differ; equal ones keep their order. Answers which of the two arrays holds the result.
Global<uint64_t> radixSort(Launcher& launcher, Global<uint64_t> keys, Global<uint64_t> spare,
                           Global<uint32_t> counts, int64_t rows, int64_t cols, int bits);

}  // namespace figment::cuda
