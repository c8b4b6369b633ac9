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

/// Units of keys whose weights are multiplied by values at a time: as many as stay in the
/// first-level cache.
template <int kParts>
constexpr int64_t kDeep = kParts == 1 ? 2 : 1;
/// Units of weights that are kept: those that wait for it, and those that are being written.
template <int kParts>
constexpr int64_t kWeightUnits = 2 * kDeep<kParts>;

/// Scores between ± this are not searched for their maximum.
constexpr float kNarrow = 32;
/// Shifts of such scores are their bound, so that no weight is above 1 and sums with values cannot
/// overflow; or, in parts, whose values are no larger than kMostSplit, zero, which rounds least.
template <int kParts>
constexpr bool kShifted = kParts == 1;

/// A unit of queries while a worker has it.
struct QueryTile {
  uint16_t* query;  ///< packed rows
  float* output;    ///< [kUnit, width] not yet divided by total
  float* total;     ///< [kUnit, kLanes] sums of weights
  float* shift;     ///< [kUnit]
  bool bounded;     ///< shifts bound the scores or are zero, else they are their maxima
};

/// Units of queries that one worker has at a time: those of a group meet keys and values while
/// these are in the second-level cache.
constexpr int64_t kGroup = 8;
/// Bytes of packed keys and values that a group meets at a time.
constexpr int64_t kChunkBytes = int64_t(1) << 19;

/// What one worker keeps.
template <int kParts>
struct Workspace {
  uint16_t* weight;  ///< packed rows of kWeightUnits
  float* score;      ///< two units
  QueryTile tile[kGroup];

  template <class Shape>
  static Workspace take(Carver& carver, const Shape& shape) {
    Workspace w;
    w.weight = carver.take<uint16_t>(kWeightUnits<kParts> * kParts * kPair);
    w.score = carver.take<float>(2 * kScores);
    for (QueryTile& t : w.tile) {
      t.query = carver.take<uint16_t>(shape.unitSize());
      t.output = carver.take<float>(kUnit * shape.width);
      t.total = carver.take<float>(kUnit * kLanes);
      t.shift = carver.take<float>(kUnit);
    }
    return w;
  }
  float* scoreOf(int64_t unit) const { return score + unit % 2 * kScores; }
  /// The weights of unit `unit` of the `deep`th kDeep of them.
  uint16_t* weightOf(int64_t deep, int64_t unit) const {
    return weight + (deep % 2 * kDeep<kParts> + unit) * kParts * kPair;
  }
};

/// Of a unit of keys and its values.
struct UnitSizes {
  float key;    ///< the largest |k|²
  float value;  ///< the largest size of a number, where there are parts
};

template <int kParts>
struct TiledAttention {
  using Space = Workspace<kParts>;

  TiledAttention(const OpCall& call, int threads) : call(call), shape(call, 3) {
    // Units of keys and values, in whole kDeeps.
    const int64_t unitBytes = 2 * shape.unitSize() * int64_t(sizeof(uint16_t));
    chunk = larger(1, kChunkBytes / (kDeep<kParts> * unitBytes)) * kDeep<kParts>;
    headsAtOnce = headsAtATime(shape.heads(), headNumbers(), threads);
    // Groups are smaller where threads would have few of them.
    constexpr int64_t kTasks = 4;
    group = headsAtOnce * shape.queryUnits / (kTasks * threads);
    group = larger(1, smaller(group, kGroup));
    groups = ceilDiv(shape.queryUnits, group);
  }

  size_t workerBytes() const {
    Carver measure(nullptr);
    Space::take(measure, shape);
    return measure.used();
  }
  /// Packed keys and values of one head.
  int64_t headNumbers() const { return 2 * shape.keyUnits * shape.unitSize(); }

  /// Packs the keys and values of a unit. Answers whether the numbers suit.
  bool packUnit(int64_t head, int64_t unit, uint16_t* ofHead, UnitSizes& sizes) const {
    const int64_t length = shape.p.sk, count = shape.keysOf(head, unit), first = unit * kUnit;
    uint16_t* keys = ofHead + unit * shape.unitSize();
    uint16_t* values = keys + shape.keyUnits * shape.unitSize();
    const float largest = shape.pack(call.in[1], head, length, first, count, Columns{keys});
    sizes.value = shape.pack(call.in[2], head, length, first, count, ColumnsAlong{values});
    sizes.key = shape.largestSquare(keys);
    return largest <= kMostSplit && sizes.value <= kMostSplit;
  }

  /// A group of units of queries of one head.
  struct Place {
    int64_t head, firstUnit, tiles;
    const uint16_t *packedKeys, *packedValues;
    const UnitSizes* sizes;
  };
  int64_t firstQuery(const Place& at, int64_t tile) const { return (at.firstUnit + tile) * kUnit; }
  int64_t queries(const Place& at, int64_t tile) const {
    return shape.queriesOf(at.firstUnit + tile);
  }
  Sight sight(const Place& at, int64_t tile) const {
    return shape.sight(at.head, firstQuery(at, tile));
  }
  /// Units of keys that queries of a unit see.
  int64_t unitsOf(const Place& at, int64_t tile) const {
    return ceilDiv(sight(at, tile).of(queries(at, tile) - 1), kUnit);
  }

  /// Scores of a unit of queries, and of keys, which is the worker's `index`th.
  UnitProduct scoresOf(const Place& at, const QueryTile& t, int64_t unit, int64_t index,
                       const Space& w) const {
    return shape.scores(t.query, at.packedKeys + unit * shape.unitSize(), w.scoreOf(index));
  }

  /// Up to kDeep units of keys that a unit of queries meets one after the other.
  struct Deep {
    int64_t tile, unit, count;
    int64_t chunk;  ///< its first unit
    int64_t index;
  };
  /// Goes on to the first such from `d.unit` on; false if there is none.
  bool find(const Place& at, Deep& d) const {
    for (; d.chunk < shape.keyUnits; d.chunk += chunk, d.tile = 0, d.unit = d.chunk) {
      for (; d.tile < at.tiles; d.tile++, d.unit = d.chunk) {
        d.count = smaller(kDeep<kParts>, smaller(d.chunk + chunk, unitsOf(at, d.tile)) - d.unit);
        if (d.count > 0) return true;
      }
    }
    return false;
  }
  bool advance(const Place& at, Deep& d) const {
    d.unit += d.count;
    d.index++;
    return find(at, d);
  }

  /// What the weights of a deep add to 32 columns of the output.
  UnitProduct outputOf(const Place& at, const Deep& d, int64_t column, const Space& w) const {
    return {.a = w.weightOf(d.index, 0),
            .b = at.packedValues + d.unit * shape.unitSize() + column * kPair,
            .aStep = kParts * kPair,
            .bStep = shape.unitSize(),
            .aPart = kPair,
            .bPart = shape.partSize(),
            .steps = d.count,
            .sums = w.tile[d.tile].output + column * kBlock,
            .step = shape.width,
            .first = d.unit == 0};
  }

  /// Of a deep's unit.
  Weigher<kParts> weigherOf(const Place& at, const Deep& d, int64_t unit, int64_t index,
                            const Space& w) const {
    const QueryTile& t = w.tile[d.tile];
    return {.score = w.scoreOf(index),
            .shift = t.shift,
            .total = t.total,
            .weight = w.weightOf(d.index, unit),
            .factor = shape.factor(),
            .sight = sight(at, d.tile) - (d.unit + unit) * kUnit};
  }

  /// |x|² of a packed row.
  float squareOf(const uint16_t* rows, int64_t row) const {
    F32 sum = F32::zero();
    for (int64_t k = 0; k < shape.depth; k++) {
      const auto part = shape.firstPart(k);
      const I32 before = I32::broadcast(int32_t(part.begin) - 1);
      const I32 end = I32::broadcast(int32_t(part.end));
      for (int64_t i = 0; i < kSide; i += kLanes) {
        const Pair x = loadPairOf(rows + part.at + row * kTileDepth + 2 * i);
        const I32 pair = I32::iota() + I32::broadcast(int32_t(i));
        sum += blend(gt(pair, before) & lt(pair, end), mulAdd(x.high, x.high, x.low * x.low),
                     F32::zero());
      }
    }
    return reduceAdd(sum);
  }

  /// Raises the rows' maxima, in `total`, to a unit's scores.
  void raise(const Sight& sight, const float* score, const QueryTile& t) const {
    const F32 factor = F32::broadcast(shape.factor()), unseen = F32::broadcast(-__builtin_inff());
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
    for (int64_t row = 0; row < kUnit; row++) t.shift[row] = squareOf(t.query, row);
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
  void findMaxima(Tiles& tiles, const Place& at, int64_t tile, const Space& w) const {
    const QueryTile& t = w.tile[tile];
    const int64_t units = unitsOf(at, tile);
    for (int64_t i = 0; i < kUnit * kLanes; i++) t.total[i] = -__builtin_inff();
    OpenSums open;
    for (int64_t unit = 0; unit <= units; unit++) {
      if (unit < units)
        multiply<kParts, 2, 2, Passing::b>(tiles, scoresOf(at, t, unit, unit, w), open, [] {});
      open.close(tiles);
      if (unit > 0) raise(sight(at, tile) - (unit - 1) * kUnit, w.scoreOf(unit - 1), t);
    }
    for (int64_t row = 0; row < kUnit; row++) {
      const float highest = reduceMax(F32::load(t.total + row * kLanes));
      // A row without a finite score has weights of 0 instead of NaN.
      t.shift[row] = highest == -__builtin_inff() ? 0 : highest;
    }
  }

  /// Weighs all units of a group and adds their values. The tiles multiply the scores of the next
  /// unit, and the weights of the deep before by values, beside a unit's weighing.
  template <class Tiles>
  void addUnits(Tiles& tiles, const Place& at, const Space& w) const {
    const int64_t columns = shape.depth;
    Deep before{}, now{}, next;
    if (!find(at, now)) return;
    int64_t done = columns;  // blocks of columns to which the deep before has been added
    OpenSums open;
    const auto addUpTo = [&](int64_t share, auto&& between) {
      for (; done < share; done++) {
        const UnitProduct p = outputOf(at, before, done, w);
        if (shape.columnsFrom(done * kBlock) <= kSide)
          multiply<kParts, 2, 1, Passing::b>(tiles, p, open, between);
        else
          multiply<kParts, 2, 2, Passing::b>(tiles, p, open, between);
      }
    };
    multiply<kParts, 2, 2, Passing::b>(tiles, scoresOf(at, w.tile[now.tile], now.unit, 0, w), open,
                                       [] {});
    int64_t index = 0;  // of units
    for (bool more = true; more; before = now, now = next, done = 0) {
      next = now;
      more = advance(at, next);
      for (int64_t unit = 0; unit < now.count; unit++, index++) {
        const bool within = unit + 1 < now.count, last = !within && !more;
        const int64_t share = larger(done, ceilDiv(columns * (unit + 1), now.count));
        const int64_t steps =
            (last ? 0 : shape.scoreSteps()) + (share - done) * before.count * Terms<kParts>::kCount;
        const Weigher<kParts> weigher = weigherOf(at, now, unit, index, w);
        const auto weighBeside = [&](auto plain) {
          const auto weigh = [&](int64_t from, int64_t to) {
            weigher.template weigh<plain()>(from, to);
          };
          Pace pace(kUnit, steps);
          const auto between = [&] { pace.next(weigh); };
          if (last)
            open.close(tiles);
          else
            multiply<kParts, 2, 2, Passing::b>(
                tiles,
                scoresOf(at, w.tile[within ? now.tile : next.tile],
                         within ? now.unit + unit + 1 : next.unit, index + 1, w),
                open, between);
          addUpTo(share, between);
          pace.finish(weigh);
        };
        if (w.tile[now.tile].bounded && weigher.sight.within(0) == kUnit)
          weighBeside(std::true_type{});
        else
          weighBeside(std::false_type{});
      }
    }
    addUpTo(columns, [] {});
    open.close(tiles);
  }

  /// Answers whether the numbers suit.
  template <class Tiles>
  bool run(Tiles& tiles, const Place& at, Space& w) const {
    bool suits = true;
    UnitSizes most{};
    for (int64_t unit = 0; unit < shape.keyUnits; unit++) {
      const UnitSizes& sizes = at.sizes[unit];
      if (sizes.key > most.key) most.key = sizes.key;
      if (sizes.value > most.value) most.value = sizes.value;
    }
    for (int64_t tile = 0; tile < at.tiles; tile++) {
      QueryTile& t = w.tile[tile];
      suits &= shape.pack(call.in[0], at.head, shape.p.sq, firstQuery(at, tile), queries(at, tile),
                          Rows{t.query}) <= kMostSplit;
      t.bounded = boundScores(most.key, t);
      if (!t.bounded) findMaxima(tiles, at, tile, w);
      gemm::zeroFloats(t.total, kUnit * kLanes);
    }
    addUnits(tiles, at, w);
    for (int64_t tile = 0; tile < at.tiles; tile++) finish(at, tile, w.tile[tile]);
    return suits && suitsSums(most.value);
  }

  void finish(const Place& at, int64_t tile, const QueryTile& t) const {
    const auto& p = shape.p;
    const int64_t first = firstQuery(at, tile), count = queries(at, tile);
    float* sums = t.total;  // row by row, over the lanes' sums of rows before
    for (int64_t i = 0; i < kUnit; i++) sums[i] = reduceAdd(F32::load(t.total + i * kLanes));
    float* lse = call.out[1].as<float>() + at.head * p.sq + first;
    for (int64_t i = 0; i < count; i += kLanes)
      fma(F32::load(t.shift + i), F32::broadcast(float(kLn2)), log(F32::load(sums + i)))
          .storePartial(lse + i, int(smaller(kLanes, count - i)));
    const Results out = Results::of(call.out[0]) + shape.offset(at.head, p.sq);
    for (int64_t i = 0; i < count; i++) {
      const float* row = t.output + i * shape.width;
      const Results to = out + (first + i) * shape.stride;
      const bool blind = sums[i] == 0;
      const F32 share = F32::broadcast(1.0f / sums[i]);
      forLanes(p.d, [&](int64_t e, int lanes) {
        gemm::storeElements(to + e, blind ? F32::zero() : loadLanes(row + e, lanes) * share, lanes);
      });
    }
  }

  const OpCall& call;
  HeadShape<AttentionParams, kParts> shape;
  int64_t chunk;          ///< units of keys that a group meets at a time
  int64_t headsAtOnce;    ///< heads that are packed at a time
  int64_t group, groups;  ///< units of queries of a group, and groups of a head
};

/// Memory of the workers, then packed heads, then sizes of their units.
template <class Tiles, int kParts>
inline size_t attentionScratch(const OpCall& call, int threads) {
  const TiledAttention<kParts> attention(call, threads);
  const int64_t heads = attention.headsAtOnce;
  const size_t own = size_t(threads) * attention.workerBytes() +
                     size_t(heads * attention.headNumbers()) * sizeof(uint16_t) +
                     size_t(heads * attention.shape.keyUnits) * sizeof(UnitSizes);
  if (kParts == 1 && !attention.shape.p.causal) return own;
  const size_t beside = scratchBesideTiles("attention", kVariantName, call, threads);
  return own > beside ? own : beside;
}

template <class Tiles, int kParts>
inline void runAttention(const OpCall& call, Context& context) {
  const TiledAttention<kParts> attention(call, context.threads());
  const auto& shape = attention.shape;
  const size_t workerBytes = attention.workerBytes();
  const int64_t heads = shape.heads(), atOnce = attention.headsAtOnce;
  const int64_t keyUnits = shape.keyUnits, groups = attention.groups;
  std::byte* workers = context.scratch();
  auto* packed = reinterpret_cast<uint16_t*>(workers + size_t(context.threads()) * workerBytes);
  auto* sizes = reinterpret_cast<UnitSizes*>(packed + atOnce * attention.headNumbers());
  Unsuited unsuited;
  for (int64_t firstHead = 0; firstHead < heads; firstHead += atOnce) {
    const int64_t count = smaller(atOnce, heads - firstHead);
    constexpr int64_t kGrain = 8;
    context.parallelFor(count * keyUnits, kGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t head = i / keyUnits;
        unsuited.note(attention.packUnit(firstHead + head, i % keyUnits,
                                         packed + head * attention.headNumbers(), sizes[i]));
      }
    });
    context.parallelFor(count * groups, 1, [&](int64_t begin, int64_t end, int worker) {
      Tiles tiles;
      Carver carver(workers + size_t(worker) * workerBytes);
      auto mine = Workspace<kParts>::take(carver, shape);
      for (int64_t i = begin; i < end; i++) {
        const int64_t head = i / groups, first = i % groups * attention.group;
        const uint16_t* keys = packed + head * attention.headNumbers();
        unsuited.note(attention.run(
            tiles,
            {firstHead + head, first, smaller(attention.group, shape.queryUnits - first), keys,
             keys + keyUnits * shape.unitSize(), sizes + head * keyUnits},
            mine));
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
  constexpr int64_t kManyKeys = 64;
  return {"attention",
          name,
          Tiles::kIsa,
          Tiles::template supports<takesAttention<kParts>,
                                   fillsAttention<AttentionParams, kParts, kManyKeys>>,
          attentionScratch<Tiles, kParts>,
          runAttention<Tiles, kParts>};
}

}  // namespace figment::FIGMENT_ISA::tiles
