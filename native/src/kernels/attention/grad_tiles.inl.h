// The derivative of attention on matrix tiles, of bf16 operands or of f32 split into three bf16
// parts, recomputing the weights from lse
// (Dao et al., 2022, algorithm 4), with keys as the rows of scores:
//   pᵀ = exp(k·qᵀ − lse),  dsᵀ = pᵀ ∘ (v·doutᵀ − D),  D = Σ out·dout
//   dv += pᵀ·dout,  dk += dsᵀ·q,  dqᵀ += kᵀ·dsᵀ
// Rows of pᵀ and dsᵀ are the rows of the products for dv and dk, and dsᵀ are columns of that for
// dqᵀ, so that nothing is transposed but inputs, once, and dq at the end. p and ds are f32 until
// they are rounded to bf16 as factors. The tiles multiply the scores of the next unit (32 keys by
// 32 queries) and the sums of the block of units before, while vectors turn scores into factors. A
// task is one head and a run of its queries; how many runs follows from the shape, and their dk and
// dv are added in order. A run's queries are packed and met by all keys in stages, while they are
// in the second-level cache. Include only from files compiled for one instruction set.
#pragma once

#include <type_traits>

#include "beside_tiles.h"
#include "grad_heads.inl.h"
#include "grad_walk.inl.h"
#include "tile_products.inl.h"
#include "tile_weights.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// What one worker keeps of a block of units: each unit in all its parts.
template <int kParts>
struct GradBlock {
  uint16_t *weight, *scoreGrad;  ///< packed rows of keys: [kKeyUnits, kQueryUnits]
  uint16_t* scoreGradColumns;    ///< packed columns of queries: [kQueryUnits, kKeyUnits]

  static constexpr int64_t kSize = kParts * kPair;  ///< of a unit
  static GradBlock take(Carver& carver) {
    constexpr int64_t kNumbers = kKeyUnits * kQueryUnits * kSize;
    GradBlock b;
    b.weight = carver.take<uint16_t>(kNumbers);
    b.scoreGrad = carver.take<uint16_t>(kNumbers);
    b.scoreGradColumns = carver.take<uint16_t>(kNumbers);
    return b;
  }
  static int64_t rowAt(int64_t key, int64_t query) { return (key * kQueryUnits + query) * kSize; }
  static int64_t columnAt(int64_t key, int64_t query) { return (query * kKeyUnits + key) * kSize; }
};

/// What one worker keeps besides.
template <int kParts>
struct GradTile {
  float *score, *grad;          ///< two units each: scores and v·doutᵀ
  float* rows;                  ///< [kUnit, width] of dq
  GradBlock<kParts> blocks[2];  ///< the one that is being filled, and the one that is being added

  template <class Shape>
  static GradTile take(Carver& carver, const Shape& shape) {
    GradTile t;
    t.score = carver.take<float>(2 * kScores);
    t.grad = carver.take<float>(2 * kScores);
    t.rows = carver.take<float>(kUnit * shape.width);
    for (GradBlock<kParts>& block : t.blocks) block = GradBlock<kParts>::take(carver);
    return t;
  }
};

template <int kParts>
struct TiledAttentionGrad {
  using Tile = GradTile<kParts>;
  using Block = GradBlock<kParts>;

  explicit TiledAttentionGrad(const OpCall& call) : call(call), heads(call), shape(heads.shape) {
    // Enough runs for this many tasks, but none shorter than a few units, whose sum it must repay;
    // and stages of which what passes by stays in a second-level cache.
    constexpr int64_t kTasks = 16, kFewestUnits = 4, kStageBytes = int64_t(3) << 19;
    runs = larger(1, smaller(ceilDiv(kTasks, shape.heads()), shape.queryUnits / kFewestUnits));
    const int64_t unitBytes = (2 * kParts + 1) * int64_t(sizeof(float)) * shape.width * kUnit;
    const int64_t runUnits = ceilDiv(shape.queryUnits, runs);
    stageUnits = ceilDiv(runUnits, ceilDiv(runUnits * unitBytes, kStageBytes));
  }

  /// Whether workers pack keys of their own.
  bool ownKeys() const { return runs == 1; }
  size_t workerBytes() const {
    Carver measure(nullptr);
    Tile::take(measure, shape);
    measure.take<float>(stageUnits * kUnit * shape.width);
    PackedQueries::take(measure, stageUnits, shape.unitSize());
    return measure.used();
  }
  /// Heads whose tasks are made at a time, and those of which packed keys are kept.
  int64_t headsAtOnce(int threads) const {
    if (ownKeys()) return shape.heads();
    return headsAtATime(shape.heads(), int64_t(heads.keyBytes() / sizeof(uint16_t)), threads);
  }
  int64_t keptHeads(int threads) const { return ownKeys() ? threads : headsAtOnce(threads); }
  /// The first unit of queries of a run.
  int64_t firstOf(int64_t run) const { return run * shape.queryUnits / runs; }
  /// Sums of dk, and as many of dv, of one run: [keys of whole units, width].
  int64_t keyFloats() const { return shape.keyUnits * kUnit * shape.width; }

  using Walk = GradWalk;
  using Unit = GradUnit;

  /// One head and stage while it is worked on.
  struct Place {
    Walk walk;
    const PackedKeys& keys;
    const PackedQueries& queries;  ///< of the stage
    float largestKey;              ///< |k|²
    float *keyGrad, *valueGrad;    ///< [keys, width]
    float* queryGrad;              ///< of each unit of the stage, [width / 32, 32, 32]: dqᵀ

    /// Where a unit's queries are among those of the stage.
    int64_t indexOf(const Unit& u) const { return u.firstQuery + u.query - walk.firstQuery; }
  };

  /// Scores, or v·doutᵀ, of unit number `index`.
  UnitProduct scoresOf(const Place& at, const Unit& u, int64_t index, bool ofValues,
                       const Tile& t) const {
    const int64_t key = (u.firstKey + u.key) * shape.unitSize();
    const int64_t query = at.indexOf(u) * shape.unitSize();
    float* sums = (ofValues ? t.grad : t.score) + index % 2 * kScores;
    return ofValues ? shape.scores(at.keys.value + key, at.queries.cotangent + query, sums)
                    : shape.scores(at.keys.key + key, at.queries.query + query, sums);
  }

  GradWeigher<kParts> weigherOf(const Place& at, const Unit& u, int64_t index, const Tile& t,
                                const Block& block) const {
    const int64_t firstQuery = at.indexOf(u) * kUnit;
    return {.score = t.score + index % 2 * kScores,
            .grad = t.grad + index % 2 * kScores,
            .lse = at.queries.lse + firstQuery,
            .dot = at.queries.dot + firstQuery,
            .share = at.queries.share + firstQuery,
            .weight = block.weight + Block::rowAt(u.key, u.query),
            .scoreGrad = block.scoreGrad + Block::rowAt(u.key, u.query),
            .scoreGradColumns = block.scoreGradColumns + Block::columnAt(u.key, u.query),
            .factor = shape.factor(),
            .sight = sightOf(at, u)};
  }
  KeySight sightOf(const Place& at, const Unit& u) const {
    const int64_t firstKey = (u.firstKey + u.key) * kUnit;
    return {.keys = at.walk.length - firstKey,
            .firstSees = at.walk.firstSeeing(firstKey) - (u.firstQuery + u.query) * kUnit,
            .later = shape.p.causal};
  }

  /// Makes the largest scores of a unit's queries their lse and what the sums of their weights
  /// leave their shares, both of scores as the units will have them: large ones are rounded at
  /// their size, and those of the forward pass were not summed in this order.
  template <class Tiles>
  void findShares(Tiles& tiles, const Place& at, int64_t queryUnit, const Tile& t) const {
    const int64_t first = (queryUnit - at.walk.firstQuery) * kUnit;
    const ScoreSums<kParts> sums{at.queries.lse + first, at.queries.share + first};
    for (int64_t i = 0; i < kUnit; i++) {
      sums.highest[i] = -__builtin_inff();
      sums.total[i] = 0;
    }
    OpenSums open;
    for (int64_t unit = 0; unit < at.walk.keys; unit++) {
      const Unit u{unit, queryUnit, 0, 0};
      multiply<kParts, 2, 2, Passing::b, Beside::much>(tiles, scoresOf(at, u, 0, false, t), open,
                                                       [] {});
      open.close(tiles);
      sums.add(t.score, shape.factor(), sightOf(at, u));
    }
    for (int64_t i = 0; i < kUnit; i++) {
      const bool blind = sums.total[i] == 0;
      sums.highest[i] = blind ? -__builtin_inff() : -sums.highest[i];
      sums.total[i] = blind ? 0 : 1 / sums.total[i];
    }
  }

  /// Sums that a block adds to: dv and dk of each unit of keys, and dq of each unit of queries, 32
  /// numbers of d at a time.
  int64_t sumsOf(const Place& at, const Unit& u) const {
    return (2 * at.walk.keysIn(u) + at.walk.queriesIn(u)) * shape.depth;
  }

  /// Adds a block to one of its sums.
  template <class Tiles, class Between>
  FIGMENT_INLINE void addSum(Tiles& tiles, const Place& at, const Unit& u, int64_t sum,
                             const Block& block, OpenSums& open, Between&& between) const {
    const int64_t column = sum % shape.depth, size = shape.unitSize(), partSize = shape.partSize();
    const int64_t keys = at.walk.keysIn(u), queries = at.walk.queriesIn(u), width = shape.width;
    const bool narrow = shape.columnsFrom(column * kBlock) <= kSide;
    int64_t unit = sum / shape.depth;
    if (unit < 2 * keys) {
      const bool ofKeys = unit >= keys;
      if (ofKeys) unit -= keys;
      const UnitProduct p{.a = (ofKeys ? block.scoreGrad : block.weight) + Block::rowAt(unit, 0),
                          .b = (ofKeys ? at.queries.queryAlong : at.queries.cotangentAlong) +
                               (u.firstQuery - at.walk.firstQuery) * size + column * kPair,
                          .aStep = Block::kSize,
                          .bStep = size,
                          .aPart = kPair,
                          .bPart = partSize,
                          .steps = queries,
                          .sums = (ofKeys ? at.keyGrad : at.valueGrad) +
                                  (u.firstKey + unit) * kUnit * width + column * kBlock,
                          .step = width,
                          .first = false};
      if (narrow)
        multiply<kParts, 2, 1, Passing::b, Beside::much>(tiles, p, open, between);
      else
        multiply<kParts, 2, 2, Passing::b, Beside::much>(tiles, p, open, between);
      return;
    }
    unit -= 2 * keys;
    const UnitProduct p{
        .a = at.keys.keyAlong + u.firstKey * size + column * kPair,
        .b = block.scoreGradColumns + Block::columnAt(0, unit),
        .aStep = size,
        .bStep = Block::kSize,
        .aPart = partSize,
        .bPart = kPair,
        .steps = keys,
        .sums = at.queryGrad +
                ((u.firstQuery - at.walk.firstQuery + unit) * shape.depth + column) * kScores,
        .step = kUnit,
        .first = false};
    if (narrow)
      multiply<kParts, 1, 2, Passing::a, Beside::much>(tiles, p, open, between);
    else
      multiply<kParts, 2, 2, Passing::a, Beside::much>(tiles, p, open, between);
  }
  /// Steps of K of sums `from` to `to` of a block.
  int64_t stepsOf(const Place& at, const Unit& u, int64_t from, int64_t to) const {
    const int64_t keys = at.walk.keysIn(u), queries = at.walk.queriesIn(u);
    const int64_t ofKeys = 2 * keys * shape.depth;  // the first sums, of `queries` steps each
    const int64_t first = smaller(to, ofKeys) - smaller(from, ofKeys);
    return first * queries + (to - from - first) * keys;
  }

  /// Adds all units of a run to its sums.
  template <class Tiles>
  void addUnits(Tiles& tiles, const Place& at, const Tile& t) const {
    Unit u, next, added{};
    if (!at.walk.enter(0, u)) return;
    int64_t sums = 0, done = 0;  // of the block before, and to how many of them it was added
    int64_t inBlock = 0, filled = 0;
    OpenSums open;
    const auto addScores = [&](const Unit& of, int64_t index, auto&& between) {
      for (const bool ofValues : {false, true})
        multiply<kParts, 2, 2, Passing::b, Beside::much>(
            tiles, scoresOf(at, of, index, ofValues, t), open, between);
    };
    const auto addUpTo = [&](int64_t share, auto&& between) {
      for (; done < share; done++)
        addSum(tiles, at, added, done, t.blocks[(filled + 1) % 2], open, between);
    };
    addScores(u, 0, [] {});
    bool more = true;
    for (int64_t index = 0; more; index++, u = next) {
      next = u;
      more = at.walk.advance(next);
      const int64_t units = at.walk.keysIn(u) * at.walk.queriesIn(u);
      const int64_t share = ceilDiv(sums * (inBlock + 1), units);
      const int64_t steps = Terms<kParts>::kCount * stepsOf(at, added, done, share) +
                            (more ? 2 * shape.scoreSteps() : 0);
      const GradWeigher<kParts> weigher = weigherOf(at, u, index, t, t.blocks[filled % 2]);
      const auto weighBeside = [&](auto plain) {
        const auto weigh = [&](int64_t from, int64_t to) {
          weigher.template weigh<plain()>(from, to);
        };
        Pace pace(kSide, steps);
        const auto between = [&] { pace.next(weigh); };
        if (more)
          addScores(next, index + 1, between);
        else
          open.close(tiles);
        addUpTo(share, between);
        pace.finish(weigh);
      };
      if (at.walk.seesAll(u) && heads.trusted(at.queries, at.indexOf(u), at.largestKey))
        weighBeside(std::true_type{});
      else
        weighBeside(std::false_type{});
      if (++inBlock < units) continue;
      added = u;
      sums = sumsOf(at, u);
      inBlock = done = 0;
      filled++;
    }
    addUpTo(sums, [] {});
    open.close(tiles);
  }

  /// All units of a run; `sums` receive dk and dv, and dq is written. Answers whether the numbers
  /// of queries and cotangents suit.
  template <class Tiles>
  bool runUnits(Tiles& tiles, int64_t head, int64_t run, const PackedKeys& keys, Carver& carver,
                float* sums) const {
    const Tile t = Tile::take(carver, shape);
    float* queryGrad = carver.take<float>(stageUnits * kUnit * shape.width);
    const PackedQueries queries = PackedQueries::take(carver, stageUnits, shape.unitSize());
    gemm::zeroFloats(sums, 2 * keyFloats());
    bool suits = true;
    QuerySizes sizes;
    const int64_t endOfRun = firstOf(run + 1);
    for (int64_t first = firstOf(run); first < endOfRun; first += stageUnits) {
      const int64_t end = smaller(endOfRun, first + stageUnits), units = end - first;
      for (int64_t i = 0; i < units; i++)
        suits &= heads.packQueries(head, first + i, i, queries, sizes);
      const Place at{walkOf(head, first, end), keys,     queries, heads.largestKey(keys), sums,
                     sums + keyFloats(),       queryGrad};
      gemm::zeroFloats(queryGrad, units * kUnit * shape.width);
      for (int64_t i = 0; i < units; i++)
        if (!heads.trusted(queries, i, at.largestKey)) findShares(tiles, at, first + i, t);
      addUnits(tiles, at, t);
      writeQueries(head, at, t);
    }
    return suits && (kParts == 1 || heads.suits(keys, sizes));
  }
  Walk walkOf(int64_t head, int64_t first, int64_t end) const {
    const auto& p = shape.p;
    const Sight last = shape.sight(head, smaller(p.sq, end * kUnit) - 1);
    const int64_t length = shape.lengthOf(head);
    return {.firstQuery = first,
            .endQuery = end,
            .keys = ceilDiv(last.of(0), kUnit),
            .length = length,
            .behind = length - p.sq,
            .causal = p.causal != 0};
  }
  /// Writes dq of a stage.
  void writeQueries(int64_t head, const Place& at, const Tile& t) const {
    const Results dq = Results::of(call.out[0]) + shape.offset(head, shape.p.sq);
    for (int64_t unit = at.walk.firstQuery; unit < at.walk.endQuery; unit++) {
      for (int64_t column = 0; column < shape.depth; column++) {
        const float* from =
            at.queryGrad + ((unit - at.walk.firstQuery) * shape.depth + column) * kScores;
        for (int64_t e = 0; e < kBlock; e += kSide)
          for (int64_t i = 0; i < kUnit; i += kSide)
            transposeWords(t.rows + i * shape.width + column * kBlock + e,
                           shape.width * int64_t(sizeof(float)), from + e * kUnit + i,
                           kUnit * int64_t(sizeof(float)));
      }
      for (int64_t i = 0; i < shape.queriesOf(unit); i++)
        storeScaled(dq + (unit * kUnit + i) * shape.stride, t.rows + i * shape.width,
                    float(shape.p.scale));
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
  GradHeads<kParts> heads;
  const HeadShape<AttentionGradParams, kParts>& shape;
  int64_t runs, stageUnits;
};

/// Memory of the workers, then packed keys, then sums of dk and dv.
template <int kParts>
inline size_t attentionGradScratch(const OpCall& call, int threads) {
  const TiledAttentionGrad<kParts> g(call);
  const int64_t heads = g.keptHeads(threads);
  const int64_t sums = g.ownKeys() ? threads : heads * g.runs;
  const size_t own = size_t(threads) * g.workerBytes() + size_t(heads) * g.heads.keyBytes() +
                     size_t(sums * 2 * g.keyFloats()) * sizeof(float);
  if (kParts == 1 && !g.shape.p.causal) return own;
  const size_t beside = scratchBesideTiles("attentionGrad", kVariantName, call, threads);
  return own > beside ? own : beside;
}

template <class Tiles, int kParts>
inline void runAttentionGrad(const OpCall& call, Context& context) {
  const TiledAttentionGrad<kParts> g(call);
  const auto& shape = g.shape;
  const size_t workerBytes = g.workerBytes(), keyBytes = g.heads.keyBytes();
  const int64_t heads = shape.heads(), atOnce = g.headsAtOnce(context.threads());
  const int64_t keyUnits = shape.keyUnits, runs = g.runs;
  std::byte* workers = context.scratch();
  std::byte* packed = workers + size_t(context.threads()) * workerBytes;
  auto* sums = reinterpret_cast<float*>(packed + size_t(g.keptHeads(context.threads())) * keyBytes);
  const int64_t sumFloats = 2 * g.keyFloats();
  const auto packedKeys = [&](int64_t kept) {
    Carver carver(packed + size_t(kept) * keyBytes);
    return PackedKeys::take(carver, keyUnits, shape.unitSize());
  };
  Unsuited unsuited;
  for (int64_t firstHead = 0; firstHead < heads; firstHead += atOnce) {
    const int64_t count = smaller(atOnce, heads - firstHead);
    constexpr int64_t kPackGrain = 8, kKeyGrain = 64;
    if (!g.ownKeys()) {
      context.parallelFor(count * keyUnits, kPackGrain, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; i++)
          unsuited.note(
              g.heads.packKeys(firstHead + i / keyUnits, i % keyUnits, packedKeys(i / keyUnits)));
      });
    }
    context.parallelFor(count * runs, 1, [&](int64_t begin, int64_t end, int worker) {
      Tiles tiles;
      for (int64_t task = begin; task < end; task++) {
        const int64_t head = firstHead + task / runs;
        const PackedKeys keys = packedKeys(g.ownKeys() ? worker : task / runs);
        for (int64_t unit = 0; g.ownKeys() && unit < keyUnits; unit++)
          unsuited.note(g.heads.packKeys(head, unit, keys));
        float* own = sums + (g.ownKeys() ? worker : task) * sumFloats;
        Carver carver(workers + size_t(worker) * workerBytes);
        unsuited.note(g.runUnits(tiles, head, task % runs, keys, carver, own));
        for (int64_t key = 0; g.ownKeys() && key < shape.p.sk; key++) g.writeKey(head, key, own, 1);
      }
    });
    if (g.ownKeys()) continue;
    context.parallelFor(count * shape.p.sk, kKeyGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t head = i / shape.p.sk;
        g.writeKey(firstHead + head, i % shape.p.sk, sums + head * runs * sumFloats, runs);
      }
    });
  }
  if (unsuited.met()) runBesideTiles("attentionGrad", kVariantName, call, context);
}

/// The cotangent is a factor too, and out is read.
template <int kParts>
inline bool takesAttentionGrad(const OpCall& call) {
  return takesHeads<AttentionGradParams, kParts>(call, {0, 1, 2, 5}) &&
         gemm::isTileFormat(call.in[3].format);
}

template <class Tiles, int kParts>
constexpr Variant attentionGradOn(const char* name) {
  constexpr int64_t kManyKeys = 128;
  return {"attentionGrad",
          name,
          Tiles::kIsa,
          Tiles::template supports<takesAttentionGrad<kParts>,
                                   fillsAttention<AttentionGradParams, kParts, kManyKeys>>,
          attentionGradScratch<kParts>,
          runAttentionGrad<Tiles, kParts>};
}

}  // namespace figment::FIGMENT_ISA::tiles
