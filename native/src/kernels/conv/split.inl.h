// conv2d and conv2dInputGrad of f32 factors on bf16 matrix tiles, by splitting (gemm/split.inl.h),
// as the implicit matrix products of tiles.inl.h. Weights are split once; rows are gathered from
// the image as f32 and split by the unit that needs them, one cut of K at a time. Include only from
// files compiled for one instruction set.
#pragma once

#include "kernels/conv/tiles.inl.h"
#include "kernels/gemm/split_tiles.inl.h"

namespace figment::FIGMENT_ISA::split {

using tiles::Convolution;
using tiles::ConvolutionPart;

constexpr tiles::UnitShape kUnit = {kUnitRows, kUnitColumns};

/// Splits the weights of kBlock result channels of a group, for a cut of K of a phase.
inline Scale packWeights(const Convolution& g, const Parts& parts, int64_t phase, int64_t group,
                         int64_t panel, int64_t k, float* raw, uint16_t* to) {
  const conv::Axis &y = g.axisY(phase), &x = g.axisX(phase);
  const int64_t column = panel * kBlock, columns = smaller(kBlock, g.groupOut - column);
  const int64_t depth = smaller(kCut, g.depth(phase) - k), blocks = ceilDiv(depth, kTileDepth);
  gemm::zeroFloats(raw, blocks * kTileDepth * kBlock);
  for (int64_t run = k / g.groupIn; run * g.groupIn < k + depth; run++) {
    const int64_t tap = y.tap(run / x.taps) * g.kernelWidth + x.tap(run % x.taps);
    const int64_t begin = larger(run * g.groupIn, k);
    const int64_t count = smaller((run + 1) * g.groupIn, k + depth) - begin;
    const int64_t channel = begin - run * g.groupIn;
    float* at = raw + (begin - k) * kBlock;
    if (g.transposed) {
      const int64_t first = (group * g.groupIn + channel) * g.kernelTaps + tap;
      for (int64_t i = 0; i < count; i++)
        gemm::widen(at + i * kBlock, g.weights + ((first + i * g.kernelTaps) * g.groupOut + column),
                    columns);
    } else {
      const int64_t first = (group * g.groupOut + column) * g.kernelTaps + tap;
      gemm::transpose(g.weights + (first * g.groupIn + channel), g.kernelTaps * g.groupIn, columns,
                      count, at, kBlock);
    }
  }
  return packPanel<Side::columns>(to, raw, parts.columns, blocks);
}

/// The weights of a phase, split: panels of all their depth, with a scale for each cut.
struct PackedWeights {
  int64_t cuts, panelSize;
  Scale* scales;
  uint16_t* data;
  static PackedWeights take(Carver& carver, const Convolution& g, const Parts& parts,
                            int64_t phase) {
    PackedWeights w;
    w.cuts = ceilDiv(g.depth(phase), kCut);
    w.panelSize = parts.columns * tiles::packedSize(g.depth(phase));
    w.scales = carver.take<Scale>(g.groups * g.panels * w.cuts);
    w.data = carver.take<uint16_t>(g.groups * g.panels * w.panelSize);
    return w;
  }
};

/// Answers how many blocks did not run on tiles.
template <class Tiles>
inline int64_t runUnit(const Convolution& g, const Parts& parts, Tiles& tiles,
                       const PackedWeights& w, int64_t phase, int64_t unit, const UnitScratch& s) {
  const conv::Axis &y = g.axisY(phase), &x = g.axisX(phase);
  const ConvolutionPart part(g, phase, unit);
  const int64_t whole = g.depth(phase);
  const int64_t panel = part.group * g.panels + part.column / kBlock;
  if (whole == 0) gemm::zeroFloats(s.sums, UnitScratch::kSums);
  int64_t plain = 0;
  for (int64_t cut = 0; cut < w.cuts; cut++) {
    const int64_t k = cut * kCut, depth = smaller(kCut, whole - k);
    const int64_t blocks = ceilDiv(depth, kTileDepth), step = blocks * kTileDepth;
    for (int64_t i = 0; i < part.rows; i += kBlock) {
      gemm::zeroFloats(s.raw, step * kBlock);
      for (int64_t row = 0; row < smaller(kBlock, part.rows - i); row++)
        tiles::forRuns(g, phase, tiles::Position::of(y, x, part.first + i + row), part.group, k,
                       depth, [&](int64_t from, int64_t at, int64_t count) {
                         gemm::widen(s.raw + row * step + at, g.source + from, count);
                       });
      s.rowScales[i / kBlock] =
          packPanel<Side::rows>(s.rows + i / kBlock * kPanel, s.raw, parts.rows, blocks);
    }
    const ColumnPanels b = {w.data + panel * w.panelSize + parts.columns * tiles::packedSize(k),
                            w.panelSize, w.scales + panel * w.cuts + cut, w.cuts};
    plain += multiplyUnit(tiles, parts.most, s, part.rows, b, part.columns, depth, cut == 0);
  }
  tiles::writeUnit(g, phase, part, s.sums, kUnitColumns);
  return plain;
}

template <class P>
inline Parts partsOf(const OpCall& call) {
  return Parts::of(call.in[0].format, call.in[1].format, call.as<P>().precision == kFast);
}

template <class P>
inline size_t convolutionScratch(const OpCall& call, int threads) {
  const Convolution g = tiles::describe<P>(call, kUnit);
  Carver carver(nullptr);
  for (int64_t phase = 0; phase < g.phases(); phase++)
    PackedWeights::take(carver, g, partsOf<P>(call), phase);
  return carver.used() + size_t(threads) * UnitScratch::bytes(false);
}

template <class P, class Tiles>
inline void runConvolution(const OpCall& call, Context& context) {
  const Convolution g = tiles::describe<P>(call, kUnit);
  const Parts parts = partsOf<P>(call);
  const size_t workerBytes = UnitScratch::bytes(false);
  std::byte* workers = context.scratch();
  const auto scratch = [&](int worker) {
    Carver own(workers + size_t(worker) * workerBytes);
    return UnitScratch::take(own, false);
  };
  Carver carver(workers + size_t(context.threads()) * workerBytes);
  for (int64_t phase = 0; phase < g.phases(); phase++) {
    const PackedWeights w = PackedWeights::take(carver, g, parts, phase);
    context.parallelFor(
        g.groups * g.panels * w.cuts, 1, [&](int64_t begin, int64_t end, int worker) {
          for (int64_t i = begin; i < end; i++) {
            const int64_t k = i % w.cuts * kCut, panel = i / w.cuts;
            w.scales[i] = packWeights(
                g, parts, phase, panel / g.panels, panel % g.panels, k, scratch(worker).raw,
                w.data + panel * w.panelSize + parts.columns * tiles::packedSize(k));
          }
        });
    context.parallelFor(g.units(phase), 1, [&](int64_t begin, int64_t end, int worker) {
      Tiles tiles;
      const UnitScratch mine = scratch(worker);
      int64_t plain = 0;
      for (int64_t unit = begin; unit < end; unit++)
        plain += runUnit(g, parts, tiles, w, phase, unit, mine);
      countFallbacks(context, plain);
    });
  }
}

/// Factors in formats of f32 arithmetic, of shapes that are not empty.
template <class P>
inline bool takesConvolution(const OpCall& call) {
  if (!gemm::tileFormats(call, call.inCount) || !needsSplitting(call)) return false;
  const Format weights = call.in[1].format;
  return tiles::packsConvolution<P>(call, partsOf<P>(call).columns * int(sizeof(uint16_t)),
                                    double(formatBytes(weights)));
}

template <class P>
inline bool repaysConvolution(const OpCall& call) {
  const auto& p = call.as<P>();
  const int64_t taps = int64_t(p.kh) * p.kw;
  if constexpr (std::is_same_v<P, Conv2dInputGradParams>)
    return repays(int64_t(p.n) * p.ho * p.wo, p.c / p.groups, taps * (p.o / p.groups));
  else
    return repays(int64_t(p.n) * p.ho * p.wo, p.o / p.groups, taps * (p.c / p.groups));
}

template <class Tiles, class P>
constexpr Variant convolutionOn(const char* op, const char* name) {
  return {op,
          name,
          Tiles::kIsa,
          Tiles::template supports<takesConvolution<P>, repaysConvolution<P>>,
          convolutionScratch<P>,
          runConvolution<P, Tiles>};
}

}  // namespace figment::FIGMENT_ISA::split
