// Attention of bf16 operands on matrix tiles, by tiles of queries against blocks of keys with a
// running softmax (Dao et al., 2022). Queries are the rows of both products: scores = q·kᵀ and
// out = p·v. Scores, their softmax and all sums are f32; weights are rounded to bf16 for the second
// product, and their sum is that of the unrounded ones. Keys and values are packed once for each
// head. Scores are kept in units of log 2. Include only from files compiled for one instruction
// set.
#pragma once

#include "../gemm/matrix_tiles.inl.h"
#include "../params/attention.generated.h"
#include "../simd/math.h"
#include "../softmax/fast_exp.h"
#include "lengths.h"

namespace figment::FIGMENT_ISA::tiles {

/// Queries of a tile and keys of a block; whole kBlocks.
constexpr int64_t kQueries = 64, kKeys = 128;

/// One head of a [b, s, h, d] operand of bf16.
struct HeadRows {
  const uint16_t* data;
  int64_t stride;  ///< between positions
  const uint16_t* row(int64_t position) const { return data + position * stride; }
};

/// Shapes that attention and its derivative share.
template <class P>
struct HeadShape {
  const P& p;
  KeyLengths lengths;
  int64_t stride, depth;     ///< depth: packed blocks of a head's d numbers
  int64_t width;             ///< d in whole kBlocks
  int64_t keyBlocks, tiles;  ///< blocks of kKeys keys, tiles of kQueries queries

  HeadShape(const OpCall& call, int lengthsAt)
      : p(call.as<P>()),
        lengths(call, lengthsAt, p.sk),
        stride(int64_t(p.h) * p.d),
        depth(ceilDiv(p.d, kTileDepth)),
        width(ceilDiv(p.d, kBlock) * kBlock),
        keyBlocks(ceilDiv(p.sk, kKeys)),
        tiles(ceilDiv(p.sq, kQueries)) {}

  int64_t heads() const { return int64_t(p.b) * p.h; }
  int64_t offset(int64_t head, int64_t length) const {
    return head / p.h * length * stride + head % p.h * p.d;
  }
  HeadRows rows(const Operand& operand, int64_t head, int64_t length) const {
    return {operand.as<const uint16_t>() + offset(head, length), stride};
  }
  /// Keys of a block that count: others are never read, for they may hold anything.
  int64_t keysOf(int64_t head, int64_t block) const {
    return larger(0, smaller(kKeys, lengths.of(head / p.h) - block * kKeys));
  }
  int64_t queriesOf(int64_t tile) const { return smaller(kQueries, p.sq - tile * kQueries); }
  /// Query i of a head sees the keys j < visible.
  int64_t visible(int64_t head, int64_t i) const {
    const int64_t length = lengths.of(head / p.h);
    return p.causal ? larger(0, smaller(length, i + 1 + length - p.sq)) : length;
  }
  /// Numbers of a packed block of keys: as columns d deep, or as columns of d over keys.
  int64_t acrossSize() const { return kKeys / kBlock * packedSize(p.d); }
  int64_t alongSize() const { return width / kBlock * packedSize(kKeys); }
};

/// Packs positions as rows, or as columns, that are d deep: kBlocks of them, packedSize(d) apart.
inline void packRowsAcross(const HeadRows& from, int64_t first, int64_t count, int64_t d,
                           uint16_t* to) {
  for (int64_t i = 0; i < count; i += kBlock, to += packedSize(d))
    packRows(to, from.row(first + i), from.stride, 1, smaller(kBlock, count - i), d);
}
inline void packColumnsAcross(const HeadRows& from, int64_t first, int64_t count, int64_t d,
                              uint16_t* to) {
  for (int64_t i = 0; i < count; i += kBlock, to += packedSize(d))
    packColumns(to, from.row(first + i), from.stride, 1, smaller(kBlock, count - i), d);
}
/// Packs the d numbers of positions as columns that run along `most` positions (zero past count):
/// kBlocks of columns, packedSize(most) apart.
inline void packColumnsAlong(const HeadRows& from, int64_t first, int64_t count, int64_t most,
                             int64_t d, uint16_t* to) {
  for (int64_t e = 0; e < d; e += kBlock, to += packedSize(most)) {
    zeroPacked(to, packedSize(most));
    placeColumns(to, 0, from.row(first) + e, 1, from.stride, smaller(kBlock, d - e), count);
  }
}

/// All products of packed rows and columns, each `blocks` blocks of K deep, `rowStep` and
/// `columnStep` numbers from one kBlock to the next.
template <class Tiles>
inline void multiplyAll(Tiles& tiles, const uint16_t* rows, int64_t rowCount, int64_t rowStep,
                        const uint16_t* columns, int64_t columnCount, int64_t columnStep,
                        int64_t blocks, bool first, float* sums, int64_t step) {
  for (int64_t j = 0; j < columnCount; j += kBlock)
    for (int64_t i = 0; i < rowCount; i += kBlock)
      multiply(tiles, rows + i / kBlock * rowStep, columns + j / kBlock * columnStep, blocks, first,
               sums + i * step + j, step);
}

/// Rounds a row of numbers to packed bf16.
inline void packRounded(uint16_t* to, int64_t row, const float* from, int64_t count) {
  for (int64_t k = 0; k < count; k += kTileDepth) {
    uint16_t* at = to + rowPlace(row, k);
    for (int64_t i = 0; i < kTileDepth; i += kLanes) storeBf16(at + i, F32::load(from + k + i));
  }
}

/// What one worker keeps while it works on a tile of queries.
struct QueryTile {
  uint16_t *query, *weight;  ///< packed rows
  float *score, *output;     ///< [kQueries, kKeys], [kQueries, width] not yet divided by total
  float *highest, *total;    ///< [kQueries] running maximum, running sum of weights

  static QueryTile take(Carver& carver, int64_t d, int64_t width) {
    QueryTile t;
    t.query = carver.take<uint16_t>(kQueries / kBlock * packedSize(d));
    t.weight = carver.take<uint16_t>(kQueries / kBlock * packedSize(kKeys));
    t.score = carver.take<float>(kQueries * kKeys);
    t.output = carver.take<float>(kQueries * width);
    t.highest = carver.take<float>(kQueries);
    t.total = carver.take<float>(kQueries);
    return t;
  }
};

struct TiledAttention {
  explicit TiledAttention(const OpCall& call) : call(call), shape(call, 3) {}

  size_t workerBytes() const {
    Carver measure(nullptr);
    QueryTile::take(measure, shape.p.d, shape.width);
    return measure.used();
  }
  /// Packed keys and values of one block.
  int64_t blockSize() const { return shape.acrossSize() + shape.alongSize(); }
  int64_t packedNumbers() const { return shape.heads() * shape.keyBlocks * blockSize(); }

  void packBlock(int64_t head, int64_t block, uint16_t* to) const {
    const int64_t d = shape.p.d, count = shape.keysOf(head, block), first = block * kKeys;
    packColumnsAcross(shape.rows(call.in[1], head, shape.p.sk), first, count, d, to);
    packColumnsAlong(shape.rows(call.in[2], head, shape.p.sk), first, count, kKeys, d,
                     to + shape.acrossSize());
  }

  /// Turns a row of scores into weights 2^(score − maximum), packed, and rescales what was summed.
  void weigh(const QueryTile& t, int64_t row, int64_t seen, int64_t width) const {
    float* score = t.score + row * kKeys;
    const F32 unseen = F32::broadcast(-__builtin_inff());
    const F32 factor = F32::broadcast(float(shape.p.scale * double(kLog2E)));
    F32 top = F32::broadcast(t.highest[row]);
    for (int64_t j = 0; j < width; j += kLanes) {
      const int32_t left = int32_t(larger(0, smaller(kLanes, seen - j)));
      const Mask visible = lt(I32::iota(), I32::broadcast(left));
      const F32 x = blend(visible, F32::load(score + j) * factor, unseen);
      x.store(score + j);
      top = max(x, top);
    }
    const float highest = reduceMax(top);
    // A row that has seen no finite score yet keeps weights of 0 instead of NaN.
    const F32 shift = F32::broadcast(highest == -__builtin_inff() ? 0.0f : highest);
    const F32 rescale = exp2Bounded(F32::broadcast(t.highest[row]) - shift);
    F32 sum = F32::zero();
    for (int64_t j = 0; j < width; j += kLanes) {
      const F32 weight = exp2Bounded(F32::load(score + j) - shift);
      weight.store(score + j);
      sum += weight;
    }
    packRounded(t.weight + row / kBlock * packedSize(kKeys), row % kBlock, score, width);
    float before[kLanes];
    rescale.store(before);
    t.total[row] = t.total[row] * before[0] + reduceAdd(sum);
    t.highest[row] = highest;
    float* output = t.output + row * shape.width;
    for (int64_t e = 0; e < shape.width; e += kLanes)
      (F32::load(output + e) * rescale).store(output + e);
  }

  template <class Tiles>
  void run(Tiles& tiles, int64_t head, int64_t tile, const uint16_t* packed,
           const QueryTile& t) const {
    const auto& p = shape.p;
    const int64_t firstQuery = tile * kQueries, queries = shape.queriesOf(tile);
    packRowsAcross(shape.rows(call.in[0], head, p.sq), firstQuery, queries, p.d, t.query);
    zeroPacked(t.weight, kQueries / kBlock * packedSize(kKeys));
    gemm::zeroFloats(t.output, kQueries * shape.width);
    gemm::zeroFloats(t.total, kQueries);
    for (int64_t i = 0; i < kQueries; i++) t.highest[i] = -__builtin_inff();
    const int64_t keys = shape.visible(head, firstQuery + queries - 1);
    for (int64_t key = 0; key < keys; key += kKeys) {
      const uint16_t* block = packed + (head * shape.keyBlocks + key / kKeys) * blockSize();
      const int64_t count = ceilDiv(smaller(kKeys, keys - key), kBlock) * kBlock;
      multiplyAll(tiles, t.query, queries, packedSize(p.d), block, count, packedSize(p.d),
                  shape.depth, true, t.score, kKeys);
      for (int64_t i = 0; i < queries; i++)
        weigh(t, i, shape.visible(head, firstQuery + i) - key, count);
      multiplyAll(tiles, t.weight, queries, packedSize(kKeys), block + shape.acrossSize(),
                  shape.width, packedSize(kKeys), count / kTileDepth, false, t.output, shape.width);
    }
    finish(head, firstQuery, queries, t);
  }

  void finish(int64_t head, int64_t firstQuery, int64_t queries, const QueryTile& t) const {
    const auto& p = shape.p;
    const Results out = Results::of(call.out[0]) + shape.offset(head, p.sq);
    float* lse = call.out[1].as<float>() + head * p.sq + firstQuery;
    for (int64_t i = 0; i < queries; i++) {
      const bool blind = t.highest[i] == -__builtin_inff() && t.total[i] == 0;
      float* row = t.output + i * shape.width;
      const F32 share = F32::broadcast(blind ? 0.0f : 1.0f / t.total[i]);
      for (int64_t e = 0; e < shape.width; e += kLanes) (F32::load(row + e) * share).store(row + e);
      storeRow(out + (firstQuery + i) * shape.stride, row, p.d, Elements{}, kNoActivation);
      fma(F32::broadcast(t.highest[i]), F32::broadcast(float(kLn2)),
          log(F32::broadcast(t.total[i])))
          .storePartial(lse + i, 1);
    }
  }

  const OpCall& call;
  HeadShape<AttentionParams> shape;
};

inline size_t attentionScratch(const OpCall& call, int threads) {
  const TiledAttention attention(call);
  return size_t(attention.packedNumbers()) * sizeof(uint16_t) +
         size_t(threads) * attention.workerBytes();
}

template <class Tiles>
inline void runAttention(const OpCall& call, Context& context) {
  const TiledAttention attention(call);
  const auto& shape = attention.shape;
  const size_t workerBytes = attention.workerBytes();
  std::byte* workers = context.scratch();
  auto* packed = reinterpret_cast<uint16_t*>(workers + size_t(context.threads()) * workerBytes);
  const int64_t blocks = shape.keyBlocks, tilesOfHead = shape.tiles;
  context.parallelFor(shape.heads() * blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++)
      attention.packBlock(i / blocks, i % blocks, packed + i * attention.blockSize());
  });
  context.parallelFor(shape.heads() * tilesOfHead, 1, [&](int64_t begin, int64_t end, int worker) {
    Tiles tiles;
    Carver carver(workers + size_t(worker) * workerBytes);
    const QueryTile mine = QueryTile::take(carver, shape.p.d, shape.width);
    for (int64_t i = begin; i < end; i++)
      attention.run(tiles, i / tilesOfHead, i % tilesOfHead, packed, mine);
  });
}

/// Queries, keys and values of bf16; the results may be of any format.
template <class P>
inline bool takesAttention(const OpCall& call) {
  const auto& p = call.as<P>();
  for (int i = 0; i < 3; i++)
    if (call.in[i].format != Format::bf16) return false;
  return p.b > 0 && p.h > 0 && p.sq > 0 && p.sk > 0 && p.d > 0 &&
         gemm::isTileFormat(call.out[0].format);
}

/// Whether tiles are filled well enough to repay the packing.
template <class P>
inline bool fillsAttention(const OpCall& call) {
  const auto& p = call.as<P>();
  return p.sq >= kLeastRows && p.sk >= kLeastDepth && p.d >= kLeastRows;
}

template <class Tiles>
constexpr Variant attentionOn() {
  using P = AttentionParams;
  return {"attention",      Tiles::kName,
          Tiles::kIsa,      Tiles::template supports<takesAttention<P>, fillsAttention<P>>,
          attentionScratch, runAttention<Tiles>};
}

}  // namespace figment::FIGMENT_ISA::tiles
