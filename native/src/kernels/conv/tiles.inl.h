// conv2d and conv2dInputGrad of bf16 factors on matrix tiles (tile_plan.inl.h), as variants.
// Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/tile_convolution.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Packed weights may take this, and this many times what they take unpacked: groups of few
/// channels are mostly padding.
constexpr double kPackedBytes = 64e6, kPackedShare = 8;

/// Only for 16-bit formats.
inline const uint16_t* bitsOf(Elements elements) {
  return reinterpret_cast<const uint16_t*>(elements.data);
}

template <class P>
inline size_t wholeScratch(const OpCall& call, int threads) {
  return implicit::convolutionScratch(implicit::planTiles<P>(call, implicit::TilePlan::kWhole),
                                      threads);
}

template <class P, class Tiles>
inline void runWhole(const OpCall& call, Context& context) {
  const implicit::TilePlan g = implicit::planTiles<P>(call, implicit::TilePlan::kWhole);
  implicit::TileConvolution<Tiles>(g, context).run();
}

/// Whether shapes are not empty, parts of the image stay within reason, and packed weights, of
/// `packed` bytes a number that took `own`, are not blown up.
template <class P>
inline bool packsConvolution(const OpCall& call, double packed, double own) {
  const auto& p = call.as<P>();
  const int64_t phases = conv::phasesOf(p);
  if (!conv::plainShape(call, p) || phases > conv::kMaxPhases || !conv::reasonable(p)) return false;
  constexpr bool kTransposed = std::is_same_v<P, Conv2dInputGradParams>;
  const int64_t in = kTransposed ? p.o / p.groups : p.c / p.groups;
  const int64_t out = kTransposed ? p.c / p.groups : p.o / p.groups;
  const double depth = double(p.kh) * p.kw * double(in);
  // Each phase rounds its depth up, or that of each tap.
  const double bytes = packed * double(p.groups) * double(ceilDiv(out, kBlock) * kBlock) *
                       (depth + double(phases) * kTileDepth);
  const double unpacked = own * double(p.groups) * double(out) * depth;
  return bytes <= larger(int64_t(kPackedBytes), int64_t(kPackedShare * unpacked));
}

template <class P>
inline bool takesConvolution(const OpCall& call) {
  return call.in[0].format == Format::bf16 && call.in[1].format == Format::bf16 &&
         packsConvolution<P>(call, sizeof(uint16_t), sizeof(uint16_t)) &&
         implicit::planTiles<P>(call, implicit::TilePlan::kWhole).affordable();
}

/// Tiles that are mostly padding are still faster than f32 arithmetic on 16-bit factors, unless of
/// the channels of both images so few pairs exist.
constexpr int64_t kLeastPairs = 192;

/// Whether tiles are filled well enough to repay the packing.
template <class P>
inline bool fillsConvolution(const OpCall& call) {
  const auto& p = call.as<P>();
  const int64_t in = p.c / p.groups, out = p.o / p.groups;
  return smaller(in, out) >= kLeastRows || (p.groups == 1 && in * out >= kLeastPairs);
}

template <class Tiles, class P>
constexpr Variant convolutionOn(const char* op) {
  return {op,
          Tiles::kName,
          Tiles::kIsa,
          Tiles::template supports<takesConvolution<P>, fillsConvolution<P>>,
          wholeScratch<P>,
          runWhole<P, Tiles>};
}

template <class P>
constexpr Packer convolutionPacker(const char* op, const char* name) {
  return {
      op, name,
      [](const OpCall& call) { return implicit::packingOf<P>(call, implicit::TilePlan::kWhole); },
      [](const OpCall& call, std::byte* to, Context& context) {
        implicit::packAhead(implicit::planTiles<P>(call, implicit::TilePlan::kWhole), to, context);
      }};
}

}  // namespace figment::FIGMENT_ISA::tiles
