// conv2dWeightGrad of 3×3 taps and stride 1 by Winograd's filtering, transposed: the filter
// y = A [(G g) ∘ (B d)] is linear in g, so its derivative is Gᵀ [(Aᵀ dy) ∘ (B d)], summed over all
// tiles before the last transform. Tiles of the source and of dy are transformed in rounds; each
// element of a transformed tile is then a matrix product over the tiles of the round, with sums of
// its own. Include only from files compiled for one instruction set.
#pragma once

#include <atomic>

#include "kernels/conv/weight_grad.inl.h"
#include "kernels/conv/winograd_source.inl.h"
#include "kernels/fallbacks.h"

namespace figment::FIGMENT_ISA::conv {

/// Tiles in a chain of multiply-adds, which starts from zero: rows of them that outer tiles walk
/// stay in the L1 cache.
constexpr int64_t kChainTiles = 32;
/// What a round's transforms take at least: they stay in a cache that the workers share, unless the
/// sums, which each round reads and writes, are larger.
constexpr int64_t kRoundBytes = 4 * 1024 * 1024;
/// Units of products, for load balance; fixed, so that nothing depends on the number of threads.
constexpr int64_t kProductUnits = 128;
/// Sums of a chunk, at most, and what a round of one transforms: both stay in the L2 cache.
constexpr int64_t kChunkSumBytes = 1024 * 1024, kChunkRoundBytes = 640 * 1024;
/// So many tiles repay sums of their own. Chunks are as many whatever the number of threads.
constexpr int64_t kLeastChunkTiles = 4 * kChainTiles, kMostChunks = 16;

template <int kY, int kX>
struct WinogradGrad : TiledGeometry<kY, kX> {
  using Tiled = TiledGeometry<kY, kX>;
  using Tiled::kProducts, Tiled::tiles, Tiled::rowStep, Tiled::sourceStep, Tiled::groups,
      Tiled::groupIn, Tiled::groupOut;

  explicit WinogradGrad(const Geometry& shape) : Tiled(shape) {
    outRow = Tiled::rowOf(Tiled::outChannels);
    sumRows = ceilDiv(groupOut, kOuterRows) * kOuterRows;
    sumRow = ceilDiv(groupIn, kLanes) * kLanes;
    sumStep = oddLines(groups * sumRows * sumRow);
    constexpr int64_t kNumber = sizeof(float);
    const int64_t tileFloats = kProducts * (rowStep + outRow);
    if (kProducts * sumStep * kNumber <= kChunkSumBytes)
      chunks = larger(smaller(tiles / kLeastChunkTiles, kMostChunks), 1);
    const int64_t floats = chunks > 1 ? kChunkRoundBytes / kNumber
                                      : larger(kRoundBytes / kNumber, kProducts * sumStep / 2);
    const int64_t most = larger(floats / tileFloats / kChainTiles, 1) * kChainTiles;
    chunkTiles = ceilDiv(ceilDiv(tiles, chunks), kChainTiles) * kChainTiles;
    chunks = ceilDiv(tiles, chunkTiles);  // none is empty
    roundTiles = smaller(smaller(tiles, chunkTiles), most);
    // The last tile's vectors may reach past its row.
    sourceStep = oddLines(roundTiles * rowStep + kLanes);
    outStep = oddLines(roundTiles * outRow + kLanes);
    const int64_t rows = sumRows / kOuterRows;
    const int64_t parts = smaller(ceilDiv(kProductUnits, kProducts * groups), ceilDiv(rows, 4));
    partRows = ceilDiv(rows, parts) * kOuterRows;
  }

  Elements dy;
  Results dw;

  int64_t chunks = 1;  ///< of tiles, each with its own sums
  int64_t chunkTiles, roundTiles;
  int64_t outRow, outStep;  ///< of transformed dy, as rowStep and sourceStep
  /// Sums of a group: floats from one input channel's to the next … output channel, product.
  int64_t sumRows, sumRow, sumStep;
  int64_t partRows;  ///< output channels of a unit

  int64_t parts() const { return ceilDiv(sumRows, partRows); }
  int64_t units() const { return kProducts * groups * parts(); }
  int64_t sumsOf(int64_t product, int64_t group) const {
    return product * sumStep + group * sumRows * sumRow;
  }
  int64_t chunkSums() const { return kProducts * sumStep; }
};

struct WinogradGradScratch {
  float* zeros;             ///< a pixel of padding, in any format
  float *source, *outputs;  ///< a round's, or one for each worker
  float* sums;              ///< of all chunks
};

template <int kY, int kX>
inline size_t carve(const WinogradGrad<kY, kX>& g, int threads, std::byte* base,
                    WinogradGradScratch& s) {
  const int64_t rounds = g.chunks > 1 ? threads : 1;
  Carver carver(base);
  s.zeros = carver.take<float>(g.rowStep);
  s.source = carver.take<float>(rounds * g.kProducts * g.sourceStep);
  s.outputs = carver.take<float>(rounds * g.kProducts * g.outStep);
  s.sums = carver.take<float>(g.chunks * g.chunkSums());
  return carver.used();
}

/// Transforms the channels of one tile of dy to rows `outStep` floats apart.
template <int kY, int kX>
inline void transformOutputs(const WinogradGrad<kY, kX>& g, int64_t tile, float* to) {
  const TilePlace place = placeOf(g, tile);
  const int64_t pixel = (place.image * g.outHeight + place.y) * g.outWidth + place.x;
  const Elements first = g.dy + pixel * g.outChannels;
  const bool whole = place.rows == kY && place.columns == kX;
  const auto run = [&](int64_t channel, auto load) __attribute__((always_inline)) {
    bothAxes<kY, kX, kY + 2, kX + 2>(
        [](auto& y, auto& z) __attribute__((always_inline)) { transformResults<kY>(y, z); },
        [](auto& y, auto& z) __attribute__((always_inline)) { transformResults<kX>(y, z); },
        [&](int row, int column) __attribute__((always_inline)) {
          return load(first + ((row * g.outWidth + column) * g.outChannels + channel), row, column);
        },
        [&](int row, int column, F32 value) __attribute__((always_inline)) {
          value.store(to + (row * g.kSideX + column) * g.outStep + channel);
        });
  };
  int64_t channel = 0;
  if (!g.dy.half() && whole)
    for (; channel + kLanes <= g.outChannels; channel += kLanes)
      run(
          channel, [](Elements at, int, int)
                       __attribute__((always_inline)) { return F32::load(at.floats()); });
  for (; channel < g.outChannels; channel += kLanes) {
    const int count = int(smaller(kLanes, g.outChannels - channel));
    run(channel, [&](Elements at, int row, int column) {
      return row < place.rows && column < place.columns ? loadElements(at, count) : F32::zero();
    });
  }
}

/// Transforms a tile of both as number `i` of a round.
template <int kY, int kX>
inline void transformBoth(const WinogradGrad<kY, kX>& g, const WinogradGradScratch& s, int64_t tile,
                          int64_t i) {
  transformTile(g, s.zeros, tile, s.source + i * g.rowStep);
  transformOutputs(g, tile, s.outputs + i * g.outRow);
}

/// Adds one round of `count` tiles to the sums of a unit: one product and group, and some of the
/// outputs.
template <int kY, int kX>
inline void addProduct(const WinogradGrad<kY, kX>& g, const WinogradGradScratch& s, int64_t unit,
                       int64_t count, bool firstRound) {
  const int64_t part = unit % g.parts(), group = unit / g.parts() % g.groups;
  const int64_t product = unit / g.parts() / g.groups;
  const float* source = s.source + product * g.sourceStep + group * g.groupIn;
  const float* outputs = s.outputs + product * g.outStep + group * g.groupOut;
  float* sums = s.sums + g.sumsOf(product, group);
  const int64_t end = smaller((part + 1) * g.partRows, g.sumRows);
  for (int64_t at = 0; at < count; at += kChainTiles) {
    const Segment chain{0, smaller(kChainTiles, count - at)};
    OuterTile tile{};
    tile.segments = &chain;
    tile.segmentCount = 1;
    tile.aStep = g.outRow;
    tile.bStep = g.rowStep;
    tile.cStep = g.sumRow;
    tile.first = firstRound && at == 0;
    for (int64_t c = 0; c < g.sumRow; c += kOuterVectors * kLanes) {
      const int64_t vectors = smaller(kOuterVectors, (g.sumRow - c) / kLanes);
      for (int64_t v = 0; v < vectors; v++) tile.b[v] = source + at * g.rowStep + c + v * kLanes;
      for (int64_t o = part * g.partRows; o < end; o += kOuterRows) {
        tile.a = outputs + at * g.outRow + o;
        tile.c = sums + o * g.sumRow + c;
        outerColumns(tile, kOuterRows, vectors);
      }
    }
  }
}

/// Each worker sums chunks by itself.
template <int kY, int kX>
inline void sumChunks(const WinogradGrad<kY, kX>& g, const WinogradGradScratch& s,
                      Context& context) {
  context.parallelFor(g.chunks, 1, [&](int64_t begin, int64_t end, int worker) {
    WinogradGradScratch own = s;
    own.source += worker * g.kProducts * g.sourceStep;
    own.outputs += worker * g.kProducts * g.outStep;
    for (int64_t chunk = begin; chunk < end; chunk++) {
      own.sums = s.sums + chunk * g.chunkSums();
      const int64_t first = chunk * g.chunkTiles, last = smaller(first + g.chunkTiles, g.tiles);
      for (int64_t tile = first; tile < last; tile += g.roundTiles) {
        const int64_t count = smaller(g.roundTiles, last - tile);
        for (int64_t i = 0; i < count; i++) transformBoth(g, own, tile + i, i);
        for (int64_t i = 0; i < g.units(); i++) addProduct(g, own, i, count, tile == first);
      }
    }
  });
}

/// All workers share each round.
template <int kY, int kX>
inline void sumRounds(const WinogradGrad<kY, kX>& g, const WinogradGradScratch& s,
                      Context& context) {
  for (int64_t first = 0; first < g.tiles; first += g.roundTiles) {
    const int64_t count = smaller(g.roundTiles, g.tiles - first);
    context.parallelFor(count, 4, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) transformBoth(g, s, first + i, i);
    });
    context.parallelFor(g.units(), 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) addProduct(g, s, i, count, first == 0);
    });
  }
}

/// Transforms the sums of output channel `output` back; answers whether all of them are finite.
template <int kY, int kX>
inline bool finishOutput(const WinogradGrad<kY, kX>& g, const float* sums, int64_t output) {
  const float* row = sums + g.sumsOf(0, output / g.groupOut) + output % g.groupOut * g.sumRow;
  F32 check = F32::zero();
  for (int64_t c = 0; c < g.groupIn; c += kLanes) {
    const int count = int(smaller(kLanes, g.groupIn - c));
    bothAxes<kY + 2, kX + 2, 3, 3>(
        [](auto& u, auto& w) __attribute__((always_inline)) { transformGradients<kY>(u, w); },
        [](auto& u, auto& w) __attribute__((always_inline)) { transformGradients<kX>(u, w); },
        [&](int y, int x) __attribute__((always_inline)) {
          const float* sum = row + (y * g.kSideX + x) * g.sumStep + c;
          F32 all = F32::loadPartial(sum, count);
          for (int64_t chunk = 1; chunk < g.chunks; chunk++)
            all += F32::loadPartial(sum + chunk * g.chunkSums(), count);
          return all;
        },
        [&](int y, int x, F32 value) __attribute__((always_inline)) {
          check = multiplyAdd(value, F32::zero(), check);
          storeElements(g.dw + ((output * 9 + tapAt(g, y, x)) * g.groupIn + c), value, count);
        });
  }
  return !any(isNan(check));
}

template <int kY, int kX>
inline WinogradGrad<kY, kX> describeWinogradGrad(const OpCall& call) {
  WinogradGrad<kY, kX> g(forwardGeometry(call.as<Conv2dWeightGradParams>()));
  g.source = Elements::of(call.in[0]);
  g.dy = Elements::of(call.in[1]);
  g.dw = Results::of(call.out[0]);
  return g;
}

template <int kY, int kX>
inline size_t winogradGradScratch(const OpCall& call, int threads) {
  WinogradGradScratch s;
  const size_t own = carve(describeWinogradGrad<kY, kX>(call), threads, nullptr, s);
  const size_t direct = weightGradScratch(call, threads);
  return own < direct ? direct : own;
}

template <int kY, int kX>
inline void winogradGradRun(const OpCall& call, Context& context) {
  const WinogradGrad<kY, kX> g = describeWinogradGrad<kY, kX>(call);
  WinogradGradScratch s;
  carve(g, context.threads(), context.scratch(), s);
  zeroFloats(s.zeros, g.rowStep);
  if (g.chunks > 1)
    sumChunks(g, s, context);
  else
    sumRounds(g, s, context);
  std::atomic<bool> finite{true};
  context.parallelFor(g.outChannels, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t output = begin; output < end; output++)
      if (!finishOutput(g, s.sums, output)) finite.store(false, std::memory_order_relaxed);
  });
  // A number that is not finite would be in all taps, and transforms may overflow where sums don't.
  if (finite.load(std::memory_order_relaxed)) return;
  weightGradRun(call, context);
  countFallbacks(context, 1);
}

}  // namespace figment::FIGMENT_ISA::conv
