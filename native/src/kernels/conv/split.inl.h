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
