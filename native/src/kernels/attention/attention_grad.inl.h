// The derivative of attention, recomputing the weights from lse (Dao et al., 2022, algorithm 4),
// with queries across the lanes as in the forward pass:
//   pᵀ = exp(k·qᵀ − lse),  dsᵀ = pᵀ ∘ (v·doutᵀ − D),  D = Σ out·dout
//   dqᵀ += kᵀ·dsᵀ,  dk += dsᵀ·q,  dv += pᵀ·dout
// Where scores are large, lse in f32 says too little about them: see kTrustedScores. A task is one
// head and a run of its tiles of queries. With few heads the runs are several and their dk and dv
// are added afterwards; how many runs follows from the shape, so sums have one order.
#pragma once

#include "../params/attentionGrad.generated.h"
#include "lengths.h"
#include "rows.inl.h"
#include "running_softmax.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

/// Stores weights exp(score − lse)·share; scores and lse are in units of log 2.
struct KeepWeights {
  float* weight;
  const float *lse, *share;
  BlockSight sight;

  template <int R, int L>
  FIGMENT_INLINE void operator()(int64_t row, F32 (&sum)[R][L]) const {
    for (int l = 0; l < L; l++) {
      const F32 shift = F32::load(lse + l * kLanes), factor = F32::load(share + l * kLanes);
      for (int r = 0; r < R; r++) {
        const F32 weighed = exp2Bounded(sum[r][l] - shift) * factor;
        sight.hide(weighed, row + r, l * kLanes, 0)
            .store(weight + (row + r) * kTileQueries + l * kLanes);
      }
    }
  }
};

/// Stores score gradients weight·(value gradient − row dot).
struct KeepScoreGrads {
  const float* weight;
  const float* rowDot;
  float* grad;
  BlockSight sight;

  template <int R, int L>
  FIGMENT_INLINE void operator()(int64_t row, F32 (&sum)[R][L]) const {
    for (int l = 0; l < L; l++) {
      const F32 dot = F32::load(rowDot + l * kLanes);
      for (int r = 0; r < R; r++) {
        const int64_t at = (row + r) * kTileQueries + l * kLanes;
        const F32 weighed = F32::load(weight + at) * (sum[r][l] - dot);
        sight.hide(weighed, row + r, l * kLanes, 0).store(grad + at);
      }
    }
  }
};

/// Adds to rows in memory.
struct AddRows {
  float* rows;
  int64_t stride;

  template <int R, int L>
  FIGMENT_INLINE void operator()(int64_t row, F32 (&sum)[R][L]) const {
    for (int r = 0; r < R; r++) {
      for (int l = 0; l < L; l++) {
        float* at = rows + (row + r) * stride + l * kLanes;
        (F32::load(at) + sum[r][l]).store(at);
      }
    }
  }
};

/// What one worker keeps while it works on a tile of queries.
struct BackwardTile {
  float *query, *cotangent;          ///< [d, lanes]; query scaled
  float* queryGrad;                  ///< [d, lanes]
  float *queryRows, *cotangentRows;  ///< [lanes, width]
  float *weight, *scoreGrad;         ///< [kBlockKeys, lanes]
  float *lse, *share, *rescale;      ///< [lanes]; the first two are what weights take
  float *rowDot, *factor;            ///< [lanes]
  float *keys, *values;              ///< [kBlockKeys, d] a block of 16-bit keys and values

  BackwardTile(float* memory, int64_t d, int64_t width)
      : query(memory),
        cotangent(query + d * kTileQueries),
        queryGrad(cotangent + d * kTileQueries),
        queryRows(queryGrad + d * kTileQueries),
        cotangentRows(queryRows + width * kTileQueries),
        weight(cotangentRows + width * kTileQueries),
        scoreGrad(weight + kBlockKeys * kTileQueries),
        lse(scoreGrad + kBlockKeys * kTileQueries),
        share(lse + kTileQueries),
        rescale(share + kTileQueries),
        rowDot(rescale + kTileQueries),
        factor(rowDot + kTileQueries),
        keys(factor + kTileQueries),
        values(keys + kBlockKeys * d) {}
  static int64_t floats(int64_t d, int64_t width) {
    return alignedFloats((3 * d + 2 * width + 2 * kBlockKeys + 5) * kTileQueries +
                         2 * kBlockKeys * d);
  }
};

struct AttentionGradCall {
  explicit AttentionGradCall(const OpCall& call, int64_t tileQueries = kTileQueries)
      : p(call.as<AttentionGradParams>()),
        q(Elements::of(call.in[0])),
        k(Elements::of(call.in[1])),
        v(Elements::of(call.in[2])),
        out(Elements::of(call.in[3])),
        dout(Elements::of(call.in[5])),
        lse(call.in[4].as<const float>()),
        dq(Results::of(call.out[0])),
        dk(Results::of(call.out[1])),
        dv(Results::of(call.out[2])),
        lengths(call, 6, p.sk),
        stride(int64_t(p.h) * p.d),
        width(ceilDivide(p.d, kLanes) * kLanes),
        heads(int64_t(p.b) * p.h),
        tileQueries(tileQueries),
        tiles(ceilDivide(p.sq, tileQueries)) {
    // Enough runs for this many tasks, but none shorter than a few tiles, whose sum it must repay.
    constexpr int64_t kTasks = 16, kFewestTiles = 4;
    runs = larger(1, smaller(ceilDivide(kTasks, larger(heads, 1)),
                             ceilDivide(p.sq, kTileQueries) / kFewestTiles));
  }

  int64_t keyFloats() const { return int64_t(p.sk) * width; }

  /// Copies rows [count, d] to rows of whole vectors, so that products may read whole vectors.
  void padRows(Elements from, int64_t count, float* to) const {
    for (int64_t i = 0; i < count; i++) {
      forLanes(p.d, [&](int64_t e, int lanes) {
        gemm::loadElements(from + (i * stride + e), lanes).store(to + i * width + e);
      });
    }
  }

  void prepare(int64_t head, int64_t firstQuery, int64_t queries, int64_t queryAt,
               const BackwardTile& tile) const {
    packColumns(q + queryAt, stride, queries, p.d, float(p.scale * double(kLog2E)), tile.query);
    packColumns(dout + queryAt, stride, queries, p.d, 1.0f, tile.cotangent);
    padRows(q + queryAt, queries, tile.queryRows);
    padRows(dout + queryAt, queries, tile.cotangentRows);
    for (int64_t i = 0; i < p.d * kTileQueries; i++) tile.queryGrad[i] = 0;
    for (int64_t i = 0; i < kTileQueries; i++) {
      const float value = i < queries ? lse[head * p.sq + firstQuery + i] : 0.0f;
      // A blind query's weights become exp(score − ∞) = 0.
      tile.lse[i] = value == -__builtin_inff() ? __builtin_inff() : value * kLog2E;
      tile.share[i] = 1;
      tile.rowDot[i] = 0;
      tile.factor[i] = float(p.scale);
    }
    for (int64_t i = 0; i < queries; i++) {
      const int64_t at = queryAt + i * stride;
      tile.rowDot[i] = dotRows(out + at, dout + at, p.d);
    }
  }

  /// A block of keys of a tile.
  struct KeyBlock {
    FloatRows keys;
    int64_t first, count;
    BlockSight sight;
  };
  /// Calls found(block) for each block of keys that a tile's queries see.
  template <class F>
  void forBlocks(int64_t batch, int64_t keyAt, int64_t firstQuery, int64_t queries,
                 const BackwardTile& tile, F&& found) const {
    const int64_t length = lengths.of(batch), seen = length - p.sq;
    const int64_t keys =
        p.causal ? larger(0, smaller(length, firstQuery + queries + seen)) : length;
    for (int64_t key = 0; key < keys; key += kBlockKeys) {
      const int64_t count = smaller(kBlockKeys, keys - key);
      found(KeyBlock{floatRows(k + (keyAt + key * stride), stride, count, p.d, tile.keys),
                     key,
                     count,
                     {key - seen - firstQuery, p.causal && key + count - 1 > firstQuery + seen}});
    }
  }

  /// Makes the tile's own largest scores its lse, and what their sums leave its shares.
  void findShares(const BackwardTile& tile) const {
    for (int l = 0; l < kTileVectors; l++) {
      float *lse = tile.lse + l * kLanes, *share = tile.share + l * kLanes;
      const F32 total = F32::load(share);
      const Mask blind = eq(total, F32::zero());
      blend(blind, F32::broadcast(__builtin_inff()), F32::load(lse)).store(lse);
      blend(blind, F32::zero(), F32::broadcast(1.0f) / total).store(share);
    }
  }

  /// target[keys, width] += rows[keys, queries] · operand[queries, width].
  void addKeyGrads(int64_t keys, const float* rows, int64_t queries, const float* operand,
                   float* target) const {
    int64_t e = 0;
    const int64_t vectors = width / kLanes;
    for (int64_t left = vectors; left > 0;) {
      // Four vectors go as two and two rather than three and one.
      const int64_t step = left == 4 ? 2 : smaller(left, kTileVectors);
      const AddRows add{target + e, width};
      if (step == 3)
        multiplyPanel<3, Order::byRow>(keys, rows, kTileQueries, operand + e, width, queries, add);
      else if (step == 2)
        multiplyPanel<2, Order::byRow>(keys, rows, kTileQueries, operand + e, width, queries, add);
      else
        multiplyPanel<1, Order::byRow>(keys, rows, kTileQueries, operand + e, width, queries, add);
      e += step * kLanes;
      left -= step;
    }
  }

  template <int L>
  void runTile(int64_t head, int64_t firstQuery, int64_t queries, float largestKey,
               const BackwardTile& tile, float* keyGrad, float* valueGrad) const {
    const int64_t batch = head / p.h, column = head % p.h * p.d;
    const int64_t queryAt = (batch * p.sq + firstQuery) * stride + column;
    const int64_t keyAt = batch * p.sk * stride + column;
    prepare(head, firstQuery, queries, queryAt, tile);
    if (!scoresWithin(kTrustedScores, largestSquare(q + queryAt, stride, queries, p.d), largestKey,
                      float(p.scale * double(kLog2E)))) {
      const RunningSoftmax softmax(tile.weight, tile.lse);
      softmax.begin();
      forBlocks(batch, keyAt, firstQuery, queries, tile, [&](const KeyBlock& block) {
        softmax.weigh<L>(block.keys.data, block.keys.stride, block.count, tile.query, p.d,
                         block.sight);
      });
      findShares(tile);
    }
    forBlocks(batch, keyAt, firstQuery, queries, tile, [&](const KeyBlock& block) {
      const int64_t count = block.count;
      const FloatRows keyRows = block.keys;
      const FloatRows valueRows =
          floatRows(v + (keyAt + block.first * stride), stride, count, p.d, tile.values);
      multiplyPanel<L, Order::byRow>(count, keyRows.data, keyRows.stride, tile.query, kTileQueries,
                                     p.d,
                                     KeepWeights{tile.weight, tile.lse, tile.share, block.sight});
      multiplyPanel<L, Order::byRow>(
          count, valueRows.data, valueRows.stride, tile.cotangent, kTileQueries, p.d,
          KeepScoreGrads{tile.weight, tile.rowDot, tile.scoreGrad, block.sight});
      multiplyPanel<L, Order::byDepth>(p.d, keyRows.data, keyRows.stride, tile.scoreGrad,
                                       kTileQueries, count, AddRows{tile.queryGrad, kTileQueries});
      addKeyGrads(count, tile.weight, queries, tile.cotangentRows, valueGrad + block.first * width);
      addKeyGrads(count, tile.scoreGrad, queries, tile.queryRows, keyGrad + block.first * width);
    });
    unpackColumns(tile.queryGrad, tile.factor, queries, p.d, dq + queryAt, stride);
  }

  /// All tiles of a run; keyGrad and valueGrad receive [sk, width] sums.
  void runTiles(int64_t head, int64_t run, const BackwardTile& tile, float* keyGrad,
                float* valueGrad) const {
    for (int64_t i = 0; i < keyFloats(); i++) keyGrad[i] = valueGrad[i] = 0;
    const int64_t batch = head / p.h;
    const float largestKey = largestSquare(k + (batch * p.sk * stride + head % p.h * p.d), stride,
                                           lengths.of(batch), p.d);
    for (int64_t t = run * tiles / runs; t < (run + 1) * tiles / runs; t++) {
      const int64_t firstQuery = t * tileQueries;
      const int64_t queries = smaller(tileQueries, p.sq - firstQuery);
      const int64_t vectors = ceilDivide(queries, kLanes);
      if (vectors == 1)
        runTile<1>(head, firstQuery, queries, largestKey, tile, keyGrad, valueGrad);
      else if (vectors == 2)
        runTile<2>(head, firstQuery, queries, largestKey, tile, keyGrad, valueGrad);
      else
        runTile<3>(head, firstQuery, queries, largestKey, tile, keyGrad, valueGrad);
    }
  }

  /// Adds the runs' sums of one key of one head and writes its dk and dv.
  void writeKey(int64_t head, int64_t key, const float* sums, int64_t sumCount) const {
    const int64_t to = ((head / p.h) * p.sk + key) * stride + head % p.h * p.d;
    const F32 scale = F32::broadcast(float(p.scale));
    forLanes(p.d, [&](int64_t e, int lanes) {
      F32 keySum = F32::zero(), valueSum = F32::zero();
      for (int64_t s = 0; s < sumCount; s++) {
        const float* sum = sums + s * 2 * keyFloats() + key * width + e;
        keySum += F32::load(sum);
        valueSum += F32::load(sum + keyFloats());
      }
      gemm::storeElements(dk + (to + e), keySum * scale, lanes);
      gemm::storeElements(dv + (to + e), valueSum, lanes);
    });
  }

  const AttentionGradParams& p;
  Elements q, k, v, out, dout;
  const float* lse;
  Results dq, dk, dv;
  KeyLengths lengths;
  int64_t stride;  ///< between positions
  int64_t width;   ///< d in whole vectors
  int64_t heads;
  int64_t tileQueries;  ///< of a tile, at most
  int64_t tiles, runs;
};

size_t attentionGradScratch(const OpCall& call, int threads) {
  const AttentionGradCall g(call);
  const int64_t sums = g.runs > 1 ? g.heads * g.runs : threads;
  return size_t(threads * BackwardTile::floats(g.p.d, g.width) + sums * 2 * g.keyFloats()) *
         sizeof(float);
}

/// Whether keys that count, queries and cotangents are finite: the factors of what masked pairs
/// add.
bool finiteFactors(const OpCall& call, Context& context) {
  const auto& p = call.as<AttentionGradParams>();
  const int64_t stride = int64_t(p.h) * p.d;
  return allFinite(call, {1}, p.b, KeyLengths(call, 6, p.sk), stride, context) &&
         allFinite(call, {0, 5}, p.b, KeyLengths::all(p.sq), stride, context);
}

void runAttentionGrad(const OpCall& call, Context& context) {
  // Alone, a query meets no key that it does not see.
  const bool alone = call.as<AttentionGradParams>().causal && !finiteFactors(call, context);
  const AttentionGradCall g(call, alone ? 1 : kTileQueries);
  const int64_t tileFloats = BackwardTile::floats(g.p.d, g.width);
  float* scratch = reinterpret_cast<float*>(context.scratch());
  float* sums = scratch + context.threads() * tileFloats;
  const int64_t sumFloats = 2 * g.keyFloats();
  context.parallelFor(g.heads * g.runs, 1, [&](int64_t begin, int64_t end, int worker) {
    const BackwardTile tile(scratch + worker * tileFloats, g.p.d, g.width);
    for (int64_t task = begin; task < end; task++) {
      const int64_t head = task / g.runs;
      float* mine = sums + (g.runs > 1 ? task : worker) * sumFloats;
      g.runTiles(head, task % g.runs, tile, mine, mine + g.keyFloats());
      if (g.runs > 1) continue;
      for (int64_t key = 0; key < g.p.sk; key++) g.writeKey(head, key, mine, 1);
    }
  });
  if (g.runs == 1) return;
  constexpr int64_t kGrain = 64;
  context.parallelFor(g.heads * g.p.sk, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t head = i / g.p.sk;
      g.writeKey(head, i % g.p.sk, sums + head * g.runs * sumFloats, g.runs);
    }
  });
}

constexpr Variant attentionGradVariant{"attentionGrad",   kVariantName,         kVariantIsa,
                                       supportsFloats<6>, attentionGradScratch, runAttentionGrad};
const RegisterVariant attentionGradVariantRegistrar{attentionGradVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
