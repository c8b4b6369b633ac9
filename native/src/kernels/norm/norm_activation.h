// What groupNorm and batchNorm apply to u = γ·x̂ + β, and the cotangent of u.
#pragma once

#include "../bias_act/activation.inl.h"
#include "coarse_sigmoid.h"

namespace figment::FIGMENT_ISA {

/// Calls f.operator()<kActivation>() with the activation of a norm.
template <class F>
FIGMENT_INLINE void withNormActivation(int32_t activation, F&& f) {
  switch (activation) {
    case kReluAct:
      return f.template operator()<kReluAct>();
    case kLeakyReluAct:
      return f.template operator()<kLeakyReluAct>();
    case kSiluAct:
      return f.template operator()<kSiluAct>();
    default:
      return f.template operator()<kLinearAct>();
  }
}

/// The cotangent of u from that of its activation; `coarse`: no more exact than bf16.
template <int kActivation>
FIGMENT_INLINE F32 cotangentBefore(F32 u, F32 d, F32 slope, bool coarse) {
  switch (kActivation) {
    case kReluAct:
      return blend(le(u, F32::zero()), F32::zero(), d);  // d at NaN, as of `relu`
    case kLeakyReluAct:
      return blend(gt(u, F32::zero()), d, d * slope);
    case kSiluAct:
      return d * (coarse ? coarseSiluSlope(u) : siluSlope(u));
    default:
      return d;
  }
}

}  // namespace figment::FIGMENT_ISA
