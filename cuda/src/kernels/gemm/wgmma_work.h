// What the Hopper kernel of products is told: where its tiles' factors come from and where its sums
// go. Matmul and the three convolutions differ in nothing else. In each of its steps the kernel
// multiplies 64 of k:
//
//   matmul            a: matrix   b: matrix
//   conv2d            a: pixels   b: weights   rows: positions of the result, k: taps, channels
//   conv2dInputGrad   a: pixels   b: weights   the same over the result's gradient, a batch for
//                                              each phase of the stride
//   conv2dWeightGrad  a: matrix   b: pixels    k: positions, columns: taps, channels
#pragma once

#include <cuda.h>

#include "epilogue.h"

namespace figment::cuda::wgmma {

constexpr int kTileRows = 128;  ///< of the result, half of them for each of two warpgroups
constexpr int kTileDepth = 64;  ///< 128 bytes
constexpr int kBlockThreads = 384;
constexpr int kGroup = 64;  ///< columns (rows) that one box brings of a factor that lies across k

constexpr int kMostPhases = 4;  ///< of one launch: those of stride 2

/// Of tensors, for the copy engine.
struct Maps {
  CUtensorMap a[kMostPhases];  ///< one where there are no phases
  CUtensorMap b;
};

/// Positions p = (n·height + y)·width + x that read images through taps: tap (ty, tx) of position
/// (n, y, x) is the pixel at (startY + y·stepY + offset, startX + x·stepX + offset).
struct Window {
  int width = 1, height = 1;
  int startX = 0, startY = 0;
  int stepX = 1, stepY = 1;
  int tapsX = 1;
  int offsetStepX = 0, offsetStepY = 0;  ///< the offset of tap t is t·offsetStep
  /// Tap (ty, tx) is number firstTap + ty·tapStepY + tx·tapStepX of the weights.
  int firstTap = 0, tapStepX = 1, tapStepY = 0;
};

/// What the batches of an input gradient have of their own.
struct Phase {
  int rows = 0, steps = 0;
  Window window;
  int64_t first = 0;  ///< where its results begin
};

enum class Source : int { matrix, weights, pixels };

/// Where the sums go. Column c of the tiles is, with groups of 64 columns, channel
/// c % (64·tapGroups) of tap c / (64·tapGroups).
struct Results {
  void* data = nullptr;
  Format format = Format::f32;
  int wide = 0;  ///< eight columns at once are aligned
  int channels = 0;
  int tapGroups = 1;
  int64_t rowStride = 0, batchStride = 0, splitStride = 0;
  int placed = 0;  ///< rows are positions of the window, with the strides below
  int64_t imageStride = 0, yStride = 0, xStride = 0;
};

struct Work : Finishing<float> {
  int rows = 0;     ///< of the sums, of any phase
  int columns = 0;  ///< in whole groups where there are taps
  int rowTiles = 0, columnTiles = 0, batch = 1, splits = 1;
  int steps = 0;      ///< of 64 of k, of any phase
  int stepsEach = 0;  ///< of each split
  int chunks = 0;     ///< steps to a tap
  Source a = Source::matrix, b = Source::matrix;
  int batchA = 0, batchB = 0;  ///< whether each batch has a matrix of its own
  int phased = 0;              ///< whether each batch is a phase; otherwise there is one for all
  Phase phases[kMostPhases];
  Results results;

  FIGMENT_BOTH int tiles() const { return rowTiles * columnTiles * batch * splits; }
};

/// One tile of the work.
struct Place {
  int row, column, batch, split;
};

/// Tiles in an order in which those that run at the same time share factors.
FIGMENT_BOTH Place placeOf(const Work& work, int tile) {
  constexpr int kTogether = 16;
  const int matrix = work.rowTiles * work.columnTiles;
  const int outer = tile / matrix;
  const int inner = tile - outer * matrix;
  const int band = inner / (kTogether * work.columnTiles);
  const int rest = inner - band * kTogether * work.columnTiles;
  const int left = work.rowTiles - band * kTogether;
  const int height = left < kTogether ? left : kTogether;
  return {band * kTogether + rest % height, rest / height, outer % work.batch, outer / work.batch};
}

FIGMENT_BOTH const Phase& phaseOf(const Work& work, const Place& place) {
  return work.phases[work.phased ? place.batch : 0];
}

}  // namespace figment::cuda::wgmma
