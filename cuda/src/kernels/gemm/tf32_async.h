// The large tiles of tf32.h for f32 factors that are aligned in memory: tiles travel through a ring
// of stages in shared memory by copies that no thread waits for (cp.async), as they are, and are
// rounded on their way to the products. Sums have the bits of tf32.h's.
#pragma once

#include "tf32.h"

namespace figment::cuda {

struct Tf32AsyncTile : LargeStagedTile {
  static constexpr int kStages = 3, kStage = kSizeA + kSizeB;
  static constexpr size_t kRingBytes = size_t(kStages) * kStage * sizeof(float);
  static_assert(kRingBytes >= kSharedBytes);
};

/// One factor's way into shared memory: kLines lines of kLength.
template <template <int, int, int> class LoaderOf, int kLines, int kLength>
class Tf32Feed {
  static constexpr int kStep = Tf32AsyncTile::kThreads / (kLength / 4);
  static constexpr int kCount = kLines / kStep;
  static_assert(kStep * kCount == kLines);

 public:
  using Loader = LoaderOf<4, kCount, kStep>;
  using Factor = typename Loader::Factor;

  FIGMENT_DEVICE Tf32Feed(const Global<const uint32_t>& from, const Factor& factor,
                          const Product& p, const Phase& phase, const Task& task, int32_t first,
                          int32_t end)
      : from_(from),
        corner_(cornerOf<kLength, 4>(int(threadIdx.x))),
        loader_(factor, p, phase, task, first, end, corner_) {}

  FIGMENT_DEVICE void fetch(int32_t depth, const Shared<uint32_t>& tile) const {
    loader_.vectors(depth, [&](int v, bool there, int64_t offset) {
      copyAsync16(tile, wordIndex<kLength>(corner_.line + v * kStep, corner_.column), from_, offset,
                  there);
    });
  }

 private:
  const Global<const uint32_t>& from_;
  Corner corner_;
  Loader loader_;
};

/// The bits of both factors.
template <class L>
FIGMENT_KERNEL_OCCUPIED(Tf32AsyncTile::kThreads, 2)
tf32AsyncKernel(Global<const uint32_t> a, FIGMENT_GRID_CONSTANT const typename L::FactorA factorA,
                Global<const uint32_t> b, FIGMENT_GRID_CONSTANT const typename L::FactorB factorB,
                FIGMENT_GRID_CONSTANT const Product p, Epilogue<float> epilogue) {
  using Tile = Tf32AsyncTile;
  constexpr int kDepth = Tile::kDepth, kStages = Tile::kStages, kStage = Tile::kStage;
  constexpr int kLengthA = L::kAlongA ? kDepth : Tile::kRows;
  constexpr int kLengthB = L::kAlongB ? kDepth : Tile::kColumns;
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto stages = shared.template view<uint32_t>(0, kStages * kStage);

  const Task task = taskOf<Tile::kRows, Tile::kColumns>(p, blockIdx.x);
  const Phase& phase = p.phase[task.phase];
  if (task.firstRow >= phase.rows) return;
  const Tf32Feed<L::template LoaderA, Tile::kSizeA / kLengthA, kLengthA> feedA(
      a, factorA, p, phase, task, task.firstRow, phase.rows);
  const Tf32Feed<L::template LoaderB, Tile::kSizeB / kLengthB, kLengthB> feedB(
      b, factorB, p, phase, task, task.firstColumn, p.columns);

  const int32_t steps = ceilDiv(task.endDepth - task.firstDepth, kDepth);
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int warpRow = warp / Tile::kWarpsAcross * Tile::kWarpRows;
  const int warpColumn = warp % Tile::kWarpsAcross * Tile::kWarpColumns;
  WarpSums<Tile> sums = {};
  int slot = 0, nextSlot = 0;
  // The first turns only fill the ring.
  for (int32_t step = 1 - kStages; step < steps; step++) {
    if (step >= 0) {
      waitForCopies<kStages - 2>();
      __syncthreads();
    }
    const int32_t next = step + kStages - 1;
    if (next < steps) {
      const auto stage = stages.from(nextSlot * kStage);
      feedA.fetch(task.firstDepth + next * kDepth, stage);
      feedB.fetch(task.firstDepth + next * kDepth, stage.from(Tile::kSizeA));
    }
    commitCopies();
    nextSlot = nextSlot + 1 == kStages ? 0 : nextSlot + 1;
    if (step < 0) continue;
    const auto stage = stages.from(slot * kStage);
    Tf32Arithmetic::template multiply<L, Tile, true>(sums, stage, stage.from(Tile::kSizeA), warpRow,
                                                     warpColumn, lane);
    slot = slot + 1 == kStages ? 0 : slot + 1;
  }
  waitForCopies<0>();
  __syncthreads();
  storeFragments<Tile>(epilogue, p, phase, task, shared, warpRow, warpColumn, lane, sums);
}

}  // namespace figment::cuda
