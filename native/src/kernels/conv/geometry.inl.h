// conv2d and conv2dInputGrad as one kind of work: positions of a result read a source through taps.
// The input gradient falls into stride² phases (sub-pixel decomposition), each a stride-1
// convolution of dy with the taps that reach it; the forward pass is a single phase. Include only
// from files compiled for one instruction set.
#pragma once

#include "kernels/conv/window.inl.h"
#include "kernels/params/conv2d.generated.h"
#include "kernels/params/conv2dInputGrad.generated.h"

namespace figment::FIGMENT_ISA::conv {

constexpr int kMaxPhases = 16;

struct Geometry {
  int64_t images, sourceHeight, sourceWidth, sourceChannels;
  int64_t outHeight, outWidth, outChannels;
  int64_t groups, groupIn, groupOut;
  int64_t kernelWidth, kernelTaps;
  bool transposed = false;  ///< the input gradient: K walks the outermost dimension of the weights

  int64_t phasesY = 1, phasesX = 1;
  Axis y[kMaxPhases] = {}, x[kMaxPhases] = {};

  int64_t phases() const { return phasesY * phasesX; }
  const Axis& axisY(int64_t phase) const { return y[phase / phasesX]; }
  const Axis& axisX(int64_t phase) const { return x[phase % phasesX]; }
  int64_t depth(int64_t phase) const { return axisY(phase).taps * axisX(phase).taps * groupIn; }
};

/// What both directions share; `source` and `out` are height, width and channels.
template <class P>
inline Geometry geometryBetween(const P& p, const int64_t (&source)[3], const int64_t (&out)[3]) {
  return {.images = p.n,
          .sourceHeight = source[0],
          .sourceWidth = source[1],
          .sourceChannels = source[2],
          .outHeight = out[0],
          .outWidth = out[1],
          .outChannels = out[2],
          .groups = p.groups,
          .groupIn = source[2] / p.groups,
          .groupOut = out[2] / p.groups,
          .kernelWidth = p.kw,
          .kernelTaps = int64_t(p.kh) * p.kw};
}

/// The forward pass, and the derivative by its weights, which walks the same positions.
template <class P>
inline Geometry forwardGeometry(const P& p) {
  Geometry g = geometryBetween(p, {p.h, p.w, p.c}, {p.ho, p.wo, p.o});
  g.y[0] = forwardAxis(axisShape(p, 0));
  g.x[0] = forwardAxis(axisShape(p, 1));
  return g;
}

inline Geometry geometryOf(const Conv2dParams& p) { return forwardGeometry(p); }

inline Geometry geometryOf(const Conv2dInputGradParams& p) {
  Geometry g = geometryBetween(p, {p.ho, p.wo, p.o}, {p.h, p.w, p.c});
  g.transposed = true;
  g.phasesY = smaller(p.stride[0], p.h);
  g.phasesX = smaller(p.stride[1], p.w);
  for (int64_t i = 0; i < g.phasesY; i++) g.y[i] = inputGradAxis(axisShape(p, 0), i);
  for (int64_t i = 0; i < g.phasesX; i++) g.x[i] = inputGradAxis(axisShape(p, 1), i);
  return g;
}

/// Phases that the stride makes, whatever the size of the image.
constexpr int64_t phasesOf(const Conv2dParams&) { return 1; }
constexpr int64_t phasesOf(const Conv2dInputGradParams& p) {
  return int64_t(p.stride[0]) * p.stride[1];
}

}  // namespace figment::FIGMENT_ISA::conv
