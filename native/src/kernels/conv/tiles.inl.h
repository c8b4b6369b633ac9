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

struct Convolution : conv::Geometry {
  explicit Convolution(const Geometry& shape) : Geometry(shape) {}

  const uint16_t *source, *weights;
  Results out;
  Elements bias;
  int64_t panels, columnUnits;

  int64_t positions(int64_t phase) const { return images * axisY(phase).size * axisX(phase).size; }
  int64_t units(int64_t phase) const {
    return ceilDiv(positions(phase), kUnitRows) * groups * columnUnits;
  }
  /// Where the packed weights of a phase begin.
  int64_t packedAt(int64_t phase) const {
    int64_t at = 0;
    for (int64_t i = 0; i < phase; i++) at += groups * panels * packedSize(depth(i));
    return at;
  }
};

template <class P>
inline Convolution describe(const OpCall& call) {
  Convolution g(conv::geometryOf(call.as<P>()));
  g.source = call.in[0].as<const uint16_t>();
  g.weights = call.in[1].as<const uint16_t>();
  g.out = Results::of(call.out[0]);
  if (g.biased) g.bias = Elements::of(call.in[2]);
  g.panels = ceilDiv(g.groupOut, kBlock);
  g.columnUnits = ceilDiv(g.groupOut, kUnitColumns);
  return g;
}

/// Packs the weights of kBlock result channels of a group, for the taps of a phase.
inline void packWeights(const Convolution& g, int64_t phase, int64_t group, int64_t panel,
                        uint16_t* to) {
  const conv::Axis &y = g.axisY(phase), &x = g.axisX(phase);
  const int64_t column = panel * kBlock, columns = smaller(kBlock, g.groupOut - column);
  zeroPacked(to, packedSize(g.depth(phase)));
  for (int64_t ty = 0; ty < y.taps; ty++) {
    for (int64_t tx = 0; tx < x.taps; tx++) {
      const int64_t tap = y.tap(ty) * g.kernelWidth + x.tap(tx);
      const int64_t firstK = (ty * x.taps + tx) * g.groupIn;
      if (g.transposed)
        placeColumns(to, firstK,
                     g.weights + (group * g.groupIn * g.kernelTaps + tap) * g.groupOut + column, 1,
                     g.kernelTaps * g.groupOut, columns, g.groupIn);
      else
        placeColumns(to, firstK,
                     g.weights + ((group * g.groupOut + column) * g.kernelTaps + tap) * g.groupIn,
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

/// Places what one position reads in the cut [k, k + depth) of K; what lies in the padding stays.
inline void gatherRow(const Convolution& g, int64_t phase, const Position& at, int64_t group,
                      int64_t k, int64_t depth, uint16_t* to, int64_t row) {
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
    placeRun(to, row, begin - k, g.source + pixel * g.sourceChannels + channel, end - begin);
  }
}

template <class Tiles>
inline void runUnit(const Convolution& g, Tiles& tiles, const uint16_t* packed, int64_t phase,
                    int64_t unit, const UnitScratch& s) {
  const conv::Axis &y = g.axisY(phase), &x = g.axisX(phase);
  const int64_t column = unit % g.columnUnits * kUnitColumns;
  const int64_t group = unit / g.columnUnits % g.groups;
  const int64_t first = unit / g.columnUnits / g.groups * kUnitRows;
  const int64_t rows = smaller(kUnitRows, g.positions(phase) - first);
  const int64_t columns = smaller(kUnitColumns, g.groupOut - column);
  const int64_t whole = g.depth(phase), panelSize = packedSize(whole);
  const uint16_t* panel = packed + (group * g.panels + column / kBlock) * panelSize;
  int64_t k = 0;
  do {  // K = 0 still makes sums of zero
    const int64_t depth = smaller(kCut, whole - k);
    for (int64_t i = 0; i < rows; i += kBlock) {
      uint16_t* block = s.rows + i * kCut;
      zeroPacked(block, packedSize(depth));
      for (int64_t row = 0; row < smaller(kBlock, rows - i); row++)
        gatherRow(g, phase, Position::of(y, x, first + i + row), group, k, depth, block, row);
    }
    multiplyUnit(tiles, s.rows, rows, panel + packedSize(k), panelSize, columns,
                 ceilDiv(depth, kTileDepth), k == 0, s.sums);
    k += kCut;
  } while (k < whole);
  const int64_t channel = group * g.groupOut + column;
  const Elements bias = g.bias.given() ? g.bias + channel : Elements{};
  for (int64_t row = 0; row < rows; row++) {
    const Position at = Position::of(y, x, first + row);
    const int64_t outY = y.outOrigin + at.y * y.outStep, outX = x.outOrigin + at.x * x.outStep;
    const int64_t pixel = (at.image * g.outHeight + outY) * g.outWidth + outX;
    storeRow(g.out + (pixel * g.outChannels + channel), s.sums + row * kUnitColumns, columns, bias,
             g.activation);
  }
}

template <class P>
inline size_t convolutionScratch(const OpCall& call, int threads) {
  const Convolution g = describe<P>(call);
  return size_t(g.packedAt(g.phases())) * sizeof(uint16_t) +
         size_t(threads) * UnitScratch::bytes(false);
}

template <class P, class Tiles>
inline void runConvolution(const OpCall& call, Context& context) {
  const Convolution g = describe<P>(call);
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

/// bf16 factors of shapes that are not empty, with weights that packing does not blow up.
template <class P>
inline bool takesConvolution(const OpCall& call) {
  const auto& p = call.as<P>();
  const int64_t phases = conv::phasesOf(p);
  if (call.in[0].format != Format::bf16 || call.in[1].format != Format::bf16 ||
      !conv::plainShape(call, p) || phases > conv::kMaxPhases)
    return false;
  constexpr bool kTransposed = std::is_same_v<P, Conv2dInputGradParams>;
  const int64_t in = kTransposed ? p.o / p.groups : p.c / p.groups;
  const int64_t out = kTransposed ? p.c / p.groups : p.o / p.groups;
  const double depth = double(p.kh) * p.kw * double(in);
  // Each phase rounds its depth up.
  const double bytes = 2 * double(p.groups) * double(ceilDiv(out, kBlock) * kBlock) *
                       (depth + double(phases) * kTileDepth);
  const double unpacked = 2 * double(p.groups) * double(out) * depth;
  return bytes <= larger(int64_t(kPackedBytes), int64_t(kPackedShare * unpacked));
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
