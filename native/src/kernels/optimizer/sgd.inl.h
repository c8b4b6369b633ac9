// sgd over many tensors at once, vectorised. Formulas: sgd_op.cpp.
#pragma once

#include "../params/sgd.generated.h"
#include "multi_tensor.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

void runSgd(const OpCall& call, Context& context) {
  const auto& p = call.as<SgdParams>();
  const int count = p.count;
  const F32 lr = F32::broadcast(*call.in[0].as<const float>());
  const F32 gradScale = F32::broadcast(*call.in[1].as<const float>());
  const F32 decay = F32::broadcast(float(p.weightDecay));
  const F32 momentum = F32::broadcast(float(p.momentum));
  const Operand *weights = call.in + 2, *grads = weights + count, *buffers = grads + count;
  const SweepTable table(weights, count, context.scratch());
  sweep(table, weights, context, [&](int t, int64_t first, int64_t elements, int64_t) {
    const float *w = weights[t].as<const float>() + first, *g = grads[t].as<const float>() + first;
    const float* b = p.buffered ? buffers[t].as<const float>() + first : nullptr;
    float* newW = call.out[t].as<float>() + first;
    float* newB = p.buffered ? call.out[count + t].as<float>() + first : nullptr;
    forLanes(elements, [&](int64_t i, int lanes) {
      const F32 weight = loadLanes(w + i, lanes);
      const F32 grad = mulAdd(decay, weight, loadLanes(g + i, lanes) * gradScale);
      F32 direction = grad;
      if (b) {
        const F32 buffer = mulAdd(momentum, loadLanes(b + i, lanes), grad);
        direction = p.nesterov ? mulAdd(momentum, buffer, grad) : buffer;
        storeLanes(newB + i, buffer, lanes);
      }
      storeLanes(newW + i, weight - lr * direction, lanes);
    });
  });
}

size_t sgdScratch(const OpCall& call, int) { return SweepTable::bytes(call.as<SgdParams>().count); }

constexpr Variant sgdVariant{"sgd", kVariantName, kVariantIsa, supportsF32, sgdScratch, runSgd};
const RegisterVariant sgdVariantRegistrar{sgdVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
