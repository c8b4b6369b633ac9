// Attention by tiles of queries against blocks of keys with a running softmax (Dao et al., 2022;
// Milakov & Gimelshein, 2018). Queries lie across the lanes: a block of scores is k·qᵀ with k's
// elements broadcast, so maxima, exponentials and sums need no work across lanes, and the output
// tile is vᵀ·p the same way. Scores are kept in units of log 2.
#pragma once

#include "../params/attention.generated.h"
#include "../simd/math.h"
#include "lengths.h"
#include "panel.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

/// What one worker keeps while it works on a tile of queries.
struct ForwardTile {
  float* query;    ///< [d, lanes], scaled
  float* output;   ///< [d, lanes], not yet divided by total
  float* score;    ///< [kBlockKeys, lanes]: scores, then weights
  float* highest;  ///< [lanes] running maximum
  float* total;    ///< [lanes] running sum of weights
  float* rescale;  ///< [lanes] what the last block made of earlier weights
  float* widened;  ///< [kBlockKeys, d] a block of 16-bit keys or values

  ForwardTile(float* memory, int64_t d)
      : query(memory),
        output(query + d * kTileQueries),
        score(output + d * kTileQueries),
        highest(score + kBlockKeys * kTileQueries),
        total(highest + kTileQueries),
        rescale(total + kTileQueries),
        widened(rescale + kTileQueries) {}
  static int64_t floats(int64_t d) {
    return alignedFloats((2 * d + kBlockKeys + 3) * kTileQueries + kBlockKeys * d);
  }
};

/// Stores a block's scores, hiding unseen keys, and raises each lane's maximum.
struct KeepScores {
  float* score;
  float* highest;
  int64_t firstSeeing;  ///< lane of the first query that sees key 0 of the block
  bool masked;

  template <int R, int L>
  FIGMENT_INLINE void operator()(int64_t row, F32 (&sum)[R][L]) const {
    for (int l = 0; l < L; l++) {
      F32 top = F32::load(highest + l * kLanes);
      for (int r = 0; r < R; r++) {
        if (masked) sum[r][l] = maskUnseen(sum[r][l], firstSeeing + row + r, l * kLanes);
        sum[r][l].store(score + (row + r) * kTileQueries + l * kLanes);
        top = max(sum[r][l], top);
      }
      top.store(highest + l * kLanes);
    }
  }
};

/// Adds to the rescaled output.
struct AddOutput {
  float* output;
  const float* rescale;

  template <int R, int L>
  FIGMENT_INLINE void operator()(int64_t row, F32 (&sum)[R][L]) const {
    for (int l = 0; l < L; l++) {
      const F32 factor = F32::load(rescale + l * kLanes);
      for (int r = 0; r < R; r++) {
        float* at = output + (row + r) * kTileQueries + l * kLanes;
        mulAdd(F32::load(at), factor, sum[r][l]).store(at);
      }
    }
  }
};

/// Turns a block's scores into weights 2^(score − maximum) and updates total and rescale.
template <int L>
void weighBlock(const ForwardTile& tile, const float* earlierHighest, int64_t keys) {
  F32 shift[L], sum[L];
  for (int l = 0; l < L; l++) {
    const F32 top = F32::load(tile.highest + l * kLanes);
    const F32 lowest = F32::broadcast(-__builtin_inff());
    // A lane that has seen no finite score yet keeps weights of 0 instead of NaN.
    shift[l] = blend(eq(top, lowest), F32::zero(), top);
    exp2Bounded(F32::load(earlierHighest + l * kLanes) - shift[l]).store(tile.rescale + l * kLanes);
    sum[l] = F32::zero();
  }
  for (int64_t j = 0; j < keys; j++) {
    for (int l = 0; l < L; l++) {
      float* at = tile.score + j * kTileQueries + l * kLanes;
      const F32 weight = exp2Bounded(F32::load(at) - shift[l]);
      weight.store(at);
      sum[l] += weight;
    }
  }
  for (int l = 0; l < L; l++) {
    float* total = tile.total + l * kLanes;
    mulAdd(F32::load(total), F32::load(tile.rescale + l * kLanes), sum[l]).store(total);
  }
}

struct AttentionCall {
  explicit AttentionCall(const OpCall& call)
      : p(call.as<AttentionParams>()),
        q(Elements::of(call.in[0])),
        k(Elements::of(call.in[1])),
        v(Elements::of(call.in[2])),
        out(Results::of(call.out[0])),
        lse(call.out[1].as<float>()),
        lengths(call, 3, p.sk),
        stride(int64_t(p.h) * p.d),
        tiles(ceilDivide(p.sq, kTileQueries)) {}

  template <int L>
  void run(int64_t head, int64_t firstQuery, int64_t queries, const ForwardTile& tile) const {
    const int64_t batch = head / p.h, column = head % p.h * p.d;
    const int64_t queryAt = (batch * p.sq + firstQuery) * stride + column;
    const int64_t keyAt = batch * p.sk * stride + column;
    packColumns(q + queryAt, stride, queries, p.d, float(p.scale * double(kLog2E)), tile.query);
    for (int64_t i = 0; i < p.d * kTileQueries; i++) tile.output[i] = 0;
    for (int64_t i = 0; i < kTileQueries; i++) {
      tile.highest[i] = -__builtin_inff();
      tile.total[i] = 0;
    }
    // Query i sees the keys j <= i + seen.
    const int64_t length = lengths.of(batch), seen = length - p.sq;
    const int64_t keys =
        p.causal ? larger(0, smaller(length, firstQuery + queries + seen)) : length;
    for (int64_t key = 0; key < keys; key += kBlockKeys) {
      const int64_t count = smaller(kBlockKeys, keys - key);
      float earlier[kTileQueries];
      for (int64_t i = 0; i < L * kLanes; i++) earlier[i] = tile.highest[i];
      const KeepScores keep{tile.score, tile.highest, key - seen - firstQuery,
                            p.causal && key + count - 1 > firstQuery + seen};
      const int64_t at = keyAt + key * stride;
      const FloatRows keyRows = floatRows(k + at, stride, count, p.d, tile.widened);
      multiplyPanel<L, Order::byRow>(count, keyRows.data, keyRows.stride, tile.query, kTileQueries,
                                     p.d, keep);
      weighBlock<L>(tile, earlier, count);
      const FloatRows valueRows = floatRows(v + at, stride, count, p.d, tile.widened);
      multiplyPanel<L, Order::byDepth>(p.d, valueRows.data, valueRows.stride, tile.score,
                                       kTileQueries, count, AddOutput{tile.output, tile.rescale});
    }
    finish(head, firstQuery, queries, queryAt, tile);
  }

  void finish(int64_t head, int64_t firstQuery, int64_t queries, int64_t queryAt,
              const ForwardTile& tile) const {
    for (int l = 0; l < kTileVectors; l++) {
      const F32 total = F32::load(tile.total + l * kLanes);
      const F32 top = F32::load(tile.highest + l * kLanes);
      const Mask blind = eq(top, F32::broadcast(-__builtin_inff())) & eq(total, F32::zero());
      blend(blind, F32::zero(), F32::broadcast(1.0f) / total).store(tile.rescale + l * kLanes);
      mulAdd(top, F32::broadcast(float(kLn2)), log(total)).store(tile.highest + l * kLanes);
    }
    unpackColumns(tile.output, tile.rescale, queries, p.d, out + queryAt, stride);
    float* to = lse + head * p.sq + firstQuery;
    for (int64_t i = 0; i < queries; i++) to[i] = tile.highest[i];
  }

  void runTask(int64_t task, const ForwardTile& tile) const {
    const int64_t head = task / tiles, firstQuery = task % tiles * kTileQueries;
    const int64_t queries = smaller(kTileQueries, p.sq - firstQuery);
    switch (ceilDivide(queries, kLanes)) {
      case 1:
        return run<1>(head, firstQuery, queries, tile);
      case 2:
        return run<2>(head, firstQuery, queries, tile);
      default:
        return run<3>(head, firstQuery, queries, tile);
    }
  }

  const AttentionParams& p;
  Elements q, k, v;
  Results out;
  float* lse;
  KeyLengths lengths;
  int64_t stride;  ///< between positions
  int64_t tiles;   ///< of queries
};

size_t attentionScratch(const OpCall& call, int threads) {
  return size_t(threads * ForwardTile::floats(call.as<AttentionParams>().d)) * sizeof(float);
}

void runAttention(const OpCall& call, Context& context) {
  const AttentionCall attention(call);
  const auto& p = attention.p;
  float* scratch = reinterpret_cast<float*>(context.scratch());
  const int64_t tasks = int64_t(p.b) * p.h * attention.tiles;
  context.parallelFor(tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    const ForwardTile tile(scratch + worker * ForwardTile::floats(p.d), p.d);
    for (int64_t task = begin; task < end; task++) attention.runTask(task, tile);
  });
}

constexpr Variant attentionVariant{"attention",       kVariantName,     kVariantIsa,
                                   supportsFloats<3>, attentionScratch, runAttention};
const RegisterVariant attentionVariantRegistrar{attentionVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
