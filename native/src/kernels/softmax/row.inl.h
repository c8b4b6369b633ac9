// One row at a time: its maximum and the sum of its exponentials, shared by softmax and cross
// entropy. Sums run in four interleaved vectors, so their order follows from the row's length.
#pragma once

#include "../norm/isa_variant.h"
#include "fast_exp.h"

namespace figment::FIGMENT_ISA {

constexpr int kRowVectors = 4;
constexpr float kLowest = -__builtin_inff();

/// The last count lanes replaced by `filler`, which keeps them out of a reduction.
FIGMENT_INLINE F32 loadFilled(const float* p, int lanes, float filler) {
  if (lanes == kLanes) return F32::load(p);
  const Mask inside = lt(I32::iota(), I32::broadcast(lanes));
  return blend(inside, F32::loadPartial(p, lanes), F32::broadcast(filler));
}

/// The largest element; a NaN may or may not surface, the sum below always shows it.
inline float rowMaximum(const float* x, int64_t cols) {
  F32 highest[kRowVectors];
  for (F32& h : highest) h = F32::broadcast(kLowest);
  int64_t i = 0;
  for (; i + kRowVectors * kLanes <= cols; i += kRowVectors * kLanes)
    for (int v = 0; v < kRowVectors; v++)
      highest[v] = max(F32::load(x + i + v * kLanes), highest[v]);
  for (; i < cols; i += kLanes)
    highest[0] = max(loadFilled(x + i, int(smaller(kLanes, cols - i)), kLowest), highest[0]);
  return reduceMax(max(max(highest[0], highest[1]), max(highest[2], highest[3])));
}

/// Σ exp(x − highest); the terms are written to y unless it is null.
template <bool kWrite>
inline float rowExponentials(const float* x, float highest, float* y, int64_t cols) {
  const F32 shift = F32::broadcast(highest);
  F32 sum[kRowVectors];
  for (F32& s : sum) s = F32::zero();
  int64_t i = 0;
  for (; i + kRowVectors * kLanes <= cols; i += kRowVectors * kLanes) {
    for (int v = 0; v < kRowVectors; v++) {
      const F32 e = expNonPositive(F32::load(x + i + v * kLanes) - shift);
      if (kWrite) e.store(y + i + v * kLanes);
      sum[v] += e;
    }
  }
  for (; i < cols; i += kLanes) {
    const int lanes = int(smaller(kLanes, cols - i));
    const F32 e = expNonPositive(loadFilled(x + i, lanes, kLowest) - shift);
    if (kWrite) storeLanes(y + i, e, lanes);
    // A lane past the end holds exp(−∞ − highest), which is NaN where highest is −∞.
    sum[0] += blend(lt(I32::iota(), I32::broadcast(lanes)), e, F32::zero());
  }
  return reduceAdd((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/// Rows per task, about 16 Ki elements.
constexpr int64_t rowGrain(int64_t cols) { return larger(1, 16384 / larger(1, cols)); }

}  // namespace figment::FIGMENT_ISA
