// Attention by tiles of queries against blocks of keys with a running softmax (Dao et al., 2022;
// Milakov & Gimelshein, 2018). Queries lie across the lanes: a block of scores is k·qᵀ with k's
// elements broadcast, so maxima, exponentials and sums need no work across lanes, and the output
// tile is vᵀ·p the same way. Two tiles share each block, which is copied for them. Scores are kept
// in units of log 2.
#pragma once

#include <type_traits>

#include "../params/attention.generated.h"
#include "../simd/math.h"
#include "lengths.h"
#include "rows.inl.h"
#include "running_softmax.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

/// Tiles of queries that meet a block of keys one after the other.
constexpr int64_t kGroupTiles = 2;

/// What one worker keeps of a tile of queries.
struct ForwardTile {
  float* query;   ///< [d, lanes], scaled
  float* output;  ///< [d, lanes], not yet divided by the total
  RunningSoftmax softmax;

  ForwardTile(float* memory, int64_t d)
      : query(memory),
        output(query + d * kTileQueries),
        softmax(output + d * kTileQueries, output + (d + kBlockKeys) * kTileQueries) {}
  static int64_t floats(int64_t d) {
    return alignedFloats((2 * d + kBlockKeys + 3) * kTileQueries);
  }
};

/// What one worker keeps of a group: its tiles, and a block of keys or values as floats.
struct Group {
  float* memory;
  int64_t d;

  ForwardTile tile(int64_t index) const { return {memory + index * ForwardTile::floats(d), d}; }
  float* rows() const { return memory + kGroupTiles * ForwardTile::floats(d); }
  static int64_t floats(int64_t d) {
    return kGroupTiles * ForwardTile::floats(d) + alignedFloats(kBlockKeys * d);
  }
};

/// Adds to the rescaled output.
struct AddOutput {
  float* output;
  const float* rescale;

  template <int R, int L>
  FIGMENT_INLINE void operator()(int64_t row, F32 (&sum)[R][L]) const {
    for (int l = 0; l < L; l++) {
      const F32 factor = F32::load(rescale + l * kLanes);
      for (int r = 0; r < R; r++) {
        float* at = output + (row + r) * kTileQueries + l * kLanes;
        mulAdd(F32::load(at), factor, sum[r][l]).store(at);
      }
    }
  }
};

struct AttentionCall {
  explicit AttentionCall(const OpCall& call, int64_t tileQueries = kTileQueries)
      : p(call.as<AttentionParams>()),
        q(Elements::of(call.in[0])),
        k(Elements::of(call.in[1])),
        v(Elements::of(call.in[2])),
        out(Results::of(call.out[0])),
        lse(call.out[1].as<float>()),
        lengths(call, 3, p.sk),
        stride(int64_t(p.h) * p.d),
        tileQueries(tileQueries),
        groups(ceilDivide(p.sq, kGroupTiles * tileQueries)) {}

  /// Queries of one head, and the keys that the last of them sees.
  struct Place {
    int64_t head, batch, firstQuery, queries, seen, keys;
  };
  Place place(int64_t head, int64_t firstQuery, int64_t most) const {
    const int64_t batch = head / p.h, length = lengths.of(batch);
    const int64_t queries = smaller(most, p.sq - firstQuery);
    // Query i sees the keys j <= i + seen.
    const int64_t seen = length - p.sq;
    const int64_t keys =
        p.causal ? larger(0, smaller(length, firstQuery + queries + seen)) : length;
    return {head, batch, firstQuery, queries, seen, keys};
  }
  int64_t rowAt(const Place& at, int64_t length, int64_t position) const {
    return (at.batch * length + position) * stride + at.head % p.h * p.d;
  }

  void begin(const Place& at, const ForwardTile& tile) const {
    packColumns(q + rowAt(at, p.sq, at.firstQuery), stride, at.queries, p.d,
                float(p.scale * double(kLog2E)), tile.query);
    for (int64_t i = 0; i < p.d * kTileQueries; i++) tile.output[i] = 0;
    tile.softmax.begin();
  }

  /// Weights of `count` keys from `key` on.
  template <int L>
  void weigh(const Place& at, const float* keyRows, int64_t key, int64_t count,
             const ForwardTile& tile) const {
    tile.softmax.weigh<L>(
        keyRows, p.d, count, tile.query, p.d,
        {key - at.seen - at.firstQuery, p.causal && key + count - 1 > at.firstQuery + at.seen});
  }

  template <int L>
  void addValues(const float* valueRows, int64_t count, const ForwardTile& tile) const {
    multiplyPanel<L, Order::byDepth>(p.d, valueRows, p.d, tile.softmax.score, kTileQueries, count,
                                     AddOutput{tile.output, tile.softmax.rescale});
  }

  /// step(vectors) with as many vectors as hold the queries.
  template <class Step>
  static FIGMENT_INLINE void withVectors(int64_t queries, Step step) {
    switch (ceilDivide(queries, kLanes)) {
      case 1:
        return step(std::integral_constant<int, 1>{});
      case 2:
        return step(std::integral_constant<int, 2>{});
      default:
        return step(std::integral_constant<int, 3>{});
    }
  }

  void finish(const Place& at, const ForwardTile& tile) const {
    const RunningSoftmax& softmax = tile.softmax;
    for (int l = 0; l < kTileVectors; l++) {
      const F32 total = F32::load(softmax.total + l * kLanes);
      const F32 top = F32::load(softmax.highest + l * kLanes);
      const Mask blind = eq(top, F32::broadcast(-__builtin_inff())) & eq(total, F32::zero());
      blend(blind, F32::zero(), F32::broadcast(1.0f) / total).store(softmax.rescale + l * kLanes);
      mulAdd(top, F32::broadcast(float(kLn2)), log(total)).store(softmax.highest + l * kLanes);
    }
    unpackColumns(tile.output, softmax.rescale, at.queries, p.d,
                  out + rowAt(at, p.sq, at.firstQuery), stride);
    float* to = lse + at.head * p.sq + at.firstQuery;
    for (int64_t i = 0; i < at.queries; i++) to[i] = softmax.highest[i];
  }

  void runTask(int64_t task, const Group& group) const {
    const int64_t first = task % groups * kGroupTiles * tileQueries, head = task / groups;
    const Place all = place(head, first, kGroupTiles * tileQueries);
    const int64_t tiles = ceilDivide(all.queries, tileQueries);
    Place places[kGroupTiles];
    for (int64_t i = 0; i < tiles; i++) {
      places[i] = place(head, first + i * tileQueries, tileQueries);
      begin(places[i], group.tile(i));
    }
    for (int64_t key = 0; key < all.keys; key += kBlockKeys) {
      const int64_t from = rowAt(all, p.sk, key);
      const auto forTiles = [&](auto step) {
        for (int64_t i = 0; i < tiles; i++)
          if (const int64_t count = smaller(kBlockKeys, places[i].keys - key); count > 0)
            withVectors(places[i].queries,
                        [&](auto vectors) { step(vectors, places[i], count, group.tile(i)); });
      };
      const int64_t most = smaller(kBlockKeys, all.keys - key);
      copyRows(k + from, stride, most, p.d, group.rows());
      forTiles([&](auto vectors, const Place& at, int64_t count, const ForwardTile& tile) {
        weigh<vectors()>(at, group.rows(), key, count, tile);
      });
      copyRows(v + from, stride, most, p.d, group.rows());
      forTiles([&](auto vectors, const Place&, int64_t count, const ForwardTile& tile) {
        addValues<vectors()>(group.rows(), count, tile);
      });
    }
    for (int64_t i = 0; i < tiles; i++) finish(places[i], group.tile(i));
  }

  const AttentionParams& p;
  Elements q, k, v;
  Results out;
  float* lse;
  KeyLengths lengths;
  int64_t stride;       ///< between positions
  int64_t tileQueries;  ///< of a tile, at most
  int64_t groups;       ///< of tiles of queries
};

size_t attentionScratch(const OpCall& call, int threads) {
  return size_t(threads * Group::floats(call.as<AttentionParams>().d)) * sizeof(float);
}

void runAttention(const OpCall& call, Context& context) {
  const auto& p = call.as<AttentionParams>();
  // Alone, a query meets no key that it does not see.
  const bool alone = p.causal && !allFinite(call, {2}, p.b, KeyLengths(call, 3, p.sk),
                                            int64_t(p.h) * p.d, context);
  const AttentionCall attention(call, alone ? 1 : kTileQueries);
  float* scratch = reinterpret_cast<float*>(context.scratch());
  const int64_t tasks = int64_t(p.b) * p.h * attention.groups;
  context.parallelFor(tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    const Group group{scratch + worker * Group::floats(p.d), p.d};
    for (int64_t task = begin; task < end; task++) attention.runTask(task, group);
  });
}

constexpr Variant attentionVariant{"attention",       kVariantName,     kVariantIsa,
                                   supportsFloats<3>, attentionScratch, runAttention};
const RegisterVariant attentionVariantRegistrar{attentionVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
