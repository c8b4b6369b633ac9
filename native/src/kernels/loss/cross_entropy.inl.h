// Cross entropy and its derivative, vectorised within rows of logits.
#pragma once

#include "../params/crossEntropy.generated.h"
#include "../params/crossEntropyGrad.generated.h"
#include "../softmax/row.inl.h"
#include "label.h"

namespace figment::FIGMENT_ISA {
namespace {

/// A copy for each worker of the rows of 16-bit logits that are taken together.
RowStage logitsStage(int64_t cols, std::byte* scratch) {
  return RowStage(scratch, rowsAtOnce(cols) * cols, 0, 1);
}
template <class P>
size_t logitsScratch(const OpCall& call, int threads) {
  return logitsStage(call.as<P>().cols, nullptr).bytes(call, threads);
}

void runCrossEntropy(const OpCall& call, Context& context) {
  const auto& p = call.as<CrossEntropyParams>();
  const Elements logits = Elements::of(call.in[0]);
  const int32_t* labels = call.in[1].as<const int32_t>();
  const Results loss = Results::of(call.out[0]);
  float* lse = call.out[1].as<float>();
  if (!labelsInRange(labels, p.rows, p.cols, context)) return;
  const RowStage stage = logitsStage(p.cols, context.scratch());
  forRows(context, p.rows, p.cols, [&](int64_t r, int count, int worker) {
    const float* row = readRows(logits + r * p.cols, count * p.cols, stage.buffer(worker, 0));
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
      gemm::storeElement(loss, r + k, (highest[k] - row[k * p.cols + labels[r + k]]) + logSum[k]);
    }
  });
}

void runCrossEntropyGrad(const OpCall& call, Context& context) {
  const auto& p = call.as<CrossEntropyGradParams>();
  const Elements logits = Elements::of(call.in[0]), dloss = Elements::of(call.in[3]);
  const int32_t* labels = call.in[1].as<const int32_t>();
  const float* lse = call.in[2].as<const float>();
  const Results dlogits = Results::of(call.out[0]);
  if (!labelsInRange(labels, p.rows, p.cols, context)) return;
  const RowStage stage = logitsStage(p.cols, context.scratch());
  context.parallelFor(p.rows, rowGrain(p.cols), [&](int64_t begin, int64_t end, int worker) {
    for (int64_t r = begin; r < end; r++) {
      const F32 shift = F32::broadcast(lse[r]);
      const F32 scale = F32::broadcast(gemm::loadElement(dloss, r));
      float* copy = stage.buffer(worker, 0);
      const float* from = readRows(logits + r * p.cols, p.cols, copy);
      float* to = rowsToWrite(dlogits + r * p.cols, copy);
      forLanes(p.cols, [&](int64_t i, int lanes) {
        const F32 probability = exp(loadLanes(from + i, lanes) - shift);
        const Mask hit = eq(I32::iota(), I32::broadcast(int32_t(labels[r] - i)));
        const F32 grad = blend(hit, probability - F32::broadcast(1.0f), probability);
        storeLanes(to + i, grad * scale, lanes);
      });
      keepRows(dlogits + r * p.cols, to, p.cols);
    }
  });
}

constexpr Variant crossEntropyVariant{
    "crossEntropy", kVariantName, kVariantIsa, supportsRows, logitsScratch<CrossEntropyParams>,
    runCrossEntropy};
const RegisterVariant crossEntropyVariantRegistrar{crossEntropyVariant};
constexpr Variant crossEntropyGradVariant{"crossEntropyGrad",
                                          kVariantName,
                                          kVariantIsa,
                                          supportsRows,
                                          logitsScratch<CrossEntropyGradParams>,
                                          runCrossEntropyGrad};
const RegisterVariant crossEntropyGradVariantRegistrar{crossEntropyGradVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
