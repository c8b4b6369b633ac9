// The heads of the derivative of attention as matrix tiles read them. Include only from files
// compiled for one instruction set.
#pragma once

#include "../params/attentionGrad.generated.h"
#include "tile_heads.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// One head, packed: units of queries and cotangents as columns d deep and as columns along
/// positions, of keys as rows d deep and as rows along positions, of values as rows d deep; and for
/// each query −lse, in units of log 2, its share (see TiledAttentionGrad::findShares) and −D; the
/// largest sizes and |x|² in each unit.
struct PackedHead {
  uint16_t *query, *cotangent, *queryAlong, *cotangentAlong, *key, *keyAlong, *value;
  float *lse, *share, *dot;
  float *querySquares, *keySquares;
  float *querySizes, *cotangentSizes, *keySizes, *valueSizes;

  static PackedHead take(Carver& carver, int64_t queryUnits, int64_t keyUnits, int64_t unitSize) {
    PackedHead h;
    for (uint16_t** each : {&h.query, &h.cotangent, &h.queryAlong, &h.cotangentAlong})
      *each = carver.take<uint16_t>(queryUnits * unitSize);
    for (uint16_t** each : {&h.key, &h.keyAlong, &h.value})
      *each = carver.take<uint16_t>(keyUnits * unitSize);
    for (float** each : {&h.lse, &h.share, &h.dot}) *each = carver.take<float>(queryUnits * kUnit);
    for (float** each : {&h.querySquares, &h.querySizes, &h.cotangentSizes})
      *each = carver.take<float>(queryUnits);
    for (float** each : {&h.keySquares, &h.keySizes, &h.valueSizes})
      *each = carver.take<float>(keyUnits);
    return h;
  }
};

template <int kParts>
struct GradHeads {
  explicit GradHeads(const OpCall& call) : call(call), shape(call, 6) {}

  size_t headBytes() const {
    Carver measure(nullptr);
    PackedHead::take(measure, shape.queryUnits, shape.keyUnits, shape.unitSize());
    return measure.used();
  }
  int64_t headsAtOnce(int threads) const {
    return headsAtATime(shape.heads(), int64_t(headBytes() / sizeof(uint16_t)), threads);
  }
  /// Packs a unit of keys and values; answers whether the numbers suit.
  bool packKeys(int64_t head, int64_t unit, const PackedHead& to) const {
    const int64_t length = shape.p.sk, count = shape.keysOf(head, unit);
    const int64_t first = unit * kUnit, at = unit * shape.unitSize();
    const float keys = shape.pack(call.in[1], head, length, first, count, Rows{to.key + at},
                                  RowsAlong{to.keyAlong + at});
    const float values = shape.pack(call.in[2], head, length, first, count, Rows{to.value + at});
    to.keySquares[unit] = shape.largestSquareAlong(to.keyAlong + at);
    to.keySizes[unit] = keys;
    to.valueSizes[unit] = values;
    return keys <= kMostSplit && values <= kMostSplit;
  }

  /// The same of queries and cotangents.
  bool packQueries(int64_t head, int64_t unit, const PackedHead& to) const {
    const int64_t length = shape.p.sq, count = shape.queriesOf(unit);
    const int64_t first = unit * kUnit, at = unit * shape.unitSize();
    const float queries = shape.pack(call.in[0], head, length, first, count, Columns{to.query + at},
                                     ColumnsAlong{to.queryAlong + at});
    const float cotangents =
        shape.pack(call.in[5], head, length, first, count, Columns{to.cotangent + at},
                   ColumnsAlong{to.cotangentAlong + at});
    to.querySquares[unit] = shape.largestSquare(to.query + at);
    to.querySizes[unit] = queries;
    to.cotangentSizes[unit] = cotangents;
    describeQueries(head, first, count, to);
    return queries <= kMostSplit && cotangents <= kMostSplit;
  }
  /// Whether the numbers of a packed head are large enough: all of them are factors of sums, and so
  /// are products of three, of values and cotangents by keys or queries.
  bool suits(const PackedHead& packed) const {
    const double queries = largestOf(packed.querySizes, shape.queryUnits);
    const double cotangents = largestOf(packed.cotangentSizes, shape.queryUnits);
    const double keys = largestOf(packed.keySizes, shape.keyUnits);
    const double values = largestOf(packed.valueSizes, shape.keyUnits);
    const double scores = cotangents * values;
    return suitsSums(queries) && suitsSums(cotangents) && suitsSums(keys) && suitsSums(values) &&
           suitsProducts(scores) && suitsProducts(scores * keys) && suitsProducts(scores * queries);
  }

  /// The largest |x|² of a head's keys.
  float largestKey(const PackedHead& packed) const {
    return largestOf(packed.keySquares, shape.keyUnits);
  }
  /// Whether weights of a unit of queries can be recomputed from lse.
  bool trusted(const PackedHead& packed, int64_t unit, float largestKey) const {
    // Weights that are rounded to bf16 need no more than 2^-6 of the exactness.
    constexpr float kMost = kParts == 1 ? kTrustedScores * 64 : kTrustedScores;
    return scoresWithin(kMost, packed.querySquares[unit], largestKey, shape.factor());
  }

  /// −lse and −D of a unit of queries.
  void describeQueries(int64_t head, int64_t first, int64_t count, const PackedHead& to) const {
    const auto& p = shape.p;
    const float* lse = call.in[4].as<const float>() + head * p.sq + first;
    const Elements out = rowsOf(3, head, p.sq, first), dout = rowsOf(5, head, p.sq, first);
    for (int64_t i = 0; i < kUnit; i++) {
      // A blind query's weights, and those of none, become exp(score − ∞) = 0.
      const bool blind = i >= count || lse[i] == -__builtin_inff();
      to.lse[first + i] = blind ? -__builtin_inff() : -lse[i] * kLog2E;
      to.share[first + i] = 1;
      const int64_t row = i * shape.stride;
      to.dot[first + i] = i < count ? -dotRows(out + row, dout + row, p.d) : 0;
    }
  }

  const OpCall& call;
  HeadShape<AttentionGradParams, kParts> shape;

 private:
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
