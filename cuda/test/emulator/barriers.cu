// Barriers of the block and operations of the warp that not all come to.
#include "cases.h"
#include "device/instructions.h"
#include "device/warp.h"

namespace figment::cuda::cases {
namespace {

constexpr int kThreads = 64;

FIGMENT_KERNEL(kThreads) skippedBarrierKernel(Global<float> y, int limit) {
  FIGMENT_SHARED(float, tile, kThreads);
  tile[int(threadIdx.x)] = y[threadIdx.x];
  if (int(threadIdx.x) < limit) __syncthreads();
  y[threadIdx.x] = tile[int(threadIdx.x)] + 1;
}
FIGMENT_FAULT(halfOfBlockSkipsBarrier, synccheck) {
  launch<skippedBarrierKernel>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads),
                               48);
}
FIGMENT_CORRECT(wholeBlockTakesBarrier, synccheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<skippedBarrierKernel>(bench.launcher(), {}, kThreads, 0, y, 64);
  bench.expect(y, kThreads, [](int64_t i) { return i + 2; });
}

FIGMENT_KERNEL(kThreads) earlyReturnKernel(Global<float> y, int count) {
  FIGMENT_SHARED(float, tile, kThreads);
  if (int(threadIdx.x) >= count) return;
  tile[int(threadIdx.x)] = y[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[count - 1 - int(threadIdx.x)];
}
FIGMENT_STRICT_FAULT(returnsBeforeBarrier, synccheck) {
  launch<earlyReturnKernel>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads), 50);
}
FIGMENT_CORRECT(nobodyReturnsBeforeBarrier, synccheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<earlyReturnKernel>(bench.launcher(), {}, kThreads, 0, y, 64);
  bench.expect(y, kThreads, [](int64_t i) { return 64 - i; });
}

/// The two warps wait in two places: the hardware counts them together, the language does not.
FIGMENT_KERNEL(kThreads) twoPlacesKernel(Global<float> y) {
  FIGMENT_SHARED(float, tile, kThreads);
  tile[int(threadIdx.x)] = y[threadIdx.x];
  if (warpInBlock() == 0) {
    __syncthreads();
    y[threadIdx.x] = tile[kThreads - 1 - int(threadIdx.x)];
  } else {
    __syncthreads();
    y[threadIdx.x] = 2 * tile[kThreads - 1 - int(threadIdx.x)];
  }
}
FIGMENT_STRICT_FAULT(waitsInTwoPlaces, synccheck) {
  launch<twoPlacesKernel>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads));
}

FIGMENT_KERNEL(kThreads) votesKernel(Global<int> y) {
  const int big = y[threadIdx.x] > 40;
  const int any = __syncthreads_or(big), all = __syncthreads_and(big),
            count = __syncthreads_count(big);
  y[threadIdx.x] = 1000 * any + 100 * all + count;
}
FIGMENT_CORRECT(blockVotes, synccheck) {
  const auto y = bench.numbers<int>(kThreads);
  launch<votesKernel>(bench.launcher(), {}, kThreads, 0, y);
  bench.expect(y, kThreads, [](int64_t) { return 1024; });
}

/// Lanes of one mask in two operations.
FIGMENT_KERNEL(32) divergentWarpKernel(Global<float> y) {
  const int lane = laneInWarp();
  float value = y[lane];
  if (lane < 16)
    value = __shfl_xor_sync(kWholeWarp, value, 1);
  else
    __syncwarp();
  y[lane] = value;
}
FIGMENT_STRICT_FAULT(warpMeetsInTwoOperations, synccheck) {
  launch<divergentWarpKernel>(bench.launcher(), {}, 32, 0, bench.numbers<float>(32));
}

FIGMENT_KERNEL(32) outsideMaskKernel(Global<float> y, uint32_t mask) {
  const int lane = laneInWarp();
  if (lane < 16) __syncwarp(mask);
  y[lane] += 1;
}
FIGMENT_FAULT(callsFromOutsideItsMask, synccheck) {
  launch<outsideMaskKernel>(bench.launcher(), {}, 32, 0, bench.numbers<float>(32), 0x00ffff00u);
}
FIGMENT_CORRECT(callsFromInsideItsMask, synccheck) {
  const auto y = bench.numbers<float>(32);
  launch<outsideMaskKernel>(bench.launcher(), {}, 32, 0, y, 0x0000ffffu);
  bench.expect(y, 32, [](int64_t i) { return i + 2; });
}

/// Waits for lanes that are at the block's barrier.
FIGMENT_KERNEL(kThreads) waitsForeverKernel(Global<float> y) {
  const int lane = laneInWarp();
  if (lane == 0) __syncwarp();
  __syncthreads();
  y[threadIdx.x] += 1;
}
FIGMENT_FAULT(warpWaitsForLanesAtBarrier, synccheck) {
  launch<waitsForeverKernel>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads));
}

/// Reads from lane `from` among the lower half of the warp.
FIGMENT_KERNEL(32) shuffleKernel(Global<float> y, int from) {
  const int lane = laneInWarp();
  if (lane < 16) y[lane] = __shfl_sync(0x0000ffffu, y[lane], from);
}
FIGMENT_STRICT_FAULT(shuffleFromInactiveLane, synccheck) {
  launch<shuffleKernel>(bench.launcher(), {}, 32, 0, bench.numbers<float>(32), 20);
}
FIGMENT_CORRECT(shuffleFromActiveLane, synccheck) {
  const auto y = bench.numbers<float>(32);
  launch<shuffleKernel>(bench.launcher(), {}, 32, 0, y, 12);
  bench.expect(y, 32, [](int64_t i) { return i < 16 ? 13 : i + 1; });
}

/// Lanes that have returned are not waited for, and others may not read from them.
FIGMENT_KERNEL(32) returnedKernel(Global<float> y, int from) {
  const int lane = laneInWarp();
  if (lane >= 24) return;
  __syncwarp();
  const uint32_t lanes = __ballot_sync(kWholeWarp, 1);
  y[lane] = float(__popc(lanes)) + __shfl_sync(kWholeWarp, y[lane], from);
}
FIGMENT_STRICT_FAULT(shuffleFromReturnedLane, synccheck) {
  launch<returnedKernel>(bench.launcher(), {}, 32, 0, bench.numbers<float>(32), 30);
}
FIGMENT_CORRECT(returnedLanesAreNotAwaited, memcheck) {
  const auto y = bench.numbers<float>(32);
  launch<returnedKernel>(bench.launcher(), {}, 32, 0, y, 0);
  bench.expect(y, 32, [](int64_t i) { return i < 24 ? 25 : i + 1; });
}

/// Every kind of shuffle and vote, in groups of 8 lanes.
FIGMENT_KERNEL(32) shufflesKernel(Global<int> y) {
  const int lane = laneInWarp();
  const int up = __shfl_up_sync(kWholeWarp, lane, 2, 8),
            down = __shfl_down_sync(kWholeWarp, lane, 3, 8);
  const int across = __shfl_xor_sync(kWholeWarp, lane, 5, 8),
            from = __shfl_sync(kWholeWarp, lane, 6, 8);
  const int votes = __any_sync(kWholeWarp, lane == 9) + 2 * __all_sync(kWholeWarp, lane >= 0) +
                    4 * __any_sync(kWholeWarp, lane > 40) + 8 * __all_sync(kWholeWarp, lane != 31);
  y[lane] = (((up * 32 + down) * 32 + across) * 32 + from) * 16 + votes;
}
FIGMENT_CORRECT(shufflesInGroups, synccheck) {
  const auto y = bench.numbers<int>(32);
  launch<shufflesKernel>(bench.launcher(), {}, 32, 0, y);
  bench.expect(y, 32, [](int64_t i) {
    const int64_t group = i / 8 * 8, place = i % 8;
    const int64_t up = place < 2 ? i : i - 2, down = place + 3 > 7 ? i : i + 3;
    return (((up * 32 + down) * 32 + (i ^ 5)) * 32 + group + 6) * 16 + 3;
  });
}

/// Products of whole warps only.
FIGMENT_KERNEL(kThreads) productKernel(Global<float> y) {
  float d[4] = {0, 0, 0, 0};
  const uint32_t a[4] = {0x3f803f80u, 0x3f803f80u, 0x3f803f80u, 0x3f803f80u};
  const uint32_t b[2] = {0x3f803f80u, 0x3f803f80u};
  mma16816<Bf16>(d, a, b);
  y[threadIdx.x] = d[0] + d[3];
}
FIGMENT_STRICT_FAULT(productOfHalfAWarp, synccheck) {
  launch<productKernel>(bench.launcher(), {}, 48, 0, bench.numbers<float>(kThreads));
}
FIGMENT_CORRECT(productOfWholeWarps, synccheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<productKernel>(bench.launcher(), {}, kThreads, 0, y);
  bench.expect(y, kThreads, [](int64_t) { return 32; });
}

}  // namespace
}  // namespace figment::cuda::cases
