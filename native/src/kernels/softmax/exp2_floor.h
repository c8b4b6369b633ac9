// 2^x by the floor of x, as AVX-512 has it: fewer steps than fast_exp.h, and none to bound x.
#pragma once

#include "fast_exp.h"

namespace figment::FIGMENT_ISA {

#if FIGMENT_LEVEL == 2
/// a − floor(a), 0 at infinities.
FIGMENT_INLINE F32 fraction(F32 a) {
  return {_mm512_reduce_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
}
/// a · 2^floor(n); where that is below the normal range, 0 may come instead.
FIGMENT_INLINE F32 scaleByFloor(F32 a, F32 n) { return {_mm512_scalef_ps(a.v, n.v)}; }
#else
FIGMENT_INLINE F32 fraction(F32 a) {
  const F32 rest = a - floor(a);
  return blend(isNan(rest) & ~isNan(a), F32::zero(), rest);
}
FIGMENT_INLINE F32 scaleByFloor(F32 a, F32 n) {
  n = min(F32::broadcast(128.0f), max(F32::broadcast(-127.0f), n));
  return a * asFloat(shl(toIntTrunc(floor(n)) + I32::broadcast(127), 23));
}
#endif

/// 2^x: relative error 1.5e-7, and what is below the normal range may vanish. 2^r on [0, 1] is a
/// minimax polynomial of degree 5.
FIGMENT_INLINE F32 exp2ByFloor(F32 x) {
  const F32 r = fraction(x);
  F32 p = F32::broadcast(1.877576695e-3f);
  p = mulAdd(p, r, F32::broadcast(8.989339694e-3f));
  p = mulAdd(p, r, F32::broadcast(5.582631752e-2f));
  p = mulAdd(p, r, F32::broadcast(2.401536107e-1f));
  p = mulAdd(p, r, F32::broadcast(6.931530833e-1f));
  p = mulAdd(p, r, F32::broadcast(9.999999404e-1f));
  return scaleByFloor(p, x);
}

/// The same for factors that are rounded to bf16: relative error 2.7e-6, by degree 4.
FIGMENT_INLINE F32 exp2ForBf16(F32 x) {
  const F32 r = fraction(x);
  F32 p = F32::broadcast(1.353416778e-2f);
  p = mulAdd(p, r, F32::broadcast(5.201146007e-2f));
  p = mulAdd(p, r, F32::broadcast(2.414427549e-1f));
  p = mulAdd(p, r, F32::broadcast(6.930038333e-1f));
  p = mulAdd(p, r, F32::broadcast(1.000002623f));
  return scaleByFloor(p, x);
}

}  // namespace figment::FIGMENT_ISA
