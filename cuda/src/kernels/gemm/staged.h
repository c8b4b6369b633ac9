// Products of factors of any formats on tensor cores, by an arithmetic that takes f32 for what
// these multiply (split.h, tf32.h): tiles pass through registers, where it does so, into one of two
// stages in shared memory. An arithmetic has
//   Element, kParts: what its tiles in shared memory consist of, and how many a number becomes
//   settle: puts eight numbers of a line down
//   multiply: adds the products of two tiles to the sums of a warp
#pragma once

#include "mma.h"
#include "start.h"

namespace figment::cuda {

template <int rows, int columns, int warpRows, int warpColumns>
struct StagedTile {
  static constexpr int kRows = rows, kColumns = columns, kDepth = 32;
  static constexpr int kWarpRows = warpRows, kWarpColumns = warpColumns;
  static constexpr int kWarpsAcross = columns / warpColumns;
  static constexpr int kThreads = rows / warpRows * kWarpsAcross * kWarp;
  static constexpr int kSizeA = rows * kDepth, kSizeB = columns * kDepth;
  static constexpr int kDown = warpRows / 16, kAcross = warpColumns / 8;
  /// A number has four bytes, of one part or of two.
  static constexpr size_t kSharedBytes = size_t(2) * (kSizeA + kSizeB) * 4;
  static_assert(kSharedBytes >= size_t(rows) * columns * sizeof(float));
};
using LargeStagedTile = StagedTile<128, 128, 64, 32>;
using SmallStagedTile = StagedTile<64, 64, 32, 32>;

/// Sums of a warp.
template <class Tile>
using WarpSums = float[Tile::kDown][Tile::kAcross][4];

/// One factor's way into shared memory: kLines lines of kLength.
template <class Arithmetic, template <int, int, int> class LoaderOf, int kLines, int kLength,
          int kThreads>
class StagedFeed {
  static constexpr int kStep = kThreads / (kLength / 8);
  static constexpr int kCount = kLines / kStep;
  static_assert(kStep * kCount == kLines);

 public:
  using Loader = LoaderOf<8, kCount, kStep>;
  using Factor = typename Loader::Factor;

  FIGMENT_DEVICE StagedFeed(const Floats<float>& from, const Factor& factor, const Product& p,
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
  FIGMENT_DEVICE void settle(const Shared<typename Arithmetic::Element>& tile) const {
    FIGMENT_UNROLL
    for (int v = 0; v < kCount; v++)
      Arithmetic::template settle<kLines, kLength>(tile, corner_.line + v * kStep, corner_.column,
                                                   values_[v]);
  }

 private:
  const Floats<float>& from_;
  bool aligned_;
  Corner corner_;
  Loader loader_;
  float values_[kCount][8];
};

template <class Arithmetic, class L, class Tile>
FIGMENT_KERNEL(Tile::kThreads)
stagedKernel(Floats<float> a, FIGMENT_GRID_CONSTANT const typename L::FactorA factorA,
             Floats<float> b, FIGMENT_GRID_CONSTANT const typename L::FactorB factorB,
             FIGMENT_GRID_CONSTANT const Product p, Epilogue<float> epilogue) {
  using Element = typename Arithmetic::Element;
  constexpr int kDepth = Tile::kDepth, kSizeA = Tile::kSizeA, kSizeB = Tile::kSizeB;
  constexpr int kPartsA = Arithmetic::kParts * kSizeA;
  constexpr int kStage = Arithmetic::kParts * (kSizeA + kSizeB);
  static_assert(2 * kStage * sizeof(Element) == Tile::kSharedBytes);
  constexpr int kLengthA = L::kAlongA ? kDepth : Tile::kRows;
  constexpr int kLengthB = L::kAlongB ? kDepth : Tile::kColumns;
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto stages = shared.template view<Element>(0, 2 * kStage);

  const Task task = taskOf<Tile::kRows, Tile::kColumns>(p, blockIdx.x);
  const Phase& phase = p.phase[task.phase];
  if (task.firstRow >= phase.rows) return;
  StagedFeed<Arithmetic, L::template LoaderA, kSizeA / kLengthA, kLengthA, Tile::kThreads> feedA(
      a, factorA, p, phase, task, task.firstRow, phase.rows);
  StagedFeed<Arithmetic, L::template LoaderB, kSizeB / kLengthB, kLengthB, Tile::kThreads> feedB(
      b, factorB, p, phase, task, task.firstColumn, p.columns);

  const int32_t steps = ceilDiv(task.endDepth - task.firstDepth, kDepth);
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int warpRow = warp / Tile::kWarpsAcross * Tile::kWarpRows;
  const int warpColumn = warp % Tile::kWarpsAcross * Tile::kWarpColumns;
  WarpSums<Tile> sums = {};
  // The first turn only fills a stage.
  for (int32_t step = -1; step < steps; step++) {
    const bool more = step + 1 < steps;
    if (more) {
      feedA.fetch(task.firstDepth + (step + 1) * kDepth);
      feedB.fetch(task.firstDepth + (step + 1) * kDepth);
    }
    if (step >= 0) {
      const auto tileA = stages.from((step & 1) * kStage);
      Arithmetic::template multiply<L, Tile>(sums, tileA, tileA.from(kPartsA), warpRow, warpColumn,
                                             lane);
    }
    if (more) {
      const auto next = stages.from(((step + 1) & 1) * kStage);
      feedA.settle(next);
      feedB.settle(next.from(kPartsA));
    }
    __syncthreads();
  }
  storeFragments<Tile>(epilogue, p, phase, task, shared, warpRow, warpColumn, lane, sums);
}

/// Runs a work on the kernels of an arithmetic.
template <class Arithmetic>
void runStaged(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  const AlignedFactors factors(work, operands);
  startWork(work, operands, true, launcher,
            [&](bool large, const Product& p, const Epilogue<float>& epilogue, Grid grid) {
              withLoaders(work.layout, factors, [&]<class L>(const auto& a, const auto& b) {
                const auto start = [&]<class Tile>(Tile) {
                  launch<stagedKernel<Arithmetic, L, Tile>>(
                      launcher, grid, Tile::kThreads, Tile::kSharedBytes, Floats<float>(operands.a),
                      a, Floats<float>(operands.b), b, p, epilogue);
                };
                large ? start(LargeStagedTile()) : start(SmallStagedTile());
              });
            });
}

}  // namespace figment::cuda
