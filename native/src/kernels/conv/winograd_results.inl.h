// The last step of Winograd's filtering: sums of products are transformed back, and scale, bias,
// activation and addend applied. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/winograd_direct.inl.h"
#include "kernels/conv/winograd_transforms.inl.h"
#include "kernels/gemm/block.inl.h"

namespace figment::FIGMENT_ISA::conv {

using namespace gemm;  // NOLINT: one vocabulary, three folders

/// Transforms the sums of one tile back, whose products are `sumStep` floats apart, and finishes
/// `count` channels of the result from `column` of a group on: scaled(y) is a sum of the filter.
/// Answers whether these had to be summed directly.
template <int kY, int kX, class Scaled>
FIGMENT_INLINE bool finishTile(const Filtering<kY, kX>& g, const TilePlace& place, int64_t group,
                               int64_t column, int count, const float* sums, int64_t sumStep,
                               Scaled scaled) {
  constexpr int kSideY = kY + 2, kSideX = kX + 2;
  F32 y[kY][kX];
  bothAxes<kSideY, kSideX, kY, kX>(
      [](auto& m, auto& to) __attribute__((always_inline)) { transformSums<kY>(m, to); },
      [](auto& m, auto& to) __attribute__((always_inline)) { transformSums<kX>(m, to); },
      [&](int row, int at) __attribute__((always_inline)) {
        return F32::load(sums + (row * kSideX + at) * sumStep);
      },
      [&](int row, int at, F32 value)
          __attribute__((always_inline)) { y[row][at] = scaled(value); });
  F32 check = F32::zero();
#pragma GCC unroll 4
  for (int row = 0; row < kY; row++)
#pragma GCC unroll 4
    for (int at = 0; at < kX; at++) check = multiplyAdd(y[row][at], F32::zero(), check);
  const bool direct = any(isNan(check));
  if (direct)
    for (int row = 0; row < place.rows; row++)
      for (int at = 0; at < place.columns; at++)
        y[row][at] = directSum(g, place.image, place.y + row, place.x + at, group, column, count);

  const int64_t channel = group * g.groupOut + column;
  const Epilogue& e = g.epilogue;
  const bool scales = e.scale.given();
  const F32 scale = scales ? e.scale.load(channel, count) : F32::zero();
  const F32 bias = e.bias.given() ? e.bias.load(channel, count) : F32::zero();
  const auto finished = [&](F32 value) __attribute__((always_inline)) {
    value = (scales ? value * scale : value) + bias;
    return e.activation == kNoActivation ? value : activate(value, e.activation);
  };
  const int64_t pixel = (place.image * g.outHeight + place.y) * g.outWidth + place.x;
  const Results first = g.out + (pixel * g.outChannels + channel);
  const int64_t rowStep = g.outWidth * g.outChannels;
  const bool single = !g.out.half() && e.addend.single();
  if (single && count == kLanes && place.rows == kY && place.columns == kX) {
    const float* added = e.addend.floatsAt(first.data);
#pragma GCC unroll 4
    for (int row = 0; row < kY; row++)
#pragma GCC unroll 4
      for (int at = 0; at < kX; at++) {
        const int64_t to = row * rowStep + at * g.outChannels;
        const F32 value = finished(y[row][at]);
        (added ? value + F32::load(added + to) : value).store(first.floats() + to);
      }
    return direct;
  }
  for (int row = 0; row < place.rows; row++)
    for (int at = 0; at < place.columns; at++) {
      const Results to = first + (row * rowStep + at * g.outChannels);
      F32 value = finished(y[row][at]);
      if (e.addend.given()) value += loadElements(e.addend.at(to.data), count);
      storeElements(to, value, count);
    }
  return direct;
}

}  // namespace figment::FIGMENT_ISA::conv
