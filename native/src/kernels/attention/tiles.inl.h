// Attention of bf16 operands on matrix tiles: units of 32 queries against units of 32 keys, scores
// = q·kᵀ and out = p·v with queries as the rows of both products. A query's weights are
// 2^(score − shift), scores in units of log 2, with a shift that is known before: a bound on its
// scores, |q|·max |k|, where that is so small that no weight can come near the least numbers, else
// their maximum, for which scores are computed twice. So units wait for none before, nothing is
// rescaled, and the tiles multiply the next unit and the one before while the vectors raise 2 to
// the powers of this one. Scores, weights and sums are f32; weights are rounded to bf16 for the
// second product, and their sum is that of the unrounded ones. Include only from files compiled for
// one instruction set.
#pragma once

#include "../params/attention.generated.h"
#include "../simd/math.h"
#include "tile_heads.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Units of keys whose weights are multiplied by values at a time, and units of weights that are
/// kept: those that wait for it, and those that are being written.
constexpr int64_t kDeep = 4, kWeightUnits = 2 * kDeep;

/// Scores between ± this are not searched for their maximum: weights then are 2^-64 or more.
constexpr float kNarrow = 32;

/// What one worker keeps while it works on a unit of queries.
struct QueryTile {
  uint16_t *query, *weight;  ///< packed rows
  float* score;              ///< two units
  float* output;             ///< [kUnit, width] not yet divided by total
  float* total;              ///< [kUnit, kLanes] sums of weights
  float* shift;              ///< [kUnit]

  static QueryTile take(Carver& carver, int64_t d, int64_t width) {
    QueryTile t;
    t.query = carver.take<uint16_t>(packedSize(d));
    t.weight = carver.take<uint16_t>(kWeightUnits * kPair);
    t.score = carver.take<float>(2 * kScores);
    t.output = carver.take<float>(kUnit * width);
    t.total = carver.take<float>(kUnit * kLanes);
    t.shift = carver.take<float>(kUnit);
    return t;
  }
  float* scoreOf(int64_t unit) const { return score + unit % 2 * kScores; }
  uint16_t* weightOf(int64_t unit) const { return weight + unit % kWeightUnits * kPair; }
};

/// The largest of |x|² among packed columns that are `depth` steps of K deep; infinite if any is
/// not finite.
inline float largestSquare(const uint16_t* columns, int64_t depth) {
  F32 largest = F32::zero();
  for (int64_t side = 0; side < kPair; side += kTile) {
    for (int64_t i = 0; i < kTileDepth; i += 2 * kLanes) {
      F32 sum = F32::zero();
      for (int64_t k = 0; k < depth; k++) {
        for (int64_t line = 0; line < kSide; line++) {
          const Pair x = loadPairOf(columns + k * kPair + side + line * kTileDepth + i);
          sum = mulAdd(x.high, x.high, mulAdd(x.low, x.low, sum));
        }
      }
      largest = maximum(largest, sum);
    }
  }
  return any(isNan(largest)) ? __builtin_inff() : reduceMax(largest);
}

/// |x|² of a packed row.
inline float squareOf(const uint16_t* rows, int64_t row, int64_t depth) {
  F32 sum = F32::zero();
  for (int64_t k = 0; k < depth; k++) {
    for (int64_t i = 0; i < kTileDepth; i += 2 * kLanes) {
      const Pair x = loadPairOf(rows + k * kPair + row * kTileDepth + i);
      sum = mulAdd(x.high, x.high, mulAdd(x.low, x.low, sum));
    }
  }
  return reduceAdd(sum);
}

struct TiledAttention {
  explicit TiledAttention(const OpCall& call) : call(call), shape(call, 3) {}

  size_t workerBytes() const {
    Carver measure(nullptr);
    QueryTile::take(measure, shape.p.d, shape.width);
    return measure.used();
  }
  /// Packed keys and values of one head.
  int64_t headNumbers() const { return 2 * shape.keyUnits * shape.unitSize(); }
  int64_t headsAtOnce(int threads) const {
    return headsAtATime(shape.heads(), headNumbers(), threads);
  }

  /// Packs the keys and values of a unit; answers the largest |k|².
  float packUnit(int64_t head, int64_t unit, uint16_t* ofHead) const {
    const int64_t d = shape.p.d, count = shape.keysOf(head, unit), first = unit * kUnit;
    const HeadRows keys = shape.rows(call.in[1], head, shape.p.sk, first);
    uint16_t* to = ofHead + unit * shape.unitSize();
    transposeColumns(to, keys.data, keys.stride, count, d);
    packColumnsAlong(to + shape.keyUnits * shape.unitSize(),
                     shape.rows(call.in[2], head, shape.p.sk, first), count, d);
    return largestSquare(to, shape.depth);
  }

  /// A unit of queries of one head.
  struct Place {
    int64_t head, first, queries;
    Sight sight;  ///< of the first query
    const uint16_t *packedKeys, *packedValues;
  };

  /// Scores of a unit.
  Product scoresOf(const Place& at, int64_t unit, const QueryTile& t) const {
    return {t.query,     at.packedKeys + unit * shape.unitSize(),
            kPair,       kPair,
            shape.depth, t.scoreOf(unit),
            kUnit,       true,
            false,       false};
  }
  template <class Tiles>
  void multiplyKeys(Tiles& tiles, const Place& at, int64_t unit, const QueryTile& t) const {
    const Product p = scoresOf(at, unit, t);
    for (int64_t k = 0; k < p.steps; k++) multiplyStep<2, 2>(tiles, p, k);
  }

  /// What kDeep units of weights, the `deep`th such, add to 32 columns of the output.
  Product outputOf(const Place& at, int64_t deep, int64_t column, int64_t units,
                   const QueryTile& t) const {
    const int64_t unit = deep * kDeep;
    return {t.weightOf(unit),
            at.packedValues + unit * shape.unitSize() + column * kPair,
            kPair,
            shape.unitSize(),
            smaller(kDeep, units - unit),
            t.output + column * kBlock,
            shape.width,
            unit == 0,
            false,
            shape.columnsFrom(column * kBlock) <= kSide};
  }

  /// Turns rows of a unit's scores into packed weights, and adds those to the totals. kPlain: all
  /// queries see all keys, and shifts are so small that the least bit of the product with the
  /// factor does not matter.
  template <bool kPlain>
  FIGMENT_INLINE void weigh(const Place& at, int64_t unit, int64_t from, int64_t to,
                            const QueryTile& t) const {
    const F32 factor = F32::broadcast(shape.factor());
    const float *score = t.scoreOf(unit), *shifts = t.shift;
    uint16_t* weight = t.weightOf(unit);
    float* totals = t.total;
    const Sight sight = at.sight - unit * kUnit;
    for (int64_t row = from; row < to; row++) {
      const F32 shift = F32::broadcast(-shifts[row]);
      F32 total = F32::load(totals + row * kLanes);
      for (int64_t j = 0; j < kSide; j += kLanes) {
        const float* x = score + row * kUnit + j;
        const auto weightOf = [&](const float* of) {
          return exp2ForBf16(kPlain ? fma(F32::load(of), factor, shift)
                                    : F32::load(of) * factor + shift);
        };
        F32 low = weightOf(x), high = weightOf(x + kSide);
        if constexpr (!kPlain) {
          const I32 left = I32::broadcast(sight.within(row) - int32_t(j)) - I32::iota();
          low = blend(gt(left, I32::zero()), low, F32::zero());
          high = blend(gt(left, I32::broadcast(int32_t(kSide))), high, F32::zero());
        }
        total += low + high;
        storePairsOf(weight + row * kTileDepth + 2 * j,
                     roundedPairs(readyToRound(low), readyToRound(high)));
      }
      total.store(totals + row * kLanes);
    }
  }

  /// Raises the rows' maxima, in `total`, to a unit's scores.
  void raise(const Place& at, int64_t unit, const QueryTile& t) const {
    const F32 factor = F32::broadcast(shape.factor()), unseen = F32::broadcast(-__builtin_inff());
    const float* score = t.scoreOf(unit);
    const Sight sight = at.sight - unit * kUnit;
    for (int64_t row = 0; row < kUnit; row++) {
      const int32_t count = sight.within(row);
      F32 top = F32::load(t.total + row * kLanes);
      for (int64_t j = 0; j < kUnit; j += kLanes) {
        const Mask visible = lt(I32::iota(), I32::broadcast(count - int32_t(j)));
        top = max(blend(visible, F32::load(score + row * kUnit + j) * factor, unseen), top);
      }
      top.store(t.total + row * kLanes);
    }
  }

  /// Shifts that bound the scores, if those are narrow: largest is |k|².
  bool boundScores(float largest, const QueryTile& t) const {
    // A little more than 1, for rounding of the sums.
    constexpr float kSlack = 1.001f;
    const F32 scale = F32::broadcast(__builtin_fabsf(shape.factor()) * kSlack);
    for (int64_t row = 0; row < kUnit; row++) t.shift[row] = squareOf(t.query, row, shape.depth);
    Mask narrow = eq(F32::zero(), F32::zero());
    for (int64_t row = 0; row < kUnit; row += kLanes) {
      const F32 bound = sqrt(F32::load(t.shift + row) * F32::broadcast(largest)) * scale;
      bound.store(t.shift + row);
      narrow = narrow & le(bound, F32::broadcast(kNarrow));
    }
    return all(narrow);
  }

  /// Shifts that are the scores' maxima.
  template <class Tiles>
  void findMaxima(Tiles& tiles, const Place& at, int64_t units, const QueryTile& t) const {
    for (int64_t i = 0; i < kUnit * kLanes; i++) t.total[i] = -__builtin_inff();
    multiplyKeys(tiles, at, 0, t);
    for (int64_t unit = 0; unit < units; unit++) {
      if (unit + 1 < units) multiplyKeys(tiles, at, unit + 1, t);
      raise(at, unit, t);
    }
    for (int64_t row = 0; row < kUnit; row++) {
      const float highest = reduceMax(F32::load(t.total + row * kLanes));
      // A row without a finite score has weights of 0 instead of NaN.
      t.shift[row] = highest == -__builtin_inff() ? 0 : highest;
    }
  }

  template <class Tiles>
  void addUnits(Tiles& tiles, const Place& at, int64_t units, bool bounded,
                const QueryTile& t) const {
    const int64_t columns = shape.depth;
    int64_t done = 0;  // blocks of columns of kDeep units of weights that have been added
    Products products;
    const auto addNext = [&] {
      products.add(outputOf(at, done / columns, done % columns, units, t));
      done++;
    };
    multiplyKeys(tiles, at, 0, t);
    for (int64_t unit = 0; unit < units; unit++) {
      // What the tiles multiply beside this unit's weights: their share of the values of those
      // before, and the next scores.
      const int64_t share =
          (unit / kDeep - 1) * columns + ceilDiv(columns * (unit % kDeep + 1), kDeep);
      while (done < share) addNext();
      if (unit + 1 < units) products.add(scoresOf(at, unit + 1, t));
      const int64_t shares = larger(1, products.left());
      const bool plain = bounded && (at.sight - unit * kUnit).within(0) == kUnit;
      for (int64_t i = 0; i < shares; i++) {
        if (products.left() > 0) products.step(tiles);
        const int64_t from = i * kUnit / shares, to = (i + 1) * kUnit / shares;
        if (plain)
          weigh<true>(at, unit, from, to, t);
        else
          weigh<false>(at, unit, from, to, t);
      }
    }
    while (done < ceilDiv(units, kDeep) * columns) {
      addNext();
      while (products.left() > 0) products.step(tiles);
    }
  }

  /// `largest` holds |k|² of each unit of keys of the head.
  template <class Tiles>
  void run(Tiles& tiles, const Place& at, const float* largest, const QueryTile& t) const {
    const int64_t units = ceilDiv(at.sight.of(at.queries - 1), kUnit);
    const HeadRows query = shape.rows(call.in[0], at.head, shape.p.sq, at.first);
    copyRows(t.query, query.data, query.stride, at.queries, shape.p.d);
    float most = 0;
    for (int64_t unit = 0; unit < units; unit++) most = larger(most, largest[unit]);
    const bool bounded = boundScores(most, t);
    if (!bounded) findMaxima(tiles, at, units, t);
    gemm::zeroFloats(t.total, kUnit * kLanes);
    if (units > 0) addUnits(tiles, at, units, bounded, t);
    finish(at, t);
  }

  void finish(const Place& at, const QueryTile& t) const {
    const auto& p = shape.p;
    float* sums = t.total;  // row by row, over the lanes' sums of rows before
    for (int64_t i = 0; i < kUnit; i++) sums[i] = reduceAdd(F32::load(t.total + i * kLanes));
    float* lse = call.out[1].as<float>() + at.head * p.sq + at.first;
    for (int64_t i = 0; i < at.queries; i += kLanes)
      fma(F32::load(t.shift + i), F32::broadcast(float(kLn2)), log(F32::load(sums + i)))
          .storePartial(lse + i, int(smaller(kLanes, at.queries - i)));
    const Results out = Results::of(call.out[0]) + shape.offset(at.head, p.sq);
    for (int64_t i = 0; i < at.queries; i++) {
      const float* row = t.output + i * shape.width;
      const Results to = out + (at.first + i) * shape.stride;
      const bool blind = sums[i] == 0;
      const F32 share = F32::broadcast(1.0f / sums[i]);
      forLanes(p.d, [&](int64_t e, int lanes) {
        gemm::storeElements(to + e, blind ? F32::zero() : loadLanes(row + e, lanes) * share, lanes);
      });
    }
  }

  const OpCall& call;
  HeadShape<AttentionParams> shape;
};

/// Memory of the workers, then packed heads, then |k|² of their units.
inline size_t attentionScratch(const OpCall& call, int threads) {
  const TiledAttention attention(call);
  const int64_t heads = attention.headsAtOnce(threads);
  return size_t(threads) * attention.workerBytes() +
         size_t(heads * attention.headNumbers()) * sizeof(uint16_t) +
         size_t(heads * attention.shape.keyUnits) * sizeof(float);
}

template <class Tiles>
inline void runAttention(const OpCall& call, Context& context) {
  const TiledAttention attention(call);
  const auto& shape = attention.shape;
  const size_t workerBytes = attention.workerBytes();
  const int64_t heads = shape.heads(), atOnce = attention.headsAtOnce(context.threads());
  const int64_t keyUnits = shape.keyUnits, queryUnits = shape.queryUnits;
  std::byte* workers = context.scratch();
  auto* packed = reinterpret_cast<uint16_t*>(workers + size_t(context.threads()) * workerBytes);
  auto* largest = reinterpret_cast<float*>(packed + atOnce * attention.headNumbers());
  for (int64_t firstHead = 0; firstHead < heads; firstHead += atOnce) {
    const int64_t count = smaller(atOnce, heads - firstHead);
    constexpr int64_t kGrain = 8;
    context.parallelFor(count * keyUnits, kGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t head = i / keyUnits;
        largest[i] = attention.packUnit(firstHead + head, i % keyUnits,
                                        packed + head * attention.headNumbers());
      }
    });
    context.parallelFor(count * queryUnits, 1, [&](int64_t begin, int64_t end, int worker) {
      Tiles tiles;
      Carver carver(workers + size_t(worker) * workerBytes);
      const QueryTile mine = QueryTile::take(carver, shape.p.d, shape.width);
      for (int64_t i = begin; i < end; i++) {
        const int64_t head = i / queryUnits, first = i % queryUnits * kUnit;
        const int64_t queries = shape.queriesOf(i % queryUnits);
        const uint16_t* keys = packed + head * attention.headNumbers();
        attention.run(tiles,
                      {firstHead + head, first, queries, shape.sight(firstHead + head, first), keys,
                       keys + keyUnits * shape.unitSize()},
                      largest + head * keyUnits, mine);
      }
    });
  }
}

template <class Tiles>
constexpr Variant attentionOn() {
  using P = AttentionParams;
  return {"attention",      Tiles::kName,
          Tiles::kIsa,      Tiles::template supports<takesAttention<P>, fillsAttention<P>>,
          attentionScratch, runAttention<Tiles>};
}

}  // namespace figment::FIGMENT_ISA::tiles
