// What a thread of a warpgroup holds of the derivative of attention: scores and their derivatives,
// 64 own rows against a block of others, and the sums of its results. See flash_grad_wgmma.h.
// Include from *.sm90a.cu files only.
#pragma once

#include "../../device/instructions.h"
#include "problem.h"
#include "wgmma_tiles.h"

namespace figment::cuda::flash_grad_wgmma {

/// Whose derivatives a block of threads makes.
enum class Side { queries, keys };

template <int kDim, Side kSide>
struct Sizes {
  static constexpr bool kOfKeys = kSide == Side::keys;
  static constexpr int kOwnRows = 128;  ///< 64 to a warpgroup
  /// Rows of a block of others: what 240 registers hold two tiles of scores of, beside the sums.
  static constexpr int kOtherRows = kOfKeys || kDim > 80 ? 64 : 128;
  /// Registers hold own rows too, so that products of 64 columns read shared memory at half its
  /// rate.
  static constexpr bool kHeld = kOfKeys && kDim <= 64;
  /// Products are begun together with those of the next block's scores, while the other warpgroup
  /// makes weights and derivatives. Wider heads are slower so.
  static constexpr bool kAhead = kDim <= 64;
  using Own = wgmma_tiles::Tile<kOwnRows, kDim>;
  using Others = wgmma_tiles::Tile<kOtherRows, kDim>;
};

template <class T, int kDim, Side kSide>
struct Sums {
  using Size = Sizes<kDim, kSide>;
  using Own = typename Size::Own;
  using Others = typename Size::Others;
  static constexpr bool kOfKeys = Size::kOfKeys;
  static constexpr int kOthers = Size::kOtherRows;
  static constexpr int kSteps = ceilDiv(kDim, 16);  ///< along a head
  using Scores = float[kOthers / 2];
  using Factor = uint32_t[kOthers / 16][4];
  using Held = uint32_t[Size::kHeld ? kSteps : 1][4];

  float first[kDim / 2];                 ///< dq or dk, without its scale
  float second[kOfKeys ? kDim / 2 : 1];  ///< dv
  Scores weight;                         ///< scores, then weights
  Scores grad;                           ///< by weights, then by scores
  Factor weights, grads;                 ///< the same, rounded
  Held x1, x2;                           ///< own rows, where they are held
  /// Of own rows g and g + 8, where those are queries: their Softmax, and Σ out·dout.
  float shift[2], base[2], dot[2];

  FIGMENT_DEVICE void clear() {
    FIGMENT_UNROLL
    for (float& sum : first) sum = 0;
    FIGMENT_UNROLL
    for (float& sum : second) sum = 0;
    FIGMENT_UNROLL
    for (int i = 0; i < kOthers / 2; i++) weight[i] = grad[i] = 0;
  }

  /// Own rows g and g + 8 of a head, zeros from row `end` on, as a left factor.
  FIGMENT_DEVICE static void hold(Held& to, const Global<const T>& head, int row, int end,
                                  const AttentionProblem& p) {
    const int column = laneInWarp() % 4 * 2;
    FIGMENT_UNROLL
    for (int step = 0; step < kSteps; step++) {
      FIGMENT_UNROLL
      for (int i = 0; i < 4; i++) {
        const int r = row + i % 2 * 8, c = step * 16 + i / 2 * 8 + column;
        const bool there = r < end && c < int(p.d);
        to[step][i] = there ? head.template load<uint32_t>(r * p.rowStride() + c) : 0;
      }
    }
  }
  /// Begins own·othersᵀ, with own rows held or in a tile.
  FIGMENT_DEVICE static void begin(Scores& sum, const Held& held, uint32_t own, uint32_t others) {
    hopper::beginProducts();
    FIGMENT_UNROLL
    for (int step = 0; step < kSteps; step++) {
      const uint64_t b = Others::along(others, step);
      if constexpr (Size::kHeld)
        hopper::multiplyHeldAlong<T>(sum, held[step], b, step > 0);
      else
        hopper::multiplyAlong<T>(sum, Own::along(own, step), b, step > 0);
    }
    hopper::commitProducts();
  }
  /// Begins to add factor·others.
  template <int count>
  FIGMENT_DEVICE static void add(float (&sum)[count], const Factor& factor, uint32_t others) {
    hopper::beginProducts();
    const uint64_t b = hopper::operandAt(others, Others::kGroupBytes);
    FIGMENT_UNROLL
    for (int step = 0; step < kOthers / 16; step++)
      hopper::multiplyHeld<T>(sum, factor[step], b + step * hopper::kOperandStep<true>);
    hopper::commitProducts();
  }

  /// Scores become relative to the bases of queries. Here and below columns are those of the
  /// others, where they are queries.
  FIGMENT_DEVICE void subtractBases(const Shared<float>& bases) {
    eachWith(bases, base, [&](int i, float of) { weight[i] -= of; });
  }
  /// Scores become weights 2^(factor·score − shift).
  FIGMENT_DEVICE void weigh(float factor, const Shared<float>& shifts) {
    eachWith(shifts, shift,
             [&](int i, float of) { weight[i] = exp2Fast(__fmaf_rn(weight[i], factor, -of)); });
  }
  /// Derivatives by weights become those by scores.
  FIGMENT_DEVICE void differentiate(const Shared<float>& dots) {
    eachWith(dots, dot, [&](int i, float of) { grad[i] = weight[i] * (grad[i] - of); });
  }
  /// Of own row g + 8r the others from from[r] on and before to[r] count.
  FIGMENT_DEVICE static void hide(Scores& values, const int (&from)[2], const int (&to)[2]) {
    const int column = laneInWarp() % 4 * 2;
    FIGMENT_UNROLL
    for (int n = 0; n < kOthers / 8; n++) {
      FIGMENT_UNROLL
      for (int e = 0; e < 4; e++) {
        const int place = n * 8 + column + e % 2;
        if (place < from[e / 2] || place >= to[e / 2]) values[4 * n + e] = 0;
      }
    }
  }
  FIGMENT_DEVICE static void round(Factor& to, const Scores& values) {
    FIGMENT_UNROLL
    for (int step = 0; step < kOthers / 16; step++) {
      FIGMENT_UNROLL
      for (int i = 0; i < 4; i++)
        to[step][i] = packPair<T>(values[8 * step + 2 * i], values[8 * step + 2 * i + 1]);
    }
  }

 private:
  /// f(which score, what its query has): of this thread's two of eight columns, or own rows.
  template <class F>
  FIGMENT_DEVICE static void eachWith(const Shared<float>& columns, const float (&rows)[2], F&& f) {
    FIGMENT_UNROLL
    for (int n = 0; n < kOthers / 8; n++) {
      float2 pair = make_float2(0, 0);
      if constexpr (kOfKeys) pair = columns.template load<float2>(n * 8 + laneInWarp() % 4 * 2);
      FIGMENT_UNROLL
      for (int e = 0; e < 4; e++) f(4 * n + e, kOfKeys ? (e % 2 ? pair.y : pair.x) : rows[e / 2]);
    }
  }
};

}  // namespace figment::cuda::flash_grad_wgmma
