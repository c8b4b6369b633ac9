// The heads of the derivative of attention as matrix tiles read them. Include only from files
// compiled for one instruction set.
#pragma once

#include "../params/attentionGrad.generated.h"
#include "tile_heads.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// The keys and values of one head, packed: units of keys as rows d deep and as rows along
/// positions, of values as rows d deep; the largest sizes and |k|² in each unit.
struct PackedKeys {
  uint16_t *key, *keyAlong, *value;
  float *squares, *keySizes, *valueSizes;

  static PackedKeys take(Carver& carver, int64_t units, int64_t unitSize) {
    PackedKeys k;
    for (uint16_t** each : {&k.key, &k.keyAlong, &k.value})
      *each = carver.take<uint16_t>(units * unitSize);
    for (float** each : {&k.squares, &k.keySizes, &k.valueSizes}) *each = carver.take<float>(units);
    return k;
  }
};

/// Some queries and cotangents of one head, packed: units as columns d deep and as columns along
/// positions; for each query −lse, in units of log 2, its share (see
/// TiledAttentionGrad::findShares) and −D; the largest sizes and |q|² in each unit.
struct PackedQueries {
  uint16_t *query, *cotangent, *queryAlong, *cotangentAlong;
  float *lse, *share, *dot;
  float* squares;

  static PackedQueries take(Carver& carver, int64_t units, int64_t unitSize) {
    PackedQueries q;
    for (uint16_t** each : {&q.query, &q.cotangent, &q.queryAlong, &q.cotangentAlong})
      *each = carver.take<uint16_t>(units * unitSize);
    for (float** each : {&q.lse, &q.share, &q.dot}) *each = carver.take<float>(units * kUnit);
    q.squares = carver.take<float>(units);
    return q;
  }
};

/// The largest sizes of numbers.
struct QuerySizes {
  float query = 0, cotangent = 0;
};

template <int kParts>
struct GradHeads {
  explicit GradHeads(const OpCall& call) : call(call), shape(call, 6) {}

  size_t keyBytes() const {
    Carver measure(nullptr);
    PackedKeys::take(measure, shape.keyUnits, shape.unitSize());
    return measure.used();
  }
  /// Packs a unit of keys and values; answers whether the numbers suit.
  bool packKeys(int64_t head, int64_t unit, const PackedKeys& to) const {
    const int64_t length = shape.p.sk, count = shape.keysOf(head, unit);
    const int64_t first = unit * kUnit, at = unit * shape.unitSize();
    const float keys = shape.pack(call.in[1], head, length, first, count, Rows{to.key + at},
                                  RowsAlong{to.keyAlong + at});
    const float values = shape.pack(call.in[2], head, length, first, count, Rows{to.value + at});
    to.squares[unit] = shape.largestSquareAlong(to.keyAlong + at);
    to.keySizes[unit] = keys;
    to.valueSizes[unit] = values;
    return keys <= kMostSplit && values <= kMostSplit;
  }

  /// The same of queries and cotangents, as unit number `index` of those that are packed. Their
  /// sizes are added to `most`.
  bool packQueries(int64_t head, int64_t unit, int64_t index, const PackedQueries& to,
                   QuerySizes& most) const {
    const int64_t length = shape.p.sq, count = shape.queriesOf(unit);
    const int64_t first = unit * kUnit, at = index * shape.unitSize();
    const float queries = shape.pack(call.in[0], head, length, first, count, Columns{to.query + at},
                                     ColumnsAlong{to.queryAlong + at});
    const float cotangents =
        shape.pack(call.in[5], head, length, first, count, Columns{to.cotangent + at},
                   ColumnsAlong{to.cotangentAlong + at});
    to.squares[index] = shape.largestSquare(to.query + at);
    if (queries > most.query) most.query = queries;
    if (cotangents > most.cotangent) most.cotangent = cotangents;
    describeQueries(head, first, count, index * kUnit, to);
    return queries <= kMostSplit && cotangents <= kMostSplit;
  }
  /// Whether the numbers are large enough: all of them are factors of sums, and so are products of
  /// three, of values and cotangents by keys or queries.
  bool suits(const PackedKeys& packed, const QuerySizes& sizes) const {
    const double queries = sizes.query, cotangents = sizes.cotangent;
    const double keys = largestOf(packed.keySizes, shape.keyUnits);
    const double values = largestOf(packed.valueSizes, shape.keyUnits);
    const double scores = cotangents * values;
    return suitsSums(queries) && suitsSums(cotangents) && suitsSums(keys) && suitsSums(values) &&
           suitsProducts(scores) && suitsProducts(scores * keys) && suitsProducts(scores * queries);
  }

  /// The largest |x|² of a head's keys.
  float largestKey(const PackedKeys& packed) const {
    return largestOf(packed.squares, shape.keyUnits);
  }
  /// Whether weights of a packed unit of queries can be recomputed from lse.
  bool trusted(const PackedQueries& packed, int64_t index, float largestKey) const {
    // Weights that are rounded to bf16 need no more than 2^-6 of the exactness.
    constexpr float kMost = kParts == 1 ? kTrustedScores * 64 : kTrustedScores;
    return scoresWithin(kMost, packed.squares[index], largestKey, shape.factor());
  }

  const OpCall& call;
  HeadShape<AttentionGradParams, kParts> shape;

 private:
  /// −lse and −D of `count` queries from `first` on, as those from `at` on.
  void describeQueries(int64_t head, int64_t first, int64_t count, int64_t at,
                       const PackedQueries& to) const {
    const auto& p = shape.p;
    const float* lse = call.in[4].as<const float>() + head * p.sq + first;
    const Elements out = rowsOf(3, head, p.sq, first), dout = rowsOf(5, head, p.sq, first);
    for (int64_t i = 0; i < kUnit; i++) {
      // A blind query's weights, and those of none, become exp(score − ∞) = 0.
      const bool blind = i >= count || lse[i] == -__builtin_inff();
      to.lse[at + i] = blind ? -__builtin_inff() : -lse[i] * kLog2E;
      to.share[at + i] = 1;
      const int64_t row = i * shape.stride;
      to.dot[at + i] = i < count ? -dotRows(out + row, dout + row, p.d) : 0;
    }
  }

  /// An operand's positions of a head from `first` on.
  Elements rowsOf(int operand, int64_t head, int64_t length, int64_t first) const {
    return Elements::of(call.in[operand]) + (shape.offset(head, length) + first * shape.stride);
  }
  /// NaN if any is.
  static float largestOf(const float* sizes, int64_t units) {
    float largest = 0;
    for (int64_t unit = 0; unit < units; unit++)
      if (sizes[unit] > largest || sizes[unit] != sizes[unit]) largest = sizes[unit];
    return largest;
  }
};

}  // namespace figment::FIGMENT_ISA::tiles
