// The windows of convolutions as Hopper's copy engine walks them, and what it can walk. Host code.
#pragma once

#include "../gemm/wgmma_plan.h"
#include "kernels/params/conv2d.generated.h"
#include "kernels/params/conv2dInputGrad.generated.h"
#include "kernels/params/conv2dWeightGrad.generated.h"

namespace figment::cuda::wgmma {

/// One axis: position q reads source position q·step + start + t·offsetStep through tap t, which is
/// number firstTap + t·tapStep of the kernel's, and belongs to position origin + q·outStep of the
/// result.
struct Axis {
  int64_t positions = 0, source = 0;
  int64_t start = 0, step = 1;
  int64_t taps = 0, offsetStep = 1, firstTap = 0, tapStep = 1;
  int64_t origin = 0, outStep = 1;
};

template <class P>
Axis forwardAxis(const P& p, int axis) {
  return {.positions = axis == 0 ? p.ho : p.wo,
          .source = axis == 0 ? p.h : p.w,
          .start = -p.padLo[axis],
          .step = p.stride[axis],
          .taps = axis == 0 ? p.kh : p.kw,
          .offsetStep = p.dilation[axis]};
}

/// The gradient at image positions phase + q·stride. Of the kernel only indices u with phase +
/// padLo − u·dilation ≡ 0 (mod stride) take part; they read the result's position q + (phase +
/// padLo − u·dilation) / stride, and are walked downwards, so that what they read ascends.
template <class P>
Axis inputGradAxis(const P& p, int axis, int64_t phase) {
  const int64_t stride = p.stride[axis], dilation = p.dilation[axis];
  const int64_t size = axis == 0 ? p.h : p.w, kernel = axis == 0 ? p.kh : p.kw;
  Axis found = {.positions = ceilDiv(size - phase, stride),
                .source = axis == 0 ? p.ho : p.wo,
                .origin = phase,
                .outStep = stride};
  const auto meets = [&](int64_t u) {
    return (phase + p.padLo[axis] - u * dilation) % stride == 0;
  };
  int64_t first = 0;
  while (first < kernel && !meets(first)) first++;
  if (first == kernel) return found;
  int64_t period = 1;
  while (period * dilation % stride != 0) period++;
  found.taps = ceilDiv(kernel - first, period);
  found.firstTap = first + (found.taps - 1) * period;
  found.tapStep = -period;
  found.start = (phase + p.padLo[axis] - found.firstTap * dilation) / stride;
  found.offsetStep = period * dilation / stride;
  return found;
}

inline Window windowOf(const Axis& y, const Axis& x, int64_t kernelWidth) {
  return {.width = int(x.positions),
          .height = int(y.positions),
          .startX = int(x.start),
          .startY = int(y.start),
          .stepX = int(x.step),
          .stepY = int(y.step),
          .tapsX = int(x.taps < 1 ? 1 : x.taps),
          .offsetStepX = int(x.offsetStep),
          .offsetStepY = int(y.offsetStep),
          .firstTap = int(y.firstTap * kernelWidth + x.firstTap),
          .tapStepX = int(x.tapStep),
          .tapStepY = int(y.tapStep * kernelWidth)};
}
inline Pixels pixelsOf(const Axis& y, const Axis& x, int64_t images, int64_t channels) {
  return {.n = images,
          .height = y.source,
          .width = x.source,
          .channels = channels,
          .startX = int(x.start),
          .startY = int(y.start),
          .stepX = int(x.step),
          .stepY = int(y.step),
          .positionsX = x.positions,
          .positionsY = y.positions};
}
inline bool walkable(const Axis& y, const Axis& x) {
  return mappable(pixelsOf(y, x, 1, 8), (x.taps - 1) * x.offsetStep, (y.taps - 1) * y.offsetStep);
}

/// What all three ask for: rows of channels that the copy engine takes, one group, and something to
/// do.
template <class P>
bool walkable(const P& p, const OpCall& call) {
  const double positions =
      double(p.n) * double(p.h > p.ho ? p.h : p.ho) * double(p.w > p.wo ? p.w : p.wo);
  return factorFormats(call) && p.groups == 1 && p.n > 0 && p.h > 0 && p.w > 0 && p.c > 0 &&
         p.ho > 0 && p.wo > 0 && p.o > 0 && p.c % 8 == 0 && p.kh < 256 && p.kw < 256 &&
         positions < 2e9 && double(p.kh) * p.kw * (double(p.c) + kGroup) < 2e9;
}
/// A single tap that reads each position from the same place: a product of matrices.
template <class P>
bool pointwise(const P& p) {
  return p.kh == 1 && p.kw == 1 && p.stride[0] == 1 && p.stride[1] == 1 && p.padLo[0] == 0 &&
         p.padLo[1] == 0 && p.padHi[0] == 0 && p.padHi[1] == 0;
}

/// Rows of `inner` elements as a matrix, in boxes of `box` rows.
inline CUtensorMap matrixMap(const Operand& factor, int64_t inner, int64_t outer, int box) {
  return boxMap(factor.data, factor.format == Format::f16, {inner, outer, 1},
                {inner, inner * outer}, box, 1);
}
/// The weights [o, taps, c], in boxes of `box` of o.
template <class P>
CUtensorMap weightsMap(const Operand& weights, const P& p, int box) {
  const int64_t c = p.c, taps = int64_t(p.kh) * p.kw;
  return boxMap(weights.data, weights.format == Format::f16, {c, taps, p.o}, {c, taps * c}, 1, box);
}

}  // namespace figment::cuda::wgmma
