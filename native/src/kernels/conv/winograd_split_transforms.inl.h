// The factors of winograd_split_plan.inl.h: transformed, times a power of two for each tile of the
// image and each channel of the result, and split. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/conv/winograd_split_plan.inl.h"
#include "kernels/conv/winograd_transforms.inl.h"

namespace figment::FIGMENT_ISA::split {

using conv::bothAxes;
using gemm::loadElements;

/// The larger sizes, with NaN above all.
FIGMENT_INLINE I32 largerSize(I32 size, F32 x) {
  return max(size, asInt(x) & I32::broadcast(INT32_MAX));
}
/// The largest of sizes, as a number; sizes of NaN stay NaN.
inline float largestOf(I32 sizes) {
  int32_t lanes[kLanes], most = 0;
  sizes.store(lanes);
  for (const int32_t lane : lanes) most = lane > most ? lane : most;
  return fromBits(uint32_t(most));
}

/// A tile of the source.
template <int kY, int kX>
class ScaledTile {
 public:
  static constexpr int kSideY = kY + 2, kSideX = kX + 2, kProducts = kSideY * kSideX;

  ScaledTile() = default;
  ScaledTile(const SplitWinograd<kY, kX>& g, const float* zeros, int64_t tile)
      : pixels_(g, zeros, tile), format_(g.source.format) {
    I32 sizes = I32::zero();
    for (int y = 0; y < kSideY; y++)
      for (int x = 0; x < kSideX; x++)
        for (int64_t c = 0; c < g.sourceChannels; c += kLanes)
          sizes = largerSize(sizes, load(y, x, c, g.sourceChannels));
    scale = Rescaling(largestOf(sizes));
  }

  /// Transforms kTileDepth scaled channels from `first` on; those from `end` on are zero.
  FIGMENT_INLINE void transform(int64_t first, int64_t end,
                                float (&to)[kProducts][kTileDepth]) const {
    const F32 factor = F32::broadcast(scale.factor);
    for (int64_t k = 0; k < kTileDepth; k += kLanes)
      bothAxes<kSideY, kSideX, kSideY, kSideX>(
          [](auto& d, auto& v) __attribute__((always_inline)) { conv::transformSource<kY>(d, v); },
          [](auto& d, auto& v) __attribute__((always_inline)) { conv::transformSource<kX>(d, v); },
          [&](int y, int x)
              __attribute__((always_inline)) { return load(y, x, first + k, end) * factor; },
          [&](int y, int x, F32 value)
              __attribute__((always_inline)) { value.store(to[y * kSideX + x] + k); });
  }

  Rescaling scale;

 private:
  FIGMENT_INLINE F32 load(int y, int x, int64_t channel, int64_t end) const {
    const Elements at = Elements{pixels_.at[y][x], format_} + channel;
    if (format_ == Format::f32 && channel + kLanes <= end) return F32::load(at.floats());
    const int count = tiles::lanesBelow(end, channel);
    return count > 0 ? loadElements(at, count) : F32::zero();
  }

  conv::TilePixels<kY, kX> pixels_;
  Format format_;
};

/// Transforms, scales and splits `count` tiles from `first` on as a panel of rows, for the steps
/// [begin, end) of all groups: step by step, so that what is written to each product lies in a row.
template <int kY, int kX>
inline void splitTiles(const SplitWinograd<kY, kX>& g, const SplitWinogradScratch& s, int64_t first,
                       int64_t count, int64_t panel, int64_t begin, int64_t end) {
  using Tile = ScaledTile<kY, kX>;
  Tile scaled[kBlock];
  for (int64_t i = 0; i < count; i++) {
    scaled[i] = Tile(g, s.zeros, first + i);
    s.rowOne[panel * kBlock + i] = scaled[i].scale.one;
    s.rowTwo[panel * kBlock + i] = scaled[i].scale.two;
  }
  alignas(64) float lines[Tile::kProducts][kTileDepth];
  for (int64_t step = begin; step < end; step++) {
    const int64_t group = step / g.steps, within = step % g.steps;
    const int64_t channel = group * g.groupIn + within * kTileDepth;
    for (int64_t i = 0; i < count; i++) {
      scaled[i].transform(channel, (group + 1) * g.groupIn, lines);
      uint16_t* to = s.source + g.rowsAt(0, group, panel) + within * kStep + i * kPartsLine;
      for (int product = 0; product < Tile::kProducts; product++, to += g.rowsStep)
        for (int64_t k = 0; k < kTileDepth; k += 2 * kLanes) {
          const F32 low = F32::load(lines[product] + k);
          const F32 high = F32::load(lines[product] + k + kLanes);
          splitVectors<Lanes::behind, kExactParts>(to + k, kTileDepth, low, high);
        }
    }
  }
}

/// The weights of a panel as a matrix of channels of the source by channels of the result.
template <int kY, int kX>
struct PanelWeights {
  const SplitWinograd<kY, kX>& g;
  Elements first;
  int64_t columns;                       ///< that the result has
  int64_t rowStep, columnStep, tapStep;  ///< elements

  PanelWeights(const SplitWinograd<kY, kX>& plan, int64_t group, int64_t panel)
      : g(plan), columns(smaller(kBlock, plan.groupOut - panel * kBlock)) {
    const int64_t taps = g.kernelTaps;
    rowStep = g.transposed ? taps * g.groupOut : 1;
    columnStep = g.transposed ? 1 : taps * g.groupIn;
    tapStep = g.transposed ? g.groupOut : g.groupIn;
    first = g.weights + (group * g.groupIn * g.groupOut * taps + panel * kBlock * columnStep);
  }

  /// The largest size of each column.
  void largest(float (&sizes)[kBlock]) const {
    if (!g.transposed) {
      const int64_t count = g.kernelTaps * g.groupIn;
      for (int64_t j = 0; j < kBlock; j++) {
        I32 most = I32::zero();
        for (int64_t i = 0; j < columns && i < count; i += kLanes)
          most = largerSize(
              most, loadElements(first + (j * columnStep + i), int(smaller(kLanes, count - i))));
        sizes[j] = largestOf(most);
      }
      return;
    }
    for (int64_t j = 0; j < kBlock; j += kLanes) {
      const int count = tiles::lanesBelow(columns, j);
      I32 most = I32::zero();
      for (int64_t i = 0; count > 0 && i < g.groupIn * g.kernelTaps; i++)
        most = largerSize(most, loadElements(first + (i * g.groupOut + j), count));
      asFloat(most).store(sizes + j);
    }
  }

  /// Copies up to kTileDepth rows from `k` on of a tap to rows of kBlock floats.
  void stage(int64_t tap, int64_t k, float* to) const {
    const int64_t rows = smaller(kTileDepth, g.groupIn - k);
    const Elements from = first + (k * rowStep + tap * tapStep);
    if (g.transposed)
      gemm::packRows(from, rowStep, rows, columns, kBlock, to);
    else if (rows == kTileDepth && columns == kBlock)
      transposeRaw(to, kBlock, from, columnStep, columns, rows);
    else
      gemm::packColumns(from, columnStep, rows, columns, kBlock, to);
    zeroFloats(to + rows * kBlock, (kTileDepth - rows) * kBlock);
  }
};

/// Transforms, scales and splits the weights of a panel.
template <int kY, int kX>
inline void splitPanelWeights(const SplitWinograd<kY, kX>& g, const SplitWinogradScratch& s,
                              int64_t group, int64_t panel) {
  constexpr int kSideY = kY + 2, kSideX = kX + 2;
  constexpr int64_t kTapNumbers = kTileDepth * kBlock;
  const PanelWeights<kY, kX> weights(g, group, panel);
  alignas(64) float factors[kBlock];
  weights.largest(factors);
  for (int64_t j = 0; j < kBlock; j++) {
    const Rescaling scale(factors[j]);
    const int64_t column = (group * g.panels + panel) * kBlock + j;
    factors[j] = scale.factor;
    s.columnOne[column] = scale.one;
    s.columnTwo[column] = scale.two;
  }
  alignas(64) float staged[9 * kTapNumbers];
  for (int64_t step = 0; step < g.steps; step++) {
    for (int64_t tap = 0; tap < 9; tap++)
      weights.stage(conv::tapAt(g, tap / 3, tap % 3), step * kTileDepth,
                    staged + tap * kTapNumbers);
    uint16_t* panelAt = s.weights + g.columnsAt(0, group, panel) + step * kStep;
    for (int64_t j = 0; j < kBlock; j += kLanes)
      for (int64_t k = 0; k < kTileDepth; k += 2) {
        const F32 factor = F32::load(factors + j);
        F32 pair[2][g.kProducts];
        for (int64_t odd = 0; odd < 2; odd++)
          bothAxes<3, 3, kSideY, kSideX>(
              [](auto& w, auto& u)
                  __attribute__((always_inline)) { conv::transformWeights<kY>(w, u); },
              [](auto& w, auto& u)
                  __attribute__((always_inline)) { conv::transformWeights<kX>(w, u); },
              [&](int y, int x) __attribute__((always_inline)) {
                const float* tap = staged + (y * 3 + x) * kTapNumbers;
                return F32::load(tap + (k + odd) * kBlock + j) * factor;
              },
              [&](int y, int x, F32 value)
                  __attribute__((always_inline)) { pair[odd][y * kSideX + x] = value; });
        uint16_t* to = panelAt + j / kSide * kPartsTile + k / 2 * kPartsLine + j % kSide * 2;
        for (int product = 0; product < g.kProducts; product++, to += g.columnsStep)
          splitVectors<Lanes::pairs, kExactParts>(to, kTileDepth, pair[0][product],
                                                  pair[1][product]);
      }
  }
}

}  // namespace figment::FIGMENT_ISA::split
