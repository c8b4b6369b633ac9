// Sums and extremes over the threads of a warp and of a block, in an order that depends on nothing
// but the number of threads: the same bits in every run. All threads of the warp (of the block)
// call them, and all get the result.
#pragma once

#include "memory.h"

namespace figment::cuda {

struct Sum {
  template <class T>
  FIGMENT_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
/// NaN where either is.
struct Maximum {
  template <class T>
  FIGMENT_DEVICE T operator()(T a, T b) const {
    return a != a ? a : b != b ? b : a > b ? a : b;
  }
};
struct Minimum {
  template <class T>
  FIGMENT_DEVICE T operator()(T a, T b) const {
    return a != a ? a : b != b ? b : a < b ? a : b;
  }
};

template <class Combine, class T>
FIGMENT_DEVICE T warpReduce(T value, Combine combine = {}) {
  FIGMENT_UNROLL
  for (int step = kWarp / 2; step > 0; step /= 2)
    value = combine(value, __shfl_xor_sync(kWholeWarp, value, step));
  return value;
}
template <class T>
FIGMENT_DEVICE T warpSum(T value) {
  return warpReduce<Sum>(value);
}
template <class T>
FIGMENT_DEVICE T warpMax(T value) {
  return warpReduce<Maximum>(value);
}

/// Over a block of `threads`, a multiple of 32 up to 1024. `identity` leaves others as they are.
/// Ends with a barrier, so that it can be called again at once.
template <class Combine, int threads, class T>
FIGMENT_DEVICE T blockReduce(T value, T identity, Combine combine = {}) {
  constexpr int kWarps = threads / kWarp;
  static_assert(threads % kWarp == 0 && kWarps <= kWarp);
  value = warpReduce(value, combine);
  if constexpr (kWarps == 1) return value;
  FIGMENT_SHARED(T, partial, kWarps);
  if (laneInWarp() == 0) partial[warpInBlock()] = value;
  __syncthreads();
  value = laneInWarp() < kWarps ? T(partial[laneInWarp()]) : identity;
  value = warpReduce(value, combine);
  __syncthreads();
  return value;
}
template <int threads, class T>
FIGMENT_DEVICE T blockSum(T value) {
  return blockReduce<Sum, threads>(value, T(0));
}

}  // namespace figment::cuda
