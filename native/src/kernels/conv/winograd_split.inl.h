// conv2d and conv2dInputGrad of f32 factors, 3×3 taps and stride 1, by Winograd's filtering on
// split products (winograd_split_plan.inl.h). Include only from files compiled for one instruction
// set.
#pragma once

#include "kernels/conv/winograd_results.inl.h"
#include "kernels/conv/winograd_split_transforms.inl.h"
#include "kernels/fallbacks.h"
#include "kernels/gemm/split_tiles.inl.h"

namespace figment::FIGMENT_ISA::split {

/// A block of kBlock × kBlock sums that the tiles hold, and where they are to be stored.
struct HeldSums {
  float* to = nullptr;
  int64_t step = 0;  ///< floats between rows

  /// Takes them out of the tiles when the first factors of the next block are loaded: loads behind
  /// the stores would wait for the sums.
  template <class Tiles>
  FIGMENT_INLINE void store(Tiles& tiles) const {
    if (!to) return;
    const int64_t bytes = step * int64_t(sizeof(float));
    tiles.template store<0>(to, bytes);
    tiles.template store<1>(to + kSide, bytes);
    tiles.template store<2>(to + kSide * step, bytes);
    tiles.template store<3>(to + kSide * step + kSide, bytes);
  }
};

/// Fetches one of `parts` parts of a step of a panel into the second-level cache.
FIGMENT_INLINE void fetchAhead(const uint16_t* step, int64_t part, int64_t parts) {
  constexpr int64_t kLine = tiles::kRowBytes / int64_t(sizeof(uint16_t)), kLines = kStep / kLine;
  for (int64_t i = part * kLines / parts; i < (part + 1) * kLines / parts; i++)
    __builtin_prefetch(step + i * kLine, 0, 2);
}

/// Multiplies all columns of one product and group with `rowPanels` panels of rows. Where weights
/// are many, those of the next panel are fetched meanwhile, and the rows of the next product.
template <class Tiles, int kY, int kX>
inline void multiplyProduct(Tiles& tiles, const SplitWinograd<kY, kX>& g,
                            const SplitWinogradScratch& s, int64_t product, int64_t group,
                            int64_t rowPanels) {
  constexpr int64_t kBytes = kPartsLine * int64_t(sizeof(uint16_t));
  const auto rows = [&](const uint16_t* a, int64_t part) __attribute__((always_inline)) {
    tiles.template load<4>(a + part * kTileDepth, kBytes);
    tiles.template load<5>(a + part * kTileDepth + kPartsTile, kBytes);
  };
  const auto columns = [&](const uint16_t* b, int64_t part) __attribute__((always_inline)) {
    tiles.template load<6>(b + part * kTileDepth, kBytes);
    tiles.template load<7>(b + part * kTileDepth + kPartsTile, kBytes);
  };
  const auto dots = [&]() __attribute__((always_inline)) {
    tiles.template dot<0, 4, 6>();
    tiles.template dot<1, 4, 7>();
    tiles.template dot<2, 5, 6>();
    tiles.template dot<3, 5, 7>();
  };
  HeldSums held;
  for (int64_t j = 0; j < g.panels; j++)
    for (int64_t i = 0; i < rowPanels; i++) {
      const uint16_t* a = s.source + g.rowsAt(product, group, i);
      const uint16_t* b = s.weights + g.columnsAt(product, group, j);
      // The small products of all of K come first (see gemm/split_tiles.inl.h).
      for (int64_t k = 0; k < g.panelNumbers(); k += kStep) {
        columns(b + k, 0);
        rows(a + k, 2);
        if (k == 0) {
          held.store(tiles);
          tiles::zeroSums(tiles);
        }
        dots();
        if (!g.own) fetchAhead(b + k + g.panelNumbers(), i, rowPanels);
        rows(a + k, 1);
        dots();
        columns(b + k, 1);
        dots();
        if (!g.own) fetchAhead(a + k + g.rowsStep, j, g.panels);
        rows(a + k, 0);
        dots();
        columns(b + k, 2);
        dots();
      }
      for (int64_t k = 0; k < g.panelNumbers(); k += kStep) {
        columns(b + k, 0);
        rows(a + k, 0);
        dots();
      }
      held.to =
          s.sums + product * g.sumStep + i * kBlock * g.sumRow + (group * g.panels + j) * kBlock;
      held.step = g.sumRow;
    }
  held.store(tiles);
}

/// Transforms the sums of row `row` of a block back, which is tile `tile` of the image; answers how
/// many vectors of channels were summed directly.
template <int kY, int kX>
inline int64_t finishRow(const SplitWinograd<kY, kX>& g, const SplitWinogradScratch& s,
                         int64_t tile, int64_t row) {
  const conv::TilePlace place = placeOf(g, tile);
  const F32 rowOne = F32::broadcast(s.rowOne[row]), rowTwo = F32::broadcast(s.rowTwo[row]);
  int64_t direct = 0;
  for (int64_t group = 0; group < g.groups; group++)
    for (int64_t column = 0; column < g.groupOut; column += kLanes) {
      const int64_t at = group * g.panels * kBlock + column;
      const F32 one = rowOne * F32::load(s.columnOne + at);
      const F32 two = rowTwo * F32::load(s.columnTwo + at);
      direct += conv::finishTile(
          g, place, group, column, int(smaller(kLanes, g.groupOut - column)),
          s.sums + row * g.sumRow + at,
          g.sumStep, [&](F32 sum) __attribute__((always_inline)) { return sum * one * two; });
    }
  return direct;
}

/// All workers share each block of tiles.
template <class Tiles, int kY, int kX>
inline void runBlocksTogether(const SplitWinograd<kY, kX>& g, const SplitWinogradScratch& s,
                              Context& context) {
  constexpr int64_t kWantedUnits = 8;  // of transforms; each measures its tiles anew
  for (int64_t first = 0; first < g.tiles; first += g.blockTiles) {
    const int64_t count = smaller(g.blockTiles, g.tiles - first);
    const int64_t rowPanels = ceilDiv(count, kBlock), steps = g.groups * g.steps;
    const int64_t parts = smaller(ceilDiv(kWantedUnits, rowPanels), steps);
    context.parallelFor(rowPanels * parts, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t panel = i / parts, part = i % parts, row = panel * kBlock;
        splitTiles(g, s, first + row, smaller(kBlock, count - row), panel, part * steps / parts,
                   (part + 1) * steps / parts);
      }
    });
    // Runs of products, as each fetches the rows of the next.
    const int64_t products = g.kProducts * g.groups;
    context.parallelFor(
        products, ceilDiv(products, 2 * context.threads()), [&](int64_t begin, int64_t end, int) {
          Tiles tiles;
          for (int64_t i = begin; i < end; i++)
            multiplyProduct(tiles, g, s, i % g.kProducts, i / g.kProducts, rowPanels);
        });
    context.parallelFor(count, 4, [&](int64_t begin, int64_t end, int) {
      int64_t direct = 0;
      for (int64_t i = begin; i < end; i++) direct += finishRow(g, s, first + i, i);
      countFallbacks(context, direct);
    });
  }
}

/// Each worker does blocks of tiles by itself.
template <class Tiles, int kY, int kX>
inline void runOwnBlocks(const SplitWinograd<kY, kX>& g, const SplitWinogradScratch& shared,
                         Context& context) {
  context.parallelFor(g.blocks(), 1, [&](int64_t begin, int64_t end, int worker) {
    Tiles tiles;
    SplitWinogradScratch s = shared;
    s.source += worker * g.rowsAt(g.kProducts, 0, 0);
    s.sums += worker * g.kProducts * g.sumStep;
    s.rowOne += worker * g.blockTiles;
    s.rowTwo += worker * g.blockTiles;
    int64_t direct = 0;
    for (int64_t block = begin; block < end; block++) {
      const int64_t first = block * g.blockTiles, count = smaller(g.blockTiles, g.tiles - first);
      for (int64_t i = 0; i < count; i += kBlock)
        splitTiles(g, s, first + i, smaller(kBlock, count - i), i / kBlock, 0, g.groups * g.steps);
      for (int64_t i = 0; i < g.kProducts * g.groups; i++)
        multiplyProduct(tiles, g, s, i % g.kProducts, i / g.kProducts, ceilDiv(count, kBlock));
      for (int64_t i = 0; i < count; i++) direct += finishRow(g, s, first + i, i);
    }
    countFallbacks(context, direct);
  });
}

template <int kY, int kX, class P>
inline SplitWinograd<kY, kX> describeWinograd(const OpCall& call) {
  SplitWinograd<kY, kX> g(conv::geometryOf(call.as<P>()));
  g.template bind<P>(call);
  return g;
}

template <int kY, int kX, class P>
inline size_t winogradScratch(const OpCall& call, int threads) {
  SplitWinogradScratch s;
  return carve(describeWinograd<kY, kX, P>(call), threads, nullptr, s);
}

template <class Tiles, int kY, int kX, class P>
inline void winogradRun(const OpCall& call, Context& context) {
  const SplitWinograd<kY, kX> g = describeWinograd<kY, kX, P>(call);
  SplitWinogradScratch s;
  carve(g, context.threads(), context.scratch(), s);
  zeroFloats(s.zeros, g.rowStep);
  context.parallelFor(g.groups * g.panels, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) splitPanelWeights(g, s, i / g.panels, i % g.panels);
  });
  if (g.own)
    runOwnBlocks<Tiles>(g, s, context);
  else
    runBlocksTogether<Tiles>(g, s, context);
}

}  // namespace figment::FIGMENT_ISA::split
