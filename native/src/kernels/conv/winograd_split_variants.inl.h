// Winograd's convolutions on split products as variants, and which calls they are preferred for.
// Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/winograd_calls.inl.h"
#include "kernels/conv/winograd_split.inl.h"

namespace figment::FIGMENT_ISA::split {

/// Tiles of 4×4 results: products of parts are so exact that with this many channels they err no
/// more than one chain of multiply-adds over taps and channels does; transforms without fused ones
/// err more.
constexpr int kFilterSide = 4;
constexpr int64_t kLeastFilterDepth = FIGMENT_LEVEL > 0 ? 64 : 96;
/// So many tiles of the image repay the splitting of the weights, measured: where these stay in the
/// second-level cache, and where they don't.
constexpr double kLeastOwnTiles = 64, kLeastTilesTogether = 128;

/// Factors of which one is f32, and transforms of bounded size. Judged in floating point: nothing
/// here is bounded by memory yet.
template <class P>
inline bool takesFiltering(const OpCall& call) {
  const auto& p = call.as<P>();
  if (!conv::isFilter(call, p) || !needsSplitting(call)) return false;
  const conv::Geometry g = conv::geometryOf(p);
  constexpr double kProducts = (kFilterSide + 2) * (kFilterSide + 2);
  constexpr double kPartBytes = kExactParts * sizeof(uint16_t);
  const auto whole = [](int64_t count, int64_t unit) {
    return double(ceilDiv(count, unit)) * double(unit);
  };
  const double in = double(g.groups) * whole(g.groupIn, kTileDepth);
  const double out = double(g.groups) * whole(g.groupOut, kBlock);
  const double sourceBytes = kPartBytes * in, sumBytes = sizeof(float) * (out + kLanes);
  const double weights = kProducts * kPartBytes * whole(g.groupIn, kTileDepth) * out;
  // A block is as large as kSharedProductBytes allow, or kLeastSharedTiles.
  const double block = kProducts * (2 * double(kSharedProductBytes) +
                                    double(kLeastSharedTiles) * (sourceBytes + sumBytes));
  return conv::tilesOf(g, kFilterSide, kFilterSide) <= conv::kMostTiles &&
         weights <= conv::kSharedBytes && block <= conv::kSharedBytes;
}

/// Whether it is the fastest, by the tiles of the image that a call has.
template <class P>
inline bool repaysFiltering(const OpCall& call) {
  const auto& p = call.as<P>();
  const Parts parts = Parts::of(call.in[0].format, call.in[1].format, p.precision == kFast);
  if (parts.rows != kExactParts || parts.columns != kExactParts) return false;
  const SplitWinograd<kFilterSide, kFilterSide> g(conv::geometryOf(p));
  return g.groupOut >= kBlock && double(g.tiles) >= (g.own ? kLeastOwnTiles : kLeastTilesTogether);
}

template <class Tiles, class P>
inline int filteringSupports(const OpCall& call) {
  const int preference = Tiles::template supports<takesFiltering<P>, repaysFiltering<P>>(call);
  if (preference < 0) return preference;
  const conv::Geometry g = conv::geometryOf(call.as<P>());
  if (g.groupIn < kLeastFilterDepth || conv::tilesOf(g, kFilterSide, kFilterSide) < kBlock)
    return kOnRequest;
  // Above filtering by fused multiply-adds, where that is preferred to tiles.
  return preference < gemm::kTilesPreference ? preference : preference + 2;
}

template <class Tiles, class P>
constexpr Variant filteringOn(const char* op, const char* name) {
  return {op,
          name,
          Tiles::kIsa,
          filteringSupports<Tiles, P>,
          winogradScratch<kFilterSide, kFilterSide, P>,
          winogradRun<Tiles, kFilterSide, kFilterSide, P>};
}

}  // namespace figment::FIGMENT_ISA::split
