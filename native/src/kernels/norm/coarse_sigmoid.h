// SiLU and its slope for results that are rounded to bf16: relative error 2⁻¹⁴, a thirty-second of
// the rounding's. Only AVX-512 has the instructions that make it cheap; elsewhere they are those of
// fast_exp.h.
#pragma once

#include "../softmax/fast_exp.h"

namespace figment::FIGMENT_ISA {

#if FIGMENT_LEVEL == 2
/// 1 / (1 + e^−u): 2^y = 2^⌊y⌋ · 2^r with r in [0, 1), of which a polynomial is minimax of degree
/// 4, and the processor's estimate of the reciprocal.
FIGMENT_INLINE F32 coarseSigmoid(F32 u) {
  constexpr int kFloor = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
  const F32 y = u * F32::broadcast(-kLog2E);
  const F32 r = {_mm512_reduce_ps(y.v, kFloor)};
  F32 p = F32::broadcast(1.353417e-2f);
  p = fma(p, r, F32::broadcast(5.201146e-2f));
  p = fma(p, r, F32::broadcast(2.4144275e-1f));
  p = fma(p, r, F32::broadcast(6.9300384e-1f));
  p = fma(p, r, F32::broadcast(1.00000259f));
  const F32 power = {_mm512_scalef_ps(p.v, y.v)};  // rounds y down itself
  return {_mm512_rcp14_ps((F32::broadcast(1.0f) + power).v)};
}

/// u·sigmoid(u); 0 at minus infinity.
FIGMENT_INLINE F32 coarseSilu(F32 u) {
  const F32 bounded = max(F32::broadcast(-87.0f), u);
  return bounded * coarseSigmoid(bounded);
}

/// d(u·sigmoid(u))/du.
FIGMENT_INLINE F32 coarseSiluSlope(F32 u) {
  const F32 bound = F32::broadcast(87.0f);
  const F32 bounded = min(bound, max(-bound, u));
  const F32 s = coarseSigmoid(bounded);
  return fma(fnma(s, bounded, bounded), s, s);
}
#else
FIGMENT_INLINE F32 coarseSilu(F32 u) { return siluBounded(u); }
FIGMENT_INLINE F32 coarseSiluSlope(F32 u) { return siluSlope(u); }
#endif

}  // namespace figment::FIGMENT_ISA
