// The activations of biasAct and of norms, and the cotangents before them, of a vector.
#pragma once

#include "../norm/isa_variant.h"
#include "../simd/functions.h"
#include "../softmax/fast_exp.h"
#include "activation.h"

namespace figment::FIGMENT_ISA {
namespace {

/// The normal distribution function.
FIGMENT_INLINE F32 normalBelow(F32 u) {
  const F32 half = F32::broadcast(0.5f);
  const F32 scaled = u * F32::broadcast(0.707106781f);
  return mulAdd(erfWith(scaled, [](F32 x) { return expNonPositive(x); }), half, half);
}

template <int kActivation>
FIGMENT_INLINE F32 activated(F32 u, F32 slope) {
  switch (kActivation) {
    case kReluAct:
      return maximum(u, F32::zero());
    case kLeakyReluAct:
      return blend(gt(u, F32::zero()), u, u * slope);
    case kSiluAct:
      return siluBounded(u);
    case kGeluAct:
      return u * normalBelow(u);
    case kTanhAct:
      return tanh(u);
    case kSigmoidAct:
      return sigmoid(u);
    default:
      return u;
  }
}

/// The cotangent of u, given f(u) and its cotangent d. Behind a ReLU's 0 nothing counts, not even
/// NaN; where u is NaN the cotangent stays.
template <int kActivation>
FIGMENT_INLINE F32 activationCotangent(F32 u, F32 value, F32 d, F32 slope) {
  const F32 one = F32::broadcast(1.0f);
  switch (kActivation) {
    case kReluAct:
      return blend(le(u, F32::zero()), F32::zero(), d);
    case kLeakyReluAct:
      return d * blend(gt(u, F32::zero()), one, slope);
    case kSiluAct:
      return d * siluSlope(u);
    case kGeluAct: {
      const F32 density =
          expNonPositive(u * u * F32::broadcast(-0.5f)) * F32::broadcast(0.398942280f);
      return d * mulAdd(u, density, normalBelow(u));
    }
    case kTanhAct:
      return d * (one - value * value);
    case kSigmoidAct:
      return d * (value * (one - value));
    default:
      return d;
  }
}

}  // namespace
}  // namespace figment::FIGMENT_ISA
