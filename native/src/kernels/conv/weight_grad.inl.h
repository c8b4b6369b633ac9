// conv2dWeightGrad: dw[o][tap,c] = Σ over positions of dy[o] · x[tap,c], as a matrix product whose
// K runs over positions. Positions are cut into chunks; for each, x becomes a window, so that every
// tap is a constant offset. A number of splits fixed by the shape each sum their chunks in order
// into a buffer of their own; the buffers are then added in order. This file plans and reduces;
// weight_grad_chunk.inl.h holds the three ways to sum a chunk. Include only from files compiled for
// one instruction set.
#pragma once

#include "../params/conv2dWeightGrad.generated.h"
#include "kernels/conv/weight_grad_chunk.inl.h"

namespace figment::FIGMENT_ISA::conv {

/// Positions in a chunk: more when the weights are so many that the traffic of their sums counts.
constexpr int64_t kChunkPositions = 256, kLargeChunkPositions = 1024;
constexpr int64_t kLargeWeightFloats = 64 * 1024;
/// Without AVX-512 the vectors that outer tiles read of a chunk stay in a first-level cache of 32
/// KiB while the outputs pass by: of so many positions in place, a line or two of each, or of more
/// where at least so many outputs repay copying them side by side.
constexpr int64_t kNearPositions = 128, kStripPositions = 256, kStripOutputs = 128;
/// Independent units of work, and what their sums may take together.
constexpr int64_t kGradUnits = 16;
constexpr int64_t kPartialFloats = 8 * 1024 * 1024;
/// Row tiles sum a whole split in one chain: more splits keep the chains, and their error, short.
constexpr int64_t kTapSplits = 128;
/// A split of the outputs has this many tiles at least, to repay building the window again.
constexpr int64_t kMinOutputTiles = 4;

/// Rows of dy that are a multiple of this apart fall into few sets of the L1 cache: they are
/// packed.
constexpr int64_t kOutputConflict = 64;

inline int64_t chunkPositions(const WeightGrad& g) {
  if (FIGMENT_LEVEL < 2 && g.kind == GradKind::outer)
    return g.strips ? kStripPositions : kNearPositions;
  const bool large = g.sumRows * g.sumStep > kLargeWeightFloats;
  return large ? kLargeChunkPositions : kChunkPositions;
}

inline void chooseChunks(WeightGrad& g, int64_t wanted) {
  const int64_t wo = g.x.size, ho = g.y.size;
  g.columnBands = ceilDiv(wo, wanted);
  g.columns = ceilDiv(wo, g.columnBands);
  g.columnBands = ceilDiv(wo, g.columns);
  g.rows = smaller(ho, larger(1, wanted / g.columns));
  g.rows = ceilDiv(ho, ceilDiv(ho, g.rows));
  g.rowBands = ceilDiv(ho, g.rows);
  g.chunkImages =
      g.rowBands * g.columnBands == 1 ? smaller(g.images, larger(1, wanted / (ho * wo))) : 1;
  g.chunks = ceilDiv(g.images, g.chunkImages) * g.rowBands * g.columnBands;
}

inline void describe(const Conv2dWeightGradParams& p, Elements x, Elements dy, Results dw,
                     WeightGrad& g) {
  g.source = {x, p.h, p.w, p.c};
  g.dy = dy;
  g.dw = dw;
  g.images = p.n;
  g.groups = p.groups;
  g.groupIn = p.c / p.groups;
  g.groupOut = p.o / p.groups;
  g.channelsOut = p.o;
  g.kernelWidth = p.kw;
  g.taps = int64_t(p.kh) * p.kw;
  g.y = forwardAxis(axisShape(p, 0));
  g.x = forwardAxis(axisShape(p, 1));
  g.pixelStep = p.c;

  const int64_t padded = ceilDiv(g.groupIn, kLanes) * kLanes;
  if (fewToAGroup(g.groups, g.groupIn, g.groupOut)) {
    g.kind = GradKind::lanes;
    g.source.laneIn = g.groupIn;
    g.source.laneOut = g.groupOut;
    g.pixelStep = g.source.pixelFloats();
    g.groupOut *= g.groups;
    g.groups = 1;
  } else if (g.groupIn * 4 < padded * 3 && g.groupOut > kDotColumns) {
    g.kind = GradKind::rows;
  } else {
    g.kind = GradKind::outer;
  }
  if (g.kind == GradKind::outer) {
    g.sumRows = ceilDiv(g.groupOut, kOuterRows) * kOuterRows;
    g.sumStep = g.taps * padded;
    g.outputStep = kOuterRows;
    // An odd number of vectors between pixels spreads them over all sets of the L1 cache.
    if (p.c % (2 * kLanes) == 0) g.pixelStep += kLanes;
  } else {
    g.sumRows = g.taps * g.groupIn;
    g.sumStep = ceilDiv(g.groupOut, kTileColumns) * kTileColumns;
    g.outputStep = kTileColumns;
  }
  g.strips = FIGMENT_LEVEL < 2 && g.kind == GradKind::outer && g.groupOut >= kStripOutputs;
  chooseChunks(g, chunkPositions(g));
  const bool conflict = p.o % kOutputConflict == 0;
  g.plainOutputs =
      !dy.half() && !conflict && (g.columnBands == 1 || (g.rows == 1 && g.chunkImages == 1));

  const int64_t wanted = g.kind == GradKind::rows ? kTapSplits : kGradUnits;
  const int64_t sums = g.groups * g.sumRows * g.sumStep;
  g.splits = smaller(smaller(g.chunks, wanted), larger(1, kPartialFloats / sums));
  g.splitChunks = ceilDiv(g.chunks, g.splits);
  g.splits = ceilDiv(g.chunks, g.splitChunks);
  const int64_t tiles = ceilDiv(g.groupOut, g.outputStep);
  g.outputSplits =
      smaller(ceilDiv(kGradUnits, g.splits * g.groups), larger(1, tiles / kMinOutputTiles));
  g.outputStep *= ceilDiv(tiles, g.outputSplits);
  g.outputSplits = ceilDiv(g.groupOut, g.outputStep);
}

inline size_t carve(const WeightGrad& g, int threads, std::byte* base, WeightGradScratch& s) {
  Carver carver(base);
  s.sums = carver.take<float>(g.splits * g.groups * g.sumRows * g.sumStep);
  s.zeros = carver.take<float>(g.kind == GradKind::rows ? g.sumStep : 0);
  const int64_t positions = g.chunkImages * g.rows * g.columns;
  s.windowFloats = ceilDiv(g.windowFloats(), kLanes) * kLanes;
  s.windows = carver.take<float>(s.windowFloats * threads);
  s.packedFloats = g.kind == GradKind::lanes ? 0 : (g.outputStep + kTileColumns) * positions;
  s.packed = carver.take<float>(s.packedFloats * threads);
  s.stripFloats = g.strips ? positions * kOuterVectors * kLanes : 0;
  s.strips = carver.take<float>(s.stripFloats * threads);
  s.segmentCount = g.chunkImages * g.rows;
  s.segments = carver.take<Segment>(s.segmentCount * threads);
  s.rowCapacity = g.kind == GradKind::rows ? RowTable::capacity(g.sumRows) : 0;
  s.rowsA = carver.take<const float*>(s.rowCapacity * threads);
  s.rowsC = carver.take<float*>(s.rowCapacity * threads);
  return carver.used();
}

inline Chunk chunkAt(const WeightGrad& g, int64_t index) {
  const int64_t column = index % g.columnBands, row = index / g.columnBands % g.rowBands;
  const int64_t image = index / g.columnBands / g.rowBands * g.chunkImages;
  return {image,
          smaller(g.chunkImages, g.images - image),
          row * g.rows,
          smaller((row + 1) * g.rows, g.y.size),
          column * g.columns,
          smaller((column + 1) * g.columns, g.x.size)};
}

/// Sums the chunks of a unit: one split, one group, some of the outputs.
inline void sumUnit(const WeightGrad& g, const WeightGradScratch& s, int64_t unit, int worker) {
  const int64_t part = unit % g.outputSplits, split = unit / g.outputSplits / g.groups;
  ChunkSum sum{};
  sum.group = unit / g.outputSplits % g.groups;
  sum.firstOutput = part * g.outputStep;
  sum.endOutput = smaller(sum.firstOutput + g.outputStep, g.groupOut);
  sum.sums = s.sums + (split * g.groups + sum.group) * g.sumRows * g.sumStep;
  sum.worker = worker;
  const int64_t begin = split * g.splitChunks, end = smaller(begin + g.splitChunks, g.chunks);
  for (int64_t chunk = begin; chunk < end; chunk++) {
    sum.first = chunk == begin;
    sum.chunk = chunkAt(g, chunk);
    addChunk(g, s, sum);
  }
}

/// Adds the splits in order: dw of one output channel whose sums are a row [tap][padded c] …
inline void reduceRow(const WeightGrad& g, const float* sums, int64_t output) {
  const int64_t group = output / g.groupOut, padded = g.sumStep / g.taps;
  const int64_t splitFloats = g.groups * g.sumRows * g.sumStep;
  const float* row = sums + (group * g.sumRows + output % g.groupOut) * g.sumStep;
  for (int64_t tap = 0; tap < g.taps; tap++) {
    const Results to = g.dw + (output * g.taps + tap) * g.groupIn;
    for (int64_t c = 0; c < g.groupIn; c += kLanes) {
      const float* from = row + tap * padded + c;
      const int count = int(smaller(kLanes, g.groupIn - c));
      F32 total = F32::loadPartial(from, count);
      for (int64_t split = 1; split < g.splits; split++)
        total += F32::loadPartial(from + split * splitFloats, count);
      storeElements(to + c, total, count);
    }
  }
}

/// … or a column: then dw[·][tap,c] for one (tap, c) and all outputs of a group.
inline void reduceColumn(const WeightGrad& g, const float* sums, int64_t row) {
  const int64_t splitFloats = g.groups * g.sumRows * g.sumStep;
  const int64_t group = row / g.sumRows;
  const Results to = g.dw + (group * g.groupOut * g.sumRows + row % g.sumRows);
  for (int64_t o = 0; o < g.groupOut; o += kLanes) {
    const float* from = sums + row * g.sumStep + o;
    F32 total = F32::load(from);
    for (int64_t split = 1; split < g.splits; split++)
      total += F32::load(from + split * splitFloats);
    float lanes[kLanes];
    total.store(lanes);
    const int64_t count = smaller(kLanes, g.groupOut - o);
    for (int64_t i = 0; i < count; i++) storeElement(to, (o + i) * g.sumRows, lanes[i]);
  }
}

inline size_t scratchBytes(const WeightGrad& g, int threads) {
  WeightGradScratch s;
  return carve(g, threads, nullptr, s);
}

inline void runWeightGrad(const WeightGrad& g, Context& context) {
  WeightGradScratch s;
  carve(g, context.threads(), context.scratch(), s);
  if (g.kind == GradKind::rows) zeroFloats(s.zeros, g.sumStep);
  context.parallelFor(g.splits * g.groups * g.outputSplits, 1,
                      [&](int64_t begin, int64_t end, int worker) {
                        for (int64_t unit = begin; unit < end; unit++) sumUnit(g, s, unit, worker);
                      });
  const bool byRow = g.kind == GradKind::outer;
  context.parallelFor(byRow ? g.channelsOut : g.groups * g.sumRows, 8,
                      [&](int64_t begin, int64_t end, int) {
                        for (int64_t i = begin; i < end; i++)
                          (byRow ? reduceRow : reduceColumn)(g, s.sums, i);
                      });
}

inline void describe(const OpCall& call, WeightGrad& g) {
  describe(call.as<Conv2dWeightGradParams>(), Elements::of(call.in[0]), Elements::of(call.in[1]),
           Results::of(call.out[0]), g);
}

inline int weightGradSupports(const OpCall& call) {
  const auto& p = call.as<Conv2dWeightGradParams>();
  return plainShape(call, p) && reasonable(p) ? kPackedPreference : -1;
}

inline size_t weightGradScratch(const OpCall& call, int threads) {
  WeightGrad g;
  describe(call, g);
  return scratchBytes(g, threads);
}

inline void weightGradRun(const OpCall& call, Context& context) {
  WeightGrad g;
  describe(call, g);
  runWeightGrad(g, context);
}

}  // namespace figment::FIGMENT_ISA::conv
