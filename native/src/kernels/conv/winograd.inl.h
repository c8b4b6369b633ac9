// conv2d and conv2dInputGrad of 3×3 taps and stride 1 by Winograd's filtering (see
// winograd_matrices.h): tiles of the source and the weights are transformed, multiplied channel by
// channel in a matrix product for each element of a transformed tile, and the sums transformed
// back and finished. Of the three, only what all workers share leaves the caches of a
// core. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/winograd_plan.inl.h"
#include "kernels/conv/winograd_results.inl.h"
#include "kernels/fallbacks.h"
#include "kernels/isa_name.h"
#include "kernels/kernel.h"

namespace figment::FIGMENT_ISA::conv {

/// Transforms the weights of one panel: products `weightStep` apart, each of groupIn rows of one
/// panel's width.
template <int kY, int kX>
inline void transformPanel(const Winograd<kY, kX>& g, int64_t group, int64_t panel, float* to) {
  constexpr int kSideY = kY + 2, kSideX = kX + 2;
  constexpr int64_t kRows = 16;
  const int64_t column = panel * kTileColumns;
  const int64_t valid = smaller(kTileColumns, g.groupOut - column);
  const int64_t width = panelWidth(valid);
  const int64_t taps = g.kernelTaps;
  // From one channel of the source to the next, and of the result.
  const int64_t rowStep = g.transposed ? taps * g.groupOut : 1;
  const int64_t columnStep = g.transposed ? 1 : taps * g.groupIn;
  const int64_t tapStep = g.transposed ? g.groupOut : g.groupIn;
  const Elements first = g.weights + (group * g.groupIn * g.groupOut * taps + column * columnStep);
  alignas(64) float staged[9 * kRows * kTileColumns];
  for (int64_t k = 0; k < g.groupIn; k += kRows) {
    const int64_t rows = smaller(kRows, g.groupIn - k);
    for (int64_t i = 0; i < taps; i++) {
      const Elements from = first + (k * rowStep + tapAt(g, i / 3, i % 3) * tapStep);
      float* at = staged + i * rows * width;
      // Far apart, the next rows would come as slowly as from memory.
      const int64_t ahead = k + 2 * kRows <= g.groupIn ? kRows * rowStep : 0;
      const int64_t lines = g.transposed ? rows : valid;
      for (int64_t j = 0; j < lines; j++)
        __builtin_prefetch((from + (ahead + j * (g.transposed ? rowStep : columnStep))).data);
      if (g.transposed)
        packRows(from, rowStep, rows, valid, width, at);
      else
        packColumns(from, columnStep, rows, valid, width, at);
    }
    for (int64_t i = 0; i < rows * width; i += kLanes)
      bothAxes<3, 3, kSideY, kSideX>(
          [](auto& w, auto& u) __attribute__((always_inline)) { transformWeights<kY>(w, u); },
          [](auto& w, auto& u) __attribute__((always_inline)) { transformWeights<kX>(w, u); },
          [&](int y, int x) __attribute__((always_inline)) {
            return F32::load(staged + (y * 3 + x) * rows * width + i);
          },
          [&](int y, int x, F32 value) __attribute__((always_inline)) {
            value.store(to + (y * kSideX + x) * g.weightStep + k * width + i);
          });
  }
}

/// A run of panels of a group.
struct Strip {
  int64_t group, first, count;
};

template <int kY, int kX>
inline Strip stripOf(const Winograd<kY, kX>& g, int64_t strip) {
  const int64_t first = strip % g.strips() * g.stripPanels;
  return {strip / g.strips(), first, smaller(g.stripPanels, g.panels - first)};
}

/// The products of `count` transformed tiles with the panels of a strip.
template <int kY, int kX>
inline void multiplyStrip(const Winograd<kY, kX>& g, const float* source, int64_t count,
                          const Strip& strip, const float* weights, float* sums) {
  const int64_t even = ceilDiv(g.groupIn, ceilDiv(g.groupIn, kDepth));
  const int64_t cut = ceilDiv(even, g.piece) * g.piece;
  for (int64_t product = 0; product < g.kProducts; product++)
    for (int64_t k = 0; k < g.groupIn; k += cut)
      for (int64_t i = 0; i < strip.count; i++) {
        const int64_t width = panelWidth(g.groupOut - (strip.first + i) * kTileColumns);
        const PieceTile tile{source + product * g.sourceStep + strip.group * g.groupIn + k,
                             g.rowStep,
                             weights + i * g.panelFloats() + product * g.weightStep + k * width,
                             smaller(cut, g.groupIn - k),
                             sums + product * g.sumStep + i * g.blockTiles * kTileColumns,
                             kTileColumns,
                             g.piece,
                             k == 0};
        if (width == kTileColumns)
          pieceRows<kTileVectors>(tile, count);
        else
          pieceRows<kTileVectors - 1>(tile, count);
      }
}

/// Multiplies `count` transformed tiles from `firstTile` on by a strip and writes their part of the
/// result; answers how many vectors of channels of a tile were summed directly.
template <int kY, int kX>
inline int64_t runStrip(const Winograd<kY, kX>& g, const float* source, int64_t firstTile,
                        int64_t count, const Strip& strip, const float* weights, float* sums) {
  multiplyStrip(g, source, count, strip, weights, sums);
  int64_t direct = 0;
  for (int64_t i = 0; i < count; i++) {
    const TilePlace place = placeOf(g, firstTile + i);
    for (int64_t panel = 0; panel < strip.count; panel++) {
      const int64_t column = (strip.first + panel) * kTileColumns;
      const float* own = sums + (panel * g.blockTiles + i) * kTileColumns;
      for (int64_t at = 0; at < kTileColumns && column + at < g.groupOut; at += kLanes)
        direct += finishTile(
            g, place, strip.group, column + at, int(smaller(kLanes, g.groupOut - column - at)),
            own + at, g.sumStep, [](F32 sum) __attribute__((always_inline)) { return sum; });
    }
  }
  return direct;
}

/// Few tiles: all are transformed first, then each strip meets all of them.
template <int kY, int kX>
inline void runBySource(const Winograd<kY, kX>& g, const WinogradScratch& s, Context& context) {
  context.parallelFor(g.tiles, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t tile = begin; tile < end; tile++)
      transformTile(g, s.zeros, tile, s.source + tile * g.rowStep);
  });
  context.parallelFor(g.groups * g.strips(), 1, [&](int64_t begin, int64_t end, int worker) {
    float* weights = s.weights + worker * s.stripFloats;
    int64_t direct = 0;
    for (int64_t i = begin; i < end; i++) {
      const Strip strip = stripOf(g, i);
      for (int64_t panel = 0; panel < strip.count; panel++)
        transformPanel(g, strip.group, strip.first + panel, weights + panel * g.panelFloats());
      for (int64_t tile = 0; tile < g.tiles; tile += g.blockTiles)
        direct +=
            runStrip(g, s.source + tile * g.rowStep, tile, smaller(g.blockTiles, g.tiles - tile),
                     strip, weights, s.sums + worker * s.sumFloats);
    }
    countFallbacks(context, direct);
  });
}

/// Many tiles: all weights are transformed first, then each block of tiles meets all of them.
template <int kY, int kX>
inline void runByWeights(const Winograd<kY, kX>& g, const WinogradScratch& s, Context& context) {
  context.parallelFor(g.groups * g.panels, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++)
      transformPanel(g, i / g.panels, i % g.panels, s.weights + i * g.panelFloats());
  });
  context.parallelFor(g.blocks(), 1, [&](int64_t begin, int64_t end, int worker) {
    float* source = s.source + worker * s.sourceFloats;
    int64_t direct = 0;
    for (int64_t block = begin; block < end; block++) {
      const int64_t first = block * g.blockTiles, count = smaller(g.blockTiles, g.tiles - first);
      for (int64_t i = 0; i < count; i++)
        transformTile(g, s.zeros, first + i, source + i * g.rowStep);
      for (int64_t i = 0; i < g.groups * g.strips(); i++) {
        const Strip strip = stripOf(g, i);
        const float* weights = s.weights + (strip.group * g.panels + strip.first) * g.panelFloats();
        direct += runStrip(g, source, first, count, strip, weights, s.sums + worker * s.sumFloats);
      }
    }
    countFallbacks(context, direct);
  });
}

template <int kY, int kX, class P>
inline size_t winogradScratch(const OpCall& call, int threads) {
  WinogradScratch s;
  return carve(describeWinograd<kY, kX, P>(call), threads, nullptr, s);
}

template <int kY, int kX, class P>
inline void winogradRun(const OpCall& call, Context& context) {
  const Winograd<kY, kX> g = describeWinograd<kY, kX, P>(call);
  WinogradScratch s;
  carve(g, context.threads(), context.scratch(), s);
  zeroFloats(s.zeros, g.rowStep);
  if (g.sourceShared)
    runBySource(g, s, context);
  else
    runByWeights(g, s, context);
}

}  // namespace figment::FIGMENT_ISA::conv
