// randomCategorical as on the CPU, to the bit (native/src/kernels/categorical): weights exp(logit −
// highest) in f32, their running sums in f64 at the end of each chunk of 256, sixteen sums side by
// side, and for each draw the first place where the sum passes u times the total.
#pragma once

#include "../../device/philox.h"
#include "../../runtime/launcher.h"
#include "kernels/params/randomCategorical.generated.h"

namespace figment::cuda {

constexpr int64_t kChunk = 256;
constexpr int kSums = 16;

inline int64_t chunksOf(const RandomCategoricalParams& p) { return ceilDiv(p.cols, kChunk); }

/// What every variant keeps in its scratch: a running sum for each row and chunk, then each row's
/// highest logit.
size_t categoricalBytes(const OpCall& call, int);
Global<double> runningSums(const OpCall& call, const Launcher& launcher);
Global<float> highestLogits(const OpCall& call, const Launcher& launcher);

/// Draws from the running sums, and writes the next state. Rows without a distribution give any
/// place.
void drawPlaces(const OpCall& call, Launcher& launcher);

#ifdef FIGMENT_KERNELS

/// e^x by the CPU's polynomial (simd/math.h), which needs no special function of the processor.
FIGMENT_DEVICE float expSpecified(float logit) {
  const Number x(logit < -104.0f ? -104.0f : logit > 89.0f ? 89.0f : logit);  // NaN stays NaN
  const Number shifter(12582912.0f);
  const Number shifted = fma(x, Number(1.44269504f), shifter);
  const Number n = shifted - shifter;
  const Whole exponent = asInt(shifted) - asInt(shifter);
  Number r = fma(-n, Number(0.693359375f), x);
  r = fma(-n, Number(-2.12194440e-4f), r);
  const Number p = sequences::polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                         4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f);
  const Number e = fma(p, r * r, r) + Number(1.0f);
  // Two factors, so that neither leaves the exponent's range.
  const Whole half = sar(exponent, 1), bias(127);
  return (e * asFloat(shl(half + bias, 23)) * asFloat(shl(exponent - half + bias, 23))).value;
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
