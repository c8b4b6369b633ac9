// What attention asks of the rows of its operands before it multiplies them. Include only from
// files compiled for one instruction set.
#pragma once

#include <initializer_list>

#include "../gemm/elements.inl.h"
#include "../norm/isa_variant.h"
#include "../simd/fold.h"
#include "lengths.h"

namespace figment::FIGMENT_ISA {

/// Whether numbers have been met that do not suit, by any worker.
class Unsuited {
 public:
  FIGMENT_INLINE void note(bool suits) {
    if (!suits) __atomic_store_n(&met_, true, __ATOMIC_RELAXED);
  }
  FIGMENT_INLINE bool met() const { return __atomic_load_n(&met_, __ATOMIC_RELAXED); }

 private:
  bool met_ = false;
};

/// Whether `count` rows of d numbers hold neither NaN nor infinities.
inline bool allFinite(gemm::Elements rows, int64_t stride, int64_t count, int64_t d) {
  F32 zero = F32::zero();
  for (int64_t i = 0; i < count; i++)
    forLanes(d, [&](int64_t e, int lanes) {
      zero += gemm::loadElements(rows + (i * stride + e), lanes) * F32::zero();
    });
  return !any(isNan(zero));
}

/// The same of operands [b, positions, stride], by all workers: of the positions that count.
inline bool allFinite(const OpCall& call, std::initializer_list<int> inputs, int64_t batches,
                      const KeyLengths& counts, int64_t stride, Context& context) {
  constexpr int64_t kGrain = 32;
  const int64_t positions = counts.most;
  Unsuited unsuited;
  for (const int input : inputs) {
    const auto rows = gemm::Elements::of(call.in[input]);
    context.parallelFor(batches * positions, kGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++)
        if (i % positions < counts.of(i / positions))
          unsuited.note(allFinite(rows + i * stride, stride, 1, stride));
    });
  }
  return !unsuited.met();
}

/// Σ a·b of two rows.
FIGMENT_INLINE float dotRows(gemm::Elements a, gemm::Elements b, int64_t d) {
  F32 sum = F32::zero();
  forLanes(d, [&](int64_t e, int lanes) {
    sum = mulAdd(gemm::loadElements(a + e, lanes), gemm::loadElements(b + e, lanes), sum);
  });
  return reduceAdd(sum);
}

/// The largest |x|² of `count` rows; NaN if any has one.
inline float largestSquare(gemm::Elements rows, int64_t stride, int64_t count, int64_t d) {
  struct Add {
    static FIGMENT_INLINE F32 apply(F32 a, F32 b) { return a + b; }
    static FIGMENT_INLINE float apply(float a, float b) { return a + b; }
  };
  constexpr int64_t kRows = 4;
  F32 largest = F32::zero();
  for (int64_t i = 0; i < count; i += kRows) {
    F32 sums[kRows];
    for (int64_t r = 0; r < kRows; r++) {
      const gemm::Elements row = rows + smaller(i + r, count - 1) * stride;
      sums[r] = F32::zero();
      forLanes(d, [&](int64_t e, int lanes) {
        const F32 x = gemm::loadElements(row + e, lanes);
        sums[r] = mulAdd(x, x, sums[r]);
      });
    }
    float squares[kLanes] = {};
    foldFour<Add>(sums, squares);
    largest = maximum(largest, F32::load(squares));
  }
  return any(isNan(largest)) ? __builtin_nanf("") : reduceMax(largest);
}

/// Whether scores of queries and keys of such |x|² are certainly between ± most. False for NaN.
FIGMENT_INLINE bool scoresWithin(float most, float querySquare, float keySquare, float factor) {
  return __builtin_sqrtf(querySquare * keySquare) * __builtin_fabsf(factor) <= most;
}

/// Scores between ± this, in units of log 2, give weights 2^(score − lse) that are right to 1e-5:
/// a score and lse are each rounded at their size, and not in the order in which the forward pass
/// summed. Weights of larger scores are divided by their own sum.
constexpr float kTrustedScores = 64;

}  // namespace figment::FIGMENT_ISA
