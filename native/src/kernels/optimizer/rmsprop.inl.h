// rmsprop over many tensors at once, vectorised. Formulas: rmsprop_op.cpp.
#pragma once

#include "../params/rmsprop.generated.h"
#include "multi_tensor.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

/// The scalars of one step, in every lane.
struct RmspropStep {
  F32 lr, gradScale, decay, alpha, rest, eps, momentum;

  RmspropStep(const RmspropParams& p, float rate, float scale)
      : lr(F32::broadcast(rate)),
        gradScale(F32::broadcast(scale)),
        decay(F32::broadcast(float(p.weightDecay))),
        alpha(F32::broadcast(float(p.alpha))),
        rest(F32::broadcast(float(1 - p.alpha))),
        eps(F32::broadcast(float(p.eps))),
        momentum(F32::broadcast(float(p.momentum))) {}
};

/// One piece of one tensor; the pointers of absent states are null.
struct RmspropPiece {
  const float *w, *g, *s, *m, *b;
  float *newW, *newS, *newM, *newB;
};

FIGMENT_INLINE void rmspropPiece(const RmspropStep& k, const RmspropPiece& at, int64_t elements) {
  forLanes(elements, [&](int64_t i, int lanes) {
    const F32 weight = loadLanes(at.w + i, lanes);
    const F32 grad = mulAdd(k.decay, weight, loadLanes(at.g + i, lanes) * k.gradScale);
    const F32 square = mulAdd(k.alpha, loadLanes(at.s + i, lanes), k.rest * grad * grad);
    F32 variance = square;
    if (at.m) {
      const F32 mean = mulAdd(k.alpha, loadLanes(at.m + i, lanes), k.rest * grad);
      variance = maximum(mulAdd(-mean, mean, square), F32::zero());
      storeLanes(at.newM + i, mean, lanes);
    }
    F32 direction = grad / (sqrt(variance) + k.eps);
    if (at.b) {
      direction = mulAdd(k.momentum, loadLanes(at.b + i, lanes), direction);
      storeLanes(at.newB + i, direction, lanes);
    }
    storeLanes(at.newW + i, weight - k.lr * direction, lanes);
    storeLanes(at.newS + i, square, lanes);
  });
}

void runRmsprop(const OpCall& call, Context& context) {
  const auto& p = call.as<RmspropParams>();
  const int count = p.count, bufferGroup = p.centered ? 2 : 1;
  const RmspropStep step(p, *call.in[0].as<const float>(), *call.in[1].as<const float>());
  const Operand *weights = call.in + 2, *grads = weights + count, *states = grads + count;
  const SweepTable table(weights, count, context.scratch());
  sweep(table, weights, context, [&](int t, int64_t first, int64_t elements, int64_t) {
    const auto state = [&](int group) {
      return states[group * count + t].as<const float>() + first;
    };
    const auto result = [&](int group) { return call.out[group * count + t].as<float>() + first; };
    rmspropPiece(step,
                 {.w = weights[t].as<const float>() + first,
                  .g = grads[t].as<const float>() + first,
                  .s = state(0),
                  .m = p.centered ? state(1) : nullptr,
                  .b = p.buffered ? state(bufferGroup) : nullptr,
                  .newW = result(0),
                  .newS = result(1),
                  .newM = p.centered ? result(2) : nullptr,
                  .newB = p.buffered ? result(1 + bufferGroup) : nullptr},
                 elements);
  });
}

size_t rmspropScratch(const OpCall& call, int) {
  return SweepTable::bytes(call.as<RmspropParams>().count);
}

constexpr Variant rmspropVariant{"rmsprop",   kVariantName,   kVariantIsa,
                                 supportsF32, rmspropScratch, runRmsprop};
const RegisterVariant rmspropVariantRegistrar{rmspropVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
