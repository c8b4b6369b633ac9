// Attention on matrix tiles, of bf16 operands or of f32 split into three bf16 parts: units of 32
// queries against units of 32 keys, scores = q·kᵀ and out = p·v with queries as the rows of both
// products. A query's weights are 2^(score − shift), scores in units of log 2, with a shift that is
// known before: a bound on its scores, |q|·max |k|, where that is so small that no weight can come
// near the least numbers, else their maximum, for which scores are computed twice. So units wait
// for none before, nothing is rescaled, and the tiles multiply the next unit and the one before
// while the vectors raise 2 to the powers of this one. Scores, weights and sums are f32; weights
// are rounded to bf16 for the second product, and their sum is that of the unrounded ones. Include
// only from files compiled for one instruction set.
#pragma once

#include <type_traits>

#include "../params/attention.generated.h"
#include "../simd/math.h"
#include "beside_tiles.h"
#include "tile_heads.inl.h"
#include "tile_products.inl.h"
#include "tile_weights.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Units of keys whose weights are multiplied by values at a time, and units of weights that are
/// kept: those that wait for it, and those that are being written.
constexpr int64_t kDeep = 2;
constexpr int64_t kWeightUnits = 2 * kDeep;

/// Scores between ± this are not searched for their maximum.
constexpr float kNarrow = 32;
/// Shifts of such scores are their bound, so that no weight is above 1 and sums with values cannot
/// overflow; or, in parts, whose values are no larger than kMostSplit, zero, which rounds least.
template <int kParts>
constexpr bool kShifted = kParts == 1;

/// What one worker keeps while it works on a unit of queries.
template <int kParts>
struct QueryTile {
  uint16_t *query, *weight;  ///< packed rows
  uint16_t* staged;          ///< parts of rows before they are packed
  float* score;              ///< two units
  float* output;             ///< [kUnit, width] not yet divided by total
  float* total;              ///< [kUnit, kLanes] sums of weights
  float* shift;              ///< [kUnit]

  template <class Shape>
  static QueryTile take(Carver& carver, const Shape& shape) {
    const int64_t width = shape.width;
    QueryTile t;
    t.query = carver.take<uint16_t>(shape.unitSize());
    t.weight = carver.take<uint16_t>(kWeightUnits * kParts * kPair);
    t.staged = carver.take<uint16_t>(shape.stagedSize());
    t.score = carver.take<float>(2 * kScores);
    t.output = carver.take<float>(kUnit * width);
    t.total = carver.take<float>(kUnit * kLanes);
    t.shift = carver.take<float>(kUnit);
    return t;
  }
  float* scoreOf(int64_t unit) const { return score + unit % 2 * kScores; }
  uint16_t* weightOf(int64_t unit) const { return weight + unit % kWeightUnits * kParts * kPair; }
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

template <int kParts>
struct TiledAttention {
  using Tile = QueryTile<kParts>;

  explicit TiledAttention(const OpCall& call) : call(call), shape(call, 3) {}

  size_t workerBytes() const {
    Carver measure(nullptr);
    Tile::take(measure, shape);
    return measure.used();
  }
  /// Packed keys and values of one head.
  int64_t headNumbers() const { return 2 * shape.keyUnits * shape.unitSize(); }
  int64_t headsAtOnce(int threads) const {
    return headsAtATime(shape.heads(), headNumbers(), threads);
  }

  /// Packs the keys and values of a unit; `largest` is set to the largest |k|². Answers whether the
  /// numbers suit.
  bool packUnit(int64_t head, int64_t unit, const Tile& t, uint16_t* ofHead, float& largest) const {
    const int64_t d = shape.p.d, length = shape.p.sk, count = shape.keysOf(head, unit);
    const int64_t first = unit * kUnit, partSize = shape.partSize();
    uint16_t* keys = ofHead + unit * shape.unitSize();
    uint16_t* values = keys + shape.keyUnits * shape.unitSize();
    bool suits = shape.forParts(
        call.in[1], head, length, first, count, 0, t.staged, [&](const HeadRows& rows, int part) {
          transposeColumns(keys + part * partSize, rows.data, rows.stride, count, d);
        });
    suits &= shape.forParts(call.in[2], head, length, first, count, kLeastSplit, t.staged,
                            [&](const HeadRows& rows, int part) {
                              packColumnsAlong(values + part * partSize, rows, count, d);
                            });
    largest = largestSquare(keys, shape.depth);
    return suits;
  }

  /// A unit of queries of one head.
  struct Place {
    int64_t head, first, queries;
    Sight sight;  ///< of the first query
    const uint16_t *packedKeys, *packedValues;
  };

  /// Scores of a unit.
  UnitProduct scoresOf(const Place& at, int64_t unit, const Tile& t) const {
    const int64_t partSize = shape.partSize();
    return {.a = t.query,
            .b = at.packedKeys + unit * shape.unitSize(),
            .aStep = kPair,
            .bStep = kPair,
            .aPart = partSize,
            .bPart = partSize,
            .steps = shape.depth,
            .sums = t.scoreOf(unit),
            .step = kUnit,
            .first = true};
  }

  /// What kDeep units of weights, the `deep`th such, add to 32 columns of the output.
  UnitProduct outputOf(const Place& at, int64_t deep, int64_t column, int64_t units,
                       const Tile& t) const {
    const int64_t unit = deep * kDeep;
    return {.a = t.weightOf(unit),
            .b = at.packedValues + unit * shape.unitSize() + column * kPair,
            .aStep = kParts * kPair,
            .bStep = shape.unitSize(),
            .aPart = kPair,
            .bPart = shape.partSize(),
            .steps = smaller(kDeep, units - unit),
            .sums = t.output + column * kBlock,
            .step = shape.width,
            .first = unit == 0};
  }

  Weigher<kParts> weigherOf(const Place& at, int64_t unit, const Tile& t) const {
    return {.score = t.scoreOf(unit),
            .shift = t.shift,
            .total = t.total,
            .weight = t.weightOf(unit),
            .factor = shape.factor(),
            .sight = at.sight - unit * kUnit};
  }

  /// Raises the rows' maxima, in `total`, to a unit's scores.
  void raise(const Place& at, int64_t unit, const Tile& t) const {
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
  bool boundScores(float largest, const Tile& t) const {
    // A little more than 1, for rounding of the sums.
    constexpr float kSlack = 1.001f;
    const F32 scale = F32::broadcast(__builtin_fabsf(shape.factor()) * kSlack);
    for (int64_t row = 0; row < kUnit; row++) t.shift[row] = squareOf(t.query, row, shape.depth);
    Mask narrow = eq(F32::zero(), F32::zero());
    for (int64_t row = 0; row < kUnit; row += kLanes) {
      const F32 bound = sqrt(F32::load(t.shift + row) * F32::broadcast(largest)) * scale;
      (kShifted<kParts> ? bound : F32::zero()).store(t.shift + row);
      narrow = narrow & le(bound, F32::broadcast(kNarrow));
    }
    return all(narrow);
  }

  /// Shifts that are the scores' maxima.
  template <class Tiles>
  void findMaxima(Tiles& tiles, const Place& at, int64_t units, const Tile& t) const {
    for (int64_t i = 0; i < kUnit * kLanes; i++) t.total[i] = -__builtin_inff();
    OpenSums open;
    for (int64_t unit = 0; unit <= units; unit++) {
      if (unit < units) multiply<kParts, 2, 2>(tiles, scoresOf(at, unit, t), open, [] {});
      open.close(tiles);
      if (unit > 0) raise(at, unit - 1, t);
    }
    for (int64_t row = 0; row < kUnit; row++) {
      const float highest = reduceMax(F32::load(t.total + row * kLanes));
      // A row without a finite score has weights of 0 instead of NaN.
      t.shift[row] = highest == -__builtin_inff() ? 0 : highest;
    }
  }

  template <class Tiles>
  void addUnits(Tiles& tiles, const Place& at, int64_t units, bool bounded, const Tile& t) const {
    const int64_t columns = shape.depth;
    int64_t done = 0;  // blocks of columns of kDeep units of weights that have been added
    OpenSums open;
    const auto addUpTo = [&](int64_t share, auto&& between) {
      for (; done < share; done++) {
        const int64_t column = done % columns;
        const UnitProduct p = outputOf(at, done / columns, column, units, t);
        if (shape.columnsFrom(column * kBlock) <= kSide)
          multiply<kParts, 2, 1>(tiles, p, open, between);
        else
          multiply<kParts, 2, 2>(tiles, p, open, between);
      }
    };
    multiply<kParts, 2, 2>(tiles, scoresOf(at, 0, t), open, [] {});
    for (int64_t unit = 0; unit < units; unit++) {
      const bool last = unit + 1 == units;
      // What the tiles multiply beside this unit's weights: the next scores, and their share of the
      // values of the weights before.
      const int64_t share =
          larger(done, (unit / kDeep - 1) * columns + ceilDiv(columns * (unit % kDeep + 1), kDeep));
      const int64_t steps = (last ? 0 : columns) + (share - done) * kDeep;
      const Weigher<kParts> weigher = weigherOf(at, unit, t);
      const auto weighBeside = [&](auto plain) {
        const auto weigh = [&](int64_t from, int64_t to) {
          weigher.template weigh<plain()>(from, to);
        };
        Pace pace(kUnit, Terms<kParts>::kCount * steps);
        const auto between = [&] { pace.next(weigh); };
        if (last)
          open.close(tiles);
        else
          multiply<kParts, 2, 2>(tiles, scoresOf(at, unit + 1, t), open, between);
        addUpTo(share, between);
        pace.finish(weigh);
      };
      if (bounded && weigher.sight.within(0) == kUnit)
        weighBeside(std::true_type{});
      else
        weighBeside(std::false_type{});
    }
    addUpTo(ceilDiv(units, kDeep) * columns, [] {});
    open.close(tiles);
  }

  /// `largest` holds |k|² of each unit of keys of the head. Answers whether the queries suit.
  template <class Tiles>
  bool run(Tiles& tiles, const Place& at, const float* largest, const Tile& t) const {
    const int64_t units = ceilDiv(at.sight.of(at.queries - 1), kUnit);
    const bool suits = shape.forParts(call.in[0], at.head, shape.p.sq, at.first, at.queries, 0,
                                      t.staged, [&](const HeadRows& rows, int part) {
                                        copyRows(t.query + part * shape.partSize(), rows.data,
                                                 rows.stride, at.queries, shape.p.d);
                                      });
    float most = 0;
    for (int64_t unit = 0; unit < units; unit++)
      if (largest[unit] > most) most = largest[unit];
    const bool bounded = boundScores(most, t);
    if (!bounded) findMaxima(tiles, at, units, t);
    gemm::zeroFloats(t.total, kUnit * kLanes);
    if (units > 0) addUnits(tiles, at, units, bounded, t);
    finish(at, t);
    return suits;
  }

  void finish(const Place& at, const Tile& t) const {
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
  HeadShape<AttentionParams, kParts> shape;
};

/// Memory of the workers, then packed heads, then |k|² of their units.
template <class Tiles, int kParts>
inline size_t attentionScratch(const OpCall& call, int threads) {
  const TiledAttention<kParts> attention(call);
  const int64_t heads = attention.headsAtOnce(threads);
  const size_t own = size_t(threads) * attention.workerBytes() +
                     size_t(heads * attention.headNumbers()) * sizeof(uint16_t) +
                     size_t(heads * attention.shape.keyUnits) * sizeof(float);
  if (kParts == 1) return own;
  const size_t beside = scratchBesideTiles("attention", kVariantName, call, threads);
  return own > beside ? own : beside;
}

template <class Tiles, int kParts>
inline void runAttention(const OpCall& call, Context& context) {
  const TiledAttention<kParts> attention(call);
  const auto& shape = attention.shape;
  const size_t workerBytes = attention.workerBytes();
  const int64_t heads = shape.heads(), atOnce = attention.headsAtOnce(context.threads());
  const int64_t keyUnits = shape.keyUnits, queryUnits = shape.queryUnits;
  std::byte* workers = context.scratch();
  auto* packed = reinterpret_cast<uint16_t*>(workers + size_t(context.threads()) * workerBytes);
  auto* largest = reinterpret_cast<float*>(packed + atOnce * attention.headNumbers());
  const auto tileOf = [&](int worker) {
    Carver carver(workers + size_t(worker) * workerBytes);
    return QueryTile<kParts>::take(carver, shape);
  };
  Unsuited unsuited;
  for (int64_t firstHead = 0; firstHead < heads; firstHead += atOnce) {
    const int64_t count = smaller(atOnce, heads - firstHead);
    constexpr int64_t kGrain = 8;
    context.parallelFor(count * keyUnits, kGrain, [&](int64_t begin, int64_t end, int worker) {
      const auto mine = tileOf(worker);
      for (int64_t i = begin; i < end; i++) {
        const int64_t head = i / keyUnits;
        unsuited.note(attention.packUnit(firstHead + head, i % keyUnits, mine,
                                         packed + head * attention.headNumbers(), largest[i]));
      }
    });
    context.parallelFor(count * queryUnits, 1, [&](int64_t begin, int64_t end, int worker) {
      Tiles tiles;
      const auto mine = tileOf(worker);
      for (int64_t i = begin; i < end; i++) {
        const int64_t head = i / queryUnits, first = i % queryUnits * kUnit;
        const uint16_t* keys = packed + head * attention.headNumbers();
        unsuited.note(attention.run(
            tiles,
            {firstHead + head, first, shape.queriesOf(i % queryUnits),
             shape.sight(firstHead + head, first), keys, keys + keyUnits * shape.unitSize()},
            largest + head * keyUnits, mine));
      }
    });
  }
  if (unsuited.met()) runBesideTiles("attention", kVariantName, call, context);
}

template <int kParts>
inline bool takesAttention(const OpCall& call) {
  return takesHeads<AttentionParams, kParts>(call, {0, 1, 2});
}

template <class Tiles, int kParts>
constexpr Variant attentionOn(const char* name) {
  return {"attention",
          name,
          Tiles::kIsa,
          Tiles::template supports<takesAttention<kParts>, fillsAttention<AttentionParams, kParts>>,
          attentionScratch<Tiles, kParts>,
          runAttention<Tiles, kParts>};
}

}  // namespace figment::FIGMENT_ISA::tiles
