// Blocks of a convolution of split factors that tiles cannot multiply, because a factor holds
// numbers that are not finite or too far apart: by fused multiply-adds. Include only from files
// compiled for one instruction set.
#pragma once

#include "kernels/conv/tile_product.inl.h"

namespace figment::FIGMENT_ISA::tiles::implicit {

/// Steps of K that are widened at a time.
constexpr int64_t kPlainSteps = 8, kPlainDepth = kPlainSteps * kTileDepth;

struct PlainScratch {
  float *rows, *columns, *sums, *total;
  static PlainScratch take(gemm::Carver& carver) {
    PlainScratch s;
    s.rows = carver.take<float>(kBlock * kPlainDepth);
    s.columns = carver.take<float>(kBlock * kPlainDepth);
    s.sums = carver.take<float>(kBlock * kBlock);
    s.total = carver.take<float>(kBlock * kBlock);
    return s;
  }
};

/// Widens what the position of the result at `place` reads in a step of K.
inline void widenStep(const TilePlan& g, int64_t phase, int64_t group, int64_t place, int64_t step,
                      float* to) {
  gemm::zeroFloats(to, kTileDepth);
  if (place < 0) return;
  const conv::Axis &y = g.axisY(phase), &x = g.axisX(phase);
  const int64_t pixel = place / g.outChannels;
  const int64_t image = pixel / g.outWidth / g.outHeight;
  const int64_t atY = (pixel / g.outWidth % g.outHeight - y.outOrigin) / y.outStep;
  const int64_t atX = (pixel % g.outWidth - x.outOrigin) / x.outStep;
  const auto [first, count] = g.runOf(phase, step);
  for (int64_t done = 0; done < count;) {
    const int64_t tap = (first + done) / g.groupIn, channel = (first + done) % g.groupIn;
    const int64_t run = smaller(count - done, g.groupIn - channel);
    const int64_t sourceY = atY * y.sourceStep + y.offset(tap / x.taps);
    const int64_t sourceX = atX * x.sourceStep + x.offset(tap % x.taps);
    if (sourceY >= 0 && sourceY < g.sourceHeight && sourceX >= 0 && sourceX < g.sourceWidth) {
      const int64_t from = (image * g.sourceHeight + sourceY) * g.sourceWidth + sourceX;
      gemm::widen(to + done, g.source + (from * g.sourceChannels + group * g.groupIn + channel),
                  run);
    }
    done += run;
  }
}

/// The sums of two tiles of rows by a panel, as blocks have them.
inline void multiplyPlainly(const TilePlan& g, int64_t phase, int64_t group, int64_t panel,
                            const int64_t* places, int64_t rows, const PlainScratch& s,
                            float* sums) {
  const WeightPacker weights(g, phase, group, panel);
  gemm::zeroFloats(s.total, kBlock * kBlock);
  for (int64_t first = 0; first < g.steps(phase); first += kPlainSteps) {
    const int64_t steps = smaller(kPlainSteps, g.steps(phase) - first), depth = steps * kTileDepth;
    for (int64_t step = 0; step < steps; step++) {
      weights.widenRows(s.columns + step * kTileDepth * kBlock, first + step);
      for (int64_t row = 0; row < kBlock; row++)
        widenStep(g, phase, group, row < rows ? places[row] : -1, first + step,
                  s.rows + row * depth + step * kTileDepth);
    }
    split::multiplyPlainly(s.rows, s.columns, depth, s.sums);
    for (int64_t i = 0; i < kBlock * kBlock; i += kLanes)
      (F32::load(s.total + i) + F32::load(s.sums + i)).store(s.total + i);
  }
  const int64_t width = g.columnTilesOf(panel) * kSide;
  for (int64_t row = 0; row < rows; row++)
    __builtin_memcpy(sums + row * width, s.total + row * kBlock, size_t(width) * sizeof *sums);
}

}  // namespace figment::FIGMENT_ISA::tiles::implicit
