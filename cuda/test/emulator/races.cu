// Races in shared memory, and what looks like one: between warps, within a warp, through atomics,
// through memory that is used twice.
#include "cases.h"
#include "device/warp.h"

namespace figment::cuda::cases {
namespace {

constexpr int kThreads = 128;

/// y[i] = x[i + distance], through shared memory.
template <bool barrier>
FIGMENT_KERNEL(kThreads)
neighbourKernel(Global<const float> x, Global<float> y, int distance) {
  FIGMENT_SHARED(float, tile, kThreads);
  tile[int(threadIdx.x)] = x[threadIdx.x];
  if constexpr (barrier) __syncthreads();
  y[threadIdx.x] = tile[(int(threadIdx.x) + distance) % kThreads];
}

FIGMENT_FAULT(readsWhatOtherWarpWrites, racecheck) {
  const auto x = bench.numbers<float>(kThreads), y = bench.numbers<float>(kThreads);
  launch<neighbourKernel<false>>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y, 32);
}
FIGMENT_FAULT(readsWhatOwnWarpWrites, racecheck) {
  const auto x = bench.numbers<float>(kThreads), y = bench.numbers<float>(kThreads);
  launch<neighbourKernel<false>>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y, 1);
}
FIGMENT_CORRECT(readsAfterBarrier, racecheck) {
  const auto x = bench.numbers<float>(kThreads), y = bench.numbers<float>(kThreads);
  launch<neighbourKernel<true>>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y, 1);
  bench.expect(y, kThreads, [](int64_t i) { return (i + 1) % kThreads + 1; });
}

/// The tile is rotated in place, with or without the barrier that keeps reads before writes.
template <bool barrier>
FIGMENT_KERNEL(kThreads)
rotateKernel(Global<float> y, int turns) {
  FIGMENT_SHARED(float, tile, kThreads);
  tile[int(threadIdx.x)] = y[threadIdx.x];
  for (int turn = 0; turn < turns; turn++) {
    __syncthreads();
    const float next = tile[(int(threadIdx.x) + 40) % kThreads];
    if constexpr (barrier) __syncthreads();
    tile[int(threadIdx.x)] = next;
  }
  y[threadIdx.x] = tile[int(threadIdx.x)];
}

FIGMENT_FAULT(writesWhatOthersRead, racecheck) {
  launch<rotateKernel<false>>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads), 3);
}
FIGMENT_CORRECT(rotatesBetweenBarriers, racecheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<rotateKernel<true>>(bench.launcher(), {}, kThreads, 0, y, 3);
  bench.expect(y, kThreads, [](int64_t i) { return (i + 120) % kThreads + 1; });
}

FIGMENT_KERNEL(kThreads) sameWordKernel(Global<float> y, int spacing) {
  FIGMENT_SHARED(float, tile, kThreads);
  tile[int(threadIdx.x) / spacing] = float(threadIdx.x);
  __syncthreads();
  y[threadIdx.x] = tile[int(threadIdx.x) / spacing];
}

FIGMENT_FAULT(twoWriteOneWord, racecheck) {
  launch<sameWordKernel>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads), 2);
}
FIGMENT_CORRECT(eachWritesItsWord, racecheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<sameWordKernel>(bench.launcher(), {}, kThreads, 0, y, 1);
  bench.expect(y, kThreads, [](int64_t i) { return i; });
}

/// Neighbouring halves of one word, written by two threads.
FIGMENT_KERNEL(kThreads) halvesKernel(Global<float> y) {
  FIGMENT_SHARED(uint16_t, tile, kThreads);
  tile[int(threadIdx.x)] = uint16_t(threadIdx.x);
  __syncthreads();
  y[threadIdx.x] = float(tile[kThreads - 1 - int(threadIdx.x)]);
}
FIGMENT_CORRECT(neighboursShareAWord, racecheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<halvesKernel>(bench.launcher(), {}, kThreads, 0, y);
  bench.expect(y, kThreads, [](int64_t i) { return kThreads - 1 - i; });
}

/// Each warp sums its 32 numbers in shared memory, as a tree.
template <bool synchronised>
FIGMENT_KERNEL(kThreads)
treeKernel(Global<float> y) {
  FIGMENT_SHARED(float, tile, kThreads);
  const int i = int(threadIdx.x), lane = laneInWarp();
  tile[i] = y[i];
  if constexpr (synchronised) __syncwarp();
  for (int step = 16; step > 0; step /= 2) {
    if (lane < step) tile[i] += tile[i + step];
    if constexpr (synchronised) __syncwarp();
  }
  y[i] = tile[i - lane];
}
FIGMENT_FAULT(treeWithoutSyncwarp, racecheck) {
  launch<treeKernel<false>>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads));
}
FIGMENT_CORRECT(treeWithSyncwarp, racecheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<treeKernel<true>>(bench.launcher(), {}, kThreads, 0, y);
  bench.expect(y, kThreads, [](int64_t i) { return 32 * (i / 32 * 32) + 528; });
}

/// Halves of a warp work apart, each with barriers of its own; `reach` further on lies what a lane
/// reads.
FIGMENT_KERNEL(32) halfWarpsKernel(Global<float> y, int reach) {
  FIGMENT_SHARED(float, tile, 32);
  const int lane = laneInWarp();
  tile[lane] = y[lane];
  if (lane < 16)
    __syncwarp(0x0000ffffu);
  else
    __syncwarp(0xffff0000u);
  y[lane] = tile[lane ^ reach];
}
FIGMENT_FAULT(halfWarpReadsTheOther, racecheck) {
  launch<halfWarpsKernel>(bench.launcher(), {}, 32, 0, bench.numbers<float>(32), 16);
}
FIGMENT_CORRECT(halfWarpReadsItself, racecheck) {
  const auto y = bench.numbers<float>(32);
  launch<halfWarpsKernel>(bench.launcher(), {}, 32, 0, y, 8);
  bench.expect(y, 32, [](int64_t i) { return (i ^ 8) + 1; });
}

/// Shuffles exchange registers; they do not order memory.
FIGMENT_KERNEL(32) shuffledKernel(Global<float> y) {
  FIGMENT_SHARED(float, tile, 32);
  const int lane = laneInWarp();
  tile[lane] = y[lane];
  const float other = __shfl_xor_sync(kWholeWarp, y[lane], 1);
  y[lane] = other + tile[lane ^ 1];
}
FIGMENT_STRICT_FAULT(shuffleIsNoBarrier, racecheck) {
  launch<shuffledKernel>(bench.launcher(), {}, 32, 0, bench.numbers<float>(32));
}

/// Counts of the numbers' remainders.
template <bool barrier>
FIGMENT_KERNEL(kThreads)
histogramKernel(Global<int> y) {
  FIGMENT_SHARED(int, counts, 8);
  if (threadIdx.x < 8) counts[int(threadIdx.x)] = 0;
  __syncthreads();
  atomicAddAt(counts, y[threadIdx.x] % 8, 1);
  if constexpr (barrier) __syncthreads();
  y[threadIdx.x] = counts[int(threadIdx.x) % 8];
}
/// racecheck takes atomics for synchronised with any access.
FIGMENT_STRICT_FAULT(readsAmongAtomics, racecheck) {
  launch<histogramKernel<false>>(bench.launcher(), {}, kThreads, 0, bench.numbers<int>(kThreads));
}
FIGMENT_CORRECT(readsAfterAtomics, racecheck) {
  const auto y = bench.numbers<int>(kThreads);
  launch<histogramKernel<true>>(bench.launcher(), {}, kThreads, 0, y);
  bench.expect(y, kThreads, [](int64_t) { return kThreads / 8; });
}

/// A sum over the block whose array the next call uses again.
template <bool barrier>
FIGMENT_DEVICE float sumThroughFirst(float value) {
  FIGMENT_SHARED(float, partial, kThreads);
  partial[int(threadIdx.x)] = value;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < kThreads; i++) sum += partial[i];
  if constexpr (barrier) __syncthreads();
  return sum;
}
template <bool barrier>
FIGMENT_KERNEL(kThreads)
sumsKernel(Global<float> y, int times) {
  float sum = 0;
  for (int i = 0; i < times; i++) sum += sumThroughFirst<barrier>(y[threadIdx.x]);
  y[threadIdx.x] = sum;
}
FIGMENT_FAULT(usesArrayAgainTooEarly, racecheck) {
  launch<sumsKernel<false>>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads), 2);
}
FIGMENT_CORRECT(usesArrayAgainAfterBarrier, racecheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<sumsKernel<true>>(bench.launcher(), {}, kThreads, 0, y, 3);
  bench.expect(y, kThreads, [](int64_t) { return 3 * kThreads * (kThreads + 1) / 2; });
}

/// More calls than shared memory has room for, if each took some.
FIGMENT_KERNEL(kThreads) manySumsKernel(Global<float> y) {
  float sum = 0;
  for (int i = 0; i < 2000; i++) sum = blockSum<kThreads>(float(i % 2));
  y[threadIdx.x] = sum;
}
FIGMENT_CORRECT(sumsOfBlockAgainAndAgain, racecheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<manySumsKernel>(bench.launcher(), {}, kThreads, 0, y);
  bench.expect(y, kThreads, [](int64_t) { return kThreads; });
}

/// A race of one block only, after others that have none.
FIGMENT_KERNEL(kThreads) lastBlockKernel(Global<float> y) {
  FIGMENT_SHARED(float, tile, kThreads);
  tile[int(threadIdx.x)] = 1.0f;
  if (blockIdx.x + 1 < gridDim.x) __syncthreads();
  y[threadIdx.x] = tile[kThreads - 1 - int(threadIdx.x)];
}
FIGMENT_FAULT(raceOfLastBlock, racecheck) {
  launch<lastBlockKernel>(bench.launcher(), {300}, kThreads, 0, bench.numbers<float>(kThreads));
}

}  // namespace
}  // namespace figment::cuda::cases
