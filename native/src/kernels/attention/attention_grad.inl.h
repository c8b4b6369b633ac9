// The derivative of attention, recomputing the weights from lse (Dao et al., 2022, algorithm 4),
// with queries across the lanes as in the forward pass:
//   pᵀ = exp(k·qᵀ − lse),  dsᵀ = pᵀ ∘ (v·doutᵀ − D),  D = Σ out·dout
//   dqᵀ += kᵀ·dsᵀ,  dk += dsᵀ·q,  dv += pᵀ·dout
// A task is one head and a run of its tiles of queries. With few heads the runs are several and
// their dk and dv are added afterwards; how many runs follows from the shape, so sums have one
// order.
#pragma once

#include "../params/attentionGrad.generated.h"
#include "lengths.h"
#include "panel.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

/// Stores weights exp(score − lse); scores and lse are in units of log 2.
struct KeepWeights {
  float* weight;
  const float* lse;
  int64_t firstSeeing;
  bool masked;

  template <int R, int L>
  FIGMENT_INLINE void operator()(int64_t row, F32 (&sum)[R][L]) const {
    for (int l = 0; l < L; l++) {
      const F32 shift = F32::load(lse + l * kLanes);
      for (int r = 0; r < R; r++) {
        if (masked) sum[r][l] = maskUnseen(sum[r][l], firstSeeing + row + r, l * kLanes);
        exp2Bounded(sum[r][l] - shift).store(weight + (row + r) * kTileQueries + l * kLanes);
      }
    }
  }
};

/// Stores score gradients weight·(value gradient − row dot).
struct KeepScoreGrads {
  const float* weight;
  const float* rowDot;
  float* grad;

  template <int R, int L>
  FIGMENT_INLINE void operator()(int64_t row, F32 (&sum)[R][L]) const {
    for (int l = 0; l < L; l++) {
      const F32 dot = F32::load(rowDot + l * kLanes);
      for (int r = 0; r < R; r++) {
        const int64_t at = (row + r) * kTileQueries + l * kLanes;
        (F32::load(weight + at) * (sum[r][l] - dot)).store(grad + at);
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
  float *lse, *rowDot, *factor;      ///< [lanes]
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
        rowDot(lse + kTileQueries),
        factor(rowDot + kTileQueries),
        keys(factor + kTileQueries),
        values(keys + kBlockKeys * d) {}
  static int64_t floats(int64_t d, int64_t width) {
    return alignedFloats((3 * d + 2 * width + 2 * kBlockKeys + 3) * kTileQueries +
                         2 * kBlockKeys * d);
  }
};

struct AttentionGradCall {
  explicit AttentionGradCall(const OpCall& call)
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
        tiles(ceilDivide(p.sq, kTileQueries)) {
    // Enough runs for this many tasks, but none shorter than a few tiles, whose sum it must repay.
    constexpr int64_t kTasks = 16, kFewestTiles = 4;
    runs = larger(1, smaller(ceilDivide(kTasks, larger(heads, 1)), tiles / kFewestTiles));
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
      tile.rowDot[i] = 0;
      tile.factor[i] = float(p.scale);
    }
    for (int64_t i = 0; i < queries; i++) {
      F32 sum = F32::zero();
      forLanes(p.d, [&](int64_t e, int lanes) {
        const int64_t at = queryAt + i * stride + e;
        sum =
            mulAdd(gemm::loadElements(out + at, lanes), gemm::loadElements(dout + at, lanes), sum);
      });
      tile.rowDot[i] = reduceAdd(sum);
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
  void runTile(int64_t head, int64_t firstQuery, int64_t queries, const BackwardTile& tile,
               float* keyGrad, float* valueGrad) const {
    const int64_t batch = head / p.h, column = head % p.h * p.d;
    const int64_t queryAt = (batch * p.sq + firstQuery) * stride + column;
    const int64_t keyAt = batch * p.sk * stride + column;
    prepare(head, firstQuery, queries, queryAt, tile);
    const int64_t length = lengths.of(batch), seen = length - p.sq;
    const int64_t keys =
        p.causal ? larger(0, smaller(length, firstQuery + queries + seen)) : length;
    for (int64_t key = 0; key < keys; key += kBlockKeys) {
      const int64_t count = smaller(kBlockKeys, keys - key);
      const int64_t at = keyAt + key * stride;
      const FloatRows keyRows = floatRows(k + at, stride, count, p.d, tile.keys);
      const FloatRows valueRows = floatRows(v + at, stride, count, p.d, tile.values);
      const KeepWeights keep{tile.weight, tile.lse, key - seen - firstQuery,
                             p.causal && key + count - 1 > firstQuery + seen};
      multiplyPanel<L, Order::byRow>(count, keyRows.data, keyRows.stride, tile.query, kTileQueries,
                                     p.d, keep);
      multiplyPanel<L, Order::byRow>(count, valueRows.data, valueRows.stride, tile.cotangent,
                                     kTileQueries, p.d,
                                     KeepScoreGrads{tile.weight, tile.rowDot, tile.scoreGrad});
      multiplyPanel<L, Order::byDepth>(p.d, keyRows.data, keyRows.stride, tile.scoreGrad,
                                       kTileQueries, count, AddRows{tile.queryGrad, kTileQueries});
      addKeyGrads(count, tile.weight, queries, tile.cotangentRows, valueGrad + key * width);
      addKeyGrads(count, tile.scoreGrad, queries, tile.queryRows, keyGrad + key * width);
    }
    unpackColumns(tile.queryGrad, tile.factor, queries, p.d, dq + queryAt, stride);
  }

  /// All tiles of a run; keyGrad and valueGrad receive [sk, width] sums.
  void runTiles(int64_t head, int64_t run, const BackwardTile& tile, float* keyGrad,
                float* valueGrad) const {
    for (int64_t i = 0; i < keyFloats(); i++) keyGrad[i] = valueGrad[i] = 0;
    for (int64_t t = run * tiles / runs; t < (run + 1) * tiles / runs; t++) {
      const int64_t firstQuery = t * kTileQueries;
      const int64_t queries = smaller(kTileQueries, p.sq - firstQuery);
      const int64_t vectors = ceilDivide(queries, kLanes);
      if (vectors == 1)
        runTile<1>(head, firstQuery, queries, tile, keyGrad, valueGrad);
      else if (vectors == 2)
        runTile<2>(head, firstQuery, queries, tile, keyGrad, valueGrad);
      else
        runTile<3>(head, firstQuery, queries, tile, keyGrad, valueGrad);
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
  int64_t heads, tiles, runs;
};

size_t attentionGradScratch(const OpCall& call, int threads) {
  const AttentionGradCall g(call);
  const int64_t sums = g.runs > 1 ? g.heads * g.runs : threads;
  return size_t(threads * BackwardTile::floats(g.p.d, g.width) + sums * 2 * g.keyFloats()) *
         sizeof(float);
}

void runAttentionGrad(const OpCall& call, Context& context) {
  const AttentionGradCall g(call);
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
