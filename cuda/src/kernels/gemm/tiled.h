// Products by multiply-adds in f32, for factors of any formats: both factors' tiles lie in shared
// memory along the depth, two of them in turn; each thread sums a square of the block's tile. What
// comes next from memory waits in registers while a tile is computed.
#pragma once

#include "layouts.h"
#include "store.h"

namespace figment::cuda {

/// 256 threads, each of which sums `side` × `side` elements of the block's tile.
template <int side>
struct SimtTile {
  static constexpr int kSide = side, kRows = 16 * side, kColumns = 16 * side, kDepth = 16;
  static constexpr int kThreads = 256;
  static constexpr int kPitch = kRows + 4;  ///< of the lines in shared memory: fewer bank conflicts
  static constexpr int kTile = kDepth * kPitch;
  static constexpr size_t kStageBytes = size_t(4) * kTile * sizeof(float);
  static constexpr size_t kSumBytes = size_t(kRows) * kColumns * sizeof(float);
  static constexpr size_t kSharedBytes = kStageBytes > kSumBytes ? kStageBytes : kSumBytes;
};

/// One factor's way into shared memory, where lines go across the depth.
template <template <int, int, int> class LoaderOf, bool along, class Tile>
class SimtFeed {
  static constexpr int kLength = along ? Tile::kDepth : Tile::kRows;
  static constexpr int kLines = along ? Tile::kRows : Tile::kDepth;
  static constexpr int kStep = Tile::kThreads / (kLength / 4);
  static constexpr int kCount = kLines / kStep;
  static_assert(kStep * kCount == kLines);

 public:
  using Loader = LoaderOf<4, kCount, kStep>;
  using Factor = typename Loader::Factor;

  FIGMENT_DEVICE SimtFeed(const Floats<float>& from, const Factor& factor, const Product& p,
                          const Phase& phase, const Task& task, int32_t first, int32_t end)
      : from_(from),
        aligned_(factor.aligned != 0),
        corner_(cornerOf<kLength, 4>(int(threadIdx.x))),
        loader_(factor, p, phase, task, first, end, corner_) {}

  FIGMENT_DEVICE void fetch(int32_t depth) {
    if (aligned_) {
      loader_.vectors(depth, [&](int v, bool there, int64_t offset) {
        const float4 four = there ? from_.four(offset) : make_float4(0, 0, 0, 0);
        values_[v][0] = four.x;
        values_[v][1] = four.y;
        values_[v][2] = four.z;
        values_[v][3] = four.w;
      });
    } else {
      loader_.elements(depth, [&](int v, int e, bool there, int64_t offset) {
        values_[v][e] = there ? from_[offset] : 0.0f;
      });
    }
  }
  FIGMENT_DEVICE void settle(const Shared<float>& tile) const {
    FIGMENT_UNROLL
    for (int v = 0; v < kCount; v++) {
      const int line = corner_.line + v * kStep, column = corner_.column;
      const float* x = values_[v];
      if constexpr (along) {
        FIGMENT_UNROLL
        for (int e = 0; e < 4; e++) tile[(column + e) * Tile::kPitch + line] = x[e];
      } else {
        tile.template store<float4>(line * Tile::kPitch + column,
                                    make_float4(x[0], x[1], x[2], x[3]));
      }
    }
  }

 private:
  const Floats<float>& from_;
  bool aligned_;
  Corner corner_;
  Loader loader_;
  float values_[kCount][4];
};

/// The elements of a line that a thread multiplies: fours, 64 apart.
template <int side>
FIGMENT_DEVICE void loadFactors(float (&x)[side], const Shared<float>& tile, int at) {
  FIGMENT_UNROLL
  for (int i = 0; i < side; i += 4) {
    const float4 four = tile.template load<float4>(at + i * 16);
    x[i] = four.x;
    x[i + 1] = four.y;
    x[i + 2] = four.z;
    x[i + 3] = four.w;
  }
}

template <class L, class Tile>
FIGMENT_KERNEL_OCCUPIED(Tile::kThreads, 2)
tiledKernel(Floats<float> a, FIGMENT_GRID_CONSTANT const typename L::FactorA factorA,
            Floats<float> b, FIGMENT_GRID_CONSTANT const typename L::FactorB factorB,
            FIGMENT_GRID_CONSTANT const Product p, Epilogue<float> epilogue) {
  constexpr int kSide = Tile::kSide;
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto tilesA = shared.template view<float>(0, 2 * Tile::kTile);
  const auto tilesB = shared.template view<float>(2 * Tile::kTile * sizeof(float), 2 * Tile::kTile);

  const Task task = taskOf<Tile::kRows, Tile::kColumns>(p, blockIdx.x);
  const Phase& phase = p.phase[task.phase];
  if (task.firstRow >= phase.rows) return;
  SimtFeed<L::template LoaderA, L::kAlongA, Tile> feedA(a, factorA, p, phase, task, task.firstRow,
                                                        phase.rows);
  SimtFeed<L::template LoaderB, L::kAlongB, Tile> feedB(b, factorB, p, phase, task,
                                                        task.firstColumn, p.columns);
  const int row = int(threadIdx.x) / 16 * 4, column = int(threadIdx.x) % 16 * 4;
  float sums[kSide][kSide] = {};
  const int32_t steps = ceilDiv(task.endDepth - task.firstDepth, Tile::kDepth);
  // The first turn only fills a tile.
  for (int32_t step = -1; step < steps; step++) {
    const bool more = step + 1 < steps;
    if (more) {
      feedA.fetch(task.firstDepth + (step + 1) * Tile::kDepth);
      feedB.fetch(task.firstDepth + (step + 1) * Tile::kDepth);
    }
    if (step >= 0) {
      const auto tileA = tilesA.from((step & 1) * Tile::kTile);
      const auto tileB = tilesB.from((step & 1) * Tile::kTile);
      FIGMENT_UNROLL
      for (int k = 0; k < Tile::kDepth; k++) {
        float x[kSide], y[kSide];
        loadFactors(x, tileA, k * Tile::kPitch + row);
        loadFactors(y, tileB, k * Tile::kPitch + column);
        FIGMENT_UNROLL
        for (int i = 0; i < kSide; i++) {
          FIGMENT_UNROLL
          for (int j = 0; j < kSide; j++) sums[i][j] = multiplyAdd(x[i], y[j], sums[i][j]);
        }
      }
    }
    if (more) {
      feedA.settle(tilesA.from(((step + 1) & 1) * Tile::kTile));
      feedB.settle(tilesB.from(((step + 1) & 1) * Tile::kTile));
    }
    __syncthreads();
  }
  const auto tile = shared.template view<float>(0, Tile::kRows * Tile::kColumns);
  FIGMENT_UNROLL
  for (int i = 0; i < kSide; i++) {
    FIGMENT_UNROLL
    for (int j = 0; j < kSide; j += 4)
      tile.template store<float4>(
          sumIndex<Tile::kColumns>(row + i / 4 * 64 + i % 4, column + j * 16),
          make_float4(sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]));
  }
  __syncthreads();
  storeTile<Tile::kRows, Tile::kColumns, Tile::kThreads>(epilogue, p, phase, task, tile);
}

}  // namespace figment::cuda
