// matmul on the row tile: B packed into panels once, rows of A read in place or copied, units of
// rows × columns shared out to the workers. When the result is small and K long, K is split into a
// number of parts fixed by the shape, whose sums are added in order. With very few columns, or very
// few rows and B transposed (then the factors change places), dot tiles do the work. Include only
// from files compiled for one instruction set.
#pragma once

#include "kernels/gemm/block.inl.h"
#include "kernels/gemm/gate.inl.h"
#include "kernels/isa_name.h"
#include "kernels/packing.h"
#include "kernels/params/matmul.generated.h"

namespace figment::FIGMENT_ISA::matmul {

using namespace gemm;  // NOLINT: one vocabulary, three folders

/// A unit of work: rows of A (a multiple of the tile) and columns of B that share the L2 cache.
constexpr int64_t kUnitRows = 144, kUnitRowsLeast = 48;
constexpr int64_t kUnitColumns = 512;
/// Enough units for load balance; fixed, so that nothing depends on the number of threads.
constexpr int64_t kMatmulUnits = 16;
/// Splits of K are at least this deep, and their buffers take at most this many floats.
constexpr int64_t kSplitDepth = 1024, kSplitFloats = 8 * 1024 * 1024;
/// With fewer rows than this, packing B costs more than reading it in place.
constexpr int64_t kPlainRows = 24;
/// With at most so many rows and B transposed, dots read B in place; of more they would read it
/// twice.
constexpr int64_t kDotRowsOfA = kLanes / 4;
/// Rows of A whose distance is a multiple of this fall into one set of the L1 cache.
constexpr int64_t kRowConflictFloats = 1024;

struct Matmul {
  Elements a, b;
  Results c;
  Epilogue epilogue;
  int64_t columns;  ///< of B
  int64_t batch, m, k, batchStrideA, batchStrideB;
  int64_t n;  ///< columns of panels: where they are gated, panels are whole
  bool transA, transB;
  bool gated;  ///< panels hold columns of one half of B and of the other in turn
  Columns kind;
  bool swapped;  ///< computes Cᵀ = Bᵀ·Aᵀ: everything else here speaks of the swapped factors

  int64_t batchesB;  ///< distinct factors B
  int64_t panels;
  bool plainB;  ///< full panels of B are read in place
  bool copyA;   ///< rows of A are copied to scratch
  int64_t unitRows, unitPanels, rowUnits, columnUnits;
  int64_t splits, splitDepth;

  /// Columns of B that a panel holds.
  struct Part {
    int64_t first, count;
  };
  Part columnsOf(int64_t panel) const {
    const int64_t column = panel * kTileColumns;
    if (!gated) return {column, smaller(kTileColumns, n - column)};
    const int64_t half = results(), inHalf = panel / 2 * kTileColumns;
    return {panel % 2 * half + inHalf, smaller(kTileColumns, half - inHalf)};
  }
  /// Whether sums begin with the bias, which is all that is left to do to them but for an
  /// activation and an addend.
  bool biasFirst() const { return splits == 1 && !swapped && !epilogue.scale.given(); }
  /// Columns of the result.
  int64_t results() const { return gated ? columns / 2 : columns; }
};

template <class T>
inline void exchange(T& a, T& b) {
  const T kept = a;
  a = b;
  b = kept;
}

inline void planUnits(Matmul& g) {
  const int64_t tiles = ceilDiv(g.m, kTileRows);
  const int64_t together = g.gated ? 2 : 1;
  const auto unitOf = [&](int64_t panels) { return ceilDiv(panels, together) * together; };
  g.unitPanels = smaller(g.panels, unitOf(kUnitColumns / kTileColumns));
  g.columnUnits = ceilDiv(g.panels, g.unitPanels);
  g.unitRows = smaller(tiles * kTileRows, kUnitRows);
  g.rowUnits = ceilDiv(g.m, g.unitRows);
  g.splits = 1;
  const auto missing = [&] {
    return double(kMatmulUnits) /
           (double(g.batch) * double(g.rowUnits) * double(g.columnUnits) * double(g.splits));
  };
  while (missing() > 1 && g.unitRows / 2 >= kUnitRowsLeast) {
    g.unitRows = ceilDiv(g.unitRows / 2, kTileRows) * kTileRows;
    g.rowUnits = ceilDiv(g.m, g.unitRows);
  }
  const double results = double(g.batch) * double(g.m) * double(g.n);
  if (missing() > 1 && g.k >= 2 * kSplitDepth && !g.swapped && !g.gated)
    g.splits = smaller(smaller(int64_t(missing()) + 1, g.k / kSplitDepth),
                       larger(1, int64_t(double(kSplitFloats) / results)));
  while (missing() > 1 && g.unitPanels > together) {
    g.unitPanels = unitOf(ceilDiv(g.unitPanels, 2));
    g.columnUnits = ceilDiv(g.panels, g.unitPanels);
  }
  g.splitDepth = ceilDiv(g.k, g.splits);
  g.splits = ceilDiv(g.k, g.splitDepth);
}

inline void describe(const OpCall& call, Matmul& g) {
  const auto& p = call.as<MatmulParams>();
  g.a = Elements::of(call.in[0]);
  g.b = Elements::of(call.in[1]);
  g.c = Results::of(call.out[0]);
  g.epilogue = Epilogue::of<MatmulParams>(call);
  g.batch = p.batch;
  g.m = p.m;
  g.k = p.k;
  g.columns = p.n;
  g.gated = p.activation == kGeglu;
  g.n = g.gated ? 2 * ceilDiv(g.results(), kTileColumns) * kTileColumns : p.n;
  g.batchStrideA = p.batchStrideA;
  g.batchStrideB = p.batchStrideB;
  g.transA = p.transA != 0;
  g.transB = p.transB != 0;
  if (!g.transA && g.batchStrideB == 0 && (g.batchStrideA != 0 || g.batch == 1)) {
    g.m *= g.batch;  // one B for all: the batch is just more rows
    g.batch = 1;
  }
  const bool fewRows = g.m <= kDotRowsOfA && g.n > kDotColumns && g.transB;
  const bool dots = kLanes > 4 && g.k >= kLanes && !g.gated && (fewRows || g.n <= kDotColumns);
  g.kind = dots ? Columns::dots : Columns::panels;
  g.swapped = dots && fewRows;
  if (g.swapped) {
    exchange(g.a, g.b);
    exchange(g.m, g.n);
    exchange(g.batchStrideA, g.batchStrideB);
    g.transB = !g.transA;
    g.transA = false;
  }
  g.batchesB = g.batchStrideB == 0 ? 1 : g.batch;
  g.panels = ceilDiv(g.n, kTileColumns);
  g.plainB = !dots && !g.gated && !g.transB && g.m <= kPlainRows && !g.b.half();
  g.copyA = g.transA || g.a.half() || (!dots && g.m > 1 && g.k % kRowConflictFloats == 0);
  planUnits(g);
}

struct MatmulScratch {
  Depth* depths;  ///< one a split
  float* packed;  ///< [batchesB][split][panel][splitDepth][kTileColumns], unless there is `ready`
  const float* ready;  ///< the same, packed ahead of the call
  float* init;
  ColumnFloats columns;  ///< of the result, unless sums begin with the bias
  float* partial;        ///< [split][batch][m][n]
  float* rows;           ///< per worker: copied rows of A
  const float** rowsA;
  float** rowsC;
  float* staged;  ///< per worker: sums of a unit whose results are 16-bit
  std::byte** results;
  int64_t packedBatch, rowStep, rowFloats, rowCapacity, stagedStep, stagedFloats;
};

inline size_t carve(const Matmul& g, int threads, std::byte* base, MatmulScratch& s) {
  Carver carver(base);
  s.depths = carver.take<Depth>(g.splits);
  for (int64_t split = 0; split < g.splits; split++) {
    const int64_t depth = smaller(g.splitDepth, g.k - split * g.splitDepth);
    Segment* segments = carver.take<Segment>(Depth::maxSegments(1, depth));
    DepthCut* cuts = carver.take<DepthCut>(Depth::maxCuts(depth));
    if (!base) continue;
    s.depths[split] = {segments, cuts};
    s.depths[split].begin(depth);
    s.depths[split].append(0, depth);
  }
  s.packedBatch = g.panels * kTileColumns * g.k;
  s.packed = carver.take<float>(g.batchesB * s.packedBatch);
  s.init = carver.take<float>(g.panels * kTileColumns);
  s.columns = g.biasFirst() ? ColumnFloats{} : g.epilogue.take(carver, g.columns);
  s.partial = carver.take<float>(g.splits > 1 ? g.splits * g.batch * g.m * g.n : 0);
  s.rowStep = g.splitDepth + kLanes;
  s.rowFloats = g.copyA ? g.unitRows * s.rowStep : 0;
  s.rows = carver.take<float>(s.rowFloats * threads);
  s.rowCapacity = RowTable::capacity(g.unitRows);
  s.rowsA = carver.take<const float*>(s.rowCapacity * threads);
  s.rowsC = carver.take<float*>(s.rowCapacity * threads);
  const bool staged = (g.c.half() || g.gated) && g.splits == 1;
  s.stagedStep = g.swapped ? g.unitRows : g.unitPanels * kTileColumns;
  s.stagedFloats = staged ? s.stagedStep * (g.swapped ? g.n : g.unitRows) : 0;
  s.staged = carver.take<float>(s.stagedFloats * threads);
  s.results = carver.take<std::byte*>(staged ? s.rowCapacity * threads : 0);
  return carver.used();
}

/// Packs rows [begin, begin + count) of one split's K for one panel of B.
inline void packPiece(const Matmul& g, const MatmulScratch& s, int64_t batch, int64_t panel,
                      int64_t split, int64_t begin, int64_t count) {
  const auto [column, valid] = g.columnsOf(panel);
  const int64_t width = g.gated ? kTileColumns : panelWidth(valid);
  const int64_t first = split * g.splitDepth;
  const int64_t depth = s.depths[split].k;
  float* to = s.packed + batch * s.packedBatch + first * g.panels * kTileColumns +
              panel * kTileColumns * depth;
  const Elements b = g.b + batch * g.batchStrideB;
  if (g.kind == Columns::dots) {
    to += begin;
    const Elements from = b + (first + begin) * (g.transB ? 1 : g.n);
    if (!g.transB) transpose(from, g.n, count, valid, to, depth);
    for (int64_t j = 0; g.transB && j < valid; j++) widen(to + j * depth, from + j * g.k, count);
    return;
  }
  to += begin * width;
  if (g.transB)
    packColumns(b + column * g.k + first + begin, g.k, count, valid, width, to);
  else
    packRows(b + (first + begin) * g.columns + column, g.columns, count, valid, width, to);
}

inline void packB(const Matmul& g, const MatmulScratch& s, Context& context) {
  const int64_t firstPanel = g.plainB ? g.n / kTileColumns : 0;
  const int64_t pieces = ceilDiv(g.splitDepth, kSplitDepth);
  const int64_t panels = g.panels - firstPanel;
  if (panels == 0) return;
  context.parallelFor(
      g.batchesB * panels * g.splits * pieces, 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; i++) {
          const int64_t piece = i % pieces, split = i / pieces % g.splits;
          const int64_t panel = i / pieces / g.splits % panels;
          const int64_t from = piece * kSplitDepth;
          const int64_t count = smaller(kSplitDepth, s.depths[split].k - from);
          if (count > 0)
            packPiece(g, s, i / pieces / g.splits / panels, firstPanel + panel, split, from, count);
        }
      });
}

/// B packed ahead of the call: panels that few rows meet.
inline Packing matmulPacking(const OpCall& call) {
  Matmul g;
  describe(call, g);
  if (g.kind != Columns::panels || g.plainB || g.batchesB > 1 || g.batch * g.m > kKeptRows)
    return {};
  return {1,
          size_t(g.panels * kTileColumns * g.k) * sizeof(float),
          {g.columns, g.k, g.splitDepth, g.transB, int64_t(g.b.format), g.gated}};
}

inline void matmulPack(const OpCall& call, std::byte* to, Context& context) {
  Matmul g;
  describe(call, g);
  MatmulScratch s;
  carve(g, context.threads(), context.scratch(), s);
  s.packed = reinterpret_cast<float*>(to);
  packB(g, s, context);
}

/// A unit whose rows are the columns of C: what finishes sums runs along the rows of the unit.
inline void runSwapped(const Matmul& g, const MatmulScratch& s, RowBlock& block, int64_t batch,
                       int64_t row, int worker) {
  const int64_t rows = block.rows.count;
  const Results out = g.c + (batch * g.m * g.n + row);
  float* c = g.c.half() ? s.staged + worker * s.stagedFloats : out.floats();
  block.init = nullptr;
  block.cStep = g.c.half() ? s.stagedStep : g.m;
  for (int64_t i = 0; i < rows; i++) block.rows.c[i] = c + i;
  block.rows.pad();
  for (int64_t j = 0; j < g.n; j++) zeroFloats(c + j * block.cStep, rows);
  runBlock(block);
  for (int64_t j = 0; j < g.n; j++) {
    float* sums = c + j * block.cStep;
    const Results to = out + j * g.m;
    finishRow(sums, rows, s.columns + row, g.epilogue.activation, g.epilogue.addend.at(to.data));
    if (g.c.half()) narrow(to, sums, rows);
  }
}

/// Points the rows of a unit at A, copied to scratch where it cannot be read in place.
inline void pointRows(const Matmul& g, const MatmulScratch& s, RowBlock& block, Elements a,
                      int64_t depth, int worker) {
  const int64_t rows = block.rows.count;
  int64_t step = g.k;
  const float* from = a.floats();
  if (g.copyA) {
    float* copy = s.rows + worker * s.rowFloats;
    if (g.transA)
      transpose(a, g.m, depth, rows, copy, s.rowStep);
    else
      for (int64_t i = 0; i < rows; i++) widen(copy + i * s.rowStep, a + i * g.k, depth);
    from = copy;
    step = s.rowStep;
  }
  for (int64_t i = 0; i < rows; i++) block.rows.a[i] = from + i * step;
}

/// Stores what the halves of rows in scratch, in panels in turn, leave where the rows go.
inline void gateRows(const Matmul& g, const RowBlock& block) {
  for (int64_t i = 0; i < block.rows.count; i++) {
    const float* u = block.rows.c[i];
    for (int64_t panel = block.firstPanel; panel < block.endPanel; panel += 2) {
      const auto [first, count] = g.columnsOf(panel);
      const Results to = Results{block.rows.results[i], block.rows.format} + first;
      for (int64_t j = 0; j < count; j += kLanes)
        storeGated(to + j, F32::load(u + j), F32::load(u + kTileColumns + j), count - j);
      u += 2 * kTileColumns;
    }
  }
}

inline void runUnit(const Matmul& g, const MatmulScratch& s, int64_t unit, int worker) {
  const int64_t columnUnit = unit % g.columnUnits, rowUnit = unit / g.columnUnits % g.rowUnits;
  const int64_t split = unit / g.columnUnits / g.rowUnits % g.splits;
  const int64_t batch = unit / g.columnUnits / g.rowUnits / g.splits;
  const int64_t row = rowUnit * g.unitRows;
  const int64_t first = split * g.splitDepth, depth = s.depths[split].k;

  RowBlock block{};
  block.rows.a = s.rowsA + worker * s.rowCapacity;
  block.rows.c = s.rowsC + worker * s.rowCapacity;
  block.rows.count = smaller(g.unitRows, g.m - row);
  pointRows(g, s, block,
            g.a + (batch * g.batchStrideA + (g.transA ? first * g.m + row : row * g.k + first)),
            depth, worker);
  block.depth = &s.depths[split];
  const int64_t batchB = g.batchesB == 1 ? 0 : batch;
  block.b =
      (s.ready ? s.ready : s.packed) + batchB * s.packedBatch + first * g.panels * kTileColumns;
  if (g.plainB) {
    block.plainB = g.b.floats() + batchB * g.batchStrideB + first * g.n;
    block.plainStep = g.n;
  }
  block.kind = g.kind;
  block.init = s.init;
  block.n = g.n;
  block.firstPanel = columnUnit * g.unitPanels;
  block.endPanel = smaller(block.firstPanel + g.unitPanels, g.panels);
  if (g.swapped) {
    runSwapped(g, s, block, batch, row, worker);
    return;
  }
  if (g.splits == 1) {
    block.columns = s.columns;
    block.activation = g.gated ? kNoActivation : g.epilogue.activation;
    block.addend = g.epilogue.addend;
  }
  const int64_t at = (batch * g.m + row) * g.results();
  if (g.splits > 1 || !(g.c.half() || g.gated)) {
    float* c = g.splits > 1 ? s.partial + split * g.batch * g.m * g.n : g.c.floats();
    for (int64_t i = 0; i < block.rows.count; i++) block.rows.c[i] = c + at + i * g.n;
    block.rows.pad();
    runBlock(block);
    return;
  }
  block.rows.results = s.results + worker * s.rowCapacity;
  block.rows.format = g.c.format;
  for (int64_t i = 0; i < block.rows.count; i++)
    block.rows.results[i] = (g.c + (at + i * g.results())).data;
  stageRows(block, s.staged + worker * s.stagedFloats, s.stagedStep);
  runBlock(block);
  if (g.gated)
    gateRows(g, block);
  else
    narrowRows(block);
}

/// One row of the result from the sums of the splits, added in order into those of the first.
inline void addSplits(const Matmul& g, const MatmulScratch& s, int64_t row) {
  const int64_t step = g.batch * g.m * g.n;
  float* first = s.partial + row * g.n;
  for (int64_t j = 0; j < g.n; j += kLanes) {
    const int count = int(smaller(kLanes, g.n - j));
    F32 sum = F32::zero();
    for (int64_t split = 0; split < g.splits; split++)
      sum += F32::loadPartial(first + split * step + j, count);
    sum.storePartial(first + j, count);
  }
  const Results to = g.c + row * g.n;
  finishRow(first, g.n, s.columns, g.epilogue.activation, g.epilogue.addend.at(to.data));
  narrow(to, first, g.n);
}

inline int matmulSupports(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  const bool plain =
      tileFormats(call, call.inCount) && p.batch > 0 && p.m > 0 && p.n > 0 && p.k > 0;
  return plain ? kPackedPreference : -1;
}

inline size_t matmulScratch(const OpCall& call, int threads) {
  Matmul g;
  describe(call, g);
  MatmulScratch s;
  return carve(g, threads, nullptr, s);
}

inline void matmulRun(const OpCall& call, Context& context) {
  Matmul g;
  describe(call, g);
  MatmulScratch s;
  carve(g, context.threads(), context.scratch(), s);
  zeroFloats(s.init, g.panels * kTileColumns);
  if (!g.biasFirst()) {
    g.epilogue.widen(s.columns, 0, g.columns);
  } else if (g.epilogue.bias.given()) {
    for (int64_t panel = 0; panel < g.panels; panel++) {
      const auto [first, count] = g.columnsOf(panel);
      g.epilogue.bias.widen(s.init + panel * kTileColumns, first, count);
    }
  }
  s.ready = reinterpret_cast<const float*>(packedOperand(context));
  if (!s.ready) packB(g, s, context);
  const int64_t units = g.batch * g.splits * g.rowUnits * g.columnUnits;
  context.parallelFor(units, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t unit = begin; unit < end; unit++) runUnit(g, s, unit, worker);
  });
  if (g.splits == 1) return;
  context.parallelFor(g.batch * g.m, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) addSplits(g, s, row);
  });
}

namespace {

constexpr Variant packed{"matmul",      FIGMENT_TEXT(FIGMENT_ISA) "-packed",
                         kVariantIsa,   matmulSupports,
                         matmulScratch, matmulRun};
const RegisterVariant packedRegistrar{packed};
constexpr Packer packer{"matmul", packed.name, matmulPacking, matmulPack};
const RegisterPacker packerRegistrar{packer};

}  // namespace
}  // namespace figment::FIGMENT_ISA::matmul
