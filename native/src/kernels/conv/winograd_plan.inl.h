// What a convolution by Winograd's filtering consists of: blocks of tiles of the result, panels of
// its channels, and where their transforms lie. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/conv/geometry.inl.h"
#include "kernels/conv/winograd_tile.inl.h"

namespace figment::FIGMENT_ISA::conv {

/// Where each worker transforms its own tiles, these stay in the L2 cache.
constexpr int64_t kBlockBytes = 320 * 1024;
constexpr int64_t kLeastBlockTiles = 4 * kTileRows, kMostBlockTiles = 72 / kTileRows * kTileRows;
/// Enough units for load balance; fixed, so that nothing depends on the number of threads.
constexpr int64_t kWantedBlocks = 16, kWantedStrips = 8;
/// Panels that meet a transformed product while it is in the L2 cache.
constexpr int64_t kMostStripPanels = 4;
/// Row strides that are a multiple of this leave most sets of the L1 cache unused.
constexpr int64_t kRowConflict = 256;

/// A whole and odd number of cache lines: as many arrays that far apart fall into different sets.
constexpr int64_t oddLines(int64_t floats) {
  constexpr int64_t kLine = 16;
  return (ceilDiv(floats, kLine) | 1) * kLine;
}

/// Channels in a chain of multiply-adds. What four results of an axis magnify the rounding of is
/// kept short: longer chains are faster, and allowed where the sums are longer too.
constexpr int64_t pieceOf(int64_t tileArea, int64_t depth) {
  constexpr int64_t kLargeTile = 16, kDeep = 256;
  if (tileArea < kLargeTile) return 32;
  return depth < kDeep ? 16 : 32;
}

/// F(kY × kX, 3×3).
template <int kY, int kX>
struct Winograd : Geometry {
  static constexpr int kSideY = kY + 2, kSideX = kX + 2, kProducts = kSideY * kSideX;

  explicit Winograd(const Geometry& shape) : Geometry(shape) {
    tilesY = ceilDiv(outHeight, kY);
    tilesX = ceilDiv(outWidth, kX);
    tiles = images * tilesY * tilesX;
    panels = ceilDiv(groupOut, kTileColumns);
    // Few tiles: their transforms are small, and each panel of weights is needed once. Many: the
    // weights are small.
    sourceShared = tiles < groupOut;
    rowStep = ceilDiv(sourceChannels, kLanes) * kLanes;
    if (rowStep % kRowConflict == 0) rowStep += kLanes;
    const int64_t tileBytes = kProducts * rowStep * int64_t(sizeof(float));
    const int64_t affordable = sourceShared ? kMostBlockTiles : kBlockBytes / tileBytes;
    const int64_t share = sourceShared ? tiles : ceilDiv(tiles, kWantedBlocks);
    const int64_t most =
        smaller(larger(smaller(affordable, share), kLeastBlockTiles), kMostBlockTiles);
    const int64_t even = ceilDiv(tiles, ceilDiv(tiles, most));
    blockTiles = smaller(ceilDiv(even, kTileRows) * kTileRows, tiles);
    stripPanels =
        smaller(larger(groups * panels / kWantedStrips, 1), sourceShared ? kMostStripPanels : 2);
    piece = pieceOf(kY * kX, groupIn);
    sourceStep = oddLines((sourceShared ? tiles : blockTiles) * rowStep);
    weightStep = oddLines(groupIn * kTileColumns);
    sumStep = oddLines(blockTiles * kTileColumns * stripPanels);
  }

  Elements source, weights, bias;
  Results out;

  int64_t tilesY, tilesX, tiles;
  int64_t panels;       ///< of a group
  bool sourceShared;    ///< transformed once for all workers; otherwise the weights are
  int64_t blockTiles;   ///< multiplied in a row
  int64_t stripPanels;  ///< that are multiplied in turn, product by product
  int64_t piece;
  int64_t rowStep;                          ///< floats between tiles of a transformed source
  int64_t sourceStep, weightStep, sumStep;  ///< and between the products

  int64_t panelFloats() const { return kProducts * weightStep; }
  int64_t blocks() const { return ceilDiv(tiles, blockTiles); }
  int64_t strips() const { return ceilDiv(panels, stripPanels); }  ///< of a group
};

template <int kY, int kX, class P>
inline Winograd<kY, kX> describeWinograd(const OpCall& call) {
  Winograd<kY, kX> g(geometryOf(call.as<P>()));
  g.source = Elements::of(call.in[0]);
  g.weights = Elements::of(call.in[1]);
  if (g.biased) g.bias = Elements::of(call.in[2]);
  g.out = Results::of(call.out[0]);
  return g;
}

struct WinogradScratch {
  float* zeros;    ///< a pixel of padding, in any format
  float* source;   ///< shared, or a block for each worker
  float* weights;  ///< shared, or a strip for each worker
  float* sums;     ///< a block by a strip for each worker
  int64_t sourceFloats, stripFloats, sumFloats;
};

template <int kY, int kX>
inline size_t carve(const Winograd<kY, kX>& g, int threads, std::byte* base, WinogradScratch& s) {
  Carver carver(base);
  s.zeros = carver.take<float>(g.rowStep);
  s.sourceFloats = g.kProducts * g.sourceStep;
  s.stripFloats = g.stripPanels * g.panelFloats();
  s.sumFloats = g.kProducts * g.sumStep;
  s.source = carver.take<float>(s.sourceFloats * (g.sourceShared ? 1 : threads));
  s.weights = carver.take<float>(g.sourceShared ? threads * s.stripFloats
                                                : g.groups * g.panels * g.panelFloats());
  s.sums = carver.take<float>(s.sumFloats * threads);
  return carver.used();
}

/// A tile of the result: where it begins, and how much of it the result has.
struct TilePlace {
  int64_t image, y, x;
  int rows, columns;
};

template <int kY, int kX>
FIGMENT_INLINE TilePlace placeOf(const Winograd<kY, kX>& g, int64_t tile) {
  const int64_t y = tile / g.tilesX % g.tilesY * kY, x = tile % g.tilesX * kX;
  return {tile / (g.tilesX * g.tilesY), y, x, int(smaller(kY, g.outHeight - y)),
          int(smaller(kX, g.outWidth - x))};
}

/// A pixel of the source by the position of the result that its first tap belongs to, or null in
/// the padding.
template <int kY, int kX>
FIGMENT_INLINE Elements pixelAt(const Winograd<kY, kX>& g, int64_t image, int64_t y, int64_t x) {
  const int64_t row = y + g.y[0].firstOffset, column = x + g.x[0].firstOffset;
  if (row < 0 || row >= g.sourceHeight || column < 0 || column >= g.sourceWidth)
    return {nullptr, g.source.format};
  return g.source + ((image * g.sourceHeight + row) * g.sourceWidth + column) * g.sourceChannels;
}

/// The kernel index of tap (y, x) in ascending order of offsets.
template <int kY, int kX>
FIGMENT_INLINE int64_t tapAt(const Winograd<kY, kX>& g, int64_t y, int64_t x) {
  return g.y[0].tap(y) * g.kernelWidth + g.x[0].tap(x);
}

}  // namespace figment::FIGMENT_ISA::conv
