// Asynchronous copies into shared memory: waited for or not, seen by others before a barrier or
// after.
#include "cases.h"
#include "device/instructions.h"

namespace figment::cuda::cases {
namespace {

constexpr int kThreads = 64;
constexpr int kTile = 4 * kThreads;

template <bool wait, bool barrier>
FIGMENT_KERNEL(kThreads)
copyKernel(Global<const float> x, Global<float> y) {
  FIGMENT_SHARED(float, tile, kTile);
  copyAsync16(tile, 4 * int(threadIdx.x), x, 4 * int(threadIdx.x));
  commitCopies();
  if constexpr (wait) waitForCopies<0>();
  if constexpr (barrier) __syncthreads();
  y[threadIdx.x] = tile[kTile - 1 - int(threadIdx.x)];
}

FIGMENT_FAULT(readsCopyThatNobodyAwaited, racecheck) {
  const auto x = bench.numbers<float>(kTile), y = bench.numbers<float>(kThreads);
  launch<copyKernel<false, true>>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y);
}
FIGMENT_FAULT(readsCopyOfOtherWithoutBarrier, racecheck) {
  const auto x = bench.numbers<float>(kTile), y = bench.numbers<float>(kThreads);
  launch<copyKernel<true, false>>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y);
}
FIGMENT_CORRECT(readsCopyAfterWaitAndBarrier, racecheck) {
  const auto x = bench.numbers<float>(kTile), y = bench.numbers<float>(kThreads);
  launch<copyKernel<true, true>>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y);
  bench.expect(y, kThreads, [](int64_t i) { return kTile - i; });
}

/// Tiles in turn through a ring of `stages` buffers, `stages` − 1 of them under way. `slack` too
/// many left under way is a fault, and so is a buffer that is filled while others read it.
template <int stages, int slack, bool barrier>
FIGMENT_KERNEL(kThreads)
pipelineKernel(Global<const float> x, Global<float> y, int tiles) {
  FIGMENT_SHARED(float, ring, stages* kTile);
  const int mine = 4 * int(threadIdx.x);
  for (int t = 0; t < stages - 1; t++) {
    if (t < tiles) copyAsync16(ring, t * kTile + mine, x, t * kTile + mine);
    commitCopies();
  }
  float sum = 0;
  for (int t = 0; t < tiles; t++) {
    waitForCopies<stages - 2 + slack>();
    __syncthreads();
    const int next = t + stages - 1;
    if constexpr (!barrier) {
      // What a buffer of the ring holds is still read by slower threads.
      if (next < tiles) copyAsync16(ring, t % stages * kTile + mine, x, next * kTile + mine);
    } else {
      if (next < tiles) copyAsync16(ring, next % stages * kTile + mine, x, next * kTile + mine);
    }
    commitCopies();
    sum += ring[t % stages * kTile + kTile - 1 - int(threadIdx.x)];
  }
  y[threadIdx.x] = sum;
}

constexpr int kTiles = 7;

FIGMENT_FAULT(pipelineWaitsForTooFew, racecheck) {
  const auto x = bench.numbers<float>(kTiles * kTile), y = bench.numbers<float>(kThreads);
  launch<pipelineKernel<3, 1, true>>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y,
                                     kTiles);
}
FIGMENT_FAULT(pipelineFillsWhatIsRead, racecheck) {
  const auto x = bench.numbers<float>(kTiles * kTile), y = bench.numbers<float>(kThreads);
  launch<pipelineKernel<3, 0, false>>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y,
                                      kTiles);
}
FIGMENT_CORRECT(pipelineOfThreeStages, racecheck) {
  const auto x = bench.numbers<float>(kTiles * kTile), y = bench.numbers<float>(kThreads);
  launch<pipelineKernel<3, 0, true>>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y,
                                     kTiles);
  bench.expect(y, kThreads,
               [](int64_t i) { return kTiles * (kTile - i) + kTile * kTiles * (kTiles - 1) / 2; });
}

FIGMENT_KERNEL(kThreads) zeroKernel(Global<const float> x, Global<float> y) {
  FIGMENT_SHARED(float, tile, kThreads);
  copyAsync4(tile, int(threadIdx.x), x, int64_t(threadIdx.x) * 1000, threadIdx.x == 0);
  commitCopies();
  waitForCopies<0>();
  y[threadIdx.x] = tile[int(threadIdx.x)];
}
FIGMENT_CORRECT(copiesZerosFromNowhere, memcheck) {
  const auto x = bench.numbers<float>(1), y = bench.numbers<float>(kThreads);
  launch<zeroKernel>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y);
  bench.expect(y, kThreads, [](int64_t i) { return i == 0; });
}

FIGMENT_KERNEL(kThreads) crookedKernel(Global<const float> x, Global<float> y) {
  FIGMENT_SHARED(float, tile, kTile + 4);
  copyAsync16(tile, 4 * int(threadIdx.x) + 1, x, 4 * int(threadIdx.x));
  commitCopies();
  waitForCopies<0>();
  y[threadIdx.x] = tile[4 * int(threadIdx.x) + 1];
}
FIGMENT_FAULT(copyOffAlignment, memcheck) {
  const auto x = bench.numbers<float>(kTile), y = bench.numbers<float>(kThreads);
  launch<crookedKernel>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y);
}

}  // namespace
}  // namespace figment::cuda::cases
