// What a convolution by Winograd's filtering on split products consists of. Each of the products of
// the filtering, of transformed tiles by transformed weights, is a blocked matrix product of its
// own on matrix tiles, over many tiles of the image: both factors are split to bf16 parts straight
// after they are transformed, in the order in which the matrix tiles read them: as packed panels of
// gemm/tile_packing.inl.h, but for the parts of a line of a tile, which follow each other, so that
// each product is written as one stream. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/winograd_direct.inl.h"
#include "kernels/gemm/split.inl.h"

namespace figment::FIGMENT_ISA::split {

using conv::oddLines;
using gemm::zeroFloats;
using tiles::kBlock;
using tiles::kPair;
using tiles::kSide;
using tiles::kTileDepth;

/// bf16 numbers of a line of a tile in all its parts, of such a tile, and of a panel's step along
/// K: kTileDepth channels of kBlock rows or columns.
constexpr int64_t kPartsLine = kExactParts * kTileDepth, kPartsTile = kSide * kPartsLine;
constexpr int64_t kStep = kBlock * kPartsLine;

/// Split weights that stay in the L2 cache beside a block of tiles, whose transforms and sums may
/// take kOwnBlockBytes.
constexpr int64_t kOwnWeightBytes = 960 * 1024, kOwnBlockBytes = 768 * 1024;
/// Transformed tiles that all workers multiply together: one product of them stays in the L2 cache
/// while the weights pass by, unless they are so few that the weights would pass too often.
constexpr int64_t kSharedProductBytes = 800 * 1024, kLeastSharedTiles = 128;

template <int kY, int kX>
struct SplitWinograd : conv::Filtering<kY, kX> {
  using Base = conv::Filtering<kY, kX>;
  using Base::groups, Base::groupIn, Base::groupOut, Base::tiles, Base::kProducts;

  explicit SplitWinograd(const conv::Geometry& shape) : Base(shape) {
    steps = ceilDiv(groupIn, kTileDepth);
    panels = ceilDiv(groupOut, kBlock);
    constexpr int64_t kNumber = sizeof(uint16_t);
    const int64_t weightNumbers = groups * panels * panelNumbers();
    own = kProducts * weightNumbers * kNumber <= kOwnWeightBytes;
    sumRow = Base::rowOf(groups * panels * kBlock);
    const int64_t sourceBytes = groups * steps * kExactParts * kTileDepth * kNumber;
    const int64_t sumBytes = sumRow * int64_t(sizeof(float));
    const int64_t most =
        own ? kOwnBlockBytes / (kProducts * (sourceBytes + sumBytes))
            : larger(kSharedProductBytes / larger(sourceBytes, sumBytes), kLeastSharedTiles);
    const int64_t whole = larger(most / kBlock, 1) * kBlock;
    blockTiles = ceilDiv(ceilDiv(tiles, ceilDiv(tiles, whole)), kBlock) * kBlock;
    sumStep = oddLines(blockTiles * sumRow);
    // Two bf16 numbers take the room of a float.
    rowsStep = 2 * oddLines(groups * rowPanels() * panelNumbers() / 2);
    columnsStep = 2 * oddLines(weightNumbers / 2);
  }

  bool own;            ///< each worker does blocks of tiles by itself; else all share each block
  int64_t steps;       ///< of kTileDepth channels of a group
  int64_t panels;      ///< of kBlock channels of the result, of a group
  int64_t blockTiles;  ///< a multiple of kBlock
  int64_t rowsStep, columnsStep;  ///< bf16 numbers between products
  int64_t sumRow, sumStep;        ///< floats from one tile's sums to the next, and between products

  /// bf16 numbers of a panel of one product: the parts of a step follow each other.
  int64_t panelNumbers() const { return steps * kStep; }
  int64_t rowPanels() const { return blockTiles / kBlock; }
  int64_t blocks() const { return ceilDiv(tiles, blockTiles); }
  int64_t rowsAt(int64_t product, int64_t group, int64_t panel) const {
    return product * rowsStep + (group * rowPanels() + panel) * panelNumbers();
  }
  int64_t columnsAt(int64_t product, int64_t group, int64_t panel) const {
    return product * columnsStep + (group * panels + panel) * panelNumbers();
  }
};

/// What numbers are multiplied by, and sums to take it back in two steps: both have the same sign
/// of exponents, so that neither leaves the range of f32 unless the result does. NaN takes sums of
/// factors that are not finite to where they are summed plainly.
struct Rescaling {
  float factor = 1, one = __builtin_nanf(""), two = one;

  Rescaling() = default;
  explicit Rescaling(float largest) {
    if (!(largest < __builtin_inff())) return;
    const int shift = largest == 0 ? 0 : shiftOf(largest);
    factor = powerOfTwo(shift);
    one = powerOfTwo(-shift / 2);
    two = powerOfTwo(-shift - -shift / 2);
  }
};

struct SplitWinogradScratch {
  float* zeros;  ///< a pixel of padding, in any format
  uint16_t *source, *weights;
  float* sums;
  float *rowOne, *rowTwo, *columnOne, *columnTwo;  ///< of Rescaling
};

template <int kY, int kX>
inline size_t carve(const SplitWinograd<kY, kX>& g, int threads, std::byte* base,
                    SplitWinogradScratch& s) {
  const int64_t blocks = g.own ? threads : 1;
  const int64_t columns = g.groups * g.panels * kBlock;
  gemm::Carver carver(base);
  s.zeros = carver.take<float>(g.rowStep + kTileDepth);
  s.columnOne = carver.take<float>(columns);
  s.columnTwo = carver.take<float>(columns);
  s.rowOne = carver.take<float>(blocks * g.blockTiles);
  s.rowTwo = carver.take<float>(blocks * g.blockTiles);
  s.weights = carver.take<uint16_t>(g.columnsAt(g.kProducts, 0, 0));
  s.source = carver.take<uint16_t>(blocks * g.rowsAt(g.kProducts, 0, 0));
  s.sums = carver.take<float>(blocks * g.kProducts * g.sumStep);
  return carver.used();
}

}  // namespace figment::FIGMENT_ISA::split
