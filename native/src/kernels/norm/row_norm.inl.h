// layerNorm and rmsNorm, vectorised within rows: statistics in two passes over the row (so that a
// large mean costs no precision), then the scaling. One template serves both: rmsNorm is layerNorm
// with nothing taken away and no shift. Formulas: row_norm_op.cpp, row_norm_reference.cpp.
#pragma once

#include "../params/layerNorm.generated.h"
#include "../params/rmsNorm.generated.h"
#include "row_stage.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

constexpr int kRowSums = 4;

/// Σ term(offset, lanes) over a row: f32 in four interleaved vectors over short runs, f64 above.
/// The order follows from the length. Lanes past the end must give 0.
template <class Term>
FIGMENT_INLINE double rowSum(int64_t cols, Term&& term) {
  constexpr int64_t kRun = 2048;
  double total = 0;
  for (int64_t first = 0; first < cols; first += kRun) {
    const int64_t last = smaller(cols, first + kRun);
    F32 sum[kRowSums];
    for (F32& s : sum) s = F32::zero();
    int64_t i = first;
    for (; i + kRowSums * kLanes <= last; i += kRowSums * kLanes)
      for (int v = 0; v < kRowSums; v++) sum[v] += term(i + v * kLanes, kLanes);
    for (; i < last; i += kLanes) sum[0] += term(i, int(smaller(kLanes, last - i)));
    total += double(reduceAdd((sum[0] + sum[1]) + (sum[2] + sum[3])));
  }
  return total;
}

/// Zero in the lanes past the end.
FIGMENT_INLINE F32 inside(F32 a, int lanes) {
  if (lanes == kLanes) return a;
  return blend(lt(I32::iota(), I32::broadcast(lanes)), a, F32::zero());
}

/// Rows of one task, about 16 Ki elements.
constexpr int64_t normRowGrain(int64_t cols) { return larger(1, 16384 / larger(1, cols)); }

/// Operands of either norm; beta and mean are null for rmsNorm.
struct RowNormCall {
  int64_t rows, cols;
  double eps;
  Elements x;
  const float *gamma, *beta;
  Results y;
  float *mean, *scale;
  RowStage stage;
};

/// `kCentered` takes the mean away and adds beta.
template <bool kCentered>
void normaliseRow(const RowNormCall& k, int64_t row, int worker) {
  float* copy = k.stage.buffer(worker, 0);
  const float* x = readRows(k.x + row * k.cols, k.cols, copy);
  float* y = rowsToWrite(k.y + row * k.cols, copy);
  const double count = double(larger(k.cols, 1));
  F32 center = F32::zero();
  if (kCentered) {
    const double sum =
        rowSum(k.cols, [&](int64_t i, int lanes) { return loadLanes(x + i, lanes); });
    const float middle = float(sum / count);
    k.mean[row] = middle;
    center = F32::broadcast(middle);
  }
  const double squares = rowSum(k.cols, [&](int64_t i, int lanes) {
    const F32 value = loadLanes(x + i, lanes);
    const F32 d = kCentered ? inside(value - center, lanes) : value;
    return d * d;
  });
  const float factor = float(1 / __builtin_sqrt(squares / count + k.eps));
  k.scale[row] = factor;
  const F32 scale = F32::broadcast(factor);
  forLanes(k.cols, [&](int64_t i, int lanes) {
    const F32 value = loadLanes(x + i, lanes), gamma = loadLanes(k.gamma + i, lanes);
    if (kCentered)
      storeLanes(y + i, mulAdd((value - center) * scale, gamma, loadLanes(k.beta + i, lanes)),
                 lanes);
    else
      storeLanes(y + i, value * scale * gamma, lanes);
  });
  keepRows(k.y + row * k.cols, y, k.cols);
}

template <bool kCentered>
void rowNorm(const RowNormCall& k, Context& context) {
  context.parallelFor(k.rows, normRowGrain(k.cols), [&](int64_t begin, int64_t end, int worker) {
    for (int64_t row = begin; row < end; row++) normaliseRow<kCentered>(k, row, worker);
  });
}

/// γ and β as whole vectors, and a copy of one row for each worker.
template <class P, int kVectors>
RowStage rowNormStage(const OpCall& call, std::byte* scratch) {
  return RowStage(scratch, call.as<P>().cols, kVectors, 1);
}
template <class P, int kVectors>
size_t rowNormScratch(const OpCall& call, int threads) {
  return rowNormStage<P, kVectors>(call, nullptr).bytes(call, threads);
}

void runLayerNorm(const OpCall& call, Context& context) {
  const auto& p = call.as<LayerNormParams>();
  const RowStage stage = rowNormStage<LayerNormParams, 2>(call, context.scratch());
  rowNorm<true>({p.rows, p.cols, p.eps, Elements::of(call.in[0]), stage.vector(call.in[1], 0),
                 stage.vector(call.in[2], 1), Results::of(call.out[0]), call.out[1].as<float>(),
                 call.out[2].as<float>(), stage},
                context);
}
void runRmsNorm(const OpCall& call, Context& context) {
  const auto& p = call.as<RmsNormParams>();
  const RowStage stage = rowNormStage<RmsNormParams, 1>(call, context.scratch());
  rowNorm<false>({p.rows, p.cols, p.eps, Elements::of(call.in[0]), stage.vector(call.in[1], 0),
                  nullptr, Results::of(call.out[0]), nullptr, call.out[1].as<float>(), stage},
                 context);
}

constexpr Variant layerNormVariant{
    "layerNorm", kVariantName, kVariantIsa, supportsRows, rowNormScratch<LayerNormParams, 2>,
    runLayerNorm};
const RegisterVariant layerNormVariantRegistrar{layerNormVariant};
constexpr Variant rmsNormVariant{
    "rmsNorm", kVariantName, kVariantIsa, supportsRows, rowNormScratch<RmsNormParams, 1>,
    runRmsNorm};
const RegisterVariant rmsNormVariantRegistrar{rmsNormVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
