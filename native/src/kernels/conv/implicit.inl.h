// conv2d and conv2dInputGrad as implicit matrix products: rows are positions of the result, columns
// its channels, K runs over taps and source channels. The rows of A are never gathered: each is a
// pointer into a window of the source, and each tap a constant offset from it. Where groups are of
// few channels, the channels of the result are the lanes. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/conv/geometry.inl.h"
#include "kernels/gemm/block.inl.h"
#include "kernels/packing.h"

namespace figment::FIGMENT_ISA::conv {

/// A unit of work aims at this many rows of A in one phase, in a window that fits the L2 cache.
/// Where that takes more, kNearRows still do: a cut of K reads no more than kDepth floats of each,
/// and every unit reads all weights.
constexpr int64_t kMinUnitRows = 96, kMaxUnitRows = 512, kNearRows = 128;
constexpr int64_t kUnitWindowBytes = 384 * 1024, kMaxUnitWindowBytes = 8 * 1024 * 1024;
/// Enough units for load balance; fixed, so that nothing depends on the number of threads.
constexpr int64_t kWantedUnits = 16;
/// Rows of A whose distance is a multiple of this fall into one set of the L1 cache.
constexpr int64_t kConflictFloats = 1024;

struct Implicit : Geometry {
  explicit Implicit(const Geometry& shape) : Geometry(shape) {}

  Source source;
  Results out;
  Elements weights;
  Epilogue epilogue;
  Columns kind;

  int64_t gridHeight, gridWidth;  ///< of the largest phase
  Span columns;
  bool direct;  ///< no padding to make real: the source is its own window
  int64_t pixelStep, windowWidth;
  int64_t band, bands, unitImages, units, panels, panelSplits;

  /// The source rows that grid rows [begin, end) of all phases read.
  Span rows(int64_t begin, int64_t end) const {
    Span span;
    for (int64_t i = 0; i < phasesY; i++)
      span = span.joined(Span::of(y[i], begin, smaller(end, y[i].size)));
    return span;
  }
  /// Floats of the window of one band of one image.
  int64_t windowFloats() const { return rows(0, band).size() * windowWidth * pixelStep; }
};

/// Cuts the work into units: bands of grid rows, or several small images at once.
inline void planUnits(Implicit& g) {
  g.gridHeight = g.gridWidth = 0;
  for (int64_t i = 0; i < g.phasesY; i++) g.gridHeight = larger(g.gridHeight, g.y[i].size);
  for (int64_t i = 0; i < g.phasesX; i++) {
    g.gridWidth = larger(g.gridWidth, g.x[i].size);
    g.columns = g.columns.joined(Span::of(g.x[i], 0, g.x[i].size));
  }
  const Axis &y = g.y[0], &x = g.x[0];
  const int64_t pixel = g.source.pixelFloats();
  const bool conflict = x.sourceStep * pixel % kConflictFloats == 0;
  g.direct = !conflict && !g.source.data.half() && g.kind != Columns::lanes &&
             g.columns.inside(g.source.width) && g.rows(0, g.gridHeight).inside(g.source.height);
  g.pixelStep = pixel + (conflict ? kLanes : 0);
  g.windowWidth = g.direct ? g.source.width : g.columns.size();

  const int64_t share = g.images * g.gridHeight * g.gridWidth / kWantedUnits;
  const int64_t wantedRows = smaller(larger(share, kMinUnitRows), kMaxUnitRows);
  g.band = smaller(g.gridHeight, larger(1, wantedRows / g.gridWidth));
  if (!g.direct) {
    const int64_t rowBytes = larger(1, g.windowWidth * g.pixelStep * int64_t(sizeof(float)));
    const int64_t extent = larger(g.rows(0, 1).size(), 1);
    const auto affordable = [&](int64_t bytes) {
      return larger(1, (bytes / rowBytes - extent) / y.sourceStep + 1);
    };
    const int64_t near = smaller(kNearRows / g.gridWidth, affordable(kMaxUnitWindowBytes));
    g.band = smaller(g.band, larger(affordable(kUnitWindowBytes), near));
  }
  g.bands = ceilDiv(g.gridHeight, g.band);
  g.band = ceilDiv(g.gridHeight, g.bands);
  g.bands = ceilDiv(g.gridHeight, g.band);
  g.unitImages = 1;
  if (g.bands == 1) {
    g.unitImages = larger(1, wantedRows / (g.gridHeight * g.gridWidth));
    const int64_t windowBytes = larger(1, g.windowFloats() * int64_t(sizeof(float)));
    const int64_t near =
        smaller(kNearRows / (g.gridHeight * g.gridWidth), kMaxUnitWindowBytes / windowBytes);
    if (!g.direct)
      g.unitImages = smaller(g.unitImages, larger(1, larger(kUnitWindowBytes / windowBytes, near)));
    g.unitImages = smaller(g.unitImages, g.images);
  }
  g.units = ceilDiv(g.images, g.unitImages) * g.bands;
  g.panels = ceilDiv(g.groupOut, kTileColumns);
  g.panelSplits = g.units >= kWantedUnits ? 1 : smaller(g.panels, ceilDiv(kWantedUnits, g.units));
}

/// With few channels to a group, a single group whose columns are all channels takes their place.
inline void chooseColumns(Implicit& g) {
  g.kind = Columns::panels;
  if (fewToAGroup(g.groups, g.groupIn, g.groupOut)) {
    g.kind = Columns::lanes;
    g.source.laneIn = g.groupIn;
    g.source.laneOut = g.groupOut;
    g.groupOut *= g.groups;
    g.groups = 1;
  } else if (g.groupOut <= kDotColumns && g.groupIn * 2 >= kLanes && kLanes > 4) {
    g.kind = Columns::dots;
  }
}

template <class P>
inline Implicit describe(const OpCall& call) {
  Implicit g(geometryOf(call.as<P>()));
  g.source = {Elements::of(call.in[0]), g.sourceHeight, g.sourceWidth, g.sourceChannels};
  g.weights = Elements::of(call.in[1]);
  g.out = Results::of(call.out[0]);
  g.epilogue = Epilogue::of<P>(call);
  chooseColumns(g);
  planUnits(g);
  return g;
}

/// The weights in the order of the tiles, phase by phase: [groups][panel][k][kTileColumns].
struct PackedWeights {
  float* phases[kMaxPhases];

  void carve(const Implicit& g, Carver& carver) {
    for (int64_t phase = 0; phase < g.phases(); phase++)
      phases[phase] = carver.take<float>(g.groups * g.panels * kTileColumns * g.depth(phase));
  }
};

struct ImplicitScratch {
  Depth depths[kMaxPhases];
  PackedWeights packed;
  float* init;           ///< groups × panels × kTileColumns
  ColumnFloats columns;  ///< as many, where sums are to be scaled
  float* windowArena;
  int64_t windowFloats;
  const float** rowsA;
  float** rowsC;
  float* staged;  ///< per worker: sums of a unit whose results are 16-bit
  std::byte** results;
  int64_t rowCapacity, stagedStep, stagedFloats;
};

inline size_t carve(const Implicit& g, int threads, std::byte* base, ImplicitScratch& s) {
  Carver carver(base);
  for (int64_t phase = 0; phase < g.phases(); phase++) {
    const int64_t k = g.depth(phase);
    const int64_t taps = g.groupIn == 0 ? 0 : k / g.groupIn;
    const int64_t runs = g.kind == Columns::lanes ? k : taps;
    s.depths[phase].segments = carver.take<Segment>(Depth::maxSegments(runs, k));
    s.depths[phase].cuts = carver.take<DepthCut>(Depth::maxCuts(k));
  }
  s.packed.carve(g, carver);
  s.init = carver.take<float>(g.groups * g.panels * kTileColumns);
  if (g.epilogue.scale.given())
    s.columns = g.epilogue.take(carver, g.groups * g.panels * kTileColumns);
  s.windowFloats = g.direct ? 0 : g.unitImages * g.windowFloats();
  // Lane tiles read whole vectors: up to a panel beyond the last pixel.
  s.windowFloats = ceilDiv(s.windowFloats, kLanes) * kLanes + kTileColumns;
  s.windowArena = carver.take<float>(s.windowFloats * threads);
  s.rowCapacity = RowTable::capacity(g.unitImages * g.band * g.gridWidth);
  s.rowsA = carver.take<const float*>(s.rowCapacity * threads);
  s.rowsC = carver.take<float*>(s.rowCapacity * threads);
  s.stagedStep = ceilDiv(g.panels, g.panelSplits) * kTileColumns;
  s.stagedFloats = g.out.half() ? s.rowCapacity * s.stagedStep : 0;
  s.staged = carver.take<float>(s.stagedFloats * threads);
  s.results = carver.take<std::byte*>(g.out.half() ? s.rowCapacity * threads : 0);
  return carver.used();
}

/// The layout of dot tiles.
inline void packDots(const Implicit& g, const Axis& y, const Axis& x, int64_t group, int64_t column,
                     int64_t valid, float* to) {
  const int64_t taps = g.kernelTaps;
  const int64_t toColumn = y.taps * x.taps * g.groupIn;
  const int64_t fromColumn = g.transposed ? 1 : taps * g.groupIn;
  const int64_t fromRow = g.transposed ? taps * g.groupOut : 1;
  const int64_t fromTap = g.transposed ? g.groupOut : g.groupIn;
  const Elements from = g.weights + (group * g.groupIn * g.groupOut * taps + column * fromColumn);
  for (int64_t ty = 0; ty < y.taps; ty++)
    for (int64_t tx = 0; tx < x.taps; tx++)
      for (int64_t k = 0; k < g.groupIn; k++, to++)
        for (int64_t j = 0; j < valid; j++)
          to[j * toColumn] =
              loadElement(from, j * fromColumn + k * fromRow +
                                    (y.tap(ty) * g.kernelWidth + x.tap(tx)) * fromTap);
}

/// The layout of lane tiles: for each tap and source channel of a group a row of all results.
inline void packLanes(const Implicit& g, const Axis& y, const Axis& x, int64_t column,
                      int64_t valid, int64_t width, float* to) {
  const int64_t taps = g.kernelTaps;
  const int64_t in = g.source.laneIn, out = g.source.laneOut;
  zeroFloats(to, y.taps * x.taps * in * width);
  for (int64_t ty = 0; ty < y.taps; ty++)
    for (int64_t tx = 0; tx < x.taps; tx++)
      for (int64_t k = 0; k < in; k++, to += width)
        for (int64_t j = 0; j < valid; j++) {
          const int64_t tap = y.tap(ty) * g.kernelWidth + x.tap(tx), at = column + j;
          to[j] = loadElement(g.weights, g.transposed
                                             ? ((at / out * in + k) * taps + tap) * out + at % out
                                             : (at * taps + tap) * in + k);
        }
}

inline void packPanel(const Implicit& g, int64_t phase, int64_t group, int64_t panel, float* to) {
  const Axis &y = g.y[phase / g.phasesX], &x = g.x[phase % g.phasesX];
  const int64_t column = panel * kTileColumns;
  const int64_t valid = smaller(kTileColumns, g.groupOut - column);
  const int64_t width = panelWidth(valid);
  const int64_t taps = g.kernelTaps;
  if (g.kind == Columns::lanes) return packLanes(g, y, x, column, valid, width, to);
  if (g.kind == Columns::dots) return packDots(g, y, x, group, column, valid, to);
  if (!g.transposed) {
    const int64_t k = taps * g.groupIn;
    packColumns(g.weights + (group * g.groupOut + column) * k, k, k, valid, width, to);
    return;
  }
  for (int64_t ty = 0; ty < y.taps; ty++) {
    for (int64_t tx = 0; tx < x.taps; tx++) {
      const int64_t tap = y.tap(ty) * g.kernelWidth + x.tap(tx);
      const Elements from = g.weights + ((group * g.groupIn * taps + tap) * g.groupOut + column);
      packRows(from, taps * g.groupOut, g.groupIn, valid, width, to);
      to += g.groupIn * width;
    }
  }
}

inline void fillDepth(const Implicit& g, int64_t phase, Depth& depth) {
  const Axis &y = g.y[phase / g.phasesX], &x = g.x[phase % g.phasesX];
  depth.begin(g.depth(phase));
  for (int64_t ty = 0; ty < y.taps; ty++)
    for (int64_t tx = 0; tx < x.taps; tx++) {
      const int64_t at = (ty * y.offsetStep * g.windowWidth + tx * x.offsetStep) * g.pixelStep;
      if (g.kind != Columns::lanes) depth.append(at, g.groupIn);
      for (int64_t k = 0; g.kind == Columns::lanes && k < g.groupIn; k++)
        depth.append(at + k * g.groupOut, 1);
    }
}

/// Points the rows of a unit at the window and at the result.
inline void fillRows(const Implicit& g, int64_t phase, int64_t firstImage, int64_t images,
                     int64_t begin, int64_t end, const float* window, const Span& rows,
                     RowTable& table) {
  const Axis &y = g.y[phase / g.phasesX], &x = g.x[phase % g.phasesX];
  const bool empty = y.taps == 0 || x.taps == 0;
  const int64_t stepA = empty ? 0 : x.sourceStep * g.pixelStep;
  const int64_t stepC = x.outStep * g.outChannels;
  const int64_t windowRows = g.direct ? g.source.height : rows.size();
  const int64_t firstColumn = empty ? 0 : x.firstOffset - (g.direct ? 0 : g.columns.lo);
  table.count = 0;
  for (int64_t image = 0; image < images; image++) {
    for (int64_t q = begin; q < end; q++) {
      const int64_t sourceRow = y.firstOffset + q * y.sourceStep - (g.direct ? 0 : rows.lo);
      const float* a = window;
      if (!empty)
        a += ((image * windowRows + sourceRow) * g.windowWidth + firstColumn) * g.pixelStep;
      const int64_t row = (firstImage + image) * g.outHeight + y.outOrigin + q * y.outStep;
      const Results c = g.out + (row * g.outWidth + x.outOrigin) * g.outChannels;
      for (int64_t i = 0; i < x.size; i++) {
        table.a[table.count] = a + i * stepA;
        if (table.results)
          table.results[table.count] = (c + i * stepC).data;
        else
          table.c[table.count] = c.floats() + i * stepC;
        table.count++;
      }
    }
  }
  table.pad();
}

inline void runUnit(const Implicit& g, const ImplicitScratch& s, int64_t unit, int worker) {
  const int64_t split = unit % g.panelSplits, place = unit / g.panelSplits;
  const int64_t begin = place % g.bands * g.band, end = smaller(begin + g.band, g.gridHeight);
  const int64_t firstImage = place / g.bands * g.unitImages;
  const int64_t images = smaller(g.unitImages, g.images - firstImage);
  const int64_t panelStep = ceilDiv(g.panels, g.panelSplits);
  const int64_t firstPanel = smaller(split * panelStep, g.panels);
  const int64_t endPanel = smaller(firstPanel + panelStep, g.panels);
  if (firstPanel == endPanel) return;

  const Span rows = g.rows(begin, end);
  const float* window = g.source.data.floats();
  if (g.direct) {
    window += firstImage * g.source.height * g.source.width * g.source.channels;
  } else {
    float* filled = s.windowArena + worker * s.windowFloats;
    fillWindow(g.source, firstImage, images, rows, g.columns, g.pixelStep, filled);
    window = filled;
  }
  RowBlock block{};
  block.rows.a = s.rowsA + worker * s.rowCapacity;
  block.rows.c = s.rowsC + worker * s.rowCapacity;
  if (g.out.half()) {
    block.rows.results = s.results + worker * s.rowCapacity;
    block.rows.format = g.out.format;
  }
  block.kind = g.kind;
  block.n = g.groupOut;
  block.firstPanel = firstPanel;
  block.endPanel = endPanel;
  block.activation = g.epilogue.activation;
  block.addend = g.epilogue.addend;
  for (int64_t phase = 0; phase < g.phases(); phase++) {
    const int64_t phaseEnd = smaller(end, g.y[phase / g.phasesX].size);
    if (begin >= phaseEnd) continue;
    fillRows(g, phase, firstImage, images, begin, phaseEnd, window, rows, block.rows);
    if (g.out.half()) stageRows(block, s.staged + worker * s.stagedFloats, s.stagedStep);
    block.depth = &s.depths[phase];
    for (int64_t group = 0; group < g.groups; group++) {
      block.b = s.packed.phases[phase] + group * g.panels * kTileColumns * block.depth->k;
      block.init = s.init + group * g.panels * kTileColumns;
      block.columns = s.columns + group * g.panels * kTileColumns;
      runBlock(block);
      if (g.out.half()) narrowRows(block);
      for (int64_t i = 0; i < block.rows.count + kTileRows; i++)
        block.rows.a[i] += block.depth->k > 0 ? g.groupIn : 0;
      for (int64_t i = 0; g.out.half() && i < block.rows.count; i++)
        block.rows.results[i] += 2 * g.groupOut;
      for (int64_t i = 0; !g.out.half() && i < block.rows.count + kTileRows; i++)
        block.rows.c[i] += g.groupOut;
    }
  }
}

inline void packWeights(const Implicit& g, const PackedWeights& packed, Context& context) {
  context.parallelFor(g.phases() * g.groups * g.panels, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t panel = i % g.panels, group = i / g.panels % g.groups;
      const int64_t phase = i / g.panels / g.groups, k = g.depth(phase);
      packPanel(g, phase, group, panel,
                packed.phases[phase] + (group * g.panels + panel) * kTileColumns * k);
    }
  });
}

inline void runImplicit(const Implicit& g, Context& context) {
  ImplicitScratch s;
  carve(g, context.threads(), context.scratch(), s);
  const int64_t initColumns = g.panels * kTileColumns;
  zeroFloats(s.init, g.groups * initColumns);
  const ColumnFloats all = s.columns.scale ? s.columns : ColumnFloats{nullptr, s.init};
  for (int64_t group = 0; group < g.groups; group++)
    g.epilogue.widen(all + group * initColumns, group * g.groupOut, g.groupOut);
  for (int64_t phase = 0; phase < g.phases(); phase++) fillDepth(g, phase, s.depths[phase]);
  if (const std::byte* ready = packedOperand(context)) {
    Carver kept(const_cast<std::byte*>(ready));  // only read from here on
    s.packed.carve(g, kept);
  } else {
    packWeights(g, s.packed, context);
  }
  context.parallelFor(g.units * g.panelSplits, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t unit = begin; unit < end; unit++) runUnit(g, s, unit, worker);
  });
}

template <class P>
inline int implicitSupports(const OpCall& call) {
  const auto& p = call.as<P>();
  if (!plainShape(call, p)) return -1;
  return phasesOf(p) <= kMaxPhases && reasonable(p) ? kPackedPreference : -1;
}

template <class P>
inline size_t implicitScratch(const OpCall& call, int threads) {
  const Implicit g = describe<P>(call);
  ImplicitScratch s;
  return carve(g, threads, nullptr, s);
}

template <class P>
inline void implicitRun(const OpCall& call, Context& context) {
  const Implicit g = describe<P>(call);
  runImplicit(g, context);
}

/// The weights packed ahead of the call, where each meets few positions.
template <class P>
inline Packing implicitPacking(const OpCall& call) {
  const auto& p = call.as<P>();
  if (int64_t(p.n) * p.ho * p.wo > kKeptRows) return {};
  const Implicit g = describe<P>(call);
  Carver carver(nullptr);
  PackedWeights packed;
  packed.carve(g, carver);
  Packing packing{1, carver.used(), {int64_t(g.weights.format), p.c, p.o, p.kh, p.kw, p.groups}};
  if (!g.transposed) return packing;
  int64_t* number = packing.layout + 6;
  for (int axis = 0; axis < 2; axis++) {
    const AxisShape s = axisShape(p, axis);
    const int64_t values[] = {smaller(s.stride, s.in), s.stride, s.padLo, s.dilation};
    for (const int64_t value : values) *number++ = value;
  }
  return packing;
}

template <class P>
inline void implicitPack(const OpCall& call, std::byte* to, Context& context) {
  const Implicit g = describe<P>(call);
  Carver carver(to);
  PackedWeights packed;
  packed.carve(g, carver);
  packWeights(g, packed, context);
}

}  // namespace figment::FIGMENT_ISA::conv
