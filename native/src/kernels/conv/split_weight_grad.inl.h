// conv2dWeightGrad of f32 factors on bf16 matrix tiles, by splitting (gemm/split.inl.h): in the
// order, parts and splits of weight_grad_units.inl.h. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/conv/split.inl.h"
#include "kernels/conv/split_weight_grad_pack.inl.h"
#include "kernels/conv/weight_grad_tiles.inl.h"

namespace figment::FIGMENT_ISA::split {

using tiles::GradientPart;
using tiles::GradientTables;
using tiles::kTileSums;

/// The memory of a call.
struct GradientScratch {
  GradientTables tables;
  PackedFactor rows, lines;  ///< dy and the image
  tiles::GradientSums sums;

  static GradientScratch take(Carver& carver, const GradientWork& g, const Parts& parts,
                              int threads) {
    GradientScratch s;
    s.tables = GradientTables::take(carver, g);
    s.rows =
        factor(carver, g.dy, g.images * g.outHeight * g.outWidth, g.channelsOut, parts.rows,
               g.rowLayer, g.groups * g.rowTiles, g.chunkBundles, g.bandRows, g.copies(threads));
    s.lines =
        factor(carver, g.image, g.images * g.height * g.width, g.channels, parts.columns,
               g.lineLayer, g.groups * g.blocks, g.chunkBundles, g.rows.size(), g.copies(threads));
    s.sums = tiles::GradientSums::take(carver, g, threads);
    return s;
  }
  /// With the packed chunk number `copy`.
  GradientScratch at(int64_t copy) const {
    GradientScratch s = *this;
    s.rows.advance(copy);
    s.lines.advance(copy);
    return s;
  }
  /// Fills what is the same for all chunks.
  void prepare(const GradientWork& g) const {
    tables.fill(g);
    for (const PackedFactor* f : {&rows, &lines}) gemm::zeroFloats(f->zeros, f->zeroCount);
  }

 private:
  static PackedFactor factor(Carver& carver, Elements from, int64_t positions, int64_t channels,
                             int parts, int64_t partStep, int64_t blocks, int64_t bundles,
                             int64_t rows, int64_t copies) {
    PackedFactor f;
    f.from = from;
    f.end = (from + positions * channels).data;
    f.zeroCount = channels;
    f.zeros = carver.take<float>(channels);
    f.parts = parts;
    f.partStep = partStep;
    f.blockStep = parts * partStep;
    f.numbers = blocks * f.blockStep;
    f.extentCount = bundles * rows * blocks;
    f.scaleCount = blocks;
    f.packed = carver.take<uint16_t>(copies * f.numbers);
    f.extents = carver.take<Extent>(copies * f.extentCount);
    f.scales = carver.take<Scale>(copies * f.scaleCount);
    f.factors = carver.take<float>(copies * f.scaleCount);
    return f;
  }
};

/// A run of steps of split factors: from one part to the next.
struct SplitRun : tiles::GradientRun {
  int64_t rowPart, columnPart;
};

/// The sums of kRows × kColumns tiles over a run, one after another.
template <int kRows, int kColumns, class Tiles>
inline void sumRun(Tiles& hardware, const Chain& chain, const SplitRun& run, float* sums) {
  using tiles::unrolled;
  constexpr int kTiles = kRows * kColumns;
  unrolled<kTiles>([&]<int i>() { hardware.template zero<i>(); });
  const auto add = [&](const Term* terms, int count) {
    for (int64_t k = 0; k < run.count; k++)
      for (int t = 0; t < count; t++)
        tiles::multiplyStep<kRows, kColumns>(hardware, run, terms[t].row * run.rowPart + k * kTile,
                                             terms[t].column * run.columnPart + run.steps[k],
                                             []<int>() {});
  };
  add(chain.terms, chain.together);
  add(chain.terms + chain.together, chain.count - chain.together);
  tiles::storeBlock<kRows, kColumns>(hardware, sums, kColumns * kTileSums);
}

/// The sums of one tile over a run by fused multiply-adds.
inline void multiplyPlainly(const SplitRun& run, int rowParts, Scale rowScale, int columnParts,
                            Scale columnScale, float* sums) {
  float rows[2][kTileSums], columns[2][kTileSums];
  gemm::zeroFloats(sums, kTileSums);
  for (int64_t i = 0; i < run.count; i++) {
    joinTile(run.rows[0] + i * kTile, run.rowPart, rowParts, rowScale, rows[0], rows[1]);
    joinTile(run.columns[0] + run.steps[i], run.columnPart, columnParts, columnScale, columns[0],
             columns[1]);
    for (int64_t row = 0; row < kSide; row++)
      for (int64_t c = 0; c < kSide; c += kLanes) {
        F32 sum = F32::load(sums + row * kSide + c);
        for (int64_t k = 0; k < kSide; k++)
          for (int64_t half = 0; half < 2; half++)
            sum = fma(F32::broadcast(rows[half][row * kSide + k]),
                      F32::load(columns[half] + k * kSide + c), sum);
        sum.store(sums + row * kSide + c);
      }
  }
}

/// Adds a tile of sums times 2^exponent to those before it.
inline void addTile(float* to, const float* from, int exponent, bool first) {
  // In two steps, because the power may be none that f32 has.
  const F32 one = F32::broadcast(powerOfTwo(exponent / 2));
  const F32 two = F32::broadcast(powerOfTwo(exponent - exponent / 2));
  for (int64_t i = 0; i < kTileSums; i += kLanes) {
    const F32 x = F32::load(from + i) * one * two;
    (first ? x : F32::load(to + i) + x).store(to + i);
  }
}

/// Chains of products for factors of 1 to kExactParts parts.
struct Chains {
  Chain of[kExactParts][kExactParts];
  explicit Chains(int most)
      : of{{at(1, 1, most), at(1, 2, most), at(1, 3, most)},
           {at(2, 1, most), at(2, 2, most), at(2, 3, most)},
           {at(3, 1, most), at(3, 2, most), at(3, 3, most)}} {}
  static Chain at(int rows, int columns, int most) {
    return Chain({int(smaller(rows, most)), int(smaller(columns, most)), most});
  }
};

/// What sums one part: the packed factors of a chunk.
template <class Tiles>
struct PartSum {
  const GradientWork& g;
  const GradientScratch& s;
  const Chains& chains;
  Tiles& hardware;
  const GradientPart& part;
  float* sums;
  bool first = true;  ///< nothing has been summed
  int64_t plain = 0;  ///< tiles that fused multiply-adds have summed

  /// Adds `count` steps of the chunk from `at` on.
  void add(const tiles::RunShape& shape, int64_t at, int64_t count) {
    const int64_t row0 = part.group * g.rowTiles + part.row, block0 = part.group * g.blocks;
    const Scale* rowScales = s.rows.scales + row0;
    const Scale* lineScales = s.lines.scales + block0;
    SplitRun run;
    run.rowPart = s.rows.partStep;
    run.columnPart = s.lines.partStep;
    run.steps = s.tables.steps + at;
    run.count = count;
    tiles::forBlocks(shape, part, [&](int64_t row, int64_t rows, int64_t column, int64_t columns) {
      Block block{rows, columns, sums + (row * g.partColumns + column) * kTileSums};
      for (int64_t i = 0; i < rows; i++) {
        run.rows[i] = s.rows.packed + (row0 + row + i) * s.rows.blockStep + at * kTile;
        block.addRow(rowScales[row + i]);
      }
      for (int64_t i = 0; i < columns; i++) {
        const int64_t tile = part.column + column + i;
        run.columns[i] = s.lines.packed + block0 * s.lines.blockStep + s.tables.columns[tile];
        block.addColumn(lineScales[tile / g.taps]);
      }
      addBlock(run, block);
    });
    first = false;
  }

 private:
  /// Tiles that are summed together.
  struct Block {
    int64_t rows, columns;
    float* sums;
    Scale rowScales[tiles::kRunTiles], columnScales[tiles::kRunTiles];
    int64_t rowCount = 0, columnCount = 0;
    bool fits = true;
    int rowParts = 1, columnParts = 1;  ///< of those that have most

    Block(int64_t rows, int64_t columns, float* sums) : rows(rows), columns(columns), sums(sums) {}
    void addRow(Scale scale) {
      rowScales[rowCount++] = scale;
      fits = fits && scale.fits;
      rowParts = int(larger(rowParts, scale.parts));
    }
    void addColumn(Scale scale) {
      columnScales[columnCount++] = scale;
      fits = fits && scale.fits;
      columnParts = int(larger(columnParts, scale.parts));
    }
  };

  void addBlock(const SplitRun& run, const Block& block) {
    alignas(tiles::kRowBytes) float made[tiles::kRunTiles * kTileSums];
    if (block.fits) {
      const Chain& chain = chains.of[block.rowParts - 1][block.columnParts - 1];
      tiles::withBlock(block.rows, block.columns, [&]<int kRows, int kColumns>() {
        sumRun<kRows, kColumns>(hardware, chain, run, made);
      });
    }
    for (int64_t i = 0; i < block.rows; i++) {
      for (int64_t j = 0; j < block.columns; j++) {
        const Scale &row = block.rowScales[i], &column = block.columnScales[j];
        float* tile = made + (i * block.columns + j) * kTileSums;
        if (!block.fits) {
          SplitRun one = run;
          one.rows[0] = run.rows[i];
          one.columns[0] = run.columns[j];
          addAlone(one, row, column, tile);
        }
        addTile(block.sums + (i * g.partColumns + j) * kTileSums, tile,
                row.fits && column.fits ? -(row.shift + column.shift) : 0, first);
      }
    }
  }
  void addAlone(const SplitRun& run, const Scale& row, const Scale& column, float* tile) {
    if (row.fits && column.fits)
      return sumRun<1, 1>(hardware, chains.of[row.parts - 1][column.parts - 1], run, tile);
    multiplyPlainly(run, s.rows.parts, row, s.lines.parts, column, tile);
    plain++;
  }
};

/// Packs the bundles [first, first + count) after measuring them, without a context on this worker
/// alone.
inline void packChunk(const GradientWork& g, Context* context, const GradientScratch& s,
                      int64_t first, int64_t count) {
  const int64_t lineBlocks = g.groups * g.blocks, rowBlocks = g.groups * g.rowTiles;
  tiles::forRows(
      g, context, count,
      [&](int64_t bundle, int64_t row) {
        measureLines(g, s.lines, first + bundle, row,
                     s.lines.extents + (bundle * g.rows.size() + row) * lineBlocks);
      },
      [&](int64_t bundle, int64_t row) {
        measureRows(g, s.rows, first + bundle, row,
                    s.rows.extents + (bundle * g.bandRows + row) * rowBlocks);
      });
  const auto choose = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++)
      if (i < lineBlocks)
        chooseScale(s.lines, count * g.rows.size(), lineBlocks, i);
      else
        chooseScale(s.rows, count * g.bandRows, rowBlocks, i - lineBlocks);
  };
  if (context)
    context->parallelFor(lineBlocks + rowBlocks, 1, choose);
  else
    choose(0, lineBlocks + rowBlocks, 0);
  tiles::forRows(
      g, context, count,
      [&](int64_t bundle, int64_t row) {
        splitLines(g, s.lines, first + bundle, row,
                   s.lines.packed + g.lineOf(bundle, row) * kTileDepth);
      },
      [&](int64_t bundle, int64_t row) {
        splitRowTiles(g, s.rows, first + bundle, row,
                      s.rows.packed + g.stepOf(bundle, row) * kTile);
      });
}

/// The rows of the product are channels of dy, the second operand.
inline Parts gradientParts(const OpCall& call) {
  return Parts::of(call.in[1].format, call.in[0].format,
                   call.as<Conv2dWeightGradParams>().precision == kFast);
}

inline size_t weightGradientScratch(const OpCall& call, int threads) {
  const Parts parts = gradientParts(call);
  Carver measure(nullptr);
  GradientScratch::take(measure, GradientWork(call, parts.rows, parts.columns), parts, threads);
  return measure.used();
}

template <class Tiles>
inline void runWeightGradient(const OpCall& call, Context& context) {
  const Parts parts = gradientParts(call);
  const GradientWork g(call, parts.rows, parts.columns);
  Carver carver(context.scratch());
  const GradientScratch s = GradientScratch::take(carver, g, parts, context.threads());
  const Chains chains(parts.most);
  s.prepare(g);
  const tiles::RunShape shape(g);
  tiles::runGradient(
      g, s.tables, context, s.sums,
      [&](Context* all, int64_t copy, int64_t first, int64_t count) {
        packChunk(g, all, s.at(copy), first, count);
      },
      [&](int64_t copy, const GradientPart& part, int64_t begin, int64_t end, bool first,
          float* sums) {
        Tiles hardware;
        const GradientScratch mine = s.at(copy);
        PartSum<Tiles> sum{g, mine, chains, hardware, part, sums, first};
        for (int64_t at = begin; at < end; at += tiles::kRunSteps)
          sum.add(shape, at, smaller(tiles::kRunSteps, end - at));
        countFallbacks(context, sum.plain);
      });
}

inline bool takesWeightGradient(const OpCall& call) {
  if (!gemm::tileFormats(call, call.inCount) || !needsSplitting(call)) return false;
  const auto& p = call.as<Conv2dWeightGradParams>();
  const Parts parts = gradientParts(call);
  return conv::plainShape(call, p) && tiles::packsWeightGradient(p, parts.rows, parts.columns);
}

inline bool repaysWeightGradient(const OpCall& call) {
  constexpr int64_t kLeastDepth = 64;  // an estimate
  const auto& p = call.as<Conv2dWeightGradParams>();
  return repays(p.o / p.groups, int64_t(p.kh) * p.kw * (p.c / p.groups), int64_t(p.n) * p.ho * p.wo,
                kLeastDepth);
}

template <class Tiles>
constexpr Variant weightGradientOn(const char* name) {
  return {
      "conv2dWeightGrad",    name,
      Tiles::kIsa,           Tiles::template supports<takesWeightGradient, repaysWeightGradient>,
      weightGradientScratch, runWeightGradient<Tiles>};
}

}  // namespace figment::FIGMENT_ISA::split
