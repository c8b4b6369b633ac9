// The convolutions as the work of the kernels in ../gemm. The input gradient falls into phases, one
// for each remainder of an image's positions by the stride: in each, the taps that reach its
// positions are a convolution of dy with stride 1.
#pragma once

#include <algorithm>
#include <numeric>

#include "../gemm/work.h"
#include "kernels/params/conv2d.generated.h"
#include "kernels/params/conv2dInputGrad.generated.h"
#include "kernels/params/conv2dWeightGrad.generated.h"

namespace figment::cuda {

/// What becomes of sums: of the forward pass, and of gradients.
inline Epilogue<float> epilogueOf(const OpCall& call, const Conv2dParams&) {
  return Epilogue<float>::of<Conv2dParams>(call);
}
template <class P>
Epilogue<float> epilogueOf(const OpCall& call, const P&) {
  return Epilogue<float>(call.out[0]);
}

/// Steps of an image [n, height, width, channels], read through windows by groups of `inGroup`.
inline void setImage(Work& work, int64_t height, int64_t width, int64_t channels, int64_t inGroup,
                     int unit) {
  WindowFactor& window = work.window;
  window.groupStep = inGroup;
  window.imageStep = height * narrowTo32(work, width * channels);
  window.rowStep = narrowTo32(work, width * channels);
  window.columnStep = narrowTo32(work, channels);
  window.height = narrowTo32(work, height);
  window.width = narrowTo32(work, width);
  window.channels = divisorOf(work, inGroup);
  window.aligned = inGroup % unit == 0 && channels % unit == 0;
}
/// The positions of the result, and how they read the image.
template <class P>
void setPositions(Work& work, const P& p) {
  Phase& phase = work.product.phase[0];
  phase.area = divisorOf(work, int64_t(p.ho) * p.wo);
  phase.width = divisorOf(work, p.wo);
  phase.offsetY = -narrowTo32(work, p.padLo[0]);
  phase.offsetX = -narrowTo32(work, p.padLo[1]);
  phase.tapsX = divisorOf(work, p.kw);
  WindowFactor& window = work.window;
  window.stepY = p.stride[0];
  window.stepX = p.stride[1];
  window.tapStepY = p.dilation[0];
  window.tapStepX = p.dilation[1];
}
/// Sizes that kernels add up in 32 bits, and products of dims that must fit.
template <class P>
bool boundsFit(const P& p) {
  constexpr double kMost = 1 << 30;
  for (int axis = 0; axis < 2; axis++) {
    const double reach = double(p.dilation[axis]) * (axis == 0 ? p.kh : p.kw);
    const double size = axis == 0 ? p.h : p.w;
    if (size + p.padLo[axis] + p.padHi[axis] + p.stride[axis] + reach > kMost) return false;
  }
  const double taps = double(p.kh) * p.kw, channels = std::max(double(p.c), double(p.o));
  return double(p.n) * p.ho * p.wo < kMost && double(p.n) * p.h * p.w < kMost &&
         taps * channels < kMost && double(p.w) * p.c < kMost && double(p.wo) * p.o < kMost;
}

inline Work unfit() {
  Work work;
  work.fits = false;
  return work;
}

/// `unit` elements make a vector of 16 bytes.
inline Work workOf(const Conv2dParams& p, int unit) {
  if (!boundsFit(p)) return unfit();
  Work work;
  const int64_t cg = p.c / p.groups, og = p.o / p.groups, depth = int64_t(p.kh) * p.kw * cg;
  setImage(work, p.h, p.w, p.c, cg, unit);
  setPositions(work, p);
  work.matrix = {og * depth, depth, depth % unit == 0};
  Product& product = work.product;
  product.groups = p.groups;
  product.columns = product.biasGroup = int32_t(og);
  product.mostRows = product.phase[0].rows = narrowTo32(work, int64_t(p.n) * p.ho * p.wo);
  product.phase[0].depth = int32_t(depth);
  product.outGroup = og;
  product.outColumn = p.o;
  return work;
}

inline Work workOf(const Conv2dWeightGradParams& p, int unit) {
  if (!boundsFit(p)) return unfit();
  Work work;
  work.layout = Layout::weights;
  const int64_t cg = p.c / p.groups, og = p.o / p.groups, columns = int64_t(p.kh) * p.kw * cg;
  setImage(work, p.h, p.w, p.c, cg, unit);
  setPositions(work, p);
  const int32_t depth = narrowTo32(work, int64_t(p.n) * p.ho * p.wo);
  work.taps.groupStep = og;
  work.taps.channelStep = p.o;
  work.taps.channels = divisorOf(work, depth);
  work.taps.aligned = og % unit == 0 && p.o % unit == 0;
  Product& product = work.product;
  product.groups = p.groups;
  product.columns = int32_t(columns);
  product.mostRows = product.phase[0].rows = int32_t(og);
  product.phase[0].depth = depth;
  product.outGroup = og * columns;
  product.outColumn = columns;
  return work;
}

/// One axis of the input gradient: the image's positions at, at + stride, … of it.
struct AxisPhase {
  int32_t positions, taps, firstTap, tapStep;
  int32_t offset;      ///< position of dy that the first reads through its first tap
  int32_t offsetStep;  ///< from one tap to the next, backwards
};
template <class P>
AxisPhase axisPhase(const P& p, int axis, int32_t at) {
  const int32_t stride = p.stride[axis], dilation = p.dilation[axis];
  const int32_t size = axis == 0 ? p.h : p.w, kernel = axis == 0 ? p.kh : p.kw;
  const int32_t common = std::gcd(stride, dilation);
  AxisPhase phase = {
      (size - at + stride - 1) / stride, 0, 0, stride / common, 0, dilation / common};
  for (int32_t tap = 0; tap < std::min(phase.tapStep, kernel); tap++) {
    const int32_t scaled = at + p.padLo[axis] - tap * dilation;
    if (scaled % stride != 0) continue;
    phase.firstTap = tap;
    phase.taps = (kernel - tap + phase.tapStep - 1) / phase.tapStep;
    phase.offset = scaled / stride;
    break;
  }
  return phase;
}

/// Phases of an input gradient, which come in works of up to kMaxPhases.
inline int64_t phasesOf(const Conv2dInputGradParams& p) {
  return int64_t(std::min(p.stride[0], p.h)) * std::min(p.stride[1], p.w);
}

/// The phases from `first` on.
inline Work workOf(const Conv2dInputGradParams& p, int unit, int64_t first) {
  if (!boundsFit(p)) return unfit();
  Work work;
  work.layout = Layout::backward;
  const int64_t cg = p.c / p.groups, og = p.o / p.groups, matrix = int64_t(p.kh) * p.kw * cg;
  setImage(work, p.ho, p.wo, p.o, og, unit);
  work.taps.groupStep = og * matrix;
  work.taps.channelStep = matrix;
  work.taps.channels = divisorOf(work, og);
  work.taps.aligned = cg % unit == 0;
  Product& product = work.product;
  product.groups = p.groups;
  product.columns = int32_t(cg);
  product.linear = 0;
  product.outGroup = cg;
  product.outImage = int64_t(p.h) * p.w * p.c;
  product.outRow = int64_t(p.stride[0]) * p.w * p.c;
  product.outColumn = int64_t(p.stride[1]) * p.c;
  const int32_t across = std::min(p.stride[1], p.w);
  product.phases = int32_t(std::min<int64_t>(phasesOf(p) - first, kMaxPhases));
  for (int i = 0; i < product.phases; i++) {
    const auto atY = int32_t((first + i) / across), atX = int32_t((first + i) % across);
    const AxisPhase y = axisPhase(p, 0, atY), x = axisPhase(p, 1, atX);
    Phase& phase = product.phase[i];
    phase.rows = narrowTo32(work, int64_t(p.n) * y.positions * x.positions);
    phase.depth = int32_t(y.taps * x.taps * og);
    phase.area = divisorOf(work, int64_t(y.positions) * x.positions);
    phase.width = divisorOf(work, x.positions);
    phase.offsetY = y.offset;
    phase.offsetX = x.offset;
    phase.tapsX = divisorOf(work, x.taps);
    phase.firstTap = (int64_t(y.firstTap) * p.kw + x.firstTap) * cg;
    phase.outFirst = (int64_t(atY) * p.w + atX) * p.c;
    product.mostRows = std::max(product.mostRows, phase.rows);
    work.window.tapStepY = -y.offsetStep;
    work.window.tapStepX = -x.offsetStep;
    work.taps.tapStepY = y.tapStep * p.kw * cg;
    work.taps.tapStepX = x.tapStep * cg;
  }
  return work;
}

}  // namespace figment::cuda
