// The large tiles of tiled.h for f32 factors that are aligned in memory: tiles travel through a
// ring of stages in shared memory by copies that no thread waits for (cp.async), as they lie, so
// that registers hold sums and factors alone. Sums have the bits of tiled.h's.
#pragma once

#include "../../device/instructions.h"
#include "layouts.h"
#include "store.h"

namespace figment::cuda {

/// 256 threads, 4 × 2 warps of 32 rows and 64 columns; 4 × 8 lanes with 8 × 8 elements each.
struct AsyncTile {
  static constexpr int kRows = 128, kColumns = 128, kDepth = 16, kStages = 4, kThreads = 256;
};

/// One factor's tile in shared memory: 128 lines along the depth, whose fours share no banks with
/// those of the next seven, or 16 across it.
template <bool along>
struct AsyncLines {
  static constexpr int kLength = along ? AsyncTile::kDepth : AsyncTile::kRows;
  static constexpr int kLines = along ? AsyncTile::kRows : AsyncTile::kDepth;
  static constexpr int kPitch = along ? kLength + 4 : kLength;
  static constexpr int kSize = kLines * kPitch;
};
template <class L>
constexpr int kAsyncStage = AsyncLines<L::kAlongA>::kSize + AsyncLines<L::kAlongB>::kSize;
template <class L>
constexpr size_t kAsyncBytes = size_t(AsyncTile::kStages) * kAsyncStage<L> * sizeof(float);

/// Of `lanes` lanes side by side, the i-th of the eight rows (or columns) that one has: lines along
/// the depth are dealt out one by one, across it in fours.
template <bool along, int lanes>
FIGMENT_DEVICE int asyncElement(int lane, int i) {
  return along ? lane + i * lanes : (lane + i / 4 * lanes) * 4 + i % 4;
}

/// One factor's way into shared memory.
template <template <int, int, int> class LoaderOf, bool along>
class AsyncFeed {
  using Lines = AsyncLines<along>;
  static constexpr int kStep = AsyncTile::kThreads / (Lines::kLength / 4);
  static constexpr int kCount = Lines::kLines / kStep;
  static_assert(kStep * kCount == Lines::kLines);

 public:
  using Loader = LoaderOf<4, kCount, kStep>;
  using Factor = typename Loader::Factor;

  FIGMENT_DEVICE AsyncFeed(const Global<const float>& from, const Factor& factor, const Product& p,
                           const Phase& phase, const Task& task, int32_t first, int32_t end)
      : from_(from),
        corner_(cornerOf<Lines::kLength, 4>(int(threadIdx.x))),
        loader_(factor, p, phase, task, first, end, corner_) {}

  FIGMENT_DEVICE void fetch(int32_t depth, const Shared<float>& tile) const {
    loader_.vectors(depth, [&](int v, bool there, int64_t offset) {
      copyAsync16(tile, (corner_.line + v * kStep) * Lines::kPitch + corner_.column, from_, offset,
                  there);
    });
  }

 private:
  const Global<const float>& from_;
  Corner corner_;
  Loader loader_;
};

/// Where a lane's eight elements of a tile begin, of those from the warp's first on.
template <bool along>
FIGMENT_DEVICE Shared<float> asyncPart(const Shared<float>& tile, int first, int lane) {
  return tile.from(along ? (first + lane) * AsyncLines<true>::kPitch : first + lane * 4);
}
/// Four steps of the depth, from `k` on, of its i-th line along the depth.
template <int lanes>
FIGMENT_DEVICE float4 asyncFour(const Shared<float>& part, int i, int k) {
  return part.template load<float4>(i * lanes * AsyncLines<true>::kPitch + k);
}
/// Its elements of one step of the depth, of lines across it.
template <int lanes>
FIGMENT_DEVICE void loadAcross(float (&x)[8], const Shared<float>& part, int k) {
  FIGMENT_UNROLL
  for (int i = 0; i < 8; i += 4) {
    const float4 four = part.template load<float4>(k * AsyncLines<false>::kPitch + i * lanes);
    x[i] = four.x;
    x[i + 1] = four.y;
    x[i + 2] = four.z;
    x[i + 3] = four.w;
  }
}
FIGMENT_DEVICE float elementOf(const float4& four, int i) {
  return i == 0 ? four.x : i == 1 ? four.y : i == 2 ? four.z : four.w;
}

/// Adds four steps of the depth, from `k` on.
template <bool alongA, bool alongB>
FIGMENT_DEVICE void addProducts(float (&sums)[8][8], const Shared<float>& partA,
                                const Shared<float>& partB, int k) {
  if constexpr (alongA && alongB) {
    float4 x[8];
    FIGMENT_UNROLL
    for (int i = 0; i < 8; i++) x[i] = asyncFour<4>(partA, i, k);
    FIGMENT_UNROLL
    for (int j = 0; j < 8; j++) {
      const float4 y = asyncFour<8>(partB, j, k);
      FIGMENT_UNROLL
      for (int e = 0; e < 4; e++) {
        FIGMENT_UNROLL
        for (int i = 0; i < 8; i++)
          sums[i][j] = multiplyAdd(elementOf(x[i], e), elementOf(y, e), sums[i][j]);
      }
    }
  } else {
    float4 x[8], y[8];
    if constexpr (alongA) {
      FIGMENT_UNROLL
      for (int i = 0; i < 8; i++) x[i] = asyncFour<4>(partA, i, k);
    }
    if constexpr (alongB) {
      FIGMENT_UNROLL
      for (int j = 0; j < 8; j++) y[j] = asyncFour<8>(partB, j, k);
    }
    FIGMENT_UNROLL
    for (int e = 0; e < 4; e++) {
      float a[8], b[8];
      if constexpr (!alongA) loadAcross<4>(a, partA, k + e);
      if constexpr (!alongB) loadAcross<8>(b, partB, k + e);
      FIGMENT_UNROLL
      for (int i = 0; i < 8; i++) {
        if constexpr (alongA) a[i] = elementOf(x[i], e);
        if constexpr (alongB) b[i] = elementOf(y[i], e);
      }
      FIGMENT_UNROLL
      for (int i = 0; i < 8; i++) {
        FIGMENT_UNROLL
        for (int j = 0; j < 8; j++) sums[i][j] = multiplyAdd(a[i], b[j], sums[i][j]);
      }
    }
  }
}

template <class L>
FIGMENT_KERNEL_OCCUPIED(AsyncTile::kThreads, 2)
asyncKernel(Global<const float> a, FIGMENT_GRID_CONSTANT const typename L::FactorA factorA,
            Global<const float> b, FIGMENT_GRID_CONSTANT const typename L::FactorB factorB,
            FIGMENT_GRID_CONSTANT const Product p, Epilogue<float> epilogue) {
  using Tile = AsyncTile;
  constexpr int kStages = Tile::kStages, kDepth = Tile::kDepth, kStage = kAsyncStage<L>;
  constexpr int kSizeA = AsyncLines<L::kAlongA>::kSize;
  static_assert(kStages * kStage >= Tile::kRows * Tile::kColumns);
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto stages = shared.template view<float>(0, kStages * kStage);

  const Task task = taskOf<Tile::kRows, Tile::kColumns>(p, blockIdx.x);
  const Phase& phase = p.phase[task.phase];
  if (task.firstRow >= phase.rows) return;
  const AsyncFeed<L::template LoaderA, L::kAlongA> feedA(a, factorA, p, phase, task, task.firstRow,
                                                         phase.rows);
  const AsyncFeed<L::template LoaderB, L::kAlongB> feedB(b, factorB, p, phase, task,
                                                         task.firstColumn, p.columns);
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int rows = warp / 2 * 32, columns = warp % 2 * 64, laneY = lane / 8, laneX = lane % 8;
  float sums[8][8] = {};
  const int32_t steps = ceilDiv(task.endDepth - task.firstDepth, kDepth);
  // The first turns only fill the ring.
  for (int32_t step = 1 - kStages; step < steps; step++) {
    if (step >= 0) {
      waitForCopies<kStages - 2>();
      __syncthreads();
    }
    const int32_t next = step + kStages - 1;
    if (next < steps) {
      const int32_t depth = task.firstDepth + next * kDepth;
      const auto stage = stages.from(next % kStages * kStage);
      feedA.fetch(depth, stage);
      feedB.fetch(depth, stage.from(kSizeA));
    }
    commitCopies();
    if (step < 0) continue;
    const auto stage = stages.from(step % kStages * kStage);
    const auto partA = asyncPart<L::kAlongA>(stage, rows, laneY);
    const auto partB = asyncPart<L::kAlongB>(stage.from(kSizeA), columns, laneX);
    FIGMENT_UNROLL
    for (int k = 0; k < kDepth; k += 4) addProducts<L::kAlongA, L::kAlongB>(sums, partA, partB, k);
  }
  waitForCopies<0>();
  __syncthreads();
  const auto tile = shared.template view<float>(0, Tile::kRows * Tile::kColumns);
  FIGMENT_UNROLL
  for (int i = 0; i < 8; i++) {
    FIGMENT_UNROLL
    for (int j = 0; j < 8; j++)
      tile[sumIndex<Tile::kColumns>(rows + asyncElement<L::kAlongA, 4>(laneY, i),
                                    columns + asyncElement<L::kAlongB, 8>(laneX, j))] = sums[i][j];
  }
  __syncthreads();
  storeTile<Tile::kRows, Tile::kColumns, Tile::kThreads>(epilogue, p, phase, task, tile);
}

}  // namespace figment::cuda
