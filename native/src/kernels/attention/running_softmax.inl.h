// The running softmax of a tile of queries over blocks of keys (Milakov & Gimelshein, 2018),
// queries across the lanes. Scores are in units of log 2. Include only from files compiled for one
// instruction set.
#pragma once

#include "panel.inl.h"

namespace figment::FIGMENT_ISA {

/// Which queries of a tile see the keys of a block.
struct BlockSight {
  int64_t firstSeeing;  ///< lane of the first query that sees key 0 of the block
  bool masked;          ///< whether some do not see all

  /// Scores, or their like, of a key; `hidden` in the lanes that do not see it.
  FIGMENT_INLINE F32 hide(F32 score, int64_t key, int lane, float hidden) const {
    if (!masked) return score;
    const int64_t least = smaller(larger(firstSeeing + key - lane, 0), kLanes);
    return blend(lt(I32::iota(), I32::broadcast(int32_t(least))), F32::broadcast(hidden), score);
  }
};

/// Of a tile of queries. `lanes`: [3, kTileQueries].
struct RunningSoftmax {
  float* score;    ///< [kBlockKeys, lanes]: scores of a block, then its weights
  float* highest;  ///< [lanes] running maximum
  float* total;    ///< [lanes] running sum of weights
  float* rescale;  ///< [lanes] what the last block made of earlier weights

  RunningSoftmax(float* score, float* lanes)
      : score(score),
        highest(lanes),
        total(highest + kTileQueries),
        rescale(total + kTileQueries) {}

  void begin() const {
    for (int64_t i = 0; i < kTileQueries; i++) {
      highest[i] = -__builtin_inff();
      total[i] = 0;
    }
  }

  /// Weights of a block of keys.
  template <int L>
  void weigh(const float* keys, int64_t stride, int64_t count, const float* query, int64_t d,
             const BlockSight& sight) const {
    float earlier[kTileQueries];
    for (int64_t i = 0; i < L * kLanes; i++) earlier[i] = highest[i];
    multiplyPanel<L, Order::byRow>(count, keys, stride, query, kTileQueries, d,
                                   KeepScores{score, highest, sight});
    weighBlock<L>(earlier, count);
  }

 private:
  /// Stores a block's scores, hiding unseen keys, and raises each lane's maximum.
  struct KeepScores {
    float* score;
    float* highest;
    BlockSight sight;

    template <int R, int L>
    FIGMENT_INLINE void operator()(int64_t row, F32 (&sum)[R][L]) const {
      for (int l = 0; l < L; l++) {
        F32 top = F32::load(highest + l * kLanes);
        for (int r = 0; r < R; r++) {
          sum[r][l] = sight.hide(sum[r][l], row + r, l * kLanes, -__builtin_inff());
          sum[r][l].store(score + (row + r) * kTileQueries + l * kLanes);
          top = max(sum[r][l], top);
        }
        top.store(highest + l * kLanes);
      }
    }
  };

  /// Turns a block's scores into weights 2^(score − maximum) and updates total and rescale.
  template <int L>
  void weighBlock(const float* earlierHighest, int64_t keys) const {
    F32 shift[L], sum[L];
    for (int l = 0; l < L; l++) {
      const F32 top = F32::load(highest + l * kLanes);
      const F32 lowest = F32::broadcast(-__builtin_inff());
      // A lane that has seen no finite score yet keeps weights of 0 instead of NaN.
      shift[l] = blend(eq(top, lowest), F32::zero(), top);
      exp2Bounded(F32::load(earlierHighest + l * kLanes) - shift[l]).store(rescale + l * kLanes);
      sum[l] = F32::zero();
    }
    for (int64_t j = 0; j < keys; j++) {
      for (int l = 0; l < L; l++) {
        float* at = score + j * kTileQueries + l * kLanes;
        const F32 weight = exp2Bounded(F32::load(at) - shift[l]);
        weight.store(at);
        sum[l] += weight;
      }
    }
    for (int l = 0; l < L; l++) {
      float* to = total + l * kLanes;
      mulAdd(F32::load(to), F32::load(rescale + l * kLanes), sum[l]).store(to);
    }
  }
};

}  // namespace figment::FIGMENT_ISA
