// The derivative of attention of bf16 operands on matrix tiles, recomputing the weights from lse
// (Dao et al., 2022, algorithm 4), with keys as the rows of scores:
//   pᵀ = exp(k·qᵀ − lse),  dsᵀ = pᵀ ∘ (v·doutᵀ − D),  D = Σ out·dout
//   dv += pᵀ·dout,  dk += dsᵀ·q,  dqᵀ += kᵀ·dsᵀ
// Rows of pᵀ and dsᵀ are the rows of the products for dv and dk, and dsᵀ are columns of that for
// dqᵀ, so that nothing is transposed but inputs, once, and dq at the end. p and ds are f32 until
// they are rounded to bf16 as factors. The tiles multiply the scores of the next unit (32 keys by
// 32 queries) and the sums of the block of units before, while vectors turn scores into factors. A
// task is one head and a run of its queries; how many runs follows from the shape, and their dk and
// dv are added in order. Include only from files compiled for one instruction set.
#pragma once

#include "../params/attentionGrad.generated.h"
#include "tile_heads.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Units of a block of keys and of queries: the steps of K of the sums over keys, and over queries.
constexpr int64_t kKeyUnits = 2, kQueryUnits = 4, kBlockUnits = kKeyUnits * kQueryUnits;

/// What one worker keeps of a block of units.
struct GradBlock {
  uint16_t *weight, *scoreGrad;  ///< packed rows of keys: [kKeyUnits, kQueryUnits]
  uint16_t* scoreGradColumns;    ///< packed columns of queries: [kQueryUnits, kKeyUnits]

  static GradBlock take(Carver& carver) {
    GradBlock b;
    b.weight = carver.take<uint16_t>(kBlockUnits * kPair);
    b.scoreGrad = carver.take<uint16_t>(kBlockUnits * kPair);
    b.scoreGradColumns = carver.take<uint16_t>(kBlockUnits * kPair);
    return b;
  }
  static int64_t rowAt(int64_t key, int64_t query) { return (key * kQueryUnits + query) * kPair; }
  static int64_t columnAt(int64_t key, int64_t query) { return (query * kKeyUnits + key) * kPair; }
};

/// What one worker keeps besides.
struct GradTile {
  float *score, *grad;  ///< two units each: scores and v·doutᵀ
  float* rows;          ///< [kUnit, width] of dq
  GradBlock blocks[2];  ///< the one that is being filled, and the one that is being added

  static GradTile take(Carver& carver, int64_t width) {
    GradTile t;
    t.score = carver.take<float>(2 * kScores);
    t.grad = carver.take<float>(2 * kScores);
    t.rows = carver.take<float>(kUnit * width);
    for (GradBlock& block : t.blocks) block = GradBlock::take(carver);
    return t;
  }
};

/// One head, packed: units of queries and cotangents as columns d deep and as columns along
/// positions, of keys as rows d deep and as rows along positions, of values as rows d deep; and for
/// each query −lse, in units of log 2, and −D.
struct PackedHead {
  uint16_t *query, *cotangent, *queryAlong, *cotangentAlong, *key, *keyAlong, *value;
  float *lse, *dot;

  static PackedHead take(Carver& carver, int64_t queryUnits, int64_t keyUnits, int64_t unitSize) {
    PackedHead h;
    for (uint16_t** each : {&h.query, &h.cotangent, &h.queryAlong, &h.cotangentAlong})
      *each = carver.take<uint16_t>(queryUnits * unitSize);
    for (uint16_t** each : {&h.key, &h.keyAlong, &h.value})
      *each = carver.take<uint16_t>(keyUnits * unitSize);
    h.lse = carver.take<float>(queryUnits * kUnit);
    h.dot = carver.take<float>(queryUnits * kUnit);
    return h;
  }
};

struct TiledAttentionGrad {
  explicit TiledAttentionGrad(const OpCall& call) : call(call), shape(call, 6) {
    // Enough runs for this many tasks, and so many that what passes by of a run stays in a
    // second-level cache, but none shorter than a few units, whose sum it must repay.
    constexpr int64_t kTasks = 16, kFewestUnits = 4, kRunBytes = int64_t(3) << 19;
    const int64_t queryBytes = 3 * int64_t(sizeof(float)) * shape.width;
    runs = larger(ceilDiv(kTasks, shape.heads()), ceilDiv(shape.p.sq * queryBytes, kRunBytes));
    runs = larger(1, smaller(runs, shape.queryUnits / kFewestUnits));
  }

  size_t workerBytes() const {
    Carver measure(nullptr);
    GradTile::take(measure, shape.width);
    measure.take<float>(runUnits() * kUnit * shape.width);
    return measure.used();
  }
  size_t headBytes() const {
    Carver measure(nullptr);
    PackedHead::take(measure, shape.queryUnits, shape.keyUnits, shape.unitSize());
    return measure.used();
  }
  int64_t headsAtOnce(int threads) const {
    return headsAtATime(shape.heads(), int64_t(headBytes() / sizeof(uint16_t)), threads);
  }
  /// The first unit of queries of a run.
  int64_t firstOf(int64_t run) const { return run * shape.queryUnits / runs; }
  /// Units of queries of a run, at most.
  int64_t runUnits() const { return ceilDiv(shape.queryUnits, runs); }
  /// Sums of dk, and as many of dv, of one run: [keys of whole units, width].
  int64_t keyFloats() const { return shape.keyUnits * kUnit * shape.width; }

  HeadRows rows(int input, int64_t head, int64_t length, int64_t first) const {
    return shape.rows(call.in[input], head, length, first);
  }

  void packKeys(int64_t head, int64_t unit, const PackedHead& to) const {
    const int64_t d = shape.p.d, count = shape.keysOf(head, unit), at = unit * shape.unitSize();
    const HeadRows keys = rows(1, head, shape.p.sk, unit * kUnit);
    const HeadRows values = rows(2, head, shape.p.sk, unit * kUnit);
    copyRows(to.key + at, keys.data, keys.stride, count, d);
    copyRows(to.value + at, values.data, values.stride, count, d);
    packRowsAlong(to.keyAlong + at, keys, count, d);
  }

  void packQueries(int64_t head, int64_t unit, const PackedHead& to) const {
    const auto& p = shape.p;
    const int64_t count = shape.queriesOf(unit), at = unit * shape.unitSize();
    const int64_t first = unit * kUnit;
    const HeadRows queries = rows(0, head, p.sq, first), cotangents = rows(5, head, p.sq, first);
    transposeColumns(to.query + at, queries.data, queries.stride, count, p.d);
    transposeColumns(to.cotangent + at, cotangents.data, cotangents.stride, count, p.d);
    packColumnsAlong(to.queryAlong + at, queries, count, p.d);
    packColumnsAlong(to.cotangentAlong + at, cotangents, count, p.d);
    const float* lse = call.in[4].as<const float>() + head * p.sq + first;
    const Elements out = Elements::of(call.in[3]) + shape.offset(head, p.sq);
    for (int64_t i = 0; i < kUnit; i++) {
      // A blind query's weights, and those of none, become exp(score − ∞) = 0.
      const bool blind = i >= count || lse[i] == -__builtin_inff();
      to.lse[first + i] = blind ? -__builtin_inff() : -lse[i] * kLog2E;
      F32 sum = F32::zero();
      if (i < count)
        forLanes(p.d, [&](int64_t e, int lanes) {
          const Elements cotangent{reinterpret_cast<const std::byte*>(cotangents.row(i) + e),
                                   Format::bf16};
          sum = mulAdd(gemm::loadElements(out + (first + i) * shape.stride + e, lanes),
                       gemm::loadElements(cotangent, lanes), sum);
        });
      to.dot[first + i] = -reduceAdd(sum);
    }
  }

  /// One head and run while it is worked on.
  struct Place {
    int64_t head;
    const PackedHead& packed;
    int64_t firstQuery, endQuery, keys;  ///< units
    float *keyGrad, *valueGrad;          ///< [keys, width]
    float* queryGrad;                    ///< of each unit of the run, [width / 32, 32, 32]: dqᵀ
  };

  /// A unit, by its block and its place in that.
  struct Unit {
    int64_t firstKey, firstQuery;  ///< units where the block begins
    int64_t key, query;            ///< within the block
  };
  int64_t keysIn(const Place& at, const Unit& u) const {
    return smaller(kKeyUnits, at.keys - u.firstKey);
  }
  int64_t queriesIn(const Place& at, const Unit& u) const {
    return smaller(kQueryUnits, at.endQuery - u.firstQuery);
  }
  /// The first query that sees a key, before it is bounded.
  int64_t firstSeeing(int64_t head, int64_t key) const {
    return shape.p.causal ? key - (shape.lengthOf(head) - shape.p.sq) : 0;
  }
  /// The first block of queries of which some may see a block of keys.
  int64_t firstBlock(const Place& at, int64_t firstKey) const {
    const int64_t unit = larger(0, firstSeeing(at.head, firstKey * kUnit)) / kUnit;
    return at.firstQuery + larger(0, unit - at.firstQuery) / kQueryUnits * kQueryUnits;
  }
  /// Goes to the first unit of the block of keys from `firstKey` on, or of the next that is seen.
  bool enter(const Place& at, int64_t firstKey, Unit& u) const {
    for (; firstKey < at.keys; firstKey += kKeyUnits) {
      u = {firstKey, firstBlock(at, firstKey), 0, 0};
      if (u.firstQuery < at.endQuery) return true;
    }
    return false;
  }
  /// Goes to the next unit; false after the last.
  bool advance(const Place& at, Unit& u) const {
    if (++u.query < queriesIn(at, u)) return true;
    u.query = 0;
    if (++u.key < keysIn(at, u)) return true;
    u.key = 0;
    u.firstQuery += kQueryUnits;
    return u.firstQuery < at.endQuery || enter(at, u.firstKey + kKeyUnits, u);
  }

  /// Scores, or v·doutᵀ, of unit number `index`.
  Product scoresOf(const Place& at, const Unit& u, int64_t index, bool ofValues,
                   const GradTile& t) const {
    const PackedHead& h = at.packed;
    return {(ofValues ? h.value : h.key) + (u.firstKey + u.key) * shape.unitSize(),
            (ofValues ? h.cotangent : h.query) + (u.firstQuery + u.query) * shape.unitSize(),
            kPair,
            kPair,
            shape.depth,
            (ofValues ? t.grad : t.score) + index % 2 * kScores,
            kUnit,
            true,
            false,
            false};
  }

  /// Turns a unit's scores and v·doutᵀ into packed weights and score gradients.
  template <bool kMasked>
  FIGMENT_INLINE void weigh(const Place& at, const Unit& u, int64_t index, int64_t from, int64_t to,
                            const GradTile& t, const GradBlock& block) const {
    const F32 factor = F32::broadcast(shape.factor());
    const float *scores = t.score + index % 2 * kScores, *grads = t.grad + index % 2 * kScores;
    uint16_t* weight = block.weight + GradBlock::rowAt(u.key, u.query);
    uint16_t* scoreGrad = block.scoreGrad + GradBlock::rowAt(u.key, u.query);
    uint16_t* columns = block.scoreGradColumns + GradBlock::columnAt(u.key, u.query);
    const int64_t firstQuery = (u.firstQuery + u.query) * kUnit;
    const float *lse = at.packed.lse + firstQuery, *dot = at.packed.dot + firstQuery;
    const int64_t firstKey = (u.firstKey + u.key) * kUnit;
    const int64_t counting = shape.lengthOf(at.head) - firstKey;
    const int64_t firstSees = firstSeeing(at.head, firstKey) - firstQuery;
    const int64_t later = shape.p.causal;
    for (int64_t line = from; line < to; line++) {
      for (int64_t j = 0; j < kSide; j += kLanes) {
        I32 grad[2][2];  // of both rows, at both halves
        for (int64_t r = 0; r < 2; r++) {
          const int64_t row = line + r * kSide;
          I32 weights[2];
          for (int64_t half = 0; half < 2; half++) {
            const int64_t i = j + half * kSide;
            F32 w =
                exp2ForBf16(fma(F32::load(scores + row * kUnit + i), factor, F32::load(lse + i)));
            F32 g = w * (F32::load(grads + row * kUnit + i) + F32::load(dot + i));
            if constexpr (kMasked) {
              // Lanes from `unseen` on see the row.
              const int64_t unseen = row < counting ? firstSees + row * later - i : kUnit;
              const Mask seen = gt(I32::iota(), I32::broadcast(int32_t(unseen) - 1));
              w = blend(seen, w, F32::zero());
              g = blend(seen, g, F32::zero());
            }
            weights[half] = readyToRound(w);
            grad[r][half] = readyToRound(g);
          }
          storePairsOf(weight + row * kTileDepth + 2 * j, roundedPairs(weights[0], weights[1]));
          storePairsOf(scoreGrad + row * kTileDepth + 2 * j, roundedPairs(grad[r][0], grad[r][1]));
        }
        for (int64_t half = 0; half < 2; half++)
          storePairsOf(columns + half * kTile + line * kTileDepth + 2 * j,
                       roundedPairs(grad[0][half], grad[1][half]));
      }
    }
  }

  /// Whether all queries of a unit see all its keys.
  bool seesAll(const Place& at, const Unit& u) const {
    const int64_t last = (u.firstKey + u.key + 1) * kUnit - 1;
    return last < shape.lengthOf(at.head) &&
           firstSeeing(at.head, last) <= (u.firstQuery + u.query) * kUnit;
  }

  /// Sums that a block adds to: dv and dk of each unit of keys, and dq of each unit of queries, 32
  /// numbers of d at a time.
  int64_t sumsOf(const Place& at, const Unit& u) const {
    return (2 * keysIn(at, u) + queriesIn(at, u)) * shape.depth;
  }

  /// What a block adds to one of its sums.
  Product sumOf(const Place& at, const Unit& u, int64_t sum, const GradBlock& block) const {
    const PackedHead& h = at.packed;
    const int64_t column = sum % shape.depth, size = shape.unitSize(), width = shape.width;
    const int64_t keys = keysIn(at, u), queries = queriesIn(at, u);
    const bool narrow = shape.columnsFrom(column * kBlock) <= kSide;
    int64_t unit = sum / shape.depth;
    if (unit < 2 * keys) {
      const bool ofKeys = unit >= keys;
      if (ofKeys) unit -= keys;
      return {(ofKeys ? block.scoreGrad : block.weight) + GradBlock::rowAt(unit, 0),
              (ofKeys ? h.queryAlong : h.cotangentAlong) + u.firstQuery * size + column * kPair,
              kPair,
              size,
              queries,
              (ofKeys ? at.keyGrad : at.valueGrad) + (u.firstKey + unit) * kUnit * width +
                  column * kBlock,
              width,
              false,
              false,
              narrow};
    }
    unit -= 2 * keys;
    return {h.keyAlong + u.firstKey * size + column * kPair,
            block.scoreGradColumns + GradBlock::columnAt(0, unit),
            size,
            kPair,
            keys,
            at.queryGrad + ((u.firstQuery - at.firstQuery + unit) * shape.depth + column) * kScores,
            kUnit,
            false,
            narrow,
            false};
  }

  /// Adds all units of a run to its sums.
  template <class Tiles>
  void addUnits(Tiles& tiles, const Place& at, const GradTile& t) const {
    Unit u, next, added{};
    if (!enter(at, 0, u)) return;
    int64_t open = 0, done = 0;  // sums of the block before, and to how many of them it was added
    int64_t inBlock = 0, filled = 0;
    Products products;
    const auto drain = [&] {
      while (products.left() > 0) products.step(tiles);
    };
    products.add(scoresOf(at, u, 0, false, t));
    products.add(scoresOf(at, u, 0, true, t));
    drain();
    bool more = true;
    for (int64_t index = 0; more; index++, u = next) {
      next = u;
      more = advance(at, next);
      const int64_t units = keysIn(at, u) * queriesIn(at, u);
      const GradBlock &filling = t.blocks[filled % 2], &adding = t.blocks[(filled + 1) % 2];
      for (const int64_t share = ceilDiv(open * (inBlock + 1), units); done < share; done++) {
        if (products.full()) drain();
        products.add(sumOf(at, added, done, adding));
      }
      if (more) {
        products.add(scoresOf(at, next, index + 1, false, t));
        products.add(scoresOf(at, next, index + 1, true, t));
      }
      const int64_t shares = larger(1, products.left());
      const bool whole = seesAll(at, u);
      for (int64_t i = 0; i < shares; i++) {
        if (products.left() > 0) products.step(tiles);
        const int64_t from = i * kSide / shares, to = (i + 1) * kSide / shares;
        if (whole)
          weigh<false>(at, u, index, from, to, t, filling);
        else
          weigh<true>(at, u, index, from, to, t, filling);
      }
      if (++inBlock < units) continue;
      added = u;
      open = sumsOf(at, u);
      inBlock = done = 0;
      filled++;
    }
    for (; done < open; done++) {
      products.add(sumOf(at, added, done, t.blocks[(filled + 1) % 2]));
      drain();
    }
  }

  /// All units of a run; `sums` receive dk and dv, and dq is written.
  template <class Tiles>
  void runUnits(Tiles& tiles, int64_t head, int64_t run, const PackedHead& packed, Carver& carver,
                float* sums) const {
    const auto& p = shape.p;
    const GradTile t = GradTile::take(carver, shape.width);
    float* queryGrad = carver.take<float>(runUnits() * kUnit * shape.width);
    const int64_t first = firstOf(run), end = firstOf(run + 1);
    const Sight last = shape.sight(head, smaller(p.sq, end * kUnit) - 1);
    const Place at{
        head, packed, first, end, ceilDiv(last.of(0), kUnit), sums, sums + keyFloats(), queryGrad};
    gemm::zeroFloats(sums, 2 * keyFloats());
    gemm::zeroFloats(queryGrad, (end - first) * kUnit * shape.width);
    addUnits(tiles, at, t);
    const Results dq = Results::of(call.out[0]) + shape.offset(head, p.sq);
    for (int64_t unit = first; unit < end; unit++) {
      for (int64_t column = 0; column < shape.depth; column++) {
        const float* from = queryGrad + ((unit - first) * shape.depth + column) * kScores;
        for (int64_t e = 0; e < kBlock; e += kSide)
          for (int64_t i = 0; i < kUnit; i += kSide)
            transposeWords(t.rows + i * shape.width + column * kBlock + e,
                           shape.width * int64_t(sizeof(float)), from + e * kUnit + i,
                           kUnit * int64_t(sizeof(float)));
      }
      for (int64_t i = 0; i < shape.queriesOf(unit); i++)
        storeScaled(dq + (unit * kUnit + i) * shape.stride, t.rows + i * shape.width,
                    float(p.scale));
    }
  }

  void storeScaled(Results to, const float* sums, float factor) const {
    forLanes(shape.p.d, [&](int64_t e, int lanes) {
      gemm::storeElements(to + e, loadLanes(sums + e, lanes) * F32::broadcast(factor), lanes);
    });
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

/// Memory of the workers, then packed heads, then sums of dk and dv.
inline size_t attentionGradScratch(const OpCall& call, int threads) {
  const TiledAttentionGrad g(call);
  const int64_t heads = g.headsAtOnce(threads), sums = g.runs > 1 ? heads * g.runs : threads;
  return size_t(threads) * g.workerBytes() + size_t(heads) * g.headBytes() +
         size_t(sums * 2 * g.keyFloats()) * sizeof(float);
}

template <class Tiles>
inline void runAttentionGrad(const OpCall& call, Context& context) {
  const TiledAttentionGrad g(call);
  const auto& shape = g.shape;
  const size_t workerBytes = g.workerBytes(), headBytes = g.headBytes();
  const int64_t heads = shape.heads(), atOnce = g.headsAtOnce(context.threads());
  const int64_t keyUnits = shape.keyUnits, queryUnits = shape.queryUnits, runs = g.runs;
  std::byte* workers = context.scratch();
  std::byte* packed = workers + size_t(context.threads()) * workerBytes;
  auto* sums = reinterpret_cast<float*>(packed + size_t(atOnce) * headBytes);
  const int64_t sumFloats = 2 * g.keyFloats();
  const auto packedHead = [&](int64_t head) {
    Carver carver(packed + size_t(head) * headBytes);
    return PackedHead::take(carver, queryUnits, keyUnits, shape.unitSize());
  };
  for (int64_t firstHead = 0; firstHead < heads; firstHead += atOnce) {
    const int64_t count = smaller(atOnce, heads - firstHead), units = queryUnits + keyUnits;
    constexpr int64_t kPackGrain = 8, kKeyGrain = 64;
    context.parallelFor(count * units, kPackGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t head = i / units, unit = i % units;
        if (unit < keyUnits)
          g.packKeys(firstHead + head, unit, packedHead(head));
        else
          g.packQueries(firstHead + head, unit - keyUnits, packedHead(head));
      }
    });
    context.parallelFor(count * runs, 1, [&](int64_t begin, int64_t end, int worker) {
      Tiles tiles;
      for (int64_t task = begin; task < end; task++) {
        const int64_t head = task / runs;
        float* own = sums + (runs > 1 ? task : worker) * sumFloats;
        Carver carver(workers + size_t(worker) * workerBytes);
        g.runUnits(tiles, firstHead + head, task % runs, packedHead(head), carver, own);
        for (int64_t key = 0; runs == 1 && key < shape.p.sk; key++)
          g.writeKey(firstHead + head, key, own, 1);
      }
    });
    if (runs == 1) continue;
    context.parallelFor(count * shape.p.sk, kKeyGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t head = i / shape.p.sk;
        g.writeKey(firstHead + head, i % shape.p.sk, sums + head * runs * sumFloats, runs);
      }
    });
  }
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
