// conv2dWeightGrad of bf16 factors on matrix tiles: dw[o][tap,c] = Σ over positions of dy[o] ·
// x[tap,c], a matrix product whose K runs over positions. Both factors are packed cut by cut by the
// unit that needs them. Long sums are split into a number of parts fixed by the shape, which are
// added in order. Include only from files compiled for one instruction set.
#pragma once

#include "../params/conv2dWeightGrad.generated.h"
#include "kernels/conv/tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Sums are split until there are about this many units of work.
constexpr int64_t kWantedUnits = 16;

struct WeightGradient {
  Elements image, dy;
  Results dw;
  UnitShape unit;
  int64_t height, width, channels, channelsOut;
  int64_t groups, groupIn, groupOut, kernelWidth, columns;  ///< columns: taps × groupIn
  conv::Axis y, x;
  int64_t positions, rowUnits, columnUnits, splits, splitCuts;

  /// In units of `shape`, which pack cuts of `cut` positions.
  WeightGradient(const OpCall& call, UnitShape shape, int64_t cut) : unit(shape) {
    const auto& p = call.as<Conv2dWeightGradParams>();
    image = Elements::of(call.in[0]);
    dy = Elements::of(call.in[1]);
    dw = Results::of(call.out[0]);
    height = p.h;
    width = p.w;
    channels = p.c;
    channelsOut = p.o;
    groups = p.groups;
    groupIn = p.c / p.groups;
    groupOut = p.o / p.groups;
    kernelWidth = p.kw;
    columns = int64_t(p.kh) * p.kw * groupIn;
    y = conv::forwardAxis(conv::axisShape(p, 0));
    x = conv::forwardAxis(conv::axisShape(p, 1));
    positions = int64_t(p.n) * p.ho * p.wo;
    rowUnits = ceilDiv(groupOut, unit.rows);
    columnUnits = ceilDiv(columns, unit.columns);
    const int64_t cuts = ceilDiv(positions, cut);
    splitCuts = ceilDiv(cuts, smaller(cuts, ceilDiv(kWantedUnits, units())));
    splits = ceilDiv(cuts, splitCuts);
  }
  /// Parts of the result; each is summed in `splits` pieces.
  int64_t units() const { return groups * rowUnits * columnUnits; }
  /// Sums that outlive the piece that made them: none where one piece is all.
  int64_t keptSums() const { return splits == 1 ? 0 : splits * units() * unitSums(); }
  int64_t unitSums() const { return unit.rows * unit.columns; }
};

/// A part of the result.
struct GradientPart {
  int64_t group, row, rows, column, columns;
  GradientPart(const WeightGradient& g, int64_t unit)
      : group(unit / g.columnUnits / g.rowUnits),
        row(unit / g.columnUnits % g.rowUnits * g.unit.rows),
        rows(smaller(g.unit.rows, g.groupOut - row)),
        column(unit % g.columnUnits * g.unit.columns),
        columns(smaller(g.unit.columns, g.columns - column)) {}
};

/// Calls found(from, column, count) for the runs of `count` numbers of the image, from number
/// `from` on, that position `at` reads through the columns of a part from number `column` of it on.
/// What lies in the padding is left out.
template <class F>
FIGMENT_INLINE void forRuns(const WeightGradient& g, const GradientPart& part, int64_t at,
                            F&& found) {
  const int64_t atX = at % g.x.size, atY = at / g.x.size % g.y.size;
  const int64_t image = at / g.x.size / g.y.size;
  for (int64_t tap = part.column / g.groupIn; tap * g.groupIn < part.column + part.columns; tap++) {
    const int64_t sourceY = atY * g.y.sourceStep + g.y.offset(tap / g.kernelWidth);
    const int64_t sourceX = atX * g.x.sourceStep + g.x.offset(tap % g.kernelWidth);
    if (sourceY < 0 || sourceY >= g.height || sourceX < 0 || sourceX >= g.width) continue;
    const int64_t pixel = ((image * g.height + sourceY) * g.width + sourceX) * g.channels +
                          part.group * g.groupIn - tap * g.groupIn;
    const int64_t begin = larger(tap * g.groupIn, part.column);
    const int64_t end = smaller((tap + 1) * g.groupIn, part.column + part.columns);
    found(pixel + begin, begin - part.column, end - begin);
  }
}

/// Packs what the positions [first, first + depth) read through the taps and channels of a part.
inline void gatherColumns(const WeightGradient& g, const GradientPart& part, int64_t first,
                          int64_t depth, uint16_t* to) {
  for (int64_t j = 0; j < part.columns; j += kBlock) zeroPacked(to + j * kCut, packedSize(depth));
  for (int64_t k = 0; k < depth; k++)
    forRuns(g, part, first + k, [&](int64_t from, int64_t column, int64_t count) {
      for (int64_t j = column; j < column + count; j++)
        to[j / kBlock * kBlock * kCut + columnPlace(j % kBlock, k)] =
            bitsOf(g.image)[from + j - column];
    });
}

/// Sums one split of a part.
template <class Tiles>
inline void sumPart(const WeightGradient& g, Tiles& tiles, const GradientPart& part, int64_t split,
                    const UnitScratch& s, float* sums) {
  const int64_t begin = split * g.splitCuts * kCut;
  const int64_t end = smaller(begin + g.splitCuts * kCut, g.positions);
  const uint16_t* dy = bitsOf(g.dy) + part.group * g.groupOut + part.row;
  for (int64_t first = begin; first < end; first += kCut) {
    const int64_t depth = smaller(kCut, end - first);
    for (int64_t i = 0; i < part.rows; i += kBlock)
      packRows(s.rows + i * kCut, dy + first * g.channelsOut + i, 1, g.channelsOut,
               smaller(kBlock, part.rows - i), depth);
    gatherColumns(g, part, first, depth, s.columns);
    multiplyUnit(tiles, s.rows, part.rows, s.columns, kBlock * kCut, part.columns,
                 ceilDiv(depth, kTileDepth), first == begin, sums);
  }
}

/// Adds the splits in order and writes the part.
inline void writePart(const WeightGradient& g, const GradientPart& part, float* sums) {
  const int64_t splitFloats = g.units() * g.unitSums();
  for (int64_t row = 0; row < part.rows; row++) {
    float* total = sums + row * g.unit.columns;
    for (int64_t split = 1; split < g.splits; split++)
      for (int64_t i = 0; i < part.columns; i++) total[i] += total[split * splitFloats + i];
    const int64_t output = part.group * g.groupOut + part.row + row;
    storeRow(g.dw + (output * g.columns + part.column), total, part.columns, Elements{},
             kNoActivation);
  }
}

inline size_t weightGradientScratch(const OpCall& call, int threads) {
  const WeightGradient g(call, kUnit, kCut);
  return size_t(g.keptSums()) * sizeof(float) + size_t(threads) * UnitScratch::bytes(true);
}

/// Sums the splits of all parts by sum(part, split, sums, worker) and writes them. `kept` holds the
/// sums of parts of more than one split, own(worker) those of others.
template <class Own, class Sum>
inline void runParts(const WeightGradient& g, Context& context, float* kept, Own&& own, Sum&& sum) {
  context.parallelFor(g.splits * g.units(), 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; i++) {
      const GradientPart part(g, i % g.units());
      float* sums = g.splits == 1 ? own(worker) : kept + i * g.unitSums();
      sum(part, i / g.units(), sums, worker);
      if (g.splits == 1) writePart(g, part, sums);
    }
  });
  if (g.splits == 1) return;
  context.parallelFor(g.units(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t unit = begin; unit < end; unit++)
      writePart(g, GradientPart(g, unit), kept + unit * g.unitSums());
  });
}

template <class Tiles>
inline void runWeightGradient(const OpCall& call, Context& context) {
  const WeightGradient g(call, kUnit, kCut);
  const size_t workerBytes = UnitScratch::bytes(true);
  std::byte* workers = context.scratch();
  auto* kept = reinterpret_cast<float*>(workers + size_t(context.threads()) * workerBytes);
  const auto scratch = [&](int worker) {
    Carver carver(workers + size_t(worker) * workerBytes);
    return UnitScratch::take(carver, true);
  };
  runParts(
      g, context, kept, [&](int worker) { return scratch(worker).sums; },
      [&](const GradientPart& part, int64_t split, float* sums, int worker) {
        Tiles tiles;
        sumPart(g, tiles, part, split, scratch(worker), sums);
      });
}

inline bool takesWeightGradient(const OpCall& call) {
  return call.in[0].format == Format::bf16 && call.in[1].format == Format::bf16 &&
         conv::plainShape(call, call.as<Conv2dWeightGradParams>());
}

template <class Tiles>
constexpr Variant weightGradientOn() {
  using P = Conv2dWeightGradParams;
  return {"conv2dWeightGrad",    Tiles::kName,
          Tiles::kIsa,           Tiles::template supports<takesWeightGradient, fillsConvolution<P>>,
          weightGradientScratch, runWeightGradient<Tiles>};
}

}  // namespace figment::FIGMENT_ISA::tiles
