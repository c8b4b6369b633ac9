// softmax and its derivative, vectorised within rows: maximum; exponentials and their sum; scaling.
#pragma once

#include "../params.generated.h"
#include "row.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

void softmaxRow(const float* x, float* y, int64_t cols) {
  const float sum = rowExponentials<true>(x, rowMaximum(x, cols), y, cols);
  const F32 inverse = F32::broadcast(1.0f / sum);
  forLanes(cols, [&](int64_t i, int lanes) {
    storeLanes(y + i, loadLanes(y + i, lanes) * inverse, lanes);
  });
}

void softmaxGradRow(const float* y, const float* dy, float* dx, int64_t cols) {
  F32 dot[kRowVectors];
  for (F32& d : dot) d = F32::zero();
  int64_t i = 0;
  for (; i + kRowVectors * kLanes <= cols; i += kRowVectors * kLanes)
    for (int v = 0; v < kRowVectors; v++)
      dot[v] = mulAdd(F32::load(y + i + v * kLanes), F32::load(dy + i + v * kLanes), dot[v]);
  for (; i < cols; i += kLanes) {
    const int lanes = int(smaller(kLanes, cols - i));
    dot[0] = mulAdd(loadLanes(y + i, lanes), loadLanes(dy + i, lanes), dot[0]);
  }
  const F32 total = F32::broadcast(reduceAdd((dot[0] + dot[1]) + (dot[2] + dot[3])));
  forLanes(cols, [&](int64_t j, int lanes) {
    storeLanes(dx + j, loadLanes(y + j, lanes) * (loadLanes(dy + j, lanes) - total), lanes);
  });
}

void runSoftmax(const OpCall& call, Context& context) {
  const auto& p = call.as<SoftmaxParams>();
  const float* x = call.in[0].as<const float>();
  float* y = call.out[0].as<float>();
  if (p.cols == 0) return;
  context.parallelFor(p.rows, rowGrain(p.cols), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) softmaxRow(x + r * p.cols, y + r * p.cols, p.cols);
  });
}

void runSoftmaxGrad(const OpCall& call, Context& context) {
  const auto& p = call.as<SoftmaxGradParams>();
  const float* y = call.in[0].as<const float>();
  const float* dy = call.in[1].as<const float>();
  float* dx = call.out[0].as<float>();
  if (p.cols == 0) return;
  context.parallelFor(p.rows, rowGrain(p.cols), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++)
      softmaxGradRow(y + r * p.cols, dy + r * p.cols, dx + r * p.cols, p.cols);
  });
}

constexpr Variant softmaxVariant{"softmax",   kVariantName, kVariantIsa,
                                 supportsF32, nullptr,      runSoftmax};
const RegisterVariant softmaxVariantRegistrar{softmaxVariant};
constexpr Variant softmaxGradVariant{"softmaxGrad", kVariantName, kVariantIsa,
                                     supportsF32,   nullptr,      runSoftmaxGrad};
const RegisterVariant softmaxGradVariantRegistrar{softmaxGradVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
