// randomCategorical as on the CPU, to the bit (native/src/kernels/categorical): weights exp(logit −
// highest) in f32, their running sums in f64 at the end of each chunk of 256, sixteen sums side by
// side, and for each draw the first place where the sum passes u times the total.
#pragma once

#include "../../device/philox.h"
#include "kernels/params/randomCategorical.generated.h"

namespace figment::cuda {

constexpr int64_t kChunk = 256;
constexpr int kSums = 16;

inline int64_t chunksOf(const RandomCategoricalParams& p) { return ceilDiv(p.cols, kChunk); }

#ifdef FIGMENT_KERNELS

/// e^x by the CPU's polynomial (simd/math.h).
FIGMENT_DEVICE float expSpecified(float x) {
  x = -104.0f > x ? -104.0f : x;  // in this order of operands NaN stays NaN
  x = 89.0f < x ? 89.0f : x;
  const float shifter = 12582912.0f;
  const float shifted = __fmaf_rn(x, 1.44269504f, shifter);
  const float n = __fsub_rn(shifted, shifter);
  const int32_t exponent = int32_t(floatToBits(shifted) - floatToBits(shifter));
  float r = __fmaf_rn(-n, 0.693359375f, x);
  r = __fmaf_rn(-n, -2.12194440e-4f, r);
  const float p = polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                             4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f);
  const float e = __fadd_rn(__fmaf_rn(p, __fmul_rn(r, r), r), 1.0f);
  const int32_t half = exponent >> 1;
  const float first = bitsToFloat(uint32_t(half + 127) << 23);
  const float second = bitsToFloat(uint32_t(exponent - half + 127) << 23);
  return __fmul_rn(__fmul_rn(e, first), second);
}

FIGMENT_DEVICE float weightOf(float logit, float highest) {
  return expSpecified(__fsub_rn(logit, highest));
}

/// The larger, NaN where either is.
FIGMENT_DEVICE float higher(float a, float b) { return a != a || b <= a ? a : b; }

/// A number in [0, 1) of 53 random bits.
FIGMENT_DEVICE double uniform53(uint64_t word) { return double(word >> 11) * 0x1p-53; }

/// The chunk whose running sum is the first to pass `target`, or the last.
FIGMENT_DEVICE int64_t chunkAt(const Global<const double>& running, int64_t chunks, double target) {
  int64_t chunk = 0, last = chunks - 1;
  while (chunk < last) {
    const int64_t middle = (chunk + last) / 2;
    if (running[middle] > target)
      last = middle;
    else
      chunk = middle + 1;
  }
  return chunk;
}

#endif

}  // namespace figment::cuda
