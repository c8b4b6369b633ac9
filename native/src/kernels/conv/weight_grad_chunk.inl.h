// Sums of one chunk of positions for the weight gradient, in three ways:
//   outer   rows are output channels, lanes are input channels: outer tiles of dy and x
//   rows    rows are (tap, input channel), lanes are output channels: for few input channels, where
//           vectors along them would be mostly empty; row tiles whose K steps from pixel to pixel
//   lanes   few channels to a group: rows are (tap, input channel of a group), lanes are all output
//           channels
// Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/window.inl.h"
#include "kernels/gemm/block.inl.h"

namespace figment::FIGMENT_ISA::conv {

enum class GradKind { outer, rows, lanes };

struct WeightGrad {
  Source source;
  Elements dy;
  Results dw;
  int64_t images, groups, groupIn, groupOut, channelsOut, kernelWidth, taps;
  Axis y, x;
  GradKind kind;
  int64_t pixelStep;
  int64_t sumRows, sumStep;  ///< sums of one split and group: outer [o][tap, padded c], else
                             ///< [tap, c][padded o]
  int64_t rows, rowBands, columns, columnBands, chunkImages;
  int64_t chunks, splits, splitChunks, outputSplits, outputStep;
  /// The vectors that outer tiles read of all positions of a chunk are copied side by side.
  bool strips;
  bool plainOutputs;  ///< the positions of a chunk lie side by side in dy

  int64_t windowFloats() const {
    const int64_t height = Span::of(y, 0, rows).size(), width = Span::of(x, 0, columns).size();
    return chunkImages * height * width * pixelStep + kTileColumns;
  }
};

struct WeightGradScratch {
  float* sums;     ///< [split][group][sumRows][sumStep]
  float* zeros;    ///< what row tiles start from
  float* windows;  ///< per worker, as the following
  float* packed;
  float* strips;  ///< [position][kOuterVectors · kLanes]
  Segment* segments;
  const float** rowsA;
  float** rowsC;
  int64_t windowFloats, packedFloats, stripFloats, segmentCount, rowCapacity;
};

/// The positions of one chunk.
struct Chunk {
  int64_t firstImage, images, rowBegin, rowEnd, columnBegin, columnEnd;
  int64_t height() const { return rowEnd - rowBegin; }
  int64_t width() const { return columnEnd - columnBegin; }
  int64_t positions() const { return images * height() * width(); }
};

/// Which sums to add one chunk to.
struct ChunkSum {
  Chunk chunk;
  int64_t group, firstOutput, endOutput;
  float* sums;
  bool first;
  int worker;
};

/// The window of a chunk: position k of a segment starts at window + offset + k·step.
struct ChunkWindow {
  const float* data;
  const Segment* segments;
  int64_t segmentCount;
  int64_t step, rowFloats;
  int64_t tapOffset(const WeightGrad& g, int64_t tap) const {
    return tap / g.kernelWidth * g.y.offsetStep * rowFloats +
           tap % g.kernelWidth * g.x.offsetStep * g.pixelStep;
  }
};

/// dy of the first position of the chunk, where its positions lie side by side.
inline Elements outputsOf(const WeightGrad& g, const Chunk& chunk) {
  return g.dy + ((chunk.firstImage * g.y.size + chunk.rowBegin) * g.x.size + chunk.columnBegin) *
                    g.channelsOut;
}

/// Calls work(dy of the first of `count` positions side by side) for all positions of a chunk.
template <class Work>
FIGMENT_INLINE void forOutputRows(const WeightGrad& g, const Chunk& chunk, const Work& work) {
  for (int64_t image = 0; image < chunk.images; image++)
    for (int64_t q = 0; q < chunk.height(); q++)
      work(outputsOf(g, chunk) + (image * g.y.size + q) * g.x.size * g.channelsOut, chunk.width());
}

/// Packs dy of `valid` channels from `first` on as consecutive rows of `width` values.
inline void packOutputs(const WeightGrad& g, const Chunk& chunk, int64_t first, int64_t valid,
                        int64_t width, float* to) {
  forOutputRows(g, chunk, [&](Elements from, int64_t count) {
    packRows(from + first, g.channelsOut, count, valid, width, to);
    to += count * width;
  });
}

/// The same for outer tiles whose channels share a line of the cache, which is read once.
constexpr int64_t kLineFloats = 16, kLineTiles = kLineFloats / kOuterRows;

inline void packLine(const WeightGrad& g, const Chunk& chunk, int64_t first, float* to) {
  const int64_t tileFloats = kOuterRows * chunk.positions();
  forOutputRows(g, chunk, [&](Elements row, int64_t count) {
    float widened[kLineFloats];
    for (int64_t k = 0; k < count; k++, to += kOuterRows) {
      const Elements at = row + (first + k * g.channelsOut);
      if (at.half()) widen(widened, at, kLineFloats);
      const float* from = at.half() ? widened : at.floats();
#pragma GCC unroll 4
      for (int64_t tile = 0; tile < kLineTiles; tile++)
        __builtin_memcpy(to + tile * tileFloats, from + tile * kOuterRows,
                         kOuterRows * sizeof(float));
    }
  });
}

template <int kVectors>
inline void runOuter(const OuterTile& tile, int64_t rows) {
  if (rows == kOuterRows)
    outerTile<kOuterRows, kVectors>(tile);
  else if (rows == kOuterRows / 2)
    outerTile<kOuterRows / 2, kVectors>(tile);
  else
    outerTile<kOuterRows / 4, kVectors>(tile);
}

inline void outerColumns(const OuterTile& tile, int64_t rows, int64_t vectors) {
  if (vectors == kOuterVectors)
    runOuter<kOuterVectors>(tile, rows);
  else if (vectors == kOuterVectors - 1)
    runOuter<kOuterVectors - 1>(tile, rows);
  else
    runOuter<1>(tile, rows);
}

/// Rows of the tile that serves `left` rows.
FIGMENT_INLINE int64_t outerRows(int64_t left) {
  return left <= kOuterRows / 4   ? kOuterRows / 4
         : left <= kOuterRows / 2 ? kOuterRows / 2
                                  : kOuterRows;
}

/// Copies one vector of each position to every kOuterVectors-th vector of a strip.
inline void copyStrip(const ChunkWindow& window, const float* from, float* to) {
  for (int64_t s = 0; s < window.segmentCount; s++) {
    const float* at = from + window.segments[s].offset;
    for (int64_t k = window.segments[s].length; k > 0; k--) {
      F32::load(at).store(to);
      at += window.step;
      to += kOuterVectors * kLanes;
    }
  }
}

inline void addOuter(const WeightGrad& g, const WeightGradScratch& s, const ChunkSum& sum,
                     const ChunkWindow& window) {
  const int64_t positions = sum.chunk.positions();
  float* packed = s.packed + sum.worker * s.packedFloats;
  const int64_t firstChannel = sum.group * g.groupOut;
  // A tile may only read dy in place when all its rows are channels.
  const int64_t plainEnd = g.plainOutputs ? g.groupOut / kOuterRows * kOuterRows : sum.firstOutput;
  for (int64_t o = larger(sum.firstOutput, plainEnd); o < sum.endOutput;) {
    float* to = packed + (o - sum.firstOutput) * positions;
    if (o + kLineFloats <= smaller(sum.endOutput, g.groupOut)) {
      packLine(g, sum.chunk, firstChannel + o, to);
      o += kLineFloats;
      continue;
    }
    const int64_t valid = smaller(kOuterRows, g.groupOut - o);
    packOutputs(g, sum.chunk, firstChannel + o, valid, outerRows(valid), to);
    o += kOuterRows;
  }
  OuterTile tile{};
  tile.segments = window.segments;
  tile.segmentCount = window.segmentCount;
  tile.bStep = window.step;
  tile.cStep = g.sumStep;
  tile.first = sum.first;
  float* strip = s.strips + sum.worker * s.stripFloats;
  const Segment whole{0, positions};
  const int64_t vectors = g.sumStep / kLanes, tapVectors = vectors / g.taps;
  for (int64_t vector = 0; vector < vectors; vector += kOuterVectors) {
    const int64_t count = smaller(kOuterVectors, vectors - vector);
    for (int64_t v = 0; v < count; v++) {
      const int64_t at = vector + v;
      tile.b[v] = window.data + window.tapOffset(g, at / tapVectors) + sum.group * g.groupIn +
                  at % tapVectors * kLanes;
    }
    if (g.strips) {
      for (int64_t v = 0; v < count; v++) {
        copyStrip(window, tile.b[v], strip + v * kLanes);
        tile.b[v] = strip + v * kLanes;
      }
      tile.segments = &whole;
      tile.segmentCount = 1;
      tile.bStep = kOuterVectors * kLanes;
    }
    for (int64_t o = sum.firstOutput; o < sum.endOutput; o += kOuterRows) {
      const int64_t tileRows = outerRows(smaller(kOuterRows, g.groupOut - o));
      const bool plain = o < plainEnd;
      tile.a = plain ? outputsOf(g, sum.chunk).floats() + firstChannel + o
                     : packed + (o - sum.firstOutput) * positions;
      tile.aStep = plain ? g.channelsOut : tileRows;
      tile.c = sum.sums + o * g.sumStep + vector * kLanes;
      outerColumns(tile, tileRows, count);
    }
  }
}

inline void addRows(const WeightGrad& g, const WeightGradScratch& s, const ChunkSum& sum,
                    const ChunkWindow& window) {
  const int64_t positions = sum.chunk.positions();
  Depth depth{};
  DepthCut whole{0, window.segmentCount, 0};
  depth.segments = const_cast<Segment*>(window.segments);
  depth.segmentCount = window.segmentCount;
  depth.cuts = &whole;
  depth.cutCount = 1;
  depth.k = positions;

  const int64_t firstChannel = sum.group * g.groupOut;
  RowBlock block{};
  block.aStep = window.step;
  block.depth = &depth;
  block.n = sum.endOutput - sum.firstOutput;
  block.endPanel = ceilDiv(block.n, kTileColumns);
  block.init = sum.first ? s.zeros : nullptr;
  float* packed = s.packed + sum.worker * s.packedFloats;
  block.b = packed;
  if (g.plainOutputs) {
    block.plainB = outputsOf(g, sum.chunk).floats() + firstChannel + sum.firstOutput;
    block.plainStep = g.channelsOut;
  }
  const int64_t firstPacked = g.plainOutputs ? block.n / kTileColumns : 0;
  for (int64_t panel = firstPacked; panel < block.endPanel; panel++) {
    const int64_t column = panel * kTileColumns, valid = smaller(kTileColumns, block.n - column);
    packOutputs(g, sum.chunk, firstChannel + sum.firstOutput + column, valid, panelWidth(valid),
                packed + column * positions);
  }

  RowTable& rows = block.rows;
  rows.a = s.rowsA + sum.worker * s.rowCapacity;
  rows.c = s.rowsC + sum.worker * s.rowCapacity;
  for (int64_t tap = 0; tap < g.taps; tap++) {
    const float* a = window.data + window.tapOffset(g, tap) + sum.group * g.groupIn;
    for (int64_t c = 0; c < g.groupIn; c++) {
      rows.a[rows.count] = a + c;
      rows.c[rows.count] = sum.sums + rows.count * g.sumStep + sum.firstOutput;
      rows.count++;
    }
  }
  rows.pad();
  runBlock(block);
}

/// Up to kRowsAtOnce rows of one vector of channels (the last vector may be partial).
constexpr int kRowsAtOnce = kLanes == 16 ? 12 : 9;

template <bool kWhole>
inline void addLaneVector(const WeightGrad& g, const ChunkSum& sum, const ChunkWindow& window,
                          int64_t channel, int64_t firstRow, int rows) {
  const int count = int(smaller(kLanes, g.groupOut - channel));
  const float* taken[kRowsAtOnce];
  F32 total[kRowsAtOnce];
  for (int t = 0; t < kRowsAtOnce; t++) {
    const int64_t row = firstRow + (t < rows ? t : 0);
    taken[t] =
        window.data + window.tapOffset(g, row / g.groupIn) + row % g.groupIn * g.groupOut + channel;
    total[t] = F32::zero();
  }
  const Elements dy = outputsOf(g, sum.chunk) + channel;
  int64_t segment = 0;
  for (int64_t image = 0; image < sum.chunk.images; image++) {
    for (int64_t q = 0; q < sum.chunk.height(); q++, segment++) {
      Elements d = dy + (image * g.y.size + q) * g.x.size * g.channelsOut;
      int64_t at = window.segments[segment].offset;
      for (int64_t k = 0; k < sum.chunk.width(); k++, at += window.step, d = d + g.channelsOut) {
        const F32 dk = loadElements(d, kWhole ? kLanes : count);
#pragma GCC unroll 16
        for (int t = 0; t < kRowsAtOnce; t++)
          total[t] = multiplyAdd(F32::load(taken[t] + at), dk, total[t]);
      }
    }
  }
  for (int t = 0; t < rows; t++) {
    float* c = sum.sums + (firstRow + t) * g.sumStep + channel;
    (sum.first ? total[t] : F32::load(c) + total[t]).store(c);
  }
}

inline void addLanes(const WeightGrad& g, const ChunkSum& sum, const ChunkWindow& window) {
  for (int64_t c = sum.firstOutput; c < sum.endOutput; c += kLanes) {
    for (int64_t row = 0; row < g.sumRows; row += kRowsAtOnce) {
      const int rows = int(smaller(kRowsAtOnce, g.sumRows - row));
      if (c + kLanes <= g.groupOut)
        addLaneVector<true>(g, sum, window, c, row, rows);
      else
        addLaneVector<false>(g, sum, window, c, row, rows);
    }
  }
}

/// Builds the window of the chunk and adds its products to the sums.
inline void addChunk(const WeightGrad& g, const WeightGradScratch& s, const ChunkSum& sum) {
  const Chunk& chunk = sum.chunk;
  const Span rows = Span::of(g.y, chunk.rowBegin, chunk.rowEnd);
  const Span columns = Span::of(g.x, chunk.columnBegin, chunk.columnEnd);
  float* data = s.windows + sum.worker * s.windowFloats;
  fillWindow(g.source, chunk.firstImage, chunk.images, rows, columns, g.pixelStep, data);

  Segment* segments = s.segments + sum.worker * s.segmentCount;
  ChunkWindow window{data, segments, 0, g.x.sourceStep * g.pixelStep, columns.size() * g.pixelStep};
  for (int64_t image = 0; image < chunk.images; image++)
    for (int64_t q = 0; q < chunk.height(); q++)
      segments[window.segmentCount++] = {
          (image * rows.size() + q * g.y.sourceStep) * window.rowFloats, chunk.width()};
  if (g.kind == GradKind::outer)
    addOuter(g, s, sum, window);
  else if (g.kind == GradKind::rows)
    addRows(g, s, sum, window);
  else
    addLanes(g, sum, window);
}

}  // namespace figment::FIGMENT_ISA::conv
