// conv2dWeightGrad of f32 factors on bf16 matrix tiles, by splitting (gemm/split.inl.h), in the
// parts and splits of weight_grad_tiles.inl.h. Both factors are split cut by cut by the unit that
// needs them. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/split.inl.h"
#include "kernels/conv/weight_grad_tiles.inl.h"

namespace figment::FIGMENT_ISA::split {

using tiles::GradientPart;
using tiles::WeightGradient;

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
    tiles::forRuns(g, part, first + k, [&](int64_t from, int64_t column, int64_t count) {
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
  tiles::runParts(
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
