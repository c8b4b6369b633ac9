// Heads as matrix tiles read them, for attention and its derivative: their shapes, which keys
// count, and packing in the orders of tile_orders.inl.h. Include only from files compiled for one
// instruction set.
#pragma once

#include "tile_orders.inl.h"
#include "tile_products.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Scores of a unit of queries and a unit of keys.
constexpr int64_t kScores = kUnit * kUnit;

/// How many keys queries see, from one query and one key on.
struct Sight {
  int64_t length;   ///< keys that count
  int64_t first;    ///< keys that the first query sees, before they are bounded
  int64_t advance;  ///< keys that each further query sees more

  FIGMENT_INLINE int64_t of(int64_t query) const {
    return larger(0, smaller(length, first + query * advance));
  }
  /// The same within a unit of keys.
  FIGMENT_INLINE int32_t within(int64_t query) const { return int32_t(smaller(kUnit, of(query))); }
  FIGMENT_INLINE Sight operator-(int64_t keys) const {
    return {length - keys, first - keys, advance};
  }
};

/// Both numbers of a pair of bf16.
struct Pair {
  F32 low, high;
};
FIGMENT_INLINE Pair loadPairOf(const uint16_t* from) {
  I32 pairs;
  __builtin_memcpy(&pairs, from, sizeof pairs);
  return {asFloat(shl(pairs, 16)), asFloat(pairs & I32::broadcast(int32_t(0xffff0000)))};
}

/// Shapes that attention and its derivative share.
template <class P, int kParts>
struct HeadShape {
  const P& p;
  KeyLengths lengths;
  int64_t stride;  ///< between positions
  int64_t depth;   ///< steps of K of a head's d numbers
  int64_t width;   ///< d in whole kBlocks
  int64_t keyUnits, queryUnits;

  HeadShape(const OpCall& call, int lengthsAt)
      : p(call.as<P>()),
        lengths(call, lengthsAt, p.sk),
        stride(int64_t(p.h) * p.d),
        depth(ceilDiv(p.d, kTileDepth)),
        width(depth * kTileDepth),
        keyUnits(ceilDiv(p.sk, kUnit)),
        queryUnits(ceilDiv(p.sq, kUnit)) {}

  int64_t heads() const { return int64_t(p.b) * p.h; }
  int64_t offset(int64_t head, int64_t length) const {
    return head / p.h * length * stride + head % p.h * p.d;
  }
  /// Packs `count` positions of an operand from position `first` on. Answers the largest size where
  /// they have several parts, which hold those up to kMostSplit; or only whether it is infinite
  /// where tiles would multiply it by the weight zero of a pair that is not seen.
  template <class... Orders>
  float pack(const Operand& operand, int64_t head, int64_t length, int64_t first, int64_t count,
             Orders... orders) const {
    const Elements from = Elements::of(operand) + (offset(head, length) + first * stride);
    if constexpr (kParts == 1) {
      const HeadRows rows{reinterpret_cast<const uint16_t*>(from.data), stride};
      (orders.pack(rows, count, p.d), ...);
      return !p.causal || allFinite(from, stride, count, p.d) ? 0 : __builtin_inff();
    } else {
      Largest largest;
      for (int64_t e = 0; e < p.d; e += kBlock) {
        FloatBlock plain, turned;
        plain.load(from + e, stride, count, p.d - e, largest);
        if ((Orders::kTurned || ...)) turned.turn(plain);
        (orders.template split<kParts>(e, p.d - e, partSize(), Orders::kTurned ? turned : plain),
         ...);
      }
      return largest.size();
    }
  }
  /// Whether scores take the last numbers of a head with their parts side by side.
  bool hasRemainder() const {
    const int64_t last = (depth - 1) * kTileDepth;
    return kParts > 1 && Remainder::takes(last, p.d - last);
  }
  /// A product across heads: scores, or their like, which replaces the sums.
  UnitProduct scores(const uint16_t* rows, const uint16_t* columns, float* sums) const {
    return {.a = rows,
            .b = columns,
            .aStep = kPair,
            .bStep = kPair,
            .aPart = partSize(),
            .bPart = partSize(),
            .steps = hasRemainder() ? depth - 1 : depth,
            .sums = sums,
            .step = kUnit,
            .first = true,
            .remainder = hasRemainder() ? Remainder::kSteps : 0};
  }
  /// Steps of one.
  int64_t scoreSteps() const {
    const UnitProduct p = scores(nullptr, nullptr, nullptr);
    return p.steps * Terms<kParts>::kCount + p.remainder;
  }
  /// Where a packed block of numbers of d has those of the first part: pairs `begin` to `end` of
  /// what lies at number `at`.
  struct FirstPart {
    int64_t at, begin, end;
  };
  FirstPart firstPart(int64_t block) const {
    if (block + 1 < depth || !hasRemainder()) return {block * kPair, 0, kSide};
    constexpr int64_t kLast = Terms<3>::kCount - 1;  // the product of both first parts
    constexpr int64_t kBegin = kLast % Remainder::kSlots * Remainder::kWords;
    return {block * kPair + kLast / Remainder::kSlots * partSize(), kBegin,
            kBegin + Remainder::kWords};
  }
  /// The largest of |x|² among packed columns; infinite if any is not finite.
  float largestSquare(const uint16_t* columns) const {
    F32 largest = F32::zero();
    for (int64_t side = 0; side < kPair; side += kTile) {
      for (int64_t i = 0; i < kTileDepth; i += 2 * kLanes) {
        F32 sum = F32::zero();
        for (int64_t k = 0; k < depth; k++) {
          const auto part = firstPart(k);
          for (int64_t line = part.begin; line < part.end; line++) {
            const Pair x = loadPairOf(columns + part.at + side + line * kTileDepth + i);
            sum = mulAdd(x.high, x.high, mulAdd(x.low, x.low, sum));
          }
        }
        largest = maximum(largest, sum);
      }
    }
    return any(isNan(largest)) ? __builtin_inff() : reduceMax(largest);
  }

  /// The same among packed rows along positions.
  float largestSquareAlong(const uint16_t* rows) const {
    F32 largest = F32::zero();
    for (int64_t i = 0; i < kTileDepth; i += 2 * kLanes) {
      F32 low = F32::zero(), high = F32::zero();
      for (int64_t line = 0; line < partSize(); line += kTileDepth) {
        const Pair x = loadPairOf(rows + line + i);
        low = mulAdd(x.low, x.low, low);
        high = mulAdd(x.high, x.high, high);
      }
      largest = maximum(largest, maximum(low, high));
    }
    return any(isNan(largest)) ? __builtin_inff() : reduceMax(largest);
  }
  int64_t lengthOf(int64_t head) const { return lengths.of(head / p.h); }
  /// Keys of a unit that count: others are never read, for they may hold anything.
  int64_t keysOf(int64_t head, int64_t unit) const {
    return larger(0, smaller(kUnit, lengthOf(head) - unit * kUnit));
  }
  int64_t queriesOf(int64_t unit) const { return smaller(kUnit, p.sq - unit * kUnit); }
  Sight sight(int64_t head, int64_t query) const {
    const int64_t length = lengthOf(head);
    return {length, p.causal ? query + 1 + length - p.sq : length, p.causal};
  }
  /// Numbers of a part of a packed unit, in any order, and of the unit.
  int64_t partSize() const { return packedSize(p.d); }
  int64_t unitSize() const { return kParts * partSize(); }
  /// Columns of the block of 32 from column e on.
  int64_t columnsFrom(int64_t e) const { return smaller(kBlock, p.d - e); }
  /// What turns a product of a query and a key into units of log 2.
  float factor() const { return float(p.scale * double(kLog2E)); }
};

/// Factors of bf16 for kernels of one part, any others for those of three; the results, and what is
/// no factor, may be of any of the formats.
template <class P, int kParts>
inline bool takesHeads(const OpCall& call, std::initializer_list<int> factors) {
  const auto& p = call.as<P>();
  bool rounded = true;
  for (int i : factors) {
    if (!gemm::isTileFormat(call.in[i].format)) return false;
    rounded = rounded && call.in[i].format == Format::bf16;
  }
  return rounded == (kParts == 1) && p.b > 0 && p.h > 0 && p.sq > 0 && p.sk > 0 && p.d > 0 &&
         gemm::isTileFormat(call.out[0].format);
}

/// Whether tiles are filled well enough to repay the packing, or, in parts, splitting and six
/// products for each: measured beside multiply-adds, with fewer than kWideHead numbers a head where
/// there are kManyQueries and kManyKeys.
template <class P, int kParts, int64_t kManyKeys>
inline bool fillsAttention(const OpCall& call) {
  constexpr int64_t kWideHead = 64, kManyQueries = 128;
  const auto& p = call.as<P>();
  if (kParts > 1 && p.d < kWideHead)
    return p.d >= kTileDepth && p.sq >= kManyQueries && p.sk >= kManyKeys;
  return p.sq >= kLeastRows && p.sk >= kLeastDepth && p.d >= kLeastRows;
}

/// How many heads are packed at a time: about as much of each worker's part as a second-level cache
/// holds beside what passes by. No result depends on it.
inline int64_t headsAtATime(int64_t heads, int64_t headNumbers, int threads) {
  constexpr int64_t kNumbers = int64_t(1) << 19;  // 1 MiB
  return larger(1, smaller(heads, kNumbers * threads / headNumbers));
}

}  // namespace figment::FIGMENT_ISA::tiles
