// conv2dWeightGrad of bf16 factors on matrix tiles, in the order of weight_grad_lines.inl.h and
// divided as weight_grad_units.inl.h says. Include only from files compiled for one instruction
// set.
#pragma once

#include "kernels/conv/tiles.inl.h"
#include "kernels/conv/weight_grad_units.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Steps of K that are summed at a time: what a pair of tiles of rows and the taps of two blocks
/// read of these stays in a first-level cache.
constexpr int64_t kRunSteps = 8;

/// Both factors of a run of steps, for up to two tiles of rows and of columns.
struct GradientRun {
  const uint16_t *row, *lowerRow;  ///< tiles of the first step; the next follow
  const uint16_t *column, *rightColumn;
  const int64_t* steps;  ///< where each step lies behind the columns
  int64_t count;
  bool first;  ///< begins at zero
};

/// Adds the products of a run to kRows × kColumns tiles of sums, a row of them `step` apart.
template <int kRows, int kColumns, class Tiles>
inline void multiplyRun(Tiles& tiles, const GradientRun& run, float* sums, int64_t step) {
  float* lower = sums + step;
  if (run.first) {
    tiles.template zero<0>();
    if constexpr (kColumns == 2) tiles.template zero<1>();
    if constexpr (kRows == 2) tiles.template zero<2>();
    if constexpr (kRows == 2 && kColumns == 2) tiles.template zero<3>();
  } else {
    tiles.template load<0>(sums, kRowBytes);
    if constexpr (kColumns == 2) tiles.template load<1>(sums + kTileSums, kRowBytes);
    if constexpr (kRows == 2) tiles.template load<2>(lower, kRowBytes);
    if constexpr (kRows == 2 && kColumns == 2) tiles.template load<3>(lower + kTileSums, kRowBytes);
  }
  for (int64_t i = 0; i < run.count; i++) {
    const int64_t at = run.steps[i];
    tiles.template load<4>(run.row + i * kTile, kRowBytes);
    tiles.template load<6>(run.column + at, kRowBytes);
    tiles.template dot<0, 4, 6>();
    if constexpr (kColumns == 2) {
      tiles.template load<7>(run.rightColumn + at, kRowBytes);
      tiles.template dot<1, 4, 7>();
    }
    if constexpr (kRows == 2) {
      tiles.template load<5>(run.lowerRow + i * kTile, kRowBytes);
      tiles.template dot<2, 5, 6>();
      if constexpr (kColumns == 2) tiles.template dot<3, 5, 7>();
    }
  }
  tiles.template store<0>(sums, kRowBytes);
  if constexpr (kColumns == 2) tiles.template store<1>(sums + kTileSums, kRowBytes);
  if constexpr (kRows == 2) tiles.template store<2>(lower, kRowBytes);
  if constexpr (kRows == 2 && kColumns == 2) tiles.template store<3>(lower + kTileSums, kRowBytes);
}

/// The memory of a call.
struct GradientScratch {
  GradientTables tables;
  uint16_t *rows, *lines;  ///< a packed chunk: tiles of dy, and lines of the image
  uint16_t* zeros;         ///< as many as images or dy have channels
  int64_t zeroCount;
  GradientSums sums;

  static GradientScratch take(Carver& carver, const GradientWork& g, int threads) {
    GradientScratch s;
    s.tables = GradientTables::take(carver, g);
    s.rows = carver.take<uint16_t>(g.groups * g.rowTiles * g.rowStep);
    s.lines = carver.take<uint16_t>(g.groups * g.blocks * g.blockStep);
    s.zeroCount = larger(g.channels, g.channelsOut);
    s.zeros = carver.take<uint16_t>(s.zeroCount);
    s.sums = GradientSums::take(carver, g, threads);
    return s;
  }
};

/// Adds the products of the steps [begin, end) of a chunk to the sums of a part.
template <class Tiles>
inline void sumPart(const GradientWork& g, Tiles& tiles, const GradientScratch& s,
                    const GradientPart& part, int64_t begin, int64_t end, bool first, float* sums) {
  const uint16_t* rows = s.rows + (part.group * g.rowTiles + part.row) * g.rowStep;
  const uint16_t* lines = s.lines + part.group * g.blocks * g.blockStep;
  const int64_t near = 2 * g.taps, sumStep = g.partColumns * kTileSums;
  for (int64_t at = begin; at < end; at += kRunSteps) {
    GradientRun run;
    run.steps = s.tables.steps + at;
    run.count = smaller(kRunSteps, end - at);
    run.first = first && at == begin;
    for (int64_t j = 0; j < part.columns; j += near) {
      for (int64_t i = 0; i < part.rows; i += 2) {
        const bool lower = i + 1 < part.rows;
        run.row = rows + i * g.rowStep + at * kTile;
        run.lowerRow = run.row + g.rowStep;
        for (int64_t column = j; column < smaller(j + near, part.columns); column += 2) {
          const bool right = column + 1 < part.columns;
          const int64_t* places = s.tables.columns + part.column + column;
          run.column = lines + places[0];
          run.rightColumn = lines + places[right];
          float* to = sums + i * sumStep + column * kTileSums;
          if (lower && right)
            multiplyRun<2, 2>(tiles, run, to, sumStep);
          else if (lower)
            multiplyRun<2, 1>(tiles, run, to, sumStep);
          else if (right)
            multiplyRun<1, 2>(tiles, run, to, sumStep);
          else
            multiplyRun<1, 1>(tiles, run, to, sumStep);
        }
      }
    }
  }
}

/// Packs the bundles [first, first + count).
inline void packChunk(const GradientWork& g, Context& context, const GradientScratch& s,
                      int64_t first, int64_t count) {
  const int64_t numbers = g.images * g.height * g.width * g.channels;
  const Image<uint16_t> image = {bitsOf(g.image), bitsOf(g.image) + numbers};
  forRows(
      g, context, count,
      [&](int64_t bundle, int64_t row) {
        packLines(g, image, s.zeros, first + bundle, row, g.blockStep,
                  s.lines + g.lineOf(bundle, row) * kTileDepth);
      },
      [&](int64_t bundle, int64_t row) {
        packRowTiles(g, bitsOf(g.dy), s.zeros, first + bundle, row, g.rowStep,
                     s.rows + g.stepOf(bundle, row) * kTile);
      });
}

inline size_t weightGradientScratch(const OpCall& call, int threads) {
  Carver measure(nullptr);
  GradientScratch::take(measure, GradientWork(call, 1, 1), threads);
  return measure.used();
}

template <class Tiles>
inline void runWeightGradient(const OpCall& call, Context& context) {
  const GradientWork g(call, 1, 1);
  Carver carver(context.scratch());
  const GradientScratch s = GradientScratch::take(carver, g, context.threads());
  s.tables.fill(g);
  zeroPacked(s.zeros, s.zeroCount);
  runChunks(
      g, context, s.sums,
      [&](int64_t first, int64_t count) { packChunk(g, context, s, first, count); },
      [&](const GradientPart& part, int64_t begin, int64_t end, bool first, float* sums) {
        Tiles tiles;
        sumPart(g, tiles, s, part, begin, end, first, sums);
      });
}

inline bool takesWeightGradient(const OpCall& call) {
  const auto& p = call.as<Conv2dWeightGradParams>();
  return call.in[0].format == Format::bf16 && call.in[1].format == Format::bf16 &&
         conv::plainShape(call, p) && packsWeightGradient(p, 1, 1);
}

template <class Tiles>
constexpr Variant weightGradientOn() {
  using P = Conv2dWeightGradParams;
  return {"conv2dWeightGrad",    Tiles::kName,
          Tiles::kIsa,           Tiles::template supports<takesWeightGradient, fillsConvolution<P>>,
          weightGradientScratch, runWeightGradient<Tiles>};
}

}  // namespace figment::FIGMENT_ISA::tiles
