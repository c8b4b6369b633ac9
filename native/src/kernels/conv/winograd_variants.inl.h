// Winograd's convolutions as variants of the instruction set that the including file is compiled
// for, and which calls they are preferred for.
#pragma once

#include "kernels/conv/winograd.inl.h"
#include "kernels/gemm/split_parts.inl.h"

namespace figment::FIGMENT_ISA::conv {
namespace {

/// What transforms may take: shared by all workers, and of each.
constexpr double kSharedBytes = 256e6, kWorkerBytes = 64e6;
constexpr double kMostTiles = 1e12;

inline double tilesOf(const Geometry& g, int height, int width) {
  return double(g.images) * double(ceilDiv(g.outHeight, height)) *
         double(ceilDiv(g.outWidth, width));
}

/// True when the transforms stay within reason. Judged in floating point: nothing here is bounded
/// by memory yet.
template <int kY, int kX>
inline bool affordable(const Geometry& g) {
  constexpr double kTransformBytes = double(Winograd<kY, kX>::kProducts) * sizeof(float);
  const double tiles = tilesOf(g, kY, kX);
  const double sourceTile = kTransformBytes * (double(g.sourceChannels) + 2 * kLanes);
  const double panel = kTransformBytes * kTileColumns * (double(g.groupIn) + 2);
  const double panels = double(g.groups) * double(ceilDiv(g.groupOut, kTileColumns));
  const bool sourceShared = tiles < double(g.groupOut);
  const double shared = sourceShared ? tiles * sourceTile : panels * panel;
  const double worker = sourceShared ? kMostStripPanels * panel : kMostBlockTiles * sourceTile;
  return tiles <= kMostTiles && shared <= kSharedBytes && worker <= kWorkerBytes;
}

/// From so many channels on, a filtering errs no more than one chain of multiply-adds over taps and
/// channels does (see native/NOTES.md).
template <int kY, int kX>
constexpr int64_t leastDepth() {
  constexpr bool kFused = FIGMENT_LEVEL > 0;
  if (kY * kX == 16) return kFused ? 128 : 192;
  if (kY * kX == 8) return kFused ? 64 : 96;
  return kFused ? 16 : 32;
}

/// What a call costs in multiply-adds of the products; a transformed element costs as much as
/// kTransform of them, an element of transformed weights kWeights.
template <int kY, int kX>
inline double costOf(const Geometry& g) {
  constexpr double kTransform = 16, kWeights = 6;
  const double tiles = tilesOf(g, kY, kX), in = double(g.groupIn), out = double(g.groupOut);
  return Winograd<kY, kX>::kProducts * double(g.groups) *
         (tiles * (in * out + kTransform * (in + out)) + kWeights * in * out);
}

template <int kY, int kX>
inline bool permitted(const Geometry& g) {
  return g.groupIn >= leastDepth<kY, kX>() && affordable<kY, kX>(g);
}

/// What the implicit product costs.
inline double directCost(const Geometry& g) {
  return double(g.images) * double(g.outHeight) * double(g.outWidth) * 9.0 * double(g.groups) *
         double(g.groupIn) * double(ceilDiv(g.groupOut, kTileColumns) * kTileColumns);
}

/// Whether this filtering is the cheapest of those permitted, and cheaper than the implicit product
/// by a margin.
template <int kY, int kX>
inline bool pays(const Geometry& g) {
  constexpr double kMargin = 0.85;
  const double own = costOf<kY, kX>(g);
  const auto beaten = [&](bool other, double cost) { return other && cost < own; };
  return permitted<kY, kX>(g) && own <= kMargin * directCost(g) && g.groupOut > kTileColumns / 2 &&
         !beaten(permitted<4, 4>(g), costOf<4, 4>(g)) &&
         !beaten(permitted<2, 4>(g), costOf<2, 4>(g)) &&
         !beaten(permitted<2, 2>(g), costOf<2, 2>(g));
}

template <int kY, int kX, class P>
inline int winogradSupports(const OpCall& call) {
  const auto& p = call.as<P>();
  if (!plainShape(call, p) || p.kh != 3 || p.kw != 3) return -1;
  for (int axis = 0; axis < 2; axis++)
    if (p.stride[axis] != 1 || p.dilation[axis] != 1) return -1;
  const Geometry g = geometryOf(p);
  if (!affordable<kY, kX>(g)) return -1;
  if (!pays<kY, kX>(g)) return permitted<kY, kX>(g) ? kPackedPreference - 1 : kOnRequest;
  const double tiles =
      split::rateOf(split::Parts::of(call.in[0].format, call.in[1].format, p.fast != 0));
  return 1 + (costOf<kY, kX>(g) * tiles <= directCost(g) ? kTilesPreference : kPackedPreference);
}

template <int kY, int kX>
constexpr const char* winogradName() {
  if (kY == 4) return FIGMENT_TEXT(FIGMENT_ISA) "-winograd4x4";
  if (kX == 4) return FIGMENT_TEXT(FIGMENT_ISA) "-winograd2x4";
  return FIGMENT_TEXT(FIGMENT_ISA) "-winograd2x2";
}

template <int kY, int kX, class P>
constexpr Variant winogradOf(const char* op) {
  return {op,
          winogradName<kY, kX>(),
          kVariantIsa,
          winogradSupports<kY, kX, P>,
          winogradScratch<kY, kX, P>,
          winogradRun<kY, kX, P>};
}
constexpr Variant forward44 = winogradOf<4, 4, Conv2dParams>("conv2d");
const RegisterVariant forward44Registrar{forward44};
constexpr Variant forward24 = winogradOf<2, 4, Conv2dParams>("conv2d");
const RegisterVariant forward24Registrar{forward24};
constexpr Variant forward22 = winogradOf<2, 2, Conv2dParams>("conv2d");
const RegisterVariant forward22Registrar{forward22};
constexpr Variant inputGrad44 = winogradOf<4, 4, Conv2dInputGradParams>("conv2dInputGrad");
const RegisterVariant inputGrad44Registrar{inputGrad44};
constexpr Variant inputGrad24 = winogradOf<2, 4, Conv2dInputGradParams>("conv2dInputGrad");
const RegisterVariant inputGrad24Registrar{inputGrad24};
constexpr Variant inputGrad22 = winogradOf<2, 2, Conv2dInputGradParams>("conv2dInputGrad");
const RegisterVariant inputGrad22Registrar{inputGrad22};

}  // namespace
}  // namespace figment::FIGMENT_ISA::conv
