// layerNormGrad and rmsNormGrad, vectorised within rows. Rows form segments, the units of parallel
// work, each with sums of its own for dgamma and dbeta; they are added up in order. Where segments
// begin follows from the shape alone. Formulas: row_norm_reference.cpp.
#pragma once

#include "../params/layerNormGrad.generated.h"
#include "../params/rmsNormGrad.generated.h"
#include "row_norm.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

/// How rows are shared out.
struct RowSegments {
  int64_t rows, count;
  explicit RowSegments(int64_t total) {
    constexpr int64_t kFewestRows = 8, kMostSegments = 64;
    rows = larger(kFewestRows, ceilDivide(total, kMostSegments));
    count = ceilDivide(total, rows);
  }
};

/// Operands of either derivative, and the sums of the segments; mean is null for rmsNorm.
struct RowNormGradCall {
  int64_t rows, cols;
  Elements x;
  const float *gamma, *mean, *scale;
  Elements dy;
  Results dx, dgamma, dbeta;
  RowStage stage;
  float* sums;
};

/// One row: its share of dgamma and dbeta, then dx.
template <bool kCentered>
void rowNormGradRow(const RowNormGradCall& k, int64_t row, int worker, float* dgamma,
                    float* dbeta) {
  float* copy = k.stage.buffer(worker, 0);
  const float* x = readRows(k.x + row * k.cols, k.cols, copy);
  const float* dy = readRows(k.dy + row * k.cols, k.cols, k.stage.buffer(worker, 1));
  float* dx = rowsToWrite(k.dx + row * k.cols, copy);
  const F32 center = F32::broadcast(kCentered ? k.mean[row] : 0.0f);
  const F32 scale = F32::broadcast(k.scale[row]);
  const auto normalised = [&](int64_t i, int lanes) {
    const F32 value = loadLanes(x + i, lanes);
    return (kCentered ? value - center : value) * scale;
  };
  const double dot = rowSum(k.cols, [&](int64_t i, int lanes) {
    const F32 cotangent = loadLanes(dy + i, lanes);
    const F32 part = cotangent * normalised(i, lanes);
    storeLanes(dgamma + i, loadLanes(dgamma + i, lanes) + part, lanes);
    if (kCentered) storeLanes(dbeta + i, loadLanes(dbeta + i, lanes) + cotangent, lanes);
    return inside(part * loadLanes(k.gamma + i, lanes), lanes);
  });
  const double sum = !kCentered ? 0 : rowSum(k.cols, [&](int64_t i, int lanes) {
    return loadLanes(dy + i, lanes) * loadLanes(k.gamma + i, lanes);
  });
  const F32 along = F32::broadcast(float(-dot / double(k.cols)));
  const F32 common = F32::broadcast(float(sum / double(k.cols)));
  forLanes(k.cols, [&](int64_t i, int lanes) {
    const F32 g = loadLanes(dy + i, lanes) * loadLanes(k.gamma + i, lanes);
    const F32 rest = mulAdd(normalised(i, lanes), along, kCentered ? g - common : g);
    storeLanes(dx + i, rest * scale, lanes);
  });
  keepRows(k.dx + row * k.cols, dx, k.cols);
}

template <bool kCentered>
void rowNormGrad(const RowNormGradCall& k, Context& context) {
  constexpr int64_t kGrain = 256;
  const RowSegments segments(k.rows);
  const int64_t floats = alignedFloats(k.cols), stride = (kCentered ? 2 : 1) * floats;
  float* sums = k.sums;
  context.parallelFor(segments.count, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t segment = begin; segment < end; segment++) {
      float* own = sums + segment * stride;
      forLanes(stride, [&](int64_t i, int lanes) { storeLanes(own + i, F32::zero(), lanes); });
      const int64_t last = smaller(k.rows, (segment + 1) * segments.rows);
      for (int64_t row = segment * segments.rows; row < last; row++)
        rowNormGradRow<kCentered>(k, row, worker, own, own + floats);
    }
  });
  context.parallelFor(k.cols, kGrain, [&](int64_t begin, int64_t end, int) {
    const auto total = [&](const float* from, Results to) {
      forLanes(end - begin, [&](int64_t i, int lanes) {
        F32 sum = F32::zero();
        for (int64_t segment = 0; segment < segments.count; segment++)
          sum += loadLanes(from + segment * stride + begin + i, lanes);
        gemm::storeElements(to + (begin + i), sum, lanes);
      });
    };
    total(sums, k.dgamma);
    if (kCentered) total(sums + floats, k.dbeta);
  });
}

/// Sums of the segments, then γ as a whole vector and copies of x and dy for each worker.
template <class P, int kSums>
size_t gradSumBytes(const OpCall& call) {
  const auto& p = call.as<P>();
  return size_t(RowSegments(p.rows).count * kSums * alignedFloats(p.cols)) * sizeof(float);
}
template <class P, int kSums>
RowStage gradStage(const OpCall& call, std::byte* scratch) {
  return RowStage(scratch + gradSumBytes<P, kSums>(call), call.as<P>().cols, 1, 2);
}
template <class P, int kSums>
size_t rowNormGradScratch(const OpCall& call, int threads) {
  return gradSumBytes<P, kSums>(call) +
         RowStage(nullptr, call.as<P>().cols, 1, 2).bytes(call, threads);
}

void runLayerNormGrad(const OpCall& call, Context& context) {
  const auto& p = call.as<LayerNormGradParams>();
  const RowStage stage = gradStage<LayerNormGradParams, 2>(call, context.scratch());
  rowNormGrad<true>({p.rows, p.cols, Elements::of(call.in[0]), stage.vector(call.in[1], 0),
                     call.in[2].as<const float>(), call.in[3].as<const float>(),
                     Elements::of(call.in[4]), Results::of(call.out[0]), Results::of(call.out[1]),
                     Results::of(call.out[2]), stage, reinterpret_cast<float*>(context.scratch())},
                    context);
}
void runRmsNormGrad(const OpCall& call, Context& context) {
  const auto& p = call.as<RmsNormGradParams>();
  const RowStage stage = gradStage<RmsNormGradParams, 1>(call, context.scratch());
  rowNormGrad<false>(
      {p.rows, p.cols, Elements::of(call.in[0]), stage.vector(call.in[1], 0), nullptr,
       call.in[2].as<const float>(), Elements::of(call.in[3]), Results::of(call.out[0]),
       Results::of(call.out[1]), Results{}, stage, reinterpret_cast<float*>(context.scratch())},
      context);
}

constexpr Variant layerNormGradVariant{"layerNormGrad",
                                       kVariantName,
                                       kVariantIsa,
                                       supportsRows,
                                       rowNormGradScratch<LayerNormGradParams, 2>,
                                       runLayerNormGrad};
const RegisterVariant layerNormGradVariantRegistrar{layerNormGradVariant};
constexpr Variant rmsNormGradVariant{"rmsNormGrad",
                                     kVariantName,
                                     kVariantIsa,
                                     supportsRows,
                                     rowNormGradScratch<RmsNormGradParams, 1>,
                                     runRmsNormGrad};
const RegisterVariant rmsNormGradVariantRegistrar{rmsNormGradVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
