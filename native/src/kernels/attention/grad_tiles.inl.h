// The derivative of attention of bf16 operands on matrix tiles, recomputing the weights from lse
// (Dao et al., 2022, algorithm 4):
//   p = exp(q·kᵀ − lse),  ds = p ∘ (dout·vᵀ − D),  D = Σ out·dout
//   dq += ds·k,  dk += dsᵀ·q,  dv += pᵀ·dout
// All five products run on tiles; p and ds are f32 until they are rounded to bf16 as factors. A
// task is one head and a run of its tiles of queries; how many runs follows from the shape, and
// their dk and dv are added in order. Include only from files compiled for one instruction set.
#pragma once

#include "../params/attentionGrad.generated.h"
#include "tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// What one worker keeps while it works on a tile of queries.
struct GradTile {
  uint16_t *query, *cotangent;             ///< packed rows, d deep
  uint16_t *queryAlong, *cotangentAlong;   ///< packed columns along queries
  uint16_t* scoreGrad;                     ///< packed rows of queries along keys
  uint16_t *weightAlong, *scoreGradAlong;  ///< packed rows of keys along queries
  float *score, *grad;                     ///< [kQueries, kKeys]: scores and dout·vᵀ
  float* queryGrad;                        ///< [kQueries, width]
  float *lse, *rowDot;                     ///< [kQueries]; lse in units of log 2

  static GradTile take(Carver& carver, int64_t d, int64_t width) {
    constexpr int64_t kTileBlocks = kQueries / kBlock;
    constexpr int64_t kKeyRows = kKeys / kBlock * packedSize(kQueries);
    GradTile t;
    t.query = carver.take<uint16_t>(kTileBlocks * packedSize(d));
    t.cotangent = carver.take<uint16_t>(kTileBlocks * packedSize(d));
    t.queryAlong = carver.take<uint16_t>(width / kBlock * packedSize(kQueries));
    t.cotangentAlong = carver.take<uint16_t>(width / kBlock * packedSize(kQueries));
    t.scoreGrad = carver.take<uint16_t>(kTileBlocks * packedSize(kKeys));
    t.weightAlong = carver.take<uint16_t>(kKeyRows);
    t.scoreGradAlong = carver.take<uint16_t>(kKeyRows);
    t.score = carver.take<float>(kQueries * kKeys);
    t.grad = carver.take<float>(kQueries * kKeys);
    t.queryGrad = carver.take<float>(kQueries * width);
    t.lse = carver.take<float>(kQueries);
    t.rowDot = carver.take<float>(kQueries);
    return t;
  }
};

/// Rounds a row of queries by keys to where keys are the rows.
inline void packTransposed(uint16_t* to, int64_t query, const float* from, int64_t keys) {
  uint16_t rounded[kKeys];
  for (int64_t j = 0; j < keys; j += kLanes) storeBf16(rounded + j, F32::load(from + j));
  for (int64_t j = 0; j < keys; j++)
    to[j / kBlock * packedSize(kQueries) + rowPlace(j % kBlock, query)] = rounded[j];
}

struct TiledAttentionGrad {
  explicit TiledAttentionGrad(const OpCall& call) : call(call), shape(call, 6) {
    // Enough runs for this many tasks, but none shorter than a few tiles, whose sum it must repay.
    constexpr int64_t kTasks = 16, kFewestTiles = 2;
    runs = larger(1, smaller(ceilDiv(kTasks, shape.heads()), shape.tiles / kFewestTiles));
  }

  size_t workerBytes() const {
    Carver measure(nullptr);
    GradTile::take(measure, shape.p.d, shape.width);
    return measure.used();
  }
  /// Keys and values of one block as columns d deep, and keys as columns along keys.
  int64_t blockSize() const { return 2 * shape.acrossSize() + shape.alongSize(); }
  int64_t packedNumbers() const { return shape.heads() * shape.keyBlocks * blockSize(); }
  /// Sums of dk, and as many of dv, of one run: [keys of whole blocks, width].
  int64_t keyFloats() const { return shape.keyBlocks * kKeys * shape.width; }

  HeadRows rows(int input, int64_t head, int64_t length) const {
    return shape.rows(call.in[input], head, length);
  }

  void packBlock(int64_t head, int64_t block, uint16_t* to) const {
    const int64_t d = shape.p.d, count = shape.keysOf(head, block), first = block * kKeys;
    packColumnsAcross(rows(1, head, shape.p.sk), first, count, d, to);
    packColumnsAcross(rows(2, head, shape.p.sk), first, count, d, to + shape.acrossSize());
    packColumnsAlong(rows(1, head, shape.p.sk), first, count, kKeys, d,
                     to + 2 * shape.acrossSize());
  }

  void prepare(int64_t head, int64_t first, int64_t queries, const GradTile& t) const {
    const auto& p = shape.p;
    const HeadRows query = rows(0, head, p.sq), cotangent = rows(5, head, p.sq);
    packRowsAcross(query, first, queries, p.d, t.query);
    packRowsAcross(cotangent, first, queries, p.d, t.cotangent);
    packColumnsAlong(query, first, queries, kQueries, p.d, t.queryAlong);
    packColumnsAlong(cotangent, first, queries, kQueries, p.d, t.cotangentAlong);
    zeroPacked(t.scoreGrad, kQueries / kBlock * packedSize(kKeys));
    zeroPacked(t.weightAlong, kKeys / kBlock * packedSize(kQueries));
    zeroPacked(t.scoreGradAlong, kKeys / kBlock * packedSize(kQueries));
    gemm::zeroFloats(t.queryGrad, kQueries * shape.width);
    const Elements out = Elements::of(call.in[3]) + shape.offset(head, p.sq);
    const Elements dout = Elements::of(call.in[5]) + shape.offset(head, p.sq);
    const float* lse = call.in[4].as<const float>() + head * p.sq + first;
    for (int64_t i = 0; i < queries; i++) {
      // A blind query's weights become exp(score − ∞) = 0.
      t.lse[i] = lse[i] == -__builtin_inff() ? __builtin_inff() : lse[i] * kLog2E;
      F32 sum = F32::zero();
      forLanes(p.d, [&](int64_t e, int lanes) {
        const int64_t at = (first + i) * shape.stride + e;
        sum =
            mulAdd(gemm::loadElements(out + at, lanes), gemm::loadElements(dout + at, lanes), sum);
      });
      t.rowDot[i] = reduceAdd(sum);
    }
  }

  /// Turns a row of scores and of dout·vᵀ into weights and score gradients, packed both ways.
  void weigh(const GradTile& t, int64_t row, int64_t seen, int64_t width) const {
    float *score = t.score + row * kKeys, *grad = t.grad + row * kKeys;
    const F32 factor = F32::broadcast(float(shape.p.scale * double(kLog2E)));
    const F32 lse = F32::broadcast(t.lse[row]), dot = F32::broadcast(t.rowDot[row]);
    for (int64_t j = 0; j < width; j += kLanes) {
      const int32_t left = int32_t(larger(0, smaller(kLanes, seen - j)));
      const Mask visible = lt(I32::iota(), I32::broadcast(left));
      const F32 weight =
          blend(visible, exp2Bounded(F32::load(score + j) * factor - lse), F32::zero());
      weight.store(score + j);
      blend(visible, weight * (F32::load(grad + j) - dot), F32::zero()).store(grad + j);
    }
    packRounded(t.scoreGrad + row / kBlock * packedSize(kKeys), row % kBlock, grad, width);
    packTransposed(t.weightAlong, row, score, width);
    packTransposed(t.scoreGradAlong, row, grad, width);
  }

  template <class Tiles>
  void runTile(Tiles& tiles, int64_t head, int64_t tile, const uint16_t* packed, const GradTile& t,
               float* keyGrad, float* valueGrad) const {
    const auto& p = shape.p;
    const int64_t first = tile * kQueries, queries = shape.queriesOf(tile), width = shape.width;
    const int64_t across = packedSize(p.d), alongQueries = packedSize(kQueries);
    prepare(head, first, queries, t);
    const int64_t keys = shape.visible(head, first + queries - 1);
    for (int64_t key = 0; key < keys; key += kKeys) {
      const uint16_t* block = packed + (head * shape.keyBlocks + key / kKeys) * blockSize();
      const int64_t count = ceilDiv(smaller(kKeys, keys - key), kBlock) * kBlock;
      multiplyAll(tiles, t.query, queries, across, block, count, across, shape.depth, true, t.score,
                  kKeys);
      multiplyAll(tiles, t.cotangent, queries, across, block + shape.acrossSize(), count, across,
                  shape.depth, true, t.grad, kKeys);
      for (int64_t i = 0; i < queries; i++)
        weigh(t, i, shape.visible(head, first + i) - key, count);
      multiplyAll(tiles, t.scoreGrad, queries, packedSize(kKeys), block + 2 * shape.acrossSize(),
                  width, packedSize(kKeys), count / kTileDepth, false, t.queryGrad, width);
      multiplyAll(tiles, t.weightAlong, count, alongQueries, t.cotangentAlong, width, alongQueries,
                  kQueries / kTileDepth, false, valueGrad + key * width, width);
      multiplyAll(tiles, t.scoreGradAlong, count, alongQueries, t.queryAlong, width, alongQueries,
                  kQueries / kTileDepth, false, keyGrad + key * width, width);
    }
    const Results dq = Results::of(call.out[0]) + (shape.offset(head, p.sq) + first * shape.stride);
    for (int64_t i = 0; i < queries; i++)
      storeScaled(dq + i * shape.stride, t.queryGrad + i * width, float(p.scale));
  }

  void storeScaled(Results to, const float* sums, float factor) const {
    forLanes(shape.p.d, [&](int64_t e, int lanes) {
      gemm::storeElements(to + e, loadLanes(sums + e, lanes) * F32::broadcast(factor), lanes);
    });
  }

  /// All tiles of a run; `sums` receive dk and dv.
  template <class Tiles>
  void runTiles(Tiles& tiles, int64_t head, int64_t run, const uint16_t* packed, const GradTile& t,
                float* sums) const {
    gemm::zeroFloats(sums, 2 * keyFloats());
    for (int64_t tile = run * shape.tiles / runs; tile < (run + 1) * shape.tiles / runs; tile++)
      runTile(tiles, head, tile, packed, t, sums, sums + keyFloats());
  }

  /// Adds the runs' sums of one key of one head and writes its dk and dv.
  void writeKey(int64_t head, int64_t key, float* sums, int64_t count) const {
    const int64_t to = shape.offset(head, shape.p.sk) + key * shape.stride;
    float* total = sums + key * shape.width;
    for (int64_t s = 1; s < count; s++) {
      const float* more = total + s * 2 * keyFloats();
      for (int64_t e = 0; e < shape.width; e++) {
        total[e] += more[e];
        total[keyFloats() + e] += more[keyFloats() + e];
      }
    }
    storeScaled(Results::of(call.out[1]) + to, total, float(shape.p.scale));
    storeScaled(Results::of(call.out[2]) + to, total + keyFloats(), 1.0f);
  }

  const OpCall& call;
  HeadShape<AttentionGradParams> shape;
  int64_t runs;
};

inline size_t attentionGradScratch(const OpCall& call, int threads) {
  const TiledAttentionGrad g(call);
  const int64_t sums = g.runs > 1 ? g.shape.heads() * g.runs : threads;
  return size_t(sums * 2 * g.keyFloats()) * sizeof(float) + size_t(threads) * g.workerBytes() +
         size_t(g.packedNumbers()) * sizeof(uint16_t);
}

template <class Tiles>
inline void runAttentionGrad(const OpCall& call, Context& context) {
  const TiledAttentionGrad g(call);
  const auto& shape = g.shape;
  const size_t workerBytes = g.workerBytes();
  std::byte* workers = context.scratch();
  auto* packed = reinterpret_cast<uint16_t*>(workers + size_t(context.threads()) * workerBytes);
  auto* sums = reinterpret_cast<float*>(packed + g.packedNumbers());
  const int64_t blocks = shape.keyBlocks;
  context.parallelFor(shape.heads() * blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++)
      g.packBlock(i / blocks, i % blocks, packed + i * g.blockSize());
  });
  context.parallelFor(shape.heads() * g.runs, 1, [&](int64_t begin, int64_t end, int worker) {
    Tiles tiles;
    Carver carver(workers + size_t(worker) * workerBytes);
    const GradTile mine = GradTile::take(carver, shape.p.d, shape.width);
    for (int64_t task = begin; task < end; task++) {
      const int64_t head = task / g.runs;
      float* own = sums + (g.runs > 1 ? task : worker) * 2 * g.keyFloats();
      g.runTiles(tiles, head, task % g.runs, packed, mine, own);
      for (int64_t key = 0; g.runs == 1 && key < shape.p.sk; key++) g.writeKey(head, key, own, 1);
    }
  });
  if (g.runs == 1) return;
  constexpr int64_t kGrain = 64;
  context.parallelFor(shape.heads() * shape.p.sk, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t head = i / shape.p.sk;
      g.writeKey(head, i % shape.p.sk, sums + head * g.runs * 2 * g.keyFloats(), g.runs);
    }
  });
}

/// The cotangent is a factor too.
inline bool takesAttentionGrad(const OpCall& call) {
  return takesAttention<AttentionGradParams>(call) && call.in[5].format == Format::bf16 &&
         gemm::isTileFormat(call.in[3].format);
}

template <class Tiles>
constexpr Variant attentionGradOn() {
  using P = AttentionGradParams;
  return {"attentionGrad",      Tiles::kName,
          Tiles::kIsa,          Tiles::template supports<takesAttentionGrad, fillsAttention<P>>,
          attentionGradScratch, runAttentionGrad<Tiles>};
}

}  // namespace figment::FIGMENT_ISA::tiles
