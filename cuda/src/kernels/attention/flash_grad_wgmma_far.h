// The softmax of queries whose scores are far from 0, for flash_grad_wgmma.h: their log-sum-exp is
// rounded too coarsely, so that weights are made of differences of products, which have the same
// bits here and there. Few calls have such queries. Blocks of others return at once, and these copy
// and multiply in turns. Include from *.sm90a.cu files only.
#pragma once

#include "flash_grad_wgmma_place.h"

namespace figment::cuda::flash_grad_wgmma {

constexpr int kFarThreads = kConsumers * hopper::kWarpgroup;
/// Up to 2¹² a log-sum-exp, in units of log 2, is rounded by 2⁻¹³ at the most.
FIGMENT_DEVICE bool isFar(float shift) {
  return Coarse{.most = 4096, .off = INFINITY}.shift(shift);
}

/// A row's highest product and the sum of its weights relative to that, of this lane's columns.
struct FarRow {
  float highest = -INFINITY, total = 0;

  /// The columns before `to` count, from `column` on two of every eight.
  template <int count>
  FIGMENT_DEVICE void meet(const float (&product)[count], int r, float factor, int column, int to) {
    float top = highest;
    const auto each = [&](auto&& f) {
      FIGMENT_UNROLL
      for (int n = 0; n < count / 4; n++) {
        FIGMENT_UNROLL
        for (int e = 0; e < 2; e++)
          if (n * 8 + column + e < to) f(product[4 * n + 2 * r + e]);
      }
    };
    each([&](float x) { top = fmaxf(top, x); });
    top = fmaxf(top, __shfl_xor_sync(kWholeWarp, top, 1));
    top = fmaxf(top, __shfl_xor_sync(kWholeWarp, top, 2));
    const float base = top == -INFINITY ? 0.0f : top;
    total *= exp2Fast((highest - base) * factor);
    each([&](float x) { total += exp2Fast((x - base) * factor); });
    highest = top;
  }
};

template <class T, int kDim>
FIGMENT_KERNEL_OCCUPIED(kFarThreads, 1)
farSoftmaxKernel(const FIGMENT_GRID_CONSTANT Operands<T> x, AttentionProblem p,
                 QueryStatistics statistics) {
  using Rows = Sums<T, kDim, Side::queries>;
  using Own = typename Rows::Own;
  using Others = typename Rows::Others;
  FIGMENT_DYNAMIC_SHARED(shared);
  FIGMENT_SHARED(uint64_t, barriers, 2);
  const Place place = placeOf<kDim, Side::queries>(p, blockIdx.x, x.tiles);
  const int lane = laneInWarp(), sq = int(p.sq);
  const int rowOfLane = place.start + warpInBlock() * 16 + lane / 4;
  const auto own = statistics.from(place.task * sq);
  bool far[2];
  FIGMENT_UNROLL
  for (int r = 0; r < 2; r++)
    far[r] = rowOfLane + r * 8 < sq && isFar(own.shift(rowOfLane + r * 8));
  if (!__syncthreads_or(far[0] || far[1])) return;

  constexpr uint32_t kAlignment = wgmma_tiles::kAlignment;
  const uint32_t queries =
      (shared.view<uint16_t>(0, 0).address(0) + kAlignment - 1) / kAlignment * kAlignment;
  const uint32_t keys = queries + Own::kBytes;
  const uint32_t queriesFull = barriers.address(0), keysFull = barriers.address(1);
  if (threadIdx.x == 0) {
    hopper::initBarrier(queriesFull, 1);
    hopper::initBarrier(keysFull, 1);
    hopper::publishBarriers();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    hopper::arriveExpecting(queriesFull, Own::kBytes);
    Own::copy(queries, x.maps.x1, queriesFull, place.head, int(place.batch * p.sq) + place.start);
  }
  hopper::waitFor(queriesFull, 0);
  const uint32_t half = warpInBlock() / 4 * (Own::kRows / kConsumers) * wgmma_tiles::kRowBytes;
  const float factor = float(p.scale * kLog2E);
  FarRow rows[2];
  typename Rows::Scores score;
  FIGMENT_UNROLL
  for (float& sum : score) sum = 0;
  for (int turn = 0; turn < place.turns; turn++) {
    const int row = turn * Others::kRows;
    if (threadIdx.x == 0) {
      hopper::arriveExpecting(keysFull, Others::kBytes);
      Others::copy(keys, x.maps.y1, keysFull, place.head, int(place.batch * p.sk) + row);
    }
    hopper::waitFor(keysFull, turn % 2);
    Rows::begin(score, {}, queries + half, keys);
    hopper::waitForProducts<0>();
    hopper::holdSums(score);
    FIGMENT_UNROLL
    for (int r = 0; r < 2; r++)
      rows[r].meet(score, r, factor, lane % 4 * 2,
                   int(p.visible(place.keys, rowOfLane + r * 8)) - row);
    __syncthreads();
  }
  FIGMENT_UNROLL
  for (int r = 0; r < 2; r++) {
    float total = rows[r].total;
    total += __shfl_xor_sync(kWholeWarp, total, 1);
    total += __shfl_xor_sync(kWholeWarp, total, 2);
    if (far[r] && lane % 4 == 0) own.set(rowOfLane + r * 8, {rows[r].highest, log2f(total)});
  }
}

template <class T, int kDim>
void launchFarSoftmax(const AttentionProblem& p, const Operands<T>& queries,
                      const QueryStatistics& statistics, Launcher& launcher) {
  using Size = Sizes<kDim, Side::queries>;
  launch<farSoftmaxKernel<T, kDim>>(
      launcher, {p.heads() * queries.tiles}, kFarThreads,
      Size::Own::kBytes + Size::Others::kBytes + wgmma_tiles::kAlignment, queries, p, statistics);
}

}  // namespace figment::cuda::flash_grad_wgmma
