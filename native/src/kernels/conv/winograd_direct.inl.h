// Tiles that Winograd's filtering can't compute: it takes one number that is not finite to all
// results of a tile, and may overflow where the sum itself does not. Here each result is the plain
// sum over taps and channels, a vector of results at a time. Include only from files compiled for
// one instruction set.
#pragma once

#include "kernels/conv/winograd_source.inl.h"
#include "kernels/gemm/epilogue.inl.h"

namespace figment::FIGMENT_ISA::conv {

/// The operands of a convolution or its input gradient.
template <int kY, int kX>
struct Filtering : TiledGeometry<kY, kX> {
  using TiledGeometry<kY, kX>::TiledGeometry;

  template <class P>
  void bind(const OpCall& call) {
    this->source = Elements::of(call.in[0]);
    weights = Elements::of(call.in[1]);
    out = Results::of(call.out[0]);
    epilogue = Epilogue::of<P>(call);
  }

  Elements weights;
  Results out;
  Epilogue epilogue;
};

/// Adds what one pixel of the source, met by one tap, gives to `count` results from `column` on.
template <int kY, int kX>
inline F32 addTap(const Filtering<kY, kX>& g, Elements pixel, int64_t tap, int64_t group,
                  int64_t column, int count, F32 sum) {
  const int64_t taps = g.kernelTaps;
  if (g.transposed) {
    const Elements from = g.weights + ((group * g.groupIn * taps + tap) * g.groupOut + column);
    for (int64_t k = 0; k < g.groupIn; k++)
      sum = multiplyAdd(F32::broadcast(loadElement(pixel, k)),
                        loadElements(from + k * taps * g.groupOut, count), sum);
    return sum;
  }
  float sums[kLanes] = {};
  for (int j = 0; j < count; j++) {
    const Elements row = g.weights + ((group * g.groupOut + column + j) * taps + tap) * g.groupIn;
    F32 dot = F32::zero();
    for (int64_t k = 0; k < g.groupIn; k += kLanes) {
      const int lanes = int(smaller(kLanes, g.groupIn - k));
      dot = multiplyAdd(loadElements(pixel + k, lanes), loadElements(row + k, lanes), dot);
    }
    sums[j] = reduceAdd(dot);
  }
  return sum + F32::load(sums);
}

/// The sum at one position of the result.
template <int kY, int kX>
inline F32 directSum(const Filtering<kY, kX>& g, int64_t image, int64_t y, int64_t x, int64_t group,
                     int64_t column, int count) {
  F32 sum = F32::zero();
  for (int64_t tap = 0; tap < g.kernelTaps; tap++) {
    const int64_t down = tap / g.kernelWidth, right = tap % g.kernelWidth;
    const Elements pixel = pixelAt(g, image, y + down, x + right);
    if (pixel.given())
      sum = addTap(g, pixel + group * g.groupIn, tapAt(g, down, right), group, column, count, sum);
  }
  return sum;
}

}  // namespace figment::FIGMENT_ISA::conv
