// conv2dWeightGrad of f32 factors on bf16 matrix tiles, by splitting (gemm/split.inl.h), in the
// parts and splits of weight_grad_tiles.inl.h. Both factors are split cut by cut by the unit that
// needs them. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/split.inl.h"
#include "kernels/conv/weight_grad_tiles.inl.h"

namespace figment::FIGMENT_ISA::split {

/// Sums are split until there are about this many units of work.
constexpr int64_t kWantedGradientUnits = 16;

struct WeightGradient {
  Elements image, dy;
  Results dw;
  tiles::UnitShape unit;
  int64_t height, width, channels, channelsOut;
  int64_t groups, groupIn, groupOut, kernelWidth, columns;  ///< columns: taps × groupIn
  conv::Axis y, x;
  int64_t positions, rowUnits, columnUnits, splits, splitCuts;

  /// In units of `shape`, which pack cuts of `cut` positions.
  WeightGradient(const OpCall& call, tiles::UnitShape shape, int64_t cut) : unit(shape) {
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
    splitCuts = ceilDiv(cuts, smaller(cuts, ceilDiv(kWantedGradientUnits, units())));
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

/// Adds the splits in order and writes the part.
inline void writePart(const WeightGradient& g, const GradientPart& part, float* sums) {
  const int64_t splitFloats = g.units() * g.unitSums();
  for (int64_t row = 0; row < part.rows; row++) {
    float* total = sums + row * g.unit.columns;
    for (int64_t split = 1; split < g.splits; split++)
      for (int64_t i = 0; i < part.columns; i++) total[i] += total[split * splitFloats + i];
    const int64_t output = part.group * g.groupOut + part.row + row;
    tiles::storeRow(g.dw + (output * g.columns + part.column), total, part.columns, Elements{},
                    kNoActivation);
  }
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

/// Splits kBlock channels of dy at the positions [first, first + depth).
inline Scale packRows(const WeightGradient& g, const Parts& parts, const GradientPart& part,
                      int64_t row, int64_t first, int64_t depth, float* raw, uint16_t* to) {
  const int64_t blocks = ceilDiv(depth, kTileDepth), step = blocks * kTileDepth;
  gemm::zeroFloats(raw, step * kBlock);
  const int64_t channel = part.group * g.groupOut + part.row + row;
  gemm::transpose(g.dy + (first * g.channelsOut + channel), g.channelsOut, depth,
                  smaller(kBlock, part.rows - row), raw, step);
  return packPanel<Side::rows>(to, raw, parts.rows, blocks);
}

/// Gathers as f32 what the same positions read through the taps and channels of a part: panels of
/// kBlock columns, kBlock × kCut apart.
inline void gatherColumns(const WeightGradient& g, const GradientPart& part, int64_t first,
                          int64_t depth, float* to) {
  const int64_t panels = ceilDiv(part.columns, kBlock),
                rows = ceilDiv(depth, kTileDepth) * kTileDepth;
  for (int64_t panel = 0; panel < panels; panel++)
    gemm::zeroFloats(to + panel * kBlock * kCut, rows * kBlock);
  for (int64_t k = 0; k < depth; k++)
    forRuns(g, part, first + k, [&](int64_t from, int64_t column, int64_t count) {
      for (const int64_t end = column + count; column < end;) {
        const int64_t piece = smaller(end - column, kBlock - column % kBlock);
        gemm::widen(to + column / kBlock * kBlock * kCut + k * kBlock + column % kBlock,
                    g.image + from, piece);
        from += piece;
        column += piece;
      }
    });
}

/// The memory of one worker.
struct GradientScratch {
  UnitScratch unit;
  float* gathered;

  static GradientScratch take(Carver& carver) {
    GradientScratch s;
    s.unit = UnitScratch::take(carver, true);
    s.gathered = carver.take<float>(kUnitColumns * kCut);
    return s;
  }
  static size_t bytes() {
    Carver measure(nullptr);
    take(measure);
    return measure.used();
  }
};

/// Sums one split of a part; answers how many blocks did not run on tiles.
template <class Tiles>
inline int64_t sumPart(const WeightGradient& g, const Parts& parts, Tiles& tiles,
                       const GradientPart& part, int64_t split, const GradientScratch& scratch,
                       float* sums) {
  UnitScratch s = scratch.unit;
  s.sums = sums;
  const int64_t begin = split * g.splitCuts * kCut;
  const int64_t end = smaller(begin + g.splitCuts * kCut, g.positions);
  int64_t plain = 0;
  for (int64_t first = begin; first < end; first += kCut) {
    const int64_t depth = smaller(kCut, end - first);
    for (int64_t i = 0; i < part.rows; i += kBlock)
      s.rowScales[i / kBlock] =
          packRows(g, parts, part, i, first, depth, s.raw, s.rows + i / kBlock * kPanel);
    gatherColumns(g, part, first, depth, scratch.gathered);
    for (int64_t j = 0; j < part.columns; j += kBlock)
      s.columnScales[j / kBlock] =
          packPanel<Side::columns>(s.columns + j / kBlock * kPanel, scratch.gathered + j * kCut,
                                   parts.columns, ceilDiv(depth, kTileDepth));
    plain += multiplyUnit(tiles, parts.most, s, part.rows, {s.columns, kPanel, s.columnScales, 1},
                          part.columns, depth, first == begin);
  }
  return plain;
}

inline size_t weightGradientScratch(const OpCall& call, int threads) {
  const WeightGradient g(call, kUnit, kCut);
  return size_t(g.keptSums()) * sizeof(float) + size_t(threads) * GradientScratch::bytes();
}

template <class Tiles>
inline void runWeightGradient(const OpCall& call, Context& context) {
  const WeightGradient g(call, kUnit, kCut);
  // The rows of the product are channels of dy, the second operand.
  const Parts parts = Parts::of(call.in[1].format, call.in[0].format,
                                call.as<Conv2dWeightGradParams>().precision == kFast);
  const size_t workerBytes = GradientScratch::bytes();
  std::byte* workers = context.scratch();
  auto* kept = reinterpret_cast<float*>(workers + size_t(context.threads()) * workerBytes);
  const auto scratch = [&](int worker) {
    Carver carver(workers + size_t(worker) * workerBytes);
    return GradientScratch::take(carver);
  };
  runParts(
      g, context, kept, [&](int worker) { return scratch(worker).unit.sums; },
      [&](const GradientPart& part, int64_t split, float* sums, int worker) {
        Tiles tiles;
        countFallbacks(context, sumPart(g, parts, tiles, part, split, scratch(worker), sums));
      });
}

inline bool takesWeightGradient(const OpCall& call) {
  return gemm::tileFormats(call, call.inCount) && needsSplitting(call) &&
         conv::plainShape(call, call.as<Conv2dWeightGradParams>());
}

inline bool repaysWeightGradient(const OpCall& call) {
  const auto& p = call.as<Conv2dWeightGradParams>();
  return repays(p.o / p.groups, int64_t(p.kh) * p.kw * (p.c / p.groups),
                int64_t(p.n) * p.ho * p.wo);
}

template <class Tiles>
constexpr Variant weightGradientOn(const char* name) {
  return {
      "conv2dWeightGrad",    name,
      Tiles::kIsa,           Tiles::template supports<takesWeightGradient, repaysWeightGradient>,
      weightGradientScratch, runWeightGradient<Tiles>};
}

}  // namespace figment::FIGMENT_ISA::split
