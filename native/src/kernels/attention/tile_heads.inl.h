// Heads of bf16 as matrix tiles read them, for attention and its derivative. Positions are packed
// by units of 32, in four orders: as rows or columns that are d deep (the factors of scores), and
// as columns or rows along d that are 32 positions deep (the factors of sums over positions). Along
// positions, number i of a pair's first half goes with number 16 + i: which neighbours share a pair
// is free as long as both factors agree, and so pairs are made of whole vectors. Include only from
// files compiled for one instruction set.
#pragma once

#include "lengths.h"
#include "tile_parts.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Positions of a unit, which is a kBlock of rows or columns and one step of K.
constexpr int64_t kUnit = kBlock;
static_assert(kUnit == kTileDepth);
/// Scores of a unit of queries and a unit of keys.
constexpr int64_t kScores = kUnit * kUnit;

/// One head of a [b, s, h, d] operand of bf16, from some position on.
struct HeadRows {
  const uint16_t* data;
  int64_t stride;  ///< between positions
  const uint16_t* row(int64_t position) const { return data + position * stride; }
};

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
  /// pack(rows, part) for all parts of `count` rows of an operand from position `first` on, which
  /// are split into `staged` where they have several. Answers whether the numbers suit.
  template <class Pack>
  bool forParts(const Operand& operand, int64_t head, int64_t length, int64_t first, int64_t count,
                float least, uint16_t* staged, Pack&& pack) const {
    const Elements from = Elements::of(operand) + (offset(head, length) + first * stride);
    if constexpr (kParts == 1) {
      pack(HeadRows{reinterpret_cast<const uint16_t*>(from.data), stride}, 0);
      return true;
    } else {
      const bool suits = splitRows<kParts>(staged, from, stride, count, p.d, width, least);
      for (int part = 0; part < kParts; part++)
        pack(HeadRows{staged + part * kUnit * width, width}, part);
      return suits;
    }
  }
  /// Numbers that forParts stages.
  int64_t stagedSize() const { return kParts == 1 ? 0 : kParts * kUnit * width; }
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

/// A line of pairs of position i and i + 16 of a unit of `positions`: `count` numbers from number
/// `first` of d on.
FIGMENT_INLINE void pairLine(uint16_t* to, const HeadRows& from, int64_t i, int64_t positions,
                             int64_t first, int64_t count) {
  constexpr uint16_t kZeros[kSide] = {};
  interleaveLine(to, i < positions ? from.row(i) + first : kZeros,
                 i + kSide < positions ? from.row(i + kSide) + first : kZeros, count);
}

/// Calls line(tile, i, first, count) for each line of the tiles of a unit along d: it is line i of
/// the tile at number `tile`, of `count` (0 .. 16) numbers of d from `first` on.
template <class F>
FIGMENT_INLINE void forTilesAlong(int64_t d, F&& found) {
  for (int64_t e = 0; e < d; e += kBlock)
    for (int64_t side = 0; side < kBlock; side += kSide)
      found(e * kTileDepth + side / kSide * kTile, e + side,
            larger(0, smaller(kSide, d - e - side)));
}

/// Packs the d numbers of a unit of `positions` as columns that run along positions: a kPair for
/// each kBlock of columns; zeros fill it.
inline void packColumnsAlong(uint16_t* to, const HeadRows& from, int64_t positions, int64_t d) {
  forTilesAlong(d, [&](int64_t tile, int64_t first, int64_t count) {
    for (int64_t i = 0; i < kSide; i++)
      pairLine(to + tile + i * kTileDepth, from, i, positions, first, count);
  });
}

/// The same as rows.
inline void packRowsAlong(uint16_t* to, const HeadRows& from, int64_t positions, int64_t d) {
  alignas(kRowBytes) uint16_t lines[kTile];
  forTilesAlong(d, [&](int64_t tile, int64_t first, int64_t count) {
    for (int64_t i = 0; i < kSide; i++)
      pairLine(lines + i * kTileDepth, from, i, positions, first, count);
    transposeWords(to + tile, kRowBytes, lines, kRowBytes);
  });
}

/// Both numbers of a pair of bf16.
struct Pair {
  F32 low, high;
};
FIGMENT_INLINE Pair loadPairOf(const uint16_t* from) {
  I32 pairs;
  __builtin_memcpy(&pairs, from, sizeof pairs);
  return {asFloat(shl(pairs, 16)), asFloat(pairs & I32::broadcast(int32_t(0xffff0000)))};
}

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
/// queries and keys are many.
template <class P, int kParts>
inline bool fillsAttention(const OpCall& call) {
  constexpr int64_t kWideHead = 48, kMany = 256;
  const auto& p = call.as<P>();
  if (kParts > 1 && p.d < kWideHead) return p.d >= kTileDepth && p.sq >= kMany && p.sk >= kMany;
  return p.sq >= kLeastRows && p.sk >= kLeastDepth && p.d >= kLeastRows;
}

/// How many heads are packed at a time: about as much of each worker's part as a second-level cache
/// holds beside what passes by. No result depends on it.
inline int64_t headsAtATime(int64_t heads, int64_t headNumbers, int threads) {
  constexpr int64_t kNumbers = int64_t(1) << 19;  // 1 MiB
  return larger(1, smaller(heads, kNumbers * threads / headNumbers));
}

}  // namespace figment::FIGMENT_ISA::tiles
