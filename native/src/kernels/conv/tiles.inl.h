// conv2d and conv2dInputGrad of bf16 factors on matrix tiles, as implicit matrix products: rows are
// positions of the result, columns its channels, K runs over taps and source channels and is padded
// once, at its end. Weights are packed once; rows are gathered from the image, tap by tap, by the
// unit that needs them, one cut of K at a time. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/conv/geometry.inl.h"
#include "kernels/gemm/matrix_tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Packed weights may take this, and this many times what they take unpacked: groups of few
/// channels are mostly padding.
constexpr double kPackedBytes = 64e6, kPackedShare = 8;

/// Rows and columns of a unit of work.
struct UnitShape {
  int64_t rows, columns;
};
constexpr UnitShape kUnit = {kUnitRows, kUnitColumns};

/// Only for 16-bit formats.
inline const uint16_t* bitsOf(Elements elements) {
  return reinterpret_cast<const uint16_t*>(elements.data);
}

struct Convolution : conv::Geometry {
  explicit Convolution(const Geometry& shape) : Geometry(shape) {}

  Elements source, weights, bias;
  Results out;
  UnitShape unit;
  int64_t panels, columnUnits;

  int64_t positions(int64_t phase) const { return images * axisY(phase).size * axisX(phase).size; }
  int64_t units(int64_t phase) const {
    return ceilDiv(positions(phase), unit.rows) * groups * columnUnits;
  }
  /// Where the packed weights of a phase begin.
  int64_t packedAt(int64_t phase) const {
    int64_t at = 0;
    for (int64_t i = 0; i < phase; i++) at += groups * panels * packedSize(depth(i));
    return at;
  }
};

template <class P>
inline Convolution describe(const OpCall& call, UnitShape unit) {
  Convolution g(conv::geometryOf(call.as<P>()));
  g.source = Elements::of(call.in[0]);
  g.weights = Elements::of(call.in[1]);
  g.out = Results::of(call.out[0]);
  if (g.biased) g.bias = Elements::of(call.in[2]);
  g.unit = unit;
  g.panels = ceilDiv(g.groupOut, kBlock);
  g.columnUnits = ceilDiv(g.groupOut, unit.columns);
  return g;
}

/// A part of the results of a phase.
struct ConvolutionPart {
  int64_t group, first, rows, column, columns;  ///< rows: positions from `first` on
  ConvolutionPart(const Convolution& g, int64_t phase, int64_t index)
      : group(index / g.columnUnits % g.groups),
        first(index / g.columnUnits / g.groups * g.unit.rows),
        rows(smaller(g.unit.rows, g.positions(phase) - first)),
        column(index % g.columnUnits * g.unit.columns),
        columns(smaller(g.unit.columns, g.groupOut - column)) {}
};

/// Packs the weights of kBlock result channels of a group, for the taps of a phase.
inline void packWeights(const Convolution& g, int64_t phase, int64_t group, int64_t panel,
                        uint16_t* to) {
  const conv::Axis &y = g.axisY(phase), &x = g.axisX(phase);
  const int64_t column = panel * kBlock, columns = smaller(kBlock, g.groupOut - column);
  const uint16_t* weights = bitsOf(g.weights);
  zeroPacked(to, packedSize(g.depth(phase)));
  for (int64_t ty = 0; ty < y.taps; ty++) {
    for (int64_t tx = 0; tx < x.taps; tx++) {
      const int64_t tap = y.tap(ty) * g.kernelWidth + x.tap(tx);
      const int64_t firstK = (ty * x.taps + tx) * g.groupIn;
      if (g.transposed)
        placeColumns(to, firstK,
                     weights + (group * g.groupIn * g.kernelTaps + tap) * g.groupOut + column, 1,
                     g.kernelTaps * g.groupOut, columns, g.groupIn);
      else
        placeColumns(to, firstK,
                     weights + ((group * g.groupOut + column) * g.kernelTaps + tap) * g.groupIn,
                     g.kernelTaps * g.groupIn, 1, columns, g.groupIn);
    }
  }
}

/// A position of a phase's grid.
struct Position {
  int64_t image, y, x;
  static Position of(const conv::Axis& y, const conv::Axis& x, int64_t index) {
    return {index / x.size / y.size, index / x.size % y.size, index % x.size};
  }
};

/// Calls found(channels, at, count) for the runs of `count` source channels, from number `channels`
/// of the source on, that one position reads at `at` in the cut [k, k + depth) of K. What lies in
/// the padding is left out.
template <class F>
FIGMENT_INLINE void forRuns(const Convolution& g, int64_t phase, const Position& at, int64_t group,
                            int64_t k, int64_t depth, F&& found) {
  const conv::Axis &y = g.axisY(phase), &x = g.axisX(phase);
  for (int64_t tap = k / g.groupIn; tap * g.groupIn < k + depth; tap++) {
    const int64_t sourceY = at.y * y.sourceStep + y.offset(tap / x.taps);
    const int64_t sourceX = at.x * x.sourceStep + x.offset(tap % x.taps);
    if (sourceY < 0 || sourceY >= g.sourceHeight || sourceX < 0 || sourceX >= g.sourceWidth)
      continue;
    const int64_t begin = larger(tap * g.groupIn, k);
    const int64_t end = smaller((tap + 1) * g.groupIn, k + depth);
    const int64_t pixel = (at.image * g.sourceHeight + sourceY) * g.sourceWidth + sourceX;
    const int64_t channel = group * g.groupIn + begin - tap * g.groupIn;
    found(pixel * g.sourceChannels + channel, begin - k, end - begin);
  }
}

/// Writes the results of a part from its sums, `step` floats apart.
inline void writeUnit(const Convolution& g, int64_t phase, const ConvolutionPart& part,
                      const float* sums, int64_t step) {
  const conv::Axis &y = g.axisY(phase), &x = g.axisX(phase);
  const int64_t channel = part.group * g.groupOut + part.column;
  const Elements bias = g.bias.given() ? g.bias + channel : Elements{};
  for (int64_t row = 0; row < part.rows; row++) {
    const Position at = Position::of(y, x, part.first + row);
    const int64_t outY = y.outOrigin + at.y * y.outStep, outX = x.outOrigin + at.x * x.outStep;
    const int64_t pixel = (at.image * g.outHeight + outY) * g.outWidth + outX;
    storeRow(g.out + (pixel * g.outChannels + channel), sums + row * step, part.columns, bias,
             g.activation);
  }
}

template <class Tiles>
inline void runUnit(const Convolution& g, Tiles& tiles, const uint16_t* packed, int64_t phase,
                    int64_t unit, const UnitScratch& s) {
  const conv::Axis &y = g.axisY(phase), &x = g.axisX(phase);
  const ConvolutionPart part(g, phase, unit);
  const int64_t whole = g.depth(phase), panelSize = packedSize(whole);
  const uint16_t* panel = packed + (part.group * g.panels + part.column / kBlock) * panelSize;
  int64_t k = 0;
  do {  // K = 0 still makes sums of zero
    const int64_t depth = smaller(kCut, whole - k);
    for (int64_t i = 0; i < part.rows; i += kBlock) {
      uint16_t* block = s.rows + i * kCut;
      zeroPacked(block, packedSize(depth));
      for (int64_t row = 0; row < smaller(kBlock, part.rows - i); row++)
        forRuns(g, phase, Position::of(y, x, part.first + i + row), part.group, k, depth,
                [&](int64_t from, int64_t at, int64_t count) {
                  placeRun(block, row, at, bitsOf(g.source) + from, count);
                });
    }
    multiplyUnit(tiles, s.rows, part.rows, panel + packedSize(k), panelSize, part.columns,
                 ceilDiv(depth, kTileDepth), k == 0, s.sums);
    k += kCut;
  } while (k < whole);
  writeUnit(g, phase, part, s.sums, kUnitColumns);
}

template <class P>
inline size_t convolutionScratch(const OpCall& call, int threads) {
  const Convolution g = describe<P>(call, kUnit);
  return size_t(g.packedAt(g.phases())) * sizeof(uint16_t) +
         size_t(threads) * UnitScratch::bytes(false);
}

template <class P, class Tiles>
inline void runConvolution(const OpCall& call, Context& context) {
  const Convolution g = describe<P>(call, kUnit);
  const size_t workerBytes = UnitScratch::bytes(false);
  std::byte* workers = context.scratch();
  auto* packed = reinterpret_cast<uint16_t*>(workers + size_t(context.threads()) * workerBytes);
  for (int64_t phase = 0; phase < g.phases(); phase++) {
    uint16_t* weights = packed + g.packedAt(phase);
    const int64_t panelSize = packedSize(g.depth(phase));
    context.parallelFor(g.groups * g.panels, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++)
        packWeights(g, phase, i / g.panels, i % g.panels, weights + i * panelSize);
    });
    context.parallelFor(g.units(phase), 1, [&](int64_t begin, int64_t end, int worker) {
      Tiles tiles;
      Carver carver(workers + size_t(worker) * workerBytes);
      const UnitScratch mine = UnitScratch::take(carver, false);
      for (int64_t unit = begin; unit < end; unit++) runUnit(g, tiles, weights, phase, unit, mine);
    });
  }
}

/// Whether shapes are not empty and packed weights, of `packed` bytes a number that took `own`, are
/// not blown up.
template <class P>
inline bool packsConvolution(const OpCall& call, double packed, double own) {
  const auto& p = call.as<P>();
  const int64_t phases = conv::phasesOf(p);
  if (!conv::plainShape(call, p) || phases > conv::kMaxPhases) return false;
  constexpr bool kTransposed = std::is_same_v<P, Conv2dInputGradParams>;
  const int64_t in = kTransposed ? p.o / p.groups : p.c / p.groups;
  const int64_t out = kTransposed ? p.c / p.groups : p.o / p.groups;
  const double depth = double(p.kh) * p.kw * double(in);
  // Each phase rounds its depth up.
  const double bytes = packed * double(p.groups) * double(ceilDiv(out, kBlock) * kBlock) *
                       (depth + double(phases) * kTileDepth);
  const double unpacked = own * double(p.groups) * double(out) * depth;
  return bytes <= larger(int64_t(kPackedBytes), int64_t(kPackedShare * unpacked));
}

template <class P>
inline bool takesConvolution(const OpCall& call) {
  return call.in[0].format == Format::bf16 && call.in[1].format == Format::bf16 &&
         packsConvolution<P>(call, sizeof(uint16_t), sizeof(uint16_t));
}

/// Whether tiles are filled well enough to repay the packing.
template <class P>
inline bool fillsConvolution(const OpCall& call) {
  const auto& p = call.as<P>();
  return smaller(p.c / p.groups, p.o / p.groups) >= kLeastRows;
}

template <class Tiles, class P>
constexpr Variant convolutionOn(const char* op) {
  return {op,
          Tiles::kName,
          Tiles::kIsa,
          Tiles::template supports<takesConvolution<P>, fillsConvolution<P>>,
          convolutionScratch<P>,
          runConvolution<P, Tiles>};
}

}  // namespace figment::FIGMENT_ISA::tiles
