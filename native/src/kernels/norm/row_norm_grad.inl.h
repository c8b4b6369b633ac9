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

/// Operands of either derivative; mean and dbeta are null for rmsNorm.
struct RowNormGradCall {
  int64_t rows, cols;
  const float *x, *gamma, *mean, *scale, *dy;
  float *dx, *dgamma, *dbeta;
};

/// One row: its share of dgamma and dbeta, then dx.
template <bool kCentered>
void rowNormGradRow(const RowNormGradCall& k, int64_t row, float* dgamma, float* dbeta) {
  const float *x = k.x + row * k.cols, *dy = k.dy + row * k.cols;
  float* dx = k.dx + row * k.cols;
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
}

template <bool kCentered>
void rowNormGrad(const RowNormGradCall& k, Context& context) {
  constexpr int64_t kGrain = 256;
  const RowSegments segments(k.rows);
  const int64_t floats = alignedFloats(k.cols), stride = (kCentered ? 2 : 1) * floats;
  float* sums = reinterpret_cast<float*>(context.scratch());
  context.parallelFor(segments.count, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t segment = begin; segment < end; segment++) {
      float* own = sums + segment * stride;
      forLanes(stride, [&](int64_t i, int lanes) { storeLanes(own + i, F32::zero(), lanes); });
      const int64_t last = smaller(k.rows, (segment + 1) * segments.rows);
      for (int64_t row = segment * segments.rows; row < last; row++)
        rowNormGradRow<kCentered>(k, row, own, own + floats);
    }
  });
  context.parallelFor(k.cols, kGrain, [&](int64_t begin, int64_t end, int) {
    const auto total = [&](const float* from, float* to) {
      forLanes(end - begin, [&](int64_t i, int lanes) {
        F32 sum = F32::zero();
        for (int64_t segment = 0; segment < segments.count; segment++)
          sum += loadLanes(from + segment * stride + begin + i, lanes);
        storeLanes(to + begin + i, sum, lanes);
      });
    };
    total(sums, k.dgamma);
    if (kCentered) total(sums + floats, k.dbeta);
  });
}

size_t layerNormGradScratch(const OpCall& call, int) {
  const auto& p = call.as<LayerNormGradParams>();
  return size_t(RowSegments(p.rows).count * 2 * alignedFloats(p.cols)) * sizeof(float);
}
size_t rmsNormGradScratch(const OpCall& call, int) {
  const auto& p = call.as<RmsNormGradParams>();
  return size_t(RowSegments(p.rows).count * alignedFloats(p.cols)) * sizeof(float);
}

void runLayerNormGrad(const OpCall& call, Context& context) {
  const auto& p = call.as<LayerNormGradParams>();
  rowNormGrad<true>(
      {p.rows, p.cols, call.in[0].as<const float>(), call.in[1].as<const float>(),
       call.in[2].as<const float>(), call.in[3].as<const float>(), call.in[4].as<const float>(),
       call.out[0].as<float>(), call.out[1].as<float>(), call.out[2].as<float>()},
      context);
}
void runRmsNormGrad(const OpCall& call, Context& context) {
  const auto& p = call.as<RmsNormGradParams>();
  rowNormGrad<false>({p.rows, p.cols, call.in[0].as<const float>(), call.in[1].as<const float>(),
                      nullptr, call.in[2].as<const float>(), call.in[3].as<const float>(),
                      call.out[0].as<float>(), call.out[1].as<float>(), nullptr},
                     context);
}

constexpr Variant layerNormGradVariant{"layerNormGrad", kVariantName,         kVariantIsa,
                                       supportsF32,     layerNormGradScratch, runLayerNormGrad};
const RegisterVariant layerNormGradVariantRegistrar{layerNormGradVariant};
constexpr Variant rmsNormGradVariant{"rmsNormGrad", kVariantName,       kVariantIsa,
                                     supportsF32,   rmsNormGradScratch, runRmsNormGrad};
const RegisterVariant rmsNormGradVariantRegistrar{rmsNormGradVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
