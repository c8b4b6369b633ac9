// Packs the weights of a convolution for products on matrix tiles: for each panel of result
// channels and step of K a tile of 16 channels, or two. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/conv/tile_source.inl.h"

namespace figment::FIGMENT_ISA::tiles::implicit {

/// Packs up to 32 rows of K of bf16 columns that lie side by side, `step` apart; zeros fill tiles.
inline void packRowsOfK(uint16_t* to, const uint16_t* from, int64_t step, int64_t columns,
                        int64_t depth, int columnTiles) {
  for (int64_t tile = 0; tile < columnTiles; tile++)
    interleaveTile(to + tile * kTile, from + tile * kSide, step,
                   smaller(kSide, columns - tile * kSide), depth);
}

/// Packs up to 32 columns, `step` apart, each with its numbers of K side by side.
inline void packColumnsOfK(uint16_t* to, const uint16_t* from, int64_t step, int64_t columns,
                           int64_t depth, int columnTiles) {
  for (int64_t tile = 0; tile < columnTiles; tile++)
    transposeTile(to + tile * kTile, from + tile * kSide * step, step,
                  smaller(kSide, columns - tile * kSide), depth);
}

/// Splits 32 rows of K of kBlock columns, times `factor`; the numbers of a step lie `partStep`
/// apart.
inline void splitPairs(uint16_t* to, const float* raw, int columnTiles, int parts, float factor) {
  const F32 scale = F32::broadcast(factor);
  const int64_t partStep = columnTiles * kTile;
  const auto place = [&](uint16_t* at, F32 even, F32 odd) {
    even = even * scale;
    odd = odd * scale;
    for (int part = 0; part < parts; part++, at += partStep) {
      const F32 evenHigh = split::nearestBf16(even), oddHigh = split::nearestBf16(odd);
      storeBits(at, shr(asInt(evenHigh), 16) | asInt(oddHigh));
      even -= evenHigh;
      odd -= oddHigh;
    }
  };
  for (int64_t k = 0; k < kTileDepth; k += 2, raw += 2 * kBlock, to += kBlock)
    for (int64_t tile = 0; tile < columnTiles; tile++)
      for (int64_t i = 0; i < kSide; i += kLanes) {
        const float* pair = raw + tile * kSide + i;
        place(to + tile * kTile + 2 * i, F32::load(pair), F32::load(pair + kBlock));
      }
}

/// The weights of a panel of columns of a group.
class WeightPacker {
 public:
  WeightPacker(const TilePlan& g, int64_t phase, int64_t group, int64_t panel)
      : g_(g),
        phase_(phase),
        group_(group),
        column_(panel * kPanelColumns),
        columns_(g.columnsOf(panel)),
        columnTiles_(g.columnTilesOf(panel)) {}

  /// Pieces that can be packed apart.
  static int64_t pieces(const TilePlan& g, int64_t phase) {
    return g.positionwise() ? ceilDiv(g.steps(phase), kRowSteps) : g.taps(phase);
  }

  void pack(int64_t piece, uint16_t* to, Scale scale) const {
    if (g_.positionwise()) {
      const int64_t end = smaller((piece + 1) * kRowSteps, g_.steps(phase_));
      for (int64_t step = piece * kRowSteps; step < end; step++) packStep(to, step, scale);
      return;
    }
    for (int64_t block = 0; block < g_.channelBlocks; block++)
      packStep(to, block * g_.taps(phase_) + piece, scale);
  }

  /// Packs steps [begin, end) of K, each tap's next to each other in memory at a time.
  void packSteps(int64_t begin, int64_t end, uint16_t* to, Scale scale) const {
    const int64_t stride = g_.positionwise() ? 1 : g_.taps(phase_);
    to -= begin * stepSize();
    for (int64_t tap = 0; tap < stride; tap++)
      for (int64_t step = begin + tap; step < end; step += stride) packStep(to, step, scale);
  }
  /// What they read of weights of a forward pass, some channels of each tap of each column.
  Runs source(int64_t begin, int64_t end) const {
    const int64_t element = g_.weights.half() ? sizeof(uint16_t) : sizeof(float);
    const int64_t taps = g_.positionwise() ? 1 : g_.taps(phase_);
    const int64_t all = g_.kernelTaps * g_.groupIn / taps, first = begin / taps * kTileDepth;
    const int64_t count = smaller(ceilDiv(end - begin, taps) * kTileDepth, all - first);
    return {(at(0) + first).data, count * element, columns_ * taps, all * element};
  }

  /// The scale of the panel's numbers in all taps.
  Scale scale() const {
    Sizes sizes;
    if (g_.transposed)
      for (int64_t i = 0; i < g_.groupIn * g_.kernelTaps; i++)
        sizes.add(g_.weights + ((group_ * g_.groupIn * g_.kernelTaps + i) * g_.groupOut + column_),
                  columns_);
    else
      sizes.add(g_.weights + (group_ * g_.groupOut + column_) * g_.kernelTaps * g_.groupIn,
                columns_ * g_.kernelTaps * g_.groupIn);
    return sizes.scale(g_.parts.columns);
  }

  /// The weights of a step of K: rows of kBlock floats, zero beyond what there is.
  void widenRows(float* raw, int64_t step) const {
    const auto [k, count] = g_.runOf(phase_, step);
    gemm::zeroFloats(raw, kTileDepth * kBlock);
    if (g_.transposed)
      for (int64_t i = 0; i < count; i++) gemm::widen(raw + i * kBlock, at(k + i), columns_);
    else
      gemm::transpose(at(k), g_.kernelTaps * g_.groupIn, columns_, count, raw, kBlock);
  }

 private:
  static constexpr int64_t kRowSteps = 16;

  /// Packed numbers of a step.
  int64_t stepSize() const { return g_.parts.columns * columnTiles_ * kTile; }

  /// The first column's weight number k of a phase. Of a forward pass they lie side by side.
  Elements at(int64_t k) const {
    const conv::Axis &y = g_.axisY(phase_), &x = g_.axisX(phase_);
    const int64_t t = k / g_.groupIn, channel = k % g_.groupIn;
    const int64_t tap = y.tap(t / x.taps) * g_.kernelWidth + x.tap(t % x.taps);
    if (g_.transposed)
      return g_.weights +
             (((group_ * g_.groupIn + channel) * g_.kernelTaps + tap) * g_.groupOut + column_);
    return g_.weights +
           (((group_ * g_.groupOut + column_) * g_.kernelTaps + tap) * g_.groupIn + channel);
  }

  /// Which number of K, tap by tap, stands at place `at` of a position's columns, or -1 for a zero.
  int64_t numberAt(int64_t at) const {
    const conv::Axis &y = g_.y[0], &x = g_.x[0];
    const int64_t tx = at / g_.columnNumbers, within = at % g_.columnNumbers;
    if (tx >= x.taps || within >= y.taps * g_.groupIn) return -1;
    return (within / g_.groupIn * x.taps + tx) * g_.groupIn + within % g_.groupIn;
  }

  /// A step of Form::columns, number by number: such weights are few.
  void packColumnStep(uint16_t* to, int64_t step, Scale scale) const {
    const int64_t between = g_.transposed ? 1 : g_.kernelTaps * g_.groupIn;
    if (g_.split()) {
      float raw[kTileDepth * kBlock];
      gemm::zeroFloats(raw, kTileDepth * kBlock);
      for (int64_t i = 0; i < kTileDepth; i++) {
        const int64_t k = numberAt(step * kTileDepth + i);
        if (k < 0) continue;
        const Elements from = at(k);
        for (int64_t j = 0; j < columns_; j++)
          raw[i * kBlock + j] = gemm::loadElement(from, j * between);
      }
      return splitPairs(to, raw, columnTiles_, scale.parts, split::powerOfTwo(scale.shift));
    }
    uint16_t staged[kTileDepth][kBlock] = {};
    for (int64_t i = 0; i < kTileDepth; i++) {
      const int64_t k = numberAt(step * kTileDepth + i);
      if (k < 0) continue;
      const uint16_t* from = reinterpret_cast<const uint16_t*>(at(k).data);
      for (int64_t j = 0; j < columns_; j++) staged[i][j] = from[j * between];
    }
    packRowsOfK(to, staged[0], kBlock, columns_, kTileDepth, columnTiles_);
  }

  void packStep(uint16_t* to, int64_t step, Scale scale) const {
    to += step * stepSize();
    if (g_.form == Form::columns) return packColumnStep(to, step, scale);
    if (g_.split()) {
      float raw[kTileDepth * kBlock];
      widenRows(raw, step);
      splitPairs(to, raw, columnTiles_, scale.parts, split::powerOfTwo(scale.shift));
      return;
    }
    const auto [k, count] = g_.runOf(phase_, step);
    const auto bits = [](Elements e) { return reinterpret_cast<const uint16_t*>(e.data); };
    if (!g_.transposed)
      return packColumnsOfK(to, bits(at(k)), g_.kernelTaps * g_.groupIn, columns_, count,
                            columnTiles_);
    if ((k + count - 1) / g_.groupIn == k / g_.groupIn)
      return packRowsOfK(to, bits(at(k)), g_.kernelTaps * g_.groupOut, columns_, count,
                         columnTiles_);
    uint16_t staged[kTileDepth][kBlock];  // several taps
    for (int64_t i = 0; i < count; i++) copyLine(staged[i], bits(at(k + i)), columns_);
    packRowsOfK(to, staged[0], kBlock, columns_, count, columnTiles_);
  }

  const TilePlan& g_;
  const int64_t phase_, group_, column_, columns_;
  const int columnTiles_;
};

}  // namespace figment::FIGMENT_ISA::tiles::implicit
