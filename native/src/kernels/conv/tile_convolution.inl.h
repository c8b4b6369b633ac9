// Runs a convolution on matrix tiles: weights are packed once, parts of the image by the unit of
// work that multiplies them, or ahead, where several units share one. Include only from files
// compiled for one instruction set.
#pragma once

#include "kernels/conv/tile_plainly.inl.h"
#include "kernels/packing.h"

namespace figment::FIGMENT_ISA::tiles::implicit {

/// The memory of one worker.
struct ConvolutionScratch {
  std::byte *rows, *window;  ///< of a part
  TileTable table;
  float* sums;
  uint16_t* columns;  ///< a cut of a panel, where weights are streamed
  PlainScratch plain;

  static ConvolutionScratch take(gemm::Carver& carver, const TilePlan& g) {
    ConvolutionScratch s{};
    const bool own = g.columnParts == 1;
    s.rows = own ? carver.take<std::byte>(g.rowsBytes) : nullptr;
    s.window = carver.take<std::byte>(g.positionwise() ? g.parts.rows * g.partBytes : 0);
    s.table = TileTable::take(carver, g);
    s.sums = carver.take<float>(g.streamed ? ceilDiv(g.panels, g.columnParts) * g.panelSums()
                                           : 2 * turnSums(g));
    s.columns = carver.take<uint16_t>(g.streamed ? g.mostCutSize() : 0);
    if (g.split()) s.plain = PlainScratch::take(carver);
    return s;
  }
  static size_t bytes(const TilePlan& g) {
    gemm::Carver measure(nullptr);
    take(measure, g);
    return measure.used();
  }
};

/// The weights as tiles read them. Of those that are streamed only the scales are there, and units
/// pack each cut as they come to it.
struct PackedWeights {
  uint16_t* data;
  Scale* scales;  ///< of panels, where they are split

  static PackedWeights take(gemm::Carver& carver, const TilePlan& g, bool whole) {
    PackedWeights w;
    w.data = whole ? carver.take<uint16_t>(g.packedAt(g.phases())) : nullptr;
    w.scales = carver.take<Scale>(g.split() ? g.groups * g.panels : 0);
    return w;
  }

  void pack(const TilePlan& g, Context& context) const {
    const int64_t panels = g.groups * g.panels;
    if (g.split())
      context.parallelFor(panels, 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; i++)
          scales[i] = WeightPacker(g, 0, i / g.panels, i % g.panels).scale();
      });
    for (int64_t phase = 0; data && phase < g.phases(); phase++) {
      const int64_t pieces = WeightPacker::pieces(g, phase);
      context.parallelFor(panels * pieces, 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; i++) {
          const int64_t panel = i / pieces;
          const Scale scale = g.split() ? scales[panel] : Scale{};
          if (g.split() && !scale.fits) continue;
          WeightPacker(g, phase, panel / g.panels, panel % g.panels)
              .pack(i % pieces, data + g.packedAt(phase) + panel * g.panelSize(phase), scale);
        }
      });
    }
  }
};

/// What all workers read.
struct SharedScratch {
  PackedWeights weights;
  ColumnFloats columns;  ///< zero beyond the channels of a group
  int32_t* offsets;      ///< of the steps of K, phase by phase
  std::byte* rows;       ///< of all parts, where several units share one
  Scale* rowScales;

  static SharedScratch take(gemm::Carver& carver, const TilePlan& g) {
    const int64_t panels = g.groups * g.panels, parts = g.groups * g.rowParts;
    SharedScratch s;
    s.weights = PackedWeights::take(carver, g, !g.streamed);
    s.columns = g.epilogue.take(carver, panels * kPanelColumns);
    s.offsets = carver.take<int32_t>(g.allSteps());
    s.rows = carver.take<std::byte>(g.columnParts > 1 ? parts * g.rowsBytes : 0);
    s.rowScales = carver.take<Scale>(g.columnParts > 1 ? parts : 0);
    return s;
  }
};

inline size_t convolutionScratch(TilePlan g, int threads) {
  g.cutColumns(threads);
  gemm::Carver measure(nullptr);
  SharedScratch::take(measure, g);
  return measure.used() + size_t(threads) * ConvolutionScratch::bytes(g);
}

/// Whether what is kept is all packed weights: of streamed ones that are split, it is their scales,
/// since the parts take half as much again as the weights to be read.
inline bool keepsWhole(const TilePlan& g) { return !g.streamed || !g.split(); }

/// In which of so many orders weights are packed.
constexpr int kOrders = 3;
constexpr int orderOf(const TilePlan& g) {
  return g.form == Form::columns ? 2 : g.positionwise() ? 1 : 0;
}

/// The weights packed ahead of the call, where each meets few positions.
template <class P>
inline Packing packingOf(const OpCall& call, const Parts& parts) {
  const auto& p = call.as<P>();
  if (int64_t(p.n) * p.ho * p.wo > kKeptRows) return {};
  const TilePlan g = planTiles<P>(call, parts);
  gemm::Carver measure(nullptr);
  PackedWeights::take(measure, g, keepsWhole(g));
  Packing packing{1,
                  measure.used(),
                  {orderOf(g) + kOrders * keepsWhole(g), int64_t(g.weights.format), g.parts.columns,
                   p.c, p.o, p.kh, p.kw, p.groups}};
  if (!g.transposed) return packing;
  int64_t* number = packing.layout + 8;
  for (int axis = 0; axis < 2; axis++) {
    const conv::AxisShape s = conv::axisShape(p, axis);
    const int64_t values[] = {smaller(s.stride, s.in), s.stride, s.padLo, s.dilation};
    for (const int64_t value : values) *number++ = value;
  }
  return packing;
}

inline void packAhead(const TilePlan& g, std::byte* to, Context& context) {
  gemm::Carver carver(to);
  PackedWeights::take(carver, g, keepsWhole(g)).pack(g, context);
}

template <class Tiles>
class TileConvolution {
 public:
  TileConvolution(const TilePlan& g, Context& context) : g_(g), context_(context) {
    g_.cutColumns(context.threads());
    gemm::Carver carver(context.scratch());
    shared_ = SharedScratch::take(carver, g_);
    workers_ = context.scratch() + carver.used();
    workerBytes_ = ConvolutionScratch::bytes(g_);
  }

  void run() {
    int32_t* offsets = shared_.offsets;
    for (int64_t phase = 0; phase < g_.phases(); offsets += g_.steps(phase), phase++)
      describeSteps(g_, phase, offsets);
    widenColumns();
    if (const std::byte* ready = packedOperand(context_)) {
      gemm::Carver kept(const_cast<std::byte*>(ready));  // only read from here on
      shared_.weights = PackedWeights::take(kept, g_, keepsWhole(g_));
    } else {
      shared_.weights.pack(g_, context_);
    }
    if (g_.columnParts > 1 && g_.form != Form::source)
      context_.parallelFor(g_.groups * g_.rowParts, 1, [&](int64_t begin, int64_t end, int worker) {
        const ConvolutionScratch mine = scratchOf(worker);
        for (int64_t i = begin; i < end; i++)
          shared_.rowScales[i] = fill(i / g_.rowParts, TilePart(g_, i % g_.rowParts),
                                      shared_.rows + i * g_.rowsBytes, mine.window);
      });
    context_.parallelFor(g_.units(), 1, [&](int64_t begin, int64_t end, int worker) {
      Tiles tiles;
      const ConvolutionScratch mine = scratchOf(worker);
      int64_t plain = 0;
      for (int64_t unit = begin; unit < end; unit++) plain += runUnit(tiles, unit, mine);
      if (g_.split()) countFallbacks(context_, plain);
    });
  }

 private:
  ConvolutionScratch scratchOf(int worker) const {
    gemm::Carver carver(workers_ + size_t(worker) * workerBytes_);
    return ConvolutionScratch::take(carver, g_);
  }

  void widenColumns() {
    const int64_t padded = g_.panels * kPanelColumns;
    const ColumnFloats& to = shared_.columns;
    for (float* numbers : {to.scale, to.bias})
      if (numbers) gemm::zeroFloats(numbers, g_.groups * padded);
    for (int64_t group = 0; group < g_.groups; group++)
      g_.epilogue.widen(to + group * padded, group * g_.groupOut, g_.groupOut);
  }

  Scale fill(int64_t group, const TilePart& part, std::byte* rows, std::byte* window) const {
    const SourceFiller filler(g_, group, part);
    const Scale scale = g_.split() ? filler.scale() : Scale{0, true, 1};
    if (scale.fits) filler.fill(rows, window, scale.parts, split::powerOfTwo(scale.shift));
    return scale;
  }

  /// Answers how many blocks were not multiplied on tiles.
  int64_t runUnit(Tiles& tiles, int64_t unit, const ConvolutionScratch& s) const {
    const int64_t columnPart = unit % g_.columnParts;
    const int64_t rowPart = unit / g_.columnParts % g_.rowParts;
    const int64_t group = unit / g_.columnParts / g_.rowParts;
    const TilePart part(g_, rowPart);
    const std::byte* rows = s.rows;
    Scale scale{0, true, 1};
    if (g_.form == Form::source) {
      rows = g_.source.data;
    } else if (g_.columnParts > 1) {
      rows = shared_.rows + (group * g_.rowParts + rowPart) * g_.rowsBytes;
      scale = shared_.rowScales[group * g_.rowParts + rowPart];
    } else {
      scale = fill(group, part, s.rows, s.window);
    }
    const int64_t first = g_.panels * columnPart / g_.columnParts;
    const int64_t last = g_.panels * (columnPart + 1) / g_.columnParts;
    Finisher<Tiles> finisher(g_);
    HeldSums held;
    Work work = {tiles, held, finisher, s, s.table, shared_.offsets, rows, scale, 0};
    for (int64_t phase = 0; phase < g_.phases(); work.offsets += g_.steps(phase), phase++) {
      work.table.describe(g_, phase, group, part);
      if (g_.streamed)
        streamPanels(work, phase, first, last);
      else
        takeTurns(work, phase, group, rowPart, first, last);
      held.store(tiles);
      finisher.finish();
    }
    return work.plain;
  }

  /// What a unit multiplies and where.
  struct Work {
    Tiles& tiles;
    HeldSums& held;
    Finisher<Tiles>& finisher;
    const ConvolutionScratch& scratch;
    TileTable table;
    const int32_t* offsets;  ///< of a phase
    const std::byte* rows;
    Scale rowScale;
    int64_t plain;  ///< blocks that were not multiplied on tiles
  };
  /// Tiles of rows of a phase and group, and the panel that they are multiplied by.
  struct Turn {
    int64_t phase, group, panel, tile, count;
  };

  void takeTurns(Work& work, int64_t phase, int64_t group, int64_t rowPart, int64_t first,
                 int64_t last) const {
    const int64_t tiles = work.table.count, turns = ceilDiv(tiles, g_.turnTiles());
    if (phase == 0 && g_.columnParts == 1 && g_.groups == 1)
      bringSource(rowPart + context_.threads(),
                  ceilDiv(tiles, g_.rowTiles()) * g_.steps(phase) * g_.panels, work.finisher);
    float *sums = work.scratch.sums, *others = sums + turnSums(g_);
    const auto turn = [&](int64_t index, int64_t panel) {
      const int64_t tile = turnStart(tiles, index, turns);
      runTurn(work, {phase, group, panel, tile, turnStart(tiles, index + 1, turns) - tile}, sums);
      float* const done = sums;
      sums = others;
      others = done;
    };
    if ((last - first) * g_.panelSize(phase) * int64_t(sizeof(uint16_t)) <= kNearWeights) {
      for (int64_t i = 0; i < turns; i++)
        for (int64_t panel = first; panel < last; panel++) turn(i, panel);
    } else {
      for (int64_t panel = first; panel < last; panel++)
        for (int64_t i = 0; i < turns; i++) turn(i, panel);
    }
  }

  /// All rows meet a cut of K of each panel before the next cut.
  void streamPanels(Work& work, int64_t phase, int64_t first, int64_t last) const {
    const int64_t steps = g_.steps(phase), cut = g_.cutSteps(phase);
    const int64_t blocks = ceilDiv(work.table.count, int64_t(g_.rowTiles()));
    for (int64_t k = 0; k < steps; k += cut) {
      const int64_t end = smaller(k + cut, steps);
      for (int64_t panel = first; panel < last; panel++) {
        const Turn turn = {phase, 0, panel, 0, work.table.count};
        float* sums = work.scratch.sums + (panel - first) * g_.panelSums();
        if (fits(work, turn)) {
          const uint16_t* columns = columnsOf(work, turn, k, end);
          if (panel + 1 < last)
            bringColumns(work, phase, panel + 1, k, end, blocks * (end - k));
          else if (end < steps)
            bringColumns(work, phase, first, end, smaller(end + cut, steps), blocks * (end - k));
          multiplyCut(work, turn, k, end, columns, sums);
        }
        if (end == steps) finishTurn(work, turn, sums);
      }
    }
  }
  const uint16_t* keptColumns(int64_t phase, int64_t panel, int64_t k) const {
    return shared_.weights.data + g_.packedAt(phase) + panel * g_.panelSize(phase) +
           k * stepSize(panel);
  }
  /// The packed columns of a cut.
  const uint16_t* columnsOf(const Work& work, const Turn& turn, int64_t k, int64_t end) const {
    if (shared_.weights.data) return keptColumns(turn.phase, turn.panel, k);
    const Scale scale = g_.split() ? shared_.weights.scales[turn.panel] : Scale{};
    WeightPacker(g_, turn.phase, 0, turn.panel).packSteps(k, end, work.scratch.columns, scale);
    return work.scratch.columns;
  }
  void bringColumns(Work& work, int64_t phase, int64_t panel, int64_t k, int64_t end,
                    int64_t steps) const {
    if (shared_.weights.data) {
      const auto* from = reinterpret_cast<const std::byte*>(keptColumns(phase, panel, k));
      const int64_t bytes = (end - k) * stepSize(panel) * int64_t(sizeof(uint16_t));
      work.finisher.bring({from, bytes}, steps);
    } else if (!g_.transposed) {
      work.finisher.bring(WeightPacker(g_, phase, 0, panel).source(k, end), steps);
    }
  }

  /// Brings closer what a part of the image is filled from, which this worker probably does next.
  void bringSource(int64_t rowPart, int64_t steps, Finisher<Tiles>& finisher) const {
    if (rowPart >= g_.rowParts) return;
    const TilePart part(g_, rowPart);
    const int64_t firstY = part.begin * g_.windowY.step + g_.windowY.lowest;
    const int64_t lastY = firstY + g_.windowY.span(part.end - part.begin);
    const int64_t last = (part.firstImage + part.images - 1) * g_.sourceHeight;
    const int64_t begin = part.firstImage * g_.sourceHeight + larger(firstY, 0);
    const int64_t end = last + smaller(lastY, g_.sourceHeight);
    const int64_t line = g_.sourceWidth * g_.sourceChannels;
    const std::byte* from = (g_.source + begin * line).data;
    if (begin < end) finisher.bring({from, (g_.source + end * line).data - from}, steps);
  }

  /// Where turn `index` of `turns` begins among `tiles` tiles: whole blocks, about evenly.
  int64_t turnStart(int64_t tiles, int64_t index, int64_t turns) const {
    const int64_t rowTiles = g_.rowTiles();
    return smaller(ceilDiv(tiles, rowTiles) * index / turns * rowTiles, tiles);
  }

  int64_t panelIndex(const Turn& turn) const { return turn.group * g_.panels + turn.panel; }
  /// Packed numbers of a step of K.
  int64_t stepSize(int64_t panel) const {
    return g_.parts.columns * g_.columnTilesOf(panel) * kTile;
  }
  Scale columnScale(const Turn& turn) const {
    return g_.split() ? shared_.weights.scales[panelIndex(turn)] : Scale{0, true, 1};
  }
  /// Whether tiles can hold the numbers of both factors.
  bool fits(const Work& work, const Turn& turn) const {
    return work.rowScale.fits && columnScale(turn).fits;
  }

  void runTurn(Work& work, const Turn& turn, float* sums) const {
    const int64_t steps = g_.steps(turn.phase), cut = g_.cutSteps(turn.phase);
    if (fits(work, turn)) {
      const uint16_t* columns = shared_.weights.data + g_.packedAt(turn.phase) +
                                panelIndex(turn) * g_.panelSize(turn.phase);
      if (steps == 0)
        gemm::zeroFloats(sums, turn.count * g_.columnTilesOf(turn.panel) * kSumsOfTile);
      for (int64_t k = 0; k < steps; k += cut)
        multiplyCut(work, turn, k, smaller(k + cut, steps), columns + k * stepSize(turn.panel),
                    sums);
    }
    finishTurn(work, turn, sums);
  }

  /// Adds steps [k, end) of K, whose packed weights are `columns`, to the sums of a turn.
  void multiplyCut(Work& work, const Turn& turn, int64_t k, int64_t end, const uint16_t* columns,
                   float* sums) const {
    const int rowTiles = g_.rowTiles(), columnTiles = g_.columnTilesOf(turn.panel);
    const split::Chain chain({work.rowScale.parts, columnScale(turn).parts, g_.parts.most});
    const TileTable& table = work.table;
    for (int64_t i = 0; i < turn.count; i += rowTiles) {
      const int64_t* starts = table.starts + turn.tile + i;
      const int count = int(smaller(rowTiles, turn.count - i));
      RowTiles a = {{}, table.rowBytes, table.partBytes};
      for (int row = 0; row < count; row++) a.at[row] = work.rows + starts[row];
      multiplyOne(work.tiles, work.held, count, columnTiles, chain, a, work.offsets + k, columns,
                  stepSize(turn.panel), end - k, k == 0, sums + i * columnTiles * kSumsOfTile,
                  work.finisher);
    }
  }

  /// Has the finisher take on the sums of a turn, which are plain ones where tiles cannot hold its
  /// numbers.
  void finishTurn(Work& work, const Turn& turn, float* sums) const {
    const int64_t* places = work.table.places + turn.tile * kSide;
    const int columnTiles = g_.columnTilesOf(turn.panel);
    const int64_t blocks = ceilDiv(turn.count, int64_t(g_.rowTiles()));
    const bool fit = fits(work, turn);
    if (!fit) work.held.store(work.tiles);
    work.finisher.finish();
    if (!fit) {
      for (int64_t i = 0; i < turn.count; i += kRowTiles)
        multiplyPlainly(g_, turn.phase, turn.group, turn.panel, places + i * kSide,
                        smaller(kBlock, (turn.count - i) * kSide), work.scratch.plain,
                        sums + i * columnTiles * kSumsOfTile);
      work.plain += blocks;
    }
    const int64_t at = panelIndex(turn);
    work.finisher.begin(sums, places, turn.count * kSide,
                        turn.group * g_.groupOut + turn.panel * kPanelColumns,
                        g_.columnsOf(turn.panel), columnTiles, shared_.columns + at * kPanelColumns,
                        fit ? -(work.rowScale.shift + columnScale(turn).shift) : 0,
                        blocks * g_.cutSteps(turn.phase));
  }

  /// Adds a cut of K to one block.
  void multiplyOne(Tiles& tiles, HeldSums& held, int rowTiles, int columnTiles,
                   const split::Chain& chain, const RowTiles& a, const int32_t* offsets,
                   const uint16_t* b, int64_t bStep, int64_t steps, bool first, float* sums,
                   Finisher<Tiles>& finisher) const {
    const auto multiply = [&]<int kRows, int kColumns>() {
      if (!g_.split())
        multiplyBlock<kRows, kColumns, false>(tiles, held, chain, a, offsets, b, bStep, steps,
                                              first, sums, finisher);
      else if constexpr (kRows < kTallRowTiles)
        multiplyBlock<kRows, kColumns, true>(tiles, held, chain, a, offsets, b, bStep, steps, first,
                                             sums, finisher);
    };
    const auto multiplyRows = [&]<int kRows>() {
      if (columnTiles == 2)
        multiply.template operator()<kRows, 2>();
      else
        multiply.template operator()<kRows, 1>();
    };
    if (rowTiles == 3)
      multiplyRows.template operator()<3>();
    else if (rowTiles == 2)
      multiplyRows.template operator()<2>();
    else
      multiplyRows.template operator()<1>();
  }

  TilePlan g_;
  Context& context_;
  SharedScratch shared_;
  std::byte* workers_;
  size_t workerBytes_;
};

}  // namespace figment::FIGMENT_ISA::tiles::implicit
