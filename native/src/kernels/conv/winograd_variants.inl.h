// Winograd's convolutions as variants of the instruction set that the including file is compiled
// for, and which calls they are preferred for.
#pragma once

#include "kernels/conv/winograd.inl.h"
#include "kernels/conv/winograd_calls.inl.h"
#include "kernels/conv/winograd_weight_grad.inl.h"
#include "kernels/gemm/split_parts.inl.h"

namespace figment::FIGMENT_ISA::conv {
namespace {

using split::Parts;

constexpr bool kFused = FIGMENT_LEVEL > 0;

/// A convolution or its input gradient by one of the filterings.
template <int kY, int kX>
struct ProductWay {
  /// True when the transforms stay within reason. Judged in floating point: nothing here is bounded
  /// by memory yet.
  static bool affordable(const Geometry& g) {
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

  /// From so many channels on it errs no more than one chain of multiply-adds over taps and
  /// channels does (see native/NOTES.md).
  static constexpr int64_t leastDepth() {
    if (kY * kX == 16) return kFused ? 128 : 192;
    if (kY * kX == 8) return kFused ? 64 : 96;
    return kFused ? 16 : 32;
  }

  static bool permitted(const Geometry& g) {
    return g.groupIn >= leastDepth() && g.groupOut > kTileColumns / 2 && affordable(g);
  }

  /// What a call costs in multiply-adds of the products; a transformed element costs as much as
  /// kTransform of them, an element of transformed weights kWeights.
  static double cost(const Geometry& g) {
    constexpr double kTransform = 16, kWeights = 6;
    const double tiles = tilesOf(g, kY, kX), in = double(g.groupIn), out = double(g.groupOut);
    return Winograd<kY, kX>::kProducts * double(g.groups) *
           (tiles * (in * out + kTransform * (in + out)) + kWeights * in * out);
  }
};

/// The derivative by the weights by one of the filterings.
template <int kY, int kX>
struct WeightGradWay {
  static constexpr double kProducts = WinogradGrad<kY, kX>::kProducts;

  static double sumsOf(const Geometry& g) {
    return double(g.groups) * double(ceilDiv(g.groupIn, kLanes) * kLanes) * double(g.groupOut);
  }
  static bool affordable(const Geometry& g) {
    const double chain = double(kChainTiles) * double(g.sourceChannels + g.outChannels);
    return tilesOf(g, kY, kX) <= kMostTiles &&
           kProducts * (chain + sumsOf(g)) * sizeof(float) <= kSharedBytes;
  }

  /// From so many positions on it errs no more than one chain of multiply-adds over them does.
  static constexpr int64_t leastPositions() {
    if (kY * kX == 16) return kFused ? 1536 : 2304;
    if (kY * kX == 8) return kFused ? 512 : 768;
    return kFused ? 256 : 384;
  }

  static bool permitted(const Geometry& g) {
    return double(g.images) * double(g.outHeight) * double(g.outWidth) >=
               double(leastPositions()) &&
           affordable(g);
  }

  /// As of products; kSums for what is summed over tiles: these are stored and transformed once.
  static double cost(const Geometry& g) {
    constexpr double kTransform = 24, kSums = 32;
    const double tiles = tilesOf(g, kY, kX), channels = double(g.sourceChannels + g.outChannels);
    return kProducts * (tiles * (sumsOf(g) + kTransform * channels) + kSums * sumsOf(g));
  }
};

/// What the implicit product costs.
inline double directCost(const Geometry& g) {
  return double(g.images) * double(g.outHeight) * double(g.outWidth) * 9.0 * double(g.groups) *
         double(g.groupIn) * double(ceilDiv(g.groupOut, kTileColumns) * kTileColumns);
}

/// The preference of one of the filterings, where the product costs `direct`, and matrix tiles
/// would make it faster by a rate of `parts` and dot products by one of theirs: it is the choice if
/// it is the cheapest of those permitted, and cheaper than the product by a margin.
template <template <int, int> class Way, int kY, int kX>
inline int preferenceOf(const Geometry& g, double direct, const Parts& parts) {
  constexpr double kMargin = 0.85;
  const double own = Way<kY, kX>::cost(g);
  const auto beats = [&](auto way) { return way.permitted(g) && way.cost(g) < own; };
  if (!Way<kY, kX>::permitted(g)) return kOnRequest;
  if (own > kMargin * direct || beats(Way<4, 4>()) || beats(Way<2, 4>()) || beats(Way<2, 2>()))
    return kPackedPreference - 1;
  if (own * split::rateOf(parts) <= direct) return 1 + kTilesPreference;
  return 1 + (own * split::kDotRate <= direct ? kDotPreference : kPackedPreference);
}

template <int kY, int kX, class P>
inline int winogradSupports(const OpCall& call) {
  const auto& p = call.as<P>();
  if (!isFilter(call, p)) return -1;
  const Geometry g = geometryOf(p);
  if (!ProductWay<kY, kX>::affordable(g)) return -1;
  return preferenceOf<ProductWay, kY, kX>(
      g, directCost(g), Parts::of(call.in[0].format, call.in[1].format, p.precision == kFast));
}

template <int kY, int kX>
inline int winogradGradSupports(const OpCall& call) {
  const auto& p = call.as<Conv2dWeightGradParams>();
  if (!isFilter(call, p) || !reasonable(p)) return -1;
  const Geometry g = forwardGeometry(p);
  if (!WeightGradWay<kY, kX>::affordable(g)) return -1;
  const double direct = 9.0 * double(g.images) * double(g.outHeight) * double(g.outWidth) *
                        double(g.groups) * double(g.groupIn) * double(g.groupOut);
  // The rows of the product are channels of dy, the second operand.
  return preferenceOf<WeightGradWay, kY, kX>(
      g, direct, Parts::of(call.in[1].format, call.in[0].format, p.precision == kFast));
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

template <int kY, int kX>
constexpr Variant weightGradOf() {
  return {"conv2dWeightGrad",           winogradName<kY, kX>(),      kVariantIsa,
          winogradGradSupports<kY, kX>, winogradGradScratch<kY, kX>, winogradGradRun<kY, kX>};
}
constexpr Variant weightGrad44 = weightGradOf<4, 4>();
const RegisterVariant weightGrad44Registrar{weightGrad44};
constexpr Variant weightGrad24 = weightGradOf<2, 4>();
const RegisterVariant weightGrad24Registrar{weightGrad24};
constexpr Variant weightGrad22 = weightGradOf<2, 2>();
const RegisterVariant weightGrad22Registrar{weightGrad22};

}  // namespace
}  // namespace figment::FIGMENT_ISA::conv
