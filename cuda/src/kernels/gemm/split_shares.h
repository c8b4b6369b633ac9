// How threads share the partial sums of a product whose depth is split: neighbours take
// neighbouring results, and where those are too few to keep memory busy, several threads of a block
// take the splits of one in turns. Who takes which follows from the counts alone.
#pragma once

#include "../../device/launch.h"
#include "../../device/memory.h"

namespace figment::cuda {

struct SplitShares {
  static constexpr int kThreads = 128;  ///< of a block

  int shares = 1;  ///< threads for each result: a power of two

  SplitShares(int64_t results, int splits) {
    // With a few loads each, half of what a GPU holds do.
    constexpr int64_t kBusyThreads = int64_t{132} * 1024;
    constexpr int kFewestSplits = 4, kMostShares = 8;
    while (shares < kMostShares && results * shares < kBusyThreads &&
           splits >= 2 * shares * kFewestSplits)
      shares *= 2;
  }
  FIGMENT_BOTH int results() const { return kThreads / shares; }
  Grid grid(int64_t all) const { return blocksFor(ceilDiv(all, int64_t(results()))); }

#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE int64_t result() const {
    return blockInGrid() * results() + int(threadIdx.x) % results();
  }
  /// The sum of load(split, values) over all splits, in the first thread of each result, where it
  /// answers true. `shared` holds kThreads·N floats; all threads of the block call it, those
  /// without a result with no splits.
  template <int N, class Load>
  FIGMENT_DEVICE bool sum(float (&sums)[N], int splits, const Shared<float>& shared,
                          Load&& load) const {
    constexpr int kAtOnce = 4;  // loads that are under way together
    const int t = int(threadIdx.x), share = t / results();
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) sums[j] = 0;
    for (int first = share; first < splits; first += kAtOnce * shares) {
      float more[kAtOnce][N];
      // The last one again rather than none, or each load would wait for the one before.
      FIGMENT_UNROLL
      for (int i = 0; i < kAtOnce; i++) load(smaller(first + i * shares, splits - 1), more[i]);
      FIGMENT_UNROLL
      for (int i = 0; i < kAtOnce; i++) {
        FIGMENT_UNROLL
        for (int j = 0; j < N; j++) sums[j] += first + i * shares < splits ? more[i][j] : 0.0f;
      }
    }
    if (shares > 1) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) shared[j * kThreads + t] = sums[j];
      __syncthreads();
      for (int other = t + results(); share == 0 && other < kThreads; other += results()) {
        FIGMENT_UNROLL
        for (int j = 0; j < N; j++) sums[j] += shared[j * kThreads + other];
      }
    }
    return share == 0;
  }
#endif
};

}  // namespace figment::cuda
