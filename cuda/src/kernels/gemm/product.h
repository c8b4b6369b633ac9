// Matrix products and convolutions as one kind of work: out[row, column] = Σ over the depth of
// A[row, depth] · B[depth, column], for a number of groups (a batch of matrices, groups of
// channels) and of phases (the sub-pixel parts of an input gradient). Where the factors lie is said
// by loaders.h. Kernel arguments, filled by the host.
#pragma once

#include "divisor.h"

namespace figment::cuda {

/// Positions of one phase: images × height × width; what they read through tap (y, x) lies at
/// position · step + offset + tap · tapStep of an image.
struct Phase {
  int32_t rows = 0, depth = 0;
  Divisor area, width;  ///< of positions
  int32_t offsetY = 0, offsetX = 0;
  Divisor tapsX;
  int64_t firstTap = 0;  ///< where the weights of the first tap begin
  int64_t outFirst = 0;  ///< where the result of the first position begins
};

constexpr int kMaxPhases = 16;

struct Product {
  int32_t columns = 0;
  int32_t groups = 1, phases = 1, splits = 1;
  int32_t splitDepth = 0;  ///< what each split sums, a multiple of every tile's depth
  int32_t mostRows = 0;    ///< of any phase
  /// Where results lie: rows one after another, or at the positions of images.
  int32_t linear = 1;
  int64_t outGroup = 0, outImage = 0, outRow = 0, outColumn = 0;
  int32_t biasGroup = 0;  ///< columns of the bias from one group to the next
  Phase phase[kMaxPhases];

  int64_t products() const { return int64_t(groups) * phases * splits; }
};

/// A position's images, rows and columns.
struct Position {
  uint32_t image, y, x;
};
FIGMENT_DEVICE Position positionOf(const Phase& phase, uint32_t row) {
  const uint32_t image = phase.area.quotient(row), rest = phase.area.rest(row, image);
  const uint32_t y = phase.width.quotient(rest);
  return {image, y, phase.width.rest(rest, y)};
}

/// The tile that a block computes.
struct Task {
  int32_t firstRow, firstColumn;
  int32_t group, phase;
  int32_t firstDepth, endDepth;
  /// Offset of the tile's results; with split depth they are partial sums, rows one after another.
  int64_t out;
};

/// Blocks in an order in which those that run together share rows and columns.
template <int kRows, int kColumns>
FIGMENT_DEVICE Task taskOf(const Product& p, uint32_t block) {
  constexpr uint32_t kBand = 8;  // rows of tiles
  const uint32_t tilesM = ceilDiv(p.mostRows, kRows), tilesN = ceilDiv(p.columns, kColumns);
  const uint32_t tiles = tilesM * tilesN, product = block / tiles, tile = block % tiles;
  const uint32_t band = tile / (kBand * tilesN), inBand = tile % (kBand * tilesN);
  const uint32_t height = smaller(tilesM - band * kBand, kBand);
  Task task;
  task.firstRow = int32_t((band * kBand + inBand % height) * kRows);
  task.firstColumn = int32_t(inBand / height * kColumns);
  const int32_t each = p.groups * p.phases;
  const int32_t split = int32_t(product) / each, rest = int32_t(product) % each;
  task.group = rest / p.phases;
  task.phase = rest % p.phases;
  const Phase& phase = p.phase[task.phase];
  task.firstDepth = split * p.splitDepth;
  task.endDepth = smaller(phase.depth, task.firstDepth + p.splitDepth);
  task.out = p.splits > 1 ? int64_t(product) * p.mostRows * p.columns
                          : task.group * p.outGroup + phase.outFirst;
  return task;
}

/// Offset of a row's results from those of the first.
FIGMENT_DEVICE int64_t rowOffset(const Product& p, const Phase& phase, uint32_t row) {
  if (p.splits > 1) return int64_t(row) * p.columns;
  if (p.linear) return row * p.outColumn;
  const Position at = positionOf(phase, row);
  return at.image * p.outImage + at.y * p.outRow + at.x * p.outColumn;
}

}  // namespace figment::cuda
