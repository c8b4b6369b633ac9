// Clusters of blocks that read each other's shared memory. Of the emulator alone, because only
// Hopper's GPUs have them, and there most of these faults show when blocks happen to run apart.
#ifdef FIGMENT_EMULATED
#include "cases.h"
#include "device/cluster.h"
#include "device/instructions.h"

namespace figment::cuda::cases {
namespace {

constexpr int kThreads = 64;
constexpr int kTurns = 3;

enum class Exchange {
  correct,
  noFirstBarrier,
  noLastBarrier,
  blockBarrierOnly,
  writesBeforeBarrier,
  blockReturns,
  halfReturns,
  twoPlaces,
  blocksOwnBarrier,
  outside,
  pastEnd
};

/// Each block writes numbers and reads those of the next.
template <Exchange fault, int blocks>
FIGMENT_KERNEL(kThreads)
exchangeKernel(Global<float> y) {
  FIGMENT_SHARED(float, own, kThreads);
  const int t = int(threadIdx.x), rank = Cluster::rank();
  const int next = fault == Exchange::outside ? blocks : (rank + 1) % blocks;
  if (fault == Exchange::blockBarrierOnly) Cluster::sync();
  own[t] = float(rank * kThreads + t);
  if (fault == Exchange::blockReturns && rank == 1) return;
  if (fault == Exchange::halfReturns && t >= kThreads / 2) return;
  if (fault == Exchange::blocksOwnBarrier && t >= kThreads / 2) __syncthreads();
  if (fault == Exchange::noFirstBarrier || fault == Exchange::blockBarrierOnly)
    __syncthreads();
  else if (fault == Exchange::twoPlaces && rank == 0)
    Cluster::sync();
  else
    Cluster::sync();
  const int at = kThreads - 1 - t + (fault == Exchange::pastEnd);
  const float read = Cluster::read(own, at, next);
  if (fault == Exchange::writesBeforeBarrier) own[t] = 0;
  if (fault != Exchange::noLastBarrier) Cluster::sync();
  if (fault == Exchange::correct) own[t] = 0;
  y[blockIdx.x * kThreads + threadIdx.x] = read;
}
template <Exchange fault, int blocks = 2>
void exchange(Bench& bench, int64_t grid = 2 * blocks) {
  const auto y = bench.numbers<float>(grid * kThreads);
  launchClusters<exchangeKernel<fault, blocks>>(bench.launcher(), {.x = grid}, blocks, kThreads, 0,
                                                y);
  bench.expect(y, grid * kThreads, [](int64_t i) {
    return (i / kThreads + 1) % blocks * kThreads + kThreads - 1 - i % kThreads;
  });
}
FIGMENT_CORRECT(exchangesInClusters, racecheck) { exchange<Exchange::correct>(bench); }
FIGMENT_CORRECT(exchangesInClustersOfOne, racecheck) { exchange<Exchange::correct, 1>(bench); }
FIGMENT_CORRECT(exchangesInClustersOfEight, racecheck) { exchange<Exchange::correct, 8>(bench); }
FIGMENT_STRICT_FAULT(readsBlockThatNeedNotHaveBegun, racecheck) {
  exchange<Exchange::noFirstBarrier>(bench);
}
FIGMENT_STRICT_FAULT(blockEndsWhileItIsRead, racecheck) {
  exchange<Exchange::noLastBarrier>(bench);
}
FIGMENT_STRICT_FAULT(readsWhatOtherBlockWrites, racecheck) {
  exchange<Exchange::blockBarrierOnly>(bench);
}
FIGMENT_STRICT_FAULT(writesWhatOtherBlockReads, racecheck) {
  exchange<Exchange::writesBeforeBarrier>(bench);
}
FIGMENT_STRICT_FAULT(blockSkipsClustersBarrier, synccheck) {
  exchange<Exchange::blockReturns>(bench);
}
FIGMENT_STRICT_FAULT(halfOfBlocksSkipClustersBarrier, synccheck) {
  exchange<Exchange::halfReturns>(bench);
}
FIGMENT_STRICT_FAULT(clusterWaitsInTwoPlaces, synccheck) { exchange<Exchange::twoPlaces>(bench); }
FIGMENT_STRICT_FAULT(blocksBarrierMeetsClusters, synccheck) {
  exchange<Exchange::blocksOwnBarrier>(bench);
}
FIGMENT_STRICT_FAULT(readsBlockOutsideCluster, memcheck) { exchange<Exchange::outside>(bench); }
FIGMENT_STRICT_FAULT(readsPastEndInOtherBlock, memcheck) { exchange<Exchange::pastEnd>(bench); }
FIGMENT_STRICT_FAULT(clustersDoNotFillGrid, launch) { exchange<Exchange::correct>(bench, 3); }

/// Numbers go around the cluster. With two arrays a barrier a turn does, because who still reads
/// one is a barrier behind who writes it again.
template <int arrays, int barriers>
FIGMENT_KERNEL(kThreads)
ringKernel(Global<float> y) {
  FIGMENT_SHARED(float, numbers, arrays* kThreads);
  const int t = int(threadIdx.x), next = (Cluster::rank() + 1) % 4;
  float mine = float(Cluster::rank());
  for (int turn = 0; turn < kTurns; turn++) {
    const int at = turn % arrays * kThreads + t;
    numbers[at] = mine;
    Cluster::sync();
    mine = Cluster::read(numbers, at, next);
    if (barriers == 2) Cluster::sync();
  }
  Cluster::sync();
  y[blockIdx.x * kThreads + threadIdx.x] = mine;
}
template <int arrays, int barriers>
void goAround(Bench& bench) {
  const auto y = bench.numbers<float>(4 * kThreads);
  launchClusters<ringKernel<arrays, barriers>>(bench.launcher(), {.x = 4}, 4, kThreads, 0, y);
  bench.expect(y, 4 * kThreads, [](int64_t i) { return (i / kThreads + kTurns) % 4; });
}
FIGMENT_CORRECT(goesAroundWithTwoBarriers, racecheck) { goAround<1, 2>(bench); }
FIGMENT_CORRECT(goesAroundWithTwoArrays, racecheck) { goAround<2, 1>(bench); }
FIGMENT_STRICT_FAULT(goesAroundWithOneOfEach, racecheck) { goAround<1, 1>(bench); }

/// A block reads its own memory as any other's, but needs no barrier of the cluster for it.
FIGMENT_KERNEL(kThreads)
ownKernel(Global<float> y) {
  FIGMENT_SHARED(float, own, kThreads);
  const int t = int(threadIdx.x);
  own[t] = float(t);
  __syncthreads();
  y[blockIdx.x * kThreads + threadIdx.x] = Cluster::read(own, kThreads - 1 - t, Cluster::rank());
}
FIGMENT_CORRECT(readsOwnBlockInCluster, racecheck) {
  const auto y = bench.numbers<float>(2 * kThreads);
  launchClusters<ownKernel>(bench.launcher(), {.x = 2}, 2, kThreads, 0, y);
  bench.expect(y, 2 * kThreads, [](int64_t i) { return kThreads - 1 - i % kThreads; });
}

/// Threads of a block add up in a word that the other block reads, or copy to it.
template <bool waits>
FIGMENT_KERNEL(kThreads)
gatherKernel(Global<const float> x, Global<float> y) {
  FIGMENT_SHARED(float, copied, kThreads);
  FIGMENT_SHARED(float, total, 1);
  const int t = int(threadIdx.x), other = 1 - Cluster::rank();
  if (t == 0) total[0] = 0;
  __syncthreads();
  atomicAddAt(total, 0, 1.0f);
  copyAsync4(copied, t, x, t);
  commitCopies();
  if (waits) waitForCopies<0>();
  Cluster::sync();
  const float sum = Cluster::read(total, 0, other) + Cluster::read(copied, kThreads - 1 - t, other);
  Cluster::sync();
  waitForCopies<0>();
  y[blockIdx.x * kThreads + threadIdx.x] = sum;
}
template <bool waits>
void gather(Bench& bench) {
  const auto y = bench.numbers<float>(2 * kThreads);
  launchClusters<gatherKernel<waits>>(bench.launcher(), {.x = 2}, 2, kThreads, 0,
                                      Global<const float>(bench.numbers<float>(kThreads)), y);
  bench.expect(y, 2 * kThreads, [](int64_t i) { return 2 * kThreads - i % kThreads; });
}
FIGMENT_CORRECT(readsSumsAndCopiesOfOtherBlock, racecheck) { gather<true>(bench); }
FIGMENT_STRICT_FAULT(readsCopyUnderWayInOtherBlock, racecheck) { gather<false>(bench); }

}  // namespace
}  // namespace figment::cuda::cases
#endif
