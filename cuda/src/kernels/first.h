// The search for the first of many numbers that a kernel cannot work with: each block reports the
// first of those that it has looked at, and the sink keeps the first of all.
#pragma once

#include "../device/failure.h"
#include "../device/warp.h"

namespace figment::cuda {

#ifdef FIGMENT_KERNELS

/// Of the first bad positions that threads of a block have found (`none` where one has found none)
/// reports the least, with its thread's value. All threads of a block of `threads` call it.
template <int threads>
FIGMENT_DEVICE void reportLeast(int64_t first, int64_t none, double value, uint32_t operand,
                                const FailureSink& failures) {
  if (!__syncthreads_or(first < none)) return;
  const int64_t least = blockReduce<Minimum, threads>(first, none);
  if (first == least && first < none) failures.report(operand, first, value);
}

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
  reportLeast<threads>(first, count, value, operand, failures);
}

#endif

}  // namespace figment::cuda
