// The heads of the derivative of attention as matrix tiles read them. Include only from files
// compiled for one instruction set.
#pragma once

#include "../params/attentionGrad.generated.h"
#include "tile_heads.inl.h"

namespace figment::FIGMENT_ISA::tiles {

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
  bool packKeys(int64_t head, int64_t unit, uint16_t* staged, const PackedHead& to) const {
    const int64_t d = shape.p.d, length = shape.p.sk, count = shape.keysOf(head, unit);
    const int64_t first = unit * kUnit, at = unit * shape.unitSize(), partSize = shape.partSize();
    bool suits = shape.forParts(
        call.in[1], head, length, first, count, 0, staged, [&](const HeadRows& rows, int part) {
          copyRows(to.key + at + part * partSize, rows.data, rows.stride, count, d);
          packRowsAlong(to.keyAlong + at + part * partSize, rows, count, d);
        });
    suits &= shape.forParts(
        call.in[2], head, length, first, count, 0, staged, [&](const HeadRows& rows, int part) {
          copyRows(to.value + at + part * partSize, rows.data, rows.stride, count, d);
        });
    return suits;
  }

  /// The same of queries and cotangents.
  bool packQueries(int64_t head, int64_t unit, uint16_t* staged, const PackedHead& to) const {
    const int64_t d = shape.p.d, length = shape.p.sq, count = shape.queriesOf(unit);
    const int64_t first = unit * kUnit, at = unit * shape.unitSize(), partSize = shape.partSize();
    const auto pack = [&](int input, float least, uint16_t* across, uint16_t* along) {
      return shape.forParts(call.in[input], head, length, first, count, least, staged,
                            [&](const HeadRows& rows, int part) {
                              const int64_t to = at + part * partSize;
                              transposeColumns(across + to, rows.data, rows.stride, count, d);
                              packColumnsAlong(along + to, rows, count, d);
                            });
    };
    bool suits = pack(0, 0, to.query, to.queryAlong);
    suits &= pack(5, kLeastSplit, to.cotangent, to.cotangentAlong);
    describeQueries(head, first, count, to);
    return suits;
  }

  /// −lse and −D of a unit of queries.
  void describeQueries(int64_t head, int64_t first, int64_t count, const PackedHead& to) const {
    const auto& p = shape.p;
    const float* lse = call.in[4].as<const float>() + head * p.sq + first;
    const int64_t at = shape.offset(head, p.sq) + first * shape.stride;
    const Elements out = Elements::of(call.in[3]) + at, dout = Elements::of(call.in[5]) + at;
    for (int64_t i = 0; i < kUnit; i++) {
      // A blind query's weights, and those of none, become exp(score − ∞) = 0.
      const bool blind = i >= count || lse[i] == -__builtin_inff();
      to.lse[first + i] = blind ? -__builtin_inff() : -lse[i] * kLog2E;
      F32 sum = F32::zero();
      if (i < count)
        forLanes(p.d, [&](int64_t e, int lanes) {
          sum = mulAdd(gemm::loadElements(out + (i * shape.stride + e), lanes),
                       gemm::loadElements(dout + (i * shape.stride + e), lanes), sum);
        });
      to.dot[first + i] = -reduceAdd(sum);
    }
  }

  const OpCall& call;
  HeadShape<AttentionGradParams, kParts> shape;
};

}  // namespace figment::FIGMENT_ISA::tiles
