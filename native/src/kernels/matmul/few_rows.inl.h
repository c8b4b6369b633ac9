// Products of few rows by kept columns of which there are more than the second-level cache holds:
// memory is what bounds them. All rows meet one panel of columns after the other, from the
// second-level cache, where the next panel is fetched meanwhile. A block is summed over all of K in
// tiles, or over as much of it as lets all rows stay in that cache.
#pragma once

#include "kernels/matmul/tile_product.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// What rows take of the second-level cache at most, in numbers: half of it. Where they need more,
/// parts of K follow each other, and sums of the whole result wait there from one to the next, of
/// which this many may.
constexpr int64_t kRowNumbers = 512 * 1024, kWaitingSums = 384 * 1024;

class FewRows {
 public:
  /// Whether a product is one that gains by this if B is kept.
  static bool takes(const Product& g) {
    return g.batch == 1 && g.batchesB == 1 && g.m <= kFewRows &&
           g.packedNumbers() > kColumnNumbers &&
           (g.m * g.steps * kTileDepth <= kRowNumbers || g.m * g.n <= kWaitingSums);
  }
  FewRows(const Product& product, int threads)
      : g(product),
        threads_(threads),
        blocks_(ceilDiv(g.m, kBlock)),
        partSteps_(ceilDiv(g.steps, ceilDiv(g.steps * blocks_ * kPair, kRowNumbers))),
        unitPanels_(ceilDiv(g.panels, threads)) {}

  size_t scratch() const {
    Carver carver(nullptr);
    for (int i = 0; i < threads_; i++) Memory::take(carver, *this);
    return carver.used();
  }

  /// `packed` is all of B.
  template <class Tiles>
  void run(const OpCall& call, const uint16_t* packed, Context& context) const {
    Carver measure(nullptr);
    Memory::take(measure, *this);
    context.parallelFor(ceilDiv(g.panels, unitPanels_), 1,
                        [&](int64_t begin, int64_t end, int worker) {
                          Tiles tiles;
                          Carver carver(context.scratch() + size_t(worker) * measure.used());
                          const Memory mine = Memory::take(carver, *this);
                          for (int64_t unit = begin; unit < end; unit++)
                            runUnit(call, tiles, packed, unit, mine);
                        });
  }

 private:
  /// The memory of one worker.
  struct Memory {
    uint16_t* rows;       ///< all, for a part of K
    float* sums;          ///< of two blocks
    ColumnFloats floats;  ///< of a unit's columns
    float* kept;          ///< sums of a unit, where several parts of K are added

    static Memory take(Carver& carver, const FewRows& f) {
      Memory m;
      m.rows = carver.take<uint16_t>(f.blocks_ * f.partSteps_ * kPair);
      m.sums = carver.take<float>(2 * kBlockSums);
      m.floats = f.g.epilogue.take(carver, f.unitPanels_ * kBlock);
      const bool parts = f.partSteps_ < f.g.steps;
      m.kept = carver.take<float>(parts ? f.unitPanels_ * f.blocks_ * kBlockSums : 0);
      return m;
    }
  };

  template <class Tiles>
  void runUnit(const OpCall& call, Tiles& tiles, const uint16_t* packed, int64_t unit,
               const Memory& mine) const {
    const int64_t firstPanel = unit * unitPanels_, column = firstPanel * kBlock;
    const int64_t columns = smaller(unitPanels_ * kBlock, g.n - column);
    widenColumns(mine.floats, g.p, g.epilogue, column, columns);
    const RowResults out = resultsOf(call, 0, column, columns, mine.floats);
    const auto finish = [out](int64_t i, int64_t end, int64_t j, const float* sums) {
      out.store<Tiles>(i, end, j, sums);
    };
    Beside beside(finish);
    bool second = false;
    for (int64_t part = 0; part < g.steps; part += partSteps_) {
      const int64_t steps = smaller(partSteps_, g.steps - part), k = part * kTileDepth;
      const int64_t blockSize = steps * kPair;
      const bool first = part == 0, last = part + steps == g.steps;
      for (int64_t i = 0; i < blocks_; i++)
        g.packRows(0, i * kBlock, k, smaller(steps * kTileDepth, g.p.k - k),
                   mine.rows + i * blockSize);
      for (int64_t j = 0; j < columns; j += kBlock) {
        const uint16_t* panel = packed + (firstPanel + j / kBlock) * g.panelSize() + part * kPair;
        // Each block of rows fetches its share of every step of the next panel.
        constexpr int64_t kPairLines = kPair / kTileDepth;
        const int64_t lines = j + kBlock < columns ? ceilDiv(kPairLines, blocks_) : 0;
        for (int64_t i = 0; i < blocks_; i++, second = !second) {
          const int64_t row = i * kBlock, end = smaller(row + kBlock, g.m);
          const int64_t line = i * lines;
          const Ahead ahead = {panel + g.panelSize() + line * kTileDepth,
                               larger(0, smaller(lines, kPairLines - line)), kTileDepth, kPair};
          float* kept = mine.kept + (j / kBlock * blocks_ + i) * kBlockSums;
          float* finished = second ? mine.sums + kBlockSums : mine.sums;
          sumBlock<true>(tiles, RowTiles::packed(mine.rows + i * blockSize), end - row, panel,
                         columns - j, steps, first ? nullptr : kept, ahead, beside);
          beside.next(row, last ? end : row, j, last ? finished : kept, true);
        }
      }
    }
    beside.store(tiles);
    beside.finishRows(kBlock);
  }

  const Product& g;
  int64_t threads_, blocks_, partSteps_, unitPanels_;
};

}  // namespace figment::FIGMENT_ISA::tiles
