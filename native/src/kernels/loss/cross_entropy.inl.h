// Cross entropy and its derivative, vectorised within rows of logits.
#pragma once

#include "../params/crossEntropy.generated.h"
#include "../params/crossEntropyGrad.generated.h"
#include "../softmax/row.inl.h"
#include "label.h"

namespace figment::FIGMENT_ISA {
namespace {

void runCrossEntropy(const OpCall& call, Context& context) {
  const auto& p = call.as<CrossEntropyParams>();
  const float* logits = call.in[0].as<const float>();
  const int32_t* labels = call.in[1].as<const int32_t>();
  float* loss = call.out[0].as<float>();
  float* lse = call.out[1].as<float>();
  if (!labelsInRange(labels, p.rows, p.cols, context)) return;
  forRows(context, p.rows, p.cols, [&](int64_t r, int count, int) {
    const float* row = logits + r * p.cols;
    float highest[kRowsAbreast], logSum[kRowsAbreast];
    if (p.cols <= kShortRow) {
      rowMaxima(row, count, p.cols, highest);
      rowsExponentials(row, count, p.cols, highest, logSum, [](int, int64_t, F32, F32) {});
      logFour(logSum);
    } else {
      highest[0] = rowMaximum(row, p.cols);
      logSum[0] = logOne(rowExponentials<false>(row, highest[0], nullptr, p.cols));
    }
    for (int k = 0; k < count; k++) {
      lse[r + k] = highest[k] + logSum[k];
      // In this order, since highest and the label's logit may be large and close.
      loss[r + k] = (highest[k] - row[k * p.cols + labels[r + k]]) + logSum[k];
    }
  });
}

void runCrossEntropyGrad(const OpCall& call, Context& context) {
  const auto& p = call.as<CrossEntropyGradParams>();
  const float* logits = call.in[0].as<const float>();
  const int32_t* labels = call.in[1].as<const int32_t>();
  const float* lse = call.in[2].as<const float>();
  const float* dloss = call.in[3].as<const float>();
  float* dlogits = call.out[0].as<float>();
  if (!labelsInRange(labels, p.rows, p.cols, context)) return;
  context.parallelFor(p.rows, rowGrain(p.cols), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const F32 shift = F32::broadcast(lse[r]), scale = F32::broadcast(dloss[r]);
      const float* from = logits + r * p.cols;
      float* to = dlogits + r * p.cols;
      forLanes(p.cols, [&](int64_t i, int lanes) {
        const F32 probability = exp(loadLanes(from + i, lanes) - shift);
        const Mask hit = eq(I32::iota(), I32::broadcast(int32_t(labels[r] - i)));
        const F32 grad = blend(hit, probability - F32::broadcast(1.0f), probability);
        storeLanes(to + i, grad * scale, lanes);
      });
    }
  });
}

constexpr Variant crossEntropyVariant{"crossEntropy", kVariantName, kVariantIsa,
                                      supportsF32,    nullptr,      runCrossEntropy};
const RegisterVariant crossEntropyVariantRegistrar{crossEntropyVariant};
constexpr Variant crossEntropyGradVariant{"crossEntropyGrad", kVariantName, kVariantIsa,
                                          supportsF32,        nullptr,      runCrossEntropyGrad};
const RegisterVariant crossEntropyGradVariantRegistrar{crossEntropyGradVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
