// conv2d and conv2dInputGrad as products on matrix tiles: rows are positions of the result, columns
// its channels, K runs over taps and source channels in steps of 32. Here is where the rows of such
// a product lie and how it is cut into parts. Mostly, tiles are loaded straight from a copy of a
// part of the image with real zeros for padding, in which neighbours along an axis are neighbours
// in memory: a tile is 16 of them, and a tap an offset. The source of a strided convolution falls
// into stride² such images. Lines shorter than a tile alternate between several images, which then
// are neighbours. Where so few channels or positions lie together that tiles would be mostly
// padding, what each position reads is brought together, row by row, or what all taps of a column
// read, so that columns side by side are a position's row and neighbours share them. Include only
// from files compiled for one instruction set.
#pragma once

#include "kernels/conv/geometry.inl.h"
#include "kernels/gemm/matrix_tiles.inl.h"
#include "kernels/gemm/split_parts.inl.h"

namespace figment::FIGMENT_ISA::tiles::implicit {

using split::Parts;

constexpr int64_t kLineBytes = kTileDepth * int64_t(sizeof(uint16_t));
/// The rows of a part stay in the L2 cache, beside panels of weights.
constexpr int64_t kPartBytes = 640 * 1024, kPartRows = 1024;
/// The same of rows that are split: three times the numbers, of which a part should hold enough to
/// have weights come from the third-level cache in less time than they are multiplied in.
constexpr int64_t kSplitPartBytes = 1280 * 1024;
/// Weights of a group that stay there too.
constexpr int64_t kNearWeights = 768 * 1024;
/// Enough units for load balance; fixed, because numbers of a part are split by one scale.
constexpr int64_t kWantedProducts = 16;
/// Columns are cut into as few pieces as keep threads busy for this share of the time: pieces share
/// the rows of a part, which then come from the third-level cache.
constexpr double kBusy = 0.85;
/// The most that the rows of a part may take, and of all parts that units share.
constexpr double kMostPartBytes = 256e6;

/// Tiles of columns that form a block of sums with two tiles of rows or, where so many steps of K
/// load mostly lines that the ones before have loaded, three, which need fewer loads.
constexpr int kColumnTiles = 2, kRowTiles = 2, kTallRowTiles = 3;
constexpr int64_t kTallSteps = 128;
constexpr int64_t kPanelColumns = kColumnTiles * kSide;
/// Tiles of rows that take turns at a cut of split weights, and what that may take: each number
/// meets up to three of the rows, so that they may come from the second-level cache, and sums too.
constexpr int64_t kSplitTurnTiles = 32, kSplitCutBytes = 128 * 1024;

/// So few positions meet all weights at once, cut by cut of K, while the next ones come from
/// memory: each number of them is read a single time, and the sums of all columns of a unit stay in
/// the second-level cache. What the rows of these positions and those sums may take.
constexpr int64_t kStreamedPositions = 256;
constexpr int64_t kStreamedPartBytes = 16 << 20, kStreamedSumBytes = 768 * 1024;
constexpr int64_t kStreamedCutBytes = 128 * 1024;

/// Where the rows of a product lie when tiles load them.
enum class Form {
  source,  ///< the image itself, of 1×1 taps
  window,  ///< a padded copy of a part of it
  rows,    ///< what each position reads
  columns  ///< for each line of the result, what its positions read of each column of the image
};

/// What a part of an axis reads, from the first tap on.
struct WindowAxis {
  int64_t step = 1, lowest = 0, extent = 0;
  static WindowAxis of(const conv::Axis* axes, int64_t count) {
    WindowAxis w;
    bool any = false;
    int64_t highest = 0;
    for (int64_t i = 0; i < count; i++) {
      if (axes[i].taps == 0) continue;
      w.lowest = any ? smaller(w.lowest, axes[i].firstOffset) : axes[i].firstOffset;
      highest = any ? larger(highest, axes[i].lastOffset()) : axes[i].lastOffset();
      w.step = axes[i].sourceStep;
      any = true;
    }
    w.extent = highest - w.lowest;
    return w;
  }
  /// Positions that lie `step` apart are neighbours in one of so many images.
  int64_t images() const { return smaller(step, extent + 1); }
  int64_t imageOf(int64_t offset) const { return (offset - lowest) % step; }
  int64_t placeOf(int64_t offset) const { return (offset - lowest) / step; }
  /// The size of such an image for `count` positions of the grid, and of the source.
  int64_t size(int64_t count) const { return count + extent / step; }
  int64_t span(int64_t count) const { return (count - 1) * step + extent + 1; }
};

struct TilePlan : conv::Geometry {
  explicit TilePlan(const Geometry& shape) : Geometry(shape) {}

  Elements source, weights;
  Results out;
  Epilogue epilogue;
  Parts parts;  ///< numbers that factors are split into, or kWhole

  static constexpr Parts kWhole = {1, 1, 0};
  bool split() const { return parts.most > 0; }

  Form form;
  bool byLines;  ///< tiles begin with each line of the grid, otherwise they run across lines
  int64_t gridHeight, gridWidth;  ///< of the largest phase
  WindowAxis windowY, windowX;
  int64_t channelBlocks, panels;
  int64_t abreast;        ///< images that share the lines of a window, position by position
  bool streamed = false;  ///< whether weights pass all positions once, cut by cut

  /// Images and lines of the grid that form a part; parts, and pieces that the columns of each are
  /// cut into.
  int64_t partImages, band, bands, rowParts, columnParts = 1;

  /// Numbers of K from one column of the image to the next, steps of K, and positions from one line
  /// of the result to the next, in Form::columns.
  int64_t columnNumbers = 0, columnSteps = 0, linePitch = 0;

  int64_t imageLines, pitch, slots;  ///< of a window
  int64_t slotBytes, blockBytes;     ///< between neighbours, and blocks of channels
  int64_t partBytes;                 ///< between the numbers that a factor is split into
  int64_t rowsBytes;                 ///< of all that tiles load, of a part

  bool positionwise() const { return form == Form::rows || form == Form::columns; }
  int64_t taps(int64_t phase) const { return axisY(phase).taps * axisX(phase).taps; }
  /// Steps of K.
  int64_t steps(int64_t phase) const {
    if (form == Form::columns) return columnSteps;
    return positionwise() ? ceilDiv(depth(phase), kTileDepth) : taps(phase) * channelBlocks;
  }
  int64_t allSteps() const {
    int64_t sum = 0;
    for (int64_t phase = 0; phase < phases(); phase++) sum += steps(phase);
    return sum;
  }
  /// A step's numbers of K as they lie in the weights, tap by tap.
  struct Run {
    int64_t first, count;
  };
  Run runOf(int64_t phase, int64_t step) const {
    if (positionwise()) {
      const int64_t first = smaller(step * kTileDepth, depth(phase));
      return {first, smaller(kTileDepth, depth(phase) - first)};
    }
    const int64_t block = step / taps(phase) * kTileDepth;
    return {step % taps(phase) * groupIn + block, smaller(kTileDepth, groupIn - block)};
  }
  /// From a gathered row to the next: an odd number of cache lines, whose neighbours fall into
  /// other sets, or the columns that a position has before the next one.
  int64_t rowBytes(int64_t phase) const {
    if (form == Form::columns) return windowX.step * columnNumbers * int64_t(sizeof(uint16_t));
    return (steps(phase) | 1) * kLineBytes;
  }
  int64_t lineRows(int64_t phase) const {
    return form == Form::columns ? linePitch : axisX(phase).size;
  }
  int64_t phaseRows(int64_t phase) const { return partImages * band * lineRows(phase); }
  /// Where the gathered rows of a phase begin, and how far apart the numbers of their parts are.
  int64_t phasePartBytes(int64_t phase) const {
    const int64_t beyond = form == Form::columns ? columnSteps : 1;  // what the last rows read
    const int64_t bytes = ceilDiv(phaseRows(phase), kSide) * kSide * rowBytes(phase);
    return ceilDiv(bytes, kLineBytes) * kLineBytes + beyond * kLineBytes;
  }
  int64_t phaseAt(int64_t phase) const {
    int64_t at = 0;
    for (int64_t i = 0; i < phase; i++) at += parts.rows * phasePartBytes(i);
    return at;
  }

  int64_t stacks() const { return ceilDiv(partImages, abreast); }
  /// Tiles that `lines` lines of `width` positions of images that lie abreast take.
  int64_t tilesOf(int64_t lines, int64_t width) const {
    width *= abreast;
    if (byLines) return lines * ceilDiv(width, kSide);
    return lines == 0 ? 0 : ceilDiv((lines - 1) * pitch + width, kSide);
  }
  /// Tiles of rows that meet a cut of K one after another.
  int64_t turnTiles() const { return split() ? kSplitTurnTiles : rowTiles(); }
  int64_t mostTiles() const {
    if (form == Form::columns) return ceilDiv(partImages * band * linePitch, kSide);
    if (positionwise()) return ceilDiv(partImages * band * gridWidth, kSide);
    return stacks() * tilesOf(band, gridWidth);
  }

  /// Tiles of rows of a block.
  int rowTiles() const {
    const bool tall = form == Form::window && !split() && windowX.step == 1 &&
                      kernelTaps > phases() && steps(0) >= kTallSteps;
    return tall ? kTallRowTiles : kRowTiles;
  }
  /// Steps of a cut of K: all, or all taps of some blocks of channels, whose lines are the same, or
  /// some of the taps of one.
  int64_t cutSteps(int64_t phase) const {
    if (!split() && !streamed) return steps(phase);
    const int64_t stepBytes = parts.columns * kColumnTiles * kTile * int64_t(sizeof(uint16_t));
    const int64_t cutBytes = streamed ? kStreamedCutBytes : kSplitCutBytes;
    const int64_t most = larger(1, cutBytes / stepBytes);
    const int64_t together = positionwise() ? 1 : larger(1, taps(phase));
    if (together > most) return ceilDiv(together, ceilDiv(together, most));
    const int64_t blocks = larger(1, steps(phase) / together);
    return ceilDiv(blocks, ceilDiv(blocks, most / together)) * together;
  }

  /// bf16 numbers of a cut of a panel, at most.
  int64_t mostCutSize() const {
    int64_t most = 0;
    for (int64_t phase = 0; phase < phases(); phase++)
      most = larger(most, cutSteps(phase) * parts.columns * kColumnTiles * kTile);
    return most;
  }
  /// bf16 numbers of a panel of packed weights of a phase.
  int64_t panelSize(int64_t phase) const {
    return steps(phase) * parts.columns * kColumnTiles * kTile;
  }
  int64_t packedAt(int64_t phase) const {
    int64_t at = 0;
    for (int64_t i = 0; i < phase; i++) at += groups * panels * panelSize(i);
    return at;
  }
  /// Columns of a panel, and the tiles that they fill.
  int64_t columnsOf(int64_t panel) const {
    return smaller(kPanelColumns, groupOut - panel * kPanelColumns);
  }
  int columnTilesOf(int64_t panel) const { return int(ceilDiv(columnsOf(panel), kSide)); }
  int64_t units() const { return groups * columnParts * rowParts; }
  /// Sums of a panel of all rows of a part.
  int64_t panelSums() const { return mostTiles() * kColumnTiles * kSide * kSide; }
  /// Cuts the columns for a number of threads. The sums do not depend on it.
  void cutColumns(int threads) {
    // Pieces share the parts of the image, which then are all there at once.
    const bool share = double(groups * rowParts) * double(rowsBytes) <= kMostPartBytes;
    columnParts = 1;
    if (streamed)
      columnParts = smaller(
          panels, ceilDiv(panels * panelSums() * int64_t(sizeof(float)), kStreamedSumBytes));
    for (; share && columnParts < panels; columnParts++)
      if (double(units()) >= kBusy * double(ceilDiv(units(), threads) * threads)) return;
  }
  /// Whether the parts of the image stay within reason.
  bool affordable() const {
    const double window = double(slots) * double(slotBytes) * parts.rows;
    return double(rowsBytes) + window <= kMostPartBytes;
  }
};

/// The layout of windows for parts of `images` images and `lines` lines of the grid.
inline void layOut(TilePlan& g, int64_t images, int64_t lines) {
  g.partImages = images;
  g.band = lines;
  if (g.form == Form::source) {
    g.imageLines = g.sourceHeight;
    g.pitch = g.sourceWidth;
    g.slotBytes = g.sourceChannels * int64_t(sizeof(uint16_t));
    g.blockBytes = kLineBytes;
    g.slots = g.partBytes = g.rowsBytes = 0;
    return;
  }
  if (g.positionwise()) {
    g.imageLines = g.windowY.span(lines);
    g.pitch = g.windowX.span(g.gridWidth);
    g.slots = images * g.imageLines * g.pitch;
    g.slotBytes = g.groupIn * int64_t(sizeof(uint16_t));
    g.partBytes = ceilDiv(g.slots * g.slotBytes, kLineBytes) * kLineBytes + kLineBytes;
    g.rowsBytes = g.phaseAt(g.phases());
    return;
  }
  g.imageLines = g.windowY.size(lines);
  g.pitch = g.windowX.size(g.gridWidth) * g.abreast;
  g.slots = g.windowY.images() * g.windowX.images() * g.stacks() * g.imageLines * g.pitch + kSide;
  g.slotBytes = (g.channelBlocks | 1) * kLineBytes;  // an odd number, as rowBytes()
  g.blockBytes = kLineBytes;
  g.partBytes = g.slots * g.slotBytes;
  g.rowsBytes = g.parts.rows * g.partBytes;
}

/// The share of multiplications that is of use in `form`, less what it costs to bring rows
/// together.
inline double usefulOf(TilePlan& g, Form form) {
  g.form = form;
  g.byLines = true;
  layOut(g, 1, g.gridHeight);
  if (g.positionwise()) {
    constexpr double kGather = 24;  // columns
    const double useful = double(g.depth(0)) / double(larger(g.steps(0), 1) * kTileDepth);
    const double columns = double(g.panels * kPanelColumns);
    if (form == Form::rows) return useful / (1 + kGather / columns);
    // Of the taps of a position those of `step` columns are new.
    const double share = double(g.windowX.step) / double(g.x[0].taps);
    return useful * double(g.gridWidth) / double(g.linePitch) / (1 + kGather * share / columns);
  }
  const int64_t lines = g.tilesOf(g.gridHeight, g.gridWidth);
  g.byLines = false;
  const int64_t across = g.tilesOf(g.gridHeight, g.gridWidth);
  g.byLines = lines <= across && form != Form::source;
  return double(g.abreast * g.gridHeight * g.gridWidth) / double(smaller(lines, across) * kSide) *
         double(g.groupIn) / double(g.channelBlocks * kTileDepth);
}

/// The share of multiplications that is of use in windows, of the fewest images abreast that make
/// the most of tiles.
inline double usefulOfWindows(TilePlan& g) {
  double best = 0;
  int64_t abreast = 1;
  for (g.abreast = 1; g.abreast <= smaller(g.images, kSide); g.abreast *= 2) {
    const double useful = usefulOf(g, Form::window);
    if (useful <= best) continue;
    best = useful;
    abreast = g.abreast;
  }
  g.abreast = abreast;
  return usefulOf(g, Form::window);
}

/// A matrix product: positions read themselves. All images are then one.
inline bool joinImages(TilePlan& g) {
  const auto same = [](const conv::Axis& axis, int64_t size) {
    return axis.taps == 1 && axis.sourceStep == 1 && axis.outStep == 1 && axis.offset(0) == 0 &&
           axis.size == size;
  };
  if (g.phases() != 1 || !same(g.y[0], g.sourceHeight) || !same(g.x[0], g.sourceWidth))
    return false;
  g.sourceHeight = g.outHeight = g.y[0].size = g.images * g.sourceHeight;
  g.images = 1;
  return true;
}

/// Lays out what all taps of a column read as so many numbers that the steps of K of a position end
/// where its columns end: it meets zeros there, and no number of its neighbours.
inline bool layOutColumns(TilePlan& g) {
  const conv::Axis &y = g.y[0], &x = g.x[0];
  if (g.phases() != 1 || x.offsetStep != 1 || x.taps == 0 || y.taps == 0) return false;
  const int64_t numbers = y.taps * g.groupIn;
  g.linePitch = ceilDiv(g.windowX.span(g.gridWidth), g.windowX.step);
  g.columnSteps = ceilDiv(x.taps * numbers, kTileDepth) - 1;
  do {
    g.columnSteps++;
    g.columnNumbers = larger(numbers, ceilDiv(g.columnSteps * kTileDepth, x.taps));
  } while ((x.taps - 1) * g.columnNumbers + numbers > g.columnSteps * kTileDepth);
  return true;
}

inline void chooseForm(TilePlan& g, bool joined) {
  g.abreast = 1;
  if (joined && !g.split() && g.groupIn % kTileDepth == 0 &&
      g.sourceHeight * g.sourceWidth >= kSide) {
    usefulOf(g, Form::source);
    return;
  }
  const Form gathered = layOutColumns(g) ? Form::columns : Form::rows;
  const double useful = usefulOf(g, gathered);
  if (usefulOfWindows(g) >= useful) return;
  g.abreast = 1;
  usefulOf(g, gathered);
}

/// Into pieces of how many, at most `most`, so many images are cut: smaller ones where two threads,
/// one of which has a piece more, have fewer images so.
inline int64_t evenPieces(int64_t count, int64_t most) {
  int64_t best = ceilDiv(count, ceilDiv(count, most));
  const auto half = [&](int64_t size) { return ceilDiv(ceilDiv(count, size), 2) * size; };
  for (int64_t size = best - 1; 3 * size >= 2 * most; size--)
    if (half(size) < half(best)) best = size;
  return best;
}

/// Makes all positions one part, if they are few enough for weights to be streamed past them.
inline bool streamWeights(TilePlan& g) {
  const int64_t weightBytes = g.packedAt(g.phases()) * int64_t(sizeof(uint16_t));
  if (g.groups > 1 || g.images * g.gridHeight * g.gridWidth > kStreamedPositions ||
      weightBytes <= kNearWeights)
    return false;
  for (int64_t phase = 0; phase < g.phases(); phase++)
    if (g.steps(phase) == 0) return false;
  layOut(g, ceilDiv(g.images, g.abreast) * g.abreast, g.gridHeight);
  if (larger(g.rowsBytes, g.slots * g.slotBytes * g.parts.rows) > kStreamedPartBytes) return false;
  g.bands = g.rowParts = 1;
  return g.streamed = true;
}

/// Cuts the work into parts: bands of lines of the grid, or several small images at once.
inline void cutParts(TilePlan& g) {
  const int64_t positions = g.images * g.gridHeight * g.gridWidth;
  const int64_t share = ceilDiv(positions, ceilDiv(kWantedProducts, g.groups * g.panels));
  const auto fits = [&](int64_t images, int64_t lines) {
    layOut(g, images, lines);
    const int64_t positions = images * lines * g.gridWidth;
    const int64_t read = g.form == Form::source ? positions * g.groupIn * 2 : g.rowsBytes;
    return positions <= smaller(kPartRows, share) &&
           larger(read, g.slots * g.slotBytes * g.parts.rows) <=
               (g.split() ? kSplitPartBytes : kPartBytes);
  };
  // What a part takes grows with its lines: the most that fit are found by halving.
  const auto most = [](int64_t limit, auto&& fit) {
    int64_t low = 1, high = limit;
    while (low < high) {
      const int64_t middle = (low + high + 1) / 2;
      if (fit(middle))
        low = middle;
      else
        high = middle - 1;
    }
    return low;
  };
  int64_t band = most(g.gridHeight, [&](int64_t lines) { return fits(g.abreast, lines); });
  band = ceilDiv(g.gridHeight, ceilDiv(g.gridHeight, band));
  g.bands = ceilDiv(g.gridHeight, band);
  int64_t images = g.abreast;
  if (g.bands == 1) {
    const int64_t all = ceilDiv(g.images, g.abreast);
    const int64_t stacks = most(all, [&](int64_t count) { return fits(count * images, band); });
    images *= evenPieces(all, stacks);
  }
  layOut(g, images, band);
  g.rowParts = ceilDiv(g.images, images) * g.bands;
}

template <class P>
inline TilePlan planTiles(const OpCall& call, const Parts& parts) {
  TilePlan g(conv::geometryOf(call.as<P>()));
  g.source = Elements::of(call.in[0]);
  g.weights = Elements::of(call.in[1]);
  g.out = Results::of(call.out[0]);
  g.epilogue = Epilogue::of<P>(call);
  g.parts = parts;
  const bool joined = joinImages(g);
  g.gridHeight = g.gridWidth = 0;
  for (int64_t i = 0; i < g.phasesY; i++) g.gridHeight = larger(g.gridHeight, g.y[i].size);
  for (int64_t i = 0; i < g.phasesX; i++) g.gridWidth = larger(g.gridWidth, g.x[i].size);
  g.windowY = WindowAxis::of(g.y, g.phasesY);
  g.windowX = WindowAxis::of(g.x, g.phasesX);
  g.channelBlocks = ceilDiv(g.groupIn, kTileDepth);
  g.panels = ceilDiv(g.groupOut, kPanelColumns);
  chooseForm(g, joined);
  if (!streamWeights(g)) cutParts(g);
  return g;
}

/// Positions of the result and the lines that a part covers.
struct TilePart {
  int64_t firstImage, images, begin, end;
  TilePart(const TilePlan& g, int64_t index)
      : firstImage(index / g.bands * g.partImages),
        images(smaller(g.partImages, g.images - firstImage)),
        begin(index % g.bands * g.band),
        end(smaller(begin + g.band, g.gridHeight)) {}
};

}  // namespace figment::FIGMENT_ISA::tiles::implicit
