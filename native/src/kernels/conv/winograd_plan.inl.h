// What a convolution by Winograd's filtering consists of: blocks of tiles of the result, panels of
// its channels, and where their transforms lie. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/conv/winograd_direct.inl.h"
#include "kernels/conv/winograd_tile.inl.h"

namespace figment::FIGMENT_ISA::conv {

/// Where each worker transforms its own tiles, these stay in the L2 cache.
constexpr int64_t kBlockBytes = 320 * 1024;
constexpr int64_t kLeastBlockTiles = 4 * kTileRows, kMostBlockTiles = 72 / kTileRows * kTileRows;
/// Enough units for load balance; fixed, so that nothing depends on the number of threads.
constexpr int64_t kWantedBlocks = 16, kWantedStrips = 8;
/// Panels that meet a transformed product while it is in the L2 cache.
constexpr int64_t kMostStripPanels = 4;

/// Channels in a chain of multiply-adds. What four results of an axis magnify the rounding of is
/// kept short: longer chains are faster, and allowed where the sums are longer too.
constexpr int64_t pieceOf(int64_t tileArea, int64_t depth) {
  constexpr int64_t kLargeTile = 16, kDeep = 256;
  if (tileArea < kLargeTile) return 32;
  return depth < kDeep ? 16 : 32;
}

/// A convolution or its input gradient.
template <int kY, int kX>
struct Winograd : Filtering<kY, kX> {
  using Tiled = TiledGeometry<kY, kX>;
  using Tiled::kProducts, Tiled::tiles, Tiled::rowStep, Tiled::sourceStep, Tiled::groups,
      Tiled::groupIn, Tiled::groupOut;

  explicit Winograd(const Geometry& shape) : Filtering<kY, kX>(shape) {
    panels = ceilDiv(groupOut, kTileColumns);
    // Few tiles: their transforms are small, and each panel of weights is needed once. Many: the
    // weights are small.
    sourceShared = tiles < groupOut;
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

  int64_t panels;       ///< of a group
  bool sourceShared;    ///< transformed once for all workers; otherwise the weights are
  int64_t blockTiles;   ///< multiplied in a row
  int64_t stripPanels;  ///< that are multiplied in turn, product by product
  int64_t piece;
  int64_t weightStep, sumStep;  ///< floats between the products

  int64_t panelFloats() const { return kProducts * weightStep; }
  int64_t blocks() const { return ceilDiv(tiles, blockTiles); }
  int64_t strips() const { return ceilDiv(panels, stripPanels); }  ///< of a group
};

template <int kY, int kX, class P>
inline Winograd<kY, kX> describeWinograd(const OpCall& call) {
  Winograd<kY, kX> g(geometryOf(call.as<P>()));
  g.template bind<P>(call);
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

}  // namespace figment::FIGMENT_ISA::conv
