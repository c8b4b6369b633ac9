// The geometry that the fast convolutions share: along each image axis, positions of a grid read a
// source image through taps. A window is a copy of part of the source with its zero padding made
// real, so that the inner loops know neither borders nor strides of the image. Include only from
// files compiled for one instruction set.
#pragma once

#include "kernels/gemm/pack.inl.h"
#include "kernels/kernel.h"

namespace figment::FIGMENT_ISA::conv {

using namespace gemm;  // NOLINT: one vocabulary, three folders

/// Beyond this a single row of the result would need an absurd window (padding far larger than the
/// image): left to the reference.
constexpr double kMaxWindowBytes = 64e6;

/// One axis of a convolution: grid position q reads source position q·sourceStep + offset(t)
/// through tap t and belongs to position outOrigin + q·outStep of the result.
struct Axis {
  int64_t size = 0;  ///< grid positions
  int64_t outOrigin = 0, outStep = 1;
  int64_t sourceStep = 1;
  int64_t taps = 0;
  int64_t firstTap = 0, tapStep = 1;        ///< tap t is this index of the kernel
  int64_t firstOffset = 0, offsetStep = 1;  ///< ascending

  int64_t tap(int64_t t) const { return firstTap + t * tapStep; }
  int64_t offset(int64_t t) const { return firstOffset + t * offsetStep; }
  int64_t lastOffset() const { return offset(taps - 1); }
};

/// Kernel extent, stride, padding and sizes of the convolution along one axis (0 = H, 1 = W).
struct AxisShape {
  int64_t in, out, kernel, stride, padLo, dilation;
};

template <class P>
inline AxisShape axisShape(const P& p, int axis) {
  return {axis == 0 ? p.h : p.w, axis == 0 ? p.ho : p.wo, axis == 0 ? p.kh : p.kw,
          p.stride[axis],        p.padLo[axis],           p.dilation[axis]};
}

/// The forward pass: results are the grid, the image is the source.
inline Axis forwardAxis(const AxisShape& s) {
  return {s.out, 0, 1, s.stride, s.kernel, 0, 1, -s.padLo, s.dilation};
}

inline int64_t greatestCommonDivisor(int64_t a, int64_t b) {
  while (b != 0) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/// The input gradient at image positions ≡ phase (mod stride), phase < min(stride, in): the source
/// is dy, and only kernel indices u with phase + padLo − u·dilation ≡ 0 (mod stride) take part, in
/// steps of stride / gcd(stride, dilation). Position phase + q·stride reads dy[q + (phase + padLo −
/// u·dilation) / stride]; u descends so that the offsets ascend.
inline Axis inputGradAxis(const AxisShape& s, int64_t phase) {
  Axis axis{ceilDiv(s.in - phase, s.stride), phase, s.stride};
  const int64_t common = greatestCommonDivisor(s.stride, s.dilation);
  const int64_t step = s.stride / common;
  const int64_t shifted = phase + s.padLo;
  for (int64_t u = 0; u < smaller(step, s.kernel); u++) {
    if ((shifted - u * s.dilation) % s.stride != 0) continue;
    axis.taps = ceilDiv(s.kernel - u, step);
    axis.firstTap = u + (axis.taps - 1) * step;
    axis.tapStep = -step;
    axis.firstOffset = (shifted - axis.firstTap * s.dilation) / s.stride;
    axis.offsetStep = s.dilation / common;
    break;
  }
  return axis;
}

/// The source positions [lo, hi) that a window covers along one axis.
struct Span {
  int64_t lo = 0, hi = 0;
  int64_t size() const { return hi - lo; }
  /// What grid positions [begin, end) of `axis` read.
  static Span of(const Axis& axis, int64_t begin, int64_t end) {
    if (axis.taps == 0 || end <= begin) return {};
    return {begin * axis.sourceStep + axis.firstOffset,
            (end - 1) * axis.sourceStep + axis.lastOffset() + 1};
  }
  Span joined(const Span& other) const {
    if (size() == 0) return other;
    if (other.size() == 0) return *this;
    return {smaller(lo, other.lo), larger(hi, other.hi)};
  }
  bool inside(int64_t size) const { return lo >= 0 && hi <= size; }
};

/// Groups of so few channels that the lanes of a vector are better filled with the results of many
/// groups: `in` channels of the source meet `out` channels of the result in each.
inline bool fewToAGroup(int64_t groups, int64_t in, int64_t out) {
  constexpr int64_t kMostIn = 4;
  return groups > 1 && in <= kMostIn && out * 2 <= kLanes;
}

/// A source image batch [·, height, width, channels].
struct Source {
  Elements data;
  int64_t height, width, channels;
  /// Where the channels of the result are lanes: how many of the source and of the result form a
  /// group. A pixel of the window then holds, for each of the `laneIn`, what every result meets.
  int64_t laneIn = 1, laneOut = 1;

  int64_t pixelFloats() const { return channels * laneOut; }
  bool plain() const { return laneIn == 1 && laneOut == 1; }
  /// A pixel as it stands in the window.
  void copyPixel(Elements from, float* to) const {
    if (plain()) return widen(to, from, channels);
    for (int64_t k = 0; k < laneIn; k++)
      for (int64_t at = k; at < channels; at += laneIn)
        for (int64_t i = 0; i < laneOut; i++) *to++ = loadElement(from, at);
  }
};

/// Copies rows × columns of `images` images from `firstImage` on into `window`, zero outside the
/// image, with `pixelStep` floats between neighbours. The floats between pixels stay undefined.
inline void fillWindow(const Source& source, int64_t firstImage, int64_t images, const Span& rows,
                       const Span& columns, int64_t pixelStep, float* window) {
  const int64_t channels = source.channels;
  const int64_t rowFloats = columns.size() * pixelStep;
  const int64_t from = smaller(larger(columns.lo, 0), columns.hi);
  const int64_t to = larger(smaller(columns.hi, source.width), from);
  for (int64_t image = firstImage; image < firstImage + images; image++) {
    for (int64_t y = rows.lo; y < rows.hi; y++, window += rowFloats) {
      if (y < 0 || y >= source.height || from >= to) {
        zeroFloats(window, rowFloats);
        continue;
      }
      const Elements row =
          source.data + ((image * source.height + y) * source.width + from) * channels;
      float* at = window + (from - columns.lo) * pixelStep;
      zeroFloats(window, (from - columns.lo) * pixelStep);
      if (source.plain() && pixelStep == channels)
        widen(at, row, (to - from) * channels);
      else
        for (int64_t x = from; x < to; x++)
          source.copyPixel(row + (x - from) * channels, at + (x - from) * pixelStep);
      zeroFloats(window + (to - columns.lo) * pixelStep, (columns.hi - to) * pixelStep);
    }
  }
}

template <class P>
inline bool plainShape(const OpCall& call, const P& p) {
  return tileFormats(call, call.inCount) && p.n > 0 && p.h > 0 && p.w > 0 && p.c > 0 && p.ho > 0 &&
         p.wo > 0 && p.o > 0;
}

/// True when the windows and packed weights stay within reason. Judged in floating point: nothing
/// here is bounded by memory yet.
template <class P>
inline bool reasonable(const P& p) {
  const double height = double(p.dilation[0]) * (p.kh - 1) + p.stride[0] + 1;
  const double width = double(p.w) + p.padLo[1] + p.padHi[1] + double(p.wo) +
                       double(p.dilation[1]) * (p.kw - 1) + p.stride[1];
  const int64_t in = p.c / p.groups, out = p.o / p.groups;
  const bool spread = fewToAGroup(p.groups, in, out) || fewToAGroup(p.groups, out, in);
  const double pixel = double(larger(p.c, p.o)) * double(spread ? larger(in, out) : 1) + kLanes;
  return height * width * pixel * 4 <= kMaxWindowBytes;
}

}  // namespace figment::FIGMENT_ISA::conv
