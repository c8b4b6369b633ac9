// What the implementations of randomCategorical share: the cut of a row, and the report of a row
// that has no distribution.
#pragma once

#include "../kernel.h"
#include "../params/randomCategorical.generated.h"
#include "../random/block.h"

namespace figment::categorical {

/// Weights that are summed together; the sums before each chunk are what a draw is looked up in.
constexpr int64_t kChunk = 256;
/// Sums of a chunk that run side by side, whatever the lanes.
constexpr int kSums = 16;

FIGMENT_ALWAYS_INLINE int64_t chunksOf(const RandomCategoricalParams& p) {
  return (p.cols + kChunk - 1) / kChunk;
}

/// Adds the sums pairwise: always in this order.
FIGMENT_ALWAYS_INLINE double foldSums(double (&sums)[kSums]) {
  for (int width = kSums / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) sums[i] += sums[i + width];
  return sums[0];
}

/// A number in [0, 1) of 53 random bits.
FIGMENT_ALWAYS_INLINE double uniform53(uint64_t word) { return double(word >> 11) * 0x1p-53; }

/// The first place whose running sum passes `target`: `running` are the sums up to the end of each
/// chunk, and weightsOf(chunk, out) gives a chunk's weights and their number.
template <class F>
FIGMENT_ALWAYS_INLINE int64_t placeOf(const double* running, int64_t chunks, double target,
                                      F&& weightsOf) {
  int64_t chunk = 0, last = chunks - 1;
  while (chunk < last) {
    const int64_t middle = (chunk + last) / 2;
    if (running[middle] > target)
      last = middle;
    else
      chunk = middle + 1;
  }
  float weights[kChunk];
  const int64_t count = weightsOf(chunk, weights);
  double sum = chunk > 0 ? running[chunk - 1] : 0;
  int64_t place = 0;  // the last with a weight, should rounding keep the sum below
  for (int64_t i = 0; i < count; i++) {
    if (!(weights[i] > 0)) continue;
    place = i;
    sum += double(weights[i]);
    if (sum > target) break;
  }
  return chunk * kChunk + place;
}

/// Reports the first row whose weights have no positive finite sum.
bool rowsHaveDistributions(Context& context, const double* running, int64_t rows, int64_t chunks);

}  // namespace figment::categorical
