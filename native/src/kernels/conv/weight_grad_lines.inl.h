// The order in which conv2dWeightGrad on matrix tiles walks positions, so that no tap needs a copy
// of the image of its own. dw[o][tap,c] = Σ dy[o] · x[tap,c] is a matrix product whose K runs over
// positions of the result, in pairs, 16 pairs to a tile. Images are cut into bands of rows, and two
// bands stand side by side: a position of the one and the same of the other are a pair of K. What
// both hold of 16 channels is a line of B, 64 bytes, and every place of the image and its padding
// is a line: a tile of B is 16 neighbouring lines, and that of another tap lies a constant distance
// away. A step of K is `across` pairs of bands × `along` neighbours in a row; where the stride is
// not 1, places are sorted by their residue, so that such neighbours lie side by side too. Steps
// that reach beyond a row have zeros of dy there, so infinities and NaN of an image may spread to
// other taps, as they do in Winograd's filtering. Include only from files compiled for one
// instruction set.
#pragma once

#include "../params/conv2dWeightGrad.generated.h"
#include "kernels/conv/geometry.inl.h"
#include "kernels/gemm/matrix_tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Where there are fewer channels than a line holds, lines hold the columns of all taps, up to so
/// many.
constexpr int64_t kMostGathered = 256;
/// Numbers of a tile of sums.
constexpr int64_t kTileSums = kSide * kSide;
/// Results whose sums take no more may be summed bundle by bundle, which then take about so much;
/// else bundles take so much at most.
constexpr int64_t kNearBytes = 1 << 20, kBundleBytes = 8 << 20;

/// One axis of the image in lines: its places sorted by their residue of the stride, of which only
/// those are kept that taps read.
struct Places {
  int64_t step = 1, dilation = 1, offset = 0;
  int64_t period = 1;    ///< taps so far apart read the same residue
  int64_t residues = 1;  ///< that taps read
  int64_t count = 0;     ///< places of each

  /// What `positions` from the first on read.
  static Places of(const conv::Axis& axis, int64_t positions) {
    Places p;
    p.step = axis.sourceStep;
    p.dilation = axis.offsetStep;
    p.offset = axis.firstOffset;
    p.period = p.step / conv::greatestCommonDivisor(p.step, p.dilation);
    p.residues = smaller(p.period, axis.taps);
    p.count = positions + (axis.taps - 1) * p.dilation / p.step;
    return p;
  }
  int64_t size() const { return residues * count; }
  /// Where the first position finds tap t; the next finds it one place further.
  int64_t ofTap(int64_t t) const { return t % period * count + t * dilation / step; }
  /// The position of the image at a place, negative or beyond the image in the padding.
  int64_t source(int64_t place) const {
    return place / count * dilation % step + place % count * step + offset;
  }
};

/// The product and its order.
struct GradientShape {
  int64_t images, height, width, channels, outHeight, outWidth, channelsOut;
  int64_t groups, groupIn, groupOut, kernelHeight, kernelWidth;
  conv::Axis y, x;
  int64_t rowTiles, columnTiles;  ///< of a group
  bool gathered;         ///< lines hold columns of all taps, for positions in place of the image
  int64_t taps, blocks;  ///< columnTiles: taps that read the lines × lines of a place
  int64_t bands, bandRows, pairs;
  int64_t across, along, bundles, spans;  ///< bundles of `across` pairs, `along` × spans ≥ outWidth
  Places rows, columns;

  /// With so many numbers of bf16 for one of dy and one of the image, together.
  GradientShape(const Conv2dWeightGradParams& p, int64_t layers)
      : images(p.n),
        height(p.h),
        width(p.w),
        channels(p.c),
        outHeight(p.ho),
        outWidth(p.wo),
        channelsOut(p.o),
        groups(p.groups),
        groupIn(p.c / p.groups),
        groupOut(p.o / p.groups),
        kernelHeight(p.kh),
        kernelWidth(p.kw),
        y(conv::forwardAxis(conv::axisShape(p, 0))),
        x(conv::forwardAxis(conv::axisShape(p, 1))) {
    const int64_t kernelTaps = kernelHeight * kernelWidth, all = kernelTaps * groupIn;
    gathered = kernelTaps > 1 && groupIn < kSide && all <= kMostGathered;
    taps = gathered ? 1 : kernelTaps;
    blocks = ceilDiv(gathered ? all : groupIn, kSide);
    rowTiles = ceilDiv(groupOut, kSide);
    columnTiles = taps * blocks;
    const int64_t bytes = near() ? kNearBytes : kBundleBytes;
    chooseOrder(bytes * 2 / (layers * int64_t(sizeof(uint16_t))));
  }

  /// Whether all sums stay in a second-level cache.
  bool near() const {
    return double(groups) * double(rowTiles) * double(columnTiles) * kTileSums * sizeof(float) <=
           kNearBytes;
  }
  int64_t numbers() const { return kernelHeight * kernelWidth * groupIn; }  ///< in a row of dw
  int64_t bundleSteps() const { return bandRows * spans; }
  int64_t bundleLines() const { return rows.size() * rowLines(); }  ///< in each block
  int64_t rowLines() const { return columns.size() * across; }
  /// Numbers of bf16 that a bundle takes in tiles of dy, and in lines.
  int64_t rowNumbers() const { return groups * rowTiles * bundleSteps() * kTile; }
  int64_t lineNumbers() const { return groups * blocks * bundleLines() * kTileDepth; }
  /// Calls found(tap) for the taps in the order of a block's tiles of columns: those that read the
  /// same residues, hence overlapping lines, follow each other.
  template <class F>
  void forTaps(F&& found) const {
    if (gathered) return found(0);
    for (int64_t i = 0; i < rows.residues; i++)
      for (int64_t j = 0; j < columns.residues; j++)
        for (int64_t ty = i; ty < kernelHeight; ty += rows.period)
          for (int64_t tx = j; tx < kernelWidth; tx += columns.period) found(ty * kernelWidth + tx);
  }
  /// How far behind the line of a position's first tap, that of tap `tap`.
  int64_t placeOf(int64_t tap) const {
    return (rows.ofTap(tap / kernelWidth) * columns.size() + columns.ofTap(tap % kernelWidth)) *
           across;
  }

 private:
  void setOrder(int64_t bandCount, int64_t acrossCount) {
    bands = bandCount;
    bandRows = ceilDiv(outHeight, bands);
    pairs = ceilDiv(images * bands, 2);
    across = acrossCount;
    along = kSide / across;
    bundles = ceilDiv(pairs, across);
    spans = ceilDiv(outWidth, along);
    const conv::Axis plain{.size = 0, .taps = 1};
    rows = Places::of(gathered ? plain : y, bandRows);
    columns = Places::of(gathered ? plain : x, spans * along);
  }
  /// Cycles, roughly: of tiles, of lines and of packing dy. Halos of many bands count as lines do,
  /// steps that hold places beyond a row, or no bands, as tiles.
  double cost() const {
    constexpr double kDot = 16, kLine = 6, kTransposed = 100;
    const double lines = double(bundleLines()) * double(blocks);
    const double step = double(rowTiles) * (kDot * double(columnTiles) + kTransposed);
    return double(bundles) * (double(bundleSteps()) * step + kLine * lines);
  }
  void chooseOrder(int64_t mostNumbers) {
    double least = 0;
    int64_t bestBands = 0, bestAcross = 1, most = 1;
    for (; most < outHeight; most *= 2) {
    }
    for (int64_t b = 1; b <= most; b *= 2) {
      for (int64_t a = 1; a <= kSide; a *= 2) {
        setOrder(b, a);
        if (rowNumbers() + lineNumbers() > mostNumbers || (bestBands > 0 && cost() >= least))
          continue;
        least = cost();
        bestBands = b;
        bestAcross = a;
      }
    }
    setOrder(bestBands > 0 ? bestBands : most, bestAcross);
  }
};

/// A band of rows of an image, and where a row of it begins, counted in positions.
struct Band {
  int64_t image, firstRow;
  bool exists;
  static Band of(const GradientShape& g, int64_t pair, int64_t half) {
    const int64_t index = 2 * pair + half;
    return {index / g.bands, index % g.bands * g.bandRows, index / g.bands < g.images};
  }
};

/// Stands for a position that does not exist, whose numbers are zero.
constexpr int64_t kNowhere = -1;

/// Calls found(line, first, second) for the lines of row `row` of places of a bundle: the two
/// positions of the image, or kNowhere, side by side in line number `line` of the row.
template <class F>
FIGMENT_INLINE void forLines(const GradientShape& g, int64_t bundle, int64_t row, F&& found) {
  const int64_t sourceRow = g.rows.source(row);
  for (int64_t i = 0; i < g.across; i++) {
    int64_t from[2];
    for (int64_t half = 0; half < 2; half++) {
      const Band band = Band::of(g, bundle * g.across + i, half);
      const int64_t y = sourceRow + band.firstRow * g.rows.step;
      const bool inside = band.exists && y >= 0 && y < g.height;
      from[half] = inside ? (band.image * g.height + y) * g.width : kNowhere;
    }
    int64_t place = 0;
    for (int64_t residue = 0; residue < g.columns.residues; residue++) {
      int64_t x = g.columns.source(place);
      for (int64_t j = 0; j < g.columns.count; j++, place++, x += g.columns.step) {
        const bool inside = x >= 0 && x < g.width;
        found(place * g.across + i, inside && from[0] >= 0 ? from[0] + x : kNowhere,
              inside && from[1] >= 0 ? from[1] + x : kNowhere);
      }
    }
  }
}

/// The positions of a step of K, which are image, row and column of the result counted as one.
struct StepPositions {
  int64_t first[kSide], second[kSide];
};

/// Calls found(span, positions) for the steps of row `row` of the bands of a bundle.
template <class F>
FIGMENT_INLINE void forSteps(const GradientShape& g, int64_t bundle, int64_t row, F&& found) {
  StepPositions starts, at;
  for (int64_t i = 0; i < g.across; i++) {
    for (int64_t half = 0; half < 2; half++) {
      const Band band = Band::of(g, bundle * g.across + i, half);
      const int64_t y = band.firstRow + row;
      (half == 0 ? starts.first : starts.second)[i] =
          band.exists && y < g.outHeight ? (band.image * g.outHeight + y) * g.outWidth : kNowhere;
    }
  }
  for (int64_t span = 0; span < g.spans; span++) {
    for (int64_t j = 0, slot = 0; j < g.along; j++) {
      const int64_t x = span * g.along + j;
      for (int64_t i = 0; i < g.across; i++, slot++) {
        const auto position = [&](int64_t start) {
          return start >= 0 && x < g.outWidth ? start + x : kNowhere;
        };
        at.first[slot] = position(starts.first[i]);
        at.second[slot] = position(starts.second[i]);
      }
    }
    found(span, at);
  }
}

}  // namespace figment::FIGMENT_ISA::tiles
