// The search for the first of many numbers that a kernel cannot work with: each block reports the
// first of those that it has looked at, and the sink keeps the first of all.
#pragma once

#include "../device/failure.h"
#include "../device/warp.h"

namespace figment::cuda {

#ifdef FIGMENT_KERNELS

/// Looks at [0, count) with all threads of a one-dimensional grid of blocks of `threads`.
/// bad(position, value) tells whether a position fails, and sets the value that is reported.
template <int threads, class Bad>
FIGMENT_DEVICE void reportFirst(int64_t count, uint32_t operand, const FailureSink& failures,
                                Bad bad) {
  int64_t first = count;
  double value = 0;
  for (int64_t i = threadInGrid(); i < count; i += threadsOfGrid()) {
    if (!bad(i, value)) continue;
    first = i;
    break;
  }
  if (!__syncthreads_or(first < count)) return;
  const int64_t least = blockReduce<Minimum, threads>(first, count);
  if (first == least && first < count) failures.report(operand, first, value);
}

#endif

}  // namespace figment::cuda
