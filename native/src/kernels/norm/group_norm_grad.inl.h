// groupNormGrad and batchNormGrad, vectorised over channels: one sweep sums du and du·(x − mean)
// per column (leaving du in dx where SiLU made it costly and dx is f32), then dx = du·c₁ + (x −
// mean)·c₂ + c₃. Formulas: reference.cpp. dgamma and dbeta add the samples' channel sums in a fixed
// order.
#pragma once

#include "../params/batchNormGrad.generated.h"
#include "../params/groupNorm.generated.h"
#include "../params/groupNormGrad.generated.h"
#include "group_norm.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

/// Rows of columns with what a column needs of its channel and group.
struct GradCoefficients {
  float *mean, *scale, *shift;  ///< u = x·scale + shift; scale is also c₁
  float *slope, *offset;        ///< c₂, c₃
  static constexpr int64_t kRows = 5;

  GradCoefficients(float* memory, int64_t floats)
      : mean(memory),
        scale(memory + floats),
        shift(memory + 2 * floats),
        slope(memory + 3 * floats),
        offset(memory + 4 * floats) {}
};

struct GroupNormGradCall {
  /// batchNorm brings its variances in place of rstd.
  GroupNormGradCall(const OpCall& call, const GroupNormParams& params, bool batch,
                    const RowStage& copies)
      : p(params),
        layout(p.spatial, p.c, p.groups),
        stage(copies),
        x(Elements::of(call.in[0])),
        gamma(stage.vector(call.in[1], 0)),
        beta(stage.vector(call.in[2], 1)),
        mean(call.in[3].as<const float>()),
        spread(call.in[4].as<const float>()),
        dy(Elements::of(call.in[5])),
        dx(Results::of(call.out[0])),
        dgamma(Results::of(call.out[1])),
        dbeta(Results::of(call.out[2])),
        negativeSlope(F32::broadcast(float(params.slope))),
        givenVariance(batch) {}

  /// Whether dx holds du between the two sweeps, unrounded.
  bool keepsSlopes() const { return p.activation == kSiluAct && !dx.half(); }

  /// Whether what follows is fetched while rows are summed: in a step of training it has been out
  /// of the caches for long. Not where all of a sample is one chunk.
  bool fetches() const { return !x.half() && !dy.half() && layout.rows > layout.chunkRows; }

  double rstd(int64_t group) const {
    const double value = double(spread[group]);
    return givenVariance ? 1 / __builtin_sqrt(value + p.eps) : value;
  }

  int64_t at(int64_t sample, int64_t row) const {
    return sample * layout.sampleElements() + row * layout.columns;
  }

  void prepare(int64_t sample, const GradCoefficients& k) const {
    for (int64_t i = 0; i < p.c; i++) {
      const int64_t g = sample * p.groups + i / layout.groupWidth;
      const double s = double(gamma[i]) * rstd(g);
      k.mean[i] = mean[g];
      k.scale[i] = float(s);
      k.shift[i] = float(double(beta[i]) - double(mean[g]) * s);
    }
    repeatChannels(layout, k.mean);
    repeatChannels(layout, k.scale);
    repeatChannels(layout, k.shift);
  }

  /// Some rows of x and dy, and where to keep du (null: nowhere).
  struct Rows {
    const float *x, *dy;
    float* du;
    int64_t count;
    int64_t ahead;  ///< elements to the rows that follow and are fetched; 0: none
  };

  /// du of some columns, no more exact than bf16 where all is that. A result of f32 that is only
  /// stored as bf16 must round as a cast of it does.
  template <int kActivation>
  FIGMENT_INLINE F32 before(F32 value, F32 d, const GradCoefficients& k, int64_t i,
                            int lanes) const {
    const bool coarse = x.format == Format::bf16 && dx.format == Format::bf16;
    const F32 u = mulAdd(value, loadLanes(k.scale + i, lanes), loadLanes(k.shift + i, lanes));
    return cotangentBefore<kActivation>(u, d, negativeSlope, coarse);
  }

  /// Adds Σ du and Σ du·(x − mean) of V vectors of columns over some rows to plain and scaled.
  template <int kActivation, int V>
  FIGMENT_INLINE void sumBlock(const Rows& rows, int lanes, const GradCoefficients& k,
                               int64_t column, float* plain, float* scaled) const {
    F32 sum[V], dot[V];
    for (int v = 0; v < V; v++) sum[v] = dot[v] = F32::zero();
    for (int64_t r = 0; r < rows.count; r++) {
      for (int v = 0; v < V; v++) {
        const int64_t i = column + v * kLanes, element = r * layout.columns + i;
        const F32 value = loadLanes(rows.x + element, lanes);
        F32 du = loadLanes(rows.dy + element, lanes);
        if (rows.ahead) {
          __builtin_prefetch(rows.x + element + rows.ahead, 0, 2);
          __builtin_prefetch(rows.dy + element + rows.ahead, 0, 2);
          if (kActivation == kSiluAct && rows.du)
            __builtin_prefetch(rows.du + element + rows.ahead, 1, 2);
        }
        if (kActivation != kLinearAct) du = before<kActivation>(value, du, k, i, lanes);
        if (kActivation == kSiluAct && rows.du) storeLanes(rows.du + element, du, lanes);
        sum[v] += du;
        dot[v] = mulAdd(du, value - loadLanes(k.mean + i, lanes), dot[v]);
      }
    }
    for (int v = 0; v < V; v++) {
      const int64_t i = column + v * kLanes;
      storeLanes(plain + i, loadLanes(plain + i, lanes) + sum[v], lanes);
      storeLanes(scaled + i, loadLanes(scaled + i, lanes) + dot[v], lanes);
    }
  }
  template <int kActivation>
  void sumChunk(int64_t start, int64_t count, int64_t columns, const GradCoefficients& k,
                float* plain, float* scaled, int worker) const {
    constexpr int kBlock = 4;
    const int64_t elements = (count - 1) * layout.columns + columns;
    const Rows rows{readRows(x + start, elements, stage.buffer(worker, 0)),
                    readRows(dy + start, elements, stage.buffer(worker, 1)),
                    keepsSlopes() ? dx.floats() + start : nullptr, count,
                    fetches() ? layout.chunkRows * layout.columns : 0};
    int64_t i = 0;
    for (; i + kBlock * kLanes <= columns; i += kBlock * kLanes)
      sumBlock<kActivation, kBlock>(rows, kLanes, k, i, plain, scaled);
    for (; i + kLanes <= columns; i += kLanes)
      sumBlock<kActivation, 1>(rows, kLanes, k, i, plain, scaled);
    if (i < columns) sumBlock<kActivation, 1>(rows, int(columns - i), k, i, plain, scaled);
  }
  template <int kActivation>
  void sumRows(int64_t sample, int64_t begin, int64_t end, bool withTail, const GradCoefficients& k,
               float* plain, float* scaled, int worker) const {
    forLanes(layout.columnFloats(), [&](int64_t i, int lanes) {
      storeLanes(plain + i, F32::zero(), lanes);
      storeLanes(scaled + i, F32::zero(), lanes);
    });
    for (int64_t row = begin; row < end; row += layout.chunkRows)
      sumChunk<kActivation>(at(sample, row), smaller(layout.chunkRows, end - row), layout.columns,
                            k, plain, scaled, worker);
    if (withTail)
      sumChunk<kActivation>(at(sample, layout.rows), 1, layout.tailColumns, k, plain, scaled,
                            worker);
  }
  void sums(int64_t sample, int64_t segment, const GradCoefficients& k, float* plain, float* scaled,
            int worker) const {
    const int64_t begin = layout.segmentBegin(segment), end = layout.segmentEnd(segment);
    const bool last = segment + 1 == layout.segments;
    withNormActivation(p.activation, [&]<int kActivation>() {
      sumRows<kActivation>(sample, begin, end, last, k, plain, scaled, worker);
    });
  }

  /// From a sample's column sums: c₂, c₃, and its share of dbeta and dgamma into channelSums[2·c].
  void finish(int64_t sample, const float* plain, const float* scaled, const GradCoefficients& k,
              float* channelSums) const {
    float *betaSums = channelSums, *gammaSums = channelSums + p.c;
    const double count = double(larger(layout.groupElements(), 1));
    for (int64_t g = 0; g < p.groups; g++) {
      const double inverse = rstd(sample * p.groups + g);
      const int64_t first = g * layout.groupWidth, last = first + layout.groupWidth;
      double a = 0, b = 0;
      for (int64_t i = first; i < last; i++) {
        double sum = 0, dot = 0;
        for (int64_t column = i; column < layout.columns; column += p.c) {
          sum += double(plain[column]);
          dot += double(scaled[column]);
        }
        betaSums[i] = float(sum);
        gammaSums[i] = float(dot * inverse);
        a += sum * double(gamma[i]);
        b += dot * double(gamma[i]) * inverse;
      }
      for (int64_t i = first; i < last; i++) {
        k.slope[i] = float(-inverse * inverse * b / count);
        k.offset[i] = float(-inverse * a / count);
      }
    }
    repeatChannels(layout, k.slope);
    repeatChannels(layout, k.offset);
  }

  /// Elements from what is written to what is fetched.
  static constexpr int64_t kAhead = 1024;

  template <int kActivation>
  void applyRow(int64_t start, int64_t columns, const GradCoefficients& k, int worker) const {
    float* copy = stage.buffer(worker, 0);
    const float* from = readRows(x + start, columns, copy);
    const float* du = keepsSlopes() ? dx.floats() + start
                                    : readRows(dy + start, columns, stage.buffer(worker, 1));
    float* to = rowsToWrite(dx + start, copy);
    const bool again = kActivation != kLinearAct && !keepsSlopes();
    const bool fetches = layout.passesCache() && !x.half() && !dy.half();
    forLanes(columns, [&](int64_t i, int lanes) {
      if (fetches) {
        __builtin_prefetch(from + i + kAhead, 0, 2);
        __builtin_prefetch(du + i + kAhead, 0, 2);
      }
      const F32 value = loadLanes(from + i, lanes), scale = loadLanes(k.scale + i, lanes);
      const F32 centered = value - loadLanes(k.mean + i, lanes);
      F32 d = loadLanes(du + i, lanes);
      if (again) d = before<kActivation>(value, d, k, i, lanes);
      const F32 direct = mulAdd(d, scale, loadLanes(k.offset + i, lanes));
      storeLanes(to + i, mulAdd(centered, loadLanes(k.slope + i, lanes), direct), lanes);
    });
    keepRows(dx + start, to, columns);
  }
  void apply(int64_t sample, int64_t segment, const GradCoefficients& k, int worker) const {
    withNormActivation(p.activation, [&]<int kActivation>() {
      const int64_t end = layout.segmentEnd(segment);
      for (int64_t row = layout.segmentBegin(segment); row < end; row++)
        applyRow<kActivation>(at(sample, row), layout.columns, k, worker);
      if (segment + 1 == layout.segments)
        applyRow<kActivation>(at(sample, layout.rows), layout.tailColumns, k, worker);
    });
  }

  const GroupNormParams p;
  GroupLayout layout;
  RowStage stage;
  Elements x;
  const float *gamma, *beta, *mean, *spread;
  Elements dy;
  Results dx, dgamma, dbeta;
  F32 negativeSlope;  ///< of leaky ReLU
  bool givenVariance;
};

/// Adds a segment's column sums to those before it.
void addColumns(const GroupLayout& layout, float* plain, float* scaled, const float* morePlain,
                const float* moreScaled) {
  forLanes(layout.columns, [&](int64_t i, int lanes) {
    storeLanes(plain + i, loadLanes(plain + i, lanes) + loadLanes(morePlain + i, lanes), lanes);
    storeLanes(scaled + i, loadLanes(scaled + i, lanes) + loadLanes(moreScaled + i, lanes), lanes);
  });
}

/// A worker's rows: coefficients, the sample's sums, a segment's sums.
constexpr int64_t kGradWorkerRows = GradCoefficients::kRows + 4;

/// Samples are tasks.
void gradSamples(const GroupNormGradCall& g, Context& context, float* channelSums,
                 float* workerRows) {
  const GroupLayout& layout = g.layout;
  const int64_t floats = layout.columnFloats();
  context.parallelFor(g.p.n, 1, [&](int64_t begin, int64_t end, int worker) {
    float* memory = workerRows + worker * kGradWorkerRows * floats;
    const GradCoefficients k(memory, floats);
    float *plain = memory + GradCoefficients::kRows * floats, *scaled = plain + floats,
          *morePlain = plain + 2 * floats, *moreScaled = plain + 3 * floats;
    for (int64_t sample = begin; sample < end; sample++) {
      g.prepare(sample, k);
      g.sums(sample, 0, k, plain, scaled, worker);
      for (int64_t s = 1; s < layout.segments; s++) {
        g.sums(sample, s, k, morePlain, moreScaled, worker);
        addColumns(layout, plain, scaled, morePlain, moreScaled);
      }
      g.finish(sample, plain, scaled, k, channelSums + sample * 2 * g.p.c);
      for (int64_t s = 0; s < layout.segments; s++) g.apply(sample, s, k, worker);
    }
  });
}

/// Segments are tasks.
void gradSegments(const GroupNormGradCall& g, Context& context, float* channelSums,
                  float* coefficients) {
  const GroupLayout& layout = g.layout;
  const int64_t floats = layout.columnFloats();
  const auto coefficientsOf = [&](int64_t sample) {
    return GradCoefficients(coefficients + sample * GradCoefficients::kRows * floats, floats);
  };
  float* segments = coefficients + g.p.n * GradCoefficients::kRows * floats;
  const int64_t tasks = g.p.n * layout.segments;
  context.parallelFor(g.p.n, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t sample = begin; sample < end; sample++) g.prepare(sample, coefficientsOf(sample));
  });
  context.parallelFor(tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t sample = task / layout.segments;
      float* plain = segments + task * 2 * floats;
      g.sums(sample, task % layout.segments, coefficientsOf(sample), plain, plain + floats, worker);
    }
  });
  context.parallelFor(g.p.n, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t sample = begin; sample < end; sample++) {
      float* plain = segments + sample * layout.segments * 2 * floats;
      for (int64_t s = 1; s < layout.segments; s++) {
        const float* more = plain + s * 2 * floats;
        addColumns(layout, plain, plain + floats, more, more + floats);
      }
      g.finish(sample, plain, plain + floats, coefficientsOf(sample),
               channelSums + sample * 2 * g.p.c);
    }
  });
  context.parallelFor(tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t sample = task / layout.segments;
      g.apply(sample, task % layout.segments, coefficientsOf(sample), worker);
    }
  });
}

/// dbeta and dgamma: channel sums over samples, in runs of fixed length that are then added up.
void sumSamples(const GroupNormGradCall& g, Context& context, const float* channelSums) {
  constexpr int64_t kRun = 32, kGrain = 256;
  const int64_t width = 2 * g.p.c;
  context.parallelFor(width, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      float total = 0;
      for (int64_t first = 0; first < g.p.n; first += kRun) {
        float run = 0;
        const int64_t last = smaller(g.p.n, first + kRun);
        for (int64_t sample = first; sample < last; sample++)
          run += channelSums[sample * width + i];
        total += run;
      }
      i < g.p.c ? gemm::storeElement(g.dbeta, i, total)
                : gemm::storeElement(g.dgamma, i - g.p.c, total);
    }
  });
}

size_t gradBytes(const GroupNormParams& p, int threads) {
  const GroupLayout layout(p.spatial, p.c, p.groups);
  const int64_t rows = layout.splitSamples(p.n, threads)
                           ? p.n * (GradCoefficients::kRows + 2 * layout.segments)
                           : threads * kGradWorkerRows;
  const int64_t channelSums = alignedFloats(p.n * 2 * p.c);
  return size_t(channelSums + rows * layout.columnFloats()) * sizeof(float);
}

size_t normGradScratch(const OpCall& call, const GroupNormParams& p, int threads) {
  return gradBytes(p, threads) + normStage(p, nullptr, 2).bytes(call, threads);
}

void runNormGrad(const OpCall& call, const GroupNormParams& p, bool batch, Context& context) {
  std::byte* copies = context.scratch() + gradBytes(p, context.threads());
  const GroupNormGradCall g(call, p, batch, normStage(p, copies, 2));
  float* channelSums = reinterpret_cast<float*>(context.scratch());
  float* rest = channelSums + alignedFloats(p.n * 2 * p.c);
  if (g.layout.splitSamples(p.n, context.threads()))
    gradSegments(g, context, channelSums, rest);
  else
    gradSamples(g, context, channelSums, rest);
  sumSamples(g, context, channelSums);
}

GroupNormParams primalParams(const OpCall& call) {
  const auto& p = call.as<GroupNormGradParams>();
  return {p.n, p.spatial, p.c, p.groups, p.activation, p.slope, p.eps};
}
size_t groupNormGradScratch(const OpCall& call, int threads) {
  return normGradScratch(call, primalParams(call), threads);
}
void runGroupNormGrad(const OpCall& call, Context& context) {
  runNormGrad(call, primalParams(call), false, context);
}

constexpr Variant groupNormGradVariant{"groupNormGrad", kVariantName,         kVariantIsa,
                                       supportsRows,    groupNormGradScratch, runGroupNormGrad};
const RegisterVariant groupNormGradVariantRegistrar{groupNormGradVariant};

size_t batchNormGradScratch(const OpCall& call, int threads) {
  return normGradScratch(call, batchAsGroups(call.as<BatchNormGradParams>()), threads);
}
void runBatchNormGrad(const OpCall& call, Context& context) {
  runNormGrad(call, batchAsGroups(call.as<BatchNormGradParams>()), true, context);
}

constexpr Variant batchNormGradVariant{"batchNormGrad", kVariantName,         kVariantIsa,
                                       supportsRows,    batchNormGradScratch, runBatchNormGrad};
const RegisterVariant batchNormGradVariantRegistrar{batchNormGradVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
