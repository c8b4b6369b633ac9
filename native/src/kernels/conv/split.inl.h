// conv2d and conv2dInputGrad of f32 factors on bf16 matrix tiles, by splitting (gemm/split.inl.h):
// the products of tile_plan.inl.h, of numbers that are split as they are packed, by one scale for
// each part of the image and each panel of weights. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/conv/tiles.inl.h"

namespace figment::FIGMENT_ISA::split {

template <class P>
inline Parts partsOf(const OpCall& call) {
  return Parts::of(call.in[0].format, call.in[1].format, call.as<P>().precision == kFast);
}

template <class P>
inline size_t convolutionScratch(const OpCall& call, int threads) {
  return tiles::implicit::convolutionScratch(tiles::implicit::planTiles<P>(call, partsOf<P>(call)),
                                             threads);
}

template <class P, class Tiles>
inline void runConvolution(const OpCall& call, Context& context) {
  const tiles::implicit::TilePlan g = tiles::implicit::planTiles<P>(call, partsOf<P>(call));
  tiles::implicit::TileConvolution<Tiles>(g, context).run();
}

/// Factors in formats of f32 arithmetic, of shapes that are not empty.
template <class P>
inline bool takesConvolution(const OpCall& call) {
  if (!gemm::tileFormats(call, call.inCount) || !needsSplitting(call)) return false;
  const Format weights = call.in[1].format;
  return tiles::packsConvolution<P>(call, partsOf<P>(call).columns * int(sizeof(uint16_t)),
                                    double(formatBytes(weights))) &&
         tiles::implicit::planTiles<P>(call, partsOf<P>(call)).affordable();
}

/// What tiles take, in multiply-adds of the implicit product, as measured (see native/NOTES.md):
/// one product of parts, a part of a number that is split, one that is brought to the row of a
/// position that reads it, and a result.
constexpr double kProductCost = 0.075, kPartCost = 20, kGatherCost = 6, kResultCost = 25;
/// What a number of weights that are streamed costs the implicit product in turn, and from how many
/// of them on filtering by fused multiply-adds takes longer, whose transformed weights are more.
constexpr double kStreamedCost = 35;
constexpr int64_t kManyWeights = 512 * 1024;

/// Whether tiles repay the splitting of both factors.
template <class P>
inline bool repaysConvolution(const OpCall& call) {
  const Parts parts = partsOf<P>(call);
  const tiles::implicit::TilePlan g = tiles::implicit::planTiles<P>(call, parts);
  // The implicit product fills half vectors, or with very few columns a part of them.
  constexpr int64_t kFewColumns = 4;
  const int64_t columns = ceilDiv(g.groupOut, tiles::kSide) * tiles::kSide;
  const double rows = double(g.rowParts) * double(g.mostTiles()) * double(tiles::kSide);
  double direct = 0, padded = 0;
  for (int64_t phase = 0; phase < g.phases(); phase++) {
    direct += double(g.images * g.axisY(phase).size * g.axisX(phase).size) * double(g.depth(phase));
    padded += rows * double(g.steps(phase) * tiles::kTileDepth);
  }
  direct *= double(g.groups * (g.groupOut <= kFewColumns ? 2 * kFewColumns : columns));
  padded *= double(g.groups * columns);
  const double source =
      double(g.images * g.sourceHeight) * double(g.sourceWidth) * double(g.sourceChannels);
  const double weights = double(g.groups * g.groupIn * g.kernelTaps) * double(g.groupOut);
  const double results =
      double(g.images * g.outHeight) * double(g.outWidth) * double(g.outChannels);
  if (g.streamed) direct += kStreamedCost * weights;
  const double gathered = g.positionwise() ? padded / double(columns) * parts.rows : 0;
  return kProductCost * Chain(parts).count * padded +
             kPartCost * (parts.rows * source + parts.columns * weights) + kGatherCost * gathered +
             kResultCost * results <=
         direct;
}

template <class Tiles, class P>
inline int convolutionSupports(const OpCall& call) {
  const int preference = Tiles::template supports<takesConvolution<P>, repaysConvolution<P>>(call);
  if (preference < gemm::kTilesPreference) return preference;
  const tiles::implicit::TilePlan g = tiles::implicit::planTiles<P>(call, partsOf<P>(call));
  const bool many = g.streamed && g.groupIn * g.kernelTaps * g.groupOut >= kManyWeights;
  return many ? preference + 2 : preference;  // above filtering by fused multiply-adds
}

template <class Tiles, class P>
constexpr Variant convolutionOn(const char* op, const char* name) {
  return {op,
          name,
          Tiles::kIsa,
          convolutionSupports<Tiles, P>,
          convolutionScratch<P>,
          runConvolution<P, Tiles>};
}

template <class P>
constexpr Packer convolutionPacker(const char* op, const char* name) {
  return {op, name,
          [](const OpCall& call) { return tiles::implicit::packingOf<P>(call, partsOf<P>(call)); },
          [](const OpCall& call, std::byte* to, Context& context) {
            tiles::implicit::packAhead(tiles::implicit::planTiles<P>(call, partsOf<P>(call)), to,
                                       context);
          }};
}

}  // namespace figment::FIGMENT_ISA::split
