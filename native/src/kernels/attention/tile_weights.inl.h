// Scores of a unit to packed factors: what stands between the products of attention on matrix
// tiles. Include only from files compiled for one instruction set.
#pragma once

#include "tile_heads.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Weights of a unit whose rows are queries.
template <int kParts>
struct Weigher {
  const float *score, *shift;
  float* total;      ///< [kUnit, kLanes] sums of weights
  uint16_t* weight;  ///< packed rows
  float factor;
  Sight sight;  ///< from the unit's first query and key on

  /// Those of some rows, which are added to the totals. kPlain: all queries see all keys, and
  /// shifts are so small that the least bit of the product with the factor does not matter.
  template <bool kPlain>
  FIGMENT_INLINE void weigh(int64_t from, int64_t to) const {
    const F32 factors = F32::broadcast(factor);
    for (int64_t row = from; row < to; row++) {
      const F32 shifts = F32::broadcast(-shift[row]);
      F32 sum = F32::load(total + row * kLanes);
      for (int64_t j = 0; j < kSide; j += kLanes) {
        const float* x = score + row * kUnit + j;
        const auto weightOf = [&](const float* of) {
          return exp2ByFloor(kPlain ? fma(F32::load(of), factors, shifts)
                                    : F32::load(of) * factors + shifts);
        };
        F32 low = weightOf(x), high = weightOf(x + kSide);
        if constexpr (!kPlain) {
          const I32 left = I32::broadcast(sight.within(row) - int32_t(j)) - I32::iota();
          low = blend(gt(left, I32::zero()), low, F32::zero());
          high = blend(gt(left, I32::broadcast(int32_t(kSide))), high, F32::zero());
        }
        sum += low + high;
        storePairs(weight + row * kTileDepth + 2 * j, kPair, WeightBits<kParts>(low),
                   WeightBits<kParts>(high));
      }
      sum.store(total + row * kLanes);
    }
  }
};

/// Which queries see the keys of a unit whose rows are keys.
struct KeySight {
  int64_t keys;       ///< that count
  int64_t firstSees;  ///< the first query that sees the first key,
  int64_t later;      ///< and by how much later each further key is seen

  /// Of the queries from `query` on.
  FIGMENT_INLINE Mask sees(int64_t key, int64_t query) const {
    const int64_t unseen = key < keys ? firstSees + key * later - query : kUnit;
    return gt(I32::iota(), I32::broadcast(int32_t(unseen) - 1));
  }
};

/// The largest scores of a unit's queries, in units of log 2, and sums of their weights, as units
/// of keys come by.
template <int kParts>
struct ScoreSums {
  float *highest, *total;  ///< of the queries

  void add(const float* score, float factor, const KeySight& sight) const {
    for (int64_t j = 0; j < kUnit; j += kLanes) {
      const auto scoreOf = [&](int64_t row) {
        return blend(sight.sees(row, j),
                     F32::load(score + row * kUnit + j) * F32::broadcast(factor),
                     F32::broadcast(-__builtin_inff()));
      };
      const F32 earlier = F32::load(highest + j);
      F32 top = earlier;
      for (int64_t row = 0; row < kUnit; row++) top = max(scoreOf(row), top);
      top.store(highest + j);
      // A query that has seen no finite score yet keeps weights of 0 instead of NaN.
      const F32 shift = blend(eq(top, F32::broadcast(-__builtin_inff())), F32::zero(), top);
      F32 sum = F32::load(total + j) * exp2ByFloor(earlier - shift);
      for (int64_t row = 0; row < kUnit; row++) sum += exp2ByFloor(scoreOf(row) - shift);
      sum.store(total + j);
    }
  }
};

/// Weights and score gradients of a unit whose rows are keys.
template <int kParts>
struct GradWeigher {
  const float *score, *grad;     ///< k·qᵀ and v·doutᵀ
  const float *lse, *dot;        ///< of the queries, negated
  const float* share;            ///< by which their weights are multiplied
  uint16_t *weight, *scoreGrad;  ///< packed rows
  uint16_t* scoreGradColumns;    ///< packed columns
  float factor;
  KeySight sight;

  using Bits = WeightBits<kParts>;
  struct Weighed {
    F32 weight, grad;
  };

  /// Those of some rows and of the ones 16 below. kPlain: all queries see all keys, and shares
  /// are 1.
  template <bool kPlain>
  FIGMENT_INLINE void weigh(int64_t from, int64_t to) const {
    for (int64_t line = from; line < to; line++) {
      for (int64_t j = 0; j < kSide; j += kLanes) {
        const Pairs upper = weighRow<kPlain>(line, j), lower = weighRow<kPlain>(line + kSide, j);
        uint16_t* columns = scoreGradColumns + line * kTileDepth + 2 * j;
        storePairs(columns, kPair, upper.low, lower.low);
        storePairs(columns + kTile, kPair, upper.high, lower.high);
      }
    }
  }

 private:
  /// Score gradients of a row at both halves of its queries.
  struct Pairs {
    Bits low, high;
  };

  template <bool kPlain>
  FIGMENT_INLINE Pairs weighRow(int64_t row, int64_t j) const {
    const Weighed low = weighed<kPlain>(row, j), high = weighed<kPlain>(row, j + kSide);
    const int64_t at = row * kTileDepth + 2 * j;
    storePairs(weight + at, kPair, Bits(low.weight), Bits(high.weight));
    const Pairs grads{Bits(low.grad), Bits(high.grad)};
    storePairs(scoreGrad + at, kPair, grads.low, grads.high);
    return grads;
  }

  template <bool kPlain>
  FIGMENT_INLINE Weighed weighed(int64_t row, int64_t query) const {
    const int64_t at = row * kUnit + query;
    const F32 s = F32::load(score + at), factors = F32::broadcast(factor);
    const F32 shift = F32::load(lse + query);
    F32 w = exp2ByFloor(kPlain ? fma(s, factors, shift) : s * factors + shift);
    if constexpr (!kPlain) w *= F32::load(share + query);
    F32 g = w * (F32::load(grad + at) + F32::load(dot + query));
    if constexpr (!kPlain) {
      const Mask seen = sight.sees(row, query);
      w = blend(seen, w, F32::zero());
      g = blend(seen, g, F32::zero());
    }
    return {w, g};
  }
};

}  // namespace figment::FIGMENT_ISA::tiles
