// Products of f32 factors at precision "fast" on tensor cores: each factor is split into two bf16
// parts, high = bf16(x) and low = bf16(x − high), and of the products of parts the smallest, low ·
// low, is left out. That costs a term at most 2⁻¹⁶ of its size, rounding the low parts as much
// again, and sums of many terms less than 10⁻⁵ of their norm. Tiles pass through registers, where
// they are split, into one of two stages in shared memory.
#pragma once

#include "mma.h"

namespace figment::cuda {

template <int rows, int columns, int warpRows, int warpColumns>
struct SplitTile {
  static constexpr int kRows = rows, kColumns = columns, kDepth = 32;
  static constexpr int kWarpRows = warpRows, kWarpColumns = warpColumns;
  static constexpr int kWarpsAcross = columns / warpColumns;
  static constexpr int kThreads = rows / warpRows * kWarpsAcross * kWarp;
  static constexpr int kSizeA = rows * kDepth, kSizeB = columns * kDepth;
  static constexpr int kStage = 2 * (kSizeA + kSizeB);  ///< both parts of both factors
  static constexpr size_t kSharedBytes = size_t(2) * kStage * 2;
  static_assert(kSharedBytes >= size_t(rows) * columns * sizeof(float));
};
using LargeSplitTile = SplitTile<128, 128, 64, 32>;
using SmallSplitTile = SplitTile<64, 64, 32, 32>;

/// One factor's way into shared memory, its low parts kLines lines after its high ones.
template <template <int, int, int> class LoaderOf, int kLines, int kLength, int kThreads>
class SplitFeed {
  static constexpr int kStep = kThreads / (kLength / 8);
  static constexpr int kCount = kLines / kStep;
  static_assert(kStep * kCount == kLines);

 public:
  using Loader = LoaderOf<8, kCount, kStep>;
  using Factor = typename Loader::Factor;

  FIGMENT_DEVICE SplitFeed(const Floats<float>& from, const Factor& factor, const Product& p,
                           const Phase& phase, const Task& task, int32_t first, int32_t end)
      : from_(from),
        aligned_(factor.aligned != 0),
        corner_(cornerOf<kLength, 8>(int(threadIdx.x))),
        loader_(factor, p, phase, task, first, end, corner_) {}

  FIGMENT_DEVICE void fetch(int32_t depth) {
    if (aligned_) {
      loader_.vectors(depth, [&](int v, bool there, int64_t offset) {
        FIGMENT_UNROLL
        for (int e = 0; e < 8; e += 4) {
          const float4 four = there ? from_.four(offset + e) : make_float4(0, 0, 0, 0);
          values_[v][e] = four.x;
          values_[v][e + 1] = four.y;
          values_[v][e + 2] = four.z;
          values_[v][e + 3] = four.w;
        }
      });
    } else {
      loader_.elements(depth, [&](int v, int e, bool there, int64_t offset) {
        values_[v][e] = there ? from_[offset] : 0.0f;
      });
    }
  }
  FIGMENT_DEVICE void settle(const Shared<Bf16>& tile) const {
    FIGMENT_UNROLL
    for (int v = 0; v < kCount; v++) {
      uint32_t high[4], low[4];
      FIGMENT_UNROLL
      for (int w = 0; w < 4; w++) {
        const float x = values_[v][2 * w], y = values_[v][2 * w + 1];
        high[w] = packPair<Bf16>(x, y);
        low[w] = packPair<Bf16>(rest(x, high[w] << 16), rest(y, high[w] & 0xffff0000u));
      }
      const int place = tileIndex<kLength>(corner_.line + v * kStep, corner_.column);
      tile.template store<uint4>(place, make_uint4(high[0], high[1], high[2], high[3]));
      tile.template store<uint4>(place + kLines * kLength,
                                 make_uint4(low[0], low[1], low[2], low[3]));
    }
  }

 private:
  /// x without its high part; nothing is left of infinities.
  FIGMENT_DEVICE static float rest(float x, uint32_t highBits) {
    const float high = bitsToFloat(highBits);
    return x == high ? 0.0f : x - high;
  }

  const Floats<float>& from_;
  bool aligned_;
  Corner corner_;
  Loader loader_;
  float values_[kCount][8];
};

template <class L, class Tile>
FIGMENT_KERNEL(Tile::kThreads)
splitKernel(Floats<float> a, FIGMENT_GRID_CONSTANT const typename L::FactorA factorA,
            Floats<float> b, FIGMENT_GRID_CONSTANT const typename L::FactorB factorB,
            FIGMENT_GRID_CONSTANT const Product p, Epilogue<float> epilogue) {
  constexpr int kDepth = Tile::kDepth, kSizeA = Tile::kSizeA, kSizeB = Tile::kSizeB;
  constexpr int kLengthA = L::kAlongA ? kDepth : Tile::kRows;
  constexpr int kLengthB = L::kAlongB ? kDepth : Tile::kColumns;
  constexpr int kDown = Tile::kWarpRows / 16, kAcross = Tile::kWarpColumns / 8;
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto stages = shared.template view<Bf16>(0, 2 * Tile::kStage);

  const Task task = taskOf<Tile::kRows, Tile::kColumns>(p, blockIdx.x);
  const Phase& phase = p.phase[task.phase];
  if (task.firstRow >= phase.rows) return;
  SplitFeed<L::template LoaderA, kSizeA / kLengthA, kLengthA, Tile::kThreads> feedA(
      a, factorA, p, phase, task, task.firstRow, phase.rows);
  SplitFeed<L::template LoaderB, kSizeB / kLengthB, kLengthB, Tile::kThreads> feedB(
      b, factorB, p, phase, task, task.firstColumn, p.columns);

  const int32_t steps = ceilDiv(task.endDepth - task.firstDepth, kDepth);
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int warpRow = warp / Tile::kWarpsAcross * Tile::kWarpRows;
  const int warpColumn = warp % Tile::kWarpsAcross * Tile::kWarpColumns;
  float sums[kDown][kAcross][4] = {};
  // The first turn only fills a stage.
  for (int32_t step = -1; step < steps; step++) {
    const bool more = step + 1 < steps;
    if (more) {
      feedA.fetch(task.firstDepth + (step + 1) * kDepth);
      feedB.fetch(task.firstDepth + (step + 1) * kDepth);
    }
    if (step >= 0) {
      const auto tileA = stages.from((step & 1) * Tile::kStage);
      const auto tileB = tileA.from(2 * kSizeA);
      FIGMENT_UNROLL
      for (int k = 0; k < kDepth; k += 16) {
        uint32_t high[kDown][4], low[kDown][4];
        FIGMENT_UNROLL
        for (int i = 0; i < kDown; i++) {
          loadA<L::kAlongA, kLengthA>(high[i], tileA, warpRow + i * 16, k, lane);
          loadA<L::kAlongA, kLengthA>(low[i], tileA.from(kSizeA), warpRow + i * 16, k, lane);
        }
        FIGMENT_UNROLL
        for (int j = 0; j < kAcross; j += 2) {
          uint32_t highB[4], lowB[4];
          loadB<L::kAlongB, kLengthB>(highB, tileB, warpColumn + j * 8, k, lane);
          loadB<L::kAlongB, kLengthB>(lowB, tileB.from(kSizeB), warpColumn + j * 8, k, lane);
          FIGMENT_UNROLL
          for (int q = 0; q < 2; q++) {
            const uint32_t highPart[2] = {highB[2 * q], highB[2 * q + 1]};
            const uint32_t lowPart[2] = {lowB[2 * q], lowB[2 * q + 1]};
            FIGMENT_UNROLL
            for (int i = 0; i < kDown; i++) mma16816<Bf16>(sums[i][j + q], low[i], highPart);
            FIGMENT_UNROLL
            for (int i = 0; i < kDown; i++) mma16816<Bf16>(sums[i][j + q], high[i], lowPart);
            FIGMENT_UNROLL
            for (int i = 0; i < kDown; i++) mma16816<Bf16>(sums[i][j + q], high[i], highPart);
          }
        }
      }
    }
    if (more) {
      const auto next = stages.from(((step + 1) & 1) * Tile::kStage);
      feedA.settle(next);
      feedB.settle(next.from(2 * kSizeA));
    }
    __syncthreads();
  }
  storeFragments<Tile>(epilogue, p, phase, task, shared, warpRow, warpColumn, lane, sums);
}

}  // namespace figment::cuda
