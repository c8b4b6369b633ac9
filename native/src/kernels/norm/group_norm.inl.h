// groupNorm and batchNorm, vectorised over channels: batch normalisation is group normalisation of
// one long sample in which each channel is a group. Column statistics of a chunk take two passes
// over cache-resident rows; chunks, segments and columns are merged by Chan, Golub & LeVeque
// (1979), so a large mean costs no precision. Then y = x·scale + shift, and the
// activation.
#pragma once

#include "../params/batchNorm.generated.h"
#include "../params/groupNorm.generated.h"
#include "group_layout.h"
#include "norm_activation.h"
#include "row_stage.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

/// Mean and Σ(x − mean)² of each of V vectors of columns.
template <int V>
FIGMENT_INLINE void blockMoments(const float* x, int64_t rows, int64_t stride, int lanes,
                                 float* mean, float* squares) {
  F32 sum[V], center[V];
  for (int v = 0; v < V; v++) sum[v] = F32::zero();
  for (int64_t r = 0; r < rows; r++)
    for (int v = 0; v < V; v++) sum[v] += loadLanes(x + r * stride + v * kLanes, lanes);
  const F32 inverse = F32::broadcast(1.0f / float(rows));
  for (int v = 0; v < V; v++) {
    center[v] = sum[v] * inverse;
    sum[v] = F32::zero();
  }
  for (int64_t r = 0; r < rows; r++) {
    for (int v = 0; v < V; v++) {
      const F32 d = loadLanes(x + r * stride + v * kLanes, lanes) - center[v];
      sum[v] = mulAdd(d, d, sum[v]);
    }
  }
  for (int v = 0; v < V; v++) {
    storeLanes(mean + v * kLanes, center[v], lanes);
    storeLanes(squares + v * kLanes, sum[v], lanes);
  }
}

void chunkMoments(const float* x, int64_t rows, int64_t columns, float* mean, float* squares) {
  constexpr int kBlock = 4;
  int64_t i = 0;
  for (; i + kBlock * kLanes <= columns; i += kBlock * kLanes)
    blockMoments<kBlock>(x + i, rows, columns, kLanes, mean + i, squares + i);
  for (; i + kLanes <= columns; i += kLanes)
    blockMoments<1>(x + i, rows, columns, kLanes, mean + i, squares + i);
  if (i < columns) blockMoments<1>(x + i, rows, columns, int(columns - i), mean + i, squares + i);
}

/// Merges the moments of `added` rows into those of `count` rows.
void mergeMoments(int64_t columns, int64_t count, float* mean, float* squares, int64_t added,
                  const float* addedMean, const float* addedSquares) {
  const float total = float(count + added);
  const F32 weight = F32::broadcast(float(added) / total);
  const F32 spread = F32::broadcast(float(count) * (float(added) / total));
  forLanes(columns, [&](int64_t i, int lanes) {
    const F32 m = loadLanes(mean + i, lanes);
    const F32 d = loadLanes(addedMean + i, lanes) - m;
    const F32 s = loadLanes(squares + i, lanes) + loadLanes(addedSquares + i, lanes);
    storeLanes(mean + i, mulAdd(d, weight, m), lanes);
    storeLanes(squares + i, mulAdd(d * d, spread, s), lanes);
  });
}

/// Brings floats into the second-level cache.
FIGMENT_INLINE void fetchLines(const float* from, int64_t count) {
  constexpr int64_t kLineFloats = 16;
  for (int64_t i = 0; i < count; i += kLineFloats) __builtin_prefetch(from + i, 0, 2);
}

/// Moments of rows [begin, end) of a sample; `chunk` is room for two rows, `copy` for a chunk.
void segmentMoments(const GroupLayout& layout, Elements x, int64_t begin, int64_t end, float* mean,
                    float* squares, float* chunk, float* copy) {
  for (int64_t row = begin; row < end; row += layout.chunkRows) {
    const int64_t rows = smaller(layout.chunkRows, end - row);
    const float* rowsAt = readRows(x + row * layout.columns, rows * layout.columns, copy);
    if (!x.half() && row + rows < end)
      fetchLines(rowsAt + rows * layout.columns, rows * layout.columns);
    if (row == begin) {
      chunkMoments(rowsAt, rows, layout.columns, mean, squares);
      continue;
    }
    float* chunkSquares = chunk + layout.columnFloats();
    chunkMoments(rowsAt, rows, layout.columns, chunk, chunkSquares);
    mergeMoments(layout.columns, row - begin, mean, squares, rows, chunk, chunkSquares);
  }
}

struct GroupNormCall {
  /// `batch` asks for variances in place of rstd, and for unbiased ones.
  GroupNormCall(const OpCall& call, const GroupNormParams& params, bool batch,
                const RowStage& copies)
      : p(params),
        layout(p.spatial, p.c, p.groups),
        stage(copies),
        x(Elements::of(call.in[0])),
        gamma(stage.vector(call.in[1], 0)),
        beta(stage.vector(call.in[2], 1)),
        y(Results::of(call.out[0])),
        mean(call.out[1].as<float>()),
        spread(call.out[2].as<float>()),
        unbiased(batch ? call.out[3].as<float>() : nullptr),
        negativeSlope(F32::broadcast(float(params.slope))) {}

  /// From a sample's column moments: its groups' statistics, and the row of scales and shifts.
  void finish(int64_t sample, const float* columnMean, const float* columnSquares, float* scale,
              float* shift) const {
    const Elements tail = x + (sample * layout.sampleElements() + layout.rows * layout.columns);
    const double rows = double(layout.rows);
    const double count = double(layout.groupElements());
    const int64_t columns = layout.rows > 0 ? layout.columns : 0;
    for (int64_t g = 0; g < p.groups; g++) {
      const int64_t first = g * layout.groupWidth, last = first + layout.groupWidth;
      double sum = 0, tailSum = 0;
      for (int64_t pixel = 0; pixel < columns; pixel += p.c)
        for (int64_t i = first; i < last; i++) sum += double(columnMean[pixel + i]);
      for (int64_t pixel = 0; pixel < layout.tailColumns; pixel += p.c)
        for (int64_t i = first; i < last; i++)
          tailSum += double(gemm::loadElement(tail, pixel + i));
      const double center = count > 0 ? (sum * rows + tailSum) / count : 0;
      double within = 0, between = 0;
      for (int64_t pixel = 0; pixel < columns; pixel += p.c) {
        for (int64_t i = first; i < last; i++) {
          const double d = double(columnMean[pixel + i]) - center;
          between += d * d;
          within += double(columnSquares[pixel + i]);
        }
      }
      within += rows * between;
      for (int64_t pixel = 0; pixel < layout.tailColumns; pixel += p.c) {
        for (int64_t i = first; i < last; i++) {
          const double d = double(gemm::loadElement(tail, pixel + i)) - center;
          within += d * d;
        }
      }
      const double variance = count > 0 ? within / count : 0;
      const double inverse = 1 / __builtin_sqrt(variance + p.eps);
      mean[sample * p.groups + g] = float(center);
      spread[sample * p.groups + g] = float(unbiased ? variance : inverse);
      if (unbiased) unbiased[g] = float(count > 1 ? within / (count - 1) : variance);
      for (int64_t i = first; i < last; i++) {
        const double s = double(gamma[i]) * inverse;
        scale[i] = float(s);
        shift[i] = float(double(beta[i]) - center * s);
      }
    }
    repeatChannels(layout, scale);
    repeatChannels(layout, shift);
  }

  /// From bf16 to bf16 in one pass.
  template <int kActivation>
  void applyBf16Row(int64_t at, int64_t columns, const float* scale, const float* shift) const {
    const uint16_t* from = reinterpret_cast<const uint16_t*>((x + at).data);
    writeBf16(reinterpret_cast<uint16_t*>((y + at).data), columns, [&](int64_t i, int lanes) {
      const F32 value = lanes == kLanes ? loadBf16(from + i) : loadBf16Partial(from + i, lanes);
      const F32 u = mulAdd(value, loadLanes(scale + i, lanes), loadLanes(shift + i, lanes));
      return kActivation == kSiluAct ? coarseSilu(u) : activated<kActivation>(u, negativeSlope);
    });
  }
  template <int kActivation>
  void applyRow(int64_t at, int64_t columns, const float* scale, const float* shift,
                float* copy) const {
    if (x.format == Format::bf16 && y.format == Format::bf16)
      return applyBf16Row<kActivation>(at, columns, scale, shift);
    const float* from = readRows(x + at, columns, copy);
    float* to = rowsToWrite(y + at, copy);
    constexpr int64_t kAhead = 1024;  // elements from what is written to what is fetched
    const bool fetches = layout.passesCache() && !x.half();
    forLanes(columns, [&](int64_t i, int lanes) {
      if (fetches) __builtin_prefetch(from + i + kAhead, 0, 2);
      const F32 u = mulAdd(loadLanes(from + i, lanes), loadLanes(scale + i, lanes),
                           loadLanes(shift + i, lanes));
      storeLanes(to + i, activated<kActivation>(u, negativeSlope), lanes);
    });
    keepRows(y + at, to, columns);
  }
  /// Brings a row of the next sample into the second-level cache.
  void fetchAhead(int64_t at) const {
    constexpr int64_t kLine = 64;
    const int64_t bytes = layout.columns * (x.half() ? 2 : 4);
    const std::byte* row = (x + (at + layout.sampleElements())).data;
    for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(row + i, 0, 2);
  }
  template <int kActivation>
  void applyRows(int64_t sample, int64_t begin, int64_t end, bool withTail, bool ahead,
                 const float* scale, const float* shift, float* copy) const {
    const int64_t base = sample * layout.sampleElements();
    for (int64_t row = begin; row < end; row++) {
      // Every other one: the rest comes while the next sample's statistics are summed, which
      // compute little.
      if (ahead && row % 2 == 0) fetchAhead(base + row * layout.columns);
      applyRow<kActivation>(base + row * layout.columns, layout.columns, scale, shift, copy);
    }
    const int64_t at = base + layout.rows * layout.columns;
    if (withTail) applyRow<kActivation>(at, layout.tailColumns, scale, shift, copy);
  }
  /// `ahead` says that the same worker's next sample follows.
  void apply(int64_t sample, int64_t begin, int64_t end, bool withTail, bool ahead,
             const float* scale, const float* shift, float* copy) const {
    withNormActivation(p.activation, [&]<int kActivation>() {
      applyRows<kActivation>(sample, begin, end, withTail, ahead, scale, shift, copy);
    });
  }

  const GroupNormParams p;
  GroupLayout layout;
  RowStage stage;
  Elements x;
  const float *gamma, *beta;
  Results y;
  float *mean, *spread, *unbiased;  ///< spread: rstd, or variance beside an unbiased one
  F32 negativeSlope;                ///< of leaky ReLU
};

/// Rows of columns that one task needs: sample mean and squares, segment mean and squares, chunk
/// mean and squares, scale, shift.
constexpr int64_t kMomentRows = 8;

/// Runs of a few samples are tasks. While one is written, half of the next is fetched: writing
/// waits for arithmetic, summing statistics for memory.
void normaliseSamples(const GroupNormCall& g, Context& context) {
  constexpr int64_t kLongestRun = 4;
  /// Of a sample that leaves room for its results and the next one in the second-level cache.
  constexpr int64_t kFetchedBytes = 512 << 10;
  const GroupLayout& layout = g.layout;
  const bool fetches = layout.sampleElements() * (g.x.half() ? 2 : 4) <= kFetchedBytes;
  const int64_t run = smaller(kLongestRun, g.p.n / (2 * context.threads()));
  const int64_t floats = layout.columnFloats();
  float* scratch = reinterpret_cast<float*>(context.scratch());
  context.parallelFor(g.p.n, larger(run, 1), [&](int64_t begin, int64_t end, int worker) {
    float* mean = scratch + worker * kMomentRows * floats;
    float *squares = mean + floats, *segment = mean + 2 * floats, *chunk = mean + 4 * floats,
          *scale = mean + 6 * floats, *shift = mean + 7 * floats, *copy = g.stage.buffer(worker, 0);
    for (int64_t sample = begin; sample < end; sample++) {
      const Elements x = g.x + sample * layout.sampleElements();
      segmentMoments(layout, x, 0, layout.segmentEnd(0), mean, squares, chunk, copy);
      for (int64_t s = 1; s < layout.segments; s++) {
        const int64_t first = layout.segmentBegin(s), last = layout.segmentEnd(s);
        segmentMoments(layout, x, first, last, segment, segment + floats, chunk, copy);
        mergeMoments(layout.columns, first, mean, squares, last - first, segment, segment + floats);
      }
      g.finish(sample, mean, squares, scale, shift);
      g.apply(sample, 0, layout.rows, true, fetches && sample + 1 < end, scale, shift, copy);
    }
  });
}

/// Segments are tasks: all moments, then every sample's coefficients, then the application.
void normaliseSegments(const GroupNormCall& g, Context& context) {
  const GroupLayout& layout = g.layout;
  const int64_t floats = layout.columnFloats();
  float* chunks = reinterpret_cast<float*>(context.scratch());
  float* segments = chunks + context.threads() * kMomentRows * floats;
  float* coefficients = segments + g.p.n * layout.segments * 2 * floats;
  const int64_t tasks = g.p.n * layout.segments;
  context.parallelFor(tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t sample = task / layout.segments, s = task % layout.segments;
      float* mean = segments + task * 2 * floats;
      segmentMoments(layout, g.x + sample * layout.sampleElements(), layout.segmentBegin(s),
                     layout.segmentEnd(s), mean, mean + floats,
                     chunks + worker * kMomentRows * floats, g.stage.buffer(worker, 0));
    }
  });
  context.parallelFor(g.p.n, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t sample = begin; sample < end; sample++) {
      float* mean = segments + sample * layout.segments * 2 * floats;
      for (int64_t s = 1; s < layout.segments; s++) {
        const int64_t first = layout.segmentBegin(s);
        const float* segment = mean + s * 2 * floats;
        mergeMoments(layout.columns, first, mean, mean + floats, layout.segmentEnd(s) - first,
                     segment, segment + floats);
      }
      float* scale = coefficients + sample * 2 * floats;
      g.finish(sample, mean, mean + floats, scale, scale + floats);
    }
  });
  context.parallelFor(tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t sample = task / layout.segments, s = task % layout.segments;
      const float* scale = coefficients + sample * 2 * floats;
      g.apply(sample, layout.segmentBegin(s), layout.segmentEnd(s), s + 1 == layout.segments, false,
              scale, scale + floats, g.stage.buffer(worker, 0));
    }
  });
}

size_t momentBytes(const GroupNormParams& p, int threads) {
  const GroupLayout layout(p.spatial, p.c, p.groups);
  int64_t rows = threads * kMomentRows;
  if (layout.splitSamples(p.n, threads)) rows += p.n * (layout.segments + 1) * 2;
  return size_t(rows * layout.columnFloats()) * sizeof(float);
}

/// γ and β as whole vectors, and `buffers` copies of a chunk for each worker.
RowStage normStage(const GroupNormParams& p, std::byte* scratch, int64_t buffers) {
  const GroupLayout layout(p.spatial, p.c, p.groups);
  return RowStage(scratch, layout.chunkRows * layout.columns, 2, buffers);
}

size_t normScratch(const OpCall& call, const GroupNormParams& p, int threads) {
  return momentBytes(p, threads) + normStage(p, nullptr, 1).bytes(call, threads);
}

void runNorm(const OpCall& call, const GroupNormParams& p, bool batch, Context& context) {
  std::byte* rest = context.scratch() + momentBytes(p, context.threads());
  const GroupNormCall g(call, p, batch, normStage(p, rest, 1));
  g.layout.splitSamples(p.n, context.threads()) ? normaliseSegments(g, context)
                                                : normaliseSamples(g, context);
}

size_t groupNormScratch(const OpCall& call, int threads) {
  return normScratch(call, call.as<GroupNormParams>(), threads);
}
void runGroupNorm(const OpCall& call, Context& context) {
  runNorm(call, call.as<GroupNormParams>(), false, context);
}

constexpr Variant groupNormVariant{"groupNorm",  kVariantName,     kVariantIsa,
                                   supportsRows, groupNormScratch, runGroupNorm};
const RegisterVariant groupNormVariantRegistrar{groupNormVariant};

size_t batchNormScratch(const OpCall& call, int threads) {
  return normScratch(call, batchAsGroups(call.as<BatchNormParams>()), threads);
}
void runBatchNorm(const OpCall& call, Context& context) {
  runNorm(call, batchAsGroups(call.as<BatchNormParams>()), true, context);
}

constexpr Variant batchNormVariant{"batchNorm",  kVariantName,     kVariantIsa,
                                   supportsRows, batchNormScratch, runBatchNorm};
const RegisterVariant batchNormVariantRegistrar{batchNormVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
