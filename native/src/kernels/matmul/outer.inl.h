// Aᵀ·B with a long K, the shape of every weight gradient of a linear layer, is the weight gradient
// of a 1×1 convolution over K positions: nothing needs transposing. Include only from files
// compiled for one instruction set.
#pragma once

#include "../params/conv2dWeightGrad.generated.h"
#include "../params/matmul.generated.h"
#include "kernels/conv/weight_grad.inl.h"
#include "kernels/isa_name.h"

namespace figment::FIGMENT_ISA::matmul {

using conv::WeightGrad;
using gemm::kPackedPreference;

/// Shorter sums repay packing A instead.
constexpr int64_t kOuterDepth = 1024;
constexpr int64_t kInt32Max = INT32_MAX;

inline void describeOuter(const OpCall& call, WeightGrad& g) {
  const auto& p = call.as<MatmulParams>();
  Conv2dWeightGradParams shape{};
  shape.n = shape.h = shape.ho = shape.kh = shape.kw = shape.groups = 1;
  shape.w = shape.wo = int32_t(p.k);
  shape.c = int32_t(p.n);
  shape.o = int32_t(p.m);
  shape.stride[0] = shape.stride[1] = shape.dilation[0] = shape.dilation[1] = 1;
  conv::describe(shape, gemm::Elements::of(call.in[1]), gemm::Elements::of(call.in[0]),
                 gemm::Results::of(call.out[0]), g);
}

inline int outerSupports(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  const bool fits = p.m > 0 && p.n >= kLanes && p.k >= kOuterDepth && p.m < kInt32Max &&
                    p.n < kInt32Max && p.k < kInt32Max;
  const bool plain = p.batch == 1 && p.transA && !p.transB && !p.scale && !p.bias && !p.addend &&
                     p.activation == 0;
  return fits && plain && gemm::tileFormats(call, call.inCount) ? kPackedPreference + 1 : -1;
}

inline size_t outerScratch(const OpCall& call, int threads) {
  WeightGrad g;
  describeOuter(call, g);
  return conv::scratchBytes(g, threads);
}

inline void outerRun(const OpCall& call, Context& context) {
  WeightGrad g;
  describeOuter(call, g);
  conv::runWeightGrad(g, context);
}

namespace {

constexpr Variant outer{"matmul",     FIGMENT_TEXT(FIGMENT_ISA) "-outer",
                        kVariantIsa,  outerSupports,
                        outerScratch, outerRun};
const RegisterVariant outerRegistrar{outer};

}  // namespace
}  // namespace figment::FIGMENT_ISA::matmul
