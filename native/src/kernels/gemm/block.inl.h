// A block of rows of C = activation(scale ⊙ A·B + bias) + addend: loops a tile over rows, panels of
// B and cuts of K. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/gemm/epilogue.inl.h"

namespace figment::FIGMENT_ISA::gemm {

/// K is cut so that a panel of B (kTileColumns × kDepth floats) stays close to the core while the
/// rows of the block pass by.
constexpr int64_t kDepth = 384;

/// A cut of K: its segments and the row of B where it starts.
struct DepthCut {
  int64_t firstSegment;
  int64_t segmentCount;
  int64_t firstRow;
};

/// K as segments relative to the row pointers of A, cut into pieces of about equal depth.
struct Depth {
  Segment* segments;
  DepthCut* cuts;
  int64_t segmentCount = 0;
  int64_t cutCount = 0;
  int64_t k = 0;
  int64_t cutDepth = kDepth;

  static int64_t maxCuts(int64_t k) { return ceilDiv(k, kDepth) + 1; }
  /// A run of at most `runs` pieces, each of which every cut may split once more.
  static int64_t maxSegments(int64_t runs, int64_t k) { return runs + maxCuts(k); }

  void begin(int64_t total) {
    segmentCount = cutCount = k = 0;
    cutDepth = total == 0 ? 1 : ceilDiv(total, ceilDiv(total, kDepth));
  }
  /// Appends a run of K that lies at `offset`; neighbours in memory become one segment.
  void append(int64_t offset, int64_t length) {
    while (length > 0) {
      if (k % cutDepth == 0) cuts[cutCount++] = {segmentCount, 0, k};
      DepthCut& cut = cuts[cutCount - 1];
      const int64_t piece = smaller(length, cutDepth - k % cutDepth);
      Segment* last = segments + segmentCount - 1;
      if (cut.segmentCount > 0 && last->offset + last->length == offset) {
        last->length += piece;
      } else {
        segments[segmentCount++] = {offset, piece};
        cut.segmentCount++;
      }
      k += piece;
      offset += piece;
      length -= piece;
    }
  }
};

/// Rows are padded to whole tiles by repeating the last one, which computes and stores the same
/// values twice instead of needing code of its own.
struct RowTable {
  const float** a;
  float** c;
  int64_t count = 0;
  /// Where rows go whose results are 16-bit: then c points into scratch. Null when c is the result.
  std::byte** results = nullptr;
  Format format = Format::f32;

  static int64_t capacity(int64_t rows) { return rows + kTileRows; }
  void pad() {
    for (int64_t i = 0; i < kTileRows && count > 0; i++) {
      a[count + i] = a[count - 1];
      c[count + i] = c[count - 1];
    }
  }
};

/// How B is laid out and which tile reads it.
enum class Columns {
  panels,  ///< panels of depth.k rows, kTileColumns · k floats apart: row tiles
  lanes,   ///< the same, where column n of B meets only channel n of A: lane tiles
  dots,    ///< at most kDotColumns columns of k floats: dot tiles
};

struct RowBlock {
  RowTable rows;
  int64_t aStep = 1;
  const Depth* depth;
  Columns kind = Columns::panels;
  const float* b;
  const float* plainB = nullptr;  ///< when given, B itself in rows: read instead of full panels
  int64_t plainStep = 0;
  const float* init;  ///< what the sums start from, one value a column, whole panels; null: from C
  int64_t n;
  int64_t cStep = 1;    ///< between columns of C (1 unless `dots`)
  int64_t cColumn = 0;  ///< the column that the row pointers of C point at
  int64_t firstPanel = 0;
  int64_t endPanel = 0;
  ColumnFloats columns = {};  ///< what whole sums meet; a bias alone is in `init`
  int activation = kNoActivation;
  Addend addend = {};
};

template <int kVectors>
inline void runPanel(RowTile tile, const RowTable& rows, int64_t column) {
  constexpr int kMost = kTileRows * 2 / 3, kSome = kTileRows / 3;
  for (int64_t row = 0; row < rows.count;) {
    const int64_t left = rows.count - row;
    tile.a = rows.a + row;
    tile.c = rows.c + row;
    // Two tiles of most rows take less time than a full one and one of few, whose sums wait for
    // each other.
    if (left > kMost && (left <= kTileRows || left > 2 * kMost)) {
      rowTile<kTileRows, kVectors>(tile, column);
      row += kTileRows;
    } else if (left > kSome) {
      rowTile<kMost, kVectors>(tile, column);
      row += kMost;
    } else if (left > 1) {
      rowTile<kSome, kVectors>(tile, column);
      row += kSome;
    } else {
      rowTile<1, kVectors>(tile, column);
      row += 1;
    }
  }
}

template <int kVectors>
inline void runLanePanel(RowTile tile, const RowTable& rows, int64_t column) {
  for (int64_t row = 0; row < rows.count; row += kLaneRows) {
    tile.a = rows.a + row;
    tile.c = rows.c + row;
    laneTile<kLaneRows, kVectors>(tile, column);
  }
}

template <int kColumns>
inline void runDotColumns(const RowBlock& block, RowTile tile, int64_t first) {
  const RowTable& rows = block.rows;
  for (int64_t row = 0; row < rows.count; row += kDotRows) {
    tile.a = rows.a + row;
    tile.c = rows.c + row;
    dotTile<kColumns>(tile, int(smaller(kDotRows, rows.count - row)), first, block.cStep);
  }
}

inline void runDots(const RowBlock& block, const RowTile& tile) {
  const int64_t columns = ceilDiv(block.n, ceilDiv(block.n, kDotTileColumns));
  for (int64_t first = 0; first < block.n; first += columns) {
    const int64_t count = smaller(columns, block.n - first);
    if (count == 1) runDotColumns<1>(block, tile, first);
    if constexpr (kDotTileColumns >= 2)
      if (count == 2) runDotColumns<2>(block, tile, first);
    if constexpr (kDotTileColumns >= 3)
      if (count == 3) runDotColumns<3>(block, tile, first);
    if constexpr (kDotTileColumns >= 4)
      if (count == 4) runDotColumns<4>(block, tile, first);
  }
}

inline void runPanelOf(Columns kind, const RowTile& tile, const RowTable& rows, int64_t column) {
  const bool full = tile.columns > kTileColumns - kLanes;
  if (kind == Columns::lanes && full)
    runLanePanel<kTileVectors>(tile, rows, column);
  else if (kind == Columns::lanes)
    runLanePanel<kTileVectors - 1>(tile, rows, column);
  else if (full)
    runPanel<kTileVectors>(tile, rows, column);
  else
    runPanel<kTileVectors - 1>(tile, rows, column);
}

/// Finishes the sums of a panel, but for an addend of those that are yet to be narrowed.
inline void finishPanel(const RowBlock& block, int64_t column, int64_t count) {
  const bool adds = block.addend.given() && !block.rows.results;
  if (!block.columns.scale && block.activation == kNoActivation && !adds) return;
  for (int64_t row = 0; row < block.rows.count; row++) {
    float* c = block.rows.c[row] + (column - block.cColumn);
    finishRow(c, count, block.columns + column, block.activation,
              adds ? block.addend.at(c) : Elements{});
  }
}

/// Computes the columns of the panels [firstPanel, endPanel) for the rows of the block.
inline void runBlock(const RowBlock& block) {
  const Depth& depth = *block.depth;
  const DepthCut nothing{0, 0, 0};
  const int64_t cuts = larger(depth.cutCount, 1);  // K = 0 still writes the initial values
  for (int64_t cut = 0; cut < cuts; cut++) {
    const DepthCut& part = depth.cutCount > 0 ? depth.cuts[cut] : nothing;
    for (int64_t panel = block.firstPanel; panel < block.endPanel; panel++) {
      const int64_t column = panel * kTileColumns;
      const int64_t valid = smaller(kTileColumns, block.n - column);
      const int64_t width = panelWidth(valid);
      RowTile tile{};
      tile.aStep = block.aStep;
      tile.segments = depth.segments + part.firstSegment;
      tile.segmentCount = part.segmentCount;
      tile.init = cut == 0 && block.init ? block.init + column : nullptr;
      tile.columns = int(valid);
      tile.aColumn = column;
      if (block.kind == Columns::dots) {
        tile.b = block.b + part.firstRow;
        tile.bStep = depth.k;
        runDots(block, tile);
      } else {
        tile.b = block.b + column * depth.k + part.firstRow * width;
        tile.bStep = width;
        if (block.plainB && valid == kTileColumns) {
          tile.b = block.plainB + part.firstRow * block.plainStep + column;
          tile.bStep = block.plainStep;
        }
        runPanelOf(block.kind, tile, block.rows, column - block.cColumn);
      }
      if (cut == cuts - 1) finishPanel(block, column, valid);
    }
  }
}

/// Points the rows of C into scratch, `columns` apart, where the results are 16-bit.
inline void stageRows(RowBlock& block, float* sums, int64_t columns) {
  block.cColumn = block.firstPanel * kTileColumns;
  for (int64_t i = 0; i < block.rows.count; i++) block.rows.c[i] = sums + i * columns;
  block.rows.pad();
}

/// Narrows what the block put into scratch to where its rows go.
inline void narrowRows(const RowBlock& block) {
  const int64_t first = block.firstPanel * kTileColumns;
  const int64_t count = smaller(block.endPanel * kTileColumns, block.n) - first;
  for (int64_t i = 0; i < block.rows.count; i++) {
    const Results to = Results{block.rows.results[i], block.rows.format} + first;
    if (block.addend.given())
      finishRow(block.rows.c[i], count, {}, kNoActivation, block.addend.at(to.data));
    narrow(to, block.rows.c[i], count);
  }
}

}  // namespace figment::FIGMENT_ISA::gemm
